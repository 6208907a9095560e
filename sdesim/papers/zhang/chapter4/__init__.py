"""What the experiments of Zhang's chapter 4 share: settings, methods and their learning rates, statistics, pictures.

Zhang measures asynchronous workers by the wall clock. Here all workers are in step, and iterations take the place of
time: of p workers that are equally fast and communicate for nothing, they are the same up to a unit. The rest is as
in Z 4.1: the seven-layer network on 28 x 28 crops with flips, pixels scaled to [0, 1], biases that start at 0, l2
regularization, one start for all workers and methods. Each method is tried with the learning rates of Z's Table 4.1,
and stands for the one of smallest test error (Z 4.2).

Figures share what they train, by way of the cache: the methods of one worker, for instance, are trained once for eight
of them. How large a difference a statement asks for is chosen [C].
"""

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.networks.picture import Curve, heading, plot_iterations
from sdesim.papers.zhang.chapter4.claims import (
    ahead,
    always,
    best_of_others,
    better,
    chosen,
    during,
    errors,
    farther,
    smallest,
)
from sdesim.papers.zhang.chapter4.config import Config, Decay, presets
from sdesim.papers.zhang.chapter4.methods import ALONE, MethodArm, Methods, flat, tried
from sdesim.papers.zhang.chapter4.picture import of_chosen, size

__all__ = [
    "ALONE",
    "Config",
    "Decay",
    "MethodArm",
    "Methods",
    "ahead",
    "always",
    "best_of_others",
    "better",
    "chosen",
    "during",
    "errors",
    "experiment",
    "farther",
    "flat",
    "of_chosen",
    "smallest",
    "tried",
]


def experiment(
    number: str,
    title: str,
    says: str,
    methods: Callable[[Config], Methods],
    statements: Callable[[Config], list[Statement]],
    curves: Callable[[Config, xr.Dataset], list[Curve]],
    beside: Callable[[Config], list[MethodArm]] = lambda config: [],
    small: Mapping[str, Any] | None = None,
) -> Experiment:
    """The experiment of one of Z's figures.

    Args:
        number: of the figure.
        title: what it shows; it names none of the numbers that presets have others of: those of the run stand below it.
        says: what Z says of it.
        methods: of a configuration, the methods that the figure shows.
        statements: of a configuration, what is said of them.
        curves: of a configuration and data, what the picture draws.
        beside: of a configuration, arms that statements compare with, and no curve shows.
        small: settings that the figure has of its own at that size.
    """
    title = f"Zhang, Fig. {number}: {title}"
    seen = lambda config: size(config, flat(methods(config)))

    def picture(config: Config, data: xr.Dataset) -> Figure:
        return plot_iterations(curves(config, data), data, heading(title, seen(config), data), config.iterations)

    return net.experiment(
        f"z-fig{number}",
        title,
        says,
        dict(presets(**(small or {}))),
        lambda config: [*flat(methods(config)), *beside(config)],
        statements,
        picture=picture,
        size=seen,
    )
