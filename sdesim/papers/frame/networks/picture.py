"""Pictures of trained arms, over epochs or iterations, with titles that say what the networks saw.

A smaller preset's picture must not look like the paper's, and runs that diverge leave the means: both are in the title.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim.papers.frame.networks.config import Arm
from sdesim.plot import theme
from sdesim.plot.lines import draw_band
from sdesim.statistics import grid_error, monte_carlo

Curve = tuple[str, Arm, Any, str]  # label, arm, color, style

METRICS = ("train_loss", "test_loss", "test_accuracy", "spread")

LABELS = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy (%)",
    "spread": r"$\sum_i |x^i - \bar{x}|^2$",
    "eta": r"learning rate $\eta$, mean of agents",
}

TITLES = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "spread": "distance between agents",
    "eta": "learning rate",
}


def heading(title: str, size: str, data: xr.Dataset) -> str:
    """The title of a picture: what it shows, the size of the training, and how many of its runs diverged if any did.

    Args:
        title: what the picture shows.
        size: what the networks saw, in words.
        data: as `train` returns it.
    """
    diverged = int((data["diverged"] >= 0).sum())
    told = f", {diverged} of {data['diverged'].size} runs diverged" * (diverged > 0)
    return f"{title}\n({size}){told}"


def plot(arms: Sequence[Arm], data: xr.Dataset, title: str, metrics: Sequence[str] = METRICS) -> Figure:
    """Curves over epochs of every arm: means over the runs that have not diverged, with bands of two standard errors.

    Args:
        arms: what is compared.
        data: as `train` returns it.
        title: of the whole picture.
        metrics: four names of variables, a panel each.
    """
    figure, axes = pyplot.subplots(2, 2, figsize=(10.0, 6.6), sharex=True, layout="constrained")
    groups = list(dict.fromkeys(arm.group or arm.label for arm in arms))
    ordered = all(re.fullmatch(r"[0-9.e-]+", group) for group in groups)
    colors: Any = theme.shades(len(groups)) if ordered else [color for color, _ in theme.distinct(len(groups))]
    for i, (panel, name) in enumerate(zip(axes.flat, metrics, strict=True)):
        values = data[name]
        if name == "spread":  # that of agents at one point is rounding, and would take the axis down to it
            values = values.where(values > 1e-9 * values.max())
        shown = values.values[np.isfinite(values.values)]
        # Of less than this range, a linear axis has the better labels.
        log = name != "test_accuracy" and shown.max(initial=0) > 5 * shown[shown > 0].min(initial=np.inf)
        for arm in arms:
            color = colors[groups.index(arm.group or arm.label)]
            runs = values.sel(arm=arm.label)
            style: dict[str, Any] = dict(color=color, linestyle=arm.style, lw=1.3, label=arm.label)
            draw_band(panel, runs["epoch"], runs.mean("sim"), grid_error(runs), log=log, **style)
        if name == "test_accuracy":
            low, high = panel.get_ylim()
            panel.set_ylim(max(low, 0), min(high, 100))
        if log:
            panel.set_yscale("log")
        panel.set_ylabel(LABELS[name])
        theme.letter(panel, i, TITLES[name])
    for panel in axes[1]:
        panel.set_xlabel("epoch")
        theme.whole_ticks(panel.xaxis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), fontsize=7.5)
    figure.suptitle(title, fontsize=10.5)
    pyplot.close(figure)
    return figure


def plot_iterations(
    curves: Sequence[Curve],
    data: xr.Dataset,
    title: str,
    iterations: float,
    label: str = "iterations of each worker",
) -> Figure:
    """Training loss, test loss and test error of the tested model over iterations.

    Means over runs with bands of two standard errors, to where the first run diverges.

    Args:
        curves: label, arm, color and line style of each.
        data: as `train` returns it.
        title: of the whole picture.
        iterations: of an epoch, or what else is its length.
        label: what this is, below the curves.
    """
    figure, axes = pyplot.subplots(1, 3, figsize=(12.0, 4.6), layout="constrained")
    x = data["epoch"].values * iterations
    labels = {"train_loss": "training loss", "test_loss": "test loss", "test_accuracy": "test error (%)"}
    for i, (panel, (name, text)) in enumerate(zip(axes, labels.items(), strict=True)):
        for name_of, arm, color, style in curves:
            values = data[name].sel(arm=arm.label).transpose("epoch", "sim").values.astype(float)
            values = 100 - values if name == "test_accuracy" else values
            looks: dict[str, Any] = dict(color=color, linestyle=style, label=name_of)
            draw_band(panel, x, *monte_carlo(values, 1), log=name != "test_accuracy", **looks)
        if name == "test_accuracy":
            panel.set_ylim(max(panel.get_ylim()[0], 0), min(panel.get_ylim()[1], 100))
        else:
            panel.set_yscale("log")
            panel.set_ylim(top=min(panel.get_ylim()[1], 10.0))  # what diverges leaves the picture
        panel.set_xlabel(label)
        panel.set_ylabel(text)
        theme.letter(panel, i, text.removesuffix(" (%)"))
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(title, fontsize=10.5)
    pyplot.close(figure)
    return figure
