"""Networks of workers in virtual time: each arrival takes the gradient of its job, and then its protocol acts.

Protocols, clocks and the stepper are those of `sdesim.asynchrony`, which see all parameters of a worker as one point.
Who arrives when was settled before (`arriving.py`). A gradient that hangs on nothing that others do may be taken before
its turn, together with theirs: it is of the point where the worker has been since its last arrival.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.asynchrony.events import Arrival, Asynchronous
from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, HeavyBall, Nesterov, State
from sdesim.fields import Part
from sdesim.objectives import AbstractObjective
from sdesim.random import Seed
from sdesim.tracing import each
from sdesim.training import step as steps
from sdesim.training.algorithms import Algorithm
from sdesim.training.step import Pixels, RunState, Task


class Plan(NamedTuple):
    """What arrives in an epoch, of each run.

    Attributes:
        came: of each event, who or what arrives, (runs, events).
        before: how many jobs of the epoch end before each event, and before the end, (runs, events + 1).
        event: which event ends each job, (runs, jobs).
        index: images of each job's batch by number, (runs, jobs, batch).
    """

    came: Arrival
    before: Array
    event: Array
    index: Array


class Workers(Part):
    """An algorithm whose agents are workers in virtual time: its rule, its momentum and its average, by a protocol.

    Attributes:
        algorithm: as for agents that step together.
        stepper: without what the host alone needs.
        moves: whether there is momentum; static.
        together: how many gradients are taken at a time, at most; static.
    """

    algorithm: Algorithm
    stepper: Asynchronous
    moves: bool = eqx.field(static=True)
    together: int = eqx.field(static=True)

    @property
    def averages(self) -> bool:
        """Whether an average over the server's updates is tested, and not the center itself."""
        return self.algorithm.averages

    @property
    def own(self) -> bool:
        """Whether an arrival changes nothing of other workers but what their own arrivals look at."""
        protocol = self.stepper.protocol
        return protocol.messages or (protocol.members == 1 and getattr(type(protocol).arrive, "own_rows", False))

    def model(self, rates: Array, objective: AbstractObjective) -> Dynamics:
        """The dynamics of the workers of one run.

        Args:
            rates: learning rates, (agents,).
            objective: their loss.

        Returns:
            The model, whose learning rate is a function, as a rate that may change is.
        """
        kind = Nesterov if self.algorithm.nesterov else HeavyBall
        momentum = kind(self.algorithm.momentum) if self.moves else None
        return Dynamics(objective, self.algorithm.rule, eta=lambda step: rates, momentum=momentum)

    def begun(self, params: PyTree, rates: Array) -> tuple[PyTree, State]:
        """Workers who have begun their first job.

        Args:
            params: where they start, leaves (agents, ...).
            rates: learning rates, (agents,).

        Returns:
            Their parameters, and what else there is to keep.
        """
        state = self.stepper.init(self.model(rates, Given()), flat(params))
        return unflat(state.x, params), state._replace(x=None)

    def center(self, params: PyTree, state: State) -> PyTree:
        """What stands for the workers of one run: what their protocol draws them to, or their mean.

        Args:
            params: of the workers, leaves (agents, ...).
            state: what else they keep.

        Returns:
            Parameters without the agents' axis.
        """
        x = flat(params)
        return unflat(self._center(state._replace(x=x)), jax.tree.map(lambda a: a[0], params))

    def _center(self, state: State) -> Array:
        x = state.x
        if self.algorithm.by_mean:
            return jnp.mean(x, axis=0)
        return self.stepper.center(self.model(jnp.zeros(x.shape[0], x.dtype), Given()), state, ArrayMean(x.shape[0]))

    def one_arrival(self, params: PyTree, rates: Array) -> Any:
        """The first arrival, of a worker whose gradient is 0: all that there is to trace of a rule and a protocol.

        Args:
            params: where workers start, leaves (agents, ...).
            rates: learning rates, (agents,).

        Returns:
            The state after it, and its center.
        """
        params, kept = self.begun(params, rates)
        state, none = kept._replace(x=flat(params)), jnp.zeros((), jnp.int32)
        rest = (none,) * 3 if self.stepper.protocol.messages else ()
        new = self.stepper.step(self.model(rates, Given()), state, none, arrival=Arrival(none, none, *rest), words=[])
        return new, self._center(new)

    def averaged(self, average: Array, before: State, after: State, n: Array) -> Array:
        """The average after an arrival: a center enters it when it has been updated.

        Args:
            average: before it, (dims,).
            before: the state then.
            after: the state after it.
            n: jobs that had ended before it.

        Returns:
            (dims,).
        """
        updates = self.stepper.counts(before, n).updates
        weight = self.algorithm.weight(updates)
        enter = lambda: weight * average + (1 - weight) * self._center(after)
        return lax.cond(self.stepper.counts(after, n + 1).updates > updates, enter, lambda: average)


