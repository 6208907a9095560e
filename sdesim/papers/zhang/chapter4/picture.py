"""Curves of methods over iterations."""

from collections.abc import Sequence

import xarray as xr

from sdesim.papers.frame import networks as net
from sdesim.papers.frame.networks.picture import Curve
from sdesim.papers.zhang.chapter4.claims import chosen
from sdesim.papers.zhang.chapter4.config import Config
from sdesim.papers.zhang.chapter4.methods import ALONE, METHODS, Methods
from sdesim.plot import theme

MANY = tuple(method for method in METHODS if method not in ALONE)
COLORS = {method: color for group in (MANY, ALONE) for method, color in zip(group, theme.PALETTE, strict=False)}
"""Of many workers; those of one worker have some of the same, and are dashed."""


def size(config: Config, arms: Sequence[net.Arm]) -> str:
    """What the networks saw, with the numbers of workers and periods, which smaller presets have others of than Z.

    Args:
        config: constants of the experiment.
        arms: all of a figure.
    """
    many = [arm for arm in arms if arm.agents > 1]
    workers = ", ".join(str(p) for p in sorted({arm.agents for arm in many}))
    periods = ", ".join(str(t) for t in sorted({arm.period for arm in many if arm.algorithm.startswith("ea")}))
    return f"{config.size}; " + (f"p = {workers}, elastic tau = {periods}" if many else "one worker")


def of_chosen(methods: Methods, data: xr.Dataset) -> list[Curve]:
    """Each method's curve at its chosen learning rate; those of one worker are dashed.

    Args:
        methods: the arms of each method.
        data: as `train` returns it.
    """
    arms = [chosen(data, arms) for arms in methods.values()]
    style = lambda arm: "--" if arm.agents == 1 else "-"
    return [(rf"{arm.method}, $\eta = {arm.eta:g}$", arm, COLORS[arm.method], style(arm)) for arm in arms]
