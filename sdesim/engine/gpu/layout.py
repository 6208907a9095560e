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

UNROLLED = 8  # numbers of a simulation's positions, or of an agent's, that are all cells of their own
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
        width: of a block along the coordinates, or 1 where they are unrolled.
    """

    sims: int
    places: int
    tiles: int
    unrolled: bool
    warps: int
    width: int = 1

    @property
    def block(self) -> tuple[int, ...]:
        """The shape of a block."""
        return (self.sims, self.places) if self.width == 1 else (self.sims, self.places, self.width)

    @property
    def lanes(self) -> int:
        """Simulations of a block."""
        return self.sims * self.places if self.unrolled else self.sims

    def numbers(self, agents: int, dims: int) -> int:
        """Of an array over agents and coordinates, the numbers that a thread holds.

        Args:
            agents: of one simulation.
            dims: of one agent.
        """
        cells = (agents if self.unrolled else self.tiles * _parities(agents)) * (dims if self.width == 1 else 1)
        return math.ceil(cells * math.prod(self.block) / (WARP * self.warps))


def _parities(agents: int) -> int:
    """Copies of a place: an even and an odd agent, but of one that is alone."""
    return min(agents, 2)


def shape_of(agents: int, dims: int, backend: Backend, lanes: int, past: int = 0) -> Shape:
    """A layout of few idle places; of up to `THREAD_NUMBERS` numbers a thread, if the lanes still fill a GPU then.

    Of half as many where coordinates lie along the block, and of a share where earlier states are kept.

    Args:
        agents: of one simulation.
        dims: of one agent.
        backend: "mosaic" or "triton".
        lanes: of the run.
        past: how many earlier states are kept.

    Returns:
        The layout.
    """
    fill = 1 << max(0, (lanes // FILL).bit_length() - 1)  # lanes that a warp may take
    each = max(1, THREAD_NUMBERS >> past.bit_length())  # numbers of a thread, a power of two
    width = 1 if dims <= UNROLLED else pl.next_power_of_2(dims)
    if width == 1 and (agents == 1 or agents * dims <= UNROLLED):
        most = max(1, each // pl.next_power_of_2(agents * dims))
        count = min(most, max(1, fill // WARP))
        return Shape(4, WARP * count, 1, True, 4) if backend == "mosaic" else Shape(1, WARP * count, 1, True, 1)
    pairs = (agents + 1) // 2
    if backend == "mosaic":  # four warps, each a simulation
        return Shape(4, math.ceil(pairs / WARP) * WARP, 1, False, 4)
    # Triton wants powers of two: several tiles waste less than one. The largest of the best is the least code.
    tilings = [(tiles, pl.next_power_of_2(math.ceil(pairs / tiles))) for tiles in range(1, MAX_TILES + 1)]
    tiles, places = min(tilings, key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
    # Sums over coordinates are of several warps, which wait for each other: more of them, of half the registers each.
    numbers, most = (WARP * each, 8) if width == 1 else (WARP * max(1, each // 2), 16)  # of a warp
    one = _parities(agents) * tiles * places * (dims if width == 1 else width)
    sims = min(fill, max(1, numbers // pl.next_power_of_2(one)))
    return Shape(sims, places, tiles, False, min(most, max(1, pl.next_power_of_2(one * sims // numbers))), width)


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


class BlockPlace(NamedTuple):
    """Where an array with axes inside the cells lies among the blocks of its kind.

    Attributes:
        row: its first one.
        shape: of the array.
        agent: its axis over agents inside the cells, or None.
        coordinate: its axis over coordinates inside the cells, or None.
    """

    row: int
    shape: tuple[int, ...]
    agent: int | None
    coordinate: int | None

    def grid(self, shape: Shape) -> tuple[int, ...]:
        """The lengths of the cells: the array's but for the axes inside them, and the copies of agents' cells.

        Args:
            shape: how simulations are laid out.
        """
        inside = (self.agent, self.coordinate)
        copies = (1, 1) if self.agent is None else (shape.tiles, 2)
        return (*(1 if axis in inside else n for axis, n in enumerate(self.shape)), *copies)

    def cells(self, shape: Shape) -> int:
        """How many cells there are.

        Args:
            shape: how simulations are laid out.
        """
        return math.prod(self.grid(shape))

    def value(self, shape: Shape, load: Callable[[int], Any]) -> Value:
        """The value that lies there.

        Args:
            shape: how simulations are laid out.
            load: load(row) gives a block.

        Returns:
            The value.
        """
        grid = self.grid(shape)
        cells = [load(self.row + i) for i in range(math.prod(grid))]
        return Value(self.shape, cells_of(cells, grid), self.agent, self.coordinate)


def block_place(
    blocks: list[Array], array: tuple[int, ...], new: Array, agent: int | None, coordinate: int | None
) -> BlockPlace:
    """Add the blocks of an array to those of its kind.

    Args:
        blocks: those that are there, (cells, ...) each; the new ones are appended.
        array: the array's shape.
        new: its blocks.
        agent: its axis over agents inside the cells, or None.
        coordinate: its axis over coordinates inside the cells, or None.

    Returns:
        Their place.

    Raises:
        Unsupported: for more than `MAX_CELLS` numbers of an agent or a coordinate.
    """
    inside = [axis for axis in (agent, coordinate) if axis is not None]
    numbers = math.prod(n for axis, n in enumerate(array) if axis not in inside)
    if numbers > MAX_CELLS:
        over = "coordinate" if agent is None else "agent"
        raise Unsupported(f"an array of {numbers} {over}s' numbers, {MAX_CELLS} at most")
    place = BlockPlace(sum(map(len, blocks)), array, agent, coordinate)
    blocks.append(new)
    return place


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
    if shape.unrolled or agents in (1, dims) or array.count(agents) != 1:
        return None
    return array.index(agents)


def coordinate_axis(array: tuple[int, ...], dims: int, shape: Shape) -> int | None:
    """The axis of an array that is as long as there are dimensions, if it has one.

    Of agents, if there are as many, the program refuses to take it for them.

    Args:
        array: its shape.
        dims: of one agent.
        shape: how simulations are laid out.

    Returns:
        The axis; None too where coordinates are unrolled, and where several axes are as long.
    """
    return array.index(dims) if shape.width > 1 and array.count(dims) == 1 else None


def axes_inside(array: tuple[int, ...], agents: int, dims: int, shape: Shape) -> tuple[int | None, int | None]:
    """The axes of an array of the state that lie inside the cells.

    Args:
        array: its shape.
        agents: of one simulation.
        dims: of one agent.
        shape: how simulations are laid out.

    Returns:
        That over agents, and that over coordinates; None for none.
    """
    if array[-2:] == (agents, dims) and not shape.unrolled:  # whichever is as long as another
        return len(array) - 2 if agents > 1 else None, len(array) - 1 if shape.width > 1 else None
    return agent_axis(array, agents, dims, shape), coordinate_axis(array, dims, shape)


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
    return Value(place.shape, cells_of(cells, (*place.shape, 1, 1)))


def to_lanes(x: Array, lanes: int) -> Array:
    """An array filled up with zeros.

    Args:
        x: (..., lanes), of fewer.
        lanes: how many there are then.

    Returns:
        (..., lanes).
    """
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, lanes - x.shape[-1])])


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


def over_coordinates(x: Array, axis: int, shape: Shape) -> Array:
    """Coordinates along a block's last axis.

    Args:
        x: an array over coordinates.
        axis: that of the coordinates.
        shape: how simulations are laid out.

    Returns:
        The same with that axis last, filled up with zeros.
    """
    x = jnp.moveaxis(x, axis, -1)
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, shape.width - x.shape[-1])])


def to_blocks(x: Array, shape: Shape, lanes: int) -> Array:
    """An array over several agents as blocks of the kernel, where they are not unrolled.

    Args:
        x: (agents, dims, lanes).
        shape: how simulations are laid out.
        lanes: to which it is filled up with zeros.

    Returns:
        (cells, simulations, places), with an axis more for coordinates that are not unrolled.
    """
    x = to_lanes(x, lanes)
    if shape.width == 1:
        return over_places(x, shape).reshape(-1, lanes, shape.places)
    x = over_places(over_coordinates(x, 1, shape)[:, None], shape)
    return jnp.swapaxes(x, -1, -2).reshape(-1, lanes, shape.places, shape.width)


def from_blocks(blocks: Array, shape: Shape, like: tuple[int, int, int]) -> Array:
    """An array over agents from what `to_blocks` makes of it.

    Args:
        blocks: of the kernel.
        shape: how simulations are laid out.
        like: the result's shape, (agents, dims, lanes).

    Returns:
        (agents, dims, lanes).
    """
    agents, dims, count = like
    if shape.width == 1:
        x = blocks.reshape(dims, shape.tiles, 2, -1, shape.places).transpose(1, 4, 2, 0, 3)
    else:
        x = blocks.reshape(shape.tiles, 2, -1, shape.places, shape.width).transpose(0, 3, 1, 4, 2)
    return x.reshape(-1, *x.shape[-2:])[:agents, :dims, :count]
