"""What a step does to small departures from a point: maps of means and of second moments, from the code that simulates.

Agents whose numbers are equal are one class, of which two are pushed: their answers, those of the others and that of
what is shared say all, so that of ten thousand agents no more moments are solved for than of two. Where a rule tells
agents apart by their places, as a tree does, each is a class by itself. Where workers in virtual time differ by
integers (how many jobs until the next exchange, who waits, whose read is old), the discrete states are walked through
as the code takes one to another, and moments are joined with them.
"""

import dataclasses
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim.analysis.answers import Law, begun, coordinates, law_of, looked, pushed
from sdesim.analysis.moments import MOST, Event, Linear, Mode, moments_of
from sdesim.analysis.resting import as_point, check_rest, wide
from sdesim.asynchrony import AbstractProtocol, Asynchronous, Deterministic, Exponential
from sdesim.asynchrony.events import Arrival, Discrete
from sdesim.coupling import Spiking
from sdesim.dynamics import Dynamics, Friction, State
from sdesim.fields import check_count, shown
from sdesim.steppers import AbstractStepper, Delayed, Iteration, stepper_of

DENSE = 400  # unknowns, up to which agents that a rule tells apart are classes by themselves
EQUAL = 1e-9  # of answers that are one but for rounding, as a share of the greatest


def linearize(model: Dynamics, stepper: AbstractStepper | None = None, *, agents: int, at: ArrayLike = 0.0) -> Linear:
    """A step's linear map near a point at which all agents rest, by automatic differentiation of the step.

    For agents that step together, with delayed gradients too, and for workers in virtual time whose compute times are
    exponential, so that whoever arrives next is drawn among those at work, or all equal, so that they arrive in turn.
    What is stationary of these is what is found after a step or an arrival. Agents whose numbers are equal are one
    class; those that the rule tells apart by their places are each by itself, up to 400 unknowns: `repr` says which.
    Integers that a protocol keeps are joined, where it says in `AbstractProtocol.discrete` which of them matter.

    Noise is taken by its covariance, which may hang on the point: to second order in the departure. On a quadratic loss
    the moments are exact, if the covariance is quadratic in the point, as for `noise.GammaMultiplicative`. float64
    always.

    Args:
        model: the dynamics.
        stepper: one of `sdesim.steppers` or `Asynchronous`; Euler-Maruyama at the matched step by default.
        agents: p.
        at: the point, a number or (dims,): where the gradient vanishes, as `rest` finds it. Other points are refused,
            unless the curvature is that at rest: on a quadratic loss, whose noise is the same everywhere, any point
            will do, and of agents with quadratic losses of their own, which rest apart, too.

    Returns:
        The map.

    Raises:
        TypeError: for what is no model or no stepper.
        ValueError: for steps that are no map of moments, with the reason, for one of too many moments, and for a point
            that is no rest, with the minimum downhill.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    stepper, p = stepper_of(stepper), check_count("agents", agents)
    point = as_point("at", at)
    model.check_run(p, len(point))
    stepper.check(model)
    _check_steps(model, stepper, p)
    with jax.enable_x64(True):
        model, bare = wide((model, stepper.bare()))
        check_rest(model, point, p)
        models = _in_turns(model, bare)
        if isinstance(bare, Delayed):
            bare = dataclasses.replace(bare, history=None)  # before step 0 all were at rest
        batch = np.broadcast_to(np.asarray(model.batch, float), p)
        whose = model  # noise that hangs on no gradient, of any of them
        if model.objective.made_for is not None:
            whose = dataclasses.replace(model, objective=model.objective.of(jnp.zeros(1, jnp.int32)))
        laws = {b: law_of(whose, point, b) for b in np.unique(batch).tolist()}
        walk = _Walk(models, bare, [laws[b] for b in batch.tolist()], _in_turn(stepper), p, point)
        kinds = _kinds(models, stepper, p)
        try:
            return dataclasses.replace(walk, kinds=kinds, speeds=_speeds(stepper, p)).linear()
        except _ToldApartError as error:
            if p == kinds.max() + 1:
                raise
            most = f"up to {DENSE} unknowns each can be a class by itself"
            if walk.unknowns() > DENSE:
                raise ValueError(f"agents={p}: {error}; {most}, and there are {walk.unknowns()}") from None
        return dataclasses.replace(walk, kinds=np.arange(p), speeds=_speeds(stepper, p)).linear()


class _ToldApartError(ValueError):
    """Agents of equal numbers answer differently."""


def _in_turns(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, ...]:
    """The dynamics at the exchanges, one after another, of rules whose graphs or fragments take turns."""
    if isinstance(stepper, Asynchronous):
        return (model,)
    tick = float(stepper.exchange_sizes(model, jnp.int32(0)).tick)
    ahead = int(stepper.order == "gauss-seidel" and getattr(stepper, "late", 0) > 0)
    rules = model.coupling.in_turn(tick, ahead)
    others = (None,) if model.velocity_coupling is None else model.velocity_coupling.in_turn(tick)
    return tuple(
        dataclasses.replace(model, coupling=rules[i % len(rules)], velocity_coupling=others[i % len(others)])
        for i in range(math.lcm(len(rules), len(others)))
    )


def _kinds(models: tuple[Dynamics, ...], stepper: AbstractStepper, agents: int) -> NDArray:
    """Which agents have numbers of their own that are equal, as integers, (agents,)."""
    model = models[0]
    if model.objective.made_for is not None:
        return np.arange(agents)
    rules = [(m.coupling, m.velocity_coupling) for m in models]
    parts = model.eta, model.batch, rules, model.momentum, stepper
    leaves = [np.asarray(a) for a in jax.tree.leaves(parts) if eqx.is_array(a)]
    rows = [a.reshape(agents, -1) for a in leaves if a.ndim and len(a) == agents]
    if not rows:
        return np.zeros(agents, int)
    return np.unique(np.concatenate(rows, axis=1), axis=0, return_inverse=True)[1].ravel()


def _speeds(stepper: AbstractStepper, agents: int) -> NDArray:
    """Of each worker, how many jobs it ends in the workers' mean compute time."""
    means = np.broadcast_to(np.asarray(stepper.compute.mean, float) if isinstance(stepper, Asynchronous) else 1, agents)
    return means.mean() / means


