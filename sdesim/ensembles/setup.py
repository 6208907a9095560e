"""One checked description of a run, which `simulate`, `iterate` and `sweep` share."""

import contextlib
import contextvars
import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.dynamics import Dynamics, State
from sdesim.engine import blocks
from sdesim.engine.path import Path, choose, inside_a_trace
from sdesim.engine.plan import Plan
from sdesim.engine.run import Given, Lanes, run_lanes
from sdesim.engine.vectorize import lanes
from sdesim.ensembles.memory import SMALL, check_memory
from sdesim.ensembles.warnings import remedy, warn_of_stiffness
from sdesim.fields import as_bits, check_count, check_sign, concrete, is_none, is_traced, keep, named, number, shown
from sdesim.functions import law_of_today, today
from sdesim.init import AbstractInit
from sdesim.observe import AbstractObservable, labels_of
from sdesim.random import Seed, Stream
from sdesim.results.result import Result
from sdesim.steppers import AbstractStepper
from sdesim.steppers.base import Feed, Reading, Setting
from sdesim.threads import settings

LOOKS = 1000  # steps at which a schedule is looked at before it runs

Change = Callable[[Dynamics, AbstractStepper], tuple[Dynamics, AbstractStepper]]
_change: contextvars.ContextVar[Change | None] = contextvars.ContextVar("change", default=None)


@contextlib.contextmanager
def instead(change: Change | None) -> Iterator[None]:
    """Within, every run is of another model and stepper than it is given: what a figure says of a wrong model.

    Results keep the names, the grid and the description of what was given.

    Args:
        change: of a model and a stepper, those that run in their place, with the same dotted names of numbers. It is
            handed the model twice: as it is, and with a value for each lane on the last axis of what is swept. None
            for those that are given.
    """
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


