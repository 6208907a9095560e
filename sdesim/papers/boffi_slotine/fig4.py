"""bs-fig4: loss of the quorum in d dimensions for eleven coupling gains, and the loss it descends (BS Fig. 4).

Command: sdesim figure bs-fig4. One run feeds Figures 4, 5 and 6. All constants are chosen [C].
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim.claims import Condition, Statement, at_least, at_most
from sdesim.papers.boffi_slotine import high_dimensional as high
from sdesim.papers.boffi_slotine.high_dimensional import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.plot import band, theme
from sdesim.statistics import least

# Places of the gains in the configuration, by what the paper says of them.
NONE, SMALL, LITTLE, GOOD, BEST, WORSE, SIMILAR, HIGH, HIGHER, HIGHEST, LAST = range(high.GAINS)


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return high.run(config, progress)[["quorum_loss", "diverged"]]


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure = pyplot.figure(figsize=(9.6, 6.2), layout="constrained")
    panels = figure.subplot_mosaic([["a", "c"], ["b", "c"]], width_ratios=[1, 1.65])
    for name, title, smoothed in (("a", "loss", False), ("b", "smoothed loss", True)):
        grid, values = high.section(config, smoothed=smoothed)
        filled = high.draw_section(panels[name], grid, values, 14, cmap="viridis")
        panels[name].set(xlabel="$x_1$", ylabel="$x_2$")
        theme.letter(panels[name], "abc".index(name), f"{title}, other $x_i = {config.rest:.3f}$")
        figure.colorbar(filled, ax=panels[name], label="above its least value")
    _draw_losses(panels["c"], data)
    figure.legend(*panels["c"].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    theme.letter(panels["c"], 2, f"loss of the quorum, {data.sizes['sim']} simulations, ± 2 standard errors")
    figure.suptitle(
        f"QSGD with Nesterov momentum in {config.dims} dimensions, {config.agents} agents (Boffi & Slotine, Fig. 4)",
        fontsize=10.5,
    )
    pyplot.close(figure)  # kept by its reference alone, so that no window opens and none is leaked
    return figure


def _draw_losses(axes: Axes, data: xr.Dataset) -> None:
    """One curve a gain with its Monte Carlo band; the best gain stands out."""
    loss = data["quorum_loss"]
    for i, (k, color) in enumerate(zip(loss["k"].values, theme.shades(loss.sizes["k"]), strict=True)):
        style: dict[str, Any] = dict(color=color, lw=2.4 if i == BEST else 1.2, label=f"$k = {k:g}$")
        band(loss.isel(k=i), ax=axes, **style)
    axes.set(xlabel="iteration", ylabel=r"$f(\bar x)\,/\,d$", xlim=(0, loss["step"].values[-1]))


def statements(config: Config) -> list[Statement]:
    k = config.k

    def end(runs: Runs, gain: int) -> np.ndarray:
        """The last loss of each simulation, (sims,)."""
        return runs.data["quorum_loss"].isel(k=gain, step=-1).values.astype(float)

    def above(id: str, words: str, high_gain: int, low_gain: int, needs: Condition, note: str = "") -> Statement:
        """How far the loss of one gain lies above that of another."""
        difference = lambda runs: end(runs, high_gain) - end(runs, low_gain)
        text = f"{words} (loss of k = {k[high_gain]:g} less that of k = {k[low_gain]:g})"
        return Statement(id, text, difference, needs, note)

    def least_low(runs: Runs) -> float:
        return least([end(runs, NONE).mean(), end(runs, SMALL).mean()]) - end(runs, BEST).mean()

    def margin(runs: Runs) -> float:
        return least([end(runs, i).mean() for i in range(high.GAINS) if i != BEST]) - end(runs, BEST).mean()

    return [
        Statement(
            "4c-small-gains-fail",
            f"small gains do not minimize the loss (least loss of k = {k[NONE]:g} and {k[SMALL]:g} less the best)",
            least_low,
            at_least(0.6, smoke=0.6),
        ),
        above("4c-more-helps", "more coupling improves it", SMALL, LITTLE, at_least(0.25, smoke=0.15)),
        above("4c-still-too-little", "and is still too little", LITTLE, GOOD, at_least(0.25, smoke=0.2)),
        above("4c-best-beats-good", "the best gain beats the next smaller", GOOD, BEST, at_least(0.05, smoke=0.02)),
        Statement(
            "4c-optimum",
            f"k = {k[BEST]:g} is the best gain (least loss of all others less its own) [of this number of steps and of "
            "agents: other numbers move the optimum]",
            margin,
            at_least(0.015),
        ),
        above("4c-beyond-optimum", "a gain just beyond it performs worse", WORSE, BEST, at_least(0.015)),
        Statement(
            "4c-similar",
            f"beyond the optimum there is a gain as good as one below it (|loss of k = {k[SIMILAR]:g} less that of "
            f"k = {k[GOOD]:g}|)",
            lambda runs: abs(float(end(runs, SIMILAR).mean() - end(runs, GOOD).mean())),
            at_most(0.1),
        ),
        above("4c-deteriorates-1", "larger gains do worse and worse", HIGH, SIMILAR, at_least(0.03)),
        above("4c-deteriorates-2", "larger gains do worse and worse", HIGHER, HIGH, at_least(0.15)),
        above("4c-deteriorates-3", "larger gains do worse and worse", HIGHEST, HIGHER, at_least(0.04)),
        above("4c-stays-bad", "the largest gain is far from the best", LAST, BEST, at_least(0.5, smoke=0.4)),
        above(
            "4c-falls-at-first",
            "the smallest gain is better than none",
            NONE,
            SMALL,
            at_least(0.0),
            note="the paper calls both unsuccessful: without coupling the quorum is a mean of spread agents near 0",
        ),
        above(
            "4c-rises-to-the-end",
            "the largest gain is the worst of the large ones",
            LAST,
            HIGHEST,
            at_least(0.0),
            note="the quorum is at its start in both",
        ),
    ]


EXPERIMENT = Experiment(
    "bs-fig4",
    "Boffi & Slotine, Fig. 4: loss of the quorum in many dimensions for eleven coupling gains",
    "Smoothing makes a complex loss simple. With little coupling agents are too spread out for their mean to have a "
    "low loss, with too much they cannot explore, and one gain between is the best.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
