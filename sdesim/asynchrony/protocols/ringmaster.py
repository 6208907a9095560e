"""Ringmaster ASGD: a threshold on the staleness (2501.16168)."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.events import AbstractServer, Discrete, Job, own_rows
from sdesim.dynamics import Counts, Dynamics, State
from sdesim.fields import check_sign, whole_number


class Ringmaster(AbstractServer):
    """A gradient is used if fewer than `threshold` updates were accepted between its read and its arrival.

    The worker reads and begins anew in either case. Updates are counted, and not arrivals: with these, slow workers
    would have all their gradients discarded as soon as there are more than `threshold` of them.

    Attributes:
        threshold: R, at least 1; with 1 a gradient is used only if nothing came between.
    """

    threshold: Array = eqx.field(converter=whole_number)

    def __check_init__(self):
        check_sign("threshold", self.threshold, zero=False)

    def init(self, model: Dynamics, state: State):
        state = super().init(model, state)
        shared = {**state.shared, "version": jnp.zeros((), jnp.int32)}
        return state._replace(shared=shared, kept={"read": jnp.zeros(state.x.shape[:1], jnp.int32)})

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        since = int(state.shared["version"]) - np.asarray(state.kept["read"])
        return Discrete(np.minimum(since, int(self.threshold)))

    def counts(self, state: State, arrivals: Array, sent: Array):
        version = state.shared["version"]
        return Counts(arrivals, version, sent, sent, version)

    @own_rows
    def arrive(self, state: State, job: Job):
        center, version = state.shared["center"], state.shared["version"]
        step, v = job.step(job.of(state.x), job.of(state.v))
        used = version - job.of(state.kept["read"])[0] < self.threshold
        center = jnp.where(used, center + step[0], center)
        version = version + used.astype(jnp.int32)
        return state._replace(
            x=job.put(state.x, center[None]),
            v=job.put(state.v, v),
            shared={"center": center, "version": version},
            kept={"read": job.put(state.kept["read"], version[None])},
        )
