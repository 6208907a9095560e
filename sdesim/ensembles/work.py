"""How much memory a step of a model takes beside its state."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, Literal

from sdesim.engine.gpu.program import inlined
from sdesim.engine.vectorize import ELEMENTWISE, STRUCTURAL, inner_programs

_FUSED = ELEMENTWISE | STRUCTURAL | {"iota", "stop_gradient", "rev", "pad"}
_REDUCING = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin")


def work_of(fn: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Bytes that a program of one lane holds at its fullest moment, beside its arguments.

    What depends on the arguments is of the lane; what depends on what the function closes over alone is of all lanes.
    Elementwise operations are fused by XLA with what reads their results, and counted as nothing; what other primitives
    read and write is counted whole, so that the estimate is rather too large.

    Args:
        fn: the program, as JAX traces it.
        *arguments: pytrees of arrays, or of their shapes and types, of one lane.

    Returns:
        Bytes of each lane, and bytes of all.
    """
    closed = jax.make_jaxpr(fn)(*arguments)
    flat = jax.make_jaxpr(lambda *leaves: inlined(closed.jaxpr, closed.consts, *leaves))(*jax.tree.leaves(arguments))
    return _peak(flat.jaxpr, dict.fromkeys(flat.jaxpr.invars, True))


def _size(variable: Any) -> int:
    """Bytes of a value in a program."""
    return int(np.prod(variable.aval.shape)) * getattr(variable.aval.dtype, "itemsize", 8)


def _peak(jaxpr: Jaxpr, mapped: dict[Any, bool]) -> tuple[int, int]:
    """The fullest moment of a program. mapped: which of its inputs are a lane's own."""
    of_lane = dict(mapped)
    fused = lambda eqn: eqn.primitive.name in _FUSED and not list(inner_programs(eqn.params))
    given = set(jaxpr.invars) | set(jaxpr.constvars)
    written: set[Any] = set()  # what is in memory, and not only within a fused loop
    for eqn in jaxpr.eqns:
        own = any(of_lane.get(v, False) for v in eqn.invars if not isinstance(v, Literal))
        of_lane.update((v, own) for v in eqn.outvars)
        if not fused(eqn):
            written.update(eqn.outvars)
            if eqn.primitive.name not in _REDUCING:  # a reduction reads a fused loop as it runs
                read = [v for v in eqn.invars if not isinstance(v, Literal)]
                written.update(read)
                if own:  # what it reads beside a lane's own is repeated for each lane, unless it is data
                    of_lane.update((v, True) for v in read if v not in given)
    last: dict[Any, int] = {}  # the last moment at which a value is read, through fused loops too
    for i in range(len(jaxpr.eqns) - 1, -1, -1):
        eqn = jaxpr.eqns[i]
        until = max([i, *(last.get(v, i) for v in eqn.outvars if v not in written)])
        for v in eqn.invars:
            if not isinstance(v, Literal):
                last[v] = max(last.get(v, 0), until)
    live, most = {True: 0, False: 0}, {True: 0, False: 0}
    ends: dict[int, list[Any]] = {}
    for i, eqn in enumerate(jaxpr.eqns):
        new = [v for v in eqn.outvars if v in written and v not in given]
        for v in new:
            live[of_lane[v]] += _size(v)
            ends.setdefault(last.get(v, i), []).append(v)
        within = {True: 0, False: 0}
        for inner in list(inner_programs(eqn.params)):
            own = any(of_lane.get(v, False) for v in eqn.invars if not isinstance(v, Literal))
            own, shared = _peak(inner, dict.fromkeys(inner.invars, own))
            within = {True: max(within[True], own), False: max(within[False], shared)}
        most = {of: max(most[of], live[of] + within[of]) for of in most}
        for v in ends.pop(i, []):
            live[of_lane[v]] -= _size(v)
    return most[True], most[False]
