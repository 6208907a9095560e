"""The picture of y-workers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sdesim.papers.frame import measured
from sdesim.papers.yu.workers.claims import exact_loss, mean_rate, race_time, square_rate
from sdesim.papers.yu.workers.config import Config
from sdesim.plot import theme
from sdesim.statistics import jackknife
from sdesim.theory import staleness

COLORS = {"exponential": theme.SMOOTHED, "gamma": theme.OTHER, "equal": theme.QUORUM}
"""Of each law of compute times."""


def _name(config: Config, law: str) -> str:
    return f"gamma({config.shape:g})" if law == "gamma" else law


def _error(statistic: Callable[[Any], float], values: xr.DataArray | xr.Dataset) -> float:
    """Two standard errors of a statistic of simulations."""
    return 2 * jackknife(lambda kept: statistic(values.isel(sim=kept)), values.sizes["sim"])[0]


def _points(panel: Axes, p: Any, rates: Any, errors: Any, color: str, marker: str, label: str = "") -> None:
    style: dict[str, Any] = dict(fmt=marker, ms=4, lw=1.0, capsize=2.0, zorder=3)
    panel.errorbar(p, rates, yerr=errors, color=color, label=label, **style)


def _mean(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Rates of the mean for the three laws."""
    a = config.a
    many = np.geomspace(1, 1.2 * config.exponential[-1], 300)
    whole = np.unique(np.geomspace(1, 1.2 * config.exponential[-1], 120).astype(int))
    lines = {
        "exponential": (many, staleness.mean_rate(many, a), "exact"),
        "gamma": (many, [-staleness.delay_root(p * a, 1.0, config.shape).real for p in many], "fluid limit"),
        "equal": (whole, [staleness.regular_rate(int(p), a) for p in whole], "exact"),
    }
    for law, (p, rates, words) in lines.items():
        dashes = "--" if law == "gamma" else "-"
        panel.plot(p, rates, dashes, color=COLORS[law], lw=1.3, label=f"{_name(config, law)}, {words}")
    fresh = many[many < 0.6 / a]
    panel.plot(fresh, -fresh * np.log1p(-a), ":", color="0.4", lw=1.2, label="no staleness")
    rate = lambda v: mean_rate(config, v)
    for law, workers, values, marker in (
        ("exponential", config.exponential, data["memoryless"].rename(many="p"), "o"),
        ("gamma", config.gamma, data["gamma"].rename(gamma_workers="p"), "s"),
    ):
        each = [values.sel(p=p) for p in workers]
        _points(panel, workers, [rate(v) for v in each], [_error(rate, v) for v in each], COLORS[law], marker)
    found = [mean_rate(config, data["regular"].sel(equal_workers=p)) for p in config.equal]
    panel.plot(config.equal, found, "D", ms=3.5, color=COLORS["equal"], zorder=3)
    panel.axhline(0, color="0.6", lw=0.8)
    saturation = staleness.saturation(a)
    panel.axvline(saturation, color="0.6", lw=0.9, ls=":")
    panel.text(saturation * 0.93, 1.15, "$p^*$", ha="right", color="0.4")
    panel.set(xscale="log", ylim=(-1.0, 1.3), xlabel="workers $p$", ylabel="decay rate of $E\\,c$  $(1/m)$")
    panel.legend(loc="lower left", fontsize=7.5)


