"""The picture of y-staleness."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdesim.papers.frame import measured
from sdesim.papers.yu.staleness.claims import exact_rate, exact_square, law_square, rates, relative
from sdesim.papers.yu.staleness.config import Config
from sdesim.plot import theme
from sdesim.theory import staleness

RANGE = TwoSlopeNorm(0.0, -0.5, 1.0)
"""Of rates times delay + 1/2, in the atlas."""


def _speed(panel: Axes, config: Config, found: xr.DataArray) -> None:
    """The rate of decay against h tau."""
    turns, late = np.linspace(0.02, 1.9, 300), config.longest + 0.5
    panel.plot(turns, turns, ":", color="0.4", lw=1.2, label="no staleness")
    fluid = [-staleness.delay_root(turn, 1.0).real for turn in turns]
    panel.plot(turns, fluid, "--", color=theme.SMOOTHED, lw=1.4, zorder=2.5, label="delay equation")
    exact = [late * exact_rate(config, config.longest, 0.0, turn / late, "mean") for turn in turns]
    panel.plot(turns, exact, color=theme.QUORUM, lw=1.2, label=f"iteration, {config.longest} steps")
    shown = found.sel(delay=config.longest, delta=0.0, what="mean")
    at = config.turns(config.etas(config.longest, tuple(shown["share"].values)) * config.curvature)
    panel.plot(at, late * shown, "o", ms=4, color=theme.QUORUM, label="simulated", zorder=3)
    for turn, words in ((1 / np.e, "$1/e$"), (np.pi / 2, r"$\pi/2$")):
        panel.axvline(turn, color="0.6", lw=0.9, ls=":")
        panel.text(turn + 0.03, -0.23, words, color="0.4", fontsize=9)
    panel.axhline(0, color="0.6", lw=0.8)
    panel.set(xlim=(0, 1.9), ylim=(-0.3, 1.4), xlabel=r"$h\tau$", ylabel=r"decay rate $\times\,\tau$")
    panel.legend(fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.6))


def _variance(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The stationary variance against h tau."""
    top = 0.93
    turns = np.linspace(0.01, top * np.pi / 2, 200)
    panel.plot(turns, law_square(config, turns), "--", color=theme.SMOOTHED, lw=1.4, zorder=2.5, label="delay equation")
    shares = np.linspace(0.03, top, 60)
    exact = xr.DataArray(exact_square(config, shares), {"quiet": shares}, ("quiet",))
    at = lambda values: config.turns(config.etas(config.longest, tuple(values)) * config.curvature)
    label = f"iteration, {config.longest} steps"
    panel.plot(at(shares), relative(config, exact), color=theme.QUORUM, lw=1.2, label=label)
    shown = relative(config, data["square"])
    shown = shown.assign_coords(turns=("quiet", at(shown["quiet"].values))).swap_dims(quiet="turns")
    measured.plot_measured(panel, shown, "turns", "simulated", theme.QUORUM)
    panel.axhline(1, color="0.4", ls=":", lw=1.2, label="no staleness")
    panel.set(xlim=(0, np.pi / 2), yscale="log", xlabel=r"$h\tau$", ylabel=r"$\operatorname{Var}x\;/\;(\sigma^2/2h)$")
    panel.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    panel.legend(fontsize=8, loc="upper left")


def _atlas(panel: Axes, config: Config, found: xr.DataArray, delta: float, what: str):
    """Rates over learning rate and delay, exact as colors and the line, simulated as points."""
    delays = np.arange(1, config.longest + 3)
    a = np.geomspace(0.25 * config.learning[0] * staleness.step_limit(config.longest), 1.5, 90)
    exact = np.array([[exact_rate(config, int(d), delta, x, what) for d in delays] for x in a])
    image = panel.pcolormesh(
        delays, a, exact * (delays + 0.5), cmap="RdBu", norm=RANGE, shading="nearest", rasterized=True
    )
    panel.contour(delays, a, exact, [0.0], colors="black", linewidths=1.3)
    for delay in config.delays:
        shown = found.sel(delay=delay, delta=delta, what=what)
        places = config.etas(delay, tuple(shown["share"].values)) * config.curvature
        for inside, face in ((True, "black"), (False, "white")):
            some = places[(shown.values > 0) == inside]
            panel.plot(np.full(some.size, delay), some, "o", ms=4, mfc=face, mec="black", mew=0.8)
    panel.set(yscale="log", xlabel="delay  (steps)", ylabel=r"learning rate $\eta h$", ylim=(a[0], a[-1]))
    panel.set_xlim(0.5, config.longest + 1.5)
    return image


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(3, 2, figsize=(10.4, 10.6), layout="constrained")
    found = rates(data)
    _speed(axes[0, 0], config, found)
    _variance(axes[0, 1], config, data)
    for row, what in enumerate(("mean", "difference")):
        for column, delta in enumerate((0.0, config.delta)):
            image = _atlas(axes[1 + row, column], config, found, delta, what)
    figure.colorbar(image, ax=axes[1:], label="exact decay rate $\\times$ (delay + 1/2);  red: diverges", shrink=0.7)
    handles = [
        Line2D([], [], marker="o", ls="", mfc=face, mec="black", ms=4, label=words)
        for face, words in (("black", "simulated: decays"), ("white", "simulated: diverges"))
    ]
    axes[1, 0].legend(handles=handles, fontsize=8, loc="lower left")
    coupled = f"differences, $k={config.coupling:g}\\,h$"
    titles = (
        "small staleness helps, large diverges",
        "with gradient noise: the stationary variance",
        "the mean, no momentum",
        f"the mean, momentum {config.delta:g}",
        f"{coupled}, no momentum",
        f"{coupled}, momentum {config.delta:g}",
    )
    for i, title in enumerate(titles):
        theme.letter(axes.flat[i], i, title)
    figure.suptitle("Gradients that are stale, on a quadratic (after Yu, Chen & Poor)", fontsize=10.5)
    pyplot.close(figure)
    return figure
