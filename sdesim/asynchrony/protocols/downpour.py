"""DOWNPOUR and MDOWNPOUR (Z, Alg. 3-5): a server that adds up what workers push."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.events import AbstractServer, Discrete, Job, own_rows
from sdesim.asynchrony.links import due
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_sign, number, whole_number


class Downpour(AbstractServer):
    """A worker descends by itself, and every `period` jobs pushes all that it did and reads (Z, Alg. 3).

        every job: x^i <- x^i - eta g,  push^i <- push^i - eta g;    then: c <- c + push^i,  x^i <- c,  push^i <- 0

    Attributes:
        period: jobs of a worker between two pushes (tau), at least 1. With 1 this is AsyncSGD.
    """

    period: Array = eqx.field(converter=whole_number, default=1)

    def __check_init__(self):
        check_sign("period", self.period, zero=False)

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        return Discrete(jobs % int(self.period))

    def sends(self, number: Array):
        return due(number, self.period)

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        return state._replace(kept={"push": jnp.zeros_like(state.x)})

    @own_rows
    def arrive(self, state: State, job: Job):
        x = job.of(state.x)
        step, v = job.step(x, job.of(state.v))
        x, push = x + step, job.of(state.kept["push"]) + step
        sends = self.sends(job.number)
        center = state.shared["center"]
        center = jnp.where(sends, center + push[0], center)
        return state._replace(
            x=job.put(state.x, jnp.where(sends, center[None], x)),
            v=job.put(state.v, v),
            shared={"center": center},
            kept={"push": job.put(state.kept["push"], jnp.where(sends, jnp.zeros_like(push), push))},
        )


class MomentumDownpour(AbstractServer):
    """The momentum is the server's: v <- delta v - eta g(x^i), c <- c + v, x^i <- c + delta v (Z, Alg. 4-5).

    With one worker this is Nesterov's method.

    Attributes:
        delta: momentum of the server, from 0 to 1, without unit.
    """

    delta: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("delta", self.delta)

    def check(self, model: Dynamics):
        super().check(model)
        if model.momentum is not None:
            raise ValueError("momentum: MomentumDownpour has the momentum at its server; leave the model's out")

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        return state._replace(shared={**state.shared, "velocity": jnp.zeros_like(state.x[0])})

    @own_rows
    def arrive(self, state: State, job: Job):
        step, _ = job.step(job.of(state.x), None)
        velocity = self.delta * state.shared["velocity"] + step[0]
        center = state.shared["center"] + velocity
        x = job.put(state.x, (center + self.delta * velocity)[None])
        return state._replace(x=x, shared={"center": center, "velocity": velocity})
