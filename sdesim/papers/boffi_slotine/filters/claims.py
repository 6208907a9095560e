"""What is said of single-agent methods, beside their exact laws."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.filters.config import CONVERGING, FILTERS, Config, iteration
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.theory import transition


def exact(config: Config, method: str, k: float) -> tuple[float, float]:
    """Stationary variance of the agent and of its center (for SGD and momentum, of itself) on the quadratic.

    Args:
        config: constants of the experiment.
        method: its name.
        k: coupling gain, in 1/time.
    """
    v = iteration(config, method, k).covariance()
    return float(v[0, 0]), float(v[1, 1] if method in FILTERS else v[0, 0])


def _exact(config: Config, data: xr.Dataset, index: int, methods: Sequence[str]) -> xr.DataArray:
    values = [[exact(config, m, float(k))[index] for k in data["k"].values] for m in methods]
    return xr.DataArray(np.array(values), {"algorithm": list(methods), "k": data["k"].values})


def energy_bound(config: Config, k: float) -> float:
    """Bound of E[x^2 + (k / r) c^2] of the linear filter on the log cosh loss.

    Args:
        config: constants of the experiment.
        k: coupling gain, in 1/time.
    """
    least, greatest = config.curvature, config.curvature + config.weight
    return transition.filter_energy(config.eta, config.sigma**2, k, config.rate, least, greatest)


def _best(data: xr.Dataset, method: str) -> float:
    """The largest share of centers in the deepest basin over the gains."""
    return statistics.greatest(statistics.grid_mean(data["center_found"].sel(algorithm=method)))


def statements(config: Config) -> list[Statement]:
    others = ("sgd", "heavy ball", "nesterov")
    solvable = ("linear", *others)
    variance = lambda name, methods: lambda d: d[f"{name}_variance"].sel(algorithm=list(methods))
    sgd = lambda d: statistics.grid_mean(d["center_variance"].sel(algorithm="sgd", drop=True))
    limit = 2 / config.eta - config.k_shown
    beyond = lambda d, method: measured.asked(d["square"].sel(filter=method), d["rate"] > limit)
    decays = lambda d: np.array([[iteration(config, m, float(k)).decay() for k in d["k"].values] for m in CONVERGING])

    def lead(runs: Runs) -> float:
        """Share of the linear filter at the gain shown, less the largest of the others."""
        share = statistics.grid_mean(runs.data["center_found"]).sel(k=config.k_shown)
        return float(share.sel(algorithm="linear")) - statistics.greatest(share.sel(algorithm=list(others)))

    return [
        measured.equal(
            "agent-variance-exact",
            "on a quadratic the variance of the agent is that of the linear iteration, with a filter and without",
            variance("x", solvable),
            lambda d: _exact(config, d, 0, solvable),
        ),
        measured.equal(
            "center-variance-exact",
            "and so is that of the linear filter's center",
            variance("center", ("linear",)),
            lambda d: _exact(config, d, 1, ("linear",)),
        ),
        measured.ratio(
            "center-as-quiet-as-sgd",
            "the center is no noisier than SGD of the same effective rate (largest ratio of variances)",
            lambda d: d["center_variance"].sel(algorithm="linear"),
            sgd,
            at_most(1.0, smoke=1.05),
        ),
        measured.ratio(
            "center-no-farther",
            "and on log cosh it is no farther from the minimum (largest ratio of distances)",
            lambda d: d["distance"].sel(algorithm="linear"),
            lambda d: statistics.grid_mean(d["distance"].sel(algorithm="sgd", drop=True)),
            at_most(1.0, smoke=1.05),
        ),
        measured.ratio(
            "saturating-quieter",
            "the center of a filter that saturates is no noisier either (largest ratio of variances on the quadratic)",
            lambda d: d["center_variance"].sel(algorithm="saturating"),
            sgd,
            at_most(1.0, smoke=1.05),
        ),
        Statement(
            "rates-are-eigenvalues",
            "filter and SGD converge at the rate of their slowest eigenvalue (largest relative deviation)",
            lambda runs: (statistics.greatest(abs(runs.data["decay"].values / decays(runs.data) - 1)), 0.0),
            at_most(0.01, smoke=0.01),
        ),
        measured.below(
            "energy-bound",
            "on log cosh Theorem 5.2's argument, made for the iteration and any rate r, bounds E[x^2 + k c^2 / r]",
            lambda d: d["energy"].sel(algorithm="linear"),
            lambda d: xr.DataArray([energy_bound(config, float(k)) for k in d["k"].values], {"k": d["k"].values}),
        ),
        measured.ratio(
            "energy-bound-tight",
            "and is loose by no more than a factor 20 (least ratio)",
            lambda d: d["energy"].sel(algorithm="linear"),
            lambda d: xr.DataArray([energy_bound(config, float(k)) for k in d["k"].values], {"k": d["k"].values}),
            at_least(0.05, smoke=0.05),
            note="the factor is what was found, not a prediction",
        ),
        Statement(
            "saturating-speed",
            "from afar the saturating filter's center moves at its largest speed r w, and no faster (largest speed)",
            lambda runs: (statistics.greatest(runs.data["speed"]) / (config.rate * config.width), 0.0),
            at_most(1.0001, smoke=1.0001),
        ),
        Statement(
            "linear-unstable",
            f"the linear filter diverges beyond eta (k + r) = 2, r = {limit:g} (share of runs)",
            lambda runs: ~cast(xr.DataArray, np.isfinite(beyond(runs.data, "linear"))).any("point").values,
            at_least(0.9, smoke=0.8),
        ),
        Statement(
            "saturating-stable",
            "where the saturating filter is stable (root mean square of the agent at the largest rate)",
            lambda runs: float(statistics.grid_mean(beyond(runs.data, "saturating").isel(point=-1)) ** 0.5),
            at_most(1.0, smoke=1.0),
        ),
        Statement(
            "center-finds-deepest",
            f"at k = {config.k_shown:g} the linear filter's center is in the oscillating loss's deepest smoothed basin "
            "more often than SGD, heavy ball and Nesterov of the same effective rate (share, difference)",
            lead,
            at_least(0.1),
        ),
        Statement(
            "center-finds-best",
            "and at its best gain more often than any of them at its best rate (share, difference)",
            lambda runs: _best(runs.data, "linear") - max(_best(runs.data, m) for m in others),
            at_least(0.0),
            note="a small lead: SGD at a rate of its own comes close",
        ),
        Statement(
            "saturating-finds-best",
            "the saturating filter's center is there more often than the linear filter's (best share, difference)",
            lambda runs: _best(runs.data, "saturating") - _best(runs.data, "linear"),
            at_least(0.0),
            note="left open by the paper: at this rate and width it is about as good, at smaller gains",
        ),
    ]
