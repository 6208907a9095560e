"""What the host hands to each step of a run of workers: from clocks or a timetable, by arrivals or by seconds.

Arrivals are made a page at a time, as the steps of a run ask for them, once for all who read them, and are forgotten
when all have: a long run holds no more of them than a short one. A run by seconds counts them beforehand, since as many
steps lie between two of its moments as anybody needs there.
"""

import dataclasses
import functools
import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sdesim.asynchrony.clocks import WINDOW, Arrived, Clocks, Timing, by_moments, check_all_there, stride_of, turned
from sdesim.asynchrony.tables import Timetable
from sdesim.fields import is_traced
from sdesim.steppers.base import Setting
from sdesim.threads import beside

KEPT = 1 << 22  # arrivals of all simulations that are not made a second time after they were counted

Page = tuple[NDArray, NDArray]
"""Workers and jobs of arrivals, int32 (arrivals, sims) each."""


class Maker(Protocol):
    """Makes arrivals: clocks, or a timetable."""

    def take(self, arrivals: int) -> Arrived:
        """The next arrivals.

        Args:
            arrivals: of each simulation.

        Returns:
            As many, or as there are.
        """
        ...

    def ahead(self, arrivals: int) -> Callable[[], Arrived]:
        """As `take`, in a thread beside others, see `Clocks.ahead`.

        Args:
            arrivals: of each simulation.

        Returns:
            What gives them.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Where arrivals come from, as often as they are asked for.

    Attributes:
        begun: makes what makes them, from the first one on.
        page: how many are made at a time.
    """

    begun: Callable[[], Maker]
    page: int


@dataclasses.dataclass(frozen=True, eq=False)
class Arrivals:
    """What the host hands to each step of a run of workers, and when these steps are.

    Attributes:
        source: of all arrivals, from the first one on.
        sims: simulations.
        workers: how many there are.
        steps: of the run.
        first: the number of the run's first arrival; of a run by seconds `before` says it.
        stride: steps between two of the moments that were asked for; None if arrivals were.
        before: how many arrive before each moment, (moments, sims), the beginning among them; None by arrivals.
        moments: in seconds, (moments,); None by arrivals.
        made: the first pages, if they are there already.
    """

    source: Source
    sims: int
    workers: int
    steps: int
    first: int = 0
    stride: int | None = None
    before: NDArray | None = None
    moments: NDArray | None = None
    made: tuple[Page, ...] = ()

    def reading(self, records: NDArray) -> "Reading":
        """Hand them out, from the first step on.

        Args:
            records: the numbers of steps after which the time will be asked for, from 0, (records,).

        Returns:
            What hands them out.
        """
        return Reading(self, records)

    @property
    def until(self) -> int:
        """How many arrivals somebody may ask for, from the first one on."""
        return self.first + self.steps if self.before is None else int(self.before[-1].max())

    def numbers(self, steps: NDArray, sims: NDArray) -> tuple[NDArray, NDArray]:
        """Which arrival each step is, if it is one at all: in a run by seconds some are nobody's.

        Args:
            steps: of the run, any shape.
            sims: of which simulations, a shape that broadcasts with it.

        Returns:
            The numbers, and of those that would be theirs if all were somebody's the greatest, plus one.
        """
        if self.stride is None or self.before is None:
            number = self.first + steps + 0 * sims
            return number, number + 1
        part, place = np.divmod(steps, self.stride)
        after = self.before[np.minimum(part + 1, len(self.before) - 1), sims]
        return np.minimum(self.before[part, sims] + place, after), after


