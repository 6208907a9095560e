"""What the experiments on networks share: arms of algorithms and numbers, trained side by side, and their curves.

An *arm* is one algorithm with its numbers. Arms that differ in numbers alone are trained as one program, each several
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
from sdesim.papers.frame.arms import Arm
from sdesim.papers.frame.cache import circumstances
from sdesim.papers.frame.curves import METRICS, heading, plot
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.results.datasets import cache_folder
from sdesim.statistics import greatest, least
from sdesim.training.loop import tell
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
    """Independent runs of every arm; runs of one number start alike and see the same batches."""
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

    def starting_rate(self, arm: "Arm") -> float:
        """The learning rate of an arm at the start."""
        return self.eta if arm.eta is None else arm.eta

    def algorithm(self, arm: "Arm", batches: int) -> training.Algorithm:
        """The algorithm of an arm, for epochs of so many batches."""
        momentum = self.momentum if arm.momentum is None else arm.momentum
        numbers: dict[str, Any] = dict(agents=arm.agents, eta=self.starting_rate(arm), k=arm.k, momentum=momentum)
        return training.algorithm(arm.algorithm, **numbers, period=arm.period, batches=batches)

    def alike(self, arm: "Arm") -> Any:
        """What arms share that are trained as one program."""
        # EASGD-WM is EASGD with a momentum of 0: a number.
        return arm.algorithm.removesuffix("-wm"), arm.agents, arm.period, arm.same_start

    def settings(self, arms: "list[Arm]") -> dict[str, Any]:
        """Further arguments of `training.train`, for arms of one program."""
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


def train(config: Config, arms: Sequence[Arm], progress: bool) -> xr.Dataset:
    """Train all arms: losses and accuracies of the tested model, and the mean ones of agents, (arm, epoch, sim).

    Raises:
        ValueError: for two arms of one label.
        FileNotFoundError: if the images are not there, with what to do.
    """
    labels = [arm.label for arm in arms]
    if len(set(labels)) < len(labels):
        raise ValueError(f"arms: must have labels of their own, got {labels}")
    images = training.load(config.data, None, config.images)
    data, network = config.split(images), config.network(images.classes)
    found: dict[int, xr.Dataset] = {}
    for together in _programs(config, arms):
        trained = _train_together(config, network, data, [arms[i] for i in together], progress)
        found.update(zip(together, trained, strict=True))
    ordered = [found[i] for i in range(len(arms))]
    return xr.concat(ordered, xr.Variable("arm", labels), join="exact", combine_attrs="drop")


def _programs(config: Config, arms: Sequence[Arm]) -> list[list[int]]:
    """Numbers of the arms that are trained as one program: alike but for numbers, and not too many. Programs of one
    kind are as equal in size as can be, because each size is compiled by itself."""
    alike: dict[Any, list[int]] = {}
    for i, arm in enumerate(arms):
        alike.setdefault(config.alike(arm), []).append(i)
    programs = []
    for members in alike.values():
        most = max(1, config.stacked // (arms[members[0]].agents * config.sims))
        programs += [part.tolist() for part in np.array_split(members, -(-len(members) // most))]
    return programs


def _train_together(
    config: Config, network: nn.Module, data: training.Split, arms: list[Arm], progress: bool
) -> list[xr.Dataset]:
    first, repeats = arms[0], config.sims
    batches = max(1, len(data.train_y) // config.batch)
    made = [config.algorithm(arm, batches) for arm in arms]
    # One value a run: each arm's, as often as it is repeated.
    algorithm = jax.tree.map(lambda *leaves: jnp.repeat(jnp.stack(leaves), repeats, axis=0), *made)
    settings: dict[str, Any] = dict(
        eta=np.repeat([config.starting_rate(arm) for arm in arms], repeats),
        agents=first.agents,
        batch=config.batch,
        runs=[arm.first + i for arm in arms for i in range(repeats)],
        seed=config.seed,
        same_start=first.same_start,
        precision=config.precision,
        train_images=config.train_images,
        **config.settings(arms),
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
        progress=progress and (lambda p: tell(p, f"{first.algorithm}, {len(arms)} arms: ")),
        **settings,
    )
    history = _whole(history, config.epochs)
    return [_one_arm(history.isel(run=slice(i * repeats, (i + 1) * repeats))) for i in range(len(arms))]


def _hash(network: nn.Module, data: training.Split, algorithm: training.Algorithm, settings: dict[str, Any]) -> str:
    """Of all that decides a training but the number of its epochs, the code that trains included."""
    said = {n: value.tolist() if isinstance(value, np.ndarray) else value for n, value in settings.items()}
    schedule = _source(type(settings.get("schedule")))
    decides = repr((network, jax.tree.structure(algorithm), said, circumstances(), schedule))
    return hash_of((_CODE, decides), (*data, *jax.tree.leaves(algorithm)))[:24]


# Of the files that training depends on, when they are imported; an edit elsewhere, as in a picture, does not cost a
# trained network.
_TRAINER = ("algorithms", "networks", "schedule", "step", "loop")
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


def _one_arm(history: xr.Dataset) -> xr.Dataset:
    """What figures look at, of one arm: `NAME` of the tested quorum or center, `agents_NAME` of the agents' mean. What
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


