"""Training of arms side by side.

Arms that differ in numbers alone are trained as one program, each several times; what is trained is kept in the cache
epoch by epoch, so that an experiment that was interrupted goes on where it was, and one that is asked for more epochs
goes on from those that it has.
"""

import contextlib
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim import source, training
from sdesim.cache import cache_folder
from sdesim.contents import without_addresses
from sdesim.papers.frame.cache import circumstances
from sdesim.papers.frame.networks.config import Arm, Config
from sdesim.training.callbacks import tell
from sdesim.training.store import hash_of


def train(config: Config, arms: Sequence[Arm], progress: bool) -> xr.Dataset:
    """Train all arms, or find what is kept of their training.

    Args:
        config: size and constants of the training.
        arms: what is compared.
        progress: whether to say how far it is.

    Returns:
        Losses and accuracies (percent) of the tested model, those of the agents' mean as `agents_NAME`, `spread` and
        `eta`, each (arm, epoch, sim) from epoch 0, before training, on; `diverged` (arm, sim), the step of it or -1.

    Raises:
        ValueError: for two arms of one label.
        FileNotFoundError: if the images are not there, with what to do.
    """
    labels = [arm.label for arm in arms]
    if len(set(labels)) < len(labels):
        raise ValueError(f"arms: must have labels of their own, got {labels}")
    images = training.load(config.data, None, config.images)
    data, network = config.split(images), config.network(images.outputs)
    found: dict[int, xr.Dataset] = {}
    for together in _programs(config, arms):
        trained = _train_together(config, network, data, [arms[i] for i in together], progress)
        found.update(zip(together, trained, strict=True))
    ordered = [found[i] for i in range(len(arms))]
    return xr.concat(ordered, xr.Variable("arm", labels), join="exact", combine_attrs="drop")


def _programs(config: Config, arms: Sequence[Arm]) -> list[list[int]]:
    """Numbers of the arms that are trained as one program: alike but for numbers, and not too many.

    Programs of one kind are as equal in size as can be, because each size is compiled by itself.
    """
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
    history = _whole(trained.history, config.epochs)
    return [_one_arm(history.isel(run=slice(i * repeats, (i + 1) * repeats))) for i in range(len(arms))]


def _hash(network: nn.Module, data: training.Split, algorithm: training.Algorithm, settings: dict[str, Any]) -> str:
    """Of all that decides a training but the number of its epochs, the code that trains included."""
    said = {n: value.tolist() if isinstance(value, np.ndarray) else value for n, value in settings.items()}
    schedule = _source(type(settings.get("schedule")))
    decides = without_addresses(repr((network, jax.tree.structure(algorithm), said, circumstances(), schedule)))
    return hash_of((_CODE, decides), (*data.trained_on, *jax.tree.leaves(algorithm)))[:24]


# Of the files that training depends on, when they are imported; an edit elsewhere, as in a picture, does not cost a
# trained network.
_TRAINER = ("algorithms", "inner", "kinds", "networks", "schedule", "step", "measure", "programs", "setup", "loop")

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
    """Epochs 0 to `epochs`: an earlier, longer training has more, and one whose every run diverged ends before.

    What diverged stays as it was found last.
    """
    numbers = np.arange(epochs + 1)
    return history.isel(epoch=np.minimum(numbers, history.sizes["epoch"] - 1)).assign_coords(epoch=numbers)


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
    data = xr.Dataset(found).drop_vars(["run", "number", "layer", "agent", "model"], errors="ignore")
    return data.rename(run="sim").transpose(..., "sim")
