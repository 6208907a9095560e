"""The runs of y-schedule, without gradient noise: clocks alone are random."""

import numpy as np
import xarray as xr

from sdesim import objectives
from sdesim.asynchrony import (
    AbstractProtocol,
    Asynchronous,
    AsyncSGD,
    Exponential,
    Gamma,
    KAsyncSGD,
    Ringmaster,
)
from sdesim.dynamics import Dynamics
from sdesim.papers.frame import measured
from sdesim.papers.yu.schedule.config import LAWS, Config
from sdesim.papers.yu.workers.run import ServerAndWorkers
from sdesim.run import simulate


def stepper(config: Config, law: str, protocol: AbstractProtocol, active: int | None = None) -> Asynchronous:
    """Workers of a law and a protocol: unequal ones of which so many are active, or equal ones that work for long.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
        protocol: what they do.
        active: how many of the unequal ones are; None for equal ones.
    """
    means = 1.0 if active is None else config.means
    compute = Exponential(mean=means) if law == "exponential" else Gamma(shape=config.shape, mean=means)
    if active is None:
        return Asynchronous(protocol, compute=compute, start="stationary")
    # The others join when all is over, so that one program serves all numbers.
    late = np.where(np.arange(config.means.size) < active, 0.0, -2 * config.long)
    return Asynchronous(protocol, compute=compute, start=late)


def _path(
    config: Config, workers: int, length: float, every: float, made: Asynchronous, progress: bool
) -> xr.DataArray:
    """The server and the mean of the workers' points, which all start at 1, (what, time, sim)."""
    result = simulate(
        Dynamics(objectives.Quadratic(config.curvature), eta=config.eta),
        agents=workers,
        sims=config.sims,
        # A little before whole multiples, as the state just before is recorded.
        at=every * np.arange(1, round(length / every) + 1),
        seed=config.seed,
        init=1.0,
        stepper=made,
        observe=ServerAndWorkers(),
        progress=progress,
    )
    seen = result.to_xarray()[ServerAndWorkers.name].drop_attrs().astype(float)
    seen = seen.rename({f"{ServerAndWorkers.name}_what": "what"}).assign_coords(what=["server", "workers", "square"])
    return seen.sel(what=["server", "workers"]).transpose("what", "time", "sim")


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Unequal workers, thresholds and barriers.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        `unequal` (law, active, long, sim) of the server alone, `stale` (law, threshold, what, short, sim), and of
        gamma times `waited` (barrier, what, short, sim).
    """
    long = lambda law, n: _path(
        config, config.means.size, config.long, config.every, stepper(config, law, AsyncSGD(), n), progress
    )
    short = lambda law, protocol: _path(
        config, config.workers, config.short, config.often, stepper(config, law, protocol), progress
    )
    over = lambda name, values, of: measured.along(name, values, [of(value) for value in values])
    unequal = over("law", LAWS, lambda law: over("active", config.active, lambda n: long(law, n).sel(what="server")))
    threshold = over(
        "law", LAWS, lambda law: over("threshold", config.thresholds, lambda most: short(law, Ringmaster(most)))
    )
    barrier = over("barrier", config.barriers, lambda size: short("gamma", KAsyncSGD(size)))
    return xr.Dataset(
        {
            "unequal": unequal.drop_vars("what").rename(time="long"),
            "stale": threshold.rename(time="short"),
            "waited": barrier.rename(time="short"),
        }
    ).transpose("law", "active", "threshold", "barrier", "what", "long", "short", "sim")
