"""What a stepper is.

All steppers take the order in which pull, gradient and shared state act:

- "jacobi": all from the old state (Z 2.3-2.4, BS 41-43);
- "gauss-seidel": first the pull on the agents, then the gradient at where it took them, then the shared state from
  the new agents (Z 6.3).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.coupling import ORDERS, ArrayMean, Mean, Order
from sdesim.dynamics import Agents, Counts, Dynamics, Sizes, State, weighted
from sdesim.fields import Part, check_choice
from sdesim.random import Seed, Stream

Kick = Callable[[Agents, Agents, Sizes], Agents]
"""kick(x, gradients, size): the noise of a step for agents at x, size.kick zeta or size.diffusion B dW. Whether it
comes from a law and random words or from increments of the caller is not a stepper's business."""


class Reading(Protocol):
    """What the host hands to the steps of one run, as they ask for it."""

    def reader(self, sims: np.ndarray) -> Callable[[int, int], dict[str, PyTree]]:
        """Hand it to some lanes.

        Args:
            sims: of each lane its simulation, from 0, (lanes,).

        Returns:
            (a, b) -> what the steps from a to b of the run take by the names of `step`'s arguments, leaves (b - a, ...,
            lanes); to be asked for steps in their order.
        """
        ...

    def times(self) -> np.ndarray:
        """The time after each of the records.

        Returns:
            Seconds, (records, sims).
        """
        ...

    def arrivals(self, sims: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """How many steps were of somebody after so many of the run, since the first run began.

        Args:
            sims: which simulations, (count,).
            steps: of each, (count,).

        Returns:
            (count,).
        """
        ...


class Feed(Protocol):
    """What the host hands to each step of a run, and when these steps are."""

    @property
    def steps(self) -> int:
        """Of the run."""
        ...

    @property
    def stride(self) -> int | None:
        """Steps between two moments of a run by seconds; None for one by steps."""
        ...

    def reading(self, records: np.ndarray) -> Reading:
        """Hand it out, from the first step on.

        Args:
            records: the numbers of steps after which the time will be asked for, from 0, (records,).

        Returns:
            What hands it out.
        """
        ...


class Setting(NamedTuple):
    """Which simulations a run steps, as the host knows them.

    Attributes:
        agents: of one simulation.
        sims: independent simulations.
        first_sim: number of the first of them.
        first: number of the first step.
        steps: how many; 0 where moments are given.
        seed: its words, and their generator.
        at: the moments, in seconds of virtual time, at which a run by seconds looks; None for a run by steps.
        begins: the moment at which a run by seconds begins.
    """

    agents: int
    sims: int
    first_sim: int
    first: int
    steps: int
    seed: Seed
    at: tuple[float, ...] | None = None
    begins: float = 0.0


class AbstractStepper(Part):
    """What one step of a run is. Numbers are traced; the kind and the order are static.

    Subclasses give `sizes` and `advance`. All methods are pure, of one simulation, (agents, dims), and may be put under
    jit, vmap, scan and grad.

    Attributes:
        order: in which pull, gradient and shared state act: "jacobi" or "gauss-seidel", see the module.
        today: of one with parts of a user's, what they do in the call under way, as a key (`functions.today` sets it):
            compiled code serves no other.
    """

    order: Order = eqx.field(static=True, default="jacobi", kw_only=True)
    today: Any = eqx.field(static=True, init=False, default=None, repr=False)

    def __check_init__(self):
        check_choice("order", self.order, ORDERS)

    @property
    def resolved(self) -> bool:
        """Whether its steps have a length of their own in time, and not the model's."""
        return False

    def check(self, model: Dynamics) -> None:
        """Refuse a model that this cannot step.

        Args:
            model: the dynamics.

        Raises:
            ValueError: naming the argument.
        """
        if model.weak_order == 2 and self.order == "gauss-seidel":
            raise ValueError("order='gauss-seidel': the modified drift of weak_order=2 belongs to order 'jacobi'")

    @property
    def lockstep(self) -> bool:
        """Whether all agents take each step."""
        return True

    @property
    def members(self) -> int | None:
        """How many agents take part in an exchange; None for all."""
        return None

    @property
    def cycle(self) -> int | None:
        """After how many steps it does the same again; None where that is no number."""
        return 1

    @property
    def past(self) -> int:
        """How many earlier states of all agents it keeps; 0 where the present alone decides."""
        return 0

    def sizes(self, model: Dynamics, n: Array) -> Sizes:
        """How much of everything there is in one step.

        Args:
            model: the dynamics.
            n: the number of the step, from 0; an int32 scalar.

        Returns:
            Numbers, or one an agent, (agents,).
        """
        raise NotImplementedError

    def exchange_sizes(self, model: Dynamics, n: Array) -> Sizes:
        """How much an exchange does: as much as the step, unless a stepper has a pace of its own.

        Args:
            model: the dynamics.
            n: the number of the step, from 0; an int32 scalar.

        Returns:
            As `sizes`, of which `weight` is of pulls and `tick` of flows.
        """
        return self.sizes(model, n)

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean) -> State:
        """The state after one step.

        Args:
            model: the dynamics.
            state: before the step.
            n: the number of the step, from 0; an int32 scalar.
            kick: makes the noise of the step.
            mean: the mean over agents, for the coupling.

        Returns:
            The new state.
        """
        raise NotImplementedError

    def init(self, model: Dynamics, x: Agents, v: Agents | None = None) -> State:
        """The state that starts from some agents.

        Args:
            model: the dynamics.
            x: agents, (agents, dims), in length.
            v: displacements in one iteration, (agents, dims); at rest unless they are given.

        Returns:
            The state at step 0.
        """
        return model.init(x, ArrayMean(x.shape[0]), v)

    def renew(self, model: Dynamics, state: State) -> State:
        """The state after the rule's jump at the start of an epoch.

        Args:
            model: the dynamics.
            state: before the jump.

        Returns:
            The new state.
        """
        return model.renew(state)

    def center(self, model: Dynamics, state: State, mean: Mean) -> Array:
        """What the agents are drawn to: by the rule, unless a stepper has a server of its own.

        Args:
            model: the dynamics.
            state: of one simulation.
            mean: the mean over agents.

        Returns:
            (dims,).
        """
        return model.coupling.center(state.x, state.shared, state.t, mean)

    def counts(self, state: State, n: Array) -> Counts | None:
        """What workers in virtual time have done so far.

        Args:
            state: of one simulation.
            n: the number of steps, an int32 scalar.

        Returns:
            Their counts; None of agents that step together.
        """
        return None

    def bare(self, feed: Feed | None = None) -> "AbstractStepper":
        """This without what the host alone needs: another value of that is no other program.

        Args:
            feed: of the run; None for one by steps.

        Returns:
            The stepper that takes the steps.
        """
        return self

    def prepared(self, model: Dynamics, sim: Array, seed: Seed, dims: int, given: PyTree) -> PyTree:
        """What the host hands to many steps, and what follows from it without a state; asked of steps of some agents.

        Args:
            model: the dynamics.
            sim: the simulation's number, a uint32 scalar.
            seed: its words, and their generator.
            dims: of one agent.
            given: what the host hands over, leaves (steps, ...).

        Returns:
            The same and more, by the names of `step`'s arguments.
        """
        return given

    def settled(self, model: Dynamics, state: State, n: Array) -> State:
        """The state, with what hangs on nothing but the number of steps; asked of steps of some agents.

        Args:
            model: the dynamics.
            state: after some steps.
            n: their number, an int32 scalar.

        Returns:
            The state as others see it.
        """
        return state

    def room(self, state: State) -> State:
        """Of each leaf of a state, whether it is room that a run which goes on may need more of: none is by default.

        Args:
            state: as `init` makes it.

        Returns:
            Booleans, of the same structure.
        """
        return jax.tree.map(lambda leaf: False, state)

    def feed(self, model: Dynamics, setting: Setting) -> Feed | None:
        """What the host hands to each step, beside the seed and the numbers of the simulation and the step.

        Args:
            model: the dynamics.
            setting: of the run.

        Returns:
            The feed; None for nothing.

        Raises:
            ValueError: for a run by seconds, where steps have no time in seconds.
        """
        if setting.at is not None:
            raise ValueError(f"until: steps of {type(self).__name__} have no time in seconds; give steps=")
        return None

    def step(
        self,
        model: Dynamics,
        state: State,
        n: Array | int,
        *,
        seed: Seed | Array | int = 0,
        sim: Array | int = 0,
        dw: Agents | None = None,
    ) -> State:
        """The state after step number `n` of one simulation: what a run does at each step.

        Args:
            model: the dynamics.
            state: from `init`, or of the step before.
            n: the number of the step, from 0.
            seed: as for `simulate`; with the simulation's and the step's number it decides the noise.
            sim: the simulation's number, from 0.
            dw: Brownian increments in place of the noise law's, (agents, dims), of variance dt.

        Returns:
            The new state.
        """
        n = jnp.asarray(n, jnp.int32)
        sim = jnp.asarray(sim, jnp.uint32)
        kick = drawn(model, random.seed_words(seed), sim, n, state.x) if dw is None else given(model, dw)
        return self.advance(model, state, n, kick, ArrayMean(state.x.shape[0]))


