"""The fused GPU kernel: a block of simulations stays in registers for hundreds of steps.

A launch reads the state of each simulation once, takes all its steps, and writes the state back: no array is stored
between two steps. The step is the one that the CPU runs (`engine._one_step`, with the rule, the law, the loss and its
gradient in it), traced for one simulation and evaluated on blocks by `sdesim.lowering`. Random words have the counters
of the CPU path, so that the two see the same noise and agree to rounding over short horizons.

A block is S simulations by W places. A place is a pair of agents of one simulation, whose coordinates, and several of
which, are unrolled; means over agents are sums along the block. Simulations that are small enough are unrolled whole
(`Shape.unrolled`), and a place is then a simulation of its own.

There are two backends: Mosaic, with a simulation a warp, and the older Triton, which also runs in interpret mode on a
CPU. **Neither has run on a GPU yet**: tests compare interpret mode with the plain path, and compile for CUDA.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, PyTree

from sdesim.dynamics import Dynamics, State
from sdesim.lowering import MAX_CELLS, STATE, Machine, Outside, Step, Unsupported, Value, cells_of, evaluate, trace
from sdesim.observe import AbstractAccumulator

Backend = Literal["mosaic", "triton"]

MAX_AGENTS = 1024
MAX_DIMS = 8
UNROLLED = 8  # numbers of a simulation's positions that are all cells of their own
MAX_TILES = 5
REGISTER_NUMBERS = 16  # numbers of each state array a thread
LAUNCH = 256  # steps
_WARP = 32


class Shape(NamedTuple):
    """How simulations are laid out.

    sims, places: of a block. tiles: blocks side by side that hold the pairs of agents of a simulation. unrolled:
    whether a place is a simulation. warps: of a block.
    """

    sims: int
    places: int
    tiles: int
    unrolled: bool
    warps: int

    @property
    def lanes(self) -> int:
        """Simulations of a block."""
        return self.sims * self.places if self.unrolled else self.sims


def shape_of(agents: int, dims: int, backend: Backend) -> Shape:
    """A layout of few idle places and about `REGISTER_NUMBERS` numbers a thread."""
    if agents == 1 or agents * dims <= UNROLLED:
        count = max(1, REGISTER_NUMBERS // pl.next_power_of_2(agents * dims))
        return Shape(4, _WARP * count, 1, True, 4) if backend == "mosaic" else Shape(1, _WARP * count, 1, True, 1)
    pairs = (agents + 1) // 2
    if backend == "mosaic":  # four warps, each a simulation
        return Shape(4, math.ceil(pairs / _WARP) * _WARP, 1, False, 4)
    # Triton wants powers of two: several tiles waste less than one. The largest of the best is the least code.
    tilings = [(tiles, pl.next_power_of_2(math.ceil(pairs / tiles))) for tiles in range(1, MAX_TILES + 1)]
    tiles, places = min(tilings, key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
    numbers = _WARP * REGISTER_NUMBERS  # of a warp
    one = 2 * tiles * places * dims
    sims = max(1, numbers // pl.next_power_of_2(one))
    return Shape(sims, places, tiles, False, min(8, max(1, pl.next_power_of_2(one * sims // numbers))))


# -- arguments of the kernel -----------------------------------------------------------------------------------------


class _Program(NamedTuple):
    """The traced step. inputs: its variables for the leaves of the state and the number of the simulation. outside:
    what is computed before a launch."""

    step: Step
    inputs: list
    outside: Outside


def _is_none(leaf) -> bool:
    return leaf is None


def _program(plan, model: Dynamics, axes: PyTree, state: State, sims: Array, seed, dt, period) -> _Program:
    from sdesim.engine import _one_step  # the engine imports this module

    leaves, tree = jax.tree.flatten(model, is_leaf=_is_none)
    swept = [False] * len(leaves) if axes is None else [a is not None for a in jax.tree.leaves(axes, is_leaf=_is_none)]
    kind = [0 if not eqx.is_array(leaf) else 2 if s else 1 for leaf, s in zip(leaves, swept, strict=True)]
    shared = [leaf for leaf, k in zip(leaves, kind, strict=True) if k == 1]
    own = [leaf for leaf, k in zip(leaves, kind, strict=True) if k == 2]

    def one(common, mine, lane, number):
        (numbers, seed, dt, period), (state, sim) = common, lane
        sources = {1: iter(numbers), 2: iter(mine)}
        whole = [leaf if k == 0 else next(sources[k]) for leaf, k in zip(leaves, kind, strict=True)]
        return _one_step(plan, jax.tree.unflatten(tree, whole), state, sim, seed, number, dt, period, None)

    like = lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a))
    of_lane = lambda a: jax.ShapeDtypeStruct(a.shape[:-1], a.dtype)
    common = (shared, seed, dt, period)
    step = trace(one, jax.tree.map(like, common), [of_lane(a) for a in own], jax.tree.map(of_lane, (state, sims)))
    inputs = [v for v in step.jaxpr.invars if step.needs[v] == STATE]
    return _Program(step, inputs, step.outside(jax.tree.leaves(common), own))


class _Place(NamedTuple):
    """Where an array lies in `_Rows`: its kind, first row, shape and type."""

    kind: type
    row: int
    shape: tuple[int, ...]
    dtype: Any


class _Rows:
    """Arrays of numbers of 32 bits, packed into the rows of one array of float32 and of one of int32."""

    def __init__(self, width: tuple[int, ...]):
        self.width = width
        self._count: dict[type, int] = {np.float32: 0, np.int32: 0}
        self._parts: dict[type, list[Array]] = {np.float32: [], np.int32: []}

    def add(self, array) -> _Place:
        """Pack an array (..., *width), or only make its place if it is a shape."""
        shape, dtype = array.shape[: len(array.shape) - len(self.width)], array.dtype
        if dtype not in (np.float32, np.int32, np.uint32, np.bool_):
            raise Unsupported(f"numbers of type {dtype}")
        if math.prod(shape) > MAX_CELLS:
            raise Unsupported(f"an array of {math.prod(shape)} numbers, {MAX_CELLS} at most")
        kind = np.float32 if dtype == np.float32 else np.int32
        if not isinstance(array, jax.ShapeDtypeStruct):
            bits = lax.bitcast_convert_type(array, np.int32) if dtype == np.uint32 else array.astype(kind)
            self._parts[kind].append(bits.reshape(-1, *self.width))
        place = _Place(kind, self._count[kind], shape, dtype)
        self._count[kind] += math.prod(shape)
        return place

    def packed(self, kind: type) -> Array:
        rows = self._parts[kind]
        return jnp.concatenate(rows) if rows else jnp.zeros((1, *self.width), kind)


def _take(place: _Place, read) -> Value:
    """The value that was packed at `place`; `read(kind, row)` gives a row's cell."""
    cells = [read(place.kind, row) for row in range(place.row, place.row + math.prod(place.shape))]
    if place.dtype == np.uint32:
        cells = [lax.convert_element_type(c, np.uint32) for c in cells]  # wraps, which keeps the bits
    elif place.dtype == np.bool_:
        cells = [c != np.int32(0) for c in cells]
    return Value(place.shape, None, cells_of(cells, (*place.shape, 1, 1)))


