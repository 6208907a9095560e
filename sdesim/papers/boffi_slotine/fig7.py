"""bs-fig7: EASGD on CIFAR-10 for several coupling gains (BS Fig. 7).

Command: sdesim figure bs-fig7, after sdesim data cifar10. Gains, learning rate and number of agents are chosen [C];
gains are given as the weight of the pull in one step, alpha = eta k. Elastic symmetry is stable for alpha (1 + p) < 2.
"""

import dataclasses
import itertools

import numpy as np

from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_count
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.statistics import greatest


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Constants [C] of Figure 7."""

    agents: int = 8
    """Agents p."""
    alpha: tuple[float, ...] = (0.0005, 0.002, 0.01, 0.04, 0.1, 0.2)
    """Weights of the pull in one step, eta k, in growing order."""

    def __post_init__(self):
        super().__post_init__()
        check_count("agents", self.agents)
        net.check_growing("alpha", self.alpha, least=3)


PRESETS = net.presets(Config, smoke=dict(agents=2, alpha=(0.0005, 0.05, 0.3)), small=dict(agents=4))


def label(alpha: float) -> str:
    """The label of an arm.

    Args:
        alpha: weight of the pull in one step, eta k.
    """
    return rf"$\eta k = {alpha:g}$"


def arms(config: Config) -> list[net.Arm]:
    return [net.Arm(label(a), "easgd", config.agents, a / config.eta) for a in config.alpha]


def statements(config: Config) -> list[Statement]:
    labels = [label(a) for a in config.alpha]
    weak, *others = labels

    def best_of_others(runs: Runs):
        return greatest([net.best(runs.data, "test_accuracy", arm).mean() for arm in others])

    def trend(runs: Runs):
        """Points of accuracy a decade of the gain, over the gains whose center is at least as good as its agents."""
        center, agents = (
            np.array([net.best(runs.data, name, arm).mean() for arm in labels])
            for name in ("test_accuracy", "agents_test_accuracy")
        )
        meant = ~(center < agents - 1)  # what is not known too, of which there is no trend
        return np.polyfit(np.log10(np.array(config.alpha)[meant]), center[meant], 1)[0] if meant.sum() > 1 else np.nan

    return [
        Statement(
            "7-lower-is-better",
            "the best gain is below the strongest (best test accuracy of the second strongest over it, points)",
            net.gain(labels[-2], labels[-1]),
            at_least(0.0),
        ),
        Statement(
            "7-trend",
            "test accuracy grows as the gain falls, where the center is of use (points a decade of the gain)",
            trend,
            at_most(0.0),
        ),
        # Also in a few steps: the center of weakly coupled agents then stands near the mean of their starts.
        Statement(
            "7-too-low-fails",
            "too weak a coupling leaves a center that is no meaningful average (best test accuracy over the epochs, of "
            "the gain with the best mean over the weakest, points)",
            lambda runs: best_of_others(runs) - net.best(runs.data, "test_accuracy", weak).mean(),
            at_least(2.0, smoke=2.0),
        ),
        Statement(
            "7-agents-learn-anyway",
            "though its agents learn by themselves (best accuracy of the agents over that of the center, weakest gain)",
            lambda runs: net.best(runs.data, "agents_test_accuracy", weak) - net.best(runs.data, "test_accuracy", weak),
            at_least(2.0, smoke=20.0),
        ),
        *[
            Statement(
                f"7-synchronized-{i}",
                f"more coupling, closer agents (last distance at {high} over that at {low})",
                net.distance(high, low),
                at_most(1.0, smoke=0.9),
            )
            for i, (low, high) in enumerate(itertools.pairwise(labels), 1)
        ],
        net.learns("7-learns", arms(config)),
    ]


EXPERIMENT = net.experiment(
    "bs-fig7",
    "Boffi & Slotine, Fig. 7: EASGD on CIFAR-10 for several gains",
    "The test accuracy grows as the gain falls, as long as the center is still a meaningful average of the agents; "
    "below that the center does not converge.",
    PRESETS,
    arms,
    statements,
)
