"""The loss Skeleton."""

import equinox as eqx
import jax
import jax.numpy as jnp

from sdesim import objectives
from sdesim.fields import number


class Skeleton(objectives.AbstractObjective):
    """A bowl with ripples: sum over coordinates of x^2 / 2 - depth cos(frequency x).

    A plain function of a point will do, too. As a class its numbers are traced: "objective.depth" sweeps one.

    Attributes:
        depth: of the ripples.
        frequency: of the ripples, in radians per unit of length.
    """

    depth: jax.Array = eqx.field(converter=number, default=0.1)
    frequency: jax.Array = eqx.field(converter=number, default=6.0)

    def loss(self, x):
        # x is one agent's point, of shape (dims,). Plain jax.numpy, no Python branches on values. The gradient is
        # taken from this, and functions whose primitives are known run as one vectorized kernel.
        return jnp.sum(x**2 / 2 - self.depth * jnp.cos(self.frequency * x))
