"""The fused GPU kernel: a block of simulations stays in registers for hundreds of steps.

A launch reads the state of each simulation once, takes all its steps, and writes the state back: no array is stored
between two steps. The step is the one that the CPU runs (a stepper's `step`, with the rule, the law, the loss and its
gradient in it), traced for one simulation and evaluated on blocks by `lowering`. Random words have the counters of the
CPU path, so that the two see the same noise and agree to rounding over short horizons.

A block is S simulations by W places. A place is a pair of agents of one simulation, whose coordinates, and several of
which, are unrolled; means over agents are sums along the block. Simulations that are small enough are unrolled whole
(`Shape.unrolled`), and a place is then a simulation of its own. More than eight coordinates are a third axis of the
block (`Shape.width`), along which sums over coordinates are.

There are two backends: Mosaic, with a simulation a warp, and the older Triton, which also runs in interpret mode on a
CPU. The first run of a program compares it with the plain path on the machine (`check.py`). Tests compare both backends
with it where there is a GPU, and interpret mode elsewhere.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from sdesim.dynamics import Dynamics, State
from sdesim.engine.gpu.cells import Unsupported
from sdesim.engine.gpu.check import Disagreement, confirm, lanes_to_compare
from sdesim.engine.gpu.launch import Kernel, Places, mosaic, triton
from sdesim.engine.gpu.layout import (
    UNROLLED,
    Backend,
    Rows,
    agent_axis,
    block_place,
    coordinate_axis,
    over_coordinates,
    over_places,
    shape_of,
)
from sdesim.engine.gpu.program import STATE, Outside, Step, trace
from sdesim.engine.gpu.state import Leaves, filled_up, joined
from sdesim.engine.plan import Plan
from sdesim.fields import is_none, said_by
from sdesim.observe import AbstractObservable, looking_at_every_step
from sdesim.random import DEFAULT, Generator, Seed, seed_words
from sdesim.steppers import AbstractStepper

__all__ = [
    "Backend",
    "Choice",
    "Disagreement",
    "Unsupported",
    "advance",
    "backend_for",
    "confirm",
    "lanes_to_compare",
    "refusal",
]

MAX_AGENTS = 1024
# Mosaic, whose simulations are warps, has no third axis.
MAX_DIMS: dict[Backend, int] = {"mosaic": UNROLLED, "triton": 64}
# Numbers of the state a thread, of positions alone and with other arrays of agents beside them, of which not all are
# needed at once: with more, registers spill, and Mosaic compiles long.
MAX_THREAD_NUMBERS: dict[Backend, tuple[int, int]] = {"mosaic": (48, 64), "triton": (128, 128)}
MAX_THREAD_NUMBERS_WIDE = 64  # where coordinates lie along the block, whose many threads have 128 registers each
LAUNCH = 256  # steps
MANY = 1 << 20  # lanes that fill any GPU


class _Program(NamedTuple):
    """The traced step.

    Attributes:
        step: cut into what runs outside the kernel and what runs in it.
        inputs: its variables for the leaves of the state and the number of the simulation.
        outside: what is computed before a launch.
    """

    step: Step
    inputs: list
    outside: Outside


def _flat(model: Dynamics, axes: PyTree) -> tuple[list, Any, list[bool]]:
    """A model's leaves, their tree, and which of them have a value for each lane."""
    leaves, tree = jax.tree.flatten(model, is_leaf=is_none)
    swept = [False] * len(leaves) if axes is None else [a is not None for a in jax.tree.leaves(axes, is_leaf=is_none)]
    return leaves, tree, swept


def _program(
    stepper: AbstractStepper, model: Dynamics, axes: PyTree, state: State, sims: Array, seed: Seed
) -> _Program:
    """The step of one of the lanes, traced."""
    leaves, tree, swept = _flat(model, axes)
    numbers_of_step, kept = eqx.partition(stepper, eqx.is_array)
    kind = [0 if not eqx.is_array(leaf) else 2 if s else 1 for leaf, s in zip(leaves, swept, strict=True)]
    shared = [leaf for leaf, k in zip(leaves, kind, strict=True) if k == 1]
    own = [leaf for leaf, k in zip(leaves, kind, strict=True) if k == 2]

    def one(common: tuple, mine: list, lane: tuple, number: Array):
        (numbers, seed, of_step), (state, sim) = common, lane
        sources = {1: iter(numbers), 2: iter(mine)}
        whole = [leaf if k == 0 else next(sources[k]) for leaf, k in zip(leaves, kind, strict=True)]
        return eqx.combine(of_step, kept).step(jax.tree.unflatten(tree, whole), state, number, seed=seed, sim=sim)

    like = lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a))
    of_lane = lambda a: jax.ShapeDtypeStruct(a.shape[:-1], a.dtype)
    common = (shared, seed, numbers_of_step)
    step = trace(one, jax.tree.map(like, common), [of_lane(a) for a in own], jax.tree.map(of_lane, (state, sims)))
    inputs = [v for v in step.jaxpr.invars if step.needs[v] == STATE]
    return _Program(step, inputs, step.outside(jax.tree.leaves(common), own))


