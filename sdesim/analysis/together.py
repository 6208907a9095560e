"""When agents have come together, and how close they stay: from the recorded spread of any run or sweep."""

import numpy as np
import xarray as xr

from sdesim.fields import check_sign, warn
from sdesim.results.result import Result
from sdesim.statistics import drift, jackknife, mean_of, stationary_mean

DRIFT = 4.0  # standard errors between the halves of a window, beyond which it is called not stationary


def synchronization(
    data: Result | xr.Dataset, *, multiple: float = 2.0, after: int | None = None, dt: float = 1.0
) -> xr.Dataset:
    """Synchronization time and level of runs that recorded `observe.Spread()`, sum_i |x^i - mean|^2 (BS 22).

    The level is the mean of the spread over the records from step `after` on, where it must be stationary; the time is
    the first at which the spread is at most `multiple` times the level. Both are resolved to the records (`every`).

    Args:
        data: a result of `simulate` or `iterate`, or the Dataset of a `sweep`, whose grid is kept.
        multiple: of the level, below which agents count as synchronized. Above 1; near 1 noise decides when.
        after: first step of the stationary window; by default half way.
        dt: length of a step in the unit that times are wanted in; times count steps by default.

    Returns:
        A Dataset over the grid with `level` (grid..., sim), the mean over time of each simulation, `level_mean` and
        `level_stderr`; `time` (grid..., sim), NaN for a simulation that never got there, `time_mean` and `time_stderr`;
        `synchronized`, the share that did; `drift`, from the first to the second half of the window, in standard
        errors. `time_mean` counts those that never did with the last record's time, and so is a lower bound where
        `synchronized` is less than 1. Its error includes that of the level, by the jackknife; that of the level is over
        simulations, or of the autocorrelation in time where there are fewer than ten. A grid point with a spread that
        is not finite has NaN.

    Raises:
        TypeError: for what is neither a result nor a Dataset.
        ValueError: without a recorded spread, or with fewer than four records from `after` on.

    Warns:
        UserWarning: where the drift is more than four standard errors: the runs are too short, or `after` too early.
    """
    series = _spread(data)
    check_sign("dt", dt, zero=False)
    if not multiple > 1:
        raise ValueError(f"multiple={multiple!r}: must be greater than 1; stationary spread is below its mean anyway")
    steps = series["step"].values
    window = steps >= ((steps[0] + steps[-1]) / 2 if after is None else after)
    if window.sum() < 4:
        raise ValueError(
            f"after={after}: leaves {window.sum()} of {steps.size} records, of steps {steps[0]} to {steps[-1]}; "
            "at least 4 are needed (a smaller `every` records more)"
        )
    grid = series.dims[:-2]
    shape = series.shape[:-2]
    values = series.values.astype(float)
    numbers = ("level_mean", "level_stderr", "time_mean", "time_stderr", "synchronized", "drift")
    found = {name: np.full(shape, np.nan) for name in numbers}
    each = {name: np.full(series.shape[:-1], np.nan) for name in ("level", "time")}
    for point in np.ndindex(shape):
        if not np.isfinite(values[point]).all():
            continue
        level, times, result = _one(values[point], window, steps * dt, multiple)
        each["level"][point], each["time"][point] = level, times
        for name, value in zip(numbers, result, strict=True):
            found[name][point] = value
    largest = np.nan_to_num(np.abs(found["drift"]), nan=0.0).max()
    if largest > DRIFT:
        warn(
            f"the spread drifts by {largest:.1f} standard errors within the window that should be stationary: run "
            "longer, or start the window later with `after`",
            UserWarning,
        )
    coordinates = {name: series[name] for name in (*grid, "sim") if name in series.coords}
    variables = {name: ((*grid, "sim"), value) for name, value in each.items()}
    return xr.Dataset({**variables, **{name: (grid, value) for name, value in found.items()}}, coordinates)


def _spread(data: Result | xr.Dataset) -> xr.DataArray:
    """The recorded spread, with dimensions (grid..., sim, step)."""
    if isinstance(data, Result):
        data = data.to_xarray()
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data={type(data).__name__}: must be a sdesim.Result or the xarray.Dataset of a sweep")
    series = data.get("spread_series", data.get("spread"))
    if series is None or "step" not in series.dims or "sim" not in series.dims:
        raise ValueError("data: no spread was recorded; run with observe=sdesim.observe.Spread()")
    return series.transpose(..., "sim", "step")


def _one(values: np.ndarray, window: np.ndarray, times: np.ndarray, multiple: float):
    """Level and time of each simulation of one grid point, and what is said of all of them."""
    stationary = values[:, window]
    last = times[-1]

    def passage(sims: np.ndarray) -> np.ndarray:
        below = values[sims] <= multiple * stationary[sims].mean()
        return np.where(below.any(axis=1), times[np.argmax(below, axis=1)], np.nan)

    everyone = np.arange(len(values))
    passed = passage(everyone)
    restricted = lambda sims: float(np.where(np.isnan(t := passage(sims)), last, t).mean())
    level = stationary_mean(stationary) if stationary.std() > 0 else mean_of(stationary.mean(axis=1))
    error, _ = jackknife(restricted, len(values))
    summary = (level.value, level.stderr, restricted(everyone), error, np.isfinite(passed).mean())
    return stationary.mean(axis=1), passed, (*summary, drift(stationary))
