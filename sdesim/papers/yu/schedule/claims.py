"""Rates that are taken from the runs, and what is said of them. Times are in units of m.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import functools

import numpy as np
import scipy.linalg
import scipy.stats
import xarray as xr
from numpy.typing import NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.papers.yu.schedule.config import Config
from sdesim.theory import staleness

SURE = 10.0  # standard errors that a mean must be off 0 for rates to be taken of it
SETTLING = 0.5  # from when on rates of equal workers are taken


# -- what is measured --------------------------------------------------------------------------------------------------


def unequal_rate(config: Config, values: xr.DataArray) -> float:
    """The rate at which the server's mean decays, of one number of unequal workers; NaN where it cannot be told.

    Args:
        config: constants of the experiment.
        values: of the server, (long, sim).
    """
    mean, told = _told(values)
    late = mean[told // 3 : told]
    return measured.decay(late[1:], late[:-1], config.every) if late.size > 5 else np.nan


def rate(config: Config, values: xr.DataArray) -> float:
    """The rate at which the means of server and workers decay, of equal workers; NaN where it cannot be told.

    Args:
        config: constants of the experiment.
        values: (what, short, sim).
    """
    after = values.isel(short=values["short"].values >= SETTLING)
    (server, until), (workers, end) = (_told(after.sel(what=what)) for what in ("server", "workers"))
    told = min(until, end)
    return measured.decay(server[:told], workers[:told], config.often) if told > 4 else np.nan


def _told(values: xr.DataArray) -> tuple[np.ndarray, int]:
    """The mean, and records up to the last at which it is off 0: an oscillation crosses it in between."""
    mean, error = statistics.monte_carlo(values.values, axis=-1)
    if not np.isfinite(mean).all():
        return mean, mean.size  # of which no rate is taken
    off = np.flatnonzero(np.abs(mean) > SURE * error)
    return mean, int(off[-1]) + 1 if off.size else 0


def rates(config: Config, data: xr.Dataset) -> xr.Dataset:
    """Rates of all runs: `unequal` (law, active), `stale` (law, threshold) and `waited` (barrier).

    Args:
        config: constants of the experiment.
        data: of the runs.
    """
    found = {}
    for name, of, axes in (
        ("unequal", unequal_rate, ["long", "sim"]),
        ("stale", rate, ["what", "short", "sim"]),
        ("waited", rate, ["what", "short", "sim"]),
    ):
        values = data[name]
        grid = values.isel({axis: 0 for axis in axes}, drop=True)
        cells = [of(config, values.isel(dict(zip(grid.dims, at, strict=True)))) for at in np.ndindex(*grid.shape)]
        found[name] = grid.copy(data=np.reshape(cells, grid.shape))
    return xr.Dataset(found)


# -- what is exact, and the limit of many workers ----------------------------------------------------------------------


def exact_path(config: Config, active: int, times: NDArray) -> NDArray:
    """E c of unequal memoryless workers.

    Args:
        config: constants of the experiment.
        active: how many, the fastest first.
        times: in m, (times,).

    Returns:
        (times,).
    """
    drift = staleness.unequal_means(config.means[:active], config.a)
    return (scipy.linalg.expm(times[:, None, None] * drift) @ np.ones(len(drift)))[:, 0]


def exact_unequal(config: Config, active: int) -> float:
    """The rate at which it decays.

    Args:
        config: constants of the experiment.
        active: how many, the fastest first.
    """
    drift = staleness.unequal_means(config.means[:active], config.a)
    return -float(np.linalg.eigvals(drift).real.max())


def shape_of(config: Config, law: str) -> float:
    """Of the gamma law that a law is.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
    """
    return 1.0 if law == "exponential" else config.shape


@functools.cache
def fluid_unequal(config: Config, law: str, active: int) -> float:
    """The rate of unequal workers in the limit of many: of s + sum_i (a / m_i) E exp(-s d_i) = 0.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
        active: how many, the fastest first.
    """
    means = config.means[:active]
    delays = staleness.workers_delay(staleness.gamma_delay(1.0, shape_of(config, law)), means)
    return staleness.characteristic_roots(config.a * float(np.sum(1 / means)), delays).rate


@functools.cache
def fluid_threshold(config: Config, law: str, threshold: float) -> float:
    """The rate of equal workers whose stale gradients are discarded, in the limit of many.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
        threshold: R.
    """
    shape = shape_of(config, law)
    times = scipy.stats.gamma(shape, scale=1 / shape)
    delays, used = staleness.threshold_delay(times.ppf, config.workers, threshold)
    if used > 1 - 1e-9:  # none is discarded
        delays = staleness.gamma_delay(1.0, shape)
    return staleness.characteristic_roots(config.workers * config.a * used, delays).rate


def fluid_barrier(config: Config, size: float) -> float:
    """The rate of gamma workers of which so many are waited for, in the limit of many more: of a learning rate eta / K.

    Args:
        config: constants of the experiment.
        size: K.
    """
    return -staleness.delay_root(config.workers * config.a / size, 1.0, config.shape).real


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    return [*_unequal(config), *_thresholds(config), *_barriers(config)]


def _unequal(config: Config) -> list[Statement]:
    best = max(config.active, key=lambda n: fluid_unequal(config, "gamma", n))
    all_of = config.active[-1]
    gamma = lambda runs, n: unequal_rate(config, runs.data["unequal"].sel(law="gamma", active=n))

    def told(d: xr.Dataset) -> xr.DataArray:
        return d["unequal"].sel(law="exponential", long=slice(0, config.long / 2))

    def off(runs: Runs) -> float:
        """The greatest distance of a rate of gamma workers from its root."""
        return statistics.greatest([abs(gamma(runs, n) - fluid_unequal(config, "gamma", n)) for n in config.active])

    return [
        # fails of gamma times and of fresh gradients
        measured.equal(
            "unequal-mean",
            "of unequal memoryless workers E c(t) is that of their linear law, whichever are activated, up to half of "
            "the run, beyond which a few simulations make up the mean",
            told,
            lambda d: xr.DataArray(
                [exact_path(config, int(n), told(d)["long"].values) for n in d["active"]],
                {"active": d["active"], "long": told(d)["long"]},
                ("active", "long"),
            ),
        ),
        # fails of fresh gradients
        Statement(
            "unequal-roots",
            f"of gamma times of shape {config.shape:g} it decays at the rate of the roots of "
            "s + sum_i (a / m_i) E exp(-s d_i), but for terms of order a (greatest distance of a rate, over a)",
            lambda runs: off(runs) / config.a,
            at_most(2.0, smoke=2.0),
        ),
        # fails of fresh gradients
        Statement(
            "slow-workers-hurt",
            f"there is a best set: {best} of {all_of} workers, of which {config.fast} are {config.slowness:g} times as "
            "fast as the others, decay faster than all (rate over that of all, gamma times)",
            lambda runs: gamma(runs, best) / gamma(runs, all_of),
            at_least(2.0, smoke=2.0),
        ),
    ]


def _thresholds(config: Config) -> list[Statement]:
    of = lambda runs, law, most: rate(config, runs.data["stale"].sel(law=law, threshold=most))
    none = config.thresholds[-1]
    best = {
        law: max(config.thresholds, key=lambda most, law=law: fluid_threshold(config, law, most))
        for law in ("exponential", "gamma")
    }

    def chosen(runs: Runs, law: str) -> tuple[float, float]:
        """The rate at the threshold that the roots choose, over the greatest that was seen."""
        found = [of(runs, law, most) for most in config.thresholds]
        return found[config.thresholds.index(best[law])] / statistics.greatest(found), 0.0

    return [
        # all fail of a threshold that is eight times as large
        Statement(
            "threshold-helps",
            f"of {config.workers} exponential workers, too many, those that discard what is {best['exponential']} "
            "updates stale decay faster than those that use all (ratio of rates)",
            lambda runs: of(runs, "exponential", best["exponential"]) / of(runs, "exponential", none),
            at_least(1.5, smoke=1.5),
        ),
        Statement(
            "threshold-rescues",
            f"and as many gamma workers, whose mean hardly decays or grows if nothing is discarded, do at a threshold "
            f"of {best['gamma']} (rate less the greater of 0 and of that)",
            lambda runs: of(runs, "gamma", best["gamma"]) - max(of(runs, "gamma", none), 0.0),
            at_least(0.5, smoke=0.5),
        ),
        *(
            Statement(
                f"threshold-chosen-{law}",
                f"the threshold that the roots choose before anything is run is near the best, {law} times (its rate "
                "over the greatest of any)",
                functools.partial(chosen, law=law),
                at_least(0.7, smoke=0.7),
                note="" if law == "gamma" else "fails of 48 workers: the best that is seen is 32, the roots say 16",
            )
            for law in ("exponential", "gamma")
        ),
    ]


def _barriers(config: Config) -> list[Statement]:
    of = lambda runs, size: rate(config, runs.data["waited"].sel(barrier=size))
    best = max(config.barriers, key=lambda size: fluid_barrier(config, size))
    return [
        # fails where the server waits for none
        Statement(
            "waiting-helps",
            f"a server that waits for {best} gradients and steps by their mean decays faster than one that waits for "
            f"{config.barriers[0]} (difference of rates, gamma times)",
            lambda runs: of(runs, best) - of(runs, config.barriers[0]),
            at_least(0.2, smoke=0.2),
        ),
    ]
