"""Elementwise functions that both GPU backends of Pallas can compile, written where they lack them.

Triton lacks `round` and `erf`; Mosaic lacks `sqrt`, `log1p`, `tan` and many more. What is here in their place also runs
in interpret mode, so that tests on a CPU check the arithmetic of the GPU. Sines are those of `sdesim.engine.vectorize`.

XLA folds (x + c) - c into x, which undoes the rounding that the sum is for; the backends of Pallas do not. `hold`, the
first argument of every rule, is what keeps XLA from it in interpret mode, and nothing on a GPU.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax
from jaxtyping import Array

from sdesim.engine.vectorize import PI, SINE

_F, _U = np.float32, np.uint32
_MAGIC = _F(12582912.0)  # 1.5 * 2**23: adding it rounds to an integer, for numbers to 2**22


def _const(x: Array, value: float):
    return lax.full_like(x, _F(value))


def _rounded(hold: Callable[[Array], Array], x: Array):
    """x + magic, whose lowest bits are those of the nearest integer to x."""
    return hold(x + _MAGIC)


def _signed(y: Array, bits: Array):
    """y with its sign flipped where the lowest of `bits` is set."""
    return lax.bitcast_convert_type(lax.bitcast_convert_type(y, _U) ^ (bits << _U(31)), _F)


def _sine_from(x: Array, n: Array, parity: Array):
    """(-1)^parity sin(x - n pi), in the same operations as on the CPU."""
    r = (x - n * PI[0]) - n * PI[1]
    half_pi = _const(x, np.pi / 2)
    r = lax.min(lax.max(r, -half_pi), half_pi)  # beyond the range of the reduction it stays a sine: within [-1, 1]
    s = r * r
    y = r + r * s * (SINE[0] + s * (SINE[1] + s * (SINE[2] + s * SINE[3])))
    return _signed(y, parity)


def _sin(hold: Callable[[Array], Array], x: Array, **_: Any):
    m = _rounded(hold, x * _F(1 / np.pi))
    return _sine_from(x, m - _MAGIC, lax.bitcast_convert_type(m, _U))


def _cos(hold: Callable[[Array], Array], x: Array, **_: Any):
    m = _rounded(hold, hold(x * _F(1 / np.pi) - _F(0.5)))  # the integer nearest to x / pi - 1/2
    return _sine_from(x, hold(m - _MAGIC) + _F(0.5), lax.bitcast_convert_type(m, _U) + _U(1))


def _sqrt(hold: Callable[[Array], Array], x: Array, **_: Any):
    """x / sqrt(x) and one step of Newton's; but 0 and infinity themselves, which alone equal their halves."""
    r = lax.rsqrt(x)
    y = x * r
    y = y + (_F(0.5) * r) * (x - y * y)
    return lax.select(x * _F(0.5) == x, x, y)


def _round(hold: Callable[[Array], Array], x: Array, rounding_method: Any = None, **_: Any):
    """To the nearest integer, halves to even; numbers from 2**22 on are left as they are."""
    if rounding_method is not None and int(rounding_method) == 0:  # halves away from zero
        whole = _floor(hold, lax.abs(x) + _F(0.5))
        return lax.select(x < _F(0), -whole, whole)
    return lax.select(lax.abs(x) < _F(2.0**22), _rounded(hold, x) - _MAGIC, x)


def _floor(hold: Callable[[Array], Array], x: Array, **_: Any):
    n = _round(hold, x)
    return lax.select(n > x, n - _F(1), n)


def _log1p(hold: Callable[[Array], Array], x: Array, **_: Any):
    """log u * x / (u - 1), u = 1 + x: the rounding of u cancels (Goldberg 1991)."""
    u = hold(x + _F(1))
    d = u - _F(1)
    whole = lax.select(u == u * _F(0.5), _const(x, 1), x / lax.select(d == _F(0), _const(x, 1), d))  # at -1, infinity
    return lax.select(d == _F(0), x, lax.log(u) * whole)


def _expm1(hold: Callable[[Array], Array], x: Array, **_: Any):
    """(u - 1) x / log u, u = exp x, for the same reason (Kahan); exp x - 1 where nothing cancels."""
    u = hold(lax.exp(x))
    d = u - _F(1)
    near = lax.abs(x) < _F(1)
    log = lax.log(lax.select(near & (d != _F(0)), u, _const(x, 2)))
    return lax.select(near, lax.select(d == _F(0), x, d * (x / log)), d)


def _sinh(hold: Callable[[Array], Array], x: Array, **_: Any):
    e = _expm1(hold, lax.abs(x))
    y = _F(0.5) * e + _F(0.5) * (e / (e + _F(1)))
    return lax.select(x < _F(0), -y, y)


def _cosh(hold: Callable[[Array], Array], x: Array, **_: Any):
    u = lax.exp(lax.abs(x))
    return _F(0.5) * u + _F(0.5) / u


def _is_finite(hold: Callable[[Array], Array], x: Array, **_: Any):
    return lax.abs(x) < _F(np.inf)


def _integer_pow(hold: Callable[[Array], Array], x: Array, y: int, **_: Any):
    if y < 0:
        return _F(1) / _integer_pow(hold, x, -y)
    out, square = None, x
    while y:
        if y & 1:
            out = square if out is None else out * square
        y >>= 1
        square = square * square if y else square
    return _const(x, 1) if out is None else out


RULES = dict(
    add_any=lambda hold, a, b: a + b,
    ceil=lambda hold, x: -_floor(hold, -x),
    clamp=lambda hold, low, x, high: lax.min(lax.max(x, low), high),
    cos=_cos,
    cosh=_cosh,
    expm1=_expm1,
    floor=_floor,
    integer_pow=_integer_pow,
    is_finite=_is_finite,
    log1p=_log1p,
    one_minus_square=lambda hold, x: (_F(1) + x) * (_F(1) - x),
    round=_round,
    sin=_sin,
    sinh=_sinh,
    sqrt=_sqrt,
    square=lambda hold, x: x * x,
    tan=lambda hold, x, **_: _sin(hold, x) / _cos(hold, x),
)
"""By primitive, for float32 (integers are left to the backend)."""

EXACT = {name: rule for name, rule in RULES.items() if name not in ("sin", "cos")}
EXACT["tan"] = lambda hold, x, **_: lax.sin(x) / lax.cos(x)
"""The same with the backend's own sines."""

NATIVE = frozenset(
    (
        "abs",
        "acos",
        "acosh",
        "add",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "bitcast_convert_type",
        "cbrt",
        "clamp",
        "convert_element_type",
        "cos",
        "div",
        "eq",
        "erf",
        "erf_inv",
        "exp",
        "exp2",
        "ge",
        "gt",
        "integer_pow",
        "le",
        "log",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "pow",
        "rem",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sin",
        "sub",
        "tanh",
        "xor",
    )
)
"""What is handed to the backend as it is. Where one of the two cannot compile it, its own message says so."""
