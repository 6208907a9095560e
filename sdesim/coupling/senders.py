"""Couplings whose gains are those of the senders: of their states, or of the best agent's spike (BS 55-61)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractCoupling, Gain, Mean, gain_of, lower_gain
from sdesim.fields import called_with, check_finite, check_sign, concrete, function, number


def _weighted_pull(gains: Array, x: PyTree, mean: Mean) -> PyTree:
    """sum_j k_j (x^j - x^i) over the members, for gains (count,), not divided by their sum, which may be 0."""
    total = mean.count * mean(gains)
    return jax.tree.map(lambda m, a: mean.count * m[None] - total * a, mean(x, gains), x)


def _weighted_center(gains: Array, x: PyTree, mean: Mean) -> PyTree:
    """The mean weighted by the gains, (count,); the plain mean where their sum is 0."""
    total = mean(gains)
    safe = jnp.where(total == 0, jnp.ones_like(total), total)
    return jax.tree.map(lambda w, m: jnp.where(total == 0, m, w / safe), mean(x, gains), mean(x))


class StateDependent(AbstractCoupling):
    """All-to-all coupling with a gain of each sender (BS 55-57).

        dx^i = sum_j gain(x^j, t) (x^j - x^i) dt = K (center - x^i) dt,
        K = sum_j k_j,  center = sum_j k_j x^j / K

    Attributes:
        gain: a function of one agent's state and the time to its gain k_j >= 0, a scalar in 1/time, such as a
            decreasing function of its loss; an `equinox.Module` keeps its numbers sweepable. The constant gain k /
            agents is QSGD.
    """

    gain: Gain = eqx.field(converter=function, metadata=called_with("point", "time"))

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return _weighted_pull(gain_of(self.gain, x, t, mean), x, mean)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return _weighted_center(gain_of(self.gain, x, t, mean), x, mean)


class Spiking(AbstractCoupling):
    """SD-QSGD: at each epoch's start the best agent's gain spikes and relaxes (BS 57, 60-61).

    With tau = t - (start of the epoch) and i* the agent of least loss then,

        k_j(tau) = k/p (1 - e^(-tau/relaxation)) + [j = i*] magnification k e^(-tau/relaxation),   tau < duration,
        k_j = k/p from tau = duration on, and before the first epoch,

    in dx^i = sum_j k_j (x^j - x^i) dt. At the spike the center is the best agent; afterwards the rule is QSGD.

    Attributes:
        k: gain, in 1/time.
        magnification: M, at least 0, without unit.
        relaxation: T_r, greater than 0, in time (iterations * eta).
        duration: T, at least 0, in time (iterations * eta).
    """

    k: Array = eqx.field(converter=number)
    magnification: Array = eqx.field(converter=number)
    relaxation: Array = eqx.field(converter=number)
    duration: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_finite("k", self.k)
        for name in ("magnification", "duration"):
            check_sign(name, getattr(self, name))
        check_sign("relaxation", self.relaxation, zero=False)

    def init(self, x: PyTree, mean: Mean):
        # No spike yet: the epoch began long ago. Not at -inf, of which an adaptive solver would take differences.
        return {"best": jnp.zeros((), jnp.int32), "start": jnp.full((), -1e30, self.k.dtype)}

    def renew(self, x: PyTree, shared: PyTree, t: Array, losses: Array):
        # A diverged agent must not lead: argmin would return the first NaN.
        losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
        return {"best": jnp.argmin(losses).astype(jnp.int32), "start": jnp.asarray(t, self.k.dtype)}

    def gains(self, shared: dict[str, Array], t: Array, agents: int) -> Array:
        """The gains k_j of all agents.

        Args:
            shared: the best agent at the last epoch's start, and that start.
            t: the time of the rule, a scalar.
            agents: their number.

        Returns:
            (agents,), in 1/time.
        """
        tau = t - shared["start"]
        # A duration of n iterations ends with the n-th: where t is that end but for roundings, the spike is over.
        on = tau + 16 * float(jnp.finfo(tau.dtype).eps) * t < self.duration
        decay = jnp.where(on, jnp.exp(-tau / self.relaxation), jnp.zeros_like(tau))
        spike = (jnp.arange(agents, dtype=jnp.int32) == shared["best"]).astype(self.k.dtype)
        return self.k / agents * (1 - decay) + spike * (self.magnification * self.k * decay)

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return _weighted_pull(mean.taken(self.gains(shared, t, mean.agents)), x, mean)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return _weighted_center(mean.taken(self.gains(shared, t, mean.agents)), x, mean)

    def stiffness(self, agents: int):
        k, magnification = concrete(self.k, np.max), concrete(self.magnification, np.max)
        return None if k is None or magnification is None else k * max(1.0, magnification)

    def gentler(self, excess: float, agents: int):
        return lower_gain(self.k, excess)
