"""A bracketing search for the best gain, with the same random numbers at every gain."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr

from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_choice, check_count, numeric_fields
from sdesim.results.datasets import dimension, grid_axis
from sdesim.statistics import Estimate, standard_error

Observable = str | Callable[[xr.Dataset], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """What `best_k` found.

    Attributes:
        best: the value with the best mean among those evaluated.
        bracket: (low, high), between which the optimum lies if the observable has one optimum: the nearest values on
            either side that are worse by more than their errors, or the end of the first bracket.
        value: the observable's mean at `best`, and its standard error.
        table: all that was evaluated, along the number's dimension (`coupling_k`), over its values in ascending order:
            `mean`, `stderr`; `difference` from the best and its standard error `difference_stderr`, from the pairs with
            the same noise; `sims`, the simulations.
        reason: why the search ended.
        at_edge: whether `best` is an end of the first bracket.
    """

    best: float
    bracket: tuple[float, float]
    value: Estimate
    table: xr.Dataset
    reason: Literal["narrow", "noise", "evaluations"]
    at_edge: bool


def best_k(
    model: Dynamics,
    observable: Observable,
    bracket: tuple[float, float],
    *,
    goal: Literal["min", "max"] = "min",
    name: str = "coupling.k",
    points: int = 5,
    resolution: float = 0.02,
    errors: float = 3.0,
    evaluations: int = 40,
    sims: int = 100,
    **run: Any,
) -> Search:
    """The gain that makes the mean of an observable least or greatest.

    All gains see the same noise (one seed), so that two are compared by the differences of pairs of simulations, whose
    error is smaller than that of either mean. The first bracket is evaluated at `points` equal steps. Then the best
    value, with its neighbors, is the new bracket, widened to those that are not worse than the best by more than
    `errors` standard errors of the paired difference; and two values between the best and its neighbors are evaluated
    next. One optimum in the bracket is taken for granted.

    Args:
        model: the dynamics.
        observable: the name of a variable of `sweep`'s Dataset with one number a simulation ("quorum_loss", "spread"),
            or a function of that Dataset to a DataArray with the number's dimension, such as "coupling_k", and "sim".
        bracket: (low, high), where to look.
        goal: "min" or "max".
        name: the number that is searched, by its dotted name.
        points: values in the first round, at least 3.
        resolution: width at which the search ends, as a share of the first bracket.
        errors: standard errors that tell two values apart; the best of many is partly so by chance, so not below 3.
        evaluations: values that are looked at, at the most.
        sims: simulations at every value, at least 2.
        **run: as for `sweep`: agents, steps, seed, observe and the others.

    Returns:
        A `Search`. It ends when the bracket is narrow, when both neighbors of the best are within their errors of it
        (more simulations would tell), or after `evaluations`. A value at which a simulation is not finite is worse than
        any other.

    Raises:
        TypeError: for an argument of another kind; and as `sweep`.
        ValueError: for a bad argument; an observable that is not one number a simulation; where no value gives finite
            ones; and as `sweep`.
    """
    low, high = (float(b) for b in bracket)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"bracket={bracket!r}: must be two finite numbers, the lower first")
    check_choice("goal", goal, ("min", "max"))
    check_choice("name", name, numeric_fields(model))
    check_count("points", points, least=3)
    check_count("sims", sims, least=2)
    check_count("evaluations", evaluations, least=points)
    for label, value in (("resolution", resolution), ("errors", errors)):
        if not value > 0:
            raise ValueError(f"{label}={value!r}: must be greater than 0")
    sign = 1.0 if goal == "min" else -1.0
    seen: dict[float, np.ndarray] = {}
    along = dimension(name)

    def evaluate(values: Iterable[float]) -> None:
        data = sweep(model, {name: list(values)}, sims=sims, keep_agents=callable(observable), **run)
        for value, each in zip(values, _each(observable, data, along, sims), strict=True):
            seen[float(value)] = each

    evaluate(np.linspace(low, high, points))
    while True:
        at, mean, difference, error = _compared(seen, sign)
        best = int(np.argmin(mean))
        apart = difference > errors * error
        # The nearest on either side: one farther off that is alike by chance does not keep the bracket wide.
        left = next((i for i in range(best - 1, -1, -1) if apart[i]), 0)
        right = next((i for i in range(best + 1, len(at)) if apart[i]), len(at) - 1)
        found = (float(at[left]), float(at[right]))
        neighbors = [i for i in (best - 1, best + 1) if 0 <= i < len(at)]
        between = _between(at, best, neighbors)
        if found[1] - found[0] <= resolution * (high - low):
            reason = "narrow"
        elif not any(apart[i] for i in neighbors):
            reason = "noise"
        elif len(seen) + len(between) > evaluations:
            reason = "evaluations"
        else:
            evaluate(between)
            continue
        break
    values = np.stack([seen[k] for k in at])
    table = xr.Dataset(
        {
            "mean": (along, values.mean(axis=1)),
            "stderr": (along, standard_error(values, -1)),
            "difference": (along, sign * difference),
            "difference_stderr": (along, error),
        },
        {along: grid_axis(name, at)},
        {"goal": goal, "sims": sims},
    )
    value = Estimate(float(table["mean"][best]), float(table["stderr"][best]))
    return Search(float(at[best]), found, value, table, reason, best in (0, len(at) - 1))


def _between(at: np.ndarray, best: int, neighbors: list[int]) -> list[float]:
    """Two values to look at next (always two, for one compiled program): in the wider gaps beside the best."""
    gaps = {i: abs(at[i] - at[best]) for i in neighbors}
    widest = max(gaps, key=gaps.__getitem__)
    if min(gaps.values()) > 0.5 * gaps[widest] and len(gaps) == 2:
        return [(at[i] + at[best]) / 2 for i in neighbors]
    return [at[best] + (at[widest] - at[best]) * share for share in (1 / 3, 2 / 3)]


def _each(observable: Observable, data: xr.Dataset, along: str, sims: int) -> np.ndarray:
    """The observable of each simulation, (values, sims)."""
    if callable(observable):
        found = observable(data)
    else:
        check_choice("observable", observable, [str(v) for v in data.data_vars if "sim" in data[v].dims])
        found = data[observable]
    if isinstance(found, xr.DataArray) and set(found.dims) == {along, "sim"}:
        return found.transpose(along, "sim").values.astype(float)
    shape = dict(found.sizes) if isinstance(found, xr.DataArray) else type(found).__name__
    raise ValueError(
        f"observable: gives {shape}; it must be a DataArray of one number a simulation, with the dimensions {along!r} "
        "and 'sim' (choose a dim or a step, or average over them)"
    )


def _compared(seen: dict[float, np.ndarray], sign: float):
    """Values in order, their means to be minimized, and paired differences from the best with standard errors."""
    at = np.array(sorted(seen))
    values = np.asarray([sign * seen[k] for k in at])
    finite = np.isfinite(values).all(axis=1)
    if not finite.any():
        raise ValueError("observable: not finite in some simulation at every value of the bracket")
    mean, difference, error = np.full(at.size, np.inf), np.full(at.size, np.inf), np.zeros(at.size)
    mean[finite] = values[finite].mean(axis=1)
    pairs = values[finite] - values[int(np.argmin(mean))][None]
    difference[finite], error[finite] = pairs.mean(axis=1), standard_error(pairs, -1)
    return at, mean, difference, error
