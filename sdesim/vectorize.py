"""Sine and cosine that vectorize, put in place of XLA's.

On a CPU, XLA turns `sin` and `cos` of float32 into one call of the C library for each number: a step with two sines
spends most of its time there. `vectorized(fn)` traces a function and evaluates it with polynomials in their place. It
sees the program after differentiation, so a plain `jnp.sin` in a user's loss is fast in the gradient too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array, PyTree

from sdesim import random

# n * _PI[0] is exact for |n| < 2**13, and the sum of the parts is pi to 2**-50.
_PI = tuple(np.float32(part) for part in (3.140625, 9.670257568359375e-4, 6.277114152908325e-7))
_SIN = tuple(np.float32(c) for c in (-0.166666571, 8.33301728e-3, -1.98066142e-4, 2.60005279e-6))
_MAGIC = np.float32(3 * 2**22)  # an integer added to it stands in its lowest bits


def _sine_from(x: Array, n: Array, odd: Array) -> Array:
    """sin(x - n pi) for |x - n pi| up to about pi / 2, with its sign flipped where the lowest bit of `odd` is set."""
    r = ((x - n * _PI[0]) - n * _PI[1]) - n * _PI[2]
    s = r * r
    y = r + r * s * (_SIN[0] + s * (_SIN[1] + s * (_SIN[2] + s * _SIN[3])))
    sign = lax.bitcast_convert_type(odd, jnp.uint32) << np.uint32(31)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(y, jnp.uint32) ^ sign, jnp.float32)


@jax.custom_jvp
def sin(x: Array) -> Array:
    """Sine of float32 by range reduction and an odd polynomial; absolute error at most 2e-7 for |x| <= 1e3.

    Beyond, the error grows as the spacing of float32 does. Past 1e7, where that spacing is of the order of a period and
    a float32 has no phase, the result means nothing and need not be in [-1, 1].
    """
    n = jnp.round(x * np.float32(1 / np.pi))
    # An integer in the low bits of a float costs an addition; a conversion to integers, with its care for what is out
    # of range, costs five instructions.
    return _sine_from(x, n, n + _MAGIC)


@jax.custom_jvp
def cos(x: Array) -> Array:
    """Cosine of float32, as `sin`: cos x = -sin(x - (n + 1/2) pi) (-1)^n, the half in the multiple of pi, where it is
    exact."""
    n = jnp.round(x * np.float32(1 / np.pi) - np.float32(0.5))
    return _sine_from(x, n + np.float32(0.5), n + (_MAGIC + np.float32(1)))


# The sign bit and the rounding hide the dependence on x from differentiation.
sin.defjvps(lambda tangent, y, x: cos(x) * tangent)
cos.defjvps(lambda tangent, y, x: -sin(x) * tangent)


def _tan(x: Array) -> Array:
    return sin(x) / cos(x)


_REPLACED: dict[str, Callable[[Array], Array]] = {"sin": sin, "cos": cos, "tan": _tan}
_ELEMENTWISE = frozenset(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy copy_p cos cosh
    digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt max
    min mul ne neg nextafter not or pow reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor""".split()
)
# Their parameters name axes, and the lanes come after all of those.
_AXIS_FREE = frozenset(
    """argmax argmin bitcast_convert_type cumlogsumexp cummax cummin cumprod cumsum expand_dims reduce_and reduce_max
    reduce_min reduce_or reduce_prod reduce_sum rev squeeze""".split()
)
_INLINED = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call")


class Halves(NamedTuple):
    """An array of an even number of agents as two: the agents 2i, and the agents 2i + 1."""

    even: Array
    odd: Array

    @classmethod
    def split(cls, x: Array) -> "Halves":
        return cls(x[0::2], x[1::2])

    def merged(self) -> Array:
        shape = jnp.shape(self.even)
        return jnp.stack([self.even, self.odd], axis=1).reshape(2 * shape[0], *shape[1:])


def _is_halves(leaf) -> bool:
    return isinstance(leaf, Halves)


