"""Rules by which a sweep goes on until it is sure enough: in rounds, each planned from all results of those before."""

import dataclasses
import math
import re
from typing import Any

import numpy as np

from sdesim.fields import check_count, one_number, shown
from sdesim.results.stores.cut import Box, Rounds

_FORM = re.compile(r"\s*stderr\(\s*([\w.]+)\s*\)\s*<\s*([\d.eE+-]+)\s*(%?)\s*")
GROWTH = 2  # times as many simulations as a point has are added to it at the most, since its error is known badly
LEAST_GROWTH = 0.1  # likewise, at the least
MOST = 100  # times the least number of simulations, beyond which no point goes by default


@dataclasses.dataclass(frozen=True)
class Rule:
    """Until when simulations are added to a point.

    Attributes:
        name: of what is measured; of several coordinates or records the worst counts.
        below: what its standard error must be below.
        relative: whether that is a share of the absolute value of the mean.
        least: simulations of each point, which the first round has.
        most: simulations of a point that are not exceeded.
    """

    name: str
    below: float
    relative: bool
    least: int
    most: int

    @classmethod
    def of(cls, text: str, least: Any, most: Any) -> "Rule":
        """A rule in words.

        Args:
            text: such as "stderr(quorum_loss) < 0.01", or "< 5%" of the mean.
            least: simulations of each point, at least 2.
            most: of a point at the most; None for a hundred times as many.

        Returns:
            The rule.

        Raises:
            ValueError: for what is no rule.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            right = "must be a moment, or such as 'stderr(quorum_loss) < 0.01' or 'stderr(spread) < 5%'"
            raise ValueError(f"until={shown(text)}: {right}")
        name, below, percent = found.groups()
        try:
            below = one_number("until", float(below), zero=False)
        except ValueError:
            raise ValueError(f"until={shown(text)}: must have a number greater than 0") from None
        least = check_count("sims", least, least=2)
        most = MOST * least if most is None else check_count("most", most, least=least)
        return cls(name, below / 100 if percent else below, bool(percent), least, most)

    def __str__(self) -> str:
        limit = f"{100 * self.below:g}%" if self.relative else f"{self.below:g}"
        return f"stderr({self.name}) < {limit}"

    def wanted(self, done: np.ndarray, mean: np.ndarray, stderr: np.ndarray) -> np.ndarray:
        """How many simulations each point is to have after the next round.

        An error that is not finite, of simulations that diverged, no number of them makes smaller: such points stay.

        Args:
            done: that it has, (points,).
            mean: of what is measured, (points, numbers).
            stderr: of the mean, (points, numbers).

        Returns:
            Counts, (points,).
        """
        limit = self.below * np.abs(mean) if self.relative else self.below
        with np.errstate(invalid="ignore", divide="ignore"):
            worst = (stderr / limit).max(axis=1, initial=0.0)
            needed = np.ceil(done * worst**2)
        open_still = np.isfinite(worst) & (worst >= 1) | np.isposinf(worst) & np.isfinite(stderr).all(axis=1)
        grown = np.clip(needed, done + np.ceil(LEAST_GROWTH * done), (1 + GROWTH) * done)
        return np.where(open_still & (done > 0), np.minimum(grown, self.most), done).astype(int)

    def boxes(self, rounds: Rounds, done: np.ndarray, mean: np.ndarray, stderr: np.ndarray) -> list[Box]:
        """What the next round is to compute.

        Args:
            rounds: those before, all of whose tasks are done.
            done: simulations of each point, (counts of the axes).
            mean: of what is measured, (counts of the axes, ...).
            stderr: of the mean, likewise.

        Returns:
            Boxes; none where the rule holds.
        """
        points = math.prod(rounds.counts)
        flat = done.reshape(points)
        wanted = self.wanted(flat, mean.reshape(points, -1), stderr.reshape(points, -1))
        runs: dict[tuple, list[int]] = {}  # points that differ in the last axis alone, with the same simulations
        for i in np.flatnonzero(wanted > flat):
            place = tuple(map(int, np.unravel_index(i, rounds.counts))) if rounds.counts else ()
            runs.setdefault((place[:-1], int(flat[i]), int(wanted[i])), []).append(place[-1] if place else 0)
        return [
            Box((*((i,) for i in before), *([tuple(last)] if rounds.counts else [])), (begin, end))
            for (before, begin, end), last in runs.items()
        ]
