"""Constants of y-workers."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.theory import staleness

LAWS = ("exponential", "gamma", "equal")
"""Compute times: without memory, of a gamma law, and all equal with workers that arrive in turn."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Times are in units of the mean compute time m of a job."""

    exponential: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Numbers of workers p of exponential times."""
    crowd: tuple[int, ...] = (256, 512, 1024)
    """More of them, up to where the mean square grows, without gradient noise alone."""
    gamma: tuple[int, ...] = (1, 4, 8, 16, 32, 64)
    """Numbers of workers of gamma times."""
    equal: tuple[int, ...] = (1, 4, 6, 8, 10, 16, 24, 31, 32, 64)
    """Numbers of workers of equal times; the last also at the best learning rate for so many."""
    curvature: float = 1.0
    """Curvature h of the loss."""
    eta: float = 0.05
    """Learning rate."""
    shape: float = 4.0
    """Shape of the gamma law of compute times."""
    sigma: float = 0.15
    """Standard deviation of the Gaussian gradient noise, in the race to a loss level; all start at 1."""
    level: float = 0.01
    """The loss to be reached, as a share of the loss at the start."""
    sims: int = 1000
    """Independent simulations."""
    time: float = 6.0
    """Until when random times give the rates of means without gradient noise, in m."""
    square_time: float = 3.0
    """When they have given those of mean squares: later a few simulations make up the mean."""
    equal_time: float = 24.0
    """Until when equal times give them, which are not random; of their second half rates are taken."""
    race: float = 64.0
    """Length of the race, in m."""
    every: float = 0.5
    """Time between two records, in m."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("exponential", "crowd", "gamma", "equal"):
            numbers = getattr(self, name)
            for p in numbers:
                check_count(name, p)
            if not numbers or list(numbers) != sorted(set(numbers)):
                raise ValueError(f"{name}={numbers}: must be numbers that increase")
        check_count("sims", self.sims, least=2)
        for name in (
            "curvature",
            "eta",
            "shape",
            "sigma",
            "level",
            "time",
            "square_time",
            "equal_time",
            "race",
            "every",
        ):
            check_sign(name, getattr(self, name), zero=False)
        half, best = self.best // 2, self.best
        for name, needs in (("exponential", {best, 4 * best}), ("equal", {half, best, 3 * best})):
            if not needs <= set(getattr(self, name)):
                raise ValueError(
                    f"{name}={getattr(self, name)}: must have {sorted(needs)}, about the best of equal ones"
                )
        limits = {
            "crowd": (self.many, staleness.mean_square_limit(self.a)),
            "equal": (self.equal, self.limit + 0.5),
            "gamma": (self.gamma, staleness.gamma_delay_limit(self.shape) / self.a),
        }
        for name, (numbers, limit) in limits.items():
            if not numbers[0] < limit < numbers[-1]:
                raise ValueError(f"{name}={getattr(self, name)}: must go beyond {limit:.4g}, where they diverge")
        if self.exponential[-1] >= min(self.crowd[0], limits["crowd"][1]):
            raise ValueError(f"crowd={self.crowd}: must be more than exponential={self.exponential}, which are stable")
        if not self.every <= self.square_time <= self.time:
            raise ValueError(f"square_time={self.square_time}: must be of a record, and within time={self.time}")
        if min(self.time, self.equal_time / 2) < 4 * self.every or self.race < max(self.time, self.equal_time):
            raise ValueError(f"every={self.every}: there must be four records at least, and the race is longest")

    @property
    def a(self) -> float:
        """eta h, without unit."""
        return self.eta * self.curvature

    @property
    def noise(self) -> float:
        """s^2, the variance of the noise of a step."""
        return (self.eta * self.sigma) ** 2

    @property
    def best(self) -> int:
        """Of `equal`, the number nearest to that where a = (p - 1)^(p - 1) / p^p, in ratio."""
        return min(self.equal, key=lambda p: abs(np.log(p * np.e * self.a / (1 + np.e * self.a / 2))))

    @property
    def limit(self) -> int:
        """The most equal workers that are stable."""
        p = 1
        while staleness.regular_limit(p + 1) > self.a:
            p += 1
        return p

    @property
    def many(self) -> tuple[int, ...]:
        """All numbers of exponential workers."""
        return (*self.exponential, *self.crowd)

    @property
    def best_eta(self) -> float:
        """The best learning rate of the greatest number of equal workers."""
        p = self.equal[-1]
        return (1 - 1 / p) ** (p - 1) / p / self.curvature

    def moments(self, length: float) -> np.ndarray:
        """When a run is recorded: a little before whole multiples of `every`, where equal workers arrive.

        Args:
            length: of the run, in m.

        Returns:
            In m, (records,).
        """
        return self.every * (np.arange(1, round(length / self.every) + 1) - 1 / 500)


PRESETS = {
    "smoke": Config(
        exponential=(2, 4, 16, 64),
        crowd=(256,),
        gamma=(16, 32),
        equal=(2, 4, 12, 32),
        eta=0.1,
        sigma=0.1,
        sims=600,
        race=32.0,
    ),
    "default": Config(),
    "paper": Config(sims=10000),
}
