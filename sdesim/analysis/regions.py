"""Regions of the space of one point, and the share of time that agents and their quorum spend in them."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim.dynamics import Dynamics
from sdesim.fields import Part, check_count, check_less, check_sign, number, shown, unbounded_number, whole_number
from sdesim.observe import AbstractAccumulator, View, shares_after, shares_of
from sdesim.run import simulate
from sdesim.statistics import share_of
from sdesim.sums import Sum

Region = Callable[[Array], Any]
"""A function of a point (dims,) to whether it is inside, in plain jax.numpy: `Ball`, `Box`, or your own."""


class Ball(Part):
    """The points within `radius` of `center`.

    Attributes:
        center: a number or (dims,), in length.
        radius: greater than 0, in length.
    """

    center: Array = eqx.field(converter=number)
    radius: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("radius", self.radius, zero=False)

    def __call__(self, x: Array):
        return jnp.sum((x - self.center) ** 2) < self.radius**2


class Box(Part):
    """The points with low < x < high in every coordinate.

    Attributes:
        low: a number or (dims,), in length; infinite where left out.
        high: greater than low, a number or (dims,), in length; infinite where left out.
    """

    low: Array = eqx.field(converter=unbounded_number, default=-np.inf)
    high: Array = eqx.field(converter=unbounded_number, default=np.inf)

    def __check_init__(self):
        check_less("low", self.low, "high", self.high)

    def __call__(self, x: Array):
        return jnp.all((self.low < x) & (x < self.high))


def as_region(name: str, region: Any) -> Region:
    """A region as it is, or a pair (low, high) as a `Box`.

    Args:
        name: of the argument, in messages.
        region: the region, or the pair.

    Returns:
        The region.

    Raises:
        TypeError: if it is neither.
    """
    if callable(region):
        return region
    if isinstance(region, tuple | list) and len(region) == 2:
        return Box(*region)
    raise TypeError(f"{name}={shown(region)}: must be a function of a point, a Ball, a Box or a pair (low, high)")


def inside(region: Region, points: Array) -> Array:
    """Which of the points are in a region.

    Args:
        region: the region.
        points: (points, dims).

    Returns:
        Truth values, (points,).

    Raises:
        ValueError: for a region that does not say one truth value of a point.
    """

    def one(x: Array):
        answer = jnp.asarray(region(x))
        if answer.shape != () or answer.dtype != jnp.bool_:
            raise ValueError(
                f"region: of a point of shape {x.shape} it returned shape {answer.shape} and type {answer.dtype}; "
                "it must be one truth value (jnp.all over the coordinates?)"
            )
        return answer

    return jax.vmap(one)(points)


class Shares(AbstractAccumulator):
    """The share of records that agents, and the quorum, spend in each region, (basins,).

    Attributes:
        regions: the basins.
        after: the last step that does not count.
    """

    regions: tuple[Region, ...]
    after: Array = eqx.field(converter=whole_number, default=0)

    name = "shares"
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"agents": ("basin",), "quorum": ("basin",)}

    def starts_after(self):
        return self.after

    def init(self, view: View):
        zeros = Sum.of(jnp.zeros(len(self.regions), view.state.x.dtype))
        return jnp.zeros((), jnp.int32), zeros, zeros

    def update(self, total: Any, view: View):
        dtype = view.state.x.dtype
        share = lambda points: jnp.stack([jnp.mean(inside(r, points).astype(dtype)) for r in self.regions])
        return shares_after(total, view, self.after, share)

    def finish(self, total: Any):
        return shares_of(total)


def occupancy(
    model: Dynamics,
    basins: Mapping[str, Any],
    *,
    steps: int,
    sims: int = 20,
    after: int | None = None,
    every: int | None = None,
    **run: Any,
) -> xr.Dataset:
    """The share of time that agents, and their quorum, spend in each of some basins.

    Args:
        model: the dynamics.
        basins: regions by name: a pair (low, high), `Box`, `Ball`, or a function of a point (dims,) to a truth value.
            They may overlap, and need not cover the space.
        steps: number of steps.
        sims: independent simulations.
        after: the last step that does not count; by default half of `steps`.
        every: steps between two records; a hundredth of `steps` by default.
        **run: as for `simulate`.

    Returns:
        A Dataset with dimensions sim and basin: `agents` and `quorum`, the shares in each simulation, and of each the
        mean `NAME_mean` and standard error `NAME_stderr` over the independent simulations. Where all simulations say
        0, or all say 1, the error is that of one in which it was otherwise. A simulation that diverged is in no basin.

    Raises:
        TypeError: without basins, for what is no region; and as `simulate`.
        ValueError: where no record is left; and as `simulate`.
    """
    if not isinstance(basins, Mapping) or not basins:
        example = "{'left': (-2, 0), 'right': (0, 2)}"
        raise TypeError(f"basins={shown(basins)}: must be regions by name, such as {example}")
    check_count("steps", steps)
    every = check_count("every", max(1, -(-steps // 100)) if every is None else every)
    after = check_count("after", steps // 2 if after is None else after, least=0)
    if steps // every * every <= after:
        raise ValueError(f"after={after}, every={every}: no record of the {steps} steps is left to count")
    regions = tuple(as_region(f"basins[{name!r}]", region) for name, region in basins.items())
    result = simulate(model, steps=steps, sims=sims, observe=Shares(regions, after), every=every, **run)
    variables: dict[str, Any] = {}
    for name in ("agents", "quorum"):
        values = np.asarray(result.observed[f"shares_{name}"], float)
        mean, stderr, _ = share_of(values)
        variables[name] = (("sim", "basin"), values)
        variables[f"{name}_mean"], variables[f"{name}_stderr"] = ("basin", mean), ("basin", stderr)
    return xr.Dataset(variables, {"basin": list(basins), "sim": result.first_sim + np.arange(sims)})
