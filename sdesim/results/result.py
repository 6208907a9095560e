"""What a run returns: arrays with the simulation axis first, labeled data, and files that a run continues from."""

import dataclasses
import functools
import html
import os
import re
import textwrap
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim.contents import digest
from sdesim.dynamics import Dynamics, State
from sdesim.fields import described, is_traced, made_of, numeric_fields, shown, warn
from sdesim.random import said_in
from sdesim.results.datasets import (
    attributes,
    describe,
    label_of,
    read_described,
    with_errors,
    with_summaries,
    write_dataset,
)
from sdesim.results.recipe import Call
from sdesim.statistics import mean_of, monte_carlo, paired
from sdesim.steppers import AbstractStepper
from sdesim.sums import Sum

_SHARED = "shared_"
SCREEN = 100  # characters of a line
COORDINATES = 3  # of many, whose means are shown on a screen
LABELS = ("sim", "agent", "dim", "step")
"""Coordinates of results, which no variable may be called."""
FINAL = ("agents", "quorum", "center", "velocity", "spread", "quorum_loss", "diverged")
"""What is so at the end of a run, in labeled data of a result and of a sweep: what was recorded has another name."""
OF_THE_END = {
    "spread": ("length^2", "sum over agents of the squared distance from their mean"),
    "quorum_loss": ("length^2 / time", "loss at the mean of the agents"),
}
"""Units and meaning of those whose name is also an observable's."""


def _over_simulations(name: str) -> tuple[property, property]:
    """Mean of an attribute over simulations, and its standard error, as a sweep has them at each point."""
    found = lambda self: (None, None) if getattr(self, name) is None else monte_carlo(getattr(self, name))
    mean = property(lambda self: found(self)[0], doc=f"Mean over simulations of `{name}`, in NumPy.")
    return mean, property(lambda self: found(self)[1], doc=f"Standard error of `{name}_mean`; NaN of one simulation.")


