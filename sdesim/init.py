"""Laws of the agents' initial states. Like the noise, a draw depends on (seed, simulation, agent, coordinate) alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array

from sdesim import random
from sdesim.engine import blocks
from sdesim.engine.blocks import Blocks
from sdesim.engine.vectorize import lanes
from sdesim.fields import Part, check_less, check_sign, number
from sdesim.noise import _gaussian
from sdesim.random import Stream, Words


class AbstractInit(Part):
    """A law of initial states. `dims` is the number of dimensions that its numbers have, None for any."""

    @property
    def dims(self) -> int | None:
        return None

    def draw(self, words: Words, dtype) -> Array:
        """States of the agents of one simulation, (agents, dims)."""
        raise NotImplementedError

    def __call__(
        self,
        seed: Array,
        sims: Array,
        agents: int,
        dims: int,
        dtype,
        stream=Stream.POSITION,
        layout: Blocks | None = None,
    ) -> Array:
        """States of the simulations numbered `sims`, of shape (agents, dims, len(sims)), block by block."""
        draw = Partial(_draw, seed, agents, dims, jnp.dtype(dtype), int(stream))
        return blocks.of_lanes(draw, layout, self, jax.tree.map(lambda _: None, self), sims)


def _draw(seed, agents: int, dims: int, dtype, stream: int, law: AbstractInit, axes, sims) -> Array:
    key = random.step_key(seed, stream, 0)
    return lanes(lambda sim: law.draw(random.words(key, sim, agents, dims), dtype), (-1,))(sims)


def _coordinates(*numbers: Array) -> int | None:
    """The length of what is given for each coordinate, None if all are single numbers."""
    return next((a.shape[-1] for a in numbers if a.ndim), None)


class Uniform(AbstractInit):
    """Independent coordinates uniform on (low, high)."""

    low: Array = eqx.field(converter=number)
    high: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_less("low", self.low, "high", self.high)

    @property
    def dims(self):
        return _coordinates(self.low, self.high)

    def draw(self, words, dtype):
        return self.low + (self.high - self.low) * random.uniform(words.own, dtype)


class Normal(AbstractInit):
    """Independent normal coordinates."""

    mean: Array = eqx.field(converter=number, default=0.0)
    std: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        check_sign("std", self.std)

    @property
    def dims(self):
        return _coordinates(self.mean, self.std)

    def draw(self, words, dtype):
        return self.mean + self.std * _gaussian(words, dtype)


class Point(AbstractInit):
    """Every agent of every simulation at one point, a number or (dims,)."""

    x: Array = eqx.field(converter=number, default=0.0)

    @property
    def dims(self):
        return _coordinates(self.x)

    def draw(self, words, dtype):
        return jnp.broadcast_to(self.x, jnp.shape(words.first)).astype(dtype)

    def __call__(self, seed, sims, agents, dims, dtype, stream=Stream.POSITION, layout=None):
        """As of every law; nothing is drawn, so nothing is compiled."""
        x, xp = blocks.moving(self.x)
        x = xp.broadcast_to(xp.broadcast_to(x, (dims,))[:, None], (agents, dims, *sims.shape))
        return jnp.asarray(x, dtype)