def _to_blocks(x: Array, shape: Shape, lanes: int) -> Array:
    """(agents, dims, lanes) as (cells, simulations, places) or, unrolled, (cells, rows of simulations, places)."""
    agents, dims, count = x.shape
    x = jnp.pad(x, ((0, 0), (0, 0), (0, lanes - count)))
    if shape.unrolled:
        return x.reshape(agents * dims, lanes // shape.places, shape.places)
    x = jnp.pad(x, ((0, 2 * shape.tiles * shape.places - agents), (0, 0), (0, 0)))
    x = x.reshape(shape.tiles, shape.places, 2, dims, lanes)
    return x.transpose(3, 0, 2, 4, 1).reshape(-1, lanes, shape.places)


def _from_blocks(blocks: Array, shape: Shape, like: Array) -> Array:
    agents, dims, count = like.shape
    if shape.unrolled:
        return blocks.reshape(agents, dims, -1)[..., :count]
    x = blocks.reshape(dims, shape.tiles, 2, -1, shape.places).transpose(1, 4, 2, 0, 3)
    return x.reshape(-1, dims, x.shape[-1])[:agents, :, :count]


# -- the kernel ------------------------------------------------------------------------------------------------------


def advance(
    plan,
    model: Dynamics,
    axes: PyTree,
    state: State,
    sims: Array,
    seed: Array,
    dt,
    period,
    first,
    steps,
    *,
    backend: Backend = "mosaic",
    interpret: bool = False,
) -> State:
    """`steps` steps of all lanes from step number `first`.

    axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None; or None for none.
    state: lanes on the last axis of every leaf. sims: uint32 (lanes,), the lanes' numbers. seed: two uint32 words.
    dt: length of a step; None where the plan is matched.
    first, steps, period: integers, traced or not; new ones never recompile.
    interpret: run on a CPU, slowly; Triton only.

    Raises:
        Unsupported: where `refusal` has a reason.
    """
    numbers = (jnp.asarray(n, jnp.int32) for n in (period, first, steps))
    return _advance(plan, model, axes, state, sims, seed, dt, *numbers, backend, interpret)


@eqx.filter_jit
def _advance(plan, model, axes, state, sims, seed, dt, period, first, steps, backend, interpret) -> State:
    program = _program(plan, model, axes, state, sims, seed, dt, period)
    shape = shape_of(plan.agents, plan.dims, backend)
    lanes = math.ceil(sims.shape[0] / shape.lanes) * shape.lanes
    whole = _Rows((lanes // shape.places, shape.places) if shape.unrolled else (lanes,))
    kept = _Rows(whole.width)  # what the steps do not change

    def add(rows, leaf):
        leaf = jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, lanes - leaf.shape[-1])])
        return rows.add(leaf.reshape(*leaf.shape[:-1], *rows.width))

    leaves, tree = jax.tree.flatten(state)
    agents = 1 if state.v is None else 2  # the first leaves of a state are x and v
    moves = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    scalars, clock = _Rows((1,)), _Rows((LAUNCH,))
    places = _Places(
        shared=[scalars.add(a[..., None]) for a in program.outside.shared],
        clock=[clock.add(a) for a in jax.eval_shape(program.outside.clock, jnp.zeros(LAUNCH, jnp.int32))],
        own=[add(kept, a) for a in program.outside.own],
        sims=add(kept, sims),
        state=[add(whole if move else kept, a) for a, move in zip(leaves[agents:], moves[agents:], strict=True)],
    )
    body = functools.partial(_body, program, places, shape, plan, agents, moves)
    rows = whole.packed(np.float32)
    blocks = jnp.concatenate([_to_blocks(a, shape, lanes) for a in leaves[:agents]])
    fixed = [source.packed(kind) for source in (scalars, kept) for kind in (np.float32, np.int32)]
    launch = (_mosaic if backend == "mosaic" else functools.partial(_triton, interpret=interpret))(
        body, shape, lanes // shape.lanes, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (rows, blocks)]
    )

    def some_steps(carry):
        done, rows, blocks = carry
        count = jnp.minimum(steps - done, LAUNCH)
        table = _Rows((LAUNCH,))
        for a in program.outside.clock(first + done + jnp.arange(LAUNCH, dtype=jnp.int32)):
            table.add(a)
        tables = [table.packed(kind) for kind in (np.float32, np.int32)]
        return done + count, *launch(count[None], *tables, *fixed, rows, blocks)

    start = (jnp.zeros((), jnp.int32), rows, blocks)
    _, rows, blocks = lax.while_loop(lambda carry: carry[0] < steps, some_steps, start)
    new = [_from_blocks(b, shape, a) for b, a in zip(jnp.split(blocks, agents), leaves[:agents], strict=True)]
    for leaf, place in zip(leaves[agents:], places.state, strict=True):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            part = rows[place.row : place.row + math.prod(place.shape)].reshape(*place.shape, lanes)
            leaf = part[..., : leaf.shape[-1]]
        new.append(leaf)
    return jax.tree.unflatten(tree, new)


