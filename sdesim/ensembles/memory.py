"""What a run will hold in memory, refused before anything is allocated if it is not there."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.dynamics import Dynamics, State
from sdesim.engine.blocks import VECTOR, Blocks
from sdesim.engine.plan import Plan
from sdesim.engine.run import room
from sdesim.ensembles.work import work_of
from sdesim.fields import byte_count, form, shown
from sdesim.memory import available_memory
from sdesim.observe import AbstractObservable, AbstractSeries
from sdesim.steppers import AbstractStepper

SMALL = 32 * 2**20
"""Bytes that are not asked for: to look at what is free takes longer than a run of so few."""


def check_memory(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    lanes: int,
    steps: int,
    observables: Sequence[AbstractObservable],
    limit: int | str | None,
    points: int = 1,
    *,
    exact: bool,
    work: bool = True,
) -> int:
    """Bytes that a run will hold, about; refused before anything is allocated if they are not there.

    What is held of each lane all the time, and, with `work`, what a step takes for as many lanes as are computed at a
    time, and all that a state holds beside the agents, such as what workers keep and messages under way; the model is
    traced for that.

    Args:
        plan: what is static about the run.
        stepper: what one step is.
        model: the dynamics, of one lane.
        lanes: how many there are.
        steps: number of steps.
        observables: what is recorded.
        limit: bytes that may be used, a number or such as "2GB"; what is free by default.
        points: of a grid, among which the lanes are divided.
        exact: whether short runs are computed as blocks of one width.
        work: whether a step's work is counted, and what a state holds beside the agents.

    Returns:
        Bytes.

    Raises:
        MemoryError: with what the run needs, what there is, and how to fit.
    """
    itemsize = jnp.dtype(jnp.result_type(float)).itemsize
    arrays = 1 if model.momentum is None else 2
    one = plan.agents * plan.dims * itemsize * (4 * arrays + 2)  # state at the chunk's start and end, work, results
    step, shared, kept = _work_of_step(plan, stepper, model) if work else (0, 0, 0)
    one += 2 * (kept if work else plan.agents * plan.dims * itemsize * stepper.past)
    if plan.every is not None:
        records = 1 + steps // plan.every
        for o in observables:
            times = records if isinstance(o, AbstractSeries) else 1
            one += 4 * itemsize * times * o.numbers(plan.agents, plan.dims)

    def parts(count: int) -> tuple[int, int]:
        held, at_once = room(plan, count, exact)
        return one * held, step * at_once + shared

    state, working = parts(lanes)
    need = state + working
    if limit is None and need <= SMALL:
        return need
    have = available_memory() if limit is None else byte_count("memory", limit)
    if have is not None and need > have:
        most = have // one  # a whole number of blocks of which may fit, or a few lanes in a program of their own
        width = Blocks.of(1, plan.agents, plan.dims, plan.width).width
        tries = [most // width * width - i * width for i in range(64)] + (
            [] if exact else list(range(VECTOR - 1, 0, -1))
        )
        fit = next((n for n in tries if 0 < n < lanes and sum(parts(n)) <= have), 0) // points
        advice = f"sims={fit} would fit" if fit > 0 else "fewer agents or dims, or a larger `every`, would be needed"
        if working > state:
            advice += ", or a loss that takes less work"
        given = "" if limit is None else f"memory={shown(limit)}: "
        raise MemoryError(
            f"{given}{lanes} simulations of {plan.agents} agents in {plan.dims} dimensions need about "
            f"{need / 2**30:.3g} GiB, {working / 2**30:.3g} of them for the work of a step, and "
            f"{have / 2**30:.3g} GiB are free: {advice}; run the rest with first_sim="
        )
    return need


_WORK: dict[Any, tuple[int, int, int]] = {}  # of models of a form: tracing a step takes as long as a short run


def _work_of_step(plan: Plan, stepper: AbstractStepper, model: Dynamics) -> tuple[int, int, int]:
    """Bytes that a step takes beside the state: of each lane, and of all; and those of a state beside the agents."""
    key = (plan, form((stepper, model)), jnp.result_type(float))
    if key not in _WORK:
        dtype = jnp.result_type(float)
        array = jax.ShapeDtypeStruct((plan.agents, plan.dims), dtype)
        state = jax.eval_shape(lambda x: stepper.init(model, x), array)
        word = jax.ShapeDtypeStruct((), jnp.uint32)

        def step(state: State, sim: Array):
            return stepper.step(model, state, 0, seed=jnp.zeros(2, jnp.uint32), sim=sim)

        kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.shared, state.kept)))
        _WORK[key] = *work_of(step, state, word), kept
    return _WORK[key]
