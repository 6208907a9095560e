"""z-fig6.3 to z-fig6.12: EASGD Tree on networks, against virtual time (Z Fig. 6.3-6.12).

Command: sdesim figure z-fig6.8, after sdesim data cifar10. Nodes send each other what they are, messages take time, and
leaves take gradients of a low-rank network on CIFAR-10 (see `in_time.trees`). Unlike in Z, where all runs of a figure
begin at one point, each begins at its own, and images are dealt anew each epoch in place of being drawn with
replacement.
"""

import dataclasses
from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_least
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.networks.picture import Curve, heading, plot_iterations
from sdesim.papers.zhang.in_time import by_the_clock
from sdesim.papers.zhang.in_time.trees import (
    Config,
    TreeArm,
    during,
    learns,
    presets,
    schemes,
    servers,
    size,
    stabler,
    tree,
)
from sdesim.plot import theme

SLOW = {"first": (10, 100), "second": (8, 80)}
"""Periods of Figures 6.3 and 6.4."""

Arms = Callable[[Config], list[TreeArm]]


def both(config: Config, i: int | None) -> tuple[TreeArm, TreeArm]:
    """The trees of both schemes.

    Args:
        config: constants of the experiment.
        i: which momentum; None for Figures 6.3 and 6.4.
    """
    if i is None:
        return tree(config, "first", 0.0, SLOW["first"]), tree(config, "second", 0.0, SLOW["second"])
    delta = config.momenta[min(i, len(config.momenta) - 1)]
    return tree(config, "first", delta, config.fast), tree(config, "second", delta, config.fast)


def experiment(
    number: int,
    title: str,
    says: str,
    arms: Arms,
    statements: Callable[[Config], list[Statement]],
    beside: Arms = lambda config: [],
    single: bool = False,
) -> Experiment:
    """The experiment of Figure 6.number.

    Args:
        number: of the figure.
        title: what it shows.
        says: what Z says of it.
        arms: of a configuration, those that are shown.
        statements: of a configuration, what is said of them.
        beside: arms that statements compare with.
        single: whether batches are of one image.
    """
    title = f"Zhang, Fig. 6.{number}: {title}"

    def all_arms(config: Config) -> list[net.Arm]:
        return [*arms(config), *beside(config)]

    def curves(config: Config) -> list[Curve]:
        shown = arms(config)
        colors = [color for color, _ in theme.distinct(len(shown))]
        return [(arm.label, arm, color, arm.style) for arm, color in zip(shown, colors, strict=True)]

    def plot(config: Config, data: xr.Dataset) -> Figure:
        told = heading(title, size(config), data)
        return plot_iterations(curves(config), data, told, config.seconds, "virtual time (s)")

    def said(config: Config) -> list[Statement]:
        return [*statements(config), learns(arms(config))]

    made = net.experiment(f"z-fig6.{number}", title, says, dict(presets(single)), all_arms, said, plot, size=size)
    return dataclasses.replace(
        made, run=lambda config, progress: by_the_clock(net.train(config, all_arms(config), progress), config.seconds)
    )


def _first(number: int, i: int | None, what: str, says: str, steadier: bool = False) -> Experiment:
    """A figure of the first scheme; with momentum it is stabler than without."""

    def statements(config: Config) -> list[Statement]:
        if not steadier:
            return []
        text = "momentum, with a learning rate that is as much smaller, makes training more stable than without"
        return [stabler("momentum-stable", text, config, both(config, i)[0], both(config, 0)[0])]

    return experiment(
        number,
        f"EASGD Tree, first scheme, {what}",
        says,
        lambda config: [both(config, i)[0]],
        statements,
        lambda config: [both(config, 0)[0]] if steadier else [],
        single=i is None,
    )


def _second(number: int, i: int | None, what: str, says: str) -> Experiment:
    """A figure of the second scheme, beside the first."""

    def statements(config: Config) -> list[Statement]:
        first, second = both(config, i)
        text = "the second scheme is the more stable one"
        return [*schemes([first], [second]), stabler("second-stabler", text, config, second, first)]

    return experiment(
        number,
        f"EASGD Tree, second scheme, {what}",
        says,
        lambda config: [both(config, i)[1]],
        statements,
        lambda config: [both(config, i)[0]],
        single=i is None,
    )


def _pairs(config: Config) -> list[TreeArm]:
    found = [both(config, i) for i in range(len(config.momenta))]
    firsts = [first for first, _ in found]
    return firsts + [dataclasses.replace(second, style="--") for _, second in found]


def _all_momenta(config: Config) -> list[Statement]:
    arms, many = _pairs(config), len(config.momenta)
    return schemes(arms[:many], arms[many:])


def _beside_servers(config: Config) -> list[Statement]:
    leaves, named = both(config, 0)[0], lambda arm: arm.label.split(",")[0]
    return [
        Statement(
            f"tree-trains-faster-than-{named(arm).lower()}",
            f"EASGD Tree further accelerates training, beyond {named(arm)} of as many workers as a node has children "
            "(mean training loss over all moments, above the tree's)",
            lambda runs, arm=arm: during(arm)(runs) - during(leaves)(runs),
            at_least(0.0),
        )
        for arm in servers(config)
    ]


_ORDER = ("no momentum", "momentum", "the largest momentum")

EXPERIMENTS = (
    _first(
        3,
        None,
        "batches of one image",
        "The first scheme, of long periods, converges faster in training than the second; most of its runs diverge, as "
        "the learning rate is large.",
    ),
    _second(
        4,
        None,
        "batches of one image",
        "The second scheme is more stable and slower in training, and has consistently the lower test error.",
    ),
    _first(5, 0, f"{_ORDER[0]}", "Without momentum training is not very stable: some runs diverge."),
    _first(6, 1, f"{_ORDER[1]}", "With momentum, and a smaller learning rate, training is much more stable.", True),
    _first(7, 2, f"{_ORDER[2]}", "Also very stable, though the results are more varied.", True),
    *(
        _second(8 + i, i, _ORDER[i], "The second scheme leads to better test performance than the first.")
        for i in range(3)
    ),
    experiment(
        11,
        "EASGD Tree, both schemes, all momenta",
        "The first scheme gives better training performance, the second better test performance.",
        _pairs,
        _all_momenta,
    ),
    experiment(
        12,
        "EASGD Tree beside EASGD and DOWNPOUR",
        "EASGD Tree further accelerates training, without a linear speed-up. No method has momentum; each is at one "
        "learning rate here, where Z chooses the best of many.",
        lambda config: [*servers(config), both(config, 0)[0], dataclasses.replace(both(config, 0)[1], style="--")],
        _beside_servers,
    ),
)
