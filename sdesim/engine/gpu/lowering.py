"""The program of one simulation, evaluated on cells: a rule, a law or a loss is never written twice."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import Literal, Primitive
from numpy.typing import DTypeLike

from sdesim.engine.gpu import primitives
from sdesim.engine.gpu.cells import COMBINE, FILL, REDUCE, Machine, Number, Unsupported, Value, cells_of, constant
from sdesim.engine.gpu.program import Step

_IDENTITIES = frozenset(("copy", "copy_p", "optimization_barrier", "stop_gradient"))


def evaluate(machine: Machine, step: Step, inputs: dict[Any, Value]) -> list[Value]:
    """The program's outputs.

    Args:
        machine: a block of the kernel.
        step: the program.
        inputs: by variable, values of the state's inputs and of `shared`, `clock` and `own`.

    Returns:
        The values, one for each leaf of the state.

    Raises:
        Unsupported: for what a kernel cannot do.
    """
    values = dict(inputs)

    def read(v: Any) -> Value:
        return constant(v.val) if isinstance(v, Literal) else values[v]

    for eqn in step.inner:
        operands = [read(v) for v in eqn.invars]
        if eqn.primitive.name == "split":
            outputs = _split(operands[0], eqn.params["sizes"], eqn.params["axis"])
        elif eqn.primitive.name in _IDENTITIES:
            outputs = operands
        else:
            outputs = [_equation(machine, eqn, operands)]
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(v) for v in step.jaxpr.outvars]


def _equation(machine: Machine, eqn: Any, inputs: list[Value]) -> Value:
    name, params, aval = eqn.primitive.name, eqn.params, eqn.outvars[0].aval
    if len(eqn.outvars) > 1:
        raise Unsupported(f"the primitive {name}")
    if name in _RESHAPING:
        return _RESHAPING[name](inputs, params, aval.shape)
    if name == "iota":
        return _iota(machine, params)
    if name in COMBINE:
        return _reduce(machine, name, inputs[0], params["axes"], aval.dtype)
    if name == "cumsum":
        return _cumulative(machine, inputs[0], params["axis"], params["reverse"], aval.dtype)
    if name == "dynamic_slice":
        return _dynamic_slice(machine, inputs[0], inputs[1:], params["slice_sizes"], aval)
    if name == "dynamic_update_slice":
        return _dynamic_update(machine, inputs[0], inputs[1], inputs[2:], aval)
    if name == "dot_general":
        return _dot(machine, inputs, params["dimension_numbers"], aval.dtype)
    return _elementwise(machine, eqn.primitive, params, inputs, aval)


def _elementwise(
    machine: Machine, primitive: Primitive, params: dict[str, Any], inputs: list[Value], aval: Any
) -> Value:
    rank, known = len(aval.shape), primitive.name in primitives.NATIVE or primitive.name in primitives.RULES
    # Axes of length 1 stand for all; so do scalars.
    fits = lambda shape: (
        not shape or (len(shape) == rank and all(n in (1, m) for n, m in zip(shape, aval.shape, strict=True)))
    )
    if not known or not all(fits(v.shape) for v in inputs):
        raise Unsupported(f"the primitive {primitive.name}")
    inside = _inside(inputs)
    operands = [v.cells.reshape((1,) * (rank - len(v.shape)) + v.cells.shape) for v in inputs]
    lengths = np.broadcast_shapes(*(o.shape for o in operands))
    for field, axis in inside.items():
        if lengths[axis] > 1:
            raise Unsupported(f"numbers that differ between {field}s")
    whole = [np.broadcast_to(o, lengths) for o in operands]
    cells = [machine.bind(primitive, params, [o[i] for o in whole], aval.dtype) for i in np.ndindex(lengths)]
    return Value(aval.shape, cells_of(cells, lengths), **inside)


def _inside(inputs: Sequence[Value]) -> dict[str, int]:
    """The axes inside the cells of values of one rank, by the field that has them.

    Of as many agents as coordinates, numbers of the agents' own are taken for the coordinates', and refused here.
    """
    inside: dict[str, int] = {}
    for field in ("agent", "coordinate"):
        axes = {getattr(v, field) for v in inputs} - {None}
        if len(axes) > 1:
            raise Unsupported(f"an array over {field}s twice")
        inside.update((field, axis) for axis in axes)
    if len(set(inside.values())) < len(inside):
        raise Unsupported("an array over agents beside one over as many coordinates")
    return inside


def _iota(machine: Machine, params: dict[str, Any]) -> Value:
    shape, axis, dtype = params["shape"], params["dimension"], params["dtype"]
    size, one = shape[axis], (1,) * len(shape)
    coordinates = machine.coordinates if size == machine.dims else None
    # Where there are as many agents as coordinates, an array of one axis is over these: wrong, it would be refused.
    if machine.pairs and axis == 0 and size == machine.agents and (coordinates is None or len(shape) > 1):
        # One array for the even and the odd agents, so that what comes of it is done once for both.
        pairs = [lax.convert_element_type(pair, dtype) for pair in machine.pairs]
        cells = [Number(pair, parity) for pair in pairs for parity in (0, 1)]
        return Value(shape, cells_of(cells, (*one, len(machine.pairs), 2)), agent=axis)
    if coordinates is not None:
        cell = lax.convert_element_type(coordinates, dtype)
        return Value(shape, cells_of([cell], (*one, 1, 1)), coordinate=axis)
    row = constant(np.arange(size, dtype=dtype))
    return _broadcast([row], {"broadcast_dimensions": (axis,)}, shape)


def _reduce(machine: Machine, name: str, value: Value, axes: Sequence[int], dtype: DTypeLike) -> Value:
    axes = list(axes)
    if value.agent is not None and value.agent in axes:
        at = value.agent
        if name not in REDUCE:
            raise Unsupported(f"the primitive {name} over agents")
        outer = value.cells.shape[:-2]
        totals = [machine.total(name, value.cells[i], FILL[name], dtype) for i in np.ndindex(outer)]
        value = _without(value, at, cells_of(totals, (*outer[:at], *outer[at + 1 :], 1, 1)))
        axes = [a - (a > at) for a in axes if a != at]
    for axis in sorted(axes, reverse=True):
        value = _fold(machine, name, value, axis, dtype)
    return value


def _without(value: Value, axis: int, cells: np.ndarray) -> Value:
    """What is left of a value of which an axis has been reduced."""
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    kept = value._replace(**{f: None for f in ("agent", "coordinate") if getattr(value, f) == axis})
    return Value(shape, cells, **kept.moved(lambda a: a - (a > axis)))


def _fold(machine: Machine, name: str, value: Value, axis: int, dtype: DTypeLike) -> Value:
    """A reduction over one axis of cells, or over the coordinates inside them."""
    if axis == value.coordinate:
        if name not in REDUCE:
            raise Unsupported(f"the primitive {name} over coordinates")
        cells = np.take(value.cells, 0, axis)
        totals = [machine.total_of_coordinates(name, cell, FILL[name], dtype) for cell in cells.ravel()]
        return _without(value, axis, cells_of(totals, cells.shape))
    combine = COMBINE[name]
    parts = [np.take(value.cells, i, axis) for i in range(value.cells.shape[axis])]
    shape = parts[0].shape
    whole = list(parts[0].ravel())
    for part in parts[1:]:
        whole = [machine.bind(combine, {}, [a, b], dtype) for a, b in zip(whole, part.ravel(), strict=True)]
    if name == "reduce_sum" and len(parts) < value.shape[axis]:  # one cell stands for all
        count = np.asarray(value.shape[axis], dtype)[()]
        whole = [machine.bind(lax.mul_p, {}, [a, count], dtype) for a in whole]
    elif name == "reduce_prod" and len(parts) < value.shape[axis]:
        raise Unsupported("the product of a number by itself along an axis")
    return _without(value, axis, cells_of(whole, shape))


def _cumulative(machine: Machine, value: Value, axis: int, reverse: bool, dtype: DTypeLike) -> Value:
    if axis in value.inside:
        raise Unsupported(f"a cumulative sum over {value.inside[axis]}")
    parts = list(np.moveaxis(value.full(), axis, 0))[:: -1 if reverse else 1]
    sums = [parts[0]]
    for part in parts[1:]:
        sums.append(_each(lambda a, b: machine.bind(lax.add_p, {}, [a, b], dtype), [sums[-1], part]))
    return value._replace(cells=np.stack(sums[:: -1 if reverse else 1], axis))


def _dot(machine: Machine, inputs: list[Value], dimension_numbers: tuple, dtype: DTypeLike) -> Value:
    """The product of every pair of cells that meet, summed."""
    contracting, batch = dimension_numbers
    free = [
        [a for a in range(len(v.shape)) if a not in c and a not in b]
        for v, c, b in zip(inputs, contracting, batch, strict=True)
    ]
    sizes = [inputs[0].shape[a] for a in batch[0]] + [v.shape[a] for v, f in zip(inputs, free, strict=True) for a in f]
    sizes += [inputs[0].shape[a] for a in contracting[0]]
    start = (len(batch[0]), len(batch[0]) + len(free[0]))
    last = range(len(sizes) - len(contracting[0]), len(sizes))
    factors = []
    for v, c, b, f, at in zip(inputs, contracting, batch, free, start, strict=True):
        turned = _transpose([v], {"permutation": (*b, *f, *c)}, ())
        places = (*range(len(b)), *range(at, at + len(f)), *last)
        factors.append(_broadcast([turned], {"broadcast_dimensions": places}, tuple(sizes)))
    product = _elementwise(machine, lax.mul_p, {}, factors, jax.ShapeDtypeStruct(tuple(sizes), dtype))
    return _reduce(machine, "reduce_sum", product, last, dtype)


def _broadcast(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    value, places = inputs[0], params["broadcast_dimensions"]
    lengths = [1] * len(shape)
    for axis, place in enumerate(places):
        lengths[place] = value.cells.shape[axis]
    cells = value.cells.reshape(*lengths, *value.cells.shape[-2:])
    return Value(tuple(shape), cells, **value.moved(places.__getitem__))


def _transpose(inputs: list[Value], params: dict[str, Any], _: tuple[int, ...]) -> Value:
    value, order = inputs[0], tuple(params["permutation"])
    rank = len(order)
    cells = value.cells.transpose((*order, rank, rank + 1))
    return Value(tuple(value.shape[a] for a in order), cells, **value.moved(order.index))


def _reshape(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    value, shape = inputs[0], tuple(shape)
    if params.get("dimensions") is not None:
        raise Unsupported("the primitive reshape with an order of axes")
    longer = [[a for a, n in enumerate(lengths) if n != 1] for lengths in (value.shape, shape)]
    if [value.shape[a] for a in longer[0]] == [shape[a] for a in longer[1]]:  # axes of length 1 come and go
        places = dict(zip(*longer, strict=True))
        lengths = [1] * len(shape)
        for old, new in places.items():
            lengths[new] = value.cells.shape[old]
        cells = value.cells.reshape(*lengths, *value.cells.shape[-2:])
        return Value(shape, cells, **value.moved(places.__getitem__))
    places = {}
    for axis, kind in value.inside.items():
        before, long = math.prod(value.shape[:axis]), value.shape[axis]
        fits = [a for a, n in enumerate(shape) if n == long and math.prod(shape[:a]) == before]
        if not fits:
            raise Unsupported(f"a reshape across {kind}")
        places[axis] = fits[0]
    lengths = [1 if a in places.values() else n for a, n in enumerate(shape)]
    cells = value.full()
    return Value(shape, cells.reshape(*lengths, *cells.shape[-2:]), **value.moved(places.__getitem__))


def _squeeze(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    return _reshape(inputs, {}, shape)


def _slice(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    strides = params["strides"] or (1,) * len(shape)
    cells = value.cells
    for axis, cut in enumerate(zip(params["start_indices"], params["limit_indices"], strides, strict=True)):
        if axis in value.inside:
            if cut != (0, value.shape[axis], 1):
                raise Unsupported(f"a slice of the {value.inside[axis]}")
        elif cells.shape[axis] > 1:
            cells = cells[(slice(None),) * axis + (slice(*cut),)]
    return value._replace(shape=tuple(shape), cells=cells)


def _dynamic_slice(machine: Machine, value: Value, starts: list[Value], sizes: Sequence[int], aval: Any) -> Value:
    """Some places of an axis from a computed one on: for each, of all that it may be, the one that it is."""
    axis = _computed(value, sizes)
    if axis is None:
        return value
    start, last = starts[axis].cells.item(), value.shape[axis] - sizes[axis]
    old = np.moveaxis(value.full(), axis, 0)
    # A start beyond an end is that end, as XLA has it: the last of those that it is not below.
    not_below = [machine.bind(lax.ge_p, {}, [start, _like(start, o)], np.bool_) for o in range(1, last + 1)]

    def picked(*cells: Any) -> Any:
        choose = lambda found, more: machine.bind(lax.select_n_p, {}, [more[0], found, more[1]], aval.dtype)
        return functools.reduce(choose, zip(not_below, cells[1:], strict=True), cells[0])

    new = [_each(picked, list(old[i : i + last + 1])) for i in range(sizes[axis])]
    return value._replace(shape=tuple(aval.shape), cells=np.moveaxis(np.stack(new), 0, axis))


def _dynamic_update(machine: Machine, value: Value, new: Value, starts: list[Value], aval: Any) -> Value:
    """An array of which some places of an axis, from a computed one on, are new."""
    inside, axis = _inside([value, new]), _computed(value, new.shape)
    if axis is None:
        return new
    start, size, last = starts[axis].cells.item(), new.shape[axis], value.shape[axis] - new.shape[axis]
    # A start beyond an end is that end.
    test = lambda o: lax.le_p if o == 0 else lax.ge_p if o == last else lax.eq_p
    begins = [machine.bind(test(o), {}, [start, _like(start, o)], np.bool_) for o in range(last + 1)]
    copies = np.broadcast_shapes(value.cells.shape[-2:], new.cells.shape[-2:])

    def whole(v: Value) -> np.ndarray:
        full = v._replace(**inside).full()
        return np.moveaxis(np.broadcast_to(full, (*full.shape[:-2], *copies)), axis, 0)

    cells, given = list(whole(value)), whole(new)
    for o, here in enumerate(begins):
        for i in range(size):
            put = lambda old, new, here=here: machine.bind(lax.select_n_p, {}, [here, old, new], aval.dtype)
            cells[o + i] = _each(put, [cells[o + i], given[i]])
    return Value(tuple(aval.shape), np.moveaxis(np.stack(cells), 0, axis), **inside)


def _computed(value: Value, sizes: Sequence[int]) -> int | None:
    """The axis of which a part is taken from a computed place on; None if all of all axes is."""
    axes = [axis for axis, (n, size) in enumerate(zip(value.shape, sizes, strict=True)) if size < n]
    if len(axes) > 1 or (axes and axes[0] in value.inside):
        raise Unsupported("a part that begins at a computed place of more than one axis, or of agents or coordinates")
    return axes[0] if axes else None


def _like(cell: Any, number: int) -> Any:
    """A number of a cell's type."""
    return np.asarray(number, cell.dtype)[()]