class Given(AbstractObjective):
    """A loss whose gradient was taken before; it tells where it is asked for.

    Attributes:
        gradient_there: of the one who asks, (1, dims); None for zeros.
        asked: points where it was asked for, in their order.
    """

    gradient_there: Array | None = None
    asked: list[Array] = eqx.field(static=True, default_factory=list)

    def gradients(self, x: Array):
        self.asked.append(x)
        return jnp.zeros_like(x) if self.gradient_there is None else self.gradient_there


def flat(params: PyTree) -> Array:
    """Parameters of agents as points.

    Args:
        params: leaves (agents, ...).

    Returns:
        (agents, dims).
    """
    leaves = jax.tree.leaves(params)
    return jnp.concatenate([a.reshape(a.shape[0], -1).astype(jnp.float32) for a in leaves], axis=1)


def unflat(x: Array, like: PyTree) -> PyTree:
    """Points as parameters.

    Args:
        x: of one agent, (dims,), or of agents, (agents, dims).
        like: parameters of as many, or what has their shapes and types.

    Returns:
        Of the structure of `like`.
    """
    leaves, structure = jax.tree.flatten(like)
    found, first = [], 0
    for leaf in leaves:
        size = leaf.size if x.ndim == 1 else leaf.size // leaf.shape[0]
        found.append(x[..., first : first + size].reshape(leaf.shape).astype(leaf.dtype))
        first += size
    return jax.tree.unflatten(structure, found)


def room_of(state: RunState) -> int:
    """How many values messages under way may carry at a time.

    Args:
        state: of all runs.

    Returns:
        The number; 1 where there are no messages.
    """
    kept = _values_under_way(state)
    return 1 if kept is None else kept.shape[1]


def with_room(state: RunState, room: int) -> RunState:
    """A state with room for more messages under way, or for as many as there were at another time.

    Args:
        state: of all runs.
        room: values that messages carry at a time.

    Returns:
        The state; itself where there are no messages.
    """
    kept = _values_under_way(state)
    if kept is None or kept.shape[1] == room:
        return state
    other = jnp.pad(kept[:, :room], [(0, 0), (0, max(0, room - kept.shape[1])), (0, 0)])
    return state._replace(optimizer=state.optimizer._replace(shared={**state.optimizer.shared, "kept": other}))


def _values_under_way(state: RunState) -> Array | None:
    shared = state.optimizer.shared if isinstance(state.optimizer, State) else None
    return shared["kept"] if isinstance(shared, dict) and "messages" in shared else None


