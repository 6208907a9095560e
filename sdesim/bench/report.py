"""What the benchmark says: a table, a file, a picture, and rows of the record."""

import dataclasses
import json
import pathlib
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from sdesim.bench import native
from sdesim.bench.interleaved import Row
from sdesim.bench.peers import VARIANTS, Variant
from sdesim.bench.races import variants_of
from sdesim.bench.workloads import AnyWorkload, Workload
from sdesim.cores import cores
from sdesim.plot import theme
from sdesim.results.files import write_text
from sdesim.results.recipe import Call
from sdesim.results.schema import Header, provenance

HEAD = """\
# Benchmark record

One table, to which `sdesim bench --record` appends.

"""
COLUMNS = (
    "date",
    "hardware",
    "versions",
    "workload",
    "sizes",
    "variant",
    "median (min to max)",
    "unit",
    "x naive",
    "x C++",
    "compile s",
    "peak MB",
)
RECORDED = ("naive", "cpp", "torch")  # beside everything of sdesim


@dataclasses.dataclass(frozen=True)
class Report:
    """What the benchmark found.

    Attributes:
        rows: what was measured.
        workloads: as they were run, by name.
        variants: by the names of workload and variant.
        series: a size -> its values with their workloads.
        ceilings: workload -> a rate that no variant on one core (or the GPU) can exceed, and why.
        notes: floors and remarks, a line each.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    workloads: dict[str, AnyWorkload] = dataclasses.field(default_factory=dict)
    variants: dict[tuple[str, str], Variant] = dataclasses.field(default_factory=dict)
    series: dict[str, list[tuple[int, Workload]]] = dataclasses.field(default_factory=dict)
    ceilings: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def of(self, workload: str) -> list[Row]:
        """The rows of a workload.

        Args:
            workload: its name.

        Returns:
            In the order in which they were measured.
        """
        return [row for row in self.rows if row.workload == workload]

    def title(self, row: Row) -> str:
        """The variant of a row in words.

        Args:
            row: of the report.

        Returns:
            Its title.
        """
        workload = self.workloads.get(row.workload)
        return (VARIANTS if workload is None else variants_of(workload))[row.variant].title

    @property
    def compared(self) -> list[str]:
        """Workloads that are no point of a series."""
        points = {w.name for points in self.series.values() for _, w in points}
        return list(dict.fromkeys(row.workload for row in self.rows if row.workload not in points))


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    if value >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def aligned(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """Columns of text, the first to the left and the others to the right.

    Args:
        head: of the columns.
        body: rows of as many cells.

    Returns:
        Lines.
    """
    table = [tuple(head), *map(tuple, body)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def table(report: Report) -> str:
    """All rows as text, one block a workload.

    Args:
        report: what was found.

    Returns:
        Lines of text.
    """
    parts = []
    head = ("", "min", "median", "max", "x naive", "x C++", "compile s", "peak MB")
    for name in report.compared:
        rows = report.of(name)
        workload = report.workloads.get(name)
        title = workload.describe() if workload else name
        body = [(report.title(r), *_cells(r)) for r in rows]
        notes = [
            f"{report.title(r)}: {note}"
            for r in rows
            if (note := _note(report.variants.get((name, r.variant)), workload))
        ]
        if name in report.ceilings:
            rate, why = report.ceilings[name]
            notes.append(f"ceiling ({why}): {_number(rate)} {rows[0].unit}")
        parts += [f"{name}  {title}", f"in {rows[0].unit}", *aligned(head, body), *notes, ""]
    for size, points in report.series.items():
        body = [(w.name, *_cells(r)) for _, w in points for r in report.of(w.name)]
        if body:
            parts += [_series_title(size), *aligned(head, body), ""]
    parts += report.notes
    return "\n".join(parts).rstrip()


def _series_title(size: str) -> str:
    return f"scaling in {size}" + ("" if size == "cores" else ", one core")


def _cells(row: Row) -> tuple[str, ...]:
    values = (row.min, row.median, row.max, row.ratio_to_naive, row.ratio_to_cpp)
    return (*(_number(v) for v in values), f"{row.compile_s:.2f}", f"{row.peak_mb:.0f}")


def _note(variant: Variant | None, workload: AnyWorkload | None) -> str:
    """How a variant's run differs from the workload."""
    if workload is None or variant is None:
        return ""
    notes = []
    if (steps := variant.part(workload).steps) != workload.steps:
        notes.append(f"{steps} steps")
    if isinstance(workload, Workload) and variant.gaussian and workload.noise != "gaussian":
        notes.append("Gaussian noise of the same variance")
    if variant.cores is None:
        notes.append(f"{len(cores())} cores")
    return ", ".join(notes)


def write_json(rows: Sequence[Any], path: pathlib.Path, options: Any) -> None:
    """All rows as JSON under a header, whole or not at all.

    Args:
        rows: dataclasses.
        path: of the file.
        options: of the benchmark, a dataclass.
    """
    given = dataclasses.asdict(options).items()
    settings = {name: str(value) if isinstance(value, pathlib.PurePath) else value for name, value in given}
    header = Header.new("benchmark", settings, Call("sdesim.cli.bench.run", {"options": options}))
    whole = {**header.attributes(), "settings": header.settings, "rows": [dataclasses.asdict(row) for row in rows]}
    write_text(path, json.dumps(whole, indent=2) + "\n")


# -- the picture -------------------------------------------------------------------------------------------------------