def last(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """A metric of an arm after the last epoch, (sims,); of what has diverged not a number, of which a claim fails."""
    return data[name].sel(arm=arm).isel(epoch=-1).values.astype(float)


def best(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """The best value of a metric over the epochs, of what diverges over those before, (sims,)."""
    values = data[name].sel(arm=arm)
    values = values.where(np.isfinite(values))
    return (values.max("epoch") if name.endswith("accuracy") else values.min("epoch")).values.astype(float)


def gain(arm: str, over: str, name: str = "test_accuracy") -> Callable[[Runs], np.ndarray]:
    """By how much the best value of a metric is better for one arm than for another, run by run: runs are paired."""
    sign = 1 if name.endswith("accuracy") else -1
    return lambda runs: sign * (best(runs.data, name, arm) - best(runs.data, name, over))


def distance(of: str, over: str) -> Callable[[Runs], np.ndarray]:
    """The agents' distance after the last epoch in one arm over that in another, run by run: runs are paired."""
    return lambda runs: last(runs.data, "spread", of) / last(runs.data, "spread", over)


def at_start(data: xr.Dataset, name: str, arm: str) -> np.ndarray:
    """A metric of an arm before training, (sims,)."""
    return data[name].sel(arm=arm).isel(epoch=0).values.astype(float)


def learns(id: str, arms: Sequence[Arm], points: float = 20.0) -> Statement:
    """Every arm's agents learn: a statement that holds at any size, as even twelve steps learn the synthetic set."""

    def smallest(runs):
        name = "agents_test_accuracy"
        return least([best(runs.data, name, arm.label) - at_start(runs.data, name, arm.label) for arm in arms]), 0.0

    text = "the agents of every arm learn in every run (least gain of test accuracy over the start, points)"
    return Statement(id, text, smallest, ">=", points, smoke=points)


def differs(id: str, statement: str, of: str, other: str, config: Config) -> Statement:
    """Two algorithms take different paths from one start, as seen after an epoch of so few steps that what rounding
    does in them is far below the threshold."""

    def smallest(runs):
        a, b = (runs.data["agents_train_loss"].sel(arm=arm).isel(epoch=1).values for arm in (of, other))
        return least(abs(a / b - 1)), 0.0

    text = f"{statement} (relative difference of training losses after epoch 1, least of the runs)"
    note = "" if config.short else "counted at smoke size alone: over more steps rounding grows as large"
    return Statement(id, text, smallest, ">=", 1e-3, counted=config.short, smoke=1e-3, note=note)


def same_starts(id: str, arms: Sequence[Arm]) -> Statement:
    """Arms of one run number start at one point: exact at any size, up to the rounding of different programs."""

    def worst(runs):
        values = [np.stack([at_start(runs.data, "agents_test_loss", arm.label) for arm in g]) for g in groups]
        return greatest([greatest(np.ptp(v, axis=0)) for v in values]), 0.0

    groups = [
        [arm for arm in arms if (arm.first, arm.agents) == key]
        for key in {(arm.first, arm.agents): None for arm in arms}
    ]
    text = "the methods compared start at the same points (largest difference of test losses before training)"
    return Statement(id, text, worst, "<=", 1e-3, smoke=1e-3)


def synchronizes(id: str, name: str, arm: str) -> Statement:
    """Agents of an arm that start apart come together in every run."""
    worst = lambda runs: (greatest(last(runs.data, "spread", arm) / at_start(runs.data, "spread", arm)), 0.0)
    text = f"{name} brings agents from their own starts together (last distance over the first, {arm.split(', ')[1]})"
    return Statement(id, text, worst, "<=", 0.5, smoke=0.5)


# -- the experiment ----------------------------------------------------------------------------------------------------


def experiment(
    name: str,
    title: str,
    says: str,
    sizes: dict[str, Config],
    arms: Callable[[Any], list[Arm]],
    statements: Callable[[Any], list[Statement]],
    picture: Callable[[Any, xr.Dataset], Figure] | None = None,
    metrics: Sequence[str] = METRICS,
    size: Callable[[Any], str] = lambda config: config.size,
) -> Experiment:
    """An experiment that trains arms; its picture is the curves of `plot`, of four metrics, if no other is given.

    size: what the networks saw, as the picture and the gallery say it.
    """

    def curves(config: Any, data: xr.Dataset) -> Figure:
        return plot(arms(config), data, heading(title, size(config), data), metrics)

    return Experiment(
        name,
        title,
        says,
        sizes,
        lambda config, progress: train(config, arms(config), progress),
        picture or curves,
        lambda config, data: Runs(data),
        lambda config: [dataclasses.replace(s, measured_on=size(config)) for s in statements(config)],
        trains=True,
    )
