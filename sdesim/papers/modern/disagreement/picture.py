"""The picture of m-disagreement."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame import measured
from sdesim.papers.modern.disagreement.claims import moments, slow
from sdesim.papers.modern.disagreement.config import POWERS, Config
from sdesim.plot import theme

COLORS = dict(zip(POWERS, theme.PALETTE, strict=False))


def _spectrum(panel: Axes, config: Config, data: xr.Dataset, rule: str) -> None:
    """Disagreement against curvature at the end of each learning rate, exact and simulated."""
    curvatures = np.geomspace(config.curvatures[0], config.curvatures[-1], 40)
    records = config.ends() // config.every
    exact = np.array([moments(config, rule, h)[records, 1:].sum(1) / config.agents for h in curvatures])
    for i, (eta, end) in enumerate(zip(config.falls, config.ends(), strict=True)):
        color = theme.shades(len(config.falls))[i]
        measured.plot_formula(panel, curvatures, exact[:, i], "_", color, "-")
        here = data["disagreement"].sel(rule=rule, step=end)
        measured.plot_measured(panel, here, "curvature", rf"$\eta={eta:g}$", color)
    panel.set(xscale="log", yscale="log", xlabel="curvature $h$ of the direction", ylabel="disagreement")


def _valley(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """The trace of the Hessian where agents are, above its least, and their slow motion."""
    time = np.concatenate([[0.0], np.cumsum(config.rates())])[data["step"].values]
    at = np.arange(0, time.size, max(1, time.size // 10))
    for rule, color in COLORS.items():
        measured.plot_formula(panel, time, slow(config, rule) ** 2, "_", color, "-")
        shown = (data["u"].sel(rule=rule) ** 2).isel(step=at).assign_coords(step=time[at]).rename(step="time")
        measured.plot_measured(panel, shown, "time", rule, color)
    for end in config.ends()[:-1]:
        panel.axvline(float(time[end // config.every]), color="0.7", lw=0.8, ls=":")
    panel.set(yscale="log", xlabel=r"$\sum\eta$", ylabel="trace of the Hessian above 1")
    panel.legend(fontsize=8, title="weight of an exchange falls", title_fontsize=8)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(1, len(POWERS) + 1, figsize=(15.2, 4.1), layout="constrained")
    for panel, rule in zip(axes[:-1], POWERS, strict=True):
        _spectrum(panel, config, data, rule)
        panel.sharey(axes[0])
    axes[0].set_ylim(bottom=data["disagreement"].mean("sim").isel(step=-1).min() / 4)
    axes[0].legend(fontsize=8, loc="lower left", ncols=2)
    _valley(axes[-1], config, data)
    titles = [f"weight {'constant' if not power else 'falls ' + rule}" for rule, power in POWERS.items()]
    for i, title in enumerate([*titles, "a valley of minima, $(1+u^2)w^2/2$"]):
        theme.letter(axes[i], i, title)
    figure.suptitle(
        f"Disagreement of {config.agents} agents on a ring as the learning rate falls: exact (lines) and simulated",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
