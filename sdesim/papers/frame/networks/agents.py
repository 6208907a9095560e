"""Comparisons over numbers of agents: their settings, the arms of QSGD beside EASGD, and what is said of both."""

import dataclasses

from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame.networks import config as net
from sdesim.papers.frame.networks.claims import at_start, gain, last
from sdesim.statistics import greatest


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Sizes and constants [C] of a comparison over numbers of agents."""

    agents: tuple[int, ...] = (1, 4, 8, 16)
    """Numbers of agents p, in growing order."""
    alpha: float = 0.04
    """Weight of the pull in one step, eta k."""

    def __post_init__(self):
        super().__post_init__()
        for p in self.agents:
            check_count("agents", p)
        net.check_growing("agents", self.agents)
        if self.agents[-1] < 2:
            raise ValueError(f"agents={self.agents}: the last must be at least 2, for a coupling")
        check_sign("alpha", self.alpha)

    @property
    def k(self) -> float:
        """The gain."""
        return self.alpha / self.eta

    @property
    def several(self) -> tuple[int, ...]:
        """The numbers of agents that are coupled."""
        return tuple(p for p in self.agents if p > 1)


def many(agents: int) -> str:
    """A number of agents in words.

    Args:
        agents: number of agents p.
    """
    return f"{agents} agents" if agents > 1 else "1 agent"


def label(kind: str, agents: int) -> str:
    """The label of so many agents of a kind.

    Args:
        kind: what the agents are.
        agents: number of agents p.
    """
    return f"{kind}, {many(agents)}"


def pairs(config: Config, scale: float = 1.0) -> list[net.Arm]:
    """QSGD, at `scale` times the gain, and EASGD for each number of agents.

    Args:
        config: constants of the experiment.
        scale: gain of QSGD over that of EASGD.
    """
    made = []
    for p in config.agents:
        made.append(net.Arm(label("QSGD", p), "qsgd", p, scale * config.k, group=str(p)))
        made.append(net.Arm(label("EASGD", p), "easgd", p, config.k, group=str(p), style="--"))
    return made


def generalizes(id: str, agents: int) -> Statement:
    """EASGD is the better on the test set.

    Args:
        id: what the statement is called within its figure.
        agents: number of agents p.
    """
    text = f"EASGD generalizes better than QSGD with {many(agents)} (best test accuracy, points)"
    return Statement(id, text, gain(label("EASGD", agents), label("QSGD", agents)), at_least(0.0))


def synchronizes(id: str, kind: str, agents: int) -> Statement:
    """Agents that start apart come together in every run.

    Args:
        id: what the statement is called within its figure.
        kind: of the agents, as their label has it.
        agents: number of agents p.
    """
    arm = label(kind, agents)
    worst = lambda runs: (greatest(last(runs.data, "spread", arm) / at_start(runs.data, "spread", arm)), 0.0)
    text = f"{kind} brings agents from their own starts together (last distance over the first, {many(agents)})"
    return Statement(id, text, worst, at_most(0.5, smoke=0.5))
