"""Constants of bs-phase: the wells, the plane of gain and noise, and the runs."""

import dataclasses

from sdesim.fields import check_count, check_sign
from sdesim.objectives import LogCosh
from sdesim.theory.meanfield import Grid, SelfConsistency

T = "temperature"
P = "n_agents"
ETA = 0.1  # sets the unit of sigma alone: T = eta sigma^2 / 2
BARRIER = 12.0  # p times the height of the effective loss over T, from which a mean does not cross it in these runs
START = 1.5  # where agents start, inside a well
GRID = Grid(-12.0, 12.0, 240)


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the wells, of the plane, and of the runs."""

    strength: float = 1.0
    """Curvature of the well far from its middle."""
    weight: float = -2.0
    """Curvature in the middle is strength + weight, and must be negative."""
    tilt: float = 0.05
    """Slope that is added in the last panel."""
    k: tuple[float, ...] = (0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.2)
    """Gains of the plane's points, in 1/time."""
    temperatures: tuple[float, ...] = (0.5, 0.8, 1.2, 1.8, 2.4, 3.0)
    """Temperatures T = eta sigma^2 / 2 of the plane's points, in units of the loss."""
    agents: int = 60
    """Agents p of the plane's points, and of the tilted well's."""
    cut: float = 1.0
    """Temperature at which p is varied."""
    cut_k: tuple[float, ...] = (0.1, 0.2, 0.3, 0.6, 0.8, 1.2, 2.0)
    """Gains there; the critical one is added."""
    populations: tuple[int, ...] = (20, 60, 180)
    """Numbers of agents there."""
    tilted_temperature: float = 0.5
    """Temperature of the tilted well."""
    tilted_k: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
    """Gains of the tilted well."""
    sims: int = 24
    """Independent simulations of each point."""
    burn_in: float = 80.0
    """Time before averages are taken."""
    time: float = 120.0
    """Time over which averages are taken."""
    dt: float = 0.01
    """Step of the integrator: the predictions are those of the SDE."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("strength", "cut", "tilted_temperature", "burn_in", "time", "dt", "tilt"):
            check_sign(name, getattr(self, name), zero=name == "tilt")
        if not self.weight < -self.strength:
            raise ValueError(f"weight={self.weight:g}: must be less than -strength = {-self.strength:g}, for two wells")
        for name in ("k", "temperatures", "cut_k", "tilted_k", "populations"):
            values = getattr(self, name)
            if not values or any(v <= 0 for v in values) or list(values) != sorted(set(values)):
                raise ValueError(f"{name}={values}: must be one or more increasing numbers greater than 0")
        if len(self.populations) < 2:
            raise ValueError(f"populations={self.populations}: must be two or more, for an exponent")
        check_count("agents", self.agents, least=2)
        check_count("sims", self.sims, least=2)

    def well(self, tilt: float = 0.0) -> LogCosh:
        """The double well.

        Args:
            tilt: of x.
        """
        return LogCosh(self.strength, self.weight, tilt)

    def critical_gain(self, temperature: float) -> float:
        """The least gain at which infinitely many agents agree.

        Args:
            temperature: of the noise.
        """
        return SelfConsistency(self.well(), GRID).critical_gain(temperature)


PRESETS = {
    "smoke": Config(
        k=(0.1, 0.5, 2.0), temperatures=(0.6, 2.0), agents=40, cut_k=(0.1, 2.0), populations=(40, 120),
        tilted_k=(0.1, 1.0), sims=16, burn_in=40.0, time=40.0, dt=0.04,
    ),
    "default": Config(),
    "paper": Config(sims=240, dt=0.005),  # the error of the integrator must stay below that of more runs
}  # fmt: skip
