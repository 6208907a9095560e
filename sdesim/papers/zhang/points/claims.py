"""What is said of the points: their moments, the border of stability, and the digits that Z prints."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs, equal
from sdesim.papers.zhang.points.runs import Points
from sdesim.statistics import greatest, grid_mean, least


def moments(points: Points) -> Statement:
    """The second moments of the runs are those of theory at every point and step.

    Args:
        points: of the figure.
    """
    # fails of another learning rate, and of half or twice the noise
    names = " and ".join(points.what)
    last = points.compared or points.steps
    until = "" if last == points.steps else f" to {last}"
    text = f"at every point and after every step{until} the second moments of {names} are those of the linear map"
    cut = slice(1, last // points.every + 1)
    found = lambda data: data["squares"].sel(what=list(points.what)).isel(step=cut)
    return equal("moments", text, found, lambda data: points.theory(data).isel(step=cut))


def border(points: Points) -> Statement:
    """Where the radius is below one the squares of the runs fall, and where it is above they grow.

    Args:
        points: of the figure.
    """
    sign = np.array([1.0 if points.radius(*values) < 1 else -1.0 for values in points.values])

    def margin(runs: Runs) -> float:
        """The least logarithm, over the points, by which the squares have fallen or grown in the end."""
        squares = grid_mean(runs.data["squares"].sel(what=list(points.what)).sum("what", skipna=False))
        return least(sign * np.log((squares.isel(step=points.since) / squares.isel(step=-1)).values))

    # fails where inside and outside are taken for each other, and of a learning rate that is half as large
    text = "squares fall at the points that are said to be stable, and grow at the others (least logarithm of how much)"
    return Statement("border", text, margin, at_least(0.0, smoke=0.0))


def printed(
    id: str, statement: str, computed: Callable[[], Sequence[float]], values: Sequence[float], digits: Sequence[int]
) -> Statement:
    """Numbers that Z prints are those of theory, to all printed digits: of no simulation.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        computed: the numbers.
        values: as printed.
        digits: printed after the point, of each.
    """
    computed = functools.cache(computed)  # asked once for each list of statements
    shown = ", ".join(f"{value:.{n}f}" for value, n in zip(values, digits, strict=True))
    text = f"{statement}: {shown} (greatest distance of the computed, in halves of the last digit, of no simulation)"

    def off(runs: Runs) -> tuple[float, float]:
        return greatest(2 * np.abs(np.subtract(computed(), values)) * np.power(10.0, digits)), 0.0

    # a number that rounding took from the middle of two is not off
    return Statement(id, text, off, at_most(1.001, smoke=1.001))


def faster(
    id: str, statement: str, best: int, others: tuple[int, ...], *, what: str = "mean", least_log: float = 0.1
) -> Statement:
    """After all steps squares have fallen more at one point than at others.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        best: the number of the point.
        others: those that it is set beside.
        what: whose squares.
        least_log: by which the logarithms must differ.
    """

    def margin(runs: Runs) -> float:
        last = grid_mean(runs.data["squares"].sel(what=what).isel(step=-1)).values
        return least(np.log(last[list(others)] / last[best]))

    text = f"{statement} (least logarithm of the squares' ratio after all steps)"
    return Statement(id, text, margin, at_least(least_log, smoke=least_log))
