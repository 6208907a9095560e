"""The picture of y-poisson."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.frame.measured import plot_formula, plot_measured
from sdesim.papers.yu.poisson.claims import RANDOM, poisson_distance
from sdesim.papers.yu.poisson.config import LAWS, Config
from sdesim.papers.yu.poisson.run import law
from sdesim.plot import theme
from sdesim.theory import renewals

COLORS = {
    "exponential": theme.SMOOTHED,
    "gamma": theme.OTHER,
    "log-normal": theme.LOSS,
    "equal": theme.QUORUM,
}
"""Of each law of compute times."""
MARKERS = {"exponential": "o", "gamma": "s", "log-normal": "^", "equal": "D"}


def _name(config: Config, name: str) -> str:
    of = {"gamma": f"gamma({config.shape:g})", "log-normal": f"log-normal({config.sigma:g})", "equal": "equal times"}
    return of.get(name, name)


def _between(config: Config) -> np.ndarray:
    """Numbers of workers at which curves are drawn."""
    return np.unique(np.geomspace(config.workers[0], config.workers[-1], 16).astype(int))


def _near(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Dispersion in windows that shrink."""
    p = _between(config)
    for name in LAWS:
        of = law(config, name)
        exact = [renewals.dispersion(of, int(n), config.near / n) for n in p]
        plot_formula(panel, p, exact, "", COLORS[name], "-")
        label = _name(config, name) + (", random phase" if name == "equal" else "")
        plot_measured(panel, data["near"].sel(law=name), "workers", label, COLORS[name], MARKERS[name])
    turn = data["in_step"].sel(start="in turn")
    panel.plot(turn["workers"], turn, "x", ms=5, color=COLORS["equal"], label="equal times, in turn")
    panel.axhline(1, color="0.6", lw=0.8, ls=":")
    panel.set(xscale="log", ylim=(-0.06, 1.45), xlabel="workers $p$", ylabel="variance / mean of arrivals")
    panel.legend(fontsize=7.5, ncol=2, loc="upper right")


def _distance(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Total variation from Poisson in windows that shrink, and over a fixed one."""
    p = _between(config)
    found = poisson_distance(config, data)
    for name in RANDOM[1:]:
        of = law(config, name)
        exact = [renewals.poisson_distance(of, int(n), config.near / n) for n in p]
        plot_formula(panel, p, exact, "", COLORS[name], "-")
        label = f"{_name(config, name)}, window ${config.near:g}\\,m/p$"
        plot_measured(panel, found.sel(law=name), "workers", label, COLORS[name], MARKERS[name])
    fixed = [renewals.poisson_distance(law(config, "gamma"), int(n), 1.0) for n in p]
    plot_formula(panel, p, fixed, f"{_name(config, 'gamma')}, window $m$, exact", COLORS["gamma"], "--")
    panel.plot(p, 0.4 / p, ":", color="0.5", lw=1.0, label="$\\propto 1/p$")
    panel.set(xscale="log", yscale="log", ylim=(2e-3, 2.0), xlabel="workers $p$")
    panel.set(ylabel="distance from Poisson, total variation")
    panel.legend(fontsize=7.5, ncol=2, loc="upper right")


def _fixed(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Dispersion over the length of the window, of few and of many workers."""
    w = np.geomspace(0.8 * min(config.fixed), 1.1 * max(config.fixed), 70)
    for name in LAWS:
        plot_formula(panel, w, renewals.dispersion(law(config, name), 1, w), _name(config, name), COLORS[name], "-")
        for p, fill in ((config.workers[0], "none"), (config.workers[-1], COLORS[name])):
            shift = 1.03 if fill == "none" else 0.97
            points = data["fixed"].sel(law=name, workers=p)
            points = points.assign_coords(window=points["window"] * shift)
            mean, error = points.mean("sim"), 2 * points.std("sim", ddof=1) / np.sqrt(points.sizes["sim"])
            style = dict(fmt=MARKERS[name], ms=3.5, lw=1.0, capsize=2.0, color=COLORS[name], mfc=fill, zorder=3)
            panel.errorbar(points["window"], mean, error, **style)  # pyright: ignore[reportArgumentType]
    few, many = config.workers[0], config.workers[-1]
    panel.plot([], [], "o", ms=3.5, color="0.4", mfc="none", label=f"$p={few}$, simulated")
    panel.plot([], [], "o", ms=3.5, color="0.4", label=f"$p={many}$, simulated")
    panel.axhline(1, color="0.6", lw=0.8, ls=":")
    panel.set(xscale="log", ylim=(-0.06, 2.0), xlabel="length of the window  $(m)$")
    panel.set(ylabel="variance / mean of arrivals")
    panel.legend(fontsize=7.5, ncol=2, loc="upper left")


def _staleness(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Variance over mean of the staleness."""
    p = _between(config)
    for name in RANDOM:
        exact = [renewals.staleness_moments(law(config, name), int(n))[1] / (n - 1) for n in p]
        plot_formula(panel, p, exact, "", COLORS[name], "-")
        plot_measured(panel, data["square"].sel(law=name), "workers", _name(config, name), COLORS[name], MARKERS[name])
    panel.axhline(1, color="0.5", lw=1.0, ls=":")
    panel.text(p[-1], 1.08, "Poisson", color="0.4", fontsize=8, ha="right", va="bottom")
    panel.text(p[-1], 0.62, "equal times: 0", color=COLORS["equal"], fontsize=8, ha="right")
    panel.set(xscale="log", yscale="log", ylim=(0.5, 3 * p[-1]), xlabel="workers $p$")
    panel.set(ylabel="variance / mean of staleness")
    panel.legend(fontsize=8, loc="upper left")


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(10.4, 7.6), layout="constrained")
    _near(axes[0, 0], config, data)
    _distance(axes[0, 1], config, data)
    _fixed(axes[1, 0], config, data)
    _staleness(axes[1, 1], config, data)
    for panel in (axes[0, 0], axes[0, 1], axes[1, 1]):
        panel.set_xticks(config.workers, [str(p) for p in config.workers])
        panel.minorticks_off()
    titles = (
        f"windows of ${config.near:g}\\,m/p$: Poisson as $p$ grows, unless in turn",
        "the law itself: as $1/p$, or not at all",
        "a window of fixed length: no matter how many workers",
        "staleness looks over a whole job: never Poisson",
    )
    for i, title in enumerate(titles):
        theme.letter(axes.flat[i], i, title)
    title = "Arrivals of $p$ workers together (after Yu, Chen & Poor), compute times of mean $m$"
    figure.suptitle(f"{title}; lines exact, points simulated", fontsize=10.5)
    pyplot.close(figure)
    return figure
