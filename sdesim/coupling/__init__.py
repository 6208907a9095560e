"""Coupling rules: how agents that descend one loss pull on each other.

**A rule is a velocity field, not an update.** It knows no step size, no learning rate, no random key and no network.
The integrator, the discrete iteration and the trainer all step the one definition given here:

    dx^i = pull(x, shared, t)^i dt        on the agents,
    dshared = flow(x, shared, t) dt       on what they share: a center variable, tree nodes, a filter's state.

`x` is any pytree whose leaves lead with the agent axis: an (agents, dims) array in a simulation, the stacked
parameters of a network in a trainer. `mean(x, weights=None)` is handed in by whoever runs the rule, and is a rule's
only look across agents; `mean.agents` is their number. That is what lets one rule serve a plain array, a padded block
on a GPU, and agents that live on several devices.

**An exchange is the rule applied to those who take part**: all agents, or some, of whom the mean knows the numbers and
their share (`Mean`, `steppers.exchange`). So one definition serves agents in step, one worker and a server, and two
agents that meet.

`t` is the time of the rule: it advances by the learning rate each iteration. A gain `k` has units of 1/t, so that
`eta * k` is the dimensionless weight of the pull in one iteration (the moving rate alpha of EASGD).

Sources: BS is Boffi and Slotine (arXiv 1812.10995), Z is Zhang (arXiv 1605.02216).
"""

from sdesim.coupling.base import ORDERS, AbstractCoupling, AbstractPull, ArrayMean, Gain, Mean, Order, per_agent
from sdesim.coupling.elastic import Elastic
from sdesim.coupling.filtered import Filtered, LinearFilter, SaturatingFilter
from sdesim.coupling.mixing import Mixing, complete, exponential, metropolis, one_peer, ring, spectral_gap, torus
from sdesim.coupling.outer import Outer
from sdesim.coupling.quorum import Quorum, Uncoupled
from sdesim.coupling.senders import Spiking, StateDependent
from sdesim.coupling.streaming import Streaming
from sdesim.coupling.tree import Tree

__all__ = [
    "ORDERS",
    "RULES",
    "AbstractCoupling",
    "AbstractPull",
    "ArrayMean",
    "Elastic",
    "Filtered",
    "Gain",
    "LinearFilter",
    "Mean",
    "Mixing",
    "Order",
    "Outer",
    "Quorum",
    "SaturatingFilter",
    "Spiking",
    "StateDependent",
    "Streaming",
    "Tree",
    "Uncoupled",
    "complete",
    "exponential",
    "metropolis",
    "one_peer",
    "per_agent",
    "ring",
    "spectral_gap",
    "torus",
]

RULES: dict[str, type[AbstractCoupling]] = {
    "uncoupled": Uncoupled,
    "quorum": Quorum,
    "elastic": Elastic,
    "state-dependent": StateDependent,
    "spiking": Spiking,
    "filtered": Filtered,
    "tree": Tree,
    "outer": Outer,
    "mixing": Mixing,
    "streaming": Streaming,
}
"""Every coupling rule by name. Whatever is added here must pass the tests that hold for all rules."""
