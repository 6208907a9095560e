"""Users' functions, traced anew at each call, so that a compiled program never goes stale.

JAX compiles a function once, with the variables that it reads as they are then. Here every function and class of a
user in a model, and every observable of a user, is traced at the beginning of a call, each by itself and at the shapes
of one simulation, and a module takes its place that holds

- a `Program`: what was traced, without any value, as what compiled code is known by. A loss that is defined anew and
  traces to the same program compiles nothing;
- as arrays: what the function closes over or reads, and of the numbers written in its program those that have been seen
  to change. New values recompile nothing, and grad, jvp and vmap reach them.

The step, and the parts that sdesim brings, are not traced again. Compiled code keeps no user's function and none of its
data alive: a `Program` forgets what was traced when the call is over.
"""

import contextlib
import dataclasses
import enum
import functools
import hashlib
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import Literal
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from sdesim.coupling import AbstractCoupling, ArrayMean, Mean
from sdesim.dynamics import AbstractMomentum, Agents, Dynamics, State
from sdesim.fields import is_none
from sdesim.init import AbstractInit
from sdesim.noise import AbstractNoise
from sdesim.objectives import (
    AbstractByAgent,
    AbstractObjective,
    ByAgent,
    Each,
    Function,
    check_dims,
    checked_indices,
    fitting_loss,
    said_while_traced,
)
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries, View
from sdesim.random import Seed, Words, seed_words
from sdesim.steppers import AbstractStepper
from sdesim.tracing import bind, products_in_float32

# -- programs --------------------------------------------------------------------------------------------------------

_TRANSPARENT = frozenset(("jit", "pjit", "closed_call", "core_call"))  # calls that may be evaluated where they stand
_DERIVATIVES = frozenset(("custom_jvp_call", "custom_vjp_call"))


def _inner(eqn: Any) -> Any:
    """The program of a call."""
    return next((eqn.params[k] for k in ("jaxpr", "call_jaxpr") if k in eqn.params), None)


