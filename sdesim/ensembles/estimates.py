"""What a sweep of simulations will take, before it runs."""

import dataclasses
import math
import time
from collections.abc import Mapping

from sdesim.engine.blocks import Blocks
from sdesim.engine.run import cores
from sdesim.ensembles.memory import check_memory
from sdesim.ensembles.points import Sweep, run_points, tail_bytes
from sdesim.ensembles.setup import Setup
from sdesim.ensembles.sweeps import Estimate

TRIED = 2e7  # agent-steps times dimensions that are run to know the speed
OVERHEAD = 5000  # bytes of a task beside its values


def estimate(sweep: Sweep, setups: Mapping[str, Setup], lanes: int) -> Estimate:
    """What a sweep of simulations will take; a few steps of one block at each choice of sizes are run for that.

    Args:
        sweep: what is asked for.
        setups: from `identity.programs`.
        lanes: of a task at the most.

    Returns:
        The estimate.

    Raises:
        ValueError: as `sdesim.sweep`.
        TypeError: likewise.
    """
    here = sweep.choices()
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
