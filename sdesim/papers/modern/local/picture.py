"""The picture of m-local."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame import measured
from sdesim.papers.modern.local.claims import slow, slow_fallen, trace
from sdesim.papers.modern.local.config import Config
from sdesim.plot import theme

RULES = {"parallel": theme.AGENTS, "constant": theme.LOSS, "QSR": theme.SMOOTHED}


def _curve(panel: Axes, time: np.ndarray, u: xr.DataArray, exact: np.ndarray, label: str, color: Any) -> None:
    measured.plot_formula(panel, time, 1 + exact**2, "_", color, "-")
    at = np.arange(0, len(time), max(1, len(time) // 10))
    shown = trace(u).isel(record=at).assign_coords(record=time[at]).rename(record="time")
    measured.plot_measured(panel, shown, "time", label, color)


def plot(config: Config, data: xr.Dataset) -> Figure:
    count = len(config.etas) + 1
    figure, axes = pyplot.subplots(1, count, figsize=(4.3 * count, 4.1), layout="constrained", sharey=True)
    time = np.linspace(0, config.time, config.records + 1)
    for i, eta in enumerate(config.etas):
        for j, period in enumerate(config.periods):
            color = theme.shades(len(config.periods))[j]
            label = "parallel SGD" if period == 1 else f"$H={period}$"
            _curve(axes[i], time, data["u"].sel(eta=eta, period=period), slow(config, eta, period), label, color)
        theme.letter(axes[i], i, rf"$\eta={eta:g}$")
        axes[i].set(xlabel=r"$\eta t$")
        axes[i].legend(fontsize=8)
    rates = config.rates()
    ends = np.concatenate([[0.0], np.cumsum(rates)])[np.arange(config.records + 1) * (len(rates) // config.records)]
    for rule, color in RULES.items():
        label = {"parallel": "parallel SGD", "constant": f"$H={config.constant}$"}.get(rule, rule)
        _curve(axes[-1], ends, data["fallen"].sel(rule=rule), slow_fallen(config, rule), label, color)
    for edge in np.arange(1, len(config.falls)) * config.time / len(config.falls):
        axes[-1].axvline(edge, color="0.7", lw=0.8, ls=":")
    theme.letter(axes[-1], count - 1, rf"$\eta$ falls from {config.falls[0]:g} to {config.falls[-1]:g}")
    axes[-1].set(xlabel=r"$\sum\eta$")
    axes[-1].legend(fontsize=8)
    axes[0].set_ylabel("trace of the Hessian")
    what = rf"{config.agents} agents on $(1+u^2)w^2/2$"
    figure.suptitle(f"Local SGD drifts to flat minima: {what}, simulated, and its slow equation (lines)", fontsize=10.5)
    pyplot.close(figure)
    return figure
