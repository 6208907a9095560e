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
# # When do agents agree?
#
# Agents in a double well under noise of temperature $T=\eta\sigma^2/2$, pulled to their mean with gain $k$. Cold and
# strongly coupled they agree on one side; warm or weakly coupled they part, and their mean lies in the middle. Where is
# the border? Simulated, and predicted for infinitely many agents without sampling.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import sdesim
from sdesim import observe, plot
from sdesim.theory.meanfield import Grid, SelfConsistency

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 16
AGENTS, ETA, DT = 60, 0.1, 0.02
STEPS = round(80 / DT)  # 80 units of time, of which the first half is not looked at

# %% [markdown]
# ## The plane of gain and noise
# One call: a grid over two numbers of the model, one compiled program, all points on the same noise. All agents begin
# on the right.

# %%
well = sdesim.objectives.LogCosh(1.0, -2.0)
model = sdesim.Dynamics(well, sdesim.Quorum(k=1.0), sdesim.noise.Gaussian(1.0), eta=ETA)
gains = np.geomspace(0.1, 2.5, 8)
temperatures = np.linspace(0.4, 2.8, 7)
data = sdesim.sweep(
    model,
    {"coupling.k": gains, "noise.sigma": np.sqrt(2 * temperatures / ETA)},
    agents=AGENTS, sims=SIMS, steps=STEPS, dt=DT, init=sdesim.init.Point(1.5), seed=0,
    observe=observe.Moments(after=STEPS // 2), every=5, keep_agents=False,
)  # fmt: skip
agreement = abs(data["moments_quorum_mean"].isel(dim=0))
print(agreement.transpose("sim", ...).shape)

# %% [markdown]
# ## The border that theory predicts
# For infinitely many agents the mean is a number that reproduces itself. Below the critical gain it is 0 alone.

# %%
theory = SelfConsistency(well, Grid(-12.0, 12.0, 240))
critical = [theory.critical_gain(t) for t in temperatures]

# %% [markdown]
# ## A picture
# Colors: how far from the middle the mean of 60 agents stays, on average over time. Hatched cells are uncertain. The
# line is the prediction; a finite population blurs it.

# %%
axes = plot.heat_map(agreement.assign_attrs(long_name="distance of the mean from the middle", units="length"))
axes.plot(critical, np.sqrt(2 * temperatures / ETA), "w-", lw=2)
axes.set_xlim(gains[0], gains[-1])
plt.show()
