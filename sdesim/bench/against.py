"""sdesim beside another commit of itself, in interleaved rounds."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from sdesim import statistics
from sdesim.bench import interleaved
from sdesim.bench.commits import checked_out
from sdesim.bench.races import variants_of
from sdesim.bench.workloads import AnyWorkload


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A workload here and at another commit, by median rates in `unit`.

    Attributes:
        workload: its name.
        unit: of the rates.
        here: the rate of sdesim as it is here.
        there: the rate at the other commit.
        ratio: here over there, the median of the rounds, each of which runs both.
        error: its standard error.
        compile_s: of the first run beyond a warm one, here and there.
    """

    workload: str
    unit: str
    here: float
    there: float
    ratio: float
    error: float
    compile_s: tuple[float, float]


def measure(commit: str, workloads: Sequence[AnyWorkload], rounds: int, say: Callable[[str], None]) -> list[Comparison]:
    """The workloads with sdesim as it is here and as it is at a commit, on one core.

    Args:
        commit: any name that git knows it by.
        workloads: what is run.
        rounds: interleaved, at least 1.
        say: is told a line now and then.

    Returns:
        One of each workload that ran on both sides.

    Raises:
        ValueError: if there is no such commit, or sdesim does not run from a checkout.
    """
    found = []
    with checked_out(commit) as other:
        for workload in workloads:
            say(f"{workload.name}: sdesim here and at {commit}")
            here = variants_of(workload)["sdesim"]
            there = dataclasses.replace(here, commit=other)
            ran = interleaved.run_rounds(workload, [here, there], rounds, say)
            if {here.key, there.key} <= ran.peaks.keys():
                found.append(_compared(workload, ran, here.key, there.key))
    return found


def _compared(workload: AnyWorkload, ran: interleaved.Rounds, *keys: str) -> Comparison:
    here, there = (np.asarray(ran.seconds[key]) for key in keys)
    logs = np.log(there / here)
    ratio = float(np.exp(np.median(logs)))
    error = ratio * float(statistics.median_error(logs))
    middle = [float(np.median(s)) for s in (here, there)]
    compiling = [max(ran.first[key] - m, 0.0) for key, m in zip(keys, middle, strict=True)]
    rates = [workload.amount / m for m in middle]
    return Comparison(workload.name, workload.unit, rates[0], rates[1], ratio, error, (compiling[0], compiling[1]))


def rows(found: Sequence[Comparison]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The comparisons as text.

    Args:
        found: of `measure`.

    Returns:
        A head and rows.
    """
    head = ("", "unit", "here", "there", "here / there", "compile s", "there")
    body = [
        (
            *(c.workload, c.unit, f"{c.here:.4g}", f"{c.there:.4g}", f"{c.ratio:.3f} ± {c.error:.3f}"),
            *(f"{s:.2f}" for s in c.compile_s),
        )
        for c in found
    ]
    return head, body
