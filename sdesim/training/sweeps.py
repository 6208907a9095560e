"""Sweeps whose points are trainings: fields of a training as axes, computed task by task in a store, or all at once.

A task is some runs of some points, trained side by side as one program. What takes longer than a minute is kept in the
store's `work/` meanwhile, and goes on from there after a kill, to the same numbers.
"""

import abc
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import itertools
import math
import os
import pathlib
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim.contents import contents, program
from sdesim.ensembles.designs import Design
from sdesim.ensembles.durable import durable_sweep
from sdesim.ensembles.engines import engine_of
from sdesim.ensembles.grids import kept
from sdesim.ensembles.identity import numerics, short, size_key
from sdesim.ensembles.points import STEPPER, with_value
from sdesim.ensembles.rules import Rule
from sdesim.ensembles.sweeps import AbstractSweep, Estimate, Program
from sdesim.ensembles.warnings import StabilityWarning
from sdesim.fields import check_choice, check_count, check_flags, numeric_fields, shown, static_numbers, warn
from sdesim.results.datasets import POINT, dimension
from sdesim.results.files import Damaged
from sdesim.results.recipe import Call
from sdesim.training import measure as measurements
from sdesim.training import step as steps
from sdesim.training.algorithms import Algorithm, NamedAlgorithm
from sdesim.training.callbacks import Callback
from sdesim.training.data import Split, as_split
from sdesim.training.inner import Inner
from sdesim.training.lazy import Lazy
from sdesim.training.loop import Training
from sdesim.training.memory import size_of
from sdesim.training.setup import ETA, TrainingSetup, checked, rates_of, warn_of_stiffness
from sdesim.training.step import Pixels
from sdesim.training.store import Store, hash_of
from sdesim.training.workers import Workers

_TIMED = 3  # steps from which an estimate is made
KEEP = 60.0  # seconds of training after which a task is kept, and from then on between two times
NETWORKS = 64  # trained side by side in a task on a GPU, at the most, unless told otherwise
OWN = "algorithm."  # before the name of a number of the algorithm
FIELDS = ("eta", "agents", "batch", "seed", "same_start", "weight_decay", "crop", "precision")
"""Arguments of `Training` that may be axes, beside "algorithm" and the algorithm's numbers."""


