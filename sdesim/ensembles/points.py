"""The points of a sweep: what is asked for, checked, and how simulations of some points are run.

Each (grid point, simulation) is a lane of the integrator. Points that differ in numbers of the model run in one
compiled program; those that differ in anything else, in sizes, in numbers of the stepper or of where agents start, or
in what is static, run one after another.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from sdesim.coupling import ArrayMean, Mean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.engine import vectorize
from sdesim.engine.run import Lanes
from sdesim.ensembles.designs import Design
from sdesim.ensembles.rules import Rule
from sdesim.ensembles.setup import Setup, check_rates, check_sizes, default_dims
from sdesim.fields import (
    check_choice,
    check_flags,
    described,
    field_names,
    named,
    number,
    numeric_fields,
    shown,
    static_numbers,
)
from sdesim.init import AbstractInit
from sdesim.observe import AbstractSeries, Center, Quorum, QuorumLoss, Spread, View, coordinates_of, labels_of
from sdesim.random import Generator, seed_number, seed_words
from sdesim.results.datasets import POINT, SIZES, attributes, dimension, grid_axis, with_summaries
from sdesim.results.recipe import Call
from sdesim.results.result import LABELS, Result, records_axis
from sdesim.steppers import AbstractStepper, stepper_of
from sdesim.sums import plain

STEPPER = "stepper."  # before the name of a number of the stepper
LAWS = ("init", "velocity")  # arguments that may be laws with numbers, "init.low"
RUN = ("dt", "epoch", "until")  # arguments that are numbers of the run
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


def stiffest(model: Dynamics, grid: Mapping[str, Sequence]) -> Dynamics:
    """The model with the largest value of every swept number: the stiffest, and of the form that all points have.

    Its values are put into the model, so that all are checked before anything runs.

    Args:
        model: the dynamics.
        grid: values by name.

    Returns:
        The model.

    Raises:
        ValueError: for values that do not fit.
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


def _on_lanes(model: Dynamics, columns: Mapping[str, Sequence], sims: int):
    """The model with a value for each lane in every swept leaf, and the vmap axes that say so."""
    axes = jax.tree.map(lambda _: None, model)
    absent = lambda leaf: leaf is None
    for name, values in columns.items():
        dtype = _leaf(with_value(model, name, values[0]), name).dtype
        lanes = jnp.asarray(np.repeat(np.moveaxis(np.asarray(values), 0, -1), sims, -1), dtype)
        model = eqx.tree_at(lambda m, n=name: _leaf(m, n), model, lanes, is_leaf=absent)
        axes = eqx.tree_at(lambda m, n=name: _leaf(m, n), axes, -1, is_leaf=absent)
    return model, axes


def checked_grid(
    model: Dynamics,
    stepper: AbstractStepper,
    grid: Mapping[str, Sequence],
    *,
    laws: Mapping[str, AbstractInit] | None = None,
    run: Iterable[str] = (),
    alone: Iterable[str] = (),
) -> dict[str, list]:
    """The grid with its values as lists, of whatever they were a sequence, series or array.

    Args:
        model: the dynamics.
        stepper: what one step is.
        grid: values by name, as for `sweep`.
        laws: whose numbers it may name too, by the name of the argument.
        run: of `RUN`, those that it may name too.
        alone: arguments that are the same for all points, unless they are among these.

    Returns:
        Values by name.

    Raises:
        TypeError: for values that are no numbers.
        ValueError: for unknown names, and for values that do not fit, or the same twice; for two names of one
            dimension.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    if not isinstance(grid, Mapping):
        raise TypeError(f"grid={shown(grid)}: must be values by name, such as {{'coupling.k': [0, 1, 2]}}")
    parts = {"": model, STEPPER: stepper, **{f"{name}.": law for name, law in (laws or {}).items()}}
    known = [prefix + name for prefix, part in parts.items() for name in (*numeric_fields(part), *static_numbers(part))]
    no_numbers = {prefix + name for prefix, part in parts.items() for name in field_names(part)} - set(known)
    known, checked = [*known, *SIZES, *run], {}
    for name, given in grid.items():
        if name in no_numbers:
            raise ValueError(f"grid={name!r}: is no number, and a grid has no other values; make a sweep of each")
        if name in alone and name not in known:
            raise ValueError(f"grid={name!r}: is one for all points; give {name}= beside the grid")
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
        elif name in numeric_fields(model) or name in run:
            named(f"grid[{name!r}]", number)(values)
        else:
            for value in values:
                with_number(parts, name, value)
        plain = np.asarray(values, float).reshape(len(values), -1)
        if len(np.unique(plain, axis=0)) < len(values):
            raise ValueError(f"{what}: each value must be there once")
        checked[name] = values
    check_dimensions(checked)
    return checked


def with_number(parts: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Parts of which one has another number.

    Args:
        parts: by what the names of their numbers begin with: "" the model, "stepper." the stepper, ...
        name: of the number.
        value: what it is to be.

    Returns:
        All parts.

    Raises:
        ValueError: for a value that does not fit.
        TypeError: likewise.
    """
    prefix = next((p for p in parts if p and name.startswith(p)), "")
    return {**parts, prefix: with_value(parts[prefix], name.removeprefix(prefix), value)}


