"""All claims of a folder of figures, with what breaks them: read, chosen, as text, as JSON, as a page."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from sdesim.claims import Claim, Verdict
from sdesim.papers.frame import breaks

ENOUGH = 0.9  # of the seeds at which a claim is looked at, at which what is published as "holds" holds


@dataclasses.dataclass(frozen=True)
class Entry:
    """A claim as it is published.

    Attributes:
        figure: by name.
        paper: the folder of its paper.
        claim: as it was found.
        verdict: that of the claim; of one that holds, but not at nine of ten other seeds, "undecided".
        broken: the wrong models that break it, the most telling first.
        tried: the preset at which wrong models were tried on it; empty where none was.
        untried: why not, where that is known.
        prediction: whether it is on predictions alone, which no run changes.
        seeds: at how many of how many other seeds it holds, and of which preset; None where none was tried.
        judged: value, verdict and preset of one run at another size; None where there was none.
    """

    figure: str
    paper: str
    claim: Claim
    verdict: Verdict
    broken: tuple[str, ...]
    tried: str
    untried: str
    prediction: bool
    seeds: tuple[int, int, str] | None
    judged: tuple[float | None, Verdict, str] | None

    @property
    def breaking(self) -> str:
        """What breaks it in words: three wrong models at most."""
        if not self.claim.counted:
            return ""
        if not self.tried:
            return f"not tried: {self.untried}" if self.untried else "not tried"
        more = f" and {len(self.broken) - 3} more" if len(self.broken) > 3 else ""
        size = "" if self.tried == "smoke" else f" ({self.tried} size)"
        return (", ".join(self.broken[:3]) + more if self.broken else "nothing") + size

    @property
    def found(self) -> str:
        """The value with its error."""
        return f"{self.claim.value:.4g}" + ("" if self.claim.stderr == 0 else f" ± {self.claim.stderr:.1g}")

    @property
    def needs(self) -> str:
        """The condition."""
        return f"{'≥' if self.claim.op == '>=' else '≤'} {self.claim.threshold:g}"

    @property
    def shown(self) -> str:
        """The verdict, in brackets where it is not counted."""
        return self.verdict if self.claim.counted else f"({self.verdict})"


def entries(figures: Mapping[str, str], folder: pathlib.Path) -> list[Entry]:
    """The claims of those of some figures whose claims lie in a folder.

    Args:
        figures: the folder of its paper of each by its name, in the order of the entries.
        folder: of figures.
    """
    return [entry for name, paper in figures.items() for entry in of_figure(name, folder, paper)]


def of_figure(name: str, folder: pathlib.Path, paper: str = "") -> list[Entry]:
    """The claims of one figure, none if they do not lie in the folder.

    Args:
        name: of the figure.
        folder: of figures.
        paper: the folder of its paper.
    """
    path = folder / f"{name}.claims.json"
    if not path.is_file():
        return []
    kept = breaks.read(name, folder)
    return [_entry(name, paper, Claim(**c), kept) for c in json.loads(path.read_text(encoding="utf-8"))]


def _entry(name: str, paper: str, claim: Claim, kept: dict[str, Any]) -> Entry:
    tries = breaks.tries(kept)
    own = next((of for of in tries if claim.id in of["breaks"]), {"breaks": {}, "preset": ""})
    seeds, verdict = None, claim.verdict
    if claim.id in (of := kept.get("seeds", {"held": {}}))["held"]:
        held, count, preset = of["held"][claim.id], of["count"], of["preset"]
        seeds = held, count, preset
        if preset == "default" and verdict == "holds" and held < ENOUGH * count:
            verdict = "undecided"
    other, judged = kept.get("judged", {"verdicts": {}}), None
    if claim.id in other["verdicts"]:
        judged = other["values"][claim.id], other["verdicts"][claim.id], other["preset"]
    telling = sorted(own["breaks"].get(claim.id, ()), key=lambda wrong: list(own["tried"]).index(wrong))
    why = "" if own["breaks"] else _why(claim, tries)
    on = claim.id in own.get("predictions", ())
    return Entry(name, paper, claim, verdict, tuple(telling), own["preset"], why, on, seeds, judged)


def _why(claim: Claim, tries: Sequence[Mapping[str, Any]]) -> str:
    """Why no wrong model was tried on a claim; empty where the record does not say."""
    said = [f"{of['untried'].get(claim.id, 'not asked')} at {of['preset']} size" for of in tries if "untried" in of]
    return " and ".join(said)


def as_json(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """The entries as JSON has them.

    Args:
        found: of a folder.
    """
    rows = []
    for entry in found:
        own = dataclasses.asdict(entry)
        rows.append({**own.pop("claim"), **own})
    return rows


def as_text(found: Sequence[Entry]) -> str:
    """The entries as aligned text, and how many hold, are undecided and fail.

    Args:
        found: of a folder.
    """
    head = ("paper", "figure", "found", "needs", "verdict", "claim")
    rows = [(e.paper, e.figure, e.found, e.needs, e.shown, f"{e.claim.statement}{_aside(e)}") for e in found]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]
    pad = lambda row: "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
    return "\n".join([*map(pad, (head, *rows)), tally(found)])


def _aside(entry: Entry) -> str:
    broken = "broken by: " * bool(entry.tried)
    return f" [{broken}{entry.breaking}]" if entry.breaking else ""


def tally(found: Sequence[Entry]) -> str:
    """How many counted claims hold, are undecided and fail.

    Args:
        found: of a folder.
    """
    counted = [e for e in found if e.claim.counted]
    number = {v: sum(e.verdict == v for e in counted) for v in ("holds", "undecided", "fails")}
    tried = [e for e in counted if e.tried]
    return (
        f"{len(counted)} counted of {len(found)}: {number['holds']} hold, {number['undecided']} undecided, "
        f"{number['fails']} fail; wrong models were tried on {len(tried)}, and break "
        f"{sum(bool(e.broken) for e in tried)}"
    )


def rows_of(found: Sequence[Entry]) -> str:
    """The entries as a table in Markdown.

    Args:
        found: of one figure.
    """
    escaped = lambda text: text.replace("|", "\\|")
    rows = ["| claim | found | needs | verdict | broken by |", "|---|---|---|---|---|"]
    for e in found:
        rows.append(f"| {escaped(e.claim.statement)} | {e.found} | {e.needs} | {e.shown} | {_cell(e)} |")
    return "\n".join(rows)


def _cell(entry: Entry) -> str:
    """What breaks it, and what else is known of it."""
    parts = [entry.breaking]
    if entry.prediction and entry.claim.counted:
        parts.append("on predictions alone")
    if entry.claim.counted:
        parts.append(
            "one seed"
            if entry.seeds is None
            else f"at {entry.seeds[0]} of {entry.seeds[1]} other seeds ({entry.seeds[2]})"
        )
    if entry.judged is not None and entry.claim.counted:
        value, verdict, preset = entry.judged
        parts.append(f"{preset} size: {verdict}, {'not finite' if value is None else f'{value:.4g}'}")
    return "; ".join(filter(None, parts))


_HEAD = """\
# Claims

