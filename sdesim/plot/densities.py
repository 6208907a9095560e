"""Densities of agents over time, as colors or as ridges."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from sdesim.fields import check_choice, check_count, shown, warn
from sdesim.plot import theme
from sdesim.plot.given import Drawable, array, check_drawn, coordinate, dataset, label, time_of
from sdesim.results.result import Result

RIDGES = 10
BEYOND = 0.01
"""The share of agents that a density may leave out in silence."""
MOST_BINS = 100_000


def density(
    data: Drawable,
    name: str | None = None,
    *,
    kind: str = "heat",
    dim: int | None = None,
    bins: int = 80,
    ridges: int = RIDGES,
    ax: Axes | None = None,
) -> Axes:
    """The density of agents over time, of all simulations together.

    Args:
        data: a result that recorded `observe.Density` or `observe.Snapshot`, or an array of one.
        name: of what is drawn; by default "density", else "snapshot".
        kind: "heat", colors over time, or "ridge", curves one above the other.
        dim: of snapshots the coordinate that is drawn, its number; all of them together by default.
        bins: of snapshots, between the least and the greatest value.
        ridges: how many curves, evenly spaced over time from the first record to the last.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes. What a `Density` counted outside of its bins, and what is not finite, is in no bin, and lessens the
        density.

    Warns:
        UserWarning: where that is more than a hundredth of the agents at some time.

    Raises:
        TypeError: for what has no such data.
        ValueError: for an unknown name or kind, and where there is more than time and place.
    """
    check_choice("kind", kind, ("heat", "ridge"))
    check_count("ridges", ridges)
    check_count("bins", bins, most=MOST_BINS)
    time, edges, values = over_time(data, name, dim=dim, bins=bins)
    centers = (edges[1:] + edges[:-1]) / 2
    with theme.panel(ax) as axes:
        x = coordinate(time, str(time.name))
        if kind == "heat":
            image = axes.pcolormesh(_around(x), edges, values.T, cmap=theme.SHADES, vmin=0)
            image.set_rasterized(True)
            axes.set(xlabel=label(time), ylabel="position of agents (length)")
            axes.figure.colorbar(image, ax=axes, label="density of agents (1 / length)")
            return axes
        shown_at = np.unique(np.linspace(0, len(x) - 1, min(ridges, len(x))).round().astype(int))
        height = np.nanmax(values[shown_at])
        for place, (row, color) in enumerate(zip(shown_at, theme.shades(len(shown_at)), strict=True)):
            base, rise = float(place), 1.8 * values[row] / height
            front = 2.0 * (len(shown_at) - place)
            axes.fill_between(centers, base, base + rise, color=color, alpha=0.6, lw=0, zorder=front)
            axes.plot(centers, base + rise, "-", color=color, lw=1.0, zorder=front + 1)
        axes.set_yticks(range(len(shown_at)), [f"{v:.6g}" for v in x[shown_at]])
        axes.set(xlabel="position of agents (length)", ylabel=label(time), xlim=(edges[0], edges[-1]))
    return axes


def over_time(
    data: Drawable, name: str | None, *, dim: int | None = None, bins: int = 80
) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """The density of agents at each record.

    Args:
        data: as `density`.
        name: as `density`.
        dim: as `density`.
        bins: as `density`.

    Returns:
        Times of the records; edges of the bins, (bins + 1,); and densities in 1/length, (records, bins).

    Raises:
        TypeError: as `density`.
        ValueError: as `density`.
    """
    if name is None and isinstance(data, Result | xr.Dataset):
        data = dataset(data)
        if (name := next((n for n in ("density", "snapshot") if n in data), None)) is None:
            raise ValueError("name=None: must be what observe.Density or observe.Snapshot recorded, and data has none")
    values = array(data, name)
    time = time_of(values, None)
    if (place := next((str(d) for d in values.dims if str(d).endswith("_bin")), None)) is not None:
        check_drawn(values, (time, place, "sim"), 0, "take one of the others with .isel or .sel")
        counts = values.sum("sim") if "sim" in values.dims else values
        counts, lower = counts.transpose(time, place).values.astype(float), coordinate(values, place)
        if lower.dtype.kind != "f" or len(lower) < 3 or lower[0] != -np.inf:
            raise ValueError(
                f"data: {values.name} does not say where its bins are; must be what observe.Density recorded"
            )
        share = counts / counts.sum(axis=1, keepdims=True)
        _warn_of_left_out(values[time], 1 - share[:, 1:-1].sum(axis=1), f"beyond {lower[1]:g} to {lower[-1]:g}, or not")
        return values[time], lower[1:], share[:, 1:-1] / np.diff(lower[1:])
    coordinates = [str(d) for d in values.dims if str(d).endswith("dim")]
    if dim is not None:
        if not coordinates:
            raise ValueError(f"dim={shown(dim)}: must be left out, since there is one coordinate alone")
        values = values.isel({coordinates[0]: check_count("dim", dim, least=0, most=values.sizes[coordinates[0]] - 1)})
    points = values.transpose(time, ...).values.reshape(values.sizes[time], -1).astype(float)
    finite = points[np.isfinite(points)]
    if not finite.size:
        raise ValueError(f"data: {values.name} has no finite value to be drawn")
    edges = np.linspace(finite.min(), finite.max() + 1e-12 * max(1.0, abs(finite.max())), check_count("bins", bins) + 1)
    counts = np.array([np.histogram(row[np.isfinite(row)], edges)[0] for row in points], float)
    share = counts / points.shape[1]
    _warn_of_left_out(values[time], 1 - share.sum(axis=1), "not")
    return values[time], edges, share / np.diff(edges)


def _warn_of_left_out(time: xr.DataArray, share: np.ndarray, where: str) -> None:
    """Say which share of the agents is in no bin at the time when most are not, (records,)."""
    most = int(np.argmax(share))
    if share[most] > BEYOND:
        said = f"at {time.name} {time.values[most]:.6g} {100 * share[most]:.3g} % of the agents are {where} finite"
        nothing = "" if share[most] < 1 else ", so that nothing is drawn there"
        warn(f"data: {said}, and in no bin{nothing}", UserWarning)


def _around(times: np.ndarray) -> np.ndarray:
    """Edges about times, each half way to its neighbors."""
    times = np.asarray(times, float)
    if len(times) == 1:
        return times[0] + np.array([-0.5, 0.5])
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([[times[0]], middles, [times[-1]]])
