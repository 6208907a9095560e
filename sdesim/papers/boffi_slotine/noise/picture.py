"""The picture of bs-noise."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim.papers.boffi_slotine.log_cosh import COLORS, LOSSES, MARKERS
from sdesim.papers.boffi_slotine.noise.claims import largest_disturbance, quorum_noise, stationary_variance, variance
from sdesim.papers.boffi_slotine.noise.config import CONVEX, QUADRATIC, WELL, Config
from sdesim.papers.frame import measured
from sdesim.plot import theme


def plot(config: Config, data: xr.Dataset) -> Figure:
    """Noise and variance of the mean against p, and the disturbance against k and p."""
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
    by_noise, by_variance, by_gain, by_number = axes.flat
    p, k = config.agents[-1], config.k[-1]
    numbers = list(config.agents)
    beside = lambda values, factor: values.assign_coords(n_agents=values["n_agents"] * factor)
    for loss, factor in zip(LOSSES, (0.85, 1.0, 1.18), strict=True):
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        found = (data["noise"] * data["n_agents"]).sel(loss=loss, k=k)
        measured.plot_measured(by_noise, beside(found, factor), "n_agents", **style)
    form = quorum_noise(config, data) * data["n_agents"]
    measured.plot_formula(by_noise, numbers, form, r"$\eta\sigma^2/b$", "black")
    for loss in (QUADRATIC, CONVEX):
        for gain, marker, factor in ((config.k[0], "o", 0.93), (k, "^", 1.08)):
            found = variance(data, config).sel(loss=loss, k=gain)
            found = beside(found * found["n_agents"], factor)
            measured.plot_measured(by_variance, found, "n_agents", f"{loss}, $k={gain:g}$", COLORS[loss], marker)
        law = stationary_variance(config, data, config.weights[loss]) * data["n_agents"]
        name = "exact" if loss == QUADRATIC else "linearized"
        measured.plot_formula(by_variance, numbers, law, f"{loss}, {name}", COLORS[loss])
    concavity = -(config.strength + config.well)
    gains = np.geomspace(max(min(k for k in config.k if k > 0), 1.5 * concavity), k, 101)
    fine = xr.Dataset(coords={"n_agents": numbers, "k": gains})
    for loss in (WELL, CONVEX):
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        eps = data["disturbance"].sel(loss=loss)
        measured.plot_measured(by_gain, eps.sel(n_agents=p, k=[k for k in config.k if k > 0]), "k", **style)
        measured.plot_measured(by_number, eps.sel(k=k), "n_agents", **style)
        bound = largest_disturbance(config, fine, loss)
        measured.plot_formula(by_gain, gains, bound.sel(n_agents=p), f"{loss}, (31) at $dt$", COLORS[loss])
        measured.plot_formula(by_number, numbers, bound.isel(k=-1), f"{loss}, (31) at $dt$", COLORS[loss])
    by_noise.set(ylabel=r"$p\,\times$ noise of $\bar x$ [length$^2$/time]")
    by_variance.set(ylabel=r"$p\,\times$ variance of $\bar x$ [length$^2$]")
    for panel in (by_gain, by_number):
        panel.set(ylabel=r"disturbance $E|\epsilon|$ [length/time]")
    titles = (f"$k={k:g}$", "stationary law, without and with coupling", f"$p={p}$", f"$k={k:g}$")
    for i, (panel, title) in enumerate(zip(axes.flat, titles, strict=True)):
        theme.letter(panel, i, title)
        ticks = [k for k in config.k if k > 0] if panel is by_gain else numbers
        panel.set(xscale="log", yscale="log", xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("gain $k$ [1/time]" if panel is by_gain else "agents $p$")
        panel.legend(fontsize=7.5)
    for panel in (by_noise, by_variance, by_number):
        panel.set(yscale="linear", ylim=(0, None))
    by_noise.set_ylim(0.95 * float(form[0]), 1.05 * float(form[0]))
    figure.suptitle(
        rf"Noise and disturbance of the mean of agents ($\eta={config.eta:g}$, $b={config.batch:g}$, "
        rf"$\sigma={config.sigma:g}$): measured, with two standard errors, and predicted (BS Thm 3.2)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
