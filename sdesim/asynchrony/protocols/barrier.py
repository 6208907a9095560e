"""A partial barrier: whoever comes waits until enough are there."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from sdesim.asynchrony.events import AbstractProtocol, Job
from sdesim.coupling import ArrayMean
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_count
from sdesim.steppers.exchanges import exchange


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
    def barrier(self):
        return self.size

    def check(self, model: Dynamics):
        model.coupling.check_members(ArrayMean(2, jnp.zeros(1, jnp.int32)))

    def init(self, model: Dynamics, state: State):
        if self.size > state.x.shape[0]:
            raise ValueError(f"size={self.size}: must be at most the number of workers, {state.x.shape[0]}")
        tick, start = model.sizes(model.at_step(0)).tick, jnp.zeros_like(state.t)
        x, shared = exchange(model.coupling, state.x, state.shared, start, tick)
        there = {"rule": shared, "there": jnp.zeros(self.size, jnp.int32)}
        return state._replace(x=x, shared=there, kept={"point": state.x})

    def arrive(self, state: State, job: Job):
        place = job.arrival % self.size
        there = state.shared["there"].at[place].set(job.worker)
        step, v = job.step(job.of(state.kept["point"]), job.of(state.v))
        x = job.put(state.x, job.of(state.x) + step)

        def together(x, point, shared):
            point = with_rows(point, there, rows_of(x, there))
            x, shared = job.exchange(x, shared, there)
            return x, point, shared

        alone = lambda x, point, shared: (x, point, shared)
        now = (x, state.kept["point"], state.shared["rule"])
        x, point, shared = lax.cond(place == self.size - 1, together, alone, *now)
        there = {"rule": shared, "there": there}
        return state._replace(x=x, v=job.put(state.v, v), shared=there, kept={"point": point})

    def center(self, model: Dynamics, state: State, mean):
        return model.coupling.center(state.x, state.shared["rule"], state.t, mean)
