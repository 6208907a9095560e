"""Constants of m-local."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    etas: tuple[float, ...] = (0.0125, 0.05)
    """Learning rates, in ascending order."""
    periods: tuple[int, ...] = (1, 4, 16, 64)
    """Iterations between two exchanges, in ascending order, 1 the first: parallel SGD."""
    time: float = 40.0
    """eta times the number of iterations."""
    start: float = 2.0
    """u at the start, at the bottom of the valley."""
    sigma: float = 2.0
    """Standard deviation of the noise across the valley."""
    agents: int = 8
    """Agents p."""
    falls: tuple[float, ...] = (0.1, 0.05, 0.025, 0.0125)
    """Learning rates of a schedule, one after another, each for an equal share of `time`."""
    alpha: float = 0.2
    """Of QSR's periods, max(constant, (alpha / eta)^2)."""
    constant: int = 4
    """The period that QSR begins with, and that stays beside it."""
    records: int = 20
    """Records of a run after its start."""
    sims: int = 200
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("time", "start", "sigma", "alpha"):
            check_sign(name, getattr(self, name), zero=False)
        if self.periods[0] != 1 or list(self.periods) != sorted(set(self.periods)):
            raise ValueError(f"periods={self.periods}: must grow, from 1 on")
        for name in ("constant", "records"):
            check_count(name, getattr(self, name))
        check_count("agents", self.agents, least=2)
        check_count("sims", self.sims, least=2)

    def rates(self) -> NDArray:
        """The learning rate of each iteration of the schedule."""
        share = self.time / len(self.falls)
        return np.concatenate([np.full(round(share / eta), eta) for eta in self.falls])

    def qsr(self) -> NDArray:
        """QSR's period at each iteration of the schedule."""
        return np.maximum(self.constant, np.floor((self.alpha / self.rates()) ** 2 * (1 + 1e-9)).astype(int))


PRESETS = {
    "smoke": Config(etas=(0.05,), periods=(1, 16, 64), time=20.0, falls=(0.1, 0.05, 0.025), sims=150, records=10),
    "default": Config(),
    "paper": Config(sims=2000),
}
