"""Constants of bs-average, and the linear iterations that they make."""

import dataclasses

import numpy as np

from sdesim.fields import check_count, check_sign
from sdesim.theory.averages import Chain, quorum_chain

Matrix = tuple[tuple[float, float], tuple[float, float]]


K, UNEQUAL = "coupling_k", "unequal_k"
ALIKE = ("none", "common")


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    k: tuple[float, ...] = (0.0, 1.0, 10.0)
    """Coupling gains of agents that are preconditioned alike."""
    unequal_k: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0, 10.0)
    """Coupling gains of agents that are preconditioned differently; the first must be 0."""
    iterations: tuple[int, ...] = (25, 100, 400, 1600)
    """Numbers of iterations n over which the quorum is averaged, increasing."""
    agents: int = 2
    """Agents p that are preconditioned alike."""
    eta: float = 0.1
    """Learning rate."""
    curvature: Matrix = ((1.0, 0.3), (0.3, 0.6))
    """A, symmetric and positive definite."""
    noise: Matrix = ((1.0, 0.0), (0.7, 0.5))
    """B, with S = B B^T the covariance of the gradient noise."""
    preconditioner: Matrix = ((1.4, 0.5), (-0.4, 0.9))
    """The matrix that preconditions the gradients of all agents alike; it need not commute with A."""
    unequal: tuple[float, ...] = (1.0, 3.0)
    """Preconditioners of agents that are preconditioned differently, in one dimension with curvature and noise 1."""
    sims: int = 12_000
    """Independent simulations of each gain."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for n in self.iterations:
            check_count("iterations", n)
        if len(self.iterations) < 2 or list(self.iterations) != sorted(set(self.iterations)):
            raise ValueError(f"iterations={self.iterations}: must be at least two numbers, increasing")
        check_count("agents", self.agents)
        check_count("sims", self.sims, least=20)
        check_sign("eta", self.eta, zero=False)
        check_sign("unequal", self.unequal, zero=False)
        for name in ("k", "unequal_k"):
            check_sign(name, getattr(self, name))
        if len(self.k) < 2:
            raise ValueError(f"k={self.k}: must be at least two gains, to be compared")
        if len(self.unequal_k) < 2 or self.unequal_k[0] != 0:
            raise ValueError(f"unequal_k={self.unequal_k}: must be 0 and at least one further gain")
        curvature = np.array(self.curvature)
        if not np.array_equal(curvature, curvature.T) or np.linalg.eigvalsh(curvature)[0] <= 0:
            raise ValueError(f"curvature={self.curvature}: must be symmetric and positive definite")
        for chain in (*(alike(self, p, max(self.k)) for p in ALIKE), differing(self, max(self.unequal_k))):
            radius = np.abs(np.linalg.eigvals(chain.step)).max()
            if radius >= 1:
                raise ValueError(
                    f"eta={self.eta}: the iteration multiplies its fastest mode by {radius:.3g} at the largest gain; "
                    "it must be stable, so reduce eta, the gains or the preconditioners"
                )


def alike(config: Config, preconditioner: str, k: float) -> Chain:
    """The chain of agents that are preconditioned alike.

    Args:
        config: constants of the experiment.
        preconditioner: "none", or "common" for the matrix.
        k: coupling gain, in 1/time.
    """
    matrix = np.eye(2) if preconditioner == "none" else np.array(config.preconditioner)
    return quorum_chain(config.eta, [matrix] * config.agents, config.curvature, config.noise, k)


def differing(config: Config, k: float) -> Chain:
    """The chain of agents that are preconditioned differently, in one dimension.

    Args:
        config: constants of the experiment.
        k: coupling gain, in 1/time.
    """
    return quorum_chain(config.eta, config.unequal, 1.0, 1.0, k)


PRESETS = {"smoke": Config(iterations=(6, 400), sims=1000), "default": Config(), "paper": Config(sims=120_000)}
