"""The kernel's body, and its launch by either backend."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array

from sdesim.engine.gpu.cells import Machine, Unsupported, Value, cells_of
from sdesim.engine.gpu.contraction import contracted
from sdesim.engine.gpu.layout import WARP, BlockPlace, Place, Shape, take
from sdesim.engine.gpu.lowering import evaluate
from sdesim.engine.gpu.program import Step


class Places(NamedTuple):
    """Where the kernel finds the values of the program's variables.

    Attributes:
        shared: those that are the same for all lanes.
        clock: those that are the same for all lanes at one step.
        own: a lane's own at every step.
        sims: the lanes' numbers.
        state: the leaves of the state.
    """

    shared: list[Place | BlockPlace]
    clock: list[Place]
    own: list[Place]
    sims: Place
    state: list[Place | BlockPlace]


class Refs(NamedTuple):
    """What the kernel reads and writes; by type where it is a dictionary.

    Attributes:
        count: the number of steps.
        clock: what is the same for all lanes at one step, (rows, steps).
        shared: what is the same for all lanes, (rows, 1).
        kept: what lanes have of their own and steps do not change.
        by_agent: numbers of the agents' own that are the same for all simulations.
        by_coordinate: numbers of the coordinates' own that are the same for all simulations.
        rows: of the state, what is not an array over agents or coordinates and moves.
        lines: of the state, the arrays over coordinates alone.
        blocks: of the state, the arrays over agents.
        new_rows: where `rows` go.
        new_lines: where `lines` go.
        new_blocks: where `blocks` go.
    """

    count: Any
    clock: dict
    shared: dict
    kept: dict
    by_agent: Any
    by_coordinate: Any
    rows: Any
    lines: Any
    blocks: Any
    new_rows: Any
    new_lines: Any
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
        moves: which leaves a step changes.
        exact: see `Machine`.
    """

    step: Step
    inputs: list
    places: Places
    shape: Shape
    agents: int
    dims: int
    moves: list[bool]
    exact: bool

    def __call__(self, io: "IO", refs: Refs) -> None:
        step, places, block = self.step, self.places, self.shape.block
        numbers = lambda extent, axis: io.pin(lax.broadcasted_iota(np.int32, extent, axis))
        pairs, coordinates = [], None
        if self.shape.width > 1:
            coordinates = numbers((block[0], 1, block[2]), 2)
        if self._agents_inside:
            place = numbers((*block[:2], *(1,) * (len(block) - 2)), 1)
            pairs = [place + np.int32(tile * block[1]) for tile in range(self.shape.tiles)]
        kept = lambda place: take(place, lambda kind, row: io.load(refs.kept[kind], row, self.shape.unrolled))
        inputs: dict[Any, Value] = {self.inputs[-1]: kept(places.sims)}
        inputs.update((v, self._shared(io, refs, p)) for v, p in zip(step.shared, places.shared, strict=True))
        inputs.update(zip(step.own, map(kept, places.own), strict=True))
        start = self._state(io, refs, kept)

        def one_step(i: Any, carry: tuple):
            clock = [take(p, lambda kind, row: refs.clock[kind][row, i]) for p in places.clock]

            def new(*carry: Any):
                machine = Machine(block, self.agents, self.dims, pairs, coordinates, io.pin, io.hold, exact=self.exact)
                now = self._unpacked(carry, start)
                known = {**inputs, **dict(zip(step.clock, clock, strict=True))}
                known.update(zip(self.inputs, now, strict=False))
                return self._packed(evaluate(machine, step, known), now, machine)

            return tuple(io.contracted(new)(*carry))

        carry = lax.fori_loop(np.int32(0), refs.count[0], one_step, self._packed(start, start, None))
        self._store(io, refs, self._unpacked(carry, start))

    @property
    def _agents_inside(self) -> bool:
        """Whether agents lie along the block's places."""
        return not self.shape.unrolled and self.agents > 1

    def _shared(self, io: "IO", refs: Refs, place: Place | BlockPlace) -> Value:
        """A value that is the same for all simulations."""
        if isinstance(place, Place):
            return take(place, lambda kind, row: refs.shared[kind][row, 0])
        blocks = refs.by_coordinate if place.agent is None else refs.by_agent
        return place.value(self.shape, lambda row: io.load_same(blocks, row))

    def _state(self, io: "IO", refs: Refs, kept: Callable[[Place], Value]) -> list[Value]:
        """The state at the launch's start."""
        start = []
        for place, move in zip(self.places.state, self.moves, strict=True):
            if isinstance(place, BlockPlace):
                blocks = refs.lines if place.agent is None else refs.blocks
                start.append(place.value(self.shape, lambda row, blocks=blocks: io.load(blocks, row, True)))
            else:
                moving = lambda kind, row: io.load(refs.rows, row, self.shape.unrolled)
                start.append(take(place, moving) if move else kept(place))
        return start

    def _store(self, io: "IO", refs: Refs, end: list[Value]) -> None:
        """Write the state at the launch's end."""
        for value, place, move in zip(end, self.places.state, self.moves, strict=True):
            whole = isinstance(place, BlockPlace)
            blocks = refs.new_rows if not whole else refs.new_lines if place.agent is None else refs.new_blocks
            for i, cell in enumerate(value.cells.ravel() if move else ()):
                io.store(blocks, place.row + i, cell, whole or self.shape.unrolled)

    def _unpacked(self, carry: Sequence[Any], like: list[Value]) -> list[Value]:
        """The leaves whose cells `_packed` made a carry of; those that do not move as they are in `like`."""
        cells, out = iter(carry), []
        for value, move in zip(like, self.moves, strict=True):
            if move:
                mine = [next(cells) for _ in range(value.cells.size)]
                value = value._replace(cells=cells_of(mine, value.cells.shape))
            out.append(value)
        return out

    def _packed(self, values: list[Value], like: list[Value], machine: Machine | None) -> tuple:
        """The cells of the leaves that move, in arrays of the extents that they have in `like`."""
        out = []
        for value, old, move in zip(values, like, self.moves, strict=True):
            if not move:
                continue
            for axis, kind in {**old.inside, **value.inside}.items():
                here = old.inside.get(axis) == kind
                if not here or (axis not in value.inside and value.cells.shape[axis] > 1):
                    raise Unsupported(f"numbers that differ between {kind}")
            cells = np.broadcast_to(value.cells, old.cells.shape).ravel()
            extents = [np.shape(cell) for cell in old.cells.ravel()]
            out.extend(cells if machine is None else map(machine.widen, cells, extents))
        return tuple(out)


