"""When methods get to a level of test error by the clock, and the picture of it (Z Fig. 4.14, 4.15)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim.claims import Statement, at_most
from sdesim.papers.frame.measured import Runs
from sdesim.papers.zhang.chapter4 import MethodArm, Methods, errors
from sdesim.papers.zhang.chapter4.claims import chosen
from sdesim.papers.zhang.chapter4.picture import COLORS
from sdesim.plot import theme
from sdesim.statistics import greatest

ByWorkers = Mapping[str, Mapping[int, Sequence[MethodArm]]]
"""Arms by the method, and by the number of its workers."""


def apart(by_workers: ByWorkers) -> Methods:
    """Each number of workers of a method by itself.

    Args:
        by_workers: the arms.
    """
    return {f"{name}, p = {p}": list(arms) for name, of in by_workers.items() for p, arms in of.items()}


def time_to(data: xr.Dataset, arms: Sequence[MethodArm], level: float, seconds: float) -> float:
    """When the mean test error of a method over runs is at a level for the first time, along straight lines.

    Args:
        data: as the experiment's `run` returns it.
        arms: of one method, at its learning rates.
        level: test error in percent.
        seconds: between two moments.

    Returns:
        Seconds; infinity if it never is.
    """
    found = errors(data, chosen(data, arms)).mean(axis=1)
    there = np.flatnonzero(found <= level)
    if not there.size:
        return np.inf
    i = int(there[0])
    if i == 0:
        return 0.0
    return seconds * float(i - 1 + (found[i - 1] - level) / (found[i - 1] - found[i]))


def behind(
    data: xr.Dataset, arms: Sequence[MethodArm], others: Mapping[str, Sequence[MethodArm]], config: Any
) -> list[float]:
    """How many times the least time of other methods a method takes to each level that any of them gets to.

    A method that never gets there takes one epoch more than was trained. Levels below which all start are left out.

    Args:
        data: as the experiment's `run` returns it.
        arms: of the method, at its learning rates.
        others: the arms of those that it is set beside.
        config: constants of the experiment, of which `levels` and `seconds` are asked.

    Returns:
        A number for each of those levels, below 1 where the method is the first.
    """
    found, never = [], data.sizes["epoch"] * config.seconds
    for level in config.levels:
        own, *theirs = (min(time_to(data, of, level, config.seconds), never) for of in (arms, *others.values()))
        if 0 < min(own, *theirs) < never:
            found.append(own / min(theirs))
    return found


def fastest(id: str, statement: str, of: str, others: Sequence[str], by_workers: ByWorkers, config: Any) -> Statement:
    """A method is the first at every level, with each number of its workers.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        of: name of the method.
        others: the names of those that it is set beside, with as many workers.
        by_workers: the arms.
        config: constants of the experiment, of which `levels` and `seconds` are asked.
    """

    def worst(runs: Runs) -> float:
        beside = lambda p: {name: by_workers[name][p] for name in others}
        return slowest([q for p, arms in by_workers[of].items() for q in behind(runs.data, arms, beside(p), config)])

    return Statement(id, f"{statement} (its time over the least of the others', greatest)", worst, at_most(1.0))


def slowest(ratios: Sequence[float]) -> float:
    """The greatest of what `behind` finds; NaN, of which a claim fails, where nobody gets to any level.

    Args:
        ratios: of a method, or of several.
    """
    return greatest(ratios) if ratios else np.nan


def bars(config: Any, data: xr.Dataset, title: str, by_workers: ByWorkers) -> Figure:
    """A panel for each level, in which a bar is the time to it; one that is missing keeps its place.

    Args:
        config: constants of the experiment, of which `levels` and `seconds` are asked.
        data: as the experiment's `run` returns it.
        title: of the picture.
        by_workers: the arms, of which MSGD's stands by itself.
    """
    figure, axes = pyplot.subplots(
        1, len(config.levels), figsize=(12.0, 3.8), sharey=True, layout="constrained", squeeze=False
    )
    numbers = sorted({p for of in by_workers.values() for p in of})
    parallel = [name for name in by_workers if name != "MSGD"]
    width = 0.8 / len(parallel)
    for i, (panel, level) in enumerate(zip(axes[0], config.levels, strict=True)):
        for name, of in by_workers.items():
            times = [time_to(data, of[p], level, config.seconds) if p in of else np.nan for p in numbers]
            aside = (parallel.index(name) - (len(parallel) - 1) / 2) * width if name in parallel else 0.0
            shown = np.where(np.isfinite(times), times, np.nan)
            hatch = None if name in parallel else "//"
            panel.bar(np.arange(len(numbers)) + aside, shown, width, color=COLORS[name], label=name, hatch=hatch)
        panel.set_xticks(np.arange(len(numbers)), [str(p) for p in numbers])
        panel.set_xlim(-0.6, len(numbers) - 0.4)
        panel.set_xlabel("workers p")
        theme.letter(panel, i, f"test error {level:g} %")
    axes[0, 0].set_ylabel("virtual time (s)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(title, fontsize=10.5)
    pyplot.close(figure)
    return figure