def picture(report: Report, path: pathlib.Path) -> None:
    """A panel a workload with every variant and the ceiling, and a panel a series.

    Args:
        report: what was found.
        path: of the file.
    """
    names = [name for name in report.compared if report.of(name)[0].unit != "s"]
    series = {size: points for size, points in report.series.items() if any(report.of(w.name) for _, w in points)}
    columns = 2 if len(names) + len(series) > 1 else 1
    count = -(-(len(names) + len(series)) // columns)
    matplotlib.use("agg")
    with theme.looks():
        figure, axes = plt.subplots(count, columns, figsize=(5.2 * columns, 2.7 * count), layout="constrained")
        panels = list(np.atleast_1d(axes).flat)
        for i, (panel, name) in enumerate(zip(panels, names, strict=False)):
            _bars(panel, report, name)
            theme.letter(panel, i, name)
        for i, (panel, size) in enumerate(zip(panels[len(names) :], series, strict=False)):
            _curve(panel, report, size)
            theme.letter(panel, len(names) + i, _series_title(size))
        for panel in panels[len(names) + len(series) :]:
            panel.set_axis_off()
        theme.save(figure, path)
        plt.close(figure)


def _bars(panel: Any, report: Report, name: str) -> None:
    """A workload's panel."""
    rows = report.of(name)
    places = np.arange(len(rows))[::-1]
    medians = np.array([r.median for r in rows])
    ranges = np.abs([[r.median - r.min for r in rows], [r.max - r.median for r in rows]])
    colors = [theme.SMOOTHED if r.variant.startswith("sdesim") else theme.AGENTS for r in rows]
    panel.barh(places, medians, xerr=ranges, color=colors, height=0.7, error_kw={"lw": 0.8})
    if name in report.ceilings:
        rate, why = report.ceilings[name]
        panel.axvline(rate, color=theme.QUORUM, ls="--", lw=1)
        beside = dict(textcoords="offset points", color=theme.QUORUM, ha="right", va="top", size=7)
        panel.annotate(why, (rate, 1), (-3, 9), xycoords=("data", "axes fraction"), **beside)
    behind = dict(facecolor="white", edgecolor="none", pad=0.5)
    for place, row in zip(places, rows, strict=True):
        ratio = "" if row.ratio_to_naive is None else f" ({_number(row.ratio_to_naive)} x)"
        at = dict(xytext=(4, 0), textcoords="offset points", va="center", size=8, bbox=behind)
        panel.annotate(f"{_number(row.median)}{ratio}", (row.max, place), **at)
    panel.set_yticks(places, [report.title(r) for r in rows])
    ceiling = report.ceilings.get(name, (0.0, ""))[0]
    panel.set_xlim(0, max(max(r.max for r in rows) * 1.3, ceiling * 1.05))
    panel.set_xlabel(rows[0].unit)


def _curve(panel: Any, report: Report, size: str) -> None:
    """A series' panel."""
    points = [(value, row) for value, w in report.series[size] for row in report.of(w.name)]
    values = [value for value, _ in points]
    panel.plot(values, [row.median for _, row in points], "o-", ms=3.5, color=theme.SMOOTHED)
    panel.fill_between(values, [r.min for _, r in points], [r.max for _, r in points], alpha=0.2, lw=0)
    panel.set_xscale("log")
    panel.set_xticks(values, [theme.plain_number(value) for value in values])
    theme.plain_ticks(panel.xaxis)
    panel.set_ylim(bottom=0)
    panel.set_xlabel(size)
    panel.set_ylabel(points[0][1].unit)


# -- the record --------------------------------------------------------------------------------------------------------


def hardware(gpu: str = "") -> str:
    """The machine in a few words.

    Args:
        gpu: its name; empty without one.

    Returns:
        CPU, cores, width of vectors, GPU.
    """
    model, width = native.cpu()
    return f"{model}, {len(cores())} cores, {width}-bit vectors" + (f"; {gpu}" if gpu else "")


def versions() -> str:
    """sdesim with its commit, and what decides its speed."""
    origin = provenance()
    parts = [f"sdesim {origin['sdesim_version']} ({_short(origin['commit'])})", f"Python {origin['python']}"]
    parts += [f"{name} {origin[f'{name}_version']}" for name in ("jax", "jaxlib")]
    if (command := native.compiler()) is not None:
        said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout.splitlines()
        parts += [said[0].strip()] if said else []
    return ", ".join(parts)


def _short(commit: str) -> str:
    number, _, state = commit.partition("-")
    return number[:12] + (f"-{state}" if state else "")


def record(report: Report, path: pathlib.Path, gpu: str = "") -> int:
    """Append a row for each workload and variant that matters to the record.

    The table of the record is the last thing in its file; a file that is not there is begun.

    Args:
        report: what was found.
        path: of the record.
        gpu: its name; empty without one.

    Returns:
        How many rows.
    """
    kept = [r for r in report.rows if r.variant in RECORDED or r.variant.startswith("sdesim")]
    kept = [r for r in kept if r.workload in report.compared]
    stamp = (datetime.now(UTC).date().isoformat(), hardware(gpu), versions())
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if "| " + " | ".join(COLUMNS) + " |" not in text:
        text = text.rstrip("\n") + "\n\n" + _row(COLUMNS) + _row(["---"] * len(COLUMNS))
    for r in kept:
        w = report.workloads.get(r.workload)
        sizes = "" if w is None else w.sizes
        speed = f"{_number(r.median)} ({_number(r.min)} to {_number(r.max)})"
        text += _row((*stamp, r.workload, sizes, r.variant, speed, r.unit, *_cells(r)[3:]))
    write_text(path, text)
    return len(kept)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |\n"
