"""The picture of bs-filters."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.boffi_slotine.filters.claims import exact
from sdesim.papers.boffi_slotine.filters.config import CONVERGING, FILTERS, Config, iteration
from sdesim.papers.frame import measured
from sdesim.plot import theme

METHODS = {
    "linear": ("linear filter", theme.QUORUM),
    "saturating": ("saturating filter", theme.LOSS),
    "sgd": ("SGD", theme.AGENTS),
    "heavy ball": ("heavy ball", theme.SMOOTHED),
    "nesterov": ("Nesterov", theme.OTHER),
}


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 3, figsize=(12.0, 6.6), layout="constrained")
    _plot_variance(config, data, axes[0, 0])
    approach, paths, shares, speed, stable = axes[0, 1], axes[1, 0], axes[1, 1], axes[0, 2], axes[1, 2]
    for method, (label, color) in METHODS.items():
        approach.plot(data["step"], data["approach"].sel(algorithm=method), color=color, label=label, lw=1.2)
        share = data["center_found"].sel(algorithm=method)
        measured.plot_measured(shares, share, "k", label, color)
        shares.plot(share["k"], share.mean("sim"), color=color, lw=0.8)
    approach.set(yscale="log", xlabel="iteration $n$", ylabel=r"$E|c|$ (or $E|x|$)", xlim=(0, 0.5 * config.steps))
    theme.letter(approach, 1, f"approach on log cosh, $k={config.k_shown:g}$")
    shares.set(xscale="log", xlabel="gain $k$", ylabel="share within 0.4", ylim=(0, None))
    theme.letter(shares, 4, "center at the deepest smoothed minimum")
    for method in CONVERGING:
        label, color = METHODS[method]
        speed.plot(data["k"], data["decay"].sel(converging=method), "o", ms=4, color=color, label=label)
        k = np.geomspace(min(config.k), max(config.k), 60)
        measured.plot_formula(speed, k, [iteration(config, method, one).decay() for one in k], "", color)
    speed.plot([], [], "k--", lw=1.2, label="eigenvalue")
    speed.set(xscale="log", yscale="log", xlabel="gain $k$", ylabel="rate per iteration")
    theme.letter(speed, 2, "convergence on a quadratic")
    for method, panel_color in (("sgd", METHODS["sgd"][1]), ("linear", METHODS["linear"][1])):
        if method == "linear":
            paths.plot(data["step"], data["x_path"].sel(algorithm=method)[0], color=panel_color, lw=0.4, alpha=0.5)
        for i in range(data.sizes["path"]):
            label = ("center of the linear filter" if method == "linear" else METHODS[method][0]) if i == 0 else None
            path = data["center_path"].sel(algorithm=method)[i]
            paths.plot(data["step"], path, color=panel_color, lw=1.0, label=label)
    paths.plot([], [], color=METHODS["linear"][1], lw=0.4, alpha=0.5, label="its agent")
    paths.axhline(config.landmarks.right, color=theme.SMOOTHED, lw=0.8, ls="--", label="deepest smoothed minimum")
    paths.set(xlabel="iteration $n$", ylabel="$x$, $c$", ylim=(-4.2, 3))
    theme.letter(paths, 3, f"oscillating loss, $k={config.k_shown:g}$")
    for method in FILTERS:
        square = data["square"].sel(filter=method)
        measured.plot_measured(stable, square.dropna("rate"), "rate", METHODS[method][0], METHODS[method][1])
    stable.axvline(2 / config.eta - config.k_shown, color="k", ls=":", lw=1.0, label=r"$\eta(k+r)=2$")
    stable.set(yscale="log", xlabel="rate $r$ of the filter", ylabel="$E x^2$ on log cosh")
    theme.letter(stable, 5, "stability (what diverged is not shown)")
    for panel in axes.flat:
        panel.legend(fontsize=7.5)
    figure.suptitle("One agent in feedback with a filter of itself (Boffi & Slotine, BS 64)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_variance(config: Config, data: xr.Dataset, panel: Axes) -> None:
    """Variances on the quadratic against the gain, over that of SGD at the full rate as eta -> 0."""
    scale = config.eta * config.sigma**2 / (2 * config.curvature)
    k = np.geomspace(min(config.k), max(config.k), 40)
    kinds = [(f"{METHODS[m][0]}", "x", m, METHODS[m][1], "o") for m in ("sgd", "heavy ball", "nesterov")]
    kinds += [("linear filter, agent", "x", "linear", METHODS["linear"][1], "s")]
    kinds += [(f"{METHODS[m][0]}, center", "center", m, METHODS[m][1], "o") for m in FILTERS]
    for label, name, method, color, marker in kinds:
        measured.plot_measured(panel, data[f"{name}_variance"].sel(algorithm=method) / scale, "k", label, color, marker)
        if method != "saturating":
            values = [exact(config, method, one)[name == "center"] / scale for one in k]
            measured.plot_formula(panel, k, values, "", color)
    panel.plot([], [], "k--", lw=1.2, label="exact")
    panel.set(xscale="log", yscale="log", xlabel="gain $k$", ylabel=r"variance $/\ (\eta\sigma^2/2h)$")
    theme.letter(panel, 0, "variance on a quadratic")
