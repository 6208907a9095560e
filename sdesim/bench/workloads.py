"""What is measured: the workloads of the benchmark, and what one unit of their work is."""

import dataclasses
from typing import Any, Literal

Noise = Literal["uniform", "gaussian"]


@dataclasses.dataclass(frozen=True)
class Workload:
    """Simulations of coupled agents on one of the paper's losses; the final state alone is wanted.

    Attributes:
        name: by which it is chosen.
        title: in words.
        sims: independent simulations.
        agents: of one simulation.
        steps: iterations of a run.
        dims: 1 for the oscillating double well (two sines a step), more for the coupled double wells (a sine and a
            cosine).
        noise: "uniform" or "gaussian".
        eta: learning rate.
        k: gain of the quorum coupling.
        half_width: of the uniform noise; Gaussian noise has its variance.
        momentum: of Nesterov's iteration; 0 for none.
        start: where every agent begins.
        user_loss: the loss is a plain function of a user, and its gradient automatic.
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
    def amount(self) -> float:
        """The work of a run in what the unit counts."""
        return self.work / 1e6

    @property
    def unit(self) -> str:
        """What rates count."""
        return "million agent-steps/s" if self.dims == 1 else "million agent-coordinate-steps/s"

    @property
    def sizes(self) -> str:
        """What the record says of it."""
        return f"{self.sims} x {self.agents} x {self.dims} x {self.steps}"

    def describe(self) -> str:
        """The workload in a line."""
        sizes = f"{self.sims} simulations x {self.agents} agents x {self.dims} dims x {self.steps} steps"
        return f"{self.title}: {sizes}, {self.noise} noise"


@dataclasses.dataclass(frozen=True)
class TrainingWorkload:
    """Steps of EASGD with heavy-ball momentum that train the three-layer network (BS 6.1) on 32 x 32 synthetic images.

    Attributes:
        name: by which it is chosen.
        title: in words.
        agents: networks, each with its own batches and dropout.
        steps: of all agents, those of one run.
        batch: images of one agent's step.
        channels: of the three layers.
        dropout: share of units that is left out.
        eta: learning rate.
        alpha: weight of the pull in one step, eta k; the center's is agents * alpha.
        momentum: delta of heavy ball.
        images: in the training set.
    """

    name: str
    title: str
    agents: int
    steps: int
    batch: int = 128
    channels: tuple[int, int, int] = (64, 128, 64)
    dropout: float = 0.5
    eta: float = 0.05
    alpha: float = 0.04
    momentum: float = 0.9
    images: int = 1024

    unit = "images/s"

    def __post_init__(self):
        object.__setattr__(self, "channels", tuple(self.channels))  # which JSON makes a list

    @property
    def amount(self) -> float:
        """Images that a run trains on, counted once for each agent."""
        return float(self.agents * self.steps * self.batch)

    @property
    def sizes(self) -> str:
        """What the record says of it."""
        return f"1 x {self.agents} x {self.batch} images x {self.steps}"

    def describe(self) -> str:
        """The workload in a line."""
        many = f"{self.agents} agents" if self.agents > 1 else "one agent"
        return f"{self.title}: {many} x batch {self.batch} x {self.steps} steps"


@dataclasses.dataclass(frozen=True)
class WorkersWorkload:
    """AsyncSGD by workers in virtual time, of exponential compute times, on a quadratic with Gaussian noise.

    Attributes:
        name: by which it is chosen.
        title: in words.
        sims: independent simulations.
        agents: workers of one.
        steps: arrivals of one simulation.
        eta: learning rate.
        sigma: standard deviation of the noise.
        start: where all begin.
    """

    name: str
    title: str
    sims: int
    agents: int
    steps: int
    eta: float = 0.05
    sigma: float = 1.0
    start: float = 1.0

    unit = "million arrivals/s"

    @property
    def amount(self) -> float:
        """Arrivals of a run, in what the unit counts."""
        return self.sims * self.steps / 1e6

    @property
    def sizes(self) -> str:
        """What the record says of it."""
        return f"{self.sims} x {self.agents} x 1 x {self.steps}"

    def describe(self) -> str:
        """The workload in a line."""
        return f"{self.title}: {self.sims} simulations x {self.agents} workers x {self.steps} arrivals"


AnyWorkload = Workload | TrainingWorkload | WorkersWorkload

RACES: dict[str, WorkersWorkload] = {
    w.name: w for w in (WorkersWorkload("async", "AsyncSGD in virtual time", sims=1024, agents=16, steps=4000),)
}
"""The workloads of workers in virtual time, by name."""

TRAININGS: dict[str, TrainingWorkload] = {
    w.name: w
    for w in (
        TrainingWorkload("cnn-one", "the three-layer network, EASGD", agents=1, steps=4),
        TrainingWorkload("cnn", "the three-layer network, EASGD", agents=4, steps=2),
    )
}
"""The workloads that train networks, by name."""


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


def scaling() -> dict[str, list[tuple[int, Workload]]]:
    """Series of workloads that differ in one size, given with it; in all but the steps, at about equal work a run."""
    w1, w2 = WORKLOADS["w1-uniform"], WORKLOADS["w2"]
    work = 1e8

    def sized(base: Workload, size: str, values: tuple[int, ...]) -> list[tuple[int, Workload]]:
        named = [dataclasses.replace(base, **{size: n}, name=f"{base.name}, {size}={n}") for n in values]
        if size != "steps":
            named = [dataclasses.replace(w, steps=max(10, round(work * w.steps / w.work))) for w in named]
        return list(zip(values, named, strict=True))

    return {
        "simulations": sized(w1, "sims", (1, 8, 50, 200, 1000, 5000)),
        "agents": sized(w1, "agents", (1, 10, 100, 1000, 10_000)),
        "dimensions": sized(w2, "dims", (2, 10, 50, 200)),
        "steps": sized(w1, "steps", (10, 100, 1000, 10_000)),
    }


def workload_of(fields: dict[str, Any]) -> AnyWorkload:
    """A workload from its fields.

    Args:
        fields: by name.

    Returns:
        Of the kind that has this name.
    """
    kinds: dict[str, type[AnyWorkload]] = {
        **dict.fromkeys(TRAININGS, TrainingWorkload),
        **dict.fromkeys(RACES, WorkersWorkload),
    }
    return kinds.get(fields["name"], Workload)(**fields)


def over_cores(cores: int) -> list[tuple[int, Workload]]:
    """A larger W1 for 1, 2, 4, ... and all of so many cores.

    Args:
        cores: how many there are.

    Returns:
        The number of cores, with the workload.
    """
    counts = sorted({*(1 << i for i in range(cores.bit_length()) if 1 << i <= cores), cores})
    large = dataclasses.replace(WORKLOADS["w1-uniform"], sims=1000)
    return [(n, dataclasses.replace(large, name=f"w1-uniform, sims=1000, cores={n}")) for n in counts]
