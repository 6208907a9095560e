"""The picture of bs-weak."""

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim.papers.boffi_slotine.weak.claims import ORDERS, order
from sdesim.papers.boffi_slotine.weak.config import MODELS, RULES, Config
from sdesim.papers.frame import measured
from sdesim.plot import theme


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure = pyplot.figure(figsize=(2.0 + 3.3 * len(config.rules), 3.9), layout="constrained")
    panels = figure.subplots(1, len(config.rules), sharex=True, sharey=True, squeeze=False)[0]
    colors = {"first": theme.AGENTS, "loss": theme.LOSS, "second": theme.SMOOTHED}
    markers = {"first": "o", "loss": "s", "second": "^"}
    for i, (panel, rule) in enumerate(zip(panels, config.rules, strict=True)):
        for model, label in MODELS.items():
            error = data["error"].sel(rule=rule, model=model)
            size = error * np.sign(error.mean("sim"))
            text = rf"{label}: $\eta^{{{order(error):.2f}}}$"
            measured.plot_measured(panel, size, "eta", text, colors[model], markers[model])
            eta = np.geomspace(*np.sort(data["eta"].values)[[0, -1]])
            power = eta ** ORDERS[model]
            power *= float(size.mean("sim")[-1]) / (data["eta"].values[-1] ** ORDERS[model])
            name = {"first": r"slope 1", "second": r"slope 2"}.get(model, "_")
            measured.plot_formula(panel, eta, power, name, colors[model], ":" if model == "second" else "--")
        panel.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$")
        panel.legend(fontsize=8)
        panel.set_xticks(data["eta"].values, [f"{eta:.3g}" for eta in data["eta"].values])
        panel.set_xticks([], minor=True)
        theme.letter(panel, i, f"{RULES[rule]}, $k = {config.k:g}$")
    panels[0].set_ylabel(r"weak error $|\mathrm{E}\,\phi_{SDE} - \mathrm{E}\,\phi_{SGD}|$")
    figure.suptitle(
        rf"Weak error of the SDE models, $\phi = (x^1)^2 + \tilde x^2$ at $t = {config.time:g}$ (Boffi & Slotine, 2.3)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure
