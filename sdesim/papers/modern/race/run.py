"""The runs of m-race: each protocol in each regime, at all numbers that are tried; and models that are wrong in it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from sdesim import noise, objectives, observe, random
from sdesim.asynchrony import (
    EASGD,
    AbstractCompute,
    AbstractProtocol,
    Asynchronous,
    AsyncSGD,
    Bytes,
    DecoupledDiLoCo,
    Deterministic,
    Gradients,
    KAsyncSGD,
    Pareto,
    Ringmaster,
    Timetable,
)
from sdesim.asynchrony.compute import job_times
from sdesim.coupling import AbstractCoupling, Elastic, Outer, Uncoupled
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.asynchrony.race.run import fastest, linked
from sdesim.papers.frame import measured
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.modern.race.config import PROTOCOLS, REGIMES, Config
from sdesim.progress import each
from sdesim.results.datasets import dimension

MAKERS: dict[str, Callable[[Config], tuple[AbstractProtocol, AbstractCoupling]]] = {
    "synchronous": lambda c: (KAsyncSGD(c.workers), Uncoupled()),
    "Local SGD": lambda c: (DecoupledDiLoCo(c.period, least=c.workers), Outer(1.0, lr=1.0, momentum=0.0)),
    "DiLoCo": lambda c: (DecoupledDiLoCo(c.period, least=c.quorum, window=c.workers - c.quorum), Outer(1.0)),
    "EASGD": lambda c: (EASGD(c.period), Elastic(1.0)),
    "AsyncSGD": lambda c: (AsyncSGD(), Uncoupled()),
    "Ringmaster": lambda c: (Ringmaster(c.workers), Uncoupled()),
}
"""Each protocol of `PROTOCOLS` and its rule. Local SGD is DiLoCo whose workers all wait: by `rounds`."""

TRIED: dict[str, Callable[[Config], dict[str, tuple[float, ...]]]] = {
    "DiLoCo": lambda c: {"coupling.lr": c.lrs, "coupling.momentum": c.momenta},
    "EASGD": lambda c: {"coupling.k": c.gains},
}
"""What is tried beside the learning rate."""


def law(config: Config, regime: str) -> AbstractCompute:
    """The law of compute times of a regime.

    Args:
        config: constants of the experiment.
        regime: a name of `REGIMES`.
    """
    return Deterministic() if regime == "equal" else Pareto(config.tail)


def way(config: Config, regime: str) -> float:
    """How long a message takes, to the server or back.

    Args:
        config: constants of the experiment.
        regime: a name of `REGIMES`.

    Returns:
        Seconds.
    """
    return config.megabytes / config.bandwidth if regime == "slow messages" else 0.0


def rounds(config: Config, regime: str) -> Timetable:
    """Who arrives when, if after each period all workers send, and wait for the last one and for the answer.

    Args:
        config: constants of the experiment.
        regime: a name of `REGIMES`.

    Returns:
        Of all of the race; jobs take as long as everywhere.
    """
    sims, p, h, late = config.sims, config.workers, config.period, way(config, regime)
    first, count = np.zeros((sims, p), np.int64), math.ceil(config.time / h) + 1
    while True:
        times = job_times(law(config, regime), random.seed_words(config.seed), np.arange(sims), first, count * h)
        since = np.cumsum(times.reshape(sims, p, count, h), axis=3)  # the round began
        since[..., -1] += late
        ends = np.cumsum(since[..., -1].max(axis=1) + late, axis=1)
        if ends.min(axis=0)[-1] > config.time + 2 * late:
            break
        count *= 2
    begins = np.concatenate([np.zeros((sims, 1)), ends[:, :-1]], axis=1)
    time = np.moveaxis(begins[:, None, :, None] + since, 2, 1).reshape(sims, count, p * h)
    place = np.argsort(time, axis=2, kind="stable")
    worker, job = np.divmod(place, h)
    job += h * np.arange(count)[:, None]
    flat = lambda a: np.ascontiguousarray(a.reshape(sims, -1))
    ordered = np.take_along_axis(time, place, 2)
    return Timetable(flat(ordered), flat(worker.astype(np.int32)), flat(job.astype(np.int32)), p)


def stepper(config: Config, protocol: str, regime: str) -> Asynchronous:
    """A protocol in a regime. A worker waits until its message is there, and for the answer.

    Args:
        config: constants of the experiment.
        protocol: a name of `PROTOCOLS`.
        regime: of `REGIMES`.
    """
    made, compute, late = MAKERS[protocol](config)[0], law(config, regime), way(config, regime)
    if protocol == "Local SGD":
        return Asynchronous(made, timetable=rounds(config, regime))
    if late:
        return linked(made, compute, config.megabytes, config.bandwidth)
    return Asynchronous(made, compute=compute)


def raced(config: Config, protocol: str, regime: str) -> xr.Dataset:
    """A protocol in a regime at what is fastest there of all that was tried.

    Args:
        config: constants of the experiment.
        protocol: a name of `PROTOCOLS`.
        regime: of `REGIMES`.

    Returns:
        What `run` has of it, (time, sim) each, and the numbers that were fastest.
    """
    curvatures = np.array(config.curvatures)
    grid: dict[str, Any] = {"eta": [PROTOCOLS[protocol] * rate for rate in config.rates]}
    grid |= {name: list(values) for name, values in TRIED.get(protocol, lambda c: {})(config).items()}
    model = Dynamics(
        objectives.Quadratic(curvatures), MAKERS[protocol](config)[1], noise.Gaussian(config.sigma), grid["eta"][0]
    )
    data = sweep(
        model,
        grid,
        stepper=stepper(config, protocol, regime),
        agents=config.workers,
        sims=config.sims,
        at=config.moments,
        dims=curvatures.size,
        seed=config.seed,
        init=1.0,
        observe=[observe.Center(), Gradients(), Bytes(up=config.megabytes, down=config.megabytes)],
        keep_agents=False,
    )
    data = (
        data[["center_series", "gradients", "bytes"]]
        .drop_attrs()
        .stack(point=[*map(dimension, grid)], create_index=False)
    )
    share = xr.DataArray(curvatures / curvatures.sum(), dims="dim")
    loss = (share * data["center_series"].astype(float) ** 2).sum("dim", skipna=False)
    best = fastest(config.race, loss)
    # Nobody's state has a say in who arrives when: all points have the same counts.
    counts, here = data.isel(point=0), data.isel(point=best)
    found = {
        "loss": loss.isel(point=best),
        "used": counts["gradients"].isel(gradients_fate=0),
        "megabytes": counts["bytes"].sum("bytes_way"),
        "eta": here["eta"],
        "lr": here.coords.get("coupling_lr", xr.DataArray(np.nan)),
        "momentum": here.coords.get("coupling_momentum", xr.DataArray(np.nan)),
    }
    bare = lambda value: value.astype(np.float32).drop_vars([name for name in value.coords if name != "time"])
    return xr.Dataset({name: bare(value) for name, value in found.items()})


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """All protocols in all regimes, on the same clocks and with the same gradient noise.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `loss`, that of the center as a share of that at the start, at the best of the numbers that were tried, `used`,
        the gradients, and `megabytes` so far, (protocol, regime, time, sim) each; these best numbers, `eta`, `lr` and
        `momentum`, (protocol, regime), NaN where there are none.
    """
    arms = [(protocol, regime) for protocol in PROTOCOLS for regime in REGIMES]
    found = iter([raced(config, *arm) for arm in each(arms, "m-race", progress)])
    rows = [measured.along("regime", REGIMES, [next(found) for _ in REGIMES]) for _ in PROTOCOLS]
    return measured.along("protocol", list(PROTOCOLS), rows).transpose(..., "time", "sim")


def _regimes(says: str, name: str, regime: str, instead: str) -> Mutation:
    """In one regime what is asked by a name is that of another."""
    other = lambda right: lambda config, of: right(config, instead if of == regime else of)
    return Mutation(says, names={f"papers.modern.race.run.{name}": other})


MUTATIONS = {
    "stragglers equal": _regimes("stragglers' jobs take as long as all", "law", "stragglers", "equal"),
    "all stragglers": _regimes("jobs are of a Pareto law everywhere", "law", "equal", "stragglers"),
    "messages free": _regimes("messages take no time", "way", "slow messages", "equal"),
    "messages slow": _regimes("they always take long", "way", "stragglers", "slow messages"),
    "period 1": Mutation("each job is followed by a message", config=lambda c: dataclasses.replace(c, period=1)),
    "period halved": Mutation(
        "messages are sent twice as often", config=lambda c: dataclasses.replace(c, period=c.period // 2)
    ),
}
