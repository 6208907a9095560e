"""bs-fig9 and, by another gain for each rule, bs-fig11: QSGD against EASGD over the number of agents (BS Fig. 9).

Command: sdesim figure bs-fig9, after sdesim data cifar10. All numbers are chosen [C].
"""

import dataclasses

from sdesim.claims import Statement
from sdesim.experiments import bs_fig8
from sdesim.experiments import networks as net


@dataclasses.dataclass(frozen=True)
class Config(bs_fig8.Config):
    """Constants [C] of Figure 9."""

    alpha: float = 0.04
    """Weight of the pull in one step, eta k, of EASGD."""
    scale: float = 1.0
    """Gain of QSGD over that of EASGD."""


PRESETS = net.presets(Config)
PRESETS["smoke"] = dataclasses.replace(PRESETS["smoke"], agents=(1, 2, 4))


def cells(config: Config) -> list[net.Cell]:
    k = config.alpha / config.eta
    made = []
    for p in config.agents:
        many = f"{p} agents" if p > 1 else "1 agent"
        made.append(net.Cell(f"QSGD, {many}", "qsgd", p, config.scale * k, group=str(p)))
        made.append(net.Cell(f"EASGD, {many}", "easgd", p, k, group=str(p), style="--"))
    return made


def statements(config: Config) -> list[Statement]:
    most = config.agents[-1]
    several = [f"{p} agents" if p > 1 else "1 agent" for p in config.agents]
    return [
        *[
            Statement(
                f"9-generalises-{p.split()[0]}",
                f"EASGD generalises better than QSGD with {p} (best test accuracy, points)",
                net.gain(f"EASGD, {p}", f"QSGD, {p}"),
                ">=",
                0.0,
            )
            for p in several
        ],
        Statement(
            "9-optimises",
            "QSGD drives the training loss lower (best training loss, QSGD over EASGD, most agents)",
            lambda runs: (
                net.best(runs.data, "train_loss", f"QSGD, {most} agents")
                / net.best(runs.data, "train_loss", f"EASGD, {most} agents")
            ),
            "<=",
            1.0,
        ),
        *[
            Statement(
                f"9-less-synchronized-{p.split()[0]}",
                f"EASGD agents are less synchronized (last distance, QSGD over EASGD, {p})",
                lambda runs, p=p: (
                    net.last(runs.data, "spread", f"QSGD, {p}").mean()
                    / net.last(runs.data, "spread", f"EASGD, {p}").mean()
                ),
                "<=",
                1.0,
                smoke=4.0,
            )
            for p in several[1:]
        ],
        Statement(
            "9-learns",
            "every cell learns (least gain of test accuracy over the start, points)",
            lambda runs: min(
                (net.best(runs.data, "test_accuracy", c.label) - _start(runs, c.label)).mean() for c in cells(config)
            ),
            ">=",
            20.0,
            smoke=5.0,
        ),
    ]


def _start(runs, cell: str):
    return runs.data["test_accuracy"].sel(cell=cell).isel(epoch=0).values


EXPERIMENT = net.experiment(
    "bs-fig9",
    "Boffi & Slotine, Fig. 9: QSGD and EASGD on CIFAR-10",
    "QSGD drives the training loss further down, EASGD generalises better, with one agent too, and its agents are less "
    "synchronized.",
    PRESETS,
    cells,
    statements,
)