class _Places(NamedTuple):
    """Where the kernel finds the values of the program's variables. state: leaves other than agents."""

    shared: list[_Place]
    clock: list[_Place]
    own: list[_Place]
    sims: _Place
    state: list[_Place]


class _Refs(NamedTuple):
    """What the kernel reads and writes; by type where it is a dictionary."""

    count: Any  # of steps
    clock: dict
    shared: dict
    kept: dict
    rows: Any
    blocks: Any
    new_rows: Any
    new_blocks: Any


def _body(
    program: _Program, places: _Places, shape: Shape, plan, agents: int, moves: list[bool], io: "_IO", refs: _Refs
):
    """The kernel. agents: leaves of the state that are agents. moves: which leaves of it change."""
    step = program.step
    block = (shape.sims, shape.places)
    leaves, sims = program.inputs[:-1], program.inputs[-1]
    # Agents over places, copies and coordinates; or, unrolled, all of them as cells.
    grid = (plan.agents, plan.dims, 1, 1) if shape.unrolled else (1, plan.dims, shape.tiles, 2)
    kept = lambda place: _take(place, lambda kind, row: io.load(refs.kept[kind], row, shape.unrolled))
    moving = lambda place: _take(place, lambda kind, row: io.load(refs.rows, row, shape.unrolled))
    inputs: dict[Any, Value] = {sims: kept(places.sims)}
    shared = (_take(p, lambda kind, row: refs.shared[kind][row, 0]) for p in places.shared)
    inputs.update(zip(step.shared, shared, strict=True))
    inputs.update(zip(step.own, map(kept, places.own), strict=True))
    pairs = []
    if not shape.unrolled:
        place = io.pin(lax.broadcasted_iota(np.int32, block, 1))
        pairs = [place + np.int32(tile * shape.places) for tile in range(shape.tiles)]

    size = math.prod(grid)
    start = []
    for leaf in range(agents):
        cells = [io.load(refs.blocks, i, True) for i in range(leaf * size, (leaf + 1) * size)]
        start.append(Value(leaves[leaf].aval.shape, None if shape.unrolled else 0, cells_of(cells, grid)))
    for place, move in zip(places.state, moves[agents:], strict=True):
        start.append(moving(place) if move else kept(place))
    carried = [value for value, move in zip(start, moves, strict=True) if move]

    def take_step(i, carry):
        machine = Machine(block, plan.agents, pairs, io.pin)
        cells = iter(carry)
        now = [
            value._replace(cells=cells_of([next(cells) for _ in range(value.cells.size)], value.cells.shape))
            if move
            else value
            for value, move in zip(start, moves, strict=True)
        ]
        clock = (_take(p, lambda kind, row: refs.clock[kind][row, i]) for p in places.clock)
        new = evaluate(
            machine,
            step,
            {**inputs, **dict(zip(step.clock, clock, strict=True)), **dict(zip(leaves, now, strict=True))},
        )
        out = []
        for old, value, move in zip(now, new, moves, strict=True):
            if not move:
                continue
            if value.agent != old.agent and value.cells.shape[0] > 1:
                raise Unsupported("numbers that differ between agents")
            whole = np.broadcast_to(value.full() if value.agent == old.agent else value.cells, old.cells.shape)
            out += [machine.widen(c, np.ndim(o)) for c, o in zip(whole.ravel(), old.cells.ravel(), strict=True)]
        return tuple(out)

    carry = tuple(c for value in carried for c in value.cells.ravel())
    cells = iter(lax.fori_loop(np.int32(0), refs.count[0], take_step, carry))
    for leaf in range(agents):
        for i in range(leaf * size, (leaf + 1) * size):
            io.store(refs.new_blocks, i, next(cells), True)
    for row, cell in enumerate(cells):
        io.store(refs.new_rows, row, cell, shape.unrolled)


