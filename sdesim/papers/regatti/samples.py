"""Noise of drawn samples: each job's gradient is that of one of n samples, drawn by the job's words.

The model's objective is the loss of unseen data, and zeta the distance of the drawn sample's descent direction from
that of the objective. Its mean is not 0: it is what makes a run descend the loss of its samples. Runs of the same seed
draw samples of the same numbers, whatever these are.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from sdesim import random
from sdesim.fields import check_sign, number
from sdesim.noise import AbstractNoise, Agents
from sdesim.random import Words


class AbstractSamples(AbstractNoise):
    """The first `count` rows of some samples, one a job.

    Attributes:
        samples: (rows, columns).
        count: n, how many of the rows there are to draw from, at least 1.
    """

    samples: Array = eqx.field(converter=number)
    count: Array = eqx.field(converter=number)

    state_dependent = True

    def __check_init__(self):
        check_sign("count", self.count, zero=False)

    def iteration_only(self):
        return "a drawn sample is not the increment of an SDE"

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return random.uniform(words[0].own, dtype)

    def drawn(self, z: Agents) -> Array:
        """The number of the sample that each agent draws: by its first coordinate's variate.

        Args:
            z: of `variates`, (agents, dims).

        Returns:
            (agents,), integers from 0 to count - 1.
        """
        return jnp.floor(z[:, 0] * self.count).astype(jnp.int32)


class Points(AbstractSamples):
    """Losses (h / 2) |x - z|^2 of points z about 0, beside `Quadratic(h)`: zeta = h z.

    Each coordinate is a problem of its own, and a twin differs from the run in one sample of each: in coordinate j it
    is sample j modulo n, in whose place the last row stands.

    Attributes:
        samples: (rows, dims), in length.
        curvature: h, in 1/time.
        twin: 1 for the twin, 0 for the run itself.
    """

    curvature: Array = eqx.field(converter=number)
    twin: Array = eqx.field(converter=number, default=0.0)

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        which = self.drawn(z)
        replaced = jnp.arange(x.shape[1], dtype=jnp.int32) % self.count.astype(jnp.int32)
        other = (self.twin > 0) & (which[:, None] == replaced[None])
        return scale * self.curvature * jnp.where(other, self.samples[-1:], self.samples[which])


class Regression(AbstractSamples):
    """Losses (u x - y)^2 / 2 of rows (u, y), features and a target, beside any loss of unseen data.

    Attributes:
        samples: (rows, dims + 1).
        first: the row with which the `count` begin, of samples that hold several data sets.
    """

    first: Array = eqx.field(converter=number, default=0.0)

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        rows = self.samples[self.first.astype(jnp.int32) + self.drawn(z)]
        features, target = rows[:, :-1], rows[:, -1:]
        return scale * (gradient - features * (jnp.sum(features * x, axis=1, keepdims=True) - target))
