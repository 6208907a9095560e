"""The picture of async-race: losses against seconds, times with errors, who computes and waits, and a table."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from sdesim.asynchrony import Timetable, timetable
from sdesim.papers.asynchrony.race.claims import exact_loss, race_time, until
from sdesim.papers.asynchrony.race.config import Config
from sdesim.papers.asynchrony.race.run import stepper
from sdesim.plot import band, theme, timeline
from sdesim.statistics import jackknife

COLORS = {
    "equal": theme.AGENTS,
    "exponential": theme.SMOOTHED,
    "heavy tail": theme.QUORUM,
    "one slow": theme.OTHER,
    "slow messages": theme.LOSS,
}
"""Of each regime."""

SHOWN = ("synchronous", "Rennala", "AsyncSGD", "DOWNPOUR")
"""Whose losses are drawn."""


def _losses(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Mean losses with bands of two standard errors, with exponential times, and what is exact."""
    time = data["time"].values
    for protocol, color in zip(SHOWN, theme.PALETTE, strict=False):
        runs = data.sel(protocol=protocol, regime="exponential")
        label = f"{protocol}, $\\eta={float(runs['eta']):.2g}$"
        band(runs["loss"], log=True, ax=panel, color=color, lw=1.2, label=label)
    eta = float(data["eta"].sel(protocol="AsyncSGD", regime="exponential"))
    panel.plot(time, exact_loss(config, eta, time), "--", color="k", lw=1.1, label="AsyncSGD, exact")
    panel.axhline(config.level, color="0.6", lw=0.8, ls=":")
    panel.text(0.2, config.level * 1.05, "level", va="bottom", color="0.4", fontsize=8)
    panel.set(yscale="log", xlim=(0, time[-1] / 2), ylim=(config.level / 8, 1.2))
    panel.set(xlabel="time  (s)", ylabel="mean loss, of that at the start")
    panel.legend(loc="upper right", fontsize=7.5)


def _error(config: Config, data: xr.Dataset, protocol: str, regime: str) -> float:
    """Two standard errors of a time."""
    one = data.sel(protocol=[protocol], regime=[regime])
    return 2 * jackknife(lambda kept: race_time(config, one.isel(sim=kept), protocol, regime), data.sizes["sim"])[0]


def _times(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Seconds of all protocols in all regimes, with two standard errors."""
    names, regimes = list(data["protocol"].values), list(data["regime"].values)
    style: dict[str, Any] = dict(ms=4, lw=1.0, capsize=2.0, linestyle="none")
    for j, regime in enumerate(regimes):
        found = np.array([race_time(config, data, name, regime) for name in names])
        here = np.flatnonzero(np.isfinite(found))
        errors = [_error(config, data, names[i], regime) for i in here]
        rows = here + (j - (len(regimes) - 1) / 2) * 0.14
        color = COLORS[regime]
        panel.errorbar(found[here], rows, xerr=errors, marker="osD^v"[j], color=color, label=regime, **style)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set(
        xscale="log",
        ylim=(len(names) - 0.5, -0.5),
        ylabel="protocol",
        xlabel=f"seconds until the median loss is {config.level:g} of the first",
    )
    ticks = [t for t in (2, 5, 10, 20, 50) if t <= config.time]
    panel.set_xticks(ticks, [f"{t}" for t in ticks])
    panel.minorticks_off()
    panel.grid(axis="x", color="0.9", lw=0.6)
    panel.legend(loc="upper center", bbox_to_anchor=(0.45, -0.08), ncols=len(regimes), fontsize=7.5, columnspacing=1.0)


def _table(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Seconds, gradients and megabytes, colored by the seconds over the least of the regime."""
    names, regimes = list(data["protocol"].values), list(data["regime"].values)
    seconds = np.array([[race_time(config, data, name, regime) for regime in regimes] for name in names])
    least = np.nanmin(np.where(np.isfinite(seconds), seconds, np.inf), axis=0)
    shown = np.ma.masked_invalid(seconds / least)
    panel.imshow(shown, norm=LogNorm(1, 6), cmap="YlOrRd", aspect="auto", alpha=0.75)
    panel.set_facecolor("0.9")
    for i, name in enumerate(names):
        for j, regime in enumerate(regimes):
            used, discarded, sent = (
                until(config, data, name, regime, what) for what in ("used", "discarded", "megabytes")
            )
            wasted = f"+{discarded:.0f}" if discarded > 0.5 else ""
            words = f"{seconds[i, j]:.1f} s\n{used:.0f}{wasted} g, {sent:.0f} MB"
            words = words if np.isfinite(seconds[i, j]) else "not within\nthe race"
            panel.text(j, i, words, ha="center", va="center", fontsize=6.8, linespacing=1.4)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_xticks(range(len(regimes)), regimes, fontsize=8)
    panel.tick_params(length=0)
    panel.set(xlabel="regime", ylabel="protocol")


def _who(panel: Axes, config: Config) -> None:
    """Who computes and who waits at a barrier of all, with stragglers."""
    made = stepper(config, "synchronous", "heavy tail")
    table: Timetable = timetable(
        made.compute, workers=config.workers, arrivals=12 * config.workers, seed=config.seed, barrier=config.workers
    )
    end = float(table.time[0, 5 * config.workers - 1])
    timeline(table, window=(0.0, end), ax=panel)
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, fontsize=7.5)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure = pyplot.figure(figsize=(11.4, 11.4), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1.0, 0.62, 1.9))
    panels = [figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[:2, 1])]
    panels.append(figure.add_subplot(grid[2, :]))
    _losses(panels[0], config, data)
    _who(panels[1], config)
    _times(panels[2], config, data)
    _table(panels[3], config, data)
    titles = (
        "exponential times",
        "a barrier of all workers, heavy tail",
        "time to the level",
        "seconds, gradients used + discarded (g) and bytes to the level; color: seconds over the least of the regime",
    )
    for i, title in enumerate(titles):
        theme.letter(panels[i], i, title)
    words = f"{config.workers} workers on a noisy quadratic, each protocol at its fastest rate of those tried"
    figure.suptitle(words, fontsize=10.5)
    pyplot.close(figure)
    return figure
