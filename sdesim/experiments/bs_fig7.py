"""bs-fig7: EASGD on CIFAR-10 for several coupling gains (BS Fig. 7).

Command: sdesim figure bs-fig7, after sdesim data cifar10. Gains, learning rate and number of agents are chosen [C];
gains are given as the weight of the pull in one step, alpha = eta k. Elastic symmetry is stable for alpha (1 + p) < 2.
"""

import dataclasses
import functools

from sdesim.claims import Statement
from sdesim.experiments import networks as net


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Constants [C] of Figure 7."""

    agents: int = 8
    """Agents p."""
    alpha: tuple[float, ...] = (0.0005, 0.002, 0.01, 0.04, 0.1, 0.2)
    """Weights of the pull in one step, eta k, in growing order."""

    def __post_init__(self):
        super().__post_init__()
        if len(self.alpha) < 3 or list(self.alpha) != sorted(self.alpha):
            raise ValueError(f"alpha={self.alpha}: must be three weights or more, in growing order")


PRESETS = net.presets(Config)


def label(alpha: float) -> str:
    return rf"$\eta k = {alpha:g}$"


def cells(config: Config) -> list[net.Cell]:
    return [net.Cell(label(a), "easgd", config.agents, a / config.eta) for a in config.alpha]


def statements(config: Config) -> list[Statement]:
    weak, *middle, strong = (label(a) for a in config.alpha)

    def best_of_middle(runs):
        return max(net.best(runs.data, "test_accuracy", c).mean() for c in middle)

    return [
        Statement(
            "7-lower-is-better",
            "the best gain is below the strongest: test accuracy of the best middle gain over the strongest (points)",
            lambda runs: best_of_middle(runs) - net.best(runs.data, "test_accuracy", strong).mean(),
            ">=",
            0.0,
        ),
        Statement(
            "7-too-low-fails",
            "too weak a coupling leaves a center that is no meaningful average (accuracy of the best over the weakest)",
            lambda runs: best_of_middle(runs) - net.best(runs.data, "test_accuracy", weak).mean(),
            ">=",
            2.0,
        ),
        Statement(
            "7-agents-learn-anyway",
            "though its agents learn by themselves (best accuracy of the agents over that of the center, weakest gain)",
            lambda runs: net.best(runs.data, "agents_test_accuracy", weak) - net.best(runs.data, "test_accuracy", weak),
            ">=",
            2.0,
        ),
        *[
            Statement(
                f"7-synchronized-{i}",
                f"more coupling, closer agents (last distance at {high} over that at {low})",
                functools.partial(
                    lambda runs, a, b: (
                        net.last(runs.data, "spread", b).mean() / net.last(runs.data, "spread", a).mean()
                    ),
                    a=low,
                    b=high,
                ),
                "<=",
                1.0,
                smoke=1.0,
            )
            for i, (low, high) in enumerate(zip((weak, *middle), (*middle, strong), strict=True), 1)
        ],
    ]


EXPERIMENT = net.experiment(
    "bs-fig7",
    "Boffi & Slotine, Fig. 7: EASGD on CIFAR-10 for several gains",
    "The test accuracy grows as the gain falls, as long as the center is still a meaningful average of the agents; "
    "below that the center does not converge.",
    PRESETS,
    cells,
    statements,
)
