"""`simulate` and `iterate`: many independent simulations of coupled agents, in one call.

Here the arguments are checked and warned of, initial states are drawn, memory is estimated, and results are put into
the users' order, (sims, agents, dims). The steps themselves are the engine's.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

from sdesim import random
from sdesim.coupling import ORDERS, AbstractCoupling, ArrayMean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.engine import blocks
from sdesim.engine.blocks import LEAST, VECTOR, Blocks
from sdesim.engine.plan import one_step
from sdesim.engine.run import Plan, layout_of, room, run_lanes
from sdesim.engine.vectorize import lanes
from sdesim.fields import (
    byte_count,
    check_choice,
    check_count,
    check_flags,
    check_sign,
    concrete,
    form,
    is_traced,
    named,
    number,
    shown,
    warn,
)
from sdesim.functions import law_of_today, today
from sdesim.init import AbstractInit, Point
from sdesim.memory import available_memory, work_of
from sdesim.noise import AbstractAdditive
from sdesim.objectives import check_dims
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries
from sdesim.random import Stream
from sdesim.results.recipe import Call
from sdesim.results.result import Result

LOOKS = 1000  # steps at which a schedule is looked at before it runs


class StabilityWarning(UserWarning):
    """The coupling is too stiff for the step: the run will very likely diverge."""


class DivergenceWarning(UserWarning):
    """Some simulations became non-finite. Their results are kept as they are and marked."""


def remedy(model: Dynamics, axes, x: Array, first: int, diverged: np.ndarray) -> str:
    """What would help simulations that diverged, by the cause as far as it can be told.

    x: where agents started, (agents, dims, lanes). first: the run's first step.
    """
    usual = "a smaller eta or gain would be stable"
    if is_traced((diverged, x)) or not (np.asarray(diverged) >= 0).any():
        return usual
    step = int(np.min(diverged[diverged >= 0]))
    if callable(model.eta):
        eta = np.asarray(lanes(lambda m, x: jnp.asarray(m.eta(jnp.int32(step - 1))), (axes, -1))(model, x))
        if not np.isfinite(eta).all() or eta.min() < 0:
            return f"eta of step {step - 1} is {eta.min():.3g}, and a learning rate must be finite and at least 0"
    if step == first + 1:
        some = np.flatnonzero(np.ravel(diverged) >= 0)[:LEAST]
        swept, kept = blocks.swept_and_kept(model, axes)
        of_some = eqx.combine(kept, jax.tree.map(lambda a: a[..., some], swept))
        gradients = lanes(lambda m, x: m.gradients(x), (axes, -1))(of_some, x[..., some])
        if bad := int((~np.isfinite(np.asarray(gradients))).any(axis=(0, 1)).sum()):
            return (
                f"the gradient of the loss is not finite where {bad} of them start, whatever the step (that of "
                "jnp.linalg.norm is not at 0): start elsewhere with init=, or write a loss that has a derivative there"
            )
    return usual


def warn_of_divergence(diverged: np.ndarray, first_sim: int, remedy: str) -> None:
    """Say which share of the simulations diverged, when the first one did, and what would help; simulations are on the
    last axis."""
    bad: Any = np.zeros(0) if is_traced(diverged) else np.flatnonzero(diverged.ravel() >= 0)
    if not bad.size:
        return
    first = bad[np.argmin(diverged.ravel()[bad])]
    warn(
        f"{bad.size} of {diverged.size} simulations ({bad.size / diverged.size:.1%}) diverged; the first at step "
        f"{diverged.ravel()[first]} (simulation {first_sim + first % diverged.shape[-1]}). They are kept and marked in "
        f"`diverged`; {remedy}.",
        DivergenceWarning,
    )


def warn_of_stiffness(model: Dynamics, plan: Plan, dt: Array | None, first: int = 0, steps: int = 1) -> None:
    """Warn where one step of the coupling alone amplifies: beyond step * stiffness = 2 in Jacobi order.

    A learning rate that depends on the step is looked at at some steps of the run; of rates that differ between agents,
    the largest counts.
    """
    if is_traced((eqx.filter(model, eqx.is_array), dt)):
        return
    looks = [first + max(steps - 1, 0) * i // 4 for i in range(5 if callable(model.eta) else 1)]
    each = [_ticks(model, plan, dt, step) for step in looks]
    ticks = np.max(each, axis=0)
    for name, rule in (("coupling", model.coupling), ("velocity_coupling", model.velocity_coupling)):
        if rule is not None:
            warn_if_unstable(name, rule, ticks, plan.agents, plan.order)


def warn_if_unstable(name: str, rule: AbstractCoupling, ticks: np.ndarray, agents: int, order: Order) -> None:
    """Warn if a step of the coupling alone amplifies. ticks: how far its time advances, a number or one an agent."""
    tick = _fastest(ticks, getattr(rule, "k", None))
    growth = rule.amplification(tick, agents, order)
    if growth is None or not growth > 1 or not tick > 0:
        return
    what = f"{name}: unstable: a step of {type(rule).__name__} with {agents} agents multiplies its fastest mode"
    stiffness = rule.stiffness(agents)
    detail = "reduce its rates or eta"
    if order == "jacobi" and stiffness is not None and stiffness > 0:
        excess = tick * stiffness / 2
        gain = concrete(getattr(rule, "k", None), np.max)
        detail = f"eta * stiffness = {2 * excess:.3g} is beyond 2; reduce its rates or eta {excess:.3g} times"
        if gain and getattr(rule, "center_rate", None) is None:
            detail += f" (k={gain:g} to at most {gain / excess:.4g})"
    elif stiffness is not None and stiffness < 0:
        detail = "a negative gain pushes agents apart"
    warn(f"{what} by {growth:.3g}. {detail}", StabilityWarning)


def _ticks(model: Dynamics, plan: Plan, dt: Array | None, step: int) -> np.ndarray:
    """How far the coupling's time advances at a step: a number, or one an agent, (agents,)."""
    ticks = model.sizes(model.at_step(jnp.asarray(step, jnp.int32)), None if plan.matched else dt).weight
    return np.zeros(()) if is_traced(ticks) else np.asarray(ticks)  # inside a jit nothing can be looked at


