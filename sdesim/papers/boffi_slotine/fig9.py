"""bs-fig9: QSGD against EASGD on CIFAR-10 for several numbers of agents (BS Fig. 9).

Command: sdesim figure bs-fig9, after sdesim data cifar10. All numbers are chosen [C].
"""

import dataclasses

from sdesim.claims import Statement, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.networks import agents
from sdesim.papers.frame.networks.agents import label, many


@dataclasses.dataclass(frozen=True)
class Config(agents.Config):
    """Constants [C] of Figure 9."""

    agents: tuple[int, ...] = (1, 4, 8, 16)
    """Numbers of agents p, in growing order."""
    alpha: float = 0.04
    """Weight of the pull in one step, eta k, of both rules."""


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.2), small=dict(agents=(1, 2, 6)))


def arms(config: Config) -> list[net.Arm]:
    return agents.pairs(config)


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]
    lowest = lambda runs, name: net.best(runs.data, "train_loss", label(name, most))
    return [
        *[agents.generalizes(f"9-generalizes-{p}", p) for p in config.agents],
        Statement(
            "9-optimizes",
            f"QSGD drives the training loss lower (best training loss, QSGD over EASGD, {many(most)})",
            lambda runs: lowest(runs, "QSGD") / lowest(runs, "EASGD"),
            at_most(1.0),
        ),
        *[
            Statement(
                f"9-less-synchronized-{p}",
                f"EASGD agents are less synchronized (last distance, QSGD over EASGD, {many(p)})",
                net.distance(label("QSGD", p), label("EASGD", p)),
                at_most(1.0),
            )
            for p in config.several
        ],
        *[agents.synchronizes(f"9-synchronized-{name.lower()}", name, most) for name in ("QSGD", "EASGD")],
        net.differs(
            "9-differs",
            f"EASGD is another iteration than QSGD, with {many(fewest)}",
            label("EASGD", fewest),
            label("QSGD", fewest),
            config,
        ),
        net.same_starts("9-same-start", arms(config)),
        net.learns("9-learns", arms(config)),
    ]


EXPERIMENT = net.experiment(
    "bs-fig9",
    "Boffi & Slotine, Fig. 9: QSGD and EASGD on CIFAR-10",
    "QSGD drives the training loss further down, EASGD generalizes better, with one agent too, and its agents are less "
    "synchronized.",
    PRESETS,
    arms,
    statements,
)
