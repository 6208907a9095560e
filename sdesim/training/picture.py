"""The picture of one training: losses, accuracy, distance between the agents, learning rates and gradient noise."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import plotting
from sdesim.fields import shown

TRAIN, VALIDATION, TEST = "#4c78a8", "#54a24b", plotting.QUORUM


def mean_over_runs(data: xr.Dataset) -> xr.Dataset:
    """Means over runs of what is measured each epoch.

    A run is left out of everything from the epoch on at which one of its losses is not finite: its accuracy is a number
    still, but one of a network that says nothing.

    Args:
        data: a history of `train`.

    Returns:
        The means, and `runs` (epoch), over how many.
    """
    finite = (abs(data["batch_loss"]) < np.inf).all("agent") | (data["epoch"] == 0)  # before any batch
    for name in ("train_loss", "validation_loss", "test_loss"):
        if name in data:
            finite &= (abs(data[name]) < np.inf).all("model")
    kept = finite.astype(int).cumprod("epoch").astype(bool)
    each = data[[name for name, values in data.data_vars.items() if {"epoch", "run"} <= set(values.dims)]]
    return each.where(kept).mean("run", skipna=True).assign(runs=kept.sum("run"))


def summary(data: xr.Dataset, title: str) -> Figure:
    """Four panels over epochs. Thin lines are agents, thick ones their quorum or center; means of `mean_over_runs`.

    Args:
        data: a history of `train`.
        title: of the figure; how many runs diverged, if any did, is added.

    Returns:
        The figure, which is shown nowhere yet.

    Raises:
        TypeError: for what is no history of `train`, or no title.
    """
    if not isinstance(data, xr.Dataset) or not {"batch_loss", "spread_by_layer", "diverged"} <= set(data):
        raise TypeError(f"data={shown(data)}: must be what sdesim.training.train returns")
    if not isinstance(title, str):
        raise TypeError(f"title={shown(title)}: must be a string")
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 6.0), sharex=True, layout="constrained")
    mean = mean_over_runs(data)
    _models(axes[0, 0], mean, "loss", "cross-entropy")
    axes[0, 0].plot(mean["epoch"], mean["batch_loss"].mean("agent"), ":", color=TRAIN, label="training batches")
    axes[0, 0].set_yscale("log")
    _models(axes[0, 1], 100 * mean, "accuracy", "accuracy (%)")
    _spread(axes[1, 0], mean)
    _rates(axes[1, 1], mean)
    for i, (panel, name) in enumerate(
        zip(axes.flat, ("loss", "accuracy", "distance between agents", "rates"), strict=True)
    ):
        plotting.letter(panel, i, name)
        if panel.get_legend_handles_labels()[0]:  # of one agent there are no distances
            panel.legend(loc="best", fontsize=7.0, framealpha=0.6, ncols=2 if panel is axes[1, 0] else 1)
    for panel in axes[1]:
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    diverged = int((data["diverged"] >= 0).sum())
    figure.suptitle(title + (f" ({diverged} of {data.sizes['run']} runs diverged)" if diverged else ""), fontsize=10.5)
    pyplot.close(figure)
    return figure


def _models(axes: Axes, mean: xr.Dataset, what: str, label: str) -> None:
    for name, color in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        if (values := mean.get(f"{name}_{what}")) is not None:
            for agent in mean["agent"].values:
                axes.plot(mean["epoch"], values.sel(model=f"agent {agent}"), color=color, lw=0.5, alpha=0.5)
            axes.plot(mean["epoch"], values.sel(model="center"), color=color, lw=1.6, label=f"{name}, center")
    axes.set_ylabel(label)


def _spread(axes: Axes, mean: xr.Dataset) -> None:
    """In all and by layer, where there is more than one agent."""
    if mean.sizes["agent"] > 1:
        for name in mean["layer"].values:
            layer = mean["spread_by_layer"].sel(layer=name)
            axes.plot(mean["epoch"], layer.where(layer > 0), lw=0.8, alpha=0.8, label=str(name))
        axes.plot(mean["epoch"], mean["spread"], color="black", lw=1.6, label="all layers")
        if (mean["spread"] > 0).any():  # the logarithm of nothing
            axes.set_yscale("log")
    axes.set_ylabel(r"$\sum_i |x^i - \bar{x}|^2$")


def _rates(axes: Axes, mean: xr.Dataset) -> None:
    axes.plot(mean["epoch"], mean["eta"].mean("agent"), color="black", label=r"learning rate $\eta$, mean of agents")
    if (mean["eta"] > 0).any():  # a rate may be 0
        axes.set_yscale("log")
    axes.set_ylabel(r"$\eta$")
    noise = axes.twinx()
    noise.spines["right"].set_visible(True)
    color = plotting.AGENTS
    noise.plot(mean["epoch"], mean["gradient_noise"].mean("agent"), "--", color=color)
    axes.plot([], [], "--", color=color, label="gradient noise (right)")
    noise.set_yscale("log")
    noise.set_ylabel(r"tr $\Sigma$ of one sample", color=color)