def _fastest(ticks: np.ndarray, k) -> float:
    """The tick that with the largest gain gives the stiffest agent's product: its own tick, if its gain is its own."""
    if ticks.ndim and isinstance(k, jax.Array) and k.ndim and k.shape == ticks.shape and float(jnp.max(k)) > 0:
        return float(np.max(ticks * np.asarray(k)) / np.max(np.asarray(k)))
    return float(np.max(ticks))


# -- arguments -------------------------------------------------------------------------------------------------------


def check_sizes(sizes: dict[str, Any]) -> dict[str, int]:
    """Of agents, dims, sims, first_sim and steps those that are given, as integers within the generator's limits.

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
    model: Dynamics, *, agents, dims, method, order, dt, epoch, observe, every, steps, fast=True
) -> tuple[Plan, tuple[AbstractObservable, ...], Array | None]:
    """Check the arguments that shape a run, and say what is static about it."""
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    check_choice("order", order, ORDERS)
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
    if every is not None:
        every = check_count("every", every, most=random.MAX_STEPS)
        if not observables:
            raise ValueError(f"every={every}: nothing is observed; give observe=, or leave every out")
    if observables and every is None:
        every = max(1, math.ceil(steps / 100))
    check_dims(model.objective, dims)
    for name in ("eta", "batch"):
        value = getattr(model, name)
        if not callable(value) and value.ndim and value.shape != (agents,):
            raise ValueError(f"{name}: must be a number or of shape (agents,) = ({agents},), got shape {value.shape}")
    k = getattr(model.coupling, "k", None)
    if isinstance(k, jax.Array) and k.ndim and k.shape != (agents,):
        raise ValueError(f"coupling.k: must be a number or of shape (agents,) = ({agents},), got shape {k.shape}")
    if isinstance(model.noise, AbstractAdditive) and model.noise.amplitude.shape not in ((), (dims,)):
        raise ValueError(
            f"noise: must have one number or one a coordinate, of shape (dims,) = ({dims},), got shape "
            f"{model.noise.amplitude.shape}"
        )
    if dt is not None:
        check_sign("dt", dt, zero=False)
        dt = named("dt", number)(dt)
        if jnp.shape(dt) != ():
            raise ValueError(f"dt={shown(dt)}: must be one number")
        if (reason := model.noise.iteration_only()) is not None and method == "em":
            matched = concrete(model.matched_step(), np.max)
            fits = matched is not None and math.isclose(concrete(dt, np.max) or 0, matched, rel_tol=1e-6)
            if callable(model.eta) or not fits:
                raise ValueError(f"dt={dt}: {reason}, so it runs at the matched step alone: leave dt out")
        dt = jnp.asarray(dt, jnp.result_type(float))
    if model.weak_order == 2 and order == "gauss-seidel":
        raise ValueError("order='gauss-seidel': the modified drift of weak_order=2 belongs to order 'jacobi'")
    plan = Plan(agents, dims, method, order, dt is None, epoch, every if observables else None, fast)
    return plan, observables, dt


def check_records(observables: Sequence[AbstractObservable], every: int | None, first: int, steps: int) -> None:
    """Refuse a summary of records that no record of the run would enter.

    Raises:
        ValueError: naming the observable, and `after` or `every`.
    """
    if every is None or steps == 0:
        return
    last = first + steps // every * every
    for o in observables:
        after = concrete(getattr(o, "after", None), np.max)
        if not isinstance(o, AbstractAccumulator) or o.every_step:
            continue
        if last == first:
            raise ValueError(f"every={every}: {o.name} sums up records, and there is none in {steps} steps")
        if after is not None and after >= last:
            raise ValueError(f"after={after:.0f}: must be less than {last}, the last step at which {o.name} looks")


def check_rates(model: Dynamics, plan: Plan, first: int, steps: int) -> None:
    """Look at the learning rates: of a schedule, at all steps of a short run and at many of a long one.

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
        looks, etas = looks[:1], model.eta[None]
    if is_traced(etas):
        return
    if etas.shape[1:] not in ((), (plan.agents,)):
        right = f"a number or of shape (agents,) = ({plan.agents},)"
        raise ValueError(f"eta: must be {right}, and the schedule gives shape {etas.shape[1:]}")
    values = np.asarray(etas).reshape(looks.size, -1)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        n, agent = np.argwhere(bad)[0]
        raise ValueError(f"eta={values[n, agent]:.4g} at step {looks[n]}: must be finite and at least 0 at every step")
    still = ~values.any(axis=1)
    if plan.matched or model.momentum is None or not still.any():
        return
    zero = jnp.zeros((), jnp.result_type(float))
    move = concrete(model.momentum.move(zero, jnp.ones_like(zero)), np.max)  # of a step of one unit of time
    if move is not None and not math.isfinite(move):
        where = f" at step {looks[still][0]}" if callable(model.eta) else ""
        raise ValueError(f"dt: eta=0{where}, where an iteration with momentum has no time to divide; leave dt out")


