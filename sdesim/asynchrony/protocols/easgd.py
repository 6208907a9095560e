"""Asynchronous EASGD and EAMSGD (Z, Alg. 1-2): exchanges of one worker at a time by the model's rule."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.events import AbstractProtocol, Discrete, Job, own_rows
from sdesim.asynchrony.links import due
from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_sign, whole_number
from sdesim.steppers.exchanges import exchange


class AbstractExchanges(AbstractProtocol):
    """Workers that every `period` jobs exchange by the model's rule, and go on from there.

    The gradient of a job is taken where the worker was before the exchange at its head, as the iteration takes it.
    Subclasses say who takes part.

    Attributes:
        period: jobs of a worker between two of its exchanges (tau), at least 1.
    """

    period: Array = eqx.field(converter=whole_number, default=1)

    def __check_init__(self):
        check_sign("period", self.period, zero=False)

    def check(self, model: Dynamics):
        model.coupling.check_members(ArrayMean(2, jnp.zeros(1, jnp.int32)))

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        return Discrete(jobs % int(self.period))

    def sends(self, number: Array):
        return due(number, self.period)

    def who(self, job: Job, agents: int) -> Array:
        """Who takes part in the exchange at the end of a job.

        Args:
            job: that ends.
            agents: the number of workers.

        Returns:
            Different integers, (count,), of which the first is the worker.
        """
        raise NotImplementedError

    def init(self, model: Dynamics, state: State):
        return state._replace(kept={"point": state.x})

    @own_rows
    def arrive(self, state: State, job: Job):
        point = job.of(state.kept["point"])
        step, v = job.step(point, job.of(state.v))
        moved = job.of(state.x) + step
        members = self.who(job, state.x.shape[0])
        x, shared = job.exchange(job.put(state.x, moved), state.shared, members, self.sends(job.number))
        kept = {"point": job.put(state.kept["point"], moved)}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared, kept=kept)


class EASGD(AbstractExchanges):
    """One worker and what is shared exchange (Z, Alg. 1-2).

    With `Elastic(k)` the moving rate is alpha = eta k, and with momentum this is EAMSGD. All workers have exchanged
    once, in their order, when the run begins. With workers of equal times that start together it is the round-robin
    scheme (Z 3.55-3.56).

    Attributes:
        period: jobs of a worker between two of its exchanges (tau), at least 1.
    """

    def who(self, job: Job, agents: int):
        return job.members

    def init(self, model: Dynamics, state: State):
        tick, start = model.sizes(model.at_step(0)).tick, jnp.zeros_like(state.t)
        meet = lambda i, now: exchange(model.coupling, now[0], now[1], start, tick, jnp.int32(i)[None])
        x, shared = lax.fori_loop(0, state.x.shape[0], meet, (state.x, state.shared))
        return super().init(model, state)._replace(x=x, shared=shared)
