"""What is said of the points: their moments, the border of stability, and the digits that Z prints."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs, equal
from sdesim.statistics import grid_mean, least


def moments(exact: Callable[[xr.Dataset], xr.DataArray], names: str) -> Statement:
    """The second moments of the runs are those of theory at every point and step.

    Args:
        exact: of the data, over (point, step, what).
        names: whose moments they are.
    """
    # fails of another learning rate, and of half or twice the noise
    text = f"at every point and after every step the second moments of {names} are those of the linear map"
    return equal("moments", text, lambda d: d["squares"].isel(step=slice(1, None)), lambda d: exact(d))


def border(radius: Callable[[xr.Dataset], np.ndarray]) -> Statement:
    """Where the radius is below one the squares of the runs fall, and where it is above they grow.

    Args:
        radius: of the data, over its points.
    """

    def margin(runs: Runs) -> float:
        """The least logarithm, over the points, by which the squares have fallen or grown after all steps."""
        squares = grid_mean(runs.data["squares"].sum("what", skipna=False))
        growth = np.log(squares.isel(step=-1) / squares.isel(step=0)).values
        return least(np.where(radius(runs.data) < 1, -growth, growth))

    # fails where inside and outside are taken for each other, and of a learning rate that is half as large
    text = "squares fall at the points that are said to be stable, and grow at the others (least logarithm of how much)"
    return Statement("border", text, margin, at_least(0.0, smoke=0.0))


def printed(id: str, statement: str, found: Callable[[Any], float], value: float, digits: int, note: str = "") -> Statement:
    """A number that Z prints is that of theory, to all printed digits: of no simulation.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        found: the number, of the data.
        value: as printed.
        digits: printed after the point.
        note: why it does not decide.
    """
    text = f"{statement}: {value:.{digits}f} (distance of the computed number, of no simulation)"
    off = lambda runs: (abs(found(runs.data) - value), 0.0)
    half = 0.5 * 10.0**-digits
    return Statement(id, text, off, at_most(1.001 * half, smoke=1.001 * half), note)
