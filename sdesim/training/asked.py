"""Sweeps of trainings that are asked for in a file: what stands there by name, as `sdesim train` names it."""

import pathlib
from collections.abc import Mapping
from typing import Any

from sdesim.fields import check_choice, shown
from sdesim.training.algorithms import algorithm
from sdesim.training.data import load, split
from sdesim.training.inner import optimizer
from sdesim.training.networks import NETWORKS
from sdesim.training.schedule import Constant, Stall
from sdesim.training.sweeps import TrainingGrid

DATA = ("cifar10", "synthetic", "imagenet", "text", "tabular")
BY_DATA = {"text": "transformer", "tabular": "perceptron"}
"""The network of data that have one alone; of images the three-layer one."""
SCHEDULES = {"stall": Stall, "constant": Constant}


def trainings_of(asked: Mapping[str, Any]) -> TrainingGrid:
    """A sweep of trainings by what a file has.

    Args:
        asked: arguments of `sdesim.training.sweep`, or what stands for them: `data` by its name, with `images` and
            `data_folder` as `sdesim train` has them; `network`, `algorithm` and `optimizer` by their names, or
            {"name": ..., number: ...}; `schedule` "stall" or "constant".

    Returns:
        The sweep.

    Raises:
        TypeError: as `sdesim.training.sweep`.
        ValueError: likewise.
        FileNotFoundError: for data that are not there, with what to do.
    """
    given = dict(asked)
    data, images, folder = (given.pop(name, None) for name in ("data", "images", "data_folder"))
    if isinstance(data, str):
        known: Any = check_choice("data", data, DATA)
        samples = load(known, None if folder is None else pathlib.Path(folder), images)
        name, numbers = _named("network", given.pop("network", BY_DATA.get(data, "three-layer")), NETWORKS)
        network = NETWORKS[name](samples.outputs, **numbers) if isinstance(name, str) else name
        data = split(samples, given.get("seed", 0))
    else:
        network = given.pop("network", None)
        if isinstance(network, str | Mapping):
            raise TypeError(f"network={shown(network)}: must be a module, beside data that are no name")
    for kind, make in (("algorithm", algorithm), ("optimizer", optimizer)):
        if kind in given:
            name, numbers = _named(kind, given[kind])
            given[kind] = make(name, **numbers) if isinstance(name, str) else name
    if isinstance(given.get("schedule"), str):
        given["schedule"] = SCHEDULES[check_choice("schedule", given["schedule"], SCHEDULES)]()
    return TrainingGrid(network, data, **given)


def _named(kind: str, given: Any, known: Any = None) -> tuple[Any, dict[str, Any]]:
    """A name and numbers; or what is none as it is."""
    if not isinstance(given, str | Mapping):
        return given, {}
    table = {"name": given} if isinstance(given, str) else dict(given)
    if not isinstance(name := table.pop("name", None), str):
        raise ValueError(f"{kind}={shown(given)}: must have a name")
    if known is not None:
        check_choice(kind, name, known)
    return name, {n: tuple(v) if isinstance(v, list) else v for n, v in table.items()}
