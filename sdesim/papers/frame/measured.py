"""What experiments share that set measurements over a grid beside a formula: statistics, statements, curves.

A measurement is a DataArray with a dimension "sim" of independent simulations and any others of a grid; a formula is
anything that broadcasts against its mean. Statistics reduce with what is in `sdesim.statistics`, which skips nothing
that is not finite: a statement about it fails.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from sdesim.claims import Condition, Statement, at_most
from sdesim.plot import points
from sdesim.statistics import greatest, grid_mean, least, slope, worst

Measured = Callable[[xr.Dataset], xr.DataArray]


@dataclasses.dataclass(frozen=True)
class Runs:
    """The simulations of a dataset, as an ensemble that statements look at.

    Attributes:
        data: with the dimension "sim".
    """

    data: xr.Dataset

    @property
    def sims(self) -> int:
        """Simulations."""
        return self.data.sizes["sim"]

    def take(self, sims: np.ndarray) -> "Runs":
        """The same with the simulations of these indices alone.

        Args:
            sims: their indices.
        """
        return Runs(self.data.isel(sim=sims))


def within(x: Any, center: Any, radius: float) -> Any:
    """1 where a coordinate is within `radius` of `center`, else 0, and NaN where it is not finite: of its form.

    Args:
        x: coordinates, an array or what is labeled.
        center: a number, or what broadcasts against `x`.
        radius: half the length of the interval.
    """
    near = abs(x - center) < radius
    return (
        xr.where(np.isfinite(x), near, np.nan)
        if isinstance(x, xr.DataArray | xr.Dataset)
        else np.where(np.isfinite(x), near, np.nan)
    )


def asked(values: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
    """The grid points at which something is asked, as the one dimension "point" in place of those of `where`.

    Args:
        values: over the grid, and any other dimensions.
        where: true at the grid points that are asked for, over the grid alone.
    """
    where, values = (a.stack(point=list(where.dims), create_index=False) for a in (where, values))
    return values.isel(point=np.flatnonzero(where.values))


def along(name: str, values: Sequence[Any], parts: Sequence[Any]) -> Any:
    """Measurements of several runs as one, along a new dimension.

    Args:
        name: of the new dimension.
        values: its coordinate, one value a run.
        parts: the measurements, one a run: of one array each, or datasets.
    """
    return xr.concat(parts, xr.IndexVariable(name, list(values)), combine_attrs="drop")


def settled(time: ArrayLike, loss: ArrayLike, level: float) -> float:
    """When a loss has come below a level to stay there: between two records its logarithm is a line.

    Args:
        time: of the records, (records,), the first before the loss is below.
        loss: at the records, (records,).
        level: greater than 0.

    Returns:
        The time; NaN where it is above the level at the last record, or something is not finite.
    """
    time, loss = np.asarray(time, float), np.asarray(loss, float)
    if not np.isfinite(loss).all() or loss[-1] > level:
        return np.nan
    i = int(np.flatnonzero(loss > level)[-1])
    before, after = np.log(loss[i : i + 2] / level)
    return float(time[i] + (time[i + 1] - time[i]) * before / (before - after))


def decay(one: ArrayLike, other: ArrayLike, every: float) -> float:
    """The rate at which two signals decay that one linear map takes from record to record, fitted by least squares.

    A server and its workers' mean are such, and in the end any two signals of a linear system, also one and itself a
    record ago: it does not matter whether they oscillate. Of the two eigenvalues that of the greatest absolute value
    counts.

    Args:
        one: of them, (records,).
        other: of them, (records,).
        every: time between two records.

    Returns:
        In 1 / time; negative where they grow, NaN where something is not finite.
    """
    signals = np.stack([one, other], axis=1).astype(float)
    if not np.isfinite(signals).all():
        return np.nan
    step = np.linalg.lstsq(signals[:-1], signals[1:], rcond=None)[0]
    return -float(np.log(np.abs(np.linalg.eigvals(step)).max())) / every


# -- statements: of a dataset's measurement and of a formula, both functions of the dataset ----------------------------


def below(id: str, statement: str, measured: Measured, bound: Callable[[xr.Dataset], Any], note: str = "") -> Statement:
    """A bound that holds at every grid point: the worst excess over it, as a share of what decides.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        measured: of a dataset, the measurement.
        bound: of a dataset, the formula.
        note: why it is known to be weak, as in a `Statement`.
    """
    return _look(id, f"{statement} (worst excess", measured, bound, note, sides=1)


def equal(id: str, statement: str, measured: Measured, exact: Callable[[xr.Dataset], Any], note: str = "") -> Statement:
    """A prediction that is exact at every grid point: the worst deviation, as a share of what decides.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        measured: of a dataset, the measurement.
        exact: of a dataset, the formula.
        note: why it is known to be weak, as in a `Statement`.
    """
    return _look(id, f"{statement} (worst deviation", measured, exact, note, sides=2)


def _look(
    id: str, text: str, measured: Measured, formula: Callable[[xr.Dataset], Any], note: str, sides: int
) -> Statement:
    """The worst of all points, to one side or to both, over how far off chance takes it once in 740."""
    statistic = lambda runs: worst(measured(runs.data), formula(runs.data), sides)[:2]
    return Statement(id, f"{text} over that of chance once in 740)", statistic, at_most(1.0, smoke=1.0), note)


def ratio(
    id: str,
    statement: str,
    measured: Measured,
    bound: Callable[[xr.Dataset], Any],
    condition: Condition,
    note: str = "",
) -> Statement:
    """How loose a bound is: the largest (`at_most`) or least (`at_least`) of mean / bound over the grid.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        measured: of a dataset, the measurement.
        bound: of a dataset, the formula.
        condition: what the extreme must be.
        note: why it is known to be weak, as in a `Statement`.
    """
    extreme = greatest if condition.op == "<=" else least
    statistic = lambda runs: extreme(grid_mean(measured(runs.data)) / bound(runs.data))
    return Statement(id, statement, statistic, condition, note)


def exponent(
    id: str,
    statement: str,
    measured: Measured,
    over: str,
    predicted: float | Measured,
    tolerance: float,
    smoke: float | None = None,
) -> Statement:
    """A power law: the fitted exponent, with its error, lies near the predicted one.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        measured: of a dataset, the measurement.
        over: the coordinate in which it is a power law.
        predicted: a number, or a formula's curve, to which the same line is fitted on the same grid.
        tolerance: the greatest distance from the predicted exponent.
        smoke: tolerance at smoke size, None where a few simulations cannot tell.
    """

    def off(runs: Runs) -> float:
        curve = measured(runs.data)
        expected = predicted(runs.data) if callable(predicted) else predicted
        expected = slope(curve[over], expected) if isinstance(expected, xr.DataArray) else expected
        return abs(slope(curve[over], grid_mean(curve)) - expected)

    words = "" if callable(predicted) else f" {predicted:.3g}"
    text = f"{statement} (exponent, distance from the predicted{words})"
    return Statement(id, text, off, at_most(tolerance, smoke=smoke))


# -- curves ------------------------------------------------------------------------------------------------------------


def plot_measured(axes: Axes, measured: xr.DataArray, over: str, label: str, color: Any, marker: str = "o") -> None:
    """Means over simulations with bars of two standard errors.

    Args:
        axes: where to draw.
        measured: with the dimensions `over` and "sim".
        over: the dimension along the x axis.
        label: for the legend.
        color: of points and bars.
        marker: of the points.
    """
    said = axes.get_xlabel(), axes.get_ylabel()  # a figure has words of its own
    points(measured, over=over, ax=axes, label=label, color=color, marker=marker)
    axes.set(xlabel=said[0], ylabel=said[1])


def plot_formula(
    axes: Axes, x: Sequence[float] | np.ndarray, y: Any, label: str, color: Any, dashes: str = "--"
) -> None:
    """A formula's curve.

    Args:
        axes: where to draw.
        x: where the formula was evaluated.
        y: its values.
        label: for the legend.
        color: of the line.
        dashes: line style.
    """
    axes.plot(np.asarray(x, float), np.asarray(y, float), dashes, label=label, color=color, lw=1.2, zorder=2)
