"""Numbers with their standard errors, over independent simulations and over the time of a few: each rule once.

Measurements over a grid are DataArrays with a dimension "sim" of independent simulations. Nothing here skips what is
not finite, as xarray's reductions, comparisons and Python's min and max do: a statistic that looks at a NaN or an
infinity, at any point of its grid and in any simulation, is NaN.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from sdesim.fields import shown
from sdesim.random import said_in

ENOUGH = 10  # simulations whose own variance tells the error of their mean to a quarter
SKEWED = 5  # simulations, of which all but one still have a skewness
GROUPS = 20  # of the jackknife
RESAMPLES = 200  # of the bootstrap, which tells a standard error to 5 %
DECISIVE = 3.0  # standard errors, where the error is known exactly
KERNELS = 256  # of a density, that are held at a time
ROUNDING = 1e-5  # of a mean: what is nearer to it is not random


class Estimate(NamedTuple):
    """A number, or an array of numbers, and its standard error.

    Attributes:
        value: the number, or an array.
        stderr: its standard error, of the same shape.
        dof: degrees of freedom of the error, infinite for one that is known exactly.
    """

    value: Any
    stderr: Any
    dof: float = math.inf

    def __str__(self) -> str:
        """With two digits of the error, as "1.234 ± 0.056"; arrays as NumPy prints them."""
        if np.ndim(self.value) or not (np.isfinite(self.stderr) and self.stderr > 0):
            return f"{self.value} ± {self.stderr}"
        digits = int(np.clip(1 - np.floor(np.log10(self.stderr)), 0, 17))
        return f"{self.value:.{digits}f} ± {self.stderr:.{digits}f}"


def decisive(dof: float = math.inf, looks: int = 1) -> float:
    """How many standard errors decide: as many as chance exceeds once in 740 in one look, or in the worst of several.

    Of normal values this is exact for one look, and for several however they hang together an upper limit
    (Bonferroni), which is nearly reached where they are independent. Few skewed values exceed it more often: `worst`
    knows how much of what it sees may be that.

    Args:
        dof: degrees of freedom of the error, for Student's t; infinite for an error that is known exactly.
        looks: how many numbers are looked at, each to one side; a look to both sides counts twice.

    Returns:
        3 for one look with an error that is known exactly; more the more looks, and the fewer degrees of freedom.
    """
    if math.isinf(dof) and looks == 1:
        return DECISIVE
    from scipy.special import ndtr, ndtri, stdtrit  # scipy.stats takes half a second more to import

    chance = ndtr(-DECISIVE) / looks
    return float(-ndtri(chance) if math.isinf(dof) else -stdtrit(dof, chance))


# -- over independent simulations --------------------------------------------------------------------------------------


@np.errstate(invalid="ignore", over="ignore")  # of what is not finite there is none: NaN
def standard_error(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """Of the mean over an axis of independent simulations, from their variance; NaN of one simulation.

    Args:
        values: of any shape.
        axis: of the simulations.

    Returns:
        Of the shape of `values` without that axis.
    """
    values = np.asarray(values, float)
    n = values.shape[axis]
    return values.std(axis, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.mean(axis).shape, np.nan)


def median_error(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """Standard error of the median over an axis of independent normal values, sqrt(pi / 2) times that of their mean.

    Args:
        values: of any shape.
        axis: of the values.

    Returns:
        Of the shape of `values` without that axis; NaN of one value.
    """
    return np.sqrt(np.pi / 2) * standard_error(values, axis)


@np.errstate(invalid="ignore")
def monte_carlo(values: ArrayLike, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the simulation axis and its standard error.

    Args:
        values: of any shape.
        axis: of the simulations.

    Returns:
        Both of the shape of `values` without that axis.
    """
    values = np.asarray(values, float)
    return values.mean(axis), standard_error(values, axis)


def mean_of(values: Sequence | np.ndarray) -> Estimate:
    """The mean over independent simulations and its standard error.

    Args:
        values: (sims, ...).

    Returns:
        One less degrees of freedom than simulations.
    """
    mean, stderr = monte_carlo(values)
    dof = len(values) - 1
    return Estimate(float(mean), float(stderr), dof) if np.ndim(mean) == 0 else Estimate(mean, stderr, dof)


