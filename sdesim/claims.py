"""A statement of a paper as a statistic, a threshold and a verdict with its Monte Carlo error.

A `Statement` is the sentence and how to measure it; a `Claim` is what was found. The verdict is "holds" or "fails"
where the value is further from the threshold than chance takes it once in 740, and "undecided" nearer to it: three
standard errors, or, where the error itself is known from a few simulations alone, as many as Student's t needs for the
same probability: 3.4 of twenty simulations, 19 of three, 236 of two.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from sdesim.results.files import write_text
from sdesim.statistics import Estimate, decisive, jackknife, mean_of, share_of

Op = Literal[">=", "<="]
Verdict = Literal["holds", "undecided", "fails"]
Statistic = float | np.ndarray | tuple[float, float]


class Ensemble(Protocol):
    """Independent simulations that a statistic looks at."""

    @property
    def sims(self) -> int:
        """How many."""
        ...

    def take(self, sims: np.ndarray) -> "Ensemble":
        """The same with the simulations of these indices alone.

        Args:
            sims: their indices.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a value must be for a statement to hold: `at_least(0.95, smoke=0.6)`, `at_most(4.0)`.

    Attributes:
        op: the side of the threshold.
        threshold: at the sizes that decide.
        smoke: threshold at smoke size, None where a few simulations cannot tell.
    """

    op: Op
    threshold: float
    smoke: float | None = None


def at_least(threshold: float, *, smoke: float | None = None) -> Condition:
    """The value must not be below the threshold.

    Args:
        threshold: at the sizes that decide.
        smoke: at smoke size, None where a few simulations cannot tell.
    """
    return Condition(">=", threshold, smoke)


def at_most(threshold: float, *, smoke: float | None = None) -> Condition:
    """The value must not be above the threshold.

    Args:
        threshold: at the sizes that decide.
        smoke: at smoke size, None where a few simulations cannot tell.
    """
    return Condition("<=", threshold, smoke)


@dataclasses.dataclass(frozen=True)
class Statement:
    """A sentence and how to measure it.

    Attributes:
        id: what it is called within its figure.
        statement: the sentence, and in brackets what is measured.
        statistic: of an ensemble to a number, or to one number a simulation, (sims,), whose mean is meant; or to a pair
            (value, standard error) where the statistic knows its own error.
        condition: what the value must be.
        note: why it is known to be weak: it is then shown with what was found, and does not decide the outcome.
        measured_on: the size of what was measured, where sizes differ much: of training, what the networks saw.
    """

    id: str
    statement: str
    statistic: Callable[[Any], Statistic]
    condition: Condition
    note: str = ""
    measured_on: str = ""

    @property
    def counted(self) -> bool:
        """Whether it decides the outcome."""
        return not self.note


@dataclasses.dataclass(frozen=True)
class Claim:
    """What was found of a statement.

    Attributes:
        id: that of the statement.
        statement: the sentence, with the statement's note in brackets.
        value: of the statistic.
        stderr: standard error of the value.
        op: the side of the threshold.
        threshold: at the size that was run.
        verdict: whether the value is on its side.
        counted: whether it decides the outcome.
        measured_on: the size of what was measured, where sizes differ much.
    """

    id: str
    statement: str
    value: float
    stderr: float
    op: Op
    threshold: float
    verdict: Verdict
    counted: bool
    measured_on: str = ""


def verdict(value: float, stderr: float, op: Op, threshold: float, dof: float = math.inf) -> Verdict:
    """Holds or fails by more than the decisive number of standard errors, else undecided. What is not a number fails.

    Args:
        value: of a statistic.
        stderr: standard error of the value.
        op: the side of the threshold on which the value must be.
        threshold: what the value is set beside.
        dof: degrees of freedom of the standard error.
    """
    margin = value - threshold if op == ">=" else threshold - value
    if not math.isfinite(margin) or not math.isfinite(stderr):
        return "fails"
    if abs(margin) < decisive(dof) * stderr:
        return "undecided"
    return "holds" if margin >= 0 else "fails"


def estimate(statistic: Callable[[Any], Statistic], ensemble: Ensemble) -> Estimate:
    """The value of a statistic and its standard error over independent simulations, with its degrees of freedom.

    One number a simulation: the mean and its standard error, of one degree of freedom less than simulations; a share of
    the simulations has an error that is never below that of one simulation more and one less, so that 200 of 200 is not
    infinitely sure, and counts as normal. One number an ensemble: the jackknife that leaves out one of 20 groups of
    simulations at a time, of one degree less than groups. A pair is its own answer, its error known exactly.

    Args:
        statistic: as a `Statement` has it.
        ensemble: what it looks at.

    Returns:
        Value, standard error and degrees of freedom.
    """
    found = statistic(ensemble)
    if isinstance(found, tuple):
        return Estimate(*found)
    value, n = np.asarray(found), ensemble.sims
    if value.ndim == 1:
        mean, stderr, dof = share_of(value) if value.dtype == bool else mean_of(value)
        return Estimate(float(mean), float(stderr), dof)
    return Estimate(float(value), *jackknife(lambda kept: statistic(ensemble.take(kept)), n))


def measure(statistic: Callable[[Any], Statistic], ensemble: Ensemble) -> tuple[float, float]:
    """The value of a statistic and its standard error, as `estimate` has them.

    Args:
        statistic: as a `Statement` has it.
        ensemble: what it looks at.
    """
    return estimate(statistic, ensemble)[:2]


def judge(statements: Sequence[Statement], ensemble: Ensemble, *, smoke: bool = False) -> list[Claim]:
    """Measure every statement; at smoke size those that have a smoke threshold.

    Args:
        statements: what is measured, in order.
        ensemble: what their statistics look at.
        smoke: whether it is of smoke size.

    Returns:
        A claim for each statement that was measured.
    """
    claims = []
    for s in statements:
        op, threshold = s.condition.op, s.condition.smoke if smoke else s.condition.threshold
        if threshold is None:
            continue
        value, stderr, dof = estimate(s.statistic, ensemble)
        found = verdict(value, stderr, op, threshold, dof)
        text = f"{s.statement} [{s.note}]" if s.note else s.statement
        claims.append(Claim(s.id, text, value, stderr, op, threshold, found, s.counted, s.measured_on))
    return claims


def table(claims: Sequence[Claim]) -> str:
    """The claims as aligned text.

    Args:
        claims: in the order of the lines.

    Returns:
        Lines under a head, and a last one with how many counted claims hold, are undecided and fail.
    """
    rows = [
        (
            c.id,
            f"{c.value:.4g}",
            f"± {c.stderr:.1g}",
            f"{c.op} {c.threshold:g}",
            c.verdict if c.counted else f"({c.verdict})",
            c.statement,
        )
        for c in claims
    ]
    head = ("claim", "value", "error", "needs", "verdict", "statement")
    widths = [max(len(r[i]) for r in (head, *rows)) for i in range(5)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[5]]) for r in (head, *rows)]
    counted = [c for c in claims if c.counted]
    tally = {v: sum(c.verdict == v for c in counted) for v in ("holds", "undecided", "fails")}
    lines.append(
        f"{len(counted)} counted: {tally['holds']} hold, {tally['undecided']} undecided, {tally['fails']} fail"
        + (f"; {len(claims) - len(counted)} shown in brackets, not counted" if len(claims) > len(counted) else "")
    )
    return "\n".join(lines)


def failed(claims: Sequence[Claim]) -> list[Claim]:
    """The counted claims that fail.

    Args:
        claims: of an experiment.
    """
    return [c for c in claims if c.counted and c.verdict == "fails"]


def write(claims: Sequence[Claim], path: str | os.PathLike[str]) -> None:
    """Write the claims as a JSON list, whole or not at all.

    Args:
        claims: of an experiment.
        path: of the file.
    """
    write_text(path, json.dumps([dataclasses.asdict(c) for c in claims], indent=1, ensure_ascii=False) + "\n")
