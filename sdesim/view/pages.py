"""The page of the run browser: what is looked at, sliders over what it depends on, and its picture."""

import collections
import html
import time
from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
import xarray as xr

from sdesim.results.stores.leases import Leases
from sdesim.view import drawing, markup
from sdesim.view.sheets import Sheet

LIVE = 2000  # milliseconds between two looks at a store that is not finished
LATELY = 30  # looks, whose tasks say how long the others will take
WIDGET = {"sizing_mode": "stretch_width", "max_width": 320}


FRAME = """
{% extends base %}
{% block preamble %}<meta name="viewport" content="width=device-width, initial-scale=1">{% endblock %}
{% block contents %}{{ embed(roots.body) }}{% endblock %}
"""
"""As wide as the screen, a phone's too."""


def page(title: str, found: Sequence[Sheet]) -> pn.Template:
    """All of it, for one visitor.

    Args:
        title: of the page.
        found: what there is to look at.

    Returns:
        What Panel serves.
    """
    body = pn.Column(sizing_mode="stretch_width")
    choose = pn.widgets.Select(name="show", options={_label(s): i for i, s in enumerate(found)}, **WIDGET)

    def show(event: Any = None) -> None:
        body[:] = [_sheet(found[choose.value])]

    choose.param.watch(show, "value")
    show()
    parts = [_text(f"<h1>{html.escape(title)}</h1>"), *([choose] if len(found) > 1 else []), body]
    return pn.Template(FRAME, items={"body": pn.Column(*parts, sizing_mode="stretch_width")})


def _label(sheet: Sheet) -> str:
    return sheet.name if sheet.what == "figure" else f"{sheet.name} ({sheet.what})"


def _sheet(sheet: Sheet) -> pn.viewable.Viewable:
    """A sheet, or why it cannot be shown."""
    try:
        parts: list[pn.viewable.Viewable] = [_text(markup.claims(sheet.claims()))] if sheet.what == "figure" else []
        if (png := sheet.picture()) is not None:
            parts.insert(0, _text(markup.image(png, sheet.name)))
        if sheet.what == "training":
            data = sheet.data()
            parts += [_text(markup.image(drawing.draw_history(data, what), what)) for what in drawing.LEARNED]
        elif sheet.what == "timetable":
            parts.append(_timetable(sheet))
        elif sheet.what == "store":
            parts.append(_store(sheet))
        elif sheet.what == "data":
            parts.append(_data(sheet.data()))
        made = pn.Card(_text(markup.provenance(sheet.said())), title="how it was made", collapsed=True)
        made.sizing_mode = "stretch_width"
        return pn.Column(*parts, made, sizing_mode="stretch_width")
    except (ValueError, OSError) as error:
        return _text(f"<p>{html.escape(str(error))}</p>")


def _text(text: str) -> pn.pane.HTML:
    """Markup of our own, in which what comes from files is escaped."""
    return pn.pane.HTML(text, sizing_mode="stretch_width", stylesheets=[markup.STYLE])


def _show(pane: pn.pane.HTML, draw: Callable[[], bytes], says: str) -> None:
    """A picture, or why there is none."""
    try:
        pane.object = markup.image(draw(), says)
    except (ValueError, TypeError) as error:
        pane.object = f"<p>{html.escape(str(error))}</p>"


