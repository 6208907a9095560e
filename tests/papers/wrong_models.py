"""What the tests of claims share: which claims fail of some data, and which under a mutation."""

from types import ModuleType
from typing import Any

import xarray as xr

from sdesim import claims
from sdesim.papers.frame import breaks, mutations
from sdesim.papers.frame.experiment import Kept


def failed(figure: ModuleType, data: xr.Dataset, config: Any = None) -> set[str]:
    """Counted claims of a configuration, the smoke preset by default, that fail of some data."""
    config = figure.PRESETS["smoke"] if config is None else config
    experiment = figure.EXPERIMENT
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    return {c.id for c in claims.failed(found)}


def broken(figure: ModuleType, mutation: str) -> set[str]:
    """Counted claims of the smoke preset that fail under a mutation, by its name."""
    experiment = figure.EXPERIMENT
    wrong = mutations.tried(experiment.mutations)[mutation]
    config = experiment.preset("smoke")
    right = Kept(config, "smoke", xr.Dataset() if wrong.runs else experiment.run(config, False))
    return {c.id for c in claims.failed(breaks.mutated(experiment, wrong, right))}
