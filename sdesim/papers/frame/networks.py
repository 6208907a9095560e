"""What the experiments on networks share: cells of algorithms and numbers, trained side by side, and their curves.

A *cell* is one algorithm with its numbers. Cells that differ in numbers alone are trained as one program, each several
times; what is trained is kept in the cache epoch by epoch, so that an experiment that was interrupted goes on where it
was, and one that is asked for more epochs goes on from those that it has. The numbers of the paper's figures are lost
in the available text, and are chosen here [C].
"""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim import source, training
from sdesim.claims import Statement
from sdesim.fields import check_choice, check_count, check_sign
from sdesim.papers.frame.cache import circumstances
from sdesim.papers.frame.cells import Cell
from sdesim.papers.frame.curves import METRICS, heading, plot
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.results.datasets import cache_folder
from sdesim.statistics import greatest, least
from sdesim.training.callbacks import tell
from sdesim.training.store import hash_of

# Of ten classes: the cross-entropy in nats, and the error in percent, of a network that guesses.
GUESS_LOSS, GUESS_ERROR = float(np.log(10.0)), 90.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and constants [C] of a training experiment."""

    data: Literal["cifar10", "synthetic"] = "cifar10"
    """The images; CIFAR-10 must have been fetched: sdesim data cifar10."""
    images: int | None = None
    """Use this many training images and a fifth as many test images alone; all by default."""
    train_images: int = 5000
    """Measure training loss and accuracy on so many of the training images."""
    channels: tuple[int, int, int] = (64, 128, 64)
    """Channels of the network's three convolutions."""
    epochs: int = 30
    """Passes through the training set."""
    sims: int = 3
    """Independent runs of every cell; runs of one number start alike and see the same batches."""
    batch: int = 128
    """Images a step and agent."""
    eta: float = 0.05
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum delta, of the algorithms that have one."""
    precision: str = "float32"
    """float32, tf32 or bfloat16."""
    stacked: int = 64
    """Networks (runs times agents) trained as one program, at the most: bounds memory."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("epochs", "sims", "batch", "stacked", "train_images"):
            check_count(name, getattr(self, name))
        for name in ("eta", "momentum"):
            check_sign(name, getattr(self, name))
        check_choice("data", self.data, ("cifar10", "synthetic"))
        if self.sims < 2:
            raise ValueError(f"sims={self.sims}: must be at least 2, for an error of the mean")

    @property
    def size(self) -> str:
        """What the networks see, in words."""
        images = "" if self.images is None else f"{self.images} images of "
        widths = "" if self.channels == Config.channels else f", channels {', '.join(map(str, self.channels))}"
        seen = f"{images}{self.data}{widths}, batches of {self.batch}"
        return f"{seen}, {self.epochs} epochs, {self.sims} runs"

    @property
    def short(self) -> bool:
        """Whether an epoch has so few steps that rounding has not grown in it."""
        return self.images is not None and self.images <= 20 * self.batch

    # What another paper's experiments do otherwise.

    def network(self, classes: int) -> nn.Module:
        """The network that is trained."""
        return training.ThreeLayer(classes=classes, channels=self.channels)

    def split(self, images: training.Images) -> training.Split:
        """The images as the trainer takes them."""
        return training.split(images, self.seed)

    def starting_rate(self, cell: "Cell") -> float:
        """The learning rate of a cell at the start."""
        return self.eta if cell.eta is None else cell.eta

    def algorithm(self, cell: "Cell", batches: int) -> training.Algorithm:
        """The algorithm of a cell, for epochs of so many batches."""
        momentum = self.momentum if cell.momentum is None else cell.momentum
        named = training.algorithm(cell.algorithm, k=cell.k, momentum=momentum, period=cell.period)
        return named(cell.agents, self.starting_rate(cell), batches)

    def alike(self, cell: "Cell") -> Any:
        """What cells share that are trained as one program."""
        # EASGD-WM is EASGD with a momentum of 0: a number.
        return cell.algorithm.removesuffix("-wm"), cell.agents, cell.period, cell.same_start

    def settings(self, cells: "list[Cell]") -> dict[str, Any]:
        """Further arguments of `training.train`, for cells of one program."""
        return {}


