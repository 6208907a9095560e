"""EASGD Tree: agents as the leaves of a tree of averaging nodes (Z 6.1)."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.coupling.base import AbstractCoupling, Mean, Order, lower_gain, rows_of
from sdesim.fields import check_finite, check_sign, concrete, number, optional_number, shown


def _fanout(value: Any) -> tuple:
    """Several numbers as a tuple; one as a tuple of itself."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


class Tree(AbstractCoupling):
    """EASGD Tree: agents are the leaves of a tree of averaging nodes (Z 6.1, synchronous).

        dx^i = k (parent - x^i) dt
        dnode = up (mean of its children - node) dt + down (parent - node) dt

    The agents fill the tree in order: agents 0 .. fanout[0]-1 share the first parent, and so on up to the one root,
    so the number of agents is the product of `fanout`. Nodes start at the mean of their leaves.

    Attributes:
        k: gain of the leaves, in 1/time.
        fanout: children of a node at each level, leaves first; static. (16, 16) is Z's tree of 256 agents.
        up: rate of the nodes towards their children, at least 0, in 1/time. None means elastic symmetry: k * fanout of
            the level.
        down: rate of the nodes towards their parents, at least 0, in 1/time. None means elastic symmetry: k.
    """

    k: Array = eqx.field(converter=number)
    fanout: tuple[int, ...] = eqx.field(static=True, converter=_fanout)
    up: Array | None = eqx.field(converter=optional_number, default=None)
    down: Array | None = eqx.field(converter=optional_number, default=None)

    def __check_init__(self):
        if not self.fanout or any(not isinstance(f, int | np.integer) or f < 1 for f in self.fanout):
            raise ValueError(f"fanout={shown(self.fanout)}: must be a tuple of positive integers, leaves first")
        check_finite("k", self.k)
        for name in ("up", "down"):
            check_sign(name, getattr(self, name))

    def _levels(self, values: PyTree) -> list[PyTree]:
        """Each level's node values from those of the level above the leaves, by averaging children up to the root."""
        levels = [values]
        for fan in self.fanout[1:]:
            values = self._children_mean(values, fan)
            levels.append(values)
        return levels

    def _parents(self, x: PyTree, mean: Mean) -> PyTree:
        """The mean of each lowest node's leaves, of leaves (nodes, ...): one weighted mean a node."""
        self.check_members(mean)
        agents, fan = mean.agents, self.fanout[0]
        self.check_run(agents)
        member = np.arange(agents)[None, :] // fan == np.arange(agents // fan)[:, None]
        weights = jnp.asarray(member * (agents / fan), self.k.dtype)
        # Not by vmap: of that XLA (jaxlib 0.10.2, on CPUs) makes a reduction that reads memory which is not its own.
        nodes = [mean(x, weights[i]) for i in range(agents // fan)]
        return jax.tree.map(lambda *means: jnp.concatenate([m[None] for m in means]), *nodes)

    def init(self, x: PyTree, mean: Mean):
        return self._levels(self._parents(x, mean))

    def check_run(self, agents: int):
        if agents != self.level_sizes[0]:
            raise ValueError(f"fanout={self.fanout}: has {self.level_sizes[0]} leaves, and not agents={agents}")

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many there are at each level, from the leaves to the root."""
        return tuple(int(np.prod(self.fanout[level:])) for level in range(len(self.fanout) + 1))

    def parents(self) -> NDArray:
        """The number of each one's parent, numbered from the leaves to the root, level by level.

        Returns:
            (leaves + nodes,) integers, -1 for the root.
        """
        found, first = [], 0
        for size, fan in zip(self.level_sizes, self.fanout, strict=False):
            first += size
            found.append(first + np.arange(size) // fan)
        return np.concatenate([*found, [-1]])

    def message(self, value: PyTree, arrived: PyTree, receiver: Array, sender: Array) -> PyTree:
        """The velocity that the value of one neighbor alone gives a leaf or a node; those of all add up to the rule.

        Args:
            value: of the receiver, leaves (1, ...).
            arrived: of the sender, leaves (1, ...).
            receiver: its number, as `parents` counts; an int32 scalar.
            sender: that of its neighbor, likewise.

        Returns:
            Leaves (1, ...).
        """
        sizes = self.level_sizes
        above, below = [], [jnp.zeros_like(self.k)]
        for level, fan in enumerate(self.fanout):
            up, down = self._rates(level)
            above.append(self.k if level == 0 else down)
            below.append(up / fan)
        above.append(jnp.zeros_like(self.k))
        of_level = lambda rates: jnp.concatenate([jnp.full(n, r) for n, r in zip(sizes, rates, strict=True)])
        at = lambda rates: rows_of(of_level(rates), receiver[None])
        rate = jnp.where(sender > receiver, at(above), at(below))[0]
        return jax.tree.map(lambda c, a: rate * (c - a), arrived, value)

    def _rates(self, level: int) -> tuple[Array, Array]:
        """Of the nodes that are so many levels above the leaves' parents, up and down."""
        up = self.k * self.fanout[level] if self.up is None else self.up
        return up, self.k if self.down is None else self.down

    def all_only(self):
        return "a message in a Tree moves its receiver alone, so that no exchange of some leaves is half of anything"

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        self.check_members(mean)
        return jax.tree.map(lambda n, a: self.k * (jnp.repeat(n, self.fanout[0], axis=0) - a), shared[0], x)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        flows = []
        for level, nodes in enumerate(shared):
            fan = self.fanout[level]
            children = self._parents(x, mean) if level == 0 else self._children_mean(shared[level - 1], fan)
            up, down = self._rates(level)
            change = jax.tree.map(lambda c, n: up * (c - n), children, nodes)  # noqa: B023
            if level + 1 < len(shared):
                above = self.fanout[level + 1]
                change = jax.tree.map(
                    lambda d, n, parent: d + down * (jnp.repeat(parent, above, axis=0) - n),  # noqa: B023
                    change,
                    nodes,
                    shared[level + 1],
                )
            flows.append(change)
        return flows

    @staticmethod
    def _children_mean(nodes: PyTree, fan: int) -> PyTree:
        """The means of every `fan` nodes that lie side by side."""
        return jax.tree.map(lambda a: a.reshape(-1, fan, *a.shape[1:]).mean(1), nodes)

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        """The root.

        Args:
            x: of all agents, leaves (agents, ...).
            shared: the levels of nodes, from the leaves' parents to the root.
            t: the time of the rule, a scalar.
            mean: the mean over agents.

        Returns:
            Of the structure of `x`, without the axis of agents.
        """
        return jax.tree.map(lambda a: a[0], shared[-1])

    def stiffness(self, agents: int):
        k = concrete(self.k, np.max)
        if k is None:
            return None
        up = concrete(self.up, np.max)
        down = k if self.down is None else concrete(self.down, np.max)
        if down is None:
            return None
        # The mode in which all nodes of a level move together and levels alternate is the fastest: one row a level.
        size = len(self.fanout) + 1
        matrix = np.zeros((size, size))
        for row in range(size):
            to_child = 0.0 if row == 0 else (k * self.fanout[row - 1] if up is None else up)
            to_parent = 0.0 if row == size - 1 else (k if row == 0 else down)
            matrix[row, row] = to_child + to_parent
            if row:
                matrix[row, row - 1] = -to_child
            if row < size - 1:
                matrix[row, row + 1] = -to_parent
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    def gentler(self, excess: float, agents: int):
        return lower_gain(self.k, excess) if self.up is None and self.down is None else None

    def amplification(self, step: float, agents: int, order: Order):
        return super().amplification(step, agents, order) if order == "jacobi" else None
