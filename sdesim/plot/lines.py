"""Lines over time and over what was swept: trajectories, bands of error, points with bars, learning curves."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from sdesim.fields import check_choice, check_count, check_flags, shown
from sdesim.plot import theme
from sdesim.plot.given import (
    BARS,
    Drawable,
    along,
    check_drawn,
    coordinate,
    label,
    mean_and_error,
    named_value,
    recorded,
    time_of,
    without,
)

PARTS = {"train": theme.PALETTE[0], "validation": theme.PALETTE[3], "test": theme.QUORUM}
"""Of a training's data, with a color."""
CURVES = {"loss": "cross-entropy", "accuracy": "accuracy (%)", "perplexity": "perplexity", "r2": "$R^2$"}
"""What a training measures of each model, as an axis says it."""


def trajectories(
    data: Drawable,
    name: str | None = None,
    *,
    dim: int | None = None,
    sims: int = 1,
    over: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Paths over time, thin and gray, and their mean, thick.

    Args:
        data: a result that recorded something, a sweep at one point of its grid (`data.isel(k=0)`), or an array of one.
        name: of what is drawn, such as "snapshot" for agents, "quorum"; by default "snapshot".
        dim: the coordinate that is drawn, its number; where there is only one it need not be said.
        sims: of how many simulations, the first of them.
        over: the dimension of time, or a coordinate of it; by default "time", "step" or "epoch".
        ax: axes to draw into; new ones by default.

    Returns:
        The axes. One gray line a path, in the order of the simulations, and the mean of all.

    Raises:
        TypeError: for what has no such data.
        ValueError: for an unknown name or dimension, and where a choice is left.
    """
    if name is None and not isinstance(data, xr.DataArray):
        name = "snapshot"
    values = along(recorded(data, name), over)
    time = time_of(values, over)
    coordinates = [d for d in without(values, time, "sim") if d == "dim" or d.endswith("_dim")]
    if coordinates:
        count = values.sizes[coordinates[0]]
        if dim is None:
            raise ValueError(f"dim=None: must be one of the {count} coordinates, 0 to {count - 1}")
        values = values.isel({coordinates[0]: check_count("dim", dim, least=0, most=count - 1)})
    elif dim is not None:
        raise ValueError(f"dim={shown(dim)}: must be left out, since there are no coordinates to choose from")
    if "sim" in values.dims:
        values = values.isel(sim=slice(check_count("sims", sims)))
    rest = without(values, time, "sim")
    if swept := [d for d in rest if not d.endswith("agent")]:
        raise ValueError(
            f"data: varies with {', '.join(swept)} too; must be of one, such as data.isel({swept[0]!r}: 0)"
        )
    each = values.stack(path=[d for d in ("sim", *rest) if d in values.dims], create_index=False)
    paths = each.transpose("path", time).values.astype(float)
    x = coordinate(values, time)
    with theme.panel(ax) as axes:
        for i, path in enumerate(paths):
            axes.plot(x, path, "-", color=theme.AGENTS, lw=0.6, alpha=0.6, label="each" if i == 0 else "_")
        if len(paths) > 1:
            axes.plot(x, paths.mean(axis=0), "-", color=theme.QUORUM, lw=1.6, label="mean")
            if ax is None:
                theme.legend_above(axes)
        axes.set(xlabel=label(values[time], time), ylabel=label(values, name), xlim=(x[0], x[-1]))
    return axes


def band(
    data: Drawable,
    name: str | None = None,
    *,
    over: str | None = None,
    log: bool = False,
    ax: Axes | None = None,
    **line: Any,
) -> Axes:
    """A series as its mean over simulations, with a band of two standard errors to either side.

    Args:
        data: a result that recorded something, a sweep, or an array of one, with the dimension "sim".
        name: of what is drawn, such as "quorum" or "spread".
        over: the dimension along the horizontal axis, or a coordinate of it, such as the coupling's "time"; by default
            "time", "step" or "epoch".
        log: whether the vertical axis is logarithmic; a band then ends at a tenth of its mean at the lowest.
        ax: axes to draw into; new ones by default.
        **line: of Matplotlib's `plot`: color, linestyle, linewidth, label. With one other dimension, such as a swept
            gain, there is a line for each of its values, labeled and colored by itself.

    Returns:
        The axes.

    Raises:
        TypeError: for what has no such data.
        ValueError: for an unknown name or dimension, and where too many dimensions are left.
    """
    check_flags(log=log)
    mean, error = (along(a, over) for a in mean_and_error(data, name, series=True))
    time = time_of(mean, over)
    rest = check_drawn(mean, (time,), 1, "take one of the others with .isel or .sel")
    with theme.panel(ax) as axes:
        for one, off, style in _each(mean, error, rest, line):
            draw_band(axes, coordinate(one, time), one.values, off.values, log=log, **style)
        if log:
            axes.set_yscale("log")
        _finish(axes, mean, time, name, ax is None)
    return axes


def draw_band(axes: Axes, x: Any, mean: Any, error: Any, *, log: bool = False, **line: Any) -> None:
    """A line with a band of two errors to either side.

    Args:
        axes: where to draw.
        x: (points,).
        mean: (points,).
        error: standard errors of the mean, (points,); NaN where they are not known, and there is no band.
        log: whether the vertical axis is, or will be, logarithmic; the band then ends at a tenth of its mean at the
            lowest.
        **line: of Matplotlib's `plot`.
    """
    x, mean, error = np.asarray(x), np.asarray(mean, float), BARS * np.asarray(error, float)
    (drawn,) = axes.plot(x, mean, **{"lw": 1.4, **line})
    low = np.maximum(mean - error, 0.1 * mean) if log else mean - error  # one to 0 would have no end
    axes.fill_between(x, low, mean + error, color=drawn.get_color(), alpha=0.18, lw=0)


def points(
    data: Drawable, name: str | None = None, *, over: str | None = None, ax: Axes | None = None, **marks: Any
) -> Axes:
    """Means over simulations with bars of two standard errors, against a number that was swept.

    Args:
        data: a sweep, or an array of one, with the dimension "sim".
        name: of what is drawn, such as "quorum_loss".
        over: the dimension along the horizontal axis; by default the first beside "sim".
        ax: axes to draw into; new ones by default.
        **marks: of Matplotlib's `errorbar`: color, marker, label. With one other dimension there are points for each of
            its values, joined by thin lines, labeled and colored by themselves.

    Returns:
        The axes. Where a swept number is spread evenly over decades, its axis is logarithmic.

    Raises:
        TypeError: for what has no such data.
        ValueError: for an unknown name or dimension, and where too many dimensions are left.
    """
    mean, error = (along(a, over) for a in mean_and_error(data, name, series=False))
    dims = without(mean)
    if over is None and not dims:
        raise ValueError("data: is one number, and must have a dimension to be drawn against")
    over = time_of(mean, dims[0] if over is None else over)
    rest = check_drawn(mean, (over,), 1, "take one of the others with .isel or .sel")
    with theme.panel(ax) as axes:
        for one, off, style in _each(mean, error, rest, marks):
            looks = {"marker": "o", "ms": 3.5, "lw": 1.0, "capsize": 2.0, "zorder": 3, "linestyle": "none", **style}
            if rest:  # what belongs together is joined
                axes.plot(coordinate(one, over), one.values, "-", color=looks["color"], lw=0.6, alpha=0.6)
            axes.errorbar(coordinate(one, over), one.values, yerr=BARS * off.values, **{**looks, "linestyle": "none"})
        if ax is None and is_logarithmic(coordinate(mean, over)):
            axes.set_xscale("log")
        _finish(axes, mean, over, name, ax is None)
    return axes


def learning_curves(history: xr.Dataset, what: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Loss or accuracy over the epochs of a training, of the agents and of the model that is tested.

    Args:
        history: of `sdesim.training.train`.
        what: "loss" or "perplexity", on a logarithmic axis, "accuracy", in percent, or "r2", of what the history has.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes. For training, validation and test images a thin line for each agent and a thick one for their center,
        means over the runs that have not diverged, and of several runs a band of two standard errors about the center.

    Raises:
        TypeError: for what is no history of `train`.
        ValueError: for another `what`.
    """
    check_history("history", history)
    check_choice("what", what, [n for n in CURVES if any(f"{part}_{n}" in history for part in PARTS)])
    mean, scale = mean_over_runs(history), 100.0 if what == "accuracy" else 1.0
    with theme.panel(ax) as axes:
        for name, color in PARTS.items():
            if (values := mean.get(f"{name}_{what}")) is None:
                continue
            for agent in mean["agent"].values:
                one = scale * values.sel(model=f"agent {agent}")
                axes.plot(mean["epoch"], one, "-", color=color, lw=0.5, alpha=0.5)
            center, error = scale * values.sel(model="center"), scale * _error_of_kept(history, f"{name}_{what}")
            style: dict[str, Any] = dict(linestyle="-", color=color, lw=1.6, label=f"{name}, center")
            draw_band(axes, mean["epoch"], center, error, log=what in ("loss", "perplexity"), **style)
        if what in ("loss", "perplexity"):
            axes.set_yscale("log")
            theme.plain_ticks(axes.yaxis)
        rows = any(f"{part}_r2" in history for part in PARTS)
        axes.set(ylabel="mean square error" if what == "loss" and rows else CURVES[what])
        if ax is None:
            axes.set_xlabel("epoch")
            theme.whole_ticks(axes.xaxis)
            theme.legend_above(axes)
    return axes


def check_history(name: str, history: Any) -> None:
    """Refuse what is no history of `train`.

    Args:
        name: of the argument.
        history: to be looked at.

    Raises:
        TypeError: naming the argument.
    """
    if not isinstance(history, xr.Dataset) or not {"batch_loss", "spread_by_layer", "diverged"} <= set(history):
        raise TypeError(f"{name}={shown(history)}: must be what sdesim.training.train returns")


def mean_over_runs(data: xr.Dataset) -> xr.Dataset:
    """Means over runs of what is measured each epoch.

    A run is left out of everything from the epoch on at which one of its losses is not finite: its accuracy is a number
    still, but one of a network that says nothing.

    Args:
        data: a history of `train`.

    Returns:
        The means, and `runs` (epoch), over how many.
    """
    kept = _kept(data)
    each = data[[name for name, values in data.data_vars.items() if {"epoch", "run"} <= set(values.dims)]]
    return each.where(kept).mean("run", skipna=True).assign(runs=kept.sum("run"))


def _kept(data: xr.Dataset) -> xr.DataArray:
    """Which runs count at which epochs."""
    finite = (abs(data["batch_loss"]) < np.inf).all("agent") | (data["epoch"] == 0)  # before any batch
    for name in ("train_loss", "validation_loss", "test_loss"):
        if name in data:
            finite &= (abs(data[name]) < np.inf).all("model")
    return finite.astype(int).cumprod("epoch").astype(bool)


def _error_of_kept(data: xr.Dataset, name: str) -> xr.DataArray:
    """Standard error of the center's mean over the runs that count, NaN of one."""
    kept, values = _kept(data), data[name].sel(model="center")
    runs = kept.sum("run")
    return values.where(kept).std("run", ddof=1, skipna=True) / np.sqrt(runs.where(runs > 1))


def is_logarithmic(values: np.ndarray) -> bool:
    """Whether numbers are spread evenly over decades, so that an axis of them is logarithmic.

    Args:
        values: (values,).

    Returns:
        True of at least three, all greater than 0, with ratios that differ by less than a half.
    """
    values = np.sort(np.asarray(values)) if np.asarray(values).dtype.kind in "fiu" else np.zeros(0)
    if len(values) < 3 or not values[0] > 0 or values[-1] < 8 * values[0]:
        return False
    ratios, steps = np.diff(np.log(values)), np.diff(values)
    return bool(ratios.max() < 2.5 * ratios.min() and steps.max() > 1.5 * steps.min())


def _each(mean: xr.DataArray, error: xr.DataArray, rest: list[str], style: dict[str, Any]):
    """Each line's mean and error, and how it is drawn."""
    if not rest:
        yield mean, error, dict(style)
        return
    (dim,) = rest
    values = coordinate(mean, dim)
    ordered = values.dtype.kind in "fiu"
    ways = [(c, "-") for c in theme.shades(len(values))] if ordered else theme.distinct(len(values))
    for i, (color, dashes) in enumerate(ways):
        own = {"color": color, "linestyle": dashes, "label": named_value(mean, dim, values[i])}
        yield mean.isel({dim: i}), error.isel({dim: i}), {**own, **style}


def _finish(axes: Axes, mean: xr.DataArray, over: str, name: str | None, legend: bool) -> None:
    """Labels, where nobody has set others, plain ticks, 0 of a difference, and a legend where it is ours to make."""
    if "difference" in mean.attrs and axes.get_yscale() == "linear":
        axes.axhline(0, color=theme.AGENTS, lw=0.8, zorder=1)
    if not axes.get_xlabel():
        axes.set_xlabel(label(mean[over], over))
    if not axes.get_ylabel():
        axes.set_ylabel(label(mean, name))
    theme.plain_ticks(axes.xaxis)
    theme.plain_ticks(axes.yaxis)
    if legend:
        theme.legend_above(axes)
