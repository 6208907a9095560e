"""Who finishes when with which job: a pass of its own, which never reads states.

Workers that never wait finish job j at the sum of the times of their jobs 0 to j, whatever the model, the gains or the
learning rate are. One timetable therefore serves every grid point and every algorithm of a comparison.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim import random
from sdesim.asynchrony.compute import AbstractCompute, check_share, job_times, words_of_jobs
from sdesim.asynchrony.tables import Timetable
from sdesim.fields import check_choice, check_count, check_finite, named, number, of_part, shown
from sdesim.memory import available_memory
from sdesim.random import Stream
from sdesim.threads import in_threads

WINDOW = 1 << 21  # arrivals of all simulations that are made at a time
LEAST = 16  # of each worker at a time, at least: a few more than are expected must be drawn in any case
CACHED = 1 << 17  # arrivals that are put in order at a time
DRAWN = 64  # jobs of each worker that are drawn at a time, of workers who wait for each other
BYTES = 80  # of each arrival of a timetable, while it is made

Start = Literal["together", "staggered", "stationary"]


@dataclasses.dataclass(frozen=True)
class Timing:
    """What decides when workers arrive.

    Attributes:
        compute: the law of the times of their jobs.
        start: how far workers are at the start: "together", all begin their first job at 0; "staggered", worker i is
            i / p of its mean time ahead of one that begins; "stationary", all have worked for long, so that a first job
            ends as one does that was under way; or how far each is ahead, in seconds, (workers,), at most its first
            job's time; negative for one that joins so much later.
        barrier: so many workers wait for each other: those who have arrived begin their next job when the last of them
            has. None if nobody waits.
        uplink: the law of the time that a worker's message takes to the server; None for no time.
        downlink: of the answer, which the worker waits for.
        failure: the probability that a job is lost, whose worker begins its next one when it would have ended.
        leave: when workers leave for good, in seconds, (workers,); jobs under way are lost. None for never.
    """

    compute: AbstractCompute
    start: Any = "together"
    barrier: int | None = None
    uplink: AbstractCompute | None = None
    downlink: AbstractCompute | None = None
    failure: float = 0.0
    leave: Any = None

    def __post_init__(self):
        for name in ("compute", "uplink", "downlink"):
            law = getattr(self, name)
            if not isinstance(law, AbstractCompute) and (law is not None or name == "compute"):
                raise TypeError(f"{name}={shown(law)}: must be a law of sdesim.asynchrony")
        check_start(self.start)
        if self.barrier is not None:
            check_count("barrier", self.barrier)
        check_share("failure", self.failure)
        if not float(self.failure) < 1:
            raise ValueError(f"failure={shown(self.failure)}: must be below 1, or no job ever arrives")
        if self.leave is not None:
            try:  # infinity is a moment that never comes
                leave = np.asarray(self.leave, float)
            except (TypeError, ValueError):
                leave = np.zeros(())
            if leave.ndim != 1 or not leave.size or np.isnan(leave).any():
                raise ValueError(f"leave={shown(self.leave)}: must be moments in seconds, (workers,)")
        for name in ("uplink", "downlink", "failure", "leave"):
            if self.barrier is not None and (value := getattr(self, name)) is not None and value != 0:
                right = f"must be left out where workers wait for each other ({self.barrier} of them)"
                raise ValueError(f"{name}={shown(value)}: {right}; it is for workers that never wait")

    def check_run(self, workers: int) -> None:
        """Refuse a number of workers that does not fit.

        Args:
            workers: their number.

        Raises:
            ValueError: naming the argument, its value and what would be right.
        """
        for name in ("compute", "uplink", "downlink"):
            if (law := getattr(self, name)) is not None:
                with of_part(name):
                    law.check_run(workers)
        check_start(self.start, workers)
        if self.barrier is not None:
            check_count("barrier", self.barrier, most=workers)
        if self.leave is not None and np.shape(self.leave) != (workers,):
            raise ValueError(f"leave: must be of shape (workers,) = ({workers},), got {np.shape(self.leave)}")

    def cycle(self, workers: int) -> NDArray:
        """The mean time from one arrival of each worker to its next.

        Args:
            workers: p.

        Returns:
            Seconds, (workers,).
        """
        laws = [law for law in (self.compute, self.uplink, self.downlink) if law is not None]
        mean = sum(np.broadcast_to(law.average, workers) for law in laws)
        return np.asarray(mean) / (1 - self.failure)


def timetable(
    compute: AbstractCompute,
    *,
    workers: int,
    arrivals: int,
    sims: int = 1,
    seed: Any = 0,
    first_sim: int = 0,
    start: Start | ArrayLike = "together",
    barrier: int | None = None,
    uplink: AbstractCompute | None = None,
    downlink: AbstractCompute | None = None,
    failure: float = 0.0,
    leave: ArrayLike | None = None,
) -> Timetable:
    """The first arrivals of workers.

    Args:
        compute: the law of the times of their jobs.
        workers: p.
        arrivals: of a simulation.
        sims: simulations.
        seed: as for `simulate`; the times depend on it, on the simulation, the worker and the job alone.
        first_sim: number of the first simulation.
        start: how far workers are at the start, see `Timing`.
        barrier: how many workers wait for each other; None if nobody waits.
        uplink: the law of the time that a worker's message takes to the server; None for no time.
        downlink: of the answer, which the worker waits for.
        failure: the probability that a job is lost.
        leave: when workers leave for good, in seconds, (workers,); None for never.

    Returns:
        The timetable.

    Raises:
        TypeError: for a law that is none.
        ValueError: for a bad argument: its name, its value and what would be right.
        MemoryError: if there is no room for it.
    """
    p = check_count("workers", workers, most=random.MAX_AGENTS)
    n = check_count("arrivals", arrivals, least=0, most=random.MAX_STEPS)
    numbers = check_count("first_sim", first_sim, least=0) + np.arange(check_count("sims", sims, most=random.MAX_SIMS))
    timing = Timing(compute, start, barrier, uplink, downlink, failure, leave)
    return Clocks(timing, seed, numbers, p, began=True).table(n)


class Arrived(NamedTuple):
    """Arrivals in the order of their times.

    Attributes:
        time: of each, in seconds, float64 (arrivals, sims); infinite where all workers have left.
        worker: who arrives, int32 (arrivals, sims).
        job: with which of its jobs, int32 (arrivals, sims).
        began: when the job began, float64 (arrivals, sims); None where nobody asked.
    """

    time: NDArray
    worker: NDArray
    job: NDArray
    began: NDArray | None = None


def _room(arrivals: int, sims: int, began: bool) -> Arrived:
    """Room for so many arrivals."""
    shape = (arrivals, sims)
    time, worker, job = np.empty(shape), np.empty(shape, np.int32), np.empty(shape, np.int32)
    return Arrived(time, worker, job, np.empty(shape) if began else None)


def _each(fn: Callable[..., NDArray], *parts: Arrived) -> Arrived:
    """A function of each array of arrivals, or of several parts of them."""
    time, worker, job = (fn(*arrays) for arrays in zip(*(part[:3] for part in parts), strict=True))
    began = None if parts[0].began is None else fn(*(part.began for part in parts))
    return Arrived(time, worker, job, began)


class Clocks:
    """Workers from arrival to arrival.

    What one `take` gives does not depend on how many arrivals those before it took: a worker's times are summed in
    their order.

    Args:
        timing: what decides when they arrive.
        seed: as for `simulate`.
        sims: numbers of the simulations, (sims,).
        workers: p.
        began: whether to say when jobs began.

    Raises:
        TypeError: for a law that is none.
        ValueError: for what does not fit the number of workers.
    """

    def __init__(self, timing: Timing, seed: Any, sims: NDArray, workers: int, began: bool = False):
        timing.check_run(workers)
        self.timing, self.seed, self.sims, self.workers = timing, random.seed_words(seed), sims, workers
        self.job = np.zeros((sims.size, workers), np.int64)  # the number of each worker's next one
        self.began = np.zeros((sims.size, workers))  # when it began
        self.page = max(LEAST * workers, WINDOW // max(sims.size, 1))  # arrivals that are put in order at a time
        self._cycle = timing.cycle(workers)
        self._says_began = began
        self._left = _room(0, sims.size, began)  # of workers who wait for each other, those that nobody took yet
        self._drawn: tuple[NDArray, NDArray] | None = None  # of these, the times of their next jobs, and from which on

    def table(self, arrivals: int) -> Timetable:
        """The first arrivals, of clocks that have not been asked.

        Args:
            arrivals: of each simulation.

        Returns:
            The timetable.

        Raises:
            ValueError: if all workers leave before.
            MemoryError: if there is no room for it.
        """
        advice = "take fewer arrivals or simulations; a run of workers by itself holds no timetable"
        check_room(BYTES * arrivals * self.sims.size, f"a timetable of {self.sims.size} x {arrivals} arrivals", advice)
        pages = [self.take(min(self.page, arrivals - i)) for i in range(0, arrivals, self.page)] or [self.take(0)]
        check_all_there(*pages)
        time, worker, job, began = _each(lambda *parts: turned(np.concatenate(parts)), *pages)
        return Timetable(time, worker, job, self.workers, began)

    def take(self, arrivals: int) -> Arrived:
        """The next arrivals.

        Args:
            arrivals: of each simulation.

        Returns:
            As many, of infinite times beyond the last.
        """
        return self._taken(arrivals, compiling=True)()

    def ahead(self, arrivals: int) -> Callable[[], Arrived]:
        """As `take`, in a thread beside others: it compiles nothing if as many have been taken before.

        Args:
            arrivals: of each simulation.

        Returns:
            What gives them, to be called before the next are asked for; it may compile.
        """
        return self._taken(arrivals, compiling=False)

    def _taken(self, arrivals: int, compiling: bool) -> Callable[[], Arrived]:
        if self.timing.barrier is not None:
            found = self._together(arrivals)
            return lambda: found
        found = _room(arrivals, self.sims.size, self._says_began)
        parts = math.ceil(self.sims.size * arrivals / CACHED) or 1
        most = math.ceil(self.sims.size / min(parts, self.sims.size))
        # More than the fastest worker is expected to do; for simulations in which one does more, more are drawn.
        jobs = arrivals / (self._cycle.min() * np.sum(1 / self._cycle))
        count = rounded(math.ceil((jobs + 4.5 * math.sqrt(jobs) + 4) / (1 - self.timing.failure)))

        def some(sims: NDArray, count: int, compiling: bool) -> NDArray:
            """Have the arrivals of some simulations; those for which the jobs did not suffice."""
            # Few at a time, so that all of their jobs are in the cache, and as many in every part, so that they share a
            # compiled program: the last one of all may be there twice.
            rows = min(most, 1 << (sims.size - 1).bit_length())
            parts = [sims[np.minimum(np.arange(i, i + rows), sims.size - 1)] for i in range(0, sims.size, rows)]
            window = lambda rows: self._window(rows, count, found)
            here = 1 if compiling else 0  # the first part compiles what the others, in threads, find compiled
            return np.unique(np.concatenate([*map(window, parts[:here]), *in_threads(window, parts[here:])]))

        short = some(np.arange(self.sims.size), count, compiling)

        def rest() -> Arrived:
            left, more = short, count
            while left.size:
                more *= 2
                left = some(left, more, compiling=True)
            return found

        return rest

    def _together(self, arrivals: int) -> Arrived:
        """The next arrivals of workers of whom so many wait for each other."""
        barrier, rows = self.timing.barrier or 1, np.arange(self.sims.size)[:, None]
        parts = [self._left]
        for _ in range(self._left.time.shape[0], arrivals, barrier):
            ends = self._next_ends()
            who = np.argsort(ends, axis=1, kind="stable")[:, :barrier]
            time = ends[rows, who]
            began = self.began[rows, who].T if self._says_began else None
            parts.append(Arrived(time.T, who.T.astype(np.int32), self.job[rows, who].T.astype(np.int32), began))
            self.began[rows, who] = time[:, -1:]
            self.job[rows, who] += 1
        found = _each(lambda *arrays: np.concatenate(arrays), *parts)
        self._left = _each(lambda a: a[arrivals:], found)
        return _each(lambda a: a[:arrivals], found)

    def _next_ends(self) -> NDArray:
        """When the next job of each worker ends, (sims, workers), of workers who wait."""
        if self._drawn is None or (self.job - self._drawn[1]).max() >= self._drawn[0].shape[2]:
            everyone = np.arange(self.sims.size)
            self._drawn = self._times(everyone, DRAWN), self.job.copy()
        times, first = self._drawn
        return self.began + np.take_along_axis(times, (self.job - first)[..., None], 2)[..., 0]

    def _window(self, rows: NDArray, count: int, found: Arrived) -> NDArray:
        """The next arrivals of some simulations.

        Args:
            rows: their places among all, of which the last one may be there more than once.
            count: how many jobs of each worker are drawn.
            found: where they are written.

        Returns:
            The simulations for which that was not enough, and which are as they were.
        """
        (n, _), p = found.time.shape, self.workers
        leave = np.inf if self.timing.leave is None else np.asarray(self.timing.leave, float)
        ends, arrive = self._ends(rows, count)
        # Who has not got further than the n-th of all that are drawn may have more jobs before it.
        last = np.where(ends[:, :, -1] > leave, np.inf, ends[:, :, -1]).min(axis=1, initial=np.inf)
        place, time = _in_order(arrive.reshape(rows.size, -1), n, last)
        if place.shape[1] < n:
            return rows
        enough = last >= time[:, -1] if n > 0 else np.full(rows.size, True)
        short = rows[~enough]
        if short.size == rows.size:
            return short
        if short.size:
            rows, ends, place, time = (a[enough] for a in (rows, ends, place, time))
        of_row = np.arange(rows.size, dtype=np.int32)[:, None]
        place = place.astype(np.int32)
        worker = place // np.int32(count)
        which = worker + of_row * np.int32(p)
        # The job of a place is its number in the worker's row and the number of the row's first one.
        jobs = self.job[rows]
        base = (jobs - np.arange(p) * count).astype(np.int32)
        done = np.zeros(rows.size * p, np.int64)
        in_turn = place - worker * np.int32(count)
        done[which] = in_turn + 1  # the last one of each worker stays
        done = done.reshape(rows.size, p)
        _put(found.time, rows, time)
        _put(found.worker, rows, worker)
        _put(found.job, rows, place + base.take(which))
        if found.began is not None:
            before = ends.ravel().take(place + of_row * np.int32(p * count) - 1)  # when the worker's last one ended
            begins = np.where(in_turn == 0, self.began[rows].take(which), before)
            _put(found.began, rows, np.maximum(begins, 0))
        ended = np.take_along_axis(ends, np.maximum(done - 1, 0)[..., None], 2)[..., 0]
        self.began[rows] = np.where(done > 0, ended, self.began[rows])
        self.job[rows] = jobs + done
        return short

    def _times(self, rows: NDArray, count: int) -> NDArray:
        """How long each worker's next jobs take from here on, (rows, workers, count)."""
        timing, of_jobs = self.timing, (self.sims[rows], self.job[rows], count)
        times = job_times(timing.compute, self.seed, *of_jobs)
        if (self.job == 0).any():  # of anybody, so that every part draws, and has compiled, what the first one has
            fresh = self.job[rows] == 0
            mean = np.broadcast_to(timing.compute.average, self.workers)
            first, ahead = times[:, :, 0], np.zeros(self.workers)
            if isinstance(timing.start, str) and timing.start == "stationary":
                words = words_of_jobs(self.seed, Stream.OFFSET, *of_jobs[:2], 1)[:, :, 0]
                first = timing.compute.residuals(words) * mean
            elif isinstance(timing.start, str):
                ahead = np.arange(mean.size) / mean.size * mean * (timing.start == "staggered")
            else:
                ahead = np.asarray(timing.start, float)
            times[:, :, 0] = np.where(fresh, np.maximum(first - np.maximum(ahead, 0), 0), times[:, :, 0])
            self.began[rows] = np.where(fresh, np.maximum(-ahead, 0), self.began[rows])
        return times

    def _ends(self, rows: NDArray, count: int) -> tuple[NDArray, NDArray]:
        """When each worker's next jobs end and it begins another, and when they arrive, (rows, workers, count)."""
        timing, of_jobs = self.timing, (self.sims[rows], self.job[rows], count)
        times = self._times(rows, count)
        if timing.uplink is not None:
            times += timing.uplink.times(self.seed, Stream.UPLINK, *of_jobs)
        if timing.downlink is None:
            times[:, :, 0] += self.began[rows]
            ends = arrive = np.cumsum(times, axis=2, out=times)
        else:
            down = timing.downlink.times(self.seed, Stream.DOWNLINK, *of_jobs)
            cycles = np.stack([times, down], axis=3).reshape(*times.shape[:2], -1)
            cycles[:, :, 0] += self.began[rows]
            moments = np.cumsum(cycles, axis=2, out=cycles)
            arrive, ends = np.ascontiguousarray(moments[:, :, ::2]), moments[:, :, 1::2]
        gone = None
        if timing.failure:
            gone = words_of_jobs(self.seed, Stream.FAILURE, *of_jobs) < timing.failure * 2.0**32
        if timing.leave is not None:
            left = arrive > np.asarray(timing.leave, float)[:, None]
            gone = left if gone is None else gone | left
        return ends, arrive if gone is None else np.where(gone, np.inf, arrive)


