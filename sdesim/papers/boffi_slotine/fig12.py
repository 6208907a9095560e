"""bs-fig12: agents that start at one point, or each at its own, on CIFAR-10 (BS Fig. 12).

Command: sdesim figure bs-fig12, after sdesim data cifar10. The rule is EASGD; all numbers are chosen [C].
"""

import dataclasses

from sdesim import statistics
from sdesim.claims import Statement
from sdesim.papers.boffi_slotine import fig8 as bs_fig8
from sdesim.papers.boffi_slotine.fig8 import many
from sdesim.papers.frame import networks as net


@dataclasses.dataclass(frozen=True)
class Config(bs_fig8.Config):
    """Constants [C] of Figure 12."""

    agents: tuple[int, ...] = (4, 8, 16)
    """Numbers of agents p, in growing order."""
    alpha: float = 0.04
    """Weight of the pull in one step, eta k."""

    def __post_init__(self):
        super().__post_init__()
        if self.agents[0] < 2:
            raise ValueError(f"agents={self.agents}: the first must be at least 2, for starts of their own")


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.1), small=dict(agents=(2, 6)))


def label(starts: str, agents: int) -> str:
    return f"{starts}, {many(agents)}"


def arms(config: Config) -> list[net.Arm]:
    k = config.alpha / config.eta
    made = []
    for p in config.agents:
        made.append(net.Arm(label("own starts", p), "easgd", p, k, group=str(p)))
        made.append(net.Arm(label("one start", p), "easgd", p, k, same_start=True, group=str(p), style="--"))
    return made


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]

    def improvement(starts: str):
        return net.gain(label(starts, most), label(starts, fewest))

    found = [
        Statement(
            f"12-one-start-is-worse-{p}",
            f"agents from one start do worse than from their own (best test accuracy, points, {many(p)})",
            net.gain(label("own starts", p), label("one start", p)),
            ">=",
            0.0,
        )
        for p in config.agents
    ]
    if most > fewest:
        found.append(
            Statement(
                "12-own-starts-scale",
                f"more agents help more from their own starts (improvement from {fewest} to {most} agents over that "
                "from one start, points)",
                lambda runs: improvement("own starts")(runs) - improvement("one start")(runs),
                ">=",
                0.0,
            )
        )
    return [
        *found,
        Statement(
            "12-one-start-is-one",
            "agents from one start are together at first (largest distance over that of agents from their own)",
            lambda runs: (
                statistics.greatest(
                    [
                        net.at_start(runs.data, "spread", label("one start", p))
                        / net.at_start(runs.data, "spread", label("own starts", p))
                        for p in config.agents
                    ]
                ),
                0.0,
            ),
            "<=",
            1e-6,
            smoke=1e-6,
        ),
        Statement(
            "12-noise-parts-them",
            f"but noise drives them apart (distance after the last epoch, least of the runs, {many(most)})",
            lambda runs: (statistics.least(net.last(runs.data, "spread", label("one start", most))), 0.0),
            ">=",
            1e-3,
            smoke=1e-3,
        ),
        Statement(
            "12-own-starts-explore",
            f"agents from their own starts stay further apart (last distance over that from one start, {many(most)})",
            net.distance(label("own starts", most), label("one start", most)),
            ">=",
            1.0,
            counted=False,
            smoke=1.0,
            note="asked here: at the end of a long training it says whether the starts are forgotten",
        ),
        net.learns("12-learns", arms(config)),
    ]


EXPERIMENT = net.experiment(
    "bs-fig12",
    "Boffi & Slotine, Fig. 12: one start or many, EASGD on CIFAR-10",
    "Agents that start at one point do worse than agents that start apart, which also gain more from being many.",
    PRESETS,
    arms,
    statements,
)
