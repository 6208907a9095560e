"""Constants of bs-rates: on convex losses, and of explorers on the oscillating one."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one

MODELS: tuple[Literal["noise", "iteration"], ...] = ("noise", "iteration")


def two_halves(eta: float, contrast: float, agents: int) -> np.ndarray:
    """Learning rates, (agents,): eta (1 + contrast) for the first half of the agents, eta (1 - contrast) for others.

    Args:
        eta: mean learning rate, in time.
        contrast: at least 0 and less than 1.
        agents: an even number.
    """
    return eta * (1 + contrast * np.repeat([1.0, -1.0], agents // 2))


def check_halves(name: str, agents: int) -> None:
    """Refuse a number of agents that has no half.

    Args:
        name: of the field, for the message.
        agents: number of agents p.

    Raises:
        ValueError: naming the field.
    """
    if check_count(name, agents, least=2) % 2:
        raise ValueError(f"{name}={agents}: must be even, for two halves")


def check_contrast(name: str, value: float | Sequence[float]) -> None:
    """Refuse a contrast, or several, that would leave half of the agents without steps.

    Args:
        name: of the field, for the message.
        value: a number or several.

    Raises:
        ValueError: naming the field.
    """
    if not np.all((np.asarray(value) >= 0) & (np.asarray(value) < 1)):
        raise ValueError(f"{name}={value}: must be at least 0 and less than 1")


@dataclasses.dataclass(frozen=True)
class Explorers:
    """Constants [C] of the runs on the oscillating loss."""

    agents: int = 40
    """Agents, an even number. More make the quorum quieter and slower to find a minimum: with one moving rate, 100
    agents need some 10000 iterations."""
    steps: int = 3000
    """Iterations."""
    contrast: float = 0.6
    """The rates of the two halves are the mean rate times 1 + c and 1 - c."""
    k: tuple[float, ...] = (0.5, 0.6, 0.75, 0.9, 1.1, 1.35, 1.7, 2.2, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
    """Coupling gains."""
    noise_half_width: float = 8.0
    """Noise is uniform on (-w, w)."""
    init_half_width: float = 3.0
    """Agents start uniformly on (-R, R)."""
    loss: one.Loss = dataclasses.field(default_factory=one.Loss)
    """Constants of the loss."""

    def __post_init__(self):
        check_halves("agents", self.agents)
        check_count("steps", self.steps)
        check_contrast("contrast", self.contrast)
        for name in ("k", "noise_half_width", "init_half_width"):
            check_sign(name, getattr(self, name), zero=False)


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: int = 16
    """Agents p on the convex losses; an even number."""
    sims: int = 200
    """Independent simulations."""
    steps: int = 2500
    """Iterations on the convex losses; the first half is left out of averages."""
    eta: float = 0.05
    """Mean learning rate."""
    contrast: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Half of the agents have the rate eta (1 + c), half eta (1 - c)."""
    batches: tuple[float, float] = (1.0, 2.0)
    """Minibatch sizes of every other agent."""
    k: tuple[float, ...] = (0.5, 2.0, 6.0, 16.0)
    """Coupling gains on the convex losses."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise on the convex losses."""
    curvature: float = 1.0
    """Curvature h of the quadratic, and least curvature of the log cosh loss."""
    weight: float = 1.0
    """Weight of log cosh."""
    seed: int = 0
    """Seed of all random numbers."""
    explorers: Explorers = dataclasses.field(default_factory=Explorers)
    """The runs on the oscillating loss."""

    def __post_init__(self):
        for name in ("sims", "steps"):
            check_count(name, getattr(self, name), least=2)
        check_halves("agents", self.agents)
        for name in ("eta", "batches", "k", "sigma", "curvature"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("weight", self.weight)
        check_contrast("contrast", self.contrast)
        if self.contrast[0] != 0:
            raise ValueError(f"contrast={self.contrast}: must begin with 0, equal rates")
        fastest = self.eta * (1 + max(self.contrast)) * (max(self.k) + self.curvature + self.weight)
        explorers = self.eta * (1 + self.explorers.contrast) * max(self.explorers.k)
        for name, gains, product in (("k", self.k, fastest), ("explorers.k", self.explorers.k, explorers)):
            if not product < 2:
                raise ValueError(f"{name}={gains}: with the largest rate eta (k + L) is {product:.3g}; must be below 2")

    def rates(self, contrast: float) -> np.ndarray:
        """Learning rates, (agents,): the first half large, the second small.

        Args:
            contrast: at least 0 and less than 1.
        """
        return two_halves(self.eta, contrast, self.agents)

    @property
    def batch(self) -> np.ndarray:
        """Minibatch sizes, (agents,)."""
        return np.tile(self.batches, self.agents // 2)


PRESETS = {
    "smoke": Config(sims=32, steps=1500, explorers=Explorers(k=(1.0, 5.0, 12.0))),
    "default": Config(),
    "paper": Config(sims=2000),
}
