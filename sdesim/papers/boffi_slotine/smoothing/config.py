"""Constants of bs-smoothing."""

import dataclasses

from sdesim.coupling import Order
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine.one_dimensional import Loss
from sdesim.theory.smoothing import Law, agents_law

WINDOW = 2.3  # half width of what is measured
WARM = 2  # iterations after which agents are spread


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of agents p, increasing from 1."""
    rates: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Weights eta k of the pull in one iteration, increasing to 1, at which a pull brings all agents to their mean."""
    eta: float = 0.001
    """Learning rate, so small that paths do not gather in the minima while they are watched."""
    noise_half_width: float = 400.0
    """Noise is uniform on (-w, w), drawn for each agent and iteration; eta w is what it moves an agent by."""
    steps: int = 8
    """Iterations of each path, from agents that are all at one point."""
    paths: int = 400
    """Paths of one simulation, whose starts are spread evenly over the landscape."""
    sims: int = 100
    """Independent simulations of each number of agents, rate and order."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: Loss = dataclasses.field(default_factory=Loss)
    """Constants of the loss."""

    def __post_init__(self):
        for p in self.agents:
            check_count("agents", p)
        if len(self.agents) < 2 or self.agents[0] != 1 or list(self.agents) != sorted(set(self.agents)):
            raise ValueError(f"agents={self.agents}: must be at least two numbers, increasing from 1")
        if list(self.rates) != sorted(set(self.rates)) or self.rates[0] <= 0 or self.rates[-1] != 1:
            raise ValueError(f"rates={self.rates}: must be greater than 0 and increase to 1")
        for name in ("eta", "noise_half_width"):
            check_sign(name, getattr(self, name), zero=False)
        check_count("steps", self.steps, least=WARM + 2)
        check_count("paths", self.paths)
        check_count("sims", self.sims, least=20)

    @property
    def half_width(self) -> float:
        """Half width of the noise of one step of one agent, in units of x."""
        return self.eta * self.noise_half_width

    def agents_laws(self, agents: int, order: Order, rate: float) -> list[Law]:
        """The laws of the agents about their mean at the steps that are watched.

        Args:
            agents: number of agents p.
            order: of coupling and descent in one step.
            rate: of the coupling.
        """
        return [agents_law(self.half_width, agents, order, rate, t) for t in range(WARM, self.steps)]


PRESETS = {
    "smoke": Config(agents=(1, 16), rates=(0.5, 1.0), sims=40, paths=100),
    "default": Config(),
    "paper": Config(sims=1000),
}
