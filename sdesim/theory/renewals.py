"""Superposed renewals: how many arrivals of p workers fall into a window, and the staleness that follows.

A worker whose jobs take independent times of one law arrives at a renewal process; p of them that have worked for long
are stationary and independent. All that is needed of a law is E (w - S_k)+, of the sum S_k of k of its times: with
S_0 = 0 and the mean m, a worker has at least k arrivals in a window w with the probability

    P(N >= k) = (E (w - S_(k-1))+ - E (w - S_k)+) / m,    E N = w / m,    E N (N - 1) = (2 / m) sum over k >= 1 of it.

The times are put onto a grid, such that E (w - S_1)+ is exact at its points; further times are added by convolution.
What is found is of second order in the grid's step (some 1e-5), but for laws of single times, deterministic and
measured ones, next to sums of these that are not on the grid. The quantiles are those that simulate.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.signal
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from sdesim.asynchrony import AbstractCompute, Pareto, Slowed
from sdesim.fields import check_count, check_sign, one_number, shown

CELLS, FINE = 1024, 4096  # of the grid, in a window, and in the longest job
_ATOMS, _TAIL = 15, 32  # a law is 2^15 cells of equal probability; the two last ones are cut further, to 2^-32
_RARE = 1e-14  # a number of arrivals that is rarer is left out


# -- arrivals in a window ----------------------------------------------------------------------------------------------


def count_law(law: AbstractCompute, workers: int, window: float) -> NDArray:
    """The law of the number of arrivals of all workers in a window, P(0), P(1), ...

    Args:
        law: of the times of jobs.
        workers: p; with means of their own where the law has them.
        window: its length w, greater than 0, in seconds.

    Returns:
        (greatest number that is not rarer than 1e-14 of one worker, times p, + 1,).
    """
    mean, w = _means(law, workers), one_number("window", window, zero=False)
    each, which = np.unique(mean, return_counts=True)
    found = np.ones(1)
    for m, many in zip(each, which, strict=True):
        one = _Counts.of(law, w / m).law[:, -1]
        most = int(many) * (one.size - 1)
        found = np.convolve(found, _law_of(_generating(one, most) ** many, most))
    return found


def dispersion(law: AbstractCompute, workers: int, windows: ArrayLike) -> NDArray:
    """Variance over mean of the number of arrivals of all workers in a window: 1 if it were Poisson.

    Of equal workers it does not depend on their number. It falls from 1 to the squared coefficient of variation of the
    times (1 / shape of a gamma law) as the window grows from 0.

    Args:
        law: of the times of jobs.
        workers: p; with means of their own where the law has them.
        windows: their lengths, greater than 0, in seconds, of any shape.

    Returns:
        Of the shape of `windows`.
    """
    mean = _means(law, workers)
    check_sign("windows", windows, zero=False)
    w = np.asarray(windows, float)
    each, which = np.unique(mean, return_counts=True)
    variance = [[_Counts.of(law, x / m).variance[-1] for m in each] for x in w.ravel()]
    return (np.array(variance).reshape(*w.shape, each.size) @ which) / (w * np.sum(1 / mean))


def poisson_distance(law: AbstractCompute, workers: int, window: float) -> float:
    """How far the number of arrivals of all workers in a window is from Poisson of the same mean, in total variation.

    In windows of the order of m / p it falls as 1 / p, in a window of fixed length it does not fall.

    Args:
        law: of the times of jobs.
        workers: p; with means of their own where the law has them.
        window: its length, greater than 0, in seconds.

    Returns:
        sup over sets A of |P(N in A) - Poisson(A)|, from 0 to 1.
    """
    found = count_law(law, workers, window)
    poisson = scipy.stats.poisson.pmf(np.arange(found.size), window * np.sum(1 / _means(law, workers)))
    return float(np.maximum(found - poisson, 0).sum())


# -- staleness ---------------------------------------------------------------------------------------------------------


def staleness_moments(law: AbstractCompute, workers: int) -> tuple[float, float]:
    """Mean and variance of the staleness of a gradient, over all arrivals of workers that have worked for long.

    The others arrive in a window that is as long as the job: it is never Poisson, since that window does not shrink as
    workers become more. The mean is p - 1 for every law, of unequal workers too. Of equal ones the variance is
    (p - 1) E V(T) + (p - 1)^2 Var T / m^2, with V(w) the variance of one worker's arrivals in a window: p (p - 1) of
    exponential times, (p - 1)^2 / shape and a little more of gamma ones, 0 of equal times.

    Args:
        law: of the times of jobs.
        workers: p; with means of their own where the law has them.

    Returns:
        Both, in arrivals and arrivals^2; the variance is infinite where that of the times is.
    """
    mean = _means(law, workers)
    if mean.size == 1:
        return 0.0, 0.0
    if isinstance(law, Pareto) and not law.index > 2:
        return float(mean.size - 1), np.inf
    times, weights = _atoms(law)
    each, which = np.unique(mean, return_counts=True)
    ratios = np.unique(each[:, None] / each)
    counts = _Counts.of(law, _longest(law), FINE)
    # Beyond the grid the variance is a line, but for what is soon forgotten.
    end, slope = counts.grid[-1], (counts.variance[-1] - counts.variance[-1 - FINE // 8]) / counts.grid[FINE // 8]
    of_window = lambda w: np.interp(w, counts.grid, counts.variance) + slope * np.maximum(w - end, 0)
    spent = {r: float(weights @ of_window(r * times)) for r in ratios}
    square = float(weights @ times**2)
    found = 0.0
    for i, m in enumerate(each):
        others = which - (np.arange(each.size) == i)
        rate = np.sum(others / each)  # of the others' arrivals
        second = sum(n * spent[m / other] for n, other in zip(others, each, strict=True)) + rate**2 * m**2 * square
        found += which[i] / m * second
    return float(mean.size - 1), found / np.sum(1 / mean) - (mean.size - 1) ** 2


def staleness_law(law: AbstractCompute, workers: int, most: int) -> NDArray:
    """The law of the staleness of a gradient of equal workers that have worked for long.

    Args:
        law: of the times of jobs, of one mean.
        workers: p.
        most: the greatest staleness asked for, at least 0.

    Returns:
        P(0) to P(most), (most + 1,). Of exponential times it is geometric. Jobs that last longer than all but one in
        10^4 are left out: all P together fall short of 1 by as much.

    Raises:
        ValueError: if the workers have different means.
    """
    if np.unique(_means(law, workers)).size > 1:
        raise ValueError(f"law={shown(law)}: must be of one mean, of all workers")
    check_count("most", most, least=0)
    counts = _Counts.of(law, _longest(law), FINE)
    job = _on_grid(law, counts.grid)  # how long the gradient took
    # Sums of p - 1 independent numbers are products of generating functions.
    greatest = max(most, (counts.law.shape[0] - 1) * (workers - 1))
    lengths = np.flatnonzero(job > _RARE)
    found = sum(job[i] * _generating(counts.law[:, i], greatest) ** (workers - 1) for i in lengths)
    return _law_of(np.asarray(found), greatest)[: most + 1]


# -- of one worker, in units of its mean time --------------------------------------------------------------------------


class _Counts(NamedTuple):
    """The arrivals of one stationary worker in windows of all lengths of a grid.

    Attributes:
        grid: lengths of the windows, (cells + 1,).
        law: P(N = n), (most + 1, cells + 1).
        variance: of N, (cells + 1,).
    """

    grid: NDArray
    law: NDArray
    variance: NDArray

    @classmethod
    def of(cls, law: AbstractCompute, longest: float, cells: int = CELLS) -> "_Counts":
        grid = np.linspace(0, longest, cells + 1)
        job = _on_grid(law, grid)
        left = [grid]  # E (w - S_k)+
        at_least = [np.ones(grid.size)]  # P(N >= k)
        while at_least[-1][-1] > _RARE:
            left.append(np.maximum(scipy.signal.fftconvolve(left[-1], job)[: grid.size], 0))
            at_least.append(np.clip(left[-2] - left[-1], 0, at_least[-1]))
        found = -np.diff([*at_least, np.zeros(grid.size)], axis=0)
        return cls(grid, found, grid + 2 * np.sum(left[1:], axis=0) - grid**2)


def _generating(law: NDArray, most: int) -> NDArray:
    """The generating function of a law of numbers at roots of 1, enough of them for numbers up to `most`."""
    return np.fft.rfft(law, 2 << most.bit_length())


def _law_of(generating: NDArray, most: int) -> NDArray:
    """P(0) to P(most) of what `_generating` gives."""
    return np.maximum(np.fft.irfft(generating)[: most + 1], 0)


def _on_grid(law: AbstractCompute, grid: NDArray) -> NDArray:
    """The law of a time on a grid, with the same E (w - T)+ at its points; what is beyond the grid is left out."""
    times, weights = _atoms(law)
    share, part = (np.concatenate([[0.0], np.cumsum(a)]) for a in (weights, weights * times))
    step = grid[1]
    wide = np.concatenate([grid, [grid[-1] + step]])
    before = np.searchsorted(times, wide * (1 + 1e-12), side="right")
    left = wide * share[before] - part[before]
    return np.concatenate([[left[1]], np.diff(left, 2)]) / step


def _atoms(law: AbstractCompute) -> tuple[NDArray, NDArray]:
    """A law of mean 1 as many times and their probabilities."""
    tail = 2.0 ** -np.linspace(_ATOMS, _TAIL, 600)
    edges = np.unique(np.concatenate([np.linspace(0, 1, 2**_ATOMS + 1), tail, 1 - tail]))
    words = ((edges[1:] + edges[:-1]) / 2 * 2.0**32).astype(np.uint32)
    times, weights = law.quantiles(words), np.diff(edges)
    return times / (weights @ times), weights


def _longest(law: AbstractCompute) -> float:
    """A time that one job in ten thousand exceeds, such that the mean is on the grid."""
    times, weights = _atoms(law)
    long = times[np.searchsorted(np.cumsum(weights), 1 - 1e-4)]
    # The grid has a step of 1 / (whole number).
    return FINE / np.floor(FINE / max(1.0, long)) if long < FINE else long


def _means(law: Any, workers: int) -> NDArray:
    """The mean times of the workers, (workers,); refuses what is no law of independent times."""
    if not isinstance(law, AbstractCompute) or isinstance(law, Slowed):
        raise TypeError(f"law={shown(law)}: must be a law of sdesim.asynchrony whose times are independent")
    p = check_count("workers", workers)
    law.check_run(p)
    return np.broadcast_to(law.average, p)
