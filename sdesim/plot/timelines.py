"""Who of the workers computed, sent and waited."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sdesim.asynchrony import AbstractCompute, Timetable
from sdesim.fields import check_count, check_less, one_number, shown
from sdesim.plot import theme
from sdesim.random import Stream, seed_words

COMPUTING, SENDING, RECEIVING, WAITING, LOST = theme.SMOOTHED, theme.LOSS, theme.OTHER, "#d9d9d9", theme.QUORUM


def timeline(
    table: Timetable,
    *,
    sim: int = 0,
    window: tuple[float, float] | None = None,
    uplink: AbstractCompute | None = None,
    downlink: AbstractCompute | None = None,
    seed: Any = 0,
    first_sim: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Who computed, sent and waited: a row of bars for each worker.

    A message's time belongs to its job, so it is had again from its law. What a worker does after its last arrival in
    the timetable is not known, and not drawn. A job that was lost is drawn with all that came between its neighbors.

    Args:
        table: the timetable, which knows when jobs began.
        sim: the simulation, an index of the timetable's.
        window: from when to when, in seconds; all of it by default.
        uplink: the law of the times of messages to the server that the timetable was made with; None for no time.
        downlink: of the answers, likewise.
        seed: that the timetable was made with.
        first_sim: number of the timetable's first simulation.
        ax: axes to draw into; new ones, with a legend, by default.

    Returns:
        The axes.

    Raises:
        TypeError: for what is no timetable.
        ValueError: naming the argument: an index that is none, a window that ends before it begins, or where it is not
            known when jobs began.
    """
    if not isinstance(table, Timetable):
        raise TypeError(f"table={shown(table)}: must be a Timetable of sdesim.asynchrony")
    row = check_count("sim", sim, least=0, most=table.sims - 1)
    first_sim = check_count("first_sim", first_sim, least=0)
    seed_words(seed)
    for name, law in (("uplink", uplink), ("downlink", downlink)):
        if law is not None and not isinstance(law, AbstractCompute):
            raise TypeError(f"{name}={shown(law)}: must be a law of times, such as Link(1.0), or None")
    if window is not None and (not isinstance(window, tuple | list) or len(window) != 2):
        raise ValueError(f"window={shown(window)}: must be two moments, such as (0.0, 10.0)")
    if table.began is None:
        raise ValueError("table: its began is None, so it is not known who waited")
    low, high = (0.0, table.time[row].max(initial=0.0)) if window is None else window
    low, high = (one_number(f"window[{i}]", end) for i, end in enumerate((low, high)))
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
    with theme.panel(ax) as axes:
        for kind, (color, bars) in kinds.items():
            inside = [(i, max(a, low), min(b, high)) for i, a, b in bars if b > low and a < high]
            inside = [bar for bar in inside if bar[2] - bar[1] > 1e-9 * (high - low)]
            if inside:
                i, a, b = map(np.asarray, zip(*inside, strict=True))
                axes.barh(i, b - a, left=a, height=0.72, color=color, label=kind, linewidth=0)
        axes.set(xlim=(low, high), ylim=(table.workers - 0.4, -0.6), xlabel="time  (s)", ylabel="worker")
        theme.whole_ticks(axes.yaxis)
        if ax is None and axes.containers:
            axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=5)
    return axes
