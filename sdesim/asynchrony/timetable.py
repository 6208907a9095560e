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
from sdesim.fields import check_choice, check_count, check_sign, shown
from sdesim.random import Stream

Start = Literal["together", "staggered", "stationary"]


@dataclasses.dataclass(frozen=True)
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
) -> Timetable:
    """The first arrivals of workers that never wait.

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
    compute.check_run(p)
    mean = np.broadcast_to(np.asarray(compute.mean, float), p)
    # More than the fastest worker is expected to do; where it does more, more are drawn: the same ones, and further.
    jobs = n / (mean.min() * np.sum(1 / mean))
    count = min(n, math.ceil(jobs + 6 * math.sqrt(jobs) + 8))
    while True:
        ends = _ends(compute, mean, seed, numbers, count, start)
        # Who has not got further than the n-th of all that are drawn may have more jobs before it.
        order = np.argsort(ends.reshape(sims, -1), axis=1, kind="stable")[:, :n]
        time = np.take_along_axis(ends.reshape(sims, -1), order, 1)
        if count >= n or not n or (ends[:, :, -1] >= time[:, -1:]).all():
            break
        count = min(n, 2 * count)
    worker, job = np.divmod(order, max(count, 1))
    return Timetable(time, worker.astype(np.int32), job.astype(np.int32), p)


def _ends(compute: AbstractCompute, mean: NDArray, seed: Any, sims: NDArray, count: int, start: Any) -> NDArray:
    """When jobs end, (sims, workers, count)."""
    times = job_times(compute, seed, sims, mean.size, 0, count)
    if not count:
        return times
    if isinstance(start, str):
        check_choice("start", start, get_args(Start))
        if start == "stationary":
            words = words_of_jobs(seed, Stream.OFFSET, sims, mean.size, 0, 1)[:, :, 0]
            times[:, :, 0] = compute.residuals(words) * mean
        ahead = np.arange(mean.size) / mean.size * mean if start == "staggered" else 0.0
    else:
        check_sign("start", start)
        ahead = np.asarray(start, float)
        if ahead.shape != mean.shape:
            raise ValueError(f"start: must be in words or of shape (workers,) = ({mean.size},), got {ahead.shape}")
    times[:, :, 0] = np.maximum(times[:, :, 0] - ahead, 0)
    return np.cumsum(times, axis=2)


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
