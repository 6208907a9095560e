"""The kernel's body, and its launch by either backend."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from sdesim.engine.gpu.cells import Machine, Unsupported, Value, cells_of
from sdesim.engine.gpu.layout import WARP, AgentPlace, Place, Shape, take
from sdesim.engine.gpu.lowering import evaluate
from sdesim.engine.gpu.program import Step


class Places(NamedTuple):
    """Where the kernel finds the values of the program's variables.

    Attributes:
        shared: those that are the same for all lanes.
        clock: those that are the same for all lanes at one step.
        own: a lane's own at every step.
        sims: the lanes' numbers.
        state: leaves other than agents.
    """

    shared: list[Place | AgentPlace]
    clock: list[Place]
    own: list[Place]
    sims: Place
    state: list[Place]


class Refs(NamedTuple):
    """What the kernel reads and writes; by type where it is a dictionary.

    Attributes:
        count: the number of steps.
        clock: what is the same for all lanes at one step, (rows, steps).
        shared: what is the same for all lanes, (rows, 1).
        kept: what lanes have of their own and steps do not change.
        by_agent: numbers of the agents' own that are the same for all simulations.
        rows: of the state, what is not an array over agents and moves.
        blocks: of the state, the arrays over agents.
        new_rows: where `rows` go.
        new_blocks: where `blocks` go.
    """

    count: Any
    clock: dict
    shared: dict
    kept: dict
    by_agent: Any
    rows: Any
    blocks: Any
    new_rows: Any
    new_blocks: Any


class Kernel(NamedTuple):
    """The kernel's body, a function of what the backend does and of the refs.

    Attributes:
        step: the program.
        inputs: its variables for the leaves of the state and the number of the simulation.
        places: where the values of its other variables are.
        shape: how simulations are laid out.
        agents: of a simulation.
        dims: of an agent.
        arrays: how many leaves of the state, its first ones, are arrays over agents.
        moves: which leaves a step changes.
        exact: see `Machine`.
    """

    step: Step
    inputs: list
    places: Places
    shape: Shape
    agents: int
    dims: int
    arrays: int
    moves: list[bool]
    exact: bool

    def __call__(self, io: "IO", refs: Refs) -> None:
        step, places, shape = self.step, self.places, self.shape
        block = (shape.sims, shape.places)
        pairs = []
        if not shape.unrolled:
            place = io.pin(lax.broadcasted_iota(np.int32, block, 1))
            pairs = [place + np.int32(tile * shape.places) for tile in range(shape.tiles)]
        kept = lambda place: take(place, lambda kind, row: io.load(refs.kept[kind], row, shape.unrolled))
        inputs: dict[Any, Value] = {self.inputs[-1]: kept(places.sims)}
        inputs.update((v, self._shared(io, refs, p)) for v, p in zip(step.shared, places.shared, strict=True))
        inputs.update(zip(step.own, map(kept, places.own), strict=True))
        start = self._state(io, refs, kept)

        def one_step(i: Any, carry: tuple):
            machine = Machine(block, self.agents, pairs, io.pin, io.hold, exact=self.exact)
            clock = (take(p, lambda kind, row: refs.clock[kind][row, i]) for p in places.clock)
            now = self._unpacked(carry, start)
            known = {**inputs, **dict(zip(step.clock, clock, strict=True))}
            known.update(zip(self.inputs, now, strict=False))
            return self._packed(evaluate(machine, step, known), now, machine)

        carry = lax.fori_loop(np.int32(0), refs.count[0], one_step, self._packed(start, start, None))
        for i, cell in enumerate(carry):
            agents = refs.blocks.shape[0]
            if i < agents:
                io.store(refs.new_blocks, i, cell, True)
            else:
                io.store(refs.new_rows, i - agents, cell, shape.unrolled)

    def _shared(self, io: "IO", refs: Refs, place: Place | AgentPlace) -> Value:
        """A value that is the same for all simulations."""
        if isinstance(place, Place):
            return take(place, lambda kind, row: refs.shared[kind][row, 0])
        lengths = [1 if a == place.axis else n for a, n in enumerate(place.shape)]
        grid = (*lengths, self.shape.tiles, 2)
        cells = [io.load_same(refs.by_agent, place.row + i) for i in range(math.prod(grid))]
        return Value(place.shape, place.axis, cells_of(cells, grid))

    def _state(self, io: "IO", refs: Refs, kept: Callable[[Place], Value]) -> list[Value]:
        """The state at the launch's start."""
        unrolled = self.shape.unrolled
        grid = (self.agents, self.dims, 1, 1) if unrolled else (1, self.dims, self.shape.tiles, 2)
        size = math.prod(grid)
        start = []
        for leaf in range(self.arrays):
            cells = [io.load(refs.blocks, i, True) for i in range(leaf * size, (leaf + 1) * size)]
            start.append(Value((self.agents, self.dims), None if unrolled else 0, cells_of(cells, grid)))
        moving = lambda place: take(place, lambda kind, row: io.load(refs.rows, row, unrolled))
        for place, move in zip(self.places.state, self.moves[self.arrays :], strict=True):
            start.append(moving(place) if move else kept(place))
        return start

    def _unpacked(self, carry: tuple, like: list[Value]) -> list[Value]:
        """The leaves whose cells `_packed` made a carry of; those that do not move as they are in `like`."""
        cells, out = iter(carry), []
        for value, move in zip(like, self.moves, strict=True):
            if move:
                mine = [next(cells) for _ in range(value.cells.size)]
                value = value._replace(cells=cells_of(mine, value.cells.shape))
            out.append(value)
        return out

    def _packed(self, values: list[Value], like: list[Value], machine: Machine | None) -> tuple:
        """The cells of the leaves that move, in arrays of the ranks that they have in `like`."""
        out = []
        for value, old, move in zip(values, like, self.moves, strict=True):
            if not move:
                continue
            if value.agent != old.agent and value.cells.shape[0] > 1:
                raise Unsupported("numbers that differ between agents")
            cells = np.broadcast_to(value.full() if value.agent == old.agent else value.cells, old.cells.shape).ravel()
            ranks = [np.ndim(cell) for cell in old.cells.ravel()]
            out.extend(cells if machine is None else [machine.widen(c, n) for c, n in zip(cells, ranks, strict=True)])
        return tuple(out)


