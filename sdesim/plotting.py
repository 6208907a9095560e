"""Shared looks of the figures."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from sdesim.asynchrony import AbstractCompute, Timetable
from sdesim.fields import check_count, check_less
from sdesim.random import Stream
from sdesim.results.files import replacing

LOSS = "#f28e2b"  # true loss: orange, as in the paper
SMOOTHED = "#1f77b4"  # smoothed loss: blue
AGENTS = "#7f7f7f"
QUORUM = "#b2182b"

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "mathtext.fontset": "cm",
}


@contextmanager
def looks() -> Iterator[None]:
    """The style of all figures, without touching the user's own settings."""
    with matplotlib.style.context("default"), matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]
        yield


def density(values: np.ndarray, grid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Gaussian kernel density estimate.

    Args:
        values: of any shape; those that are not finite are left out.
        grid: where the density is wanted, (points,), in units of x.
        bandwidth: absolute, in units of x.

    Returns:
        (points,), in 1/x; NaN without values.
    """
    values = np.asarray(values, float).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return np.full(grid.shape, np.nan)
    std = values.std(ddof=1) if values.size > 1 else 0.0
    if std < 1e-9:  # one point: the kernel itself
        return np.exp(-0.5 * ((grid - values[0]) / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    if values.size > 20_000:  # the estimate from fine bins, to far below the bandwidth the same
        edges = np.linspace(values.min(), values.max() + 1e-9, int(np.ptp(values) / bandwidth * 20) + 2)
        counts, _ = np.histogram(values, edges)
        centers = (edges[1:] + edges[:-1]) / 2
        return gaussian_kde(centers, bandwidth / _weighted_std(centers, counts), weights=counts)(grid)
    return gaussian_kde(values, bandwidth / std)(grid)


def _weighted_std(x: np.ndarray, weights: np.ndarray) -> float:
    """The standard deviation by which gaussian_kde scales its bandwidth, with its own correction for weights."""
    return float(np.sqrt(np.cov(x, aweights=weights)))


def silverman(values: np.ndarray) -> float:
    """Silverman's rule of thumb for a bandwidth, robust to heavy tails.

    Args:
        values: of any shape; those that are not finite are left out.

    Returns:
        The bandwidth, in units of the values.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return 0.05
    scale = min(values.std(ddof=1), np.subtract(*np.percentile(values, [75, 25])) / 1.349 or np.inf)
    return float(max(0.9 * scale * values.size**-0.2, 1e-3))


def unit_range(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """`values` scaled so that over the points of `window` they run from 0 to 1.

    Args:
        values: (points,).
        window: which points, a mask or indices.

    Returns:
        (points,).
    """
    low, high = values[window].min(), values[window].max()
    return (values - low) / (high - low)


def letter(axes: Axes, index: int, title: str) -> None:
    """The panel's letter and title.

    Args:
        axes: the panel.
        index: its number, from 0, which is (a).
        title: what stands after the letter.
    """
    axes.set_title(f"({chr(ord('a') + index)})  {title}", loc="left")


COMPUTING, SENDING, RECEIVING, WAITING, LOST = SMOOTHED, LOSS, "#1b9e77", "#d9d9d9", QUORUM


def timeline(
    axes: Axes,
    table: Timetable,
    *,
    sim: int = 0,
    window: tuple[float, float] | None = None,
    uplink: AbstractCompute | None = None,
    downlink: AbstractCompute | None = None,
    seed: Any = 0,
    first_sim: int = 0,
) -> None:
    """Who computed, sent and waited: a row of bars for each worker.

    A message's time belongs to its job, so it is had again from its law. What a worker does after its last arrival in
    the timetable is not known, and not drawn. A job that was lost is drawn with all that came between its neighbors.

    Args:
        axes: where to draw.
        table: the timetable, which knows when jobs began.
        sim: the simulation, an index of the timetable's.
        window: from when to when, in seconds; all of it by default.
        uplink: the law of the times of messages to the server that the timetable was made with; None for no time.
        downlink: of the answers, likewise.
        seed: that the timetable was made with.
        first_sim: number of the timetable's first simulation.

    Raises:
        ValueError: naming the argument: an index that is none, a window that ends before it begins, or where it is not
            known when jobs began.
    """
    row = check_count("sim", sim, least=0, most=table.sims - 1)
    if table.began is None:
        raise ValueError("table: its began is None, so it is not known who waited")
    low, high = (0.0, float(table.time[row].max(initial=0.0))) if window is None else map(float, window)
    check_less("window[0]", low, "window[1]", high)
    worker, job, time = table.worker[row], table.job[row], table.time[row]

    def seconds(law: AbstractCompute | None, stream: int) -> np.ndarray:
        if law is None or not job.size:
            return np.zeros(job.size)
        none = np.zeros((1, table.workers), np.int64)
        return law.times(seed, stream, np.array([first_sim + row]), none, int(job.max()) + 1)[0, worker, job]

    sent, answered = time - seconds(uplink, Stream.UPLINK), time + seconds(downlink, Stream.DOWNLINK)
    kinds: dict[str, tuple[str, list[tuple[int, float, float]]]] = {
        "computes": (COMPUTING, [*zip(worker, table.began[row], sent, strict=True)]),
        "sends": (SENDING, [*zip(worker, sent, time, strict=True)]),
        "is answered": (RECEIVING, [*zip(worker, time, answered, strict=True)]),
        "waits": (WAITING, []),
        "job lost": (LOST, []),
    }
    for i in range(table.workers):
        mine = np.flatnonzero(worker == i)
        free = np.concatenate([[0.0], answered[mine]])[:-1]
        skipped = np.diff(job[mine], prepend=-1) > 1
        for kind, those in (("job lost", skipped), ("waits", ~skipped)):
            here = mine[those]
            kinds[kind][1].extend(zip(worker[here], free[those], table.began[row][here], strict=True))
    for kind, (color, bars) in kinds.items():
        inside = [(i, max(a, low), min(b, high)) for i, a, b in bars if b > low and a < high]
        inside = [bar for bar in inside if bar[2] - bar[1] > 1e-9 * (high - low)]
        if inside:
            i, a, b = map(np.asarray, zip(*inside, strict=True))
            axes.barh(i, b - a, left=a, height=0.72, color=color, label=kind, linewidth=0)
    axes.set(xlim=(low, high), ylim=(table.workers - 0.4, -0.6), xlabel="time  (s)", ylabel="worker")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all.

    Args:
        figure: the picture.
        path: of the file; its suffix is the format.
    """
    with replacing(path) as temporary:
        # no time stamp: the same data give the same file
        stamp = {"CreationDate": None} if str(path).endswith(".pdf") else {}
        # matplotlib's own mathematical fonts carry dates before 1990, of which fontTools warns when a PDF embeds them
        logging.getLogger("fontTools").setLevel(logging.ERROR)
        figure.savefig(temporary, metadata=stamp)
