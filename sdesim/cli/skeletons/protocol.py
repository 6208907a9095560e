"""The protocol Skeleton of workers in virtual time."""

import jax.numpy as jnp

from sdesim.asynchrony import AbstractServer


class Skeleton(AbstractServer):
    """The server moves by half of this gradient's step and half of the one before; the worker reads the result."""

    def init(self, model, state):
        state = super().init(model, state)  # every worker has read the center
        return state._replace(shared={**state.shared, "last": jnp.zeros_like(state.x[0])})

    def arrive(self, state, job):
        # job.of and job.put read and write the rows of the worker that arrives, job.step is its gradient's step with
        # its noise, at what it read; job.exchange would be the model's coupling rule between worker and server.
        step, v = job.step(job.of(state.x), job.of(state.v))
        center = state.shared["center"] + (step[0] + state.shared["last"]) / 2
        read = job.put(state.x, center[None])
        return state._replace(x=read, v=job.put(state.v, v), shared={"center": center, "last": step[0]})