def _check_steps(model: Dynamics, stepper: AbstractStepper, agents: int) -> None:
    """Refuse steps that are not alike, or not of the state that they are given."""
    if model.objective.made_for is not None and model.noise.state_dependent:
        name = type(model.noise).__name__
        raise ValueError(f"noise={name}: must be the same everywhere where agents, of losses of their own, do not meet")
    if callable(model.eta):
        frozen = "dataclasses.replace(model, eta=float(model.eta(n))) is the model as it is about step n"
        raise ValueError(f"eta: must be no function of the step, or steps are not alike; {frozen}")
    if isinstance(model.momentum, Friction) and callable(model.momentum.mu):
        frozen = "Friction(mu(t)) is the one about time t"
        raise ValueError(f"momentum: a friction of time makes every step another; {frozen}")
    if model.coupling.renews:
        # Not even locally: where all rest at one point no loss is the least, and whoever noise makes the leader then
        # is no differentiable function of the agents.
        why = "jumps at epochs to an agent of least loss, and where all rest at one point there is none"
        right = "; between its jumps Spiking is Quorum(k)" if isinstance(model.coupling, Spiking) else ""
        raise ValueError(f"coupling={type(model.coupling).__name__}: {why}{right}")
    for rule in (model.coupling, model.velocity_coupling):
        if isinstance(stepper, Asynchronous) and rule is not None and (what := rule.unsteady()) is not None:
            raise ValueError(f"coupling={type(rule).__name__}: has {what}, which do not come at all workers' exchanges")
    if isinstance(stepper, Delayed):
        if callable(getattr(stepper.delay, "quantiles", None)) and not stepper.distributed:
            why = "is drawn anew at each step; must be a number, one an agent, or a law with distributed=True"
            raise ValueError(f"delay={type(stepper.delay).__name__}: {why}")
    elif stepper.past and not isinstance(stepper, Iteration):
        raise ValueError(f"stepper={type(stepper).__name__}: its steps hang on more than the present state")
    if stepper.cycle is None:
        frozen = "with period=int(period(n)), or pace=float(pace(n)), it is the one about step n"
        raise ValueError(f"stepper: a period or a pace that is a function makes every step another; {frozen}")
    if not isinstance(stepper, Asynchronous):
        return
    protocol = stepper.protocol
    if protocol.messages:
        raise ValueError(f"protocol={type(protocol).__name__}: messages are under way, whose values the state holds")
    if not isinstance(stepper.compute, Exponential | Deterministic) or (
        _in_turn(stepper) and np.ptp(stepper.compute.mean)
    ):
        right = "must be Exponential, or Deterministic with one mean: who arrives next must not hang on the past"
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

    models: tuple[Dynamics, ...]  # at the exchanges, one after another
    stepper: AbstractStepper
    laws: list[Law]  # of each agent's noise
    in_turn: bool
    agents: int
    at: NDArray
    kinds: NDArray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    speeds: NDArray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def start(self) -> _Place:
        """All agents at rest, at step 0."""
        x = jnp.asarray(np.tile(self.at, (self.agents, 1)))
        return _Place(begun(self.models[0], self.stepper, x), np.zeros(self.agents, int), 0)

    def unknowns(self) -> int:
        """Coordinates of all agents and of what they share."""
        return sum(a.size for a in coordinates(self.start().state, jnp.int32(0)))

    def linear(self) -> Linear:
        """All modes that are met, and what takes one to another."""
        p = self.agents
        start = self.start()
        self._check_integers(start.state)
        own, shared = (a.shape[-1] for a in coordinates(start.state, jnp.int32(0)))
        places, numbers, again = [start], {self._key(start): 0}, set()
        modes, events, size = [], [], 0
        while len(modes) < len(places):
            source = len(modes)
            place = places[source]
            told = self._told(place)
            classes = _classes(told)
            modes.append(Mode(tuple(len(members) for members in classes), self._rate(told)))
            size += moments_of(modes[-1], own, shared)
            if size > MOST:
                raise ValueError(f"agents={p}: there are {size} second moments or more; at most {MOST} are solved for")
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

    def _model(self, place: _Place) -> Dynamics:
        """The dynamics at the exchange that comes at this step, or came last."""
        exchange = (place.steps - getattr(self.stepper, "late", 0)) // (self.stepper.cycle or 1)
        return self.models[exchange % len(self.models)]

    # -- discrete states ----------------------------------------------------------------------------------------------

    def _told(self, place: _Place) -> Discrete:
        """What tells agents apart: of workers that arrive in turn their turns too."""
        if not isinstance(self.stepper, Asynchronous):
            return Discrete(self.kinds, place.steps % (len(self.models) * (self.stepper.cycle or 1)))
        state = place.state._replace(kept=place.state.kept.own)
        told = self.stepper.protocol.discrete(state, place.jobs, place.steps)
        labels = [self.kinds, np.asarray(told.labels, int)]
        if self.in_turn:
            labels.insert(0, (np.arange(self.agents) - place.steps) % self.agents)
        return told._replace(labels=np.stack(labels, axis=1))

    def _key(self, place: _Place) -> tuple:
        told = self._told(place)
        labels = told.labels.reshape(self.agents, -1).tolist()
        return int(told.common), tuple(sorted(map(tuple, labels)))

    def _rate(self, told: Discrete) -> float:
        if not isinstance(self.stepper, Asynchronous):
            return 1.0
        return float(self.speeds.sum() if told.waiting is None else self.speeds[~np.asarray(told.waiting)].sum())

    def _arrivals(self, place: _Place, told: Discrete, classes: list[NDArray]) -> list[tuple[int | None, float]]:
        """Who may arrive, one of each class, and with which chance; None where all step."""
        if not isinstance(self.stepper, Asynchronous):
            return [(None, 1.0)]
        if self.in_turn:
            return [(place.steps % self.agents, 1.0)]
        at_work = [c for c in classes if told.waiting is None or not np.asarray(told.waiting)[c].any()]
        total = sum(self.speeds[c].sum() for c in at_work)
        return [(int(c[0]), float(self.speeds[c].sum() / total)) for c in at_work]

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
        moved, common, after = self._answers(place, worker, _probes(parts))
        labels = self._told(after).labels
        new = _classes(Discrete(labels))
        number_of = {int(i): kind for kind, members in enumerate(new) for i in members}
        targets = [{number_of[int(i)] for i in members} for _, members in parts]
        if any(len(target) > 1 for target in targets):
            raise ValueError("protocol: an arrival tells apart workers of one label of its `discrete`")
        members = [members for _, members in parts]
        made = _maps(moved, common, members, self.at.size)
        laws = tuple(self.laws[int(those[0])] for those in members)
        reads = self._reads(place, worker, members, laws, moved.shape[-1], common.shape[-1])
        counts = tuple((kind, len(those)) for kind, those in parts)
        return Event(0, 0, 1.0, counts, tuple(target.pop() for target in targets), *made, *reads, laws), after

    def _arrival(self, place: _Place, worker: int | None) -> Arrival | None:
        return None if worker is None else Arrival(jnp.int32(worker), jnp.int32(place.jobs[worker]))

    def _answers(self, place: _Place, worker: int | None, probes: list[int]) -> tuple[NDArray, NDArray, _Place]:
        """How all agents and what is shared answer to pushes of some agents and of what is shared; the state after."""
        arrival = self._arrival(place, worker)
        found = pushed(self._model(place), self.stepper, place.state, jnp.int32(place.steps), arrival, _padded(probes))
        moved, common, state = found
        n, c, d = moved.shape[-1], common.shape[-1], self.at.size
        keep = [*range(len(probes) * (n + d)), *range(len(moved) - c, len(moved))]
        jobs = place.jobs if worker is None else place.jobs + (np.arange(self.agents) == worker)
        return np.asarray(moved)[keep], np.asarray(common)[keep], _Place(state, jobs, place.steps + 1)

    def _reads(
        self, place: _Place, worker: int | None, parts: list[NDArray], laws: tuple[Law, ...], own: int, shared: int
    ) -> tuple[NDArray, NDArray]:
        """Where one agent of each part takes its gradient, if its noise hangs on that: `reads` and `reads_alone`."""
        r, d = len(parts), self.at.size
        joint, alone = np.zeros((r, d, r * own + shared)), np.zeros((r, d, own))
        asked = [a for a, law in enumerate(laws) if law.curved is not None and (worker is None or worker in parts[a])]
        if not asked:
            return joint, alone
        probes = _probes(list(enumerate(parts)))
        sources, which = _padded([int(parts[a][0]) for a in asked]), _padded(probes)
        n = jnp.int32(place.steps)
        found = looked(self._model(place), self.stepper, place.state, n, self._arrival(place, worker), sources, which)
        found = np.asarray(found)[: len(asked)]
        of = found[:, :, : len(probes) * own].reshape(len(asked), d, len(probes), own)
        for a, answers, whole in zip(asked, of, found, strict=True):
            for b, members in enumerate(parts):
                first, other = answers[:, b], answers[:, probes.index(int(members[-1]))]
                others = len(members) * first if a != b else first + (len(members) - 1) * other
                joint[a][:, b * own : (b + 1) * own] = others
                if a == b:
                    alone[a] = first - other if len(members) > 1 else 0.0
            joint[a][:, r * own :] = whole[:, whole.shape[1] - shared :]
        return joint, alone

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
        names = "joint", "alone", "kick", "kick_alone", "reads", "reads_alone"
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


