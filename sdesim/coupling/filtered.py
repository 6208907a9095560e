"""Agents in feedback with a filter of themselves (BS 64)."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractPull, Mean, Order, gain_of, scaled_difference, toward
from sdesim.fields import Part, called_with, check_sign, concrete, function, number


class LinearFilter(Part):
    """The low-pass filter dcenter = rate (x_mean - center) dt, which makes `Filtered` EASGD.

    Attributes:
        rate: at least 0, in 1/time.
    """

    rate: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("rate", self.rate)

    def stiffness(self):
        """Its fastest rate, in 1/time; None where it cannot be looked at."""
        return concrete(self.rate, np.max)

    def __call__(self, center: PyTree, x: PyTree, t: Array, mean: Mean):
        return scaled_difference(self.rate, mean(x), center)


class SaturatingFilter(Part):
    """dcenter = rate width tanh((x_mean - center) / width) dt: linear nearby, of bounded speed for far agents.

    Attributes:
        rate: at least 0, in 1/time.
        width: distance from which on the speed saturates, greater than 0, in length.
    """

    rate: Array = eqx.field(converter=number)
    width: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("rate", self.rate)
        check_sign("width", self.width, zero=False)

    def stiffness(self):
        """Its fastest rate, in 1/time; None where it cannot be looked at."""
        return concrete(self.rate, np.max)  # in its middle, and nowhere more

    def __call__(self, center: PyTree, x: PyTree, t: Array, mean: Mean):
        return jax.tree.map(lambda m, c: self.rate * self.width * jnp.tanh((m - c) / self.width), mean(x), center)


class Filtered(AbstractPull):
    """Agents in feedback with any dynamics of the quorum variable (BS 64).

        dx^i = k (center - x^i) dt,   dcenter = filter(center, x, t) dt

    Attributes:
        k: gain, in 1/time: a number, one an agent, or a function k(x^i, t).
        filter: a function (center, x, t, mean) -> dcenter, such as `LinearFilter` or `SaturatingFilter`. A filter with
            a state of its own also has `init(x, mean) -> state` and `output(state) -> center`, and receives its state
            in place of the center. Its velocity is that for all agents: where some take part, it moves by their share.
            A filter whose fastest rate is known says so by `stiffness() -> float`.
    """

    filter: Callable[..., PyTree] = eqx.field(
        converter=function, metadata=called_with("center", "agents", "time", "mean")
    )

    def init(self, x: PyTree, mean: Mean):
        init = getattr(self.filter, "init", None)
        return mean(x) if init is None else init(x, mean)

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return toward(self.center(x, shared, t, mean), x, gain_of(self.k, x, t, mean))

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return jax.tree.map(mean.by_share, self.filter(shared, x, t, mean))

    def stiffness(self, agents: int):
        known = getattr(self.filter, "stiffness", None)
        k, rate = concrete(self.k, np.max), None if known is None else known()
        return None if k is None or rate is None else k + rate

    def amplification(self, step: float, agents: int, order: Order):
        return super().amplification(step, agents, order) if order == "jacobi" else None

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        output = getattr(self.filter, "output", None)
        return shared if output is None else output(shared)
