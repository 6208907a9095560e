"""Where steps are stable, and what they come to rest in, over a grid of numbers."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim.analysis.linear import linearize
from sdesim.analysis.moments import Linear
from sdesim.dynamics import Dynamics
from sdesim.ensembles.points import STEPPER, checked_grid, coordinate, with_number
from sdesim.fields import check_choice, check_count, numeric_fields, shown
from sdesim.results.datasets import SIZES, dimension
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
    "boundary": "ends of the pieces of the line on which the radius is 1",
}
EXACT = 1e-12  # to which a point of the boundary is found, as a share of the edge on which it lies


def stability_map(
    model: Dynamics,
    grid: Mapping[str, Sequence] | None = None,
    *,
    x: Mapping[str, Sequence] | None = None,
    y: Mapping[str, Sequence] | None = None,
    stepper: AbstractStepper | None = None,
    agents: int | None = None,
    at: ArrayLike = 0.0,
) -> xr.Dataset:
    """What `linearize` finds at every point of a grid: stability, rates, and stationary second moments.

    Points are computed one after another, in float64: some hundred in a few seconds where nothing discrete matters.
    Over a plane of two numbers, `x` and `y`, the boundary of stability is traced too: where the radius is 1, it is
    found on each edge between neighbors of the grid of which one alone is stable, to the rounding of float64, and
    joined within each cell by straight pieces. What is finer than the grid is not seen.

    Args:
        model: the dynamics.
        grid: values by name, as for `sweep`: any number of the model ("eta", "coupling.k"), "agents", and any number of
            the stepper ("stepper.protocol.period").
        x: in place of a grid, with `y`: one name of a number that is no integer, and its values, in ascending order.
        y: likewise.
        stepper: what one step is, as for `linearize`.
        agents: p, unless the grid has it; 1 by default.
        at: the point at which all rest, a number or (dims,), of all points of the grid.

    Returns:
        A Dataset whose dimensions are the grid's names as of `sweep` (`coupling_k`, `n_agents`), then the coordinates:
        `radius`, `rate`, `mean_rate` and `stable`, and the stationary mean squares `own` of an agent, `pair` of two
        different ones (none for one), `quorum` of their mean, (..., dim), and `shared` of what they share, (...,
        coordinate), if anything.
        NaN where nothing is stationary. Rates are in units as of `Linear`. Of a plane too `boundary`, (piece, end,
        number): both ends of each piece, of which `number` names the dimensions.

    Raises:
        TypeError: as `linearize` and `sweep`.
        ValueError: as these, and for other sizes in the grid than "agents".
    """
    stepper = stepper_of(stepper)
    plane = None if x is None and y is None else _plane(model, stepper, grid, x, y)
    given: Any = grid if plane is None else plane
    values = checked_grid(model, stepper, given)
    if unfit := [name for name in SIZES if name in values and name != "agents"]:
        raise ValueError(f"grid: {unfit[0]} is no number of a step; the point `at` has the dimensions")
    if agents is not None and "agents" in values:
        raise ValueError(f"agents={agents}: is in the grid already; leave it out")
    p = 1 if agents is None else agents
    of = lambda *point: step_of(model, stepper, dict(zip(values, point, strict=True)), p, at)
    found = [said_of(of(*point), np.size(at)) for point in itertools.product(*values.values())]
    names = [dimension(name) for name in values]
    counts = [len(v) for v in values.values()]
    ends = {1: (), 2: ("dim",)}
    variables = {}
    for name in found[0]:
        each = np.array([one[name] for one in found])
        axes = ("coordinate",) if name == "shared" else ends[each.ndim]
        variables[name] = ((*names, *axes), each.reshape(*counts, *each.shape[1:]), {"long_name": WORDS[name]})
    coordinates: dict[str, Any] = {dimension(name): coordinate(name, v) for name, v in values.items()}
    if plane is not None:
        excess = lambda *point: of(*point).radius() - 1
        first, second = (np.asarray(v, float) for v in values.values())
        pieces = boundary(first, second, variables["radius"][1] - 1, excess)
        variables["boundary"] = (("piece", "end", "number"), pieces, {"long_name": WORDS["boundary"]})
        coordinates["number"] = np.array(names)
    return xr.Dataset(variables, coordinates)


def limit(
    model: Dynamics,
    name: str,
    bracket: tuple[float, float],
    *,
    points: int = 33,
    stepper: AbstractStepper | None = None,
    agents: int = 1,
    at: ArrayLike = 0.0,
) -> float:
    """How large one number may be: up to where steps are stable in mean square, by `linearize`.

    From the lower end of the bracket on, the radius is looked at on equal steps; between the last at which steps are
    stable and the first at which they are not, the number at which it is 1 is found to rounding. Nothing is simulated.

    Args:
        model: the dynamics.
        name: the number, as for `stability_map`: "eta", "coupling.k", "momentum.delta", "stepper.dt"; no integer.
        bracket: (low, high): a number at which steps are stable, and one at which they are not.
        points: values that are looked at, at least 2; what is narrower than their steps is not seen.
        stepper: what one step is, as for `linearize`.
        agents: p.
        at: the point at which all rest, a number or (dims,).

    Returns:
        The number.

    Raises:
        TypeError: as `linearize`.
        ValueError: as `linearize`; for a bad argument, where steps are not stable at the lower end, and where they
            are at all values.
    """
    stepper = stepper_of(stepper)
    check_real("name", model, stepper, name)
    check_count("points", points, least=2)
    low, high = check_bracket(bracket)
    excess = lambda value: step_of(model, stepper, {name: value}, agents, at).radius() - 1
    if (there := excess(low)) >= 0:
        raise ValueError(
            f"bracket={shown(bracket)}: must begin where steps are stable; at {name}={low:g} second moments change by "
            f"the factor {1 + there:.6g}"
        )
    stable = low
    for value in np.linspace(low, high, points)[1:].tolist():
        if excess(value) >= 0:
            return crossing(excess, stable, value)
        stable = value
    raise ValueError(
        f"bracket={shown(bracket)}: must end where steps are unstable; they are stable at all {points} values"
    )


def check_bracket(bracket: Any) -> tuple[float, float]:
    """The ends of a bracket.

    Args:
        bracket: (low, high).

    Returns:
        Both.

    Raises:
        ValueError: for what is not two finite numbers, the lower first.
    """
    ends = np.asarray(bracket, float) if np.shape(bracket) == (2,) else np.full(2, np.nan)
    low, high = ends.tolist()
    if not (np.isfinite(ends).all() and low < high):
        raise ValueError(f"bracket={shown(bracket)}: must be two finite numbers, the lower first")
    return low, high


def crossing(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where a function is 0, to rounding.

    Args:
        excess: the function, of two signs at the ends.
        low: one end.
        high: the other, above it.

    Returns:
        The place.
    """
    from scipy.optimize import brentq  # a quarter of a second to import

    found: Any = brentq(excess, low, high, xtol=EXACT * (high - low))
    return float(found)


