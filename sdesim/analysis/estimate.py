"""Numbers with their standard errors: over independent simulations, and over the time of a few."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sdesim.dynamics import Dynamics
from sdesim.fields import check_sign, concrete
from sdesim.observe import monte_carlo

ENOUGH = 10  # simulations whose own spread tells the error of their mean to a quarter
GROUPS = 20  # of the jackknife
RESAMPLES = 200  # of the bootstrap, which tells a standard error to 5 %


class Estimate(NamedTuple):
    """A number, or an array of numbers, and its standard error."""

    value: Any
    stderr: Any

    def __str__(self) -> str:
        """With two digits of the error, as "1.234 ± 0.056"; arrays as NumPy prints them."""
        if np.ndim(self.value) or not (np.isfinite(self.stderr) and self.stderr > 0):
            return f"{self.value} ± {self.stderr}"
        digits = int(np.clip(1 - np.floor(np.log10(self.stderr)), 0, 17))
        return f"{self.value:.{digits}f} ± {self.stderr:.{digits}f}"


def mean_of(values) -> Estimate:
    """The mean over the first axis, of independent simulations, and its standard error (NaN for one simulation)."""
    mean, stderr = monte_carlo(values)
    return Estimate(float(mean), float(stderr)) if np.ndim(mean) == 0 else Estimate(mean, stderr)


def share_of(values) -> Estimate:
    """As `mean_of`, for shares from 0 to 1: where all simulations say 0, or all say 1, that is not infinitely sure.

    The error is then that of one simulation in which it was otherwise.
    """
    values = np.asarray(values, float)
    mean, stderr = monte_carlo(values)
    n = len(values)
    softened = 1 / (n + 2)
    sure = (values == values[:1]).all(axis=0) & ((values[0] == 0) | (values[0] == 1))
    return Estimate(mean, np.where(sure, np.sqrt(softened * (1 - softened) / n), stderr))


def autocorrelation_time(series) -> float:
    """The integrated autocorrelation time of stationary series (sims, records), in records, at least 1.

    1 + 2 sum_n rho_n, the sum cut at the first lag beyond five such times (Sokal); the autocovariance rho is pooled
    over the simulations, about their common mean.
    """
    series = np.asarray(series, float)
    away = series - series.mean()
    size = away.shape[1]
    spectrum = np.abs(np.fft.rfft(away, 2 * size, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, :size].sum(axis=0) / np.arange(size, 0, -1)
    if covariance[0] <= 0:
        return 1.0
    total = 2 * np.cumsum(covariance / covariance[0]) - 1
    beyond = np.arange(size) >= 5 * total
    return max(1.0, float(total[np.argmax(beyond) if beyond.any() else size // 2]))


def stationary_mean(series) -> Estimate:
    """The mean of stationary series (sims, records) and its standard error.

    From ten simulations on the error is that of their independent means over time; below, of the variance over all
    records with the number of records divided by their integrated autocorrelation time, which wants series many such
    times long.

    Raises:
        ValueError: if `series` has another shape, or fewer than four records.
    """
    series = np.asarray(series, float)
    if series.ndim != 2 or series.shape[1] < 4:
        raise ValueError(f"series: must have shape (sims, records) with at least 4 records, got shape {series.shape}")
    if len(series) >= ENOUGH:
        return mean_of(series.mean(axis=1))
    effective = series.size / autocorrelation_time(series)
    return Estimate(float(series.mean()), float(series.std() / np.sqrt(max(effective - 1, 1))))


def jackknife(statistic: Callable[[np.ndarray], float], sims: int) -> float:
    """The standard error of statistic(indices of simulations), leaving out one of up to 20 groups at a time."""
    if sims < 2:
        return float("nan")
    groups = np.array_split(np.arange(sims), min(GROUPS, sims))
    without = np.array([statistic(np.setdiff1d(np.arange(sims), group)) for group in groups])
    g = len(groups)
    return float(np.sqrt((g - 1) / g * np.sum((without - without.mean()) ** 2)))


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], sims: int) -> np.ndarray:
    """The standard errors of statistic(how often each simulation counts), resampling whole simulations."""
    if sims < 2:
        return np.full(np.shape(statistic(np.ones(sims))), np.nan)
    rng = np.random.default_rng(0)
    resampled = [statistic(rng.multinomial(sims, np.full(sims, 1 / sims)).astype(float)) for _ in range(RESAMPLES)]
    return np.std(resampled, axis=0, ddof=1)


def step_length(model: Dynamics, dt) -> float:
    """The time that one step takes: dt, or the model's matched step.

    Raises:
        TypeError: if `model` is none.
        ValueError: for a learning rate that depends on the step, whose steps have no one length, or one of 0.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={model!r}: must be a sdesim.Dynamics")
    if dt is not None:
        check_sign("dt", dt, zero=False)
        return float(dt)
    if callable(model.eta):
        raise ValueError("dt=None: the model's eta depends on the step, so its steps have no one length: give dt")
    length = concrete(model.matched_step(), np.max)
    if length is None:
        raise ValueError("model: its numbers are being traced by a transformation; an analysis looks at their values")
    if length == 0:
        raise ValueError("model: its eta is 0, so its steps take no time; give it a learning rate above 0")
    return length
