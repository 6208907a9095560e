"""Where steps are stable, and what they come to rest in, over a grid of numbers."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim.analysis.linear import linearize
from sdesim.analysis.moments import Linear
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import SIZES, STEPPER, checked_grid, coordinate, with_value
from sdesim.steppers import AbstractStepper, stepper_of

WORDS = {
    "radius": "factor of the second moments at a step or an arrival",
    "rate": "rate at which second moments decay",
    "mean_rate": "rate at which means decay",
    "stable": "whether it is stable in mean square",
    "own": "stationary mean square of an agent",
    "pair": "stationary mean product of two agents",
    "quorum": "stationary mean square of the mean over agents",
    "shared": "stationary mean square of what agents share",
}


def stability_map(
    model: Dynamics,
    grid: Mapping[str, Sequence],
    *,
    stepper: AbstractStepper | None = None,
    agents: int | None = None,
    at: ArrayLike = 0.0,
) -> xr.Dataset:
    """What `linearize` finds at every point of a grid: stability, rates, and stationary second moments.

    Points are computed one after another: some hundred in a few seconds where nothing discrete matters.

    Args:
        model: the dynamics.
        grid: values by name, as for `sweep`: any number of the model ("eta", "coupling.k"), "agents", and any number of
            the stepper ("stepper.protocol.period").
        stepper: what one step is, as for `linearize`.
        agents: p, unless the grid has it; 1 by default.
        at: the point at which all rest, a number or (dims,), of all points of the grid.

    Returns:
        A Dataset whose dimensions are the grid's names ("agents" as n_agents), then the coordinates: `radius`, `rate`,
        `mean_rate` and `stable`, and the stationary mean squares `own` of an agent, `pair` of two different ones (none
        for one), `quorum` of their mean, (..., dim), and `shared` of what they share, (..., coordinate), if anything.
        NaN where nothing is stationary. Rates are in units as of `Linear`.

    Raises:
        TypeError: as `linearize` and `sweep`.
        ValueError: as these, and for other sizes in the grid than "agents".
    """
    stepper = stepper_of(stepper)
    values = checked_grid(model, stepper, grid)
    if unfit := [name for name in SIZES if name in values and name != "agents"]:
        raise ValueError(f"grid: {unfit[0]} is no number of a step; the point `at` has the dimensions")
    if agents is not None and "agents" in values:
        raise ValueError(f"agents={agents}: is in the grid already; leave it out")
    found: list[dict[str, Any]] = []
    for point in itertools.product(*values.values()):
        p, here, stepping = 1 if agents is None else agents, model, stepper
        for name, value in zip(values, point, strict=True):
            if name == "agents":
                p = value
            elif name.startswith(STEPPER):
                stepping = with_value(stepping, name.removeprefix(STEPPER), value)
            else:
                here = with_value(here, name, value)
        found.append(_said(linearize(here, stepping, agents=p, at=at), np.size(at)))
    names = [SIZES.get(name, name) for name in values]
    counts = [len(v) for v in values.values()]
    ends = {1: (), 2: ("dim",)}
    variables = {}
    for name in found[0]:
        each = np.array([one[name] for one in found])
        axes = ("coordinate",) if name == "shared" else ends[each.ndim]
        variables[name] = ((*names, *axes), each.reshape(*counts, *each.shape[1:]), {"long_name": WORDS[name]})
    coordinates = {name: coordinate(v) for name, v in zip(names, values.values(), strict=True)}
    return xr.Dataset(variables, coordinates)


def _said(step: Linear, dims: int) -> dict[str, Any]:
    """What a map says of one step."""
    radius, p = step.radius(), step.agents
    said: dict[str, Any] = {"radius": radius, "rate": step.rate(), "mean_rate": step.mean_rate()}
    said["stable"] = radius < 1
    lost: dict[str, NDArray] = {"own": np.full((dims, dims), np.nan), "shared": np.full((step.shared,) * 2, np.nan)}
    try:
        moments = step.stationary()
    except ValueError:  # nothing is stationary
        moments = lost
    said["own"] = np.diag(moments["own"])[:dims]
    said["pair"] = np.diag(moments.get("pair", lost["own"]))[:dims]
    said["quorum"] = said["own"] if p == 1 else said["own"] / p + (1 - 1 / p) * said["pair"]
    if step.shared:
        said["shared"] = np.diag(moments["shared"])
    return said
