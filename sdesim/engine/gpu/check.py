"""Whether the kernel does on this machine what the scan does, looked at in a program's first run.

Tests without a GPU compile the kernel and interpret it; what a driver and a compiler of another version make of it on
somebody's machine, only that machine can say.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from sdesim.dynamics import State
from sdesim.sums import Sum

STEPS = 8
LANES = 8
UNITS = 64  # in the last place of the state's scale, in one step


class Disagreement(Exception):
    """The kernel and the scan computed two different things, in one line."""


def lanes_to_compare(count: int) -> np.ndarray:
    """A few of the lanes, from the first to the last: of the first and the last block, and between.

    Args:
        count: lanes of the run.

    Returns:
        Their numbers, at most `LANES` of them.
    """
    return np.unique(np.linspace(0, count - 1, min(count, LANES)).astype(int))


def confirm(
    fused: Callable[[State, int, int, int], State],
    scan: Callable[[State, int], State],
    state: State,
    first: int,
    stride: int | None,
    lanes: np.ndarray,
) -> None:
    """Take `STEPS` steps by the kernel, each compared with the scan, and the same in one go.

    Each step of the scan starts from the kernel's state, because over several steps rounding grows as fast as the loss
    is curved. That the kernel repeats its step rightly is seen from several steps at once, which are the same bits.

    Args:
        fused: (state, step, turns, stride) -> the state of all lanes after `turns` times `stride` steps by the kernel.
        scan: (state of `lanes`, step) -> their state one step later.
        state: of all lanes, leaves (..., lanes).
        first: the first step's number.
        stride: steps between two records or epochs; None without any.
        lanes: the numbers of those that are compared.

    Raises:
        Disagreement: naming the part of the state that differs most.
    """
    take = lambda state: jax.tree.map(lambda leaf: np.asarray(leaf[..., lanes]), state)
    stride = STEPS if stride is None else min(stride, STEPS)
    turns = STEPS // stride
    now = state
    for step in range(first, first + turns * stride):
        before, now = take(now), fused(now, step, 1, 1)
        _compare(take(now), jax.tree.map(np.asarray, scan(before, step)), step)
    at_once = take(fused(state, first, turns, stride))
    for name, one, other in _named(take(now), at_once):
        if not np.array_equal(one, other, equal_nan=True):
            raise Disagreement(f"{name} after {turns * stride} steps at once and one by one")


def _named(got: State, expected: State) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The leaves of both states with the name of the part that they are of."""
    for name, *parts in zip(State._fields, got, expected, strict=True):
        for one, other in zip(*map(jax.tree.leaves, parts), strict=True):
            yield name, np.asarray(one), np.asarray(other)


def _compare(got: State, expected: State, step: int) -> None:
    """Refuse what differs by more than rounding."""
    positions = _scale(np.asarray(expected.x))
    for name, one, other in _named(got, expected):
        if not np.issubdtype(other.dtype, np.floating):
            if not np.array_equal(one, other):
                raise Disagreement(f"{name} after step {step}")
            continue
        finite = np.isfinite(other)
        if (np.isfinite(one) != finite).any():
            raise Disagreement(f"which lanes are finite after step {step}: {name}")
        # Gradients, and what they move, carry the rounding of the positions; time does not.
        time = getattr(expected, name)
        scale = _scale(np.asarray(time.value)) if isinstance(time, Sum) else max(_scale(other), positions)
        error = _scale(one[finite] - other[finite])
        if error > UNITS * np.spacing(other.dtype.type(scale)):
            raise Disagreement(f"{name} after step {step}, by {error:.2g} where the state is of size {scale:.2g}")


def _scale(leaf: np.ndarray) -> float:
    """The largest of the finite numbers, without their signs."""
    return float(np.abs(leaf[np.isfinite(leaf)]).max(initial=0))
