"""What a coupling rule is, and the mean over agents that it is given."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.fields import (
    Part,
    called_with,
    check_count,
    check_finite,
    check_per,
    concrete,
    is_traced,
    number_or_function,
    shown,
)

Order = Literal["jacobi", "gauss-seidel"]
ORDERS: tuple[Order, ...] = ("jacobi", "gauss-seidel")


class Mean(eqx.Module):
    """The mean over the agents that take part in an exchange, supplied by whoever runs a rule.

    A rule is given the states of those who take part, the members, and this mean over them. Numbers that it has for
    each agent, and numbers of agents, refer to all p of them and are `taken` at the members; a sum over agents sums
    the members, `count` times their mean; a shared state with a rate of its own moves `by_share`. With all agents
    these are the identity, p times the mean, and the rate.

    Subclasses say how the mean is taken.

    Attributes:
        agents: p, the number of all agents, at least 1.
        members: the agents that take part, (count,) different integers from 0 to p - 1 in the order of the states; None
            for all.

    Raises:
        ValueError: for members that are none, where values can be looked at.
    """

    agents: int = eqx.field(static=True)
    members: Array | None = None

    def __check_init__(self):
        check_count("agents", self.agents)
        if self.members is None or is_traced(self.members):
            return
        numbers = np.asarray(self.members) if isinstance(self.members, jax.Array | np.ndarray) else np.zeros(())
        fit = numbers.ndim == 1 and numbers.size and numbers.dtype.kind in "iu"
        if not fit or numbers.min() < 0 or numbers.max() >= self.agents or np.unique(numbers).size < numbers.size:
            right = f"must be None, or an array of different integers from 0 to {self.agents - 1}, of shape (count,)"
            raise ValueError(f"members={shown(self.members)}: {right}")

    @property
    def count(self) -> int:
        """How many take part."""
        return self.agents if self.members is None else self.members.shape[0]

    @property
    def share(self) -> float:
        """Those who take part, of all: count / agents."""
        return self.count / self.agents

    def taken(self, values: Array) -> Array:
        """What the members have of what all agents have.

        Args:
            values: a number, or one an agent, (agents,).

        Returns:
            The number, or those of the members, (count,).
        """
        return values if self.members is None or values.ndim == 0 else rows_of(values, self.members)

    def between(self, pairs: Array) -> Array:
        """What the pairs of members have of what all pairs have.

        Args:
            pairs: (agents, agents).

        Returns:
            (count, count).
        """
        return pairs if self.members is None else rows_of(rows_of(pairs, self.members).T, self.members).T

    def by_share(self, rate: Any) -> Any:
        """The rate at which a shared state moves, when it moves at `rate` for all agents.

        Args:
            rate: a number, or an array in units of whatever moves.

        Returns:
            rate * share; with all agents the rate itself.
        """
        return rate if self.members is None else rate * self.share

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree:
        """The mean, or with `weights` the mean of weight * x, over the first axis of each leaf.

        Weights are not normalized: a rule that needs sum(w x) / sum(w) divides, and one that does not is safe at 0.

        Args:
            x: of the members, leaves (count, ...).
            weights: one a member, (count,); None for 1.

        Returns:
            Leaves without the first axis.
        """
        raise NotImplementedError

    def mix(self, x: PyTree, matrix: Array) -> PyTree:
        """Averages of each member's own, sum_j W_ij x^j: one product.

        Args:
            x: of the members, leaves (count, ...).
            matrix: W, (count, count).

        Returns:
            Of the structure of `x`.
        """
        raise NotImplementedError


class ArrayMean(Mean):
    """The mean over agents whose states are all in one pytree of arrays, agent axis first."""

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree:
        if weights is None:
            return jax.tree.map(lambda a: jnp.mean(a, axis=0), x)
        return jax.tree.map(lambda a: jnp.mean(per_agent(weights, a) * a, axis=0), x)

    def mix(self, x: PyTree, matrix: Array):
        product = lambda a: jnp.matmul(matrix.astype(a.dtype), a.reshape(len(a), -1), precision="highest").reshape(
            a.shape
        )
        return jax.tree.map(product, x)


ROWS, WITH_ROWS = "rows_of_agents", "with_rows_of_agents"
"""The names under which a traced program shows that it reads or writes some agents, for an engine of many lanes."""


def rows_of(values: Array, members: Array) -> Array:
    """What some agents have.

    Args:
        values: of all agents, (agents, ...).
        members: the numbers of some, (count,) integers; one beyond the last reads the last.

    Returns:
        (count, ...).
    """

    def rows_of_agents(values: Array, members: Array):
        return values.at[members].get(mode="clip")

    return jax.jit(rows_of_agents)(values, members)


def with_rows(values: Array, members: Array, rows: Array) -> Array:
    """All agents, some of which have what is new.

    Args:
        values: of all agents, (agents, ...).
        members: the numbers of some, (count,) different integers; one beyond the last writes nothing.
        rows: what these have, (count, ...).

    Returns:
        Of the shape of `values`.
    """

    def with_rows_of_agents(values: Array, members: Array, rows: Array):
        return values.at[members].set(rows, mode="drop", unique_indices=True)

    return jax.jit(with_rows_of_agents)(values, members, rows)


def per_agent(values: Array, like: Array) -> Array:
    """Numbers shaped to multiply an array over agents.

    Args:
        values: a scalar or one an agent, (agents,).
        like: the array, (agents, ...).

    Returns:
        The scalar, or (agents, 1, ...).
    """
    return values if values.ndim == 0 else values.reshape(values.shape + (1,) * (like.ndim - 1))


def toward(target: PyTree, x: PyTree, gain: Array) -> PyTree:
    """gain (target - x), for a target without an agent axis.

    Args:
        target: leaves (...).
        x: of the members, leaves (count, ...).
        gain: in 1/time, a scalar or one a member, (count,).

    Returns:
        Leaves (count, ...).
    """
    return jax.tree.map(lambda c, a: per_agent(gain, a) * (c[None] - a), target, x)


def scaled_difference(rate: Array, target: PyTree, center: PyTree) -> PyTree:
    """rate (target - center), neither with an agent axis.

    Args:
        rate: in 1/time, a scalar.
        target: leaves (...).
        center: leaves of the same shapes.

    Returns:
        Leaves of the same shapes.
    """
    return jax.tree.map(lambda m, c: rate * (m - c), target, center)


Gain = Callable[[PyTree, Array], Array]


def gain_of(k: Array | Gain, x: PyTree, t: Array, mean: Mean) -> Array:
    """The members' gains.

    Args:
        k: in 1/time: a number, one an agent, (agents,), or a function k(x^i, t).
        x: of the members, leaves (count, ...).
        t: the time of the rule, a scalar.
        mean: the mean over the members.

    Returns:
        A scalar, or one a member, (count,).
    """
    return jax.vmap(lambda xi: jnp.asarray(k(xi, t)))(x) if callable(k) else mean.taken(k)


class AbstractCoupling(Part):
    """A coupling rule. Subclasses give `pull`, and where agents share a state, `init` and `flow`.

    Shapes: `x` leaves (count, ...), of the agents that take part (`Mean`), mostly all; `shared` any pytree; `t` a
    scalar. All methods are pure and traceable.
    """

    def init(self, x: PyTree, mean: Mean) -> PyTree:
        """The shared state that goes with initial agents; None by default.

        Args:
            x: of all agents, leaves (agents, ...).
            mean: the mean over them.

        Returns:
            Any pytree.
        """
        return None

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity that the coupling gives each agent.

        Args:
            x: of the members, leaves (count, ...).
            shared: the shared state.
            t: the time of the rule, a scalar.
            mean: the mean over the members.

        Returns:
            Of the structure of `x`, in units of x per time.
        """
        raise NotImplementedError

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity of the shared state; at rest by default.

        Args:
            x: of the members, leaves (count, ...).
            shared: the shared state.
            t: the time of the rule, a scalar.
            mean: the mean over the members.

        Returns:
            Of the structure of `shared`.
        """
        return jax.tree.map(jnp.zeros_like, shared)

    def renew(self, x: PyTree, shared: PyTree, t: Array, losses: Array) -> PyTree:
        """The shared state after a jump at the start of an epoch.

        Called by the stepper once an epoch. No jump by default. The time of a rule that jumps starts anew with each
        epoch, at t = 0, so that the iterations of an epoch are told apart by it after any number of steps.

        Args:
            x: of all agents, leaves (agents, ...).
            shared: the shared state before.
            t: the time of the rule, a scalar.
            losses: each agent's loss, (agents,).

        Returns:
            Of the structure of `shared`.
        """
        return shared

    @property
    def renews(self) -> bool:
        """Whether the rule jumps at epochs, and so is another rule without them."""
        return type(self).renew is not AbstractCoupling.renew

    def unsteady(self) -> str | None:
        """What makes its steps differ beside the time and the state, in a few words; None where nothing does."""
        return None

    def in_turn(self, tick: float, ahead: int = 0) -> "tuple[AbstractCoupling, ...]":
        """What a rule of turns is at its exchanges, one after another, until all begins anew: rules without turns.

        Args:
            tick: how far an exchange advances the time of the rule.
            ahead: 1 where what is shared flows before the pull of the same exchange, else 0.

        Returns:
            A rule for each exchange; of one without turns itself.

        Raises:
            ValueError: for turns that never begin anew.
        """
        return (self,)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The signal that agents are pulled towards, the quorum variable: the mean of the agents by default.

        Args:
            x: of the members, leaves (count, ...).
            shared: the shared state.
            t: the time of the rule, a scalar.
            mean: the mean over the members.

        Returns:
            Of the structure of `x`, without the axis of agents.
        """
        return mean(x)

    def all_only(self) -> str | None:
        """Why an exchange of some of the agents alone has no meaning, or None where it has."""
        return None

    def check_members(self, mean: Mean) -> None:
        """Refuse an exchange that has no meaning.

        Args:
            mean: of those who would take part.

        Raises:
            ValueError: with the reason, where only some agents take part and all must.
        """
        if mean.members is not None and (reason := self.all_only()) is not None:
            raise ValueError(f"members: {reason}")

    def check_run(self, agents: int) -> None:
        """Refuse, by the name of a number, a run of so many agents; any fits by default.

        Args:
            agents: of one simulation.

        Raises:
            ValueError: naming the number and what would be right.
        """

    def stiffness(self, agents: int) -> float | None:
        """The fastest rate of the coupling alone, or None where it is not known beforehand.

        An explicit step of length h is unstable beyond h * stiffness = 2.

        Args:
            agents: of one simulation.

        Returns:
            In 1/time of the rule.
        """
        return None

    def amplification(self, step: float, agents: int, order: Order) -> float | None:
        """The factor by which one step of the coupling alone multiplies its fastest mode.

        Above 1 the step is unstable.

        Args:
            step: its length, in time of the rule.
            agents: of one simulation.
            order: in which pull and shared state act.

        Returns:
            The factor, at least 0; None where it is not known.
        """
        rate = self.stiffness(agents)
        return None if rate is None else abs(1 - step * rate)

    def stiffest(self, ticks: np.ndarray) -> float:
        """Of the steps that agents take, the one that with `amplification` says how stiff the coupling is.

        Args:
            ticks: the steps in the coupling's time, a number or one an agent, (agents,).

        Returns:
            The longest, unless gains of the agents' own say more.
        """
        return float(np.max(ticks))

    def gentler(self, excess: float, agents: int) -> str | None:
        """Which number to lower, and to what, for a coupling that is slower.

        Args:
            excess: how many times slower, greater than 1.
            agents: of one simulation.

        Returns:
            Words for a message; None where no number alone does it.
        """
        return None


