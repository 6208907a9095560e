"""AsyncSGD: a server that takes every gradient as it comes."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from sdesim.asynchrony.events import AbstractServer, Job, own_rows
from sdesim.dynamics import Dynamics, State
from sdesim.fields import called_with, function


def _optional(scale: Any) -> Any:
    return None if scale is None else function(scale)


class AsyncSGD(AbstractServer):
    """c <- c - eta g(x^i), x^i <- c. The staleness of a gradient is the number of others' arrivals since its read.

    With momentum, the worker's: c moves by its velocity.

    Attributes:
        scale: a factor of the learning rate: a function of the staleness, such as `PowerLaw` and `DelayAdaptive`; None
            for 1.
    """

    scale: Any = eqx.field(converter=_optional, default=None, metadata=called_with("step"))

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        read = None if self.scale is None else jnp.zeros(state.x.shape[:1], jnp.int32)
        return state._replace(kept=read)

    @own_rows
    def arrive(self, state: State, job: Job):
        scale, kept = 1.0, state.kept
        if self.scale is not None:
            scale = self.scale(job.staleness(state.kept))
            kept = job.read_now(state.kept)
        step, v = job.step(job.of(state.x), job.of(state.v), scale)
        center = state.shared["center"] + step[0]
        x = job.put(state.x, center[None])
        return state._replace(x=x, v=job.put(state.v, v), shared={"center": center}, kept=kept)
