"""Constants of y-staleness."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign, one_number
from sdesim.theory import staleness


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Time is counted in steps, a = eta h."""

    delays: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Delays of the atlas, in steps; the last also gives the rate and the variance against h tau."""
    learning: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.234, 0.28, 0.35, 0.45, 0.6, 0.8, 0.9, 0.96, 1.04, 1.15)
    """Learning rates, as shares of the limit at a delay without momentum and coupling: 2 / (pi e) is the fastest."""
    delta: float = 0.7
    """Momentum, of the panels that have some."""
    coupling: float = 0.5
    """Gain k of the coupling over the curvature h."""
    curvature: float = 1.0
    """Curvature h of the loss."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise, where the variance is measured."""
    quiet: tuple[float, ...] = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.87)
    """Learning rates where the variance is measured, as shares of the limit."""
    start: float = 1e-12
    """Where agents without noise begin, in length: the loss of what grows stays within float32."""
    steps: int = 320
    """Steps of a run without noise."""
    noisy_steps: int = 1600
    """Steps of a run with noise."""
    agents: int = 8
    """Independent agents of a simulation with noise."""
    sims: int = 500
    """Independent simulations with noise."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("delays", "learning", "quiet"):
            numbers = getattr(self, name)
            if len(numbers) < 2 or list(numbers) != sorted(set(numbers)) or not numbers[0] > 0:
                raise ValueError(f"{name}={numbers}: must be two numbers at least that increase, greater than 0")
        for name in ("steps", "noisy_steps", "agents", *(() if self.sims >= 2 else ("sims",))):
            check_count(name, getattr(self, name), least=2)
        for delay in self.delays:
            check_count("delays", delay)
        for name in ("curvature", "sigma", "coupling", "start"):
            check_sign(name, getattr(self, name), zero=False)
        one_number("delta", self.delta, zero=False, below=1.0)
        if not self.learning[0] < 1 < self.learning[-1]:
            raise ValueError(f"learning={self.learning}: must go beyond 1, where it diverges")
        if not self.quiet[-1] < 1:
            raise ValueError(f"quiet={self.quiet}: must stay below 1, where it diverges")
        if self.steps < 12 * self.delays[-1]:
            raise ValueError(f"steps={self.steps}: must be many times the longest delay, {self.delays[-1]}")

    @property
    def longest(self) -> int:
        """The last delay, in steps."""
        return self.delays[-1]

    def etas(self, delay: int, shares: tuple[float, ...]) -> np.ndarray:
        """Learning rates at a delay.

        Args:
            delay: in steps.
            shares: of the limit.
        """
        return np.asarray(shares) * staleness.step_limit(delay) / self.curvature

    def turns(self, a: np.ndarray) -> np.ndarray:
        """h tau of the delay equation that the iteration with the longest delay is near to, but for terms 1 / delay^2.

        A gradient of `delay` steps ago acts for a step, in whose middle it is half a step older.

        Args:
            a: eta h, without unit.
        """
        return np.asarray(a) * (self.longest + 0.5)


PRESETS = {
    "smoke": Config(
        delays=(1, 3, 8),
        learning=(0.05, 0.234, 0.6, 0.9, 1.1),
        quiet=(0.2, 0.5, 0.8),
        steps=160,
        noisy_steps=400,
        sims=200,
    ),
    "default": Config(),
    "paper": Config(sims=5000),
}
