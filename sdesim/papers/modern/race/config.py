"""Constants of m-race."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.papers.asynchrony import race

EACH, BATCH, LOCAL = 1.0, 5.0, 2.0
"""Factors of the learning rates that are tried: where the server takes each gradient, the mean of all, and where
workers descend by themselves."""

PROTOCOLS = {
    "synchronous": BATCH,
    "Local SGD": LOCAL,
    "DiLoCo": LOCAL,
    "EASGD": LOCAL,
    "AsyncSGD": EACH,
    "Ringmaster": EACH,
}
"""All that race, each with its factor: those that wait for everyone first."""

REGIMES = ("equal", "stragglers", "slow messages")
"""All jobs take as long; times of a Pareto law; these, and messages that take long."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Mean compute times are 1 second."""

    workers: int = 8
    """Their number p."""
    curvatures: tuple[float, ...] = (0.2, 1.0)
    """Of the quadratic, one a coordinate."""
    sigma: float = 0.5
    """Standard deviation of the Gaussian gradient noise; all start at 1 in each coordinate."""
    level: float = 0.01
    """The loss to be reached, as a share of the loss at the start."""
    rates: tuple[float, ...] = tuple(float(rate) for rate in np.round(0.01 * 2 ** (np.arange(1, 10) / 2), 4))
    """Learning rates that are tried, before a protocol's factor."""
    gains: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Gains of EASGD that are tried, in 1 / s."""
    lrs: tuple[float, ...] = (0.7,)
    """Outer learning rates of DiLoCo that are tried."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Outer momenta of DiLoCo that are tried."""
    period: int = 8
    """Jobs between two messages of Local SGD, DiLoCo and EASGD."""
    quorum: int = 6
    """Of how many workers DiLoCo's server waits for; for the others, as many arrivals longer as they are."""
    tail: float = 2.0
    """Index of the Pareto law of compute times."""
    megabytes: float = 1.0
    """Size of a message."""
    bandwidth: float = 1.0
    """Where messages are slow, in megabytes a second; elsewhere they take no time."""
    sims: int = 200
    """Independent simulations."""
    time: float = 160.0
    """Length of the race, in seconds."""
    every: float = 0.5
    """Seconds between two records."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        check_count("workers", self.workers, least=2)
        check_count("quorum", self.quorum, most=self.workers)
        check_count("sims", self.sims, least=2)
        check_count("period", self.period)
        for name in ("curvatures", "rates", "gains", "lrs", "momenta"):
            if not getattr(self, name):
                raise ValueError(f"{name}=(): must not be empty")
        for name in ("sigma", "level", "megabytes", "bandwidth", "time", "every", "tail"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("curvatures", "rates", "gains", "lrs"):
            check_sign(name, np.asarray(getattr(self, name)), zero=False)
        check_sign("momenta", np.asarray(self.momenta))
        if self.time < 8 * self.every:
            raise ValueError(f"every={self.every}: there must be eight records at least within time={self.time}")

    @property
    def race(self) -> race.Config:
        """What async-race asks of a time to the level."""
        return race.Config(level=self.level)

    @property
    def moments(self) -> np.ndarray:
        """When a run is recorded: a little before whole multiples of `every`, where equal workers arrive.

        In seconds, (records,).
        """
        return self.every * (np.arange(1, round(self.time / self.every) + 1) - 1 / 500)


PRESETS = {
    "smoke": Config(sims=60, rates=(0.02, 0.08, 0.2), gains=(1.0,), momenta=(0.0, 0.5)),
    "default": Config(),
    "paper": Config(sims=2000, lrs=(0.7, 1.0)),
}
