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
from sdesim.asynchrony.compute import AbstractCompute, job_times, words_of_jobs
from sdesim.fields import check_choice, check_count, check_sign, is_traced, shown
from sdesim.random import Stream
from sdesim.steppers.base import Setting

WINDOW = 1 << 20  # arrivals of all simulations that are put in order at a time

Start = Literal["together", "staggered", "stationary"]


@dataclasses.dataclass(frozen=True, eq=False)
class Timetable:
    """Arrivals of all workers in the order of their times; those at one time in the order of the workers.

    Attributes:
        time: of each arrival, in seconds, float64 (sims, arrivals).
        worker: who arrives, int32 (sims, arrivals).
        job: with which of its jobs, from 0, int32 (sims, arrivals).
        workers: how many there are.
    """

    time: NDArray
    worker: NDArray
    job: NDArray
    workers: int

    def __post_init__(self):
        shapes = {name: getattr(self, name).shape for name in ("time", "worker", "job")}
        if len(set(shapes.values())) > 1 or self.time.ndim != 2:
            raise ValueError(f"time, worker, job: must be of one shape (sims, arrivals), got {shapes}")
        check_count("workers", self.workers, most=random.MAX_AGENTS)
        if self.worker.size and (self.worker.min() < 0 or self.worker.max() >= self.workers):
            raise ValueError(f"worker: must be from 0 to {self.workers - 1}")
        if not np.isfinite(self.time).all() or (np.diff(self.time, axis=1) < 0).any():
            raise ValueError("time: must be finite, and must not fall from one arrival to the next")
        if not _jobs_in_order(self.worker, self.job, self.workers):
            raise ValueError("job: each worker's must be 0, 1, 2 and so on in the order of its arrivals")

    @property
    def sims(self) -> int:
        """Simulations."""
        return self.time.shape[0]

    @property
    def arrivals(self) -> int:
        """Arrivals of a simulation."""
        return self.time.shape[1]

    def staleness(self) -> NDArray:
        """Arrivals of others between a worker's last arrival, at which it read, and this one.

        Of a first job it is counted from the start, where all have read.

        Returns:
            int32 (sims, arrivals).
        """
        return _since_last(self.worker, self.workers) - 1

    def law_of_staleness(self, after: int = 0) -> NDArray:
        """How often each staleness occurs.

        Args:
            after: arrivals at the start that are not counted, as those before the workers are out of step.

        Returns:
            Shares of the arrivals, (sims, greatest staleness + 1).
        """
        seen = self.staleness()[:, check_count("after", after, least=0, most=max(self.arrivals - 1, 0)) :]
        most = int(seen.max(initial=0)) + 1
        rows = np.arange(self.sims)[:, None] * most + seen
        return np.bincount(rows.ravel(), minlength=self.sims * most).reshape(self.sims, most) / seen.shape[1]


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
) -> Timetable:
    """The first arrivals of workers.

    Args:
        compute: the law of the times of their jobs.
        workers: p.
        arrivals: of a simulation.
        sims: simulations.
        seed: as for `simulate`; the times depend on it, on the simulation, the worker and the job alone.
        first_sim: number of the first simulation.
        start: "together", all begin their first job at 0; "staggered", worker i is i / p of its mean time ahead of one
            that begins; "stationary", all have worked for long, so that a first job ends as one does that was under
            way; or how far each is ahead, in seconds, (workers,), at most its first job's time.
        barrier: so many workers wait for each other: those who have arrived begin their next job when the last of them
            has. None if nobody waits.

    Returns:
        The timetable.

    Raises:
        TypeError: for a law that is none.
        ValueError: for a bad argument: its name, its value and what would be right.
    """
    if not isinstance(compute, AbstractCompute):
        raise TypeError(f"compute={shown(compute)}: must be a law of sdesim.asynchrony")
    p = check_count("workers", workers, most=random.MAX_AGENTS)
    n = check_count("arrivals", arrivals, least=0, most=random.MAX_STEPS)
    numbers = check_count("first_sim", first_sim, least=0) + np.arange(check_count("sims", sims))
    return _made(compute, start, seed, numbers, p, n, barrier)


