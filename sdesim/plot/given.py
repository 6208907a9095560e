"""What pictures are drawn from: arrays with names, units and errors, of a result, a sweep or any labeled data."""

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from sdesim.fields import check_choice, shown
from sdesim.results.datasets import label_by_name, label_of
from sdesim.results.result import Result
from sdesim.statistics import grid_error, grid_mean

TIMES = ("time", "step", "epoch")
"""What may be time along an axis, the first that is there."""
BARS = 2.0  # standard errors that bands and bars show, to either side
RECORDS = {
    "agents": "observe.Snapshot()",
    "quorum": "observe.Quorum()",
    "center": "observe.Center()",
    "velocity": "observe.Velocity()",
    "spread": "observe.Spread()",
    "quorum_loss": "observe.QuorumLoss()",
}
"""What records over time what results have at the end."""
WIDE = 40  # characters of a line of a label
DIVERGED = "0.85"
"""The color of what is not finite."""

Drawable = Result | xr.Dataset | xr.DataArray


def dataset(data: Any) -> xr.Dataset:
    """What was given, as a Dataset.

    Args:
        data: a `Result`, or a Dataset.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(data, Result):
        return data.to_xarray()
    if isinstance(data, xr.Dataset):
        return data
    raise TypeError(f"data={shown(data)}: must be a result of sdesim or a Dataset of xarray")


def array(data: Any, name: str | None) -> xr.DataArray:
    """The variable that is to be drawn.

    Args:
        data: a `Result` or a Dataset, or an array of one.
        name: of the variable; of what was recorded over time its observable's, also where the variable is called
            NAME_series. None for an array.

    Returns:
        The variable, without the dimensions of size 1 but for simulations.

    Raises:
        TypeError: for what has no variables.
        ValueError: for an unknown name, with those that are known, or a name beside an array.
    """
    if isinstance(data, xr.DataArray):
        if name is not None:
            raise ValueError(f"name={shown(name)}: must be left out beside an array")
        values = data
    else:
        known = dataset(data)
        if name is None:
            raise ValueError(f"name=None: must be a variable of data; known: {', '.join(_listed(known.data_vars))}")
        if not isinstance(name, str) or name not in known.variables:
            check_choice("name", name, _listed(known.variables))
        values = known[name]
    one = [d for d in values.dims if values.sizes[d] == 1 and d != "sim"]
    return values.isel(dict.fromkeys(one, 0))


def recorded(data: Any, name: str | None) -> xr.DataArray:
    """The variable over time that is to be drawn.

    Args:
        data: as `array`.
        name: as `array`.

    Raises:
        TypeError: as `array`.
        ValueError: as `array`.
    """
    if isinstance(data, Result | xr.Dataset) and isinstance(name, str):
        data = dataset(data)
        name = series if (series := f"{name}_series") in data else name
    return array(data, name)


def _listed(names: Iterable[Any]) -> list[str]:
    """Names to choose from: what a result keeps to go on from, shared_0 and so on, is no picture."""
    return [str(name) for name in names if not str(name).startswith("shared_")]


def along(values: xr.DataArray, over: str | None) -> xr.DataArray:
    """The variable with a coordinate as a dimension, such as the coupling's time in place of the step.

    Args:
        values: what is drawn.
        over: name of a dimension, or of a coordinate of one or of none; None for as it is.

    Returns:
        The variable, unchanged where `over` is no such coordinate.

    Raises:
        TypeError: for what is no name.
    """
    if over is not None and not isinstance(over, str):
        raise TypeError(f"over={shown(over)}: must be the name of a dimension")
    if over is None or over in values.dims or over not in values.coords:
        return values
    dims = values[over].dims
    if not dims:
        return values.expand_dims(over)
    return values.swap_dims({dims[0]: over}) if len(dims) == 1 else values


def time_of(values: xr.DataArray, over: str | None) -> str:
    """The dimension along the horizontal axis.

    Args:
        values: what is drawn.
        over: its name; None for that of time.

    Raises:
        ValueError: where there is none, or none by that name.
    """
    dims = [str(d) for d in values.dims]
    if over is not None:
        return check_choice("over", over, dims)
    if (found := next((d for d in TIMES if d in dims), None)) is None:
        said = "the array" if values.name is None else str(values.name)
        others = f", and must be one of its dimensions, {', '.join(dims)}" if dims else ""
        observable = f"observe={RECORDS[said]}" if said in RECORDS else "an observable of sdesim.observe"
        raise ValueError(f"over=None: {said} has no time{others}; to have it over time, record it: {observable}")
    return found


def without(values: xr.DataArray, *allowed: str) -> list[str]:
    """The dimensions beside some.

    Args:
        values: what is drawn.
        *allowed: names of dimensions.
    """
    return [str(d) for d in values.dims if d not in allowed]


def check_drawn(values: xr.DataArray, over: tuple[str, ...], most: int, example: str) -> list[str]:
    """The dimensions beside those along the axes, of which there are not too many.

    Args:
        values: what is drawn.
        over: the dimensions along the axes, and those that are averaged.
        most: how many others there may be.
        example: what the caller may write instead.

    Raises:
        ValueError: naming the dimensions that are too many.
    """
    rest = without(values, *over)
    if len(rest) > most:
        said = "data" if values.name is None else str(values.name)
        raise ValueError(f"data: {said} has the dimensions {', '.join(rest)} beside; must have {most}: {example}")
    return rest


def coordinate(values: xr.DataArray, dim: str) -> np.ndarray:
    """The values along a dimension, or their numbers where there are none.

    Args:
        values: what is drawn.
        dim: the dimension.

    Returns:
        (values,).
    """
    return values[dim].values


def label(variable: Any, name: str | None = None) -> str:
    """A label of an axis: what it is, with its units.

    Args:
        variable: of xarray, which says units and long_name in its attributes.
        name: of a variable that says nothing; its own by default.

    Returns:
        Text of some lines.
    """
    said = label_of(variable)
    name = str(variable.name if name is None else name)
    if said is None:
        units, meaning = label_by_name(name)
        meaning = str(variable.attrs.get("long_name", meaning))
    else:
        units, meaning = said
    return with_units(meaning, units)


def with_units(meaning: str, units: str) -> str:
    """A label of an axis, on two lines where it is long.

    Args:
        meaning: what is drawn.
        units: of it; "1", "not stated" and nothing are not said.

    Returns:
        Text.
    """
    lines = textwrap.wrap(meaning, WIDE)
    if units not in ("1", "not stated", ""):
        units = "(" + re.sub(r"\^(-?\d+)", r"$^{\1}$", units) + ")"
        lines[-1:] = [f"{lines[-1]} {units}"] if len(lines[-1]) + len(units) <= WIDE else [lines[-1], units]
    return "\n".join(lines)


def named_value(variable: xr.DataArray, dim: str, value: Any) -> str:
    """One line's entry in the legend.

    Args:
        variable: of which a line was taken.
        dim: the dimension along which.
        value: where.

    Returns:
        Such as "k = 3".
    """
    short = variable[dim].attrs.get("grid_name", dim).rpartition(".")[2]
    shown_value = f"{value:.4g}" if isinstance(value, int | float | np.number) else str(value)
    return shown_value if variable[dim].dtype.kind in "UO" else f"{short} = {shown_value}"


def mean_and_error(data: Any, name: str | None, *, series: bool) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over simulations of a variable, and its standard error.

    Args:
        data: as `array`.
        name: as `array`.
        series: whether it is over time.

    Returns:
        Both without the dimension "sim"; of what has none, from NAME_mean and NAME_stderr, else the values themselves
        with an error that is not known, NaN.
    """
    take = recorded if series else array
    if isinstance(data, Result | xr.Dataset) and isinstance(name, str):
        data = dataset(data)
        full = f"{name}_series" if series and f"{name}_series" in data else name
        if full not in data and {f"{full}_mean", f"{full}_stderr"} <= set(data):
            return array(data, f"{full}_mean"), array(data, f"{full}_stderr")
    values = take(data, name)
    if "sim" not in values.dims:
        return values, xr.full_like(values, np.nan, dtype=float)
    values = values.astype(float)
    mean = grid_mean(values)
    error = grid_error(values) if values.sizes["sim"] > 1 else xr.full_like(mean, np.nan)
    mean.attrs = values.attrs
    return mean, error
