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
# # From a rule of your own to a network that it trains
#
# A coupling is a velocity field, written once: the simulator steps it, and so does the trainer. This one never pulls
# harder than a limit.

# %%
import os

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import sdesim
from sdesim import coupling, plot, training
from sdesim.fields import number

# Independent simulations, and runs: they give the error bars. The environment variable makes a quick run of it.
SMOKE = bool(os.environ.get("SDESIM_SMOKE"))
SIMS, RUNS, EPOCHS = (3, 2, 1) if SMOKE else (50, 4, 6)

# %% [markdown]
# ## The rule
# `x` is a pytree whose leaves lead with the agents, `mean` the only look across them. Numbers are traced.


# %%
class Limited(coupling.AbstractCoupling):
    """dx^i = k width tanh((mean - x^i) / width) dt."""

    k: jax.Array = eqx.field(converter=number)
    width: jax.Array = eqx.field(converter=number)

    def pull(self, x, shared, t, mean):
        limited = lambda m, a: self.k * self.width * jnp.tanh((m[None] - a) / self.width)
        return jax.tree.map(limited, mean(x), x)


# %% [markdown]
# ## In a simulation
# On a rugged loss: how much does the limit matter? Beyond some width it is QSGD.


# %%
def loss(x):
    return 0.1 * (x**4 - 5 * x**2 - 0.75 * x - 6 * jnp.cos(3.6 * x) + 4 * jnp.sin(16 * x))


model = sdesim.Dynamics(loss, Limited(k=3.0, width=1.0), sdesim.noise.Uniform(8.0), eta=0.05)
data = sdesim.sweep(
    model, {"coupling.width": [0.05, 0.1, 0.2, 0.5, 1.0, 3.0]},
    agents=50, sims=SIMS, steps=300, init=sdesim.init.Uniform(-3, 3), seed=0,
)  # fmt: skip
print(data["spread"].transpose("sim", ...).shape)
plot.points(data, "spread")
plt.show()

# %% [markdown]
# ## In training
# The same class, in place of a name. Four networks with their own start and order of the images.


# %%
class Mine(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Dense(10)(nn.relu(nn.Dense(16)(x.reshape(x.shape[0], -1))))


images = training.split(training.synthetic(600, 200, size=8, noise=60.0), seed=0)
rules = {"limited": Limited(k=2.0, width=0.02), "QSGD": sdesim.Quorum(k=2.0)}
histories = {
    name: training.train(
        Mine(), images, training.Algorithm(rule, momentum=0.9),
        agents=4, runs=RUNS, eta=0.02, epochs=EPOCHS, batch=32, evaluation_batch=100, schedule=training.Constant(),
    ).history
    for name, rule in rules.items()
}  # fmt: skip

# %%
axes = plt.figure(figsize=(5.5, 3.6), layout="constrained").add_subplot()
for name, history in histories.items():
    plot.band(history.rename(run="sim"), "spread", over="epoch", ax=axes, label=name)
axes.legend()
plt.show()
