"""Superposed renewals: against closed forms, against each other, and against timetables."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from sdesim.asynchrony import Deterministic, Exponential, Gamma, LogNormal, Measured, Pareto, Slowed, timetable
from sdesim.theory import renewals, staleness

LAWS = {
    "exponential": lambda **mean: Exponential(**mean),
    "gamma": lambda **mean: Gamma(4.0, **mean),
    "irregular": lambda **mean: Gamma(0.5, **mean),
    "log-normal": lambda **mean: LogNormal(1.0, **mean),
    "measured": lambda **mean: Measured([1.0, 2.0, 2.0, 7.0], **mean),
    "equal": lambda **mean: Deterministic(**mean),
}
of_any = pytest.mark.parametrize("name", LAWS)


def gamma_counts(shape, window, most=60):
    """Of one stationary worker of gamma times of mean 1: E (w - S_k)+ by incomplete gamma functions."""
    k = np.arange(1, most + 2)
    beyond = window * scipy.special.gammainc(k * shape, shape * window)
    left = np.concatenate([[window], beyond - k * scipy.special.gammainc(k * shape + 1, shape * window)])
    return -np.diff(np.concatenate([[1.0], left[:-1] - left[1:]]))


@pytest.mark.parametrize("window", [0.02, 0.3, 1.0, 3.7])
@pytest.mark.parametrize("shape", [0.5, 1.0, 2.5, 4.0, 30.0])
def test_counts_of_gamma_times(shape, window):
    found, exact = renewals.count_law(Gamma(shape, mean=2.0), 1, 2.0 * window), gamma_counts(shape, window)
    np.testing.assert_allclose(found, exact[: found.size], atol=1e-5)
    assert exact[found.size :].sum() < 1e-12
    n = np.arange(exact.size)
    variance = exact @ n**2 - (exact @ n) ** 2
    assert renewals.dispersion(Gamma(shape), 7, window) == pytest.approx(variance / window, abs=5e-5)


def test_counts_of_equal_times_are_two_whole_numbers():
    for window in (0.3, 1.0, 1.7, 2.0):
        found = renewals.count_law(Deterministic(), 1, window)
        low, part = int(window), window % 1
        exact = np.zeros(found.size)
        exact[low : low + 2] = [1 - part, part][: found.size - low]
        np.testing.assert_allclose(found, exact, atol=1e-9)
        assert renewals.dispersion(Deterministic(), 5, window) == pytest.approx(part * (1 - part) / window, abs=1e-9)


def test_counts_of_exponential_times_are_poisson():
    found = renewals.count_law(Exponential(mean=[1.0, 1.0, 0.5]), 3, 0.7)
    np.testing.assert_allclose(found, scipy.stats.poisson.pmf(np.arange(found.size), 2.8), atol=1e-6)
    assert renewals.poisson_distance(Exponential(), 6, 0.4) < 1e-6
    np.testing.assert_allclose(renewals.dispersion(Exponential(), 6, [[0.1], [5.0]]), 1, atol=1e-5)


@of_any
def test_laws_have_their_mean_and_variance(name):
    law = LAWS[name](mean=[1.0, 2.0, 2.0])
    found = renewals.count_law(law, 3, 1.5)
    n = np.arange(found.size)
    assert found.sum() == pytest.approx(1, abs=1e-9) and found @ n == pytest.approx(3.0, abs=1e-6)
    variance = found @ n**2 - (found @ n) ** 2
    assert renewals.dispersion(law, 3, 1.5) == pytest.approx(variance / 3, abs=1e-6)


def test_superposed_renewals_become_poisson_in_windows_that_shrink():
    """Of order 1 / p there, and not at all in a window of fixed length."""
    distance = np.array([renewals.poisson_distance(Gamma(4.0), p, 2 / p) for p in (32, 64, 128)])
    np.testing.assert_allclose(distance[1:] / distance[:-1], 0.5, rtol=0.1)
    fixed = [renewals.poisson_distance(Gamma(4.0), p, 1.0) for p in (8, 64)]
    assert fixed[1] == pytest.approx(fixed[0], rel=0.05) and fixed[1] > 0.2
    near = [renewals.dispersion(Gamma(4.0), p, 2 / p) for p in (8, 64)]
    np.testing.assert_allclose(near, [0.76, 0.97], atol=5e-3)
    assert renewals.dispersion(Gamma(4.0), 8, 1.0) == renewals.dispersion(Gamma(4.0), 64, 1.0)


def test_distance_is_between_the_laws():
    found = renewals.count_law(Gamma(4.0), 4, 0.5)
    n = np.arange(200)
    poisson = scipy.stats.poisson.pmf(n, 2.0)
    both = np.abs(np.pad(found, (0, 200 - found.size)) - poisson).sum() / 2
    assert renewals.poisson_distance(Gamma(4.0), 4, 0.5) == pytest.approx(both, abs=1e-9)


def test_staleness_of_exponential_times_is_geometric():
    for p in (1, 2, 8, 64):
        found = renewals.staleness_law(Exponential(), p, 3 * p)
        np.testing.assert_allclose(found, staleness.geometric_staleness(p, 3 * p), atol=1e-4)  # the longest jobs
        mean, variance = renewals.staleness_moments(Exponential(), p)
        assert mean == p - 1 and variance == pytest.approx(p * (p - 1), rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(renewals.staleness_law(Deterministic(), 5, 6), np.arange(7) == 4, atol=1e-9)


def test_staleness_of_unequal_exponential_times():
    """Of worker i geometric too: the next arrival is its own with the probability of its share of the rate."""
    mean = np.array([1.0, 1.0, 2.0, 5.0])
    share = (1 / mean) / np.sum(1 / mean)
    square = share @ ((1 - share) * (2 - share) / share**2)
    found = renewals.staleness_moments(Exponential(mean=mean), 4)
    assert found == (3.0, pytest.approx(square - 9, rel=1e-4))


@pytest.mark.parametrize("law, ratio", [(Exponential(), 64.0), (Gamma(4.0), 16.16), (Deterministic(), 0.0)])
def test_staleness_is_never_poisson(law, ratio):
    """Variance over mean of 64 workers, whose law has that variance but for the longest jobs."""
    mean, variance = renewals.staleness_moments(law, 64)
    assert mean == 63 and variance / mean == pytest.approx(ratio, abs=5e-3)
    found, s = renewals.staleness_law(law, 64, 2000), np.arange(2001)
    assert found.sum() == pytest.approx(1, abs=2e-4) and found @ s == pytest.approx(63, rel=2e-3)
    assert found @ (s - 63.0) ** 2 == pytest.approx(variance, rel=0.02, abs=1e-6)


@of_any
def test_counts_of_timetables(name):
    """Disjoint windows of simulations that are stationary: shares, and squared distances from the known mean."""
    law, p, w, sims = LAWS[name](mean=[1.0, 1.0, 2.0, 0.5]), 4, 0.75, 2000
    table = timetable(law, workers=p, arrivals=60, sims=sims, seed=8, start="stationary")
    edges = w * np.arange(3)  # all have got as far
    assert table.time[:, -1].min() > edges[-1]
    counts = np.diff(np.array([np.searchsorted(row, edges) for row in table.time]), axis=1)
    exact = renewals.count_law(law, p, w)
    for n in range(7):
        share = (counts == n).mean(axis=1)
        assert abs(share.mean() - exact[n]) < 4.5 * share.std() / np.sqrt(sims) + 1e-4
    mean = 4.5 * w
    square = ((counts - mean) ** 2).mean(axis=1) / mean
    assert abs(square.mean() - renewals.dispersion(law, p, w)) < 4.5 * square.std() / np.sqrt(sims)


@pytest.mark.parametrize("mean", [1.0, [0.5, 1.0, 1.0, 4.0]], ids=["equal", "unequal"])
@pytest.mark.parametrize("name", ["exponential", "gamma", "measured"])
@pytest.mark.slow
def test_staleness_of_timetables(name, mean):
    law, sims, after = LAWS[name](mean=mean), 200, 300
    table = timetable(law, workers=4, arrivals=2300, sims=sims, seed=4, start="stationary")
    seen = table.staleness()[:, after:].astype(float)
    found = ((seen - 3) ** 2).mean(axis=1)
    error = found.std(ddof=1) / np.sqrt(sims)
    # a finite stretch of arrivals weighs long jobs at its ends a little otherwise
    assert abs(found.mean() - renewals.staleness_moments(law, 4)[1]) < 4.5 * error + 0.003 * found.mean()
    if mean == 1.0:
        exact = renewals.staleness_law(law, 4, 9)
        for s in range(10):
            share = (seen == s).mean(axis=1)
            assert abs(share.mean() - exact[s]) < 4.5 * share.std(ddof=1) / np.sqrt(sims) + 2e-4


def test_times_without_variance_have_none_of_staleness():
    assert renewals.staleness_moments(Pareto(1.9), 3) == (2.0, np.inf)
    assert renewals.staleness_moments(Pareto(1.9), 1) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: renewals.count_law(1.0, 2, 1.0), TypeError, r"^law=1\.0: must be a law"),
        (lambda: renewals.dispersion(Slowed(Gamma(2.0), 2.0, 0.1), 2, 1.0), TypeError, "independent"),
        (lambda: renewals.count_law(Gamma(2.0), 2, 0.0), ValueError, "^window=0"),
        (lambda: renewals.dispersion(Gamma(2.0), 2, [1.0, -1.0]), ValueError, "^windows=.*greater than 0"),
        (lambda: renewals.poisson_distance(Gamma(2.0), 0, 1.0), ValueError, "^workers=0"),
        (lambda: renewals.staleness_moments(Gamma(2.0, mean=[1.0, 2.0]), 3), ValueError, "mean: must be"),
        (lambda: renewals.staleness_law(Gamma(2.0, mean=[1.0, 2.0]), 2, 3), ValueError, "^law=.*of one mean"),
        (lambda: renewals.staleness_law(Gamma(2.0), 2, -1), ValueError, "^most=-1"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, said):
    with pytest.raises(error, match=said):
        call()