def _opened(jaxpr: Any) -> tuple[Any, Sequence]:
    """A jaxpr, closed or not, and its constants."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


class _Same:
    """A key that is equal to that of the same object alone, which it does not keep alive if it can be helped."""

    def __init__(self, value: Any):
        try:
            self._get = weakref.ref(value)
        except TypeError:
            self._get = lambda: value
        self._hash = hash((type(value), id(value)))

    def __hash__(self):
        return self._hash

    def __eq__(self, other: object):
        return self is other or (
            isinstance(other, _Same) and (value := self._get()) is not None and value is other._get()
        )


class _Reader:
    """Reads a traced program: what it is but for its values, as a key, and the values.

    Attributes:
        arrays: what was closed over, by the identity of the object that stands there, in the order in which they are
            met.
        literals: the numbers written in the program, likewise.
        exact: whether the key says all; if not, equal programs may have different keys.
        skeleton: the key.
    """

    def __init__(self, closed: Any):
        self.arrays: dict[int, Any] = {}
        self.literals: dict[int, Any] = {}
        self.exact = True
        self._rules: list[Any] = []
        self._functions: set[int] = set()
        self.skeleton = self._jaxpr(closed, transparent=True)

    @staticmethod
    def _place(among: dict[int, Any], holder: Any, value: Any) -> int:
        """The number of a value, which is met the first time or again."""
        if id(holder) not in among:
            among[id(holder)] = value
            return len(among) - 1
        return list(among).index(id(holder))

    def _jaxpr(self, closed: Any, *, transparent: bool) -> tuple:
        """A program as a key; transparent: whether its numbers may become inputs."""
        jaxpr, consts = _opened(closed)
        names = {v: i for i, v in enumerate((*jaxpr.constvars, *jaxpr.invars))}
        given = [self._place(self.arrays, c, c) if transparent else self._content(c) for c in consts]

        def atom(v: Any):
            if not isinstance(v, Literal):
                return names[v]
            if transparent and np.ndim(v.val) == 0 and not isinstance(v.val, Tracer):
                return "literal", self._place(self.literals, v, v.val), v.aval
            return "literal", self._content(v.val), v.aval

        equations = []
        for eqn in jaxpr.eqns:
            equations.append((eqn.primitive, tuple(map(atom, eqn.invars)), self._params(eqn, transparent)))
            for v in eqn.outvars:
                names[v] = len(names)
        shapes = tuple(v.aval for v in (*jaxpr.constvars, *jaxpr.invars))
        return shapes, tuple(given), tuple(equations), tuple(map(atom, jaxpr.outvars))

    def _params(self, eqn: Any, transparent: bool) -> tuple:
        """An equation's parameters as a key."""
        name = eqn.primitive.name
        if name in _DERIVATIVES:
            call = self._jaxpr(eqn.params["call_jaxpr"], transparent=False)
            return call, self._rule(eqn, call)
        inside = transparent and name in _TRANSPARENT
        of = lambda v: self._jaxpr(v, transparent=inside) if hasattr(v, "eqns") or hasattr(v, "jaxpr") else self._key(v)
        return tuple((k, of(v)) for k, v in eqn.params.items())

    def _rule(self, eqn: Any, call: tuple) -> Any:
        """A derivative of the user's own, as the program that comes of it: its function may read anything."""
        if call in self._rules:  # a rule that calls the function whose rule it is
            return "again"
        avals = [v.aval for v in eqn.invars]
        moves = [jnp.issubdtype(a.dtype, jnp.inexact) for a in avals]
        primal = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        tangent = [p for p, m in zip(primal, moves, strict=True) if m]

        def derivative(primals: list, tangents: list):
            still = [p for p, m in zip(primals, moves, strict=True) if not m]

            def of_moving(*moving: Any):
                sources = {True: iter(moving), False: iter(still)}
                return bind(eqn.primitive, [next(sources[bool(m)]) for m in moves], eqn.params)

            moving = [p for p, m in zip(primals, moves, strict=True) if m]
            if eqn.primitive.name == "custom_jvp_call":
                return jax.jvp(of_moving, moving, tangents)
            out, pull = jax.vjp(of_moving, *moving)
            return pull(list(out))

        self._rules.append(call)
        try:
            return self._jaxpr(jax.make_jaxpr(derivative)(primal, tangent), transparent=False)
        except Exception as error:  # who differentiates it will hear of that
            return type(error).__name__
        finally:
            self._rules.pop()

    def _content(self, value: Any) -> Any:
        """An array within what is compiled: by its content, and a tracer, which has none, by nothing."""
        if not _is_plain(value):
            self.exact = False
            return object()
        array = np.asarray(value)
        return array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).digest()

    def _key(self, value: Any) -> Any:
        """A parameter of a primitive as a key."""
        if value is None or isinstance(value, bool | int | str | bytes | type | np.dtype | enum.Enum):
            return type(value), value
        if isinstance(value, float | complex):
            return type(value), repr(value)
        if isinstance(value, tuple | list):
            return type(value), tuple(map(self._key, value))
        if isinstance(value, dict):
            return dict, tuple((k, self._key(v)) for k, v in value.items())
        if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            return self._jaxpr(value, transparent=False)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return self._content(value)
        if isinstance(value, functools.partial):
            return functools.partial, *map(self._key, (value.func, value.args, value.keywords))
        if isinstance(value, types.MethodType):
            return types.MethodType, self._key(value.__func__), self._key(value.__self__)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if dataclasses.is_dataclass(value):
            return type(value), tuple(self._key(getattr(value, f.name)) for f in dataclasses.fields(value))
        if type(value).__eq__ is not object.__eq__:
            with contextlib.suppress(TypeError):
                hash(value)
                return value
        self.exact = False
        return _Same(value)

    def _function(self, fn: types.FunctionType) -> Any:
        """A callback: equal to one of the same code that closes over the same. What it reads, it reads when it runs."""
        if id(fn) in self._functions:
            return "recursive"
        self._functions.add(id(fn))
        try:
            cells = [cell.cell_contents for cell in fn.__closure__ or ()]
        except ValueError:  # a cell that is still empty
            return _Same(fn)
        else:
            given = self._key((fn.__defaults__, fn.__kwdefaults__))
            return fn.__code__, id(fn.__globals__), given, self._key(cells)
        finally:
            self._functions.discard(id(fn))


def _is_plain(value: Any) -> bool:
    """Whether a value can be looked at: it is no tracer, and no array of keys."""
    extended = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.extended)
    return not isinstance(value, Tracer) and not extended


def _bits(value: Any) -> tuple:
    """An array's type and bits, as a key."""
    array = np.asarray(value)
    return array.dtype.str, array.tobytes()


def as_key(function: Callable, *arguments: PyTree) -> tuple:
    """What a function does with arguments of these shapes, traced now.

    Equal keys are equal programs, down to the values that the function closes over and the numbers written in it.

    Args:
        function: of the arguments.
        *arguments: pytrees, of arrays or their shapes, and of what is static.
    """
    closed, _, _ = eqx.filter_make_jaxpr(function)(*arguments)
    reader = _Reader(closed)
    plain = lambda value: _bits(value) if _is_plain(value) else reader._key(value)
    return reader.skeleton, tuple(map(plain, reader.arrays.values())), tuple(map(plain, reader.literals.values()))


@dataclasses.dataclass
class _Seen:
    """What is known of all programs of one skeleton.

    Attributes:
        values: the numbers of the first; None before it.
        moved: which of them have moved since.
        token: what compiled code knows the program by.
        checked: code that was found to do the same twice.
    """

    values: tuple | None = None
    moved: frozenset[int] = frozenset()
    token: object = dataclasses.field(default_factory=object)
    checked: set[Any] = dataclasses.field(default_factory=set)


_LOCK = threading.Lock()


@functools.lru_cache(maxsize=4096)
def _seen(skeleton: tuple) -> _Seen:
    """What is known of a skeleton."""
    return _Seen()


class ImpureFunctionError(ValueError):
    """A function gives another program each time it is traced."""