def _probes(parts: list[tuple[int, NDArray]]) -> list[int]:
    """The agents that are pushed: the first of each part, and of those of several the last."""
    firsts = [int(members[0]) for _, members in parts]
    return firsts + [int(members[-1]) for _, members in parts if len(members) > 1]


def _padded(agents: list[int]) -> jax.Array:
    """As many as make few shapes, and so few programs."""
    return jnp.asarray(np.array([*agents, *[agents[0]] * (-len(agents) % 4)] if len(agents) > 2 else agents, np.int32))


def _maps(
    moved: NDArray, common: NDArray, parts: list[NDArray], dims: int
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The maps of an `Event` from answers.

    `moved` (pushes, agents, own) and `common` (pushes, shared): to pushes of the coordinates and the noise of each of
    `_probes`, and then of what is shared.
    """
    n, c, r = moved.shape[-1], common.shape[-1], len(parts)
    joint, kick = np.zeros((r * n + c, r * n + c)), np.zeros((r * n + c, r * dims))
    alone, kick_alone = np.zeros((r, n, n)), np.zeros((r, n, dims))
    scale = EQUAL * max(np.abs(moved).max(initial=0), np.abs(common).max(initial=0))
    block = lambda a: slice(a * (n + dims), (a + 1) * (n + dims))

    def one_of(answers: NDArray) -> NDArray:
        """Of agents that are alike, which must be one."""
        if answers.shape[1] > 1 and np.abs(answers - answers[:, :1]).max(initial=0) > scale:
            raise _ToldApartError("agents of equal numbers answer differently: they are told apart by their places")
        return answers[:, 0].T

    last = 0  # of a part, its number among those
    for a, members in enumerate(parts):
        count, at = len(members), block(a)
        for b, those in enumerate(parts):
            if a != b:
                whole = count * one_of(moved[at][:, those])
            elif count == 1:
                whole = moved[at][:, those[0]].T
            else:
                twin = block(r + last)
                first = one_of(np.stack([moved[at][:, those[0]], moved[twin][:, those[-1]]], axis=1))
                other = one_of(np.concatenate([moved[at][:, those[1:]], moved[twin][:, those[:-1]]], axis=1))
                one_of(np.stack([common[at], common[twin]], axis=1))
                whole = first + (count - 1) * other
                alone[a], kick_alone[a] = (first - other)[:, :n], (first - other)[:, n:]
            joint[b * n : (b + 1) * n, a * n : (a + 1) * n] = whole[:, :n]
            kick[b * n : (b + 1) * n, a * dims : (a + 1) * dims] = whole[:, n:] / count
        last += count > 1
        joint[r * n :, a * n : (a + 1) * n] = count * common[at].T[:, :n]
        kick[r * n :, a * dims : (a + 1) * dims] = common[at].T[:, n:]
    shared = slice(len(moved) - c, None)
    for b, those in enumerate(parts):
        joint[b * n : (b + 1) * n, r * n :] = one_of(moved[shared][:, those])
    joint[r * n :, r * n :] = common[shared].T
    return joint, alone, kick, kick_alone


def _alike(one: NDArray, other: NDArray) -> bool:
    return one.shape == other.shape and bool(
        np.abs(one - other).max(initial=0) <= 1e-7 * np.abs(one).max(initial=1e-300)
    )
