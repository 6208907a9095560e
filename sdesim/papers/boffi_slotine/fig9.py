"""bs-fig9: QSGD against EASGD on CIFAR-10 for several numbers of agents (BS Fig. 9).

Command: sdesim figure bs-fig9, after sdesim data cifar10. All numbers are chosen [C].
"""

import dataclasses

from sdesim.claims import Statement
from sdesim.papers.boffi_slotine import fig8 as bs_fig8
from sdesim.papers.boffi_slotine.fig8 import many
from sdesim.papers.frame import networks as net


@dataclasses.dataclass(frozen=True)
class Config(bs_fig8.Config):
    """Constants [C] of Figure 9."""

    alpha: float = 0.04
    """Weight of the pull in one step, eta k, of both rules."""


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.2), small=dict(agents=(1, 2, 6)))


def pairs(config: bs_fig8.Config, scale: float = 1.0) -> list[net.Arm]:
    """QSGD, at `scale` times the gain, and EASGD for each number of agents."""
    k = config.alpha / config.eta
    made = []
    for p in config.agents:
        made.append(net.Arm(f"QSGD, {many(p)}", "qsgd", p, scale * k, group=str(p)))
        made.append(net.Arm(f"EASGD, {many(p)}", "easgd", p, k, group=str(p), style="--"))
    return made


def arms(config: Config) -> list[net.Arm]:
    return pairs(config)


def generalises(id: str, agents: tuple[int, ...]) -> list[Statement]:
    """EASGD is the better on the test set, for each number of agents."""
    return [
        Statement(
            f"{id}-generalises-{p}",
            f"EASGD generalises better than QSGD with {many(p)} (best test accuracy, points)",
            net.gain(f"EASGD, {many(p)}", f"QSGD, {many(p)}"),
            ">=",
            0.0,
        )
        for p in agents
    ]


def statements(config: Config) -> list[Statement]:
    fewest, most = many(config.agents[0]), many(config.agents[-1])
    return [
        *generalises("9", config.agents),
        Statement(
            "9-optimises",
            f"QSGD drives the training loss lower (best training loss, QSGD over EASGD, {most})",
            lambda runs: (
                net.best(runs.data, "train_loss", f"QSGD, {most}") / net.best(runs.data, "train_loss", f"EASGD, {most}")
            ),
            "<=",
            1.0,
        ),
        *[
            Statement(
                f"9-less-synchronized-{p}",
                f"EASGD agents are less synchronized (last distance, QSGD over EASGD, {many(p)})",
                net.distance(f"QSGD, {many(p)}", f"EASGD, {many(p)}"),
                "<=",
                1.0,
            )
            for p in config.several
        ],
        *[net.synchronizes(f"9-synchronized-{name.lower()}", name, f"{name}, {most}") for name in ("QSGD", "EASGD")],
        net.differs(
            "9-differs",
            f"EASGD is another iteration than QSGD, with {fewest}",
            f"EASGD, {fewest}",
            f"QSGD, {fewest}",
            config,
        ),
        net.same_starts("9-same-start", arms(config)),
        net.learns("9-learns", arms(config)),
    ]


EXPERIMENT = net.experiment(
    "bs-fig9",
    "Boffi & Slotine, Fig. 9: QSGD and EASGD on CIFAR-10",
    "QSGD drives the training loss further down, EASGD generalises better, with one agent too, and its agents are less "
    "synchronized.",
    PRESETS,
    arms,
    statements,
)