def check_dimensions(names: Iterable[str]) -> None:
    """Refuse two names whose dimensions would be one: "noise.a_b" and "noise.a.b".

    Args:
        names: of a grid or a design.

    Raises:
        ValueError: naming both.
    """
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(dimension(name), name)) != name:
            both = f"{other!r} and {name!r} would both be the dimension {dimension(name)}"
            raise ValueError(f"grid: {both}; must be names of different ones, rename a field")


def coordinate(name: str, values: list) -> xr.Variable:
    """Values of a grid as labels: of float32 the decimals that they are but for rounding, so that 0.1 is found.

    Args:
        name: of the number.
        values: of it, from `checked_grid`.

    Returns:
        (values,), the coordinate; of values that are not single numbers it counts them.
    """
    flat = np.asarray(values)
    if flat.ndim > 1:
        return grid_axis(name, np.arange(len(values)), numbered=True)
    if flat.dtype.kind == "f" and flat.dtype.itemsize < 8:
        short = np.array([float(f"{v:.6g}") for v in flat])
        flat = np.where(np.abs(short - flat) <= 4 * np.spacing(np.abs(flat)), short, flat.astype(float))
    return grid_axis(name, flat)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that is asked for, checked but for what a run of it checks.

    Attributes:
        model: the dynamics.
        stepper: what one step is.
        grid: values by the names of the axes, in their order.
        given: the sizes that are no axes, by name.
        run: what else decides the numbers, by the names of `sdesim.sweep`'s arguments.
        how: the stepper as it was given.
        keep_agents: whether the final agents are kept.
        rule: until when simulations are added; None for as many as `sims`.
        design: points in place of a grid, which are the values of its one axis, "point"; None for a grid.
    """

    model: Dynamics
    stepper: AbstractStepper
    grid: dict[str, list]
    given: dict[str, Any]
    run: dict[str, Any]
    how: dict[str, Any]
    keep_agents: bool
    rule: Rule | None = None
    design: Design | None = None

    @classmethod
    def of(
        cls,
        model: Dynamics,
        grid: Mapping[str, Sequence] | Design,
        *,
        steps: Any,
        agents: Any,
        dims: Any,
        seed: Any,
        random: Generator | None,
        stepper: AbstractStepper | None,
        dt: float | None,
        order: Order | None,
        keep_agents: bool,
        first_sim: Any,
        exact: bool | None,
        fast: bool,
        most: Any = None,
        **run: Any,
    ) -> "Sweep":
        """Check what is asked for.

        Args:
            model: as all others, as for `sdesim.sweep`.
            grid: likewise.
            steps: likewise.
            agents: likewise.
            dims: likewise.
            seed: likewise.
            random: likewise.
            stepper: likewise.
            dt: likewise.
            order: likewise.
            keep_agents: likewise.
            first_sim: likewise.
            exact: likewise.
            fast: likewise.
            most: likewise.
            **run: likewise: sims, until, at, init, velocity, epoch, observe, every, increments.

        Returns:
            The sweep.

        Raises:
            TypeError: as `sdesim.sweep`.
            ValueError: likewise.
        """
        check_flags(keep_agents=keep_agents)
        how = dict(stepper=stepper, dt=dt, order=order)
        stepper = stepper_of(stepper, dt, order)
        design = grid if isinstance(grid, Design) else None
        laws = {name: run[name] for name in LAWS if isinstance(run[name], AbstractInit)}
        more: dict[str, Any] = dict(laws=laws, run=[name for name in RUN if name != "dt" or how["stepper"] is None])
        more["alone"] = {*run, *how, "seed", "random", "first_sim", "exact", "fast", "keep_agents"}
        if isinstance(grid, Design):
            axes, swept = _checked_design(model, stepper, grid, more), set(grid.names)
        else:
            axes = checked_grid(model, stepper, grid, **more)
            swept = set(axes)
        rule = None
        if isinstance(run["until"], str):
            rule, run["until"] = Rule.of(run["until"], run["sims"], most), None
        elif most is not None:
            raise ValueError(f"most={shown(most)}: must be left out, unless until= is a rule of errors")
        given = {"steps": steps, "agents": agents, "dims": dims}
        for name, value in {**given, **{name: run[name] for name in RUN if name != "dt"}, "dt": dt}.items():
            if name in swept and value is not None:
                raise ValueError(f"{name}={shown(value)}: is in the grid already; leave it out")
        if steps is None and run["until"] is None and run["at"] is None and not swept & {"steps", "until"}:
            raise ValueError("steps=None: give the number of steps, or put them in the grid")
        init = run["init"]
        given["agents"] = 1 if agents is None else agents
        given["dims"] = default_dims(model, init) if dims is None else dims
        if isinstance(init, Result):
            raise TypeError(
                "init: a result is of one model, and a sweep of many; give a law of sdesim.init or an array"
            )
        exact = first_sim is not None if exact is None else exact
        check_flags(exact=exact, fast=fast)
        first_sim = 0 if first_sim is None else first_sim
        words = seed_words(seed, random)
        run |= dict(fast=fast, seed=seed_number(words), random=words.generator, first_sim=first_sim, exact=exact)
        given = {name: value for name, value in given.items() if name not in swept}
        return cls(model, stepper, axes, given, run, how, bool(keep_agents), rule, design)

    @property
    def names(self) -> list[str]:
        """Of all that is swept."""
        return list(self.grid if self.design is None else self.design.names)

    @property
    def sizes(self) -> dict[str, list]:
        """Of the grid, what is no traced number of the model, and of which each choice is a run of its own."""
        if self.design is not None:
            return {} if set(self.design.names) <= set(numeric_fields(self.model)) else self.grid
        numbers = self.numbers
        return {name: values for name, values in self.grid.items() if name not in numbers}

    @property
    def numbers(self) -> dict[str, list]:
        """Of the grid, traced numbers of the model; of a design one value a point."""
        if self.design is not None:
            return {} if self.sizes else self.design.columns
        known = numeric_fields(self.model)
        return {name: values for name, values in self.grid.items() if name in known}

    def columns_of(self, at: Mapping[str, list]) -> dict[str, list]:
        """The numbers of the model that are swept, one a point.

        Args:
            at: of each axis the value at every point.

        Returns:
            By name.
        """
        if self.design is None:
            return {name: at[name] for name in self.numbers}
        return {name: [row[i] for row in at[POINT]] for i, name in enumerate(self.numbers)}

    def choices(self) -> list[dict[str, Any]]:
        """All choices of what is no traced number of the model, by name, the last one varying fastest."""
        return [dict(zip(self.sizes, point, strict=True)) for point in itertools.product(*self.sizes.values())]

    def at(self, here: Mapping[str, Any]) -> tuple[Dynamics, AbstractStepper, dict[str, Any]]:
        """The run at one choice of what is no traced number of the model.

        Args:
            here: the choice, by name.

        Returns:
            The model, the stepper, and arguments of `Setup.of`.
        """
        if self.design is not None:
            here = dict(zip(self.design.names, here[POINT], strict=True)) if here else {}
        run = {"steps": None, **self.given, **self.run}
        run["seed"] = seed_words(run["seed"], run.pop("random"))
        parts = {"": self.model, STEPPER: self.stepper, **{f"{name}.": run[name] for name in LAWS}}
        for name, value in here.items():
            if name == "dt":
                parts = with_number(parts, f"{STEPPER}dt", value)
            elif name in SIZES or name in RUN:
                run[name] = value
            else:
                parts = with_number(parts, name, value)
        return parts[""], parts[STEPPER], {**run, **{name: parts[f"{name}."] for name in LAWS}}

    @property
    def settings(self) -> dict[str, Any]:
        """All numbers and choices: what a file says of it."""
        values = {name: np.asarray(v).tolist() for name, v in self.grid.items()}
        return {**self.given, **self.how, **self.run, **self._ruled, "grid": values, "model": described(self.model)}

    @property
    def _ruled(self) -> dict[str, Any]:
        return {} if self.rule is None else {"until": str(self.rule), "most": self.rule.most}

    @property
    def call(self) -> Call:
        """The call that makes it."""
        values = {name: np.asarray(v).tolist() for name, v in self.grid.items()}
        observe = self.run["observe"] or None
        run = {**self.run, **self._ruled, "observe": observe}
        arguments = {"model": self.model, "grid": self.design or values, **self.given, **self.how, **run}
        return Call("sdesim.sweep", {name: value for name, value in arguments.items() if value is not None})


def tail_bytes(sweep: Sweep, setup: Setup) -> int:
    """Bytes that are kept of one simulation, about.

    Args:
        sweep: that it is of.
        setup: its run.
    """
    plan = setup.plan
    numbers = 2 * plan.dims + 4 + (plan.agents * plan.dims if sweep.keep_agents else 0)
    records = 1 if plan.every is None else 1 + setup.steps // plan.every
    for o in setup.observables:
        numbers += (records if isinstance(o, AbstractSeries) else 1) * o.numbers(plan.agents, plan.dims)
    times = 8 * records if setup.feed is not None and setup.until is None and plan.every is not None else 0
    return times + numbers * jnp.dtype(jnp.result_type(float)).itemsize  # each of its own: workers' clocks, in float64


def _checked_design(
    model: Dynamics, stepper: AbstractStepper, design: Design, more: Mapping[str, Any]
) -> dict[str, list]:
    """The points of a design, as values of one axis. more: what `checked_grid` is told beside."""
    for name, column in design.columns.items():
        checked_grid(model, stepper, {name: list(dict.fromkeys(column))}, **more)
    check_dimensions(design.names)
    if len(set(design.rows)) < len(design.rows):
        raise ValueError("grid: each point of a design must be there once")
    return {POINT: [list(row) for row in design.rows]}


def product_of(values: Mapping[str, Sequence]) -> dict[str, list]:
    """The numbers of all points of a grid, the last named varying fastest.

    Args:
        values: by name.

    Returns:
        Of each name the value at every point.
    """
    points = itertools.product(*values.values())
    return dict(zip(values, map(list, zip(*points, strict=True)), strict=True)) if values else {}


def run_points(
    sweep: Sweep,
    here: Mapping[str, Any],
    columns: Mapping[str, Sequence],
    *,
    of: Mapping[str, Sequence] | None = None,
    first: int = 0,
    sims: int | None = None,
    width: int | None = None,
    memory: int | str | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Simulations of some points, of one choice of sizes.

    Args:
        sweep: that they are of.
        here: the choice of what is no traced number of the model, by name.
        columns: the numbers of the model that are swept, by name, one a point.
        of: the different values of each, which are checked; `columns` by default.
        first: which of the sweep's simulations is the first, from 0.
        sims: how many there are; all by default.
        width: lanes of a block; None for what the sizes say.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        progress: show a bar.

    Returns:
        The data, (point, sim, ...), with attributes `path`, and `remedy`: what would help those that diverged.

    Raises:
        ValueError: as `sdesim.sweep`.
        TypeError: likewise.
        MemoryError: likewise.
    """
    of = columns if of is None else of
    points = len(next(iter(columns.values()))) if columns else 1
    model, stepper, run = sweep.at(here)
    run |= {"memory": memory, "width": width, **of_sims(run, first, sims)}
    setup = Setup.of(stiffest(model, of), stepper, **run, points=points)
    for name, values in of.items():  # the largest value may have an SDE where another has none
        for value in _telling(values):
            changed = with_value(model, name, value)
            try:
                stepper.check(changed)
            except ValueError as error:
                raise ValueError(f"{name}={value}: {error}") from error
            check_rates(changed, stepper, setup.plan.agents, 0, setup.steps)
    on_lanes, axes = _on_lanes(model, columns, setup.sims)
    with setup.run(on_lanes, axes, points, progress=progress, label="sweep") as ran:
        last = Partial(_finals, ran.stepper, ArrayMean(setup.plan.agents))
        finals = ran.lanes.sims_first(last)
        advice = ran.remedy(0)
    labels = labels_of((*FINALS, *setup.observables))
    data = _label(ran.lanes, finals, points, sweep.grid, setup, sweep.keep_agents, labels)
    data = data.assign_coords(coordinates_of(setup.observables))
    return data.assign_attrs(path=str(ran.lanes.path), remedy=advice)