SMALL: dict[str, Any] = dict(images=4000, train_images=1000, channels=(16, 32, 64), epochs=10, batch=32)
"""CIFAR-10 as two cores can learn it: fewer images, a narrower network, smaller batches for as many steps."""


def presets(kind: type[Config], smoke: dict[str, Any], small: dict[str, Any]) -> dict[str, Config]:
    """The sizes of a training experiment: a minute on two cores, some ten minutes there, one GPU, the paper's. smoke,
    small: what is special about those."""
    tiny: dict[str, Any] = dict(data="synthetic", images=240, channels=(4, 8, 8), epochs=2, batch=32, sims=2)
    return {
        "smoke": kind(**{**tiny, **smoke}),
        "small": kind(**{**SMALL, **small}),
        "default": kind(),
        "paper": kind(epochs=150),
    }


def check_growing(name: str, values: Sequence[float], least: int = 1) -> None:
    """Numbers in growing order, each above 0, `least` of them or more; else a ValueError."""
    for value in values:
        check_sign(name, value, zero=False)
    if len(values) < least or list(values) != sorted(set(values)):
        raise ValueError(f"{name}={tuple(values)}: must be at least {least}, each greater than the one before")


# -- training ----------------------------------------------------------------------------------------------------------


def train(config: Config, cells: Sequence[Cell], progress: bool) -> xr.Dataset:
    """Train all cells: losses and accuracies of the tested model, and the mean ones of agents, (cell, epoch, sim).

    Raises:
        ValueError: for two cells of one label.
        FileNotFoundError: if the images are not there, with what to do.
    """
    labels = [c.label for c in cells]
    if len(set(labels)) < len(labels):
        raise ValueError(f"cells: must have labels of their own, got {labels}")
    images = training.load(config.data, None, config.images)
    data, network = config.split(images), config.network(images.classes)
    found: dict[int, xr.Dataset] = {}
    for together in _programs(config, cells):
        trained = _train_together(config, network, data, [cells[i] for i in together], progress)
        found.update(zip(together, trained, strict=True))
    ordered = [found[i] for i in range(len(cells))]
    return xr.concat(ordered, xr.Variable("cell", labels), join="exact", combine_attrs="drop")


