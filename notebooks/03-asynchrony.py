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
# # Workers in virtual time
#
# Workers that do not wait for each other bring gradients of points that are no longer the server's. Three questions, on
# one page: why does adding workers stop helping, who computes when, and does a protocol of one's own do better?

# %%
import os

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import sdesim
from sdesim.asynchrony import (
    EASGD,
    AbstractServer,
    Asynchronous,
    AsyncSGD,
    Deterministic,
    Exponential,
    Gamma,
    Rennala,
    timetable,
)
from sdesim.theory import renewals, staleness

# Independent simulations: they give the error bars. The environment variable makes a quick run of it.
SIMS = 3 if os.environ.get("SDESIM_SMOKE") else 200
A = 0.1  # learning rate times curvature

# %% [markdown]
# ## Why does adding workers stop helping?
# AsyncSGD on $f(x)=x^2/2$ with a little gradient noise. A step of a run is one arrival; `until=` and `at=`
# are seconds of virtual time, here in units of the mean time of a job. One sweep for each law of compute times:
# *memoryless* (exponential), or *equal* with workers that arrive in turn.

# %%
model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), noise=sdesim.noise.Gaussian(0.15), eta=A)
steppers = {
    "memoryless": Asynchronous(AsyncSGD(), compute=Exponential()),
    "equal, in turn": Asynchronous(AsyncSGD(), compute=Deterministic(), start="staggered"),
}
workers = [1, 2, 4, 8, 32]
moments = 0.5 * np.arange(1, 65) - 0.001  # just before equal workers arrive
how = dict(sims=SIMS, at=moments, init=1.0, observe=sdesim.observe.Center(), keep_agents=False)
losses = {}
for name, stepper in steppers.items():
    data = sdesim.sweep(model, {"agents": workers}, stepper=stepper, **how)
    losses[name] = (data["center_series"] ** 2).squeeze("dim").transpose("sim", "n_agents", "time")
seconds = data["time"].values  # the start is a record too
print(losses["memoryless"].shape, losses["memoryless"].dims)

# %% [markdown]
# How long until the mean loss has come down to 1 % for good? Theory knows both laws exactly: for memoryless workers a
# linear map of second moments, for equal ones a recursion.


# %%
def settled(time, loss, level=0.01):
    """When the loss comes below the level to stay there; NaN if it does not."""
    above = np.flatnonzero(loss > level)
    if (len(above) and above[-1] == len(loss) - 1) or not np.isfinite(loss).all():
        return np.nan
    return time[above[-1] + 1]


def exact(name, p):
    """The mean loss, as a share of that at the start."""
    if name == "memoryless":
        return staleness.moment_path(p, A, seconds, noise=(0.15 * A) ** 2)[:, 0]
    mean, variance = staleness.regular_path(p, A, 32 * p)
    return (mean**2 + (0.15 * A) ** 2 * variance)[np.floor(p * seconds).astype(int)]


figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
colors = {"memoryless": "tab:blue", "equal, in turn": "tab:red"}
for p, shade in zip([1, 4, 8, 32], plt.cm.viridis([0.0, 0.35, 0.65, 0.9]), strict=True):
    loss = losses["memoryless"].sel(n_agents=p)
    axes[0].plot(seconds, loss.mean("sim"), ".", ms=3, color=shade, label=f"$p$ = {p}")
    axes[0].plot(seconds, exact("memoryless", p), color=shade, lw=1)
axes[0].axhline(0.01, color="0.6", lw=0.8, ls=":")
axes[0].set(yscale="log", xlim=(0, 30), ylim=(5e-4, 2), title="memoryless: loss of the server")
axes[0].set(xlabel="time (jobs)", ylabel="mean loss / start (lines: exact)")
axes[0].legend(fontsize=8)

for name, color in colors.items():
    found = [settled(seconds, losses[name].sel(n_agents=p).mean("sim").values) for p in workers]
    axes[1].plot(workers, found, "o", color=color, label=name)
    curve = range(1, 33)
    axes[1].plot(curve, [settled(seconds, exact(name, p)) for p in curve], color=color, lw=1)
