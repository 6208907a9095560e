"""Agents alone, and agents that are pulled towards their mean (BS 6)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractCoupling, AbstractPull, Mean, gain_of, lower_gain, toward
from sdesim.fields import concrete


class Uncoupled(AbstractCoupling):
    """No coupling: independent SGD agents."""

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return jax.tree.map(jnp.zeros_like, x)

    def stiffness(self, agents: int):
        return 0.0


class Quorum(AbstractPull):
    """QSGD: each agent is pulled towards the mean of all (BS 6).

        dx^i = k (x_mean - x^i) dt

    Attributes:
        k: gain, in 1/time: a number, one an agent of shape (agents,), or a function k(x^i, t). With one common number
            the coupling leaves the mean of the agents alone.
    """

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return toward(mean(x), x, gain_of(self.k, x, t, mean))

    def stiffness(self, agents: int):
        return 0.0 if agents == 1 else concrete(self.k, np.max)  # one agent is its own mean

    def gentler(self, excess: float, agents: int):
        return lower_gain(self.k, excess)
