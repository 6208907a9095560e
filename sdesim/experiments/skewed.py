"""A skewed convex loss, and what theory says of QSGD's distance to its minimum when gain and rate change in time."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim import objectives
from sdesim.fields import number
from sdesim.theory import bounds

SKEW = float(np.arctanh(3**-0.5))  # where sech^2 is steepest


class SkewedLogCosh(objectives.AbstractObjective):
    """sum of strength x^2 / 2 + weight (log cosh(x - SKEW) + x tanh SKEW): strongly convex, lopsided, minimum at 0.

    Curvature lies between strength and strength + weight; at the minimum it is strength + 2 weight / 3, and the third
    derivative is the largest there is, 4 weight / (3 sqrt 3).
    """

    strength: Array = eqx.field(converter=number)
    weight: Array = eqx.field(converter=number)

    def loss(self, x):
        u = x - SKEW
        wall = jnp.logaddexp(u, -u) - np.log(2.0) + x * np.tanh(SKEW).item()
        return jnp.sum(0.5 * self.strength * x * x + self.weight * wall)


@dataclasses.dataclass(frozen=True)
class Skewed:
    """QSGD on the skewed loss in one dimension: p = `agents`, noise of standard deviation `sigma`, all from `start`.

    Its methods take the learning rate and the gain of each iteration, (steps,), and give what holds after each, with
    the start, (steps + 1,), in length.
    """

    strength: float
    weight: float
    sigma: float
    agents: int
    start: float

    @property
    def objective(self) -> SkewedLogCosh:
        return SkewedLogCosh(self.strength, self.weight)

    @property
    def smoothness(self) -> float:
        """L, the largest curvature; `strength` is lambda, the least."""
        return self.strength + self.weight

    @property
    def third(self) -> float:
        """Q, the largest third derivative, which is that at the minimum."""
        return self.weight * 4 / (3 * 3**0.5)

    @property
    def curvature(self) -> float:
        """f'' at the minimum."""
        return self.strength + 2 / 3 * self.weight

    def distance_bound(self, eta: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Bound of E|x_mean - x*|, of the argument of BS Thm 5.1 made for the iteration.

        With S >= sum_i E|x^i - x_mean|^2, D the distance from the chain without disturbance, N^2 its mean square,
        r = max(|1 - eta lambda|, |1 - eta L|) and q = max(|1 - eta (k + lambda)|, |1 - eta (k + L)|),

            D <- r D + eta Q S / (2 p),   N^2 <- r^2 N^2 + eta^2 C / p,   S <- q^2 S + (p - 1) eta^2 C.

        For constant k and eta -> 0, D and N tend to the two terms of the theorem.
        """
        factor = lambda e, g: max(abs(1 - e * (g + self.strength)), abs(1 - e * (g + self.smoothness)))
        spread, apart, square = 0.0, 0.0, self.start**2
        found = [abs(self.start)]
        for e, g in zip(eta, k, strict=True):
            kick, r = (e * self.sigma) ** 2, factor(e, 0.0)
            apart = r * apart + e * self.third * spread / (2 * self.agents)
            square = r**2 * square + kick / self.agents
            spread = factor(e, g) ** 2 * spread + (self.agents - 1) * kick
            found.append(apart + square**0.5)
        return np.array(found)

    def perturbation(self, eta: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bias x* - E x_mean and variance of x_mean about the minimum, to leading order in the noise.

        To this order agents are those of a quadratic, and the third derivative pushes x_mean by -f'''/2 E(x^i - x*)^2.
        """
        p, h = self.agents, self.curvature
        own, mean, bias = 0.0, 0.0, 0.0  # variance of an agent about x_mean, of x_mean; bias
        found = [(0.0, 0.0)]
        for e, g in zip(eta, k, strict=True):
            kick = (e * self.sigma) ** 2
            bias = (1 - e * h) * bias + e * self.third / 2 * (own + mean)
            own = (1 - e * (g + h)) ** 2 * own + kick * (p - 1) / p
            mean = (1 - e * h) ** 2 * mean + kick / p
            found.append((bias, mean))
        biases, variances = np.array(found).T
        return biases, variances

    def first_term(self, eta, k, *, discrete: bool):
        """The disturbance's term of BS Thm 5.1 for constant eta and k, of the SDE or of the iteration."""
        common = (self.agents, eta, self.sigma**2, k, -self.strength)
        if discrete:
            level = bounds.synchronization_level_discrete(*common, self.smoothness)
        else:
            level = bounds.synchronization_level(*common)
        return self.third * level / (2 * self.agents * self.strength)