def of_sims(run: Mapping[str, Any], first: int, sims: int | None) -> dict[str, Any]:
    """What of a run is of some of its simulations.

    Args:
        run: arguments of `Setup.of`.
        first: which of its simulations is the first, from 0.
        sims: how many there are; None for all.

    Returns:
        Those arguments that are others.

    Raises:
        ValueError: for arrays of another number of simulations.
    """
    every = run["sims"]
    if sims is None or (first == 0 and sims == every):
        return {}
    changed: dict[str, Any] = {"sims": sims, "first_sim": run["first_sim"] + first}
    for name, axis, ndim in (("init", 0, 3), ("velocity", 0, 3), ("increments", 1, 4)):
        value = run[name]
        if value is None or callable(value) or isinstance(value, AbstractInit) or np.ndim(value) != ndim:
            continue
        if (length := np.shape(value)[axis]) > 1:
            if length != every:
                raise ValueError(f"{name}: must have {every} simulations, got {length}")
            changed[name] = np.take(np.asarray(value), range(first, first + sims), axis)
    return changed


def combined(parts: list[xr.Dataset], sizes: dict[str, list]) -> xr.Dataset:
    """Nest the datasets of all sizes, the last named varying fastest; absent agents and dims become NaN.

    Args:
        parts: one a choice of sizes.
        sizes: values by name.

    Returns:
        One Dataset.
    """
    for name, values in reversed(sizes.items()):
        groups = [parts[i : i + len(values)] for i in range(0, len(parts), len(values))]
        along = coordinate(name, values).to_index_variable()
        parts = [xr.concat(group, dim=along, join="outer", combine_attrs="override") for group in groups]
    return parts[0]


