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
# # Training a network of your own
#
# Four copies of a small network learn to tell synthetic images apart, each with its own start and its own order of the
# images. A rule pulls them together after every step: the mean of all (QSGD), or a center variable (EASGD). How close
# do they stay, and what does the quorum or center know?

# %%
import os

import flax.linen as nn
import matplotlib.pyplot as plt

import sdesim
from sdesim import training

# Independent runs: they give the error bars. The environment variable makes a quick run of it.
RUNS = 3 if os.environ.get("SDESIM_SMOKE") else 4
AGENTS, EPOCHS, ETA = 4, 6, 0.02

# %% [markdown]
# ## A network, and images
# Any Flax module that takes images and `train`, and returns logits. Images are four arrays, uint8 with channels last;
# `training.split` keeps a fifth apart for validation.


# %%
class Mine(nn.Module):
    classes: int = 10

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.relu(nn.Dense(24)(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)


images = training.synthetic(1000, 400, size=8, noise=60.0)
data = training.split(images, seed=0)
print(data.train_x.shape, data.train_y.shape, data.test_x.shape)

# %% [markdown]
# ## Two couplings
# The rules are those that `sdesim.simulate` runs. Each training is one program: all runs and agents side by side, and
# everything is measured at the start and after each epoch.

# %%
rules = {"QSGD": sdesim.Quorum(k=0.5), "EASGD": sdesim.Elastic(k=2.0)}
histories = {
    name: training.train(
        Mine(),
        data,
        training.Algorithm(rule, momentum=0.9),
        agents=AGENTS,
        runs=RUNS,
        eta=ETA,
        epochs=EPOCHS,
        batch=32,
        evaluation_batch=100,
        schedule=training.Constant(),
    ).history
    for name, rule in rules.items()
}
print(histories["QSGD"]["spread"].transpose("run", "epoch").shape)
histories["EASGD"]

# %% [markdown]
# ## A picture
# Thin lines are agents, thick ones the quorum of QSGD and the center of EASGD. Bars: three standard errors over runs.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for (name, history), color in zip(histories.items(), ("tab:blue", "tab:orange"), strict=True):
    epoch = history["epoch"].values
    error = lambda values: 3 * values.std("run", ddof=1) / RUNS**0.5
    accuracy = 100 * history["test_accuracy"]
    for agent in range(AGENTS):
        axes[0].plot(epoch, accuracy.sel(model=f"agent {agent}").mean("run"), color=color, lw=0.6)
    center = accuracy.sel(model="center")
    axes[0].errorbar(epoch, center.mean("run"), error(center), color=color, lw=2, capsize=3, label=name)
    spread = history["spread"]
    axes[1].errorbar(epoch, spread.mean("run"), error(spread), color=color, lw=2, capsize=3, label=name)
axes[0].set(xlabel="epoch", ylabel="test accuracy (%)")
axes[1].set(xlabel="epoch", ylabel=r"$\sum_i |x^i - \bar{x}|^2$", yscale="log")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Epoch by epoch
# `training.train` makes a `Training` and runs it. Make one yourself to look at it, change its learning rate, and go on.

# %%
run = training.Training(
    Mine(),
    data,
    training.Algorithm(rules["EASGD"], momentum=0.9),
    agents=AGENTS,
    runs=RUNS,
    eta=ETA,
    batch=32,
    evaluation_batch=100,
    schedule=training.Constant(),
)
run.epoch()
print(run.latest)
run.eta = ETA / 4
history = run.run(EPOCHS)  # in all, the first among them
print(history["eta"].isel(run=0, agent=0).values, history["test_accuracy"].sel(model="center").values[-1])

# %% [markdown]
# The agents start at different points, whose mean knows nothing, and gather at a rate that the gain sets: the stronger
# pull brings them together sooner. Next: another rule, `same_start=True`, a gain a run
# (`sdesim.Quorum(k=jnp.array([0.0, 0.5, 2.0, 8.0]))` with `runs=[0, 0, 0, 0]`), your own arrays, or
# [how training works](../docs/training.md).
