"""Maps of a radius, the points on them, and the paths of their moments."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from sdesim.papers.zhang.points.runs import Points
from sdesim.plot import theme
from sdesim.statistics import grid_error, grid_mean

MARKERS: dict[str, str] = dict(zip(theme.STYLES, "os^D", strict=True))
"""Of points whose curves have a style."""


def colors(count: int) -> list[Any]:
    """Of so many points: the palette, again and again.

    Args:
        count: how many.
    """
    return [color for color, _ in theme.distinct(count)]


def legend(panel: Axes, loc: Any) -> None:
    """On a map, where letters need a ground.

    Args:
        panel: where to draw.
        loc: as matplotlib has it.
    """
    panel.legend(
        loc=loc, fontsize=8, labelcolor="white", frameon=True, facecolor="0.2", framealpha=0.7, edgecolor="none"
    )


def mark(panel: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """The points of the runs, each in its color and shape.

    Args:
        panel: where to draw.
        x: (points,).
        y: (points,).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    for one, other, (color, style) in zip(x, y, theme.distinct(x.size), strict=True):
        looks: dict[str, Any] = dict(s=34, edgecolors="white", linewidths=1.1, zorder=4, clip_on=False)
        panel.scatter(one, other, color=color, marker=MARKERS[style], **looks)


def radius_map(
    panel: Axes, x: NDArray, y: NDArray, radius: NDArray, label: str, best: tuple[float, float] | None = None
) -> None:
    """A radius over two numbers, its border of stability, and where it is least.

    Args:
        panel: where to draw.
        x: (columns,).
        y: (rows,).
        radius: (rows, columns).
        label: of the color bar.
        best: where a star is put; none if there is none.
    """
    image = panel.pcolormesh(x, y, np.clip(radius, 0, 1.5), shading="nearest", cmap="viridis", vmin=0, vmax=1.5)
    image.set_rasterized(True)
    if radius.min() < 1 < radius.max():
        panel.contour(x, y, radius, levels=[1.0], colors="white", linewidths=1.4)
    if best is not None:
        panel.plot(*best, "*", ms=12, color="white", mec="0.2", zorder=5)
    panel.figure.colorbar(image, ax=panel, label=label, extend="max")


def paths(panel: Axes, points: Points, data: xr.Dataset) -> None:
    """The mean of the squares of the last of what theory speaks of, with bars of two errors, on its curves.

    Args:
        panel: where to draw.
        points: of the figure.
        data: of the runs.
    """
    what = points.what[-1]
    column = list(data["what"].values).index(what)
    shown = data["squares"].sel(what=what)
    steps, many = data["step"].values, len(points.values) > 10
    some = slice(None, None, -(-len(steps) // 30))
    center, error = grid_mean(shown.isel(step=some)), 2 * grid_error(shown.isel(step=some))
    for i, (values, (color, dashes)) in enumerate(zip(points.values, theme.distinct(len(points.values)), strict=True)):
        exact = points.exact(*values)[:, column]
        panel.plot(steps, np.where(exact > 0, exact, np.nan), dashes, color=color, lw=1.2)
        style: dict[str, Any] = dict(fmt=MARKERS[dashes], ms=3.5, lw=1.0, capsize=2.0, color=color, zorder=3)
        bars = dict(yerr=error.isel(point=i), label=points.label(*values))
        panel.errorbar(steps[some], center.isel(point=i), **bars, **style)
    names = {"center": r"$E\,\tilde x^2$, of the center", "mean": r"$E\,\bar x^2$, of the workers' mean"}
    panel.set(yscale="log", xlabel=points.clock, ylabel=names.get(what, r"$E\,(x^i)^2$, mean over the workers"))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    where: dict[str, Any] = dict(loc="upper left", bbox_to_anchor=(1.0, 1.0)) if many else dict(loc="best")
    panel.legend(fontsize=7.5, **where)
