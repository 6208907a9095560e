"""bs-fig10: EASGD of a single agent, with and without momentum, and SGD with momentum on CIFAR-10 (BS Fig. 10).

Command: sdesim figure bs-fig10, after sdesim data cifar10. All numbers are chosen [C]. The gain is one for all learning
rates; it is given as the weight of the pull in one step at the learning rate eta, alpha = eta k.
"""

import dataclasses

from sdesim.claims import Statement, at_least
from sdesim.fields import check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.statistics import least

STYLES = {"EASGD-WM": "-", "EASGD": "--", "MSGD": ":"}


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Constants [C] of Figure 10."""

    rates: tuple[float, ...] = (0.01, 0.025, 0.05, 0.1)
    """Learning rates at the start, in growing order."""
    eta: float = 0.05
    """Learning rate at which `alpha` is the weight of the pull: k = alpha / eta."""
    alpha: float = 0.04
    """Weight of the pull in one step at learning rate eta."""

    def __post_init__(self):
        super().__post_init__()
        net.check_growing("rates", self.rates)
        check_sign("alpha", self.alpha)


PRESETS = net.presets(Config, smoke=dict(rates=(0.05, 0.1)), small=dict())


def label(name: str, rate: float) -> str:
    """The label of a method's arm.

    Args:
        name: of the method.
        rate: learning rate.
    """
    return rf"{name}, $\eta = {rate:g}$"


def arms(config: Config) -> list[net.Arm]:
    k = config.alpha / config.eta
    return [
        net.Arm(label(name, r), name.lower(), k=None if name == "MSGD" else k, eta=r, group=f"{r:g}", style=style)
        for r in config.rates
        for name, style in STYLES.items()
    ]


def statements(config: Config) -> list[Statement]:
    def mean_gain(of: str, over: str):
        gains = [net.gain(label(of, r), label(over, r)) for r in config.rates]
        return lambda runs: sum(g(runs) for g in gains) / len(gains)

    def better_without(runs: Runs) -> float:
        """At all rates but those that may be left out where more than half must be."""
        gains = [net.gain(label("EASGD-WM", r), label("EASGD", r))(runs).mean() for r in config.rates]
        return least(gains, but=(len(gains) - 1) // 2)

    return [
        *[
            Statement(
                f"10-{name.lower()}-generalizes",
                f"{name} of one agent is better than SGD with momentum (best test accuracy, points, mean of the rates)",
                mean_gain(name, "MSGD"),
                at_least(0.0),
            )
            for name in ("EASGD", "EASGD-WM")
        ],
        *[
            Statement(
                f"10-{name.lower()}-generalizes-{r:g}",
                f"{name} is better than SGD with momentum at learning rate {r:g} (best test accuracy, points)",
                net.gain(label(name, r), label("MSGD", r)),
                at_least(0.0),
                note="the paper says so in general",
            )
            for r in config.rates
            for name in ("EASGD", "EASGD-WM")
        ],
        Statement(
            "10-without-momentum-is-better",
            "EASGD is often better without momentum than with: at more than half of the rates (best test accuracy, "
            "points, at the worst of those)",
            better_without,
            at_least(0.0),
        ),
        *[
            net.differs(
                f"10-differs-{r:g}",
                f"EASGD of one agent is not SGD with momentum at learning rate {r:g}",
                label("EASGD", r),
                label("MSGD", r),
                config,
            )
            for r in config.rates
        ],
        net.same_starts("10-same-start", arms(config)),
        net.learns("10-learns", arms(config)),
    ]


EXPERIMENT = net.experiment(
    "bs-fig10",
    "Boffi & Slotine, Fig. 10: EASGD of a single agent, with and without momentum, on CIFAR-10",
    "EASGD of a single agent, which is SGD in feedback with a filter of itself, is more accurate on the test set than "
    "SGD with momentum, and often most so without momentum.",
    PRESETS,
    arms,
    statements,
    metrics=("train_loss", "test_loss", "test_accuracy", "eta"),
)
