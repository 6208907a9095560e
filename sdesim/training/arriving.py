"""Who arrives when in a training of workers, and with which images: made epoch by epoch, before any gradient is taken.

A job's images are those of the step of its number where all agents step together: batches are a matter of (seed, run,
agent, job) alone, so that protocols race on the same ones.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sdesim.asynchrony.arrivals import Arrivals
from sdesim.asynchrony.clocks import rounded
from sdesim.asynchrony.events import Arrival, Asynchronous
from sdesim.asynchrony.messages import NOWHERE, Messages
from sdesim.dynamics import Dynamics
from sdesim.steppers.base import Setting
from sdesim.training.workers import Plan

Batches = Callable[[int], NDArray]
"""Of the number of an epoch the images of all batches, (batches, runs, agents, batch)."""


@dataclasses.dataclass
class _Events:
    """Events of one run, in their order.

    Attributes:
        time: in seconds, (events,).
        came: who or what arrives, (parts, events).
        ends: whether each is the end of a job, (events,).
    """

    time: NDArray
    came: NDArray
    ends: NDArray

    def cut(self, first: int, last: int) -> "_Events":
        return _Events(self.time[first:last], self.came[:, first:last], self.ends[first:last])


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What arrives in an epoch of all runs.

    Attributes:
        plan: for the compiled program.
        event: which event ends each job, (runs, jobs).
        whose: of each event who arrives, (runs, events).
        time: when it ends, in seconds, (runs,).
        jobs: how many each worker ends in it, (runs, agents).
        room: how many values messages under way carry at a time, at most, so far.
    """

    plan: Plan
    event: NDArray
    whose: NDArray
    time: NDArray
    jobs: NDArray
    room: int

    def windows(self, first: int, last: int, together: int, own: bool) -> tuple[NDArray, int]:
        """Cuts the events of some jobs so that the gradients of a window hang on nothing that is done in it.

        Args:
            first: the first of the jobs, from 0.
            last: the one after the last.
            together: gradients of a window, at most.
            own: whether an arrival changes nothing of other workers but what their own arrivals look at.

        Returns:
            Events with which windows begin and, to the end, the one after the last, (runs, jobs of an epoch + 2); and
            how many there are, of the run that has most.
        """
        found, most = np.empty((len(self.time), self.event.shape[1] + 2), np.int32), 0
        for row, event, whose in zip(found, self.event, self.whose, strict=True):
            low, high = (0 if first == 0 else int(event[first - 1]) + 1), int(event[last - 1]) + 1
            begins = _begins(event[first:last], whose, low, together, own)
            row[: len(begins)], row[len(begins) :] = begins, high
            most = max(most, len(begins))
        return found, most


def _begins(event: NDArray, whose: NDArray, low: int, together: int, own: bool) -> list[int]:
    """Events with which windows begin."""
    if together == 1 or not own:
        return sorted({low, *event.tolist()})
    begins, moved, seen, full = [low], set(), low, 0
    for now in event.tolist():
        moved |= set(whose[seen:now].tolist())
        if full == together or int(whose[now]) in moved:
            begins.append(now)
            moved, full = set(), 0
        moved.add(int(whose[now]))
        seen, full = now + 1, full + 1
    return begins


