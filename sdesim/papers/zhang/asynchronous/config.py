"""Constants of z-async."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign

ARMS = ("synchronous", "memoryless", "in turn")
"""Workers that step together; that come at random, of exponential compute times; that come in turn, of equal ones."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Times are in units of the mean compute time m; a step of all takes m."""

    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers of workers p."""
    rates: tuple[float, ...] = (0.025, 0.05, 0.1, 0.15, 0.2)
    """Moving rates alpha = eta k; of `many` workers the synchronous model is stable with all of them."""
    periods: tuple[int, ...] = (1, 2, 4)
    """Communication periods tau."""
    many: int = 8
    """Workers over moving rates."""
    few: int = 4
    """Workers over periods, and of the plane of stability."""
    rate: float = 0.1
    """Moving rate over workers and periods."""
    curvature: float = 1.0
    """Curvature h of the loss."""
    eta: float = 0.1
    """Learning rate."""
    sigma: float = 10.0
    """Standard deviation of the Gaussian gradient noise: 1 / eta, so that of a step is 1."""
    sims: int = 600
    """Independent simulations."""
    settle: int = 80
    """When what is stationary begins, in m."""
    every: int = 3
    """Time between two records, in m."""
    records: int = 32
    """Records of each simulation."""
    plane: tuple[float, ...] = (0.2, 0.6, 1.0, 1.4, 1.8)
    """eta h over the plane of stability."""
    plane_rates: tuple[float, ...] = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15)
    """Moving rates over the plane."""
    early: int = 2
    """From when on squares without gradient noise tell a rate, in m."""
    late: int = 8
    """Until when: later a few simulations make up the mean."""
    clear: float = 0.1
    """The least rate, of decay or growth, of points that are asked on which side of the border they are, in 1/m."""
    border: int = 12
    """Points of each border that is drawn."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("workers", "rates", "periods", "plane", "plane_rates"):
            numbers = getattr(self, name)
            if len(numbers) < 2 or list(numbers) != sorted(set(numbers)):
                raise ValueError(f"{name}={numbers}: must be two or more numbers that increase")
            check_sign(name, numbers, zero=False)
        for name in ("sims", "many", "few", "records", "border"):
            check_count(name, getattr(self, name), least=2)
        for name in ("settle", "every", "early", "late"):
            check_count(name, getattr(self, name))
        for name in ("rate", "curvature", "eta", "sigma", "clear"):
            check_sign(name, getattr(self, name), zero=False)
        if self.many not in self.workers or self.rate not in self.rates or self.periods[0] != 1:
            raise ValueError(
                f"many={self.many}, rate={self.rate:g}: must be of workers and of rates, and period 1 the first"
            )
        if not self.early < self.late:
            raise ValueError(f"late={self.late}: must be later than early={self.early}")
        cycle = self.few * self.periods[-1]
        if any(self.periods[-1] % tau for tau in self.periods) or self.records % cycle:
            raise ValueError(
                f"records={self.records}: must be of whole cycles, of {cycle} arrivals at the longest period"
            )
        if np.gcd(self.stride, cycle) != 1 or np.gcd(self.every, self.periods[-1]) != 1:
            raise ValueError(f"every={self.every}: must have no divisor with a cycle, so that all its phases are met")

    @property
    def stride(self) -> int:
        """Arrivals between two records over periods."""
        return self.few * self.every + 1

    @property
    def moments(self) -> np.ndarray:
        """When runs by seconds are recorded: a little before equal workers arrive, (records,)."""
        return self.settle + self.every * (np.arange(self.records) + 1) - 1 / 500


PRESETS = {
    "smoke": Config(
        workers=(2, 8),
        rates=(0.05, 0.1, 0.2),
        periods=(1, 2),
        sims=1000,
        settle=60,
        records=16,
        plane=(0.4, 1.2),
        plane_rates=(0.15, 0.5, 1.1),
        border=3,
    ),
    "default": Config(),
    "paper": Config(sims=6000),
}