def share_of(values: ArrayLike) -> Estimate:
    """As `mean_of`, for shares from 0 to 1: where all simulations say 0, or all say 1, that is not infinitely sure.

    The error is then that of one simulation in which it was otherwise. Of yes and no, it is never below that of one yes
    and one no more, and counts as normal.

    Args:
        values: (sims, ...), truth values or shares.

    Returns:
        The mean share.
    """
    values = np.asarray(values)
    n = len(values)
    error = lambda share: np.sqrt(share * (1 - share) / n)
    if values.dtype == bool:
        mean = values.mean(axis=0)
        return Estimate(mean, np.maximum(error(mean), error((values.sum(axis=0) + 1) / (n + 2))))
    mean, stderr = monte_carlo(values)
    sure = (values == values[:1]).all(axis=0) & ((values[0] == 0) | (values[0] == 1))
    return Estimate(mean, np.where(sure, error(1 / (n + 2)), stderr), n - 1)


def jackknife(statistic: Callable[[np.ndarray], Any], sims: int) -> tuple[float, int]:
    """The standard error of a statistic of simulations, leaving out one of up to 20 groups at a time.

    Args:
        statistic: of the indices of the simulations that count.
        sims: how many there are; NaN of fewer than two.

    Returns:
        The error, and its degrees of freedom, one less than groups.
    """
    if sims < 2:
        return math.nan, 0
    groups = np.array_split(np.arange(sims), min(GROUPS, sims))
    without = np.array([np.asarray(statistic(np.setdiff1d(np.arange(sims), group)), float) for group in groups])
    g = len(groups)
    return float(np.sqrt((g - 1) / g * np.sum((without - without.mean()) ** 2))), g - 1


def skewness(values: ArrayLike, axis: int = -1) -> np.ndarray:
    """The third central moment over the variance to the power of 3/2, corrected for the bias of few values.

    Few values of a skewed law seldom have its rare ones. Of gamma's, the adjusted Fisher-Pearson coefficient G of n
    values is too small by (21/4 + 27/16 skewness^2) / n of it, to first order (by moments of k-statistics). What is
    corrected with G in place of the skewness is in the mean of 16 values too large by a tenth, of 100 right to 4 %.

    Args:
        values: of any shape, at least three along the axis.
        axis: of the values.

    Returns:
        Of the shape of `values` without that axis; NaN where they are all the same.
    """
    values = np.asarray(values, float)
    n = values.shape[axis]
    off = values - values.mean(axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = np.sqrt(n * (n - 1)) / (n - 2) * (off**3).mean(axis) / (off**2).mean(axis) ** 1.5
    return g * (1 + (21 / 4 + 27 / 16 * g**2) / n)


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], sims: int) -> np.ndarray:
    """The standard errors of a statistic of simulations, resampling whole simulations.

    Args:
        statistic: of how often each simulation counts, (sims,), to an array.
        sims: how many there are; NaN of fewer than two.

    Returns:
        Of the shape of the statistic.
    """
    if sims < 2:
        return np.full(np.shape(statistic(np.ones(sims))), np.nan)
    rng = np.random.default_rng(0)
    resampled = [statistic(rng.multinomial(sims, np.full(sims, 1 / sims)).astype(float)) for _ in range(RESAMPLES)]
    return np.std(resampled, axis=0, ddof=1)


def kolmogorov(values: ArrayLike, law: str = "norm") -> Estimate:
    """The largest distance between the distribution of independent values and a law.

    Args:
        values: (sims,).
        law: its name in scipy.stats, the standard normal one by default.

    Returns:
        The distance, NaN where a value is not finite, and its standard deviation for values of the law as they grow
        many: that of Kolmogorov's, sqrt(pi^2 / 12 - pi / 2 log^2 2) = 0.260, over the root of their number.
    """
    from scipy.stats import kstest

    values = np.asarray(values, float)
    error = math.sqrt((math.pi**2 / 12 - math.pi / 2 * math.log(2) ** 2) / values.size)
    found: Any = kstest(values, law) if np.isfinite(values).all() else None
    return Estimate(math.nan if found is None else float(found.statistic), error)


def variance_ratio(groups: np.ndarray) -> np.ndarray:
    """Whether groups differ by more than their simulations do.

    Args:
        groups: (..., groups, sims).

    Returns:
        The F statistic over its 99.9 % quantile, (...), at most 1 where they are alike.
    """
    from scipy.stats import f

    count, sims = groups.shape[-2:]
    between = sims * groups.mean(-1).var(-1, ddof=1)
    within = groups.var(-1, ddof=1).mean(-1)
    return between / within / f.ppf(0.999, count - 1, count * (sims - 1))