def _each(fn: Callable[..., Any], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """A function of the cells at each place of some arrays of cells."""
    flat = [fn(*cells) for cells in zip(*(a.ravel() for a in arrays), strict=True)]
    return cells_of(flat, arrays[0].shape)


def _split(value: Value, sizes: Sequence[int], axis: int) -> list[Value]:
    starts = np.cumsum([0, *sizes])
    out = []
    for start, size in zip(starts, sizes, strict=False):
        shape = tuple(size if a == axis else n for a, n in enumerate(value.shape))
        first = [start if a == axis else 0 for a in range(len(shape))]
        last = [f + n for f, n in zip(first, shape, strict=True)]
        out.append(_slice([value], dict(start_indices=first, limit_indices=last, strides=None), shape))
    return out


def _pad(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    value, fill = inputs
    config = params["padding_config"]
    if any(low < 0 or high < 0 for low, high, _ in config):
        raise Unsupported("a pad that cuts")
    for axis, kind in value.inside.items():
        if config[axis] != (0, 0, 0):
            raise Unsupported(f"a pad of the {kind}")
    inner = value.full()
    lengths = [1 if a in value.inside else n for a, n in enumerate(shape)]
    cells = np.empty((*lengths, *inner.shape[-2:]), object)
    for index in np.ndindex(cells.shape):
        cells[index] = fill.cells[0, 0]
    stops = [low + (n - 1) * (gap + 1) + 1 for n, (low, _, gap) in zip(inner.shape, config, strict=False)]
    cells[tuple(slice(c[0], stop, c[2] + 1) for c, stop in zip(config, stops, strict=True))] = inner
    return value._replace(shape=tuple(shape), cells=cells)


def _rev(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    value = inputs[0]
    for axis in params["dimensions"]:
        if axis in value.inside:
            raise Unsupported(f"the {value.inside[axis]} in reverse")
    return value._replace(cells=np.flip(value.cells, params["dimensions"]))


def _concatenate(inputs: list[Value], params: dict[str, Any], shape: tuple[int, ...]) -> Value:
    axis, inside = params["dimension"], _inside(inputs)
    copies = np.broadcast_shapes(*(v.cells.shape[-2:] for v in inputs))
    parts = []
    for v in inputs:
        for field, at in inside.items():
            if at == axis:
                raise Unsupported(f"a concatenation of {field}s")
            if v.cells.shape[at] > 1:
                raise Unsupported(f"numbers that differ between {field}s")
        lengths = [1 if a in inside.values() else n for a, n in enumerate(v.shape)]
        parts.append(np.broadcast_to(v.cells, (*lengths, *copies)))
    cells = np.concatenate(parts, axis)
    return Value(tuple(shape), cells, **inside)


_RESHAPING: dict[str, Callable[[list[Value], Any, tuple[int, ...]], Value]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
