"""The picture of bs-sync."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim.papers.boffi_slotine.log_cosh import COLORS, LOSSES, MARKERS
from sdesim.papers.boffi_slotine.sync.claims import extrapolated, levels, rate_levels
from sdesim.papers.boffi_slotine.sync.config import Config
from sdesim.papers.frame import measured
from sdesim.plot import theme


def plot(config: Config, data: xr.Dataset) -> Figure:
    """The spread against gain, number of agents, step and spread of the learning rates, with bounds."""
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
    by_gain, by_number, by_step, by_rate = axes.flat
    p, least, most = config.agents[-1], config.k[len(config.k) // 3], config.k[-1]
    spread, limit = data["spread"], extrapolated(data["spread"])
    per_agent = limit / (limit["n_agents"] - 1)
    steps = spread.sel(n_agents=p, k=most).assign_coords(refine=config.eta / spread["refine"])
    curve = lambda name, values: xr.DataArray(values, {name: values}, name)
    gains = curve("k", np.geomspace(config.k[0], most, 101))
    refine = curve("refine", np.geomspace(config.refine[0], config.refine[-1], 101))
    fine = xr.Dataset(coords={"n_agents": list(config.agents), "k": gains, "refine": refine})
    sde, discrete = levels(config, fine, "sde"), levels(config, fine, "discrete")
    rates = rate_levels(config, data)
    for loss in LOSSES:
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        measured.plot_measured(by_gain, limit.sel(n_agents=p, loss=loss), "k", **style)
        measured.plot_measured(by_number, per_agent.sel(k=least, loss=loss), "n_agents", **style)
        measured.plot_measured(by_step, steps.sel(loss=loss), "refine", **style)
        measured.plot_measured(by_rate, data["spread_rates"].sel(loss=loss, k=least), "rate_spread", **style)
    hill = dict(color="black", marker="^")
    measured.plot_measured(by_gain, data["hilltop"].sel(n_agents=p), "k", "double well, on the hilltop", **hill)
    dts = config.eta / refine.values
    for loss, name in ((LOSSES[0], "double well"), (LOSSES[1], "quadratic, convex")):  # of equal concavity
        color = COLORS[loss]
        bound, form = sde.sel(loss=loss, n_agents=p), discrete.sel(loss=loss, n_agents=p).isel(k=-1)
        measured.plot_formula(by_gain, gains.values, bound, f"(22), {name}", color)
        one = float(levels(config, data, "sde").sel(loss=loss, n_agents=p, k=least)) / (p - 1)
        measured.plot_formula(by_number, config.agents, [one] * len(config.agents), f"(22), {name}", color)
        measured.plot_formula(by_step, dts, form, f"discrete form, {name}", color)
        level = [float(bound.isel(k=-1))] * refine.size
        measured.plot_formula(by_step, dts, level, f"(22), {name}", color, ":")
        own = rates.sel(loss=loss, k=least)
        measured.plot_formula(by_rate, config.rate_spreads, own, f"discrete form, {name}", color)
    what = r"$\Sigma_i\,|x^i-\bar x|^2$"
    by_gain.set(xlabel="gain $k$ [1/time]", ylabel=f"{what} [length$^2$]", yscale="log")
    by_number.set(xlabel="agents $p$", ylabel=f"{what} $/\\,(p-1)$ [length$^2$]")
    by_step.set(xlabel="step $dt$ [time]", ylabel=f"{what} [length$^2$]")
    by_rate.set(xlabel="ratio of successive agents' learning rates", ylabel=f"{what} [length$^2$]")
    titles = (
        (f"$dt\\to 0$, $p={p}$", config.k),
        (f"$dt\\to 0$, $k={least:g}$", config.agents),
        (f"$p={p}$, $k={most:g}$", [config.eta / r for r in config.refine]),
        (f"a rate and a batch for each of {len(config.batches)} agents, $k={least:g}$", config.rate_spreads),
    )
    for i, (panel, (title, ticks)) in enumerate(zip(axes.flat, titles, strict=True)):
        theme.letter(panel, i, title)
        panel.set(xscale="log", xticks=ticks, xticklabels=[f"{tick:.3g}" for tick in ticks])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.legend(fontsize=7.5)
    by_number.set_ylim(0, None)
    figure.suptitle(
        f"Distance of agents from their mean ($\\eta={config.eta:g}$, $\\sigma={config.sigma:g}$, $d={config.dims}$): "
        "measured, with two standard errors, and bounds (BS 22)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