def initial_lanes(
    model: Dynamics,
    init,
    plan: Plan,
    sims: Array,
    seed: Array,
    velocity=None,
    tile: int = 1,
    layout: Blocks | None = None,
) -> Array:
    """Initial positions (or velocities) of the lanes, (agents, dims, lanes); `tile` repeats the simulations.

    Raises:
        ValueError: for an array that does not broadcast to (sims, agents, dims) or is not finite, or a law of another
            number of coordinates.
    """
    dtype = jnp.result_type(float)
    shape = (sims.size // tile, plan.agents, plan.dims)
    stream = Stream.POSITION if velocity is None else Stream.VELOCITY
    name = "init" if velocity is None else "velocity"
    if isinstance(init, AbstractInit):
        if init.dims not in (None, 1, plan.dims):
            what = f"{type(init).__name__} has numbers of {init.dims} coordinates"
            raise ValueError(f"{name}: {what}, and dims={plan.dims}; give one number, or one a coordinate")
        with law_of_today(init, plan) as law:
            return law(seed, sims, plan.agents, plan.dims, dtype, stream, layout)
    if callable(init):
        raise TypeError(f"{name}={shown(init)}: must be a law of sdesim.init, a number or an array; a function is none")
    x = jnp.asarray(named(name, number)(init), dtype)
    try:
        x = jnp.broadcast_to(x, shape) if x.ndim in (0, 3) else jnp.broadcast_to(x[(None,) * (3 - x.ndim)], shape)
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"{name}: an array of shape {x.shape} does not fit (sims, agents, dims) = {shape}; give that shape, "
            "(agents, dims), (dims,), or a law of sdesim.init"
        ) from error
    return jnp.tile(jnp.moveaxis(x, 0, -1), (1, 1, tile))


def default_dims(model: Dynamics, init) -> int:
    """The number of dimensions where none is given: the objective's, else that of the initial states, else 1."""
    if isinstance(model, Dynamics) and model.objective.dims is not None:
        return model.objective.dims
    if isinstance(init, AbstractInit):
        return init.dims or 1
    points = isinstance(init, jax.Array | np.ndarray | Sequence)
    shape = named("init", number)(init).shape if points else ()
    return shape[-1] if shape and shape[-1] else 1