def turned(a: NDArray) -> NDArray:
    """A matrix transposed in memory, some rows and columns at a time, so that what is read and written is in the cache.

    Args:
        a: of any shape (n, m).

    Returns:
        (m, n).
    """
    new = np.empty(a.shape[::-1], a.dtype)
    _in_tiles(new, a.T)
    return new


def _in_tiles(into: NDArray, a: NDArray) -> None:
    """Copy a matrix, (sims, arrivals), into one that lies the other way round in memory, some at a time as in `turned`.

    By whole columns it takes ten times as long where the rows of one of them are a power of two apart.
    """
    for i in range(0, a.shape[0], 16):
        for j in range(0, a.shape[1], 4096):
            into[i : i + 16, j : j + 4096] = a[i : i + 16, j : j + 4096]


def _put(into: NDArray, sims: NDArray, new: NDArray) -> None:
    """Write the arrivals of some simulations, (some, arrivals), into those of all, (arrivals, sims)."""
    many = sims[-1] - sims[0] + 1
    if np.array_equal(sims[:many], np.arange(sims[0], sims[0] + many)):  # the last one may be there again
        _in_tiles(into[:, sims[0] : sims[0] + many].T, new[:many])
    else:
        into[:, sims] = new.T


def check_all_there(*pages: Arrived) -> None:
    """Refuse arrivals that never come.

    Args:
        *pages: arrivals.

    Raises:
        ValueError: if all workers have left before the last one.
    """
    for page in pages:
        if page.time.size and not np.isfinite(page.time[-1]).all():
            raise ValueError("leave: all workers have left before there are as many arrivals; give fewer")


