"""The look of all pictures, in one place: colors, style, ticks of logarithmic axes, and how a picture is written."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, Locator, LogFormatter, MaxNLocator, NullFormatter, NullLocator

from sdesim.fields import check_count, shown
from sdesim.results.files import replacing

LOSS = "#f28e2b"  # true loss: orange, as in the paper
SMOOTHED = "#1f77b4"  # smoothed loss: blue
AGENTS = "#7f7f7f"
QUORUM = "#b2182b"
OTHER = "#56b4e9"  # sky: what is none of these

PALETTE = ("#0072b2", "#e69f00", "#b2182b", "#56b4e9", "#000000", "#cc79a7")
"""Of lines that have no order: told apart also by who does not see red, or green, or blue."""
STYLES = ("-", "--", "-.", ":")
"""Of lines beyond the palette: the colors again, dashed."""
SHADES = "viridis"
"""The color map of what has an order: lightness alone tells it."""
LAND = "GnBu_r"
"""The color map below agents, pale enough for points to be seen on it."""

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=PALETTE),
    "image.cmap": SHADES,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "mathtext.fontset": "cm",
}


@contextmanager
def looks() -> Iterator[None]:
    """The style of all figures, without touching the user's own settings."""
    with matplotlib.style.context("default"), matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]
        yield


@contextmanager
def panel(ax: Axes | None, size: tuple[float, float] = (5.2, 3.6)) -> Iterator[Axes]:
    """Where to draw: into a user's axes, in the user's style, or into a new figure in ours.

    Args:
        ax: the user's; None for a new figure.
        size: of the new figure, in inches.

    Yields:
        The axes.

    Raises:
        TypeError: for what is no axes of Matplotlib.
    """
    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(
                f"ax={shown(ax)}: must be axes of Matplotlib, such as pyplot.subplots()[1]; None for new ones"
            )
        yield ax
        return
    with looks():
        figure = pyplot.figure(figsize=size, layout="constrained")
        yield figure.add_subplot()


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colors of what has an order, such as lines of growing gain: from dark to light, all readable on white.

    Args:
        count: how many, at least 1.

    Returns:
        Red, green, blue and opacity of each.
    """
    check_count("count", count)
    return [matplotlib.colormaps[SHADES](share) for share in np.linspace(0.0, 0.88, count)]


def distinct(count: int) -> list[tuple[str, str]]:
    """Colors and line styles of what has no order.

    Args:
        count: how many, at least 1.

    Returns:
        Color and style of each: the palette, and then the palette again in dashes.
    """
    check_count("count", count)
    pairs = [(color, style) for style in STYLES for color in PALETTE]
    return [pairs[i % len(pairs)] for i in range(count)]


def letter(axes: Axes, index: int, title: str) -> None:
    """The panel's letter and title.

    Args:
        axes: the panel.
        index: its number, from 0, which is (a).
        title: what stands after the letter.
    """
    axes.set_title(f"({chr(ord('a') + index)})  {title}", loc="left")


def legend_above(axes: Axes, handles: Sequence[Any] | None = None) -> None:
    """A legend above the panel, where it hides nothing.

    Args:
        axes: the panel.
        handles: what is named; all that has a label by default.
    """
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    if handles:
        place: dict[str, Any] = dict(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1.2)
        axes.legend(handles=handles, ncols=min(len(handles), 4), fontsize=8, handlelength=1.6, **place)


# -- logarithmic axes --------------------------------------------------------------------------------------------------


class PlainLog(Locator):
    """Ticks of a logarithmic axis at round numbers: powers of ten, and as few digits more as make three ticks.

    Args:
        most: how many ticks there may be.
    """

    _DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7))

    def __init__(self, most: int = 6):
        self.most = most

    def __call__(self):
        """The ticks within the axis' limits."""
        low, high = self.axis.get_view_interval()  # pyright: ignore[reportOptionalMemberAccess]
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float):
        """The ticks between two numbers.

        Args:
            vmin: greater than 0; anything else has no ticks.
            vmax: likewise.

        Returns:
            The ticks, in ascending order.
        """
        low, high = sorted((vmin, vmax))
        if not 0 < low < high < np.inf:
            return np.zeros(0)
        powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        inside = lambda ticks: ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
        for digits in self._DIGITS:
            ticks = inside((10.0 ** powers[:, None] * np.array(digits)).ravel())
            if len(ticks) >= 3:
                return ticks[:: -(-len(ticks) // self.most)]
        return inside(np.asarray(MaxNLocator(self.most - 1, steps=[1, 2, 5, 10]).tick_values(low, high)))


def plain_number(value: float) -> str:
    """A tick's label as one writes a number: 0.3, 1, 3000; of what is far from 1 a power of ten.

    Args:
        value: of the tick.

    Returns:
        The label, in Matplotlib's mathematics where it is a power.
    """
    if value == 0 or 1e-4 < abs(value) < 1e5:
        return f"{value:.6g}"
    digits, power = f"{value:.5e}".split("e")
    digits = f"{float(digits):g}"
    return f"$10^{{{int(power)}}}$" if digits == "1" else f"${digits}\\cdot 10^{{{int(power)}}}$"


def plain_ticks(axis: Axis) -> None:
    """Round ticks with plain labels on a logarithmic axis; ticks that somebody chose stay, without others between.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`, or that of a color bar.
    """
    if axis.get_scale() != "log":
        return
    if not isinstance(axis.get_major_formatter(), LogFormatter):
        if isinstance(axis.get_minor_formatter(), LogFormatter):
            axis.set_minor_formatter(NullFormatter())
        return
    axis.set_major_locator(PlainLog())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def whole_ticks(axis: Axis) -> None:
    """Ticks at whole numbers alone.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
    """
    axis.set_major_locator(MaxNLocator("auto", integer=True))


def plain(figure: Figure) -> None:
    """Plain labels on all logarithmic axes of a figure.

    Args:
        figure: the picture.
    """
    for axes in figure.axes:
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)


# -- files -------------------------------------------------------------------------------------------------------------


def save(figure: Figure | Axes, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all.

    Args:
        figure: the picture, or axes of it.
        path: of the file; its suffix is the format: png, or pdf and svg, which are vectors.

    Raises:
        TypeError: for what is no picture.
        ValueError: for a name of another format.
        FileNotFoundError: if its folder does not exist.
        WriteError: if it cannot be written; what was there before is untouched.
    """
    if isinstance(figure, Axes):
        whole = figure.get_figure(root=True)
        assert whole is not None
        figure = whole
    if not isinstance(figure, Figure):
        raise TypeError(f"figure={shown(figure)}: must be a figure or axes of Matplotlib")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)}: must be the name of a file")
    kind = os.path.splitext(os.fspath(path))[1][1:].lower()
    if kind not in (known := sorted(figure.canvas.get_supported_filetypes())):
        raise ValueError(f"path={shown(os.fspath(path))}: must end in one of {', '.join(known)}")
    with looks(), replacing(path) as temporary:
        # no time stamp: the same data give the same file
        stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
        # matplotlib's own mathematical fonts carry dates before 1990, of which fontTools warns when a PDF embeds them
        logging.getLogger("fontTools").setLevel(logging.ERROR)
        figure.savefig(temporary, metadata=stamp)
