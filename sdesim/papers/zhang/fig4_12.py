"""z-fig4.12: EASGD and EAMSGD over learning rates (Z Fig. 4.12).

Command: sdesim figure z-fig4.12, after sdesim data cifar10. Settings and learning rates are Z's (see `chapter4`).
"""

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.picture import Curve
from sdesim.papers.zhang.chapter4 import Config, Methods, always, better, experiment, farther, smallest, tried
from sdesim.papers.zhang.chapter4.methods import MethodArm
from sdesim.plot import theme

ENOUGH = 100  # epochs after which a network overfits, of which some of Z's statements are


def methods(config: Config) -> Methods:
    return {name: tried(config, name, config.agents[-1], config.period) for name in ("EASGD", "EAMSGD")}


def statements(config: Config) -> list[Statement]:
    rising = {name: sorted(arms, key=lambda arm: arm.eta or 0.0) for name, arms in methods(config).items()}
    if any(len(arms) < 2 for arms in rising.values()):
        raise ValueError("easgd, eamsgd: must be two learning rates or more each, to compare them")
    (slow, *_, fast), (slow_m, *_, fast_m) = rising.values()
    late = "" if config.epochs >= ENOUGH else f"of networks trained to the end: counted from {ENOUGH} epochs on"

    def worse_of_best(runs: Runs, arms: list[MethodArm]) -> np.ndarray:
        """Test error at the rate of smallest training loss, above the mean of the other rates."""
        loss = [net.best(runs.data, "train_loss", arm.label).mean() for arm in arms]
        found = [smallest(runs.data, [arm]) for arm in arms]
        best = found.pop(int(np.argmin(loss)))
        return best - np.mean(found, axis=0) if np.isfinite(loss).all() else np.full_like(best, np.nan)

    return [
        Statement(
            "eamsgd-higher-is-better",
            f"higher learning rates lead EAMSGD to better test performance (points, eta = {fast_m.eta:g} against "
            f"{slow_m.eta:g})",
            better([fast_m], [slow_m]),
            at_least(0.0),
        ),
        Statement(
            "easgd-higher-is-worse",
            f"larger learning rates hurt EASGD (points, eta = {slow.eta:g} against {fast.eta:g})",
            better([slow], [fast]),
            at_least(0.0),
            late,
        ),
        *[
            Statement(
                f"best-training-worst-test-{name.lower()}",
                f"{name}'s learning rate of best training leads to a worse test performance (points above the mean of "
                "the others)",
                lambda runs, arms=arms: worse_of_best(runs, arms),
                at_least(0.1),
                late,
            )
            for name, arms in rising.items()
        ],
        *[
            farther(
                f"fluctuations-{name.lower()}",
                f"higher rates sustain higher fluctuations of {name}'s workers",
                arms[0],
                arms[-1],
            )
            for name, arms in rising.items()
        ],
        *always(rising),
    ]


def curves(config: Config, data: xr.Dataset) -> list[Curve]:
    styles = {"EASGD": "-", "EAMSGD": "--"}
    return [
        (rf"{name}, $\eta = {arm.eta:g}$", arm, shade, styles[name])
        for name, arms in methods(config).items()
        for arm, shade in zip(arms, theme.shades(len(arms)), strict=True)
    ]


EXPERIMENT = experiment(
    "4.12",
    "EASGD and EAMSGD over learning rates",
    "Higher learning rates sustain higher fluctuations of the workers. They lead EAMSGD to a better test "
    "performance, EASGD to a worse one. For both, the rate of best training performance has the worst test "
    "performance.",
    methods,
    statements,
    curves,
)