# -- over time ---------------------------------------------------------------------------------------------------------


def autocorrelation_time(series: ArrayLike) -> float:
    """The integrated autocorrelation time of stationary series, at least 1.

    1 + 2 sum_n rho_n, the sum cut at the first lag beyond five such times (Sokal); the autocovariance rho is pooled
    over the simulations, about their common mean.

    Args:
        series: (sims, records).

    Returns:
        The time, in records.
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


def stationary_mean(series: ArrayLike) -> Estimate:
    """The mean of stationary series and its standard error.

    From ten simulations on the error is that of their independent means over time; below, of the variance over all
    records with the number of records divided by their integrated autocorrelation time, which wants series many such
    times long.

    Args:
        series: (sims, records).

    Returns:
        The mean over simulations and time.

    Raises:
        ValueError: if `series` has another shape, or fewer than four records.
    """
    series = np.asarray(series, float)
    if series.ndim != 2 or series.shape[1] < 4:
        raise ValueError(f"series: must have shape (sims, records) with at least 4 records, got shape {series.shape}")
    if len(series) >= ENOUGH:
        return mean_of(series.mean(axis=1))
    effective = max(series.size / autocorrelation_time(series) - 1, 1)
    return Estimate(float(series.mean()), float(series.std() / np.sqrt(effective)), effective)


def drift(series: ArrayLike) -> float:
    """The change of the mean from the first half of series to the second, in standard errors.

    From ten simulations on the error is that of their independent changes; below, that of two means over the second
    half, as a decay in the first would pass for a large one.

    Args:
        series: (sims, records).

    Returns:
        The score; NaN of fewer than ten simulations with fewer than eight records.
    """
    series = np.asarray(series, float)
    half = series.shape[1] // 2
    first, second = series[:, :half], series[:, -half:]
    if len(series) >= ENOUGH:
        value, error, _ = mean_of(second.mean(axis=1) - first.mean(axis=1))
    elif half < 4:
        return math.nan
    else:
        value, error = float(second.mean() - first.mean()), math.sqrt(2) * stationary_mean(second).stderr
    return value / error if error > 0 else 0.0 if value == 0 else math.copysign(math.inf, value)


# -- of paired simulations ---------------------------------------------------------------------------------------------


def paired(one: xr.Dataset, other: xr.Dataset, *, names: tuple[str, str] = ("one", "other")) -> xr.Dataset:
    """Differences of what two ensembles of the same noise have, simulation by simulation, with their errors.

    Args:
        one: with the dimension "sim".
        other: what is subtracted, of the same simulations, seed and generator; also another point of the same sweep.
        names: what both are called in labels, which say "one - other".

    Returns:
        Of each variable NAME with the dimension "sim" that both have: the differences NAME, their mean NAME_mean and
        its standard error NAME_stderr, from the variance of the differences, and NAME_apart, the error that it would
        have if the ensembles were independent. The attribute `difference` says which less which.

    Raises:
        TypeError: for what is no Dataset.
        ValueError: where simulations, or the seed or generator that settings name, are not the same, or nothing is in
            both, and for names that are not two texts.
    """
    if not isinstance(names, tuple | list) or len(names) != 2 or not all(isinstance(n, str) for n in names):
        raise ValueError(f"names={shown(names)}: must be two texts, such as ('EASGD', 'QSGD')")
    for name, data in (("one", one), ("other", other)):
        if not isinstance(data, xr.Dataset):
            raise TypeError(f"{name}: must be a Dataset of xarray, got {type(data).__name__}")
        if "sim" not in data.dims:
            raise ValueError(f"{name}: has no simulations, and must have the dimension sim")
    if not np.array_equal(one["sim"].values, other["sim"].values):
        raise ValueError("other: has other simulations, and must have the same to be paired")
    drawn, its = _noise_of(one), _noise_of(other)
    for name in drawn:
        if name in its and drawn[name] != its[name]:
            wanted = f"must have {name}={drawn[name]!r} to be paired with one"
            raise ValueError(f"other: has {name}={its[name]!r}, and {wanted}")
    made: dict[str, xr.DataArray] = {}
    for name in one.data_vars:
        mine, its = one[name], other.get(name)
        if name == "diverged" or its is None or "sim" not in mine.dims or mine.dims != its.dims:
            continue
        if mine.shape != its.shape or mine.dtype.kind not in "fiu":
            continue
        difference = mine.astype(float) - its.astype(float).values
        difference.attrs = {**mine.attrs, "difference": " - ".join(names)}
        if "long_name" in mine.attrs:
            difference.attrs["long_name"] = f"{' - '.join(names)}: {mine.attrs['long_name']}"
        apart = np.sqrt(grid_error(mine.astype(float)) ** 2 + grid_error(its.astype(float)).values ** 2)
        found = {"": difference, "_mean": grid_mean(difference), "_stderr": grid_error(difference), "_apart": apart}
        made |= {f"{name}{suffix}": values.assign_attrs(difference.attrs) for suffix, values in found.items()}
    if not made:
        raise ValueError("other: has no variable of simulations in common with one, and must have some")
    return xr.Dataset(made)


def _noise_of(data: xr.Dataset) -> dict[str, Any]:
    """Seed and generator of labeled data, as far as they are said."""
    if "settings" not in data.attrs:
        return {}
    settings = json.loads(data.attrs["settings"])
    return {"random": said_in(settings), **({"seed": settings["seed"]} if "seed" in settings else {})}


# -- densities ---------------------------------------------------------------------------------------------------------


def kernel_density(values: ArrayLike, grid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Gaussian kernel density estimate.

    Args:
        values: of any shape; those that are not finite are left out.
        grid: where the density is wanted, (points,), in units of x.
        bandwidth: absolute, in units of x.

    Returns:
        (points,), in 1/x; NaN without values.
    """
    places = np.asarray(values, float).ravel()
    places = places[np.isfinite(places)]
    if places.size == 0:
        return np.full(grid.shape, np.nan)
    weights = np.ones(places.size)
    if places.size > 20_000:  # the estimate from fine bins, to far below the bandwidth the same
        edges = np.linspace(places.min(), places.max() + 1e-9, int(np.ptp(places) / bandwidth * 20) + 2)
        weights, _ = np.histogram(places, edges)
        places = (edges[1:] + edges[:-1]) / 2
    total = np.zeros(grid.shape)
    for i in range(0, places.size, KERNELS):
        some = slice(i, i + KERNELS)
        total += weights[some] @ np.exp(-0.5 * ((grid - places[some, None]) / bandwidth) ** 2)
    return total / (weights.sum() * bandwidth * np.sqrt(2 * np.pi))


