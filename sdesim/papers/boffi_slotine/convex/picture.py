"""The picture of bs-convex."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim.papers.boffi_slotine.convex.claims import (
    easgd_bound,
    easgd_linearized,
    momentum_bound,
    nominal,
    qsgd_bound,
    rotated_bound,
)
from sdesim.papers.boffi_slotine.convex.config import Config
from sdesim.papers.frame import measured
from sdesim.plot import theme
from sdesim.theory import bounds

COLORS = {"qsgd": theme.SMOOTHED, "rotated": theme.PALETTE[5], "easgd": theme.QUORUM, "momentum": theme.OTHER}


def plot(config: Config, data: xr.Dataset) -> Figure:
    """Errors of the methods against p and k with their bounds, how loose these are, and EASGD's limit."""
    figure, axes = pyplot.subplots(2, 3, figsize=(11.4, 7.0), layout="constrained")
    by_qsgd, by_easgd, by_momentum, by_gain, by_ratio, by_limit = axes.flat
    sde, most = data["qsgd"].sel(refine=config.refine), config.k[-1]
    numbers, centers = list(config.agents), list(config.center_agents)
    for gain, color in zip((0.0, *config.k), theme.shades(len(config.k) + 1), strict=True):
        measured.plot_measured(by_qsgd, sde.sel(gain=gain), "n_agents", f"QSGD, $k={gain:g}$", color)
        measured.plot_formula(by_qsgd, numbers, qsgd_bound(config, data).sel(gain=gain), "", color)
    at = data.sel(k=most)
    beside = lambda values, factor: values.assign_coords(center_agents=values["center_agents"] * factor)
    measured.plot_measured(by_easgd, beside(at["easgd"], 0.9), "center_agents", r"mean $\bar x$", COLORS["easgd"])
    measured.plot_measured(by_easgd, beside(at["center"], 1.1), "center_agents", r"center $\tilde x$", theme.LOSS, "s")
    measured.plot_measured(by_easgd, at["both"], "center_agents", r"$(\bar x, \tilde x)$", "black", "D")
    measured.plot_formula(by_easgd, centers, easgd_bound(config, at), r"Thm 5.2, $(\bar x, \tilde x)$", "black")
    law = easgd_linearized(config, data).sel(point="easgd")
    measured.plot_formula(by_easgd, centers, law, r"linearized law of $\bar x$", COLORS["easgd"], ":")
    measured.plot_measured(by_momentum, at["momentum"], "n_agents", r"$(\bar x_1, \bar x_2)$", COLORS["momentum"], "^")
    measured.plot_formula(by_momentum, numbers, momentum_bound(config, at), "Thm 5.3", COLORS["momentum"])
    p, gains = numbers[-1], np.geomspace(config.k[0], most, 101)
    fine = xr.Dataset(coords={"n_agents": numbers, "center_agents": centers, "k": gains, "gain": gains})
    coupled = sde.sel(n_agents=p, gain=list(config.k)).rename(gain="k")
    one = {name: data[name].sel(n_agents=p) for name in ("rotated", "momentum")}
    one |= {"qsgd": coupled, "easgd": data["both"].isel(center_agents=-1)}
    forms = {"qsgd": qsgd_bound, "rotated": rotated_bound, "momentum": momentum_bound}
    lines = {name: form(config, fine).sel(n_agents=p) for name, form in forms.items()}
    lines["easgd"] = easgd_bound(config, fine).isel(center_agents=-1)
    names = {"qsgd": f"QSGD, $p={p}$", "rotated": f"QSGD, rotated, $p={p}$"}
    names |= {"easgd": f"EASGD, $p={centers[-1]}$", "momentum": f"with momentum, $p={p}$"}
    for (name, color), marker in zip(COLORS.items(), "oDs^", strict=True):
        measured.plot_measured(by_gain, one[name], "k", names[name], color, marker)
        measured.plot_formula(by_gain, gains, lines[name], "", color)
    ratios = {
        "qsgd": (numbers, qsgd_bound(config, data).sel(gain=most) / sde.sel(gain=most).mean("sim")),
        "rotated": (numbers, (rotated_bound(config, data) / data["rotated"].mean("sim")).sel(k=most)),
        "easgd": (centers, (easgd_bound(config, data) / data["both"].mean("sim")).sel(k=most)),
        "momentum": (numbers, (momentum_bound(config, data) / data["momentum"].mean("sim")).sel(k=most)),
    }
    words = {"qsgd": "QSGD, Thm 5.1", "rotated": "rotated, Thm 5.1"}
    words |= {"easgd": "EASGD, Thm 5.2", "momentum": "with momentum, Thm 5.3"}
    for (name, (x, y)), marker in zip(ratios.items(), "oDs^", strict=True):
        measured.plot_formula(by_ratio, x, y, words[name], COLORS[name], f"-{marker}")
    by_ratio.axhline(1, color="gray", lw=0.8, ls=":")
    limit = bounds.easgd_stability_limit(data["center_agents"], most, config.smoothness) * nominal(config, data)
    low, high = (data["limit"].sel(side=side) * nominal(config, data) for side in ("stable", "unstable"))
    by_limit.vlines(centers, low, high, lw=4, color=COLORS["easgd"], label="simulated: stable below, unstable above")
    measured.plot_formula(by_limit, centers, limit, "limit of its matrix", "black")
    by_limit.axhline(1, color="gray", lw=0.8, ls=":", label=r"$\eta\,(k(1+p)+L)=2$")
    error = "mean distance from the minimum [length]"
    for panel in (by_qsgd, by_easgd, by_momentum, by_gain):
        panel.set(yscale="log", ylabel=error)
    by_ratio.set(yscale="log", ylabel="bound / measured")
    by_limit.set(ylabel=r"limit of stability $\eta\,(k(1+p)+L)\,/\,2$")
    ticks = (numbers, centers, numbers, config.k, numbers, centers)
    titles = ("QSGD and Thm 5.1 (dashed)", f"EASGD, $k={most:g}$", f"with momentum, $k={most:g}$")
    titles += ("against gain, bounds dashed", f"looseness, $k={most:g}$", f"EASGD's iteration, $k={most:g}$")
    for i, (panel, title) in enumerate(zip(axes.flat, titles, strict=True)):
        theme.letter(panel, i, title)
        panel.set(xscale="log", xticks=ticks[i], xticklabels=[f"{tick:g}" for tick in ticks[i]])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("gain $k$ [1/time]" if panel is by_gain else "agents $p$")
        panel.legend(fontsize=7.5)
    figure.suptitle(
        rf"Distance from the minimum of a strongly convex loss ($\eta={config.eta:g}$, $\sigma={config.sigma:g}$, "
        rf"$d={config.dims}$): measured, with two standard errors, and bounds (BS 5)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
