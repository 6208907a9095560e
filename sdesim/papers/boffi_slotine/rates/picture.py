"""The picture of bs-rates."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim.papers.boffi_slotine.rates.config import Config
from sdesim.papers.boffi_slotine.rates.run import exact
from sdesim.papers.frame import measured
from sdesim.plot import theme

POPULATIONS = {
    "equal": ("all at the mean rate", theme.AGENTS),
    "fine": ("all at the small rate", theme.OTHER),
    "noise": ("explorers, common drift", theme.SMOOTHED),
    "iteration": ("explorers, own steps", theme.QUORUM),
    "moving": ("explorers, own steps, one moving rate", theme.LOSS),
}
"""What each population is called in pictures, and its color."""


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.0), layout="constrained")
    k = np.geomspace(min(config.k), max(config.k), 40)
    level, widest = np.mean(config.rates(0.0) / config.batch) * config.sigma**2, config.contrast[-1]
    scales = {"spread": (config.agents - 1) * level, "quorum": level / config.agents}
    kinds = [
        ("noise", 0, "equal rates", "equal", "s"),
        ("noise", -1, rf"$\eta(1\pm{widest:g})$, common drift", "noise", "o"),
        ("iteration", -1, rf"$\eta(1\pm{widest:g})$, own steps", "iteration", "o"),
    ]
    for panel, (i, (name, scale)) in zip(axes[0], enumerate(scales.items()), strict=True):
        for model, place, label, look, marker in kinds:
            color = POPULATIONS[look][1]
            law = [exact(config, model, config.contrast[place], gain)[i] / scale for gain in k]
            measured.plot_formula(panel, k, law, "", color)
            values = data[f"quadratic_{model}_{name}"].isel(contrast=place) / scale
            # equal rates and a common drift lie on each other: shift the former's points a little
            shifted = values.assign_coords(k=values["k"] * (0.95 if look == "equal" else 1.0))
            measured.plot_measured(panel, shifted, "k", label, color, marker)
        panel.plot([], [], "k--", lw=1.2, label="exact")
        panel.set(xscale="log", xlabel="gain $k$")
    measured.plot_formula(axes[0, 0], k, 0.5 / (k + config.curvature), r"(22), $dt\to0$", "k", "-")
    for panel in axes[0]:
        panel.legend(fontsize=8)
    axes[0, 0].set(yscale="log", ylabel=r"$E\sum_i(x^i-\bar x)^2\,/\,(p-1)\langle\eta_i/b_i\rangle C$")
    axes[0, 1].set_ylabel(r"$\mathrm{Var}\,\bar x\,/\,(\langle\eta_i/b_i\rangle C/p)$")
    axes[0, 1].set_ylim(0, 1.5 * axes[0, 1].get_ylim()[1])
    theme.letter(axes[0, 0], 0, "spread on a quadratic")
    theme.letter(axes[0, 1], 1, "noise of the quorum on a quadratic")
    titles = {
        "quorum_share": "quorum at the deepest smoothed minimum",
        "fine_share": "agents there: those of small rate, or of equal rates",
    }
    for panel, (i, (name, title)) in zip(axes[1], enumerate(titles.items(), 2), strict=True):
        for population, (label, color) in POPULATIONS.items():
            share = data[name].sel(population=population)
            measured.plot_measured(panel, share, "gain", label, color)
            panel.plot(share["gain"], share.mean("sim"), color=color, lw=1.0)
        panel.set(xscale="log", ylim=(-0.03, 1.05), xlabel="gain $k$", ylabel="share within 0.4")
        theme.letter(panel, i, title)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("QSGD with different learning rates (Boffi & Slotine, section 3.4)", fontsize=10.5)
    pyplot.close(figure)
    return figure
