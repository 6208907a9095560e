"""The picture of bs-smoothing."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import claims
from sdesim.coupling import Order
from sdesim.papers.boffi_slotine.smoothing.claims import (
    averaged_and_narrower,
    count_minima,
    factors_of,
    slopes_of,
    synchronized,
)
from sdesim.papers.boffi_slotine.smoothing.config import WINDOW, Config
from sdesim.papers.boffi_slotine.smoothing.run import factors, slope
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.plot import theme
from sdesim.theory.smoothing import averaged, uniform

COLORS = ("#d6604d", "#f4a582", "#4393c3", "#2166ac", "#053061")  # from one agent to many


# The orders within a step, with a marker and a name.
SHOWN: tuple[tuple[Order, str, str], ...] = (("gauss-seidel", "o", "pull, then descend"), ("jacobi", "^", "at once"))


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, panels = pyplot.subplots(2, 2, figsize=(10.0, 7.6), layout="constrained")
    draws = {
        "the loss, smoothed by averaged noise": _plot_losses,
        r"measured slope, pull before descent, $\eta k = 1$": _plot_slopes,
        "damping of the waves": _plot_waves,
        f"distortion at finite gain, $p = {config.agents[len(config.agents) // 2]}$": _plot_gains,
    }
    for i, (panel, (title, draw)) in enumerate(zip(panels.flat, draws.items(), strict=True)):
        draw(config, data, panel)
        theme.letter(panel, i, title)
    figure.suptitle("Smoothing of the loss that the center of mass descends (Boffi & Slotine, 4)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_losses(config: Config, data: xr.Dataset, panel: Axes) -> None:
    y = np.linspace(-WINDOW, WINDOW, 2001)
    laws = {f"$p = {p}$": averaged(config.half_width, p) for p in config.agents}
    laws["no noise"] = uniform(0.0)
    colors = [*COLORS[: len(config.agents)], theme.LOSS]
    for i, ((label, law), color) in enumerate(zip(laws.items(), colors, strict=True)):
        slopes = slope(config.loss, y, factors(law, config.loss))
        loss = np.cumsum(slopes) * (y[1] - y[0])
        loss += 1.6 * i - loss[y.size // 2]
        panel.plot(y, loss, color=color, lw=1.1, label=f"{label}: {count_minima(slopes)} minima")
        lowest = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
        panel.plot(y[lowest], loss[lowest], ".", color=color, ms=5)
    panel.set(xlabel="$y$", ylabel="smoothed loss, shifted")
    panel.legend(fontsize=8, ncols=2, loc="upper center")
    panel.set_ylim(top=panel.get_ylim()[1] + 2.5)


def _plot_slopes(config: Config, data: xr.Dataset, panel: Axes) -> None:
    y = np.linspace(-WINDOW, WINDOW, 801)
    shown = (config.agents[0], config.agents[-1])
    for p, color, marker in zip(shown, (COLORS[0], COLORS[3]), "os", strict=True):
        measured.plot_measured(panel, slopes_of(synchronized(data).sel(p=p)), "y", f"$p = {p}$", color, marker)
        exact = slope(config.loss, y, factors(averaged(config.half_width, p), config.loss))
        measured.plot_formula(panel, y, exact, "averaged noise", color, "-")
    panel.axhline(0, color="black", lw=0.6)
    panel.set(xlabel="$Y$", ylabel=r"$-\mathrm{E}[\Delta Y \mid Y] / \eta$")
    panel.legend(fontsize=8, ncols=2)


def _plot_damping(
    panel: Axes, models: dict[Any, xr.Dataset], factor: int, color: str, marker: str, label: str | None
) -> None:
    """The measured damping of a wave by the models' keys, with bars of two standard errors, by the jackknife."""
    of = lambda runs: float(factors_of(runs.data)[factor])
    value, error = np.array([claims.measure(of, Runs(one)) for one in models.values()]).T
    style: dict[str, Any] = dict(fmt=marker, ms=4.5, lw=1.0, capsize=2.0, color=color, zorder=3)
    panel.errorbar(list(models), value, yerr=2 * error, label=label, **style)


def _plot_waves(config: Config, data: xr.Dataset, panel: Axes) -> None:
    fine = np.unique(np.geomspace(1, config.agents[-1], 60).round().astype(int))
    waves = ((2, config.loss.w2, theme.QUORUM, "fast"), (1, config.loss.w1, theme.LOSS, "slow"))
    for factor, frequency, color, name in waves:
        label = lambda text, name=name: text if name == "fast" else None  # one wave stands for both
        for order, marker, text in SHOWN:
            models = {p: data.sel(p=p, order=order, rate=1.0) for p in config.agents}
            _plot_damping(panel, models, factor, color, marker, label(text))
        laws = [averaged_and_narrower(config.half_width, p) for p in fine]
        exact, narrower = np.array([[law.damping(frequency) for law in pair] for pair in laws]).T
        measured.plot_formula(panel, fine, exact, label("averaged noise") or "_", color, "-")
        measured.plot_formula(panel, fine, narrower, label(r"uniform noise, $1/\sqrt{p}$ as wide") or "_", color, ":")
        place = (0.75 * fine[-1], np.interp(0.5 * fine[-1], fine, exact) - 0.06)
        panel.text(*place, f"{name} wave", color=color, ha="right", va="top")
    panel.set(xscale="log", xlabel="agents $p$", ylabel=r"what is left of a wave, $\eta k = 1$", ylim=(-0.25, 1.05))
    panel.set_xticks(config.agents, [f"{p}" for p in config.agents])
    panel.set_xticks([], minor=True)
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.45))


def _plot_gains(config: Config, data: xr.Dataset, panel: Axes) -> None:
    p, frequency = config.agents[len(config.agents) // 2], config.loss.w2
    fine = np.linspace(min(config.rates) / 2, 1, 60)
    for (order, marker, text), color in zip(SHOWN, (theme.SMOOTHED, theme.AGENTS), strict=True):
        models = {rate: data.sel(p=p, order=order, rate=rate) for rate in config.rates}
        _plot_damping(panel, models, 2, color, marker, f"measured, {text}")
        curve = [np.mean([law.damping(frequency) for law in config.agents_laws(p, order, rate)]) for rate in fine]
        measured.plot_formula(panel, fine, curve, f"the agents' spread, {text}", color)
    for agents, style, label in ((p, "-", "averaged noise"), (1, ":", "noise of one agent")):
        left = averaged(config.half_width, agents).damping(frequency)
        panel.axhline(left, color="black", lw=0.6, ls=style, label=label)
    panel.set(xlabel=r"weight of the pull in one iteration, $\eta k$", ylabel="what is left of the fast wave")
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.6))
