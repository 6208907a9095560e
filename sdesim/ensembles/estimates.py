"""What a sweep will take, before it runs: seconds, memory and bytes."""

import dataclasses
import math
import time
from typing import NamedTuple

from sdesim.engine.blocks import Blocks
from sdesim.engine.run import cores
from sdesim.ensembles.durable import lanes_of_a_task
from sdesim.ensembles.identity import programs
from sdesim.ensembles.memory import check_memory
from sdesim.ensembles.points import Sweep, run_points, tail_bytes

TRIED = 2e7  # agent-steps times dimensions that are run to know the speed
OVERHEAD = 5000  # bytes of a task beside its values


class Estimate(NamedTuple):
    """What a sweep will take.

    Attributes:
        points: of the grid.
        lanes: simulations of all points.
        tasks: that they are cut into.
        seconds: of this machine, all of its cores; NaN of runs by seconds of virtual time, which take what they take.
        memory: bytes that a task needs.
        bytes: of the store.
    """

    points: int
    lanes: int
    tasks: int
    seconds: float
    memory: int
    bytes: int

    def __str__(self) -> str:
        """In one line."""
        took = "an unknown time" if math.isnan(self.seconds) else f"about {_duration(self.seconds)} on this machine"
        sizes = f"{_size(self.memory)} of memory a task, {_size(self.bytes)} of disk"
        return f"{self.points} points, {self.lanes} simulations in {self.tasks} tasks: {took}, {sizes}"


def estimate(sweep: Sweep, lanes: int | None = None) -> Estimate:
    """What a sweep will take; a few steps of one block at each choice of sizes are run for that.

    Args:
        sweep: what is asked for.
        lanes: of a task at the most; about a second's work by default.

    Returns:
        The estimate.

    Raises:
        ValueError: as `sdesim.sweep`.
        TypeError: likewise.
    """
    setups = programs(sweep)
    here = sweep.choices()
    lanes = lanes_of_a_task(sweep, next(iter(setups.values()))) if lanes is None else lanes
    points = math.prod(len(values) for name, values in sweep.grid.items() if name not in sweep.sizes)
    sims = int(sweep.run["sims"])
    per_task = max(1, lanes // sims)
    tasks = math.ceil(points / per_task) * math.ceil(sims / lanes) * len(setups)
    seconds = memory = size = 0.0
    for choice, setup in zip(here, setups.values(), strict=True):
        plan, of_task = setup.plan, min(lanes, points * sims)
        run = (plan, setup.stepper, setup.model, of_task, setup.steps, setup.observables, 2**62)
        memory = max(memory, check_memory(*run, exact=True))
        size += tail_bytes(sweep, setup) * points * sims
        seconds += _seconds(sweep, choice, Blocks.of(1, plan.rows, plan.dims).width) * points * sims / cores()
    points *= len(setups)
    return Estimate(points, points * sims, tasks, seconds, int(memory), int(size + OVERHEAD * tasks))


def _seconds(sweep: Sweep, here: dict, width: int) -> float:
    """Of one simulation on one core."""
    _, run = sweep.at(here)
    if run["steps"] is None:
        return math.nan
    work = max(1, run["agents"] * run["dims"] * width)
    steps = min(run["steps"], max(1, int(TRIED / work)))
    every = (sweep.run["every"] or max(1, math.ceil(run["steps"] / 100))) if sweep.run["observe"] else None
    run_on = {**sweep.run, "exact": True, "every": every}
    short = dataclasses.replace(sweep, given={**sweep.given, "steps": steps}, run=run_on)
    choice = {name: value for name, value in here.items() if name != "steps"}
    columns = {name: values[:1] for name, values in sweep.numbers.items()}
    took = math.inf
    for _ in range(2):  # the first one compiles
        began = time.perf_counter()
        run_points(short, choice, columns, first=0, sims=1)  # which is filled up to a block
        took = time.perf_counter() - began
    return took / width * run["steps"] / steps


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
