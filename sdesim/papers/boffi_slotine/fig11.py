"""bs-fig11: QSGD against EASGD at about the same synchronization, and with more agents (BS Fig. 11).

Command: sdesim figure bs-fig11, after sdesim data cifar10. As Fig. 9 with QSGD's gain scaled down; all numbers are
chosen [C]. With elastic symmetry the center is unstable where alpha (1 + p) > 2, alpha = eta k: at the default alpha
from 50 agents on.
"""

import dataclasses
import itertools

import numpy as np

from sdesim.claims import Statement, at_least
from sdesim.fields import check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks import agents
from sdesim.papers.frame.networks.agents import label, many
from sdesim.statistics import greatest


@dataclasses.dataclass(frozen=True)
class Config(agents.Config):
    """Constants [C] of Figure 11."""

    agents: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of agents p, in growing order."""
    alpha: float = 0.04
    """Weight of the pull in one step, eta k, of EASGD."""
    scale: float = 0.5
    """Gain of QSGD over that of EASGD."""

    def __post_init__(self):
        super().__post_init__()
        check_sign("scale", self.scale, zero=False)

    def stable(self, agents: int) -> bool:
        """Whether EASGD's center is stable, as the iteration of the coupling alone has it.

        Args:
            agents: number of agents p.
        """
        return self.alpha * (1 + agents) < 2


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.2), small=dict(agents=(1, 4, 14), alpha=0.15))
PRESETS["paper"] = dataclasses.replace(PRESETS["paper"], agents=(1, 2, 4, 8, 16, 32, 64))


def arms(config: Config) -> list[net.Arm]:
    return agents.pairs(config, config.scale)


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]
    stable = [p for p in config.agents if config.stable(p)]
    best_of_easgd = lambda runs, p: net.best(runs.data, "test_accuracy", label("EASGD", p))

    def lost(runs: Runs, p: int) -> float:
        """Points below the best number of fewer agents; what diverges does no better than a guess."""
        found = best_of_easgd(runs, p)
        found = np.where(np.isnan(found), 100 - net.GUESS_ERROR, found)
        return greatest([best_of_easgd(runs, q).mean() for q in stable]) - found.mean()

    helps = Statement(
        "11-more-agents-help",
        f"QSGD improves with more agents (best test accuracy, {many(most)} over {many(fewest)}, points)",
        net.gain(label("QSGD", most), label("QSGD", fewest)),
        at_least(1.0),
    )
    return [
        *[agents.generalizes(f"11-generalizes-{p}", p) for p in stable],
        *[statement for p in stable for statement in _synchronized(p)],
        *[
            Statement(
                f"11-too-many-{p}",
                f"EASGD does not converge with {many(p)} (best test accuracy below that of the best number of fewer "
                "agents, points)",
                lambda runs, p=p: lost(runs, p),
                at_least(5.0, smoke=5.0),
            )
            for p in config.agents
            if not config.stable(p)
        ],
        *([helps] if most > fewest else []),
        *[
            Statement(
                f"11-fewer-suffice-{few}",
                f"EASGD of {many(few)} is about as good as QSGD of {many(more)} (best test accuracy, points)",
                net.gain(label("EASGD", few), label("QSGD", more)),
                at_least(-1.0),
                note="of which numbers of agents the paper says so is lost",
            )
            for few, more in itertools.pairwise(config.agents)
        ],
        net.same_starts("11-same-start", arms(config)),
        net.learns("11-learns", [arm for arm in arms(config) if arm.algorithm == "qsgd" or config.stable(arm.agents)]),
    ]


def _synchronized(p: int) -> list[Statement]:
    """What is said of so many agents of both rules, at about the same synchronization."""
    easgd, qsgd = label("EASGD", p), label("QSGD", p)
    last_over_least = lambda runs, arm: net.last(runs.data, "test_loss", arm) / net.best(runs.data, "test_loss", arm)
    overfits = Statement(
        f"11-overfits-{p}",
        f"QSGD overfits more than EASGD (last over least test loss, QSGD less EASGD, {many(p)})",
        lambda runs: last_over_least(runs, qsgd) - last_over_least(runs, easgd),
        at_least(0.0),
    )
    # Distances obey one equation in both rules, so that a lower gain leaves more of them, in a few steps too.
    alike = Statement(
        f"11-same-synchronization-{p}",
        f"with its gain scaled, QSGD is no more synchronized than EASGD (last distance, QSGD over EASGD, {many(p)})",
        net.distance(qsgd, easgd),
        at_least(0.8, smoke=1.0),
    )
    return [overfits, alike] if p > 1 else [overfits]


EXPERIMENT = net.experiment(
    "bs-fig11",
    "Boffi & Slotine, Fig. 11: QSGD and EASGD on CIFAR-10 at about the same synchronization",
    "With QSGD's gain scaled down until its agents are as far apart as EASGD's, EASGD still generalizes better, as "
    "QSGD overfits. Both improve with more agents, until EASGD's center does not converge.",
    PRESETS,
    arms,
    statements,
)
