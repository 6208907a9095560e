"""What the host hands to each step of a run of workers: from a timetable, by arrivals or by seconds."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdesim.asynchrony.clocks import Clocks, Timing, rounded
from sdesim.asynchrony.tables import Timetable
from sdesim.fields import is_traced
from sdesim.steppers.base import Setting


@dataclasses.dataclass(frozen=True, eq=False)
class Arrivals:
    """What the host hands to each step of a run of workers, and when these steps are.

    Attributes:
        worker: who arrives, that of all workers for nobody, int32 (sims, steps).
        job: with which of its jobs, int32 (sims, steps).
        ends: when each step ends, in seconds, float64 (sims, steps).
        begins: when the first one begins, in seconds, (sims,).
        workers: how many there are.
        stride: steps between two of the moments that were asked for; None if arrivals were.
    """

    worker: NDArray
    job: NDArray
    ends: NDArray
    begins: NDArray
    workers: int
    stride: int | None = None

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.worker.shape[1]

    def __call__(self, a: int, b: int) -> dict[str, Any]:
        """{"arrival": (workers, jobs)} of the steps from a to b, (b - a, sims) each."""
        here = lambda part: np.ascontiguousarray(part[:, a:b].T)
        return {"arrival": (here(self.worker), here(self.job))}

    def times(self, steps: NDArray) -> NDArray:
        """The time after each number of steps.

        Args:
            steps: of the run, from 0, (records,).

        Returns:
            Seconds, float64 (sims, records).
        """
        moments = np.concatenate([self.begins[:, None], self.ends], axis=1)
        return moments[:, steps]

    def arrivals(self, sims: NDArray, steps: NDArray) -> NDArray:
        """How many have arrived within so many steps of the run.

        Args:
            sims: which simulations, (count,).
            steps: of each, (count,).

        Returns:
            (count,).
        """
        here = self.worker < self.workers
        so_far = np.concatenate([np.zeros((here.shape[0], 1), int), np.cumsum(here, axis=1)], axis=1)
        return so_far[sims, steps]


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
    p, numbers = setting.agents, setting.first_sim + np.arange(setting.sims)
    made = lambda n: Clocks(timing, setting.seed, numbers, p).table(n) if given is None else given
    if setting.at is None:
        last = setting.first + setting.steps
        table = _fitting(made(last), setting, last)
        ends = np.concatenate([np.zeros((setting.sims, 1)), table.time], axis=1)
        cut = slice(setting.first, last)
        return Arrivals(table.worker[:, cut], table.job[:, cut], table.time[:, cut], ends[:, setting.first], p)
    timing.check_run(p)
    count = 16 + math.ceil(1.1 * setting.at[-1] * float(np.sum(1 / timing.cycle(p))))
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
    first = slice(setting.sims)
    return Timetable(table.time[first], table.worker[first], table.job[first], table.workers)


def _slots(table: Timetable, setting: Setting) -> Arrivals:
    """Arrivals between the moments that are asked for, as many steps for each: those of nobody fill them up."""
    moments = np.asarray(setting.at)
    part = np.searchsorted(moments, table.time, side="right") - np.searchsorted(moments, setting.begins, side="right")
    parts = moments[moments > setting.begins]
    rows = np.broadcast_to(np.arange(setting.sims)[:, None], part.shape)
    used = (table.time >= setting.begins) & (part < parts.size)
    counts = np.zeros((setting.sims, parts.size), int)
    np.add.at(counts, (rows[used], part[used]), 1)
    stride = rounded(max(1, int(counts.max())))
    first = np.concatenate([np.zeros((setting.sims, 1), int), np.cumsum(counts, axis=1)[:, :-1]], axis=1)
    before = (table.time < setting.begins).sum(axis=1)
    order = np.arange(part.shape[1]) - before[:, None]
    inside = np.where(used, part, 0)
    place = inside * stride + order - np.take_along_axis(first, inside, axis=1)
    shape = (setting.sims, parts.size * stride)
    worker, job = np.full(shape, table.workers, np.int32), np.zeros(shape, np.int32)
    worker[rows[used], place[used]], job[rows[used], place[used]] = table.worker[used], table.job[used]
    ends = np.broadcast_to(np.repeat(parts, stride), shape)
    return Arrivals(worker, job, ends, np.full(setting.sims, setting.begins), table.workers, stride)
