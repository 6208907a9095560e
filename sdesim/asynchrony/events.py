"""The stepper of workers in virtual time: one step is one arrival.

A worker's job begins with the head of its protocol's loop (it reads, pulls or pushes), its gradient is taken at what it
read, and at the job's end the step is made; the next job begins at that instant. So at an arrival: the step of the job,
and then the head of the next one. When workers arrive never hangs on a state: it stands in a timetable.

The noise of a job is that of the step of this number when all agents step together, and a schedule, a gain's t and
mu(t) run on the worker's own count of jobs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim import random
from sdesim.asynchrony.arrivals import arrivals_of
from sdesim.asynchrony.clocks import Timing
from sdesim.asynchrony.compute import AbstractCompute, Exponential
from sdesim.asynchrony.links import Link
from sdesim.asynchrony.tables import Timetable
from sdesim.coupling import Mean, Uncoupled
from sdesim.coupling.base import rows_of, with_rows
from sdesim.dynamics import Agents, Counts, Dynamics, Sizes, State
from sdesim.fields import Part, function, is_traced, named, shown
from sdesim.random import Seed, Stream
from sdesim.steppers import AbstractStepper
from sdesim.steppers.base import Feed, Kick, Setting, descent
from sdesim.steppers.exchanges import exchange
from sdesim.sums import Sum


class Arrival(NamedTuple):
    """A worker that arrives, or a message.

    Attributes:
        worker: its number, an int32 scalar; that of all workers if none arrives. Of a message its receiver.
        job: the number of the job that it ends, from 0, an int32 scalar. Of a message how many its receiver has ended.
        sender: who sent the message; the worker itself at the end of a job. None where there are no messages.
        held: the slot in which the value that it carries is; one beyond the last where its sender still has it.
        slot: where the value that the receiver had is kept for messages that carry it; one beyond the last for nowhere.
    """

    worker: Array
    job: Array
    sender: Array | None = None
    held: Array | None = None
    slot: Array | None = None

    @property
    def ends_a_job(self) -> Array | bool:
        """Whether this is no message."""
        return True if self.sender is None else self.sender == self.worker


class Job(NamedTuple):
    """A job that ends, as its protocol sees it. Rows are of the worker alone, (1, ...).

    Attributes:
        model: the dynamics.
        worker: who arrives, an int32 scalar.
        number: of the job among the worker's, from 0, an int32 scalar.
        arrival: arrivals before it, an int32 scalar.
        t: the worker's own time at the job's end: of a schedule that stands still, (number + 1) eta.
        size: how much of everything there is in the job's step.
        next_tick: the tick of the worker's next step, by which an exchange at the job's end moves.
        kick: the noise of the job.
        seed: its words, and their generator.
        sim: number of the simulation.
        came: what came: a message, or a worker at the end of a job.
    """

    model: Dynamics
    worker: Array
    number: Array
    arrival: Array
    t: Array
    size: Sizes
    next_tick: Array
    kick: Kick
    seed: Seed
    sim: Array
    came: Arrival

    @property
    def members(self) -> Array:
        """The worker as those who take part in an exchange, (1,)."""
        return self.worker[None]

    def of(self, values: PyTree) -> PyTree:
        """The worker's rows.

        Args:
            values: of all workers, leaves (agents, ...).

        Returns:
            Leaves (1, ...).
        """
        return jax.tree.map(lambda a: rows_of(a, self.members), values)

    def put(self, values: PyTree, rows: PyTree) -> PyTree:
        """All workers with new rows of this one.

        Args:
            values: of all workers, leaves (agents, ...).
            rows: of the worker, leaves (1, ...).

        Returns:
            Leaves (agents, ...).
        """
        return jax.tree.map(lambda a, row: with_rows(a, self.members, row), values, rows)

    def step(self, x: Agents, v: Agents | None, scale: Array | float = 1.0) -> tuple[Agents, Agents | None]:
        """By how much the job's gradient moves the worker.

        Args:
            x: where it was taken, (1, dims); ahead of it with Nesterov's momentum.
            v: the worker's velocity, (1, dims); None without momentum.
            scale: a factor of the learning rate.

        Returns:
            The displacement, (1, dims), and the new velocity.
        """
        gradient = scale * descent(self.model, x, v, self.kick, self.size)
        if v is None or self.model.momentum is None:
            return gradient, v
        v = (1 - self.model.momentum.loss(self.size.move, self.t)) * v + gradient
        return self.size.move * v, v

    def exchange(
        self, x: Agents, shared: PyTree, members: Array | None = None, due: Array | bool = True
    ) -> tuple[Agents, PyTree]:
        """The model's rule, applied to those who take part.

        Args:
            x: of all workers, (agents, dims).
            shared: what the rule shares.
            members: who takes part, (count,); the worker alone by default.
            due: whether there is an exchange at all.

        Returns:
            The new x and the new shared state.
        """
        tick = jnp.where(due, self.next_tick, jnp.zeros_like(self.next_tick))
        members = self.members if members is None else members
        return exchange(self.model.coupling, x, shared, self.t, tick, members)

    def staleness(self, read: Array) -> Array:
        """How stale the job's gradient is: arrivals of others since the worker's read, as `Timetable.staleness` has it.

        Args:
            read: how many arrivals there had been when each worker read, integers (agents,), which the protocol keeps:
                zeros from `init` on, and `read_now` where the worker reads.

        Returns:
            An integer scalar.
        """
        return (self.arrival - self.of(read))[0]

    def read_now(self, read: Array) -> Array:
        """Of all workers how many arrivals there had been when each read, now that this one reads.

        Args:
            read: before, integers (agents,).

        Returns:
            After, (agents,).
        """
        return self.put(read, (self.arrival + 1)[None])

    def word(self, stream: int) -> Array:
        """A random word of this job alone.

        Args:
            stream: what it is for.

        Returns:
            A uint32 scalar.
        """
        key = random.step_key(self.seed, stream, self.number)
        return random.words_of(key, self.sim, self.worker, 1).own[0, 0]


class Discrete(NamedTuple):
    """What integers an arrival hangs on.

    Attributes:
        labels: of workers of one label nothing is told apart, (agents,) integers.
        common: what else there is to know, an integer.
        waiting: which workers wait, so that others arrive before them, (agents,) truth values; None if nobody does.
    """

    labels: NDArray
    common: int = 0
    waiting: NDArray | None = None


def own_rows(arrive: Callable) -> Callable:
    """Says of a protocol's `arrive` that it changes no rows of x, v and kept but those of the worker who arrives.

    In a run by seconds there are steps in which nobody arrives; then the rows need not be looked at, which is faster.
    It holds of this very method, and not of one that a subclass has in its place.

    Args:
        arrive: the method.

    Returns:
        It.

    Raises:
        TypeError: for what is no function.
    """
    named("arrive", function)(arrive).own_rows = True
    return arrive


class AbstractProtocol(Part):
    """What workers do when they arrive. Numbers are traced.

    Subclasses give `arrive`, and what they need of `init`, `center` and `check`. All methods are pure, of one
    simulation. What each worker keeps beside x and v is in `state.kept`, leaves (agents, ...); what a server has is in
    `state.shared`.
    """

    @property
    def members(self) -> int:
        """How many workers take part in an exchange."""
        return 1

    @property
    def barrier(self) -> int | None:
        """How many workers wait for each other; None if none ever waits."""
        return None

    def discrete(self, state: State, jobs: NDArray, arrivals: int) -> Discrete:
        """What integers, of those that this keeps and counts, an arrival hangs on; asked on the host.

        By default none. A protocol whose arrivals hang on a count of jobs, or that keeps integers, says here on what,
        such that there are finitely many: for `analysis.linearize`.

        Args:
            state: of one simulation, with what this keeps in `kept` and what is shared.
            jobs: that each worker has ended, (agents,).
            arrivals: of all workers.

        Returns:
            What tells workers apart, and what is common.
        """
        return Discrete(np.zeros(len(jobs), int))

    def feed(self, model: Dynamics, timing: Timing, table: Timetable | None, setting: Setting) -> Feed:
        """Who arrives when.

        Args:
            model: the dynamics.
            timing: what decides it.
            table: a timetable in place of the timing.
            setting: of the run.

        Returns:
            What the host hands to the steps of a run.

        Raises:
            ValueError: for a seed that is traced, and a timetable that does not fit.
        """
        return arrivals_of(table, timing, setting)

    def placed(self, feed: Feed | None) -> "AbstractProtocol":
        """This, with room for what its feed keeps; itself unless there are messages.

        Args:
            feed: of the run; None where it is not known.
        """
        return self

    def room(self, shared: PyTree) -> PyTree:
        """Of each leaf of what is shared, whether it is room that a run which goes on may need more of: none is.

        Args:
            shared: as `init` makes it.

        Returns:
            Booleans, of the same structure.
        """
        return jax.tree.map(lambda leaf: False, shared)

    @property
    def messages(self) -> bool:
        """Whether messages arrive too, each in a step of its own."""
        return False

    def sends(self, number: Array) -> Array | None:
        """Whether a worker sends, and is answered, at the end of its job of this number.

        Args:
            number: of the job among the worker's, from 0, an int32 scalar.

        Returns:
            A truth value; None where it does at the end of every job.
        """
        return None

    def counts(self, state: State, arrivals: Array, sent: Array) -> Counts:
        """What has been done by the time of a state; by default all that was sent was used, and each time answered.

        Args:
            state: of one simulation.
            arrivals: so far, an int32 scalar.
            sent: how many of them ended with a message, by `sends`.

        Returns:
            The counts.
        """
        return Counts(arrivals, arrivals, sent, sent, sent)

    def check(self, model: Dynamics) -> None:
        """Refuse a model with which this has no meaning.

        Args:
            model: the dynamics.

        Raises:
            ValueError: naming the argument.
        """

    def init(self, model: Dynamics, state: State) -> State:
        """The state in which all workers have begun their first job.

        Args:
            model: the dynamics.
            state: with x, v and what the model's rule shares.

        Returns:
            The state, with what this keeps and shares.
        """
        return state

    def arrive(self, state: State, job: Job) -> State:
        """The state after an arrival, which may change rows of other workers too.

        One that changes the worker's alone, by `job.put`, is faster in a run by seconds if it is marked by `own_rows`.

        Args:
            state: before it.
            job: that ends.

        Returns:
            The new state; its clock is the stepper's to move.
        """
        raise NotImplementedError

    def center(self, model: Dynamics, state: State, mean: Mean) -> Array:
        """What the workers are drawn to: by the model's rule, unless there is a server.

        Args:
            model: the dynamics.
            state: of one simulation.
            mean: the mean over workers.

        Returns:
            (dims,).
        """
        return model.coupling.center(state.x, state.shared, state.t, mean)


class AbstractServer(AbstractProtocol):
    """A protocol of workers and a server, which stands in place of a coupling rule: `state.shared["center"]`."""

    def check(self, model: Dynamics):
        if not isinstance(model.coupling, Uncoupled):
            name, rule = type(self).__name__, type(model.coupling).__name__
            raise ValueError(f"coupling={rule}: {name} has a server in place of a rule; leave coupling out")

    def init(self, model: Dynamics, state: State):
        center = jnp.mean(state.x, axis=0)
        return state._replace(x=jnp.broadcast_to(center, state.x.shape), shared={"center": center})

    def center(self, model: Dynamics, state: State, mean: Mean):
        return state.shared["center"]


class Kept(NamedTuple):
    """What the stepper keeps of each worker.

    Attributes:
        own: the protocol's.
        clock: the worker's own time, a sum with (agents,) leaves; None where its count of jobs says it.
        arrivals: of all workers so far, an int32 scalar, in a run by seconds; None where it is the number of steps.
        sent: arrivals that ended with a message, an int32 scalar; None where all do.
    """

    own: PyTree
    clock: Sum | None
    arrivals: Array | None
    sent: Array | None


def _hashable(value: Any) -> Any:
    """Numbers as a tuple; anything else as it is, for `Timing` to take or refuse."""
    if value is None or isinstance(value, str):
        return value
    try:
        numbers = np.asarray(value, float)
    except (TypeError, ValueError):
        return value
    return tuple(numbers.tolist()) if numbers.ndim == 1 else numbers.tolist()


class Asynchronous(AbstractStepper):
    """Workers in virtual time: each step of a run is one arrival.

    `simulate(..., steps=)` counts arrivals, of messages too, and `epoch=` steps of all workers, which are `agents`
    arrivals.

    Attributes:
        protocol: what workers do when they arrive, of `sdesim.asynchrony`.
        compute: the law of the times of their jobs.
        start: how far workers are when the run begins, see `Timing`.
        uplink: the law of the time that a worker's message takes to the server; None for no time.
        downlink: of the answer, which the worker waits for.
        failure: the probability that a job is lost, whose worker begins its next one when it would have ended.
        leave: when workers leave for good, in seconds, (workers,); None for never.
        timetable: who arrives when, in place of all that: of at least as many simulations and arrivals as the run has.
    """

    protocol: AbstractProtocol
    compute: AbstractCompute = eqx.field(default_factory=Exponential, kw_only=True)
    start: Any = eqx.field(static=True, converter=_hashable, default="together", kw_only=True)
    uplink: AbstractCompute | None = eqx.field(default=None, kw_only=True)
    downlink: AbstractCompute | None = eqx.field(default=None, kw_only=True)
    failure: float = eqx.field(static=True, default=0.0, kw_only=True)
    leave: Any = eqx.field(static=True, converter=_hashable, default=None, kw_only=True)
    timetable: Timetable | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self):
        if not isinstance(self.protocol, AbstractProtocol):
            raise TypeError(f"protocol={shown(self.protocol)}: must be one of sdesim.asynchrony")
        if self.timetable is not None and not isinstance(self.timetable, Timetable):
            raise TypeError(f"timetable={shown(self.timetable)}: must be one of sdesim.asynchrony.timetable")
        if not isinstance(self.order, str) or self.order != "jacobi":
            why = "a protocol says itself in which order its parts act"
            raise ValueError(f"order={shown(self.order)}: must be left out: {why}")
        self._timing()

    def _timing(self) -> Timing:
        """What decides when workers arrive.

        Raises:
            TypeError: for a law that is none.
            ValueError: for a bad value, for what a timetable stands in place of, and for messages at another period
                than the protocol's.
        """
        barrier = self.protocol.barrier
        links = (self._sending("uplink"), self._sending("downlink"))
        timing = Timing(self.compute, self.start, barrier, *links, self.failure, self.leave)
        if self.timetable is not None:
            left_out = Timing(Exponential(), barrier=barrier)
            for field in dataclasses.fields(Timing):
                value = getattr(timing, field.name)
                if is_traced(value) or not eqx.tree_equal(value, getattr(left_out, field.name)):
                    why = "must be left out beside timetable=, which says already who arrives when"
                    raise ValueError(f"{field.name}={shown(value)}: {why}")
        return timing

    def _sending(self, name: str) -> AbstractCompute | None:
        """A law of messages, which are sent when the protocol sends."""
        law, period = getattr(self, name), getattr(self.protocol, "period", None)
        if self.protocol.sends(jnp.zeros((), jnp.int32)) is None:
            period = 1
        if not isinstance(law, Link) or period is None or is_traced((law.period, period)):
            return law
        if law.period is not None and int(law.period) != int(period):
            right = f"must be left out, or that of the protocol, which is {int(period)}"
            raise ValueError(f"{name}.period={int(law.period)}: {right}")
        return dataclasses.replace(law, period=int(period))

    @property
    def ragged(self) -> bool:
        """Whether there are steps in which no worker arrives, as in a run by seconds."""
        return False

    @property
    def lockstep(self):
        return False

    @property
    def members(self):
        return self.protocol.members

    def check(self, model: Dynamics):
        super().check(model)
        if model.weak_order == 2:
            raise ValueError("weak_order=2: the modified drift is that of agents that step together")
        if model.velocity_coupling is not None:
            raise ValueError("velocity_coupling: workers exchange positions alone; leave it out")
        if model.coupling.renews and model.momentum is not None and callable(getattr(model.momentum, "mu", None)):
            raise ValueError("momentum: a friction of time does not go with a rule that jumps at epochs here")
        self.protocol.check(model)

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n))

    def init(self, model: Dynamics, x: Agents, v: Agents | None = None):
        state = self.protocol.init(model, super().init(model, x, v))
        clock = Sum.of(jnp.zeros(x.shape[:1], x.dtype)) if _has_clocks(model) else None
        none = jnp.zeros((), jnp.int32)
        sent = None if self.protocol.sends(none) is None else none
        return state._replace(kept=Kept(state.kept, clock, none if self.ragged else None, sent))

    def renew(self, model: Dynamics, state: State):
        new = model.renew(state)
        if not model.coupling.renews or state.kept.clock is None:
            return new
        return new._replace(kept=state.kept._replace(clock=jax.tree.map(jnp.zeros_like, state.kept.clock)))

    def center(self, model: Dynamics, state: State, mean: Mean):
        return self.protocol.center(model, state, mean)

    def counts(self, state: State, n: Array):
        kept = state.kept
        arrivals = n if kept.arrivals is None else kept.arrivals
        sent = arrivals if kept.sent is None else kept.sent
        return self.protocol.counts(state._replace(kept=kept.own), arrivals, sent)

    def bare(self, feed: Feed | None = None):
        counts = self.protocol.messages or (feed is not None and feed.stride is not None)
        return (_Counting if counts else Asynchronous)(self.protocol.placed(feed))

    def prepared(self, model: Dynamics, sim: Array, seed: Seed, dims: int, given: PyTree):
        of_one = lambda worker, job: [_packed(*pair) for pair in _words(model, seed, sim, worker, job, dims)]
        return {**given, "words": jax.vmap(of_one)(*given["arrival"][:2])}

    def settled(self, model: Dynamics, state: State, n: Array):
        if state.kept.clock is not None:  # the mean of the workers' clocks
            return state._replace(clock=Sum.of(jnp.mean(state.kept.clock.value)))
        arrivals = n if state.kept.arrivals is None else state.kept.arrivals
        tick = self.sizes(model, jnp.zeros((), jnp.int32)).tick
        return state._replace(clock=Sum.of(arrivals.astype(tick.dtype) * (tick / state.x.shape[0])))

    def feed(self, model: Dynamics, setting: Setting):
        return self.protocol.feed(model, self._timing(), self.timetable, setting)

    def room(self, state: State):
        return super().room(state)._replace(shared=self.protocol.room(state.shared))

    def step(
        self,
        model: Dynamics,
        state: State,
        n: Array | int,
        *,
        seed: Seed | Array | int = 0,
        sim: Array | int = 0,
        arrival: Arrival | None = None,
        words: list[Array] | None = None,
    ) -> State:
        """The state after arrival number `n` of one simulation.

        Args:
            model: the dynamics.
            state: from `init`, or of the arrival before.
            n: the number of the arrival, from 0.
            seed: as for `simulate`; with the simulation's, the worker's and the job's number it decides the noise.
            sim: the simulation's number, from 0.
            arrival: who arrives with which job; in turn by default.
            words: the word pairs of the job, from `prepared`; made here by default.

        Returns:
            The new state.
        """
        agents, dims = state.x.shape
        n, sim = jnp.asarray(n, jnp.int32), jnp.asarray(sim, jnp.uint32)
        if arrival is None:
            arrival = Arrival(n % agents, n // agents)
        seed = random.seed_words(seed)
        arrival = Arrival(*arrival)
        worker, which = arrival.worker, arrival.job
        members = worker[None]
        of_worker = lambda a: rows_of(a, members) if jnp.ndim(a) == 1 else a
        size = jax.tree.map(of_worker, self.sizes(model, which))
        own = eqx.tree_at(lambda m: m.batch, model, of_worker(model.batch))
        if model.objective.made_for is not None:
            own = dataclasses.replace(own, objective=model.objective.of(members))
        made = lambda: _words(model, seed, sim, worker, which, dims)
        pairs = made() if words is None else [_unpacked(pair) for pair in words]
        odd = jnp.full((1, dims), worker % 2 == 1)
        of_job = [random.Words(*pair, odd) for pair in pairs]

        def kick(x: Agents, gradients: Agents, size: Sizes):
            z = model.noise.variates(of_job, x.dtype, own.batch)
            return model.noise.apply(z, x, gradients, own.batch, size.kick)

        kept, clock, arrivals, sent = state.kept
        if clock is None:
            t = (which + 1).astype(size.tick.dtype) * size.tick
        else:
            tick = jnp.where(arrival.ends_a_job, size.tick, jnp.zeros_like(size.tick))
            mine = jax.tree.map(lambda a: rows_of(a, members), clock).plus(tick)
            clock, t = jax.tree.map(lambda a, row: with_rows(a, members, row), clock, mine), mine.value[0]
        next_tick = self.sizes(model, which + 1).tick
        so_far = n if arrivals is None else arrivals
        job = Job(own, worker, which, so_far, t, size, next_tick, kick, seed, sim, arrival)
        new = self.protocol.arrive(state._replace(kept=kept), job)
        shared = new.shared
        if arrivals is not None:  # where nobody arrives a lane stands still: rows beyond the last are not written
            if not self.protocol.messages:
                unless_nobody = lambda new, old: jnp.where(worker < agents, new, old)
                shared = jax.tree.map(unless_nobody, shared, state.shared)
                if self.protocol.members > 1 or not getattr(type(self.protocol).arrive, "own_rows", False):
                    now = (state.x, state.v, kept)
                    x, v, own_kept = jax.tree.map(unless_nobody, (new.x, new.v, new.kept), now)
                    new = new._replace(x=x, v=v, kept=own_kept)
            arrivals = arrivals + ((worker < agents) & arrival.ends_a_job).astype(jnp.int32)
        if sent is not None:
            sends = jnp.asarray(self.protocol.sends(which))
            sent = sent + (sends if arrivals is None else sends & (worker < agents)).astype(jnp.int32)
        new = state._replace(x=new.x, v=new.v, shared=shared, kept=Kept(new.kept, clock, arrivals, sent))
        return self.settled(model, new, n + 1) if words is None else new

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        raise NotImplementedError("a step of all agents at once is none of workers in virtual time; call step")


class _Counting(Asynchronous):
    """The same where not every step is the arrival of a worker: in a run by seconds, and where messages arrive."""

    @property
    def ragged(self):
        return True


def _words(
    model: Dynamics, seed: Seed, sim: Array, worker: Array, number: Array, dims: int
) -> list[tuple[Array, Array]]:
    """The word pairs of a job, (1, dims) each."""
    keys = [random.step_key(seed, Stream.NOISE + i, number) for i in range(model.noise.word_pairs)]
    return [random.words_of(key, sim, worker, dims)[:2] for key in keys]


def _packed(first: Array, second: Array) -> Array:
    """A word pair as one complex number: what XLA computes for two arrays it computes twice."""
    return lax.complex(*(lax.bitcast_convert_type(word, jnp.float32) for word in (first, second)))


def _unpacked(pair: Array) -> tuple[Array, Array]:
    """The word pair of a complex number."""
    return lax.bitcast_convert_type(pair.real, jnp.uint32), lax.bitcast_convert_type(pair.imag, jnp.uint32)


def _has_clocks(model: Dynamics) -> bool:
    """Whether a worker's time is not its count of jobs times the learning rate."""
    return callable(model.eta) or model.coupling.renews