@dataclasses.dataclass(eq=False, repr=False)
class Result:
    """The outcome of `simulate`.

    Means over simulations and their Monte Carlo errors are named as at a point of a sweep: `quorum_mean`,
    `quorum_stderr`, and so of `center`, `spread` and `quorum_loss`.

    Attributes:
        agents: final positions, (sims, agents, dims).
        quorum: their mean over agents, (sims, dims).
        center: the signal that the coupling pulls towards, (sims, dims): EASGD's center variable, a tree's root.
        velocity: final velocities in units of the SDE, (sims, agents, dims), or None without momentum. NaN after an
            iteration at learning rate 0, whose displacements took no time.
        spread: sum over agents of their final squared distances from their mean, (sims,).
        quorum_loss: final loss at the mean of the agents, (sims,); None from a file of a version that did not keep it.
        observed: what `observe` recorded, by name, simulation axis first.
        observed_axes: by the same names, the names of the axes after that.
        observed_labels: by the same names, units and meaning, of what states them.
        observed_coordinates: by the names of axes in labeled data, the values along them, of what states them.
        records: the steps of the series' records, or of a run by seconds the moments.
        moments: the coupling's time at these steps, (records,); None where it is not known beforehand: of workers in
            virtual time, of traced numbers, and from files of a version that did not keep it.
        diverged: (sims,), the first step after which a simulation was not finite, -1 if it stayed finite.
        step: number of steps taken since the start of the run that this one continued.
        seed: of all random numbers.
        first_sim: number of the first simulation.
        seconds: that the run took.
        state: from which a run continues, simulations on the last axis.
        run: how it was called, with the model; what ran before, where a result of another model was continued.
    """

    agents: Array
    quorum: Array
    center: Array
    velocity: Array | None
    spread: Array
    quorum_loss: Array | None
    observed: dict[str, Any]
    observed_axes: dict[str, tuple[str, ...]]
    observed_labels: dict[str, tuple[str, str]]
    observed_coordinates: dict[str, np.ndarray]
    records: np.ndarray
    moments: np.ndarray | None
    diverged: np.ndarray
    step: int
    seed: Any
    first_sim: int
    seconds: float
    state: State  # simulations on the last axis
    run: dict[str, Any]  # how it was called, with the model

    @property
    def sizes(self) -> dict[str, Any]:
        """What a run that continues this one keeps: agents, sims, dims, seed, random and first_sim."""
        sims, agents, dims = self.agents.shape
        noise = {"seed": self.seed, "random": said_in(self.run), "first_sim": self.first_sim}
        return {"agents": agents, "sims": sims, "dims": dims, **noise}

    quorum_mean, quorum_stderr = _over_simulations("quorum")
    center_mean, center_stderr = _over_simulations("center")
    spread_mean, spread_stderr = _over_simulations("spread")
    quorum_loss_mean, quorum_loss_stderr = _over_simulations("quorum_loss")

    @property
    def time(self) -> Array:
        """Of the coupling, (sims,)."""
        return self.state.time

    def ran_before(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The models and steppers that another run would continue, which are not its own, each with its last step.

        Args:
            run: what `Result.run` is of the run that continues this one.

        Returns:
            In the order in which they ran; nothing where all steps are of one model.
        """
        before = self.run.get("before", [])
        if not unlike(run, self.run):
            return before
        return [*before, {"step": self.step, "model": _said_of(self.run["model"]), **stepped(self.run)}]

    def restart(self, model: Dynamics, stepper: AbstractStepper, asked: tuple[Dynamics, AbstractStepper]) -> State:
        """The state from which a model goes on, checked to be of the same form.

        Args:
            model: the model that continues.
            stepper: what its steps are.
            asked: both as they were given, before users' functions were traced: what an error says.

        Returns:
            The state, simulations on the last axis.

        Raises:
            ValueError: where the model that continues has other state than the one that ran.

        Warns:
            UserWarning: where numbers of float64 are rounded to float32.
        """
        x = jax.ShapeDtypeStruct(self.state.x.shape, jnp.result_type(float))
        fresh = jax.eval_shape(jax.vmap(lambda x: stepper.init(model, x), in_axes=-1, out_axes=-1), x)
        shapes = [a.shape for a in jax.tree.leaves(fresh)]
        leaves = jax.tree.leaves(self.state)
        if len(leaves) == len(shapes):
            leaves = [_roomier(*of) for of in zip(leaves, shapes, jax.tree.leaves(stepper.room(fresh)), strict=True)]
        if shapes != [a.shape for a in leaves]:
            why = _other_state(*asked, self.run) or f"{[a.shape for a in leaves]} where {shapes} is needed"
            raise ValueError(
                f"init: the result to continue has another state than what would go on: {why}; "
                "init=result.agents begins a new run there"
            )
        kinds = [a.dtype for a in jax.tree.leaves(fresh)]  # a float32 result goes on in float64 if x64 is on
        if any(a.dtype == np.float64 and kind == np.float32 for a, kind in zip(leaves, kinds, strict=True)):
            warn(
                "init: the result to continue is of float64, and goes on rounded to float32; to keep its digits set "
                "JAX_ENABLE_X64=1, or continue it within jax.enable_x64(True)",
                UserWarning,
            )
        leaves = [jnp.asarray(a, kind) for a, kind in zip(leaves, kinds, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(fresh), leaves)

    @property
    def settings(self) -> dict[str, Any]:
        """How the run was called, with the model's parts and numbers: what a file says of it."""
        init = self.run["init"]
        said = init if isinstance(init, str) else repr(init)
        return {**self.run, "model": _said_of(self.run["model"]), "init": said, "call": str(self.run["call"])}

    @staticmethod
    def named_axes(name: str, axes: tuple[str, ...], count: int) -> tuple[str, ...]:
        """Names of the axes of one simulation's value: those that differ in size between observables say whose.

        Args:
            name: of the observable.
            axes: the first of them, as the observable calls them.
            count: how many there are.

        Returns:
            One name each.
        """
        axes = (*axes, *(f"axis{i}" for i in range(count - len(axes))))
        return tuple(a if a in ("step", "time", "dim") else f"{name}_{a}" for a in axes)

    def to_xarray(self) -> xr.Dataset:
        """All of it as a labeled Dataset, with provenance in the attributes.

        What is so at the end is `agents`, `quorum`, `center`, `velocity`, `spread`, `quorum_loss`, with `NAME_mean` and
        `NAME_stderr` over simulations of what is not of single agents; what was recorded
        over "step" has its observable's name, or NAME_series where that is one of these. `time` along "step" is the
        coupling's; of workers in virtual time it is in seconds, by simulation, or the dimension itself.
        """
        sim = self.first_sim + np.arange(self.agents.shape[0])
        variables: dict[str, Any] = {
            "agents": (("sim", "agent", "dim"), np.asarray(self.agents)),
            "quorum": (("sim", "dim"), np.asarray(self.quorum)),
            "center": (("sim", "dim"), np.asarray(self.center)),
            "spread": (("sim",), np.asarray(self.spread), attributes(OF_THE_END["spread"])),
            "diverged": (("sim",), self.diverged),
        }
        if self.velocity is not None:
            variables["velocity"] = (("sim", "agent", "dim"), np.asarray(self.velocity))
        if self.quorum_loss is not None:
            variables["quorum_loss"] = (("sim",), np.asarray(self.quorum_loss), attributes(OF_THE_END["quorum_loss"]))
        variables = {str(name): value for name, value in with_errors(xr.Dataset(variables)).variables.items()}
        taken = {*with_summaries(FINAL), *LABELS}
        for name, value in self.observed.items():
            axes = self.named_axes(name, self.observed_axes[name], value.ndim - 1)
            said = attributes(self.observed_labels.get(name))
            variables[f"{name}_series" if name in taken else name] = (("sim", *axes), np.asarray(value), said)
        for i, leaf in enumerate(jax.tree.leaves(self.state)):
            variables[f"{_SHARED}{i}"] = (
                (*(f"{_SHARED}{i}_{n}" for n in range(leaf.ndim - 1)), "sim"),
                np.asarray(leaf),
            )
        numbers = {"seed": self.seed, "first_sim": self.first_sim, "step": self.step, "seconds": self.seconds}
        places = {name: np.arange(n) for name, n in zip(("agent", "dim"), self.agents.shape[1:], strict=True)}
        coordinates: dict[str, Any] = {"sim": sim, **places, **self.observed_coordinates}
        if self.records.size:
            coordinates[records_axis(self.records)] = self.records
        if self.moments is not None and "time" not in self.observed:
            coordinates["time"] = ("step", self.moments, attributes(("time", "time of the coupling")))
        data = xr.Dataset(variables, coordinates)
        if self.moments is None and "time" in data.variables:
            data = data.set_coords("time")  # of workers, whose records are at other seconds in each simulation
            data["time"].attrs = attributes(("s", "time of the workers"))
        own = {"path": self.run.get("path"), "observed_axes": self.observed_axes, **numbers}
        return describe(data, "run", self.settings, self.run["call"], **own)

    def __repr__(self) -> str:
        """What ran, how, how long and how it ended, on a screen."""
        rows = self._says()
        wide = max(map(len, rows))
        fill = functools.partial(textwrap.fill, width=SCREEN, max_lines=3, placeholder=" ...", break_on_hyphens=False)
        started = {name: f"  {name.ljust(wide)}  " for name in rows}
        filled = [
            fill(rows[name], initial_indent=head, subsequent_indent=" " * len(head)) for name, head in started.items()
        ]
        return "\n".join(["<sdesim.Result>", *filled])

    def _repr_html_(self) -> str:
        """The same as a table, with all labeled data to be unfolded."""
        cell = lambda text: f"<td style='text-align:left'>{html.escape(text)}</td>"
        rows = [f"<tr><th style='text-align:left'>{html.escape(n)}</th>{cell(t)}</tr>" for n, t in self._says().items()]
        data = "" if is_traced((self.agents, self.observed)) else self.to_xarray()._repr_html_()
        return f"<table>{''.join(rows)}</table><details><summary>labeled data</summary>{data}</details>"

    def _says(self) -> dict[str, str]:
        """What a reader wants to know first, in a few lines by name."""
        sims, agents, dims = self.agents.shape
        many = lambda count, what: f"{count} {what}{'' if count == 1 else 's'}"
        model = self.run["model"]
        parts = " ".join(repr(model).split()) if is_traced(model) else _written(_said_of(model))
        ended = f"after {many(self.step, 'step')}"
        if self.moments is not None or self.run.get("until") is None:
            ended += "" if is_traced(self.time) else f", at time {float(np.asarray(self.time).max(initial=0)):.6g}"
        else:
            ended += f", {self.run['until']:g} s of virtual time"
        here = [name for name in FINAL[:-1] if getattr(self, name) is not None]
        axis = records_axis(self.records)
        last = self.first_sim + sims - 1
        seen = (
            f"{', '.join(self.observed)}; {many(self.records.size, 'record')} over {axis}"
            if self.observed
            else "nothing"
        )
        device = self.run.get("device")  # not there in files of a version that did not say it
        how = (f"{self.agents.dtype}{f' on {device}' if device else ''}", self.run.get("path"))
        before = "; ".join(
            f"to step {ran['step']}: {_written(ran['model'])}, {_steps_of(ran)}" for ran in self.run.get("before", ())
        )
        return {
            "what": f"{many(sims, 'simulation')} of {many(agents, 'agent')} in {many(dims, 'dimension')}, {ended}",
            "model": parts,
            "steps": _steps_of(self.run),
            **({"before": before} if before else {}),
            "computed": f"in {self.seconds:.3g} s, {'; '.join(str(said) for said in how if said)}",
            "diverged": self._diverged(),
            **({} if is_traced(self.agents) else {"means": self._means()}),
            "noise": f"seed {self.seed}, simulations {self.first_sim} to {last}, by {said_in(self.run)}",
            "at the end": ", ".join(here),
            "recorded": seen,
        }

    def _means(self) -> str:
        """What is at the end, as means over simulations with their standard errors."""
        said: dict[str, str] = {}
        for name in ("quorum", "center", "spread", "quorum_loss"):
            if (values := getattr(self, name)) is None:
                continue
            few = values[:, :COORDINATES].T if values.ndim > 1 else values[None]  # of many coordinates the first
            each = [_with_error(np.asarray(value)) for value in few]
            each += ["..."] if values.ndim > 1 and values.shape[1] > COORDINATES else []
            said[name] = f"({', '.join(each)})" if len(each) > 1 else each[0]
        if said["center"] == said["quorum"]:
            del said["center"]
        return ", ".join(f"{name} {value}" for name, value in said.items())

    def _diverged(self) -> str:
        """How many simulations diverged, and when the first."""
        if is_traced((self.agents, self.diverged)):
            return "not known within a transformation of JAX"
        lost = np.flatnonzero(np.asarray(self.diverged) >= 0)
        if not lost.size:
            return "none"
        first = lost[np.argmin(np.asarray(self.diverged)[lost])]
        when = int(np.asarray(self.diverged)[first])
        return f"{lost.size} of {len(self.diverged)}, the first at step {when} (simulation {self.first_sim + first})"

    def sel(self, **where: Any) -> xr.Dataset:
        """Labeled data of some of it by labels: `to_xarray().sel`.

        Args:
            **where: labels along "sim", "agent", "dim", "step" and the axes of what was recorded.

        Returns:
            The data there.

        Raises:
            KeyError: for labels that are none, and dimensions that are none.
        """
        return self.to_xarray().sel(**where)

    def isel(self, **where: Any) -> xr.Dataset:
        """Labeled data of some of it by places: `to_xarray().isel`.

        Args:
            **where: places along the dimensions, from 0.

        Returns:
            The data there.

        Raises:
            ValueError: for dimensions that are none.
        """
        return self.to_xarray().isel(**where)

    def paired(self, other: "Result", *, names: tuple[str, str] = ("one", "other")) -> xr.Dataset:
        """The difference from another run of the same noise, simulation by simulation, with its error.

        Simulations of one number and one seed see the same noise, whatever the model: their difference is known far
        better than that of independent runs, as long as the models do not drive them apart.

        Args:
            other: what is subtracted: of the same seed, simulations and agents.
            names: what this and the other are called in labels.

        Returns:
            As `sdesim.statistics.paired`, of all that both have.

        Raises:
            TypeError: for what is no result.
            ValueError: where they are not paired.
        """
        if not isinstance(other, Result):
            raise TypeError(f"other={shown(other)}: must be a result of sdesim")
        for name in ("seed", "random", "first_sim", "sims", "agents", "dims"):
            mine, its = self.sizes[name], other.sizes[name]
            if mine != its:
                raise ValueError(f"other: has {name}={its!r}, and must have {name}={mine!r} to be paired with this")
        own = lambda result: result.to_xarray().drop_vars([v for v in result.to_xarray() if str(v).startswith(_SHARED)])
        return paired(own(self), own(other), names=names)

    def then(self, longer: "Result") -> "Result":
        """This run and one that continues it, as one: what was recorded is joined.

        Args:
            longer: of `simulate(model, init=this, ...)`, with the same series.

        Returns:
            The result of `longer`, with the series of both, and the seconds of both. What sums up over a run (moments,
            histograms, occupancies) is of neither, and left out.

        Raises:
            TypeError: for what is no result.
            ValueError: where it continues another run, goes on by another model or stepper, or recorded other series.
        """
        if not isinstance(longer, Result):
            raise TypeError(f"longer={shown(longer)}: must be a result of sdesim that continues this one")
        for name, value in self.sizes.items():
            if longer.sizes[name] != value:
                raise ValueError(
                    f"longer: has {name}={longer.sizes[name]!r}, and must have {name}={value!r} to continue this"
                )
        if why := unlike(longer.run, self.run):
            raise ValueError(f"longer: its model and stepper must be those that ran; {why}")
        series = lambda result: {n: a for n, a in result.observed_axes.items() if a[:1] in (("step",), ("time",))}
        if series(self) != series(longer):
            names = [", ".join(series(result)) or "nothing" for result in (self, longer)]
            raise ValueError(f"longer: recorded {names[1]}, and must have recorded {names[0]} as this did")
        axis = records_axis(self.records)
        first = longer.records[0] if longer.records.size else longer.step
        fits = first == self.step if axis == "step" else first >= self.records[-1]
        if longer.step < self.step or (longer.records.size and not fits):
            raise ValueError(f"longer: begins at {axis} {first}, and must begin where this ends, at {axis} {self.ends}")
        again = int(longer.records.size and self.records.size and self.records[-1] == first)  # recorded twice
        both = lambda one, two: np.concatenate([np.asarray(one), np.asarray(two)[:, again:]], axis=1)
        known = self.moments is not None and longer.moments is not None
        return dataclasses.replace(
            longer,
            observed={name: both(self.observed[name], longer.observed[name]) for name in series(self)},
            observed_axes=series(self),
            observed_labels={n: label for n, label in longer.observed_labels.items() if n in series(self)},
            records=np.concatenate([self.records, longer.records[again:]]),
            moments=np.concatenate([self.moments, longer.moments[again:]]) if known else None,  # pyright: ignore
            seconds=self.seconds + longer.seconds,
        )

    @property
    def ends(self) -> float:
        """Where it ended: its step, or of a run by seconds its last moment."""
        return self.step if records_axis(self.records) == "step" else float(self.records[-1])

    def save(self, path: str | os.PathLike) -> None:
        """Write to a netCDF file, whole or not at all; `sdesim.load` reads it back.

        Args:
            path: of the file.

        Raises:
            FileNotFoundError: if its folder does not exist.
            WriteError: if it cannot be written; what was there before is untouched.
        """
        write_dataset(self.to_xarray(), path)


_TRACED = "# within a transformation of JAX, whose values are not known here"


class _Said:
    """What a result says of its run beside arrays, which JAX compares and hashes: equal where it computes the same."""

    def __init__(self, said: dict[str, Any]):
        self.said = said
        computes = {
            name: value for name, value in said["run"].items() if name not in ("call", "init", "path", "device")
        }
        self.key = digest({**said, "seconds": None, "run": computes})

    def __eq__(self, other: object):
        return isinstance(other, _Said) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


def _flatten(result: Result):
    whole = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    run = whole.pop("run")
    model, kept = None, run["model"]  # of a result from a file, a description
    if isinstance(kept, Dynamics):
        model, kept = eqx.partition(kept, eqx.is_array)
    names = (
        "agents",
        "quorum",
        "center",
        "velocity",
        "spread",
        "quorum_loss",
        "observed",
        "records",
        "diverged",
        "state",
    )
    if isinstance(whole["seed"], jax.Array):  # traced, or of many runs; a number may be too large for an array
        names = (*names, "seed")
    arrays = {name: whole.pop(name) for name in names}
    call = run["call"]
    while isinstance(call, Call):
        if is_traced(call.arguments):
            run = {**run, "call": _TRACED}
        call = call.before
    return (arrays, model), _Said({**whole, "run": {**run, "model": kept}})


def _unflatten(said: _Said, children: tuple[dict[str, Any], Any]) -> Result:
    arrays, model = children
    run = dict(said.said["run"])
    if is_traced(children):  # what comes out of jit was computed from other results too, which are equal for it
        run |= {"call": _TRACED, "path": "within a transformation of JAX", "device": None}
    if model is not None:
        run["model"] = eqx.combine(model, run["model"])
    return Result(**{**said.said, **arrays, "run": run})


# A result goes in and out of jit, vmap and grad. There nothing can be looked at: `diverged` is -1, without a date.
jax.tree_util.register_pytree_node(Result, _flatten, _unflatten)


def records_axis(records: np.ndarray) -> str:
    """What an axis of records is called: by steps they are whole numbers, by moments seconds.

    Args:
        records: the steps or the moments, (records,).

    Returns:
        "step" or "time".
    """
    return "time" if records.dtype.kind == "f" else "step"


def load(path: str | os.PathLike, model: Dynamics | None = None) -> Result:
    """Read a `Result` that `Result.save` wrote; `simulate(model, init=load(path), steps=...)` continues it.

    Args:
        path: of the file.
        model: that ran, to be restored with the result: a file holds its description alone.

    Returns:
        The result; of its model a description, unless it was given. Digits that JAX has no room for, of float64 outside
        of x64, are kept in arrays of NumPy.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no result of sdesim, or is damaged: its checksum is verified first; and for
            another model than the one that ran, with what differs.
        TypeError: for what is no name of a file, or no model.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)}: must be the name of a file")
    if model is not None and not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    data, header = read_described(path, "run", needs=("seconds",))
    if model is not None and (why := differs(described(model), header.settings["model"])):
        raise ValueError(f"model: must be the one that ran; {why}")
    axes = {name: tuple(a) for name, a in header.own["observed_axes"].items()}
    found = {name: data[f"{name}_series" if f"{name}_series" in data else name] for name in axes}
    leaves = [_as_saved(data[f"{_SHARED}{i}"].values) for i in range(sum(str(v).startswith(_SHARED) for v in data))]
    velocity = _as_saved(data["velocity"].values) if "velocity" in data else None
    # The structure of what is shared and kept is the model's and the stepper's to know: `restart` restores it.
    rest, clock, before = leaves[1 if velocity is None else 2 : -4], Sum(*leaves[-4:-2]), Sum(*leaves[-2:])
    state = State(leaves[0], None if velocity is None else leaves[1], rest, None, None, clock, before)
    agents = _as_saved(data["agents"].values)
    at_the_end = lambda name: name in data and data[name].dims == ("sim",)  # in files of format 2 it was the series
    timed = "time" in data.coords and data["time"].dims == ("step",)
    return Result(
        agents=agents,
        quorum=_as_saved(data["quorum"].values),
        center=_as_saved(data["center"].values),
        velocity=velocity,
        spread=_as_saved(data["spread"].values) if at_the_end("spread") else _spread(agents),
        quorum_loss=_as_saved(data["quorum_loss"].values) if at_the_end("quorum_loss") else None,
        observed={name: _as_saved(value.values) for name, value in found.items()},
        observed_axes=axes,
        observed_labels={name: label for name, value in found.items() if (label := label_of(value)) is not None},
        observed_coordinates={str(n): data[n].values for n in data.coords if n not in (*LABELS, "time")},
        records=next((data[axis].values for axis in ("step", "time") if axis in data.dims), np.zeros(0, int)),
        moments=data["time"].values if timed else None,
        diverged=data["diverged"].values,
        step=header.own["step"],
        seed=header.own["seed"],
        first_sim=header.own["first_sim"],
        seconds=header.seconds,  # pyright: ignore[reportArgumentType]
        state=state,
        run=header.settings if model is None else {**header.settings, "model": model},
    )


def _spread(agents: Array) -> Array:
    """Sum over agents of their squared distances from their mean, (sims,)."""
    return jnp.sum((agents - jnp.mean(agents, axis=1, keepdims=True)) ** 2, axis=(1, 2))


def _written(model: dict[str, Any]) -> str:
    """A model from its description, with its numbers in place of their types."""
    return ", ".join(_parts(model).values()) or " ".join(str(model["parts"]).split())


def _parts(model: dict[str, Any]) -> dict[str, str]:
    """The parts of a model by name, likewise; none of what is no `Dynamics`."""
    numbers = {name: value for name, value in model["numbers"].items() if value is not None}
    parts = re.match(r"Dynamics\((.*)\)$", " ".join(str(model["parts"]).split()))
    if parts is None:
        return {}
    said = {}
    for name, kind in re.findall(r"(\w+)=(\w+)(?=[(\[])", re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "(", parts[1])):
        own = {n.removeprefix(f"{name}."): v for n, v in numbers.items() if n.startswith(f"{name}.")}
        inner = ", ".join(f"{n}={_number(v)}" for n, v in own.items())
        if kind == "Function" and (called := re.search(rf"{name}=Function\( ?fn=<(?:function )?(.*?)> ?\)", parts[1])):
            said[name] = called[1].rpartition(".")[2]
        else:
            said[name] = f"{name}={_number(numbers[name])}" if name in numbers else f"{kind}({inner})"
    return said


def _with_error(values: np.ndarray) -> str:
    """The mean of simulations, (sims,), with its standard error if it has one."""
    return f"{values[0]:.4g}" if values.size == 1 else str(mean_of(values))


def _number(value: Any) -> str:
    """A number in six digits, or how many there are."""
    return f"{value:.6g}" if np.ndim(value) == 0 else f"{np.shape(value)[0]} numbers"


def differs(model: dict[str, Any], other: dict[str, Any]) -> str:
    """What differs between the descriptions of two models.

    Args:
        model: of `fields.described`.
        other: likewise, which may be of another precision.

    Returns:
        A sentence; nothing where they are one model.
    """
    numbers, ran = model["numbers"], other["numbers"]
    if why := _other_parts(model, other):
        return why
    for name, value in numbers.items():
        if (value is None) != (ran[name] is None) or (value is not None and not _close(value, ran[name])):
            return f"this has {name}={shown(value)}, and that had {name}={shown(ran[name])}"
    for name, digits in model["functions"].items():
        if digits != other["functions"].get(name):
            return f"the function {name} says something else than it did"
    return ""


def _other_parts(model: dict[str, Any], other: dict[str, Any]) -> str:
    """The parts that differ between the descriptions of two models, where these are of other parts."""
    kinds = [_kinds(of["parts"]) for of in (model, other)]
    if kinds[0] == kinds[1] and model["numbers"].keys() == other["numbers"].keys():
        return ""
    mine, its = _parts(model), _parts(other)
    names = [name for name in {**mine, **its} if mine.get(name) != its.get(name)]
    if not names:  # they differ in what is not written
        return f"this is {kinds[0]}, and that was {kinds[1]}"
    said = [", ".join(of.get(name, f"no {name}") for name in names) for of in (mine, its)]
    return f"this has {said[0]}, and that had {said[1]}"


def unlike(run: dict[str, Any], ran: dict[str, Any]) -> str:
    """What differs between the models, or the steppers, of two runs.

    Args:
        run: what `Result.run` says of one.
        ran: likewise of the other, which may be of another precision.

    Returns:
        A sentence; nothing where they are the same, or not known within a transformation of JAX.
    """
    if is_traced((run["model"], ran["model"])):
        return ""
    if run["model"] is not ran["model"] and (why := differs(_said_of(run["model"]), _said_of(ran["model"]))):
        return why
    one, two = stepped(run), stepped(ran)
    mine, theirs = (said.pop("functions", {}) for said in (one, two))  # which files of old do not have
    made = [said.pop("parts", None) for said in (one, two)]  # nor these
    chosen = {} if None in made else made[0] | made[1]
    if chosen:
        one, two = one | made[0], two | made[1]
    for name in mine.keys() & theirs.keys():  # of functions the code counts, whatever they are called
        if mine[name] != theirs[name] and one.get(name) == two.get(name):
            return f"this has another function {name} than that"
        if mine[name] == theirs[name] and name in two:
            one[name] = two[name]

    def said(name: str, value: Any) -> str:
        what = "the default" if value is None and name in chosen else value if isinstance(value, str) else shown(value)
        return f"{name}={what}"

    for name in (*one, *(two.keys() - one.keys())):
        value, other = one.get(name), two.get(name)
        plain = value is None or other is None or isinstance(value, str) or isinstance(other, str)
        if value != other if plain else not _close(value, other):
            return f"this has {said(name, value)}, and that had {said(name, other)}"
    return ""


def _other_state(model: Dynamics, stepper: AbstractStepper, ran: dict[str, Any]) -> str:
    """What of a model and a stepper may be why their state is another than that of a run; nothing if nothing is."""
    if is_traced((model, ran["model"])):
        return ""
    why = [_other_parts(described(model), _said_of(ran["model"]))]
    steps = [_steps_of(said) for said in (stepper_said(stepper), ran)]
    why += [f"this is stepped by {steps[0]}, and that was by {steps[1]}"] if steps[0] != steps[1] else []
    return "; ".join(filter(None, why))


def stepper_said(stepper: AbstractStepper) -> dict[str, Any]:
    """What a run says of its stepper.

    Args:
        stepper: of the run.

    Returns:
        Its class, its order, its numbers by name, and `parts`, which are what it is made of beside them.
    """
    said = lambda a: None if a is None or is_traced(a) else np.asarray(a).tolist()
    return {
        "stepper": type(stepper).__name__,
        "order": stepper.order,
        **{name: said(value) for name, value in numeric_fields(stepper).items()},
        "parts": {name: value for name, value in made_of(stepper).items() if name != "order"},
    }


def _steps_of(run: dict[str, Any]) -> str:
    """A stepper from what a run says of it, as `Iteration(period=4), jacobi`."""
    of = {name: value for name, value in stepped(run).items() if name not in ("step", "stepper", "order", "epoch")}
    values = dict.fromkeys(of.pop("functions", {}), "<function>") | of.pop("parts", {})  # of an old file, no names
    values |= {name: value for name, value in of.items() if value is not None}

    def with_inner(kind: str, prefix: str) -> str:
        inner = []
        for name, value in values.items():
            own = name.removeprefix(prefix)
            if not name.startswith(prefix) or "." in own:
                continue
            if isinstance(value, str) and value.isidentifier():  # a class
                inner.append(with_inner(value, f"{name}."))
            else:
                inner.append(f"{own}={value if isinstance(value, str | bool) else _number(value)}")
        return f"{kind}({', '.join(inner)})" if inner else kind

    return ", ".join([with_inner(str(run["stepper"]), ""), *filter(None, [run.get("order")])])


def stepped(run: dict[str, Any]) -> dict[str, Any]:
    """Of what `Result.run` says of a run, its stepper: with its numbers, and the epochs.

    Args:
        run: what it says.

    Returns:
        Values by name.
    """
    others = ("model", "every", "fast", "exact", "until", "random", "path", "device", "init", "call", "before")
    return {name: value for name, value in run.items() if name not in others}


def _said_of(model: Any) -> Any:
    """The description of a model; of one from a file it is kept in its place."""
    return described(model) if isinstance(model, Dynamics) else model


def _close(value: Any, other: Any) -> bool:
    """Whether numbers are the same but for rounding to 32 bits."""
    a, b = np.asarray(value, float), np.asarray(other, float)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-6, atol=0, equal_nan=True))


def _kinds(parts: str) -> str:
    """A description of a model's parts without the types of its numbers."""
    return re.sub(r"(f32|f64|i32|i64)", "", " ".join(parts.split())).replace("( ", "(").replace(" )", ")")


def _roomier(leaf: Array, shape: tuple[int, ...], room: bool) -> Array:
    """What is room and too small, filled up with zeros; anything else as it is."""
    if not room or leaf.shape[1:] != shape[1:] or leaf.shape[0] >= shape[0]:
        return leaf
    return jnp.concatenate([leaf, jnp.zeros((shape[0] - leaf.shape[0], *shape[1:]), leaf.dtype)])


def _as_saved(values: np.ndarray) -> Array:
    """A JAX array, unless that has no room for the digits: float64 where JAX has float32."""
    array = jnp.asarray(values)
    return array if array.dtype == values.dtype else values  # pyright: ignore[reportReturnType]
