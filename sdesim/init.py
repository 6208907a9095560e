"""Laws of the agents' initial states. Like the noise, a draw depends on (seed, simulation, agent, coordinate) alone."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from sdesim import random
from sdesim.fields import Part, check_less, check_sign, number
from sdesim.random import Words


class AbstractInit(Part):
    """A law of initial states. Subclasses give `draw`, and `dims` where their numbers are one a coordinate."""

    @property
    def dims(self) -> int | None:
        """The number of dimensions that its numbers have, None for any."""
        return None

    @property
    def fixed(self) -> Array | None:
        """Where every agent starts, a number or (dims,), of a law without randomness; None of one that draws."""
        return None

    def draw(self, words: Words, dtype: DTypeLike) -> Array:
        """States of the agents of one simulation.

        Args:
            words: random words, of shape (agents, dims).
            dtype: of the states.

        Returns:
            (agents, dims), in length.
        """
        raise NotImplementedError


def _coordinates(*numbers: Array) -> int | None:
    """The length of what is given for each coordinate, None if all are single numbers."""
    return next((a.shape[-1] for a in numbers if a.ndim), None)


class Uniform(AbstractInit):
    """Independent coordinates uniform on (low, high).

    Attributes:
        low: a number or one a coordinate (dims,), in length.
        high: greater than low, a number or (dims,), in length.
    """

    low: Array = eqx.field(converter=number)
    high: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_less("low", self.low, "high", self.high)

    @property
    def dims(self):
        return _coordinates(self.low, self.high)

    def draw(self, words: Words, dtype: DTypeLike):
        return self.low + (self.high - self.low) * random.uniform(words.own, dtype)


class Normal(AbstractInit):
    """Independent normal coordinates.

    Attributes:
        mean: a number or one a coordinate (dims,), in length.
        std: standard deviation, at least 0, a number or (dims,), in length.
    """

    mean: Array = eqx.field(converter=number, default=0.0)
    std: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        check_sign("std", self.std)

    @property
    def dims(self):
        return _coordinates(self.mean, self.std)

    def draw(self, words: Words, dtype: DTypeLike):
        return self.mean + self.std * random.normal(words, dtype)


class Point(AbstractInit):
    """Every agent of every simulation at one point.

    Attributes:
        x: a number or one a coordinate (dims,), in length.
    """

    x: Array = eqx.field(converter=number, default=0.0)

    @property
    def dims(self):
        return _coordinates(self.x)

    @property
    def fixed(self):
        return self.x

    def draw(self, words: Words, dtype: DTypeLike):
        return jnp.broadcast_to(self.x, jnp.shape(words.first)).astype(dtype)