class Reading:
    """Arrivals as they are handed out.

    Args:
        arrivals: of the run.
        records: the numbers of steps after which the time will be asked for, (records,).
    """

    def __init__(self, arrivals: Arrivals, records: NDArray):
        self._of, self._records, self._lock = arrivals, records, threading.Lock()
        self._pages = list(arrivals.made)
        self._low, self._high = 0, sum(len(worker) for worker, _ in self._pages)  # arrivals that the pages are
        self._maker = None if self._pages else arrivals.source.begun()
        self._coming: Callable[[], Callable[[], Arrived]] | None = None  # the next page, made while others are read
        self._start = int(arrivals.numbers(np.zeros(1, int), np.arange(arrivals.sims))[0].min())
        self._places: list[int] = []  # of those who read, each at an arrival that it may still ask for
        self._due = np.zeros(0, int) if arrivals.stride else np.unique(arrivals.first + records)
        self._times = {0: np.zeros(arrivals.sims)}  # after each number of arrivals that is due

    def reader(self, sims: NDArray) -> Callable[[int, int], dict[str, Any]]:
        """Hand them to some lanes.

        Args:
            sims: of each lane its simulation, from 0, (lanes,).

        Returns:
            (a, b) -> {"arrival": (workers, jobs)} of the steps from a to b of the run, (b - a, lanes) each; to be asked
            for steps in their order.
        """
        me, of = len(self._places), self._of
        self._places.append(self._start)
        contiguous = np.array_equal(sims, np.arange(sims.size) + sims[:1])
        columns = slice(int(sims[0]), int(sims[0]) + sims.size) if contiguous else sims
        if of.steps:
            self._reach(self._start + 1)  # what this compiles is not compiled in several threads at once

        def read(a: int, b: int) -> dict[str, Any]:
            if a == b:
                return {"arrival": (np.zeros((0, sims.size), np.int32),) * 2}
            number, after = of.numbers(np.arange(a, b)[:, None], sims if of.stride else sims[:1])
            low, high = int(number[0].min()), int(np.minimum(number[-1] + 1, after[-1]).max())
            with self._lock:
                self._places[me] = low
                self._reach(high)
                pages, begin = list(self._pages), self._low
            none = of.workers, 0
            if high == low:  # nobody arrives at all
                return {"arrival": tuple(np.full(number.shape, n, np.int32) for n in none)}
            parts = [part[:, columns] for part in _cut(pages, low - begin, high - begin)]
            if of.stride is None:
                return {"arrival": tuple(parts)}
            here, place = number < after, np.minimum(number, high - 1) - low
            some = lambda part, none: np.where(here, np.take_along_axis(part, place, 0), np.int32(none))
            return {"arrival": tuple(map(some, parts, none))}

        return read

    def times(self) -> NDArray:
        """The time after each of the records.

        Returns:
            Seconds, float64 (records, sims).

        Raises:
            ValueError: if all workers have left before the last one.
        """
        of, records = self._of, self._records
        if of.stride and of.moments is not None:
            return np.repeat(of.moments[records // of.stride][:, None], of.sims, axis=1)
        with self._lock:
            self._reach(int(self._due.max(initial=0)))
        return np.array([self._times[n] for n in of.first + records]).reshape(records.size, of.sims)

    def arrivals(self, sims: NDArray, steps: NDArray) -> NDArray:
        """How many have arrived after so many steps of the run, since the first run began.

        Args:
            sims: which simulations, (count,).
            steps: of each, (count,).

        Returns:
            (count,).
        """
        return self._of.numbers(steps, sims)[0]

    def _reach(self, number: int) -> None:
        """Have arrivals up to a number, and forget the pages that all have read."""
        of = self._of
        while self._high < number:
            page = self._next()
            if of.stride is None:
                check_all_there(page)
            made = self._high + 1 + np.arange(len(page.time))
            for n in np.intersect1d(self._due, made):
                self._times[int(n)] = page.time[n - made[0]].copy()
            self._pages.append((page.worker, page.job))
            self._high += made.size
            self._forget()
        self._forget()

    def _next(self) -> Arrived:
        """The next page; the one after it is made beside this thread, if there is a whole one."""
        assert self._maker is not None
        size, left = self._of.source.page, self._of.until - self._high
        if self._coming is not None:
            page = self._coming()()
        else:
            page = self._maker.take(size if self._of.stride else min(size, left))
        self._coming = beside(functools.partial(self._maker.ahead, size)) if left - len(page.time) >= size else None
        return page

    def _forget(self) -> None:
        while self._pages and self._low + len(self._pages[0][0]) <= min(self._places, default=self._start):
            self._low += len(self._pages.pop(0)[0])


def _cut(pages: list[Page], low: int, high: int) -> Page:
    """Some arrivals of pages that follow one another, counted from the first of these."""
    workers, jobs = [], []
    for worker, job in pages:
        part = slice(max(low, 0), max(high, 0))
        workers.append(worker[part])
        jobs.append(job[part])
        low, high = low - len(worker), high - len(worker)
    return np.concatenate(workers), np.concatenate(jobs)


def arrivals_of(given: Timetable | None, timing: Timing, setting: Setting) -> Arrivals:
    """The arrivals of a run.

    Args:
        given: a timetable in place of the timing.
        timing: what decides when workers arrive.
        setting: of the run.

    Returns:
        `Arrivals`.

    Raises:
        ValueError: for a seed that is traced, and a timetable that does not fit the run.
    """
    if is_traced(setting.seed):
        raise ValueError("seed: workers' clocks are made outside of jit, and this seed is traced; give a number")
    p = setting.agents
    timing.check_run(p)
    last = setting.first + setting.steps if setting.at is None else 0
    if given is None:
        numbers = setting.first_sim + np.arange(setting.sims)
        clocks = lambda: Clocks(timing, setting.seed, numbers, p)
        source = Source(clocks, clocks().page)
    else:
        _check_fits(given, setting, last)
        _check_barrier(given, timing.barrier)
        source = Source(lambda: _Taken(given, setting.sims), max(1, WINDOW // setting.sims))
    if setting.at is None:
        return Arrivals(source, setting.sims, p, setting.steps, setting.first)
    moments = np.array([setting.begins, *(m for m in setting.at if m > setting.begins)])
    expected = 16 + math.ceil(1.1 * moments[-1] * float(np.sum(1 / timing.cycle(p))))
    source = dataclasses.replace(source, page=min(source.page, expected))
    before, made = _before(source, setting.sims, moments)
    stride = stride_of(before)
    return Arrivals(source, setting.sims, p, stride * (moments.size - 1), 0, stride, before, moments, made)


def _check_fits(table: Timetable, setting: Setting, arrivals: int) -> None:
    if table.sims < setting.sims or table.arrivals < arrivals or table.workers != setting.agents:
        has = f"{table.sims} simulations, {table.arrivals} arrivals and {table.workers} workers"
        raise ValueError(f"timetable: has {has}; the run needs {setting.sims}, {arrivals} and {setting.agents}")


def _check_barrier(table: Timetable, barrier: int | None) -> None:
    """Refuse a timetable in which somebody arrives who waits."""
    if barrier is None:
        return
    rounds = np.sort(table.worker[:, : table.arrivals // barrier * barrier].reshape(table.sims, -1, barrier), axis=2)
    if (rounds[:, :, 1:] == rounds[:, :, :-1]).any():
        raise ValueError(f"timetable: workers who wait arrive again; it must be one made with barrier={barrier}")


class _Taken:
    """Gives the next arrivals of the first simulations of a timetable."""

    def __init__(self, table: Timetable, sims: int):
        self._table, self._sims, self._begin = table, sims, 0

    def take(self, arrivals: int) -> Arrived:
        part = slice(self._begin, self._begin + arrivals)
        self._begin += arrivals
        table = self._table
        return Arrived(*(turned(a[: self._sims, part]) for a in (table.time, table.worker, table.job)))

    def ahead(self, arrivals: int) -> Callable[[], Arrived]:
        page = self.take(arrivals)
        return lambda: page


def _before(source: Source, sims: int, moments: NDArray) -> tuple[NDArray, tuple[Page, ...]]:
    """How many arrive before each moment, (moments, sims), and the pages up to the last one if these are few."""
    maker, counts, made, held = source.begun(), np.zeros((moments.size + 1, sims), int), [], 0
    reached = np.zeros(sims, bool)
    while not reached.all():
        page = maker.take(source.page)
        if not len(page.time):
            raise ValueError(f"timetable: ends before {moments[-1]:g} seconds in some simulation")
        counts += by_moments(page.time, moments)[1]
        reached = page.time[-1] >= moments[-1]
        held += page.time.size
        made = [*made, (page.worker, page.job)] if held <= KEPT else []
    return np.cumsum(counts[:-1], axis=0), tuple(made) if held <= KEPT else ()
