"""The picture of z-async."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame import measured
from sdesim.papers.zhang.asynchronous.claims import border, over_periods, over_plane, over_rates, over_workers, rates
from sdesim.papers.zhang.asynchronous.config import ARMS, Config
from sdesim.plot import theme

COLORS = {"synchronous": theme.LOSS, "memoryless": theme.SMOOTHED, "in turn": theme.QUORUM}
MARKERS = {"synchronous": "s", "memoryless": "o", "in turn": "D"}
WORDS = {"synchronous": "together", "memoryless": "at random", "in turn": "in turn"}
FINE = 16  # numbers of workers up to which all are computed, and moving rates of a curve


def _curve(panel: Axes, x: Any, found: xr.Dataset, name: str, arm: str, dashes: str = "-") -> None:
    panel.plot(x, found[name].values[..., 0], dashes, color=COLORS[arm], lw=1.3)


def _dots(panel: Axes, values: xr.DataArray, over: str, arm: str) -> None:
    label = f"{WORDS[arm]}, simulated"
    measured.plot_measured(panel, values.sel(arm=arm), over, label, COLORS[arm], MARKERS[arm])


def _workers(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The center over numbers of workers; the model beyond its border is not there."""
    most = config.workers[-1]
    for arm in ARMS:
        some = [p for p in (*range(1, 9), 10, 12, FINE) if p <= most]
        numbers = some if arm == "in turn" else [*range(1, 2 * most + 1)]
        found = over_workers(config, arm, tuple(numbers))
        _curve(panel, numbers, found, "shared", arm)
        _dots(panel, data["center_workers"], "workers", arm)
        if not found["stable"].all():
            first = numbers[int(np.argmin(found["stable"].values))]
            panel.axvline(first - 0.5, color=COLORS[arm], lw=0.9, ls=":")
            panel.text(first + 0.5, 1.6, "diverges", color=COLORS[arm], rotation=90, ha="left", va="top", fontsize=8)
    ticks = [p for p in (1, 2, 4, 8, 16, 32) if p <= 2 * most]
    panel.set(xscale="log", yscale="log", xlabel="workers $p$", ylabel="$E\\,c^2$  (noise of a step: 1)")
    panel.set_xticks(ticks, [f"{p}" for p in ticks])
    panel.set_yticks([0.3, 0.5, 1.0, 1.5], ["0.3", "0.5", "1", "1.5"])
    panel.minorticks_off()
    panel.legend(fontsize=7.5, loc="lower left")


def _rates(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The center over moving rates."""
    many = tuple(float(alpha) for alpha in np.linspace(config.rates[0] / 2, 1.8 * config.rates[-1], FINE))
    for arm in ARMS:
        _curve(panel, many, over_rates(config, arm, many), "shared", arm)
        _dots(panel, data["center_rates"], "moving_rate", arm)
    panel.set(xlabel="moving rate $\\alpha$", ylabel="$E\\,c^2$", ylim=(0.3, 1.15))


def _periods(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The center, and the workers, over communication periods."""
    for arm in ARMS:
        found = over_periods(config, arm)
        _curve(panel, config.periods, found, "shared", arm)
        _curve(panel, config.periods, found, "own", arm, "--")
        _dots(panel, data["center_periods"], "period", arm)
        _dots(panel, data["agents_periods"], "period", arm)
    panel.set(xlabel="communication period $\\tau$", ylabel="mean square", yscale="log", xscale="log", ylim=(0.5, 7))
    panel.set_xticks(config.periods, [f"{tau}" for tau in config.periods])
    panel.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    panel.minorticks_off()
    panel.text(0.05, 0.83, "workers", transform=panel.transAxes, fontsize=8.5)
    panel.text(0.05, 0.12, "center", transform=panel.transAxes, fontsize=8.5)


def _plane(panel: Axes, config: Config, data: xr.Dataset, arm: str) -> None:
    """Where squares decay and where they grow, with the borders of all arms."""
    a = np.linspace(0.02, 1.98, config.border)
    for name in ARMS:
        alpha = [border(config, name, float(x)) for x in a]
        mine = name == arm
        panel.plot(a, alpha, color=COLORS[name], lw=2.0 if mine else 0.8, alpha=1.0 if mine else 0.6)
    zhang = (4 - 2 * a) / (4 - a)
    panel.plot(a, zhang, ":", color="0.3", lw=1.2, label="$(4-2\\eta h)/(4-\\eta h)$")
    found = rates(config, data["plane"].sel(arm=arm))
    at, alphas = (grid.ravel() for grid in np.meshgrid(config.plane, config.plane_rates, indexing="ij"))
    values = found.values.ravel()
    sure = abs(over_plane(config, arm).values.ravel()) > config.clear
    style: dict[str, Any] = dict(ms=5, ls="none", color=COLORS[arm])
    for which, face, word in ((values > 0, COLORS[arm], "decays"), (values <= 0, "white", "grows")):
        panel.plot(at[which], alphas[which], MARKERS[arm], markerfacecolor=face, label=f"{word}, simulated", **style)
    panel.plot(at[~sure], alphas[~sure], "o", ms=10, mfc="none", color="0.6", label="too near to be asked")
    panel.set(xlim=(0, 2), ylim=(0, 1.6), xlabel="$\\eta h$", ylabel="moving rate $\\alpha$")
    panel.legend(fontsize=7, loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 3, figsize=(11.4, 7.0), layout="constrained")
    _workers(axes[0, 0], config, data)
    _rates(axes[0, 1], config, data)
    _periods(axes[0, 2], config, data)
    for panel, arm in zip(axes[1], ARMS, strict=True):
        _plane(panel, config, data, arm)
    p, alpha = config.few, config.rate
    titles = (
        f"center over workers, $\\alpha={alpha:g}$",
        f"center over moving rates, $p={config.many}$",
        f"over periods, $p={p}$, $\\alpha={alpha:g}$",
        *(f"{WORDS[arm]}: stability, $p={p}$" for arm in ARMS),
    )
    for i, title in enumerate(titles):
        theme.letter(axes.flat[i], i, title)
    a = config.eta * config.curvature
    figure.suptitle(
        f"EASGD on a quadratic: workers together, at random, and in turn; $\\eta h={a:g}$ in (a) to (c); lines exact",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