Written by `sdesim claims --page FILE`, from `figures/`: every statement about a figure with what was found, and the
wrong models that break it. `sdesim claims` prints the same and chooses by `--paper` and `--verdict`; what a claim, its
error and its verdict are is said in [the gallery](../figures/README.md). Claims in brackets are shown and not counted.
Wrong models are run at smoke size. Where a claim is not asked there, or does not hold, they are run at the size that is
named, one after another until each of these claims is broken; what holds nowhere is not tried. Of what was
trained no wrong model is trained again: what it left is changed to what a wrong training would have left. "Nothing"
means that none of those that were tried makes the claim fail decidedly. "One seed" is of a claim that no other seed was
asked of; "paper size: " is what one run of the `paper` preset found (`sdesim claims NAME --judge --preset paper`).

"""


def page(found: Sequence[Entry]) -> str:
    """The entries as a page in Markdown, a section for each paper and a table for each figure.

    Args:
        found: of a folder.
    """
    parts = [_HEAD + tally(found) + "."]
    unbroken = [f"{e.figure} `{e.claim.id}`" for e in found if e.claim.counted and e.tried and not e.broken]
    if unbroken:
        parts.append(f"Broken by nothing: {', '.join(unbroken)}.")
    for paper in dict.fromkeys(e.paper for e in found):
        parts.append(f"## {paper.replace('_', ' ')}")
        of_paper = [e for e in found if e.paper == paper]
        for figure in dict.fromkeys(e.figure for e in of_paper):
            parts.append(f"### {figure}\n\n{rows_of([e for e in of_paper if e.figure == figure])}")
    return "\n\n".join(parts) + "\n"
