"""The picture of m-outer."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame import measured
from sdesim.papers.modern.outer.claims import exact_path, limit
from sdesim.papers.modern.outer.config import Config
from sdesim.plot import theme
from sdesim.theory import outer


def _radius(panel: Axes, config: Config) -> None:
    """The factor of a round on the slowest mean, against the outer learning rate."""
    lrs = np.linspace(0.05, config.lrs[-1] * 1.2, 300)
    for i, mu in enumerate(config.momenta):
        of = [outer.radius(outer.curvature(config.eta * h, config.period), lrs, mu) for h in config.curvatures]
        color = theme.shades(len(config.momenta))[i]
        panel.plot(lrs, np.max(of, axis=0), color=color, lw=1.4, label=rf"$\mu={mu:g}$")
        panel.axvline(limit(config, mu), color=color, lw=0.9, ls=":")
    panel.axhline(1, color="0.6", lw=0.8)
    panel.axvline(1, color="0.6", lw=0.8)
    panel.set(xlabel="outer learning rate", ylabel="factor of a round", ylim=(0.88, 1.08))
    panel.legend(fontsize=8, loc="lower left")


def _distance(panel: Axes, config: Config, data: xr.Dataset, sigma: float) -> None:
    """The mean square after all rounds, exact and simulated."""
    for i, mu in enumerate(config.momenta):
        color = theme.shades(len(config.momenta))[i]
        lrs = np.linspace(config.lrs[0] * 0.8, min(limit(config, mu) * 1.05, config.lrs[-1] * 1.05), 80)
        curve = [exact_path(config, lr, mu, sigma)[-1] for lr in lrs]
        measured.plot_formula(panel, lrs, curve, "_", color, "-")
        square = data["square"].sel(momentum=mu, sigma=sigma).isel(round=-1)
        measured.plot_measured(panel, square.sel(lr=square["lr"] < limit(config, mu)), "lr", rf"$\mu={mu:g}$", color)
        best = int(np.argmin(curve))
        panel.plot(lrs[best], curve[best], "v", color=color, ms=8, mfc="none")
    panel.axvline(1, color="0.6", lw=0.8)
    panel.set(yscale="log", xlabel="outer learning rate", ylabel=rf"$E\,|c|^2$ after {config.rounds} rounds")
    panel.legend(fontsize=8)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(1, 3, figsize=(12.6, 4.1), layout="constrained")
    _radius(axes[0], config)
    for panel, sigma in zip(axes[1:], config.sigmas, strict=True):
        _distance(panel, config, data, sigma)
    titles = (
        "exact rate, and limits (dotted)",
        rf"little noise, $\sigma={config.sigmas[0]:g}$",
        rf"much, $\sigma={config.sigmas[1]:g}$",
    )
    for i, title in enumerate(titles):
        theme.letter(axes[i], i, title)
    what = f"{config.agents} workers, {config.period} inner steps a round"
    figure.suptitle(
        f"An outer optimizer on a quadratic, {what}: exact (lines, best marked) and simulated", fontsize=10.5
    )
    pyplot.close(figure)
    return figure
