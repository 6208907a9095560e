"""The picture of bs-phase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import statistics
from sdesim.papers.boffi_slotine.one_dimensional import K
from sdesim.papers.boffi_slotine.phase.config import GRID, Config, P, T
from sdesim.papers.boffi_slotine.phase.run import consensus
from sdesim.papers.frame import measured
from sdesim.plot import theme
from sdesim.theory.meanfield import SelfConsistency, linear_noise, quorum_moments


def _plane(panel: Axes, config: Config, data: xr.Dataset, theory: SelfConsistency) -> None:
    gains = np.geomspace(config.k[0] / 1.4, config.k[-1] * 1.3, 32)
    heats = np.linspace(0.6 * config.temperatures[0], config.temperatures[-1] * 1.22, 28)
    limit = np.array([[consensus(theory, k, t) for k in gains] for t in heats])
    style: dict[str, Any] = dict(cmap=theme.SHADES, vmin=0.0, vmax=float(limit.max()))
    image = panel.pcolormesh(gains, heats, limit, shading="gouraud", **style)
    lines = [theory.critical_gain(t) for t in heats]
    panel.plot(lines, heats, color="white", lw=1.8, label="critical gain")
    k, t = np.meshgrid(data[K], data[T], indexing="ij")
    found = np.sqrt(data["plane"].mean("sim"))
    panel.scatter(
        k, t, c=found, s=42, edgecolors="white", linewidths=0.8, label=f"simulated, $p={config.agents}$", **style
    )
    panel.set(xscale="log", xlabel="gain $k$ (1/time)", ylabel=r"temperature $T=\eta\sigma^2/2b$ (loss)")
    panel.set(xlim=(gains[0], gains[-1]), ylim=(heats[0], heats[-1]))
    ticks = [0.1, 0.2, 0.5, 1.0, 2.0]
    panel.set_xticks(ticks, [f"{v:g}" for v in ticks])
    panel.minorticks_off()
    legend = panel.legend(loc="upper left", fontsize=8, labelcolor="white")
    legend.legend_handles[1].set_facecolor("none")  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    panel.figure.colorbar(image, ax=panel, label=r"agreement: $|m|$, points $\sqrt{\mathrm{E}\,\bar x^2}$")


def _cut(panels: Sequence[Axes], config: Config, data: xr.Dataset, theory: SelfConsistency) -> None:
    gains = np.geomspace(config.cut_k[0] / 1.3, config.cut_k[-1] * 1.2, 40)
    colors = theme.shades(len(config.populations))
    order, size = panels
    limit = [consensus(theory, k, config.cut) for k in gains]
    order.plot(gains, limit, color="black", lw=1.4, label=r"$p\to\infty$")
    critical = theory.critical_gain(config.cut)
    calm = gains[gains < 0.97 * critical]
    noises = [linear_noise(theory.branch(0.0, k, config.cut).variance, k, config.cut) for k in calm]
    size.plot(calm, noises, color="black", lw=1.4, label="linear noise theory")
    for i, (p, color) in enumerate(zip(config.populations, colors, strict=True)):
        exact = np.array([quorum_moments(theory, k, config.cut, p).second for k in gains])
        one = data["cut"].isel({P: i})
        root = np.sqrt(one.mean("sim"))
        bar = statistics.grid_error(one) / root  # two standard errors of the root
        order.plot(gains, np.sqrt(exact), color=color, lw=1.1, label=f"$p={p}$, exact")
        order.errorbar(data["cut_k"], root, yerr=bar, fmt="o", ms=3.5, capsize=2, lw=1, color=color)
        size.plot(gains, p * exact, color=color, lw=1.1, label=f"$p={p}$, exact")
        measured.plot_measured(size, p * one, "cut_k", "simulated" if i == 0 else "_", color)
    for panel in panels:
        panel.axvline(critical, color="0.6", lw=0.9, ls=":")
        panel.set(xscale="log", xlabel="gain $k$ (1/time)")
        panel.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        panel.minorticks_off()
        panel.legend(loc="upper left", fontsize=8)
    order.set_ylabel(r"$\sqrt{\mathrm{E}\,\bar x^2}$")
    size.set(yscale="log", ylabel=r"$p\,\mathrm{E}\,\bar x^2$")


def _tilted(panel: Axes, config: Config, data: xr.Dataset) -> None:
    theory = SelfConsistency(config.well(config.tilt), GRID)
    gains = np.geomspace(config.tilted_k[0] / 1.2, config.tilted_k[-1] * 1.1, 80)
    found = [(k, b) for k in gains for b in theory.branches(k, config.tilted_temperature, points=61)]
    for stable, marker, name in ((True, "black", "stable"), (False, "0.65", "unstable")):
        points = [(k, b.mean) for k, b in found if b.stable == stable]
        if points:
            panel.plot(*zip(*points, strict=True), ".", ms=2.2, color=marker, label=name)
    for i, (start, color) in enumerate(((-2, theme.SMOOTHED), (2, theme.QUORUM))):
        mean = data["tilted"].isel(start=i)
        measured.plot_measured(panel, mean, "tilted_k", f"$p={config.agents}$ from {start}", color, "sv"[i])
    panel.set(xscale="log", xlabel="gain $k$ (1/time)", ylabel=r"mean $\bar x$")
    panel.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    panel.minorticks_off()
    panel.legend(loc="center left", fontsize=8)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.4, 7.0), layout="constrained")
    theory = SelfConsistency(config.well(), GRID)
    _plane(axes[0, 0], config, data, theory)
    _cut((axes[0, 1], axes[1, 0]), config, data, theory)
    _tilted(axes[1, 1], config, data)
    titles = (
        "where agents agree",
        f"agreement at $T={config.cut:g}$",
        f"fluctuations of the mean at $T={config.cut:g}$",
        f"tilted well, $T={config.tilted_temperature:g}$: two agreements, or one",
    )
    for i, title in enumerate(titles):
        theme.letter(axes.flat[i], i, title)
    figure.suptitle("Phase diagram of consensus of coupled agents (QSGD) on a double well", fontsize=10.5)
    pyplot.close(figure)
    return figure
