"""Constants of y-schedule."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign

LAWS = ("exponential", "gamma")
"""Compute times: without memory, and of a gamma law."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Times are in units of the mean compute time m of a job of a fast worker."""

    fast: int = 4
    """Fast workers."""
    slow: int = 24
    """Slow workers."""
    slowness: float = 4.0
    """Mean compute time of the slow ones, in m."""
    active: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 28)
    """Numbers of workers that are activated, the fastest first."""
    workers: int = 48
    """Equal workers, where gradients are discarded or waited for."""
    thresholds: tuple[int, ...] = (2, 4, 6, 8, 12, 16, 24, 32, 48, 96, 1000)
    """Staleness from which on gradients are discarded; the last discards none."""
    barriers: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers of gradients that the server waits for."""
    curvature: float = 1.0
    """Curvature h of the loss."""
    eta: float = 0.05
    """Learning rate."""
    shape: float = 4.0
    """Shape of the gamma law of compute times."""
    sims: int = 1000
    """Independent simulations."""
    long: float = 24.0
    """Length of the runs of unequal workers, in m."""
    every: float = 0.5
    """Time between two of their records, in m."""
    short: float = 8.0
    """Length of the runs of equal workers, in m."""
    often: float = 0.1
    """Time between two of their records, in m."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("active", "thresholds", "barriers"):
            numbers = getattr(self, name)
            for n in numbers:
                check_count(name, n)
            if len(numbers) < 2 or list(numbers) != sorted(set(numbers)):
                raise ValueError(f"{name}={numbers}: must be two numbers at least that increase")
        for name in ("fast", "slow", "workers"):
            check_count(name, getattr(self, name))
        check_count("sims", self.sims, least=2)
        for name in ("slowness", "curvature", "eta", "shape", "long", "every", "short", "often"):
            check_sign(name, getattr(self, name), zero=False)
        if not {self.fast, self.fast + self.slow} <= set(self.active) or self.active[-1] > self.fast + self.slow:
            raise ValueError(f"active={self.active}: must have {self.fast} and end with {self.fast + self.slow}")
        if self.barriers[-1] > self.workers:
            raise ValueError(f"barriers={self.barriers}: must be of at most workers={self.workers}")
        if self.long < 20 * self.every or self.short < 40 * self.often:
            raise ValueError(f"every={self.every}, often={self.often}: there must be many records")

    @property
    def a(self) -> float:
        """eta h, without unit."""
        return self.eta * self.curvature

    @property
    def means(self) -> np.ndarray:
        """Mean compute times of all workers, the fastest first, in m."""
        return np.repeat([1.0, self.slowness], [self.fast, self.slow])


PRESETS = {
    "smoke": Config(active=(2, 4, 6, 28), thresholds=(4, 12, 1000), barriers=(1, 8), sims=300),
    "default": Config(),
    "paper": Config(sims=10000),
}
