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
# # Sweeps that outgrow a machine
#
# A sweep with a store keeps what is done, task by task: it goes on after a crash, takes more simulations and more
# values later, is shared by processes and machines, and can be looked at before it is finished. The numbers are those
# of a sweep in memory, to the bit.

# %%
import os
import pathlib
import tempfile

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import sdesim
from sdesim import plot
from sdesim.ensembles.designs import sobol

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 40
FOLDER = pathlib.Path(tempfile.mkdtemp())

# %% [markdown]
# ## A store
# The call of any sweep, and a folder.


# %%
def loss(x):
    return 0.1 * (x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x))


model = sdesim.Dynamics(loss, sdesim.Quorum(k=1.0), sdesim.noise.Uniform(8.0), eta=0.05)
how = dict(agents=50, steps=300, init=sdesim.init.Uniform(-3, 3), seed=0)
grid = {"coupling.k": np.geomspace(0.2, 12, 6).round(2), "noise.half_width": [2.0, 5.0, 8.0, 11.0]}
data = sdesim.sweep(model, grid, sims=SIMS, store=FOLDER / "phase", **how)
print(data["quorum"].transpose("sim", ...).shape)

# %% [markdown]
# Again, with a value more and twice the simulations: what is new runs, and nothing else. On a cluster add
# `scheduler="tcp://..."`, on one machine `workers=2`. In a shell `sdesim new sweep phase` writes a file `phase.py` of
# the call's arguments, `sdesim sweep phase.py --store runs/phase` runs it, `sdesim runs runs/phase` says how far it is.

# %%
more = {**grid, "noise.half_width": [2.0, 5.0, 8.0, 11.0, 14.0]}
data = sdesim.sweep(model, more, sims=2 * SIMS, store=FOLDER / "phase", **how)
again = sdesim.sweep(model, more, sims=2 * SIMS, **how)
assert (data["quorum"].values == again["quorum"].values).all()  # in memory: the same to the bit
int(data["done"].sum())

# %% [markdown]
# ## What is there
# `open` shows a store at any moment, of any machine; means and errors come without a simulation being read.
# `sdesim view` shows it in the browser while it runs.

# %%
plot.heat_map(sdesim.open(FOLDER / "phase"), "spread", log=True)
plt.show()

# %% [markdown]
# ## Until it is sure enough
# A rule in place of a number: simulations are added where the error is too large yet.

# %%
until = "stderr(quorum_loss) < 10%"
sure = sdesim.sweep(model, grid, sims=max(SIMS, 10), until=until, most=200, store=FOLDER / "sure", **how)
print(sure["done"].values)

# %% [markdown]
# ## Points that are no grid
# Of many numbers a grid has too many points. A design spreads them.

# %%
ranges = {"coupling.k": (0.2, 12.0, "log"), "noise.half_width": (2.0, 14.0), "eta": (0.01, 0.08, "log")}
data = sdesim.sweep(model, sobol(ranges, 32), sims=SIMS, store=FOLDER / "sobol", **how)
figure = plt.figure(figsize=(5.5, 3.6), layout="constrained")
dots = plt.scatter(data.coupling_k, data.noise_half_width, c=np.log10(data["spread_mean"]), cmap="viridis")
plt.gca().set(xscale="log", xlabel="gain of the coupling (1 / time)", ylabel="half width of the noise (length / time)")
figure.colorbar(dots, label="log10 of the spread")
plt.show()
