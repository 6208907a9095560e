"""Runs at some points of a picture of theory, and what theory says there."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sdesim import observe
from sdesim.dynamics import Dynamics
from sdesim.ensembles.warnings import StabilityWarning
from sdesim.fields import check_count
from sdesim.run import simulate
from sdesim.steppers import AbstractStepper

WHAT = ("center", "mean", "workers")
"""Whose squares are recorded: the center, the mean of the workers, and the workers, of which the mean is taken."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes [C]; the constants of a figure are Z's, and stand with it."""

    sims: int = 20_000
    """Simulations at each point."""
    resolution: int = 200
    """Points along each side of a map."""
    seed: int = 0
    """Of all randomness."""

    def __post_init__(self):
        check_count("sims", self.sims, least=2)
        check_count("resolution", self.resolution, least=2)


def presets(sims: int = 20_000, smoke: int = 2_000) -> dict[str, Config]:
    """The presets of a figure.

    Args:
        sims: simulations of the default.
        smoke: of the smoke size.
    """
    return {
        "smoke": Config(sims=smoke, resolution=40),
        "default": Config(sims=sims),
        "paper": Config(sims=10 * sims, resolution=1000),
    }


@dataclasses.dataclass(frozen=True)
class Points:
    """Where runs are made, and what theory says of them.

    Attributes:
        names: of the numbers that a point has.
        values: the points, one number a name each.
        label: of a point, for the legend.
        model: of a point, its dynamics and number of agents.
        stepper: of the runs, or a function of a point to it.
        init: where workers start, as `simulate` takes it, or a function of configuration and point to that.
        steps: of the runs.
        exact: of a point, E c^2, E y^2 and the mean of E x_i^2 at each look, (looks, 3).
        radius: of a point: of the second moments, or of the means.
        what: which of these moments theory speaks of, of `WHAT`.
        compared: steps up to which runs and theory are compared; all by default.
        every: steps between two looks.
        clock: what steps are called.
        since: the look from which on squares fall where it is stable, and grow where it is not.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    label: Callable[..., str]
    model: Callable[..., tuple[Dynamics, int]]
    stepper: AbstractStepper | Callable[..., AbstractStepper]
    init: Any
    steps: int
    exact: Callable[..., NDArray]
    radius: Callable[..., float]
    what: tuple[str, ...] = WHAT
    compared: int | None = None
    every: int = 1
    clock: str = "step"
    since: int = 0

    def run(self, config: Config, progress: bool = False) -> xr.Dataset:
        """`squares` (point, step, what, sim).

        Args:
            config: sizes.
            progress: whether to say how far it is.
        """
        parts = [self._squares(config, values, progress) for values in self.values]
        squares = xr.DataArray(
            np.stack(parts),
            {"step": np.arange(0, self.steps + 1, self.every), "what": list(WHAT)},
            ("point", "step", "what", "sim"),
        )
        columns = zip(self.names, zip(*self.values, strict=True), strict=True)
        return xr.Dataset({"squares": squares}).assign_coords({name: ("point", list(v)) for name, v in columns})

    def theory(self, data: xr.Dataset) -> xr.DataArray:
        """What theory says after each step, from the start on.

        Args:
            data: of the runs.
        """
        found = np.stack([self.exact(*values) for values in self.values])
        return xr.DataArray(found, {"what": list(WHAT)}, ("point", "step", "what")).sel(what=list(self.what))

    def _squares(self, config: Config, values: Sequence[float], progress: bool) -> NDArray:
        model, agents = self.model(*values)
        stepper = self.stepper if isinstance(self.stepper, AbstractStepper) else self.stepper(*values)
        start = self.init(config, *values) if callable(self.init) else self.init
        with warnings.catch_warnings():  # half of the points are unstable, and are meant to be
            warnings.simplefilter("ignore", StabilityWarning)
            found = simulate(
                model,
                agents=agents,
                sims=config.sims,
                steps=self.steps,
                stepper=stepper,
                init=start,
                seed=config.seed,
                every=self.every,
                observe=Squares(),
                progress=progress,
            )
        return np.moveaxis(np.asarray(found.to_xarray()[Squares.name], float), 0, -1)


class Squares(observe.AbstractSeries):
    """c^2, the square of the workers' mean, and the mean of their squares: of one coordinate, (3,)."""

    name = "squares"
    axes = ("what",)

    def value(self, view: observe.View):
        x = view.state.x[:, 0]
        return jnp.stack([view.center[0] ** 2, view.quorum[0] ** 2, jnp.mean(x**2)])

    def numbers(self, agents: int, dims: int):
        return 3
