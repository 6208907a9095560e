"""What a run returns: arrays with the simulation axis first, labeled data, and files that a run continues from."""

import dataclasses
import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim.contents import digest
from sdesim.dynamics import Dynamics, State
from sdesim.fields import described, is_traced, shown
from sdesim.results.datasets import attributes, describe, label_of, read_described, write_dataset
from sdesim.results.recipe import Call
from sdesim.steppers import AbstractStepper
from sdesim.sums import Sum

_SHARED = "shared_"
LABELS = ("sim", "agent", "dim", "step")
"""Coordinates of results, which no variable may be called."""


@dataclasses.dataclass(eq=False)
class Result:
    """The outcome of `simulate`.

    Attributes:
        agents: final positions, (sims, agents, dims).
        quorum: their mean over agents, (sims, dims).
        center: the signal that the coupling pulls towards, (sims, dims): EASGD's center variable, a tree's root.
        velocity: final velocities in units of the SDE, (sims, agents, dims), or None without momentum. NaN after an
            iteration at learning rate 0, whose displacements took no time.
        observed: what `observe` recorded, by name, simulation axis first.
        observed_axes: by the same names, the names of the axes after that.
        observed_labels: by the same names, units and meaning, of what states them.
        observed_coordinates: by the names of axes in labeled data, the values along them, of what states them.
        records: the steps of the series' records.
        diverged: (sims,), the first step after which a simulation was not finite, -1 if it stayed finite.
        step: number of steps taken since the start of the run that this one continued.
        seed: of all random numbers.
        first_sim: number of the first simulation.
        seconds: that the run took.
        state: from which a run continues, simulations on the last axis.
        run: how it was called, with the model.
    """

    agents: Array
    quorum: Array
    center: Array
    velocity: Array | None
    observed: dict[str, Any]
    observed_axes: dict[str, tuple[str, ...]]
    observed_labels: dict[str, tuple[str, str]]
    observed_coordinates: dict[str, np.ndarray]
    records: np.ndarray
    diverged: np.ndarray
    step: int
    seed: Any
    first_sim: int
    seconds: float
    state: State  # simulations on the last axis
    run: dict[str, Any]  # how it was called, with the model

    @property
    def sizes(self) -> dict[str, Any]:
        """What a run that continues this one keeps: agents, sims, dims, seed and first_sim."""
        sims, agents, dims = self.agents.shape
        return {"agents": agents, "sims": sims, "dims": dims, "seed": self.seed, "first_sim": self.first_sim}

    @property
    def time(self) -> Array:
        """Of the coupling, (sims,)."""
        return self.state.time

    def restart(self, model: Dynamics, stepper: AbstractStepper) -> State:
        """The state from which a model goes on, checked to be of the same form.

        Args:
            model: the model that continues.
            stepper: what its steps are.

        Returns:
            The state, simulations on the last axis.

        Raises:
            ValueError: where the model that continues has other state than the one that ran.
        """
        x = jax.ShapeDtypeStruct(self.state.x.shape, jnp.result_type(float))
        fresh = jax.eval_shape(jax.vmap(lambda x: stepper.init(model, x), in_axes=-1, out_axes=-1), x)
        shapes = [a.shape for a in jax.tree.leaves(fresh)]
        leaves = jax.tree.leaves(self.state)
        if len(leaves) == len(shapes):
            leaves = [_roomier(*of) for of in zip(leaves, shapes, jax.tree.leaves(stepper.room(fresh)), strict=True)]
        if shapes != [a.shape for a in leaves]:
            raise ValueError(
                "init: the result to continue has another state (momentum, coupling or dtype) than the model: "
                f"{[a.shape for a in leaves]} where {shapes} is needed"
            )
        kinds = [a.dtype for a in jax.tree.leaves(fresh)]  # a float32 result goes on in float64 if x64 is on
        leaves = [jnp.asarray(a, kind) for a, kind in zip(leaves, kinds, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(fresh), leaves)

    @property
    def settings(self) -> dict[str, Any]:
        """How the run was called, with the model's parts and numbers: what a file says of it."""
        model = self.run["model"]
        model = described(model) if isinstance(model, Dynamics) else model
        return {**self.run, "model": model, "call": str(self.run["call"])}

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
        """All of it as a labeled Dataset, with provenance in the attributes."""
        sim = self.first_sim + np.arange(self.agents.shape[0])
        variables: dict[str, Any] = {
            "agents": (("sim", "agent", "dim"), np.asarray(self.agents)),
            "quorum": (("sim", "dim"), np.asarray(self.quorum)),
            "center": (("sim", "dim"), np.asarray(self.center)),
            "diverged": (("sim",), self.diverged),
        }
        if self.velocity is not None:
            variables["velocity"] = (("sim", "agent", "dim"), np.asarray(self.velocity))
        taken = {*variables, *LABELS}
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
        coordinates: dict[str, Any] = {"sim": sim, **self.observed_coordinates}
        if self.records.size:
            coordinates[records_axis(self.records)] = self.records
        data = xr.Dataset(variables, coordinates)
        own = {"path": self.run.get("path"), "observed_axes": self.observed_axes, **numbers}
        return describe(data, "run", self.settings, self.run["call"], **own)

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
        computes = {name: value for name, value in said["run"].items() if name not in ("call", "init", "path")}
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
    names = ("agents", "quorum", "center", "velocity", "observed", "records", "diverged", "state")
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
        run |= {"call": _TRACED, "path": "within a transformation of JAX"}
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


def load(path: str | os.PathLike) -> Result:
    """Read a `Result` that `Result.save` wrote; `simulate(model, init=load(path), steps=...)` continues it.

    Args:
        path: of the file.

    Returns:
        The result; of its model a description.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no result of sdesim, or is damaged: its checksum is verified first.
        TypeError: for what is no name of a file.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)}: must be the name of a file")
    data, header = read_described(path, "run", needs=("seconds",))
    axes = {name: tuple(a) for name, a in header.own["observed_axes"].items()}
    found = {name: data[f"{name}_series" if f"{name}_series" in data else name] for name in axes}
    leaves = [jnp.asarray(data[f"{_SHARED}{i}"].values) for i in range(sum(str(v).startswith(_SHARED) for v in data))]
    velocity = jnp.asarray(data["velocity"].values) if "velocity" in data else None
    # The structure of what is shared and kept is the model's and the stepper's to know: `restart` restores it.
    rest, clock, before = leaves[1 if velocity is None else 2 : -4], Sum(*leaves[-4:-2]), Sum(*leaves[-2:])
    state = State(leaves[0], None if velocity is None else leaves[1], rest, None, None, clock, before)
    return Result(
        agents=jnp.asarray(data["agents"].values),
        quorum=jnp.asarray(data["quorum"].values),
        center=jnp.asarray(data["center"].values),
        velocity=velocity,
        observed={name: _as_saved(value.values) for name, value in found.items()},
        observed_axes=axes,
        observed_labels={name: label for name, value in found.items() if (label := label_of(value)) is not None},
        observed_coordinates={str(n): data[n].values for n in data.coords if n not in (*LABELS, "time")},
        records=next((data[axis].values for axis in ("step", "time") if axis in data.coords), np.zeros(0, int)),
        diverged=data["diverged"].values,
        step=header.own["step"],
        seed=header.own["seed"],
        first_sim=header.own["first_sim"],
        seconds=header.seconds,  # pyright: ignore[reportArgumentType]
        state=state,
        run=header.settings,
    )


def _roomier(leaf: Array, shape: tuple[int, ...], room: bool) -> Array:
    """What is room and too small, filled up with zeros; anything else as it is."""
    if not room or leaf.shape[1:] != shape[1:] or leaf.shape[0] >= shape[0]:
        return leaf
    return jnp.concatenate([leaf, jnp.zeros((shape[0] - leaf.shape[0], *shape[1:]), leaf.dtype)])


def _as_saved(values: np.ndarray) -> Array:
    """A JAX array, unless that has no room for the digits (counts in float64)."""
    array = jnp.asarray(values)
    return array if array.dtype == values.dtype else values  # pyright: ignore[reportReturnType]
