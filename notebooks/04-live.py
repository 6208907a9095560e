# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Live
#
# Move a number and see the agents go: gain, noise, learning rate and momentum of 20 simulations of 250 agents, 300
# steps each, simulated anew at every move. `pip install 'sdesim[notebook]'` brings the sliders.

# %%
import os

import jax.numpy as jnp
from IPython.display import Image, display

import sdesim
from sdesim import plot
from sdesim.notebook import live

# Independent simulations. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 20
AGENTS, STEPS = 250, 300

# %% [markdown]
# ## A rugged loss
# A double well with many false minima, under noise that is strong enough to leave them.


# %%
def loss(x):
    return jnp.sum(0.1 * (x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x)))


model = sdesim.Dynamics(loss, sdesim.Quorum(k=3.0), sdesim.noise.Uniform(8.0), eta=0.05, momentum=sdesim.Nesterov(0.0))
how = dict(agents=AGENTS, sims=SIMS, steps=STEPS, init=sdesim.init.Uniform(-3, 3), seed=0)

# %% [markdown]
# ## Sliders
# All moves see the same noise, so that what changes is what was moved. Numbers of a model are traced: a move compiles
# nothing, and momentum 0 is no other program. Try $k=0$ (every agent for itself), then 3, then 10 (one body that stays
# where it was); at $k=3$ take the noise away; with momentum 0.9 reduce the learning rate.

# %%
ranges = {"coupling.k": (0, 10), "noise.half_width": (0, 16), "eta": (0.01, 0.06), "momentum.delta": (0, 0.9)}
sliders = live(model, ranges, **how)
sliders

# %% [markdown]
# On a page that does not run, this is what they begin with, and what becomes of it without coupling:

# %%
k, *_, picture, words = sliders.children
display(Image(picture.value))
k.value = 0.0
display(Image(picture.value))
print(sdesim.simulate(model, **how).agents.shape)

# %% [markdown]
# ## Any picture
# `draw` takes a function of a result and axes: here the mean of the agents against time, with its error.

# %%
draw = lambda result, axes: plot.band(result, "quorum", ax=axes)
of_time = live(model, ranges, draw=draw, observe=sdesim.observe.Quorum(), every=5, **how)
display(of_time, Image(of_time.children[-2].value))
