"""Constants of bs-meanfield: those of Figure 1, with more agents and fewer iterations."""

import dataclasses

from sdesim import init
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.theory import meanfield

P = "n_agents"
BINS = 160  # of the simulated densities


@dataclasses.dataclass(frozen=True)
class Config(one.Config):
    """Constants [C] of Figure 1 with more agents and fewer iterations, and of the comparison."""

    agents: int = 1600
    """Agents p of the runs whose densities are shown."""
    sims: int = 200
    """Independent simulations of each gain and number of agents."""
    steps: int = 450
    """Iterations: all gains have settled, and so many agents do not leave the branch they settled on."""
    populations: tuple[int, ...] = (200, 400, 800, 1600, 3200)
    """Numbers of agents p over which the error falls."""
    population_steps: int = 40
    """Iterations after which that error is taken."""
    window: float = 4.0
    """The law is held on (-window, window)."""
    cells: int = 1600
    """Cells of the law."""

    def __post_init__(self):
        super().__post_init__()
        if len(self.populations) < 2 or min(self.populations) < 2:
            raise ValueError(f"populations={self.populations}: must be two or more numbers of at least 2 agents")
        check_count("population_steps", self.population_steps)
        check_sign("window", self.window, zero=False)
        if check_count("cells", self.cells) % (2 * BINS):
            raise ValueError(f"cells={self.cells}: must be a multiple of {2 * BINS}")

    @property
    def start(self) -> init.Uniform:
        """How agents start: as in one dimension."""
        return init.Uniform(-self.init_half_width, self.init_half_width)

    def grid(self, coarser: int = 1) -> meanfield.Grid:
        """The cells of the window.

        Args:
            coarser: by this factor fewer of them.
        """
        return meanfield.Grid(-self.window, self.window, self.cells // coarser)


PRESETS = {
    "smoke": Config(sims=40, agents=800, steps=400, populations=(200, 800), cells=640),
    "default": Config(),
    "paper": Config(sims=2000, cells=3200),
}
