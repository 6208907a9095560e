"""Turns: which of several graphs, or fragments, acts at an exchange."""

import math
from fractions import Fraction

import jax.numpy as jnp
from jaxtyping import Array

EARLY = 2.0**-6  # by how much of a turn the next may come before its time, which roundings move
MOST = 100  # exchanges until a turn ends where an exchange does


def turn_of(turns: Array, count: int) -> Array:
    """Whose turn it is.

    Args:
        turns: that have passed, and the share of the one that passes, a scalar.
        count: how many take turns.

    Returns:
        A number below `count`, an int32 scalar.
    """
    return jnp.floor(turns + EARLY).astype(jnp.int32) % count


def in_order(rate: float, count: int) -> list[float]:
    """Turns that have passed before each exchange, until all begins anew.

    Args:
        rate: turns that pass in an exchange.
        count: how many take turns.

    Returns:
        They, from 0 on, and last those before the exchange that is as the first.

    Raises:
        ValueError: for a rate that is no fraction of small numbers: no exchange is as the first then.
    """
    found = Fraction(rate).limit_denominator(MOST)
    if abs(rate - found) > 1e-6 * max(1.0, abs(rate)):
        raise ValueError(f"switch: makes {rate:.9g} turns in an exchange, and must make a fraction of small numbers")
    exchanges = found.denominator * (count // math.gcd(count, found.numerator))
    return [float(i * found) for i in range(exchanges + 1)]