class Arriving:
    """Makes one epoch after another.

    Args:
        stepper: of the workers.
        model: their dynamics, of one run.
        numbers: of the runs, (runs,).
        agents: of a run, p.
        seed: its words, and their generator.
        batches: of an epoch, of each agent; an epoch of workers ends with as many jobs of all together.
        images: of the batches of an epoch.
    """

    def __init__(
        self,
        stepper: Asynchronous,
        model: Dynamics,
        numbers: NDArray,
        agents: int,
        seed: Any,
        batches: int,
        images: Batches,
    ):
        self._stepper, self._model, self._agents, self._seed = stepper, model, agents, seed
        self._batches, self._images = batches, images
        self._jobs = agents * batches
        self._runs = [_Run(_of_run(stepper, i, len(numbers)), model, n, agents, seed) for i, n in enumerate(numbers)]
        self._orders: dict[int, NDArray] = {}
        self._made: dict[int, Epoch] = {}
        self._next = 1

    def epoch(self, number: int) -> Epoch:
        """An epoch; those before it are made too, as clocks run on, and are forgotten.

        Args:
            number: from 1.

        Returns:
            What arrives in it.

        Raises:
            ValueError: for a timetable that ends before, or workers that have all left.
        """
        if number not in self._made:
            if number < self._next:
                raise ValueError(f"number={number}: epochs are made in their order, and {self._next} is next")
            while self._next < number:
                self._events()
            self._made = {number: self._epoch(number)}
        return self._made[number]

    def room(self, epoch: int) -> int:
        """What there must be room for up to the end of an epoch; those before the next are forgotten.

        Args:
            epoch: its number, from 1.

        Returns:
            As `Epoch.room`.
        """
        while self._next <= epoch:
            self._events()
        return max(run.room for run in self._runs)

    def _events(self) -> list[_Events]:
        found = [run.events(self._jobs, self._next) for run in self._runs]
        self._next += 1
        return found

    def _epoch(self, number: int) -> Epoch:
        of_runs = self._events()
        width = rounded(max(len(events.time) for events in of_runs))
        wide = lambda a, fill: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, width - a.shape[-1])], constant_values=fill)
        came = np.stack([wide(events.came, NOWHERE) for events in of_runs], axis=1).astype(np.int32)
        before = [np.concatenate([[0], np.cumsum(wide(events.ends, False))]) for events in of_runs]
        event = np.stack([np.flatnonzero(events.ends) for events in of_runs])
        worker, job = (np.take_along_axis(came[i], event, 1) for i in range(2))
        whole = lambda a: jnp.asarray(a, jnp.int32)
        plan = Plan(
            Arrival(*map(whole, came)), whole(np.stack(before)), whole(event), whole(self._images_of(worker, job))
        )
        time = np.array([events.time[-1] for events in of_runs])
        jobs = np.stack([np.bincount(row, minlength=self._agents) for row in worker])
        return Epoch(plan, event, came[0], time, jobs, max(run.room for run in self._runs))

    def _images_of(self, worker: NDArray, job: NDArray) -> NDArray:
        """Images of each job's batch, (runs, jobs, batch)."""
        epoch, place = 1 + job // self._batches, job % self._batches
        found: NDArray | None = None
        numbers = np.unique(epoch)
        self._orders = {n: order for n, order in self._orders.items() if n >= numbers[0]}
        for n in numbers.tolist():
            if n not in self._orders:
                self._orders[n] = np.asarray(self._images(n))
            order = self._orders[n]
            found = np.empty((*worker.shape, order.shape[-1]), np.int32) if found is None else found
            run, at = np.nonzero(epoch == n)
            found[run, at] = order[place[run, at], run, worker[run, at]]
        assert found is not None
        return found


def _of_run(stepper: Asynchronous, place: int, runs: int) -> Asynchronous:
    """The stepper of a run, which has a timetable's simulation of its place."""
    table = stepper.timetable
    if table is None:
        return stepper
    if table.sims < runs:
        raise ValueError(f"timetable: has {table.sims} simulations, and there are {runs} runs")
    row = slice(place, place + 1)
    cut = dataclasses.replace(table, time=table.time[row], worker=table.worker[row], job=table.job[row], began=None)
    return dataclasses.replace(stepper, timetable=cut)


class _Run:
    """Events of one run, from the first one on."""

    def __init__(self, stepper: Asynchronous, model: Dynamics, number: int, agents: int, seed: Any):
        self.room, self._agents = 1, agents
        setting = lambda steps: Setting(agents, 1, int(number), 0, steps, seed)
        self._messages = stepper.protocol.messages
        if self._messages:
            self._feed = lambda steps: stepper.feed(model, setting(steps))
            self._steps, self._done, self._page = 0, 0, None
            return
        arrivals = stepper.feed(model, setting(0))
        assert isinstance(arrivals, Arrivals)
        self._maker = arrivals.source.begun()

    def events(self, jobs: int, epoch: int) -> _Events:
        """Events up to the end of so many jobs more."""
        return self._with_messages(jobs, epoch) if self._messages else self._without(jobs, epoch)

    def _without(self, jobs: int, epoch: int) -> _Events:
        page = self._maker.take(jobs)
        if len(page.time) < jobs:
            raise ValueError(
                f"timetable: ends within epoch {epoch}, of {jobs} arrivals; give a longer one, or fewer epochs"
            )
        if not np.isfinite(page.time).all():
            raise ValueError(f"leave: all workers have left before the end of epoch {epoch}; give fewer epochs")
        return _Events(page.time[:, 0], np.stack([page.worker[:, 0], page.job[:, 0]]), np.ones(jobs, bool))

    def _with_messages(self, jobs: int, epoch: int) -> _Events:
        """From a feed of twice as many epochs whenever one ends: an earlier one's events are those of a later one."""
        while self._page is None or np.count_nonzero(self._page.ends[self._done :]) < jobs:
            self._steps = 2 * self._steps if self._steps else 4 * jobs
            feed = self._feed(self._steps)
            assert isinstance(feed, Messages)
            time, *came = (part[0] for part in feed.page)
            self._page = _Events(time, np.stack(came), (came[0] == came[2]) & (came[0] < self._agents))
            used = came[4][came[4] != NOWHERE]
            self.room = max(self.room, int(used.max(initial=-1)) + 1)
        last = self._done + int(np.flatnonzero(self._page.ends[self._done :])[jobs - 1]) + 1
        found = self._page.cut(self._done, last)
        self._done = last
        return found
