"""`sdesim.statistics`: errors are those of repeated experiments, and nothing skips what is not finite."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import f

from sdesim import statistics

SIGMAS = 4.0


def test_monte_carlo():
    values = np.random.default_rng(0).normal(size=(50, 3))
    mean, error = statistics.monte_carlo(values)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(error, values.std(0, ddof=1) / np.sqrt(50))
    assert np.isnan(statistics.monte_carlo(values[:1])[1]).all()


def test_few_runs_need_more_standard_errors():
    """Tail probability as of three normal ones, 1 in 740: of one degree of freedom by hand, of others by simulation."""
    probability = 0.5 * math.erfc(3 / math.sqrt(2))
    assert statistics.decisive(1) == pytest.approx(1 / math.tan(math.pi * probability))  # Cauchy's quantile
    assert statistics.decisive() == statistics.decisive(math.inf) == 3.0
    assert statistics.decisive(10**7) == pytest.approx(3.0, abs=1e-5)
    x = np.random.default_rng(0).normal(size=(1_000_000, 3))
    scores = x.mean(axis=1) / (x.std(axis=1, ddof=1) / math.sqrt(3))
    assert np.mean(scores > 3) > 0.04
    by_chance = probability * len(x)
    assert abs(np.sum(scores > statistics.decisive(2)) - by_chance) < 4 * math.sqrt(by_chance)


def test_the_worst_of_many_looks_is_a_false_alarm_once_in_740():
    """By simulation of the null, with few simulations and many points; four standard errors are none of this."""
    probability, points = 0.5 * math.erfc(3 / math.sqrt(2)), 40
    rng = np.random.default_rng(0)
    for sims, sides in ((16, 2), (24, 1)):
        worst = []
        for _ in range(20):
            x = rng.normal(size=(1000, points, sims))
            scores = x.mean(axis=-1) / statistics.standard_error(x, axis=-1)
            worst.append((abs(scores) if sides == 2 else scores).max(axis=-1))
        worst = np.concatenate(worst)
        alarms = np.sum(worst > statistics.decisive(sims - 1, sides * points))
        by_chance = probability * len(worst)
        assert abs(alarms - by_chance) < 4 * math.sqrt(by_chance)
        assert np.mean(worst > 4) > 6 * probability
    assert statistics.decisive(math.inf, 100) == pytest.approx(4.197, abs=1e-3)  # as for 1 in 74 088
    assert statistics.decisive(9, 2) > statistics.decisive(9) > statistics.decisive() == statistics.decisive(looks=1)


def autoregressive(sims, records, memory, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=sims) / np.sqrt(1 - memory**2)
    series = []
    for z in rng.normal(size=(records, sims)):
        x = memory * x + z
        series.append(x)
    return np.stack(series, axis=1)


def test_autocorrelation_time():
    for memory in (0.0, 0.5, 0.9):
        found = statistics.autocorrelation_time(autoregressive(20, 20_000, memory))
        assert found == pytest.approx((1 + memory) / (1 - memory), rel=0.05)


@pytest.mark.parametrize("sims", [1, 3, 12])
def test_errors_of_stationary_means_are_right(sims):
    """z-scores of 200 independent means of correlated series have a standard deviation of 1, whoever estimates it."""
    series = autoregressive(200 * sims, 2000, 0.8).reshape(200, sims, 2000)
    z = [found.value / found.stderr for found in map(statistics.stationary_mean, series)]
    # Student-t with 11 degrees of freedom has 1.10; taking records for independent would give 3.
    assert 0.85 < np.std(z) < 1.3
    assert abs(np.mean(z)) < SIGMAS / np.sqrt(200)


def test_resampling_agrees_with_the_error_of_a_mean():
    x = np.random.default_rng(0).normal(size=400)
    exact = statistics.mean_of(x).stderr
    error, freedom = statistics.jackknife(lambda sims: x[sims].mean(), 400)
    assert error == pytest.approx(exact, rel=0.5)
    assert freedom == 19
    assert statistics.bootstrap(lambda counts: counts @ x / 400, 400) == pytest.approx(exact, rel=0.15)
    assert np.isnan(statistics.jackknife(lambda sims: 0.0, 1)[0])
    assert np.isnan(statistics.bootstrap(lambda counts: np.zeros(()), 1))


def test_estimates_print_two_digits_of_their_error():
    shown = [
        str(statistics.Estimate(*pair)) for pair in ((1.23456, 0.0567), (1234.5, 120.0), (1.5, np.nan), (2.0, 0.0))
    ]
    assert shown == ["1.235 ± 0.057", "1234 ± 120", "1.5 ± nan", "2.0 ± 0.0"]
    assert str(statistics.Estimate(np.array([1.0, 2.0]), np.array([0.5, 0.5]))) == "[1. 2.] ± [0.5 0.5]"


def test_shares_of_none_or_all_are_not_infinitely_sure():
    found = statistics.share_of(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.5]]))
    np.testing.assert_allclose(found.value, [0, 1, 0.5])
    np.testing.assert_allclose(found.stderr[:2], np.sqrt(0.2 * 0.8 / 3))
    assert found.stderr[2] == pytest.approx(np.std([0, 1, 0.5], ddof=1) / np.sqrt(3))
    of_answers = statistics.share_of(np.array([True, True, True]))
    assert of_answers.stderr == pytest.approx(np.sqrt(0.2 * 0.8 / 3))
    assert of_answers.dof == math.inf


# -- over a grid -------------------------------------------------------------------------------------------------------


def test_z_scores_are_those_of_independent_grid_points():
    """Of 400 points with 50 simulations each: a standard deviation of 1, of Student's t with 49 degrees of freedom."""
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(400, 50))
    z = statistics.z_scores(xr.DataArray(x, dims=("point", "sim")), 2.0)
    assert z.dims == ("point",)
    assert abs(z.std() - np.sqrt(49 / 47)) < SIGMAS * np.sqrt(1 / 800)
    assert abs(z.mean()) < SIGMAS / 20


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_skipped(value):
    x = np.random.default_rng(0).normal(size=(3, 20))
    x[1, 4] = value
    found = xr.DataArray(x, dims=("point", "sim"))
    with np.errstate(invalid="ignore"):
        for what in (statistics.grid_mean(found), statistics.grid_error(found), statistics.z_scores(found, 0.0)):
            np.testing.assert_array_equal(np.isnan(what), [False, True, False])
    assert np.isnan(statistics.greatest(x))
    assert np.isnan(statistics.least(x))


