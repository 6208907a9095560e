"""Asynchronous EASGD and EAMSGD (Z, Alg. 1-2): exchanges of one worker at a time by the model's rule."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sdesim.asynchrony.events import AbstractProtocol, Job
from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, State
from sdesim.fields import whole_number
from sdesim.steppers.exchanges import exchange


class EASGD(AbstractProtocol):
    """Every `period` jobs a worker exchanges with what is shared, and goes on from there (Z, Alg. 1-2).

    With `Elastic(k)` the moving rate is alpha = eta k, and with momentum this is EAMSGD. The gradient of a job is taken
    where the worker was before its exchange, as the synchronous iteration takes it.

    Attributes:
        period: jobs of a worker between two of its exchanges (tau), at least 1.
    """

    period: Array = eqx.field(converter=whole_number, default=1)

    def check(self, model: Dynamics):
        model.coupling.check_members(ArrayMean(2, jnp.zeros(1, jnp.int32)))

    def init(self, model: Dynamics, state: State):
        tick, start = model.sizes(model.at_step(0)).tick, jnp.zeros_like(state.t)
        meet = lambda i, carry: exchange(model.coupling, *carry, start, tick, jnp.int32(i)[None])
        x, shared = lax.fori_loop(0, state.x.shape[0], meet, (state.x, state.shared))
        return state._replace(x=x, shared=shared, kept={"point": state.x})

    def arrive(self, state: State, job: Job):
        point = job.of(state.kept["point"])
        step, v = job.step(point, job.of(state.v))
        moved = job.of(state.x) + step
        due = (job.number + 1) % self.period == 0
        x, shared = job.exchange(job.put(state.x, moved), state.shared, due=due)
        kept = {"point": job.put(state.kept["point"], moved)}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared, kept=kept)