class _IO(NamedTuple):
    """load(ref, row, block) and store(ref, row, cell, block) of this program's part of a row: a block, or a value a
    simulation."""

    load: Any
    store: Any
    pin: Any


def _part(shape: Shape, index, row: int, block: bool) -> tuple:
    mine = pl.ds(index * np.int32(shape.sims), shape.sims)
    return (row, mine, slice(None)) if block else (row, mine)


def _named(refs) -> _Refs:
    count, *refs = refs
    pairs = [dict(zip((np.float32, np.int32), refs[i : i + 2], strict=True)) for i in (0, 2, 4)]
    return _Refs(count, *pairs, *refs[6:])


def _triton(body, shape: Shape, grid: int, outputs, *, interpret: bool):
    from jax.experimental.pallas import triton as pltriton

    def kernel(*refs):
        part = functools.partial(_part, shape, pl.program_id(0))

        def store(ref, row, cell, block):
            ref[part(row, block)] = cell

        body(_IO(lambda ref, row, block: ref[part(row, block)], store, lambda a: a), _named(refs))

    parameters = pltriton.CompilerParams(num_warps=shape.warps, num_stages=1)
    return pl.pallas_call(kernel, grid=(grid,), out_shape=outputs, interpret=interpret, compiler_params=parameters)