def changed() -> bool:
    """Whether runs are of another model than they are given."""
    return _change.get() is not None


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run: everything but the values of its model's numbers, checked.

    Attributes:
        model: of the form that all lanes have, with values that are the hardest to step.
        stepper: what one step is.
        plan: what is static about the run.
        observables: what is recorded.
        sims: independent simulations.
        first_sim: number of the first of them.
        first: number of the first step.
        steps: number of steps.
        seed: its words, and their generator.
        init: a law of initial states, a number or an array.
        velocity: initial velocities, as `init`; None for at rest.
        start: the result that is continued, else None.
        increments: (steps, sims, agents, dims), or None.
        feed: what the host hands to each step; None for nothing.
        until: the moment at which a run by seconds ends; None for one by steps.
        memory: bytes that may be used, as `simulate` was given it.
        exact: whether short runs are computed as blocks of one width.
        key: of a run that may be asked for again, all that was checked of it, to the bit; else None.
        path: of a run that was asked for before, by which program it went; else None.
    """

    model: Dynamics
    stepper: AbstractStepper
    plan: Plan
    observables: tuple[AbstractObservable, ...]
    sims: int
    first_sim: int
    first: int
    steps: int
    seed: Seed
    init: Any
    velocity: Any
    start: Result | None
    increments: Array | None
    feed: Feed | None
    until: float | None
    memory: int | str | None
    exact: bool
    key: Any = None
    path: Path | None = None

    @classmethod
    def of(
        cls,
        model: Dynamics,
        stepper: AbstractStepper,
        *,
        agents: Any,
        dims: Any,
        sims: Any,
        first_sim: Any,
        seed: Any,
        steps: Any = None,
        until: float | None = None,
        at: ArrayLike | None = None,
        init: Any = None,
        velocity: Any = None,
        epoch: int | None = None,
        observe: AbstractObservable | Sequence[AbstractObservable] = (),
        every: int | None = None,
        increments: Any = None,
        memory: int | str | None = None,
        exact: bool = False,
        fast: bool = True,
        points: int = 1,
        width: int | None = None,
    ) -> "Setup":
        """Check a run, and warn of a coupling that is too stiff for its step.

        Args:
            model: the dynamics.
            stepper: what one step is.
            agents: p of one simulation.
            dims: dimensions d.
            sims: independent simulations.
            first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
            seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`; 0 by default. Noise depends on (seed,
                simulation, agent, step, coordinate) alone.
            steps: number of steps; None for a run by seconds.
            until: the moment at which a run by seconds ends.
            at: the moments at which a run by seconds is recorded, or how many there are, evenly spaced.
            init: a law of `sdesim.init`, a number, or an array (sims, agents, dims), (agents, dims) or (dims,); or a
                `Result`, which is continued where it ended, with the noise it would have had. All at 0 by default.
            velocity: initial velocities, as `init`: displacements in one iteration, or with `Friction` physical
                velocities. At rest by default.
            epoch: steps between two calls of the rule's `renew` with the agents' losses (the spikes of SD-QSGD).
            observe: observables of `sdesim.observe`, one or several.
            every: steps between two records; about a hundredth of `steps` by default.
            increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of variance dt each; the
                model's noise supplies the diffusion that multiplies them.
            memory: bytes that may be used, a number or such as "2GB"; what is free by default.
            exact: whether short runs are computed as blocks of one width.
            fast: take float32 sines and cosines by polynomials.
            points: of a grid.
            width: lanes of a block; None for what the sizes of a simulation say.

        Returns:
            The run.

        Raises:
            ValueError: for a bad argument: its name, its value and what would be right.
            TypeError: for an argument of another kind, likewise.
            MemoryError: if what is held of the lanes alone is not there.
        """
        seed = random.seed_words(seed)
        said = (agents, dims, sims, first_sim, steps, until, at, epoch, every, memory, exact, fast, points, width)
        key = None if increments is not None else _key(said, seed, (model, stepper, init, velocity, observe))
        if key is not None and (known := _KNOWN.get(key)) is not None:
            changed = dict(model=model, stepper=stepper, seed=seed, init=init, velocity=velocity)
            return dataclasses.replace(known, **changed)
        if isinstance(model, Dynamics) and (change := _change.get()) is not None:
            model, stepper = change(model, stepper)
        start = init if isinstance(init, Result) else None
        first = 0 if start is None else start.step
        ended = 0.0 if start is None else start.run.get("until") or 0.0
        moments = check_moments(steps, until, at, every, epoch, observe, ended)
        begins = _begins(start, moments)
        steps = 0 if steps is None else steps
        sizes = check_sizes(dict(agents=agents, dims=dims, sims=sims, first_sim=first_sim, steps=steps))
        if not isinstance(model, Dynamics):
            raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
        of_run = {name: sizes[name] for name in ("agents", "sims", "first_sim", "steps")}
        feed = stepper.feed(model, Setting(**of_run, first=first, seed=seed, at=moments, begins=begins))
        if feed is not None and moments is not None:
            sizes["steps"], every = feed.steps, feed.stride if observe else None
        if epoch is not None and not stepper.lockstep:
            epoch = check_count("epoch", epoch, most=random.MAX_STEPS) * sizes["agents"]
        shape = {name: sizes[name] for name in ("agents", "dims", "steps")}
        plan, observables = make_plan(model, stepper, **shape, epoch=epoch, observe=observe, every=every, fast=fast)
        if first + sizes["steps"] > random.MAX_STEPS:
            more = f"more than {random.MAX_STEPS} steps of one seed"
            raise ValueError(f"steps={sizes['steps']}: with the {first} before, {more}")
        if velocity is not None and start is not None:
            raise ValueError("velocity: the result that init continues has velocities; leave it out")
        if velocity is not None and model.momentum is None:
            raise ValueError("velocity: the model has no momentum")
        if plan.every is not None and sizes["steps"]:
            for o in observables:
                o.check_records(first, plan.every, sizes["steps"])
        if moments is not None:
            for o in observables:
                o.check_seconds()
        if stepper.lockstep:  # the stiffness of a rule is that of an exchange of all agents
            warned = warn_of_stiffness(model, stepper, plan.agents, first, sizes["steps"])
            key = None if warned or feed is not None else key
        else:
            key = None
        if increments is not None:
            increments = _fitting(increments, (sizes["steps"], sizes["sims"], plan.agents, plan.dims), model)
            if feed is not None:
                raise ValueError("increments: workers in virtual time have those of their jobs; leave it out")
        of_run = (sizes["sims"], sizes["first_sim"], first, sizes["steps"], seed)
        plan = dataclasses.replace(plan, start=math.gcd(first, plan.epoch) if plan.epoch else 0, width=width)
        last = None if moments is None else moments[-1]
        given = (init, velocity, start, increments, feed, last)
        setup = cls(model, stepper, plan, observables, *of_run, *given, memory, exact, key)
        setup._check_memory(model, stepper, points, work=False)
        return setup

    def _check_memory(self, model: Dynamics, stepper: AbstractStepper, points: int, work: bool) -> int:
        run = (self.steps, self.observables, self.memory, points)
        return check_memory(self.plan, stepper, model, points * self.sims, *run, exact=self.exact, work=work)

    def _handed(self, reading: Reading | None) -> Given | None:
        """What the host hands to the lanes."""
        if reading is not None:
            return lambda lanes: reading.reader(lanes % self.sims)
        if (dw := self.increments) is None:
            return None
        every = np.arange(self.sims)
        some = lambda a, lanes: a if np.array_equal(lanes, every) else a[..., lanes % self.sims]
        return lambda lanes: lambda a, b: {"dw": some(jnp.moveaxis(dw[a:b], 1, -1), lanes)}

    def _begins(
        self, model: Dynamics, stepper: AbstractStepper, sims: Array, points: int, within: contextlib.ExitStack
    ) -> tuple[PyTree, tuple[Callable[..., Any], ...]]:
        """The state of all lanes before the first step; or what it is made of, and by what, one after another."""
        if self.start is not None:
            return self.start.restart(model, stepper, (self.model, self.stepper)), ()
        plan, dtype = self.plan, jnp.result_type(float)
        drawn, arrays = [], []
        streams = {"init": Stream.POSITION, "velocity": Stream.VELOCITY}
        for name, init in (("init", self.init), ("velocity", self.velocity)):
            draw, array = None, None
            if init is None and name == "init":
                array = np.zeros((plan.agents, plan.dims, *sims.shape), dtype)
            elif isinstance(init, AbstractInit):
                check_law(name, init, plan.dims)
                if init.fixed is None:
                    law = within.enter_context(law_of_today(init, plan.agents, plan.dims))
                    draw = Partial(_draw, law, self.seed, plan.agents, plan.dims, dtype, int(streams[name]))
                else:
                    array = _everywhere(init.fixed, plan.agents, plan.dims, sims, dtype)
            elif init is not None:
                array = initial_array(name, init, plan, sims, points)
            drawn.append(draw)
            arrays.append(array)
        start = Partial(_start, stepper)
        # Two programs: what follows from a place that is drawn in the same one would be rounded with its drawing.
        return tuple(arrays), (start,) if drawn == [None, None] else (Partial(_drawn, tuple(drawn)), start)

    def _looked_at(
        self, model: Dynamics, axes: PyTree, bare: AbstractStepper, points: int, within: contextlib.ExitStack
    ) -> tuple[Dynamics, PyTree, tuple[AbstractObservable, ...], AbstractStepper, Path]:
        """A model, its axes, observables and stepper with users' functions as they are now, and the path of the run."""
        plan, given = self.plan, self.increments is not None
        sizes = dict(agents=plan.agents, dims=plan.dims)
        flags = dict(renews=plan.epoch is not None, given=given)
        changing = today(model, axes, self.observables, bare, **sizes, **flags)
        new, axes, watched, stepper = within.enter_context(changing)
        check_rates(self.model, stepper, plan.agents, self.first, self.steps)
        one = jax.tree.map(lambda axis, a: a if axis is None else a[..., 0], axes, new, is_leaf=is_none)
        need = self._check_memory(one, stepper, points, work=True)
        places = (self.init, self.velocity) if self.start is None else self.start.state
        arrays = (eqx.filter((new, watched, stepper), eqx.is_array), self.seed, self.increments, places)
        path = choose(
            plan,
            stepper,
            new,
            axes,
            watched,
            points * self.sims,
            exact=self.exact,
            increments=given,
            arrays=arrays,
            dtype=jnp.result_type(float),
        )
        same = new is model and stepper is bare and all(map(operator.is_, watched, self.observables))
        if self.key is not None and model is self.model and same and need <= SMALL and path.kernel is None:
            keep(_KNOWN, self.key, dataclasses.replace(self, path=path), most=64)
        return new, axes, watched, stepper, path

    @contextlib.contextmanager
    def run(
        self, model: Dynamics, axes: PyTree, points: int = 1, *, progress: bool = False, label: str = "simulate"
    ) -> Iterator["Ran"]:
        """Run all lanes, point by point of a grid and simulation by simulation, for as long as the body uses them.

        Args:
            model: the dynamics, with a value for each lane of what is swept.
            axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
            points: of the grid.
            progress: show a bar.
            label: what it is called.

        Yields:
            The lanes that were run.
        """
        plan = self.plan
        if (change := _change.get()) is not None:
            swept = jax.tree.leaves(axes, is_leaf=is_none)
            model, _ = change(model, self.stepper)
            axes = jax.tree.unflatten(jax.tree.structure(model, is_leaf=is_none), swept)
        numbers = random.sim_numbers(self.first_sim, self.sims, points)
        records = np.zeros(0, int) if plan.every is None else np.arange(0, self.steps + 1, plan.every)
        reading = None if self.feed is None else self.feed.reading(records)
        bare = self.stepper.bare(self.feed)
        with contextlib.ExitStack() as within:
            if self.path is not None and model is self.model:
                new, watched, stepper, path = model, self.observables, bare, self.path
            else:
                new, axes, watched, stepper, path = self._looked_at(model, axes, bare, points, within)
            state, begin = self._begins(new, stepper, numbers, points, within)
            lanes = run_lanes(
                plan,
                stepper,
                new,
                axes,
                state,
                numbers,
                self.seed,
                first=self.first,
                steps=self.steps,
                path=path,
                begin=begin,
                observables=watched,
                given=self._handed(reading),
                progress=progress,
                label=label,
            )
            if self.feed is not None and reading is not None:
                _timed(lanes, self.feed.stride, reading, self.sims, self.first)
            yield Ran(lanes, stepper, new, axes)


_KNOWN: dict[Any, Setup] = {}
"""Runs that were checked, by their keys. What a check finds follows from the numbers to the bit, so that it would find
the same; of a user's functions it may not, and these have no key."""


def _key(said: tuple, seed: Seed, parts: PyTree) -> Any:
    """What is checked of a run, to the bit; None where that cannot be said, or is not all there is.

    The seed is not checked, but a run of one that is traced is another.
    """
    if is_traced(seed) or not all(value is None or type(value) in (bool, int, float, str) for value in said):
        return None
    if _change.get() is not None or (bits := as_bits(parts)) is None or inside_a_trace():
        return None
    return tuple(map(repr, said)), bits, tuple(settings().values()), jax.default_backend()


class Ran(NamedTuple):
    """Lanes that were run.

    Attributes:
        lanes: what was found of them.
        stepper: what a step was, with users' functions as they were.
        model: with users' functions as they were.
        axes: of the model's leaves, as they were.
    """

    lanes: Lanes
    stepper: AbstractStepper
    model: Dynamics
    axes: PyTree

    def remedy(self, first: int) -> str:
        """What would help those that diverged.

        Args:
            first: number of the run's first step.

        Returns:
            Advice, which ends a sentence.
        """
        return remedy(self.model, self.axes, lambda: self.lanes.places, first, self.lanes.diverged)


def _timed(lanes: Lanes, stride: int | None, reading: Reading, sims: int, first: int) -> None:
    """Say of records when they were, and of lanes that diverged after how many arrivals."""
    points = lanes.diverged.size // sims
    times = reading.times()
    if stride is None and lanes.records.size:
        seconds: Any = np.tile(times, points)  # to all digits, for which a JAX array may have no room
        lanes.observed["time"] = seconds
        lanes.axes["time"] = ("step",)
    elif lanes.records.size:  # at the same moments in all simulations
        lanes.records = times[:, 0]
        lanes.axes = {name: tuple("time" if a == "step" else a for a in axes) for name, axes in lanes.axes.items()}
    lost = np.flatnonzero(lanes.diverged >= 0)
    if lost.size and stride:
        dates = np.array(lanes.diverged)
        dates[lost] = reading.arrivals(lost % sims, dates[lost] - first)
        lanes.diverged = dates


def check_moments(
    steps: Any, until: Any, at: Any, every: Any, epoch: Any, observe: Any, begins: float = 0.0
) -> tuple[float, ...] | None:
    """The moments at which a run by seconds looks.

    Args:
        steps: number of steps, or None.
        until: the moment at which the run ends, or None.
        at: the moments, or how many there are, or None.
        every: steps between two records, or None.
        epoch: steps of an epoch, or None.
        observe: what is observed.
        begins: the moment at which the run begins, in seconds.

    Returns:
        The moments in seconds; None for a run by steps.

    Raises:
        ValueError: for what does not go together or is out of its range.
    """
    if until is None and at is None:
        if steps is None:
            raise ValueError("steps=None: must be the number of steps, or for workers in virtual time give until=")
        return None
    if until is not None:
        moment = named("until", number)(until)
        check_sign("until", moment, zero=False)
        if moment.ndim:
            raise ValueError(f"until={shown(until)}: must be one number, in seconds")
    count = None
    if at is None or (isinstance(at, int | np.integer) and not isinstance(at, bool)):
        count = check_count("at", 100 if at is None else at)
    moments = None if count else _moments(at)
    for name, value, why in (
        ("steps", steps, "a run by seconds takes as many as there are"),
        ("every", every, "records of a run by seconds are at="),
        ("epoch", epoch, "epochs are counted in arrivals"),
    ):
        if value is not None:
            raise ValueError(f"{name}={shown(value)}: must be None, or until and at must be: {why}")
    if moments is None:
        if until is None:
            raise ValueError(f"at={shown(at)}: must be the moments themselves, or until= must be given too")
        count = count if count and observe else 1
        return tuple(begins + (float(until) - begins) * (i + 1) / count for i in range(count))
    if until is not None and not math.isclose(until, moments[-1]):
        raise ValueError(f"until={until:g}: must be the last moment of at, {moments[-1]:g}, or be left out")
    return moments


def _moments(at: Any) -> tuple[float, ...]:
    """Moments that grow, in seconds, but for the start, where there is a record in any case."""
    right = f"at={shown(at)}: must be moments in seconds that grow, (records,), or how many there are"
    try:
        moments = np.asarray(at, float)
    except (TypeError, ValueError):
        raise ValueError(right) from None
    if moments.ndim != 1 or not (moments >= 0).all() or not np.isfinite(moments).all() or (np.diff(moments) <= 0).any():
        raise ValueError(right)
    moments = moments[moments > 0]
    if not moments.size:
        raise ValueError(right)
    return tuple(moments.tolist())


def _begins(start: Result | None, moments: tuple[float, ...] | None) -> float:
    """When a run by seconds begins; a result goes on by what it was run by."""
    if start is None:
        return 0.0
    ended = start.run.get("until")
    if (ended is None) != (moments is None):
        was, give = ("steps", "steps=") if ended is None else ("seconds", "until=")
        raise ValueError(f"init: the result to continue was run by {was}; give {give}")
    if ended is None or moments is None:
        return 0.0
    if not moments[0] > ended:
        raise ValueError(f"until={moments[-1]:g}: the result to continue ended at {ended:g}; give moments after it")
    return float(ended)


def _fitting(increments: Any, shape: tuple[int, ...], model: Dynamics) -> Array:
    """The increments as an array of the shape of the run."""
    increments = named("increments", number)(increments)
    if increments.shape != shape:
        right = f"must have shape (steps, sims, agents, dims) = {shape}"
        raise ValueError(f"increments: {right}, got {increments.shape}")
    if (reason := model.noise.without_variance()) is not None:
        raise ValueError(f"increments: {reason}, so no Brownian motion has its covariance")
    return increments


def check_sizes(sizes: dict[str, Any]) -> dict[str, int]:
    """Sizes as integers within the generator's limits.

    Args:
        sizes: by name, those of agents, dims, sims, first_sim and steps that are given.

    Returns:
        The integers by name.

    Raises:
        ValueError: naming the one that is not.
    """
    limits = {
        "agents": (1, random.MAX_AGENTS),
        "dims": (1, random.MAX_DIMS),
        "sims": (1, random.MAX_SIMS),
        "first_sim": (0, random.MAX_SIMS - 1),
        "steps": (0, random.MAX_STEPS),
    }
    checked = {
        name: check_count(name, sizes[name], least=least, most=most)
        for name, (least, most) in limits.items()
        if name in sizes
    }
    if checked.get("sims", 0) + (first := checked.get("first_sim", 0)) > random.MAX_SIMS:
        raise ValueError(f"first_sim={first}: must be an integer from 0 to {random.MAX_SIMS - checked['sims']}")
    return checked


def make_plan(
    model: Dynamics,
    stepper: AbstractStepper,
    *,
    agents: int,
    dims: int,
    epoch: int | None,
    observe: Any,
    every: int | None,
    steps: int,
    fast: bool = True,
) -> tuple[Plan, tuple[AbstractObservable, ...]]:
    """Check the arguments that shape a run, and say what is static about it.

    Args:
        model: the dynamics.
        stepper: what one step is.
        agents: p of one simulation.
        dims: dimensions d.
        epoch: steps between two calls of the rule's `renew`; None for none.
        observe: observables, one or several.
        every: steps between two records; about a hundredth of `steps` by default.
        steps: number of steps.
        fast: take float32 sines and cosines by polynomials.

    Returns:
        The plan, and the observables.

    Raises:
        ValueError: for a bad argument: its name, its value and what would be right.
        TypeError: for an argument of another kind, likewise.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    if epoch is not None:
        epoch = check_count("epoch", epoch, most=random.MAX_STEPS)
    elif model.coupling.renews:
        name = type(model.coupling).__name__
        raise ValueError(f"epoch=None: {name} jumps at the start of each epoch; give epoch=, the steps between two")
    several = isinstance(observe, Sequence) and not isinstance(observe, str)
    observables: tuple[Any, ...] = tuple(observe) if several else (observe,)
    for o in observables:
        if not isinstance(o, AbstractObservable):
            raise TypeError(f"observe={shown(o)}: must be an observable of sdesim.observe, or several")
        o.check_run(agents, dims)
    names = [o.name for o in observables]
    if len(set(names)) < len(names):
        raise ValueError(f"observe: each name may appear once, got {', '.join(names)}")
    labels_of(observables)  # before hours are spent on what could not be written
    if every is not None:
        every = check_count("every", every, most=random.MAX_STEPS)
        if not observables:
            raise ValueError(f"every={every}: nothing is observed; give observe=, or leave every out")
    if observables and every is None:
        every = max(1, math.ceil(steps / 100))
    model.check_run(agents, dims)
    stepper.check(model)
    return Plan(agents, dims, epoch, every if observables else None, fast, lockstep=stepper.lockstep), observables


def check_rates(model: Dynamics, stepper: AbstractStepper, agents: int, first: int, steps: int) -> None:
    """Look at the learning rates: of a schedule, at all steps of a short run and at many of a long one.

    Args:
        model: the dynamics.
        stepper: what one step is.
        agents: of one simulation.
        first: the run's first step.
        steps: how many there are.

    Raises:
        ValueError: naming the first step at which they are negative, not finite or of a wrong shape, or are all 0 where
            steps of a length of their own have no meaning then.
    """
    if steps == 0 or is_traced((model.eta, eqx.filter(model.eta, eqx.is_array))):
        return
    looks = np.unique(np.linspace(first, first + steps - 1, min(steps, LOOKS)).astype(np.int64)).astype(np.int32)
    if callable(model.eta):
        etas = jax.vmap(lambda n: jnp.asarray(model.eta(n)))(jnp.asarray(looks))
    else:
        looks, etas = looks[:1], np.asarray(model.eta)[None]
    if is_traced(etas):
        return
    if etas.shape[1:] not in ((), (agents,)):
        raise ValueError(f"eta: the function returns shape {etas.shape[1:]}; it must be () or ({agents},)")
    values = np.asarray(etas).reshape(looks.size, -1)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        n, agent = np.argwhere(bad)[0]
        raise ValueError(f"eta={values[n, agent]:.4g} at step {looks[n]}: must be finite and at least 0 at every step")
    still = ~values.any(axis=1)
    if not stepper.resolved or model.momentum is None or not still.any():
        return
    zero = jnp.zeros((), jnp.result_type(float))
    move = concrete(model.momentum.move(zero, jnp.ones_like(zero)), np.max)  # of a step of one unit of time
    if move is not None and not math.isfinite(move):
        where = f" at step {looks[still][0]}" if callable(model.eta) else ""
        raise ValueError(f"dt: eta=0{where}, where an iteration with momentum has no time to divide; leave dt out")


def initial_lanes(model: Dynamics, init: Any, plan: Plan, sims: Array, seed: Seed, velocity: Any = None) -> Array:
    """Initial positions (or velocities) of simulations.

    Args:
        model: the dynamics.
        init: a law of `sdesim.init`, a number, or an array that broadcasts to (sims, agents, dims).
        plan: what is static about the run.
        sims: their numbers, (sims,), uint32.
        seed: its words, and their generator.
        velocity: anything but None for velocities.

    Returns:
        (agents, dims, sims).

    Raises:
        TypeError: for what is no law and no numbers.
        ValueError: for an array that does not broadcast to (sims, agents, dims) or is not finite, or a law of another
            number of coordinates.
    """
    name, stream = ("init", Stream.POSITION) if velocity is None else ("velocity", Stream.VELOCITY)
    if not isinstance(init, AbstractInit):
        return initial_array(name, init, plan, sims)
    check_law(name, init, plan.dims)
    with law_of_today(init, plan.agents, plan.dims) as law:
        return draw_lanes(law, seed, sims, plan.agents, plan.dims, jnp.result_type(float), stream)


def check_law(name: str, law: AbstractInit, dims: int) -> None:
    """Refuse a law of initial states of another number of coordinates.

    Args:
        name: of the argument.
        law: the law.
        dims: dimensions d.

    Raises:
        ValueError: naming the argument.
    """
    if law.dims not in (None, 1, dims):
        what = f"{type(law).__name__} has numbers of {law.dims} coordinates"
        raise ValueError(f"{name}: {what}, and dims={dims}; give one number, or one a coordinate")


def initial_array(name: str, init: Any, plan: Plan, sims: Array, tile: int = 1) -> Array:
    """Initial positions (or velocities) of the lanes as they are given.

    Args:
        name: of the argument.
        init: a number, or an array that broadcasts to (sims, agents, dims).
        plan: what is static about the run.
        sims: numbers of the lanes' simulations, (lanes,).
        tile: how often the simulations are repeated: the points of a grid.

    Returns:
        (agents, dims, lanes).

    Raises:
        TypeError: for what is no numbers.
        ValueError: for an array that does not broadcast to (sims, agents, dims) or is not finite.
    """
    shape = (sims.size // tile, plan.agents, plan.dims)
    if callable(init):
        raise TypeError(f"{name}={shown(init)}: must be a law of sdesim.init, a number or an array; a function is none")
    x = jnp.asarray(named(name, number)(init), jnp.result_type(float))
    try:
        x = jnp.broadcast_to(x, shape) if x.ndim in (0, 3) else jnp.broadcast_to(x[(None,) * (3 - x.ndim)], shape)
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"{name}: an array of shape {x.shape} does not fit (sims, agents, dims) = {shape}; give that shape, "
            "(agents, dims), (dims,), or a law of sdesim.init"
        ) from error
    return jnp.tile(jnp.moveaxis(x, 0, -1), (1, 1, tile))


def draw_lanes(
    law: AbstractInit,
    seed: Seed,
    sims: Array,
    agents: int,
    dims: int,
    dtype: DTypeLike,
    stream: int = Stream.POSITION,
) -> Array:
    """States of many simulations by a law, in one program; where nothing is drawn, nothing is compiled.

    Args:
        law: of the states of one simulation.
        seed: its words, and their generator.
        sims: numbers of the simulations, (sims,), uint32.
        agents: of one simulation.
        dims: of one agent.
        dtype: of the states.
        stream: what they are for, a `Stream` or its number.

    Returns:
        (agents, dims, sims), in length.
    """
    if law.fixed is not None:
        return _everywhere(law.fixed, agents, dims, sims, dtype)
    draw = Partial(_draw, law, seed, agents, dims, jnp.dtype(dtype), int(stream))
    return blocks.at_once(Partial(_drawn, (draw,)), None, None, (sims, (None,)))[0]


def _everywhere(x: Array, agents: int, dims: int, sims: Array, dtype: DTypeLike) -> Array:
    """A number, or one a coordinate, of all agents of all simulations, (agents, dims, sims)."""
    x, xp = blocks.moving(x)
    return jnp.asarray(xp.broadcast_to(xp.broadcast_to(x, (dims,))[:, None], (agents, dims, *sims.shape)), dtype)


def _drawn(draws: tuple, model: Dynamics, axes: PyTree, sims: Array, arrays: tuple) -> tuple:
    """Of each array that there is not what is drawn in its place."""
    return tuple(a if draw is None else draw(sims) for draw, a in zip(draws, arrays, strict=True))


def _draw(law: AbstractInit, seed: Seed, agents: int, dims: int, dtype: DTypeLike, stream: int, sims: Array) -> Array:
    key = random.step_key(seed, stream, 0)
    return lanes(lambda sim: law.draw(random.words(key, sim, agents, dims), dtype), (-1,))(sims)


def default_dims(model: Dynamics, init: Any) -> int:
    """The number of dimensions where none is given: the objective's, else that of the initial states, else 1.

    Args:
        model: the dynamics.
        init: a law of `sdesim.init`, a number, or an array (..., dims).

    Returns:
        The number.
    """
    if isinstance(model, Dynamics) and model.objective.dims is not None:
        return model.objective.dims
    if isinstance(init, AbstractInit):
        return init.dims or 1
    points = isinstance(init, jax.Array | np.ndarray | Sequence)
    shape = named("init", number)(init).shape if points else ()
    return shape[-1] if shape and shape[-1] else 1


def start_lanes(model: Dynamics, stepper: AbstractStepper, axes: PyTree, x: Array, v: Array | None) -> State:
    """The state of lanes that start, in one program.

    Args:
        model: the dynamics.
        stepper: what a step is.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
        x: positions, (agents, dims, lanes).
        v: displacements in one iteration, (agents, dims, lanes); None for at rest.

    Returns:
        The state, lanes on the last axis.
    """
    return blocks.at_once(Partial(_start, stepper), model, axes, (None, (x, v)))


def _start(stepper: AbstractStepper, model: Dynamics, axes: PyTree, sims: Array | None, places: tuple) -> State:
    return lanes(lambda m, x, v: stepper.init(m, x, v), (axes, -1, -1))(model, *places)
