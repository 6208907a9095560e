"""Who finishes when with which job: a pass of its own, which never reads states.

Workers that never wait finish job j at the sum of the times of their jobs 0 to j, whatever the model, the gains or the
learning rate are. One timetable therefore serves every grid point and every algorithm of a comparison.
"""

import dataclasses
import math
from typing import Any, Literal, get_args

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim import random
from sdesim.asynchrony.compute import AbstractCompute, check_share, job_times, words_of_jobs
from sdesim.asynchrony.tables import Timetable
from sdesim.fields import check_choice, check_count, check_finite, named, number, of_part, shown
from sdesim.random import Stream

WINDOW = 1 << 20  # arrivals of all simulations that are put in order at a time

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
            if self.uplink is not None or self.downlink is not None or self.failure or self.leave is not None:
                right = "must be None with messages, failures and leaving, which are for workers that never wait"
                raise ValueError(f"barrier={self.barrier}: {right}")
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
    """
    p = check_count("workers", workers, most=random.MAX_AGENTS)
    n = check_count("arrivals", arrivals, least=0, most=random.MAX_STEPS)
    numbers = check_count("first_sim", first_sim, least=0) + np.arange(check_count("sims", sims, most=random.MAX_SIMS))
    timing = Timing(compute, start, barrier, uplink, downlink, failure, leave)
    return Clocks(timing, seed, numbers, p).table(n)


class Clocks:
    """Workers from arrival to arrival.

    What one `take` gives does not depend on how many arrivals those before it took: a worker's times are summed in
    their order.

    Args:
        timing: what decides when they arrive.
        seed: as for `simulate`.
        sims: numbers of the simulations, (sims,).
        workers: p.

    Raises:
        TypeError: for a law that is none.
        ValueError: for what does not fit the number of workers.
    """

    def __init__(self, timing: Timing, seed: Any, sims: NDArray, workers: int):
        timing.check_run(workers)
        self.timing, self.seed, self.sims, self.workers = timing, seed, sims, workers
        self.job = np.zeros((sims.size, workers), np.int64)  # the number of each worker's next one
        self.began = np.zeros((sims.size, workers))  # when it began

    def table(self, arrivals: int) -> Timetable:
        """The first arrivals, of clocks that have not been asked.

        Args:
            arrivals: of each simulation.

        Returns:
            The timetable.
        """
        time, worker, job, began = self.take(arrivals) if self.timing.barrier is None else self._together(arrivals)
        return Timetable(time, worker.astype(np.int32), job.astype(np.int32), self.workers, began)

    def take(self, arrivals: int) -> tuple[NDArray, ...]:
        """The next arrivals of workers that never wait.

        Args:
            arrivals: of each simulation.

        Returns:
            Their times, workers, jobs, and when these began, (sims, arrivals) each.
        """
        window = max(4 * self.workers, WINDOW // max(self.sims.size, 1))
        parts = [self._window(min(window, arrivals - i)) for i in range(0, arrivals, window)] or [self._window(0)]
        return tuple(np.concatenate(part, axis=1) for part in zip(*parts, strict=True))

    def _together(self, arrivals: int) -> tuple[NDArray, ...]:
        """The first arrivals of workers of whom so many wait for each other."""
        barrier, rows = self.timing.barrier or 1, np.arange(self.sims.size)[:, None]
        ends = self._ends(1)[0][..., 0]
        parts = []
        for _ in range(0, arrivals, barrier):
            who = np.argsort(ends, axis=1, kind="stable")[:, :barrier]
            time = ends[rows, who]
            parts.append((time, who, self.job[rows, who], self.began[rows, who]))
            self.began[rows, who] = time[:, -1:]
            self.job[rows, who] += 1
            ends[rows, who] = self._ends(1)[0][rows, who, 0]
        parts = parts or [(np.zeros((self.sims.size, 0)),) * 4]
        return tuple(np.concatenate(part, axis=1)[:, :arrivals] for part in zip(*parts, strict=True))

    def _window(self, n: int) -> tuple[NDArray, ...]:
        sims, p = self.job.shape
        cycle = self.timing.cycle(p)
        # More than the fastest worker is expected to do; where it does more, more are drawn, the same ones and further.
        jobs = n / (cycle.min() * np.sum(1 / cycle))
        count = rounded(math.ceil((jobs + 6 * math.sqrt(jobs) + 8) / (1 - self.timing.failure)))
        leave = np.inf if self.timing.leave is None else np.asarray(self.timing.leave, float)
        while True:
            ends, arrive = self._ends(count)
            order, time = _in_order(arrive.reshape(sims, -1), n)
            # Who has not got further than the n-th of all that are drawn may have more jobs before it.
            further = ends[:, :, -1] >= time[:, -1:] if order.shape[1] == n > 0 else np.full((sims, p), n == 0)
            if (further | (ends[:, :, -1] > leave)).all():
                break
            count *= 2
        if order.shape[1] < n or not np.isfinite(time).all():
            raise ValueError(f"leave: all workers have left before there are {n} arrivals more")
        worker, place = np.divmod(order, count)
        done = np.zeros((sims, p), np.int64)
        done[np.arange(sims)[:, None], worker] = place + 1  # the last one of each worker stays
        begins = np.concatenate([self.began[..., None], ends[:, :, :-1]], axis=2).reshape(sims, -1)
        began = np.maximum(np.take_along_axis(begins, order, 1), 0)
        job = place + np.take_along_axis(self.job, worker, 1)
        ended = np.take_along_axis(ends, np.maximum(done - 1, 0)[..., None], 2)[..., 0]
        self.began = np.where(done > 0, ended, self.began)
        self.job += done
        return time, worker, job, began

    def _ends(self, count: int) -> tuple[NDArray, NDArray]:
        """When each worker's next jobs end and it begins another, and when they arrive, (sims, workers, count)."""
        timing, of_jobs = self.timing, (self.sims, self.job, count)
        times = job_times(timing.compute, self.seed, *of_jobs)
        if (fresh := self.job == 0).any():
            mean = np.broadcast_to(timing.compute.average, self.workers)
            first, ahead = times[:, :, 0], np.zeros(self.workers)
            if isinstance(timing.start, str) and timing.start == "stationary":
                words = words_of_jobs(self.seed, Stream.OFFSET, self.sims, self.job, 1)[:, :, 0]
                first = timing.compute.residuals(words) * mean
            elif isinstance(timing.start, str):
                ahead = np.arange(mean.size) / mean.size * mean * (timing.start == "staggered")
            else:
                ahead = np.asarray(timing.start, float)
            times[:, :, 0] = np.where(fresh, np.maximum(first - np.maximum(ahead, 0), 0), times[:, :, 0])
            self.began = np.where(fresh, np.maximum(-ahead, 0), self.began)
        up = 0.0 if timing.uplink is None else timing.uplink.times(self.seed, Stream.UPLINK, *of_jobs)
        down = 0.0 if timing.downlink is None else timing.downlink.times(self.seed, Stream.DOWNLINK, *of_jobs)
        times = times + up
        if timing.downlink is None:
            times[:, :, :1] += self.began[..., None]
            ends = arrive = np.cumsum(times, axis=2)
        else:
            cycles = np.stack([times, np.broadcast_to(down, times.shape)], axis=3).reshape(*times.shape[:2], -1)
            cycles[:, :, :1] += self.began[..., None]
            moments = np.cumsum(cycles, axis=2)
            arrive, ends = moments[:, :, ::2], moments[:, :, 1::2]
        gone = np.zeros(arrive.shape, bool)
        if timing.failure:
            gone |= words_of_jobs(self.seed, Stream.FAILURE, *of_jobs) < timing.failure * 2.0**32
        if timing.leave is not None:
            gone |= arrive > np.asarray(timing.leave, float)[:, None]
        return ends, np.where(gone, np.inf, arrive) if gone.any() else arrive


def rounded(count: int) -> int:
    """A count that many others share, so that they share compiled programs: up to eighths of a power of two.

    Args:
        count: at least 1.

    Returns:
        At least as many, and at most an eighth more.
    """
    step = 1 << max(0, count.bit_length() - 4)
    return math.ceil(count / step) * step


def _in_order(times: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """The places of the first `count` times of each row, those of equal ones in their order, and these times."""
    order = np.argsort(times, axis=1)[:, :count]
    found = np.take_along_axis(times, order, 1)
    tied = (found[:, 1:] == found[:, :-1]).any(axis=1)
    if count < times.shape[1] and count:
        tied |= (times == found[:, -1:]).sum(axis=1) > 1
    if tied.any():
        order[tied] = np.argsort(times[tied], axis=1, kind="stable")[:, :count]
    return order, found


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
