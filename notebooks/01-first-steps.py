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
# # First steps
#
# Many agents descend one rugged loss, each with its own gradient noise, and pull on each other. Does the pull help?
# In a page: a loss, a coupling, a run, a sweep over the gain, a picture.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import sdesim

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 64
AGENTS = 100

# %% [markdown]
# ## A loss
# Any function in plain `jax.numpy`: here a tilted double well, with ripples that trap a lone agent without noise.


# %%
def loss(x):
    return jnp.sum(0.25 * (x**2 - 1) ** 2 - 0.1 * x + 0.05 * jnp.cos(20 * x))


# %% [markdown]
# ## A coupling, and a run
# Noise uniform on (-4, 4), learning rate 0.05, and quorum sensing: each agent is pulled towards the mean of all with
# gain $k$. Results have shape (sims, agents, dims).

# %%
model = sdesim.Dynamics(loss, coupling=sdesim.Quorum(k=2.0), noise=sdesim.noise.Uniform(4.0), eta=0.05)
start = sdesim.init.Uniform(-2, 2)
result = sdesim.simulate(model, agents=AGENTS, sims=SIMS, steps=1000, seed=0, init=start)
print(result.agents.shape)

# %% [markdown]
# ## A sweep over the gain
# One compiled program for all values, and the same noise for all of them, so that the comparison is paired.

# %%
gains = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
data = sdesim.sweep(model, {"coupling.k": gains}, agents=AGENTS, sims=SIMS, steps=1000, seed=0, init=start)
data

# %% [markdown]
# ## A picture
# Without coupling the agents fill both wells and their mean lies between, where the loss is high. A weak pull gathers
# them in the deeper well. A strong one makes them a single body that feels $1/\sqrt{100}$ of the noise: the variance
# keeps falling, but the body stays in whichever well it first fell into, and the error bars of its loss grow.

# %%
x = np.linspace(-2, 2, 400)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")

axes[0].plot(x, jax.vmap(loss)(x), color="tab:orange")
axes[0].set(xlabel="$x$", ylabel="loss (line)")
density = axes[0].twinx()
for k, color in ((0.0, "tab:gray"), (2.0, "tab:blue")):
    agents = data.agents.sel(coupling_k=k).values.ravel()
    density.hist(agents, bins=60, density=True, alpha=0.5, color=color, label=f"$k$ = {k:g}")
density.set(ylabel="density of agents")
density.legend()

panels = [("spread", "variance among agents", 1 / AGENTS), ("quorum_loss", "loss of the quorum", 1.0)]
for panel, (name, label, scale) in zip(axes[1:], panels, strict=True):
    panel.errorbar(gains, scale * data[f"{name}_mean"], 3 * scale * data[f"{name}_stderr"], fmt="o-", capsize=3)
    panel.set_xscale("symlog", linthresh=0.25, linscale=0.5)
    panel.set_xticks(gains, [f"{k:g}" for k in gains])
    panel.set(xlabel="$k$", ylabel=label)
axes[1].set(yscale="log")
plt.show()

# %% [markdown]
# The error bars are three Monte Carlo standard errors over simulations. Next: change the loss, try
# `sdesim.Elastic(k=2.0, center_rate=1.0)`, add `momentum=sdesim.Nesterov(0.9)`, or read
# [the models](../docs/models.md) and [how to write your own](../docs/extending.md).
# (Without `center_rate=` it is `k` times the number of agents, as symmetry of the pulls wants it, and the center
# diverges where `eta * k * (agents + 1)` exceeds 2: a warning says so.)
