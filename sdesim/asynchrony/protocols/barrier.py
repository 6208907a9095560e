"""Partial barriers: whoever comes waits until enough are there."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.asynchrony.clocks import Timing
from sdesim.asynchrony.events import AbstractProtocol, AbstractServer, Discrete, Job
from sdesim.asynchrony.tables import Timetable
from sdesim.coupling import ArrayMean, Mean
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import Counts, Dynamics, State
from sdesim.fields import check_count
from sdesim.steppers.base import Setting
from sdesim.steppers.exchanges import exchange


class AbstractBarrier(AbstractProtocol):
    """Whoever arrives waits until `size` are there, who then act together.

    Attributes:
        size: workers that act together, at least 1; static, and at most as many as there are.
    """

    size: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("size", self.size)

    @property
    def barrier(self):
        return self.size

    def feed(self, model: Dynamics, timing: Timing, table: Timetable | None, setting: Setting):
        self.check_workers(setting.agents)
        return super().feed(model, timing, table, setting)

    def check_workers(self, workers: int) -> None:
        """Refuse fewer workers than act together.

        Args:
            workers: their number.

        Raises:
            ValueError: naming the size.
        """
        if self.size > workers:
            raise ValueError(f"size={self.size}: must be at most the number of workers, {workers}")

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        waiting = np.isin(np.arange(len(state.x)), np.asarray(state.shared["there"])[: arrivals % self.size])
        return Discrete(waiting.astype(int), waiting=waiting)

    def counts(self, state: State, arrivals: Array, sent: Array):
        updates = arrivals // self.size  # who waits has not been answered yet
        return Counts(arrivals, arrivals, sent, updates * self.size, updates)

    def nobody(self, workers: int) -> Array:
        """Who is there at the start, (size,): as many are to come.

        Args:
            workers: their number.

        Raises:
            ValueError: for fewer workers than act together.
        """
        self.check_workers(workers)
        return jnp.zeros(self.size, jnp.int32)

    def joined(self, there: Array, job: Job) -> tuple[Array, Array]:
        """Who is there after an arrival, and whether they are enough.

        Args:
            there: who was before it, (size,).
            job: that ends.

        Returns:
            (size,), and a bool scalar.
        """
        place = job.arrival % self.size
        return there.at[place].set(job.worker), place == self.size - 1


class PartialBarrier(AbstractBarrier):
    """Workers wait until `size` of them have arrived; these exchange by the model's rule, and go on together.

    A barrier of all workers is the synchronous iteration. All workers exchange when the run begins.

    Attributes:
        size: workers of an exchange, at least 1; static, and at most as many as there are.
    """

    @property
    def members(self):
        return self.size

    def check(self, model: Dynamics):
        model.coupling.check_members(ArrayMean(2, jnp.zeros(1, jnp.int32)))

    def init(self, model: Dynamics, state: State):
        there = self.nobody(len(state.x))
        tick, start = model.sizes(model.at_step(0)).tick, jnp.zeros_like(state.t)
        x, shared = exchange(model.coupling, state.x, state.shared, start, tick)
        shared = {"rule": shared, "there": there}
        return state._replace(x=x, shared=shared, kept={"point": state.x})

    def arrive(self, state: State, job: Job):
        there, enough = self.joined(state.shared["there"], job)
        step, v = job.step(job.of(state.kept["point"]), job.of(state.v))
        x = job.put(state.x, job.of(state.x) + step)

        def together(x: Array, point: Array, shared: PyTree):
            point = with_rows(point, there, rows_of(x, there))
            x, shared = job.exchange(x, shared, there)
            return x, point, shared

        alone = lambda x, point, shared: (x, point, shared)
        now = (x, state.kept["point"], state.shared["rule"])
        x, point, shared = lax.cond(enough, together, alone, *now)
        shared = {"rule": shared, "there": there}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared, kept={"point": point})

    def center(self, model: Dynamics, state: State, mean: Mean):
        return model.coupling.center(state.x, state.shared["rule"], state.t, mean)


class KAsyncSGD(AbstractBarrier, AbstractServer):
    """The server waits for `size` gradients, steps by their mean, and those workers go on from there (1803.01113).

    The other workers are still at what they read, and their gradients come late. With all workers this is the
    iteration on a minibatch of all.

    Attributes:
        size: gradients of a step (K), at least 1; static, and at most as many as there are workers.
    """

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        own = {"sum": jnp.zeros_like(state.x[0]), "there": self.nobody(len(state.x))}
        return state._replace(shared={**state.shared, **own})

    def arrive(self, state: State, job: Job):
        there, enough = self.joined(state.shared["there"], job)
        step, v = job.step(job.of(state.x), job.of(state.v))
        total = state.shared["sum"] + step[0]

        def together(x: Array, center: Array, total: Array):
            center = center + total / self.size
            rows = jnp.broadcast_to(center[None], (self.size, *center.shape))
            return with_rows(x, there, rows), center, jnp.zeros_like(total)

        alone = lambda *now: now
        now = (state.x, state.shared["center"], total)
        x, center, total = lax.cond(enough, together, alone, *now)
        shared = {"center": center, "sum": total, "there": there}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared)
