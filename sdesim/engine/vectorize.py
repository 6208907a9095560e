"""The program of one lane, evaluated over all of them, with sines that vectorize.

`lanes(fn, axes)` is jax.vmap with the lanes on the last axis, where neighbors in memory do the same. It knows a
*proven* list of primitives: some by rules of its own, the others one by one through their own batching rule. A program
with anything else in it (effects, callbacks, custom batching, checks that look at the whole batch, names it has never
seen) goes through jax.vmap as a whole, because mapping each of its primitives by itself would change what it means.

On a CPU, XLA turns `sin` and `cos` of float32 into one call of the C library for each number: a step with two sines
spends most of its time there. Polynomials take their place. The program is seen after differentiation, so a plain
`jnp.sin` in a user's loss is fast in the gradient too.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array, PyTree

from sdesim import random, tracing
from sdesim.coupling.base import ROWS, WITH_ROWS
from sdesim.fields import is_none

# n * PI[0] is exact for |n| < 2**13, and the sum of the parts is pi to 2**-35: 1e-8 of a turn at |x| = 1e3.
PI = tuple(np.float32(part) for part in (3.140625, np.pi - 3.140625))
SINE = tuple(np.float32(c) for c in (-0.166666571, 8.33301728e-3, -1.98066142e-4, 2.60005279e-6))
_REACH = np.float32(np.pi / 2)
_MAGIC = np.float32(3 * 2**22)  # an integer added to it stands in its lowest bits


def _sine_from(x: Array, n: Array, odd: Array) -> Array:
    """sin(x - n pi) for |x - n pi| up to about pi / 2, with its sign flipped where the lowest bit of `odd` is set."""
    r = (x - n * PI[0]) - n * PI[1]
    r = jnp.maximum(jnp.minimum(r, _REACH), -_REACH)  # far out the reduction fails, and a sine must stay bounded still
    # The sign first, so that the sum comes last: what a sum over agents or coordinates and another kernel both need is
    # stored by XLA if its last operation has two arrays, and computed in both kernels if that has one.
    sign = lax.bitcast_convert_type(odd, jnp.uint32) << np.uint32(31)
    r = lax.bitcast_convert_type(lax.bitcast_convert_type(r, jnp.uint32) ^ sign, jnp.float32)
    s = r * r
    return r + r * s * (SINE[0] + s * (SINE[1] + s * (SINE[2] + s * SINE[3])))


@jax.custom_jvp
def sin(x: Array) -> Array:
    """Sine of float32 by range reduction and an odd polynomial; absolute error at most 2e-7 for |x| <= 1e3.

    Beyond, the error grows as the spacing of float32 does. Past 1e7 that spacing is of the order of a period, a float32
    has no phase, and the result is no more than some number in [-1, 1].

    Args:
        x: in radians, float32 of any shape.

    Returns:
        Of the same shape.
    """
    n = jnp.round(x * np.float32(1 / np.pi))
    # An integer in the low bits of a float costs an addition; a conversion to integers, with its care for what is out
    # of range, costs five instructions.
    return _sine_from(x, n, n + _MAGIC)


@jax.custom_jvp
def cos(x: Array) -> Array:
    """Cosine of float32, as `sin`.

    cos x = -sin(x - (n + 1/2) pi) (-1)^n, the half in the multiple of pi, where it is exact.

    Args:
        x: in radians, float32 of any shape.

    Returns:
        Of the same shape.
    """
    n = jnp.round(x * np.float32(1 / np.pi) - np.float32(0.5))
    return _sine_from(x, n + np.float32(0.5), n + (_MAGIC + np.float32(1)))


# The sign bit and the rounding hide the dependence on x from differentiation.
sin.defjvps(lambda tangent, y, x: cos(x) * tangent)
cos.defjvps(lambda tangent, y, x: -sin(x) * tangent)


def _tan(x: Array) -> Array:
    return sin(x) / cos(x)


_REPLACED: dict[str, Callable[[Array], Array]] = {"sin": sin, "cos": cos, "tan": _tan}
# What is known of primitives, by their names in jax 0.10 and 0.12. A name is here if a program of the tests has it.
_ELEMENTWISE_NAMES = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e bitcast_convert_type cbrt ceil
    clamp clz complex conj convert_element_type copy cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2
    expm1 floor ge gt igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p log2 logistic
    lt lt_to max min mul mulhi ne neg nextafter not one_minus_square or polygamma population_count pow real
    reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta
"""
_BY_BATCHING_RULE_NAMES = """
    argmax argmin cholesky concatenate cond conv_general_dilated cumlogsumexp cummax cummin cumprod cumsum
    custom_linear_solve device_put dot_general dynamic_slice dynamic_update_slice eigh empty2 fft gather geqrf
    householder_product iota lu lu_pivots_to_permutation pad platform_index polynomial qr random_bits random_clone
    random_fold_in random_gamma random_seed random_split random_unwrap random_wrap reduce reduce_window
    reduce_window_max reduce_window_min reduce_window_sum reduce_xor rev scan scatter scatter-add scatter-max
    scatter-min scatter-mul scatter-sub SearchSorted select_and_gather_add select_and_scatter_add sort split stack svd
    threefry2x32 tile top_k triangular_solve tridiagonal_solve unstack while
"""
ELEMENTWISE = frozenset(_ELEMENTWISE_NAMES.split())
STRUCTURAL = frozenset(("broadcast_in_dim", "optimization_barrier", "reshape", "slice", "squeeze", "transpose"))
_BY_BATCHING_RULE = frozenset(_BY_BATCHING_RULE_NAMES.split())
_CUSTOM_DERIVATIVE = ("custom_jvp_call", "custom_vjp_call")
INLINED = ("jit", "closed_call", "eval_jaxpr", "remat2", *_CUSTOM_DERIVATIVE)
_WHY_NOT = {
    "unvmap_all": "which looks at all simulations at once",
    "unvmap_any": "which looks at all simulations at once",
    "unvmap_max": "which looks at all simulations at once",
    "custom_vmap_call": "which says itself how it is mapped",
    "pure_callback": "which calls Python",
}

