"""What is measured: the workloads of the benchmark, and what one unit of their work is."""

import dataclasses
from typing import Literal

Noise = Literal["uniform", "gaussian"]


@dataclasses.dataclass(frozen=True)
class Workload:
    """Simulations of coupled agents on one of the paper's losses; the final state alone is wanted.

    dims: 1 for the oscillating double well (two sines a step), more for the coupled double wells (a sine and a cosine).
    user_loss: the loss is a plain function of a user, and its gradient automatic.
    momentum: of Nesterov's iteration; 0 for none. half_width: of the uniform noise; Gaussian noise has its variance.
    start: where every agent begins.
    """

    name: str
    title: str
    sims: int
    agents: int
    steps: int
    dims: int = 1
    noise: Noise = "uniform"
    eta: float = 0.05
    k: float = 3.0
    half_width: float = 8.0
    momentum: float = 0.0
    start: float = 1.0
    user_loss: bool = False

    @property
    def sigma(self) -> float:
        """Standard deviation of one noise component."""
        return self.half_width / 3**0.5

    @property
    def work(self) -> int:
        """Steps of one agent's one coordinate in a run."""
        return self.sims * self.agents * self.dims * self.steps

    @property
    def unit(self) -> str:
        return "million agent-steps/s" if self.dims == 1 else "million agent-coordinate-steps/s"

    def describe(self) -> str:
        sizes = f"{self.sims} simulations x {self.agents} agents x {self.dims} dims x {self.steps} steps"
        return f"{self.title}: {sizes}, {self.noise} noise"


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("w1-uniform", "W1, one-dimensional QSGD", 200, 250, 1000),
        Workload("w1-gaussian", "W1, one-dimensional QSGD", 200, 250, 1000, noise="gaussian"),
        Workload("user-loss", "W1 with a user's own loss", 200, 250, 1000, user_loss=True),
        Workload(
            "w2",
            "W2, QSGD with momentum in many dimensions",
            50,
            50,
            300,
            dims=50,
            eta=0.004,
            k=50.0,
            half_width=18.0,
            momentum=0.9,
        ),
    )
}
"""Every workload by name. The constants are those of the figures they stand for."""


def scaling() -> dict[str, list[Workload]]:
    """Series of workloads that differ in one size; in all but the steps, at about equal work a run."""
    w1, w2 = WORKLOADS["w1-uniform"], WORKLOADS["w2"]
    work = 2e7

    def sized(base: Workload, size: str, value: int) -> Workload:
        other = dataclasses.replace(base, **{size: value}, name=f"{base.name}, {size}={value}")
        if size == "steps":
            return other
        return dataclasses.replace(other, steps=max(10, round(work / (other.work / other.steps))))

    return {
        "simulations": [sized(w1, "sims", n) for n in (1, 8, 50, 200, 1000, 5000)],
        "agents": [sized(w1, "agents", n) for n in (1, 10, 100, 1000, 10_000)],
        "dimensions": [sized(w2, "dims", n) for n in (2, 10, 50, 200)],
        "steps": [sized(w1, "steps", n) for n in (10, 100, 1000, 10_000)],
    }
