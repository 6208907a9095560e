"""Gossip: pairs of workers exchange, and there is no server."""

import jax.numpy as jnp
import numpy as np

from sdesim.asynchrony.events import Job
from sdesim.asynchrony.protocols.easgd import AbstractExchanges
from sdesim.random import Stream


class Gossip(AbstractExchanges):
    """At the end of its job a worker and another, drawn at random, exchange by the model's rule.

    With `Quorum(k)` both move by eta k towards their mean; at k = 1 / eta this is AD-PSGD on all pairs. The other one
    is in the middle of a job, whose gradient it has taken already. Each sends the other what it is: two messages, of
    which `Bytes` counts that of the worker that begins as up and that of its partner as down.

    Attributes:
        period: jobs of a worker between two exchanges that it begins, at least 1.
    """

    @property
    def members(self):
        return 2

    def who(self, job: Job, agents: int):
        if not 2 <= agents <= 1 << 16:
            raise ValueError(f"agents={agents}: Gossip takes from 2 to {1 << 16} workers")
        # 16 bits of the word, so that the product fits into 32.
        others = (job.word(Stream.PARTNER) >> np.uint32(16)) * np.uint32(agents - 1) >> np.uint32(16)
        partner = (job.worker + 1 + others.astype(jnp.int32)) % agents
        return jnp.stack([job.worker, partner])