def step_of(model: Dynamics, stepper: AbstractStepper, values: Mapping[str, Any], agents: int, at: ArrayLike) -> Linear:
    """The map of a step with other numbers, which are not rounded to float32.

    Args:
        model: the dynamics.
        stepper: what one step is.
        values: by the names of `stability_map`'s grid.
        agents: p, unless `values` has it.
        at: the point at which all rest.

    Returns:
        The map.
    """
    parts = {"": model, STEPPER: stepper}
    with jax.enable_x64(True):
        for name, value in values.items():
            if name == "agents":
                agents = value
            else:
                parts = with_number(parts, name, value)
        return linearize(parts[""], parts[STEPPER], agents=agents, at=at)


# -- the boundary -----------------------------------------------------------------------------------------------------


def _plane(model: Dynamics, stepper: AbstractStepper, grid: Any, x: Any, y: Any) -> dict[str, Sequence]:
    """Both numbers of a plane, by name."""
    if grid is not None:
        raise ValueError("grid: must be left out beside x and y, which are the whole plane")
    plane: dict[str, Sequence] = {}
    for axis, given in (("x", x), ("y", y)):
        if not isinstance(given, Mapping) or len(given) != 1:
            raise ValueError(f"{axis}={shown(given)}: must be one name and its values, such as {{'eta': [0.1, 0.2]}}")
        ((name, values),) = given.items()
        check_real(axis, model, stepper, name)
        if name in plane:
            raise ValueError(f"y={shown(given)}: must be another number than x")
        values = np.asarray(checked_grid(model, stepper, given)[name], float)
        if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
            raise ValueError(f"{axis}[{name!r}]={shown(given[name])}: must be at least two numbers in ascending order")
        plane[name] = values.tolist()
    return plane


