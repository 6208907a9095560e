"""The picture of r-adaptive."""

import functools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame.measured import plot_formula, plot_measured
from sdesim.papers.regatti.adaptive.claims import best_rate, best_time, mean_excess, stable_rates
from sdesim.papers.regatti.adaptive.config import ADAPTIVE, KINDS, Config
from sdesim.plot import theme
from sdesim.statistics import jackknife
from sdesim.theory import generalization

COLORS = dict(zip((*KINDS, ADAPTIVE), (theme.AGENTS, theme.QUORUM, theme.SMOOTHED, theme.OTHER), strict=True))
MARKERS = dict(zip(COLORS, "osD^", strict=True))
SAYS = {
    "constant": "constant",
    "power 1/2": "$(1+s)^{-1/2}$",
    "power 1": "$(1+s)^{-1}$",
    ADAPTIVE: "delay-adaptive",
}


def _loss(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Excess of the unseen loss against the learning rate, of the most workers and of one."""
    crowd, found = config.workers[-1], data["excess"].isel(step=-1).sel(samples=config.counts[-1])
    shown = lambda values: values.where(values.mean("sim") < 10 * config.start, drop=True)
    one = shown(found.sel(kind="constant", workers=1))
    panel.plot(one["eta"], one.mean("sim"), ":", color="0.6", lw=1.3, label="$p=1$")
    for kind in COLORS:
        values = shown(found.sel(kind=kind, workers=crowd))
        panel.plot(values["eta"], values.mean("sim"), color=COLORS[kind], lw=0.8)
        plot_measured(panel, values, "eta", SAYS[kind], COLORS[kind], MARKERS[kind])
    limit = float(generalization.regression_limit(crowd, config.dims))
    panel.axvline(limit, color=COLORS["constant"], lw=0.9, ls="--")
    panel.axhline(config.start, color="0.75", lw=0.8)
    panel.text(config.etas[-1], config.start * 0.95, "start", color="0.5", fontsize=7.5, va="top", ha="right")
    panel.set(xscale="log", yscale="log", ylim=(0.02, 10 * config.start))
    panel.set(xlabel="learning rate $\\eta$", ylabel="excess of the unseen loss")
    panel.legend(loc="upper left", fontsize=7.5)


def _limits(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Greatest stable learning rates against p, between two of the grid."""
    excess = mean_excess(data).isel(step=-1).sel(samples=config.counts[-1])
    for i, kind in enumerate(COLORS):
        for p in config.workers:
            low, high = stable_rates(config, excess.sel(kind=kind, workers=p))
            high = min(high, 2 * config.etas[-1])
            x, mid = p * 1.08 ** (i - 1.5), np.sqrt(low * high)
            style: dict[str, Any] = dict(fmt=MARKERS[kind], ms=4, lw=1.0, capsize=2.0, color=COLORS[kind])
            label = SAYS[kind] if p == config.workers[0] else ""
            panel.errorbar([x], [mid], yerr=[[mid - low], [high - mid]], label=label, **style)
    many = np.geomspace(1, config.workers[-1], 100)
    limits = generalization.regression_limit(many, config.dims)
    plot_formula(panel, many, limits, "constant, exact for fresh samples", COLORS["constant"], "--")
    panel.set(xscale="log", yscale="log", xlabel="workers $p$", ylabel="greatest stable learning rate")
    panel.set_xticks(config.workers, [str(p) for p in config.workers])
    panel.legend(loc="lower left", fontsize=7.5)


def _best_time(config: Config, data: xr.Dataset, sims: np.ndarray) -> float:
    return best_time(config, mean_excess(data.isel(sim=sims)))


def _times(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Time to the level at the best learning rate, in mean compute times."""
    values = data.sel(samples=config.counts[-1])
    for i, kind in enumerate(COLORS):
        times, errors = [], []
        for p in config.workers:
            part = values.sel(kind=kind, workers=p)
            time = functools.partial(_best_time, config, part)
            times.append(time(np.arange(config.sims)))
            errors.append(2 * jackknife(time, config.sims)[0])
        p = np.array(config.workers)
        resolution = config.every / p
        style: dict[str, Any] = dict(fmt=MARKERS[kind] + "-", ms=4, lw=1.0, capsize=2.0, color=COLORS[kind])
        panel.errorbar(
            p * 1.05 ** (i - 1.5),
            np.array(times) / p,
            yerr=np.array(errors) / p + resolution / 2,
            label=SAYS[kind],
            **style,
        )
    panel.set(xscale="log", yscale="log", xlabel="workers $p$", ylabel=f"time to an excess of {config.level:g}  $(m)$")
    panel.set_xticks(config.workers, [str(p) for p in config.workers])
    panel.legend(loc="lower left", fontsize=7.5)


def _gap(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The gap of losses against n, of each kind at its best learning rate."""
    crowd, excess = config.workers[-1], mean_excess(data)
    for i, kind in enumerate(COLORS):
        parts = []
        for n in config.counts:
            at = dict(kind=kind, workers=crowd, samples=n)
            parts.append(data["gap"].sel(at).sel(eta=best_rate(excess.sel(at)), drop=True))
        found = xr.concat(parts, "samples").assign_coords(samples=np.array(config.counts) * 1.06 ** (i - 1.5))
        plot_measured(panel, found, "samples", SAYS[kind], COLORS[kind], MARKERS[kind])
    panel.plot(config.counts, config.fitted_gap(), "_", color="black", ms=24, label="least squares of these samples")
    line = config.dims / np.array(config.counts)
    plot_formula(panel, config.counts, line, "$d\\,\\sigma^2/n$", "0.5")
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel="gap, unseen less seen loss")
    panel.set_xticks(config.counts, [str(n) for n in config.counts])
    panel.legend(loc="lower left", fontsize=7.5)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(10.4, 7.6), layout="constrained")
    crowd, most = config.workers[-1], config.counts[-1]
    parts = (
        (_loss, f"unseen loss of $p={crowd}$ workers, $n={most}$"),
        (_limits, f"the greatest stable learning rate, $n={most}$"),
        (_times, f"time to a level at the best learning rate, $n={most}$"),
        (_gap, f"the gap at the best learning rate, $p={crowd}$"),
    )
    for i, (draw, title) in enumerate(parts):
        draw(axes.flat[i], config, data)
        theme.letter(axes.flat[i], i, title)
    figure.suptitle(
        f"AsyncSGD of memoryless workers on least squares, {config.arrivals} arrivals: rates that fall with "
        "the staleness $s$ (after Regatti et al.)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
