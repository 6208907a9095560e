"""What a sweep of simulations will take, before it runs."""

import dataclasses
import math
import time
from collections.abc import Mapping

from sdesim.cores import cores
from sdesim.engine.blocks import Blocks
from sdesim.ensembles.memory import check_memory
from sdesim.ensembles.points import Sweep, run_points, tail_bytes
from sdesim.ensembles.setup import Setup
from sdesim.ensembles.sweeps import Estimate
from sdesim.observe import AbstractAccumulator

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
        seconds += _seconds(sweep, choice, setup) * points * sims / len(cores())
    points *= len(setups)
    return Estimate(points, points * sims, tasks, seconds, int(memory), int(size + OVERHEAD * tasks))


def _seconds(sweep: Sweep, here: dict, setup: Setup) -> float:
    """Of one simulation on one core: by a short run of one block, the beginning of the whole one."""
    plan = setup.plan
    width = Blocks.of(1, plan.rows, plan.dims).width
    share = min(1.0, TRIED / max(1, plan.rows * plan.dims * width * setup.steps))
    late = lambda o: isinstance(o, AbstractAccumulator) and o.starts_after() is not None
    # In a short run, which may end before they begin to count:
    observe = tuple(dataclasses.replace(o, after=0) if late(o) else o for o in setup.observables)
    run = {**sweep.run, "exact": True, "every": plan.every, "observe": observe}
    given, choice = dict(sweep.given), {name: v for name, v in here.items() if name not in ("steps", "until")}
    if setup.until is None:
        given["steps"] = max(plan.every or 1, int(setup.steps * share))  # a record at the least
        share = given["steps"] / max(1, setup.steps)
    else:  # with records about as far apart
        records = 1 if plan.every is None else setup.steps // plan.every
        run |= {"until": setup.until * share, "at": max(1, round(records * share)), "every": None}
    short = dataclasses.replace(sweep, given=given, run=run)
    columns = {name: values[:1] for name, values in sweep.numbers.items()}
    took = math.inf
    for _ in range(2):  # the first one compiles
        began = time.perf_counter()
        run_points(short, choice, columns, first=0, sims=1)  # which is filled up to a block
        took = time.perf_counter() - began
    return took / width / share
