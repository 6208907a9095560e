"""Sheets as HTML, of which every word that comes from a file is text; and a whole folder as one file to send."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from sdesim.papers.frame.registry import Entry
from sdesim.results.stores.folder import Store
from sdesim.results.stores.leases import Leases
from sdesim.view import drawing
from sdesim.view.sheets import Sheet

STYLE = """
body { font-family: system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 0 1rem 3rem; color: #222; }
h1, h2, p, li { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f5; padding: 0.6rem; font-size: 0.8rem; }
.scroll { overflow-x: auto; }
@media (max-width: 40rem) {
  tr:has(> th) { display: none; }
  tr { display: block; border-bottom: 1px solid #ddd; padding: 0.4rem 0; }
  td { display: block; border: 0; padding: 0.1rem 0; overflow-wrap: anywhere; }
  td[data-of]:not([data-of=""])::before { content: attr(data-of) ": "; color: #666; }
}
"""
"""On a phone a row of a table is a block of its cells, each with the name of its column."""
MARKS = {"holds": "✓ holds", "undecided": "? undecided", "fails": "✗ fails"}


def claims(found: Sequence[Entry]) -> str:
    """A table of claims with what breaks them.

    Args:
        found: of a figure.
    """
    if not found:
        return ""
    cells = [
        (e.claim.statement, e.found, e.needs, MARKS[e.verdict] if e.claim.counted else f"({e.verdict})", e.breaking)
        for e in found
    ]
    return table(("claim", "found", "needs", "verdict", "broken by"), cells)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text.

    Args:
        head: names of its columns.
        rows: cells.
    """
    named = [html.escape(name) for name in head]
    cell = lambda name, text: f'<td data-of="{name}">{html.escape(text)}</td>'
    lines = ["".join(f"<th>{name}</th>" for name in named)] if any(named) else []
    lines += ["".join(map(cell, named, row)) for row in rows]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def progress(store: Store, leases: Leases | None = None, rate: float = 0.0) -> str:
    """How far a sweep is, what is in work, and what went wrong.

    Args:
        store: of the sweep.
        leases: of its tasks, as who looks again and again has seen them; None for one look.
        rate: tasks a second of late; 0 where it is not known.
    """
    done, whole, failures = len(store.done()), store.rounds().tasks, store.failures()
    said = [f"{done} of {whole} tasks"]
    leases = Leases(store.path / "leases") if leases is None else leases
    if working := sum(not store.has(number) for number in leases.living()):
        said.append(f"{working} in work")
    if rate > 0 and done < whole:
        said.append(f"about {(whole - done) / rate:.0f} s left")
    lost = "".join(f"<li>task {number} failed: {html.escape(why)}</li>" for number, why in failures.items())
    bar = f'<progress max="{whole}" value="{done}"></progress>'
    return f"<p>{bar} {', '.join(said)}</p>" + (f"<ul>{lost}</ul>" if lost else "")


def provenance(said: Mapping[str, str]) -> str:
    """How something was made: the command or call on top, then all else.

    Args:
        said: as `Sheet.said`.
    """
    if not said:
        return "<p>Nothing is said of how it was made.</p>"
    long = {name: value for name, value in said.items() if name in ("made by", "settings")}
    blocks = "".join(f"<h3>{html.escape(name)}</h3><pre>{html.escape(value)}</pre>" for name, value in long.items())
    return blocks + table(("", ""), [(name, value) for name, value in said.items() if name not in long])


def image(png: bytes, says: str) -> str:
    """A picture within the page.

    Args:
        png: a PNG file.
        says: what it shows, for who does not see it.
    """
    return f'<img alt="{html.escape(says)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def page(title: str, found: Sequence[Sheet]) -> str:
    """All sheets as one HTML file without scripts, which needs nothing else.

    Args:
        title: of the page.
        found: the sheets.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if len(found) > 1:
        links = "".join(f'<li><a href="#sheet-{i}">{html.escape(s.name)}</a></li>' for i, s in enumerate(found))
        parts.append(f"<ul>{links}</ul>")
    for i, sheet in enumerate(found):
        parts.append(f'<h2 id="sheet-{i}">{html.escape(sheet.name)}</h2>')
        try:
            parts.append(_body(sheet))
        except (ValueError, OSError) as error:
            parts.append(f"<p>{html.escape(str(error))}</p>")
    screen = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{screen}<title>{html.escape(title)}</title>'
    return f"<!doctype html><html lang=en>{head}<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _body(sheet: Sheet) -> str:
    """Pictures, claims, and how it was made."""
    if sheet.what == "timetable":
        table = sheet.timetable()
        return image(drawing.draw_timetable(table, 0, drawing.beginning(table)), f"{sheet.name}: who computed when")
    pictures = [progress(sheet.store())] if sheet.what == "store" else []
    if (png := sheet.picture()) is not None:
        pictures.append(image(png, sheet.name))
    elif sheet.what == "training":
        data = sheet.data()
        pictures += [image(drawing.draw_history(data, what), f"{sheet.name}: {what}") for what in drawing.LEARNED]
    elif sheet.what != "figure":
        data = sheet.data()
        for name in drawing.names(data):
            choice = drawing.first(data, name)
            if choice is not None:
                pictures.append(image(drawing.draw(data, choice), f"{sheet.name}: {name}"))
    return "".join(pictures) + claims(sheet.claims()) + provenance(sheet.said())