def lanes(fn: Callable[..., Any], axes: Sequence[PyTree], *, fast: bool = True) -> Callable[..., Any]:
    """`jax.vmap(fn, in_axes=axes, out_axes=-1)`, for axes of None and -1, in a program that stays vectorizable.

    jax.vmap moves the mapped axis to the front wherever a mapped value is broadcast, and XLA then transposes whole
    states in every step. Here it stays last, where neighbors in memory are independent simulations doing the same.

    Arguments may hold `Halves` in place of arrays of agents. Whatever follows from them is then computed in halves as
    far as it goes, and results that are still in halves are returned as such: a pair of agents shares one block of
    random words, and in halves that block is computed once.

    fast: put polynomials in place of float32 sines, cosines and tangents.
    """

    def run(*args):
        leaves, tree = jax.tree.flatten(args, is_leaf=_is_halves)
        spread = lambda axis, part: jax.tree.map(lambda _: axis is not None, part, is_leaf=_is_halves)
        mapped = jax.tree.leaves(jax.tree.map(spread, tuple(axes), args, is_leaf=lambda axis: axis is None))
        numeric = [_is_halves(a) or isinstance(a, jax.Array | np.ndarray | np.generic | int | float) for a in leaves]
        values = [_Value.of(a, m) for a, m, n in zip(leaves, mapped, numeric, strict=True) if n]
        size = next(v.array.shape[-1] for v in values if v.mapped)

        def one_lane(*arrays):
            given = iter(arrays)
            return fn(*jax.tree.unflatten(tree, [next(given) if n else a for a, n in zip(leaves, numeric, strict=True)]))

        abstract = [jax.ShapeDtypeStruct(v.shape, v.array.dtype) for v in values]
        closed, shape = jax.make_jaxpr(one_lane, return_shape=True)(*abstract)
        pairs = next((v.shape[0] // 2 for v in values if v.odd is not None), None)
        program = _Program(size, fast, pairs)
        out = program.evaluate(closed.jaxpr, [_Value(c, False) for c in closed.consts], values)
        return jax.tree.unflatten(jax.tree.structure(shape), [v.result(size) for v in out])

    return run


class _Value(NamedTuple):
    """A value of one lane.

    array: with the lanes on its last axis if `mapped`, the same for all lanes otherwise.
    odd: None, or the odd agents, when `array` holds the even ones alone.
    """

    array: Any
    mapped: bool
    odd: Any = None

    @classmethod
    def of(cls, leaf, mapped: bool) -> "_Value":
        if _is_halves(leaf):
            return cls(leaf.even, mapped, leaf.odd)
        return cls(jnp.asarray(leaf, jnp.int32 if type(leaf) is int else None), mapped)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in one lane, of all agents."""
        shape = jnp.shape(self.array)
        shape = shape[:-1] if self.mapped else shape
        return shape if self.odd is None else (2 * shape[0], *shape[1:])

    def full(self, shape: tuple[int, ...], size: int) -> Array:
        """The value with the lanes on the last axis, as an operand of the given shape of one lane."""
        if self.mapped and jnp.shape(self.array) == (*shape, size):
            return self.array
        rank = jnp.ndim(self.array) - self.mapped
        dims = (*range(rank), len(shape)) if self.mapped else tuple(range(rank))
        return lax.broadcast_in_dim(self.array, (*shape, size), dims)

    def whole(self) -> "_Value":
        return self if self.odd is None else _Value(Halves(self.array, self.odd).merged(), self.mapped)

    def half(self, odd: bool) -> "_Value":
        """The even or the odd agents of an array of agents; what has no axis of agents is everybody's."""
        if self.odd is not None:
            return _Value(self.odd if odd else self.array, self.mapped)
        return self if self.shape[:1] in ((), (1,)) else _Value(self.array[int(odd) :: 2], self.mapped)

    def result(self, size: int):
        if self.odd is None:
            return self.full(self.shape, size)
        return Halves(*(self.half(odd).full(self.half(odd).shape, size) for odd in (False, True)))


class _Program(NamedTuple):
    """Evaluates the program of one lane on all of them. pairs: of agents, None if nothing comes in halves."""

    size: int
    fast: bool
    pairs: int | None

    def evaluate(self, jaxpr: Jaxpr, consts: Sequence[_Value], args: Sequence[_Value]) -> list[_Value]:
        values: dict[Any, _Value] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
        read = lambda v: _Value(v.val, False) if isinstance(v, Literal) else values[v]
        for eqn in jaxpr.eqns:
            inputs = [read(v) for v in eqn.invars]
            name = eqn.primitive.name
            inner = next((eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params), None)
            if self.pairs is not None and eqn.params.get("name") == random.PAIRED and eqn.outvars[0].aval.shape[0] % 2 == 0:
                outputs = self.blocks(eqn, inputs)
            elif name in _INLINED and inner is not None:
                inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
                outputs = self.evaluate(inner.jaxpr, [_Value(c, False) for c in inner.consts], inputs)
            elif any(v.odd is not None for v in inputs) and (halved := self.by_halves(eqn, inputs)) is not None:
                outputs = halved
            elif self.pairs is not None and _adds_agents(eqn, 2 * self.pairs):
                same = self.apply(eqn, inputs, _halved(eqn.params), (self.pairs, *eqn.outvars[0].aval.shape[1:]))[0]
                outputs = [_Value(same.array, same.mapped, same.array)]
            else:
                outputs = self.apply(eqn, [v.whole() for v in inputs], eqn.params, eqn.outvars[0].aval.shape)
            values.update(zip(eqn.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def blocks(self, eqn, inputs: list[_Value]) -> list[_Value]:
        """The random words of pairs of agents: one block for both, and who is odd known beforehand."""
        agents, dims = eqn.outvars[0].aval.shape
        one = [jax.ShapeDtypeStruct(v.shape, v.array.dtype) for v in inputs]
        closed = jax.make_jaxpr(lambda *words: random.blocks(*words, agents // 2, dims))(*one)
        first, second = self.evaluate(closed.jaxpr, [_Value(c, False) for c in closed.consts], inputs)
        parity = [jnp.full((agents // 2, dims), odd) for odd in (False, True)]
        return [_Value(w.array, w.mapped, w.array) for w in (first, second)] + [_Value(parity[0], False, parity[1])]

    def by_halves(self, eqn, inputs: list[_Value]) -> list[_Value] | None:
        """One primitive on each half, or None if it does not leave the agents where they are."""
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        agents = 2 * self.pairs if self.pairs else 0
        if any(v.odd is not None and v.shape[0] != agents for v in inputs):
            return None
        combine = None
        if name in _COMBINE and 0 in eqn.params["axes"]:
            combine, shape = _COMBINE[name], out.shape
        elif out.shape[:1] == (agents,) and _keeps_agents(eqn):
            shape = (agents // 2, *out.shape[1:])
        else:
            return None
        params = eqn.params if combine else _halved(eqn.params)
        halves = [[v.half(odd) for v in inputs] for odd in (False, True)]
        even = self.apply(eqn, halves[0], params, shape)[0]
        same = all(a.array is b.array for a, b in zip(*halves, strict=True))
        odd = even if same else self.apply(eqn, halves[1], params, shape)[0]
        if combine:
            return [_Value(combine(even.array, odd.array), even.mapped)]
        return [_Value(even.array, even.mapped, odd.array)]

    def apply(self, eqn, inputs: list[_Value], params: dict[str, Any], shape: tuple[int, ...]) -> list[_Value]:
        """One primitive, on whole values; `shape` is that of its first result in one lane."""
        name, size = eqn.primitive.name, self.size
        bind = lambda *arrays, **changed: _bind(eqn.primitive, arrays, {**params, **changed})
        mapped = any(v.mapped for v in inputs)
        if self.fast and name in _REPLACED and eqn.outvars[0].aval.dtype == jnp.float32:
            return [_Value(_REPLACED[name](inputs[0].array), mapped)]
        if not mapped:
            return [_Value(a, False) for a in bind(*(v.array for v in inputs))]
        first = inputs[0]
        if name in _ELEMENTWISE:
            scalars = name not in ("select_n", "clamp")  # these take no scalar among arrays
            lone = lambda v: scalars and not v.mapped and not v.shape
            out = bind(*(v.array if lone(v) else v.full(shape, size) for v in inputs))
        elif name in _AXIS_FREE:
            out = bind(first.array)
        elif name == "broadcast_in_dim":
            dims = (*params["broadcast_dimensions"], len(params["shape"]))
            out = bind(first.array, shape=(*params["shape"], size), broadcast_dimensions=dims)
        elif name == "reshape" and params["dimensions"] is None:
            out = bind(first.array, new_sizes=(*params["new_sizes"], size))
        elif name == "transpose":
            out = bind(first.array, permutation=(*params["permutation"], len(first.shape)))
        elif name == "slice":
            strides = None if params["strides"] is None else (*params["strides"], 1)
            starts, limits = (*params["start_indices"], 0), (*params["limit_indices"], size)
            out = bind(first.array, start_indices=starts, limit_indices=limits, strides=strides)
        elif name == "concatenate":
            out = bind(*(v.full(v.shape, size) for v in inputs))
        else:  # whatever else there is: right, if not always fast
            over = [-1 if v.mapped else None for v in inputs]
            out = jax.vmap(lambda *arrays: bind(*arrays), in_axes=over, out_axes=-1)(*(v.array for v in inputs))
        return [_Value(a, True) for a in out]


_COMBINE = {
    "reduce_sum": jnp.add,
    "reduce_prod": jnp.multiply,
    "reduce_max": jnp.maximum,
    "reduce_min": jnp.minimum,
    "reduce_and": jnp.logical_and,
    "reduce_or": jnp.logical_or,
}


def _keeps_agents(eqn) -> bool:
    """Whether a primitive whose input and result lead with the agents leaves each agent at its place."""
    name, params = eqn.primitive.name, eqn.params
    if name in _ELEMENTWISE:
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


def _adds_agents(eqn, agents: int) -> bool:
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


def _bind(primitive, arrays, params) -> list[Array]:
    bound = primitive.get_bind_params(params)
    subfuns, params = bound if isinstance(bound, tuple) else ((), bound)
    out = primitive.bind(*subfuns, *arrays, **params)
    return list(out) if primitive.multiple_results else [out]
