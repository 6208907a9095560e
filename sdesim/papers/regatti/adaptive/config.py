"""Constants of r-adaptive."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign

KINDS = {"constant": 0.0, "power 1/2": 0.5, "power 1": 1.0}
"""Kinds of learning rate, with the exponent of the power law of the staleness."""
ADAPTIVE = "delay-adaptive"
"""The kind with a limit on learning rate times staleness, beyond the number of workers."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. The curvature of the unseen loss is 1, so that a learning rate is a = eta h."""

    workers: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of workers p."""
    counts: tuple[int, ...] = (32, 64, 128, 256)
    """Numbers of samples n."""
    etas: tuple[float, ...] = (0.00625, 0.0125, 0.018, 0.025, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28)
    """Learning rates."""
    eta: float = 0.05
    """A learning rate at which one worker is well stable and the most are not."""
    arrivals: int = 800
    """Length of a run."""
    every: int = 10
    """Arrivals between two records."""
    level: float = 0.25
    """The excess of the unseen loss to be reached; all start at half of `dims`."""
    dims: int = 8
    """Coordinates."""
    sets: int = 8
    """Sets of samples, over which losses are averaged."""
    sims: int = 24
    """Independent simulations, each with all sets."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("workers", "counts"):
            numbers = getattr(self, name)
            for value in numbers:
                check_count(name, value)
            if len(numbers) < 2 or list(numbers) != sorted(set(numbers)):
                raise ValueError(f"{name}={numbers}: must be two numbers or more that increase")
        for name in ("arrivals", "every", "dims", "sets"):
            check_count(name, getattr(self, name))
        check_count("sims", self.sims, least=2)
        check_sign("etas", self.etas, zero=False)
        check_sign("level", self.level, zero=False)
        if self.workers[0] != 1:
            raise ValueError(f"workers={self.workers}: must begin with 1, which is never stale")
        if self.counts[0] <= self.dims + 1:
            raise ValueError(f"counts={self.counts}: must be more than dims + 1 = {self.dims + 1}")
        if self.eta not in self.etas:
            raise ValueError(f"etas={self.etas}: must have eta={self.eta}")
        if self.eta >= max(self.etas):
            raise ValueError(f"etas={self.etas}: must go beyond eta={self.eta}")
        if self.arrivals % self.every:
            raise ValueError(f"every={self.every}: must divide arrivals={self.arrivals}")

    @property
    def start(self) -> float:
        """The excess of the unseen loss where all start."""
        return self.dims / 2

    def samples(self) -> np.ndarray:
        """All sets, each of features and a target, all standard normal: targets are noise about a model of zeros.

        Returns:
            (sets, most samples, dims + 1).
        """
        return np.random.default_rng(self.seed).standard_normal((self.sets, self.counts[-1], self.dims + 1))

    def fitted_gap(self) -> np.ndarray:
        """The gap of losses, unseen less seen, at the least squares of the first n samples, in the mean over sets.

        Returns:
            One for each of `counts`.
        """
        return np.array([np.mean([self._fitted_gap(one[:n]) for one in self.samples()]) for n in self.counts])

    @staticmethod
    def _fitted_gap(rows: np.ndarray) -> float:
        x = np.linalg.lstsq(rows[:, :-1], rows[:, -1])[0]
        return float((1 + np.sum(x**2) - np.mean((rows[:, :-1] @ x - rows[:, -1]) ** 2)) / 2)


PRESETS = {
    "smoke": Config(workers=(1, 64), counts=(32, 256), etas=(0.00625, 0.025, 0.05, 0.1, 0.2), sets=4, sims=16),
    "default": Config(),
    "paper": Config(sims=200, sets=32),
}
