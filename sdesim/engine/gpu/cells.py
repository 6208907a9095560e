"""Values of a program inside the kernel, and what can be done to them.

A *cell* is a number (NumPy), a scalar of the kernel, a value a simulation, or a block of values for many agents of many
simulations. Up to `layout.UNROLLED` coordinates are unrolled into cells of their own. More lie along a third axis of
the block, and a cell may then be of length 1 along the agents or along the coordinates: one value for all of them.

Agents 2i and 2i + 1, which share a word pair, are two cells of the same place. What their words have in
common is then one and the same operation on one and the same cell, and `Machine.bind` does it once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from numpy.typing import ArrayLike, DTypeLike

from sdesim.engine.gpu import primitives
from sdesim.tracing import bind

MAX_CELLS = 64  # numbers of one array that are unrolled


class Unsupported(Exception):
    """What a kernel cannot do, in one line."""


class Value(NamedTuple):
    """An array of one simulation, as cells.

    Attributes:
        shape: of the array.
        cells: an array of cells, of the array's axes, each of its length, or of length 1 where all cells are the same
            or the axis is inside the cells; then two more axes for the copies of the agents' cells: tiles, and even and
            odd agents.
        agent: its axis that runs over agents, inside the cells, or None.
        coordinate: its axis that runs over coordinates, inside the cells, or None.
    """

    shape: tuple[int, ...]
    cells: np.ndarray
    agent: int | None = None
    coordinate: int | None = None

    @property
    def inside(self) -> dict[int, str]:
        """The axes inside the cells, and what they run over."""
        axes = {self.agent: "agents", self.coordinate: "coordinates"}
        return {axis: kind for axis, kind in axes.items() if axis is not None}

    def moved(self, to: Callable[[int], int]) -> dict[str, int | None]:
        """The axes inside the cells where they have moved.

        Args:
            to: to(axis) is where an axis is now.

        Returns:
            The fields `agent` and `coordinate`.
        """
        of = lambda axis: None if axis is None else to(axis)
        return dict(agent=of(self.agent), coordinate=of(self.coordinate))

    def full(self) -> np.ndarray:
        """The cells with every axis of its length, other than those inside them."""
        lengths = [1 if axis in self.inside else n for axis, n in enumerate(self.shape)]
        return np.broadcast_to(self.cells, (*lengths, *self.cells.shape[-2:]))


def cells_of(flat: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An array of objects, which NumPy must not look into.

    Args:
        flat: the objects, in C order.
        shape: of the array.

    Returns:
        The array, of dtype object.
    """
    cells = np.empty(len(flat), object)
    for i, cell in enumerate(flat):
        cells[i] = cell
    return cells.reshape(shape)


def constant(array: ArrayLike) -> Value:
    """An array that is written in the program.

    Args:
        array: of at most `MAX_CELLS` numbers.

    Returns:
        The value, each number a cell.

    Raises:
        Unsupported: for more numbers.
    """
    array = np.asarray(array)
    if array.size > MAX_CELLS:
        raise Unsupported(f"an array of {array.size} numbers, {MAX_CELLS} at most")
    cells = cells_of([array.dtype.type(n) for n in array.ravel()], (*array.shape, 1, 1))
    return Value(array.shape, cells)


class Number(NamedTuple):
    """The number of an agent, 2 pair + parity, before anything but its parts is asked for.

    Attributes:
        pair: the number of its pair, a block of integers.
        parity: 0 or 1.
    """

    pair: Any
    parity: int


