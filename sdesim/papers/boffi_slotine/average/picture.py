"""The picture of bs-average."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from sdesim.papers.boffi_slotine.average.claims import differing_limit, limit, standardized
from sdesim.papers.boffi_slotine.average.config import UNEQUAL, Config, K, alike, differing
from sdesim.papers.boffi_slotine.average.run import SKEWNESS
from sdesim.papers.frame import measured
from sdesim.plot import theme

SHORT_AND_LONG = (theme.AGENTS, theme.QUORUM)  # colors


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, panels = pyplot.subplots(2, 2, figsize=(9.2, 7.0), layout="constrained")
    _plot_law(config, data, panels[0, 0])
    _plot_quantiles(config, data, panels[0, 1])
    _plot_approach(config, data, panels[1, 0])
    _plot_gains(config, data, panels[1, 1])
    titles = ("law of the average", "quantiles", "approach to the limit", "against the gain")
    for i, (panel, title) in enumerate(zip(panels.flat, titles, strict=True)):
        panel.legend(fontsize=8)
        theme.letter(panel, i, title)
    figure.suptitle(
        r"Time average $z_n$ of the quorum on a quadratic loss (Boffi & Slotine, Lemma 5.5)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


def _plot_law(config: Config, data: xr.Dataset, panel: Axes) -> None:
    x = data["alike"].sel({"preconditioner": "none", K: config.k[0]}).isel(dim=0)
    deviation = float(np.sqrt(limit(config)[0, 0]))
    grid = np.linspace(-4 * deviation, 4 * deviation, 401)
    for n, color in zip(config.iterations[:: len(config.iterations) - 1], SHORT_AND_LONG, strict=True):
        values = x.sel(n=n).values
        panel.hist(values, np.linspace(grid[0], grid[-1], 49), density=True, color=color, alpha=0.4, label=f"$n={n}$")
    measured.plot_formula(panel, grid, stats.norm.pdf(grid, 0, deviation), "normal limit", theme.SMOOTHED, "-")
    panel.set(xlabel=r"first coordinate of $\sqrt{n}\,z_n$", ylabel="density")


def _plot_quantiles(config: Config, data: xr.Dataset, panel: Axes) -> None:
    x = standardized(config, data).isel(dim=0)
    levels = np.linspace(0.005, 0.995, 100)
    normal = stats.norm.ppf(levels)
    for n, color in zip(config.iterations[:: len(config.iterations) - 1], SHORT_AND_LONG, strict=True):
        panel.plot(normal, np.quantile(x.sel(n=n).values, levels) - normal, color=color, lw=1.2, label=f"$n={n}$")
        skewness = alike(config, "none", config.k[0]).skewness(n, SKEWNESS)[0]
        # The first term of the Cornish-Fisher expansion: what a small skewness does to the quantiles.
        measured.plot_formula(panel, normal, skewness / 6 * (normal**2 - 1), f"skewness {skewness:.2f}", color)
    panel.axhline(0, color="black", lw=0.6)
    panel.set(xlabel="quantile of the normal law", ylabel="standardized quantile, less the normal one")


def _plot_approach(config: Config, data: xr.Dataset, panel: Axes) -> None:
    trace = np.trace(limit(config))
    fine = np.unique(np.geomspace(config.iterations[0], config.iterations[-1], 30).astype(int))
    styles = {"none": (theme.QUORUM, "o"), "common": (theme.LOSS, "s")}
    for preconditioner, (color, marker) in styles.items():
        square = (data["alike"].sel(preconditioner=preconditioner) ** 2).sum("dim", skipna=False) / trace
        label = "no preconditioner" if preconditioner == "none" else "a common preconditioner"
        measured.plot_measured(panel, square.isel({K: -1}), "n", f"{label}, $k={config.k[-1]:g}$", color, marker)
        curve = [np.trace(alike(config, preconditioner, config.k[0]).covariance(n)) / trace for n in fine]
        measured.plot_formula(panel, fine, curve, "exact", color)
    panel.axhline(1, color="black", lw=0.6)
    panel.set(
        xscale="log", xlabel="iterations $n$", ylabel=r"trace of the covariance of $\sqrt{n}\,z_n$, over its limit"
    )


def _plot_gains(config: Config, data: xr.Dataset, panel: Axes) -> None:
    n, p = config.iterations[-1], len(config.unequal)
    fine = np.linspace(0, max(config.unequal_k), 101)
    which = ", ".join(f"{c:g}" for c in config.unequal)
    trace = np.trace(limit(config))
    square = (data["alike"].sel(preconditioner="common", n=n) ** 2).sum("dim", skipna=False) / trace
    measured.plot_measured(panel, square, K, "a common preconditioner", theme.LOSS, "s")
    square = p * data["differing"].sel(n=n) ** 2
    measured.plot_measured(panel, square, UNEQUAL, f"preconditioners {which}", theme.QUORUM)
    exact = [p * differing(config, k).covariance(n).item() for k in fine[::4]]
    measured.plot_formula(panel, fine[::4], exact, f"exact, $n={n}$", theme.QUORUM)
    limits = [p * differing_limit(config, k) for k in fine]
    measured.plot_formula(panel, fine, limits, "limit", theme.SMOOTHED, "-")
    panel.axhline(1, color="black", lw=0.6)
    panel.set(
        xlabel="coupling gain $k$", ylabel=f"covariance of $\\sqrt{{n}}\\,z_n$ at $n={n}$, over $A^{{-1}}SA^{{-T}}/p$"
    )
