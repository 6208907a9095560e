"""What experiments share that set measurements over a grid beside a formula: statistics, statements, curves.

A measurement is a DataArray with a dimension "sim" of independent simulations and any others of a grid; a formula is
anything that broadcasts against its mean.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import linregress

from sdesim.claims import Op, Statement

SIGMAS = 4.0  # standard errors that the worst point of a grid may lie off: one grid of a hundred in 150 by chance

Measured = Callable[[xr.Dataset], xr.DataArray]


@dataclasses.dataclass(frozen=True)
class Runs:
    """The simulations of a dataset, as an ensemble that statements look at."""

    data: xr.Dataset

    @property
    def sims(self) -> int:
        return self.data.sizes["sim"]

    def take(self, sims: np.ndarray) -> "Runs":
        return Runs(self.data.isel(sim=sims))


def stderr(measured: xr.DataArray) -> xr.DataArray:
    """Standard error of the mean over simulations."""
    return measured.std("sim", ddof=1) / np.sqrt(measured.sizes["sim"])


def z_scores(measured: xr.DataArray, expected: Any) -> xr.DataArray:
    """(mean - expected) / standard error at every grid point; rounding counts where nothing is random."""
    mean = measured.mean("sim")
    expected = expected + 0.0 * mean
    floor = 1e-5 * np.maximum(abs(mean), abs(expected))
    return (mean - expected) / np.maximum(stderr(measured), floor)


def slope(x, y) -> float:
    """Exponent of the power law that fits best: the least-squares slope of log y over log x."""
    fit: Any = linregress(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)))
    return float(fit.slope)


# -- statements: of a dataset's measurement and of a formula, both functions of the dataset ----------------------------


def below(id: str, statement: str, measured: Measured, bound: Callable[[xr.Dataset], Any], **options) -> Statement:
    """A bound that holds at every grid point: the worst excess over it, in standard errors."""
    worst = lambda runs: (float(z_scores(measured(runs.data), bound(runs.data)).max()), 0.0)
    options = {"smoke": SIGMAS, **options}
    return Statement(id, f"{statement} (worst excess in standard errors)", worst, "<=", SIGMAS, **options)


def equal(id: str, statement: str, measured: Measured, exact: Callable[[xr.Dataset], Any], **options) -> Statement:
    """A prediction that is exact at every grid point: the worst deviation, in standard errors."""
    worst = lambda runs: (float(abs(z_scores(measured(runs.data), exact(runs.data))).max()), 0.0)
    options = {"smoke": SIGMAS, **options}
    return Statement(id, f"{statement} (worst deviation in standard errors)", worst, "<=", SIGMAS, **options)


def ratio(
    id: str, statement: str, measured: Measured, bound: Callable[[xr.Dataset], Any], op: Op, threshold: float, **options
) -> Statement:
    """How loose a bound is: the largest (op "<=") or least (">=") of mean / bound over the grid."""
    extreme = np.max if op == "<=" else np.min
    statistic = lambda runs: float(extreme(measured(runs.data).mean("sim") / bound(runs.data)))
    return Statement(id, statement, statistic, op, threshold, **options)


def exponent(
    id: str,
    statement: str,
    measured: Measured,
    over: str,
    predicted: float | Measured,
    tolerance: float,
    **options,
) -> Statement:
    """A power law in the coordinate `over`: the fitted exponent, with its error, lies within `tolerance` of the
    predicted one. Predicted is a number, or a formula's curve, to which the same line is fitted on the same grid."""

    def off(runs: Runs) -> float:
        curve = measured(runs.data)
        expected = predicted(runs.data) if callable(predicted) else predicted
        expected = slope(curve[over], expected) if isinstance(expected, xr.DataArray) else expected
        return abs(slope(curve[over], curve.mean("sim")) - expected)

    words = "" if callable(predicted) else f" {predicted:.3g}"
    text = f"{statement} (exponent, distance from the predicted{words})"
    return Statement(id, text, off, "<=", tolerance, **options)


# -- curves ------------------------------------------------------------------------------------------------------------


def plot_measured(axes: Axes, measured: xr.DataArray, over: str, label: str, color: str, marker: str = "o") -> None:
    """Means over simulations with bars of two standard errors; `measured` has the dimensions `over` and "sim"."""
    mean, error = measured.mean("sim"), 2 * stderr(measured)
    style: dict[str, Any] = dict(fmt=marker, ms=3.5, lw=1.0, capsize=2.0, color=color, zorder=3)
    axes.errorbar(mean[over], mean, yerr=error, label=label, **style)


def plot_formula(axes: Axes, x: Sequence[float] | np.ndarray, y, label: str, color: str, dashes: str = "--") -> None:
    """A formula's curve."""
    axes.plot(np.asarray(x, float), np.asarray(y, float), dashes, label=label, color=color, lw=1.2, zorder=2)
