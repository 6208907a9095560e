"""Sums that last: of many small terms, in floating-point numbers that alone could not hold them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim.fields import is_traced


class Sum(NamedTuple):
    """A running sum, kept as what its floating-point number holds and what that number has no room for.

    A float32 alone stands still at 2**24 terms of equal size, and is wrong long before. The two together are right to
    1e-8 over 10**6 terms and 6e-8, float32's rounding, over 10**8 (Kahan's sum, with Knuth's exact addition).

    Attributes:
        value: the sum, rounded.
        rest: what the rounding left out.
    """

    value: Array
    rest: Array

    @classmethod
    def of(cls, value: Array) -> "Sum":
        """A sum that begins.

        Args:
            value: with what, of any shape.

        Returns:
            The sum, with no rest.
        """
        return cls(value, jnp.zeros_like(value))

    def plus(self, term: Array) -> "Sum":
        """The sum with one more term.

        Args:
            term: of the shape and type of the sum.

        Returns:
            The new sum.
        """
        term = term + self.rest
        value = self.value + term
        added = value - self.value
        return Sum(value, (self.value - (value - added)) + (term - added))

    def total(self) -> Array | np.ndarray:
        """The sum in all its digits, as NumPy's float64; inside a transformation of JAX, which has none, rounded."""
        if is_traced(self):
            return self.value
        return np.asarray(self.value, np.float64) + np.asarray(self.rest, np.float64)


def plain(value: Array | Sum) -> Array | np.ndarray:
    """What was observed, as one array.

    Args:
        value: an array, or a sum.

    Returns:
        The array, or the sum's total.
    """
    return value.total() if isinstance(value, Sum) else value
