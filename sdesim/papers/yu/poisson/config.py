"""Constants of y-poisson."""

import dataclasses

from sdesim.fields import check_count, check_sign

LAWS = ("exponential", "gamma", "log-normal", "equal")
"""Compute times: without memory, regular, of a heavy tail, and all equal."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment. Times are in units of the mean compute time m of a job."""

    workers: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Numbers of workers p."""
    near: float = 2.0
    """Length of the window that shrinks, times p / m: so many arrivals it holds on average."""
    fixed: tuple[float, ...] = (0.0625, 0.25, 0.5, 1.0, 1.6, 2.0, 4.0)
    """Lengths of the windows that do not shrink, in m."""
    most: int = 7
    """Up to how many arrivals in a window that shrinks are counted apart."""
    levels: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """At which staleness its law is looked at, times p."""
    shape: float = 4.0
    """Shape of the gamma law of compute times."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of log-normal times."""
    time: float = 8.0
    """For how long arrivals are counted, in m; whole windows of all lengths."""
    sims: int = 600
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for p in self.workers:
            check_count("workers", p, least=2)
        if len(self.workers) < 2 or list(self.workers) != sorted(set(self.workers)):
            raise ValueError(f"workers={self.workers}: must be two numbers at least that increase")
        for name in ("near", "shape", "sigma", "time", "fixed", "levels"):
            check_sign(name, getattr(self, name), zero=False)
        check_count("most", self.most)
        check_count("sims", self.sims, least=2)
        if 1.0 not in self.fixed:
            raise ValueError(f"fixed={self.fixed}: must have 1, the mean time of a job")
        for window in (*self.fixed, *(self.near / p for p in self.workers)):
            if abs(self.time / window - round(self.time / window)) > 1e-9:
                raise ValueError(f"time={self.time}: must be whole windows of length {window:g}")


PRESETS = {
    "smoke": Config(workers=(4, 16, 64), fixed=(0.25, 1.0, 2.0), sims=200),
    "default": Config(),
    "paper": Config(sims=3000),
}
