"""The picture of r-stability."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame.measured import plot_formula, plot_measured
from sdesim.papers.regatti.stability.claims import TWINS, bound, exact
from sdesim.papers.regatti.stability.config import Config
from sdesim.plot import theme
from sdesim.theory import staleness

COLORS = {"equal": theme.QUORUM, "exponential": theme.SMOOTHED}
"""Of each law of compute times."""
MARKERS = {"equal": "D", "exponential": "o"}
SAYS = {"equal": "in turn", "exponential": "memoryless"}
FRESH = theme.AGENTS


def _square(config: Config, law: str, p: int, n: int, eta: float) -> float:
    return TWINS[law](p, eta, n, config.arrivals)[1][-1]


def _samples(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against n, beside the bound."""
    found = data["square"].sel(eta=config.eta)
    whole = np.unique(np.geomspace(config.counts[0], config.counts[-1], 40).astype(int))
    crowd = config.workers[-1]
    for law, p, color in (
        ("equal", 1, FRESH),
        ("exponential", crowd, COLORS["exponential"]),
        ("equal", crowd, COLORS["equal"]),
    ):
        label = "$p=1$" if p == 1 else f"$p={p}$, {SAYS[law]}"
        plot_measured(panel, found.sel(law=law, workers=p), "samples", label, color, MARKERS[law])
        plot_formula(panel, whole, [_square(config, law, p, int(n), config.eta) for n in whole], "", color, "-")
    for p, color in ((1, FRESH), (crowd, COLORS["equal"])):
        values = [bound(config, p, n, config.eta) for n in config.counts]
        plot_formula(panel, config.counts, values, f"bound, $p={p}$", color, ":")
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel=r"$E\,\delta^2/\Delta^2$")
    panel.set_xticks(config.counts, [str(n) for n in config.counts])
    panel.minorticks_off()
    panel.legend(loc="center left", bbox_to_anchor=(0.0, 0.55), fontsize=7.5)


def _workers(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against p."""
    found = data["square"].sel(eta=config.eta, samples=config.count)
    many = np.arange(1, int(config.workers[-1] * 1.4) + 1)
    for law in TWINS:
        plot_measured(panel, found.sel(law=law), "workers", SAYS[law], COLORS[law], MARKERS[law])
        values = [_square(config, law, int(p), config.count, config.eta) for p in many]
        plot_formula(panel, many, values, "", COLORS[law], "-")
    limit = max(p for p in range(1, 1000) if staleness.regular_limit(p) > config.eta)
    if limit < many[-1]:
        panel.axvline(limit + 0.5, color=COLORS["equal"], lw=0.9, ls=":")
        panel.text(
            limit,
            0.12,
            "diverges",
            color=COLORS["equal"],
            transform=panel.get_xaxis_transform(),
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=8,
        )
    fresh = found.sel(law="equal", workers=1)
    panel.axhline(1 / config.count**2, color="0.6", lw=0.9, ls="--")
    panel.text(1, 1 / config.count**2 * 1.05, "$1/n^2$, of the mean", color="0.4", fontsize=7.5, va="bottom")
    panel.set(xlabel="workers $p$", ylabel=r"$E\,\delta^2/\Delta^2$", yscale="log")
    panel.set_ylim(0.8 / config.count**2, 15 * float(fresh.mean()))
    panel.legend(loc="upper left", fontsize=8)


def _rates(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against the learning rate."""
    found = data["square"].sel(law="equal", samples=config.count)
    shown = [p for p in config.workers if p in (1, *config.workers[-2:])]
    shades = dict(
        zip(
            shown,
            (FRESH, theme.LOSS, COLORS["equal"])[-len(shown) :] if len(shown) > 2 else (FRESH, COLORS["equal"]),
            strict=True,
        )
    )
    top = 1.25 * config.etas[-1]
    for p in shown:
        stable = [eta for eta in config.etas if eta < staleness.regular_limit(p)]
        label = "$p=1$" if p == 1 else f"$p={p}$, in turn"
        plot_measured(panel, found.sel(workers=p, eta=stable), "eta", label, shades[p], MARKERS["equal"])
        etas = np.linspace(config.etas[0] * 0.7, min(top, staleness.regular_limit(p) * 1.02), 60)
        plot_formula(panel, etas, [_square(config, "equal", p, config.count, e) for e in etas], "", shades[p], "-")
        if staleness.regular_limit(p) < top:
            panel.axvline(staleness.regular_limit(p), color=shades[p], lw=0.9, ls=":")
    level = float(exact(config)["square"].sel(law="equal", workers=1, samples=config.count, eta=config.eta))
    panel.axhline(level, color=FRESH, lw=0.8, ls="--")
    panel.text(
        config.etas[0] * 0.7, level * 1.03, f"$p=1$ at $a={config.eta:g}$", color=FRESH, fontsize=7.5, va="bottom"
    )
    panel.set(yscale="log", xlabel="learning rate $a=\\eta h$", ylabel=r"$E\,\delta^2/\Delta^2$")
    panel.set_ylim(0.8 / config.count**2, 15 * level)
    panel.legend(loc="upper left", fontsize=8)


def _gap(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The gap of losses against n, of few and of many workers."""
    found, right = data["gap"].sel(law="equal", eta=config.eta), exact(config)["gap"].sel(law="equal", eta=config.eta)
    styles: dict[int, Any] = {1: (FRESH, "o"), config.workers[-1]: (COLORS["equal"], "D")}
    for side, (p, (color, marker)) in zip((0.96, 1.04), styles.items(), strict=True):
        beside = found.sel(workers=p).assign_coords(samples=side * found["samples"])
        label = "$p=1$" if p == 1 else f"$p={p}$, in turn"
        plot_measured(panel, beside, "samples", f"{label}, simulated", color, marker)
    panel.plot(config.counts, right.isel(workers=-1), "_", color="black", ms=14, label="exact for these samples")
    panel.plot(config.counts, 1 / np.array(config.counts), "--", color="0.5", lw=1.1, label="over all samples, $1/n$")
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel="gap, unseen less seen loss  $(h\\,\\sigma^2)$")
    panel.set_xticks(config.counts, [str(n) for n in config.counts])
    panel.minorticks_off()
    panel.legend(loc="lower left", fontsize=8)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(10.4, 7.6), layout="constrained")
    a = f"$a={config.eta:g}$"
    parts = (
        (_samples, f"twins against samples, {a}, and the bound"),
        (_workers, f"against workers, {a}, $n={config.count}$"),
        (_rates, f"against the learning rate, $n={config.count}$"),
        (_gap, f"the gap falls with samples, whatever the delay, {a}"),
    )
    for i, (draw, title) in enumerate(parts):
        draw(axes.flat[i], config, data)
        theme.letter(axes.flat[i], i, title)
    figure.suptitle(
        f"Twins of AsyncSGD that differ in one sample by $\\Delta$, after {config.arrivals} arrivals; lines are exact "
        "(after Regatti et al.)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