def _made(
    compute: AbstractCompute, start: Any, seed: Any, sims: NDArray, workers: int, arrivals: int, barrier: int | None
) -> Timetable:
    if barrier is not None:
        check_count("barrier", barrier, most=workers)
    clocks = Clocks(compute, start, seed, sims, workers)
    return Timetable(*(clocks.take(arrivals) if barrier is None else clocks.together(arrivals, barrier)), workers)


class Clocks:
    """Workers that never wait, from arrival to arrival.

    What one `take` gives does not depend on how many arrivals those before it took: a worker's times are summed in
    their order.

    Args:
        compute: the law of the times of their jobs.
        start: how far workers are at the start, see `timetable`.
        seed: as for `simulate`.
        sims: numbers of the simulations, (sims,).
        workers: p.

    Raises:
        ValueError: for a law or a start that does not fit the number of workers.
    """

    def __init__(self, compute: AbstractCompute, start: Any, seed: Any, sims: NDArray, workers: int):
        compute.check_run(workers)
        check_start(start, workers)
        self.compute, self.start, self.seed, self.sims, self.workers = compute, start, seed, sims, workers
        self.job = np.zeros((sims.size, workers), np.int64)  # the number of each worker's next one
        self.began = np.zeros((sims.size, workers))  # when it began

    def take(self, arrivals: int) -> tuple[NDArray, NDArray, NDArray]:
        """The next arrivals.

        Args:
            arrivals: of each simulation.

        Returns:
            Their times, float64, workers and jobs, int32, (sims, arrivals) each.
        """
        window = max(4 * self.workers, WINDOW // max(self.sims.size, 1))
        parts = [self._window(min(window, arrivals - i)) for i in range(0, arrivals, window)] or [self._window(0)]
        time, worker, job = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        return time, worker, job

    def together(self, arrivals: int, barrier: int) -> tuple[NDArray, NDArray, NDArray]:
        """The first arrivals, of workers of whom so many wait for each other.

        Args:
            arrivals: of each simulation.
            barrier: how many.

        Returns:
            Their times, float64, workers and jobs, int32, (sims, arrivals) each.
        """
        mean = np.broadcast_to(np.asarray(self.compute.mean, float), self.workers)
        ends, rows = self._ends(mean, 1)[..., 0], np.arange(self.sims.size)[:, None]
        parts = []
        for _ in range(0, arrivals, barrier):
            who = np.argsort(ends, axis=1, kind="stable")[:, :barrier]
            time = ends[rows, who]
            parts.append((time, who, self.job[rows, who]))
            self.began[rows, who] = time[:, -1:]
            self.job[rows, who] += 1
            ends[rows, who] = self._ends(mean, 1)[rows, who, 0]
        empty = [(np.zeros((self.sims.size, 0)), *(np.zeros((self.sims.size, 0), int),) * 2)]
        time, worker, job = (np.concatenate(part, axis=1)[:, :arrivals] for part in zip(*(parts or empty), strict=True))
        return time, worker.astype(np.int32), job.astype(np.int32)

    def _window(self, n: int) -> tuple[NDArray, NDArray, NDArray]:
        sims, p = self.job.shape
        mean = np.broadcast_to(np.asarray(self.compute.mean, float), p)
        # More than the fastest worker is expected to do; where it does more, more are drawn, the same ones and further.
        jobs = n / (mean.min() * np.sum(1 / mean))
        count = math.ceil(jobs + 6 * math.sqrt(jobs) + 8)
        while True:
            ends = self._ends(mean, count)
            # Who has not got further than the n-th of all that are drawn may have more jobs before it.
            order = np.argsort(ends.reshape(sims, -1), axis=1, kind="stable")[:, :n]
            time = np.take_along_axis(ends.reshape(sims, -1), order, 1)
            if count >= n or not n or (ends[:, :, -1] >= time[:, -1:]).all():
                break
            count *= 2
        worker, job = np.divmod(order, max(count, 1))
        done = np.zeros((sims, p), np.int64)
        np.maximum.at(done, (np.arange(sims)[:, None], worker), job + 1)
        job = job + np.take_along_axis(self.job, worker, 1)
        last = np.take_along_axis(ends, np.maximum(done - 1, 0)[..., None], 2)[..., 0]
        self.began = np.where(done > 0, last, self.began)
        self.job += done
        return time, worker.astype(np.int32), job.astype(np.int32)

    def _ends(self, mean: NDArray, count: int) -> NDArray:
        """When each worker's next jobs end, (sims, workers, count)."""
        times = job_times(self.compute, self.seed, self.sims, self.job, count)
        if count and (fresh := self.job == 0).any():
            first = times[:, :, 0]
            ahead: Any = 0.0
            if self.start == "stationary":
                words = words_of_jobs(self.seed, Stream.OFFSET, self.sims, self.job, 1)[:, :, 0]
                first = self.compute.residuals(words) * mean
            elif self.start == "staggered":
                ahead = np.arange(mean.size) / mean.size * mean
            elif self.start != "together":
                ahead = np.asarray(self.start, float)
            times[:, :, 0] = np.where(fresh, np.maximum(first - ahead, 0), times[:, :, 0])
        times[:, :, :1] += self.began[..., None]
        return np.cumsum(times, axis=2, out=times)


def check_start(start: Any, workers: int | None = None) -> None:
    """Refuse what says not how far workers are at the start.

    Args:
        start: as `timetable` takes it.
        workers: p; None where it is not known.

    Raises:
        ValueError: naming it.
    """
    if isinstance(start, str):
        check_choice("start", start, get_args(Start))
        return
    check_sign("start", start)
    if (shape := np.shape(start)) != (workers,) and (workers is not None or len(shape) != 1):
        raise ValueError(f"start: must be in words or of shape (workers,) = ({workers},), got {shape}")


@dataclasses.dataclass(frozen=True, eq=False)
class Arrivals:
    """What the host hands to each step of a run of workers, and when these steps are.

    Attributes:
        worker: who arrives, that of all workers for nobody, int32 (sims, steps).
        job: with which of its jobs, int32 (sims, steps).
        ends: when each step ends, in seconds, float64 (sims, steps).
        begins: when the first one begins, in seconds.
        stride: steps between two of the moments that were asked for; None if arrivals were.
    """

    worker: NDArray
    job: NDArray
    ends: NDArray
    begins: NDArray
    stride: int | None = None

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.worker.shape[1]

    def __call__(self, a: int, b: int) -> dict[str, Any]:
        """{"arrival": (workers, jobs)} of the steps from a to b, (b - a, sims) each."""
        return {"arrival": tuple(np.ascontiguousarray(part[:, a:b].T) for part in (self.worker, self.job))}

    def times(self, steps: NDArray) -> NDArray:
        """The time after each number of steps.

        Args:
            steps: of the run, from 0, (records,).

        Returns:
            Seconds, float64 (sims, records).
        """
        all_ends = np.concatenate([self.begins[:, None], self.ends], axis=1)
        return all_ends[:, steps]

    def arrivals(self, sims: NDArray, steps: NDArray) -> NDArray:
        """How many have arrived within so many steps of the run.

        Args:
            sims: which simulations, (count,).
            steps: of each, (count,).

        Returns:
            (count,).
        """
        here = (self.worker != self.worker.max(initial=0)) if self.stride else np.ones(self.worker.shape, bool)
        so_far = np.concatenate([np.zeros((here.shape[0], 1), int), np.cumsum(here, axis=1)], axis=1)
        return so_far[sims, steps]


def arrivals_of(given: Timetable | None, compute: AbstractCompute, start: Any, barrier: int | None, setting: Setting):
    """The arrivals of a run.

    Args:
        given: a timetable in place of the law.
        compute: the law of the times of jobs.
        start: how far workers are at the start, see `timetable`.
        barrier: how many wait for each other; None if nobody waits.
        setting: of the run.

    Returns:
        `Arrivals`.

    Raises:
        ValueError: for a seed that is traced, and a timetable that does not fit the run.
    """
    if is_traced(setting.seed):
        raise ValueError("seed: workers' clocks are made outside of jit, and this seed is traced; give a number")
    p, numbers = setting.agents, setting.first_sim + np.arange(setting.sims)
    made = lambda n: given or _made(compute, start, setting.seed, numbers, p, n, barrier)
    if setting.at is None:
        table = _fitting(made(setting.first + setting.steps), setting, setting.first + setting.steps)
        all_ends = np.concatenate([np.zeros((setting.sims, 1)), table.time], axis=1)
        cut = slice(setting.first, setting.first + setting.steps)
        return Arrivals(table.worker[:, cut], table.job[:, cut], table.time[:, cut], all_ends[:, setting.first])
    mean = np.broadcast_to(np.asarray(compute.mean, float), p)
    count = 16 + math.ceil(1.1 * setting.at[-1] * float(np.sum(1 / mean)))
    while True:
        table = _fitting(made(count), setting, 0)
        if (table.time[:, -1] >= setting.at[-1]).all():
            return _slots(table, setting)
        if given is not None:
            raise ValueError(f"timetable: ends before {setting.at[-1]:g} seconds in some simulation")
        count *= 2


def _fitting(table: Timetable, setting: Setting, arrivals: int) -> Timetable:
    """The simulations of a run out of those of a timetable."""
    if table.sims < setting.sims or table.arrivals < arrivals or table.workers != setting.agents:
        has = f"{table.sims} simulations, {table.arrivals} arrivals and {table.workers} workers"
        raise ValueError(f"timetable: has {has}; the run needs {setting.sims}, {arrivals} and {setting.agents}")
    if table.sims == setting.sims:
        return table
    return Timetable(*(a[: setting.sims] for a in (table.time, table.worker, table.job)), table.workers)


def _slots(table: Timetable, setting: Setting) -> Arrivals:
    """Arrivals between the moments that are asked for, as many steps for each: those of nobody fill them up."""
    moments = np.asarray(setting.at)
    part = np.searchsorted(moments, table.time, side="right") - np.searchsorted(moments, setting.begins, side="right")
    parts = moments[moments > setting.begins]
    rows = np.broadcast_to(np.arange(setting.sims)[:, None], part.shape)
    used = (table.time >= setting.begins) & (part < parts.size)
    counts = np.zeros((setting.sims, parts.size), int)
    np.add.at(counts, (rows[used], part[used]), 1)
    stride = max(1, int(counts.max()))
    first = np.concatenate([np.zeros((setting.sims, 1), int), np.cumsum(counts, axis=1)[:, :-1]], axis=1)
    before = (table.time < setting.begins).sum(axis=1)
    order = np.arange(part.shape[1]) - before[:, None]
    inside = np.where(used, part, 0)
    place = inside * stride + order - np.take_along_axis(first, inside, axis=1)
    shape = (setting.sims, parts.size * stride)
    worker, job = np.full(shape, table.workers, np.int32), np.zeros(shape, np.int32)
    worker[rows[used], place[used]], job[rows[used], place[used]] = table.worker[used], table.job[used]
    ends = np.broadcast_to(np.repeat(parts, stride), shape)
    return Arrivals(worker, job, ends, np.full(setting.sims, setting.begins), stride)


def _since_last(worker: NDArray, workers: int) -> NDArray:
    """Arrivals since the last one of the same worker, itself counted; of a first one since the start."""
    sims, n = worker.shape
    order = np.argsort(worker, axis=1, kind="stable")  # of each worker its arrivals, in their order
    sorted_workers = np.take_along_axis(worker, order, 1)
    before = np.concatenate([np.full((sims, 1), -1), order[:, :-1]], 1)
    first = np.concatenate([np.ones((sims, 1), bool), sorted_workers[:, 1:] != sorted_workers[:, :-1]], 1)
    since = np.empty((sims, n), np.int32)
    np.put_along_axis(since, order, (order - np.where(first, -1, before)).astype(np.int32), 1)
    return since


def _jobs_in_order(worker: NDArray, job: NDArray, workers: int) -> bool:
    order = np.argsort(worker, axis=1, kind="stable")
    whose, which = np.take_along_axis(worker, order, 1), np.take_along_axis(job, order, 1)
    first = np.concatenate([np.ones((worker.shape[0], 1), bool), whose[:, 1:] != whose[:, :-1]], 1)
    begins = np.where(first, np.arange(worker.shape[1]), 0)
    return bool((which == np.arange(worker.shape[1]) - np.maximum.accumulate(begins, axis=1)).all())
