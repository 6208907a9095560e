"""Every public argument of sdesim with every kind of bad value, generated from the signatures."""

import tempfile
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import sdesim
from sdesim import (
    analysis,
    asynchrony,
    coupling,
    init,
    noise,
    notebook,
    objectives,
    observe,
    plot,
    schedules,
    statistics,
)


def loss(x):
    return jnp.sum(x**2) / 2


MODEL = sdesim.Dynamics(loss, sdesim.Quorum(1.0), noise.Gaussian(1.0), eta=0.1)
KEY = jax.random.key(0)
POINTS = np.zeros((3, 1))

# What is made by sdesim, and what its own modules call.
ELSEWHERE = {
    *("Contraction", "DivergenceWarning", "Estimate", "Passages", "Result", "Search", "StabilityWarning", "View"),
    *("Linear", "Mean", "period_of", "as_objective", "check_loss", "per_agent", "shares_after", "shares_of"),
    *(
        "check_dims",
        "checked_indices",
        "coordinates_of",
        "fitting_loss",
        "labels_of",
        "look_at_variates",
        "looking_at_every_step",
        "looks",
        "physical_velocity",
        "said_while_traced",
    ),
    *("Validity", "validity"),
    *("best_k", "compare", "contraction_rate", "first_passage", "limit", "linearize", "occupancy", "smoothed_loss"),
    *("stability_map", "Optimum", "optimize", "rest"),
    *("stationary_mean", "survival", "synchronization", "Job", "Timetable", "Computation", "Counts", "Discrete"),
}

BAD: dict[str, Any] = {
    "text": "some text",
    "none": None,
    "empty": [],
    "ragged": [[1.0], [1.0, 2.0]],
    "nan": float("nan"),
    "inf": float("inf"),
    "negative": -1.5,
    "fraction": 0.5,
    "huge": 10**12,
    "object": object(),
    "mapping": {"a": 1},
    "shape": np.ones((2, 3, 4, 5)),
    "function": lambda: 1.0,
    "complex": 1j,
}

# The arguments of a good call, by the public name.
GOOD: dict[str, tuple[Callable, dict[str, Any]]] = {}


def good(fn: Callable, /, **arguments) -> None:
    GOOD[f"{fn.__module__.removeprefix('sdesim.')}.{fn.__qualname__}"] = fn, arguments


good(coupling.Uncoupled)
good(coupling.Quorum, k=1.0)
good(coupling.Elastic, k=1.0)
good(coupling.Elastic.from_moving_rates, alpha=0.1, beta=0.2, eta=0.1)
good(coupling.StateDependent, gain=lambda x, t: jnp.exp(-jnp.sum(x**2)))
good(coupling.Spiking, k=1.0, magnification=2.0, relaxation=1.0, duration=2.0)
good(coupling.LinearFilter, rate=1.0)
good(coupling.SaturatingFilter, rate=1.0, width=1.0)
good(coupling.Filtered, k=1.0, filter=coupling.LinearFilter(1.0))
good(coupling.Tree, k=1.0, fanout=(2, 2))
good(coupling.Outer, k=1.0)
good(coupling.Mixing, k=1.0, matrix=coupling.ring(3))
good(coupling.complete, agents=3)
good(coupling.ring, agents=3)
good(coupling.torus, rows=2, columns=3)
good(coupling.exponential, agents=3)
good(coupling.one_peer, agents=4)
good(coupling.metropolis, adjacency=np.ones((3, 3), bool))
good(coupling.spectral_gap, matrix=coupling.ring(3))
good(coupling.Streaming, rule=coupling.Outer(1.0), fragments=2)
good(coupling.ArrayMean, agents=2)
good(sdesim.Dynamics, objective=loss)
good(sdesim.EulerMaruyama)
good(sdesim.Iteration)
good(sdesim.Adam)
good(sdesim.AdamSDE)
good(sdesim.Delayed, delay=1.0, dt=0.1)
good(sdesim.HeavyBall, delta=0.5)
good(sdesim.Nesterov, delta=0.5)
good(sdesim.Friction, mu=1.0)
good(noise.Silent)
good(noise.Uniform, half_width=1.0)
good(noise.Gaussian, sigma=1.0)
good(noise.StudentT, scale=1.0, freedom=3.0)
good(noise.Diffusion, matrix=lambda x: x)
good(noise.GammaMultiplicative, shape=2.0)
good(noise.Svag, law=noise.Gaussian(1.0))
good(noise.svag_weights, level=4.0)
good(noise.zhang_multiplicative, shape=2.0, rate=1.0)
good(init.Uniform, low=-1.0, high=1.0)
good(init.Normal)
good(init.Point)
good(objectives.Function, fn=loss)
good(objectives.Quadratic)
good(objectives.Each, objective=objectives.Quadratic([1.0, 2.0]))
good(objectives.ByAgent, fn=lambda x, agent: jnp.sum(x**2) * agent, agents=2)
good(objectives.LogCosh)
good(objectives.LogCosh.resting_at, point=1.0)
good(objectives.QuarticDoubleWell)
good(objectives.OscillatingDoubleWell)
good(objectives.CoupledDoubleWells)
good(schedules.Halving, initial=0.1, every=5)
good(schedules.PerStep, values=[0.1, 0.2])
good(schedules.Fading, reference=0.1)
good(schedules.QSR, alpha=0.1)
good(schedules.PostLocal, until=5, period=3)
good(schedules.Growth, initial=1.0, time=1.0)
for series in (
    observe.Quorum,
    observe.Center,
    observe.Spread,
    observe.QuorumLoss,
    observe.CenterLoss,
    observe.MeanLoss,
):
    good(series)
