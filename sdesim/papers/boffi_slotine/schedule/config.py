"""Constants of bs-schedule, and its skewed convex loss."""

import dataclasses
from typing import Any

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.objectives import LogCosh
from sdesim.theory import bounds, curvature
from sdesim.theory.perturbation import quorum_perturbation

POWERS = (0.0, 0.5, 1.0)
SETTLED = 5.0  # time after which runs at constant gain have forgotten their start, for strength 1


@dataclasses.dataclass(frozen=True)
class Skewed:
    """QSGD on the skewed loss in one dimension: p = `agents`, noise of standard deviation `sigma`.

    strength x^2 / 2 + weight log cosh x, tilted so that its minimum is where the third derivative is greatest. Agents
    all start at the distance `start` from it. The methods take the learning rate and the gain of each iteration,
    (steps,), and give what holds after each, with the start, (steps + 1,), in length.

    Attributes:
        strength: curvature far away of the loss, in 1/time.
        weight: of log cosh x.
        sigma: standard deviation of the noise, in length/time.
        agents: p, their number.
        start: distance of the agents' start from the minimum, in length.
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
        """The loss."""
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
        """Bound of E|x_mean - x*|, of BS Thm 5.1 made for the iteration.

        Args:
            eta: learning rates, (steps,), in time.
            k: gains, (steps,), in 1/time.
        """
        common = (self.agents, 1, eta, self.sigma**2, self.third, k, self.strength, self.smoothness)
        return bounds.qsgd_distance_scheduled(*common, start=abs(self.start))

    def perturbation(self, eta: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bias x* - E x_mean and variance of x_mean about the minimum, to leading order in the noise.

        Args:
            eta: learning rates, (steps,), in time.
            k: gains, (steps,), in 1/time.
        """
        return quorum_perturbation(self.agents, eta, self.sigma, self.third, k, self.curvature)

    def first_term(self, eta: Any, k: Any, *, discrete: bool) -> Any:
        """The disturbance's term of BS Thm 5.1 for constant eta and k.

        Args:
            eta: learning rate, in time.
            k: coupling gain, in 1/time.
            discrete: whether it is that of the iteration, and not of the SDE.
        """
        common = (self.agents, 1, eta, self.sigma**2, self.third, k, self.strength)
        if discrete:
            return bounds.qsgd_distance_discrete_terms(*common, self.smoothness)[0]
        return bounds.qsgd_distance_terms(*common)[0]


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: int = 1024
    """Agents p: many, so that the noise of their mean does not hide the bias."""
    sims: int = 16
    """Independent simulations."""
    steps: int = 8000
    """Iterations of the runs with schedules."""
    eta: float = 0.01
    """Learning rate."""
    floor: float = 0.00125
    """The rate to which eta is halved in the other runs."""
    halve_every: int = 1500
    """Iterations between two halvings."""
    sigma: float = 7.0
    """Standard deviation of the Gaussian gradient noise."""
    strength: float = 1.0
    """Curvature of the quadratic part of the loss, its strong convexity lambda."""
    weight: float = 1.0
    """Weight of the skewed part."""
    start: float = 1.0
    """Where all agents start, from the minimum."""
    gain: float = 1.0
    """Gain k at the start."""
    growth_time: float = 2.0
    """Time in which a linearly growing gain doubles first."""
    constant_eta: tuple[float, ...] = (0.02, 0.005)
    """Learning rates of the runs at constant gain."""
    constant_k: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 50.0, 70.0, 85.0, 95.0)
    """Gains of the runs at constant gain."""
    constant_steps: int = 2500
    """Iterations of the runs at constant gain."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "sims", "halve_every"):
            check_count(name, getattr(self, name), least=2)
        for name in ("eta", "floor", "sigma", "strength", "weight", "gain", "growth_time", "constant_eta"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("constant_k", self.constant_k, zero=False)
        for name, steps, eta in (
            ("steps", self.steps, self.eta),
            ("constant_steps", self.constant_steps, min(self.constant_eta)),
        ):
            if check_count(name, steps) * eta < 2 * SETTLED:
                raise ValueError(f"{name}={steps}: must last {2 * SETTLED:g} in time, {2 * SETTLED / eta:.0f} steps")
        if not self.floor < self.eta:
            raise ValueError(f"floor={self.floor}: must be less than eta={self.eta}")
        largest = {"gain": (self.gain * (1 + self.steps * self.eta / self.growth_time), self.eta)}
        largest["constant_k"] = (max(self.constant_k), max(self.constant_eta))
        for name, (k, eta) in largest.items():
            if not eta * (k + self.strength + self.weight) < 2:
                raise ValueError(
                    f"{name}={getattr(self, name)}: eta (k + L) reaches {eta * (k + self.strength + self.weight):.3g}; "
                    "must stay below 2, or the iteration is unstable"
                )

    @property
    def problem(self) -> Skewed:
        """The agents on the skewed loss."""
        return Skewed(self.strength, self.weight, self.sigma, self.agents, self.start)

    def rates_to(self, floor: float) -> np.ndarray:
        """The learning rate of each step that is halved down to `floor`, (steps,).

        Args:
            floor: least learning rate, in time.
        """
        return np.maximum(self.eta * 0.5 ** (np.arange(self.steps) // self.halve_every), floor)


PRESETS = {
    "smoke": Config(sims=8, agents=128, steps=2500, halve_every=500, constant_steps=2000),
    "default": Config(),
    "paper": Config(sims=160),
}
