"""The cut of a sweep into tasks: numbered, and decided once and for all by what is asked for and a number of lanes.

A sweep is a set of points, each a tuple of indices, one an axis, and of each point a range of simulations. It grows by
*rounds*, whose tasks are numbered on from those before. A round is made of boxes, a box of tasks.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Box:
    """Points that are all combinations of some indices, and a range of simulations that all of them have.

    Attributes:
        at: of each axis, the indices.
        sims: numbers of the first simulation and of the one after the last, counted from the sweep's first.
    """

    at: tuple[tuple[int, ...], ...]
    sims: tuple[int, int]

    @property
    def points(self) -> int:
        """How many points there are."""
        return math.prod(len(along) for along in self.at)

    @property
    def lanes(self) -> int:
        """How many simulations of points there are."""
        return self.points * (self.sims[1] - self.sims[0])

    def of(self, points: np.ndarray) -> np.ndarray:
        """Points by their places in the box, the last axis varying fastest.

        Args:
            points: their places, (count,).

        Returns:
            Their indices, (count, axes).
        """
        places = np.unravel_index(points, [len(along) for along in self.at]) if self.at else ()
        # No array of all indices for each task: that would cost the square of their number.
        columns = [np.array([along[i] for i in place], int) for along, place in zip(self.at, places, strict=True)]
        return np.stack(columns, -1) if columns else np.zeros((len(points), 0), int)

    def without(self, other: "Box") -> "Iterator[Box]":
        """What is in this box and not in another, as boxes that do not overlap.

        Args:
            other: of the same axes.

        Yields:
            The boxes.
        """
        common = [tuple(i for i in mine if i in set(its)) for mine, its in zip(self.at, other.at, strict=True)]
        begin, end = max(self.sims[0], other.sims[0]), min(self.sims[1], other.sims[1])
        if begin >= end or not all(common):
            yield self
            return
        for j, (mine, both) in enumerate(zip(self.at, common, strict=True)):
            if rest := tuple(i for i in mine if i not in set(both)):
                yield Box((*common[:j], rest, *self.at[j + 1 :]), self.sims)
        for sims in ((self.sims[0], begin), (end, self.sims[1])):
            if sims[0] < sims[1]:
                yield Box(tuple(common), sims)


def missing(wanted: Iterable[Box], held: Iterable[Box]) -> list[Box]:
    """What is wanted and not held.

    Args:
        wanted: boxes that do not overlap.
        held: boxes.

    Returns:
        Boxes that do not overlap.
    """
    left = list(wanted)
    for box in held:
        if not left:
            break
        left = list(itertools.chain.from_iterable(one.without(box) for one in left))
    return left


@dataclasses.dataclass(frozen=True)
class Task:
    """What is computed at a time, and kept in a file of its own.

    Attributes:
        number: among all of the store, from 0.
        points: indices of its points, (points, axes).
        sims: numbers of the first simulation and of the one after the last, counted from the sweep's first.
    """

    number: int
    points: np.ndarray
    sims: tuple[int, int]

    @property
    def lanes(self) -> int:
        """How many simulations of points there are."""
        return len(self.points) * (self.sims[1] - self.sims[0])


def tasks_in(box: Box, lanes: int) -> int:
    """How many tasks a box is cut into.

    Args:
        box: the box.
        lanes: of a task, at the most.

    Returns:
        The number.
    """
    points, chunks, _ = _cut(box, lanes)
    return math.ceil(box.points / points) * chunks


def task_in(box: Box, lanes: int, place: int, number: int) -> Task:
    """One of the tasks of a box.

    Args:
        box: the box.
        lanes: of a task, at the most.
        place: of the task among those of the box, from 0.
        number: of the task among all.

    Returns:
        The task: whole points where these fit into it, else part of the simulations of one point.
    """
    points, chunks, sims = _cut(box, lanes)
    first = place // chunks * points
    begin = box.sims[0] + place % chunks * sims
    here = box.of(np.arange(first, min(first + points, box.points)))
    return Task(number, here, (begin, min(begin + sims, box.sims[1])))


def _cut(box: Box, lanes: int) -> tuple[int, int, int]:
    """Points of a task, tasks of a point, and simulations of a task."""
    sims = box.sims[1] - box.sims[0]
    points = max(1, lanes // sims)
    chunks = math.ceil(sims / lanes)
    return points, chunks, math.ceil(sims / chunks)


@dataclasses.dataclass(frozen=True)
class Round:
    """What was added to a store at one time.

    Attributes:
        number: of the round, from 0.
        first: number of its first task.
        values: of each axis, by name, the values that it added to those before, as JSON holds them.
        boxes: what it is to compute.
        said: of it beside, as JSON holds it.
    """

    number: int
    first: int
    values: Mapping[str, list]
    boxes: tuple[Box, ...]
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        boxes = [{"at": [_runs(along) for along in box.at], "sims": list(box.sims)} for box in self.boxes]
        values = {name: list(added) for name, added in self.values.items()}
        return {"round": self.number, "first": self.first, "values": values, "boxes": boxes, "said": dict(self.said)}

    @classmethod
    def of(cls, read: Any, axes: Sequence[str], before: "Rounds") -> "Round":
        """What `to_json` made, as whoever wrote it may have changed it.

        Args:
            read: the JSON object.
            axes: names of the axes.
            before: the rounds before.

        Returns:
            The round.

        Raises:
            ValueError: for what is no round that could follow.
        """
        try:
            values = {str(name): list(added) for name, added in read["values"].items()}
            counts = [len(before.values(name)) + len(values.get(name, ())) for name in axes]
            sims = lambda box: (int(box["sims"][0]), int(box["sims"][1]))
            at = lambda box: tuple(itertools.starmap(_indices, zip(box["at"], counts, strict=True)))
            boxes = tuple(Box(at(box), sims(box)) for box in read["boxes"])
            new = cls(int(read["round"]), int(read["first"]), values, boxes, dict(read["said"]))
        except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
            raise ValueError(f"it is no round ({type(error).__name__}: {error})") from None
        if new.number != len(before) or new.first != before.tasks or not set(values) <= set(axes):
            raise ValueError("it does not follow the rounds before")
        for box in boxes:
            if not (all(box.at) and 0 <= box.sims[0] < box.sims[1]):
                raise ValueError("a box of it lies outside of its axes")
        check_size(counts, boxes)
        return new


POINTS, SIMS = 10**7, 10**8  # of a sweep: a small file may not ask for all memory of who opens it


def check_size(counts: Sequence[int], boxes: Iterable[Box]) -> None:
    """Refuse what no machine could show.

    Args:
        counts: how many values each axis has.
        boxes: what is to be computed.

    Raises:
        ValueError: for too many points, or simulations of a point.
    """
    if (points := math.prod(counts)) > POINTS:
        raise ValueError(f"a grid of {points} points: must have {POINTS} at the most; make several sweeps")
    if (sims := max((box.sims[1] for box in boxes), default=0)) > SIMS:
        raise ValueError(f"sims={sims}: must be {SIMS} of each point at the most; make several sweeps")


def _runs(along: Sequence[int]) -> list:
    """Indices, each run of three and more as its two ends: [0, 1, 2, 3, 7] is [[0, 3], 7]."""
    found: list = []
    for _, run in itertools.groupby(enumerate(along), lambda pair: pair[1] - pair[0]):
        ends = [i for _, i in run]
        found.extend([[ends[0], ends[-1]]] if len(ends) > 2 else ends)
    return found


def _indices(runs: Sequence, count: int) -> tuple[int, ...]:
    """What `_runs` was made of, of an axis of so many values: each index once."""
    ends = [(int(run[0]), int(run[1])) if isinstance(run, list) else (int(run), int(run)) for run in runs]
    within = all(0 <= first <= last < count for first, last in ends)
    if within and sum(last - first + 1 for first, last in ends) <= count:  # before all are made
        found = tuple(itertools.chain.from_iterable(range(first, last + 1) for first, last in ends))
        if len(set(found)) == len(found):
            return found
    raise ValueError(f"indices outside of {count} values, or twice")


class Rounds:
    """All rounds of a store, in their order.

    Args:
        axes: names of the axes.
        lanes: of a task, at the most.
        rounds: the rounds.
    """

    def __init__(self, axes: Sequence[str], lanes: int, rounds: Sequence[Round] = ()):
        self.axes, self.lanes, self.all = tuple(axes), lanes, tuple(rounds)
        self._boxes = [box for one in self.all for box in one.boxes]
        self._ends = np.cumsum([0, *(tasks_in(box, lanes) for box in self._boxes)])
        self._values = {axis: tuple(v for one in self.all for v in one.values.get(axis, ())) for axis in self.axes}
        self._counts = tuple(len(self._values[axis]) for axis in self.axes)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return int(self._ends[-1])

    @property
    def boxes(self) -> list[Box]:
        """What all rounds are to compute."""
        return self._boxes

    def values(self, axis: str) -> tuple:
        """The values of an axis, in the order in which they were added.

        Args:
            axis: its name.

        Returns:
            Values as JSON holds them.
        """
        return self._values[axis]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each axis has."""
        return self._counts

    @property
    def sims(self) -> int:
        """One more than the greatest number of a simulation, counted from the sweep's first."""
        return max((box.sims[1] for box in self._boxes), default=0)

    def task(self, number: int) -> Task:
        """A task by its number.

        Args:
            number: from 0.

        Returns:
            The task.

        Raises:
            IndexError: if there is none.
        """
        if not 0 <= number < self.tasks:
            raise IndexError(f"task {number}: there are {self.tasks}")
        i = int(np.searchsorted(self._ends, number, side="right")) - 1
        return task_in(self._boxes[i], self.lanes, number - int(self._ends[i]), number)

    def with_round(self, values: Mapping[str, list], boxes: Sequence[Box], said: Mapping[str, Any]) -> Round:
        """The round that would come next.

        Args:
            values: that it adds, by axis.
            boxes: what it is to compute.
            said: of it beside.

        Returns:
            The round, which is not one of these yet.

        Raises:
            ValueError: as `check_size`.
        """
        added = {name: list(new) for name, new in values.items() if new}
        check_size([len(self.values(name)) + len(added.get(name, ())) for name in self.axes], boxes)
        return Round(len(self), self.tasks, added, tuple(boxes), dict(said))
