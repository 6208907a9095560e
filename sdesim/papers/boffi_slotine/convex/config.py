"""Constants of bs-convex: a strongly convex loss that is not quadratic, and the same in rotated coordinates."""

import dataclasses

import numpy as np

from sdesim import objectives
from sdesim.fields import check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (1, 4, 32, 256)
    """Numbers of agents p of SGD (1) and QSGD, with and without momentum."""
    center_agents: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of agents of EASGD, whose stiffness grows with them."""
    k: tuple[float, ...] = (0.5, 2.0, 8.0)
    """Coupling gains; QSGD runs at 0 too."""
    sims: int = 64
    """Independent simulations of each grid point."""
    dims: int = 2
    """Dimensions d."""
    eta: float = 0.1
    """Learning rate."""
    refine: int = 8
    """The SDE is integrated with dt = eta / refine, EASGD with less where it is stiff; QSGD also with dt = eta."""
    sigma: float = 2.0
    """Standard deviation of the Gaussian gradient noise in each coordinate."""
    strength: float = 1.0
    """Least curvature of the loss, lambda."""
    weight: float = 1.0
    """Weight w of log cosh; the greatest curvature L is strength + weight."""
    minimum: float = objectives.LogCosh.STEEPEST
    """Where the minimum lies, in every coordinate; agents start there."""
    mu: float = 2.0
    """Friction of QSGD with momentum."""
    time: float = 12.0
    """Time T of a run; errors are means over its last two thirds."""
    stability_step: float = 0.005
    """Relative distance of the learning rates tried for EASGD's limit of stability."""
    stability_iterations: int = 4000
    """Iterations after which stable and unstable rates are told apart."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "center_agents"):
            for value in getattr(self, name):
                check_count(name, value)
        for name, least in (("sims", 2), ("dims", 1), ("refine", 1), ("stability_iterations", 10)):
            check_count(name, getattr(self, name), least=least)
        for name in ("k", "eta", "sigma", "strength", "weight", "mu", "time", "stability_step"):
            check_sign(name, getattr(self, name), zero=False)
        least = np.sqrt(self.smoothness) - np.sqrt(self.strength)
        if not self.mu > least:
            raise ValueError(f"mu={self.mu}: must exceed sqrt(L) - sqrt(lambda) = {least:.4g} (BS Lemma 5.3)")

    @property
    def smoothness(self) -> float:
        """L, the greatest curvature of the loss."""
        return self.strength + self.weight

    @property
    def curvature(self) -> float:
        """The curvature of the loss at its minimum."""
        return self.strength + self.weight / float(np.cosh(self.minimum)) ** 2

    @property
    def loss(self) -> objectives.LogCosh:
        """Strongly convex and not quadratic, with its minimum at `minimum`."""
        return objectives.LogCosh.resting_at(self.minimum, self.strength, self.weight)

    @property
    def rotation(self) -> np.ndarray:
        """The discrete Hartley transform: orthogonal in any dimension, an angle of 45 degrees in two."""
        turns = 2 * np.pi * np.outer(np.arange(self.dims), np.arange(self.dims)) / self.dims
        return (np.cos(turns) + np.sin(turns)) / np.sqrt(self.dims)

    @property
    def noise_trace(self) -> float:
        """C, the trace of the covariance of an agent's gradient noise."""
        return self.dims * self.sigma**2

    def center_dt(self, agents: int) -> float:
        """A step that resolves EASGD: half of what its stability allows at the largest gain, or less.

        Args:
            agents: number of agents p.
        """
        return min(self.eta / self.refine, 1 / (max(self.k) * (1 + agents) + self.smoothness))


PRESETS = {
    "smoke": Config(agents=(16,), center_agents=(16,), k=(0.5, 4.0), sims=24, time=9.0),
    "default": Config(),
    "paper": Config(sims=640),
}