NOTES: ContextVar[list[str] | None] = ContextVar("NOTES", default=None)
"""A list, of whoever wants to know, to which `lanes` appends at trace time why a program went through jax.vmap."""


class Halves(NamedTuple):
    """An array of an even number of agents as two.

    Attributes:
        even: the agents 2i, (agents / 2, ...).
        odd: the agents 2i + 1, of the same shape.
    """

    even: Array
    odd: Array

    @classmethod
    def split(cls, x: Array) -> "Halves":
        """The halves of an array.

        Args:
            x: (agents, ...), of an even number of agents.

        Returns:
            Both halves.
        """
        return cls(x[0::2], x[1::2])

    def merged(self) -> Array:
        """The array of all agents, (agents, ...)."""
        shape = jnp.shape(self.even)
        return jnp.stack([self.even, self.odd], axis=1).reshape(2 * shape[0], *shape[1:])


def _is_halves(leaf: Any) -> bool:
    return isinstance(leaf, Halves)


def lanes(fn: Callable[..., Any], axes: Sequence[PyTree], *, fast: bool = True) -> Callable[..., Any]:
    """`jax.vmap(fn, in_axes=axes, out_axes=-1)`, for axes of None and -1, in a program that stays vectorizable.

    jax.vmap moves the mapped axis to the front wherever a mapped value is broadcast, and XLA then transposes whole
    states in every step. Here it stays last, where neighbors in memory are independent simulations doing the same.

    Arguments may hold `Halves` in place of arrays of agents. Whatever follows from them is then computed in halves as
    far as it goes, and results that are still in halves are returned as such: a pair of agents shares one
    word pair, and in halves it is computed once.

    A program of which `unproven` has a reason goes through jax.vmap as it is, with no halves, and `NOTES` are told why.

    Args:
        fn: a function of one lane.
        axes: for each argument, or each of its leaves: -1 for the lanes on its last axis, None for the same for all.
        fast: put polynomials in place of float32 sines, cosines and tangents.

    Returns:
        The function of all lanes, whose results have the lanes on their last axis.
    """

    def run(*args: PyTree):
        leaves, tree = jax.tree.flatten(args, is_leaf=_is_halves)
        broadcast = lambda axis, part: jax.tree.map(lambda _: axis is not None, part, is_leaf=_is_halves)
        mapped = jax.tree.leaves(jax.tree.map(broadcast, tuple(axes), args, is_leaf=is_none))
        numeric = [_is_halves(a) or isinstance(a, jax.Array | np.ndarray | np.generic | int | float) for a in leaves]
        values = [_Value.of(a, m) for a, m, n in zip(leaves, mapped, numeric, strict=True) if n]
        size = next(v.array.shape[-1] for v in values if v.mapped)

        def one_lane(*arrays: Any):
            given = iter(arrays)
            whole = [next(given) if n else leaf for leaf, n in zip(leaves, numeric, strict=True)]
            return fn(*jax.tree.unflatten(tree, whole))

        abstract = [jax.ShapeDtypeStruct(v.shape, v.array.dtype) for v in values]
        closed, shape = jax.make_jaxpr(one_lane, return_shape=True)(*abstract)
        reason = unproven(closed.jaxpr)
        if reason is None:
            pairs = next((v.shape[0] // 2 for v in values if v.odd is not None), None)
            program = _Program(size, fast, pairs)
            out = program.evaluate(closed.jaxpr, [_constant(c) for c in closed.consts], values)
            results = [v.result(size) for v in out]
        else:
            notes = NOTES.get()
            if notes is not None and reason not in notes:
                notes.append(reason)
            results = _whole(closed, values, size, fast)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return run


def unproven(jaxpr: Jaxpr) -> str | None:
    """Why a program must not be evaluated one primitive at a time.

    Args:
        jaxpr: the program, of one lane.

    Returns:
        Words for a message; None if it may.
    """
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "call_hi_primitive":  # of jax 0.12: one for all that are made of several primitives
            name = type(eqn.params["_prim"]).__name__
        within = (reason for inner in inner_programs(eqn.params) if (reason := unproven(inner)) is not None)
        if (reason := next(within, None)) is not None:
            return reason
        if eqn.effects:
            return f"the program calls {name}, an effect"
        if name not in ELEMENTWISE and name not in STRUCTURAL | _BY_BATCHING_RULE | _COMBINE.keys() | set(INLINED):
            return f"the program calls {name}, {_WHY_NOT.get(name, 'which is not on the list of proven primitives')}"
    return None


def mixes(jaxpr: Jaxpr, agents: int, dims: int) -> bool:
    """Whether a program looks from one coordinate of an agent at another.

    Args:
        jaxpr: the program, of one lane.
        agents: of one simulation, more than 1.
        dims: of one agent, more than 1.

    Returns:
        False if on the way to its results all is elementwise, but for sums over the agents alone.
    """
    apart = ELEMENTWISE | {"broadcast_in_dim", "expand_dims", "iota", "optimization_barrier", "squeeze"}

    def needed(jaxpr: Jaxpr, results: Sequence[bool]) -> list[bool] | None:
        """Which arguments are needed for the results that are; None if coordinates are mixed on the way."""
        used = {v for v, need in zip(jaxpr.outvars, results, strict=True) if need and not isinstance(v, Literal)}
        for eqn in reversed(jaxpr.eqns):
            wanted = [v in used for v in eqn.outvars]
            if not any(wanted):
                continue
            name = eqn.primitive.name
            arguments: list[bool] | None = [True] * len(eqn.invars)
            of_all = any(getattr(v.aval, "size", 0) >= agents * dims for v in (*eqn.invars, *eqn.outvars))
            if name in INLINED:
                arguments = needed(_called(eqn).jaxpr, wanted)
            elif of_all and name not in apart and not (name in _COMBINE and eqn.params["axes"] == (0,)):
                arguments = None
            if arguments is None:
                return None
            used.update(v for v, need in zip(eqn.invars, arguments, strict=True) if need and not isinstance(v, Literal))
        return [v in used for v in jaxpr.invars]

    return needed(jaxpr, [True] * len(jaxpr.outvars)) is None


def _called(eqn: Any) -> ClosedJaxpr:
    """The program of a call."""
    inner = next(eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params)
    return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())


def inner_programs(params: dict[str, Any]) -> Iterator[Any]:
    """The programs of loops, branches and calls among an equation's parameters.

    Args:
        params: of the equation, by name.

    Yields:
        Each program, open.
    """
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield getattr(part, "jaxpr", part)


def _whole(closed: ClosedJaxpr, values: Sequence["_Value"], size: int, fast: bool) -> list[Array]:
    """A program by jax.vmap: within it nothing is mapped, so that primitives are bound as they are.

    One with effects runs lane by lane: jax.vmap would write a callback down once for each lane, which takes minutes to
    compile, and call those of both sides of a branch.
    """
    arrays = [v.whole(size).loose(size) for v in values]

    def one_lane(mapped: Sequence[Any]):
        own = iter(mapped)
        given = [_constant(next(own) if v.mapped else a) for v, a in zip(values, arrays, strict=True)]
        out = _Program(size, fast, None).evaluate(closed.jaxpr, [_constant(c) for c in closed.consts], given)
        return [v.array for v in out]

    mapped = [a for v, a in zip(values, arrays, strict=True) if v.mapped]
    if not closed.effects:
        return jax.vmap(one_lane, in_axes=-1, out_axes=-1, axis_size=size)(mapped)
    out = lax.map(one_lane, [jnp.moveaxis(a, -1, 0) for a in mapped])
    return [jnp.moveaxis(a, 0, -1) for a in out]


def _tight(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)


class _Value(NamedTuple):
    """A value of one lane.

    Attributes:
        array: the same for all lanes, of `shape`; or, if `mapped`, with the lanes on the last axis, and without the
            axes of length 1. Adding and removing those is then no operation at all, between which XLA could not see
            that a step may write where it reads.
        shape: in one lane, of all agents.
        mapped: whether lanes have values of their own.
        odd: None, or the odd agents, when `array` holds the even ones alone.
    """

    array: Any
    shape: tuple[int, ...]
    mapped: bool
    odd: Any = None

    @classmethod
    def of(cls, leaf: Any, mapped: bool) -> "_Value":
        if _is_halves(leaf):
            even, odd = cls.of(leaf.even, mapped), cls.of(leaf.odd, mapped)
            return cls(even.array, (2 * even.shape[0], *even.shape[1:]), mapped, odd.array)
        array = jnp.asarray(leaf, jnp.int32 if type(leaf) is int else None)
        return cls.mapped_of(array) if mapped else cls(array, array.shape, False)

    @classmethod
    def mapped_of(cls, array: Array) -> "_Value":
        *shape, size = array.shape
        return cls(array.reshape(*_tight(shape), size), tuple(shape), True)

    def full(self, shape: tuple[int, ...], size: int) -> Array:
        """The value as an operand of the given shape of one lane: tight, with the lanes on the last axis."""
        place = {d: i for i, d in enumerate(d for d, length in enumerate(shape) if length != 1)}
        dims = tuple(place[d] for d, length in enumerate(self.shape) if length != 1)
        array = self.array if self.mapped else jnp.reshape(self.array, _tight(self.shape))
        return self.broadcast(array, dims, shape, size)

    def broadcast(self, array: Array, dims: tuple[int, ...], shape: tuple[int, ...], size: int) -> Array:
        """`array`, whose axes are the axes `dims` of the tight `shape` (and the lanes), broadcast to all of it."""
        target = (*_tight(shape), size)
        if self.mapped:
            dims = (*dims, len(target) - 1)
        return array if jnp.shape(array) == target else lax.broadcast_in_dim(array, target, dims)

    def loose(self, size: int) -> Array:
        """The array with all its axes, and the lanes last if it has them."""
        return jnp.reshape(self.array, (*self.shape, size)) if self.mapped else self.array

    def whole(self, size: int) -> "_Value":
        if self.odd is None:
            return self
        both = Halves(self.half(False).loose(size), self.half(True).loose(size)).merged()
        return _Value.mapped_of(both) if self.mapped else _Value(both, self.shape, False)

    def half(self, odd: bool) -> "_Value":
        """The even or the odd agents of an array of agents; what has no axis of agents is everybody's."""
        shape = (self.shape[0] // 2, *self.shape[1:]) if self.shape else ()
        if self.odd is not None:
            return _Value(self.odd if odd else self.array, shape, self.mapped)
        if self.shape[:1] in ((), (1,)):
            return self
        part = self.array[int(odd) :: 2]  # an axis of agents that is longer than 1 leads, tight or not
        return _Value(part.reshape(*_tight(shape), -1) if self.mapped else part, shape, self.mapped)

    def halves(self) -> tuple[Any, Any]:
        """The arrays of the even and of the odd agents."""
        return self.half(False).array, self.half(True).array

    def everywhere(self, size: int) -> "_Value":
        """The value with the lanes on its last axis, though it may be the same for all."""
        if self.mapped:
            return self
        if self.odd is None:
            return _Value(self.full(self.shape, size), self.shape, True)
        even, odd = (self.half(odd).everywhere(size) for odd in (False, True))
        return _Value(even.array, self.shape, True, odd.array)

    def result(self, size: int) -> Any:
        if self.odd is None:
            return self.full(self.shape, size).reshape(*self.shape, size)
        return Halves(*(self.half(odd).result(size) for odd in (False, True)))


def _constant(array: Any) -> _Value:
    return _Value(array, jnp.shape(array), False)


class _Program(NamedTuple):
    """Evaluates the program of one lane on all of them.

    Attributes:
        size: how many lanes.
        fast: whether polynomials stand for float32 sines, cosines and tangents.
        pairs: of agents; None if nothing comes in halves.
    """

    size: int
    fast: bool
    pairs: int | None

    def evaluate(self, jaxpr: Jaxpr, consts: Sequence[_Value], args: Sequence[_Value]) -> list[_Value]:
        values: dict[Any, _Value] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
        read = lambda v: _constant(v.val) if isinstance(v, Literal) else values[v]
        for eqn in jaxpr.eqns:
            inputs = [read(v) for v in eqn.invars]
            values.update(zip(eqn.outvars, self.results(eqn, inputs), strict=True))
        return [read(v) for v in jaxpr.outvars]

    def results(self, eqn: Any, inputs: list[_Value]) -> list[_Value]:
        """The results of one equation, by the best way there is."""
        name = eqn.primitive.name
        if self.pairs is not None and self.is_paired(eqn):
            return self.word_pairs(eqn, inputs)
        if eqn.params.get("name") in _OF_ROWS and (inputs[0].mapped or inputs[1].mapped):
            inputs = [v.whole(self.size).everywhere(self.size) for v in inputs]
            return [_OF_ROWS[eqn.params["name"]](*inputs)]
        if name in _CUSTOM_DERIVATIVE:
            return self.with_rule(eqn, inputs)
        if name in INLINED:
            return self.inlined(eqn, inputs)
        if name == "optimization_barrier":
            return self.barrier(inputs)
        if not eqn.outvars:
            tracing.bind(eqn.primitive, [v.array for v in inputs], eqn.params)  # under jax.vmap, if it does anything
            return []
        shape = eqn.outvars[0].aval.shape
        if any(v.odd is not None for v in inputs):
            halved = self.by_halves(eqn, inputs)
            if halved is not None:
                return halved
        elif self.pairs is not None and _adds_agents(eqn, 2 * self.pairs):
            same = self.apply(eqn, inputs, _halved(eqn.params), (self.pairs, *shape[1:]))[0]
            return [_Value(same.array, shape, same.mapped, same.array)]
        return self.apply(eqn, [v.whole(self.size) for v in inputs], eqn.params, shape)

    def is_paired(self, eqn: Any) -> bool:
        """Whether an equation asks for the random words of all agents."""
        return eqn.params.get("name") in random.PAIRED and eqn.outvars[0].aval.shape[0] == 2 * (self.pairs or 0)

    def inlined(self, eqn: Any, inputs: list[_Value]) -> list[_Value]:
        inner = _called(eqn)
        return self.evaluate(inner.jaxpr, [_constant(c) for c in inner.consts], inputs)

    def with_rule(self, eqn: Any, inputs: list[_Value]) -> list[_Value]:
        """A function with a derivative rule of its own, which holds for whoever differentiates the lanes' program.

        The function itself is evaluated as everything is; its rule, seldom asked for, is JAX's own under jax.vmap.
        """
        bind = lambda *arrays: tracing.bind(eqn.primitive, arrays, eqn.params)
        if not any(v.mapped for v in inputs):
            return [_constant(a) for a in bind(*(v.whole(self.size).array for v in inputs))]
        forms: list[_Value] = []  # of the results, but for their arrays
        held = lambda arrays: [v._replace(array=a, odd=odd) for v, (a, odd) in zip(inputs, arrays, strict=True)]

        def own(arrays: Sequence[Any]):
            out = [v.everywhere(self.size) for v in self.inlined(eqn, held(arrays))]
            forms[:] = [v._replace(array=None, odd=None if v.odd is None else ()) for v in out]
            return [(v.array, v.odd) for v in out]

        def by_jax(arrays: Sequence[Any]):
            jax.eval_shape(own, arrays)  # for the form of its results
            over = [-1 if v.mapped else None for v in inputs]
            loose = [v.whole(self.size).loose(self.size) for v in held(arrays)]
            out = map(_Value.mapped_of, jax.vmap(bind, in_axes=over, out_axes=-1)(*loose))
            return [(v.array, None) if f.odd is None else v.halves() for v, f in zip(out, forms, strict=True)]

        if eqn.primitive.name == "custom_jvp_call":
            call = jax.custom_jvp(own)
            call.defjvp(lambda primals, tangents: jax.jvp(by_jax, primals, tangents))
        else:
            call = jax.custom_vjp(own)
            call.defvjp(lambda arrays: jax.vjp(by_jax, arrays), lambda pullback, cotangents: pullback(cotangents))
        out = call([(v.array, v.odd) for v in inputs])
        return [f._replace(array=array, odd=odd) for f, (array, odd) in zip(forms, out, strict=True)]

    def word_pairs(self, eqn: Any, inputs: list[_Value]) -> list[_Value]:
        """The random words of pairs of agents: one word pair for both, and who is odd known beforehand."""
        agents, dims = eqn.outvars[0].aval.shape
        one = [jax.ShapeDtypeStruct(v.shape, jnp.result_type(v.array)) for v in inputs]
        generator = random.PAIRED[eqn.params["name"]]
        pairs_of = lambda k0, k1, sim: random.word_pairs(random.Key(k0, k1, generator), sim, agents // 2, dims)
        closed = jax.make_jaxpr(pairs_of)(*one)
        words = self.evaluate(closed.jaxpr, [_constant(c) for c in closed.consts], inputs)
        even, odd = (jnp.full((agents // 2, dims), parity) for parity in (False, True))
        return [_Value(w.array, (agents, dims), w.mapped, w.array) for w in words] + [
            _Value(even, (agents, dims), False, odd)
        ]

    def barrier(self, values: list[_Value]) -> list[_Value]:
        """What must be computed once, before it is used: both halves in one array, or each would be computed alone."""
        real = [v.odd is not None and jnp.issubdtype(v.array.dtype, jnp.floating) for v in values]
        held = [lax.complex(v.array, v.odd) if r else (v.array, v.odd) for v, r in zip(values, real, strict=True)]
        parts = [(a.real, a.imag) if r else a for a, r in zip(lax.optimization_barrier(held), real, strict=True)]
        return [v._replace(array=array, odd=odd) for v, (array, odd) in zip(values, parts, strict=True)]

    def by_halves(self, eqn: Any, inputs: list[_Value]) -> list[_Value] | None:
        """One primitive on each half, or None if it does not leave the agents where they are."""
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        agents = 2 * self.pairs if self.pairs else 0
        if any(v.odd is not None and v.shape[0] != agents for v in inputs):
            return None
        if name in _COMBINE and 0 in eqn.params["axes"]:  # the two halves into one first, so that one array is reduced
            value = inputs[0]
            shape = (agents // 2, *value.shape[1:])
            if name == "reduce_sum" and _is_sum_of_pairs(eqn, value):
                return [_Value(_sum_of_pairs(value.array, value.odd), out.shape, True)]
            one = _Value(_COMBINE[name](value.array, value.odd), shape, value.mapped)
            return self.apply(eqn, [one], eqn.params, out.shape)
        if out.shape[:1] != (agents,) or not _keeps_agents(eqn):
            return None
        params, shape = _halved(eqn.params), (agents // 2, *out.shape[1:])
        halves = [[v.half(odd) for v in inputs] for odd in (False, True)]
        even = self.apply(eqn, halves[0], params, shape)[0]
        same = all(a.array is b.array for a, b in zip(*halves, strict=True))
        odd = even if same else self.apply(eqn, halves[1], params, shape)[0]
        return [_Value(even.array, out.shape, even.mapped, odd.array)]

    def apply(self, eqn: Any, inputs: list[_Value], params: dict[str, Any], shape: tuple[int, ...]) -> list[_Value]:
        """One primitive, on whole values; `shape` is that of its first result in one lane."""
        name, size = eqn.primitive.name, self.size
        bind = lambda *arrays, **changed: tracing.bind(eqn.primitive, arrays, {**params, **changed})
        mapped = any(v.mapped for v in inputs)
        if self.fast and name in _REPLACED and eqn.outvars[0].aval.dtype == jnp.float32:
            return [_Value(_REPLACED[name](inputs[0].array), shape, mapped)]
        if not mapped:
            return [_constant(a) for a in bind(*(v.array for v in inputs))]
        first, tight = inputs[0], (*_tight(shape), size)
        own = name in ELEMENTWISE or name in STRUCTURAL or name in _COMBINE
        if own and 0 in shape:  # nothing: of an axis of length 1, too, which the arrays do not have
            return [_Value(jnp.zeros(tight, eqn.outvars[0].aval.dtype), shape, True)]
        place = {d: i for i, d in enumerate(d for d, length in enumerate(first.shape) if length != 1)}
        if name in ELEMENTWISE and (name != "bitcast_convert_type" or first.shape == shape):
            scalars = name not in ("select_n", "clamp")  # these take no scalar among arrays
            lone = lambda v: scalars and not v.mapped and not v.shape
            out = bind(*(v.array if lone(v) else v.full(shape, size) for v in inputs))[0]
        elif name == "broadcast_in_dim":
            to = {d: i for i, d in enumerate(d for d, length in enumerate(shape) if length != 1)}
            dims = tuple(to[params["broadcast_dimensions"][d]] for d in place)
            out = first.broadcast(first.array, dims, shape, size)
        elif name in ("squeeze", "expand_dims") or (name == "reshape" and params["dimensions"] is None):
            out = jnp.reshape(first.array, tight)
        elif name in _COMBINE:
            axes = tuple(place[d] for d in params["axes"] if d in place)
            out = bind(first.array, axes=axes)[0] if axes else first.array
        elif name == "transpose":
            order = (*(place[d] for d in params["permutation"] if d in place), len(place))
            out = bind(first.array, permutation=order)[0]
        elif name == "slice":
            pick = lambda values, end: (*(values[d] for d in place), end)
            strides = None if params["strides"] is None else pick(params["strides"], 1)
            starts, limits = pick(params["start_indices"], 0), pick(params["limit_indices"], size)
            out = bind(first.array, start_indices=starts, limit_indices=limits, strides=strides)[0].reshape(tight)
        elif name in ("dynamic_slice", "dynamic_update_slice") and _is_same_place(eqn, inputs):
            # Its batching rule would make a gather of it, for which the lanes of all that is there move to the front.
            at = [v.array for d, v in enumerate(inputs[-len(first.shape) :]) if d in place]
            at.append(jnp.zeros((), at[0].dtype if at else jnp.int32))
            if name == "dynamic_slice":
                sizes = (*(params["slice_sizes"][d] for d in place), size)
                out = bind(first.array, *at, slice_sizes=sizes)[0].reshape(tight)
            else:
                update = inputs[1]
                rows = update.full(update.shape, size).reshape(*(update.shape[d] for d in place), size)
                out = bind(first.full(first.shape, size), rows, *at)[0]
        elif name == "bitcast_convert_type":  # to another size: its batching rule takes the last axis for the bytes
            front = jax.vmap(bind)(jnp.moveaxis(first.loose(size), -1, 0))[0]
            return [_Value.mapped_of(jnp.moveaxis(front, 0, -1))]
        else:  # by its batching rule: right, if not always fast
            over = [-1 if v.mapped else None for v in inputs]
            out = jax.vmap(bind, in_axes=over, out_axes=-1)(*(v.loose(size) for v in inputs))
            return [_Value.mapped_of(a) for a in out]
        return [_Value(out, shape, True)]


def _is_same_place(eqn: Any, inputs: Sequence[_Value]) -> bool:
    """Whether what a dynamic slice reads or writes lies at one place in all lanes, and is something."""
    axes = len(inputs[0].shape)
    something = axes > 0 and 0 not in inputs[0].shape and 0 not in eqn.outvars[0].aval.shape
    known = len(inputs) == axes + 1 + (eqn.primitive.name == "dynamic_update_slice")
    return something and known and not any(v.mapped for v in inputs[-axes:])


def _rows(values: _Value, members: _Value) -> _Value:
    """What some agents have, each lane's own ones: a gather that leaves the lanes last."""
    shape = (*members.shape, *values.shape[1:])
    if values.shape[0] == 1:  # an axis that the arrays do not have, and one agent to read
        return values._replace(shape=shape)
    inside = jnp.minimum(members.array, values.shape[0] - 1)
    return _Value(values.array.at[_at(inside, members, values)].get(mode="promise_in_bounds"), shape, True)


def _with_rows(values: _Value, members: _Value, rows: _Value) -> _Value:
    """All agents, some of which have what is new: a scatter."""
    if values.shape[0] == 1:
        return values._replace(array=jnp.where(members.array == 0, rows.array, values.array))
    place = values.array.at[_at(members.array, members, values)]
    return values._replace(array=place.set(rows.array, mode="drop", unique_indices=True))


def _at(numbers: Array, members: _Value, values: _Value) -> tuple[Array, ...]:
    """The places of some agents in the array of all, for each lane."""
    rest = (*_tight(values.shape[1:]), numbers.shape[-1])
    lead = numbers.shape[:-1]  # none for one agent
    every = [jnp.arange(n, dtype=jnp.int32).reshape(-1, *(1,) * (len(rest) - 1 - i)) for i, n in enumerate(rest)]
    return (numbers.reshape(*lead, *(1,) * (len(rest) - 1), -1), *every)


_OF_ROWS: dict[str, Callable[..., _Value]] = {ROWS: _rows, WITH_ROWS: _with_rows}


_COMBINE = {
    "reduce_sum": jnp.add,
    "reduce_prod": jnp.multiply,
    "reduce_max": jnp.maximum,
    "reduce_min": jnp.minimum,
    "reduce_and": jnp.bitwise_and,
    "reduce_or": jnp.bitwise_or,
}


def _is_sum_of_pairs(eqn: Any, value: _Value) -> bool:
    """Whether a sum is over the pairs alone, of what makes complex numbers; one pair has no axis to sum over."""
    alone = value.shape[0] > 2 and math.prod(value.shape[d] for d in eqn.params["axes"]) == value.shape[0]
    return alone and value.mapped and value.array.dtype == jnp.float32


def _sum_of_pairs(even: Array, odd: Array) -> Array:
    """The sum of both over the pairs of agents, (lanes,) or (dims, lanes).

    On a CPU of complex numbers as they lie in memory, where XLA would write their real and imaginary parts into an
    array of their own first. In one dimension as a product with ones.
    """
    if jax.default_backend() != "cpu":
        return jnp.sum(even + odd, axis=0)
    pairs = lax.complex(even, odd)
    if pairs.ndim == 2:
        total = jnp.dot(jnp.ones(pairs.shape[0], pairs.dtype), pairs, precision=lax.Precision.HIGHEST)
    else:
        total = jnp.sum(pairs, axis=0)
    return total.real + total.imag


def _keeps_agents(eqn: Any) -> bool:
    """Whether a primitive whose input and result lead with the agents leaves each agent at its place."""
    name, params = eqn.primitive.name, eqn.params
    if name in ELEMENTWISE:
        return True
    if name == "broadcast_in_dim":
        return params["broadcast_dimensions"][:1] == (0,)
    if name == "reshape":
        return params["dimensions"] is None
    if name == "transpose":
        return params["permutation"][0] == 0
    if name == "slice":
        whole = params["start_indices"][0] == 0 and (params["strides"] is None or params["strides"][0] == 1)
        return whole and params["limit_indices"][0] == eqn.invars[0].aval.shape[0]
    if name == "squeeze":
        return 0 not in params["dimensions"]
    return name.startswith("reduce_") and 0 not in params.get("axes", (0,))


def _adds_agents(eqn: Any, agents: int) -> bool:
    """Whether a primitive repeats a value for each agent."""
    if eqn.primitive.name != "broadcast_in_dim" or eqn.params["shape"][:1] != (agents,):
        return False
    kept = dict(zip(eqn.params["broadcast_dimensions"], eqn.invars[0].aval.shape, strict=True))
    return kept.get(0, 1) == 1


def _halved(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a primitive that keeps agents, for half of them."""
    changed = dict(params)
    for name in ("shape", "new_sizes", "limit_indices"):
        if name in params:
            changed[name] = (params[name][0] // 2, *params[name][1:])
    return changed
