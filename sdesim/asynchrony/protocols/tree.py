"""EASGD Tree (Z, Alg. 6): leaves compute, all nodes send what they are, and whoever receives moves towards it."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim.asynchrony.clocks import Timing
from sdesim.asynchrony.events import AbstractProtocol, Job
from sdesim.asynchrony.messages import Links, Messages, messages_of
from sdesim.asynchrony.tables import Timetable
from sdesim.coupling import Mean, Tree
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import Agents, Counts, Dynamics, State
from sdesim.fields import Part, check_count, check_sign, shown, whole_number
from sdesim.steppers.base import Feed, Setting


class AbstractScheme(Part):
    """How often the nodes of a tree send. Subclasses give `periods`."""

    def periods(self, level: int) -> tuple[Any, Any]:
        """Of the links between two levels, the sender's steps between two messages.

        Args:
            level: of the lower ends, 0 for the leaves.

        Returns:
            Upwards and downwards, whole numbers, at least 1.
        """
        raise NotImplementedError


class ByLevel(AbstractScheme):
    """The first scheme: fast averaging between leaves and their parents, slow averaging above (Z 6.1).

    Attributes:
        leaves: steps between two messages of leaves to their parents and back (tau_1), at least 1.
        above: between all others (tau_2), at least 1.
    """

    leaves: Array = eqx.field(converter=whole_number)
    above: Array = eqx.field(converter=whole_number)

    def __check_init__(self):
        check_sign("leaves", self.leaves, zero=False)
        check_sign("above", self.above, zero=False)

    def periods(self, level: int):
        return (self.above, self.above) if level else (self.leaves, self.leaves)


class UpDown(AbstractScheme):
    """The second scheme: all nodes send up at one period and down at another (Z 6.1).

    Attributes:
        up: steps between two messages of a node to its parent (tau_u), at least 1.
        down: steps between two messages of a node to its children (tau_d), at least 1.
    """

    up: Array = eqx.field(converter=whole_number)
    down: Array = eqx.field(converter=whole_number)

    def __check_init__(self):
        check_sign("up", self.up, zero=False)
        check_sign("down", self.down, zero=False)

    def periods(self, level: int):
        return self.up, self.down


class EASGDTree(AbstractProtocol):
    """EASGD Tree (Z, Alg. 6): the agents are the leaves of the model's `Tree`, and nodes send each other what they are.

        on arrival of a neighbor's value y:    x <- x + eta k (y - x)

    with the rates of `Tree` in place of k where they are given. All nodes repeat steps whose times have the law
    `compute`, a number or one a node from the leaves to the root: the step of a leaf is a job, that of another node
    takes "roughly the same amount of time" and does nothing else but let time pass. Before a step, at a count of ended
    steps that their period divides, nodes send; messages take `uplink` and `downlink`, for which nobody waits, and do
    not overtake each other. What arrives moves a node at once, and a leaf between two jobs: all that has come by then,
    in the order in which it came, where the text leaves open whether one message or all. At count 0 all send.

    With `synchronous` a node waits before each step for all messages of its count from its neighbors, and is moved by
    all from where it was: whatever the times, this is the iteration of `Tree`, if all periods are 1. The text names
    this protocol and does not write it down.

    Attributes:
        scheme: how often nodes send: `ByLevel` or `UpDown`.
        synchronous: whether nodes wait for their neighbors; static.
        slots: how many values are kept at a time for messages under way; static. A run finds out: leave it out.
    """

    scheme: AbstractScheme = eqx.field(default_factory=lambda: UpDown(1, 1))
    synchronous: bool = eqx.field(static=True, default=False)
    slots: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not isinstance(self.scheme, AbstractScheme):
            raise TypeError(f"scheme={shown(self.scheme)}: must be ByLevel or UpDown of sdesim.asynchrony")
        if not isinstance(self.synchronous, bool):
            raise TypeError(f"synchronous={shown(self.synchronous)}: must be True or False")
        check_count("slots", self.slots)

    @property
    def messages(self):
        return True

    def counts(self, state: State, arrivals: Array, sent: Array):
        up, down, at_root = state.shared["messages"]
        return Counts(arrivals, arrivals, up, down, at_root)

    def check(self, model: Dynamics):
        if type(model.coupling) is not Tree:
            rule = type(model.coupling).__name__
            raise ValueError(f"coupling={rule}: EASGDTree needs coupling=Tree(k, fanout), whose leaves are the agents")
        if not callable(model.eta) and np.ndim(model.eta):
            raise ValueError(f"eta: must be one number, got shape {np.shape(model.eta)}: nodes have none of their own")

    def links(self, tree: Tree) -> Links:
        """Who sends to whom, and how often.

        Args:
            tree: the rule.
        """
        sizes = tree.level_sizes
        periods = np.array([[int(n) for n in self.scheme.periods(level)] for level in range(len(sizes) - 1)])
        up, down = np.repeat(periods, sizes[:-1], axis=0).T
        return Links(sizes[0], tree.parents(), up, down, self.synchronous)

    def feed(self, model: Dynamics, timing: Timing, table: Timetable | None, setting: Setting):
        self.check(model)
        if table is not None:
            raise ValueError("timetable: must be None: nodes of a tree and their messages have a timing of their own")
        tree = model.coupling
        assert isinstance(tree, Tree)
        tree.check_run(setting.agents)
        return messages_of(self.links(tree), timing, setting)

    def placed(self, feed: Feed | None):
        return dataclasses.replace(self, slots=feed.slots) if isinstance(feed, Messages) else self

    def room(self, shared: Any):
        return {name: name == "kept" for name in shared}

    def init(self, model: Dynamics, state: State):
        nodes = jnp.concatenate(state.shared)
        kept = jnp.zeros((self.slots, *nodes.shape[1:]), nodes.dtype)
        shared = {"nodes": nodes, "kept": kept, "messages": jnp.zeros(3, jnp.int32)}
        if not self.synchronous:
            return state._replace(shared=shared)
        return state._replace(shared={**shared, "points": nodes}, kept={"points": state.x})

    def arrive(self, state: State, job: Job):
        x, nodes, kept = state.x, state.shared["nodes"], state.shared["kept"]
        # Where nodes wait for each other, all see where the others were when their steps ended.
        points = (state.kept["points"], state.shared["points"]) if self.synchronous else (x, nodes)
        receiver, sender, held, slot = job.worker, job.came.sender, job.came.held, job.came.slot
        if sender is None or held is None or slot is None:  # without messages, as a step by hand has it
            sender, held = receiver, jnp.full_like(receiver, self.slots)
            slot = held
        ends, leaf = job.came.ends_a_job, receiver < x.shape[0]
        point = _value(points, receiver)
        arrived = jnp.where(held < self.slots, rows_of(kept, held[None]), _value(points, sender))
        step, v = job.step(point, job.of(state.v))
        tree = job.model.coupling
        assert isinstance(tree, Tree)
        pull = job.size.tick * tree.message(point, arrived, receiver, sender)
        new = _value((x, nodes), receiver) + jnp.where(ends, jnp.where(leaf, step, jnp.zeros_like(step)), pull)
        x, nodes = _with_value((x, nodes), receiver, new)
        kept = with_rows(kept, slot[None], point)
        last = x.shape[0] + nodes.shape[0]  # that of nobody
        message = jnp.logical_not(ends) & (receiver < last)
        told = message & jnp.stack([receiver > sender, receiver < sender, receiver == last - 1])
        shared = {"nodes": nodes, "kept": kept, "messages": state.shared["messages"] + told.astype(jnp.int32)}
        if v is not None:
            v = job.put(state.v, jnp.where(ends, v, job.of(state.v)))
        if not self.synchronous:
            return state._replace(x=x, v=v, shared=shared)
        of_leaves, of_nodes = _with_value(points, receiver, jnp.where(ends, new, point))
        return state._replace(x=x, v=v, shared={**shared, "points": of_nodes}, kept={"points": of_leaves})

    def center(self, model: Dynamics, state: State, mean: Mean):
        return state.shared["nodes"][-1]


def _value(of: tuple[Agents, Array], number: Array) -> Array:
    """What a leaf or a node has, (1, dims)."""
    x, nodes = of
    above = jnp.maximum(number - x.shape[0], 0)
    return jnp.where(number < x.shape[0], rows_of(x, number[None]), rows_of(nodes, above[None]))


def _with_value(of: tuple[Agents, Array], number: Array, new: Array) -> tuple[Agents, Array]:
    """Leaves and nodes, of which one has a new value; beyond the last nobody has."""
    x, nodes = of
    above = jnp.where(number < x.shape[0], nodes.shape[0], number - x.shape[0])
    return with_rows(x, number[None], new), with_rows(nodes, above[None], new)