def _programs(config: Config, cells: Sequence[Cell]) -> list[list[int]]:
    """Numbers of the cells that are trained as one program: alike but for numbers, and not too many. Programs of one
    kind are as equal in size as can be, because each size is compiled by itself."""
    alike: dict[Any, list[int]] = {}
    for i, cell in enumerate(cells):
        alike.setdefault(config.alike(cell), []).append(i)
    programs = []
    for members in alike.values():
        most = max(1, config.stacked // (cells[members[0]].agents * config.sims))
        programs += [part.tolist() for part in np.array_split(members, -(-len(members) // most))]
    return programs


def _train_together(
    config: Config, network: nn.Module, data: training.Split, cells: list[Cell], progress: bool
) -> list[xr.Dataset]:
    first, repeats = cells[0], config.sims
    batches = max(1, len(data.train_y) // config.batch)
    made = [config.algorithm(c, batches) for c in cells]
    # One value a run: each cell's, as often as it is repeated.
    algorithm = jax.tree.map(lambda *leaves: jnp.repeat(jnp.stack(leaves), repeats, axis=0), *made)
    settings: dict[str, Any] = dict(
        eta=np.repeat([config.starting_rate(c) for c in cells], repeats),
        agents=first.agents,
        batch=config.batch,
        runs=[c.first + i for c in cells for i in range(repeats)],
        seed=config.seed,
        same_start=first.same_start,
        precision=config.precision,
        train_images=config.train_images,
        **config.settings(cells),
        evaluation_batch=min(250, len(data.test_y)),
    )
    cache = cache_folder()
    name = f"{first.algorithm}-{_hash(network, data, algorithm, settings)}"
    history = training.train(
        network,
        data,
        algorithm,
        epochs=config.epochs,
        folder=None if cache is None else cache / "trained" / name,
        resume=True,
        progress=progress and (lambda p: tell(p, f"{first.algorithm}, {len(cells)} cells: ")),
        **settings,
    )
    history = _whole(history, config.epochs)
    return [_one_cell(history.isel(run=slice(i * repeats, (i + 1) * repeats))) for i in range(len(cells))]


def _hash(network: nn.Module, data: training.Split, algorithm: training.Algorithm, settings: dict[str, Any]) -> str:
    """Of all that decides a training but the number of its epochs, the code that trains included."""
    said = {n: value.tolist() if isinstance(value, np.ndarray) else value for n, value in settings.items()}
    schedule = _source(type(settings.get("schedule")))
    decides = repr((network, jax.tree.structure(algorithm), said, circumstances(), schedule))
    return hash_of((_CODE, decides), (*data, *jax.tree.leaves(algorithm)))[:24]


# Of the files that training depends on, when they are imported; an edit elsewhere, as in a picture, does not cost a
# trained network.
_TRAINER = ("algorithms", "networks", "schedule", "step", "measure", "programs", "setup", "loop")
_CODE = source.hash_of(
    source.modules("interop.as_optax", "coupling", "random", "steppers", *(f"training.{n}" for n in _TRAINER))
)


@functools.cache
def _source(kind: type) -> str:
    """The source of a class, which may be of an experiment; empty where there is none, as of a type of Python's own."""
    with contextlib.suppress(OSError, TypeError):
        return inspect.getsource(kind)
    return ""


def _whole(history: xr.Dataset, epochs: int) -> xr.Dataset:
    """Epochs 0 to `epochs`: an earlier, longer training has more, and one whose every run diverged ends before. What
    diverged stays as it was found last."""
    numbers = np.arange(epochs + 1)
    return history.isel(epoch=np.minimum(numbers, history.sizes["epoch"] - 1)).assign_coords(epoch=numbers)


def _one_cell(history: xr.Dataset) -> xr.Dataset:
    """What figures look at, of one cell: `NAME` of the tested quorum or center, `agents_NAME` of the agents' mean. What
    has diverged is not a number in either, also its accuracy, which is that of the class that comes first."""
    found = {}
    for name in METRICS[:3]:
        loss = history[name.replace("accuracy", "loss")]
        values = history[name].where(np.isfinite(loss)) * (100 if name.endswith("accuracy") else 1)
        found[name] = values.isel(model=-1, drop=True)
        found[f"agents_{name}"] = values.isel(model=slice(0, -1)).mean("model", skipna=False)
    found["spread"] = history["spread"]
    found["eta"] = history["eta"].mean("agent")
    found["diverged"] = history["diverged"]
    data = xr.Dataset(found).drop_vars(["run", "number", "layer", "agent", "model"], errors="ignore")
    return data.rename(run="sim").transpose(..., "sim")


# -- statistics --------------------------------------------------------------------------------------------------------


def last(data: xr.Dataset, name: str, cell: str) -> np.ndarray:
    """A metric of a cell after the last epoch, (sims,); of what has diverged not a number, of which a claim fails."""
    return data[name].sel(cell=cell).isel(epoch=-1).values.astype(float)


def best(data: xr.Dataset, name: str, cell: str) -> np.ndarray:
    """The best value of a metric over the epochs, of what diverges over those before, (sims,)."""
    values = data[name].sel(cell=cell)
    values = values.where(np.isfinite(values))
    return (values.max("epoch") if name.endswith("accuracy") else values.min("epoch")).values.astype(float)


def gain(cell: str, over: str, name: str = "test_accuracy") -> Callable[[Runs], np.ndarray]:
    """By how much the best value of a metric is better for one cell than for another, run by run: runs are paired."""
    sign = 1 if name.endswith("accuracy") else -1
    return lambda runs: sign * (best(runs.data, name, cell) - best(runs.data, name, over))


def distance(of: str, over: str) -> Callable[[Runs], np.ndarray]:
    """The agents' distance after the last epoch in one cell over that in another, run by run: runs are paired."""
    return lambda runs: last(runs.data, "spread", of) / last(runs.data, "spread", over)


def at_start(data: xr.Dataset, name: str, cell: str) -> np.ndarray:
    """A metric of a cell before training, (sims,)."""
    return data[name].sel(cell=cell).isel(epoch=0).values.astype(float)


def learns(id: str, cells: Sequence[Cell], points: float = 20.0) -> Statement:
    """Every cell's agents learn: a statement that holds at any size, as even twelve steps learn the synthetic set."""

    def smallest(runs):
        name = "agents_test_accuracy"
        return least([best(runs.data, name, c.label) - at_start(runs.data, name, c.label) for c in cells]), 0.0

    text = "the agents of every cell learn in every run (least gain of test accuracy over the start, points)"
    return Statement(id, text, smallest, ">=", points, smoke=points)


def differs(id: str, statement: str, of: str, other: str, config: Config) -> Statement:
    """Two algorithms take different paths from one start, as seen after an epoch of so few steps that what rounding
    does in them is far below the threshold."""

    def smallest(runs):
        a, b = (runs.data["agents_train_loss"].sel(cell=cell).isel(epoch=1).values for cell in (of, other))
        return least(abs(a / b - 1)), 0.0

    text = f"{statement} (relative difference of training losses after epoch 1, least of the runs)"
    note = "" if config.short else "counted at smoke size alone: over more steps rounding grows as large"
    return Statement(id, text, smallest, ">=", 1e-3, counted=config.short, smoke=1e-3, note=note)


def same_starts(id: str, cells: Sequence[Cell]) -> Statement:
    """Cells of one run number start at one point: exact at any size, up to the rounding of different programs."""

    def worst(runs):
        values = [np.stack([at_start(runs.data, "agents_test_loss", c.label) for c in g]) for g in groups]
        return greatest([greatest(np.ptp(v, axis=0)) for v in values]), 0.0

    groups = [[c for c in cells if (c.first, c.agents) == key] for key in {(c.first, c.agents): None for c in cells}]
    text = "the methods compared start at the same points (largest difference of test losses before training)"
    return Statement(id, text, worst, "<=", 1e-3, smoke=1e-3)


def synchronizes(id: str, name: str, cell: str) -> Statement:
    """Agents of a cell that start apart come together in every run."""
    worst = lambda runs: (greatest(last(runs.data, "spread", cell) / at_start(runs.data, "spread", cell)), 0.0)
    text = f"{name} brings agents from their own starts together (last distance over the first, {cell.split(', ')[1]})"
    return Statement(id, text, worst, "<=", 0.5, smoke=0.5)


# -- the experiment ----------------------------------------------------------------------------------------------------


def experiment(
    name: str,
    title: str,
    says: str,
    sizes: dict[str, Config],
    cells: Callable[[Any], list[Cell]],
    statements: Callable[[Any], list[Statement]],
    picture: Callable[[Any, xr.Dataset], Figure] | None = None,
    metrics: Sequence[str] = METRICS,
    size: Callable[[Any], str] = lambda config: config.size,
) -> Experiment:
    """An experiment that trains cells; its picture is the curves of `plot`, of four metrics, if no other is given.

    size: what the networks saw, as the picture and the gallery say it.
    """

    def curves(config: Any, data: xr.Dataset) -> Figure:
        return plot(cells(config), data, heading(title, size(config), data), metrics)

    return Experiment(
        name,
        title,
        says,
        sizes,
        lambda config, progress: train(config, cells(config), progress),
        picture or curves,
        lambda config, data: Runs(data),
        lambda config: [dataclasses.replace(s, measured_on=size(config)) for s in statements(config)],
        trains=True,
    )
