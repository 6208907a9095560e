"""What is said of the weak error: its order in the learning rate."""

import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_most
from sdesim.papers.boffi_slotine.weak.config import MODELS, RULES, Config
from sdesim.papers.frame.measured import Runs

ORDERS = {"first": 1, "loss": 1, "second": 2}


def order(error: xr.DataArray) -> float:
    """The order of the mean of `error` (eta, sim): the exponent of eta in error = constant eta^order e^(c eta).

    Args:
        error: with eta and sim.
    """
    return statistics.slope(error["eta"], abs(statistics.grid_mean(error)), bent=True)


def _bias(runs: Runs, rule: str) -> float:
    """The largest bias over error of the second-order model."""
    error = statistics.grid_mean(runs.data["error"].sel(rule=rule, model="second"))
    return statistics.greatest(abs(statistics.grid_mean(runs.data["bias"].sel(rule=rule)) / error))


def _smallest(runs: Runs, rule: str, model: str) -> float:
    """The mean error at the smallest learning rate."""
    error = statistics.grid_mean(runs.data["error"].sel(rule=rule, model=model))
    return float(error.sel(eta=error["eta"].min()))


def statements(config: Config) -> list[Statement]:
    found = []
    for rule in config.rules:
        name = RULES[rule]
        for model, what in MODELS.items():
            expected = ORDERS[model]
            off = lambda runs, rule=rule, model=model, expected=expected: abs(
                order(runs.data["error"].sel(rule=rule, model=model)) - expected
            )
            text = f"{name}, {what}: the weak error is of order {expected} in the learning rate (distance of the fit)"
            found.append(Statement(f"{rule}-{model}-order", text, off, at_most(0.1, smoke=0.3)))
        found.append(
            Statement(
                f"{rule}-bias",
                f"{name}: the SDE is solved well enough (bias of its solution over the weak error it tests)",
                lambda runs, rule=rule: _bias(runs, rule),
                at_most(0.05, smoke=0.1),
            )
        )
        found.append(
            Statement(
                f"{rule}-gain",
                f"{name}: at the smallest learning rate the whole drift's correction pays (its error over that of the "
                "loss's correction alone)",
                lambda runs, rule=rule: abs(_smallest(runs, rule, "second") / _smallest(runs, rule, "loss")),
                at_most(0.1, smoke=0.1),
            )
        )
    return found