class IO(NamedTuple):
    """What a backend does.

    Attributes:
        load: load(ref, row, block) gives this program's part of a row: a block, or a value a simulation.
        load_same: load_same(ref, row) gives a block that all programs read.
        store: store(ref, row, cell, block) writes this program's part of a row.
        pin: see `Machine`.
        hold: see `Machine`.
        contracted: contracted(fn) is the function with products and sums of blocks in one instruction.
    """

    load: Callable
    load_same: Callable
    store: Callable
    pin: Callable
    hold: Callable
    contracted: Callable


def _part(shape: Shape, index: Any, ref: Any, row: int) -> tuple:
    """The index of a program's part of a row."""
    mine = pl.ds(index * np.int32(shape.sims), shape.sims)
    return (row, mine, *(slice(None),) * (len(ref.shape) - 2))


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
        outputs: shapes of the new rows, lines and blocks of the state.
        interpret: run on a CPU, slowly.

    Returns:
        A function of the arrays of `Refs` up to the blocks, in order, to the outputs.
    """
    from jax.experimental.pallas import triton as pltriton

    def kernel(*refs: Any):
        part = functools.partial(_part, shape, pl.program_id(0))

        def store(ref: Any, row: int, cell: Any, block: bool):
            ref[part(ref, row)] = cell

        load = lambda ref, row, block: ref[part(ref, row)]
        body(IO(load, lambda ref, row: ref[row], store, lambda a: a, hold, fused), _named(refs))

    def multiply_add(*blocks: Array):
        if interpret:
            a, b, c = blocks
            return a * b + c
        like = jax.ShapeDtypeStruct(blocks[-1].shape, blocks[-1].dtype)
        options: dict[str, Any] = dict(constraints="=f,f,f,f", pack=1, result_shape_dtypes=[like])
        return pltriton.elementwise_inline_asm("fma.rn.f32 $0, $1, $2, $3;", args=blocks, **options)[0]

    fused = functools.partial(contracted, multiply_add=multiply_add)
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
        outputs: shapes of the new rows, lines and blocks of the state.

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

        load = lambda ref, row, block: read(ref.at[part(ref, row)], of_rank(1 + block))
        load_same = lambda ref, row: read(ref.at[row, pl.ds(0, shape.sims), slice(None)], layout)
        store = lambda ref, row, cell, block: write(ref.at[part(ref, row)], cell)
        body(IO(load, load_same, store, pin, lambda a: a, lambda fn: fn), _named(refs))

    parameters = plgpu.CompilerParams()
    return plgpu.kernel(kernel, out_type=outputs, grid=(grid,), grid_names=("block",), compiler_params=parameters)
