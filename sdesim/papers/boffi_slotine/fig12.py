"""bs-fig12: agents that start at one point, or each at its own, on CIFAR-10 (BS Fig. 12).

Command: sdesim figure bs-fig12, after sdesim data cifar10. The rule is EASGD; all numbers are chosen [C].
"""

import dataclasses

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.networks import agents
from sdesim.papers.frame.networks.agents import label, many
from sdesim.statistics import greatest, least

OWN, ONE = "own starts", "one start"


@dataclasses.dataclass(frozen=True)
class Config(agents.Config):
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


def arms(config: Config) -> list[net.Arm]:
    made = []
    for p in config.agents:
        made.append(net.Arm(label(OWN, p), "easgd", p, config.k, group=str(p)))
        made.append(net.Arm(label(ONE, p), "easgd", p, config.k, same_start=True, group=str(p), style="--"))
    return made


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]
    improvement = lambda runs, starts: net.gain(label(starts, most), label(starts, fewest))(runs)
    first = lambda runs, starts, p: net.at_start(runs.data, "spread", label(starts, p))
    scales = Statement(
        "12-own-starts-scale",
        f"more agents help more from their own starts (improvement from {fewest} to {most} agents over that from one "
        "start, points)",
        lambda runs: improvement(runs, OWN) - improvement(runs, ONE),
        at_least(0.0),
    )
    return [
        *[
            Statement(
                f"12-one-start-is-worse-{p}",
                f"agents from one start do worse than from their own (best test accuracy, points, {many(p)})",
                net.gain(label(OWN, p), label(ONE, p)),
                at_least(0.0),
            )
            for p in config.agents
        ],
        *([scales] if most > fewest else []),
        Statement(
            "12-one-start-is-one",
            "agents from one start are together at first (largest distance over that of agents from their own)",
            lambda runs: (greatest([first(runs, ONE, p) / first(runs, OWN, p) for p in config.agents]), 0.0),
            at_most(1e-6, smoke=1e-6),
        ),
        Statement(
            "12-noise-parts-them",
            f"but noise drives them apart (distance after the last epoch, least of the runs, {many(most)})",
            lambda runs: (least(net.last(runs.data, "spread", label(ONE, most))), 0.0),
            at_least(1e-3, smoke=1e-3),
        ),
        Statement(
            "12-own-starts-explore",
            f"agents from their own starts stay further apart (last distance over that from one start, {many(most)})",
            net.distance(label(OWN, most), label(ONE, most)),
            at_least(1.0, smoke=1.0),
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
