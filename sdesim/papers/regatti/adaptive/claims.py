"""What is taken from the runs of r-adaptive, and what is said of them.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs
from sdesim.papers.regatti.adaptive.config import ADAPTIVE, RULES, Config

CONSTANT, ROOT, FULL = RULES


# -- what is measured --------------------------------------------------------------------------------------------------


def mean_excess(data: xr.Dataset) -> xr.DataArray:
    """The excess of the unseen loss in the mean over simulations; infinite where one is.

    Args:
        data: of the runs.
    """
    mean = data["excess"].mean("sim")
    return mean.where(np.isfinite(mean), np.inf)


def stable_rates(config: Config, excess: xr.DataArray) -> tuple[float, float]:
    """The greatest of the learning rates at which the mean loss has not grown, and the one above it.

    Args:
        config: constants of the experiment.
        excess: at the end, in the mean over simulations, of one rule and number of workers, (eta,).

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
    """The least time to the level over all learning rates, of one rule and number of workers.

    Args:
        config: constants of the experiment.
        excess: in the mean over simulations, (eta, step).

    Returns:
        In arrivals.
    """
    return min(time_to_level(config, excess.sel(eta=eta)) for eta in excess["eta"].values)


def best_excess(excess: xr.DataArray) -> xr.DataArray:
    """The least loss at the end over all learning rates.

    Args:
        excess: in the mean over simulations, (..., eta, step).
    """
    return excess.isel(step=-1).min("eta")


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    crowd, most, least = config.workers[-1], config.counts[-1], config.counts[0]
    low = min(config.etas, key=lambda eta: abs(eta - config.eta / 4))
    rules = [CONSTANT, ROOT, FULL, ADAPTIVE]

    def end(runs: Runs, rule: str, p: int, eta: float = config.eta, n: int = most) -> float:
        return float(mean_excess(runs.data).isel(step=-1).sel(rule=rule, workers=p, eta=eta, samples=n))

    def gap(runs: Runs, rule: str, p: int, n: int, eta: float = config.eta) -> float:
        return float(statistics.grid_mean(runs.data["gap"].sel(rule=rule, workers=p, samples=n, eta=eta)))

    def limit(runs: Runs, rule: str, p: int) -> float:
        return stable_rates(config, mean_excess(runs.data).isel(step=-1).sel(rule=rule, workers=p, samples=most))[0]

    def best(runs: Runs, rule: str, p: int) -> float:
        return float(best_excess(mean_excess(runs.data)).sel(rule=rule, workers=p, samples=most))

    def time(runs: Runs, rule: str, p: int) -> float:
        return best_time(config, mean_excess(runs.data).sel(rule=rule, workers=p, samples=most))

    return [
        # fails of fresh gradients
        Statement(
            "must-be-lower",
            f"the more asynchronous, the lower a constant learning rate must be: one worker's greatest stable one over "
            f"that of {crowd} (of the grid)",
            lambda runs: (limit(runs, CONSTANT, 1) / limit(runs, CONSTANT, crowd), 0.0),
            at_least(2.5, smoke=1.9),
        ),
        # fails of rates that know no staleness
        Statement(
            "falls-by-itself",
            f"a rate that falls as (1 + s)^-1/2 does so by itself: {crowd} workers are stable at as many times the "
            "greatest constant rate",
            lambda runs: (limit(runs, ROOT, crowd) / limit(runs, CONSTANT, crowd), 0.0),
            at_least(3.0, smoke=3.0),
        ),
        # fails of rates that know no staleness
        Statement(
            "same-rate",
            f"at eta = {config.eta:g} it makes the excess unseen loss of {crowd} workers no greater than that of one at "
            "the constant rate (ratio)",
            lambda runs: end(runs, ROOT, crowd) / end(runs, CONSTANT, 1),
            at_most(1.0, smoke=1.0),
        ),
        # fails of fresh gradients
        Statement(
            "no-samples-help",
            f"where it is not stable, no number of samples makes asynchronous SGD generalize: of {crowd} workers at "
            f"twice eta = {config.eta:g} the loss has grown at every n (least over the loss at the start)",
            lambda runs: statistics.least([min(end(runs, CONSTANT, crowd, 2 * config.eta, n), 1e30) for n in config.counts]) / config.start,
            at_least(1.0, smoke=1.0),
        ),
    ]