class Program:
    """What a function does, without the arrays that it closes over and the numbers that have moved: those are inputs.

    Equal to another if compiled code of the one serves the other. The traced program is there until `forget`.

    Args:
        closed: what was traced.
        result: the structure of its result.
        reader: that read it.
        moved: which of the numbers written in it are inputs, by their places among the reader's.
        token: what compiled code knows it by.
    """

    __slots__ = ("_arrays", "_closed", "_numbers", "_result", "_token")

    def __init__(self, closed: Any, result: Any, reader: _Reader, moved: frozenset[int], token: object):
        self._closed, self._result, self._token = closed, result, token
        self._arrays = {holder: i for i, holder in enumerate(reader.arrays)}
        holders = [holder for i, holder in enumerate(reader.literals) if i in moved]
        self._numbers = {holder: len(self._arrays) + i for i, holder in enumerate(holders)}

    def __hash__(self):
        return hash(self._token)

    def __eq__(self, other: object):
        return isinstance(other, Program) and self._token is other._token

    def __repr__(self):
        return "Program"

    def forget(self) -> None:
        """Leave nothing of the function: compiled code keeps this object."""
        self._closed, self._arrays, self._numbers = None, {}, {}

    def __call__(self, inputs: Sequence[Array], arguments: PyTree) -> PyTree:
        """The function's result.

        Args:
            inputs: what it closes over, and the numbers that have moved.
            arguments: of the shapes at which it was traced.

        Returns:
            Of the structure that it had then.
        """
        if self._closed is None:
            raise RuntimeError("a user's function is asked for after the call that it was traced for")
        jaxpr, consts = _opened(self._closed)
        leaves = jax.tree.leaves(arguments)
        shapes = [v.aval.shape for v in jaxpr.invars]
        if shapes != [jnp.shape(a) for a in leaves]:
            raise ValueError(
                f"a user's function was traced for arguments {shapes}, not {[jnp.shape(a) for a in leaves]}"
            )
        args = [_as(a, v.aval.dtype) for a, v in zip(leaves, jaxpr.invars, strict=True)]
        return jax.tree.unflatten(self._result, self._evaluate(jaxpr, consts, args, inputs))

    def _evaluate(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], inputs: Sequence[Array]) -> list:
        """A program's outputs, with inputs in the places of its constants and of the numbers that have moved."""
        values = dict(zip(jaxpr.constvars, [inputs[self._arrays[id(c)]] for c in consts], strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))

        def read(v: Any):
            if not isinstance(v, Literal):
                return values[v]
            return inputs[self._numbers[id(v)]] if id(v) in self._numbers else v.val

        for eqn in jaxpr.eqns:
            operands = [read(v) for v in eqn.invars]
            if eqn.primitive.name in _TRANSPARENT and self._has_inputs(_inner(eqn)):
                out = self._evaluate(*_opened(_inner(eqn)), operands, inputs)
            else:
                out = bind(eqn.primitive, operands, eqn.params)
            values.update(zip(eqn.outvars, out, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _has_inputs(self, closed: Any) -> bool:
        """Whether a call within the program reads something that is an input now."""
        jaxpr, consts = _opened(closed)
        atoms = [v for eqn in jaxpr.eqns for v in eqn.invars] + list(jaxpr.outvars)
        if consts or any(id(v) in self._numbers for v in atoms):
            return True
        return any(e.primitive.name in _TRANSPARENT and self._has_inputs(_inner(e)) for e in jaxpr.eqns)


def _as(value: Any, dtype: Any) -> Any:
    """An array of this type; itself if it is one."""
    return value if getattr(value, "dtype", None) == dtype else jnp.asarray(value, dtype)


class Traced(NamedTuple):
    """A function as it is today.

    Attributes:
        closed: its program, with what it closes over as constants.
        result: shapes of its result.
    """

    closed: Any
    result: PyTree


def traced(fn: Callable[..., PyTree], *arguments: PyTree) -> Traced:
    """Trace a function. An index beyond an array is an error, where JAX would clamp it.

    Args:
        fn: the function.
        *arguments: their shapes.

    Returns:
        The function as it is now.
    """
    with checked_indices(), products_in_float32():
        # A function that JAX has seen before it would not look at again; this one it has not.
        closed, result = jax.make_jaxpr(lambda *a: fn(*a), return_shape=True)(*arguments)
    return Traced(closed, result)


class Method(eqx.Module):
    """A user's function in a model.

    Attributes:
        program: what it does.
        inputs: what goes into the program beside the function's arguments.
    """

    program: Program = eqx.field(static=True)
    inputs: list[Array]

    OF_USERS = True  # for `fields.made_here`

    def __call__(self, *arguments: PyTree):
        return self.program(self.inputs, arguments)


def as_method(name: str, found: Traced, again: Callable[[], Traced], code: Any) -> Method:
    """What `traced` found as a module that holds the program and its inputs.

    Args:
        name: of the function, for errors.
        found: from `traced`.
        again: trace it once more.
        code: whose, as a key.

    Returns:
        The module.

    Raises:
        ImpureFunctionError: for a function that does not do the same twice.
    """
    reader = _Reader(found.closed)
    values = tuple(map(_bits, reader.literals.values()))
    seen = _seen((name, reader.skeleton))
    with _LOCK:
        if seen.values is None:
            seen.values = values
        now = [i for i, (a, b) in enumerate(zip(seen.values, values, strict=True)) if a != b]
        if not seen.moved.issuperset(now):
            seen.moved, seen.token = seen.moved.union(now), object()
        moved, token = seen.moved, seen.token
    if code not in seen.checked and not _same(reader, _Reader(again().closed)):
        raise ImpureFunctionError(
            f"{name}: the function gives another program each time it is traced: it draws random numbers, or counts. "
            "It is traced once a call, and all agents and steps would share one draw. Describe what is random by a "
            "law, Dynamics(noise=...), or draw the numbers beforehand and let the function close over the array"
        )
    seen.checked.add(code)
    numbers = [jnp.asarray(v) for i, v in enumerate(map(np.asarray, reader.literals.values())) if i in moved]
    program = Program(found.closed, jax.tree.structure(found.result), reader, moved, token)
    return Method(program, [*map(_input, reader.arrays.values()), *numbers])


def _input(value: Any) -> Array:
    """What was closed over as an array; NumPy's as a copy, for it may change before the computation is over."""
    return value if isinstance(value, jax.Array) else jnp.array(np.asarray(value))


def _same(a: _Reader, b: _Reader) -> bool:
    """Whether a function did the same twice, as far as that can be known."""
    if not (a.exact and b.exact):
        return True
    if a.skeleton != b.skeleton or [*map(_bits, a.literals.values())] != [*map(_bits, b.literals.values())]:
        return False
    pairs = zip(a.arrays.values(), b.arrays.values(), strict=True)
    return all(x is y or not (_is_plain(x) and _is_plain(y)) or _bits(x) == _bits(y) for x, y in pairs)


# -- parts -----------------------------------------------------------------------------------------------------------
#
# What takes the place of a user's part. own: the arrays of that part, in their order, so that a swept number keeps its
# place and its lanes; methods: what its class does, by name, each a function of `own` first.


class _Standin(eqx.Module):
    own: list[Array]
    methods: dict[str, Method]

    def _call(self, method: str, *arguments: PyTree):
        return self.methods[method](self.own, *arguments)


class _Callable(_Standin):
    """A gain, a noise matrix, a schedule, a friction."""

    def __call__(self, *arguments: PyTree):
        return self._call("__call__", *arguments)


def _of_whom(method: str, mean: Mean) -> tuple:
    """Under which name a method was traced for all agents, or for some and then with their numbers."""
    return (method,) if mean.members is None else (f"{method} of some", mean.members)


class _Filter(_Standin):
    """A filter of `Filtered`, with or without a state of its own."""

    def __call__(self, state: PyTree, x: Agents, t: Array, mean: Mean):
        return self._call(*_of_whom("__call__", mean), state, x, t)

    @property
    def init(self):
        return (lambda x, mean: self._call("init", x)) if "init" in self.methods else None

    @property
    def output(self):
        return (lambda state: self._call("output", state)) if "output" in self.methods else None


class _Objective(_Standin, AbstractObjective):
    def loss(self, x: Array):
        return self._call("loss", x)

    def gradient(self, x: Array):
        return self._call("gradient", x) if "gradient" in self.methods else super().gradient(x)


class _ByAgent(_Standin, AbstractByAgent):
    agents: int = eqx.field(static=True)

    @property
    def made_for(self):
        return self.agents

    def loss_of(self, x: Array, agent: Array):
        return self._call("loss_of", x, agent)


class _Coupling(_Standin, AbstractCoupling):
    @property
    def renews(self):
        return "renew" in self.methods

    def init(self, x: PyTree, mean: Mean):
        return self._call("init", x)

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self._call(*_of_whom("pull", mean), x, shared, t)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self._call(*_of_whom("flow", mean), x, shared, t)

    def renew(self, x: PyTree, shared: PyTree, t: Array, losses: Array):
        return self._call("renew", x, shared, t, losses)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self._call("center", x, shared, t)


class _Noise(_Standin, AbstractNoise):
    word_pairs: int = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return self._call("variates", words, batch)

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self._call("apply", z, x, gradient, batch, scale)

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self._call("diffuse", dw, x, gradient, batch, scale)


class _Momentum(_Standin, AbstractMomentum):
    def clock(self, eta: Array):
        return self._call("clock", eta)

    def matched_step(self, eta: Array):
        return self._call("matched_step", eta)

    def move(self, eta: Array, dt: Array | None):
        return self._call("matched move", eta) if dt is None else self._call("move", eta, dt)

    def loss(self, move: Array | float, t_end: Array):
        return self._call("loss", move, t_end)

    @property
    def lookahead(self):
        return self._call("lookahead")


class _Init(_Standin, AbstractInit):
    def draw(self, words: Words, dtype: DTypeLike):
        return self._call("draw", words)


def _seen_by(view: View) -> tuple:
    """What of a view an observable's program takes: of the model the arrays that were the user's."""
    return view.state, view.step, _arrays(view.model)


class _Series(_Standin, AbstractSeries):
    name: str = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    axes: tuple[str, ...] = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]

    def value(self, view: View):
        return self._call("value", *_seen_by(view))


class _Accumulator(_Standin, AbstractAccumulator):
    name: str = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    every_step: bool = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    outputs: tuple[tuple[str, tuple[str, ...]], ...] = eqx.field(static=True)

    @property
    def axes(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return dict(self.outputs)

    def init(self, view: View):
        return self._call("init", *_seen_by(view))

    def update(self, total: Any, view: View):
        return self._call("update", total, *_seen_by(view))

    def finish(self, total: Any):
        return self._call("finish", total)


def _arrays(tree: PyTree) -> list[Array]:
    """The arrays of a model in their order; of a part that stands for a user's, those that the user's part has."""
    own = jax.tree.map(
        lambda n: n.own if isinstance(n, _Standin) else n, tree, is_leaf=lambda n: isinstance(n, _Standin)
    )
    return [leaf for leaf in jax.tree.leaves(own) if eqx.is_array(leaf)]


def _is_users(node: Any) -> bool:
    """Whether a part comes from outside of sdesim; a function always does."""
    return not isinstance(node, eqx.Module) or type(node).__module__.partition(".")[0] != "sdesim"


def _with(module: Any, **changes: Any) -> Any:
    """A module with other fields, unchecked: what is put in need not be what its class converts and checks."""
    new = object.__new__(type(module))
    for field in dataclasses.fields(module):
        object.__setattr__(new, field.name, changes.get(field.name, getattr(module, field.name)))
    return new


_Jitted = type(jax.jit(lambda: None))


class _Opened:
    """A part of a user's, taken apart into arrays and the rest, and the methods that have been traced of it."""

    def __init__(self, name: str, node: Any, axes: PyTree):
        self.name, self.node = name, node
        leaves, self._tree = jax.tree.flatten(node, is_leaf=is_none)
        # What the user's own jit has compiled would not be looked at again.
        self._leaves = [getattr(leaf, "__wrapped__", leaf) if isinstance(leaf, _Jitted) else leaf for leaf in leaves]
        swept = jax.tree.leaves(axes, is_leaf=is_none)
        self._is_array = [eqx.is_array(leaf) for leaf in self._leaves]
        self.own = [leaf for leaf, known in zip(self._leaves, self._is_array, strict=True) if known]
        self.axes = [axis for axis, known in zip(swept, self._is_array, strict=True) if known]
        self.one = [_lane(leaf, axis) for leaf, axis in zip(self.own, self.axes, strict=True)]
        self.methods: dict[str, Method] = {}

    def whole(self, own: Iterable[Array]) -> Any:
        """The part with these arrays."""
        source = iter(own)
        return jax.tree.unflatten(
            self._tree,
            [next(source) if known else leaf for leaf, known in zip(self._leaves, self._is_array, strict=True)],
        )

    def add(self, method: str, fn: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
        """Trace `fn`, a function of the part and arguments of these shapes; the shapes of its result."""
        label = self.name if method == "__call__" else f"{self.name}.{method}"
        try:
            found = self.traced(fn, *arguments)
        except Exception as error:
            why = said_while_traced(error)
            takes = "; it must take one argument" if method == "__call__" and len(arguments) == 1 else ""
            raise ValueError(f"{label}: cannot be evaluated: {why}{takes}") from error
        return self.keep(method, label, fn, arguments, found)

    def add_loss(self, point: jax.ShapeDtypeStruct) -> None:
        """Trace a loss, in the form that fits a point."""
        trace = lambda form: (form, self.traced(form, point))
        form, found = fitting_loss(self.node, point.shape[0], trace, lambda pair: pair[1].result)
        self.keep("loss", self.name, form, (point,), found)

    def traced(self, fn: Callable[..., PyTree], *arguments: PyTree) -> Traced:
        """A function of the part and arguments of these shapes, traced."""
        return traced(lambda own, *a: fn(self.whole(own), *a), self.one, *arguments)

    def keep(self, method: str, label: str, fn: Callable[..., PyTree], arguments: tuple, found: Traced) -> PyTree:
        """Keep what was found as a method; the shapes of its result."""
        again = lambda: self.traced(fn, *arguments)
        code = tuple(map(_code, self._leaves)) + (_code(getattr(type(self.node), method, None)),)
        self.methods[method] = as_method(label, found, again, code)
        return found.result

    def closed(self, kind: type[_Standin], **static: Any) -> tuple[Any, Any]:
        """The part that takes this one's place, and its axes."""
        still = jax.tree.map(lambda _: None, self.methods)
        part = functools.partial(kind, **static)
        return part(own=self.own, methods=self.methods), part(own=self.axes, methods=still)


def _code(fn: Any) -> Any:
    """What tells one function from another, whatever it closes over; without keeping anything but its code."""
    fn = getattr(fn, "func", fn)
    fn = getattr(fn, "__func__", fn)
    return getattr(fn, "__code__", type(fn).__qualname__)


def _lane(leaf: Any, axis: int | None) -> jax.ShapeDtypeStruct:
    """The shape of an array in one lane."""
    return jax.ShapeDtypeStruct(leaf.shape if axis is None else leaf.shape[:-1], leaf.dtype)


def _shapes(tree: PyTree) -> Any:
    """The shapes of arrays, as they are said in a message."""
    return jax.tree.map(lambda a: a.shape, tree)


@dataclasses.dataclass
class _Shapes:
    """The shapes of what one simulation hands to users' functions.

    Attributes:
        agents: of one simulation.
        dims: of one agent.
        renews: whether epochs renew what is shared.
        given: whether the increments are the caller's.
        members: how many agents take part in an exchange; None for all, which step together.
        batch: of the model's number of this name, () or (agents,).
        eta: likewise.
    """

    agents: int
    dims: int
    members: int | None = None
    renews: bool = False
    given: bool = False
    batch: tuple[int, ...] = ()
    eta: tuple[int, ...] = ()

    def real(self, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.result_type(float))

    @property
    def x(self):
        return self.real(self.agents, self.dims)

    @property
    def point(self):
        return self.real(self.dims)

    @property
    def step(self):
        return jax.ShapeDtypeStruct((), jnp.int32)

    def rows(self, count: int) -> jax.ShapeDtypeStruct:
        return self.real(count, self.dims)

    @property
    def numbers(self):
        return jax.ShapeDtypeStruct((self.members,), jnp.int32)

    def words(self, rows: int) -> Words:
        word: Any = jax.ShapeDtypeStruct((rows, self.dims), jnp.uint32)
        odd: Any = jax.ShapeDtypeStruct(word.shape, jnp.bool_)
        return Words(word, word, odd)

    @property
    def mean(self) -> ArrayMean:
        return ArrayMean(self.agents)


# -- one function a kind of part: its methods, each with what it is called with ----------------------------------------


def _function(part: _Opened, at: _Shapes, called_with: tuple) -> tuple[Any, Any]:
    """A function in a field of sdesim's own parts, which says what it is called with (`fields.called_with`)."""
    kinds = {"point": at.point, "time": at.real(), "step": at.step}
    sizes = {"agents": at.agents, "dims": at.dims}
    arguments = [kinds[kind] for kind in called_with[0]]
    shapes = [tuple(sizes[name] for name in axes) for axes in called_with[1]]
    result = part.add("__call__", lambda own, *a: own(*a), *arguments)
    if getattr(result, "shape", None) not in shapes:
        due = " or ".join(map(str, dict.fromkeys(shapes)))
        raise ValueError(f"{part.name}: the function returns shape {_shapes(result)}; it must be {due}")
    return part.closed(_Callable)


def _filter(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    state = at.point
    if getattr(part.node, "init", None) is not None:
        state = part.add("init", lambda own, x: own.init(x, at.mean), at.x)
    if getattr(part.node, "output", None) is not None:
        part.add("output", lambda own, state: own.output(state), state)
    flow = part.add("__call__", lambda own, *a: own(*a, at.mean), state, at.x, at.real())
    if at.members is not None:
        of_some = lambda own, who, *a: own(*a, ArrayMean(at.agents, who))
        part.add("__call__ of some", of_some, at.numbers, state, at.rows(at.members), at.real())
    if (got := _shapes(flow)) != (due := _shapes(state)):
        raise ValueError(f"{part.name}: the filter returns shape {got}; it must be that of the center, {due}")
    return part.closed(_Filter)


def _objective(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    part.add_loss(at.point)
    if type(part.node).gradient is not AbstractObjective.gradient:
        part.add("gradient", lambda own, x: own.gradient(x), at.point)
    return part.closed(_Objective)


def _by_agent(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    result = part.add("loss_of", lambda own, x, agent: own.loss_of(x, agent), at.point, at.step)
    if getattr(result, "shape", None) != () or not jnp.issubdtype(result.dtype, jnp.floating):
        raise ValueError(f"{part.name}: the loss of a point and an agent must be one real number, and is {result}")
    return part.closed(_ByAgent, agents=part.node.made_for)


def _coupling(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    shared, t = part.add("init", lambda own, x: own.init(x, at.mean), at.x), at.real()
    for how in ("pull", "flow", "center"):
        part.add(how, lambda own, *a, how=how: getattr(own, how)(*a, at.mean), at.x, shared, t)
    for how in ("pull", "flow") if at.members is not None else ():
        of_some = lambda own, who, *a, how=how: getattr(own, how)(*a, ArrayMean(at.agents, who))
        part.add(f"{how} of some", of_some, at.numbers, at.rows(at.members or 0), shared, t)
    if at.renews and part.node.renews:
        part.add("renew", lambda own, *a: own.renew(*a), at.x, shared, t, at.real(at.agents))
    return part.closed(_Coupling)


def _noise(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    # Of workers in virtual time one at a time has noise, with numbers of its own.
    rows = at.agents if at.members is None else 1
    of_row = lambda shape: shape and (rows,)
    batch, scale, x = at.real(*of_row(at.batch)), at.real(*of_row(at.eta)), at.rows(rows)
    word_pairs, dtype = part.node.word_pairs, at.x.dtype
    words = [at.words(rows)] * word_pairs
    z = part.add("variates", lambda own, words, batch: own.variates(words, dtype, batch), words, batch)
    part.add("apply", lambda own, *a: own.apply(*a), z, x, x, batch, scale)
    if at.given:
        part.add("diffuse", lambda own, *a: own.diffuse(*a), x, x, x, batch, scale)
    return part.closed(_Noise, word_pairs=word_pairs)


def _momentum(part: _Opened, at: _Shapes) -> tuple[Any, Any]:
    part.add("matched_step", lambda own, eta: own.matched_step(eta), at.real())
    part.add("clock", lambda own, eta: own.clock(eta), at.real())
    part.add("matched move", lambda own, eta: own.move(eta, None), at.real())
    part.add("move", lambda own, *a: own.move(*a), at.real(), at.real())
    part.add("loss", lambda own, *a: own.loss(*a), at.real(), at.real())
    part.add("lookahead", lambda own: own.lookahead)
    return part.closed(_Momentum)


_KINDS: tuple[tuple[type, Callable[[_Opened, _Shapes], tuple[Any, Any]]], ...] = (
    (AbstractByAgent, _by_agent),
    (AbstractObjective, _objective),
    (AbstractCoupling, _coupling),
    (AbstractNoise, _noise),
    (AbstractMomentum, _momentum),
)


def _visit(name: str, node: Any, axes: PyTree, field: dataclasses.Field | None, at: _Shapes) -> tuple[Any, Any]:
    """A part of a model with today's functions, and its axes. field: that holds it."""
    if node is None or eqx.is_array(node) or not (isinstance(node, eqx.Module) or callable(node)):
        return node, axes
    of_users = isinstance(node, ByAgent) or (isinstance(node, Each) and _is_users(node.objective))
    if not (_is_users(node) or isinstance(node, Function) or of_users):
        return _within(name, node, axes, at)
    for kind, of_kind in _KINDS:
        if isinstance(node, kind):
            return of_kind(_Opened(name, node, axes), at)
    called = None if field is None else field.metadata.get("called_with")
    if called is None:
        return node, axes
    part = _Opened(name, node, axes)
    return _filter(part, at) if "center" in called[0] else _function(part, at, called)


def _within(name: str, module: Any, axes: PyTree, at: _Shapes) -> tuple[Any, Any]:
    """The same for all parts of a part of sdesim's own."""
    changed, changed_axes = {}, {}
    for field in dataclasses.fields(module):
        value, axis = getattr(module, field.name), getattr(axes, field.name)
        new, new_axis = _visit(f"{name}.{field.name}".lstrip("."), value, axis, field, at)
        if new is not value:
            changed[field.name], changed_axes[field.name] = new, new_axis
    return (_with(module, **changed), _with(axes, **changed_axes)) if changed else (module, axes)


_ETA = next(field for field in dataclasses.fields(Dynamics) if field.name == "eta")


def _model(model: Dynamics, axes: PyTree, at: _Shapes) -> tuple[Dynamics, Any]:
    """The learning rate first: its shape is that of the noise's scale."""
    eta, eta_axes = _visit("eta", model.eta, axes.eta, _ETA, at)
    rate = _lane(eta, eta_axes) if eqx.is_array(eta) else jax.eval_shape(lambda n: jnp.asarray(eta(n)), at.step)
    at = dataclasses.replace(at, batch=_lane(model.batch, axes.batch).shape, eta=rate.shape)
    rest = _with(model, eta=None)
    today, today_axes = _within("", rest, _with(axes, eta=None), at)
    if today is rest and eta is model.eta:
        return model, axes
    return _with(today, eta=eta), _with(today_axes, eta=eta_axes)


def _observable(
    node: AbstractObservable,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    today: Dynamics,
    today_axes: PyTree,
    at: _Shapes,
) -> Any:
    """An observable of today; a user's sees the user's model."""
    if not _is_users(node):
        return node
    part = _Opened(f"observe.{node.name}", node, jax.tree.map(lambda _: None, node))
    whole = _Opened("model", model, axes)
    lane = _Opened("model", today, today_axes)
    state = jax.eval_shape(lambda own, x: stepper.init(lane.whole(own), x), lane.one, at.x)

    def view(state: State, step: Array, numbers: Any) -> View:
        of_users = whole.whole(numbers)
        center = stepper.center(of_users, state, at.mean)
        return View(state, step, of_users, at.mean, center, stepper.counts(state, step))

    seen = (state, at.step, whole.one)
    if isinstance(node, AbstractSeries):
        part.add("value", lambda own, *v: own.value(view(*v)), *seen)
        return part.closed(_Series, name=node.name, axes=tuple(node.axes))[0]
    assert isinstance(node, AbstractAccumulator)
    total = part.add("init", lambda own, *v: own.init(view(*v)), *seen)
    part.add("update", lambda own, total, *v: own.update(total, view(*v)), total, *seen)
    part.add("finish", lambda own, total: own.finish(total), total)
    outputs = tuple((key, tuple(names)) for key, names in node.axes.items())
    return part.closed(_Accumulator, name=node.name, every_step=bool(node.every_step), outputs=outputs)[0]


def _stepper(node: AbstractStepper, model: Dynamics, axes: PyTree, at: _Shapes) -> AbstractStepper:
    """A stepper with today's functions; of one of a user's, or with a protocol of a user's, what its steps do."""
    new, _ = _within("", node, jax.tree.map(lambda _: None, node), at)
    if not _has_users(new):
        return new
    lane, mean = _Opened("model", model, axes), ArrayMean(at.agents)

    def steps(stepper: AbstractStepper, own: list, x: Array, n: Array, seed: Seed, sim: Array):
        part = lane.whole(own)
        begun = stepper.init(part, x)
        state = stepper.step(part, begun, n, seed=seed, sim=sim)
        renewed = stepper.renew(part, state) if at.renews else None
        return begun, state, renewed, stepper.center(part, state, mean), stepper.counts(state, n)

    seed, sim = jax.eval_shape(seed_words, 0), jax.ShapeDtypeStruct((), jnp.uint32)
    return _with(new, today=as_key(steps, new, lane.one, at.x, at.step, seed, sim))


def _has_users(node: Any) -> bool:
    """Whether a part, or a part of it, is a user's that nothing takes the place of."""
    if not isinstance(node, eqx.Module) or isinstance(node, _Standin):
        return False
    return _is_users(node) or any(_has_users(getattr(node, field.name)) for field in dataclasses.fields(node))


# -- calls -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def today(
    model: Dynamics,
    axes: PyTree,
    observables: Sequence[AbstractObservable],
    stepper: AbstractStepper,
    *,
    agents: int,
    dims: int,
    renews: bool = False,
    given: bool = False,
) -> Iterator[tuple[Dynamics, PyTree, tuple[AbstractObservable, ...], AbstractStepper]]:
    """A model, observables and a stepper, with users' functions as they are now.

    To be used within the context: after it, compiled code alone knows what they were.

    Args:
        model: with the values of all lanes.
        axes: of its numbers (see `engine.run.run_lanes`).
        observables: what is watched.
        stepper: what a step is.
        agents: of one simulation.
        dims: of one agent.
        renews: whether epochs renew what is shared.
        given: whether the noise's increments are the caller's.

    Yields:
        The same model, axes, observables and stepper, with programs in place of users' functions.

    Raises:
        ValueError: for a function that cannot be evaluated, or gives something of another shape than is needed.
        ImpureFunctionError: for a function that draws random numbers.
    """
    at = _Shapes(agents, dims, stepper.members, renews=renews, given=given)
    new, new_axes = _model(model, axes, at)
    watched = tuple(_observable(o, stepper, model, axes, new, new_axes, at) for o in observables)
    step = _stepper(stepper, new, new_axes, at)
    try:
        yield new, new_axes, watched, step
    finally:
        _forget((new, watched, step))


@contextlib.contextmanager
def law_of_today(law: AbstractInit, agents: int, dims: int) -> Iterator[AbstractInit]:
    """A law of initial states as it is now; as `today`.

    Args:
        law: the law.
        agents: of one simulation.
        dims: of one agent.

    Yields:
        The law, with a program in place of a user's function.

    Raises:
        ValueError: for a function that cannot be evaluated.
        ImpureFunctionError: for one that draws random numbers.
    """
    if not _is_users(law):
        yield law
        return
    at = _Shapes(agents, dims)
    part = _Opened("init", law, jax.tree.map(lambda _: None, law))
    part.add("draw", lambda own, words: own.draw(words, at.x.dtype), at.words(at.agents))
    new = part.closed(_Init)[0]
    try:
        yield new
    finally:
        _forget(new)


@contextlib.contextmanager
def objective_of_today(objective: AbstractObjective, dims: int) -> Iterator[AbstractObjective]:
    """An objective as it is now; as `today`.

    Args:
        objective: the objective.
        dims: of one agent, which it is checked to fit.

    Yields:
        The objective, with a program in place of a user's function.

    Raises:
        ValueError: for one that does not fit, or cannot be evaluated.
        ImpureFunctionError: for one that draws random numbers.
    """
    check_dims(objective, dims)
    new, _ = _visit("objective", objective, jax.tree.map(lambda _: None, objective), None, _Shapes(1, dims))
    try:
        yield new
    finally:
        _forget(new)


def _forget(tree: PyTree) -> None:
    """Leave nothing of the functions in a tree."""
    is_method = lambda node: isinstance(node, Method)
    for node in jax.tree.leaves(tree, is_leaf=is_method):
        if is_method(node):
            node.program.forget()
