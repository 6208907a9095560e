"""Constants of m-validity."""

import dataclasses

from sdesim.fields import check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment, for a curvature and a noise at the minimum of 1."""

    etas: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Learning rates, in units of 1 / curvature, in ascending order."""
    levels: tuple[int, ...] = (1, 4, 16, 64)
    """Into how many steps an iteration is cut."""
    time: float = 8.0
    """Length of the runs, from the minimum: they are stationary then."""
    rare: float = 0.1
    """Share of the samples that have all of the noise; its excess kurtosis is 1 / rare - 3."""
    growth: float = 0.6
    """c of the noise of variance 1 + c^2 x^2."""
    tolerance: float = 0.1
    """Share of the SDE's second moment by which SGD's may exceed it."""
    compared: float = 0.2
    """The learning rate, one of `etas`, at which second and fourth moments are compared."""
    sims: int = 20_000
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("time", "rare", "growth", "tolerance"):
            check_sign(name, getattr(self, name), zero=False)
        if len(self.etas) < 2 or list(self.etas) != sorted(set(self.etas)):
            raise ValueError(f"etas={self.etas}: must be at least two learning rates that grow")
        if self.compared not in self.etas:
            raise ValueError(f"compared={self.compared}: must be one of etas={self.etas}")
        check_count("sims", self.sims, least=2)

    @property
    def excess(self) -> float:
        """Excess kurtosis of the noise of rare gradients."""
        return 1 / self.rare - 3

    def steps(self, eta: float) -> int:
        """Iterations in the time of a run.

        Args:
            eta: learning rate.
        """
        return round(self.time / eta)


PRESETS = {
    "smoke": Config(etas=(0.1, 0.2, 0.8), levels=(1, 4, 16), sims=6000),
    "default": Config(),
    "paper": Config(sims=100_000),
}