def descent(model: Dynamics, x: Agents, v: Agents | None, kick: Kick, size: Sizes) -> Agents:
    """-eta g: what a gradient with its noise adds to agents, or to their velocities.

    Args:
        model: the dynamics.
        x: agents, (agents, dims).
        v: velocities, (agents, dims); None without momentum.
        kick: the noise of the step.
        size: of the step.

    Returns:
        (agents, dims).
    """
    point = model.gradient_point(x, v)
    gradients = model.gradients(point)
    return weighted(size.weight, -gradients) + kick(point, gradients, size._replace(diffusion=size.kick))


def drawn(model: Dynamics, seed: Seed, sim: Array, n: Array, x: Agents) -> Kick:
    """size.kick zeta from the noise law and this step's random words.

    Args:
        model: the dynamics, for its law and its minibatch size.
        seed: its words, and their generator.
        sim: the simulation's number, a uint32 scalar.
        n: the number of the step, an int32 scalar.
        x: agents, (agents, dims), for their number and type.

    Returns:
        The kick of the step.
    """
    keys = [random.step_key(seed, Stream.NOISE + i, n) for i in range(model.noise.word_pairs)]
    words = [random.words(key, sim, *x.shape) for key in keys]

    def kick(x: Agents, gradients: Agents, size: Sizes):
        z = model.noise.variates(words, x.dtype, model.batch)
        return model.noise.apply(z, x, gradients, model.batch, size.kick)

    return kick


def given(model: Dynamics, dw: Agents) -> Kick:
    """size.diffusion B dw from the caller's Brownian increments.

    Args:
        model: the dynamics, for its law and its minibatch size.
        dw: (agents, dims), of variance dt.

    Returns:
        The kick of the step.
    """

    def kick(x: Agents, gradients: Agents, size: Sizes):
        return model.noise.diffuse(dw, x, gradients, model.batch, size.diffusion)

    return kick


def moved(tree: PyTree, change: PyTree) -> PyTree:
    """tree + change, for the leaves that flow; an agent's index does not.

    Args:
        tree: what is shared.
        change: of each leaf, of its shape.

    Returns:
        The new tree, of the old one's types.
    """
    move = lambda s, f: s + f.astype(s.dtype) if jnp.issubdtype(s.dtype, jnp.inexact) else s
    return jax.tree.map(move, tree, change)
