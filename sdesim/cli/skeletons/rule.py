"""The coupling rule Skeleton."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from sdesim import coupling
from sdesim.fields import concrete, number


class Skeleton(coupling.AbstractCoupling):
    """Each agent is pulled towards the mean of those that exchange: dx^i = k (mean - x^i) dt.

    A rule is a velocity. It knows no step size, learning rate or random key: the SDE, the discrete algorithms, workers
    in virtual time and the trainer of networks all step this one definition.

    Attributes:
        k: gain, in 1/time. A field with this converter is traced: a new value never recompiles, "coupling.k" sweeps it.
    """

    k: Any = eqx.field(converter=number)

    def pull(self, x, shared, t, mean):
        # x is a pytree whose leaves lead with the agent axis, in a simulation one array (agents, dims). mean(x) is the
        # only look across agents. For a state that agents share, give init and flow, too (docs/extending.md).
        return jax.tree.map(lambda average, agents: self.k * (average[None] - agents), mean(x), x)

    def stiffness(self, agents):
        return concrete(self.k, np.max)  # the fastest rate, in 1/time: a step that is too long for it is warned of
