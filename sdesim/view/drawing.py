"""A picture of labeled data, as chosen: a variable, along which dimensions, and where in all others."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import plot
from sdesim.asynchrony.tables import Timetable
from sdesim.plot import theme
from sdesim.plot.given import TIMES

MOST = 20_000_000  # numbers of a variable that are read to be drawn
SHOWN = 8  # lines, of a dimension that is shown as lines
LEARNED = ("loss", "accuracy")
JOBS = 12  # of each worker, that a timetable shows at first


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is drawn.

    Attributes:
        name: of the variable; of what has a mean and an error over simulations, without "_mean".
        x: the dimension along the horizontal axis.
        y: a second dimension, None for none.
        as_map: whether colors show both; else there is a line for each value of `y`.
        log: whether the values are on a logarithmic scale.
        at: places in the other dimensions, the first where they are not named.
    """

    name: str
    x: str
    y: str | None = None
    as_map: bool = False
    log: bool = False
    at: Mapping[str, int] = dataclasses.field(default_factory=dict)


def names(data: xr.Dataset) -> list[str]:
    """What can be drawn of data: variables of numbers, and what has a mean and an error.

    Args:
        data: of a file or a store.

    Returns:
        Names, in the order of the data.
    """
    found = {}
    for name, v in data.data_vars.items():
        text = str(name)
        base = text.removesuffix("_mean")
        both = base != text and f"{base}_stderr" in data
        if v.dtype.kind in "fiub" and dims(data, text) and v.size <= MOST and not _is_error(data, text):
            found[base if both else text] = None
    return list(found)


def _is_error(data: xr.Dataset, name: str) -> bool:
    return name.endswith("_stderr") and f"{name.removesuffix('_stderr')}_mean" in data


def dims(data: xr.Dataset, name: str) -> list[str]:
    """The dimensions along which a variable can be drawn: those with more than one place, but simulations.

    Args:
        data: that it is of.
        name: as `names` has it.

    Returns:
        Their names, times first.
    """
    values = data[name if name in data else f"{name}_mean"]
    found = [str(d) for d in values.dims if values.sizes[d] > 1 and d != "sim"]
    return sorted(found, key=lambda d: d not in TIMES)


def first(data: xr.Dataset, name: str | None = None) -> Choice | None:
    """A choice to begin with: values over time as lines, over two swept numbers as a map.

    Args:
        data: of a file or a store.
        name: of the variable; the first by default.

    Returns:
        The choice; None where there is nothing to draw.
    """
    known = names(data)
    if not known:
        return None
    name = known[0] if name is None else name
    x, *rest = dims(data, name)
    return Choice(name, x, rest[0] if rest else None, as_map=bool(rest) and x not in TIMES)


def draw(data: xr.Dataset, choice: Choice) -> bytes:
    """The picture.

    Args:
        data: of a file or a store.
        choice: what is drawn of it.

    Returns:
        A PNG file.

    Raises:
        ValueError: where it cannot be drawn, in words.
    """
    others = [d for d in data.dims if d not in (choice.x, choice.y, "sim")]
    here = data.isel({d: choice.at.get(str(d), 0) for d in others})
    if choice.y is not None and not choice.as_map and (many := here.sizes.get(choice.y, 1)) > SHOWN:
        here = here.isel({choice.y: np.unique(np.linspace(0, many - 1, SHOWN).round().astype(int))})
    with _drawn() as axes:
        if choice.y is not None and choice.as_map:
            plot.heat_map(here, choice.name, x=choice.x, y=choice.y, log=choice.log, ax=axes)
        else:
            line = plot.band if choice.x in TIMES else plot.points
            line(here, choice.name, over=choice.x, ax=axes)
            if choice.y is not None:
                axes.legend(fontsize="small")
            if choice.log:
                axes.set_yscale("log")
        return _png(axes)


def draw_history(data: xr.Dataset, what: str) -> bytes:
    """Learning curves.

    Args:
        data: of a training.
        what: "loss" or "accuracy".

    Returns:
        A PNG file.

    Raises:
        ValueError: where it cannot be drawn, in words.
    """
    with _drawn() as axes:
        plot.learning_curves(data, what, ax=axes)
        theme.legend_above(axes)
        return _png(axes)


def draw_timetable(table: Timetable, sim: int, window: tuple[float, float]) -> bytes:
    """Who computed when.

    Args:
        table: the timetable.
        sim: the simulation.
        window: from when to when, in seconds.

    Returns:
        A PNG file.

    Raises:
        ValueError: where it cannot be drawn, in words.
    """
    with _drawn() as axes:
        plot.timeline(table, sim=sim, window=window, ax=axes)
        theme.legend_above(axes)
        return _png(axes)


def beginning(table: Timetable) -> tuple[float, float]:
    """A window of a timetable to begin with, of some jobs of each worker.

    Args:
        table: the timetable.

    Returns:
        From when to when, in seconds.
    """
    last = float(table.time.max())
    share = JOBS * table.workers / max(table.time.shape[1], 1)
    return 0.0, last * min(1.0, share)


@contextlib.contextmanager
def _drawn() -> Iterator[Axes]:
    """Axes to draw into, which are nobody's else and gone afterwards; threads may draw at a time."""
    with plot.looks():
        yield Figure(figsize=(6.4, 4.2), layout="constrained").add_subplot()


def _png(axes: Axes) -> bytes:
    blob = io.BytesIO()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(blob, format="png", dpi=130)
    return blob.getvalue()
