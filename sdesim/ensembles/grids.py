"""`sweep`: one model over a grid of its numbers, as labeled data with Monte Carlo errors.

Numbers are traced, so a grid over them is one compiled program: each (grid point, simulation) is a lane of the
integrator. Sizes (agents, dims, steps) shape the program, so each of their values compiles once. Noise depends on
(seed, simulation, agent, step, coordinate) alone: all grid points see the same noise, and comparisons are paired.
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.coupling import ArrayMean, Mean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.engine import blocks, vectorize
from sdesim.engine.plan import Plan
from sdesim.engine.run import Lanes
from sdesim.ensembles.setup import Setup, check_rates, check_sizes, default_dims
from sdesim.ensembles.warnings import warn_of_divergence
from sdesim.fields import check_choice, check_flags, described, named, number, numeric_fields, shown
from sdesim.observe import AbstractObservable, Center, Quorum, QuorumLoss, Spread, View, coordinates_of, labels_of
from sdesim.results.datasets import attributes, describe
from sdesim.results.recipe import Call
from sdesim.results.result import LABELS, Result, records_axis
from sdesim.statistics import monte_carlo
from sdesim.steppers import AbstractStepper, stepper_of
from sdesim.sums import plain

STEPPER = "stepper."  # before the name of a number of the stepper
SIZES = {"agents": "n_agents", "dims": "n_dims", "steps": "n_steps"}
"""Sizes that a grid may name, and what their dimensions are called: "agents" is the name of the positions."""
FINALS = (Quorum(), Center(), Spread(), QuorumLoss())
"""What is said of the end of each lane."""
FEW = 100  # values of a number, of which each is put into the model to be checked


def with_value(module: Any, name: str, value: Any) -> Any:
    """The model with one number changed; checked as at construction.

    Args:
        module: a model, or a part of one.
        name: of the number, dotted.
        value: what it is to be.

    Returns:
        The new model.
    """
    head, _, rest = name.partition(".")
    return dataclasses.replace(module, **{head: with_value(getattr(module, head), rest, value) if rest else value})


def _leaf(module: Any, name: str) -> Any:
    """A number of a model by its dotted name."""
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _extreme(model: Dynamics, grid: Mapping[str, Sequence]) -> Dynamics:
    """The model with the largest value of every swept number: the stiffest, and of the form that all points have.

    Its values are put into the model, so that all are checked before anything runs.
    """
    for name, values in grid.items():
        values = _telling(values)
        changed = [np.asarray(_leaf(with_value(model, name, v), name)) for v in values]
        shapes = {a.shape for a in changed}
        if len(shapes) > 1:
            raise ValueError(f"{name}: all values of a sweep must have one shape, got {sorted(shapes)}")
        model = with_value(model, name, values[int(np.argmax([a.max() for a in changed]))])
    return model


def _telling(values: Sequence) -> Sequence:
    """Of many numbers those that show whether all are fit: what limits there are, the least or the greatest breaks."""
    if len(values) <= FEW or any(np.ndim(v) for v in values):
        return values
    numbers = np.asarray(values, float)
    return [values[i] for i in sorted({int(np.argmin(numbers)), int(np.argmax(numbers))})]  # NaN is both


def _on_lanes(model: Dynamics, grid: Mapping[str, Sequence], sims: int):
    """The model with a value for each lane in every swept leaf, and the vmap axes that say so."""
    axes = jax.tree.map(lambda _: None, model)
    points = np.array(list(itertools.product(*(range(len(v)) for v in grid.values()))), int)
    absent = lambda leaf: leaf is None
    for i, (name, values) in enumerate(grid.items()):
        dtype = _leaf(with_value(model, name, values[0]), name).dtype
        lanes = jnp.asarray(np.repeat(np.moveaxis(np.asarray(values)[points[:, i]], 0, -1), sims, -1), dtype)
        model = eqx.tree_at(lambda m, n=name: _leaf(m, n), model, lanes, is_leaf=absent)
        axes = eqx.tree_at(lambda m, n=name: _leaf(m, n), axes, -1, is_leaf=absent)
    return model, axes


def checked_grid(model: Dynamics, stepper: AbstractStepper, grid: Mapping[str, Sequence]) -> dict[str, list]:
    """The grid with its values as lists, of whatever they were a sequence, series or array.

    Args:
        model: the dynamics.
        stepper: what one step is.
        grid: values by name, as for `sweep`.

    Returns:
        Values by name.

    Raises:
        TypeError: for values that are no numbers.
        ValueError: for unknown names, and for values that do not fit, or the same twice.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    if not isinstance(grid, Mapping):
        raise TypeError(f"grid={shown(grid)}: must be values by name, such as {{'coupling.k': [0, 1, 2]}}")
    known, checked = [*numeric_fields(model), *SIZES, *(STEPPER + name for name in numeric_fields(stepper))], {}
    for name, given in grid.items():
        check_choice("grid", name, known)
        what = f"grid[{name!r}]={shown(given)}"
        sequence = hasattr(given, "__len__") and hasattr(given, "__iter__") and getattr(given, "ndim", 1) > 0
        if not sequence or isinstance(given, str | bytes | Mapping | set) or len(given) == 0:
            raise ValueError(f"{what}: must be a non-empty sequence of values")
        # pandas numbers a Series by its index, and JAX gives arrays one by one slowly
        values = list(given) if isinstance(given, list | tuple | range) else list(np.asarray(given))
        if any(v is None for v in values):
            raise ValueError(f"{what}: must be numbers; leave {name} out for its default")
        if name in SIZES:
            values = [check_sizes({name: v})[name] for v in values]
        elif name.startswith(STEPPER):
            for value in values:
                with_value(stepper, name.removeprefix(STEPPER), value)
        else:
            named(f"grid[{name!r}]", number)(values)
        plain = np.asarray(values, float).reshape(len(values), -1)
        if len(np.unique(plain, axis=0)) < len(values):
            raise ValueError(f"{what}: each value must be there once")
        checked[name] = values
    return checked


