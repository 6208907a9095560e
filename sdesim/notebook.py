"""Sliders in a notebook: a picture of the simulation that follows the numbers of its model as they are moved.

A number is traced, so that a move compiles nothing; all moves see the same noise, so that what changes is what was
moved. Needs the extra `notebook`.
"""

import inspect
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sdesim.dynamics import Dynamics
from sdesim.ensembles.designs import ends_of
from sdesim.ensembles.points import with_value
from sdesim.fields import check_choice, numeric_fields, shown
from sdesim.plot import landscapes, theme
from sdesim.results.datasets import dimension, label_by_name
from sdesim.results.result import Result
from sdesim.run import simulate

Draw = Callable[[Result, Axes], Any]
SIZE, DPI = (6.4, 4.0), 100  # of the picture, in inches, and dots an inch
NOTCHES = 200  # of a slider


def live(model: Dynamics, ranges: Mapping[str, Sequence], *, draw: Draw | None = None, **run: Any) -> Any:
    """Sliders over numbers of a model, and the picture of a simulation that follows them.

    Args:
        model: where the sliders begin. Give it what is to be moved from 0: with `momentum=Nesterov(0.0)` momentum is
            one of its numbers, and the program is the same at 0.
        ranges: of each slider the least and the greatest value, and "log" where it is to be logarithmic, by the dotted
            name of the number: `{"coupling.k": (0, 10), "eta": (0.005, 0.1, "log")}`.
        draw: draws a result into empty axes, such as `lambda result, axes: plot.band(result, "quorum", ax=axes)`; by
            default agents over the loss.
        **run: as for `sdesim.simulate`: agents, sims, steps, init, seed, observe and the others.

    Returns:
        A widget, which a notebook shows: the sliders, the picture, and below it what a run warned of or was refused
        for.

    Raises:
        ImportError: without ipywidgets.
        TypeError: for what is no model, and a `draw` that cannot be called with a result and axes.
        ValueError: for names that are no numbers of it, ranges that are none or that it is outside of, and as
            `sdesim.simulate`.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError("live needs ipywidgets: pip install 'sdesim[notebook]'") from error
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    if draw is not None:
        _check_draw(draw)
    sliders: dict[str, Any] = {}
    numbers = numeric_fields(model)
    for name, (low, high, scale) in ends_of(ranges).items():
        check_choice("ranges", name, numbers)
        now = numbers[name]
        if now is None or now.ndim or not low <= now <= high:
            raise ValueError(f"ranges[{name!r}]={shown(ranges[name])}: must have {name} of the model in it, {now}")
        units = label_by_name(dimension(name))[0]
        said = dict(
            description=name if units in ("1", "not stated") else f"{name} ({units})",
            style={"description_width": "initial"},
            readout_format=".3g",
            continuous_update=True,
        )
        if scale == "log":
            ends = dict(min=np.log10(low), max=np.log10(high), step=np.log10(high / low) / NOTCHES)
            sliders[name] = ipywidgets.FloatLogSlider(float(now), base=10, **ends, **said)
        else:
            sliders[name] = ipywidgets.FloatSlider(float(now), min=low, max=high, step=(high - low) / NOTCHES, **said)
    picture = _Over() if draw is None else _Drawn(draw)
    image, words = ipywidgets.Image(format="png"), ipywidgets.Label()

    def here() -> tuple[Result, list[str]]:
        moved = model
        for name, slider in sliders.items():
            moved = with_value(moved, name, slider.value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            return simulate(moved, **run), list(dict.fromkeys(str(w.message) for w in caught))

    def follow(_: Any = None) -> None:
        try:
            result, said = here()
            image.value = picture(result)
        except ValueError as error:  # of a model that cannot be; the picture stays
            said = [str(error)]
        words.value = "; ".join(said)

    result, said = here()
    image.value, words.value = picture(result), "; ".join(said)
    for slider in sliders.values():
        slider.observe(follow, "value")
    return ipywidgets.VBox([*sliders.values(), image, words])


def _check_draw(draw: Any) -> None:
    try:
        inspect.signature(draw).bind("result", "axes")
    except TypeError:  # of what cannot be called, too
        raise TypeError(f"draw={shown(draw)}: must be a function of a result and axes") from None
    except ValueError:  # written in C, it does not say
        pass


class _Picture:
    """A picture that is drawn again and again."""

    def __init__(self, **layout: Any):
        with theme.looks():
            figure = Figure(figsize=SIZE, dpi=DPI, **layout)
            self.axes, self.canvas = figure.add_subplot(), FigureCanvasAgg(figure)

    def png(self) -> bytes:
        with io.BytesIO() as out:
            self.canvas.print_png(out, pil_kwargs={"compress_level": 1})
            return out.getvalue()


class _Drawn(_Picture):
    """By a function of the user's."""

    def __init__(self, draw: Draw):
        super().__init__(layout="constrained")
        self.draw = draw

    def __call__(self, result: Result) -> bytes:
        with theme.looks():
            self.axes.clear()
            self.draw(result, self.axes)
            return self.png()


class _Over(_Picture):
    """Agents over the loss, of which what has moved is drawn anew; a layout would take as long as all else."""

    def __init__(self):
        super().__init__()
        self.canvas.figure.subplots_adjust(left=0.13, right=0.97, bottom=0.13, top=0.9)
        self.marks: tuple[Any, Any] | None = None

    def __call__(self, result: Result) -> bytes:
        positions = landscapes.ended(result, None)
        flat = positions.shape[-1] == 1
        with theme.looks():
            if self.marks is None:
                self.loss, self.marks = self._begin(result, positions, flat)
            groups = (positions.reshape(-1, positions.shape[-1]), positions.mean(axis=1))
            for drawn, points in zip(self.marks, groups, strict=True):
                drawn.set_data(points[:, 0], self.loss(points) if flat else points[:, 1])
            if flat:
                x = np.linspace(*landscapes.window(positions), landscapes.POINTS)
                y = self.loss(x[:, None])
                self.axes.lines[0].set_data(x, y)
                self.axes.set(xlim=(x[0], x[-1]), ylim=landscapes.window(y))
            return self.png()

    def _begin(self, result: Result, positions: np.ndarray, flat: bool) -> tuple[landscapes.Loss, tuple[Any, Any]]:
        loss = landscapes.loss_of(result, None)
        windows = [landscapes.window(positions[..., d]) for d in range(min(2, positions.shape[-1]))]
        if flat:
            landscapes.draw_curve(self.axes, loss, *windows[0])
            marks = landscapes.mark(self.axes, loss, positions[..., 0])
        else:
            middle = np.nanmean(np.where(np.isfinite(positions), positions, np.nan), axis=(0, 1))
            landscapes.draw_plane(self.axes, loss, middle, (0, 1), windows)
            marks = landscapes.mark_plane(self.axes, positions[..., :2])
        theme.legend_above(self.axes)
        return loss, marks
