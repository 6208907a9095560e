"""Learning rates that fall with the staleness: factors for `AsyncSGD(scale=...)`."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.fields import Part, check_sign, number


class PowerLaw(Part):
    """(1 + s)^-exponent at staleness s.

    Attributes:
        exponent: c, at least 0; 0 is a factor of 1.
    """

    exponent: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("exponent", self.exponent)

    def __call__(self, staleness: Array) -> Array:
        """The factor.

        Args:
            staleness: an integer scalar.

        Returns:
            A scalar from 0 to 1.
        """
        return (1 + staleness.astype(self.exponent.dtype)) ** -self.exponent


class DelayAdaptive(Part):
    """1, and min(1, limit / s) where the staleness s is greater than the concurrency (2206.08307).

    Attributes:
        concurrency: how many gradients are computed at a time, the number of workers.
        limit: 1 / (4 eta L), L the smoothness, greater than 0.
    """

    concurrency: Array = eqx.field(converter=number)
    limit: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("concurrency", self.concurrency, zero=False)
        check_sign("limit", self.limit, zero=False)

    def __call__(self, staleness: Array) -> Array:
        """The factor.

        Args:
            staleness: an integer scalar.

        Returns:
            A scalar from 0 to 1.
        """
        s = staleness.astype(self.limit.dtype)
        return jnp.where(s > self.concurrency, jnp.minimum(1.0, self.limit / jnp.maximum(s, 1)), 1.0)
