"""Rennala SGD: the server waits for a batch of gradients of one point (Tyurin and Richtarik, 2305.12387)."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.events import AbstractServer, Discrete, Job, own_rows
from sdesim.dynamics import Counts, Dynamics, State
from sdesim.fields import check_sign, whole_number


class Rennala(AbstractServer):
    """The server steps by the mean of `batch` gradients of its point; a fast worker may give several.

    A gradient of an older point is discarded. The worker reads and begins anew in either case.

    Attributes:
        batch: gradients of a step, at least 1.
    """

    batch: Array = eqx.field(converter=whole_number)

    def __check_init__(self):
        check_sign("batch", self.batch, zero=False)

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        none = jnp.zeros((), jnp.int32)
        own = {"sum": jnp.zeros_like(state.x[0]), "count": none, "version": none}
        return state._replace(shared={**state.shared, **own}, kept={"read": jnp.zeros(state.x.shape[:1], jnp.int32)})

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        fresh = np.asarray(state.kept["read"]) == int(state.shared["version"])
        return Discrete(fresh.astype(int), int(state.shared["count"]))

    def counts(self, state: State, arrivals: Array, sent: Array):
        shared = state.shared
        used = shared["version"] * self.batch + shared["count"]
        return Counts(arrivals, used, sent, sent, shared["version"])

    @own_rows
    def arrive(self, state: State, job: Job):
        shared, read = state.shared, job.of(state.kept["read"])[0]
        step, v = job.step(job.of(state.x), job.of(state.v))
        fresh = read == shared["version"]
        total = shared["sum"] + jnp.where(fresh, step[0], jnp.zeros_like(step[0]))
        count = shared["count"] + fresh.astype(jnp.int32)
        full = count == self.batch
        center = jnp.where(full, shared["center"] + total / self.batch.astype(total.dtype), shared["center"])
        version = shared["version"] + full.astype(jnp.int32)
        return state._replace(
            x=job.put(state.x, center[None]),
            v=job.put(state.v, v),
            shared={
                "center": center,
                "sum": jnp.where(full, jnp.zeros_like(total), total),
                "count": jnp.where(full, jnp.zeros_like(count), count),
                "version": version,
            },
            kept={"read": job.put(state.kept["read"], version[None])},
        )