def coordinate(values: list) -> np.ndarray:
    """Values of a grid as labels: of float32 the decimals that they are but for rounding, so that 0.1 is found.

    Args:
        values: of one number, from `checked_grid`.

    Returns:
        (values,).
    """
    flat = np.asarray(values)
    if flat.ndim > 1:
        return np.arange(len(values))
    if flat.dtype.kind == "f" and flat.dtype.itemsize < 8:
        short = np.array([float(f"{v:.6g}") for v in flat])
        flat = np.where(np.abs(short - flat) <= 4 * np.spacing(np.abs(flat)), short, flat.astype(float))
    return flat


def sweep(
    model: Dynamics,
    grid: Mapping[str, Sequence],
    *,
    steps: int | None = None,
    until: float | None = None,
    at: Any = None,
    agents: int | None = None,
    sims: int = 1,
    dims: int | None = None,
    seed: Any = 0,
    init: Any = None,
    velocity: Any = None,
    stepper: AbstractStepper | None = None,
    dt: float | None = None,
    order: Order | None = None,
    epoch: int | None = None,
    observe: AbstractObservable | Sequence[AbstractObservable] = (),
    every: int | None = None,
    increments: Any = None,
    keep_agents: bool = True,
    first_sim: int | None = None,
    memory: int | str | None = None,
    exact: bool | None = None,
    fast: bool = True,
    progress: bool = False,
) -> xr.Dataset:
    """Simulate a model at every point of a grid.

    Args:
        model: the dynamics.
        grid: values by name: any number of the model by its dotted name ("coupling.k", "eta", "noise.half_width"),
            the sizes "agents", "dims" and "steps", and any number of the stepper ("stepper.protocol.period"). Numbers
            of the model run in one compiled program, those of the stepper one after another, sizes compile anew.
        steps: number of steps, unless the grid has it; of workers in virtual time, arrivals of each simulation.
        until: in place of steps, the second of virtual time at which runs of workers end.
        at: the moments at which such runs are recorded, in seconds, or how many, evenly spaced; 100 by default.
        agents: p of one simulation, unless the grid has it; 1 by default.
        sims: independent simulations at each point; 1 by default.
        dims: dimensions d, unless the grid has it; those of the objective or of `init`, else 1, by default.
        seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`: all points see the same noise.
        init: a law of `sdesim.init`, a number, or an array that broadcasts to (sims, agents, dims); all at 0 by
            default.
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
        every: steps between two records; about a hundredth of the steps by default.
        increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of variance dt each; the
            model's noise supplies the diffusion that multiplies them.
        keep_agents: keep the final agents (grid..., sim, agent, dim); turn off for large sweeps.
        first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        exact: whether a simulation's bits may depend on nothing but itself, even in a run of fewer than 16 lanes, as
            for `simulate`; by default where `first_sim` is given.
        fast: take float32 sines and cosines by polynomials, good to 2e-7 for arguments up to 1e3; False for XLA's.
        progress: show a bar with the time left, after two seconds.

    Returns:
        A Dataset whose dimensions are the grid's names (sizes as n_agents, n_dims, n_steps), then sim, agent, dim.
        Variables: `agents`, `quorum`, `center`, `spread` (sum_i |x^i - quorum|^2) and `quorum_loss` at the end, what
        `observe` recorded, `diverged` (first non-finite step or -1); and of each that has no agent axis its mean over
        simulations `NAME_mean` and Monte Carlo standard error `NAME_stderr`. Where sizes differ, what a point does not
        have is NaN.

    Raises:
        TypeError: as `simulate`.
        ValueError: for unknown names (with the nearest known), empty or unfit values, and as `simulate`.
        MemoryError: as `simulate`.
    """
    check_flags(keep_agents=keep_agents, progress=progress)
    how = dict(stepper=stepper, dt=dt, order=order)
    stepper = stepper_of(stepper, dt, order)
    grid = checked_grid(model, stepper, grid)
    sizes = {name: values for name, values in grid.items() if name in SIZES or name.startswith(STEPPER)}
    numbers = {name: values for name, values in grid.items() if name not in sizes}
    given = {"steps": steps, "agents": agents, "dims": dims}
    for name in sizes:
        if given.get(name) is not None:
            raise ValueError(f"{name}={given[name]}: is in the grid already; leave it out")
    if steps is None and until is None and at is None and "steps" not in sizes:
        raise ValueError("steps=None: give the number of steps, or put them in the grid")
    given["agents"] = 1 if agents is None else agents
    given["dims"] = default_dims(model, init) if dims is None else dims
    if isinstance(init, Result):
        raise TypeError("init: a result is of one model, and a sweep of many; give a law of sdesim.init or an array")
    exact = first_sim is not None if exact is None else exact
    check_flags(exact=exact, fast=fast)
    first_sim = 0 if first_sim is None else first_sim
    seed = random.seed_number(random.seed_words(seed))
    run = dict(until=until, at=at, epoch=epoch, observe=observe, every=every, increments=increments, fast=fast)
    run |= dict(sims=sims, seed=seed, init=init, velocity=velocity, first_sim=first_sim, exact=exact)
    parts, began = [], time.perf_counter()
    for point in itertools.product(*sizes.values()):
        here = dict(zip(sizes, point, strict=True))
        sized = {**given, **{name: value for name, value in here.items() if name in SIZES}}
        stepping = stepper
        for name in here.keys() - SIZES.keys():
            stepping = with_value(stepping, name.removeprefix(STEPPER), here[name])
        parts.append(_one_size(model, numbers, stepping, {**sized, **run, "memory": memory}, keep_agents, progress))
    data = _combine(parts, {SIZES.get(name, name): list(values) for name, values in sizes.items()})
    data = data.transpose(*(SIZES.get(name, name) for name in grid), ...)
    remedies = [part.attrs["remedy"] for part in parts if (part["diverged"] >= 0).any()]
    warn_of_divergence(data["diverged"].values, first_sim, "; ".join(dict.fromkeys(remedies)))
    values = {name: np.asarray(v).tolist() for name, v in grid.items()}
    kept = {name: value for name, value in given.items() if name not in sizes}
    settings = {**kept, **how, **run, "grid": values, "model": described(model)}
    paths = "; ".join(dict.fromkeys(part.attrs["path"] for part in parts))
    arguments = {"model": model, "grid": values, **kept, **how, **run, "observe": observe or None}
    call = Call("sdesim.sweep", {name: value for name, value in arguments.items() if value is not None})
    return describe(data, "sweep", settings, call, path=paths, seconds=time.perf_counter() - began)


