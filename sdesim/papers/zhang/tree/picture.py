"""The picture of z-tree."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.zhang.tree.claims import exact_mean, exact_squares, reaches
from sdesim.papers.zhang.tree.config import SCHEMES, Config
from sdesim.plot import theme
from sdesim.statistics import grid_error, grid_mean, jackknife

COLORS = theme.PALETTE
NAMES = {SCHEMES[0]: r"first scheme, $\tau_1=1$", SCHEMES[1]: r"second scheme, $\tau_u=1$"}
STYLE: dict[str, Any] = dict(ms=4, lw=1.0, capsize=2.0, zorder=3)


def _mean(panel: Axes, config: Config, data: xr.Dataset) -> None:
    exact = exact_mean(config, data["mean"])
    for color, delay in zip(COLORS, config.delays, strict=False):
        panel.plot(exact["time"], exact.sel(delay=delay), color=color, lw=1.3, label=f"messages take {delay:g} $m$")
        seen = data["mean"].sel(delay=delay).isel(time=slice(None, None, max(1, data.sizes["time"] // 12)))
        panel.errorbar(seen["time"], grid_mean(seen), yerr=2 * grid_error(seen), fmt="o", color=color, **STYLE)
    flat = data["flat_mean"]
    panel.plot(flat["time"], grid_mean(flat), ":", color="0.4", lw=1.3, label="flat EASGD, simulated")
    panel.axhline(config.level, color="0.7", lw=0.8)
    panel.set(yscale="log", xlim=(0, config.time / 1.5), ylim=(3e-3, 1.3))
    panel.set(xlabel="time  $(m)$", ylabel="mean of the root")
    panel.legend(loc="lower left", fontsize=7.5, title="lines exact, points simulated", title_fontsize=7.5)


def _squares(panel: Axes, config: Config, data: xr.Dataset) -> None:
    fine = np.geomspace(0.8 * config.alphas[0], config.alphas[-1], 25)
    exact = exact_squares(config, fine)
    for color, level in zip(COLORS, config.levels, strict=False):
        seen = data["squares"].sel(level=level)
        label = {"nodes 1": "nodes above the leaves"}.get(level, level)
        panel.plot(fine, exact.sel(level=level) / config.noise, color=color, lw=1.3, label=label)
        mean, error = grid_mean(seen) / config.noise, 2 * grid_error(seen) / config.noise
        panel.errorbar(seen["alpha"], mean, yerr=error, fmt="o", color=color, **STYLE)
    flat = data["flat_square"]
    mean, error = float(grid_mean(flat)) / config.noise, 2 * float(grid_error(flat)) / config.noise
    panel.errorbar([config.alpha], [mean], yerr=[error], fmt="D", color="0.4", label="flat EASGD, center", **STYLE)
    panel.set(xscale="log", yscale="log", xlabel=r"moving rate $\alpha$", ylabel=r"variance  $(\eta^2\sigma^2)$")
    panel.legend(loc="lower right", fontsize=7.5, title="lines exact, points simulated", title_fontsize=7.5)


def _times(panel: Axes, config: Config, data: xr.Dataset) -> None:
    for color, scheme in zip(COLORS, SCHEMES, strict=False):
        found, errors = [], []
        for period in config.periods:
            seen = data["scheme_mean"].sel(scheme=scheme, period=period)
            found.append(reaches(config, seen))
            again = lambda kept, seen=seen: reaches(config, seen.isel(sim=kept))
            errors.append(2 * jackknife(again, seen.sizes["sim"])[0])
        panel.errorbar(config.periods, found, yerr=errors, fmt="o-", color=color, label=NAMES[scheme], **STYLE)
    panel.axhline(reaches(config, data["flat_mean"]), color="0.4", lw=1.3, ls=":", label="flat EASGD, messages at once")
    _periods(panel, config)
    panel.set(ylabel=f"time of the root to {config.level:g}  $(m)$")


def _roots(panel: Axes, config: Config, data: xr.Dataset) -> None:
    for color, scheme in zip(COLORS, SCHEMES, strict=False):
        for level, marker, fill in (("leaves", "s--", "none"), ("root", "o-", color)):
            seen = data["scheme_square"].sel(scheme=scheme, level=level)
            mean, error = grid_mean(seen) / config.noise, 2 * grid_error(seen) / config.noise
            label = f"{NAMES[scheme]}, {level}"
            panel.errorbar(config.periods, mean, yerr=error, fmt=marker, color=color, mfc=fill, label=label, **STYLE)
    _periods(panel, config)
    panel.set(yscale="log", ylabel=r"variance  $(\eta^2\sigma^2)$")


def _periods(panel: Axes, config: Config) -> None:
    panel.set(xscale="log", xlabel=r"slow period, $\tau_2$ or $\tau_d$  (steps)")
    panel.set_xticks(config.periods, [f"{n}" for n in config.periods])
    panel.minorticks_off()
    panel.legend(loc="best", fontsize=7.5)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(10.4, 7.6), layout="constrained")
    titles = (
        "messages that take time slow the root down",
        "variance falls from level to level (messages at once)",
        f"both schemes, messages take {config.delay:g} $m$: the mean",
        "and the stationary variance, of leaves and root",
    )
    for i, (draw, title) in enumerate(zip((_mean, _squares, _times, _roots), titles, strict=True)):
        draw(axes.flat[i], config, data)
        theme.letter(axes.flat[i], i, title)
    tree = r"$\times$".join(str(f) for f in reversed(config.fanout))
    title = (
        rf"EASGD Tree of {tree} leaves on a quadratic (after Z 6.1), $\eta h={config.a:g}$, $\alpha={config.alpha:g}$"
    )
    figure.suptitle(f"{title}, steps of mean $m$", fontsize=10.5)
    pyplot.close(figure)
    return figure