def silverman(values: ArrayLike) -> float:
    """Silverman's rule of thumb for a bandwidth, robust to heavy tails.

    Args:
        values: of any shape; those that are not finite are left out.

    Returns:
        The bandwidth, in units of the values.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return 0.05
    scale = min(values.std(ddof=1), np.subtract(*np.percentile(values, [75, 25])) / 1.349 or np.inf)
    return float(max(0.9 * scale * values.size**-0.2, 1e-3))


# -- over a grid -------------------------------------------------------------------------------------------------------


def grid_mean(measured: xr.DataArray, over: Any = "sim") -> xr.DataArray:
    """The mean over simulations, or other dimensions; NaN where one of them is not finite.

    Args:
        measured: with a dimension "sim".
        over: the name of a dimension, or several.

    Returns:
        `measured` without these dimensions.
    """
    found = measured.mean(over, skipna=False)
    return found.where(np.isfinite(found))


def grid_error(measured: xr.DataArray) -> xr.DataArray:
    """Standard error of the mean over simulations; NaN where one of them is not finite.

    Args:
        measured: with a dimension "sim".

    Returns:
        `measured` without it.
    """
    return measured.std("sim", ddof=1, skipna=False) / np.sqrt(measured.sizes["sim"])


def z_scores(measured: xr.DataArray, expected: Any) -> xr.DataArray:
    """(mean - expected) / standard error at every grid point; rounding counts where nothing is random, equal is 0.

    Args:
        measured: with a dimension "sim".
        expected: anything that broadcasts against the mean.

    Returns:
        Scores over the grid, in standard errors.
    """
    center = grid_mean(measured)
    expected = expected + 0.0 * center
    floor = ROUNDING * np.maximum(abs(center), abs(expected))
    off = center - expected
    return (off / np.maximum(grid_error(measured), floor)).where(off != 0, 0.0)


def worst(measured: xr.DataArray, expected: Any, sides: int = 2) -> Estimate:
    """The worst score of a grid, over that which chance exceeds once in 740, and how much of it skewness may explain.

    Above 1 is what chance does not do to normal values (`decisive`, by Student's t and the number of points). Where
    values are skewed, chance goes further on the side of the short tail: a mean of few squares is small where the large
    ones are missed, and so is then its error. So each score on that side is also taken as if the values were of a gamma
    law (Pearson's type III) of their skewness: their mean over its foot, estimated from the error, is gamma of shape
    4 n / skewness^2, and a normal score by Wilson and Hilferty's cube root. The skewness is the greatest of the point's
    own and of the mean of all points' and three of its standard errors. A worst score that is beyond chance and is not
    so in this way is undecided: its error is then more than a third of its distance from 1.

    Alarms, values by more than three errors above 1, are then at most one in 740 grids of normal, gamma and log-normal
    values (a third more where a few points of a grid alone are skewed). Where simulations are too few for so many
    skewed points nothing can be decided to the side of the short tail: of 24 squared normal values at 30 points a
    fifth of the grids are undecided, and of expected means hardly one of twelve times the true one alarms. Fewer than
    five simulations do not tell their skewness, and alarm where nothing is random alone.

    Args:
        measured: with a dimension "sim".
        expected: anything that broadcasts against the mean.
        sides: 2 for deviations to both sides, 1 for what is above alone.

    Returns:
        The share, and the error as said, 0 of what is not undecided; NaN where something is not finite.
    """
    scores = z_scores(measured, expected)
    sims = measured.sizes["sim"]
    most = decisive(sims - 1, sides * scores.size)
    size = abs if sides == 2 else lambda signed: signed
    value = greatest(size(scores)) / most
    if not value > 1:
        return Estimate(value, 0.0 * abs(value))
    least = greatest(size(_less_skewness(scores, measured))) / most
    return Estimate(value, (value - least) / DECISIVE if least < 1 else 0.0)


def _less_skewness(scores: xr.DataArray, measured: xr.DataArray) -> xr.DataArray:
    """Scores nearer to 0 by what the skewness of the values may explain, as `worst` has it."""
    n = measured.sizes["sim"]
    random = grid_error(measured) > ROUNDING * abs(grid_mean(measured))
    if not random.any():
        return scores
    if n < SKEWED:
        return scores.where(~random, 0.0)
    values = measured.transpose("sim", ...).values[:, random.values]
    pooled = lambda kept: skewness(values[kept], axis=0).mean()
    unsure = DECISIVE * jackknife(pooled, n)[0]
    own = measured.reduce(skewness, "sim").where(random, 0.0)
    nearer = scores
    for side in (-1, 1):
        # The short tail is on the left of values with a long right one, whose skewness is positive.
        short = np.maximum(np.maximum(-side * own, -side * pooled(slice(None)) + unsure), 1e-6) / (2 * math.sqrt(n))
        found = 3 / short * (1 - np.cbrt(1 / (1 + abs(scores) * short))) - short / 3
        nearer = xr.where((scores * side > 0) & random, side * np.clip(found, 0.0, abs(scores)), nearer)
    return nearer


def greatest(values: ArrayLike) -> float:
    """The greatest of all values, NaN if any is not finite.

    Args:
        values: of any shape.

    Returns:
        One number.
    """
    return _extreme(values, np.max)


def least(values: ArrayLike, but: int = 0) -> float:
    """The least of all values, or of all but so many that are less, NaN if any is not finite.

    It is above 0 where at most `but` values are not. The number of those that are not says the same, with an error that
    is 0 wherever no simulation that is left out changes a sign; this has the errors of the values.

    Args:
        values: of any shape.
        but: how many are left out, less than there are values.

    Returns:
        One number.
    """
    return _extreme(values, lambda array: np.sort(array, axis=None)[but])


def _extreme(values: ArrayLike, reduce: Callable[[np.ndarray], Any]) -> float:
    """reduce(values), NaN if any is not finite."""
    array = np.asarray(values, float)
    return float(reduce(array)) if np.isfinite(array).all() else math.nan


def slope(x: ArrayLike, y: ArrayLike, *, bent: bool = False) -> float:
    """Exponent of the power law that fits best, by least squares of log y.

    Args:
        x: positive numbers, (points,), at least two of them different.
        y: positive numbers, (points,).
        bent: whether y = constant x^exponent e^(c x) is fitted, whose last factor takes up the next power of x, which
            would bend a straight line; two points cannot tell it.

    Returns:
        The exponent.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    terms = [np.ones_like(x), np.log(x), *([x] if bent else [])][: x.size]
    return float(np.linalg.pinv(np.stack(terms, axis=1))[1] @ np.log(y))
