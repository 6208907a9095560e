"""The picture of one training: losses, accuracy, distance between the agents, learning rates and gradient noise."""

import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.fields import shown
from sdesim.plot import learning_curves, theme
from sdesim.plot.lines import PARTS, check_history, mean_over_runs


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
    check_history("data", data)
    if not isinstance(title, str):
        raise TypeError(f"title={shown(title)}: must be a string")
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 6.0), sharex=True, layout="constrained")
    mean = mean_over_runs(data)
    rows = any(f"{name}_r2" in mean for name in PARTS)
    learning_curves(data, "loss", ax=axes[0, 0])
    axes[0, 0].plot(
        mean["epoch"], mean["batch_loss"].mean("agent"), ":", color=PARTS["train"], label="training batches"
    )
    learning_curves(data, "r2" if rows else "accuracy", ax=axes[0, 1])
    _spread(axes[1, 0], mean)
    _rates(axes[1, 1], mean)
    for i, (panel, name) in enumerate(
        zip(axes.flat, ("loss", "explained" if rows else "accuracy", "distance between agents", "rates"), strict=True)
    ):
        theme.letter(panel, i, name)
        if panel.get_legend_handles_labels()[0]:  # of one agent there are no distances
            panel.legend(loc="best", fontsize=7.0, framealpha=0.6, ncols=2 if panel is axes[1, 0] else 1)
    for panel in axes[1]:
        panel.set_xlabel("epoch")
        theme.whole_ticks(panel.xaxis)
    diverged = int((data["diverged"] >= 0).sum())
    figure.suptitle(title + (f" ({diverged} of {data.sizes['run']} runs diverged)" if diverged else ""), fontsize=10.5)
    theme.plain(figure)
    pyplot.close(figure)
    return figure


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
    color = theme.AGENTS
    noise.plot(mean["epoch"], mean["gradient_noise"].mean("agent"), "--", color=color)
    axes.plot([], [], "--", color=color, label="gradient noise (right)")
    noise.set_yscale("log")
    noise.set_ylabel(r"tr $\Sigma$ of one sample", color=color)
