"""Constants of bs-noise."""

import dataclasses

from sdesim.fields import check_count, check_sign
from sdesim.objectives import LogCosh
from sdesim.papers.boffi_slotine.log_cosh import LOSSES

WELL, QUADRATIC, CONVEX = LOSSES


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (2, 8, 32, 128)
    """Numbers of agents p."""
    k: tuple[float, ...] = (0.0, 4.0, 8.0, 16.0, 32.0)
    """Coupling gains; those above the double well's concavity are set beside the bound."""
    sims: int = 96
    """Independent simulations of each grid point."""
    eta: float = 0.4
    """Learning rate."""
    refine: int = 64
    """The step dt is the learning rate divided by this."""
    batch: float = 2.0
    """Minibatch size b."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian noise of one sample's gradient."""
    strength: float = 1.0
    """Curvature s of the quadratic part of the losses."""
    well: float = -2.0
    """Weight w of log cosh in the double well, below -s."""
    convex: float = 1.0
    """Weight w of log cosh in the convex loss, above 0."""
    point: float = LogCosh.STEEPEST
    """Where the gradients vanish and agents start; the minimum of the convex losses."""
    time: float = 12.0
    """Time T of a run; statistics are taken over its last two thirds."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for value in self.agents:
            check_count("agents", value, least=2)
        check_count("sims", self.sims, least=2)
        check_count("refine", self.refine)
        check_sign("k", self.k)
        for name in ("eta", "batch", "sigma", "strength", "convex", "time"):
            check_sign(name, getattr(self, name), zero=False)
        if not self.well < -self.strength:
            raise ValueError(f"well={self.well}: must be less than -strength={-self.strength:g}, for a double well")
        if len([k for k in self.k if k > -(self.strength + self.well)]) < 2:
            raise ValueError(
                f"k={self.k}: two gains at least must be more than the concavity {-(self.strength + self.well):g}"
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of log cosh in each loss."""
        return dict(zip(LOSSES, (self.well, 0.0, self.convex), strict=True))

    @property
    def dt(self) -> float:
        """Step of the chain, in time."""
        return self.eta / self.refine

    def loss(self, name: str) -> LogCosh:
        """A loss at rest at `point`.

        Args:
            name: of the loss.
        """
        return LogCosh.resting_at(self.point, self.strength, self.weights[name])


PRESETS = {
    "smoke": Config(agents=(2, 32), k=(0.0, 8.0, 32.0), sims=24, time=9.0),
    "default": Config(),
    "paper": Config(sims=960),
}