class AbstractPull(AbstractCoupling):
    """A rule that pulls agents by a gain.

    Attributes:
        k: gain, in 1/time: a number, one an agent of shape (agents,), or a function k(x^i, t).
    """

    k: Any = eqx.field(converter=number_or_function, metadata=called_with("point", "time"))

    def __check_init__(self):
        check_finite("k", self.k)

    def check_run(self, agents: int):
        check_per("k", self.k, agents, "agents")

    def stiffest(self, ticks: np.ndarray):
        k = None if callable(self.k) or is_traced(self.k) else np.asarray(self.k)
        if ticks.ndim and k is not None and k.shape == ticks.shape and np.max(k) > 0:
            return float(np.max(ticks * k) / np.max(k))  # its own tick for the agent's own gain
        return super().stiffest(ticks)


def lower_gain(k: Array | Gain, excess: float) -> str | None:
    """`AbstractCoupling.gentler` where all rates are in proportion to the gain k.

    Args:
        k: the gain, in 1/time: a number, one an agent, or a function.
        excess: how many times slower, greater than 1.

    Returns:
        Words for a message; None for a gain of 0 or one that cannot be looked at.
    """
    gain = concrete(k, np.max)
    return below("k", gain, gain / excess) if gain else None


def below(name: str, value: float, limit: float) -> str:
    """Which number to lower for a coupling that is stable, and to what: half of the limit is well within it.

    Args:
        name: of the number.
        value: that it has.
        limit: at which a step no longer amplifies, greater than 0.

    Returns:
        Words for a message.
    """
    return f"{name}={value:g} to less than {limit:.4g}, such as {limit / 2:.2g}"
