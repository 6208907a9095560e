"""Constants of z-tree."""

import dataclasses
import math

import numpy as np

from sdesim.fields import check_count, check_sign

SCHEMES = ("by-level", "up-down")
"""The first scheme, tau_1 = 1 and tau_2; and the second one, tau_u = 1 and tau_d."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Times are in units of the mean time m of a step."""

    fanout: tuple[int, ...] = (4, 4)
    """Children of a node at each level, leaves first."""
    curvature: float = 1.0
    """Curvature h of the loss."""
    eta: float = 0.1
    """Learning rate."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise; all start at 1."""
    alphas: tuple[float, ...] = (0.05, 0.1, 0.18, 0.4, 0.9)
    """Moving rates of which variances are taken."""
    alpha: float = 0.18
    """That of all else: 0.9 / (d + 1), as Z takes it."""
    delays: tuple[float, ...] = (0.0, 1.0, 4.0)
    """Times that messages take, of which the first is none."""
    delay: float = 1.0
    """That of the schemes."""
    periods: tuple[int, ...] = (1, 2, 4, 8)
    """Slow periods of the schemes, from 1, where both are the same."""
    level: float = 0.1
    """To which the mean of the root is to fall."""
    time: float = 120.0
    """Length of a run; of its second half stationary variances are taken."""
    every: float = 2.0
    """Time between two records."""
    sims: int = 160
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for fan in self.fanout:
            check_count("fanout", fan)
        for name in ("curvature", "eta", "sigma", "alpha", "delay", "level", "time", "every"):
            check_sign(name, getattr(self, name), zero=False)
        check_count("sims", self.sims, least=2)
        if self.alpha not in self.alphas:
            raise ValueError(f"alphas={self.alphas}: must have alpha={self.alpha:g}")
        if self.delays[0] != 0 or self.delay not in self.delays or list(self.delays) != sorted(set(self.delays)):
            raise ValueError(f"delays={self.delays}: must grow from 0, and have delay={self.delay:g}")
        if self.periods[0] != 1 or len(self.periods) < 2 or list(self.periods) != sorted(set(self.periods)):
            raise ValueError(f"periods={self.periods}: must grow from 1")

    @property
    def a(self) -> float:
        """eta h, without unit."""
        return self.eta * self.curvature

    @property
    def noise(self) -> float:
        """s^2, the variance of the noise of a step."""
        return (self.eta * self.sigma) ** 2

    @property
    def leaves(self) -> int:
        """How many compute."""
        return math.prod(self.fanout)

    @property
    def levels(self) -> list[str]:
        """Their names, from the leaves to the root."""
        return ["leaves", *(f"nodes {level}" for level in range(1, len(self.fanout))), "root"]

    @property
    def moments(self) -> np.ndarray:
        """When runs are recorded, (records,)."""
        return self.every * np.arange(1, round(self.time / self.every) + 1)


PRESETS = {
    "smoke": Config(delays=(0.0, 1.0, 2.0), alphas=(0.05, 0.18, 0.9), periods=(1, 8), time=60.0, sims=100),
    "default": Config(),
    "paper": Config(sims=2000),
}
