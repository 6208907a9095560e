"""Constants of m-outer."""

import dataclasses

from sdesim.fields import check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    lrs: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0, 1.2, 1.4, 1.6, 2.0)
    """Outer learning rates, in ascending order, with 1 among them."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Outer momenta."""
    sigmas: tuple[float, ...] = (0.05, 2.0)
    """Standard deviation of the inner gradients' noise: little and much."""
    curvatures: tuple[float, ...] = (0.02, 2.0)
    """Of the quadratic, one a coordinate."""
    eta: float = 0.05
    """Inner learning rate."""
    period: int = 20
    """Inner steps of a round."""
    agents: int = 4
    """Workers."""
    rounds: int = 40
    """Rounds, from a distance of 1 in each coordinate."""
    sims: int = 2000
    """Independent simulations."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("eta",):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("lrs", "momenta", "sigmas", "curvatures"):
            check_sign(name, getattr(self, name))
        if list(self.lrs) != sorted(set(self.lrs)) or not min(self.lrs) < 1.0 < max(self.lrs) or 1.0 not in self.lrs:
            raise ValueError(f"lrs={self.lrs}: must grow, with 1 between the first and the last")
        if len(self.sigmas) != 2 or self.sigmas[0] >= self.sigmas[1]:
            raise ValueError(f"sigmas={self.sigmas}: must be two, the lesser first")
        for name in ("period", "agents", "rounds"):
            check_count(name, getattr(self, name))
        check_count("sims", self.sims, least=2)


PRESETS = {
    "smoke": Config(sims=200),
    "default": Config(),
    "paper": Config(sims=20_000),
}
