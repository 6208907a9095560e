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
# # Theory beside simulation
#
# On a quadratic all moments of a coupled population obey a linear map, which `analysis` derives from the very code that
# simulates: at which learning rate it is unstable, what it comes to rest in, which number is best. And then the runs.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import sdesim
from sdesim import analysis, plot

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 200
AGENTS = 4

# %% [markdown]
# ## One point
# EASGD on $f(x)=x^2/2$, by iterations: spectral radius of the second moments, and where they rest.

# %%
model = sdesim.Dynamics(
    sdesim.objectives.Quadratic(1.0), sdesim.Elastic(k=0.4), sdesim.noise.Gaussian(1.0), eta=0.5,
    momentum=sdesim.Nesterov(0.0),
)  # fmt: skip
analysis.linearize(model, sdesim.Iteration(), agents=AGENTS)

# %% [markdown]
# ## A plane
# Learning rate and momentum: the rate at which second moments decay, and the boundary of stability, traced to rounding.

# %%
plane = analysis.stability_map(
    model, x={"eta": np.linspace(0.1, 2.6, 14)}, y={"momentum.delta": np.linspace(0, 0.9, 10)},
    stepper=sdesim.Iteration(), agents=AGENTS,
)  # fmt: skip
plot.phase_diagram(plane, "rate")
plt.show()

# %% [markdown]
# ## Does simulation agree?
# Mean square of the center at rest, predicted and of runs, over the learning rate: within the error bars, with no
# number fitted.

# %%
etas = [0.2, 0.4, 0.6, 0.8]
exact = analysis.stability_map(model, {"eta": np.linspace(0.1, 0.9, 17)}, stepper=sdesim.Iteration(), agents=AGENTS)
runs = sdesim.sweep(model, {"eta": etas}, stepper=sdesim.Iteration(), agents=AGENTS, sims=SIMS, steps=300, seed=0)
square = (runs["center"].isel(dim=0).astype(float) ** 2).transpose("sim", "eta")
print(square.shape)
axes = plt.figure(figsize=(5.5, 3.6), layout="constrained").add_subplot()
axes.plot(exact.eta, exact["shared"].isel(coordinate=0), label="predicted")
error = square.std("sim", ddof=1) / SIMS**0.5
axes.errorbar(etas, square.mean("sim"), 2 * error, fmt="o", capsize=3, label=f"{SIMS} simulations")
axes.set(xlabel="learning rate (time)", ylabel="mean square of the center (length$^2$)")
axes.legend()
plt.show()

# %% [markdown]
# ## The best number
# At which momentum do second moments fall fastest? Exactly, without a run.

# %%
slow = sdesim.Dynamics(
    sdesim.objectives.Quadratic(1.0), sdesim.Elastic(k=0.4), sdesim.noise.Gaussian(1.0), eta=0.1,
    momentum=sdesim.Nesterov(0.0),
)  # fmt: skip
analysis.optimize(slow, "momentum.delta", (0.0, 0.95), stepper=sdesim.Iteration(), agents=AGENTS)
