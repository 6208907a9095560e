"""Constants of bs-sync."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (2, 4, 16, 64)
    """Numbers of agents p."""
    k: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """Coupling gains; larger than the double well's concavity."""
    refine: tuple[int, ...] = (1, 4, 16)
    """Steps dt are the learning rate divided by these."""
    sims: int = 64
    """Independent simulations of each grid point."""
    dims: int = 2
    """Dimensions d."""
    eta: float = 0.05
    """Learning rate."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise in each coordinate."""
    strength: float = 1.0
    """Curvature s of the quadratic part of the losses."""
    well: float = -2.0
    """Weight w of log cosh in the double well, below -s."""
    convex: float = 1.0
    """Weight w of log cosh in the convex loss, above 0."""
    time: float = 10.0
    """Time T of a run; the stationary level is the mean over its second half."""
    hilltop_time: float = 1.0
    """Until this time the mean of many agents, which start on the hill between the wells, is still on it."""
    rate_spreads: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Ratio of successive agents' learning rates in the runs with a rate and a batch for each agent."""
    batches: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    """Minibatch sizes b_i of the agents of those runs."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "refine"):
            for value in getattr(self, name):
                check_count(name, value, least=2 if name == "agents" else 1)
        for name in ("k", "eta", "sigma", "strength", "convex", "time", "hilltop_time", "rate_spreads", "batches"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("sims", "dims"):
            check_count(name, getattr(self, name), least=2 if name == "sims" else 1)
        if not self.well < -self.strength:
            raise ValueError(f"well={self.well}: must be less than -strength={-self.strength:g}, for a double well")
        if min(self.k) <= -(self.strength + self.well):
            raise ValueError(
                f"k={self.k}: all gains must be more than the concavity {-(self.strength + self.well):g}, "
                "or agents need not synchronize"
            )
        if len(self.refine) < 2 or sorted(set(self.refine)) != list(self.refine):
            raise ValueError(f"refine={self.refine}: must be two or more increasing integers, to extrapolate to dt = 0")
        if not self.hilltop_time < self.time / 2:
            raise ValueError(f"hilltop_time={self.hilltop_time}: must be less than half of time={self.time:g}")

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of log cosh in the order of `LOSSES`."""
        return (self.well, 0.0, self.convex)

    @property
    def noise_trace(self) -> float:
        """C, the trace of the covariance of an agent's gradient noise."""
        return self.dims * self.sigma**2

    @property
    def rates(self) -> np.ndarray:
        """Learning rates of the runs with one for each agent, (spreads, agents); their mean is `eta`."""
        powers = np.array(self.rate_spreads)[:, None] ** np.arange(len(self.batches))
        return self.eta * powers / powers.mean(axis=1, keepdims=True)


PRESETS = {
    "smoke": Config(agents=(2, 16), k=(4.0, 12.0), refine=(1, 6), sims=24),
    "default": Config(),
    "paper": Config(sims=640),
}
