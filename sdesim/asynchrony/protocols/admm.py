"""ADMM of workers that take their turns (Z 3.52-3.54)."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.asynchrony.events import AbstractServer, Job, own_rows
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_sign, number


class ADMM(AbstractServer):
    """Linearized ADMM; with workers of equal times that start together the round-robin scheme (Z 3.52-3.54).

        lambda^i <- lambda^i - (x^i - c)
        x^i      <- (x^i - eta g + eta rho (lambda^i + c)) / (1 + eta rho)
        c        <- mean of x^j - lambda^j over all workers

    The workers start where they are, and lambda at 0.

    Attributes:
        rho: penalty of the distance from the center, at least 0, in 1/time.
    """

    rho: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("rho", self.rho)

    def check(self, model: Dynamics):
        super().check(model)
        if model.momentum is not None:
            raise ValueError("momentum: ADMM has none; leave it out")

    def init(self, model: Dynamics, state: State):
        start = state.x
        return super().init(model, state)._replace(x=start, kept={"multiplier": jnp.zeros_like(start)})

    @own_rows
    def arrive(self, state: State, job: Job):
        center, weight = state.shared["center"], self.rho * job.size.tick
        x, multiplier = job.of(state.x), job.of(state.kept["multiplier"])
        step, _ = job.step(x, None)
        new = multiplier - (x - center[None])
        moved = (x + step + weight * (new + center[None])) / (1 + weight)
        change = ((moved - new) - (x - multiplier))[0] / state.x.shape[0]
        kept = {"multiplier": job.put(state.kept["multiplier"], new)}
        return state._replace(x=job.put(state.x, moved), shared={"center": center + change}, kept=kept)