def check_memory(
    plan: Plan,
    model: Dynamics,
    lanes: int,
    steps: int,
    observables,
    limit: int | str | None,
    points: int = 1,
    *,
    exact: bool,
    work: bool = True,
) -> int:
    """Bytes that a run will hold, about; refused before anything is allocated if they are not there.

    What is held of each lane all the time, and, with `work`, what a step takes for as many lanes as are computed at a
    time; the model is traced for that.

    Raises:
        MemoryError: with what the run needs, what there is, and how to fit.
    """
    itemsize = jnp.dtype(jnp.result_type(float)).itemsize
    arrays = 1 if model.momentum is None else 2
    one = plan.agents * plan.dims * itemsize * (4 * arrays + 2)  # state at the chunk's start and end, work, results
    if plan.every is not None:
        records = 1 + steps // plan.every
        sizes = {"agent": plan.agents, "dim": plan.dims}
        for o in observables:
            if isinstance(o, AbstractSeries):
                shape = [sizes.get(a, 1) for a in o.axes]
                if getattr(o, "agents", None):
                    shape[0] = min(shape[0], o.agents)  # pyright: ignore[reportAttributeAccessIssue]
                one += 4 * records * math.prod(shape) * itemsize
            else:
                one += 4 * itemsize * (plan.agents * plan.dims + getattr(o, "bins", 0))
    step, shared = _work_of_step(plan, model) if work else (0, 0)

    def parts(count: int) -> tuple[int, int]:
        held, at_once = room(plan, count, exact)
        return one * held, step * at_once + shared

    state, working = parts(lanes)
    need = state + working
    have = available_memory() if limit is None else byte_count("memory", limit)
    if have is not None and need > have:
        most = have // one  # a whole number of blocks of which may fit, or a few lanes in a program of their own
        width = Blocks.of(1, plan.agents, plan.dims).width
        tries = [most // width * width - i * width for i in range(64)] + (
            [] if exact else list(range(VECTOR - 1, 0, -1))
        )
        fit = next((n for n in tries if 0 < n < lanes and sum(parts(n)) <= have), 0) // points
        advice = f"sims={fit} would fit" if fit > 0 else "fewer agents or dims, or a larger `every`, would be needed"
        if working > state:
            advice += ", or a loss that takes less work"
        given = "" if limit is None else f"memory={shown(limit)}: "
        raise MemoryError(
            f"{given}{lanes} simulations of {plan.agents} agents in {plan.dims} dimensions need about "
            f"{need / 2**30:.3g} GiB, {working / 2**30:.3g} of them for the work of a step, and "
            f"{have / 2**30:.3g} GiB are free: {advice}; run the rest with first_sim="
        )
    return need


_WORK: dict[Any, tuple[int, int]] = {}  # of models of a form: tracing a step takes as long as a short run


def _work_of_step(plan: Plan, model: Dynamics) -> tuple[int, int]:
    """Bytes that a step takes beside the state: of each lane, and of all."""
    key = (plan, form(model), jnp.result_type(float))
    if key not in _WORK:
        mean = ArrayMean(plan.agents)
        dtype = jnp.result_type(float)
        array = jax.ShapeDtypeStruct((plan.agents, plan.dims), dtype)
        state = jax.eval_shape(lambda x: model.init(x, mean), array)
        word = jax.ShapeDtypeStruct((), jnp.uint32)

        def step(state, sim):
            seed, number = jnp.zeros(2, jnp.uint32), jnp.zeros((), jnp.int32)
            return one_step(plan, model, state, sim, seed, number, jnp.ones((), dtype), 1, None)

        _WORK[key] = work_of(step, state, word)
    return _WORK[key]


