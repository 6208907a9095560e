"""What `bs_average` is made of: the exact law of time averages of a linear iteration, and the parts of its models."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim import noise, objectives, random
from sdesim.coupling import per_agent
from sdesim.fields import number
from sdesim.observe import AbstractAccumulator


@dataclasses.dataclass(frozen=True)
class Chain:
    """A linear iteration X <- step X + kick zeta of all agents' coordinates, with independent zeta of variance 1.

    step, kick: (agents * dims, agents * dims). quorum: (dims, agents * dims), which takes the mean of the agents.
    """

    step: np.ndarray
    kick: np.ndarray
    quorum: np.ndarray

    def responses(self, n: int) -> np.ndarray:
        """What a unit of zeta, m = 1..n iterations before the end, adds to sqrt(n) z_n: (n, dims, agents * dims)."""
        total, power, found = np.zeros_like(self.step), np.eye(len(self.step)), []
        for _ in range(n):
            total, power = total + power, power @ self.step
            found.append(self.quorum @ total @ self.kick / np.sqrt(n))
        return np.array(found)

    def covariance(self, n: int) -> np.ndarray:
        """Exact covariance of sqrt(n) z_n, from a start at the minimum, (dims, dims)."""
        return np.einsum("mic,mjc->ij", *2 * [self.responses(n)])

    def skewness(self, n: int, skewness: float) -> np.ndarray:
        """Exact skewness of the coordinates of sqrt(n) z_n for zeta of a given skewness, (dims,)."""
        third = skewness * np.sum(self.responses(n) ** 3, axis=(0, 2))
        return third / np.diag(self.covariance(n)) ** 1.5


def quorum_chain(eta: float, preconditioners, curvature, noise_matrix, k: float) -> Chain:
    """QSGD whose agent i steps by eta (P_i (-A x + B zeta) + k (mean - x)): the coupling is not preconditioned."""
    p, d = len(preconditioners), len(curvature)
    eye, average = np.eye(p * d), np.kron(np.full((1, p), 1 / p), np.eye(d))
    blocks = np.zeros((p, d, p, d))
    for i, matrix in enumerate(preconditioners):
        blocks[i, :, i, :] = matrix
    scale = blocks.reshape(p * d, p * d)
    pull = eye - np.tile(average, (p, 1))
    step = eye - eta * (scale @ np.kron(np.eye(p), curvature) + k * pull)
    return Chain(step, eta * scale @ np.kron(np.eye(p), noise_matrix), average)


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
