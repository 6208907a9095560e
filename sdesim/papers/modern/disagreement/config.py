"""Constants of m-disagreement."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sdesim.coupling import ring
from sdesim.fields import check_count, check_sign

POWERS = {"constant": 0.0, "as the rate": 1.0, "as its square": 2.0}
"""How the weight of an exchange falls with the learning rate, as which power of it: the last one is DSGD-AC's."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: int = 8
    """Agents p, on a ring."""
    weight: float = 0.5
    """Of an exchange at the first learning rate: x <- x + weight (W x - x)."""
    falls: tuple[float, ...] = (0.1, 0.05, 0.025, 0.0125)
    """Learning rates of the schedule, in descending order, each for an equal share of `time`."""
    time: float = 80.0
    """The sum of the learning rates of all iterations."""
    curvatures: tuple[float, ...] = (0.001, 0.01, 0.1, 0.3, 1.0, 3.0)
    """Of the Hessian, in ascending order."""
    sigma: float = 2.0
    """Standard deviation of the gradient noise; in the valley, across it."""
    start: float = 2.0
    """u at the start, at the bottom of the valley."""
    every: int = 100
    """Iterations between two records, of which each learning rate has some."""
    sims: int = 600
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("weight", "time", "sigma", "start", "falls", "curvatures"):
            check_sign(name, np.asarray(getattr(self, name)), zero=False)
        if list(self.falls) != sorted(set(self.falls), reverse=True) or len(self.falls) < 2:
            raise ValueError(f"falls={self.falls}: must be at least two, in descending order")
        if list(self.curvatures) != sorted(set(self.curvatures)) or len(self.curvatures) < 3:
            raise ValueError(f"curvatures={self.curvatures}: must be at least three, in ascending order")
        check_count("agents", self.agents, least=3)
        check_count("every", self.every)
        check_count("sims", self.sims, least=2)
        if not (self.ends() % self.every == 0).all() or len(set(self.ends())) < len(self.falls):
            has = f"learning rates end after {', '.join(map(str, self.ends()))} iterations"
            raise ValueError(f"every={self.every}: {has}, which must be different multiples of it")

    def matrix(self) -> NDArray:
        """W of the ring."""
        return ring(self.agents)

    def ends(self) -> NDArray:
        """After how many iterations each learning rate ends."""
        return np.cumsum([round(self.time / len(self.falls) / eta) for eta in self.falls])

    def rates(self) -> NDArray:
        """The learning rate of each iteration."""
        return np.repeat(self.falls, np.diff(self.ends(), prepend=0))

    def weights(self, rule: str) -> NDArray:
        """The weight of the exchange of each iteration.

        Args:
            rule: a name of `POWERS`.
        """
        return self.weight * (self.rates() / self.falls[0]) ** POWERS[rule]


PRESETS = {
    "smoke": Config(falls=(0.1, 0.05), time=20.0, every=50, curvatures=(0.01, 0.3, 3.0), sims=800),
    "default": Config(),
    "paper": Config(sims=4000),
}
