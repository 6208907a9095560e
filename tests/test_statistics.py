"""`sdesim.statistics`: errors are those of repeated experiments, and nothing skips what is not finite."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import f, poisson

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


LAWS = {  # draws of a size, and their mean
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "squares": (lambda rng, size: rng.chisquare(1, size), 1.0),
    "sums of eight squares": (lambda rng, size: rng.chisquare(8, size), 8.0),
    "exponential": (lambda rng, size: -rng.standard_exponential(size), -1.0),
    "log-normal": (lambda rng, size: rng.lognormal(size=size), math.exp(0.5)),
}
grid = lambda values: xr.DataArray(values, dims=("point", "sim"))
alarms = lambda found: found.value - 1 > statistics.DECISIVE * found.stderr
QUICK = [("normal", 24), ("squares", 24), ("exponential", 1000)]


@pytest.mark.parametrize(
    ("law", "sims"),
    [
        pytest.param(law, sims, marks=() if (law, sims) in QUICK else pytest.mark.slow)
        for law in LAWS
        for sims in (16, 24, 100, 1000)
    ],
)
def test_the_worst_of_a_grid_alarms_once_in_740_whatever_the_law(law, sims):
    """By simulation of the null; Student's t alone errs in a fifth of the grids of 24 simulations of squares."""
    draw, mean = LAWS[law]
    rng = np.random.default_rng(7)
    beyond = {}
    for points, grids in ((1, 1500), (30, 500), (300, 100)):
        found = [statistics.worst(grid(draw(rng, (points, sims))), mean) for _ in range(grids)]
        beyond[points] = np.mean([f.value > 1 for f in found])
        assert np.sum([alarms(f) for f in found]) <= poisson.isf(1e-4, grids / 740)
    if (law, sims) == ("squares", 24):
        assert beyond[30] > 0.15 and beyond[300] > 0.5
    if law == "normal":
        assert beyond[1] < 0.01 and beyond[30] < 0.01  # nor is it often undecided


def test_the_worst_of_a_grid_alarms_of_wrong_means():
    rng = np.random.default_rng(0)

    def found(law, sims, factor, points=30):
        """Of 20 grids with one wrong point how many are beyond chance, and how many alarm."""
        draw, mean = LAWS[law]
        expected = xr.DataArray(np.r_[factor * mean, np.full(points - 1, mean)], dims="point")
        all_found = [statistics.worst(grid(draw(rng, (points, sims))), expected) for _ in range(20)]
        return sum(f.value > 1 for f in all_found), sum(map(alarms, all_found))

    assert found("squares", 1000, 1.5) == found("squares", 1000, 0.7) == found("log-normal", 1000, 2.0) == (20, 20)
    assert found("sums of eight squares", 100, 1.4)[1] >= 18
    assert found("squares", 100, 4.0)[1] >= 18
    beyond, alarmed = found("squares", 24, 5.0)  # too few: undecided
    assert beyond == 20 and alarmed <= 2
    off = xr.DataArray(np.r_[2.0, np.zeros(29)], dims="point")
    normal = [statistics.worst(grid(rng.normal(size=(30, 24))), off) for _ in range(20)]
    assert sum(map(alarms, normal)) >= 18
    one_sided = [statistics.worst(grid(rng.normal(size=(30, 24))), off, sides=1) for _ in range(20)]
    assert sum(f.value > 1 for f in one_sided) <= 1  # it is below


def test_the_worst_of_a_grid_where_little_is_random():
    rng = np.random.default_rng(0)
    values = np.ones((30, 24))
    assert statistics.worst(grid(values), 1.0) == (0.0, 0.0, math.inf)
    assert alarms(statistics.worst(grid(values), 1.01))
    values[:20] += rng.normal(size=(20, 24))
    assert not alarms(statistics.worst(grid(values), 1.0))
    assert alarms(statistics.worst(grid(values), xr.DataArray(np.r_[np.ones(29), 1.1], dims="point")))
    few = statistics.worst(grid(100 + rng.normal(size=(30, 4))), 0.0)
    assert few.value > 1 and not alarms(few)
    values[3, 5] = np.nan
    assert math.isnan(statistics.worst(grid(values), 1.0).value)


def test_skewness_is_that_of_many_values():
    rng = np.random.default_rng(0)
    assert statistics.skewness(rng.standard_exponential(400_000)) == pytest.approx(2, abs=0.05)
    for sims in (16, 24, 100):
        for draw, exact in (("exponential", -2.0), ("squares", math.sqrt(8)), ("sums of eight squares", 1.0)):
            found = statistics.skewness(LAWS[draw][0](rng, (40_000, sims)))
            assert found.mean() == pytest.approx(exact, rel=0.18 if sims < 100 else 0.05)
    assert abs(statistics.skewness(rng.normal(size=(40_000, 16))).mean()) < 0.02
    assert np.isnan(statistics.skewness(np.ones((2, 5)))).all()


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
    assert np.isnan(statistics.least(x)) and np.isnan(statistics.least(x, but=1))
    assert [statistics.least([[3.0, 1.0], [2.0, 4.0]], but=n) for n in range(4)] == [1.0, 2.0, 3.0, 4.0]


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
