"""The picture of y-schedule."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.papers.yu.schedule.claims import (
    exact_unequal,
    fluid_barrier,
    fluid_threshold,
    fluid_unequal,
    rate,
    unequal_rate,
)
from sdesim.papers.yu.schedule.config import LAWS, Config
from sdesim.plot import theme
from sdesim.statistics import jackknife

COLORS = {"exponential": theme.SMOOTHED, "gamma": theme.OTHER}
"""Of each law of compute times."""


def _points(
    panel: Axes, x: tuple[int, ...], each: list[xr.DataArray], of: Callable[..., float], law: str, label: str
) -> None:
    """Rates with two standard errors."""
    found = [of(values) for values in each]
    error = lambda values: 2 * jackknife(lambda kept: of(values.isel(sim=kept)), values.sizes["sim"])[0]
    errors = [error(values) for values in each]
    panel.errorbar(x, found, yerr=errors, fmt="o", ms=4, lw=1.0, capsize=2.0, color=COLORS[law], zorder=3, label=label)


def _name(config: Config, law: str) -> str:
    return f"gamma({config.shape:g})" if law == "gamma" else law


def _unequal(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against the number of activated workers."""
    whole = np.arange(1, config.means.size + 1)
    exact = [exact_unequal(config, int(n)) for n in whole]
    panel.plot(whole, exact, color=COLORS["exponential"], lw=1.3, label="exponential, exact")
    for law in LAWS:
        fluid = [fluid_unequal(config, law, int(n)) for n in whole]
        panel.plot(whole, fluid, "--", color=COLORS[law], lw=1.2, label=f"{_name(config, law)}, roots")
        each = [data["unequal"].sel(law=law, active=n) for n in config.active]
        _points(panel, config.active, each, lambda v: unequal_rate(config, v), law, f"{_name(config, law)}, simulated")
    panel.axvspan(0, config.fast + 0.5, color="0.93", zorder=0)
    panel.text(config.fast + 0.3, 0.01, "fast", ha="right", color="0.4", fontsize=8.5)
    panel.text(config.fast + 0.9, 0.01, f"slow, {config.slowness:g} $m$", color="0.4", fontsize=8.5)
    panel.set(xlim=(0, whole[-1] + 1), ylim=(0, None), xlabel="activated workers, the fastest first")
    panel.set_ylabel("decay rate of $E\\,c$  $(1/m)$")
    panel.legend(fontsize=8, loc="upper right")


def _threshold(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against the threshold of staleness; all use everything at the last."""
    shown = config.thresholds[:-1]
    fine = np.geomspace(shown[0], 2.5 * config.workers, 50)
    for law in LAWS:
        fluid = [fluid_threshold(config, law, float(most)) for most in fine]
        panel.plot(fine, fluid, "--", color=COLORS[law], lw=1.2, label=f"{_name(config, law)}, roots")
        of = lambda v: rate(config, v)
        each = [data["stale"].sel(law=law, threshold=most) for most in shown]
        _points(panel, shown, each, of, law, f"{_name(config, law)}, simulated")
        none = of(data["stale"].sel(law=law, threshold=config.thresholds[-1]))
        panel.axhline(none, color=COLORS[law], lw=1.0, ls=":", label=f"{_name(config, law)}, none discarded")
    panel.set(xscale="log", xlabel="threshold on the staleness $R$", ylabel="decay rate of $E\\,c$  $(1/m)$")
    ticks = [n for n in (2, 4, 8, 16, 32, 64, 128) if fine[0] <= n <= fine[-1]]
    panel.set_xticks(ticks, [f"{n}" for n in ticks], minor=False)
    panel.minorticks_off()
    panel.set_ylim(top=3.6)
    panel.legend(fontsize=8, loc="upper left")


def _barrier(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Against the number of gradients that are waited for."""
    fine = np.geomspace(1, 1.3 * config.barriers[-1], 120)
    label = f"{_name(config, 'gamma')}, roots at $\\eta/K$"
    panel.plot(fine, [fluid_barrier(config, k) for k in fine], "--", color=COLORS["gamma"], lw=1.2, label=label)
    each = [data["waited"].sel(barrier=k) for k in config.barriers]
    _points(panel, config.barriers, each, lambda v: rate(config, v), "gamma", f"{_name(config, 'gamma')}, simulated")
    panel.axhline(0, color="0.6", lw=0.8)
    panel.set(xscale="log", xlabel="gradients that are waited for $K$", ylabel="decay rate of $E\\,c$  $(1/m)$")
    panel.set_xticks(config.barriers, [f"{k}" for k in config.barriers])
    panel.minorticks_off()
    panel.legend(fontsize=8, loc="upper left")


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(1, 3, figsize=(13.6, 4.4), layout="constrained")
    _unequal(axes[0], config, data)
    _threshold(axes[1], config, data)
    _barrier(axes[2], config, data)
    titles = (
        f"which workers: {config.fast} fast, {config.slow} slow",
        f"how stale: {config.workers} workers, stale discarded",
        f"how many are waited for: {config.workers} workers",
    )
    for i, title in enumerate(titles):
        theme.letter(axes[i], i, title)
    title = "Schedules of AsyncSGD on a quadratic (after Yu, Chen & Poor)"
    figure.suptitle(f"{title}, $\\eta h={config.a:g}$, compute times of mean $m$", fontsize=10.5)
    pyplot.close(figure)
    return figure
