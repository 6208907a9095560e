"""What `bs_average` is made of: the exact law of time averages of a linear iteration, and the parts of its models."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim import noise, objectives, random
from sdesim.coupling import per_agent
from sdesim.fields import number
from sdesim.observe import AbstractAccumulator


class Exponential(noise.AbstractNoise):
    """zeta = matrix (e - 1), e of independent exponential components of mean 1: variance 1 and skewness 2."""

    matrix: Array = eqx.field(converter=number)

    def iteration_only(self):
        return "skewed noise is not the increment of an SDE"

    def variates(self, blocks, dtype, batch):
        return -jnp.log(random.uniform(blocks[0].own, dtype)) - 1

    def apply(self, z, x, gradient, batch, scale):
        return per_agent(scale / jnp.sqrt(batch), z) * jnp.sum(self.matrix[None] * z[:, None], axis=2)

    def diffuse(self, dw, x, gradient, batch, scale):
        return self.apply(dw, x, gradient, batch, scale)


SKEWNESS = 2.0  # of an exponential law


class Preconditioned(objectives.Quadratic):
    """A quadratic loss whose gradients are multiplied by a matrix."""

    matrix: Array = eqx.field(converter=number, default=1.0)

    def gradient(self, x):
        return self.matrix @ super().gradient(x)


class Average(AbstractAccumulator):
    """The mean of the quorum over the first n iterations, for each n of `iterations`: output `mean`, (len, dims)."""

    iterations: Array = eqx.field(converter=lambda n: jnp.asarray(n, jnp.int32))

    name = "average"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"mean": ("record", "dim")}

    def init(self, view):
        zero = jnp.zeros_like(view.quorum)
        return zero, jnp.zeros((self.iterations.size, zero.size), zero.dtype)

    def update(self, total, view):
        mean, kept = total
        mean = mean + (view.quorum - mean) / view.step.astype(mean.dtype)
        return mean, jnp.where((self.iterations == view.step)[:, None], mean[None], kept)

    def finish(self, total):
        return {"mean": total[1]}