def _square(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Rates of the mean square for exponential times, with that of the square of the mean."""
    a, color = config.a, COLORS["exponential"]
    whole = np.unique(np.geomspace(1, 1.6 * config.crowd[-1], 120).astype(int))
    panel.plot(whole, [staleness.square_rate(int(p), a) for p in whole], color=color, lw=1.3, label="$E\\,c^2$, exact")
    panel.plot(whole, 2 * staleness.mean_rate(whole, a), "--", color="0.5", lw=1.2, label="$(E\\,c)^2$, exact")
    each = [data["memoryless"].sel(many=p) for p in config.many]
    rate = lambda v: square_rate(config, v)
    errors = [_error(rate, v) for v in each]
    _points(panel, config.many, [rate(v) for v in each], errors, color, "o", "$E\\,c^2$, simulated")
    limit = staleness.mean_square_limit(a)
    panel.axhline(0, color="0.6", lw=0.8)
    panel.axvline(limit, color="0.6", lw=0.9, ls=":")
    panel.text(limit * 0.9, 1.15, "$(2+a)/a^2$", ha="right", color="0.4", fontsize=8)
    panel.set(xscale="log", ylim=(-0.45, 1.3), xlabel="workers $p$", ylabel="decay rate  $(1/m)$")
    panel.legend(loc="lower left", fontsize=8)


def _race(panel: Axes, config: Config, data: xr.Dataset) -> None:
    """Time to the level for the three laws, and where exponential and equal workers do not come to it."""
    times = np.concatenate([[0.0], config.moments(config.race)])
    most = 4 * config.exponential[-1]
    whole = np.unique([*range(1, 33), *np.geomspace(32, most, 40).astype(int)])
    for law, workers, marker in (
        ("exponential", config.exponential, "o"),
        ("gamma", config.gamma, "s"),
        ("equal", config.equal, "D"),
    ):
        losses = data[[f"{law}_loss", "race"]]
        found = {p: race_time(config, losses, law, p) for p in workers}
        reached = [p for p, t in found.items() if np.isfinite(t)]
        errors = [_error(lambda d, law=law, p=p: race_time(config, d, law, p), losses) for p in reached]
        label = f"{_name(config, law)}, simulated"
        _points(panel, reached, [found[p] for p in reached], errors, COLORS[law], marker, label)
        if law != "gamma":
            exact = [measured.settled(times, exact_loss(config, law, int(p), times), config.level) for p in whole]
            panel.plot(whole, exact, color=COLORS[law], lw=1.2, label=f"{law}, exact")
    floor = lambda p: staleness.moment_path(p, config.a, [1e5], config.noise)[-1, 0]
    below = [p for p in range(1, int(staleness.mean_square_limit(config.a))) if floor(p) < config.level]
    style: dict[str, Any] = dict(rotation=90, ha="right", va="bottom", fontsize=8)
    for p, law, words in ((below[-1], "exponential", "noise floor at the level"), (config.limit, "equal", "diverges")):
        panel.axvline(p + 0.5, color=COLORS[law], lw=0.9, ls=":")
        panel.text(p * 0.97, 2.1, words, color=COLORS[law], **style)
    panel.set(xscale="log", yscale="log", xlabel="workers $p$", ylabel=f"time to {config.level:g} of the loss  $(m)$")
    panel.set_ylim(1.6, config.race)
    ticks = [t for t in (2, 5, 10, 20, 50) if t <= config.race]
    panel.set_yticks(ticks, [f"{t}" for t in ticks])
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.legend(loc="lower left", fontsize=7.5)


def _plane(panel: Axes, config: Config) -> None:
    """The mean-square rate over p and a, for exponential times, with the best p and the limits."""
    p = np.unique(np.geomspace(1, 2000, 90).astype(int))
    a = np.geomspace(0.005, 1.0, 70)
    rates = np.array([[staleness.square_rate(int(n), x) for n in p] for x in a])
    shown = np.ma.masked_less(rates, 0)
    image = panel.pcolormesh(p, a, shown, shading="nearest", cmap="viridis", vmin=0, rasterized=True)
    panel.set_facecolor("0.85")
    best = [int(p[np.argmax(row)]) for row in rates]
    panel.plot(best, a, color="white", lw=1.8, label="best $p$, of $E\\,c^2$")
    panel.plot([staleness.saturation(x) for x in a], a, "--", color="white", lw=1.2, label="$p^*$, of $E\\,c$")
    panel.axhline(config.a, color="white", lw=0.7, ls=":")
    panel.text(1.1, config.a * 1.08, "(a) to (c)", color="white", fontsize=7.5)
    panel.text(0.97, 0.93, "diverges", color="0.35", transform=panel.transAxes, ha="right", fontsize=9)
    panel.set(xscale="log", yscale="log", xlim=(p[0], p[-1]), ylim=(a[0], a[-1]))
    panel.set(xlabel="workers $p$", ylabel="learning rate $a=\\eta h$")
    panel.legend(loc="lower left", fontsize=8, labelcolor="white")
    panel.figure.colorbar(image, ax=panel, label="decay rate of $E\\,c^2$, exponential  $(1/m)$")


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(10.4, 7.6), layout="constrained")
    _mean(axes[0, 0], config, data)
    _square(axes[0, 1], config, data)
    _race(axes[1, 0], config, data)
    _plane(axes[1, 1], config)
    titles = (
        "the mean: saturation, or a best number and a limit",
        "exponential times: the mean square turns and diverges",
        "time to a loss level, with gradient noise",
        "the mean square over workers and learning rates",
    )
    for i, title in enumerate(titles):
        theme.letter(axes.flat[i], i, title)
    title = "AsyncSGD on a quadratic (after Yu, Chen & Poor)"
    figure.suptitle(f"{title}, $a=\\eta h={config.a:g}$, compute times of mean $m$", fontsize=10.5)
    pyplot.close(figure)
    return figure