def _mosaic(body, shape: Shape, grid: int, outputs):
    from jax.experimental.pallas import mosaic_gpu as plgpu

    # A row of the block is a warp's; its places go round the warp's lanes.
    tiling = plgpu.Tiling(((4, _WARP), (1,)))
    layout = plgpu.Layout.TILED(tiling, warp_dims=(-3,), lane_dims=(-2,), vector_dim=-1)
    of_rank = lambda rank: layout if rank == 2 else layout.reduce(1)

    def kernel(*refs):
        part = functools.partial(_part, shape, lax.axis_index("block"))

        def load(ref, row, block):
            return plgpu.load(ref, part(row, block), layout=of_rank(1 + block), optimized=False)

        def store(ref, row, cell, block):
            ref[part(row, block)] = cell

        body(_IO(load, store, lambda a: plgpu.layout_cast(a, of_rank(a.ndim)) if a.ndim else a), _named(refs))

    parameters = plgpu.CompilerParams()
    return plgpu.kernel(kernel, out_type=outputs, grid=(grid,), grid_names=("block",), compiler_params=parameters)


# -- what it refuses -------------------------------------------------------------------------------------------------


def refusal(
    plan, model: Dynamics, axes: PyTree, observables, increments, dtype, backend: Backend = "mosaic"
) -> str | None:
    """Why a run cannot use the kernel, in one line; None if it can."""
    if jnp.dtype(dtype) != jnp.float32:
        return f"numbers of type {jnp.dtype(dtype).name}; the kernel computes in float32"
    if plan.agents > MAX_AGENTS:
        return f"{plan.agents} agents; the kernel holds {MAX_AGENTS} at most"
    if plan.dims > MAX_DIMS:
        return f"{plan.dims} dimensions; the kernel unrolls {MAX_DIMS} at most"
    if increments is not None:
        return "increments of the caller"
    watching = [o.name for o in observables if isinstance(o, AbstractAccumulator) and o.every_step]
    if watching:
        return f"an observable of every step: {', '.join(watching)}"
    return None
