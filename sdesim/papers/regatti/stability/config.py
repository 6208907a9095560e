"""Constants of r-stability."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.theory import staleness

LAWS = ("equal", "exponential")
"""Compute times: all equal with workers that arrive in turn, and without memory."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. The curvature of all losses is 1, so that a learning rate is a = eta h."""

    counts: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Numbers of samples n."""
    workers: tuple[int, ...] = (1, 4, 8, 16, 24)
    """Numbers of workers p, all stable at the learning rate `eta`."""
    etas: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.0625)
    """Learning rates."""
    count: int = 64
    """The number of samples where others vary."""
    eta: float = 0.05
    """The learning rate where others vary."""
    arrivals: int = 800
    """Length of a run: so many that 24 workers, who decay the slowest, have come to rest to 3 parts in 10^4."""
    dims: int = 32
    """Coordinates, each a problem of its own: a run has as many twins."""
    sims: int = 100
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("counts", "workers"):
            numbers = getattr(self, name)
            for value in numbers:
                check_count(name, value)
            if len(numbers) < 2 or list(numbers) != sorted(set(numbers)):
                raise ValueError(f"{name}={numbers}: must be two numbers or more that increase")
        for name in ("arrivals", "dims"):
            check_count(name, getattr(self, name))
        check_count("sims", self.sims, least=2)
        check_sign("etas", self.etas, zero=False)
        if self.workers[0] != 1:
            raise ValueError(f"workers={self.workers}: must begin with 1, which is never stale")
        if self.count not in self.counts:
            raise ValueError(f"count={self.count}: must be one of counts={self.counts}")
        if self.eta not in self.etas or self.eta / 4 not in self.etas:
            raise ValueError(f"etas={self.etas}: must have eta={self.eta} and a quarter of it")
        limit = staleness.regular_limit(self.workers[-1])
        if self.eta >= limit:
            raise ValueError(f"eta={self.eta}: must be below {limit:.4g}, where {self.workers[-1]} workers diverge")

    def samples(self) -> np.ndarray:
        """All samples, of which runs take the first n, and in the last row those that twins have: standard normal.

        Returns:
            (most samples + 1, dims).
        """
        return np.random.default_rng(self.seed).standard_normal((self.counts[-1] + 1, self.dims))

    def means(self) -> np.ndarray:
        """The mean over coordinates of the square of the mean of the first n samples: where runs descend to.

        Returns:
            One for each of `counts`, in length^2.
        """
        return np.array([np.mean(np.mean(self.samples()[:n], 0) ** 2) for n in self.counts])

    def replaced(self, count: int) -> np.ndarray:
        """Delta, the new sample less the old one, in each coordinate.

        Args:
            count: n.

        Returns:
            (dims,).
        """
        samples = self.samples()
        coordinate = np.arange(self.dims)
        return samples[-1] - samples[coordinate % count, coordinate]


PRESETS = {
    "smoke": Config(counts=(16, 64, 256), workers=(1, 16), etas=(0.0125, 0.05), sims=150),
    "default": Config(),
    "paper": Config(sims=1000),
}