def take_arrivals(
    task: Task,
    workers: Workers,
    pixels: Pixels,
    state: RunState,
    seed: Seed,
    runs: Array,
    eta: Array,
    plan: Plan,
    bounds: Array,
    windows: Array,
    total: Array,
) -> tuple[RunState, Array]:
    """Arrivals of an epoch, in their order.

    Args:
        task: what is static about the training.
        workers: with a leading axis of runs.
        pixels: images and labels to train on.
        state: of all runs.
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        eta: learning rates, (runs, agents).
        plan: of the epoch.
        bounds: events with which windows begin, and the one after the last, (runs, windows + 1): the gradients of a
            window may all be taken as it begins.
        windows: how many there are, an int32 scalar.
        total: each agent's losses so far, summed, (runs, agents).

    Returns:
        The new state, and each agent's losses added to `total`.
    """
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[2:], a.dtype), state.params)

    def one_run(
        workers: Workers,
        params: PyTree,
        kept: State,
        average: PyTree,
        diverged: Array,
        run: Array,
        eta: Array,
        plan: Plan,
        bounds: Array,
        total: Array,
    ):
        stepper, first = workers.stepper, state.step - plan.before[bounds[0]]  # jobs before the epoch
        came = lambda event: jax.tree.map(lambda a: a[event], plan.came)

        def arrive(now: State, event: Array, objective: Given) -> State:
            n, model = first + plan.before[event], workers.model(eta, objective)
            return stepper.step(model, now, n, seed=seed, sim=run, arrival=came(event), words=[])

        def gradient(now: State, job: Array) -> tuple[Array, Array]:
            event, where = plan.event[job], Given()
            arrive(now, event, where)  # of which nothing but the point is looked at
            (point,) = where.asked
            whose = came(event)
            key = steps.agent_key(seed, random.Stream.DROPOUT, whose.job, run, whose.worker.astype(jnp.uint32))
            loss, found = steps.gradient(task, pixels, unflat(point[0], one), plan.index[job], key)
            return loss, flat(jax.tree.map(lambda g: g[None], found))

        def window(number: Array, carry: tuple):
            now, average, diverged, total = carry
            low, high = bounds[number], bounds[number + 1]
            before, end = plan.before[low], plan.before[high]
            none = lambda job: (jnp.zeros(()), jnp.zeros((1, now.x.shape[1]), now.x.dtype))
            jobs = before + jnp.arange(workers.together, dtype=jnp.int32)
            losses, gradients = each(lambda j: lax.cond(j < end, lambda j: gradient(now, j), none, j))(jobs)
            whose = jnp.where(jobs < end, plan.came.worker[plan.event[jobs]], eta.shape[0])
            total = total.at[whose].add(losses, mode="drop")
            bad = jnp.where((jobs < end) & ~jnp.isfinite(losses), first + jobs, jnp.iinfo(jnp.int32).max).min()
            diverged = jnp.where((diverged < 0) & (bad < jnp.iinfo(jnp.int32).max), bad, diverged)

            def event(number: Array, carry: tuple):
                now, average = carry
                n = plan.before[number]
                new = arrive(now, number, Given(gradients[n - before]))
                if average is not None:
                    average = workers.averaged(average, now, new, first + n)
                return new, average

            now, average = lax.fori_loop(low, high, event, (now, average))
            return now, average, diverged, total

        many = None if average is None else flat(jax.tree.map(lambda a: a[None], average))[0]
        start = (kept._replace(x=flat(params)), many, diverged, total)
        now, many, diverged, total = lax.fori_loop(0, windows, window, start)
        now = stepper.settled(workers.model(eta, Given()), now, first + plan.before[bounds[windows]])
        average = None if many is None else unflat(many, average)
        return unflat(now.x, params), now._replace(x=None), average, diverged, total

    of_runs = (workers, state.params, state.optimizer, state.average, state.diverged, runs, eta, plan, bounds, total)
    params, kept, average, diverged, total = each(one_run)(*of_runs)
    done = jnp.take_along_axis(plan.before, bounds[:, windows][:, None], 1)[0, 0]
    first = jnp.take_along_axis(plan.before, bounds[:, :1], 1)[0, 0]
    return RunState(params, kept, average, state.step + done - first, diverged), total
