"""`simulate` and `iterate`: many independent simulations of coupled agents, in one call."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from sdesim.contents import digest, functions_of
from sdesim.coupling import ArrayMean, Mean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.engine import blocks
from sdesim.engine.path import inside_a_trace
from sdesim.engine.vectorize import lanes
from sdesim.ensembles.setup import Ran, Setup, default_dims
from sdesim.ensembles.warnings import warn_of_divergence
from sdesim.fields import check_flags, is_traced
from sdesim.init import AbstractInit
from sdesim.observe import AbstractObservable, QuorumLoss, Spread, View, coordinates_of, labels_of, physical_velocity
from sdesim.random import Generator, Seed, seed_number, seed_words
from sdesim.results.recipe import Call
from sdesim.results.result import Result, stepper_said
from sdesim.results.schema import device_of
from sdesim.steppers import AbstractStepper, Iteration, stepper_of
from sdesim.sums import plain


def simulate(
    model: Dynamics,
    *,
    agents: int | None = None,
    sims: int | None = None,
    steps: int | None = None,
    until: float | None = None,
    at: Any = None,
    dims: int | None = None,
    seed: int | Array | None = None,
    random: Generator | None = None,
    init: AbstractInit | Result | Any = None,
    velocity: Any = None,
    stepper: AbstractStepper | None = None,
    dt: float | Array | None = None,
    order: Order | None = None,
    epoch: int | None = None,
    observe: AbstractObservable | Sequence[AbstractObservable] = (),
    every: int | None = None,
    increments: Any = None,
    first_sim: int | None = None,
    memory: int | str | None = None,
    exact: bool | None = None,
    fast: bool = True,
    progress: bool = False,
) -> Result:
    """Simulate a model, by Euler-Maruyama unless another stepper is given.

    Args:
        model: the dynamics.
        agents: p of one simulation; 1 by default, or as many as in the result that `init` continues.
        sims: independent simulations; 1 by default, or as many as in the result that `init` continues.
        steps: number of steps; of workers in virtual time, arrivals of each simulation.
        until: in place of steps, the second of virtual time at which a run of workers ends; what arrives then is left
            to a run that continues it.
        at: the moments at which such a run is recorded, in seconds, or how many, evenly spaced; 100 by default. What
            is recorded is the state just before.
        dims: dimensions d; those of the objective, of `init`, or of the result that it continues; else 1.
        seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`; 0 by default. Noise depends on (seed,
            simulation, agent, step, coordinate) alone.
        random: the generator: "threefry20", the default, or "threefry13", of fewer rounds, which is faster; what
            continues a result has its generator.
        init: a law of `sdesim.init`, a number, or an array (sims, agents, dims), (agents, dims) or (dims,); or a
            `Result`, which is continued where it ended, with the noise it would have had, by this model or another
            (the new result says of both; `init=result.agents` begins a new run there). All at 0 by default.
        velocity: initial velocities, as `init`: displacements in one iteration, or with `Friction` physical velocities.
            At rest by default.
        stepper: what one step is: one of `sdesim.steppers`, or one of your own.
        dt: short for stepper=EulerMaruyama(dt): length of a step. By default the model's matched step (eta, or
            sqrt(eta) with iteration momentum), at which Euler-Maruyama is the SGD iteration; smaller to resolve the
            SDE.
        order: short for stepper=EulerMaruyama(order=order): "jacobi", the default, or "gauss-seidel", see
            `sdesim.steppers.base`.
        epoch: steps between two calls of the rule's `renew` with the agents' losses (the spikes of SD-QSGD).
        observe: observables of `sdesim.observe`, one or several.
        every: steps between two records; about a hundredth of `steps` by default.
        increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of variance dt each; the
            model's noise supplies the diffusion that multiplies them.
        first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        exact: whether a simulation's bits may depend on nothing but itself, even in a run of fewer than 16 simulations,
            which is faster in a program of its own that rounds elsewhere. By default they do not where `first_sim` is
            given; a continued run is computed as it was. Larger runs are exact on a CPU, outside of jit.
        fast: take float32 sines and cosines by polynomials, good to 2e-7 for arguments up to 1e3; False for XLA's.
        progress: show a bar with the time left, after two seconds.

    Returns:
        A `Result`. Simulations that became non-finite are kept and marked, and a `DivergenceWarning` says when.

    Raises:
        ValueError: for a bad argument: its name, its value and what would be right.
        TypeError: for an argument of another kind, likewise.
        MemoryError: before allocating more than is free.
    """
    arguments = dict(agents=agents, sims=sims, dims=dims, seed=seed, random=random, first_sim=first_sim)
    arguments |= dict(init=init, velocity=velocity, exact=exact)
    run = dict(steps=steps, until=until, at=at, epoch=epoch, observe=observe, every=every)
    run |= dict(increments=increments, fast=fast)
    said = dict(stepper=stepper, dt=dt, order=order)
    return _simulate("sdesim.simulate", model, stepper_of(stepper, dt, order), said, arguments, run, memory, progress)


def iterate(
    model: Dynamics,
    *,
    agents: int | None = None,
    sims: int | None = None,
    steps: int,
    dims: int | None = None,
    seed: int | Array | None = None,
    random: Generator | None = None,
    init: AbstractInit | Result | Any = None,
    velocity: Any = None,
    order: Order = "jacobi",
    period: Any = 1,
    epoch: int | None = None,
    observe: AbstractObservable | Sequence[AbstractObservable] = (),
    every: int | None = None,
    increments: Any = None,
    first_sim: int | None = None,
    memory: int | str | None = None,
    exact: bool | None = None,
    fast: bool = True,
    progress: bool = False,
) -> Result:
    """Run the discrete algorithm of a model: `simulate` with stepper=Iteration(period, order=order).

    Results and errors are those of `simulate`, and so is the noise.

    Args:
        model: the dynamics.
        agents: p of one simulation; 1 by default, or as many as in the result that `init` continues.
        sims: independent simulations; 1 by default, or as many as in the result that `init` continues.
        steps: number of iterations.
        dims: dimensions d; those of the objective, of `init`, or of the result that it continues; else 1.
        seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`; 0 by default. Noise depends on (seed,
            simulation, agent, step, coordinate) alone.
        random: the generator: "threefry20", the default, or "threefry13", of fewer rounds, which is faster; what
            continues a result has its generator.
        init: a law of `sdesim.init`, a number, or an array (sims, agents, dims), (agents, dims) or (dims,); or a
            `Result`, which is continued where it ended, as of `simulate`. All at 0 by default.
        velocity: initial displacements in one iteration, as `init`. At rest by default.
        order: "jacobi" or "gauss-seidel", see `sdesim.steppers.base`.
        period: iterations between two communications (tau of Zhang's algorithms), or a function of the step.
        epoch: iterations between two calls of the rule's `renew` with the agents' losses (the spikes of SD-QSGD).
        observe: observables of `sdesim.observe`, one or several.
        every: iterations between two records; about a hundredth of `steps` by default.
        increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of unit variance; the
            model's noise supplies the diffusion that multiplies them.
        first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        exact: whether a simulation's bits may depend on nothing but itself, even in a run of fewer than 16 simulations,
            which is faster in a program of its own that rounds elsewhere. By default they do not where `first_sim` is
            given; a continued run is computed as it was. Larger runs are exact on a CPU, outside of jit.
        fast: take float32 sines and cosines by polynomials, good to 2e-7 for arguments up to 1e3; False for XLA's.
        progress: show a bar with the time left, after two seconds.

    Returns:
        A `Result`, as `simulate`.

    Raises:
        ValueError: as `simulate`.
        TypeError: as `simulate`.
        MemoryError: as `simulate`.
    """
    arguments = dict(agents=agents, sims=sims, dims=dims, seed=seed, random=random, first_sim=first_sim)
    arguments |= dict(init=init, velocity=velocity, exact=exact)
    run = dict(steps=steps, epoch=epoch, observe=observe, every=every, increments=increments, fast=fast)
    said = dict(order=order, period=period)
    return _simulate("sdesim.iterate", model, Iteration(period, order=order), said, arguments, run, memory, progress)


def _simulate(
    name: str,
    model: Dynamics,
    stepper: AbstractStepper,
    said: dict[str, Any],
    arguments: dict[str, Any],
    run: dict[str, Any],
    memory: int | str | None,
    progress: bool,
) -> Result:
    """said: how the stepper was asked for."""
    init, exact = arguments["init"], arguments.pop("exact")
    check_flags(fast=run["fast"], progress=progress, **({} if exact is None else {"exact": exact}))
    previous = init if isinstance(init, Result) else None
    if exact is None:  # what is one of a series, or goes on, must fit the rest to the last bit
        exact = arguments["first_sim"] is not None if previous is None else bool(previous.run["exact"])
    if isinstance(arguments["seed"], Seed):  # which has a generator
        arguments["random"] = seed_words(arguments["seed"], arguments["random"]).generator
    defaults = dict(agents=1, sims=1, dims=None, seed=0, random=None, first_sim=0)
    for argument, default in defaults.items():
        given, kept = arguments[argument], None if previous is None else previous.sizes[argument]
        if argument == "seed" and kept is not None and given is not None and not is_traced(given):
            given = seed_number(seed_words(given))
        if given is not None and kept is not None and given != kept:
            raise ValueError(
                f"{argument}={given!r}: the result that init continues has {argument}={kept!r}; leave it out"
            )
        arguments[argument] = given if given is not None else default if kept is None else kept
    if arguments["dims"] is None:
        arguments["dims"] = default_dims(model, init)
    seed = seed_words(arguments["seed"], arguments.pop("random"))
    setup = Setup.of(model, stepper, **{**arguments, "seed": seed}, **run, memory=memory, exact=exact)
    sizes = dict(agents=setup.plan.agents, sims=setup.sims, dims=setup.plan.dims, first_sim=setup.first_sim)
    arguments |= sizes | {"random": seed.generator}
    if not is_traced(seed):  # as a number, which a file can hold and a continued run can compare
        arguments["seed"] = seed_number(seed)
    elif isinstance(arguments["seed"], Seed):
        arguments["seed"] = seed.words
    still = jax.tree.map(lambda _: None, model)
    with setup.run(model, still, progress=progress) as ran:
        lanes = ran.lanes
        if previous is not None:
            where = jnp.where if is_traced(previous.diverged) else np.where
            lanes.diverged = where(previous.diverged >= 0, previous.diverged, lanes.diverged)
        warn_of_divergence(lanes.diverged, setup.first_sim, ran.remedy(setup.first))
        # Of a result, not its own arguments again: those of a run that is continued in a loop would double each time.
        start = f"the result at step {previous.step}" if previous is not None else init
        start = start if isinstance(start, str | AbstractInit) else repr(start)  # a law as it is: seldom asked for
        all_said = {**said, **run, "observe": run["observe"] or None, "exact": exact}
        if setup.until is None:
            all_said["steps"] = setup.steps
        all_said |= arguments if previous is None else {}
        call = Call(name, {"model": model, **{n: value for n, value in all_said.items() if value is not None}})
        if previous is not None:
            call = call.once_more(previous.run["call"])
        return _result(ran, setup, arguments["seed"], {"init": start, "call": call, "model": model})


def _result(ran: Ran, setup: Setup, seed: Any, called: dict[str, Any]) -> Result:
    """The lanes that were run as a result, simulations first. called: how, with the model."""
    lanes, plan, stepper = ran.lanes, setup.plan, setup.stepper
    last = np.int32(max(lanes.step - 1, 0))
    found = lanes.sims_first(Partial(_ends, ran.stepper, ArrayMean(plan.agents), last))
    agents, quorum, center, velocity, spread, quorum_loss = found
    settings = {
        **stepper_said(stepper),
        "epoch": plan.epoch,
        "every": plan.every,
        "fast": plan.fast,
        "exact": lanes.path.exact,
        "until": setup.until,
        "random": setup.seed.generator,
        "path": str(lanes.path),
        "device": None if is_traced(agents) else device_of(agents.devices()),
        **called,
    }
    if (functions := functions_of(stepper)) and not inside_a_trace():
        settings["functions"] = {name: digest(function)[:16] for name, function in functions.items()}
    if setup.start is not None and (before := setup.start.ran_before(settings)):
        settings["before"] = before
    return Result(
        agents=agents,
        quorum=quorum,
        center=center,
        velocity=velocity,
        spread=spread,
        quorum_loss=quorum_loss,
        observed={name: plain(blocks.sims_first(value)) for name, value in lanes.observed.items()},
        observed_axes=dict(lanes.axes),
        observed_labels=labels_of(setup.observables),
        observed_coordinates=coordinates_of(setup.observables),
        records=lanes.records,
        moments=_moments(ran, setup),
        diverged=lanes.diverged,
        step=lanes.step,
        seed=seed,
        first_sim=setup.first_sim,
        seconds=lanes.seconds,
        state=lanes.state,
        run=settings,
    )


def _ends(stepper: AbstractStepper, mean: Mean, last_step: Array, model: Dynamics, axes: PyTree, state: State):
    """Positions, quorum, center, velocities, spread and the quorum's loss at the end, lanes last."""

    def signals(model: Dynamics, state: State):
        center = stepper.center(model, state, mean)
        view = View(state, jnp.zeros((), jnp.int32), model, mean, center)
        return center, Spread().value(view), QuorumLoss().value(view)

    center, spread, quorum_loss = lanes(signals, (axes, -1))(model, state)
    velocity = None if state.v is None else physical_velocity(model, state.v, last_step)
    return state.x, jnp.mean(state.x, axis=0), center, velocity, spread, quorum_loss


def _moments(ran: Ran, setup: Setup) -> np.ndarray | None:
    """The coupling's time at the records of agents that step together, in float64; None where it is not known."""
    records = ran.lanes.records
    if not records.size or not ran.stepper.lockstep:
        return None
    if is_traced((eqx.filter((ran.model, ran.stepper), eqx.is_array), ran.lanes.state.time)):
        return None
    began = 0.0 if setup.start is None else float(np.asarray(setup.start.time).max(initial=0.0))
    tick = lambda n: ran.stepper.sizes(ran.model, n).tick
    if not callable(ran.model.eta):
        return began + float(np.max(tick(jnp.int32(setup.first)))) * (records - setup.first)
    steps = jnp.arange(setup.first, max(int(records[-1]), setup.first + 1), dtype=jnp.int32)
    each = np.asarray(jax.jit(jax.vmap(tick))(steps), float)
    return began + np.concatenate([[0.0], np.cumsum(each)])[records - setup.first]
