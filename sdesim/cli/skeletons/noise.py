"""The noise law Skeleton."""

import equinox as eqx
import jax
import jax.numpy as jnp

from sdesim import noise, random
from sdesim.fields import number


class Skeleton(noise.AbstractAdditive):
    """Independent components of density exp(-|z| / scale) / (2 scale).

    Attributes:
        scale: in units of the gradient.
    """

    scale: jax.Array = eqx.field(converter=number)

    @property
    def amplitude(self):
        return self.scale  # noise is amplitude x variate

    @property
    def variate_std(self):
        return 2.0**0.5  # the standard deviation of what `variates` makes

    def variates(self, words, dtype, batch):
        # words[0].own is a 32-bit word for each agent and coordinate, a function of seed, simulation, agent, step and
        # coordinate alone. random.centered makes uniform numbers of (-1, 1) of them, symmetric and never 0.
        u = random.centered(words[0].own, dtype)
        return -jnp.sign(u) * jnp.log1p(-jnp.abs(u))
