"""The picture of m-race: losses against seconds, and seconds, gradients and bytes to the level."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.asynchrony.race.claims import race_time, until
from sdesim.papers.modern.race.claims import EXACT, exact_loss
from sdesim.papers.modern.race.config import PROTOCOLS, REGIMES, Config
from sdesim.plot import band, theme
from sdesim.statistics import jackknife

COLORS = dict(zip(PROTOCOLS, theme.PALETTE, strict=True))
MARKS = dict(zip(REGIMES, ((theme.AGENTS, "o"), (theme.SMOOTHED, "s"), (theme.QUORUM, "D")), strict=True))


def _numbers(of: xr.Dataset) -> str:
    """What was fastest, in short."""
    momentum = "" if np.isnan(of["momentum"]) else f", $\\mu={float(of['momentum']):g}$"
    return f"$\\eta={float(of['eta']):.2g}${momentum}"


def _losses(panel: Axes, config: Config, data: xr.Dataset, regime: str) -> None:
    """Mean losses with bands of two standard errors, and what is exact."""
    time = data["time"].values
    for protocol, color in COLORS.items():
        runs = data.sel(protocol=protocol, regime=regime)
        band(runs["loss"], log=True, ax=panel, color=color, lw=1.2, label=f"{protocol}, {_numbers(runs)}")
        if regime == "equal" and protocol in EXACT:
            panel.plot(time, exact_loss(config, data, protocol), ":", color="k", lw=1.1)
    panel.axhline(config.level, color="0.6", lw=0.8, ls=":")
    panel.set(yscale="log", xlim=(0, time[-1]), ylim=(config.level / 4, 1.2))
    panel.set(xlabel="time  (s)", ylabel="mean loss, of that at the start")
    panel.legend(loc="upper right", fontsize=7)


def _times(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Seconds of all protocols in all regimes with two standard errors, the gradients and the bytes."""
    for j, regime in enumerate(REGIMES):
        color, marker = MARKS[regime]
        for i, protocol in enumerate(PROTOCOLS):
            one = data.sel(protocol=[protocol], regime=[regime])
            found = race_time(config.race, one, protocol, regime)
            row = i + (j - 1) * 0.24
            if not np.isfinite(found):
                panel.text(config.time, row, "not within the race", ha="right", va="center", fontsize=6.5, color=color)
                continue
            seconds = lambda kept, one=one, p=protocol, r=regime: race_time(config.race, one.isel(sim=kept), p, r)
            error = 2 * jackknife(seconds, data.sizes["sim"])[0]
            label = regime if i == 0 else None
            panel.errorbar(found, row, xerr=error, color=color, marker=marker, ms=4, capsize=2, lw=1.0, label=label)
            used, sent = (until(config.race, one, protocol, regime, what) for what in ("used", "megabytes"))
            words = f"{used:.0f} gradients, {sent:.0f} MB"
            panel.annotate(words, (found + error, row), (5, 0), textcoords="offset points", fontsize=6.5, va="center")
    panel.set_yticks(range(len(PROTOCOLS)), list(PROTOCOLS))
    panel.set(xlim=(0, config.time), ylim=(len(PROTOCOLS) - 0.5, -0.5), ylabel="protocol")
    panel.set_xlabel(f"seconds until the median loss is {config.level:g} of the first")
    panel.grid(axis="x", color="0.9", lw=0.6)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=len(REGIMES), fontsize=7.5)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure = pyplot.figure(figsize=(11.4, 8.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.0, 1.1))
    panels = [figure.add_subplot(grid[0, i]) for i in range(len(REGIMES))]
    for panel, regime in zip(panels, REGIMES, strict=True):
        _losses(panel, config, data, regime)
    panels.append(figure.add_subplot(grid[1, :]))
    _times(panels[-1], config, data)
    titles = ("equal times (dotted: exact)", "stragglers", "stragglers and slow messages", "time to the level")
    for i, title in enumerate(titles):
        theme.letter(panels[i], i, title)
    words = f"{config.workers} workers on a noisy quadratic, each protocol at its fastest numbers of those tried"
    figure.suptitle(words, fontsize=10.5)
    pyplot.close(figure)
    return figure
