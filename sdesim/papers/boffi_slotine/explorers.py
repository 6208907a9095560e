"""Agents of two learning rates on the oscillating loss: half of them explore at a large rate, half have a small one."""

import dataclasses

import numpy as np
import xarray as xr

from sdesim import init, noise, plotting, statistics
from sdesim.claims import Statement, at_least
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.frame import measured

POPULATIONS = {
    "equal": ("all at the mean rate", "#7f7f7f"),
    "fine": ("all at the small rate", "#1b9e77"),
    "noise": ("explorers, common drift", plotting.SMOOTHED),
    "iteration": ("explorers, own steps", plotting.QUORUM),
    "moving": ("explorers, own steps, one moving rate", plotting.LOSS),
}
"""What each population is called in pictures, and its color."""


def two_halves(eta: float, contrast: float, agents: int) -> np.ndarray:
    """Learning rates, (agents,): eta (1 + contrast) for the first half of the agents, eta (1 - contrast) for others."""
    return eta * (1 + contrast * np.repeat([1.0, -1.0], agents // 2))


def check_halves(name: str, agents: int) -> None:
    """Refuse a number of agents that has no half."""
    if check_count(name, agents, least=2) % 2:
        raise ValueError(f"{name}={agents}: must be even, for two halves")


def check_contrast(name: str, value) -> None:
    """Refuse a contrast, or several, that would leave half of the agents without steps."""
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


def explore(config: Explorers, eta: float, sims: int, seed: int, progress: bool) -> xr.Dataset:
    """Where quorum and agents of each population are at the end, for each gain.

    Returns:
        (population, gain, sim): `quorum_share`, 1 where the quorum is in the basin of the deepest minimum of the loss
        smoothed at the mean rate `eta`; `explorer_share` and `fine_share`, the shares of the first and of the second
        half of the agents there; `explored`, the quorum.
    """
    p = config.agents
    mixed, equal = two_halves(eta, config.contrast, p), np.full(p, eta)
    common = [np.full(p, k) for k in config.k]
    law, loss = noise.Uniform(config.noise_half_width), config.loss.objective()
    uncoupled = Quorum(np.zeros(p))
    kinds = {
        "equal": (Dynamics(loss, uncoupled, law, equal), common),
        "fine": (Dynamics(loss, uncoupled, law, np.full(p, mixed[-1])), common),
        "noise": (Dynamics(loss, uncoupled, law, mixed, rates="noise"), common),
        "iteration": (Dynamics(loss, uncoupled, law, mixed), common),
        "moving": (Dynamics(loss, uncoupled, law, mixed), [k * eta / mixed for k in common]),
    }
    marks = one.landmarks(one.Config(eta=eta, noise_half_width=config.noise_half_width, loss=config.loss))
    parts: list[xr.Dataset] = []
    for model, gains in kinds.values():
        data = sweep(
            model,
            {"coupling.k": gains},
            agents=p,
            sims=sims,
            steps=config.steps,
            seed=seed,
            init=init.Uniform(-config.init_half_width, config.init_half_width),
            progress=progress,
        )
        near = measured.within(data["agents"].isel(dim=0, drop=True), marks.right, one.NEAR).astype(float)
        explored = data["quorum"].isel(dim=0, drop=True).astype(float)
        part = xr.Dataset(
            {
                "quorum_share": measured.within(explored, marks.right, one.NEAR).astype(float),
                "explorer_share": statistics.grid_mean(near.isel(agent=slice(None, p // 2)), "agent"),
                "fine_share": statistics.grid_mean(near.isel(agent=slice(p // 2, None)), "agent"),
                "explored": explored,
            }
        )
        parts.append(part.rename({"coupling.k": "gain"}).assign_coords(gain=list(config.k)))
    return xr.concat(parts, dim=xr.IndexVariable("population", list(kinds)))


# -- statements --------------------------------------------------------------------------------------------------------


def _best(data: xr.Dataset, name: str, population: str) -> float:
    """The largest share over the gains."""
    return statistics.greatest(statistics.grid_mean(data[name].sel(population=population)))


def _difference(name: str, first: str, other: str):
    """The statistic of how much larger the best share of one population is than that of another."""
    return lambda runs: _best(runs.data, name, first) - _best(runs.data, name, other)


def statements() -> list[Statement]:
    """What explorers do for the quorum and for the agents of small rate, compared with other populations."""
    return [
        Statement(
            "explorers-find",
            "with a common drift explorers take the quorum to the deepest minimum more often than small rates do (best "
            "share over the gains, difference)",
            _difference("quorum_share", "noise", "fine"),
            at_least(0.1, smoke=0.1),
        ),
        Statement(
            "explorers-find-more",
            "and more often than equal rates of the same mean (best share over the gains, difference)",
            _difference("quorum_share", "noise", "equal"),
            at_least(0.0),
            note="not asked of explorers by the paper, and within the error",
        ),
        Statement(
            "explorers-refine",
            "and the agents of small rate among them are there more often than agents of the mean rate",
            _difference("fine_share", "noise", "equal"),
            at_least(0.03),
        ),
        Statement(
            "own-steps-find",
            "explorers that take their own steps take it there more often than small rates do",
            _difference("quorum_share", "iteration", "fine"),
            at_least(0.0),
            note="found the other way: slow agents weigh most in what the coupling conserves, and hold the quorum back",
        ),
        Statement(
            "own-steps-lose",
            "explorers that take their own steps take it there less often than agents of the mean rate",
            _difference("quorum_share", "equal", "iteration"),
            at_least(0.3, smoke=0.2),
        ),
        Statement(
            "one-moving-rate",
            "with one moving rate eta_i k_i for all, which conserves the mean, explorers do find it, at larger gains",
            _difference("quorum_share", "moving", "iteration"),
            at_least(0.3, smoke=0.1),
        ),
        Statement(
            "one-moving-rate-refines",
            "and take more of the agents of small rate there than there are of agents of the mean rate",
            _difference("fine_share", "moving", "equal"),
            at_least(0.1, smoke=0.0),
        ),
    ]