def check_real(argument: str, model: Dynamics, stepper: AbstractStepper, name: str) -> None:
    """Refuse what is no name of a number between whose values there are others.

    Args:
        argument: what the caller calls the name.
        model: the dynamics.
        stepper: what one step is.
        name: of the number.

    Raises:
        TypeError: for what is no model.
        ValueError: naming the argument.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    fields = {**numeric_fields(model), **{STEPPER + n: value for n, value in numeric_fields(stepper).items()}}
    real = [n for n, a in fields.items() if a is None or np.issubdtype(a.dtype, np.floating)]
    check_choice(argument, name, real)


def boundary(x: NDArray, y: NDArray, excess: NDArray, of: Callable[[float, float], float]) -> NDArray:
    """The line on which a function is 0, between where it is below and where it is not.

    Args:
        x: in ascending order.
        y: likewise.
        excess: the function on their grid, (x, y).
        of: the function of a number of each.

    Returns:
        Both ends of each piece, (pieces, 2, 2); not in the line's order.
    """
    stable = excess < 0

    def between(a: tuple[int, int], b: tuple[int, int]) -> NDArray | None:
        """Where it is on the edge between two points of the grid."""
        if stable[a] == stable[b]:
            return None
        ends = [np.array([x[i], y[j]]) for i, j in (a, b)]
        if 0 in (excess[a], excess[b]):
            return ends[0] if excess[a] == 0 else ends[1]
        at = lambda share: (1 - share) * ends[0] + share * ends[1]
        known = {0.0: excess[a], 1.0: excess[b]}
        value = lambda share: known[share] if share in known else of(*at(share).tolist())
        return at(crossing(value, 0.0, 1.0))

    rows, columns = range(len(x)), range(len(y))
    edges = [((i, j), (i + 1, j)) for i in rows[:-1] for j in columns]
    edges += [((i, j), (i, j + 1)) for i in rows for j in columns[:-1]]
    found = {edge: between(*edge) for edge in edges}
    pieces = []
    for i, j in itertools.product(rows[:-1], columns[:-1]):
        around = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
        sides = [found[min(a, b), max(a, b)] for a, b in zip(around, around[1:] + around[:1], strict=True)]
        there = [side for side in sides if side is not None]
        if len(there) == 4:  # corners alternate: the middle says which are joined
            middle = of((x[i] + x[i + 1]) / 2, (y[j] + y[j + 1]) / 2) < 0
            there = sides if middle == stable[i, j] else [sides[3], *sides[:3]]  # the corners that are cut off
        pieces += [there[k : k + 2] for k in range(0, len(there), 2)]
    return np.array(pieces, float).reshape(-1, 2, 2)


def said_of(step: Linear, dims: int) -> dict[str, Any]:
    """What a map says of one step.

    Args:
        step: the map.
        dims: coordinates of the point.

    Returns:
        By the names of `stability_map`'s variables; NaN where nothing is stationary.
    """
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
