"""Training of arms side by side.

Arms that differ in numbers alone are trained as one program, each several times; what is trained is kept in the cache
epoch by epoch, so that an experiment that was interrupted goes on where it was, and one that is asked for more epochs
goes on from those that it has.
"""

import contextlib
import copy
import dataclasses
import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import xarray as xr

from sdesim import source, training
from sdesim.cache import cache_folder
from sdesim.ensembles.grids import kept
from sdesim.ensembles.identity import numerics, short, size_key
from sdesim.ensembles.sweeps import Program
from sdesim.fields import numeric_fields
from sdesim.messages import without_addresses
from sdesim.papers.frame.cache import circumstances
from sdesim.papers.frame.networks.config import Arm, Config
from sdesim.results.recipe import Call
from sdesim.training.callbacks import tell
from sdesim.training.store import hash_of
from sdesim.training.sweeps import Trainings, said_by, side_by_side, traced, whole


def train(config: Config, arms: Sequence[Arm], progress: bool) -> xr.Dataset:
    """Train all arms, or find what is kept of their training: in the cache, or in the folder of `stored_in`.

    Args:
        config: size and constants of the training.
        arms: what is compared.
        progress: whether to say how far it is.

    Returns:
        Losses and accuracies (percent) of the tested model, those of the agents' mean as `agents_NAME`, `spread` and
        `eta`, and of workers in virtual time `time`, each (arm, epoch, sim) from epoch 0, before training, on;
        `diverged` (arm, sim), the step of it or -1.

    Raises:
        ValueError: for two arms of one label.
        FileNotFoundError: if the images are not there, with what to do.
    """
    comparison = Comparison(config, arms)
    if (stored := kept(comparison, None, progress)) is not None:
        names = [name for name in stored.data_vars if "sim" in stored[name].dims]
        return stored[names].load().drop_vars("sim").transpose("arm", "epoch", "sim").drop_attrs()
    found: dict[int, xr.Dataset] = {}
    for together in _programs(config, arms):
        trained = _train_together(comparison, [arms[i] for i in together], progress)
        found.update(zip(together, trained, strict=True))
    ordered = [found[i] for i in range(len(arms))]
    return xr.concat(ordered, xr.Variable("arm", comparison.grid["arm"]), join="exact", combine_attrs="drop")


