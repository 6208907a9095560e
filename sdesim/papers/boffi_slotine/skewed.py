"""A skewed convex loss, and what theory says of QSGD's distance to its minimum when gain and rate change in time."""

import dataclasses

import numpy as np

from sdesim.objectives import LogCosh
from sdesim.theory import bounds, curvature
from sdesim.theory.perturbation import quorum_perturbation


@dataclasses.dataclass(frozen=True)
class Skewed:
    """QSGD on the skewed loss in one dimension: p = `agents`, noise of standard deviation `sigma`.

    strength x^2 / 2 + weight log cosh x, tilted so that its minimum is where the third derivative is greatest. Agents
    all start at the distance `start` from it. The methods take the learning rate and the gain of each iteration,
    (steps,), and give what holds after each, with the start, (steps + 1,), in length.
    """

    strength: float
    weight: float
    sigma: float
    agents: int
    start: float

    @property
    def minimum(self) -> float:
        """Of the loss: there its third derivative is positive, and the mean of agents is below it."""
        return -LogCosh.STEEPEST

    @property
    def objective(self) -> LogCosh:
        return LogCosh.resting_at(self.minimum, self.strength, self.weight)

    @property
    def smoothness(self) -> float:
        """L, the largest curvature; `strength` is lambda, the least."""
        return self.strength + self.weight

    @property
    def third(self) -> float:
        """Q, the largest third derivative, which is that at the minimum."""
        return curvature.constants(self.objective, 1).third

    @property
    def curvature(self) -> float:
        """f'' at the minimum."""
        return self.strength + self.weight / float(np.cosh(self.minimum)) ** 2

    def distance_bound(self, eta: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Bound of E|x_mean - x*|, of BS Thm 5.1 made for the iteration."""
        common = (self.agents, 1, eta, self.sigma**2, self.third, k, self.strength, self.smoothness)
        return bounds.qsgd_distance_scheduled(*common, start=abs(self.start))

    def perturbation(self, eta: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bias x* - E x_mean and variance of x_mean about the minimum, to leading order in the noise."""
        return quorum_perturbation(self.agents, eta, self.sigma, self.third, k, self.curvature)

    def first_term(self, eta, k, *, discrete: bool):
        """The disturbance's term of BS Thm 5.1 for constant eta and k, of the SDE or of the iteration."""
        common = (self.agents, 1, eta, self.sigma**2, self.third, k, self.strength)
        if discrete:
            return bounds.qsgd_distance_discrete_terms(*common, self.smoothness)[0]
        return bounds.qsgd_distance_terms(*common)[0]