def check_room(need: float, what: str, advice: str) -> None:
    """Refuse arrivals for which there is no memory.

    Args:
        need: bytes, about, at most.
        what: they are, in words.
        advice: what to reduce.

    Raises:
        MemoryError: with what is needed and what there is.
    """
    have = available_memory()
    if have is not None and need > have:
        amounts = f"needs about {need / 2**30:.3g} GiB, and {have / 2**30:.3g} GiB are free"
        raise MemoryError(f"{what} {amounts}: {advice}")


def by_moments(time: NDArray, moments: NDArray) -> tuple[NDArray, NDArray]:
    """Between which moments arrivals are: what comes at a moment comes after it.

    Args:
        time: of arrivals, in seconds, (arrivals, sims).
        moments: in seconds, in their order, (moments,).

    Returns:
        How many moments are not after each arrival, (arrivals, sims), and how many arrivals have each such number,
        (moments + 1, sims).
    """
    part, sims = np.searchsorted(moments, time, side="right"), time.shape[1]
    found = np.bincount((part * sims + np.arange(sims)).ravel(), minlength=(moments.size + 1) * sims)
    return part, found.reshape(-1, sims)


def stride_of(before: NDArray) -> int:
    """As many steps as lie between two moments in any simulation.

    Args:
        before: how many arrive before each moment, (moments, sims).

    Returns:
        The number, at least 1, and one that many runs share.
    """
    return rounded(max(1, int(np.diff(before, axis=0).max(initial=0))))


