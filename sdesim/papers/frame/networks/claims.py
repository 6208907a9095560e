"""What statements about trained arms measure, and the statements that hold of every such experiment."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.config import Arm, Config
from sdesim.statistics import greatest, least

# Of ten classes: the cross-entropy in nats, and the error in percent, of a network that guesses.
GUESS_LOSS, GUESS_ERROR = float(np.log(10.0)), 90.0


def guessing(data: xr.Dataset, classes: int = 10) -> xr.Dataset:
    """Measurements, in which what has diverged is tested as a network is that guesses.

    Args:
        data: as `train` returns it.
        classes: of the images.
    """
    guess = {"test_loss": np.log(classes), "test_accuracy": 100 / classes}
    return data.assign({n: data[n].where(np.isfinite(data[n]), value) for n, value in guess.items() if n in data})


def last(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """A metric of an arm after the last epoch, (sims,); of what has diverged not a number, of which a claim fails.

    Args:
        data: as `train` returns it.
        name: of the metric.
        arm: label of the arm.
    """
    return data[name].sel(arm=arm).isel(epoch=-1).values.astype(float)


def best(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """The best value of a metric over the epochs, (sims,).

    Of a run that diverges it is not a number, of which a claim fails: its best may be the untrained start.

    Args:
        data: as `train` returns it.
        name: of the metric.
        arm: label of the arm.
    """
    values = data[name].sel(arm=arm)
    found = values.max if name.endswith("accuracy") else values.min
    return found("epoch", skipna=False).values.astype(float)


def gain(arm: str, over: str, name: str = "test_accuracy") -> Callable[[Runs], np.ndarray]:
    """By how much the best value of a metric is better for one arm than for another, run by run: runs are paired.

    Args:
        arm: label of the one that is to be better.
        over: label of the other.
        name: of the metric.

    Returns:
        The statistic, in the metric's units, (sims,).
    """
    sign = 1 if name.endswith("accuracy") else -1
    return lambda runs: sign * (best(runs.data, name, arm) - best(runs.data, name, over))


def distance(of: str, over: str) -> Callable[[Runs], np.ndarray]:
    """The agents' distance after the last epoch in one arm over that in another, run by run: runs are paired.

    Args:
        of: label of the arm in the numerator.
        over: label of the arm in the denominator.

    Returns:
        The statistic, (sims,).
    """
    return lambda runs: last(runs.data, "spread", of) / last(runs.data, "spread", over)


def at_start(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """A metric of an arm before training, (sims,).

    Args:
        data: as `train` returns it.
        name: of the metric.
        arm: label of the arm.
    """
    return data[name].sel(arm=arm).isel(epoch=0).values.astype(float)


def learns(id: str, arms: Sequence[Arm], points: float = 20.0) -> Statement:
    """Every arm's agents learn: a statement that holds at any size, as even twelve steps learn the synthetic set.

    Args:
        id: what the statement is called within its figure.
        arms: what is compared.
        points: of test accuracy that must be gained.
    """

    def smallest(runs: Runs) -> tuple[float, float]:
        name = "agents_test_accuracy"
        return least([best(runs.data, name, arm.label) - at_start(runs.data, name, arm.label) for arm in arms]), 0.0

    text = "the agents of every arm learn in every run (least gain of test accuracy over the start, points)"
    return Statement(id, text, smallest, at_least(points, smoke=points))


def differs(id: str, statement: str, of: str, other: str, config: Config) -> Statement:
    """Two arms take different paths from one start.

    It is seen after an epoch of so few steps that what rounding does in them is far below the threshold.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        of: label of an arm.
        other: label of the other arm.
        config: constants of the experiment.
    """

    def smallest(runs: Runs) -> tuple[float, float]:
        a, b = (runs.data["agents_train_loss"].sel(arm=arm).isel(epoch=1).values for arm in (of, other))
        return least(abs(a / b - 1)), 0.0

    text = f"{statement} (relative difference of training losses after epoch 1, least of the runs)"
    note = "" if config.short else "counted at smoke size alone: over more steps rounding grows as large"
    return Statement(id, text, smallest, at_least(1e-3, smoke=1e-3), note)


def same_starts(id: str, arms: Sequence[Arm]) -> Statement:
    """Arms of one run number start at one point: exact at any size, up to the rounding of different programs.

    Args:
        id: what the statement is called within its figure.
        arms: what is compared.
    """

    def worst(runs: Runs) -> tuple[float, float]:
        values = [np.stack([at_start(runs.data, "agents_test_loss", arm.label) for arm in g]) for g in groups]
        return greatest([greatest(np.ptp(v, axis=0)) for v in values]), 0.0

    groups = [
        [arm for arm in arms if (arm.first, arm.agents) == key]
        for key in {(arm.first, arm.agents): None for arm in arms}
    ]
    text = "the methods compared start at the same points (largest difference of test losses before training)"
    return Statement(id, text, worst, at_most(1e-3, smoke=1e-3))
