"""What a coupling rule is, and the mean over agents that it is given."""

from collections.abc import Callable
from typing import Literal, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sdesim.fields import Part, check_count

Order = Literal["jacobi", "gauss-seidel"]
ORDERS: tuple[Order, ...] = ("jacobi", "gauss-seidel")


class Mean(Protocol):
    """The mean over agents, supplied by the consumer of a rule."""

    @property
    def agents(self) -> int: ...

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree: ...


class ArrayMean(eqx.Module):
    """The mean over agents whose states are all in one pytree of arrays, agent axis first."""

    agents: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("agents", self.agents)

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree:
        """The mean, or with `weights` of shape (agents,) the mean of weight * x, over the agent axis of each leaf.

        Weights are not normalised: a rule that needs sum(w x) / sum(w) divides, and one that does not is safe at 0.
        """
        if weights is None:
            return jax.tree.map(lambda a: jnp.mean(a, axis=0), x)
        return jax.tree.map(lambda a: jnp.mean(per_agent(weights, a) * a, axis=0), x)


def per_agent(values: Array, like: Array) -> Array:
    """`values`, a scalar or of shape (agents,), shaped to multiply `like` of shape (agents, ...)."""
    return values if values.ndim == 0 else values.reshape(values.shape + (1,) * (like.ndim - 1))


def toward(target: PyTree, x: PyTree, gain: Array) -> PyTree:
    """gain (target - x), for a target without an agent axis."""
    return jax.tree.map(lambda c, a: per_agent(gain, a) * (c[None] - a), target, x)


def scaled_difference(rate: Array, target: PyTree, center: PyTree) -> PyTree:
    """rate (target - center), neither with an agent axis."""
    return jax.tree.map(lambda m, c: rate * (m - c), target, center)


Gain = Callable[[PyTree, Array], Array]


def gain_of(k: Array | Gain, x: PyTree, t: Array) -> Array:
    """A gain as an array, a scalar or of shape (agents,): `k` is a number, one an agent, or a function k(x^i, t)."""
    return jax.vmap(lambda xi: jnp.asarray(k(xi, t)))(x) if callable(k) else k


class AbstractCoupling(Part):
    """A coupling rule. Subclasses give `pull`, and where agents share a state, `init` and `flow`.

    Shapes: `x` leaves (agents, ...); `shared` any pytree; `t` a scalar. All methods are pure and traceable.
    """

    def init(self, x: PyTree, mean: Mean) -> PyTree:
        """The shared state that goes with initial agents `x`; None by default."""
        return None

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity that the coupling gives each agent, of the structure of `x`."""
        raise NotImplementedError

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity of the shared state, of its structure; at rest by default."""
        return jax.tree.map(jnp.zeros_like, shared)

    def renew(self, x: PyTree, shared: PyTree, t: Array, losses: Array) -> PyTree:
        """The shared state after a jump at the start of an epoch, given each agent's loss, of shape (agents,).

        Called by the stepper once an epoch. No jump by default. The time of a rule that jumps starts anew with each
        epoch, at t = 0, so that the iterations of an epoch are told apart by it after any number of steps.
        """
        return shared

    @property
    def renews(self) -> bool:
        """Whether the rule jumps at epochs, and so is another rule without them."""
        return type(self).renew is not AbstractCoupling.renew

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The signal that agents are pulled towards, the quorum variable: the mean of the agents by default."""
        return mean(x)

    def stiffness(self, agents: int) -> float | None:
        """The fastest rate of the coupling alone, or None where it is not known beforehand.

        An explicit step of length h is unstable beyond h * stiffness = 2.
        """
        return None

    def amplification(self, step: float, agents: int, order: Order) -> float | None:
        """The factor by which one step of length `step` of the coupling alone multiplies its fastest mode, or None
        where it is not known. Above 1 the step is unstable."""
        rate = self.stiffness(agents)
        return None if rate is None else abs(1 - step * rate)