good(observe.Snapshot)
good(observe.Moments)
good(observe.Density, low=0.0, high=1.0)
good(observe.Velocity)
good(observe.Histogram, low=-1.0, high=1.0)
good(observe.Occupancy, centers=[0.0], radius=1.0)
good(observe.FirstPassage, target=0.0, radius=1.0)
good(observe.FirstNonFinite)
good(observe.RunningMean)
good(observe.MovingAverage, rate=0.1)
for law in (asynchrony.Deterministic, asynchrony.Exponential):
    good(law)
good(asynchrony.Gamma, shape=2.0)
good(asynchrony.Pareto, index=2.5)
good(asynchrony.LogNormal, sigma=1.0)
good(asynchrony.Measured, sample=[1.0, 2.0])
good(asynchrony.Slowed, law=asynchrony.Exponential(), factor=3.0, share=0.2)
good(asynchrony.Link, size=100.0, bandwidth=10.0)
good(asynchrony.own_rows, arrive=lambda protocol, state, job: state)
good(asynchrony.Gradients)
good(asynchrony.Bytes)
good(
    asynchrony.computation,
    protocol=asynchrony.AsyncSGD(),
    table=asynchrony.timetable(asynchrony.Exponential(), workers=3, arrivals=4),
)
good(asynchrony.Timing, compute=asynchrony.Exponential())
good(asynchrony.timetable, compute=asynchrony.Exponential(), workers=3, arrivals=4)
good(asynchrony.AsyncSGD)
good(asynchrony.EASGD)
good(asynchrony.Downpour)
good(asynchrony.MomentumDownpour, delta=0.5)
good(asynchrony.ADMM, rho=1.0)
good(asynchrony.Gossip)
good(asynchrony.PartialBarrier, size=2)
good(asynchrony.DecoupledDiLoCo)
good(asynchrony.KAsyncSGD, size=2)
good(asynchrony.Rennala, batch=2)
good(asynchrony.Ringmaster, threshold=2)
good(asynchrony.EASGDTree)
good(asynchrony.ByLevel, leaves=1, above=2)
good(asynchrony.UpDown, up=1, down=2)
good(asynchrony.PowerLaw, exponent=1.0)
good(asynchrony.DelayAdaptive, concurrency=4, limit=2.0)
good(asynchrony.Asynchronous, protocol=asynchrony.AsyncSGD())
good(analysis.Ball, center=0.0, radius=1.0)
good(analysis.Box)
good(sdesim.couple, rule=sdesim.Quorum(1.0))
good(sdesim.simulate, model=MODEL, steps=0)
good(sdesim.iterate, model=MODEL, steps=0)
good(sdesim.sweep, model=MODEL, grid={"coupling.k": [1.0]}, steps=0)
good(sdesim.join, parts=[])
good(sdesim.load, path="none.nc")
good(sdesim.open, store="none")
good(sdesim.diffrax_state, model=MODEL, x=POINTS)
good(sdesim.diffrax_terms, model=MODEL, x=POINTS, path=diffrax.UnsafeBrownianPath(shape=(3, 1), key=KEY))
good(sdesim.diffrax_solve, model=MODEL, x=POINTS, key=KEY, t1=0.1, dt0=0.1)

FOLDER = tempfile.TemporaryDirectory()  # until the session ends

# Pictures, of data of their kinds.
SERIES = xr.Dataset({"spread": (("sim", "step"), np.ones((3, 4)))}, {"sim": range(3), "step": range(4)})
SWEPT = xr.Dataset({"loss": (("sim", "a", "b"), np.ones((3, 2, 2)))}, {"sim": range(3), "a": [1, 2], "b": [1, 2]})
HISTORY = xr.Dataset(
    {
        "train_loss": (("run", "epoch", "model"), np.ones((2, 3, 2))),
        "batch_loss": (("run", "epoch", "agent"), np.ones((2, 3, 1))),
        "spread_by_layer": (("run", "epoch"), np.ones((2, 3))),
        "diverged": ("run", [-1, -1]),
    },
    {"epoch": range(3), "agent": [0], "model": ["center", "agent 0"]},
)
PLANE = xr.Dataset(
    {
        "rate": (("a", "b"), np.ones((2, 2))),
        "stable": (("a", "b"), np.ones((2, 2), bool)),
        "boundary": (("piece", "end", "number"), np.zeros((0, 2, 2))),
    },
    {"a": [1.0, 2.0], "b": [1.0, 2.0], "number": ["a", "b"]},
)
SHORT = sdesim.simulate(MODEL, agents=2, sims=2, steps=2, init=1.0, observe=observe.Snapshot(), every=1)
TABLE = asynchrony.timetable(asynchrony.Exponential(), workers=2, arrivals=4)
good(plot.trajectories, data=SERIES, name="spread")
good(plot.band, data=SERIES, name="spread")
good(plot.points, data=SWEPT.isel(b=0), name="loss")
good(plot.density, data=SHORT)
good(plot.heat_map, data=SWEPT, name="loss")
good(plot.phase_diagram, data=PLANE)
good(plot.agents, result=SHORT)
good(plot.timeline, table=TABLE)
good(plot.learning_curves, history=HISTORY)
good(plot.animate, result=SHORT, path=f"{FOLDER.name}/run.gif", dpi=20)
good(notebook.live, model=MODEL, ranges={"coupling.k": (0, 2)}, steps=0)
good(plot.save, figure=plot.band(SERIES, "spread"), path=f"{FOLDER.name}/run.png")
good(statistics.paired, one=SERIES, other=SERIES)
