"""EASGD: agents and a center variable (BS 4-5, Z 2.3-2.4)."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractPull, Mean, Order, below, gain_of, lower_gain, scaled_difference, toward
from sdesim.fields import check_sign, concrete, named, number, optional_number


class Elastic(AbstractPull):
    """EASGD: agents and a center variable pull on each other (BS 4-5, Z 2.3-2.4).

        dx^i = k (center - x^i) dt
        dcenter = center_rate (x_mean - center) dt

    In the iteration with learning rate eta, the moving rates of Z are alpha = eta k and beta = eta center_rate.
    The center starts at the mean of the initial agents.

    Attributes:
        k: gain, in 1/time: a number, one an agent, or a function k(x^i, t).
        center_rate: at least 0, in 1/time. None means elastic symmetry, k * agents (beta = agents * alpha); with a gain
            an agent, the sum of the gains. The symmetric rate makes the center stiff: see `stiffness`.
    """

    center_rate: Array | None = eqx.field(converter=optional_number, default=None)

    def __check_init__(self):
        check_sign("center_rate", self.center_rate)

    @classmethod
    def from_moving_rates(cls, alpha: float, beta: float, eta: float) -> "Elastic":
        """The rule whose iteration at learning rate `eta` has Z's moving rates alpha and beta.

        Args:
            alpha: moving rate of the agents, without unit.
            beta: moving rate of the center, at least 0, without unit.
            eta: learning rate, greater than 0, in time.

        Returns:
            The rule, of gain alpha / eta and center rate beta / eta.

        Raises:
            TypeError: for what is no number, naming the argument.
            ValueError: for a number out of its range, likewise.
        """
        check_sign("beta", beta)
        check_sign("eta", eta, zero=False)
        alpha, beta, eta = (named(n, number)(v) for n, v in (("alpha", alpha), ("beta", beta), ("eta", eta)))
        return cls(alpha / eta, beta / eta)

    def init(self, x: PyTree, mean: Mean):
        return mean(x)

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return toward(shared, x, gain_of(self.k, x, t, mean))

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        if self.center_rate is not None:
            return scaled_difference(mean.by_share(self.center_rate), mean(x), shared)
        gain = gain_of(self.k, x, t, mean)
        if gain.ndim == 0:
            return scaled_difference(gain * mean.count, mean(x), shared)
        # Elastic symmetry with unequal gains: the sum of k_i (x^i - center), each the reaction to one agent's pull.
        return jax.tree.map(lambda m, c: mean.count * (m - mean(gain) * c), mean(x, gain), shared)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return shared

    def stiffness(self, agents: int):
        rates = self._rates(agents)
        return None if rates is None else sum(rates)

    def amplification(self, step: float, agents: int, order: Order):
        rates = self._rates(agents)
        if rates is None:
            return None
        alpha, beta = (step * rate for rate in rates)
        if order == "jacobi":
            return max(abs(1 - alpha), abs(1 - alpha - beta))
        return max(abs(1 - alpha), abs((1 - alpha) * (1 - beta)))  # so that DOWNPOUR, alpha = 1, is stable (Z 6.2)

    def gentler(self, excess: float, agents: int):
        if (rates := self._rates(agents)) is None:
            return None
        (k, rate), symmetric = rates, self.center_rate is None
        said = [lower_gain(self.k, excess)] if symmetric else []
        if (limit := (k + rate) / excess - k) > 0:
            said.append(below("center_rate", rate, limit) + (", which by default is k * agents" if symmetric else ""))
        return ", or ".join(words for words in said if words) or None

    def _rates(self, agents: int) -> tuple[float, float] | None:
        """Those of the agents and of the center; None where they cannot be looked at."""
        k, mean_k = concrete(self.k, np.max), concrete(self.k, np.mean)
        if k is None or mean_k is None:
            return None
        rate = mean_k * agents if self.center_rate is None else concrete(self.center_rate, np.max)
        return None if rate is None else (k, rate)
