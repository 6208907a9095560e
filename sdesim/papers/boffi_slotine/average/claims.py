"""What is said of the time average, beside its exact law."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.average.config import ALIKE, UNEQUAL, Config, K, alike, differing
from sdesim.papers.boffi_slotine.average.run import SKEWNESS
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.theory import bounds

PAIRS = ((0, 0), (0, 1), (1, 1))  # the entries of a covariance in two dimensions


def limit(config: Config) -> np.ndarray:
    """Covariance of sqrt(n) z_n as n grows for agents that are preconditioned alike, (2, 2).

    Args:
        config: constants of the experiment.
    """
    matrix = np.array(config.noise)
    return bounds.average_covariance(config.curvature, matrix @ matrix.T, config.agents)


def differing_limit(config: Config, k: float) -> float:
    """Variance of sqrt(n) z_n as n grows for agents that are preconditioned differently.

    Args:
        config: constants of the experiment.
        k: coupling gain, in 1/time.
    """
    return bounds.average_covariance(1.0, 1.0, len(config.unequal), k, config.unequal).item()


def products(data: xr.Dataset) -> xr.DataArray:
    """Products of the coordinates of sqrt(n) z_n, whose mean is their covariance: (..., pair, sim).

    Args:
        data: with `alike`, (..., dim, sim).
    """
    x = data["alike"]
    parts = [x.isel(dim=i, drop=True) * x.isel(dim=j, drop=True) for i, j in PAIRS]
    return xr.concat(parts, xr.IndexVariable("pair", range(len(PAIRS)))).transpose(..., "pair", "sim")


def exact_products(config: Config) -> xr.DataArray:
    """The exact covariance, as (preconditioner, coupling.k, n, pair).

    Args:
        config: constants of the experiment.
    """
    entries = lambda c: [c[pair] for pair in PAIRS]
    values = [
        [[entries(alike(config, m, k).covariance(n)) for n in config.iterations] for k in config.k] for m in ALIKE
    ]
    coordinates = {"preconditioner": list(ALIKE), K: list(config.k), "n": list(config.iterations)}
    return xr.DataArray(values, {**coordinates, "pair": range(len(PAIRS))}, ("preconditioner", K, "n", "pair"))


def exact_differing(config: Config) -> xr.DataArray:
    """The exact variance with preconditioners that differ, as (unequal.k, n).

    Args:
        config: constants of the experiment.
    """
    values = [[differing(config, k).covariance(n).item() for n in config.iterations] for k in config.unequal_k]
    return xr.DataArray(values, {UNEQUAL: list(config.unequal_k), "n": list(config.iterations)}, (UNEQUAL, "n"))


def standardized(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Coordinates of sqrt(n) z_n without preconditioner, at the first gain, over their exact standard deviations.

    Args:
        config: constants of the experiment.
        data: measurements, as `run` gives them.
    """
    x = data["alike"].sel({"preconditioner": "none", K: config.k[0]})
    exact = [np.diag(alike(config, "none", config.k[0]).covariance(n)) for n in config.iterations]
    return x / xr.DataArray(np.sqrt(exact), {"n": list(config.iterations)}, ("n", "dim"))


def trace_ratio(config: Config, runs: Runs, preconditioner: str, n: int) -> float:
    """Trace of the measured covariance over that of the limit, at the first gain.

    Args:
        config: constants of the experiment.
        runs: the simulations.
        preconditioner: "none" or "common".
        n: number of iterations of the average.
    """
    x = runs.data["alike"].sel({"preconditioner": preconditioner, K: config.k[0], "n": n})
    return float(statistics.grid_mean(x**2).sum(skipna=False) / np.trace(limit(config)))


def _near_one(id: str, statement: str, ratio: Callable[[Runs], float], tolerance: float, smoke: float) -> Statement:
    """A ratio that must be 1 within a tolerance."""
    return Statement(id, statement, lambda runs: abs(ratio(runs) - 1), at_most(tolerance, smoke=smoke))


def statements(config: Config) -> list[Statement]:
    first, last = config.iterations[0], config.iterations[-1]
    ratio = lambda runs, m="none", n=last: trace_ratio(config, runs, m, n)

    def path_difference(runs: Runs) -> tuple[float, float]:
        x = runs.data["alike"]
        return statistics.greatest(abs(x - x.isel({K: 0})) / x.std("sim", skipna=False)), 0.0

    def kolmogorov(runs: Runs) -> tuple[float, float]:
        x = runs.data["alike"].sel({"preconditioner": "none", K: config.k[0], "n": last}).transpose("dim", "sim").values
        found = [statistics.kolmogorov(one / scale) for one, scale in zip(x, deviations, strict=True)]
        return statistics.greatest([one.value for one in found]), found[0].stderr

    def variance(runs: Runs, k: float) -> float:
        return float(statistics.grid_mean(runs.data["differing"].sel({UNEQUAL: k, "n": last}) ** 2))

    skewness = [alike(config, "none", config.k[0]).skewness(n, SKEWNESS) for n in config.iterations]
    exact_skewness = xr.DataArray(skewness, {"n": list(config.iterations)}, ("n", "dim"))
    deviations = np.sqrt(np.diag(limit(config)))
    strongest = max(config.unequal_k)
    expected = differing_limit(config, strongest) / differing_limit(config, 0.0)
    return [
        measured.equal(
            "covariance",
            "the covariance of sqrt(n) z_n is that of the iteration for every gain, n and common preconditioner",
            products,
            lambda _: exact_products(config),
        ),
        _near_one("limit", "at the longest n it is A^-1 S A^-T / p (trace, relative distance)", ratio, 0.1, 0.4),
        _near_one(
            "common-preconditioner",
            "a preconditioner common to all agents changes nothing at the longest n (trace, relative distance)",
            lambda runs: ratio(runs, "common") / ratio(runs),
            0.05,
            0.2,
        ),
        Statement(
            "not-at-once",
            "and at the shortest it is less, because the average remembers the start (trace over the limit)",
            lambda runs: ratio(runs, n=first),
            at_most(0.85, smoke=0.9),
        ),
        Statement(
            "any-gain",
            "the gain changes no path of the quorum, whatever its size (largest difference over the spread)",
            path_difference,
            at_most(1e-3, smoke=1e-3),
        ),
        Statement(
            "normal",
            "the law at the longest n is the normal one with that covariance (Kolmogorov-Smirnov distance)",
            kolmogorov,
            at_most(0.02, smoke=0.08),
        ),
        measured.equal(
            "skewness",
            "on the way there its skewness is that of the skewed noise, summed",
            lambda data: standardized(config, data) ** 3,
            lambda _: exact_skewness,
        ),
        measured.equal(
            "differing",
            "with preconditioners that differ the variance is that of the coupled iteration, for every gain and n",
            lambda data: data["differing"] ** 2,
            lambda _: exact_differing(config),
        ),
        _near_one(
            "differing-uncoupled",
            "without coupling, preconditioners that differ change nothing either (variance at the longest n, relative "
            "distance from 1/p)",
            lambda runs: variance(runs, 0.0) * len(config.unequal),
            0.1,
            0.35,
        ),
        Statement(
            "differing-worse-coupled",
            f"coupled at k = {strongest:g} they cost variance (over that without coupling; the limit's is "
            f"{expected:.3g})",
            lambda runs: variance(runs, strongest) / variance(runs, 0.0),
            at_least(1 + (expected - 1) / 2, smoke=1.02),
        ),
    ]
