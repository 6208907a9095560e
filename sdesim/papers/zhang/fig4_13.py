"""z-fig4.13: EASGD and EAMSGD over communication periods, and EAMSGD at a falling learning rate (Z Fig. 4.13).

Command: sdesim figure z-fig4.13, after sdesim data cifar10. Settings and learning rates are Z's (see `chapter4`).
"""

import numpy as np
import xarray as xr

from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.picture import Curve
from sdesim.papers.zhang.chapter4 import Config, Methods, always, experiment, farther, smallest, tried
from sdesim.papers.zhang.chapter4.methods import MethodArm
from sdesim.plot import theme

SMALL = dict(momentum=0.99, epochs=10)  # Zhang's, of whose traps the figure is; and ten exchanges at the longest period


def methods(config: Config) -> Methods:
    """EASGD and EAMSGD at one rate over periods; EAMSGD with a decaying rate too, at the longer half of them."""
    rate, p, periods = (config.rate,), config.agents[-1], config.long_periods
    found = {name: [arm for t in periods for arm in tried(config, name, p, t, rate)] for name in ("EASGD", "EAMSGD")}
    long = periods[len(periods) // 2 :]
    decaying = [arm for t in long for arm in tried(config, "EAMSGD", p, t, rate, config.decay)]
    return found | {"EAMSGD, decaying": decaying}


def statements(config: Config) -> list[Statement]:
    here, periods = methods(config), config.long_periods
    easgd, eamsgd, decaying = here.values()
    trap = len(periods) // 2  # 100 of 1, 10, 100, 1000

    def sensitivity(runs: Runs, arms: list[MethodArm]) -> np.ndarray:
        """Points of smallest test error between the worst and the best of the periods."""
        found = [smallest(runs.data, [arm]) for arm in arms]
        return max(found, key=np.mean) - min(found, key=np.mean)

    def lowest(runs: Runs, arm: MethodArm) -> np.ndarray:
        return net.best(runs.data, "train_loss", arm.label)

    return [
        Statement(
            "easgd-insensitive",
            f"EASGD converges much alike for tau from {periods[0]} to {periods[-1]} (range of smallest test errors, "
            "points)",
            lambda runs: sensitivity(runs, easgd),
            at_most(5.0),
        ),
        Statement(
            "easgd-less-sensitive",
            "EASGD is less sensitive to the communication period than EAMSGD (points, range of smallest test errors)",
            lambda runs: sensitivity(runs, eamsgd) - sensitivity(runs, easgd),
            at_least(0.0),
        ),
        Statement(
            "eamsgd-trapped",
            f"EAMSGD can get trapped at a high energy at tau = {periods[trap]} (least training loss over that at "
            f"tau = {periods[0]})",
            lambda runs: lowest(runs, eamsgd[trap]) / lowest(runs, eamsgd[0]),
            at_least(1.5),
        ),
        Statement(
            "decay-avoids-it",
            "a gradually decreasing learning rate avoids the trap (least training loss over that of the constant rate)",
            lambda runs: lowest(runs, decaying[0]) / lowest(runs, eamsgd[trap]),
            at_most(0.9),
        ),
        farther("apart-easgd", "EASGD's workers go farther alone for longer periods", easgd[0], easgd[-1]),
        farther("apart-eamsgd", "EAMSGD's workers go farther alone for longer periods", eamsgd[0], eamsgd[-1]),
        farther(
            "decay-brings-together",
            "as learning rates fall, workers come closer to each other (constant over decaying rate)",
            decaying[0],
            eamsgd[trap],
        ),
        *always(here),
    ]


def curves(config: Config, data: xr.Dataset) -> list[Curve]:
    here, periods = methods(config), config.long_periods
    styles = dict(zip(here, ("-", "--", ":"), strict=True))
    shades = dict(zip(periods, theme.shades(len(periods)), strict=True))
    return [
        (rf"{name}, $\tau = {arm.period}$", arm, shades[arm.period], styles[name])
        for name, arms in here.items()
        for arm in arms
    ]


EXPERIMENT = experiment(
    "4.13",
    "EASGD and EAMSGD over communication periods",
    "EASGD converges much alike up to a period of 1000, whereas EAMSGD can get trapped at a high energy at 100, "
    "which a gradually decreasing learning rate avoids.",
    methods,
    statements,
    curves,
    small=SMALL,
)
