"""One step of one simulation, as a program for a block of simulations in the registers of a GPU.

`trace` cuts the step function of the engine, at the shapes of one simulation, into what depends on the model's numbers
and the number of the step alone, computed outside, and the rest, which `evaluate` evaluates on *cells* in the kernel.
A cell is a number (NumPy), a scalar of the kernel, a value a simulation, or a block of values for many agents of many
simulations. Coordinates are unrolled into cells of their own, so that no array of the kernel has more axes than a
block, and a rule, a law or a loss is never written twice: the kernel runs the one definition that the CPU runs.

Agents 2i and 2i + 1, which share a block of random words, are two cells of the same place. What their words have in
common is then one and the same operation on one and the same cell, and `_Machine.bind` does it once.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal
from jax.interpreters import partial_eval as pe
from jaxtyping import Array, PyTree

from sdesim import primitives
from sdesim.vectorize import _INLINED, _bind

MAX_CELLS = 64  # numbers of one array that are unrolled
_STRUCTURAL = frozenset(("broadcast_in_dim", "iota"))


class Unsupported(Exception):
    """What a kernel cannot do, in one line."""


# -- the program -----------------------------------------------------------------------------------------------------


SHARED, CLOCK, OWN, STATE = 1, 2, 4, 8  # what a variable depends on, as bits


class Step(NamedTuple):
    """One step, cut into what runs outside the kernel and what runs in it.

    jaxpr: the whole, flat. needs: of each variable, what it depends on. inner: the equations that run in the kernel.
    shared, clock, own: the variables that those read and that are the same for all lanes, the same for all lanes at
    one step, and a lane's own at every step.
    """

    jaxpr: Any
    consts: list
    needs: dict
    inner: list
    shared: list
    clock: list
    own: list

    def outside(self, shared: Sequence[Array], own: Sequence[Array]) -> "Outside":
        """The program's part before the kernel, on the inputs that all lanes share and the lanes' own."""
        inputs = {n: [v for v in self.jaxpr.invars if self.needs[v] == n] for n in (SHARED, CLOCK, OWN)}
        common = dict(zip(self.jaxpr.constvars, self.consts, strict=True))
        common.update(zip(inputs[SHARED], shared, strict=True))
        self._run(common, (SHARED,))

        def of_lane(values):
            env = {**common, **dict(zip(inputs[OWN], values, strict=True))}
            self._run(env, (OWN, OWN | SHARED))
            return [env[v] for v in self.own]

        def of_step(number):
            env = {**common, inputs[CLOCK][0]: number}
            self._run(env, (CLOCK, CLOCK | SHARED))
            return [env[v] for v in self.clock]

        lanes = jax.vmap(of_lane, in_axes=-1, out_axes=-1)(list(own)) if self.own else []
        return Outside([common[v] for v in self.shared], lanes, jax.vmap(of_step, out_axes=-1))

    def _run(self, env: dict, needs: tuple[int, ...]) -> None:
        inner = set(map(id, self.inner))
        for eqn in self.jaxpr.eqns:
            if id(eqn) not in inner and self.needs[eqn.outvars[0]] in needs:
                values = [v.val if isinstance(v, Literal) else env[v] for v in eqn.invars]
                env.update(zip(eqn.outvars, _bind(eqn.primitive, values, eqn.params), strict=True))


class Outside(NamedTuple):
    """Values of `Step.shared`, of `Step.own` with lanes on the last axis, and the function from the numbers of steps
    to those of `Step.clock` with steps on the last axis."""

    shared: list[Array]
    own: list[Array]
    clock: Callable[[Array], list[Array]]


def _flat(jaxpr, consts, *args):
    """Evaluate a program with its calls inlined."""
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else env[v]
    for eqn in jaxpr.eqns:
        inner = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
        if eqn.primitive.name in _INLINED and inner is not None:
            inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            out = _flat(inner.jaxpr, inner.consts, *map(read, eqn.invars))
        else:
            out = _bind(eqn.primitive, list(map(read, eqn.invars)), eqn.params)
        env.update(zip(eqn.outvars, out, strict=True))
    return list(map(read, jaxpr.outvars))


def trace(fn: Callable[..., PyTree], shared: PyTree, own: PyTree, state: PyTree) -> Step:
    """The program of fn(shared, own, state, number of the step), for arguments of the shapes of one lane."""
    arguments = (shared, own, state, jax.ShapeDtypeStruct((), np.int32))
    closed = jax.make_jaxpr(lambda *a: jax.tree.leaves(fn(*a)))(*arguments)
    flat = jax.make_jaxpr(lambda *a: _flat(closed.jaxpr, closed.consts, *a))(*jax.tree.leaves(arguments))
    jaxpr, _ = pe.dce_jaxpr(flat.jaxpr, [True] * len(flat.jaxpr.outvars), instantiate=True)
    sizes = [len(jax.tree.leaves(part)) for part in arguments]
    bits = itertools.chain.from_iterable([n] * size for n, size in zip((SHARED, OWN, STATE, CLOCK), sizes, strict=True))
    needs: dict[Any, int] = dict(zip(jaxpr.invars, bits, strict=True))
    needs.update({v: SHARED for v in jaxpr.constvars})
    inner = []
    for eqn in jaxpr.eqns:
        of = functools.reduce(int.__or__, (needs[v] for v in eqn.invars if not isinstance(v, Literal)), 0)
        # Arrays over agents that are one number repeated stay inside, where they are still that one number.
        if of == 0 or of & STATE or (of & CLOCK and of & OWN) or eqn.primitive.name in _STRUCTURAL:
            of |= STATE
            inner.append(eqn)
        needs.update((v, of) for v in eqn.outvars)
    read = [v for eqn in inner for v in eqn.invars if not isinstance(v, Literal)]
    read += [v for v in jaxpr.outvars if not isinstance(v, Literal)]
    of = {v: needs[v] for v in dict.fromkeys(read)}
    shared_vars = [v for v, n in of.items() if n == SHARED]
    clock = [v for v, n in of.items() if n & CLOCK and not n & STATE]
    mine = [v for v, n in of.items() if n & OWN and not n & STATE]
    return Step(jaxpr, list(flat.consts), needs, inner, shared_vars, clock, mine)


# -- values ----------------------------------------------------------------------------------------------------------


class Value(NamedTuple):
    """An array of one simulation, as cells.

    shape: of the array. agent: its axis that runs over agents, inside the cells, or None. cells: an array of cells, of
    the array's axes, each of its length, or of length 1 where all cells are the same or the axis is the agents'; then
    two more axes for the copies of the agents' cells: tiles, and even and odd agents.
    """

    shape: tuple[int, ...]
    agent: int | None
    cells: np.ndarray

    def full(self) -> np.ndarray:
        """The cells with every axis of its length, other than the agents'."""
        lengths = [1 if axis == self.agent else n for axis, n in enumerate(self.shape)]
        return np.broadcast_to(self.cells, (*lengths, *self.cells.shape[-2:]))