class Machine:
    """A block of the kernel, and what can be done to cells.

    Args:
        shape: of a block: simulations, places, and coordinates where those are not unrolled.
        agents: their number.
        dims: coordinates of an agent.
        pairs: for each tile, the numbers of its agent pairs as a block of int32; empty where agents are unrolled.
        coordinates: the numbers of the block's coordinates, as a block of int32; None where they are unrolled.
        pin: pin(array) is the array in the layout that the backend wants of its rank.
        hold: hold(array) is the array, and for the compiler a thing it must not look into, where it would fold
            constants.
        exact: sines and cosines of the backend in place of polynomials.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        agents: int,
        dims: int,
        pairs: list,
        coordinates: Any,
        pin: Callable,
        hold: Callable,
        exact: bool = False,
    ):
        self.shape, self.agents, self.dims, self.pairs, self.coordinates = shape, agents, dims, pairs, coordinates
        self.pin, self.hold = pin, hold
        self.rules = primitives.EXACT if exact else primitives.RULES
        self._products: dict[int, tuple] = {}  # by the id of an array: the factor and the array it is a product of
        self._done: dict[Any, Any] = {}
        self._kept: list = []  # keys hold ids: what they are the ids of must stay alive

    def widen(self, cell: Any, extent: tuple[int, ...]) -> Any:
        """A cell as an array.

        Args:
            cell: of lengths that fit.
            extent: () for a scalar, (simulations,), or the lengths along the block's axes.

        Returns:
            The array, or the cell itself if it has that extent.
        """
        if isinstance(cell, Number):
            cell = cell.pair * np.asarray(2, cell.pair.dtype)[()] + np.asarray(cell.parity, cell.pair.dtype)[()]
        if np.shape(cell) == extent:
            return cell
        axes = tuple(range(np.ndim(cell)))
        return self._once(("widen", extent), (cell,), lambda: self.pin(lax.broadcast_in_dim(cell, extent, axes)))

    def extent(self, cells: Sequence[Any]) -> tuple[int, ...]:
        """The extent that cells have together.

        Args:
            cells: one or more.
        """
        extents = [_extent(cell) for cell in cells]
        if max(map(len, extents)) < 2:
            return max(extents, key=len)
        return np.broadcast_shapes(*map(self._along_block, extents))

    def _along_block(self, extent: tuple[int, ...]) -> tuple[int, ...]:
        """An extent as lengths along the block's axes."""
        return extent + (1,) * (len(self.shape) - len(extent)) if extent else extent

    def _once(self, what: Any, cells: Sequence[Any], make: Callable[[], Any]):
        """make(), or what it made before of the same cells."""
        name = lambda c: (c.dtype.name, c.tobytes()) if isinstance(c, np.generic) else id(c)
        key = (what, *map(name, cells))
        if key not in self._done:
            self._kept.extend(cells)
            self._done[key] = make()
        return self._done[key]

    def bind(self, primitive: Primitive, params: dict, cells: Sequence[Any], dtype: DTypeLike) -> Any:
        """An elementwise operation on cells.

        Args:
            primitive: the operation.
            params: of the primitive.
            cells: its operands.
            dtype: of the result.

        Returns:
            The cell, the same one for the same operation on the same cells.
        """
        name = primitive.name
        first, last = cells[0], cells[-1]
        if isinstance(first, Number) and isinstance(last, np.generic) and int(last) == 1:
            if name == "shift_right_logical":
                return first.pair
            if name == "and":
                return np.asarray(first.parity, dtype)[()]
        if isinstance(first, Number) and name == "convert_element_type" and np.issubdtype(dtype, np.integer):
            pair = self.bind(primitive, params, [first.pair], dtype)
            return Number(pair, first.parity)
        if name == "select_n" and isinstance(first, np.generic):
            return cells[1 + int(first)]
        what = (name, str(sorted(params.items(), key=lambda item: item[0])))
        return self._once(what, cells, lambda: self._apply(primitive, params, cells, dtype))

    def _apply(self, primitive: Primitive, params: dict, cells: Sequence[Any], dtype: DTypeLike):
        name = primitive.name
        if all(isinstance(c, np.generic) for c in cells):
            with jax.ensure_compile_time_eval():
                return np.asarray(bind(primitive, list(cells), params)[0])[()]
        extent = self.extent(cells)
        if name == "div" and dtype == np.float32 and _extent(cells[1]) != extent:
            # One division for a simulation or for all in place of one for each agent.
            inverse = self.bind(lax.div_p, {}, [np.float32(1), cells[1]], dtype)
            return self.bind(lax.mul_p, {}, [cells[0], inverse], dtype)
        if name == "mul" and dtype == np.float32:
            return self._product(cells, extent)
        arrays = [self.widen(c, extent) for c in cells]
        if name in self.rules and (dtype == np.float32 or name == "is_finite"):
            return self.rules[name](self.hold, *arrays, **params)
        return bind(primitive, arrays, params)[0]

    def _product(self, cells: Sequence[Any], extent: tuple[int, ...]):
        """A product; factors that all agents share are multiplied with each other first, once for all."""
        factor, array = sorted(cells, key=lambda cell: (np.ndim(cell), np.size(cell)))
        if _extent(factor) == extent or _extent(array) != extent:
            return lax.mul(self.widen(factor, extent), self.widen(array, extent))
        if id(array) in self._products and self.extent([factor, self._products[id(array)][0]]) != extent:
            inner, array = self._products[id(array)]
            factor = self.bind(lax.mul_p, {}, [factor, inner], np.float32)
        product = lax.mul(self.widen(factor, extent), array)
        self._products[id(product)] = (factor, array)
        self._kept += [product, array]
        return product

    def total(self, name: str, value: np.ndarray, fill: float, dtype: DTypeLike) -> Any:
        """The sum, maximum or minimum over agents.

        Args:
            name: of the primitive, such as "reduce_sum".
            value: cells, (tiles, parity).
            fill: what a place without an agent counts as.
            dtype: of the cells.

        Returns:
            A value a simulation, or one for each of its coordinates.
        """
        copies = []
        for tile, pair in enumerate(self.pairs):
            for parity in (0, 1):
                cell = value[min(tile, value.shape[0] - 1), min(parity, value.shape[1] - 1)]
                count = (self.agents - parity + 1) // 2  # agents of this parity
                there = pair if (tile + 1) * self.shape[1] > count else None
                copies.append(self._along(1, cell, there, count, fill, dtype))
        whole = functools.reduce(lambda a, b: bind(COMBINE[name], [a, b], {})[0], copies)
        return self._reduced(name, whole, 1)

    def total_of_coordinates(self, name: str, cell: Any, fill: float, dtype: DTypeLike) -> Any:
        """The sum, maximum or minimum over the block's coordinates.

        Args:
            name: of the primitive, such as "reduce_sum".
            cell: what is added up.
            fill: what a place without a coordinate counts as.
            dtype: of the cell.

        Returns:
            A value a simulation, or one for each of its agents.
        """
        there = self.coordinates if self.shape[2] > self.dims else None
        make = lambda: self._reduced(name, self._along(2, cell, there, self.dims, fill, dtype), 2)
        return self._once(("total", name), (cell,), make)

    def _along(self, axis: int, cell: Any, number: Any, count: int, fill: float, dtype: DTypeLike):
        """A cell of the block's length along an axis, and `fill` in the places whose number is not below `count`."""
        least = tuple(n if a in (0, axis) else 1 for a, n in enumerate(self.shape))
        extent = np.broadcast_shapes(self._along_block(_extent(cell)), least)
        cell = self.widen(cell, extent)
        if number is None:
            return cell
        outside = self.widen(np.asarray(fill, dtype)[()], extent)
        return lax.select(self.widen(number < np.int32(count), extent), cell, outside)

    def _reduced(self, name: str, whole: Any, axis: int):
        """A block, reduced along one of its axes: a value a simulation if the others have one place."""
        extent = tuple(1 if a == axis else n for a, n in enumerate(whole.shape))
        reduced = self.pin(REDUCE[name](whole, axis))
        if all(n == 1 for n in extent[1:]):
            return lax.reshape(reduced, extent[:1]) if reduced.ndim > 1 else reduced
        kept = tuple(a for a in range(len(extent)) if a != axis)
        return lax.broadcast_in_dim(reduced, extent, kept)


def _extent(cell: Any) -> tuple[int, ...]:
    """The lengths of a cell."""
    return np.shape(cell.pair if isinstance(cell, Number) else cell)


COMBINE = {"reduce_sum": lax.add_p, "reduce_max": lax.max_p, "reduce_min": lax.min_p, "reduce_prod": lax.mul_p}
REDUCE = {
    "reduce_sum": lambda a, axis: lax.reduce_sum(a, (axis,)),
    "reduce_max": lambda a, axis: lax.reduce_max(a, (axis,)),
    "reduce_min": lambda a, axis: lax.reduce_min(a, (axis,)),
}
FILL = {"reduce_sum": 0, "reduce_max": -np.inf, "reduce_min": np.inf}
