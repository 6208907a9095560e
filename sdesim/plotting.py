"""Shared looks of the figures: what `sdesim.plot.theme` says, and what densities are drawn of."""

from typing import Any

from matplotlib.axes import Axes

from sdesim.asynchrony import Timetable
from sdesim.plot import timelines
from sdesim.plot.landscapes import unit_range
from sdesim.plot.theme import AGENTS, LOSS, QUORUM, SMOOTHED, letter, looks, save
from sdesim.statistics import kernel_density as density
from sdesim.statistics import silverman

__all__ = ["AGENTS", "LOSS", "QUORUM", "SMOOTHED", "density", "letter", "looks", "save", "silverman", "unit_range"]


def timeline(axes: Axes, table: Timetable, **options: Any) -> None:
    """Into axes: `sdesim.plot.timeline`.

    Args:
        axes: where to draw.
        table: the timetable.
        **options: of `sdesim.plot.timeline`.
    """
    timelines.timeline(table, ax=axes, **options)
