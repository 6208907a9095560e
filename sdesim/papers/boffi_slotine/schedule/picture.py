"""The picture of bs-schedule."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.boffi_slotine.schedule.config import POWERS, SETTLED, Config
from sdesim.papers.frame import measured
from sdesim.plot import theme
from sdesim.theory import bounds

NAMES = {0.0: "constant", 0.5: r"$\propto\sqrt{t}$", 1.0: r"$\propto t$"}
COLORS = {0.0: theme.AGENTS, 0.5: theme.SMOOTHED, 1.0: theme.QUORUM}


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.0), layout="constrained")
    time = data["time"].sel(rate="constant", power=0.0)
    late = slice(int(np.argmax(time.values >= SETTLED)), None)
    for power in POWERS:
        one = data.sel(rate="constant", power=power)
        look = dict(color=COLORS[power], lw=1.2)
        axes[0, 0].plot(time, abs(one["quorum"]).mean("sim"), label=f"$k$ {NAMES[power]}", **look)
        axes[0, 0].plot(time, one["bound"], "--", **look)
        bias = one["bias_constant"].assign_coords(window=one["time_window_constant"].values)
        measured.plot_measured(axes[0, 1], bias, "window", f"$k$ {NAMES[power]}", COLORS[power])
        axes[0, 1].plot(time[late], one["expected"][late], "--", **look)
    axes[0, 0].plot([], [], "k--", lw=1.2, label="bound of the iteration")
    noise_term = bounds.sgd_distance(config.eta / config.agents, config.sigma**2, config.strength)
    axes[0, 0].axhline(noise_term, color="k", ls=":", lw=1.0, label=r"noise term $\sqrt{\eta C/2\lambda p}$")
    axes[0, 0].set(yscale="log", xlabel=r"time $t=\eta n$", ylabel=r"$E\,|\bar x-x^*|$")
    theme.letter(axes[0, 0], 0, rf"distance to the minimum, $p={config.agents}$, $\eta={config.eta:g}$")
    axes[0, 1].plot([], [], "k--", lw=1.2, label="predicted from the third derivative")
    axes[0, 1].set(xscale="log", yscale="log", xlabel="time $t$", ylabel=r"bias $|E\bar x-x^*|$")
    axes[0, 1].xaxis.minorticks_off()
    axes[0, 1].set_xticks(ticks := [10 * 2**i for i in range(8) if 10 * 2**i <= time[-1]], [f"{t}" for t in ticks])
    theme.letter(axes[0, 1], 1, "its bias, which a growing gain removes")
    _plot_constant(config, data, axes[1, 0])
    for rate, dashes in (("constant", ":"), ("halved", "-")):
        for power in (0.0, 1.0):
            one = data.sel(rate=rate, power=power)
            smooth = abs(one["quorum"]).mean("sim").rolling(step=9, center=True, min_periods=1).mean()
            label = rf"$\eta$ {rate}, $k$ {NAMES[power]}"
            axes[1, 1].plot(data["step"], smooth, dashes, color=COLORS[power], lw=1.4, label=label)
    axes[1, 1].set(yscale="log", xlabel="iteration $n$", ylabel=r"$E\,|\bar x-x^*|$")
    theme.letter(axes[1, 1], 3, rf"$\eta$ halved every {config.halve_every} iterations to {config.floor:g}")
    for panel in axes.flat:
        panel.legend(fontsize=8)
    figure.suptitle("QSGD on a skewed loss: gains that grow in time (Boffi & Slotine, Theorem 5.1)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_constant(config: Config, data: xr.Dataset, panel: Axes) -> None:
    """Bias against constant gains, with the theorem's first term and its form for the iteration."""
    for eta, color in zip(config.constant_eta, (theme.QUORUM, theme.SMOOTHED), strict=False):
        k = np.geomspace(
            min(config.constant_k), min(1.97 / eta - config.problem.smoothness, 2 * max(config.constant_k)), 200
        )
        bias = data["constant_bias"].sel(eta=eta)
        measured.plot_measured(panel, bias, "k", rf"measured, $\eta={eta:g}$", color)
        measured.plot_formula(panel, k, config.problem.first_term(eta, k, discrete=False), "", color, ":")
        measured.plot_formula(panel, k, config.problem.first_term(eta, k, discrete=True), "", color)
        panel.axvline(1 / eta, color=color, lw=0.6, alpha=0.5)
    panel.plot([], [], "k--", lw=1.2, label="first term, iteration")
    panel.plot([], [], "k:", lw=1.2, label=r"first term, $dt\to 0$")
    panel.set(xscale="log", yscale="log", xlabel="constant gain $k$", ylabel=r"bias $|E\bar x-x^*|$")
    panel.set_ylim(top=3 * float(data["constant_bias"].mean("sim").max()))
    theme.letter(panel, 2, r"constant gains help up to $k=1/\eta$ (lines)")