def simulate(
    model: Dynamics,
    *,
    agents: int | None = None,
    sims: int | None = None,
    steps: int,
    dims: int | None = None,
    seed: int | None = None,
    init: AbstractInit | Result | Any = None,
    velocity: Any = None,
    dt: float | Array | None = None,
    order: Order = "jacobi",
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
    """Simulate a model by Euler-Maruyama.

    Args:
        model: the dynamics.
        agents, sims, dims: agents p of one simulation, independent simulations, dimensions d; 1 each by default, or
            those of the result that `init` continues.
        steps: number of steps.
        seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`; 0 by default. Noise depends on (seed,
            simulation, agent, step, coordinate) alone.
        init: a law of `sdesim.init`, a number, or an array (sims, agents, dims), (agents, dims) or (dims,); or a
            `Result`, which is continued where it ended, with the noise it would have had. All at 0 by default.
        velocity: initial velocities, as `init`: displacements in one iteration, or with `Friction` physical
            velocities. At rest by default.
        dt: length of a step. By default the model's matched step (eta, or sqrt(eta) with iteration momentum), at
            which Euler-Maruyama is the SGD iteration; smaller to resolve the SDE.
        order: "jacobi" or "gauss-seidel", see `sdesim.steps`.
        epoch: steps between two calls of the rule's `renew` with the agents' losses (the spikes of SD-QSGD).
        observe: observables of `sdesim.observe`. every: steps between two records; about a hundredth of `steps`.
        increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of variance dt each; the
            model's noise supplies the diffusion that multiplies them.
        first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        exact: whether a simulation's bits may depend on nothing but itself, even in a run of fewer than 16 simulations,
            which is faster in a program of its own that rounds elsewhere. By default they do not where `first_sim`
            is given; a continued run is computed as it was. Larger runs are exact on a CPU, outside of jit.
        fast: take float32 sines and cosines by polynomials, good to 2e-7 for arguments up to 1e3; False for XLA's.
        progress: show a bar with the time left, after two seconds.

    Returns:
        A `Result`. Simulations that became non-finite are kept and marked, and a `DivergenceWarning` says when.

    Raises:
        ValueError, TypeError: for a bad argument: its name, its value and what would be right.
        MemoryError: before allocating more than is free.
    """
    arguments = dict(
        agents=agents, sims=sims, dims=dims, seed=seed, init=init, velocity=velocity, first_sim=first_sim, exact=exact
    )
    run = dict(steps=steps, order=order, epoch=epoch, observe=observe, every=every, increments=increments, fast=fast)
    return _simulate(model, "em", 1, dt, arguments, run, memory, progress)


def iterate(
    model: Dynamics,
    *,
    agents: int | None = None,
    sims: int | None = None,
    steps: int,
    dims: int | None = None,
    seed: int | None = None,
    init: AbstractInit | Result | Any = None,
    velocity: Any = None,
    order: Order = "jacobi",
    period: int = 1,
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
    """Run the discrete algorithm of a model (`sdesim.steps.sgd_step`), with its own order and communication period.

    Arguments, results and errors are those of `simulate`, and so is the noise; `period` is the number of iterations
    between two communications (tau of Zhang's algorithms). `increments` are of unit variance.
    """
    check_count("period", period, most=random.MAX_STEPS)
    arguments = dict(
        agents=agents, sims=sims, dims=dims, seed=seed, init=init, velocity=velocity, first_sim=first_sim, exact=exact
    )
    run = dict(steps=steps, order=order, epoch=epoch, observe=observe, every=every, increments=increments, fast=fast)
    return _simulate(model, "sgd", period, None, arguments, run, memory, progress)


def _simulate(model, method, period, dt, arguments, run, memory, progress) -> Result:
    init, exact = arguments["init"], arguments.pop("exact")
    check_flags(fast=run["fast"], progress=progress, **({} if exact is None else {"exact": exact}))
    previous = init if isinstance(init, Result) else None
    if exact is None:  # what is one of a series, or goes on, must fit the rest to the last bit
        exact = arguments["first_sim"] is not None if previous is None else bool(previous.run["exact"])
    defaults = dict(agents=1, sims=1, dims=None, seed=0, first_sim=0)
    for name, default in defaults.items():
        given, kept = arguments[name], None if previous is None else previous.sizes[name]
        if name == "seed" and kept is not None and given is not None and not is_traced(given):
            given = random.seed_number(random.seed_words(given))
        if given is not None and kept is not None and given != kept:
            raise ValueError(f"{name}={given}: the result that init continues has {name}={kept}; leave it out")
        arguments[name] = given if given is not None else default if kept is None else kept
    if arguments["dims"] is None:
        arguments["dims"] = default_dims(model, init)
    sizes = check_sizes({**arguments, "steps": run["steps"]})
    run["steps"] = steps = sizes.pop("steps")
    arguments |= sizes
    agents, sims, dims, increments = sizes["agents"], sizes["sims"], sizes["dims"], run["increments"]
    plan, observables, dt = make_plan(
        model,
        agents=agents,
        dims=dims,
        method=method,
        dt=dt,
        **{k: run[k] for k in ("order", "epoch", "observe", "every", "steps", "fast")},
    )
    seed = random.seed_words(arguments["seed"])
    if not is_traced(seed):  # as a number, which a file can hold and a continued run can compare
        arguments["seed"] = random.seed_number(seed)
    first = 0 if previous is None else previous.step
    if first + steps > random.MAX_STEPS:
        raise ValueError(f"steps={steps}: with the {first} before, more than {random.MAX_STEPS} steps of one seed")
    check_records(observables, plan.every, first, steps)
    warn_of_stiffness(model, plan, dt, first, steps)
    numbers = random.sim_numbers(arguments["first_sim"], sims)
    given = None
    if increments is not None:
        increments = named("increments", number)(increments)
        if increments.shape != (steps, sims, agents, dims):
            raise ValueError(
                f"increments: must have shape (steps, sims, agents, dims) = {(steps, sims, agents, dims)}, "
                f"got {increments.shape}"
            )
        if (reason := model.noise.without_variance()) is not None:
            raise ValueError(f"increments: {reason}, so no Brownian motion has its covariance")
        given = lambda a, b: jnp.moveaxis(increments[a:b], 1, -1)
    still = jax.tree.map(lambda _: None, model)
    with today(model, still, observables, plan, given=given is not None) as (new, axes, watched):
        check_rates(new, plan, first, steps)
        check_memory(plan, new, sims, steps, observables, memory, exact=exact)
        mean = ArrayMean(agents)
        places = (init, arguments["velocity"]) if previous is None else previous.state
        layout = layout_of(plan, sims, exact, (eqx.filter((new, watched), eqx.is_array), seed, dt, increments, places))
        if previous is None:
            x = initial_lanes(new, Point(0.0) if init is None else init, plan, numbers, seed, layout=layout)
            v = None
            if arguments["velocity"] is not None:
                if model.momentum is None:
                    raise ValueError("velocity: the model has no momentum")
                v = initial_lanes(new, arguments["velocity"], plan, numbers, seed, velocity=True, layout=layout)
            state = start_lanes(new, axes, x, v, mean, layout)
        else:
            if arguments["velocity"] is not None:
                raise ValueError("velocity: the result that init continues has velocities; leave it out")
            state = previous.restart(new, mean)
        lanes = run_lanes(
            plan,
            new,
            axes,
            state,
            numbers,
            seed,
            first=first,
            steps=steps,
            layout=layout,
            observables=watched,
            dt=dt,
            period=period,
            increments=given,
            progress=progress,
        )
        if previous is not None:
            where = jnp.where if is_traced(previous.diverged) else np.where
            lanes.diverged = where(previous.diverged >= 0, previous.diverged, lanes.diverged)
        warn_of_divergence(lanes.diverged, arguments["first_sim"], remedy(new, axes, state.x, first, lanes.diverged))
        # Of a result, not its own arguments again: those of a run that is continued in a loop would double each time.
        said = repr(init) if previous is None else f"the result at step {previous.step}"
        said_of = {"dt": dt, "period": period if method == "sgd" else None, **run, "observe": run["observe"] or None}
        said_of |= {"exact": exact, **(arguments if previous is None else {})}
        said_of = {name: value for name, value in said_of.items() if value is not None}
        call = Call("sdesim.simulate" if method == "em" else "sdesim.iterate", {"model": model, **said_of})
        if previous is not None:
            call = call.once_more(previous.run["call"])
        called = {
            "dt": None if dt is None or is_traced(dt) else np.asarray(dt).tolist(),
            "init": said,
            "call": call,
            "model": model,
        }
        return Result.from_lanes(lanes, new, plan, arguments["seed"], arguments["first_sim"], period, called)


def start_lanes(model: Dynamics, axes, x: Array, v: Array | None, mean, layout: Blocks | None = None) -> State:
    """The state of lanes that start from positions `x` and displacements `v`, (agents, dims, lanes)."""
    return blocks.of_lanes(Partial(_start, mean), layout, model, axes, x, v)


def _start(mean, model: Dynamics, axes, x: Array, v: Array | None) -> State:
    return lanes(lambda m, x, v: m.init(x, mean, v), (axes, -1, -1))(model, x, v)
