"""What is said of arrivals and of staleness. At each statement stands a wrong model of which it fails.

The tests run them: gamma times of another shape, exponential or equal ones in their place, workers that start
together, equal ones of random phase in place of in turn, and jobs that are lost.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.yu.poisson.config import Config
from sdesim.papers.yu.poisson.run import law
from sdesim.theory import renewals

RANDOM = ["exponential", "gamma", "log-normal"]
"""Laws of times that are not all equal."""


# -- what is exact, over the grid of what is measured ------------------------------------------------------------------


def _over(config: Config, laws: list[str], exact: Callable[[Any, int], Any], **axis: Any) -> xr.DataArray:
    """exact(law, p), an array over `axis`, for laws and all numbers of workers."""
    found = np.array([[exact(law(config, name), p) for p in config.workers] for name in laws])
    return xr.DataArray(found, {"law": laws, "workers": list(config.workers), **axis}, ("law", "workers", *axis))


def exact_near(config: Config, laws: list[str]) -> xr.DataArray:
    """Dispersion in windows that shrink, (law, workers).

    Args:
        config: constants of the experiment.
        laws: by name.
    """
    return _over(config, laws, lambda of, p: renewals.dispersion(of, p, config.near / p))


@functools.cache
def exact_share(config: Config) -> xr.DataArray:
    """Of random times, probabilities of numbers of arrivals in such windows, (law, workers, count).

    Args:
        config: constants of the experiment.
    """
    size = config.most + 1
    padded = lambda found: np.pad(found, (0, max(size - found.size, 0)))[:size]
    shares = lambda of, p: padded(renewals.count_law(of, p, config.near / p))
    return _over(config, RANDOM, shares, count=np.arange(size))


def exact_fixed(config: Config, laws: list[str]) -> xr.DataArray:
    """Dispersion in windows that do not shrink, the same for all p, (law, workers, window).

    Args:
        config: constants of the experiment.
        laws: by name.
    """
    one = lambda of: renewals.dispersion(of, 1, config.fixed)
    return _over(config, laws, lambda of, p: one(of), window=list(config.fixed))


def exact_square(config: Config, laws: list[str]) -> xr.DataArray:
    """Variance over mean of the staleness, (law, workers).

    Args:
        config: constants of the experiment.
        laws: by name.
    """
    return _over(config, laws, lambda of, p: renewals.staleness_moments(of, p)[1] / (p - 1))


def exact_below(config: Config, workers: int) -> xr.DataArray:
    """Of random times, shares of jobs whose staleness is at most a level, times p, (law, level).

    Args:
        config: constants of the experiment.
        workers: p.
    """
    at = [int(level * workers) for level in config.levels]
    found = [np.cumsum(renewals.staleness_law(law(config, name), workers, max(at)))[at] for name in RANDOM]
    return xr.DataArray(np.array(found), {"law": RANDOM, "level": list(config.levels)}, ("law", "level"))


def poisson_distance(config: Config, data: xr.Dataset) -> xr.DataArray:
    """How far arrivals in windows that shrink are from Poisson in total variation, (law, workers, sim).

    The difference of the two probabilities of the set in which theory says that it is greatest: a mean of simulations,
    without bias.

    Args:
        config: constants of the experiment.
        data: of the runs.
    """
    poisson = xr.DataArray(scipy.stats.poisson.pmf(np.arange(config.most + 1), config.near), dims="count")
    more = exact_share(config) > poisson
    return ((data["share"].sel(law=RANDOM) - poisson) * more).sum("count", skipna=False)


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    crowd, few = config.workers[-1], config.workers[0]
    gamma = lambda values: values.sel(law="gamma", workers=crowd)
    return [*_arrivals(config, few, crowd, gamma), *_staleness(config, crowd, gamma)]


def _arrivals(config: Config, few: int, crowd: int, gamma: measured.Measured) -> list[Statement]:
    c = config.near
    laws = [*RANDOM, "equal"]

    def of(runs: measured.Runs, p: int) -> float:
        """The distance of p workers with gamma times."""
        return float(statistics.grid_mean(poisson_distance(config, runs.data).sel(law="gamma", workers=p)))

    return [
        # fails of exponential times in place of gamma ones and of workers that start together
        measured.equal(
            "near-dispersion",
            f"in windows of {c:g} m / p the variance over the mean of the number of arrivals is that of superposed "
            "renewals, for every law of times and p",
            lambda d: d["near"],
            lambda d: exact_near(config, laws),
        ),
        # fails of exponential times in place of gamma ones and of workers that start together
        measured.equal(
            "near-law",
            "and so is the probability of each number of arrivals that one window in a hundred has, for every law but "
            "equal times",
            lambda d: measured.asked(d["share"].sel(law=RANDOM), exact_share(config) > 0.01),
            lambda d: measured.asked(exact_share(config), exact_share(config) > 0.01),
        ),
        # fails of equal workers in turn in place of gamma times
        Statement(
            "near-poisson",
            f"of {crowd} workers with gamma times of shape {config.shape:g} it looks Poisson: the distance in total "
            "variation is small",
            lambda runs: of(runs, crowd),
            at_most(0.02, smoke=0.02),
        ),
        # fails of equal workers in turn in place of gamma times
        Statement(
            "near-falls",
            f"it falls about as 1 / p: from {few} to {crowd} workers (ratio of the distances)",
            lambda runs: of(runs, crowd) / of(runs, few),
            at_most(2 * few / crowd, smoke=2 * few / crowd),
        ),
        # fails of equal workers of random phase
        Statement(
            "in-turn",
            f"equal workers that arrive in turn never become Poisson: {c:g} of them in every window (greatest variance "
            "over mean)",
            lambda runs: (statistics.greatest(runs.data["in_step"].sel(start="in turn")), 0.0),
            at_most(1e-9, smoke=1e-9),
        ),
        # fails of another shape and of workers that start together
        measured.equal(
            "fixed-dispersion",
            "over a window of fixed length the variance over the mean is that of one worker, at every p and for every "
            "law of times",
            lambda d: d["fixed"].sel(law=RANDOM),
            lambda d: exact_fixed(config, RANDOM),
        ),
        # fails of exponential times in place of gamma ones
        Statement(
            "fixed-never",
            f"so that more workers do not make it Poisson: over m of {crowd} workers with gamma times it is far from 1 "
            "(distance)",
            lambda runs: abs(1 - float(statistics.grid_mean(gamma(runs.data["fixed"]).sel(window=1.0)))),
            at_least(0.5, smoke=0.5),
        ),
    ]


def _staleness(config: Config, crowd: int, gamma: measured.Measured) -> list[Statement]:
    numbers = xr.DataArray(list(config.workers), dims="workers", coords={"workers": list(config.workers)})
    tame = ["exponential", "gamma"]
    return [
        # fails where jobs are lost
        measured.equal(
            "staleness-mean",
            "the mean staleness is p - 1 for every law of times",
            lambda d: d["staleness"].sel(law=RANDOM),
            lambda d: numbers - 1,
        ),
        # fails of another shape
        measured.equal(
            "staleness-law",
            "the share of jobs whose staleness is below a quarter to twice p is that of arrivals of others in a window "
            f"as long as the job, of {crowd} workers for every law of times",
            lambda d: d["below"].sel(law=RANDOM, workers=crowd),
            lambda d: exact_below(config, crowd),
        ),
        # fails of another shape
        measured.equal(
            "staleness-square",
            "of exponential times its variance over its mean is p, of gamma ones near p / shape as theory says",
            lambda d: d["square"].sel(law=tame),
            lambda d: exact_square(config, tame),
        ),
        # fails of equal times in place of gamma ones
        Statement(
            "staleness-never",
            f"so it never becomes Poisson: of {crowd} workers with gamma times the variance is many times the mean, "
            "where that of arrivals in a window is below it (ratio)",
            lambda runs: float(statistics.grid_mean(gamma(runs.data["square"]))),
            at_least(0.8 * crowd / config.shape, smoke=0.8 * crowd / config.shape),
        ),
        # fails of gamma times in place of equal ones
        Statement(
            "staleness-equal",
            "of equal times every staleness is p - 1 (greatest mean square distance, over p - 1)",
            lambda runs: (statistics.greatest(runs.data["square"].sel(law="equal")), 0.0),
            at_most(0.0, smoke=0.0),
        ),
    ]