class _Picture:
    """A picture of data, and the widgets that choose it."""

    def __init__(self, data: xr.Dataset):
        self.data = data
        self.shown = _text("")
        self.widgets = pn.Column(sizing_mode="stretch_width", max_width=340)
        self.name = pn.widgets.Select(name="variable", options=drawing.names(data), **WIDGET)
        self.name.param.watch(lambda event: self._choose(), "value")
        self._choose()

    def _choose(self) -> None:
        """Widgets for the variable."""
        first = drawing.first(self.data, self.name.value)
        if first is None:
            self.shown.object = "<p>There is nothing to draw yet.</p>"
            return
        dims = drawing.dims(self.data, first.name)
        others = [None, *dims]
        self.x = pn.widgets.Select(name="along", options=dims, value=first.x, **WIDGET)
        self.y = pn.widgets.Select(
            name="and", options={d or "nothing": d for d in others}, value=first.y, disabled=len(dims) < 2, **WIDGET
        )
        self.as_map = pn.widgets.Checkbox(name="as a map", value=first.as_map)
        self.log = pn.widgets.Checkbox(name="logarithmic", value=False)
        self.at = {d: self._slider(d) for d in dims}
        every = [self.x, self.y, self.as_map, self.log, *self.at.values()]
        for widget in every:
            widget.param.watch(lambda event: self.draw(), "value")
        self.widgets[:] = [self.name, *every]
        self.draw()

    def _slider(self, dim: str) -> Any:
        values = self.data[dim].values if dim in self.data.coords else range(self.data.sizes[dim])
        labels = {f"{i}: {v:.4g}" if isinstance(v, float) else f"{i}: {v}": i for i, v in enumerate(values)}
        return pn.widgets.DiscreteSlider(name=dim, options=labels, **WIDGET)

    def beside(self) -> pn.viewable.Viewable:
        """The widgets beside the picture; above it where there is no room."""
        return pn.FlexBox(self.widgets, pn.Column(self.shown, sizing_mode="stretch_width", max_width=860))

    def draw(self) -> None:
        """The picture as it is chosen, or why there is none."""
        y = self.y.value if self.y.value != self.x.value else None
        for dim, slider in self.at.items():
            slider.visible = dim not in (self.x.value, y)
        at = {dim: slider.value for dim, slider in self.at.items()}
        choice = drawing.Choice(self.name.value, self.x.value, y, self.as_map.value, self.log.value, at)
        _show(self.shown, lambda: drawing.draw(self.data, choice), choice.name)


def _data(data: xr.Dataset) -> pn.viewable.Viewable:
    if not drawing.names(data):
        return _text("<p>It has no variable of numbers that can be drawn.</p>")
    return _Picture(data).beside()


def _store(sheet: Sheet) -> pn.viewable.Viewable:
    """A store as it grows: how far it is, who works on it, and the picture of what there is."""
    store = sheet.store()
    leases = Leases(store.path / "leases")
    looks: collections.deque[tuple[float, int]] = collections.deque(maxlen=LATELY)
    far, body = _text(""), pn.Column(_text("<p>Nothing is done yet.</p>"), sizing_mode="stretch_width")
    picture: _Picture | None = None
    seen = 0

    def look() -> None:
        nonlocal picture, seen
        now, done = time.monotonic(), len(store.done())
        then, before = looks[0] if looks else (now, done)
        looks.append((now, done))
        far.object = markup.progress(store, leases, (done - before) / max(now - then, 1.0))
        if seen == done:
            return
        seen, data = done, sheet.data()
        if picture is not None:
            picture.data = data
            picture.draw()
        elif drawing.names(data):
            picture = _Picture(data)
            body[:] = [picture.beside()]

    look()
    if pn.state.curdoc is not None:
        pn.state.add_periodic_callback(look, period=LIVE)
    return pn.Column(far, body, sizing_mode="stretch_width")


def _timetable(sheet: Sheet) -> pn.viewable.Viewable:
    table = sheet.timetable()
    begin, end = drawing.beginning(table)
    sim = pn.widgets.IntSlider(
        name="simulation", start=0, end=max(table.sims - 1, 1), disabled=table.sims < 2, **WIDGET
    )
    span = pn.widgets.RangeSlider(name="seconds", start=0.0, end=float(table.time.max()), value=(begin, end), **WIDGET)
    shown = _text("")

    def draw(event: Any = None) -> None:
        one = min(sim.value, table.sims - 1)
        _show(shown, lambda: drawing.draw_timetable(table, one, span.value), "timeline")

    for widget in (sim, span):
        widget.param.watch(draw, "value")
    draw()
    return pn.FlexBox(pn.Column(sim, span, max_width=340), shown)
