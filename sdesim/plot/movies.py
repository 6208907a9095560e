"""Moving pictures of a run: agents over the loss, their density, or positions against velocities."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.axes import Axes

from sdesim.fields import check_choice, check_count, one_number, shown
from sdesim.plot import densities, landscapes, theme
from sdesim.plot.given import time_of
from sdesim.results.files import replacing
from sdesim.results.result import Result

FFMPEG = "animation.ffmpeg_path"
KINDS = ("agents", "density", "phase")
MOST_DPI = 1000
LONGEST = 3600.0  # seconds
Frame = Callable[[int], Any]
"""Draws a record."""


def animate(
    result: Result,
    path: str | os.PathLike[str],
    *,
    kind: str = "agents",
    loss: Callable | None = None,
    sims: int | None = None,
    dim: int = 0,
    dims: tuple[int, int] = (0, 1),
    frames: int = 100,
    seconds: float = 8.0,
    dpi: int = 100,
) -> None:
    """Write a run as a moving picture, whole or not at all.

    Args:
        result: that recorded `observe.Snapshot()`, which "density" and "phase" need too, the former in place of
            `observe.Density`, and the latter with `observe.Velocity()`.
        path: of the file, a .gif, or an .mp4, for which ffmpeg must be installed.
        kind: "agents", over the curve of the loss or its contours; "density", of all agents' coordinates; "phase",
            positions against velocities.
        loss: as `sdesim.plot.agents`.
        sims: of how many simulations, the first of them; all by default.
        dim: the coordinate of "phase".
        dims: both coordinates of "agents", of more than two.
        frames: how many records are shown at most, evenly spaced.
        seconds: that it lasts, less than an hour.
        dpi: points an inch, up to 1000; the picture is 5.2 by 3.6 inches.

    Raises:
        TypeError: for what is no result.
        ValueError: for another kind or suffix, and a result that recorded something else.
        FileNotFoundError: for an .mp4 without ffmpeg, and if its folder does not exist.
        WriteError: if it cannot be written; what was there before is untouched.
    """
    if not isinstance(result, Result):
        raise TypeError(f"result={shown(result)}: must be a result of sdesim.simulate or sdesim.iterate")
    check_choice("kind", kind, KINDS)
    check_count("frames", frames)
    check_count("dpi", dpi, most=MOST_DPI)
    check_count("dim", dim, least=0, most=int(result.agents.shape[-1]) - 1)
    landscapes.coordinates(dims, max(int(result.agents.shape[-1]), 2))
    lasts = one_number("seconds", seconds, zero=False, below=LONGEST)
    if sims is not None:
        check_count("sims", sims, most=int(result.agents.shape[0]))
    data = result.to_xarray().isel(sim=slice(sims))
    # Before anything is drawn: who has no ffmpeg is not to wait for it.
    count = min(frames, int(result.records.size))
    writer = _writer(path, max(count, 1) / lasts)
    times, draw, axes = _scene(result, data, kind, loss, dim, dims)
    shown_at = np.unique(np.linspace(0, len(times) - 1, count).round().astype(int))
    figure = axes.get_figure(root=True)
    assert figure is not None
    unit = "s" if times.name == "time" else ""
    program: Any = {FFMPEG: matplotlib.rcParams[FFMPEG]}  # the user's, whatever the look
    try:
        with (
            theme.looks(),
            matplotlib.rc_context(program),
            replacing(path) as temporary,
            writer.saving(figure, temporary, dpi),
        ):
            title = axes.set_title("0", loc="left")
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once: what moves has its place
            for i in shown_at:
                draw(int(i))
                title.set_text(f"{times.name} {times.values[i]:.6g} {unit}".rstrip())
                writer.grab_frame()
    finally:
        pyplot.close(figure)


def _writer(path: Any, rate: float) -> AbstractMovieWriter:
    """What writes a file of this suffix, at so many frames a second."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)}: must be the name of a file")
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".gif":
        return PillowWriter(fps=rate)  # pyright: ignore[reportArgumentType]
    if suffix != ".mp4":
        raise ValueError(f"path={os.fspath(path)!r}: must end in .gif or .mp4")
    if shutil.which(matplotlib.rcParams[FFMPEG]) is None:
        why = "an .mp4 needs the program ffmpeg, which is not installed (or not on PATH); install it, or name a .gif"
        raise FileNotFoundError(f"path={os.fspath(path)!r}: {why}")
    return FFMpegWriter(fps=rate, codec="h264", extra_args=["-pix_fmt", "yuv420p"])  # pyright: ignore[reportArgumentType]


