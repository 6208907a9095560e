"""Laws of the agents' initial states. Like the noise, a draw depends on (seed, simulation, agent, coordinate) alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array

from sdesim import blocks, random
from sdesim.blocks import Blocks
from sdesim.fields import Part, check_less, check_sign, number
from sdesim.noise import _gaussian
from sdesim.random import Stream, Words
from sdesim.vectorize import lanes


class AbstractInit(Part):
    """A law of initial states."""

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


class Uniform(AbstractInit):
    """Independent coordinates uniform on (low, high)."""

    low: Array = eqx.field(converter=number)
    high: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_less("low", self.low, "high", self.high)

    def draw(self, words, dtype):
        return self.low + (self.high - self.low) * random.uniform(words.own, dtype)


class Normal(AbstractInit):
    """Independent normal coordinates."""

    mean: Array = eqx.field(converter=number, default=0.0)
    std: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        check_sign("std", self.std)

    def draw(self, words, dtype):
        return self.mean + self.std * _gaussian(words, dtype)


class Point(AbstractInit):
    """Every agent of every simulation at one point, a number or (dims,)."""

    x: Array = eqx.field(converter=number, default=0.0)

    def draw(self, words, dtype):
        return jnp.broadcast_to(self.x, jnp.shape(words.first)).astype(dtype)