def advance(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    state: State,
    sims: Array,
    seed: Seed,
    first: Array | int,
    steps: Array | int,
    *,
    backend: Backend = "mosaic",
    interpret: bool = False,
) -> State:
    """`steps` steps of all lanes from step number `first`.

    New numbers of the stepper never recompile.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None; None for none.
        state: lanes on the last axis of every leaf.
        sims: uint32 (lanes,), the lanes' numbers.
        seed: its words, and their generator.
        first: an integer, traced or not; a new one never recompiles.
        steps: how many, an integer, likewise.
        backend: "mosaic" or "triton".
        interpret: run on a CPU, slowly; Triton only.

    Returns:
        The state after the steps.

    Raises:
        Unsupported: where `refusal` has a reason.
    """
    first, steps = (jnp.asarray(n, jnp.int32) for n in (first, steps))
    return _advance(plan, stepper, model, axes, state, sims, seed, first, steps, backend, interpret)


def _advance_blocks(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    state: State,
    sims: Array,
    seed: Seed,
    first: Array,
    steps: Array,
    backend: Backend,
    interpret: bool,
) -> State:
    program = _program(stepper, model, axes, state, sims, seed)
    shape = shape_of(plan.agents, plan.dims, backend, sims.shape[0], stepper.past)
    lanes = math.ceil(sims.shape[0] / shape.lanes) * shape.lanes
    kept = Rows((lanes // shape.places, shape.places) if shape.unrolled else (lanes,))  # what the steps do not change

    leaves, tree = jax.tree.flatten(state)
    for leaf, old, new in zip(leaves, program.inputs, program.step.jaxpr.outvars, strict=False):
        if not jnp.issubdtype(leaf.dtype, jnp.floating) and new is not old:
            raise Unsupported("whole numbers in the state that steps change")
    packed = Leaves(leaves, kept, shape, plan.agents, plan.dims, lanes)
    scalars, clock = Rows((1,)), Rows((LAUNCH,))
    one = (1,) * (len(shape.block) - 2)  # in place of the coordinates
    by_agent: list[Array] = []
    by_coordinate: list[Array] = []

    def add_shared(a: Array):
        over_agents = agent_axis(a.shape, plan.agents, plan.dims, shape)
        along = coordinate_axis(a.shape, plan.dims, shape)
        if a.dtype == jnp.float32 and over_agents is not None:
            cells = over_places(jnp.moveaxis(a, over_agents, 0).reshape(plan.agents, -1), shape)
            cells = cells.reshape(-1, 1, shape.places, *one)
            cells = jnp.broadcast_to(cells, (len(cells), shape.sims, shape.places, *one))
            return block_place(by_agent, a.shape, cells, over_agents, None)
        if a.dtype == jnp.float32 and along is not None:
            cells = over_coordinates(a, along, shape).reshape(-1, 1, 1, shape.width)
            cells = jnp.broadcast_to(cells, (len(cells), shape.sims, 1, shape.width))
            return block_place(by_coordinate, a.shape, cells, None, along)
        return scalars.add(a[..., None])

    places = Places(
        shared=[add_shared(a) for a in program.outside.shared],
        clock=[clock.add(a) for a in jax.eval_shape(program.outside.clock, jnp.zeros(LAUNCH, jnp.int32))],
        own=[filled_up(kept, a, lanes) for a in program.outside.own],
        sims=filled_up(kept, sims, lanes),
        state=packed.places,
    )
    sizes = (plan.agents, plan.dims)
    kernel = Kernel(program.step, program.inputs, places, shape, *sizes, packed.moves, exact=not plan.fast)
    fixed = [source.packed(kind) for source in (scalars, kept) for kind in (np.float32, np.int32)]
    fixed += [joined(by_agent, shape), joined(by_coordinate, shape)]
    moving = packed.packed()
    launch = (mosaic if backend == "mosaic" else functools.partial(triton, interpret=interpret))(
        kernel, shape, lanes // shape.lanes, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in moving]
    )

    def some_steps(carry: tuple):
        done, *moving = carry
        count = jnp.minimum(steps - done, LAUNCH)
        table = Rows((LAUNCH,))
        for a in program.outside.clock(first + done + jnp.arange(LAUNCH, dtype=jnp.int32)):
            table.add(a)
        tables = [table.packed(kind) for kind in (np.float32, np.int32)]
        return done + count, *launch(count[None], *tables, *fixed, *moving)

    start = (jnp.zeros((), jnp.int32), *moving)
    _, *moved = lax.while_loop(lambda carry: carry[0] < steps, some_steps, start)
    return jax.tree.unflatten(tree, packed.unpacked(*moved))


_advance = eqx.filter_jit(_advance_blocks)


def refusal(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    observables: Sequence[AbstractObservable],
    increments: bool,
    dtype: DTypeLike,
    backend: Backend = "mosaic",
) -> str | None:
    """Why a run cannot use the kernel. Takes about half a second.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None; None for none.
        observables: what is watched.
        increments: whether the caller brings the Brownian increments.
        dtype: of the states.
        backend: "mosaic" or "triton".

    Returns:
        The reason, in one line; None if it can.
    """
    if jnp.dtype(dtype) != jnp.float32:
        return f"numbers of type {jnp.dtype(dtype).name}; the kernel computes in float32"
    if plan.agents > MAX_AGENTS:
        return f"{plan.agents} agents; the kernel holds {MAX_AGENTS} at most"
    if plan.dims > MAX_DIMS[backend]:
        return f"{plan.dims} dimensions; the kernel holds {MAX_DIMS[backend]} at most on {backend.capitalize()}"
    shape = shape_of(plan.agents, plan.dims, backend, MANY, stepper.past)
    more = stepper.past + (model.momentum is not None)
    numbers = shape.numbers(plan.agents, plan.dims) * (1 + more)
    most = MAX_THREAD_NUMBERS[backend][more > 0] if shape.width == 1 else MAX_THREAD_NUMBERS_WIDE
    if numbers > most:
        return f"{numbers} numbers of the state a thread; its registers hold {most}"
    if not stepper.lockstep:
        return "steps of one worker at a time"
    if increments:
        return "increments of the caller"
    if watching := looking_at_every_step(observables):
        return f"an observable of every step: {', '.join(watching)}"
    try:
        _lowered(plan, stepper, model, axes, backend)
    except Unsupported as reason:
        return str(reason)
    except Exception as error:  # whatever the backend says of a user's loss
        return said_by(error).partition(" Please file an issue")[0]
    return None


class Choice(NamedTuple):
    """The backend that runs a model.

    Attributes:
        backend: or None.
        reason: why it is not the first one, Mosaic; empty if it is. Of none why it is not the last one either.
    """

    backend: Backend | None
    reason: str


def backend_for(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    observables: Sequence[AbstractObservable],
    increments: bool,
    dtype: DTypeLike,
) -> Choice:
    """The backend that can run the model, Mosaic before Triton.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None; None for none.
        observables: what is watched.
        increments: whether the caller brings the Brownian increments.
        dtype: of the states.

    Returns:
        The backend and the reason.
    """
    why = ""
    for backend in get_args(Backend):
        reason = refusal(plan, stepper, model, axes, observables, increments, dtype, backend)
        if reason is None:
            return Choice(backend, why)
        why = reason
    return Choice(None, why)


def _lowered(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    backend: Backend,
    lanes: int = MANY,
    sharding: Any = None,
    generator: Generator = DEFAULT,
) -> jax.stages.Lowered:
    """The program of many lanes, lowered for CUDA; a GPU is not needed for that.

    generator: of the random words.
    sharding: of all arguments, on a device that is described and not there, for which the program may be compiled.
    """
    struct = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
    shaped = lambda a, *more: struct((*a.shape, *more), a.dtype)
    leaves, tree, swept = _flat(model, axes)
    is_array = [eqx.is_array(leaf) for leaf in leaves]
    cut = lambda leaf, s: struct(leaf.shape[:-1] if s else leaf.shape, leaf.dtype)
    one = [cut(leaf, s) for leaf, s, a in zip(leaves, swept, is_array, strict=True) if a]
    all_lanes = [shaped(a, lanes) if s else a for a, s in zip(one, itertools.compress(swept, is_array), strict=True)]

    def whole(arrays: Iterable[Array]):
        source = iter(arrays)
        return jax.tree.unflatten(tree, [next(source) if a else leaf for leaf, a in zip(leaves, is_array, strict=True)])

    x = jax.ShapeDtypeStruct((plan.agents, plan.dims), jnp.float32)
    state = jax.eval_shape(lambda arrays, x: stepper.init(whole(arrays), x), one, x)
    number, sims = struct((), jnp.int32), struct((lanes,), jnp.uint32)
    seed = jax.tree.map(shaped, seed_words(0, generator))
    numbers_of_step, kept = eqx.partition(stepper, eqx.is_array)
    numbers_of_step = jax.tree.map(shaped, numbers_of_step)

    def run(arrays: list, state: State, sims: Array, seed: Seed, of_step: AbstractStepper, first: Array, steps: Array):
        rest = (sims, seed, first, steps, backend, False)
        return _advance_blocks(plan, eqx.combine(of_step, kept), whole(arrays), axes, state, *rest)

    states = jax.tree.map(lambda a: shaped(a, lanes), state)
    described = jax.default_backend() == "gpu"
    device = AbstractDevice("NVIDIA H200", 132, "gpu")  # where there is none, Triton's lowering asks for one to suppose
    with contextlib.nullcontext() if described else use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        traced = jax.jit(run).trace(all_lanes, states, sims, seed, numbers_of_step, number, number)
        return traced.lower(lowering_platforms=("cuda",))
