"""How simulations are laid out over blocks, and how their numbers are packed for the kernel to read."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array

from sdesim.engine.gpu.cells import MAX_CELLS, Unsupported, Value, cells_of

Backend = Literal["mosaic", "triton"]

UNROLLED = 8  # numbers of a simulation's positions that are all cells of their own
MAX_TILES = 5
THREAD_NUMBERS = 16  # of each array of the state, where there is a choice
WARP = 32
FILL = 2048  # warps that keep a large GPU busy


class Shape(NamedTuple):
    """How simulations are laid out.

    Attributes:
        sims: simulations of a block, or rows of them where a place is one.
        places: of a block, for each of these.
        tiles: blocks side by side that hold the pairs of agents of a simulation.
        unrolled: whether a place is a simulation.
        warps: of a block.
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


def shape_of(agents: int, dims: int, backend: Backend, lanes: int) -> Shape:
    """A layout of few idle places; of up to `THREAD_NUMBERS` numbers a thread, if the lanes still fill a GPU then.

    Args:
        agents: of one simulation.
        dims: of one agent.
        backend: "mosaic" or "triton".
        lanes: of the run.

    Returns:
        The layout.
    """
    fill = 1 << max(0, (lanes // FILL).bit_length() - 1)  # lanes that a warp may take
    if agents == 1 or agents * dims <= UNROLLED:
        most = max(1, THREAD_NUMBERS // pl.next_power_of_2(agents * dims))
        count = min(most, max(1, fill // WARP))
        return Shape(4, WARP * count, 1, True, 4) if backend == "mosaic" else Shape(1, WARP * count, 1, True, 1)
    pairs = (agents + 1) // 2
    if backend == "mosaic":  # four warps, each a simulation
        return Shape(4, math.ceil(pairs / WARP) * WARP, 1, False, 4)
    # Triton wants powers of two: several tiles waste less than one. The largest of the best is the least code.
    tilings = [(tiles, pl.next_power_of_2(math.ceil(pairs / tiles))) for tiles in range(1, MAX_TILES + 1)]
    tiles, places = min(tilings, key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
    numbers = WARP * THREAD_NUMBERS  # of a warp
    one = 2 * tiles * places * dims
    sims = min(fill, max(1, numbers // pl.next_power_of_2(one)))
    return Shape(sims, places, tiles, False, min(8, max(1, pl.next_power_of_2(one * sims // numbers))))


class Place(NamedTuple):
    """Where an array lies in `Rows`.

    Attributes:
        kind: np.float32 or np.int32, which of the two arrays of rows it is in.
        row: its first row.
        shape: of the array, without the rows' width.
        dtype: of the array.
    """

    kind: type
    row: int
    shape: tuple[int, ...]
    dtype: Any


class AgentPlace(NamedTuple):
    """Where a number for each agent lies among the blocks that are the same for all simulations.

    Attributes:
        row: its first row.
        shape: of the array.
        axis: of the array, over agents.
    """

    row: int
    shape: tuple[int, ...]
    axis: int


def agent_axis(array: tuple[int, ...], agents: int, dims: int, shape: Shape) -> int | None:
    """The axis of an array that is as long as there are agents, if it has one and that is no number of dimensions.

    Args:
        array: its shape.
        agents: of one simulation.
        dims: of one agent.
        shape: how simulations are laid out.

    Returns:
        The axis; None too where agents are unrolled, and where several axes are as long.
    """
    if shape.unrolled or agents == dims or array.count(agents) != 1:
        return None
    return array.index(agents)


class Rows:
    """Arrays of numbers of 32 bits, packed into the rows of one array of float32 and of one of int32.

    Args:
        width: shape of a row.
    """

    def __init__(self, width: tuple[int, ...]):
        self.width = width
        self._count: dict[type, int] = {np.float32: 0, np.int32: 0}
        self._parts: dict[type, list[Array]] = {np.float32: [], np.int32: []}

    def add(self, array: Array | jax.ShapeDtypeStruct) -> Place:
        """Pack an array, or only make its place if it is a shape.

        Args:
            array: (..., *width), of float32, int32, uint32 or bool.

        Returns:
            Its place.

        Raises:
            Unsupported: for numbers of another type, or more than `MAX_CELLS` rows.
        """
        shape, dtype = array.shape[: len(array.shape) - len(self.width)], array.dtype
        if dtype not in (np.float32, np.int32, np.uint32, np.bool_):
            raise Unsupported(f"numbers of type {dtype}")
        if math.prod(shape) > MAX_CELLS:
            raise Unsupported(f"an array of {math.prod(shape)} numbers, {MAX_CELLS} at most")
        kind = np.float32 if dtype == np.float32 else np.int32
        if not isinstance(array, jax.ShapeDtypeStruct):
            bits = lax.bitcast_convert_type(array, np.int32) if dtype == np.uint32 else array.astype(kind)
            self._parts[kind].append(bits.reshape(-1, *self.width))
        place = Place(kind, self._count[kind], shape, dtype)
        self._count[kind] += math.prod(shape)
        return place

    def packed(self, kind: type) -> Array:
        """All rows of a kind.

        Args:
            kind: np.float32 or np.int32.

        Returns:
            (rows, *width); one row of zeros if there are none.
        """
        rows = self._parts[kind]
        return jnp.concatenate(rows) if rows else jnp.zeros((1, *self.width), kind)


def take(place: Place, read: Callable[[type, int], Any]) -> Value:
    """The value that was packed at a place.

    Args:
        place: from `Rows.add`.
        read: read(kind, row) gives a row's cell.

    Returns:
        The value, of its own type.
    """
    cells = [read(place.kind, row) for row in range(place.row, place.row + math.prod(place.shape))]
    if place.dtype == np.uint32:
        cells = [lax.convert_element_type(c, np.uint32) for c in cells]  # wraps, which keeps the bits
    elif place.dtype == np.bool_:
        cells = [c != np.int32(0) for c in cells]
    return Value(place.shape, None, cells_of(cells, (*place.shape, 1, 1)))


def over_places(x: Array, shape: Shape) -> Array:
    """Agents over the places of tiles, for simulations that are not unrolled.

    Args:
        x: (agents, cells, ...).
        shape: how simulations are laid out.

    Returns:
        (cells, tiles, parity, ..., places), with zeros where there is no agent.
    """
    x = jnp.pad(x, [(0, 2 * shape.tiles * shape.places - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
    x = x.reshape(shape.tiles, shape.places, 2, *x.shape[1:])
    return jnp.moveaxis(jnp.moveaxis(x, 3, 0), 2, -1)


def to_blocks(x: Array, shape: Shape, lanes: int) -> Array:
    """An array over agents as blocks of the kernel.

    Args:
        x: (agents, dims, lanes).
        shape: how simulations are laid out.
        lanes: to which it is filled up with zeros.

    Returns:
        (cells, simulations, places) or, unrolled, (cells, rows of simulations, places).
    """
    agents, dims, count = x.shape
    x = jnp.pad(x, ((0, 0), (0, 0), (0, lanes - count)))
    if shape.unrolled:
        return x.reshape(agents * dims, lanes // shape.places, shape.places)
    return over_places(x, shape).reshape(-1, lanes, shape.places)


def from_blocks(blocks: Array, shape: Shape, like: Array) -> Array:
    """An array over agents from what `to_blocks` makes of it.

    Args:
        blocks: of the kernel.
        shape: how simulations are laid out.
        like: of the result's shape.

    Returns:
        (agents, dims, lanes).
    """
    agents, dims, count = like.shape
    if shape.unrolled:
        return blocks.reshape(agents, dims, -1)[..., :count]
    x = blocks.reshape(dims, shape.tiles, 2, -1, shape.places).transpose(1, 4, 2, 0, 3)
    return x.reshape(-1, dims, x.shape[-1])[:agents, :, :count]
