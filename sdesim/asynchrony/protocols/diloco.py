"""DiLoCo without a barrier: an outer optimizer of whoever came, whom the server waits a little longer for."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.asynchrony.events import AbstractProtocol, Discrete, Job
from sdesim.asynchrony.links import due
from sdesim.coupling import ArrayMean, Mean, Outer
from sdesim.dynamics import Counts, Dynamics, State, weighted_tree
from sdesim.fields import check_sign, number, whole_number
from sdesim.steppers.base import moved


class DecoupledDiLoCo(AbstractProtocol):
    """Workers send how far they came every `period` jobs and go on; the server steps once enough have (2604.21428).

        every job: x^i <- x^i - eta g;  every `period` jobs: D^i = x^i - what it read is sent, in place of an older one
        once `least` have sent, and `window` more arrivals have passed: the rule's outer step by the mean of their D,
        and who sent reads:  x^i <- c + (x^i - x^i when it sent),  D^i from c on

    The way is against the value that the worker read, and what it did while its message waited is kept. Nobody waits,
    so that stragglers and workers that leave stop nobody. With `least` = all, no window and workers of equal times it
    is DiLoCo. The exchange is of weight pace k, of the gain of the rule, which must be `Outer`.

    Attributes:
        period: jobs of a worker between two messages, at least 1.
        least: of how many workers the server waits for, at least 1; more than there are never exchange.
        window: for how many more arrivals, of any worker, it waits for others beyond these; at least 0. One arrival is
            the workers' mean compute time over their number, on the average.
        pace: by which the gain becomes the weight of the exchange, greater than 0, in time.
    """

    period: Array = eqx.field(converter=whole_number, default=1)
    least: Array = eqx.field(converter=whole_number, default=1)
    window: Array = eqx.field(converter=whole_number, default=0)
    pace: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        for name in ("period", "least", "pace"):
            check_sign(name, getattr(self, name), zero=False)

    def check(self, model: Dynamics):
        if not isinstance(model.coupling, Outer):
            name = type(model.coupling).__name__
            raise ValueError(f"coupling={name}: must be Outer, whose step the server of DecoupledDiLoCo makes")

    def discrete(self, state: State, jobs: NDArray, arrivals: int):
        sent = np.asarray(state.kept["waits"]).astype(int)
        return Discrete(2 * (jobs % int(self.period)) + sent, int(state.shared["waited"]))

    def sends(self, number: Array):
        return due(number, self.period)

    def counts(self, state: State, arrivals: Array, sent: Array):
        return Counts(arrivals, arrivals, sent, state.shared["answered"], state.shared["updates"])

    def init(self, model: Dynamics, state: State):
        none = jnp.zeros((), jnp.int32)
        x = jnp.broadcast_to(state.shared["center"], state.x.shape)
        shared = {"rule": state.shared, "waited": none, "answered": none, "updates": none}
        kept = {"read": x, "sent": x, "waits": jnp.zeros(len(x), jnp.int32)}
        return state._replace(x=x, shared=shared, kept=kept)

    def arrive(self, state: State, job: Job):
        step, v = job.step(job.of(state.x), job.of(state.v))
        x, kept, sends = job.put(state.x, job.of(state.x) + step), state.kept, self.sends(job.number)
        sent = job.put(kept["sent"], jnp.where(sends, job.of(x), job.of(kept["sent"])))
        waits = job.put(kept["waits"], jnp.where(sends, 1, job.of(kept["waits"])).astype(jnp.int32))
        count = jnp.sum(waits, dtype=jnp.int32)
        waited = jnp.where(count >= self.least, state.shared["waited"] + 1, 0).astype(jnp.int32)
        shared = {**state.shared, "waited": waited}

        def together(x: Array, read: Array, waits: Array, shared: PyTree):
            rule = shared["rule"]
            came = jnp.sum(waits[:, None].astype(x.dtype) * (sent - read), axis=0) / count.astype(x.dtype)
            # To the rule, who came are one agent as far from the center as they came in the mean.
            one = (rule["center"] + came)[None]
            flow = job.model.coupling.flow(one, rule, job.t, ArrayMean(1))
            rule = moved(rule, weighted_tree(self.pace, flow))
            reads = waits[:, None] == 1
            x = jnp.where(reads, rule["center"][None] + (x - sent), x)
            read = jnp.where(reads, rule["center"][None], read)
            updates = {"answered": shared["answered"] + count, "updates": shared["updates"] + 1}
            return x, read, jnp.zeros_like(waits), {"rule": rule, "waited": jnp.zeros_like(waited), **updates}

        now = (x, kept["read"], waits, shared)
        x, read, waits, shared = lax.cond(waited > self.window, together, lambda *now: now, *now)
        kept = {"read": read, "sent": sent, "waits": waits}
        return state._replace(x=x, v=job.put(state.v, v), shared=shared, kept=kept)

    def center(self, model: Dynamics, state: State, mean: Mean):
        return state.shared["rule"]["center"]
