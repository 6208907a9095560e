"""Streaming: coordinates are exchanged in turn, a fragment at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractCoupling, Mean, Order
from sdesim.coupling.turns import in_order, turn_of
from sdesim.fields import check_count, check_sign, number, shown


class Streaming(AbstractCoupling):
    """A rule that acts on one fragment of the coordinates at a time, and on each in its turn (2501.18512).

    What agents share flows, as the rule has it, in those coordinates whose fragment has its turn, and agents are pulled
    in those which had it before: where agents jump onto the center once it has moved, as in Gauss-Seidel order, it is
    onto the fragment that moved. By the rule all other coordinates stand still. Fragments are equal parts of all
    coordinates in their order, of a network leaf after leaf. So `Iteration(period, pace=1, order="gauss-seidel")` of
    an outer optimizer exchanges every fragment once in fragments * period steps.

    Attributes:
        rule: whose shared state has coordinates as agents have, such as `Outer`, `Elastic`, `Quorum` or `Mixing` on one
            graph.
        fragments: how many, at least 1; static.
        switch: rate of the turns, at least 0, in 1/time: a fragment has its turn for 1 / switch. With 1, and a pace of
            1, every exchange is of the next one.
    """

    rule: AbstractCoupling
    fragments: int = eqx.field(static=True)
    switch: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        if not isinstance(self.rule, AbstractCoupling):
            raise TypeError(f"rule={shown(self.rule)}: must be a coupling rule of sdesim.coupling")
        check_count("fragments", self.fragments)
        check_sign("switch", self.switch)
        if self.rule.renews or self.rule.unsteady() is not None:
            what = "jumps at epochs" if self.rule.renews else f"has {self.rule.unsteady()}"
            raise ValueError(f"rule={type(self.rule).__name__}: {what}; must be one of velocities alone")

    def check_run(self, agents: int):
        self.rule.check_run(agents)

    def all_only(self):
        return self.rule.all_only()

    def unsteady(self):
        return "fragments that take turns" if self.fragments > 1 else None

    def in_turn(self, tick: float, ahead: int = 0):
        passed = in_order(float(self.switch) * tick, self.fragments)
        return tuple(_Turn(self, flows, passed[i + ahead]) for i, flows in enumerate(passed[:-1]))

    def init(self, x: PyTree, mean: Mean):
        return {"rule": self.rule.init(x, mean), "turn": jnp.zeros((), self.switch.dtype)}

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        acts, pull = self._acts(x, shared["turn"] - 1), self.rule.pull(x, shared["rule"], t, mean)
        return jax.tree.map(lambda now, a: jnp.where(now[None], a, jnp.zeros_like(a)), acts, pull)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        acts, flow = jax.tree.leaves(self._acts(x, shared["turn"])), self.rule.flow(x, shared["rule"], t, mean)
        leaves, tree = jax.tree.flatten(flow)
        # What agents share has one or more states of the form of an agent's, leaf after leaf.
        if len(leaves) % len(acts) or any(a.shape[a.ndim - m.ndim :] != m.shape for a, m in self._pairs(leaves, acts)):
            raise ValueError(f"rule={type(self.rule).__name__}: shares what has not the coordinates of agents")
        stands = [jnp.where(now, a, jnp.zeros_like(a)) for a, now in self._pairs(leaves, acts)]
        return {"rule": jax.tree.unflatten(tree, stands), "turn": mean.by_share(self.switch)}

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self.rule.center(x, shared["rule"], t, mean)

    @staticmethod
    def _pairs(leaves: list[Array], acts: list[Array]) -> list[tuple[Array, Array]]:
        return [(leaf, acts[i % len(acts)]) for i, leaf in enumerate(leaves)]

    def _acts(self, x: PyTree, turn: Array) -> PyTree:
        """Which coordinates have a turn: truth values of the structure of `x`, without the axis of agents."""
        turn = turn_of(turn, self.fragments)
        leaves, tree = jax.tree.flatten(x)
        shapes = [leaf.shape[1:] for leaf in leaves]
        sizes = [int(np.prod(shape)) for shape in shapes]
        of_all = np.arange(sum(sizes)) * self.fragments // max(sum(sizes), 1)
        parts = np.split(of_all.astype(np.int32), np.cumsum(sizes)[:-1])
        return jax.tree.unflatten(tree, [jnp.asarray(p.reshape(s)) == turn for p, s in zip(parts, shapes, strict=True)])

    def stiffness(self, agents: int):
        return self.rule.stiffness(agents)

    def amplification(self, step: float, agents: int, order: Order):
        return self.rule.amplification(step, agents, order)

    def gentler(self, excess: float, agents: int):
        return self.rule.gentler(excess, agents)


class _Turn(AbstractCoupling):
    """A streaming rule at one of its exchanges, before whose flow and pull so many turns have passed."""

    of: Streaming
    flows: float = eqx.field(static=True)
    pulls: float = eqx.field(static=True)

    def init(self, x: PyTree, mean: Mean):
        return self.of.rule.init(x, mean)

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self.of.pull(x, {"rule": shared, "turn": jnp.asarray(self.pulls)}, t, mean)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self.of.flow(x, {"rule": shared, "turn": jnp.asarray(self.flows)}, t, mean)["rule"]

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return self.of.rule.center(x, shared, t, mean)