class Trainings(AbstractSweep):
    """A sweep of trainings of one network on the same data; subclasses say what its points are.

    Args:
        network: as `Training` takes it.
        data: likewise.
        epochs: of each.
    """

    parts = "the network, the rule, the optimizer, the schedule, or how steps are taken"

    def __init__(self, network: Any, data: Split, epochs: int):
        self.network, self.data, self.epochs = network, as_split(data), check_count("epochs", epochs, least=0)
        self.first_sim = 0

    @abc.abstractmethod
    def block(self, points: Sequence[Mapping[str, Any]], sims: tuple[int, int]) -> dict[str, Any]:
        """What trains some runs of some points side by side.

        Args:
            points: by axis.
            sims: numbers of the first run and of the one after the last, counted from the first.

        Returns:
            Arguments of `Training`, all but network and data; runs of a point stand together.
        """

    def checked(self, point: Mapping[str, Any]) -> TrainingSetup:
        """One run of a point, checked.

        Args:
            point: by axis.

        Returns:
            Its setup.

        Raises:
            ValueError: as `Training`.
            TypeError: likewise.
        """
        block = {**_DEFAULTS, **self.block([point], (0, 1))}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # said once, of all points
            return checked(self.network, self.data, **block, memory=None)

    def measured(self, history: xr.Dataset) -> xr.Dataset:
        """What is kept of runs.

        Args:
            history: of the runs, from epoch 0 to the last.

        Returns:
            Variables with the dimension "run".
        """
        kept = history.drop_vars(["seconds", "number", "run"])  # seconds by the clock on the wall
        kept = kept.reset_coords([name for name, c in kept.coords.items() if "run" in c.dims])
        taken = set(map(dimension, self.grid))
        return kept.rename({name: f"{name}_series" for name in kept.data_vars if name in taken})

    def lanes(self) -> int:
        """All runs of a point, or on a GPU, where networks are trained at the same time, of as many as it takes."""
        if jax.default_backend() == "cpu":
            return check_count("sims", self.sims)
        return max(1, NETWORKS // self.most_agents)

    @property
    @abc.abstractmethod
    def most_agents(self) -> int:
        """Agents of a run, of the point that has most."""

    def width(self, here: Mapping[str, Any]) -> int:
        return 1

    def estimate(self, lanes: int | None = None) -> Estimate:
        lanes = self.lanes() if lanes is None else check_count("lanes", lanes)
        points = tasks = seconds = memory = numbers = 0
        for groups in itertools.product(*(self.groups(name) for name in self.grid)):
            first = {name: self.grid[name][group[0]] for name, group in zip(self.grid, groups, strict=True)}
            here = math.prod(map(len, groups))
            training = Training(self.network, self.data, **self.block([first], (0, 1)))
            seconds += here * self.sims * _seconds(training, self.epochs)
            of_epochs = sum(v.nbytes / v.sizes.get("epoch", 1) for v in self.measured(training.history).values())
            numbers += here * self.sims * (self.epochs + 1) * of_epochs
            networks = min(lanes, here * self.sims) * 3 * size_of(training.models)  # with gradients and momentum
            memory = max(memory, size_of([a for a in self.data if not isinstance(a, Lazy)]) + networks)
            tasks += math.ceil(here / max(1, lanes // self.sims)) * math.ceil(self.sims / lanes)
            points += here
        return Estimate(points, points * self.sims, tasks, seconds, int(memory), int(numbers))

    def run(
        self,
        at: Mapping[str, list],
        points: int,
        sims: tuple[int, int],
        *,
        width: int | None,
        memory: int | str | None,
        folder: pathlib.Path,
    ) -> xr.Dataset:
        each, count = [{name: values[i] for name, values in at.items()} for i in range(points)], sims[1] - sims[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # said once, of all points
            training = Training(self.network, self.data, memory=memory, **self.block(each, sims))
        path = f"a training of {points * count} runs side by side"
        return self._shaped(training.run(self.epochs, [KeepIfLong(folder)]), points, sims).assign_attrs(path=path)

    def sample(self, at: Mapping[str, list]) -> xr.Dataset:
        block = self.block([{name: values[0] for name, values in at.items()}], (0, 1))
        return self._shaped(Training(self.network, self.data, **block).run(0), 1, (0, 1))  # the start, at all epochs

    def _shaped(self, history: xr.Dataset, points: int, sims: tuple[int, int]) -> xr.Dataset:
        """A history of the runs of some points, which stand together, as (point, sim, ...)."""
        found, count = self.measured(whole(history, self.epochs)), sims[1] - sims[0]
        shaped = lambda v: v.values.reshape(points, count, *v.shape[1:])
        variables = {}
        for name, v in found.data_vars.items():
            v = v.transpose("run", ...)
            variables[name] = (("point", "sim", *v.dims[1:]), shaped(v), v.attrs)
        labels = {name: c for name, c in found.coords.items() if "run" not in c.dims}
        labels["sim"] = ("sim", self.first_sim + np.arange(*sims))
        return xr.Dataset(variables, labels)


def whole(history: xr.Dataset, epochs: int) -> xr.Dataset:
    """Epochs 0 to `epochs`: an earlier, longer training has more, and one whose every run diverged ends before.

    What diverged stays as it was found last.

    Args:
        history: of a training.
        epochs: how many.

    Returns:
        The history of these.
    """
    numbers = np.arange(epochs + 1)
    return history.isel(epoch=np.minimum(numbers, history.sizes["epoch"] - 1)).assign_coords(epoch=numbers)


def side_by_side(made: Sequence[Algorithm], count: int) -> Algorithm:
    """Algorithms that differ in numbers alone as one, for runs of all.

    Args:
        made: each of one run.
        count: runs of each.

    Returns:
        The algorithm, with a leading axis of runs.
    """
    return jax.tree.map(lambda *leaves: jnp.repeat(jnp.stack(leaves), count, axis=0), *made)


class KeepIfLong(Callback):
    """Keeps a training of a task that takes long, so that another process can go on with it when this one is killed.

    Args:
        folder: of the task's work, made when it is needed. What is in it of other trainings stays.
    """

    copies_state = True

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @contextlib.contextmanager
    def around(self, training: Any) -> Iterator[None]:
        self._path, self._store, self._beside = self.folder / training.fingerprint[:16], None, False
        with contextlib.ExitStack() as self._held:
            if self._path.is_dir() and (store := self._taken(training)) is not None:
                self._go_on(training, store)
            self._kept = time.monotonic()
            yield

    def after_epoch(self, training: Any) -> None:
        """Write what there is, if it is time.

        Args:
            training: the `Training` that runs.

        Warns:
            UserWarning: for what could not be written.
        """
        if training.epochs_done in (0, training.goal) or self._beside or time.monotonic() - self._kept < KEEP:
            return  # at its end the task itself is written
        try:
            store = self._taken(training)
            if store is not None:
                training.write(store)
        except (OSError, ValueError) as error:
            warn(f"{error}; the training goes on", UserWarning)
        self._kept = time.monotonic()

    def _taken(self, training: Any) -> Store | None:
        """The folder, whose lock is held; None if another process has it, which was taken for dead and is not."""
        if self._store is None:
            store = Store(self._path, training.fingerprint)
            try:
                self._held.enter_context(store.lock(False))
            except FileExistsError as error:
                self._beside = True
                warn(f"{error}: this one trains beside it, and keeps nothing", UserWarning)
                return None
            self._store = store
        return self._store

    def _go_on(self, training: Any, store: Store) -> None:
        try:
            training.take_up(store, True)
        except Damaged as error:  # what is lost is time
            warn(f"{error.why}; this training of a task starts over", UserWarning)
            store.clear()


# -- what a training computes ------------------------------------------------------------------------------------------


def traced(setup: TrainingSetup) -> str:
    """A hash of what is done to the runs of a training: their start, an epoch's steps, and what is measured.

    Args:
        setup: of the training.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    task, stepping, seed, runs, rates, form, same = setup.start()
    state, pixels, *looked_at = setup.state, *(_as_shapes(p) for p in (setup.pixels["train"], *setup.looked_at))
    order = lambda batches: jax.ShapeDtypeStruct((batches, *rates.shape, task.batch), jnp.int32)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    told = jax.ShapeDtypeStruct(rates.shape, jnp.float32)
    done = [
        (steps.draw, (setup.taken.recipe, seed, runs, setup.agents, form, same)),
        (steps.start, (*setup.start(), state.params)),
        (measurements.measure, (task, stepping, state, pixels, *looked_at, seed, runs, order(2))),
    ]
    if isinstance(stepping, Workers):  # the arrivals themselves are made on the host, by laws
        one_run = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype) if eqx.is_array(a) else a, stepping)
        of_agents = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), state.params)
        batch = jax.ShapeDtypeStruct((task.batch,), jnp.int32)
        done += [
            (lambda workers, params, eta: workers.one_arrival(params, eta), (one_run, of_agents, rates[0])),
            (steps.gradient, (task, pixels, setup.params, batch, jax.eval_shape(lambda: jax.random.key(0)))),
        ]
    else:
        taken = (task, stepping, pixels, state, seed, runs, rates, order(2), number, number, told)
        done.append((steps.take_steps, taken))
        if stepping.renews:
            done.append((steps.renew, (stepping, state, told)))
    said = [program(eqx.filter_make_jaxpr(fn)(*arguments)[0]) for fn, arguments in done]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _as_shapes(pixels: Pixels) -> Pixels:
    """Lazy images as what has their shape."""
    if not isinstance(pixels.x, Lazy):
        return pixels
    return pixels._replace(x=jax.ShapeDtypeStruct(pixels.x.shape, pixels.x.dtype))


def said_by(settings: Mapping[str, Any]) -> str:
    """Values as text that is the same in every process, for hashes.

    Args:
        settings: by name.
    """
    return contents(dict(sorted(settings.items())))


# -- fields of a training as axes --------------------------------------------------------------------------------------


class TrainingGrid(Trainings):
    """A sweep over fields of a training.

    Args:
        network: as for `sweep`.
        data: likewise.
        algorithm: likewise.
        grid: likewise.
        epochs: likewise.
        sims: likewise.
        first_sim: likewise.
        until: likewise.
        most: likewise.
        **settings: likewise.

    Raises:
        TypeError: as `sweep`.
        ValueError: likewise.
    """

    def __init__(
        self,
        network: Any,
        data: Split,
        algorithm: Algorithm | NamedAlgorithm,
        grid: Mapping[str, Sequence] | Design,
        *,
        epochs: int = 10,
        sims: int = 1,
        first_sim: int = 0,
        until: str | None = None,
        most: int | None = None,
        **settings: Any,
    ):
        super().__init__(network, data, epochs)
        self.sims, self.first_sim = check_count("sims", sims), check_count("first_sim", first_sim, least=0)
        self.algorithm = algorithm
        self.given = _settings(settings)
        self.design = grid if isinstance(grid, Design) else None
        self.grid = self._checked(grid)
        if until is None and most is not None:
            raise ValueError(f"most={shown(most)}: must be left out, unless until= is a rule of errors")
        self.rule = None if until is None else Rule.of(until, sims, most)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_first"}  # it is made anew

    # -- its points

    def _checked(self, grid: Any) -> dict[str, list]:
        """The grid with its values as lists, each of them tried."""
        columns = grid.columns if isinstance(grid, Design) else grid
        if not isinstance(columns, Mapping):
            raise TypeError(f"grid={shown(grid)}: must be values by name, such as {{'eta': [0.01, 0.1]}}")
        found, known = {}, [*FIELDS, *self._numbers, *self._counts, *self._of_workers]
        for name, given in columns.items():
            check_choice("grid", name, known)
            what = f"grid[{name!r}]={shown(given)}"
            if not hasattr(given, "__len__") or isinstance(given, str | Mapping | set) or np.ndim(given) == 0:
                raise ValueError(f"{what}: must be a non-empty sequence of values")
            values = [v.item() if isinstance(v, np.generic | jax.Array | np.ndarray) else v for v in given]
            if not values or (len(set(values)) < len(values) and not isinstance(grid, Design)):
                raise ValueError(f"{what}: must be a non-empty sequence of values, each there once")
            if self.given.get(name, _DEFAULTS.get(name)) != _DEFAULTS.get(name):
                raise ValueError(f"{name}={shown(self.given[name])}: is in the grid already; leave it out")
            for value in dict.fromkeys(values):
                self._at({name: value})
            found[name] = values
        if self.design is None:
            return found
        if apart := [name for name in found if name != "eta" and name not in (*self._numbers, *self._of_workers)]:
            raise ValueError(f"grid: a design is of numbers, and {apart[0]} shapes programs; give a grid")
        return {POINT: [list(row) for row in self.design.rows]}

    @property
    def _numbers(self) -> list[str]:
        """Axes that are numbers of the algorithm, and differ between runs of one program."""
        if isinstance(self.algorithm, NamedAlgorithm):
            names = [f.name for f in dataclasses.fields(NamedAlgorithm)]
            return [OWN + name for name in names if name not in ("name", "fanout", "period", "until")]
        if not isinstance(self.algorithm, Algorithm):
            right = "must be a sdesim.training.Algorithm, or such as sdesim.training.algorithm('easgd')"
            raise TypeError(f"algorithm={shown(self.algorithm)}: {right}")
        return [OWN + name for name in numeric_fields(self.algorithm)]

    @property
    def _counts(self) -> list[str]:
        """Axes of the algorithm that shape its program."""
        named = isinstance(self.algorithm, NamedAlgorithm)
        return ["algorithm", OWN + "period", OWN + "until"] if named else [OWN + "period", OWN + "every"]

    @property
    def _of_workers(self) -> list[str]:
        """Axes that are numbers of workers in virtual time."""
        stepper = self.given["stepper"]
        return [] if stepper is None else [STEPPER + n for n in (*numeric_fields(stepper), *static_numbers(stepper))]

    @property
    def apart(self) -> list[str]:
        if self.given["stepper"] is not None:
            return list(self.grid)  # what workers do when is known to the host, which asks the first run
        together = ("eta", POINT, *self._numbers)
        return [name for name in self.grid if name not in together]

    @property
    def most_agents(self) -> int:
        return max(self.grid.get("agents", [self.given["agents"]]))

    def _at(self, point: Mapping[str, Any]) -> tuple[Algorithm | NamedAlgorithm, dict[str, Any]]:
        """The algorithm and the settings of a point."""
        algorithm, settings, own = self.algorithm, dict(self.given), {}
        if self.design is not None and POINT in point:
            point = dict(zip(self.design.names, point[POINT], strict=True))
        for name, value in point.items():
            if name == "algorithm":
                own["name"] = value
            elif name.startswith(OWN):
                own[name.removeprefix(OWN)] = value
            elif name.startswith(STEPPER):
                settings["stepper"] = with_value(settings["stepper"], name.removeprefix(STEPPER), value)
            else:
                settings[name] = value
        if isinstance(algorithm, NamedAlgorithm):
            algorithm = dataclasses.replace(algorithm, **own)
        else:
            for name, value in own.items():
                algorithm = with_value(algorithm, name, value)
        return algorithm, settings

    def block(self, points: Sequence[Mapping[str, Any]], sims: tuple[int, int]) -> dict[str, Any]:
        found, count = [self._at(point) for point in points], sims[1] - sims[0]
        settings = found[0][1]
        batch = check_count("batch", settings["batch"])
        inner = None if settings["optimizer"] is None else Inner(settings["optimizer"])
        made, rates = [], []
        for algorithm, own in found:
            eta = ETA if own["eta"] is None and inner is None else own["eta"]
            if isinstance(algorithm, NamedAlgorithm):
                algorithm = algorithm(own["agents"], eta, max(1, len(self.data.train_y) // batch), inner)
            made.append(algorithm)
            rates.append(eta)
        numbers = np.arange(*sims) + self.first_sim
        return {
            **settings,
            "algorithm": side_by_side(made, count),
            "eta": None if rates[0] is None else np.repeat(np.stack(rates), count, axis=0),
            "runs": np.tile(numbers, len(points)).tolist(),
        }

    # -- what it is

    @functools.cached_property
    def _first(self) -> TrainingSetup:
        return self.checked({name: values[0] for name, values in self.grid.items()})

    def _swept(self) -> list[str]:
        return [*self.grid, *(() if self.design is None else self.design.names)]

    @property
    def _said(self) -> dict[str, Any]:
        """The algorithm and its numbers, and all settings, but for what is swept."""
        algorithm = self.algorithm
        if isinstance(algorithm, NamedAlgorithm):
            own = {"algorithm": algorithm.name, **{OWN + name: value for name, value in algorithm.numbers.items()}}
        else:
            own = {OWN + name: value for name, value in numeric_fields(algorithm).items()}
        return {name: value for name, value in {**own, **self.given}.items() if name not in self._swept()}

    @property
    def settings(self) -> dict[str, Any]:
        said = {name: value for name, value in self._first.said.items() if name not in (*self._swept(), "runs")}
        rule = {} if self.rule is None else {"until": str(self.rule), "most": self.rule.most}
        sizes = {"epochs": self.epochs, "sims": self.sims, "first_sim": self.first_sim}
        return {**said, **sizes, **rule, "grid": self.grid}

    @property
    def call(self) -> Call:
        made = self._first.call(self.epochs).arguments
        if isinstance(self.algorithm, Algorithm):
            made = {**made, "algorithm": self.algorithm}
        kept = {name: value for name, value in made.items() if name not in (*self._swept(), "runs")}
        rule = {} if self.rule is None else {"until": str(self.rule), "most": self.rule.most}
        arguments = {**kept, "grid": self.design or self.grid, "sims": self.sims, "first_sim": self.first_sim, **rule}
        return Call("sdesim.training.sweep", arguments)

    def identity(self) -> dict[str, Any]:
        said = {name: short(value) for name, value in self._said.items()}
        rule = None if self.rule is None else f"{self.rule}, from {self.rule.least} to {self.rule.most} simulations"
        return {
            **said,
            "data": hash_of((), self.data.trained_on),
            "epochs": self.epochs,
            "first_sim": self.first_sim,
            "grid": list(self.grid),
            "design": self.design is not None,
            "rule": rule,
            **numerics(),
        }

    def programs(self) -> dict[str, Program]:
        found = {}
        numbers = [name for name in self.grid if name not in self.apart]
        for values in itertools.product(*(self.grid[name] for name in self.apart)):
            here = dict(zip(self.apart, values, strict=True))
            others = itertools.product(*(self.grid[name] for name in numbers))
            made = self.block([{**here, **dict(zip(numbers, of, strict=True))} for of in others], (0, 1))
            if self.given["stepper"] is None and made["eta"] is not None:  # else the setup has a word to say
                warn_of_stiffness(made["algorithm"], rates_of(made["eta"], len(made["runs"]), made["agents"]))
            key = size_key(here)
            found[key] = Program(self._hash(here), key)
        return found

    def _hash(self, here: Mapping[str, Any]) -> str:
        """Of a choice's program and settings, with whatever is swept beside as it would be if it were not given."""
        bare = TrainingGrid.__new__(TrainingGrid)
        vars(bare).update(self.__getstate__())
        swept = {name.removeprefix(OWN) for name in self._swept() if name in self._numbers}
        if isinstance(self.algorithm, NamedAlgorithm):
            bare.algorithm = dataclasses.replace(self.algorithm, **dict.fromkeys(swept))
        if "eta" in self._swept():
            bare.given = {**self.given, "eta": ETA}
        setup = bare.checked(here)
        of_rule = numeric_fields(setup.algorithm)
        if not isinstance(self.algorithm, NamedAlgorithm):
            of_rule = {name: value for name, value in of_rule.items() if name not in swept}
        values = None if setup.taken.values is None else jax.tree.leaves(setup.taken.values)
        said = said_by(
            {
                "numbers": of_rule,
                "schedule": setup.schedule,
                "deal": setup.deal,
                "stepper": setup.stepper,
                "values": values,
            }
        )
        return hashlib.sha256(f"{traced(setup)}\n{said}".encode()).hexdigest()


def _seconds(training: Training, epochs: int) -> float:
    """That the steps of a training take, by a few of them; measuring comes on top."""
    training.step()  # which compiles, and measures the start
    began = time.perf_counter()
    training.step(_TIMED)
    return (time.perf_counter() - began) / _TIMED * training.steps_an_epoch * epochs


_DEFAULTS: dict[str, Any] = {
    name: p.default
    for name, p in inspect.signature(Training).parameters.items()
    if p.kind is p.KEYWORD_ONLY and name not in ("runs", "memory")
}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name == "runs":
            raise TypeError("runs: must be left out: sims is how many there are, and first_sim the number of the first")
        check_choice("sweep", name, _DEFAULTS)
    return {**_DEFAULTS, **given}


def sweep(
    network: Any,
    data: Split,
    algorithm: Algorithm | NamedAlgorithm,
    grid: Mapping[str, Sequence] | Design,
    *,
    epochs: int = 10,
    sims: int = 1,
    first_sim: int = 0,
    until: str | None = None,
    most: int | None = None,
    store: str | os.PathLike | None = None,
    lanes: int | None = None,
    mix_versions: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    listen: str | None = None,
    memory: int | str | None = None,
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Train a network at every point of a grid; in a store, so that nothing is lost, if one is named.

    Args:
        network: of `Training`.
        data: of `Training`.
        algorithm: of `Training`.
        grid: values by name: of `Training`'s settings "eta", "agents", "batch", "seed", "same_start", "weight_decay",
            "crop" and "precision"; "algorithm", names, and the algorithm's numbers, such as "algorithm.k" and
            "algorithm.momentum" (of an `Algorithm` by their dotted names, "algorithm.rule.k"). Rates and numbers of the
            algorithm may differ between runs of one program, all others are trained apart. Or a design of
            `sdesim.ensembles.designs` over rates and numbers. Of workers in virtual time also their numbers, such
            as "stepper.compute.mean".
        epochs: of each training.
        sims: runs of each point; those of one number start alike and see the same batches at all points.
        first_sim: number of the first run.
        until: a rule by which runs are added, such as "stderr(test_loss) < 0.01"; `sims` is the least number then.
        most: where `until` is a rule, runs of a point that are not exceeded; 100 times `sims` by default.
        store: as for `sdesim.sweep`: a folder that keeps what is done, task by task, and of tasks that take longer than
            a minute what they can go on with. None for memory alone.
        lanes: of a new store, runs of a task at the most: they are trained side by side. By default all of a point, and
            on a GPU of as many points as make 64 networks.
        mix_versions: as for `sdesim.sweep`.
        workers: likewise.
        scheduler: likewise.
        listen: likewise.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default. What does not fit is trained
            in parts.
        progress: show a bar with the time left.
        **settings: the others of `Training` but `runs`, as long as they are not in the grid.

    Returns:
        A Dataset whose dimensions are the grid's names (agents as n_agents, "algorithm.k" as algorithm_k), then sim (a
        run), epoch, model, agent, layer: what `Training.history` measures but for seconds, and of each that has no
        agent axis its mean over runs `NAME_mean` and standard error `NAME_stderr`. A variable whose name an axis has is
        NAME_series. With a store the values are read when they are asked for, as `sdesim.open` says.

    Raises:
        TypeError: as `Training`.
        ValueError: for unknown names (with the nearest known), empty or unfit values, and as `Training`; for a store of
            another sweep, with the difference.
        SweepError: where tasks failed; all others are kept.

    Warns:
        StabilityWarning: for a coupling whose step amplifies.
    """
    check_flags(progress=progress, mix_versions=mix_versions)
    asked = TrainingGrid(
        network,
        data,
        algorithm,
        grid,
        epochs=epochs,
        sims=sims,
        first_sim=first_sim,
        until=until,
        most=most,
        **settings,
    )
    engine = engine_of(workers, scheduler, listen)
    how: dict[str, Any] = dict(lanes=lanes, mix_versions=mix_versions, memory=memory, progress=progress, engine=engine)
    if store is None and engine is None and (found := kept(asked, memory, progress)) is not None:
        return found
    if store is not None:
        if not isinstance(store, str | os.PathLike):
            raise TypeError(f"store={shown(store)}: must be the name of a folder")
        return durable_sweep(asked, store, **how)
    with tempfile.TemporaryDirectory(prefix="sdesim-") as folder:
        return durable_sweep(asked, folder, **how).load().drop_vars("done")