def _finals(stepper: AbstractStepper, mean: Mean, model: Dynamics, axes: PyTree, state: State) -> dict[str, Array]:
    """What is said of the end of each lane."""

    def final(model: Dynamics, state: State) -> dict[str, Array]:
        view = View(state, jnp.zeros((), jnp.int32), model, mean, stepper.center(model, state, mean))
        return {o.name: o.value(view) for o in FINALS}

    return vectorize.lanes(final, (axes, -1))(model, state)


def _label(
    lanes: Lanes,
    final: dict[str, Array],
    points: int,
    names: Iterable[str],
    setup: Setup,
    keep_agents: bool,
    labels: dict[str, tuple[str, str]],
) -> xr.Dataset:
    """Lanes as labeled data, (point, sim, ...)."""
    lane_axes = ("point", "sim")
    unfold = lambda a: np.asarray(a).reshape(points, setup.sims, *np.shape(a)[1:])
    first = lambda a: unfold(np.moveaxis(np.asarray(a), -1, 0))
    variables: dict[str, Any] = {"diverged": (lane_axes, unfold(lanes.diverged))}
    if keep_agents:
        variables["agents"] = ((*lane_axes, "agent", "dim"), first(lanes.state.x))
    for name, value in final.items():
        variables[name] = ((*lane_axes, *(("dim",) if value.ndim > 1 else ())), unfold(value), attributes(labels[name]))
    taken = {*with_summaries(variables), *LABELS, *map(dimension, names)}
    for name, value in lanes.observed.items():
        value = plain(value)
        axes = Result.named_axes(name, lanes.axes[name], value.ndim - 1)
        said = attributes(labels.get(name))
        variables[f"{name}_series" if name in taken else name] = ((*lane_axes, *axes), first(value), said)
    coordinates: dict[str, Any] = {"dim": np.arange(setup.plan.dims), "sim": setup.first_sim + np.arange(setup.sims)}
    if keep_agents:
        coordinates["agent"] = np.arange(setup.plan.agents)
    if lanes.records.size:
        coordinates[records_axis(lanes.records)] = lanes.records
    return xr.Dataset(variables, coordinates)


def on_grid(data: xr.Dataset, numbers: Mapping[str, list]) -> xr.Dataset:
    """Data of points as data of a grid.

    Args:
        data: (point, ...), the last number varying fastest.
        numbers: values by name.

    Returns:
        The data, with a dimension for each name in place of "point".
    """
    counts = tuple(len(values) for values in numbers.values())
    labels = {dimension(name): coordinate(name, values) for name, values in numbers.items()}
    shaped = lambda v: ((*labels, *v.dims[1:]), v.values.reshape(*counts, *v.shape[1:]), v.attrs)
    variables = {name: shaped(v) for name, v in data.data_vars.items()}
    return xr.Dataset(variables, {**data.coords, **labels}, data.attrs)


def on_design(data: xr.Dataset, columns: Mapping[str, Sequence]) -> xr.Dataset:
    """Data of points with the numbers of each as coordinates.

    Args:
        data: (point, ...).
        columns: by name, one a point.

    Returns:
        The data.
    """
    labels = {dimension(name): grid_axis(name, np.asarray(values), along=POINT) for name, values in columns.items()}
    return data.assign_coords({POINT: grid_axis(POINT, np.arange(data.sizes[POINT])), **labels})