axes[1].axvline(staleness.saturation(A), color="0.6", ls=":")
axes[1].text(staleness.saturation(A), 20, " $p^*$", color="0.4")
axes[1].set(xscale="log", yscale="log", xlabel="workers $p$", ylabel="time to 1 % (jobs)", title="time to a level")
axes[1].set_xticks(workers, workers)
axes[1].minorticks_off()
axes[1].set_yticks([2, 5, 10, 20, 50], [2, 5, 10, 20, 50])
axes[1].legend(fontsize=8)

many = np.unique(np.geomspace(1, 400, 100).astype(int))
axes[2].plot(many, 2 * staleness.mean_rate(many, A), "--", color="0.5", label="square of the mean, memoryless")
axes[2].plot(many, [staleness.square_rate(p, A) for p in many], color="tab:blue", label="mean square, memoryless")
regular = many[many <= 24]
axes[2].plot(regular, [2 * staleness.regular_rate(p, A) for p in regular], color="tab:red", label="equal, in turn")
axes[2].axhline(0, color="0.6", lw=0.8)
axes[2].set(xscale="log", ylim=(-0.5, 3.2), xlabel="workers $p$", ylabel="rate of decay (1 / job)", title="theory")
axes[2].legend(fontsize=8)
plt.show()

# %% [markdown]
# Gradients come $p$ times as fast, and $p-1$ arrivals stale. The mean of memoryless workers gets no faster beyond
# $p^*=(1+a)^2/4a$; their mean *square* turns near there, slowly worsens, and diverges at $p=(2+a)/a^2$. Equal workers
# have a sharp best number, and diverge soon beyond it: the law of the times decides, not their mean alone.

# %%
print(f"p* = {staleness.saturation(A):.1f}, memoryless diverge at {staleness.mean_square_limit(A):.0f} workers")
print("equal ones at", next(p for p in range(1, 100) if staleness.regular_limit(p) < A))

# %% [markdown]
# ## Who computes when?
# Arrivals never depend on a state, so a *timetable* can be had by itself. Below, eight workers with gamma times, and on
# top what the server sees. A gradient's staleness is the number of others' arrivals while it was computed: its mean is
# $p-1$ for every law, its variance is the law's (lines: `theory.renewals`).

# %%
laws = {"exponential": Exponential(), "gamma(4)": Gamma(4.0), "equal": Deterministic()}
figure, axes = plt.subplots(1, 2, figsize=(11, 3.5), layout="constrained", width_ratios=[1.3, 1])
few = timetable(Gamma(4.0), workers=8, arrivals=48, start="stationary")
for worker in range(8):
    axes[0].plot(few.time[0][few.worker[0] == worker], [worker] * (few.worker[0] == worker).sum(), "|", ms=12)
axes[0].plot(few.time[0], [9] * few.arrivals, "|", color="0.2", ms=12)
axes[0].set_yticks([*range(8), 9], [*(f"worker {i}" for i in range(8)), "server"])
axes[0].set(xlabel="time (jobs)", title="arrivals")

P = 16
for (name, law), color in zip(laws.items(), ("tab:blue", "tab:green", "tab:red"), strict=True):
    table = timetable(law, workers=P, arrivals=3000, sims=SIMS, start="stationary")
    seen = table.law_of_staleness(after=300)[:, : 4 * P]
    s = np.arange(seen.shape[1])
    axes[1].errorbar(s, seen.mean(0), 3 * seen.std(0, ddof=1) / SIMS**0.5, fmt=".", ms=4, lw=1, color=color, label=name)
    if name != "equal":
        axes[1].plot(renewals.staleness_law(law, P, 4 * P), color=color, lw=1)
    print(f"{name:11s} mean staleness {table.staleness()[:, 300:].mean():.2f}")