class Comparison(Trainings):
    """Arms as the points of a sweep.

    Args:
        config: size and constants of the training.
        arms: what is compared.

    Raises:
        ValueError: for two arms of one label.
        FileNotFoundError: if the images are not there, with what to do.
    """

    rule = design = None

    def __init__(self, config: Config, arms: Sequence[Arm]):
        labels = [arm.label for arm in arms]
        if len(set(labels)) < len(labels):
            raise ValueError(f"arms: must have labels of their own, got {labels}")
        images = config.samples()
        super().__init__(config.network(images.outputs), config.split(images), config.epochs)
        self.config, self.arms = config, dict(zip(labels, arms, strict=True))
        self.grid, self.sims = {"arm": labels}, config.sims

    @property
    def apart(self) -> list[str]:
        return list(self.grid)

    def groups(self, name: str) -> list[list[int]]:
        return _alike(self.config, list(self.arms.values()))

    @property
    def most_agents(self) -> int:
        return max(arm.agents for arm in self.arms.values())

    def lanes(self) -> int:
        together = 1 if jax.default_backend() == "cpu" else self.config.stacked // self.most_agents
        return max(self.sims, together)

    def block(self, points: Sequence[Mapping[str, Any]], sims: tuple[int, int]) -> dict[str, Any]:
        config, arms, count = self.config, [self.arms[point["arm"]] for point in points], sims[1] - sims[0]
        batches = max(1, len(self.data.train_y) // config.batch)
        if count == config.sims:
            settings = config.settings(arms)
        else:  # a part of each arm's runs: also a single one, which no comparison may have
            part = copy.copy(config)
            object.__setattr__(part, "sims", count)
            settings = part.settings(arms)
        return dict(
            algorithm=side_by_side([config.algorithm(arm, batches) for arm in arms], count),
            eta=np.repeat([config.starting_rate(arm) for arm in arms], count),
            agents=arms[0].agents,
            batch=config.batch,
            runs=[arm.first + i for arm in arms for i in range(*sims)],
            seed=config.seed,
            same_start=arms[0].same_start,
            precision=config.precision,
            train_images=config.train_images,
            **settings,
            evaluation_batch=min(250, len(self.data.test_y)),
        )

    def measured(self, history: xr.Dataset) -> xr.Dataset:
        return _one_arm(history).rename(sim="run")

    @property
    def settings(self) -> dict[str, Any]:
        arms = [dataclasses.asdict(arm) for arm in self.arms.values()]
        return {**dataclasses.asdict(self.config), "arms": arms, "first_sim": self.first_sim}

    @property
    def call(self) -> Call:
        arms = list(self.arms.values())
        return Call("sdesim.papers.frame.networks.train", {"config": self.config, "arms": arms, "progress": False})

    def identity(self) -> dict[str, Any]:
        of_config = ("images", "train_images", "channels", "epochs", "batch", "precision", "seed")
        said = {name: short(getattr(self.config, name)) for name in of_config}
        return {**said, "data": hash_of((), self.data.trained_on), "grid": list(self.grid), **numerics()}

    def programs(self) -> dict[str, Program]:
        found = {}
        for group in self.groups("arm"):
            points = [{"arm": self.grid["arm"][i]} for i in group]
            computed = traced(self.checked(points[0]))
            for point in points:
                numbers = self.block([point], (0, 1))
                numbers["algorithm"] = numeric_fields(numbers["algorithm"])
                hashed = hash_of((computed, said_by(numbers)), ())
                found[size_key(point)] = Program(hashed, "arms")
        return found


def _alike(config: Config, arms: Sequence[Arm]) -> list[list[int]]:
    """Numbers of the arms that are alike but for numbers."""
    alike: dict[Any, list[int]] = {}
    for i, arm in enumerate(arms):
        alike.setdefault(config.alike(arm), []).append(i)
    return list(alike.values())


def _programs(config: Config, arms: Sequence[Arm]) -> list[list[int]]:
    """Numbers of the arms that are trained as one program: alike but for numbers, and not too many.

    Programs of one kind are as equal in size as can be, because each size is compiled by itself.
    """
    programs = []
    for members in _alike(config, arms):
        most = max(1, config.stacked // (arms[members[0]].agents * config.sims))
        programs += [part.tolist() for part in np.array_split(members, -(-len(members) // most))]
    return programs


def _train_together(comparison: Comparison, arms: list[Arm], progress: bool) -> list[xr.Dataset]:
    config, network, data = comparison.config, comparison.network, comparison.data
    first, repeats = arms[0], config.sims
    settings = comparison.block([{"arm": arm.label} for arm in arms], (0, repeats))
    algorithm = settings.pop("algorithm")
    cache = cache_folder()
    name = f"{first.algorithm}-{_hash(network, data, algorithm, settings)}"
    trained = training.train(
        network,
        data,
        algorithm,
        epochs=config.epochs,
        folder=None if cache is None else cache / "trained" / name,
        resume=True,
        progress=progress and (lambda p: tell(p, f"{first.algorithm}, {len(arms)} arms: ")),
        **settings,
    )
    history = whole(trained.history, config.epochs)
    return [_one_arm(history.isel(run=slice(i * repeats, (i + 1) * repeats))) for i in range(len(arms))]


def _hash(network: nn.Module, data: training.Split, algorithm: training.Algorithm, settings: dict[str, Any]) -> str:
    """Of all that decides a training but the number of its epochs, the code that trains included."""
    said = {n: value.tolist() if isinstance(value, np.ndarray) else value for n, value in settings.items()}
    schedule = _source(type(settings.get("schedule")))
    decides = without_addresses(repr((network, jax.tree.structure(algorithm), said, circumstances(), schedule)))
    return hash_of((_CODE, decides), (*data.trained_on, *jax.tree.leaves((algorithm, settings.get("stepper")))))[:24]


# Of the files that training depends on, when they are imported; an edit elsewhere, as in a picture, does not cost a
# trained network.
_TRAINER = (
    *("algorithms", "inner", "kinds", "networks", "schedule", "step", "measure", "programs", "setup", "loop"),
    *("workers", "arriving"),
)

_CODE = source.hash_of(
    source.modules(
        *("interop.as_optax", "coupling", "random", "steppers", "asynchrony"), *(f"training.{n}" for n in _TRAINER)
    )
)


@functools.cache
def _source(kind: type) -> str:
    """The source of a class, which may be of an experiment; empty where there is none, as of a type of Python's own."""
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(kind)
    return ""


def _one_arm(history: xr.Dataset) -> xr.Dataset:
    """What figures look at, of one arm: `NAME` of the tested quorum or center, `agents_NAME` of the agents' mean.

    What has diverged is not a number in either, also its accuracy, which is that of the class that comes first.
    """
    found = {}
    for name in ("train_loss", "test_loss", "test_accuracy"):
        loss = history[name.replace("accuracy", "loss")]
        values = history[name].where(np.isfinite(loss)) * (100 if name.endswith("accuracy") else 1)
        found[name] = values.isel(model=-1, drop=True)
        found[f"agents_{name}"] = values.isel(model=slice(0, -1)).mean("model", skipna=False)
    found["spread"] = history["spread"]
    found["eta"] = history["eta"].mean("agent")
    found["diverged"] = history["diverged"]
    if "time" in history.coords:  # of workers: a measurement like others
        found = {name: values.drop_vars("time", errors="ignore") for name, values in found.items()}
        found["time"] = history["time"].variable
    data = xr.Dataset(found).drop_vars(["run", "number", "layer", "agent", "model"], errors="ignore")
    return data.rename(run="sim").transpose(..., "sim")
