"""The best value of one number, by the maps of moments."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from sdesim.analysis.stability import check_bracket, check_real, said_of, step_of
from sdesim.dynamics import Dynamics
from sdesim.fields import check_choice, check_count, shown
from sdesim.results.datasets import grid_axis
from sdesim.steppers import AbstractStepper, stepper_of

Goal = Literal["radius", "own", "quorum", "shared"]


@dataclasses.dataclass(frozen=True, eq=False)
class Optimum:
    """What `optimize` found.

    Attributes:
        best: the value at which the goal is least.
        value: the goal there.
        at_edge: whether `best` is an end of the bracket.
        table: what was looked at first, along the number's dimension (`coupling_k`): the goal, infinite where nothing
            is stationary.
    """

    best: float
    value: float
    at_edge: bool
    table: xr.DataArray


def optimize(
    model: Dynamics,
    name: str,
    bracket: tuple[float, float],
    *,
    goal: Goal = "radius",
    points: int = 33,
    stepper: AbstractStepper | None = None,
    agents: int = 1,
    at: ArrayLike = 0.0,
) -> Optimum:
    """The value of one number at which second moments fall fastest, or are least when stationary, by `linearize`.

    The goal is looked at on `points` equal steps, and between the neighbors of the best one it is followed to some 1e-8
    of the bracket: of several minima, to the least that these steps show. Nothing is simulated.

    Args:
        model: the dynamics.
        name: the number, as for `stability_map`: "eta", "coupling.k", "momentum.delta", "stepper.dt"; no integer.
        bracket: (low, high), where to look.
        goal: "radius", the factor of the second moments at a step or arrival; or a stationary mean square, summed over
            coordinates: "own" of an agent, "quorum" of the mean over agents, "shared" of what they share.
        points: values that are looked at first, at least 3.
        stepper: what one step is, as for `linearize`.
        agents: p.
        at: the point at which all rest, a number or (dims,).

    Returns:
        The best value.

    Raises:
        TypeError: as `linearize`.
        ValueError: as `linearize`; for a bad argument, and where nothing is stationary at any value.
    """
    stepper = stepper_of(stepper)
    check_real("name", model, stepper, name)
    check_choice("goal", goal, ("radius", "own", "quorum", "shared"))
    check_count("points", points, least=3)
    low, high = check_bracket(bracket)

    def of(value: float) -> float:
        step = step_of(model, stepper, {name: value}, agents, at)
        if goal == "radius":
            return step.radius()
        if goal == "shared" and not step.shared:
            raise ValueError("goal='shared': must be another; these agents share nothing")
        found = float(np.sum(said_of(step, np.size(at))[goal]))
        return found if np.isfinite(found) else np.inf

    values = np.linspace(low, high, points)
    best, value, goals = least_of(of, values)
    if np.isinf(goals).all():
        raise ValueError(
            f"bracket={shown(bracket)}: must hold a stable {name}; at none of {points} values is it stable"
        )
    return Optimum(best, value, best in (low, high), xr.DataArray(goals, [grid_axis(name, values)], name=goal))


def least_of(of: Callable[[float], float], values: NDArray) -> tuple[float, float, NDArray]:
    """Where a function is least: at the best of some values, or between its neighbors.

    Args:
        of: the function, infinite where it has no value.
        values: in ascending order, three or more.

    Returns:
        The place, the function there, and at all values.
    """
    from scipy.optimize import minimize_scalar  # a quarter of a second to import, which most of analysis does not need

    goals = np.array([of(value) for value in values.tolist()])
    k = int(np.argmin(goals))
    best, value = float(values[k]), float(goals[k])
    if np.isfinite(value):
        inner = values[max(k - 1, 0)], values[min(k + 1, len(values) - 1)]
        tight = {"xatol": 1e-10 * (values[-1] - values[0]), "maxiter": 500}
        found: Any = minimize_scalar(of, bounds=inner, method="bounded", options=tight)
        if found.fun < value:
            best, value = float(found.x), float(found.fun)
    return best, value, goals