axes[1].set(ylim=(0, 0.13), xlabel="staleness (arrivals)", ylabel="share of gradients", title=f"{P} workers")
axes[1].axvline(P - 1, color="tab:red", lw=1)
axes[1].text(P, 0.122, "equal: always $p-1$", color="tab:red", fontsize=8)
axes[1].legend()
plt.show()

# %% [markdown]
# ## Race a protocol of your own
# A protocol says what a worker does when it arrives. Here is one: the server keeps a running mean of its last steps,
# and hands out not where it *is*, but a place further on, towards where it *will be* when the gradient comes back,
# $p-1$ arrivals later.


# %%
class Ahead(AbstractServer):
    """c moves by each step; a worker reads c + share (p - 1) times the mean of about the last p / 4 steps."""

    share: float = 0.25

    def init(self, model, state):
        state = super().init(model, state)
        return state._replace(shared={**state.shared, "pace": jnp.zeros_like(state.x[0])})

    def arrive(self, state, job):
        others = state.x.shape[0] - 1
        step, v = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + step[0]
        pace = state.shared["pace"] + (step[0] - state.shared["pace"]) / (1 + others / 4)
        x = job.put(state.x, (center + self.share * others * pace)[None])
        return state._replace(x=x, v=job.put(state.v, v), shared={"center": center, "pace": pace})


# %% [markdown]
# All arms share clocks and gradient noise: a job's time and noise depend on (seed, simulation, worker, job) alone. So
# differences between arms are paired, and their errors small.

# %%
clocks = dict(compute=Gamma(4.0), start="stationary")
pulled = sdesim.Dynamics(model.objective, sdesim.Elastic(k=2.0), model.noise, A)
arms = {
    "AsyncSGD": (model, AsyncSGD()),
    "EASGD": (pulled, EASGD()),
    "Rennala(4)": (model, Rennala(4)),
    "Ahead (mine)": (model, Ahead()),
}
race = dict(agents=P, sims=SIMS, until=20.0, at=80, init=1.0, observe=sdesim.observe.Center())
runs = {}
for name, (dynamics, protocol) in arms.items():
    data = sdesim.simulate(dynamics, stepper=Asynchronous(protocol, **clocks), **race).to_xarray()
    runs[name] = (data["center_series"] ** 2).squeeze("dim")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
error = lambda values: 3 * values.std("sim", ddof=1) / SIMS**0.5
for (name, loss), color in zip(runs.items(), ("tab:blue", "tab:orange", "tab:green", "tab:purple"), strict=True):
    mean, time = loss.mean("sim"), loss["time"]
    axes[0].plot(time, mean, color=color, label=name)
    axes[0].fill_between(time, np.maximum(mean - error(loss), 1e-6), mean + error(loss), color=color, alpha=0.25)
    if name != "AsyncSGD":
        gap = loss - runs["AsyncSGD"]
        axes[1].errorbar(time, gap.mean("sim"), error(gap), color=color, lw=1, label=f"{name} - AsyncSGD")
axes[0].set(yscale="log", ylim=(1e-4, 2), xlabel="time (jobs)", ylabel="mean loss / start", title=f"{P} workers")
axes[1].set_yscale("symlog", linthresh=1e-3)
axes[1].axhline(0, color="0.6", lw=0.8)
axes[1].set(xlabel="time (jobs)", ylabel="difference of losses", title="paired differences")
for panel in axes:
    panel.legend(fontsize=8)
plt.show()

# %% [markdown]
# Bands and bars are three standard errors over simulations. A quarter of the way ahead is enough to settle long before
# the others do. All of it is too much: with `Ahead(share=1.0)` the server is fastest for two jobs, and then does not
# come to rest, since its running mean is late itself. Try it, it is one line. Or change the clocks, `compute=` to
# `LogNormal(1.0)` or `Gamma(4.0, mean=...)` with one slow worker, and the number of workers. Then read
# [asynchrony](../docs/asynchrony.md) and [the theory](../docs/theory.md#superposed-renewals).
