"""What a store needs to know of a sweep, whatever it is that is swept: simulations of a model, or trainings.

A sweep has points, the combinations of the values of its axes, and of each point simulations. Some axes are computed
apart: each of their values, or each group of them, by a program of its own.
"""

import abc
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import xarray as xr

from sdesim.ensembles.designs import Design
from sdesim.ensembles.rules import Rule
from sdesim.results.recipe import Call


class Program(NamedTuple):
    """What computes the points of one choice of the axes that are computed apart.

    Attributes:
        hash: of all that the numbers depend on, but for what the sweep's identity and its axes say.
        layout: a text that choices share whose points measure the same things, of the same sizes.
        width: lanes of a block, of which a lane's bits may depend.
    """

    hash: str
    layout: str
    width: int = 1


class Estimate(NamedTuple):
    """What a sweep will take.

    Attributes:
        points: of the grid.
        lanes: simulations of all points.
        tasks: that they are cut into.
        seconds: of this machine, all of its cores; NaN where they cannot be known.
        memory: bytes that a task needs.
        bytes: of the store.
    """

    points: int
    lanes: int
    tasks: int
    seconds: float
    memory: int
    bytes: int

    @classmethod
    def of_all(cls, sweeps: "Sequence[Estimate]") -> "Estimate":
        """What several sweeps will take, one after another.

        Args:
            sweeps: what each of them will.

        Returns:
            All of it.
        """
        together = cls(*map(sum, zip(*sweeps, strict=True)))
        return together._replace(memory=max(one.memory for one in sweeps))

    def __str__(self) -> str:
        """In one line."""
        took = "an unknown time" if math.isnan(self.seconds) else f"about {_duration(self.seconds)} on this machine"
        sizes = f"{_size(self.memory)} of memory a task, {_size(self.bytes)} of disk"
        return f"{self.points} points, {self.lanes} simulations in {self.tasks} tasks: {took}, {sizes}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.2g} seconds"


def _size(count: int) -> str:
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.3g} {unit}"
    return f"{count} bytes"


class AbstractSweep(abc.ABC):
    """A sweep that can be computed task by task, each task without the others.

    Attributes:
        parts: what one could be of another sweep of the same numbers, in words; of the class.
        grid: values by the names of the axes, in their order.
        sims: simulations of each point; with a rule, at the least.
        first_sim: number of the first of them.
        rule: until when simulations are added; None for as many as `sims`.
        design: points in place of a grid, which are the values of its one axis, "point"; None for a grid.
    """

    parts: ClassVar[str]
    grid: dict[str, list]
    sims: int
    first_sim: int
    rule: Rule | None
    design: Design | None

    @property
    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """All numbers and choices: what a file says of it."""

    @property
    @abc.abstractmethod
    def call(self) -> Call:
        """The call that makes it."""

    @property
    @abc.abstractmethod
    def apart(self) -> list[str]:
        """The axes that are computed apart, in the order of the grid."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that the numbers depend on but for the axes and the programs, by name, as JSON holds it."""

    @abc.abstractmethod
    def programs(self) -> dict[str, Program]:
        """What computes each choice of the axes that are computed apart, checked.

        Returns:
            By `size_key` of the choice.

        Raises:
            ValueError: for what does not go together or is out of its range.
            TypeError: for what is of another kind.
        """

    @abc.abstractmethod
    def lanes(self) -> int:
        """Simulations of a task of a new store, at the most."""

    @abc.abstractmethod
    def estimate(self, lanes: int | None = None) -> Estimate:
        """What it will take; a little of it is run for that.

        Args:
            lanes: of a task at the most; None for `lanes()`.

        Raises:
            ValueError: as `programs`.
            TypeError: likewise.
        """

    @abc.abstractmethod
    def width(self, here: Mapping[str, Any]) -> int:
        """Lanes of a block by what a choice says.

        Args:
            here: the choice, of values of the axes that are computed apart.
        """

    @abc.abstractmethod
    def run(
        self,
        at: Mapping[str, list],
        points: int,
        sims: tuple[int, int],
        *,
        width: int | None,
        memory: int | str | None,
        folder: pathlib.Path,
    ) -> xr.Dataset:
        """Simulations of some points, of one group of each axis that is computed apart.

        Args:
            at: of each axis the value at every point.
            points: how many there are.
            sims: numbers of the first simulation and of the one after the last, counted from the sweep's first.
            width: lanes of a block; None for what the sizes say.
            memory: bytes that may be used; what is free by default.
            folder: that keeps what this task can go on with after a kill; it may not be there yet.

        Returns:
            The data, (point, sim, ...), with an attribute `path`.

        Raises:
            MemoryError: for what does not fit; fewer points or simulations may.
        """

    def sample(self, at: Mapping[str, list]) -> xr.Dataset:
        """What one simulation of a point finds, or something of the same form that takes less time.

        Args:
            at: of each axis the value at the point.

        Returns:
            The data, (point, sim, ...), of one of both.
        """
        return self.run(at, 1, (0, 1), width=None, memory=None, folder=pathlib.Path())

    def groups(self, name: str) -> list[list[int]]:
        """The values of an axis that a task may have at a time.

        Args:
            name: of the axis.

        Returns:
            Their places among the axis' values.
        """
        places = list(range(len(self.grid[name])))
        return [[i] for i in places] if name in self.apart else [places]

    def here(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The choice of a point among the axes that are computed apart.

        Args:
            point: values of at least these axes.
        """
        return {name: point[name] for name in self.apart}