def cells_of(flat: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An array of objects, which NumPy must not look into."""
    cells = np.empty(len(flat), object)
    for i, cell in enumerate(flat):
        cells[i] = cell
    return cells.reshape(shape)


def constant(array) -> Value:
    array = np.asarray(array)
    if array.size > MAX_CELLS:
        raise Unsupported(f"an array of {array.size} numbers, {MAX_CELLS} at most")
    cells = cells_of([array.dtype.type(n) for n in array.ravel()], (*array.shape, 1, 1))
    return Value(array.shape, None, cells)


class Number(NamedTuple):
    """The number of an agent, 2 pair + parity, before anything but its parts is asked for."""

    pair: Any
    parity: int


class Machine:
    """A block of the kernel, and what can be done to cells.

    shape: of a block. agents: their number. pairs: for each tile, the numbers of its agent pairs as a block of int32;
    empty where agents are unrolled. pin(array): the array in the layout that the backend wants of its rank.
    """

    def __init__(self, shape: tuple[int, int], agents: int, pairs: list, pin: Callable[[Any], Any]):
        self.shape, self.agents, self.pairs, self.pin = shape, agents, pairs, pin
        self._done: dict[Any, Any] = {}
        self._kept: list = []  # keys hold ids: what they are the ids of must stay alive

    def widen(self, cell, rank: int):
        """A cell as an array of the given rank: 1 is one a simulation, 2 a block."""
        if isinstance(cell, Number):
            cell = cell.pair * np.asarray(2, cell.pair.dtype)[()] + np.asarray(cell.parity, cell.pair.dtype)[()]
        have = np.ndim(cell)
        if have == rank:
            return cell
        shape = self.shape if rank == 2 else self.shape[:1]
        return self._once(
            ("widen", rank), (cell,), lambda: self.pin(lax.broadcast_in_dim(cell, shape, tuple(range(have))))
        )

    def _once(self, what, cells: Sequence[Any], make: Callable[[], Any]):
        """make(), or what it made before of the same cells."""
        name = lambda c: (c.dtype.name, c.tobytes()) if isinstance(c, np.generic) else id(c)
        key = (what, *map(name, cells))
        if key not in self._done:
            self._kept.extend(cells)
            self._done[key] = make()
        return self._done[key]

    def bind(self, primitive, params: dict, cells: Sequence[Any], dtype):
        """An elementwise operation on cells."""
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

    def _apply(self, primitive, params, cells, dtype):
        name = primitive.name
        if all(isinstance(c, np.generic) for c in cells):
            with jax.ensure_compile_time_eval():
                return np.asarray(_bind(primitive, list(cells), params)[0])[()]
        rank = max(2 if isinstance(c, Number) else np.ndim(c) for c in cells)
        if name == "div" and dtype == np.float32 and np.ndim(cells[1]) < rank:
            # One division for a simulation or for all in place of one for each agent.
            inverse = self.bind(lax.div_p, {}, [np.float32(1), cells[1]], dtype)
            return self.bind(lax.mul_p, {}, [cells[0], inverse], dtype)
        arrays = [self.widen(c, rank) for c in cells]
        if name in primitives.RULES and (dtype == np.float32 or name == "is_finite"):
            return primitives.RULES[name](*arrays, **params)
        return _bind(primitive, arrays, params)[0]

    def total(self, name: str, value: np.ndarray, fill, dtype):
        """The sum, maximum or minimum over agents of cells (tiles, parity)."""
        copies = []
        for tile, pair in enumerate(self.pairs):
            for parity in (0, 1):
                cell = self.widen(value[min(tile, value.shape[0] - 1), min(parity, value.shape[1] - 1)], 2)
                count = (self.agents - parity + 1) // 2  # agents of this parity
                if (tile + 1) * self.shape[1] > count:
                    outside = self.widen(np.asarray(fill, dtype)[()], 2)
                    cell = lax.select(pair < np.int32(count), cell, outside)
                copies.append(cell)
        whole = functools.reduce(lambda a, b: _bind(_COMBINE[name], [a, b], {})[0], copies)
        return self.pin(_REDUCE[name](whole))


_COMBINE = {"reduce_sum": lax.add_p, "reduce_max": lax.max_p, "reduce_min": lax.min_p, "reduce_prod": lax.mul_p}
_REDUCE = {
    "reduce_sum": lambda a: lax.reduce_sum(a, (1,)),
    "reduce_max": lambda a: lax.reduce_max(a, (1,)),
    "reduce_min": lambda a: lax.reduce_min(a, (1,)),
}
_FILL = {"reduce_sum": 0, "reduce_max": -np.inf, "reduce_min": np.inf}


# -- the interpreter -------------------------------------------------------------------------------------------------


def evaluate(machine: Machine, step: Step, inputs: dict[Any, Value]) -> list[Value]:
    """The program's outputs, from values of the state's inputs and of `shared`, `clock` and `own`."""
    values = dict(inputs)

    def read(v) -> Value:
        return constant(v.val) if isinstance(v, Literal) else values[v]

    for eqn in step.inner:
        values[eqn.outvars[0]] = _equation(machine, eqn, [read(v) for v in eqn.invars])
    return [read(v) for v in step.jaxpr.outvars]


def _equation(machine: Machine, eqn, inputs: list[Value]) -> Value:
    name, params, aval = eqn.primitive.name, eqn.params, eqn.outvars[0].aval
    if len(eqn.outvars) > 1:
        raise Unsupported(f"the primitive {name}")
    if name in _RESHAPING:
        return _RESHAPING[name](inputs, params, aval.shape)
    if name == "iota":
        return _iota(machine, params)
    if name in _COMBINE:
        return _reduce(machine, name, inputs[0], params["axes"], aval.dtype)
    if name == "dot_general":
        return _dot(machine, inputs, params["dimension_numbers"], aval.dtype)
    if name in ("copy", "copy_p", "stop_gradient"):
        return inputs[0]
    return _elementwise(machine, eqn.primitive, params, inputs, aval)


def _elementwise(machine: Machine, primitive, params, inputs: list[Value], aval) -> Value:
    rank, known = len(aval.shape), primitive.name in primitives.NATIVE or primitive.name in primitives.RULES
    # Axes of length 1 stand for all; so do scalars.
    fits = lambda shape: not shape or (
        len(shape) == rank and all(n in (1, m) for n, m in zip(shape, aval.shape, strict=True))
    )
    if not known or not all(fits(v.shape) for v in inputs):
        raise Unsupported(f"the primitive {primitive.name}")
    axes = {v.agent for v in inputs if v.agent is not None}
    if len(axes) > 1:
        raise Unsupported("an array over agents twice")
    agent = axes.pop() if axes else None
    operands = [v.cells.reshape((1,) * (rank - len(v.shape)) + v.cells.shape) for v in inputs]
    lengths = np.broadcast_shapes(*(o.shape for o in operands))
    if agent is not None and lengths[agent] > 1:
        raise Unsupported("numbers that differ between agents")
    whole = [np.broadcast_to(o, lengths) for o in operands]
    cells = [machine.bind(primitive, params, [o[i] for o in whole], aval.dtype) for i in np.ndindex(lengths)]
    return Value(aval.shape, agent, cells_of(cells, lengths))


def _iota(machine: Machine, params) -> Value:
    shape, axis, dtype = params["shape"], params["dimension"], params["dtype"]
    size = shape[axis]
    if machine.pairs and axis == 0 and size == machine.agents:
        convert = lambda p: lax.convert_element_type(p, dtype)
        cells = [Number(convert(pair), parity) for pair in machine.pairs for parity in (0, 1)]
        return Value(shape, axis, cells_of(cells, (*(1,) * len(shape), len(machine.pairs), 2)))
    row = constant(np.arange(size, dtype=dtype))
    return _broadcast([row], {"broadcast_dimensions": (axis,)}, shape)


def _reduce(machine: Machine, name: str, value: Value, axes, dtype) -> Value:
    axes = list(axes)
    if value.agent is not None and value.agent in axes:
        at = value.agent
        if name not in _REDUCE:
            raise Unsupported(f"the primitive {name} over agents")
        outer = value.cells.shape[:-2]
        totals = [machine.total(name, value.cells[i], _FILL[name], dtype) for i in np.ndindex(outer)]
        cells = cells_of(totals, (*outer[:at], *outer[at + 1 :], 1, 1))
        value = Value((*value.shape[:at], *value.shape[at + 1 :]), None, cells)
        axes = [a - (a > at) for a in axes if a != at]
    for axis in sorted(axes, reverse=True):
        value = _fold(machine, name, value, axis, dtype)
    return value


def _fold(machine: Machine, name: str, value: Value, axis: int, dtype) -> Value:
    """A reduction over one axis of cells."""
    combine = _COMBINE[name]
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
    agent = None if value.agent is None else value.agent - (value.agent > axis)
    return Value((*value.shape[:axis], *value.shape[axis + 1 :]), agent, cells_of(whole, shape))


def _dot(machine: Machine, inputs: list[Value], dimension_numbers, dtype) -> Value:
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


def _broadcast(inputs, params, shape) -> Value:
    value, places = inputs[0], params["broadcast_dimensions"]
    lengths = [1] * len(shape)
    for axis, place in enumerate(places):
        lengths[place] = value.cells.shape[axis]
    agent = None if value.agent is None else places[value.agent]
    return Value(tuple(shape), agent, value.cells.reshape(*lengths, *value.cells.shape[-2:]))


def _transpose(inputs, params, _) -> Value:
    value, order = inputs[0], tuple(params["permutation"])
    rank = len(order)
    agent = None if value.agent is None else order.index(value.agent)
    cells = value.cells.transpose((*order, rank, rank + 1))
    return Value(tuple(value.shape[a] for a in order), agent, cells)


def _reshape(inputs, params, shape) -> Value:
    value = inputs[0]
    if params.get("dimensions") is not None:
        raise Unsupported("the primitive reshape with an order of axes")
    agent = None
    longer = [[a for a, n in enumerate(lengths) if n != 1] for lengths in (value.shape, shape)]
    if [value.shape[a] for a in longer[0]] == [shape[a] for a in longer[1]]:  # axes of length 1 come and go
        lengths = [1] * len(shape)
        for old, new in zip(*longer, strict=True):
            lengths[new] = value.cells.shape[old]
            agent = new if old == value.agent else agent
        return Value(tuple(shape), agent, value.cells.reshape(*lengths, *value.cells.shape[-2:]))
    if value.agent is not None:
        before = int(np.prod(value.shape[: value.agent]))
        fits = [a for a, n in enumerate(shape) if n == value.shape[value.agent] and int(np.prod(shape[:a])) == before]
        if not fits:
            raise Unsupported("a reshape across agents")
        agent = fits[0]
    lengths = [1 if a == agent else n for a, n in enumerate(shape)]
    cells = value.full()
    return Value(tuple(shape), agent, cells.reshape(*lengths, *cells.shape[-2:]))


def _squeeze(inputs, params, shape) -> Value:
    return _reshape(inputs, {}, shape)


def _slice(inputs, params, shape) -> Value:
    value = inputs[0]
    strides = params["strides"] or (1,) * len(shape)
    cells = value.cells
    for axis, cut in enumerate(zip(params["start_indices"], params["limit_indices"], strides, strict=True)):
        if axis == value.agent:
            if cut != (0, value.shape[axis], 1):
                raise Unsupported("a slice of the agents")
        elif cells.shape[axis] > 1:
            cells = cells[(slice(None),) * axis + (slice(*cut),)]
    return Value(tuple(shape), value.agent, cells)


def _pad(inputs, params, shape) -> Value:
    value, fill = inputs
    config = params["padding_config"]
    if any(low < 0 or high < 0 for low, high, _ in config):
        raise Unsupported("a pad that cuts")
    if value.agent is not None and config[value.agent] != (0, 0, 0):
        raise Unsupported("a pad of the agents")
    inner = value.full()
    lengths = [1 if a == value.agent else n for a, n in enumerate(shape)]
    cells = np.empty((*lengths, *inner.shape[-2:]), object)
    for index in np.ndindex(cells.shape):
        cells[index] = fill.cells[0, 0]
    stops = [low + (n - 1) * (gap + 1) + 1 for n, (low, _, gap) in zip(inner.shape, config, strict=False)]
    cells[tuple(slice(c[0], stop, c[2] + 1) for c, stop in zip(config, stops, strict=True))] = inner
    return Value(tuple(shape), value.agent, cells)


def _rev(inputs, params, shape) -> Value:
    value = inputs[0]
    if value.agent in params["dimensions"]:
        raise Unsupported("the agents in reverse")
    return value._replace(cells=np.flip(value.cells, params["dimensions"]))


def _concatenate(inputs, params, shape) -> Value:
    axis = params["dimension"]
    agents = {v.agent for v in inputs if v.agent is not None}
    if axis in agents or len(agents) > 1:
        raise Unsupported("a concatenation of agents")
    agent = agents.pop() if agents else None
    parts = []
    for v in inputs:
        lengths = [1 if a == agent else n for a, n in enumerate(v.shape)]
        copies = np.broadcast_shapes(*(u.cells.shape[-2:] for u in inputs))
        if agent is not None and v.cells.shape[agent] > 1:
            raise Unsupported("numbers that differ between agents")
        parts.append(np.broadcast_to(v.cells, (*lengths, *copies)))
    return Value(tuple(shape), agent, np.concatenate(parts, axis))


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
