"""SVAG for networks: gradients of two minibatches as one, whose noise is that of a finer level."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from sdesim.noise import svag_weights


class Waiting(NamedTuple):
    """What `svag` keeps.

    Attributes:
        second: whether the next gradient is the second of two, a truth value.
        first: the weighted gradient that waits for it, as the parameters; 0 where none does.
    """

    second: Array
    first: PyTree


def svag(level: float) -> optax.GradientTransformation:
    """Combine every two gradients as SVAG does at a level (2102.12470), by which to see whether an SDE describes SGD.

    The first of two moves nothing, so that both are of one point; then comes (1 + sqrt(2 l - 1)) / 2 times the first
    and (1 - sqrt(2 l - 1)) / 2 times the second. `optax.chain(svag(l), optax.sgd(eta / l))` is SVAG at level l, for
    2 l times as many minibatches as the iteration takes steps, of agents that are not coupled; at level 1 SGD on every
    second minibatch. A statistic that does not move with l says that the SDE describes SGD at eta.

    Args:
        level: l, at least 1, without unit.

    Returns:
        The transformation, to be followed by what keeps nothing of a gradient of 0, as SGD without momentum.

    Raises:
        TypeError: for a level that is no number.
        ValueError: for one below 1, or that is not finite.
    """
    weights = svag_weights(level)

    def init(params: PyTree) -> Waiting:
        return Waiting(jnp.zeros((), bool), jax.tree.map(jnp.zeros_like, params))

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Waiting]:
        second, first = state
        both = jax.tree.map(lambda f, g: jnp.where(second, f + weights[1] * g, jnp.zeros_like(g)), first, updates)
        waits = jax.tree.map(lambda g: jnp.where(second, jnp.zeros_like(g), weights[0] * g), updates)
        return both, Waiting(~second, waits)

    return optax.GradientTransformation(init, update)
