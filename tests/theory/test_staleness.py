"""Theory of asynchronous workers: against printed digits, iterations and roots found otherwise."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import sdesim
from sdesim.analysis import linearize
from sdesim.asynchrony import Asynchronous, AsyncSGD
from sdesim.theory import staleness


def test_the_mean_saturates():
    a = 0.05
    assert staleness.saturation(a) == pytest.approx(1.05**2 / 0.2)
    # d/dt (E c, E x) = [[0, -p a], [1, -(1 + a)]] (E c, E x): E c at t / m = 1 to 4
    drift = np.array([[0, -10 * a], [1, -(1 + a)]])
    found = [(scipy.linalg.expm(drift * t) @ np.ones(2))[0] for t in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [0.541, 0.219, 0.042, -0.033], atol=6e-4)
    for p in (2, 4, 10, 50):
        drift = np.array([[0, -p * a], [1, -(1 + a)]])
        assert staleness.mean_rate(p, a) == pytest.approx(-np.linalg.eigvals(drift).real.max())


def mean_square_rate(p, a):
    return p * (1 - np.linalg.eigvals(staleness.sgd_moments(p, a)).real.max())


def test_more_workers_hurt_in_mean_square_and_then_diverge():
    a = 0.05
    assert staleness.mean_square_limit(a) == pytest.approx(820)
    assert mean_square_rate(819, a) > 0 > mean_square_rate(821, a)
    rates = [mean_square_rate(p, a) for p in (2, 5, 9, 20, 100, 400)]
    np.testing.assert_allclose(rates, [0.206, 0.694, 0.879, 0.843, 0.657, 0.305], atol=6e-4)
    assert np.argmax([mean_square_rate(p, a) for p in range(2, 40)]) + 2 in (8, 9)


@pytest.mark.parametrize("p, a", [(2, 0.1), (8, 0.1), (30, 0.03)])
def test_stationary_moments_are_fixed(p, a):
    noise = 0.7 * np.array([1, 1 / p, 1 / p**2, 1 / p])
    found = staleness.sgd_stationary(p, a, 0.7)
    np.testing.assert_allclose(staleness.sgd_moments(p, a) @ found + noise, found, rtol=1e-12)


def test_easgd():
    found = staleness.easgd_stationary(8, 0.1, 0.1)
    a, b, _, m = found
    alpha, g, p = 0.1, 0.2, 8
    ratio = g * ((1 - g) * (2 - alpha) + alpha * (1 - alpha))
    ratio /= p * alpha * 0.1 + 2 * g * (1 - alpha) + alpha**2 - g * alpha**2 - g**2 * (1 - alpha)
    assert b / a == pytest.approx(ratio)
    scale = g * (2 - g) * (2 - alpha) / alpha - alpha**2
    assert 1 / a == pytest.approx(scale - ratio * (2 * g * (2 - g) * (1 - alpha) / alpha + 2 * alpha * (1 - g)))
    assert m == pytest.approx(((2 - alpha) * a - 2 * (1 - alpha) * b) / alpha)
    with pytest.raises(ValueError, match=r"alpha=2\.5"):
        staleness.easgd_stationary(8, 0.1, 2.5)


def test_workers_in_turn():
    a = 0.05
    assert staleness.regular_limit(31) > a > staleness.regular_limit(32)
    assert staleness.regular_radius(31, a) < 1 < staleness.regular_radius(32, a)
    p = 6
    best = (p - 1) ** (p - 1) / p**p
    radii = [staleness.regular_radius(p, best * f) for f in (0.95, 1.0, 1.05)]
    assert radii[1] == min(radii)
    assert staleness.regular_radius(1, 0.3) == pytest.approx(0.7)
    c = [1.0] * p
    for _ in range(400):
        c.append(c[-1] - 0.04 * c[-p])
    assert abs(c[-1] / c[-2]) == pytest.approx(staleness.regular_radius(p, 0.04), rel=1e-6)


def test_delays():
    h = 0.8
    assert staleness.delay_root(h, 0.0) == -h
    assert staleness.delay_root(h, np.pi / 2 / h).real == pytest.approx(0, abs=1e-9)
    fastest = staleness.delay_root(h, np.exp(-1) / h)
    assert fastest.real == pytest.approx(-np.e * h, rel=1e-6)
    for shape in (1.0, 2.0, 2.5, 4.0, 40.0):
        s = staleness.delay_root(h, 1.7, shape)
        assert abs(s + h * (1 + s * 1.7 / shape) ** -shape) < 1e-9
    for shape in (2.0, 3.5, 9.0):
        mean = staleness.gamma_delay_limit(shape) / h
        assert staleness.delay_root(h, 0.99 * mean, shape).real < 0 < staleness.delay_root(h, 1.01 * mean, shape).real
    assert staleness.gamma_delay_limit(1.0) == np.inf
    assert staleness.gamma_delay_limit(1e4) == pytest.approx(np.pi / 2, rel=1e-3)
    assert staleness.delay_variance(h, 0.0, 1.0) == pytest.approx(1 / (2 * h))
    with pytest.raises(ValueError, match="delay=2"):
        staleness.delay_variance(h, 2.0, 1.0)


def test_geometric_staleness_has_mean_p_minus_one():
    law = staleness.geometric_staleness(5, 400)
    assert law.sum() == pytest.approx(1) and law @ np.arange(401) == pytest.approx(4)


@pytest.mark.parametrize("p, a", [(1, 0.1), (2, 0.1), (7, 0.05), (60, 0.05)])
def test_paths_of_memoryless_workers_are_averages_over_the_number_of_arrivals(p, a):
    """The map of an arrival, from the code that simulates, to the powers of a Poisson number of them."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), noise=sdesim.noise.Gaussian(3.0), eta=a)
    step = linearize(model, Asynchronous(AsyncSGD()), agents=p)
    times, noise = np.array([0.0, 0.4, 2.0, 5.0]), 9 * a**2
    mean, (second, added) = step.mean(), step.second()
    found = {"mean": np.zeros((4, 2)), "quiet": np.zeros(4), "noisy": np.zeros(4)}
    w = np.ones(2)
    quiet = np.array([1.0, 1.0, 1.0, 0.0])[: len(added)]  # x_mean^2, x_mean c, c^2, and no difference of workers
    noisy = quiet
    for n in range(700):
        share = scipy.stats.poisson.pmf(n, p * times)
        found["mean"] += share[:, None] * w[::-1]
        found["quiet"] += share * quiet[2]
        found["noisy"] += share * noisy[2]
        w, quiet, noisy = mean @ w, second @ quiet, second @ noisy + added
    np.testing.assert_allclose(staleness.mean_path(p, a, times), found["mean"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(staleness.moment_path(p, a, times)[:, 0], found["quiet"], rtol=1e-9)
    np.testing.assert_allclose(staleness.moment_path(p, a, times, noise)[:, 0], found["noisy"], rtol=1e-9)
    assert staleness.square_rate(p, a) == pytest.approx(step.rate(), rel=1e-9)


def test_moments_come_to_rest_in_the_stationary_ones():
    found = staleness.moment_path(12, 0.05, [600.0], 0.7)[0]
    np.testing.assert_allclose(found, staleness.sgd_stationary(12, 0.05, 0.7), rtol=1e-9)


@pytest.mark.parametrize("p", [1, 2, 5])
def test_paths_of_workers_in_turn(p):
    """Against workers and a server written out, and the variance against many of them."""
    a, n = 0.07, 40
    rng = np.random.default_rng(0)
    server, read = np.ones(20000), np.ones((p, 20000))
    quiet, quiet_read = 1.0, np.ones(p)
    means, squares = [1.0], [0.0]
    for i in range(n):
        server = server - a * read[i % p] + rng.normal(size=20000)
        quiet = quiet - a * quiet_read[i % p]
        read[i % p], quiet_read[i % p] = server, quiet
        means.append(quiet)
        squares.append(((server - quiet) ** 2).mean())
    mean, variance = staleness.regular_path(p, a, n)
    np.testing.assert_allclose(mean, means, rtol=1e-12)
    np.testing.assert_allclose(variance, squares, rtol=4.5 * np.sqrt(2 / 20000))
