"""The computation tree of a run: which gradients a point is made of (Birch SGD, 2505.09218).

The points of the server are the main branch, each one gradient further than the one before. A gradient was taken at a
point z, which may lie on another branch, and is used at a point x of the main one. How far both are from their closest
common ancestor is what the bounds of that family hang on.

The tree is found by the protocol itself, which is handed unit vectors for gradients: what a point is made of can then
be read off its coordinates.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim import random
from sdesim.asynchrony.events import AbstractProtocol, AbstractServer, Arrival, Asynchronous, Job
from sdesim.asynchrony.tables import Timetable
from sdesim.dynamics import Agents, Dynamics
from sdesim.fields import byte_count, check_count, shown
from sdesim.memory import available_memory
from sdesim.objectives import Quadratic
from sdesim.steppers.base import Kick


@dataclasses.dataclass(frozen=True, eq=False)
class Computation:
    """The main branch of a computation tree, gradient by gradient in the order of their use.

    Attributes:
        arrival: the number of the arrival that brought the gradient, from 0, (used,).
        staleness: edges from the point where it is used to the closest common ancestor of that and the point where it
            was taken, (used,): the gradients that came between.
        aside: edges from the point where it was taken to that ancestor, (used,): the worker's own steps since its read.
        arrivals: of the run; those that are not in `arrival` were discarded or not yet used.
    """

    arrival: NDArray
    staleness: NDArray
    aside: NDArray
    arrivals: int

    @property
    def radius(self) -> int:
        """R, the greatest of both distances of any gradient; of AsyncSGD the greatest staleness."""
        return int(np.maximum(self.staleness, self.aside).max(initial=0))

    @property
    def tau_max(self) -> int:
        """The greatest staleness of a gradient that was used."""
        return int(self.staleness.max(initial=0))

    @property
    def tau_avg(self) -> float:
        """The mean staleness of the gradients that were used; NaN of none."""
        return float(self.staleness.mean()) if self.staleness.size else float("nan")


class _Marked(Job):
    """A job whose gradient is the unit vector of its arrival."""

    def step(self, x: Agents, v: Agents | None, scale: Array | float = 1.0):
        unit = (jnp.arange(x.shape[-1], dtype=jnp.int32) == self.arrival).astype(x.dtype)
        return (scale * unit)[None], v


def computation(
    protocol: AbstractProtocol, table: Timetable, sim: int = 0, *, memory: int | str | None = None
) -> Computation:
    """The computation tree of a protocol on a timetable, for protocols whose server sums up gradients.

    Takes time and memory that grow with the square of the number of arrivals.

    Args:
        protocol: what workers do when they arrive, of `sdesim.asynchrony`, without the model's momentum.
        table: who arrives when: as the stepper makes it, `timetable(law, ..., barrier=protocol.barrier)`.
        sim: the simulation, an index of the timetable's.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.

    Returns:
        The tree's main branch.

    Raises:
        TypeError: for what is no protocol or no timetable.
        ValueError: for a protocol whose center is no sum of gradients: with the reason.
        MemoryError: with what is needed and what there is, before anything is allocated.
    """
    if not isinstance(protocol, AbstractProtocol):
        raise TypeError(f"protocol={shown(protocol)}: must be one of sdesim.asynchrony")
    if not isinstance(table, Timetable):
        raise TypeError(f"table={shown(table)}: must be one of sdesim.asynchrony.timetable")
    name = type(protocol).__name__
    no_sum = f"protocol={name}: what workers are drawn to is no sum of gradients, of which there is no computation tree"
    if not isinstance(protocol, AbstractServer):
        raise ValueError(no_sum)
    row = check_count("sim", sim, least=0, most=table.sims - 1)
    n, p = table.arrivals, table.workers
    states = n * jnp.result_type(float).itemsize * (4 * p + 8)  # one with what it keeps, before and after
    need = states + 3 * n**2
    have = available_memory() if memory is None else byte_count("memory", memory)
    if have is not None and need > have:
        given = "" if memory is None else f"memory={shown(memory)}: "
        words = f"the tree of {n} arrivals of {p} workers needs about {need / 2**30:.3g} GiB"
        raise MemoryError(f"{given}{words}, and {have / 2**30:.3g} GiB are free: take fewer arrivals")
    if not n:
        none = np.zeros(0, np.int32)
        return Computation(none, none, none, 0)
    place, taken, sums = map(np.asarray, _walked(protocol, table.worker[row], table.job[row], p, n))
    if not sums:
        raise ValueError(no_sum)
    used = np.flatnonzero(place < n)
    used = used[np.argsort(place[used])]
    whether = taken[np.ix_(used, used)]  # the main branch's gradients, of each point at which one was taken
    common = np.argmin(whether, axis=1) if used.size else used
    return Computation(used, np.arange(used.size) - common, taken[used].sum(axis=1) - common, n)


def _walked(protocol: AbstractProtocol, worker: NDArray, job: NDArray, p: int, n: int) -> tuple[Array, ...]:
    """What happens to each arrival's gradient.

    Returns:
        Its place on the main branch, n for none, (n,); of what gradients the point is made where it was taken, (n, n);
        and whether the center is a sum of gradients at all.
    """
    model = Dynamics(Quadratic(), eta=1.0)
    stepper = Asynchronous(protocol)
    zero, seed = jnp.zeros((), jnp.int32), random.seed_words(0)
    size = stepper.sizes(model, zero)
    quiet: Kick = lambda x, gradients, size: jnp.zeros_like(x)

    def arrive(carry: tuple, here: tuple):
        state, place, count, sums = carry
        number, i, which = here
        t = size.tick * (which + 1).astype(size.tick.dtype)
        came = Arrival(i, which)
        of_job = _Marked(model, i, which, number, t, size, size.tick, quiet, seed, zero, came)
        taken = of_job.of(state.x)[0] != 0
        before = state.shared["center"]
        state = protocol.arrive(state, of_job)
        center = state.shared["center"]
        sums &= jnp.where(before != 0, center == before, True).all()
        fresh = (center != 0) & (place == n)
        place = jnp.where(fresh, count + jnp.cumsum(fresh, dtype=jnp.int32) - 1, place)
        count = count + jnp.sum(fresh, dtype=jnp.int32)
        return (state, place, count, sums), taken

    @jax.jit
    def walk(worker: Array, job: Array):
        state = stepper.init(model, jnp.zeros((p, n)))
        state = state._replace(kept=state.kept.own)
        start = (state, jnp.full(n, n, jnp.int32), jnp.int32(0), jnp.bool_(True))
        (_, place, _, sums), taken = lax.scan(arrive, start, (jnp.arange(n, dtype=jnp.int32), worker, job))
        return place, taken, sums

    return walk(jnp.asarray(worker, jnp.int32), jnp.asarray(job, jnp.int32))
