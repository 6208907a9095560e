"""What a step does to small departures from a point: maps of means and of second moments, from the code that simulates.

Of agents that nothing tells apart one is pushed at a time. Its own answer, that of another of its kind, those of the
others and that of what is shared say all, so that a thousand agents cost what two do. Where workers in virtual time
differ by integers (how many jobs until the next exchange, who waits, whose read is old), the discrete states are walked
through as the code takes one to another, and moments are joined with them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.analysis.moments import Event, Linear, Mode
from sdesim.asynchrony import AbstractProtocol, Asynchronous, Deterministic, Exponential
from sdesim.asynchrony.events import Arrival, Discrete
from sdesim.dynamics import Dynamics, Friction, State
from sdesim.fields import check_count, named, number, shown
from sdesim.noise import AbstractNoise
from sdesim.random import Words
from sdesim.steppers import AbstractStepper, stepper_of

MOST = 20_000  # second moments, joined with discrete states, that are solved for
MOST_OF_ONE = 3_000  # in one discrete state
EQUAL = 1e-9  # of answers that are one but for rounding, as a share of the greatest


def linearize(model: Dynamics, stepper: AbstractStepper | None = None, *, agents: int, at: ArrayLike = 0.0) -> Linear:
    """A step's linear map near a point at which all agents rest, by automatic differentiation of the step.

    For agents that step together, and for workers in virtual time whose compute times are exponential, so that whoever
    arrives next is drawn with equal chance among those at work, or all equal, so that they arrive in turn. What is
    stationary of these is what is found after a step or an arrival. No number may tell one agent from another. Integers
    that a protocol keeps are joined, where it says in `AbstractProtocol.discrete` which of them matter. Noise is taken
    by its covariance; on a quadratic loss the moments are exact. float64 always.

    Args:
        model: the dynamics; noise must not hang on the point.
        stepper: one of `sdesim.steppers` or `Asynchronous`; Euler-Maruyama at the matched step by default.
        agents: p.
        at: the point, a number or (dims,): where the gradient vanishes.

    Returns:
        The map.

    Raises:
        TypeError: for what is no model or no stepper.
        ValueError: for steps that are no map of moments, with the reason, and for one of too many moments.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    stepper, p = stepper_of(stepper), check_count("agents", agents)
    point = np.atleast_1d(np.asarray(named("at", number)(at), float))
    if point.ndim != 1:
        raise ValueError(f"at={shown(at)}: must be a number, or a point of shape (dims,)")
    model.check_run(p, len(point))
    stepper.check(model)
    _check_steps(model, stepper, p)
    with jax.enable_x64(True):
        wide = lambda a: np.asarray(a, np.float64) if eqx.is_inexact_array(a) else a
        model, bare = jax.tree.map(wide, (model, stepper.bare()))
        return _Walk(model, bare, _covariance(model, point), _in_turn(stepper), p, point).linear()


def _check_steps(model: Dynamics, stepper: AbstractStepper, agents: int) -> None:
    """Refuse steps that are not alike, or not of the state that they are given."""
    if callable(model.eta) or jnp.ndim(model.eta) or jnp.ndim(model.batch):
        raise ValueError("eta, batch: must be one number for all steps and agents, or steps or agents are not alike")
    if isinstance(model.momentum, Friction) and callable(model.momentum.mu):
        raise ValueError("momentum: a friction of time makes every step another")
    if model.coupling.renews:
        raise ValueError(f"coupling={type(model.coupling).__name__}: jumps at epochs, which are no steps")
    if stepper.past:
        raise ValueError(f"stepper={type(stepper).__name__}: its steps hang on more than the present state")
    if stepper.cycle is None:
        raise ValueError("stepper: a period that is a function makes every step another")
    if not isinstance(stepper, Asynchronous):
        return
    protocol = stepper.protocol
    if protocol.messages:
        raise ValueError(f"protocol={type(protocol).__name__}: messages are under way, whose values the state holds")
    if not isinstance(stepper.compute, Exponential | Deterministic) or jnp.ndim(stepper.compute.mean):
        right = "must be Exponential or Deterministic with one mean: who arrives next must not hang on the past"
        raise ValueError(f"compute={shown(stepper.compute)}: {right}")
    if protocol.barrier is not None and protocol.barrier > agents:
        raise ValueError(f"agents={agents}: must be at least {protocol.barrier}, for whom the protocol waits")
    if _in_turn(stepper) and protocol.barrier is not None:
        raise ValueError("compute=Deterministic: workers that wait for each other do not arrive in turn")
    messages = stepper.uplink, stepper.downlink, stepper.leave, stepper.timetable
    if stepper.failure or any(m is not None for m in messages):
        raise ValueError("stepper: must have no messages, failures, leaving workers or timetable of its own")


