"""The picture of m-validity."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame import measured
from sdesim.papers.modern.validity.claims import share
from sdesim.papers.modern.validity.config import Config
from sdesim.plot import theme
from sdesim.theory import refinement


def _levels(panel: Axes, config: Config, data: xr.Dataset, power: int) -> None:
    """Moments over the SDE's against the level, for some learning rates."""
    square = data["square"].sel(law="rare", way="svag")
    fine = np.geomspace(1, config.levels[-1], 60)
    shown = config.etas[-4:]
    for i, eta in enumerate(shown):
        color = theme.shades(len(shown))[i]
        limit = refinement.second_moment(eta, np.inf)
        if power == 2:
            curve, scale = refinement.second_moment(eta, fine), limit
        else:
            curve, scale = refinement.fourth_moment(eta, fine, excess=config.excess), 3 * limit**2
        measured.plot_formula(panel, fine, curve / scale, "_", color, "-")
        values = square.sel(eta=eta) ** (power / 2) / scale
        measured.plot_measured(panel, values, "level", rf"$\eta h={eta:g}$", color)
    panel.axhline(1, color="0.6", lw=0.9, ls=":")
    panel.set(xscale="log", xlabel="level $l$ of SVAG", ylabel=rf"$E\,x^{power}$ over the SDE's")
    panel.set_xticks(config.levels, [str(level) for level in config.levels])
    panel.set_xticks([], minor=True)
    panel.legend(fontsize=8, title="SGD is $l=1$", title_fontsize=8)


def _moved(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """By how much SGD's moments exceed the SDE's, against the learning rate."""
    etas = np.geomspace(config.etas[0] / 1.4, config.etas[-1] * 1.25, 200)
    at = data["eta"].values
    style = {
        "rare": (theme.SMOOTHED, "o", 0.0, "$E\\,x^2$, rare gradients"),
        "growing": (theme.LOSS, "s", config.growth, "$E\\,x^2$, growing noise"),
    }
    for law, (color, marker, growth, label) in style.items():
        measured.plot_formula(panel, etas, refinement.moved(etas, 1.0, growth), "_", color, "-")
        measured.plot_measured(panel, share(config, data, law), "eta", label, color, marker)
    fourth = lambda eta, level: refinement.fourth_moment(eta, level, excess=config.excess)
    curve = fourth(etas, 1) / fourth(etas, np.inf) - 1
    measured.plot_formula(panel, etas, curve, "_", theme.AGENTS, "-")
    sgd = data["square"].sel(law="rare", way="svag").isel(level=0) ** 2
    measured.plot_measured(
        panel,
        sgd / xr.DataArray(fourth(at, np.inf), {"eta": at}, ("eta",)) - 1,
        "eta",
        "$E\\,x^4$, rare gradients",
        theme.AGENTS,
        "D",
    )
    panel.axhline(config.tolerance, color="0.5", lw=0.9, ls=":")
    where = refinement.largest_eta(config.tolerance, 1.0, config.growth)
    panel.axvline(where, color=theme.LOSS, lw=0.9, ls=":")
    panel.text(etas[0] * 1.05, config.tolerance * 1.08, f"tolerance {config.tolerance:.0%}", color="0.4", fontsize=8)
    panel.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta h$", ylabel="SGD exceeds its SDE by (share)")
    panel.set_ylim(0.01, 20)
    panel.legend(fontsize=8, loc="upper left")


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(1, 3, figsize=(12.6, 4.1), layout="constrained")
    _levels(axes[0], config, data, 2)
    _levels(axes[1], config, data, 4)
    _moved(axes[2], config, data)
    for i, title in enumerate(("refined to the SDE: variance", "fourth moment", "where the SDE breaks")):
        theme.letter(axes[i], i, title)
    figure.suptitle("Does the SDE describe SGD? A quadratic, simulated (points) and exact (lines)", fontsize=10.5)
    pyplot.close(figure)
    return figure
