"""bs-fig11: QSGD against EASGD at about the same synchronization, and with more agents (BS Fig. 11).

Command: sdesim figure bs-fig11, after sdesim data cifar10. As Fig. 9 with QSGD's gain scaled down; all numbers are
chosen [C]. With elastic symmetry the center is unstable where alpha (1 + p) > 2, alpha = eta k: at the default alpha
from 50 agents on.
"""

import dataclasses

from sdesim.claims import Statement
from sdesim.fields import check_sign
from sdesim.papers.boffi_slotine import fig8 as bs_fig8
from sdesim.papers.boffi_slotine import fig9 as bs_fig9
from sdesim.papers.boffi_slotine.fig8 import many
from sdesim.papers.frame import networks as net
from sdesim.statistics import greatest


@dataclasses.dataclass(frozen=True)
class Config(bs_fig8.Config):
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
        """Whether EASGD's center is stable, as the iteration of the coupling alone has it."""
        return self.alpha * (1 + agents) < 2


PRESETS = net.presets(Config, smoke=dict(agents=(2,), alpha=0.2), small=dict(agents=(1, 4, 14), alpha=0.15))
PRESETS["paper"] = dataclasses.replace(PRESETS["paper"], agents=(1, 2, 4, 8, 16, 32, 64))


def arms(config: Config) -> list[net.Arm]:
    return bs_fig9.pairs(config, config.scale)


def statements(config: Config) -> list[Statement]:
    fewest, most = config.agents[0], config.agents[-1]
    stable = [p for p in config.agents if config.stable(p)]

    def best_of_easgd(runs):
        return greatest([net.best(runs.data, "test_accuracy", f"EASGD, {many(p)}").mean() for p in stable])

    def overfitting(runs, arm):
        """Last test loss over the least."""
        return net.last(runs.data, "test_loss", arm) / net.best(runs.data, "test_loss", arm)

    found = bs_fig9.generalises("11", tuple(stable))
    for p in stable:
        easgd, qsgd = (f"{name}, {many(p)}" for name in ("EASGD", "QSGD"))
        found.append(
            Statement(
                f"11-overfits-{p}",
                f"QSGD overfits more than EASGD (last over least test loss, QSGD less EASGD, {many(p)})",
                lambda runs, a=qsgd, b=easgd: overfitting(runs, a) - overfitting(runs, b),
                ">=",
                0.0,
            )
        )
        if p > 1:
            # Distances obey one equation in both rules, so that a lower gain leaves more of them, in a few steps too.
            found.append(
                Statement(
                    f"11-same-synchronization-{p}",
                    f"with its gain scaled, QSGD is no more synchronized than EASGD (last distance, QSGD over EASGD, "
                    f"{many(p)})",
                    net.distance(qsgd, easgd),
                    ">=",
                    0.8,
                    smoke=1.0,
                )
            )
    for p in set(config.agents) - set(stable):
        found.append(
            Statement(
                f"11-too-many-{p}",
                f"EASGD does not converge with {many(p)} (best test accuracy below that of the best number of fewer "
                "agents, points)",
                lambda runs, p=p: (
                    best_of_easgd(runs) - net.best(runs.data, "test_accuracy", f"EASGD, {many(p)}").mean()
                ),
                ">=",
                5.0,
                smoke=5.0,
            )
        )
    if most > fewest:
        found.append(
            Statement(
                "11-more-agents-help",
                f"QSGD improves with more agents (best test accuracy, {many(most)} over {many(fewest)}, points)",
                net.gain(f"QSGD, {many(most)}", f"QSGD, {many(fewest)}"),
                ">=",
                1.0,
            )
        )
    for few, more in zip(config.agents[:-1], config.agents[1:], strict=True):
        found.append(
            Statement(
                f"11-fewer-suffice-{few}",
                f"EASGD of {many(few)} is about as good as QSGD of {many(more)} (best test accuracy, points)",
                net.gain(f"EASGD, {many(few)}", f"QSGD, {many(more)}"),
                ">=",
                -1.0,
                counted=False,
                note="of which numbers of agents the paper says so is lost",
            )
        )
    trained = [arm for arm in arms(config) if arm.algorithm == "qsgd" or config.stable(arm.agents)]
    return [*found, net.same_starts("11-same-start", arms(config)), net.learns("11-learns", trained)]


EXPERIMENT = net.experiment(
    "bs-fig11",
    "Boffi & Slotine, Fig. 11: QSGD and EASGD on CIFAR-10 at about the same synchronization",
    "With QSGD's gain scaled down until its agents are as far apart as EASGD's, EASGD still generalises better, as "
    "QSGD overfits. Both improve with more agents, until EASGD's center does not converge.",
    PRESETS,
    arms,
    statements,
)
