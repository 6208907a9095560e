"""Maps over two numbers: what a sweep found, with cells that are uncertain hatched, and where steps are stable."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Patch

from sdesim.fields import check_choice, check_flags, one_number, shown
from sdesim.plot import theme
from sdesim.plot.given import BARS, DIVERGED, Drawable, check_drawn, coordinate, label, mean_and_error
from sdesim.plot.lines import is_logarithmic

READABLE = 0.1
"""The share of the colors' range that a reader tells apart by eye, to which values are wanted by default."""
HATCH = "////"
FEW = 8
"""Up to so many values of a number have a tick each, if there is room for their labels."""


def heat_map(
    data: Drawable,
    name: str | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    resolution: float | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Means over simulations as colors over two numbers that were swept, what is uncertain hatched.

    A cell is uncertain where two standard errors of its mean exceed `resolution`: what the reader wants to tell apart.
    By default that is a tenth of the range of all means, as fine as colors are read by eye; on a logarithmic scale a
    tenth of the range of their logarithms, and the errors are of the logarithms too. A cell of one simulation, whose
    error is not known, is uncertain. One whose mean is not finite is gray.

    Args:
        data: a sweep over two numbers, or an array of one, with the dimension "sim".
        name: of what is drawn, such as "quorum_loss".
        x: the swept number along the horizontal axis; by default the first.
        y: along the vertical axis; by default the second.
        resolution: in units of the values, or as a factor greater than 1 on a logarithmic scale.
        log: whether colors are of the logarithm.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes. Numbers that are spread evenly over decades are on logarithmic axes; few values have a tick each.

    Raises:
        TypeError: for what has no such data.
        ValueError: for an unknown name or dimension, where there are not two, and where nothing is greater than 0 on a
            logarithmic scale.
    """
    check_flags(log=log)
    mean, error = mean_and_error(data, name, series=False)
    x, y = _plane(mean, x, y)
    mean, error = (a.transpose(y, x).sortby([y, x]) for a in (mean, error))
    values = np.where(np.isfinite(mean), mean, np.nan).astype(float)
    if log:
        values = np.where(values > 0, values, np.nan)
    if not np.isfinite(values).any():
        raise ValueError(f"data: {mean.name} has no value that is {'greater than 0' if log else 'finite'} to be drawn")
    limit = _resolution(values, resolution, log)
    with theme.panel(ax) as axes:
        edges = [_edges(coordinate(mean, d)) for d in (x, y)]
        norm = (LogNorm if log else Normalize)(np.nanmin(values), np.nanmax(values))
        image = axes.pcolormesh(*(e for e, _ in edges), np.ma.masked_invalid(values), norm=norm, cmap=theme.SHADES)
        image.set_rasterized(True)
        _frame(axes, mean, x, y, [logarithmic for _, logarithmic in edges])
        _tick_each(axes.xaxis, coordinate(mean, x), room=40, wide=True)
        _tick_each(axes.yaxis, coordinate(mean, y), room=16, wide=False)
        legend = []
        if not np.isfinite(values).all():
            axes.set_facecolor(DIVERGED)
            legend.append(Patch(facecolor=DIVERGED, label="not finite" if not log else "not greater than 0"))
        unsure = uncertain(values, error.values, limit, log) & np.isfinite(values)
        if "sim" in _dims(data, name) or np.isfinite(error.values).any():
            _hatch(axes, edges[0][0], edges[1][0], unsure)
            if unsure.any():
                said = f"a factor of {limit:.3g}" if log else f"{limit:.2g}"
                words = f"uncertain: two standard errors > {said}"
                legend.append(Patch(facecolor="white", edgecolor="0.3", hatch=HATCH, lw=0, label=words))
        theme.legend_above(axes, legend)
        bar = axes.figure.colorbar(image, ax=axes, label=label(mean, name))
        theme.plain_ticks(bar.ax.yaxis)
    return axes


def uncertain(values: np.ndarray, errors: np.ndarray, resolution: float, log: bool) -> np.ndarray:
    """Which means are known worse than a reader wants to tell them apart.

    Args:
        values: means, of any shape.
        errors: their standard errors, of the same shape; NaN where they are not known.
        resolution: in units of the values, or as a factor on a logarithmic scale.
        log: whether it is a factor.

    Returns:
        True where two standard errors exceed it, or are not known.
    """
    off = BARS * np.asarray(errors, float)
    if log:
        off, resolution = off / np.abs(values), np.log(resolution)
    return ~(off <= resolution)


def phase_diagram(data: xr.Dataset, name: str = "rate", *, log: bool = False, ax: Axes | None = None) -> Axes:
    """What `sdesim.analysis.stability_map` found over a plane, with the traced boundary of stability.

    Args:
        data: of `stability_map(model, x=..., y=...)`, whose boundary is traced.
        name: of what is colored where it is stable: "rate", "mean_rate", "radius", "own", "quorum".
        log: whether colors are of the logarithm.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes: colors over both numbers, gray what is not stable, and the boundary as a line.

    Raises:
        TypeError: for what is no Dataset.
        ValueError: for a map without a boundary, and for an unknown name.
    """
    check_flags(log=log)
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data={shown(data)}: must be what sdesim.analysis.stability_map returns")
    if "boundary" not in data or "number" not in data.coords:
        raise ValueError("data: has no boundary; must be of stability_map(model, x={...}, y={...})")
    x, y = (str(n) for n in data["number"].values)
    known = [str(n) for n in data.data_vars if {x, y} <= set(data[n].dims) and n != "stable"]
    check_choice("name", name, known)
    values = data[name].isel({d: 0 for d in data[name].dims if data.sizes[d] == 1 and d not in (x, y)})
    check_drawn(values, (x, y), 0, "take one coordinate with .isel")
    values = values.transpose(y, x)
    stable = data["stable"].transpose(y, x).values
    with theme.panel(ax) as axes:
        edges = [_edges(coordinate(values, d)) for d in (x, y)]
        drawn = np.ma.masked_where(~stable | (values.values <= 0 if log else False), values.values)
        norm = (LogNorm if log else Normalize)(drawn.min(), drawn.max()) if drawn.count() else None
        image = axes.pcolormesh(*(e for e, _ in edges), drawn, norm=norm, cmap=theme.SHADES)
        image.set_rasterized(True)
        axes.set_facecolor(DIVERGED)
        line = LineCollection(list(data["boundary"].values), colors="black", linewidths=1.6, label="boundary, traced")
        line.set_capstyle("round")
        axes.add_collection(line, autolim=False)
        _frame(axes, values, x, y, [logarithmic for _, logarithmic in edges])
        handles: list[Any] = [line] if len(data["boundary"]) else []
        if not stable.all():
            handles.append(Patch(facecolor=DIVERGED, label="not stable"))
        theme.legend_above(axes, handles)
        bar = axes.figure.colorbar(image, ax=axes, label=label(values, name))
        theme.plain_ticks(bar.ax.yaxis)
    return axes


def _dims(data: Any, name: str | None) -> tuple:
    """The dimensions of what was given, before anything was averaged."""
    return data.dims if isinstance(data, xr.DataArray) else data[name].dims if name in data else ()


def _plane(mean: xr.DataArray, x: str | None, y: str | None) -> tuple[str, str]:
    """Both dimensions of a map, the horizontal one first."""
    dims = [str(d) for d in mean.dims]
    for argument, given in (("x", x), ("y", y)):
        if given is not None:
            check_choice(argument, given, dims)
    if x is not None and x == y:
        raise ValueError(f"y={y!r}: must be another number than x")
    rest = [d for d in dims if d not in (x, y)]
    x = rest.pop(0) if x is None and rest else x
    y = rest.pop(0) if y is None and rest else y
    if x is None or y is None:
        raise ValueError(f"data: {mean.name} varies with {', '.join(dims) or 'nothing'}, and must with two numbers")
    check_drawn(mean, (x, y), 0, "take one of the others with .isel or .sel")
    return x, y


def _resolution(values: np.ndarray, given: float | None, log: bool) -> float:
    """What a reader tells apart: in units of the values, or as a factor."""
    if given is not None:
        found = one_number("resolution", given, zero=False)
        if log and not found > 1:
            raise ValueError(f"resolution={shown(given)}: must be a factor greater than 1 on a logarithmic scale")
        return found
    low, high = np.nanmin(values), np.nanmax(values)
    return float((high / low) ** READABLE if log else READABLE * (high - low))


def _edges(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Between the values of a number the middles, and whether its axis is logarithmic.

    What is no number is numbered.
    """
    if values.dtype.kind not in "fiu":
        values = np.arange(len(values))
    if logarithmic := is_logarithmic(values):
        values = np.log(values)
    values = np.asarray(values, float)
    if len(values) == 1:
        half = max(abs(values[0]) / 2, 0.5)
        return np.array([values[0] - half, values[0] + half]), False
    middles = (values[1:] + values[:-1]) / 2
    edges = np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])
    return (np.exp(edges) if logarithmic else edges), logarithmic


