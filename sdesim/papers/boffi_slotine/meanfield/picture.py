"""The picture of bs-meanfield."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.meanfield.config import BINS, Config, P
from sdesim.plot import theme
from sdesim.plot.landscapes import unit_range


def _densities(axes: np.ndarray, config: Config, data: xr.Dataset) -> None:
    x = data["cell"].values
    edges = np.linspace(-config.window, config.window, BINS + 1)
    inside = np.abs(x) < one.WINDOW - 0.4
    smoothed = one.curves(config)[1](x)
    for i, (panel, k) in enumerate(zip(axes.flat, config.k, strict=True)):
        law = data["predicted_masses"].isel({one.K: i}).values / config.grid().width
        found = data["shares"].isel({one.K: i}).mean("sim").values / (edges[1] - edges[0])
        top = law.max()
        loss = unit_range(smoothed, inside) * top
        panel.plot(x, loss, color=theme.SMOOTHED, lw=1.0, alpha=0.7, label="smoothed loss (scaled)", zorder=1)
        panel.stairs(found, edges, fill=True, color=theme.AGENTS, alpha=0.4, lw=0, label="simulated agents")
        panel.plot(x, law, color="black", lw=1.0, label=r"predicted law, $p\to\infty$", zorder=3)
        mean = float(data["predicted_mean"].values[i, -1])
        panel.axvline(mean, color=theme.QUORUM, lw=1.2, ls="--", label="predicted mean", zorder=2)
        q = data["quorum_series"].isel({one.K: i, "step": -1}).values
        style: dict[str, Any] = dict(color=theme.QUORUM, ms=4, capsize=2, lw=1.2, zorder=4)
        panel.errorbar(q.mean(), 0.93 * top, xerr=2 * q.std(), fmt="o", label="simulated means (2 s.d.)", **style)
        theme.letter(panel, i, f"$k = {k:g}$")
        panel.set(xlim=(-one.WINDOW, one.WINDOW), ylim=(0, 1.08 * top), xlabel="$x$", ylabel="density")


def _means(panel: Axes, config: Config, data: xr.Dataset, colors: np.ndarray) -> None:
    for i, k in enumerate(config.k):
        series = data["quorum_series"].isel({one.K: i})
        panel.plot(data["predicted_mean"].isel({one.K: i}), color=colors[i], lw=1.2, label=f"$k={k:g}$")
        panel.plot(series["step"], series.mean("sim"), "o", color=colors[i], ms=2.2)
    theme.letter(panel, 6, f"mean: lines predicted, dots $p={config.agents}$")
    panel.set(xlabel="iteration", ylabel=r"mean of the agents $\bar x$")


def _errors(
    panel: Axes,
    index: int,
    title: str,
    ylabel: str,
    error2: xr.DataArray,
    colors: np.ndarray,
    factor: np.ndarray | None = None,
) -> None:
    p = error2[P].values.astype(float)
    for i, k in enumerate(error2[one.K].values):
        rms = np.sqrt(error2.isel({one.K: i}).mean("sim").values)
        panel.plot(p, rms, "o", color=colors[i], ms=3)
        line = np.sqrt(factor[i] / p) if factor is not None else rms[-1] * np.sqrt(p[-1] / p)
        panel.plot(p, line, "-", color=colors[i], lw=1.0, label=f"$k={k:g}$")
    theme.letter(panel, index, title)
    panel.set(xscale="log", yscale="log", xlabel="number of agents $p$", ylabel=ylabel)
    panel.set_xticks(p, [f"{n:g}" for n in p])
    panel.minorticks_off()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if panel.get_ylim()[0] < t < panel.get_ylim()[1]]
    panel.set_yticks(ticks, [f"{t:g}" for t in ticks])


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(3, 3, figsize=(9.6, 8.2), layout="constrained")
    colors = pyplot.get_cmap("viridis")(np.linspace(0, 0.9, len(config.k)))
    _densities(axes[:2], config, data)
    _means(axes[2, 0], config, data, colors)
    noise = data["predicted_noise"].values
    n = config.population_steps
    of_mean = rf"error of $\bar x$, iteration {n}; lines predicted"
    _errors(axes[2, 1], 7, of_mean, r"root mean square of $\bar x - m$", data["mean_error"] ** 2, colors, noise)
    of_law = r"error of the law; lines $\propto 1/\sqrt{p}$"
    ylabel = r"root mean square of $\Vert F_p - F\Vert_2$"
    _errors(axes[2, 2], 8, of_law, ylabel, data["law_error2"], colors)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[2, 0].legend(loc="upper left", fontsize=7, handlelength=1.2, labelspacing=0.2)
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    figure.suptitle(
        f"QSGD with infinitely many agents, predicted, and {config.agents} agents, simulated: iteration {config.steps} "
        "of Figure 1",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
