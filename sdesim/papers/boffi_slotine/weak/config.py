"""Constants of bs-weak."""

import dataclasses

from sdesim.coupling import AbstractCoupling, Elastic, Quorum
from sdesim.fields import check_choice, check_count, check_sign

MODELS = {"first": "first order", "loss": "loss corrected alone", "second": "whole drift corrected"}
RULES = {"quorum": "QSGD", "elastic": "EASGD"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    rules: tuple[str, ...] = ("quorum", "elastic")
    """Coupling rules: "quorum" (QSGD), "elastic" (EASGD), or both."""
    iterations: tuple[int, ...] = (8, 16, 32, 64)
    """Numbers of iterations in `time`; the learning rate is time / iterations."""
    time: float = 0.5
    """Time at which the laws are compared."""
    start: tuple[float, ...] = (3.0, -1.0)
    """Where the agents start: one number an agent."""
    k: float = 2.0
    """Gain of the coupling."""
    center_rate: float = 3.0
    """Rate of EASGD's center."""
    strength: float = 0.5
    """Curvature far away of the loss strength x^2 / 2 + log cosh x."""
    sigma: float = 1.5
    """Standard deviation of the Gaussian gradient noise."""
    sims: int = 4000
    """Brownian paths, each with its mirror image."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in self.rules:
            check_choice("rules", name, RULES)
        if not self.rules:
            raise ValueError(f"rules={self.rules}: must be at least one of {', '.join(RULES)}")
        for n in self.iterations:
            check_count("iterations", n)
        if len(set(self.iterations)) < max(2, len(self.iterations)):
            raise ValueError(f"iterations={self.iterations}: must be at least two different numbers, for a fit")
        if len(self.start) < 2:
            raise ValueError(f"start={self.start}: must place at least two agents, or nothing is coupled")
        for name in ("time", "k", "center_rate", "strength"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("sigma", self.sigma)
        check_count("sims", self.sims, least=2)

    def coupling(self, rule: str) -> AbstractCoupling:
        """The coupling of a rule, at the configuration's gain.

        Args:
            rule: "quorum" or "elastic".
        """
        return Quorum(self.k) if rule == "quorum" else Elastic(self.k, self.center_rate)


PRESETS = {
    "smoke": Config(rules=("elastic",), iterations=(8, 16), sims=500),
    "default": Config(),
    "paper": Config(sims=40_000),
}