def _frame(axes: Axes, values: xr.DataArray, x: str, y: str, logarithmic: list[bool]) -> None:
    """Scales, ticks and labels of a map's axes."""
    both = ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale))
    for (d, axis, scale), log in zip(both, logarithmic, strict=True):
        if log:
            scale("log")
            theme.plain_ticks(axis)
        if (names := coordinate(values, d)).dtype.kind not in "fiu":
            axis.set_ticks(range(len(names)), [str(n) for n in names])
        axis.set_label_text(label(values[d], d))


def _tick_each(axis: Axis, values: np.ndarray, room: int, wide: bool) -> None:
    """Ticks at the values themselves, where they are few and their labels do not run into each other.

    Args:
        axis: scaled.
        values: in ascending order; what is no number has its ticks.
        room: how many characters a panel of the usual size has along the axis, or lines.
        wide: whether labels take as much of it as they have characters, and not a line.
    """
    if len(values) > FEW or values.dtype.kind not in "fiu":
        return
    labels = [theme.plain_number(float(f"{value:.3g}")) for value in values]
    if len(set(labels)) < len(labels):
        labels = [theme.plain_number(value) for value in values]
    places = np.log(values) if axis.get_scale() == "log" else np.asarray(values, float)
    least = (max(map(len, labels)) + 1 if wide else 1) / room
    if len(values) == 1 or np.diff(places).min() >= least * np.ptp(places):
        axis.set_ticks(values, labels)


def _hatch(axes: Axes, x: np.ndarray, y: np.ndarray, which: np.ndarray) -> None:
    """Hatches over cells: a collection called "uncertain"."""
    corners = lambda i, j: [(x[j], y[i]), (x[j + 1], y[i]), (x[j + 1], y[i + 1]), (x[j], y[i + 1])]
    cells = [corners(i, j) for i, j in np.argwhere(which)]
    cover = PolyCollection(cells, facecolors="none", edgecolors="white", linewidths=0.0, hatch=HATCH, gid="uncertain")
    axes.add_collection(cover, autolim=False)
