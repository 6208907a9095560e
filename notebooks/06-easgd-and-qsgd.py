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
# # EASGD against QSGD
#
# Pulled to the mean of all (QSGD), or to a center variable that follows them at a rate of its own (EASGD): which one
# ends lower? Runs of one seed see the same noise, so that the difference of the two is known better than either.

# %%
import os

import jax.numpy as jnp
import matplotlib.pyplot as plt

import sdesim
from sdesim import plot, statistics

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 100
AGENTS, STEPS = 50, 600

# %% [markdown]
# ## Two rules, one noise
# A double well with many false minima. Gains and all else are the same.


# %%
def loss(x):
    return jnp.sum(0.1 * (x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x)))


gains = {"coupling.k": [0.25, 0.5, 1.0, 2.0, 4.0]}
how = dict(agents=AGENTS, sims=SIMS, steps=STEPS, init=sdesim.init.Uniform(-3, 3), seed=0)
rules = {"QSGD": sdesim.Quorum(k=1.0), "EASGD": sdesim.Elastic(k=1.0, center_rate=1.0)}
data = {
    name: sdesim.sweep(sdesim.Dynamics(loss, rule, sdesim.noise.Uniform(8.0), eta=0.05), gains, **how)
    for name, rule in rules.items()
}
print(data["QSGD"]["center"].transpose("sim", ...).shape)

# %% [markdown]
# ## The difference, with its error
# `paired` subtracts simulation by simulation. `_stderr` is the error of the difference, `_apart` what it would be of
# independent runs.

# %%
difference = statistics.paired(data["EASGD"], data["QSGD"], names=("EASGD", "QSGD"))
share = (difference["quorum_stderr"] / difference["quorum_apart"]).mean()
print(f"the error of the difference is {share.values:.2f} of that of independent runs, on average")

# %% [markdown]
# ## A picture
# Left: spread among agents of both. Right: how much higher the loss of EASGD's agents' mean is. Bars are two standard
# errors; where they hold 0, this many simulations cannot tell.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for name, found in data.items():
    plot.points(found, "spread", ax=left, label=name)
left.legend()
plot.points(difference, "quorum_loss", ax=right)
for axes in (left, right):
    axes.set_xscale("log")
    axes.set_xticks(gains["coupling.k"], [f"{value:g}" for value in gains["coupling.k"]])
    axes.minorticks_off()
plt.show()
difference[["quorum_loss_mean", "quorum_loss_stderr"]].to_dataframe()