def _in_turn(stepper: AbstractStepper) -> bool:
    return isinstance(stepper, Asynchronous) and isinstance(stepper.compute, Deterministic)


class _Place(NamedTuple):
    """A state that shows a mode: at rest but for its integers."""

    state: State
    jobs: NDArray
    steps: int


@dataclasses.dataclass(frozen=True)
class _Walk:
    """Through the discrete states of p agents, as the code that simulates takes one to another."""

    model: Dynamics
    stepper: AbstractStepper
    covariance: NDArray
    in_turn: bool
    agents: int
    at: NDArray

    def linear(self) -> Linear:
        """All modes that are met, and what takes one to another."""
        p = self.agents
        start = _Place(_begun(self.model, self.stepper, jnp.asarray(np.tile(self.at, (p, 1)))), np.zeros(p, int), 0)
        self._check_integers(start.state)
        own, shared = (a.shape[-1] for a in _coordinates(start.state))
        places, numbers, again = [start], {self._key(start): 0}, set()
        modes, events, size = [], [], 0
        while len(modes) < len(places):
            source = len(modes)
            place = places[source]
            told = self._told(place)
            classes = _classes(told)
            modes.append(Mode(tuple(len(members) for members in classes), self._rate(told)))
            means = own * len(classes) + shared
            here = means * (means + 1) // 2 + len(classes) * own * (own + 1) // 2
            size += here
            if size > MOST or here > MOST_OF_ONE:
                most = f"at most {MOST}, of one state {MOST_OF_ONE}, are solved for"
                raise ValueError(f"agents={p}: there are {size} second moments or more, joined with states; {most}")
            for worker, chance in self._arrivals(place, told, classes):
                event, after = self._event(place, classes, worker)
                key = self._key(after)
                if key not in numbers:
                    numbers[key] = len(places)
                    places.append(after)
                elif key not in again:  # another state of a mode that is known: what it does must be the same
                    again.add(key)
                    self._check_same(places[numbers[key]], after)
                events.append(dataclasses.replace(event, source=source, target=numbers[key], chance=chance))
        memoryless = isinstance(self.stepper, Asynchronous) and not self.in_turn
        return Linear(tuple(modes), tuple(events), own, shared, p, memoryless)

    # -- discrete states ----------------------------------------------------------------------------------------------

    def _told(self, place: _Place) -> Discrete:
        """What tells agents apart: of workers that arrive in turn their turns too."""
        if not isinstance(self.stepper, Asynchronous):
            return Discrete(np.zeros(self.agents, int), place.steps % (self.stepper.cycle or 1))
        state = place.state._replace(kept=place.state.kept.own)
        told = self.stepper.protocol.discrete(state, place.jobs, place.steps)
        labels = np.asarray(told.labels, int)
        if self.in_turn:
            turns = (np.arange(self.agents) - place.steps) % self.agents
            labels = np.stack([turns, labels], axis=1)
        return told._replace(labels=labels.reshape(self.agents, -1))

    def _key(self, place: _Place) -> tuple:
        told = self._told(place)
        labels = told.labels.reshape(self.agents, -1).tolist()
        return int(told.common), tuple(sorted(map(tuple, labels)))

    def _rate(self, told: Discrete) -> float:
        if not isinstance(self.stepper, Asynchronous):
            return 1.0
        return float(self.agents - (0 if told.waiting is None else int(np.sum(told.waiting))))

    def _arrivals(self, place: _Place, told: Discrete, classes: list[NDArray]) -> list[tuple[int | None, float]]:
        """Who may arrive, one of each class, and with which chance; None where all step."""
        if not isinstance(self.stepper, Asynchronous):
            return [(None, 1.0)]
        if self.in_turn:
            return [(place.steps % self.agents, 1.0)]
        at_work = [c for c in classes if told.waiting is None or not np.asarray(told.waiting)[c].any()]
        return [(int(c[0]), len(c) / sum(len(c) for c in at_work)) for c in at_work]

    def _check_integers(self, state: State) -> None:
        """Refuse a protocol that keeps integers and does not say what an arrival hangs on."""
        kept = state.kept.own if isinstance(self.stepper, Asynchronous) else state.kept
        integers = [a for a in jax.tree.leaves((state.shared, kept)) if not eqx.is_inexact_array(a)]
        if not integers:
            return
        if not isinstance(self.stepper, Asynchronous):
            raise ValueError("model: what agents share has integers, so a step is no fixed linear map")
        if type(self.stepper.protocol).discrete is AbstractProtocol.discrete:
            name = type(self.stepper.protocol).__name__
            why = "keeps integers and does not say in `discrete` by which finitely many values an arrival hangs on them"
            raise ValueError(f"protocol={name}: {why}")

    # -- answers of the code ------------------------------------------------------------------------------------------

    def _event(self, place: _Place, classes: list[NDArray], worker: int | None) -> tuple[Event, _Place]:
        """What happens when a worker arrives, or when all step, and the state after it."""
        parts = [(kind, members) for kind, members in enumerate(classes)]
        if worker is not None:
            parts = _picked(parts, worker)
            protocol = getattr(self.stepper, "protocol", None)
            if protocol is not None and protocol.members > 1 and protocol.barrier is None:
                parts = self._with_partners(place, parts, worker)
        moved, common, after = self._answers(place, worker, [int(members[0]) for _, members in parts])
        labels = self._told(after).labels
        new = _classes(Discrete(labels))
        number_of = {int(i): kind for kind, members in enumerate(new) for i in members}
        targets = [{number_of[int(i)] for i in members} for _, members in parts]
        if any(len(target) > 1 for target in targets):
            raise ValueError("protocol: an arrival tells apart workers of one label of its `discrete`")
        made = _maps(moved, common, [members for _, members in parts], self.at.size, self.covariance)
        counts = tuple((kind, len(members)) for kind, members in parts)
        return Event(0, 0, 1.0, counts, tuple(target.pop() for target in targets), *made), after

    def _answers(self, place: _Place, worker: int | None, probes: list[int]) -> tuple[NDArray, NDArray, _Place]:
        """How all agents and what is shared answer to pushes of some agents and of what is shared; the state after."""
        arrival = None
        if worker is not None:
            arrival = Arrival(jnp.int32(worker), jnp.int32(place.jobs[worker]))
        padded = np.array([*probes, *[probes[0]] * (-len(probes) % 4)] if len(probes) > 2 else probes, np.int32)
        found = _pushed(self.model, self.stepper, place.state, jnp.int32(place.steps), arrival, jnp.asarray(padded))
        moved, common, state = found
        n, c, d = moved.shape[-1], common.shape[-1], self.at.size
        keep = [*range(len(probes) * (n + d)), *range(len(moved) - c, len(moved))]
        jobs = place.jobs if worker is None else place.jobs + (np.arange(self.agents) == worker)
        return np.asarray(moved)[keep], np.asarray(common)[keep], _Place(state, jobs, place.steps + 1)

    def _with_partners(self, place: _Place, parts: list, worker: int) -> list:
        """The parts, with those who take part beside the worker, drawn by the protocol among all, picked out."""
        if len(parts) > 2:
            raise ValueError("protocol: who takes part is drawn among workers that differ; only a period of 1 is known")
        moved, _, _ = self._answers(place, worker, [worker])
        n = moved.shape[-1]
        for other in np.flatnonzero(np.abs(moved[:n]).max(axis=(0, 2)) > 0):
            parts = _picked(parts, int(other)) if other != worker else parts
        return parts

    def _check_same(self, known: _Place, other: _Place) -> None:
        """Refuse steps that hang on more than the mode, such as the time."""
        found = []
        for place in (known, other):
            told = self._told(place)
            classes = _classes(told)
            worker = self._arrivals(place, told, classes)[0][0]
            found.append(self._event(place, classes, worker)[0])
        names = "joint", "alone", "joint_noise", "alone_noise"
        same = lambda name: _alike(*(np.asarray(getattr(event, name)) for event in found))
        if found[0].parts != found[1].parts or not all(map(same, names)):
            raise ValueError("model, stepper: two steps from one discrete state differ: they hang on the time")


