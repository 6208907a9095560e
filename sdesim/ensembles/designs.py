"""Designs: points of several numbers at once, spread over ranges, where a grid of all combinations would be too many.

Both go on: the first points of a larger design are those of a smaller one of the same seed, so that a store that has
some runs the others alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdesim.fields import check_choice, check_count, check_less, named, number, shown

SCALES = ("linear", "log")

Ranges = Mapping[str, Sequence]
"""By the name of a number, its least and greatest value, and "log" where it is spread evenly over its logarithm."""


@dataclasses.dataclass(frozen=True)
class Design:
    """Points to be simulated, in place of a grid.

    Attributes:
        names: of the model's numbers, dotted.
        rows: of each point their values, in the order of the names.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self):
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names={shown(self.names)}: must be names of numbers, each once")
        if not self.rows or any(len(row) != len(self.names) for row in self.rows):
            raise ValueError(f"rows: must be points of {len(self.names)} values each, and at least one")

    @property
    def columns(self) -> dict[str, list[float]]:
        """Of each number its value at every point."""
        return {name: [row[i] for row in self.rows] for i, name in enumerate(self.names)}


def random_design(ranges: Ranges, count: int, seed: int = 0) -> Design:
    """Points drawn evenly and independently.

    Args:
        ranges: as `Ranges`.
        count: of points.
        seed: of the draws, at least 0.

    Returns:
        The design.

    Raises:
        ValueError: for ranges that are none, and what is no count.
    """
    ends, count, seed = ends_of(ranges), check_count("count", count), check_count("seed", seed, least=0)
    return _scaled(ends, np.random.Generator(np.random.Philox(seed)).random((count, len(ends))))


def sobol(ranges: Ranges, count: int, seed: int = 0) -> Design:
    """Points of a scrambled Sobol sequence, which fill space more evenly than chance; best 2, 4, 8, ... of them.

    Args:
        ranges: as `Ranges`.
        count: of points.
        seed: of the scrambling, at least 0.

    Returns:
        The design.

    Raises:
        ValueError: for ranges that are none, and what is no count.
    """
    from scipy.stats import qmc  # half a second to import

    ends, count, seed = ends_of(ranges), check_count("count", count), check_count("seed", seed, least=0)
    whole = qmc.Sobol(len(ends), scramble=True, rng=seed).random_base2(int(count - 1).bit_length())
    return _scaled(ends, whole[:count])


def ends_of(ranges: Any) -> dict[str, tuple[float, float, str]]:
    """Ranges, checked.

    Args:
        ranges: as `Ranges`.

    Returns:
        By name the least value, the greatest, and one of `SCALES`.

    Raises:
        ValueError: for ranges that are none.
    """
    if not isinstance(ranges, Mapping) or not ranges:
        raise ValueError(f"ranges={shown(ranges)}: must be ends by name, such as {{'coupling.k': (0.1, 10, 'log')}}")
    found = {}
    for name, given in ranges.items():
        what = f"ranges[{name!r}]"
        if not isinstance(given, list | tuple) or len(given) not in (2, 3):
            raise ValueError(f"{what}={shown(given)}: must be (low, high) or (low, high, 'log')")
        low, high = (float(named(what, number)(end)) for end in given[:2])
        scale = check_choice(what, given[2] if len(given) == 3 else "linear", SCALES)
        check_less(f"{what} low", low, "high", high)
        if scale == "log" and low <= 0:
            raise ValueError(f"{what}={shown(given)}: must begin above 0 on a logarithmic scale")
        found[str(name)] = low, high, scale
    return found


def _scaled(ends: Mapping[str, tuple[float, float, str]], unit: np.ndarray) -> Design:
    columns = [
        low * (high / low) ** u if scale == "log" else low + (high - low) * u
        for (low, high, scale), u in zip(ends.values(), unit.T, strict=True)
    ]
    return Design(tuple(ends), tuple(map(tuple, np.stack(columns, -1).tolist())))