def rounded(count: int) -> int:
    """A count that many others share, so that they share compiled programs: up to eighths of a power of two.

    Args:
        count: at least 1.

    Returns:
        At least as many, and at most an eighth more.
    """
    step = 1 << max(0, count.bit_length() - 4)
    return math.ceil(count / step) * step


def _in_order(exact: NDArray, count: int, until: NDArray) -> tuple[NDArray, NDArray]:
    """The places of the first `count` times of each row, those of equal ones in their order, and these times.

    Whole numbers are sorted, several times as fast as places by their times: the time in its high bits, rounded, and
    the place in the low ones. Where rounding has put two in a wrong order, the row is sorted again. Times beyond
    `until`, (rows,), count as that: a row that needs them is of no use, and one straggler would round all others.
    """
    rows, width = exact.shape
    if not exact.size:
        return np.zeros((rows, 0), np.int64), exact[:, :0]
    bits = (width - 1).bit_length()
    least = exact.min(axis=1, keepdims=True)
    most = np.where(until < np.inf, until, np.max(exact, axis=1, initial=-np.inf, where=np.isfinite(exact)))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # where all workers have left
        since = np.minimum(exact, most) - least
        since *= np.where(most > least, 2.0 ** (62 - bits) / (most - least), 0.0)
        np.nan_to_num(since, copy=False)
    keys = since.astype(np.int64)
    keys <<= bits
    keys |= np.arange(width)
    keys.sort(axis=1)
    place = keys[:, :count] & ((1 << bits) - 1)
    found = exact.ravel().take(place + np.arange(rows)[:, None] * width)
    with np.errstate(invalid="ignore"):
        wrong = (found[:, 1:] < found[:, :-1]).any(axis=1)
    if wrong.any():
        place[wrong] = np.argsort(exact[wrong], axis=1, kind="stable")[:, :count]
        found[wrong] = np.take_along_axis(exact[wrong], place[wrong], 1)
    return place, found


def check_start(start: Any, workers: int | None = None) -> None:
    """Refuse what says not how far workers are at the start.

    Args:
        start: as `Timing` takes it.
        workers: p; None where it is not known.

    Raises:
        ValueError: naming it.
    """
    if isinstance(start, str):
        check_choice("start", start, get_args(Start))
        return
    numbers = named("start", number)(start)
    check_finite("start", numbers)
    if (shape := np.shape(numbers)) != (workers,) and (workers is not None or len(shape) != 1):
        raise ValueError(f"start: must be in words or of shape (workers,) = ({workers},), got {shape}")