def _classes(told: Discrete) -> list[NDArray]:
    """The agents of each label, in the labels' order."""
    labels = np.asarray(told.labels).reshape(len(told.labels), -1)
    _, which = np.unique(labels, axis=0, return_inverse=True)
    return [np.flatnonzero(which.ravel() == kind) for kind in range(which.max() + 1)]


def _picked(parts: list[tuple[int, NDArray]], agent: int) -> list[tuple[int, NDArray]]:
    """The parts, with one agent as a part by itself, before the others of its class."""
    new = []
    for kind, members in parts:
        if agent not in members or len(members) == 1:
            new.append((kind, members))
        else:
            new += [(kind, np.array([agent])), (kind, members[members != agent])]
    return new


def _maps(
    moved: NDArray, common: NDArray, parts: list[NDArray], dims: int, covariance: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The maps of an `Event` from answers.

    `moved` (pushes, agents, own) and `common` (pushes, shared): to pushes of the coordinates and the noise of the first
    agent of each part, and then of what is shared.
    """
    n, c, r = moved.shape[-1], common.shape[-1], len(parts)
    joint, kick = np.zeros((r * n + c, r * n + c)), np.zeros((r * n + c, r * dims))
    alone, spread = np.zeros((r, n, n)), np.zeros((r, n, n))
    scale = max(np.abs(moved).max(initial=0), np.abs(common).max(initial=0))

    def answer(pushes: slice, a: int, b: int) -> tuple[NDArray, NDArray]:
        """Of the agents of part b but the one that is pushed, which must be one, and of that one."""
        members = parts[b]
        others = members[1:] if a == b else members
        of = moved[pushes][:, others]
        if others.size and np.abs(of - of[:, :1]).max(initial=0) > EQUAL * scale:
            raise ValueError("model, stepper: agents that should be alike answer differently: they are told apart")
        return (of[:, 0] if others.size else np.zeros((len(of), n))).T, moved[pushes][:, members[0]].T

    for a, members in enumerate(parts):
        count, at = len(members), slice(a * (n + dims), (a + 1) * (n + dims))
        for b in range(r):
            other, first = answer(at, a, b)
            whole = first + (count - 1) * other if a == b else count * other
            joint[b * n : (b + 1) * n, a * n : (a + 1) * n] = whole[:, :n]
            kick[b * n : (b + 1) * n, a * dims : (a + 1) * dims] = whole[:, n:]
            if a == b and count > 1:
                alone[a] = (first - other)[:, :n]
                root = (first - other)[:, n:]
                spread[a] = root @ covariance @ root.T
        joint[r * n :, a * n : (a + 1) * n] = count * common[at].T[:, :n]
        kick[r * n :, a * dims : (a + 1) * dims] = count * common[at].T[:, n:]
    last = slice(r * (n + dims), None)
    for b in range(r):
        joint[b * n : (b + 1) * n, r * n :] = answer(last, -1, b)[0]
    joint[r * n :, r * n :] = common[last].T
    of_means = np.kron(np.diag([1 / len(members) for members in parts]), covariance)
    return joint, alone, kick @ of_means @ kick.T, spread


def _alike(one: NDArray, other: NDArray) -> bool:
    return one.shape == other.shape and bool(
        np.abs(one - other).max(initial=0) <= 1e-7 * np.abs(one).max(initial=1e-300)
    )


@eqx.filter_jit
def _begun(model: Dynamics, stepper: AbstractStepper, x: Array) -> State:
    return stepper.init(model, x)


@eqx.filter_jit
def _pushed(
    model: Dynamics, stepper: AbstractStepper, state: State, n: Array, arrival: Arrival | None, probes: Array
) -> tuple[Array, Array, State]:
    """How a step answers to pushes: first of each probe's coordinates and noise, then of what is shared."""
    rows, shared = _coordinates(state)

    def step(rows: Array, shared: Array, zeta: Array):
        which: dict[str, Any] = {} if arrival is None else {"arrival": arrival}
        given = zeta if arrival is None else zeta[arrival.worker][None]
        noisy = dataclasses.replace(model, noise=_Given(given))
        new = stepper.step(noisy, _placed(state, rows, shared), n, **which)
        return _coordinates(new), new

    (agents, own), (common,), dims = rows.shape, shared.shape, state.x.shape[1]
    still = jnp.zeros((agents, dims))
    _, slope, new = jax.linearize(step, rows, shared, still, has_aux=True)
    of_agent = jnp.eye(agents)[probes]  # (probes, agents)
    units = of_agent[:, None, :, None] * jnp.eye(own + dims)[None, :, None, :]
    units = units.reshape(-1, agents, own + dims)
    none = jnp.zeros((common, agents, own + dims))
    both = jnp.concatenate([units, none])
    of_shared = jnp.concatenate([jnp.zeros((len(units), common)), jnp.eye(common)])
    moved, changed = jax.vmap(slope)(both[..., :own], of_shared, both[..., own:])
    return moved, changed, _placed(new, rows, shared)


def _parts(state: State) -> tuple[PyTree, PyTree]:
    """What each agent has, and what they share, of floating-point numbers."""
    kept = getattr(state.kept, "own", None)
    return tuple(
        eqx.filter(tree, eqx.is_inexact_array)
        for tree in ((state.x, state.v, kept), (state.shared, state.velocity_shared))
    )


def _coordinates(state: State) -> tuple[Array, Array]:
    """Those of each agent, (agents, own), and of what they share, (shared,)."""
    of_agents, shared = _parts(state)
    rows = jnp.concatenate([a.reshape(a.shape[0], -1) for a in jax.tree.leaves(of_agents)], axis=1)
    return rows, ravel_pytree(shared)[0].astype(rows.dtype)  # of nothing it has another type


def _placed(state: State, rows: Array, shared: Array) -> State:
    """A state with these coordinates, and its own integers."""
    of_agents, common = _parts(state)
    leaves, tree = jax.tree.flatten(of_agents)
    ends = np.cumsum([a[0].size for a in leaves])[:-1]
    parts = [part.reshape(a.shape) for part, a in zip(jnp.split(rows, ends, axis=1), leaves, strict=True)]
    x, v, own = jax.tree.unflatten(tree, parts)
    new = ravel_pytree(common)[1](shared) if shared.size else common
    whole = eqx.combine(new, (state.shared, state.velocity_shared))
    if own is not None:
        state = state._replace(kept=state.kept._replace(own=eqx.combine(own, state.kept.own)))
    return state._replace(x=x, v=v, shared=whole[0], velocity_shared=whole[1])


def _covariance(model: Dynamics, at: NDArray) -> NDArray:
    """Of the gradient noise of a minibatch at a point, (dims, dims)."""
    if (reason := model.noise.without_variance()) is not None:
        raise ValueError(f"noise: {reason}, which has no fixed covariance")
    root, slope = (np.asarray(a) for a in _root(model, jnp.asarray(at)))
    if np.abs(slope).max(initial=0) > 0:
        raise ValueError(f"noise={type(model.noise).__name__}: hangs on the point, so that it is not of one covariance")
    return root @ root.T


@eqx.filter_jit
def _root(model: Dynamics, at: Array) -> tuple[Array, Array]:
    """What multiplies a Brownian increment at a point, (dims, dims), and its slope there."""

    def root(x: Array) -> Array:
        gradient = model.gradients(x[None])
        kick = lambda dw: model.noise.diffuse(dw[None], x[None], gradient, model.batch, jnp.ones(()))[0]
        return jax.jacobian(kick)(jnp.zeros(at.size))

    return root(at), jax.jacobian(root)(at)


class _Given(AbstractNoise):
    """Noise that is handed in."""

    zeta: Array

    word_pairs = 0

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return self.zeta

    def apply(self, z: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        return scale * z
