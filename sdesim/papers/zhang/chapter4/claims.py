"""Statistics of methods, each at the learning rate of its smallest test error, and what holds at any size."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.zhang.chapter4.methods import MethodArm, Methods, flat
from sdesim.statistics import greatest, least


def errors(data: xr.Dataset, arm: MethodArm) -> np.ndarray:
    """Test error of the tested model in percent, (epochs + 1, sims); of what has diverged that of a guess.

    Args:
        data: as `train` returns it.
        arm: of a method.
    """
    tested = net.guessing(data[["test_accuracy"]].sel(arm=arm.label))["test_accuracy"]
    return 100 - tested.transpose("epoch", "sim").values.astype(float)


def chosen(data: xr.Dataset, arms: Sequence[MethodArm]) -> MethodArm:
    """Of a method's arms the one with the smallest achievable test error, in the mean over runs.

    Args:
        data: as `train` returns it.
        arms: of one method, at its learning rates.
    """
    return min(arms, key=lambda arm: errors(data, arm).min(axis=0).mean())


def smallest(data: xr.Dataset, arms: Sequence[MethodArm]) -> np.ndarray:
    """The smallest test error over the epochs, at the chosen learning rate, (sims,).

    Args:
        data: as `train` returns it.
        arms: of one method, at its learning rates.
    """
    return errors(data, chosen(data, arms)).min(axis=0)


def during(data: xr.Dataset, arms: Sequence[MethodArm], epochs: slice = slice(1, None)) -> np.ndarray:
    """The mean test error over the epochs, at the chosen learning rate, (sims,).

    Args:
        data: as `train` returns it.
        arms: of one method, at its learning rates.
        epochs: those that the mean is over, all but the start by default.
    """
    return errors(data, chosen(data, arms))[epochs].mean(axis=0)


def better(
    of: Sequence[MethodArm],
    than: Sequence[MethodArm],
    by: Callable[[xr.Dataset, Sequence[MethodArm]], np.ndarray] = smallest,
) -> Callable[[Runs], np.ndarray]:
    """By how many points of test error one method is better than another, run by run: runs are paired.

    Args:
        of: arms of the method that is to be better.
        than: arms of the other.
        by: of data and arms, the error of a method, (sims,).

    Returns:
        The statistic, (sims,).
    """
    return lambda runs: by(runs.data, than) - by(runs.data, of)


def best_of_others(
    methods: Methods, name: str, by: Callable[[xr.Dataset, Sequence[MethodArm]], np.ndarray] = smallest
) -> Callable[[Runs], np.ndarray]:
    """By how many points a method is better than the best of all others in the mean over runs, run by run.

    The choice of the best favors the others.

    Args:
        methods: the arms of each method.
        name: of the method.
        by: of data and arms, the error of a method, (sims,).

    Returns:
        The statistic, (sims,).
    """

    def statistic(runs: Runs) -> np.ndarray:
        others = [by(runs.data, arms) for other, arms in methods.items() if other != name]
        return min(others, key=np.mean) - by(runs.data, methods[name])

    return statistic


def ahead(methods: Methods, name: str, factor: float) -> Callable[[Runs], np.ndarray]:
    """By how many points of error a method is below the best of all others in 1 / factor of that one's epochs.

    Run by run, and negative where it is above. The best is the method of the smallest test error, as Z chooses it, and
    its epochs are those to that error, both of means over runs. Points have an error where a ratio of epochs has none:
    whoever never gets there is as slow in each run.

    Args:
        methods: the arms of each method.
        name: of the method.
        factor: how many times as fast it is said to be, at least 1.

    Returns:
        The statistic, (sims,); NaN, of which a claim fails, where none of the others gets below its start.
    """

    def statistic(runs: Runs) -> np.ndarray:
        curve = lambda arms: errors(runs.data, chosen(runs.data, arms))
        theirs = min(
            (curve(arms) for other, arms in methods.items() if other != name), key=lambda c: c.mean(axis=1).min()
        )
        best, own = theirs.mean(axis=1).argmin(), curve(methods[name])
        if best == 0:
            return np.full(own.shape[1], np.nan)
        last, rest = divmod(best / factor, 1)
        until = own[: int(last) + 1]
        if rest:
            until = np.concatenate([until, [(1 - rest) * until[-1] + rest * own[int(last) + 1]]])
        return theirs[best] - until[until.mean(axis=1).argmin()]

    return statistic


# -- statements that hold at any size ----------------------------------------------------------------------------------


def always(methods: Methods, unstable: Sequence[str] = ()) -> list[Statement]:
    """What holds at any size: everything else learns, from one start, and averages are of the plain method's path.

    Args:
        methods: all of a figure.
        unstable: names of methods that need not learn.
    """
    stable = {name: arms for name, arms in methods.items() if name not in unstable}
    found = [learns("learns", stable), one_start("one-start", flat(methods))]
    if "ASGD" in methods:
        found.append(own_path("own-path", methods))
    if "MDOWNPOUR" in methods:
        found.append(at_one_point("one-point", methods["MDOWNPOUR"]))
    return found


def learns(id: str, methods: Methods) -> Statement:
    """Every method's workers, in every run at its chosen rate; 120 iterations teach synthetic images to them.

    Args:
        id: what the statement is called within its figure.
        methods: the arms of each method.
    """

    def worst(runs: Runs) -> tuple[float, float]:
        found = [net.best(runs.data, "agents_train_loss", chosen(runs.data, m).label) for m in methods.values()]
        return greatest(found) / net.GUESS_LOSS, 0.0

    text = "the workers of every method learn in every run (worst of the least training losses, over ln 10 of guessing)"
    return Statement(id, text, worst, at_most(0.9, smoke=0.95))


def one_start(id: str, arms: Sequence[MethodArm]) -> Statement:
    """What Z 4.1 sets, up to the rounding of different programs.

    Args:
        id: what the statement is called within its figure.
        arms: all of a figure.
    """

    def widest(runs: Runs) -> tuple[float, float]:
        values = np.stack([runs.data[n].sel(arm=arm.label).isel(epoch=0) for arm in arms for n in _TESTED])
        return greatest(np.ptp(values, axis=0)), 0.0

    text = "all methods start from one initial parameter, center and workers (largest difference of test losses)"
    return Statement(id, text, widest, at_most(1e-3, smoke=1e-3))


_TESTED = ("test_loss", "agents_test_loss")


def own_path(id: str, methods: Methods) -> Statement:
    """An average looks at a path and does not change it: pairs of arms with one learning rate take the same.

    Args:
        id: what the statement is called within its figure.
        methods: the arms of each method.
    """
    families = [("SGD", ("ASGD", "MVASGD")), ("DOWNPOUR", ("ADOWNPOUR", "MVADOWNPOUR"))]
    pairs = [
        (a.label, b.label)
        for plain, averages in families
        for name in averages
        if plain in methods and name in methods
        for a, b in zip(methods[plain], methods[name], strict=True)
    ]

    def apart(runs: Runs, pair: tuple[str, str]) -> float:
        a, b = (runs.data["agents_test_loss"].sel(arm=label).isel(epoch=1).values for label in pair)
        diverged = ~np.isfinite(a) & ~np.isfinite(b)
        return np.where(diverged, 0.0, np.abs(a / np.where(diverged, 1.0, b) - 1)).max()

    widest = lambda runs: (greatest([apart(runs, pair) for pair in pairs]), 0.0)

    text = "averages are of the plain method's own path (largest relative difference of workers' test losses, epoch 1)"
    return Statement(id, text, widest, at_most(0.05, smoke=1e-3))


def at_one_point(id: str, arms: Sequence[MethodArm]) -> Statement:
    """Workers that take their steps at the master's own point are nowhere else.

    Args:
        id: what the statement is called within its figure.
        arms: of MDOWNPOUR.
    """

    def widest(runs: Runs) -> tuple[float, float]:
        """Over the epochs before an arm diverges."""
        spread, loss = (
            runs.data[n].sel(arm=[arm.label for arm in arms]).values for n in ("spread", "agents_test_loss")
        )
        return greatest(spread[np.isfinite(loss)]), 0.0

    text = "all workers of MDOWNPOUR read one point of the master (largest distance between workers)"
    return Statement(id, text, widest, at_most(1e-6, smoke=1e-6))


def farther(id: str, statement: str, near: MethodArm, far: MethodArm) -> Statement:
    """In every run one arm's workers end farther from each other than another's; runs are paired.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        near: arm whose workers stay nearer to each other.
        far: arm whose workers go farther from each other.
    """
    smallest = lambda runs: (least(net.distance(far.label, near.label)(runs)), 0.0)
    return Statement(id, f"{statement} (least ratio of last distances)", smallest, at_least(1.0, smoke=1.0))
