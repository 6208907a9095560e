"""Constants of bs-filters, and its linear methods on the quadratic."""

import dataclasses

from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.theory import transition

FILTERS = ("linear", "saturating")
CONVERGING = ("linear", "sgd")


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    k: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
    """Gains of the filters."""
    k_shown: float = 8.0
    """The gain of the curves of convergence, of the trajectories and of the runs against the filters' rate."""
    rate: float = 2.0
    """Rate r of the filters, in 1/time."""
    width: float = 0.3
    """Width w at which the saturating filter saturates."""
    rates: tuple[float, ...] = (1.0, 4.0, 16.0, 28.0, 36.0, 44.0, 60.0)
    """Rates of the filters in the runs that show where they lose stability."""
    momentum: float = 0.9
    """Momentum delta of heavy ball and Nesterov."""
    sims: int = 1200
    """Independent simulations, of one agent each."""
    steps: int = 3000
    """Iterations; the first half is left out of averages."""
    eta: float = 0.05
    """Learning rate of the agent with a filter; the others have its effective rate."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise on the convex losses."""
    curvature: float = 1.0
    """Curvature h of the quadratic, and least curvature of the log cosh loss."""
    weight: float = 1.0
    """Weight of log cosh."""
    start: float = 5.0
    """Where the agent starts on the log cosh loss."""
    noise_half_width: float = 8.0
    """Noise on the oscillating loss is uniform on (-w, w)."""
    init_half_width: float = 3.0
    """Agents there start uniformly on (-R, R)."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: one.Loss = dataclasses.field(default_factory=one.Loss)
    """Constants of the oscillating loss."""

    def __post_init__(self):
        for name in ("sims", "steps"):
            check_count(name, getattr(self, name), least=2)
        for name in (
            "k",
            "k_shown",
            "rate",
            "rates",
            "width",
            "eta",
            "sigma",
            "curvature",
            "start",
            "noise_half_width",
        ):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("weight", "init_half_width"):
            check_sign(name, getattr(self, name))
        if self.k_shown not in self.k:
            raise ValueError(f"k_shown={self.k_shown}: must be one of the gains k={self.k}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and less than 1")
        fastest = self.eta * (max(self.k) + self.rate + self.curvature + self.weight)
        if not fastest < 2:
            raise ValueError(f"k={self.k}: eta (k + r + L) is {fastest:.3g}; must be less than 2")

    @property
    def landmarks(self) -> one.Landmarks:
        """Minima of the oscillating loss and of that loss smoothed at the full rate."""
        return one.landmarks(one.Config(eta=self.eta, noise_half_width=self.noise_half_width, loss=self.loss))


def effective_rate(config: Config, k: float) -> float:
    """Drift of an iteration under a constant unit force, in time: of all methods, at the gain k of the filter.

    Args:
        config: constants of the experiment.
        k: coupling gain, in 1/time.
    """
    return transition.effective_rate(config.eta, k, config.rate)


def iteration(config: Config, method: str, k: float) -> transition.Transition:
    """A linear method on the quadratic, at the effective rate of the filter of gain k.

    Args:
        config: constants of the experiment.
        method: its name.
        k: coupling gain, in 1/time.
    """
    noise_trace, h = config.sigma**2, config.curvature
    if method == "linear":
        return transition.filter_transition(config.eta, noise_trace, h, k, config.rate)
    rate = effective_rate(config, k)
    if method == "sgd":
        return transition.sgd_transition(rate, noise_trace, h)
    rate, nesterov = rate * (1 - config.momentum), method == "nesterov"
    return transition.momentum_transition(rate, noise_trace, h, config.momentum, nesterov=nesterov)


PRESETS = {
    "smoke": Config(k=(2.0, 8.0), sims=120, steps=1500, rates=(4.0, 44.0)),
    "default": Config(),
    "paper": Config(sims=5000),
}
