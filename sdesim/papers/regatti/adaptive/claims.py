"""What is taken from the runs of r-adaptive, and what is said of them.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs
from sdesim.papers.regatti.adaptive.config import ADAPTIVE, KINDS, Config

CONSTANT, ROOT, FULL = KINDS


# -- what is measured --------------------------------------------------------------------------------------------------


def mean_excess(data: xr.Dataset) -> xr.DataArray:
    """The excess of the unseen loss in the mean over simulations; infinite where one is.

    Args:
        data: of the runs.
    """
    mean = data["excess"].mean("sim", skipna=False)
    return mean.where(np.isfinite(mean), np.inf)


def stable_rates(config: Config, excess: xr.DataArray) -> tuple[float, float]:
    """The greatest of the learning rates at which the mean loss has not grown, and the one above it.

    Args:
        config: constants of the experiment.
        excess: at the end, in the mean over simulations, of one kind of rate and number of workers, (eta,).

    Returns:
        Both; 0 where none is stable, infinite where all are.
    """
    good = excess.values < config.start
    first = len(good) if good.all() else int(np.argmin(good))
    etas = [0.0, *excess["eta"].values, np.inf]
    return float(etas[first]), float(etas[first + 1])


def time_to_level(config: Config, excess: xr.DataArray) -> float:
    """At which record the mean loss has come below the level to stay there.

    Args:
        config: constants of the experiment.
        excess: in the mean over simulations, (step,).

    Returns:
        In arrivals; infinite where it is above the level at the last record.
    """
    above = np.flatnonzero(~(excess.values <= config.level))
    step = excess["step"].values
    if above.size == 0:
        return float(step[0])
    return float(step[above[-1] + 1]) if above[-1] + 1 < step.size else np.inf


def best_time(config: Config, excess: xr.DataArray) -> float:
    """The least time to the level over all learning rates, of one kind of rate and number of workers.

    Args:
        config: constants of the experiment.
        excess: in the mean over simulations, (eta, step).

    Returns:
        In arrivals.
    """
    return min(time_to_level(config, excess.sel(eta=eta)) for eta in excess["eta"].values)


def best_rate(excess: xr.DataArray) -> float:
    """The learning rate of the least loss at the end, of one kind of rate and number of workers.

    Args:
        excess: in the mean over simulations, (eta, step).
    """
    return float(excess["eta"][int(excess.isel(step=-1).argmin("eta"))])


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    crowd, most, least = config.workers[-1], config.counts[-1], config.counts[0]
    high = min(eta for eta in config.etas if eta > config.eta)
    staleness_kinds = (ROOT, FULL, ADAPTIVE)

    def excess(runs: Runs, kind: str, p: int, n: int = most) -> xr.DataArray:
        return mean_excess(runs.data).sel(kind=kind, workers=p, samples=n)

    def end(runs: Runs, kind: str, p: int, eta: float, n: int = most) -> float:
        return float(excess(runs, kind, p, n).isel(step=-1).sel(eta=eta))

    def limit(runs: Runs, kind: str, p: int) -> float:
        return stable_rates(config, excess(runs, kind, p).isel(step=-1))[0]

    over = lambda one, other: one / other if other else np.nan

    def best(runs: Runs, kind: str, p: int) -> float:
        return float(excess(runs, kind, p).isel(step=-1).min())

    def off(runs: Runs) -> float:
        """The greatest relative distance of a gap from that of the least squares, each kind at its best rate."""
        found = []
        for n, fitted in zip(config.counts, config.fitted_gap(), strict=True):
            for kind in (CONSTANT, *staleness_kinds):
                at = dict(kind=kind, workers=crowd, samples=n, eta=best_rate(excess(runs, kind, crowd, n)))
                found.append(abs(float(statistics.grid_mean(runs.data["gap"].sel(at))) / fitted - 1))
        return statistics.greatest(found)

    return [
        # fails of fresh gradients
        Statement(
            "must-be-lower",
            "the more asynchronous, the lower a constant learning rate must be: the greatest stable one of one "
            f"worker over that of {crowd} (of the grid)",
            lambda runs: (over(limit(runs, CONSTANT, 1), limit(runs, CONSTANT, crowd)), 0.0),
            at_least(2.5, smoke=2.5),
        ),
        # fails of fresh gradients
        Statement(
            "no-samples-help",
            f"where it is not stable, no number of samples makes asynchronous SGD generalize: at a constant {high:g} "
            f"the unseen loss of {crowd} workers has grown at every n (the least over that at the start, up to ten)",
            lambda runs: (
                statistics.least([min(end(runs, CONSTANT, crowd, high, n), 10 * config.start) for n in config.counts])
                / config.start,
                0.0,
            ),
            at_least(1.0, smoke=1.0),
        ),
        # fails of rates that know no staleness
        Statement(
            "falls-by-itself",
            f"a rate that falls as (1 + s)^-1/2 does so by itself: the greatest stable one of {crowd} workers over the "
            "constant one (of the grid)",
            lambda runs: (over(limit(runs, ROOT, crowd), limit(runs, CONSTANT, crowd)), 0.0),
            at_least(3.0, smoke=3.0),
        ),
        # fails of rates that know no staleness
        Statement(
            "same-rate",
            f"at eta = {config.eta:g} it leaves {crowd} workers less excess of the unseen loss than one worker has "
            "(ratio)",
            lambda runs: end(runs, ROOT, crowd, config.eta) / end(runs, CONSTANT, 1, config.eta),
            at_most(0.8, smoke=0.8),
        ),
        # fails where low rates are not tried
        Statement(
            "a-low-rate-does-as-well",
            f"but none is much better than a constant rate that is low enough: the least excess of {crowd} workers by "
            "one that knows the staleness over that by a constant rate, each at its best learning rate",
            lambda runs: min(best(runs, kind, crowd) for kind in staleness_kinds) / best(runs, CONSTANT, crowd),
            at_least(0.75, smoke=0.75),
        ),
        # fails of rates that know no staleness
        Statement(
            "sooner-there",
            f"though the level {config.level:g} of the excess they reach sooner by (1 + s)^-1/2 (time by a constant "
            "rate over that, each at its best learning rate)",
            lambda runs: (
                best_time(config, excess(runs, CONSTANT, crowd)) / best_time(config, excess(runs, ROOT, crowd))
            ),
            at_least(1.2, smoke=1.2),
        ),
        # fails of draws from other samples than those whose loss is looked at
        Statement(
            "gap-knows-no-rate",
            f"and the gap is that of the least squares, which falls as 1 / n, by each kind of rate: from n = {least} "
            f"to {most}, of {crowd} workers at the best learning rate (greatest relative difference)",
            off,
            at_most(0.3, smoke=0.4),
        ),
    ]