class IO(NamedTuple):
    """What a backend does.

    Attributes:
        load: load(ref, row, block) gives this program's part of a row: a block, or a value a simulation.
        load_same: load_same(ref, row) gives a block that all programs read.
        store: store(ref, row, cell, block) writes this program's part of a row.
        pin: see `Machine`.
        hold: see `Machine`.
    """

    load: Callable
    load_same: Callable
    store: Callable
    pin: Callable
    hold: Callable


def _part(shape: Shape, index: Any, row: int, block: bool) -> tuple:
    """The index of a program's part of a row."""
    mine = pl.ds(index * np.int32(shape.sims), shape.sims)
    return (row, mine, slice(None)) if block else (row, mine)


def _named(refs: Sequence[Any]) -> Refs:
    """The refs of a launch by name."""
    count, *refs = refs
    pairs = [dict(zip((np.float32, np.int32), refs[i : i + 2], strict=True)) for i in (0, 2, 4)]
    return Refs(count, *pairs, *refs[6:])


def triton(
    body: Callable[[IO, Refs], None],
    shape: Shape,
    grid: int,
    outputs: Sequence[jax.ShapeDtypeStruct],
    *,
    interpret: bool,
) -> Callable:
    """A launch by Triton.

    Args:
        body: the kernel's.
        shape: how simulations are laid out.
        grid: how many blocks of simulations.
        outputs: shapes of the new rows and blocks of the state.
        interpret: run on a CPU, slowly.

    Returns:
        A function of the arrays of `Refs` up to the blocks, in order, to the outputs.
    """
    from jax.experimental.pallas import triton as pltriton

    def kernel(*refs: Any):
        part = functools.partial(_part, shape, pl.program_id(0))

        def store(ref: Any, row: int, cell: Any, block: bool):
            ref[part(row, block)] = cell

        load = lambda ref, row, block: ref[part(row, block)]
        body(IO(load, lambda ref, row: ref[row], store, lambda a: a, hold), _named(refs))

    hold = lax.optimization_barrier if interpret else lambda a: a
    parameters = pltriton.CompilerParams(num_warps=shape.warps, num_stages=1)
    return pl.pallas_call(kernel, grid=(grid,), out_shape=outputs, interpret=interpret, compiler_params=parameters)


def _access(plgpu: Any) -> tuple[Callable, Callable]:
    """read(ref, layout) and write(ref, cell) of parts of any size, by what this version of JAX has for it.

    jax 0.11 took the index out of `load`, and from 0.12 on a plain assignment stores whole sectors of memory alone.
    """
    index = inspect.signature(plgpu.load).parameters.get("idx")
    whole = (...,) if index is not None and index.default is index.empty else ()
    read = lambda ref, layout: plgpu.load(ref, *whole, layout=layout, optimized=False)
    if not hasattr(plgpu, "store"):
        return read, lambda ref, cell: ref.__setitem__(..., cell)
    return read, lambda ref, cell: plgpu.store(ref, cell, optimized=False)


def mosaic(
    body: Callable[[IO, Refs], None], shape: Shape, grid: int, outputs: Sequence[jax.ShapeDtypeStruct]
) -> Callable:
    """A launch by Mosaic.

    Args:
        body: the kernel's.
        shape: how simulations are laid out, a simulation a warp.
        grid: how many blocks of simulations.
        outputs: shapes of the new rows and blocks of the state.

    Returns:
        A function of the arrays of `Refs` up to the blocks, in order, to the outputs.
    """
    from jax.experimental.pallas import mosaic_gpu as plgpu

    # A row of the block is a warp's; its places go round the warp's lanes.
    tiling = plgpu.Tiling(((4, WARP), (1,)))
    layout = plgpu.Layout.TILED(tiling, warp_dims=(-3,), lane_dims=(-2,), vector_dim=-1)
    of_rank = lambda rank: layout if rank == 2 else layout.reduce(1)
    pin = lambda a: plgpu.layout_cast(a, of_rank(a.ndim)) if a.ndim else a
    read, write = _access(plgpu)

    def kernel(*refs: Any):
        part = functools.partial(_part, shape, lax.axis_index("block"))

        load = lambda ref, row, block: read(ref.at[part(row, block)], of_rank(1 + block))
        load_same = lambda ref, row: read(ref.at[row, pl.ds(0, shape.sims), slice(None)], layout)
        store = lambda ref, row, cell, block: write(ref.at[part(row, block)], cell)
        body(IO(load, load_same, store, pin, lambda a: a), _named(refs))

    parameters = plgpu.CompilerParams()
    return plgpu.kernel(kernel, out_type=outputs, grid=(grid,), grid_names=("block",), compiler_params=parameters)