def _scene(
    result: Result, data: xr.Dataset, kind: str, loss: Any, dim: int, dims: tuple[int, int]
) -> tuple[xr.DataArray, Frame, Axes]:
    """When the records were, what draws one of them, and where."""
    if kind == "density":
        with theme.panel(None) as axes:
            times, edges, values = densities.over_time(data, None)
            stairs = axes.stairs(values[0], edges, fill=True, color=theme.AGENTS, alpha=0.6)
            axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * float(np.nanmax(values))))
            axes.set(xlabel="position of agents (length)", ylabel="density of agents (1 / length)")
        return times, lambda i: stairs.set_data(values[i], edges), axes
    positions, times = _path(data, "snapshot", "Snapshot")
    if kind == "phase":
        velocities, _ = _path(data, "velocity", "Velocity")
        x, v = positions[..., dim], velocities[..., dim]
        return times, *_phase(x, v)
    return times, *_over_loss(result, positions, loss, dims)


def _path(data: xr.Dataset, name: str, observable: str) -> tuple[np.ndarray, xr.DataArray]:
    """What was recorded of agents, (records, sims, agents, dims), and when."""
    if not any(n in data and {"step", "time"} & set(data[n].dims) for n in (name, f"{name}_series")):
        raise ValueError(f"result: must have recorded observe.{observable}(), for agents to be drawn")
    values = data[f"{name}_series"] if f"{name}_series" in data else data[name]
    time = time_of(values, None)
    return values.transpose(time, ...).values.astype(float), values[time]


def _phase(x: np.ndarray, v: np.ndarray) -> tuple[Frame, Axes]:
    """Positions against velocities."""
    with theme.panel(None) as axes:
        (gray,) = axes.plot([], [], "o", ms=3, mew=0, color=theme.AGENTS, alpha=0.5, label="agents")
        (red,) = axes.plot([], [], "o", ms=4.5, mew=0, color=theme.QUORUM, label="quorum")
        axes.set(xlim=landscapes.window(x), ylim=landscapes.window(v))
        axes.set(xlabel="position of agents (length)", ylabel="velocity of agents (length / time)")
        _legend(axes)

    def draw(i: int) -> None:
        gray.set_data(x[i].ravel(), v[i].ravel())
        red.set_data(x[i].mean(axis=-1), v[i].mean(axis=-1))

    return draw, axes


def _legend(axes: Axes) -> None:
    """Above the panel, beside the time."""
    place: dict[str, Any] = dict(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    axes.legend(ncols=3, fontsize=8, handlelength=1.6, **place)


def _over_loss(result: Result, positions: np.ndarray, loss: Any, dims: tuple[int, int]) -> tuple[Frame, Axes]:
    """Agents over the curve of the loss, or its contours."""
    of = landscapes.loss_of(result, loss)
    with theme.panel(None) as axes:
        if positions.shape[-1] == 1:
            x = positions[..., 0]
            landscapes.draw_curve(axes, of, *landscapes.window(x))
            gray, red = landscapes.mark(axes, of, x[0])

            def draw(i: int) -> None:
                points, means = x[i].ravel(), x[i].mean(axis=1)
                gray.set_data(points, of(points[:, None]))
                red.set_data(means, of(means[:, None]))

        else:
            plane = landscapes.coordinates(dims, positions.shape[-1])
            finite = np.where(np.isfinite(positions), positions, np.nan)
            limits = [landscapes.window(positions[..., d]) for d in plane]
            landscapes.draw_plane(axes, of, np.nanmean(finite[-1], axis=(0, 1)), plane, limits)
            gray, red = landscapes.mark_plane(axes, positions[0][..., list(plane)])

            def draw(i: int) -> None:
                here = positions[i][..., list(plane)]
                gray.set_data(*here.reshape(-1, 2).T)
                red.set_data(*here.mean(axis=1).T)

        _legend(axes)
    return draw, axes