def _combine(parts: list[xr.Dataset], sizes: dict[str, list]) -> xr.Dataset:
    """Nest the datasets of all sizes, the last named varying fastest; absent agents and dims become NaN."""
    for name, values in reversed(sizes.items()):
        groups = [parts[i : i + len(values)] for i in range(0, len(parts), len(values))]
        along = xr.IndexVariable(name, values)
        parts = [xr.concat(group, dim=along, join="outer", combine_attrs="override") for group in groups]
    return parts[0]


def _one_size(
    model: Dynamics,
    numbers: dict[str, list],
    stepper: AbstractStepper,
    run: dict[str, Any],
    keep_agents: bool,
    progress: bool,
) -> xr.Dataset:
    """All numeric grid points at one choice of sizes."""
    points = math.prod(len(values) for values in numbers.values())
    setup = Setup.of(_extreme(model, numbers), stepper, **run, points=points)
    for name, values in numbers.items():  # the largest value may have an SDE where another has none
        for value in _telling(values):
            changed = with_value(model, name, value)
            try:
                stepper.check(changed)
            except ValueError as error:
                raise ValueError(f"{name}={value}: {error}") from error
            check_rates(changed, stepper, setup.plan.agents, 0, setup.steps)
    on_lanes, axes = _on_lanes(model, numbers, setup.sims)
    with setup.run(on_lanes, axes, points, progress=progress, label="sweep") as ran:
        last = Partial(_finals, ran.stepper, ArrayMean(setup.plan.agents))
        finals = blocks.sims_first(ran.of_lanes(last, ran.lanes.state))
        advice = ran.remedy(0)
    labels = labels_of((*FINALS, *setup.observables))
    data = _label(ran.lanes, finals, numbers, setup.sims, keep_agents, setup.plan, setup.first_sim, labels)
    data = data.assign_coords(coordinates_of(setup.observables))
    data.attrs |= {"path": str(ran.lanes.path), "remedy": advice}
    return data


