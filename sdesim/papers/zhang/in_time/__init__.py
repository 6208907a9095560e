"""Zhang's experiments on networks by the clock: figures of chapter 4 whose workers are asynchronous.

Methods, statements and curves are those of the figures whose workers are in step; what is different is when workers
exchange, and that all is compared at equal virtual time. All arms are trained for as many batches of each worker in the
mean, and are looked at at moments a whole number of epochs of one worker apart, between measurements along straight
lines: so one worker, who exchanges with nobody, has come farthest at each.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.networks.picture import heading, plot_iterations
from sdesim.papers.zhang.chapter4 import MethodArm, Methods, flat
from sdesim.papers.zhang.chapter4.picture import size
from sdesim.papers.zhang.in_time.config import Config, presets

IN_STEP = ("one-point",)
"""Statements that are of workers in step alone."""

BY_THE_CLOCK = {
    "fewer iterations": "less time",
    "over all epochs": "over all moments",
    "tenth of the epochs": "tenth of the time",
}
"""What statements say of workers in step, and what that is by the clock."""


def by_the_clock(data: xr.Dataset, seconds: float) -> xr.Dataset:
    """Measurements at equal virtual time.

    Args:
        data: as `train` returns it, with `time`.
        seconds: between two moments.

    Returns:
        The same, of which "epoch" counts such moments; what has diverged is not a number from then on.
    """
    moments = data["epoch"].values * seconds

    def at(values: np.ndarray, time: np.ndarray) -> np.ndarray:
        return np.interp(moments, time, values)

    there = data[[name for name in data.data_vars if "epoch" in data[name].dims and name != "time"]]
    core = [["epoch"], ["epoch"]]
    found = xr.apply_ufunc(at, there, data["time"], input_core_dims=core, output_core_dims=[["epoch"]], vectorize=True)
    others = data[[name for name in data.data_vars if "epoch" not in data[name].dims]]
    return xr.merge([found.transpose(..., "epoch", "sim"), others], combine_attrs="override")


def _by_the_clock(statement: Statement) -> Statement:
    text = statement.statement
    for said, instead in BY_THE_CLOCK.items():
        text = text.replace(said, instead)
    return dataclasses.replace(statement, statement=text)


def experiment(
    number: str,
    title: str,
    says: str,
    methods: Callable[[Config], Methods],
    statements: Callable[[Config], list[Statement]],
    picture: Callable[..., Any],
    beside: Callable[[Config], list[MethodArm]] = lambda config: [],
    *,
    curves: bool = True,
    small: Mapping[str, Any] | None = None,
) -> Experiment:
    """The experiment of one of Z's figures, by the clock.

    Args:
        number: of the figure.
        title: what it shows.
        says: what Z says of it.
        methods: of a configuration, the methods that the figure shows.
        statements: of a configuration, what is said of the methods.
        picture: of a configuration and data the curves that are drawn; or of these and a title the whole picture.
        beside: of a configuration, arms that statements compare with, and no curve shows.
        curves: whether `picture` gives curves.
        small: settings that the figure has of its own at that size.
    """
    title = f"Zhang, Fig. {number}: {title}"
    seen = lambda config: size(config, flat(methods(config)))

    def arms(config: Config) -> list[net.Arm]:
        return [*flat(methods(config)), *beside(config)]

    def run(config: Config, progress: bool) -> xr.Dataset:
        return by_the_clock(net.train(config, arms(config), progress), config.seconds)

    def plot(config: Config, data: xr.Dataset) -> Figure:
        told = heading(title, seen(config), data)
        if not curves:
            return picture(config, data, told)
        return plot_iterations(picture(config, data), data, told, config.seconds, "virtual time (s)")

    def said(config: Config) -> list[Statement]:
        return [_by_the_clock(s) for s in statements(config) if s.id not in IN_STEP]

    made = net.experiment(
        f"z-fig{number}-async", title, says, dict(presets(**(small or {}))), arms, said, plot, size=seen
    )
    return dataclasses.replace(made, run=run)
