"""Partial barriers: whoever comes waits until enough are there."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.asynchrony.events import AbstractProtocol, AbstractServer, Job
from sdesim.coupling import ArrayMean, Mean
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import Counts, Dynamics, State
from sdesim.fields import check_count
from sdesim.steppers.exchanges import exchange


def _together(size: int, arrivals: Array, sent: Array) -> Counts:
    """The counts of workers who are answered when `size` of them have arrived: a message each."""
    updates = arrivals // size
    return Counts(arrivals, arrivals, sent, updates * size, updates)


class PartialBarrier(AbstractProtocol):
    """Workers wait until `size` of them have arrived; these exchange by the model's rule, and go on together.

    A barrier of all workers is the synchronous iteration. All workers exchange when the run begins.

    Attributes:
        size: workers of an exchange, at least 1; static, and at most as many as there are.
    """

    size: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("size", self.size)

    @property
    def members(self):
        return self.size

    @property
    def barrier(self):
        return self.size

    def check(self, model: Dynamics):
        model.coupling.check_members(ArrayMean(2, jnp.zeros(1, jnp.int32)))

    def init(self, model: Dynamics, state: State):
        if self.size > state.x.shape[0]:
            raise ValueError(f"size={self.size}: must be at most the number of workers, {state.x.shape[0]}")
        tick, start = model.sizes(model.at_step(0)).tick, jnp.zeros_like(state.t)
        x, shared = exchange(model.coupling, state.x, state.shared, start, tick)
        shared = {"rule": shared, "there": jnp.zeros(self.size, jnp.int32)}
        return state._replace(x=x, shared=shared, kept={"point": state.x})

    def counts(self, state: State, arrivals: Array, sent: Array):
        return _together(self.size, arrivals, sent)

    def arrive(self, state: State, job: Job):
        place = job.arrival % self.size
        there = state.shared["there"].at[place].set(job.worker)
        step, v = job.step(job.of(state.kept["point"]), job.of(state.v))
        x = job.put(state.x, job.of(state.x) + step)

        def together(x: Array, point: Array, shared: PyTree):
            point = with_rows(point, there, rows_of(x, there))
            x, shared = job.exchange(x, shared, there)
            return x, point, shared

        alone = lambda x, point, shared: (x, point, shared)
        now = (x, state.kept["point"], state.shared["rule"])
        x, point, shared = lax.cond(place == self.size - 1, together, alone, *now)
        shared = {"rule": shared, "there": there}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared, kept={"point": point})

    def center(self, model: Dynamics, state: State, mean: Mean):
        return model.coupling.center(state.x, state.shared["rule"], state.t, mean)


class KAsyncSGD(AbstractServer):
    """The server waits for `size` gradients, steps by their mean, and those workers go on from there (1803.01113).

    The other workers are still at what they read, and their gradients come late. With all workers this is the
    iteration on a minibatch of all.

    Attributes:
        size: gradients of a step (K), at least 1; static, and at most as many as there are workers.
    """

    size: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("size", self.size)

    @property
    def barrier(self):
        return self.size

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        own = {"sum": jnp.zeros_like(state.x[0]), "there": jnp.zeros(self.size, jnp.int32)}
        return state._replace(shared={**state.shared, **own})

    def counts(self, state: State, arrivals: Array, sent: Array):
        return _together(self.size, arrivals, sent)

    def arrive(self, state: State, job: Job):
        place = job.arrival % self.size
        there = state.shared["there"].at[place].set(job.worker)
        step, v = job.step(job.of(state.x), job.of(state.v))
        total = state.shared["sum"] + step[0]

        def together(x: Array, center: Array, total: Array):
            center = center + total / self.size
            rows = jnp.broadcast_to(center[None], (self.size, *center.shape))
            return with_rows(x, there, rows), center, jnp.zeros_like(total)

        alone = lambda *now: now
        now = (state.x, state.shared["center"], total)
        x, center, total = lax.cond(place == self.size - 1, together, alone, *now)
        shared = {"center": center, "sum": total, "there": there}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared)
