"""Constants of async-race."""

import dataclasses

import numpy as np

from sdesim.fields import check_choice, check_count, check_sign

EACH, BATCH, LOCAL = 1.0, 5.0, 2.0
"""Factors of the learning rates that are tried: where the server takes each gradient, the mean of several, and where
workers descend by themselves."""

PROTOCOLS = {
    "synchronous": BATCH,
    "K-async": BATCH,
    "Rennala": BATCH,
    "AsyncSGD": EACH,
    "power law": EACH,
    "delay-adaptive": EACH,
    "Ringmaster": EACH,
    "DOWNPOUR": EACH,
    "MDOWNPOUR": EACH,
    "EASGD": LOCAL,
    "EAMSGD": LOCAL,
    "gossip": LOCAL,
    "partial barrier": LOCAL,
    "ADMM": LOCAL,
}
"""All that race, each with its factor."""

REGIMES = ("equal", "exponential", "heavy tail", "one slow", "slow messages")
"""Compute times and messages: all equal; without memory; of a Pareto law; one worker slower than others; gamma times
with messages that take long."""

NEEDED = ("synchronous", "Rennala", "AsyncSGD", "DOWNPOUR")
"""Those that statements are about."""

WHERE = ("equal", "exponential", "heavy tail")
"""And where."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Mean compute times are 1 second, of the slow worker more."""

    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    """Who races, by name."""
    regimes: tuple[str, ...] = REGIMES
    """Where, by name."""
    workers: int = 8
    """Their number p."""
    curvature: float = 1.0
    """Curvature of the loss."""
    sigma: float = 0.5
    """Standard deviation of the Gaussian gradient noise; all start at 1."""
    level: float = 0.01
    """The loss to be reached, as a share of the loss at the start."""
    rates: tuple[float, ...] = tuple(float(rate) for rate in np.round(0.01 * 2 ** (np.arange(11) / 2), 4))
    """Learning rates that are tried, before a protocol's factor."""
    gains: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Gains of coupling rules that are tried, in 1 / s."""
    period: int = 4
    """Jobs between two messages of DOWNPOUR, EASGD and EAMSGD (tau)."""
    delta: float = 0.5
    """Momentum of EAMSGD and MDOWNPOUR."""
    exponent: float = 0.5
    """Of the power law of learning rates."""
    rho: float = 1.0
    """Penalty of ADMM, in 1 / s."""
    tail: float = 2.0
    """Index of the Pareto law of compute times."""
    slow: float = 5.0
    """Mean compute time of the slow worker, in seconds."""
    shape: float = 4.0
    """Shape of the gamma law of compute times, with one slow worker and with slow messages."""
    megabytes: float = 1.0
    """Size of a message."""
    bandwidth: float = 2.0
    """Where messages are slow, in megabytes a second; elsewhere they take no time."""
    sims: int = 200
    """Independent simulations."""
    time: float = 40.0
    """Length of the race, in seconds."""
    every: float = 0.5
    """Seconds between two records."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in self.protocols:
            check_choice("protocols", name, PROTOCOLS)
        for name in self.regimes:
            check_choice("regimes", name, REGIMES)
        for field, needed in (("protocols", NEEDED), ("regimes", WHERE)):
            if missing := [name for name in needed if name not in getattr(self, field)]:
                raise ValueError(f"{field}: must have {', '.join(missing)}, which statements are about")
        check_count("workers", self.workers, least=4)
        check_count("sims", self.sims, least=2)
        check_count("period", self.period)
        for name in ("rates", "gains"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must not be empty")
        numbers = ("curvature", "sigma", "level", "rho", "shape", "megabytes", "bandwidth", "time", "every")
        for name in (*numbers, "rates", "gains", "slow", "tail"):
            check_sign(name, np.asarray(getattr(self, name)), zero=False)
        if self.time < 8 * self.every:
            raise ValueError(f"every={self.every}: there must be eight records at least within time={self.time}")

    @property
    def moments(self) -> np.ndarray:
        """When a run is recorded: a little before whole multiples of `every`, where equal workers arrive.

        In seconds, (records,).
        """
        return self.every * (np.arange(1, round(self.time / self.every) + 1) - 1 / 500)

    @property
    def half(self) -> int:
        """How many a partial barrier, or K-async, waits for."""
        return self.workers // 2


PRESETS = {
    "smoke": Config(protocols=NEEDED, regimes=WHERE),
    "default": Config(),
    "paper": Config(sims=4000),
}
