"""What the tests of claims share: which claims fail of some data, and a wrong model of several figures."""

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import xarray as xr

from sdesim import claims
from sdesim.asynchrony import AsyncSGD


def failed(figure: ModuleType, data: xr.Dataset, config: Any = None) -> set[str]:
    """Counted claims of a configuration, the smoke preset by default, that fail of some data."""
    config = figure.PRESETS["smoke"] if config is None else config
    experiment = figure.EXPERIMENT
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    return {c.id for c in claims.failed(found)}


class Fresh(AsyncSGD):
    """Every gradient is taken at the server's point of the arrival: no staleness."""

    def arrive(self, state, job):
        return super().arrive(state._replace(x=jnp.broadcast_to(state.shared["center"], state.x.shape)), job)