def test_alike_groups_seldom_differ():
    """The F statistic passes its 99.9 % quantile once in a thousand times where groups are alike, and always where
    they are two standard errors of one simulation apart."""
    rng = np.random.default_rng(0)
    alike = rng.normal(size=(20_000, 4, 6))
    passed = np.sum(statistics.variance_ratio(alike) > 1)
    assert abs(passed - 20) < SIGMAS * np.sqrt(20)
    apart = alike[:100] + 2 * np.arange(4)[:, None]
    assert (statistics.variance_ratio(apart) > 1).all()
    one = alike[0]
    between, within = 6 * one.mean(1).var(ddof=1), one.var(1, ddof=1).mean()
    assert statistics.variance_ratio(one) == pytest.approx(between / within / f.ppf(0.999, 3, 20))


def test_error_of_a_median():
    draws = np.random.default_rng(1).normal(size=(4000, 101))
    assert np.median(draws, axis=1).std() == pytest.approx(statistics.median_error(draws, axis=1).mean(), rel=0.05)
    assert np.isnan(statistics.median_error([1.0]))


def test_the_spread_of_kolmogorovs_distance():
    """Of repeated experiments of 400 normal values, to SIGMAS of its own error and the next order in 1 / sqrt(n)."""
    draws = np.random.default_rng(0).normal(size=(2000, 400))
    found = [statistics.kolmogorov(values) for values in draws]
    ratio = np.std([one.value for one in found]) / found[0].stderr
    assert abs(ratio - 1) < SIGMAS / np.sqrt(2 * len(found)) + 1 / np.sqrt(400)
    assert math.isnan(statistics.kolmogorov([0.0, np.inf]).value)


def test_an_exponent_with_the_next_power():
    x = np.array([0.1, 0.2, 0.4, 0.8])
    y = 3 * x**1.5 * np.exp(0.7 * x)
    assert statistics.slope(x, y, bent=True) == pytest.approx(1.5) and statistics.slope(x, y) > 1.6
    assert statistics.slope(x[:2], y[:2], bent=True) == pytest.approx(statistics.slope(x[:2], y[:2]))


@pytest.mark.parametrize("sims", [3, 200])
def test_drift_is_in_standard_errors(sims):
    rng = np.random.default_rng(1)
    scores = np.array([statistics.drift(rng.normal(size=(sims, 40))) for _ in range(500)])
    assert abs(scores.mean()) < SIGMAS * scores.std() / np.sqrt(500) and 0.8 < scores.std() < 1.2
    shift = np.concatenate([np.zeros(20), np.ones(20)])
    assert statistics.drift(rng.normal(size=(sims, 40)) + shift) > SIGMAS
    assert statistics.drift(np.ones((sims, 40))) == 0 and statistics.drift(np.ones((sims, 40)) + shift) == np.inf
