"""bs-fig8: QSGD and state-dependent QSGD on CIFAR-10 for several numbers of agents (BS Fig. 8).

Command: sdesim figure bs-fig8, after sdesim data cifar10. All numbers are chosen [C]. Tested is the exponentially
weighted quorum.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks import agents
from sdesim.papers.frame.networks.agents import label, many
from sdesim.statistics import greatest


@dataclasses.dataclass(frozen=True)
class Config(agents.Config):
    """Constants [C] of Figure 8."""

    agents: tuple[int, ...] = (1, 4, 8, 16)
    """Numbers of agents p, in growing order."""
    alpha: float = 0.04
    """Weight of the pull in one step, eta k."""


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.2), small=dict(agents=(1, 2, 6)))


def arms(config: Config) -> list[net.Arm]:
    made = []
    for p in config.agents:
        made.append(net.Arm(label("QSGD", p), "qsgd", p, config.k, group=str(p)))
        if p > 1:  # of one agent both are SGD
            made.append(net.Arm(label("SD-QSGD", p), "sd-qsgd", p, config.k, group=str(p), style="--"))
    return made


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]
    gains = {p: net.gain(label("SD-QSGD", p), label("QSGD", p)) for p in config.several}
    several = [statement for p, gain in gains.items() for statement in _spikes(p, gain)]
    return [
        *[
            Statement(
                f"8-more-agents-help-{name.lower()}",
                f"{many(most)} of {name} generalize better than {many(fewest)} (best test accuracy, points)",
                net.gain(label(name, most), label("QSGD", fewest)),
                at_least(1.0),
            )
            for name in ("QSGD", "SD-QSGD")
            if most > fewest
        ],
        *several,
        Statement(
            "8-mildly-better",
            "SD-QSGD is mildly better for some number of agents (largest gain of best accuracy, points)",
            lambda runs: greatest([gain(runs).mean() for gain in gains.values()]),
            at_least(0.0),
            note="the paper's own difference is small, and changes sign with the number of agents",
        ),
        *[agents.synchronizes(f"8-synchronized-{name.lower()}", name, most) for name in ("QSGD", "SD-QSGD")],
        net.same_starts("8-same-start", arms(config)),
        net.learns("8-learns", arms(config)),
    ]


def _spikes(p: int, gain: Callable[[Runs], np.ndarray]) -> list[Statement]:
    """What spikes do to so many agents; `gain` is that of their best test accuracy."""
    return [
        Statement(
            f"8-state-dependent-{p}",
            f"the difference between SD-QSGD and QSGD is mild for {many(p)} (best test accuracies, points)",
            lambda runs: abs(gain(runs).mean()),
            at_most(2.0),
        ),
        Statement(
            f"8-spikes-synchronize-{p}",
            f"spikes bring agents closer together (last distance, SD-QSGD over QSGD, {many(p)})",
            net.distance(label("SD-QSGD", p), label("QSGD", p)),
            at_most(1.0, smoke=1.0),
            note="asked here: a spike adds to the sum of the gains, and is over long before an epoch's end",
        ),
    ]


EXPERIMENT = net.experiment(
    "bs-fig8",
    "Boffi & Slotine, Fig. 8: QSGD and state-dependent QSGD on CIFAR-10",
    "Accuracy improves with the number of agents for both. Spikes towards the best agent help mildly for some numbers "
    "of agents and not for others.",
    PRESETS,
    arms,
    statements,
)