def _finals(stepper: AbstractStepper, mean: Mean, model: Dynamics, axes: PyTree, state: State) -> dict[str, Array]:
    """What is said of the end of each lane."""

    def final(model: Dynamics, state: State) -> dict[str, Array]:
        view = View(state, jnp.zeros((), jnp.int32), model, mean, stepper.center(model, state, mean))
        return {o.name: o.value(view) for o in FINALS}

    return vectorize.lanes(final, (axes, -1))(model, state)


def _label(
    lanes: Lanes,
    final: dict[str, Array],
    numbers: dict[str, list],
    sims: int,
    keep_agents: bool,
    plan: Plan,
    first_sim: int,
    labels: dict[str, tuple[str, str]],
) -> xr.Dataset:
    """Lanes as a labeled Dataset, with means and standard errors over the simulations."""
    names = tuple(numbers)
    counts = tuple(len(v) for v in numbers.values())
    lane_axes = (*names, "sim")
    unfold = lambda a: np.asarray(a).reshape(*counts, sims, *np.shape(a)[1:])
    first = lambda a: unfold(np.moveaxis(np.asarray(a), -1, 0))
    variables: dict[str, Any] = {"diverged": (lane_axes, unfold(lanes.diverged))}
    if keep_agents:
        variables["agents"] = ((*lane_axes, "agent", "dim"), first(lanes.state.x))
    for name, value in final.items():
        variables[name] = ((*lane_axes, *(("dim",) if value.ndim > 1 else ())), unfold(value), attributes(labels[name]))
    taken = {*variables, *LABELS, *names}
    for name, value in lanes.observed.items():
        value = plain(value)
        axes = Result.named_axes(name, lanes.axes[name], value.ndim - 1)
        said = attributes(labels.get(name))
        variables[f"{name}_series" if name in taken else name] = ((*lane_axes, *axes), first(value), said)
    coordinates: dict[str, Any] = {"dim": np.arange(plan.dims), "sim": first_sim + np.arange(sims)}
    if keep_agents:
        coordinates["agent"] = np.arange(plan.agents)
    if lanes.records.size:
        coordinates[records_axis(lanes.records)] = lanes.records
    for name, values in numbers.items():
        coordinates[name] = coordinate(values)
    return with_errors(xr.Dataset(variables, coordinates))


def with_errors(data: xr.Dataset) -> xr.Dataset:
    """The data with the mean over simulations, and its standard error, of all that has no agent axis.

    Args:
        data: with a dimension "sim".

    Returns:
        The data, with `NAME_mean` and `NAME_stderr` of each such variable.
    """
    summaries: dict[str, Any] = {}
    for name, value in data.data_vars.items():
        if name == "diverged" or any(str(a).endswith("agent") for a in value.dims):
            continue
        mean, stderr = monte_carlo(value.values, axis=value.dims.index("sim"))
        rest = tuple(a for a in value.dims if a != "sim")
        summaries[f"{name}_mean"], summaries[f"{name}_stderr"] = (rest, mean), (rest, stderr)
    return data.assign(summaries)
