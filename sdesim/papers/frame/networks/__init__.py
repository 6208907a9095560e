"""What the experiments on networks share: arms, trained side by side, statements about them and their curves.

An *arm* is one algorithm with its numbers (see `Arm`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from sdesim.claims import Statement
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.claims import (
    GUESS_ERROR,
    GUESS_LOSS,
    at_start,
    best,
    differs,
    distance,
    gain,
    guessing,
    last,
    learns,
    same_starts,
)
from sdesim.papers.frame.networks.config import SMALL, Arm, Config, check_growing, presets
from sdesim.papers.frame.networks.mutations import MUTATIONS
from sdesim.papers.frame.networks.picture import METRICS, heading, plot
from sdesim.papers.frame.networks.run import train

__all__ = [
    "GUESS_ERROR",
    "GUESS_LOSS",
    "MUTATIONS",
    "SMALL",
    "Arm",
    "Config",
    "at_start",
    "best",
    "check_growing",
    "differs",
    "distance",
    "experiment",
    "gain",
    "guessing",
    "heading",
    "last",
    "learns",
    "presets",
    "same_starts",
    "train",
]


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
    """An experiment that trains arms, with the wrong trainings that are tried on each.

    Args:
        name: that the command line knows it by.
        title: what its picture shows.
        says: what the paper says of it.
        sizes: configurations by preset.
        arms: of a configuration, what is compared.
        statements: of a configuration, what is said of the comparison.
        picture: of a configuration and data; curves over epochs by default.
        metrics: those curves' four metrics.
        size: of a configuration, what the networks saw, as the picture and the gallery say it.
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
        mutations=MUTATIONS,
    )
