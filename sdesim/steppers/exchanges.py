"""An exchange: a coupling rule applied to those who take part."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sdesim.coupling import AbstractCoupling, ArrayMean
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import weighted, weighted_tree
from sdesim.steppers.base import moved


def exchange(
    rule: AbstractCoupling, x: PyTree, shared: PyTree, t: Array, tick: Array, members: Array | None = None
) -> tuple[PyTree, PyTree]:
    """All agents and what they share after an exchange, both moved from their old values.

        x^i <- x^i + tick pull^i  for the members i,    shared <- shared + tick flow

    With all agents and a tick of eta it is what an iteration in Jacobi order does beside the gradients; with one agent
    and `Elastic(k)` it is the exchange of asynchronous EASGD (Z, Alg. 1) of moving rate tick k.

    Args:
        rule: the coupling rule.
        x: the states of all agents, leaves (agents, ...).
        shared: what they share, from `rule.init` with the mean of all.
        t: the time of the rule, a scalar.
        tick: how far the rule's time advances for those who take part, a scalar.
        members: the agents that take part, (count,) different integers; None for all.

    Returns:
        The new x and the new shared state.

    Raises:
        ValueError: for a rule whose exchange of some agents has no meaning: with the reason.
    """
    mean = ArrayMean(jax.tree.leaves(x)[0].shape[0], members)
    rule.check_members(mean)
    tick = jnp.asarray(tick)
    those = x if members is None else jax.tree.map(lambda a: rows_of(a, members), x)
    pull, flow = rule.pull(those, shared, t, mean), rule.flow(those, shared, t, mean)
    new = jax.tree.map(lambda a, p: a + weighted(tick, p), those, pull)
    if members is not None:
        new = jax.tree.map(lambda a, rows: with_rows(a, members, rows), x, new)
    return new, moved(shared, weighted_tree(tick, flow))
