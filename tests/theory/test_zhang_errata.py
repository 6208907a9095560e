"""What Zhang's thesis prints and computation finds otherwise, where no figure shows it: docs/errata.md."""

import jax
import numpy as np
import pytest
from scipy.special import gamma

from sdesim.theory import multiplicative, quadratic, stability


def test_the_radius_of_mean_and_center_is_below_one_and_their_norm_is_not():
    """Lemma 3.1.4 bounds the former."""
    p, eta_h, beta = 100, 0.1, 0.9
    matrix = np.array([[1 - eta_h - beta / p, beta / p], [beta, 1 - beta]])
    assert stability.radius(matrix) == pytest.approx(0.901, abs=5e-4)
    assert np.linalg.norm(matrix, 2) == pytest.approx(1.269, abs=5e-4)


def test_the_variance_of_workers_need_not_grow_with_their_number():
    """Section 1.3, at beta = 0.9."""

    def variance(p, eta_h):
        moments = multiplicative.easgd_moments(p, 1.0, 0.9 / p, 0.9, eta_h, 0.0)
        return np.linalg.solve(np.eye(4) - moments, [0, 1, 0, 1 / p])[1]

    assert [variance(p, 0.1) for p in (2, 4, 8)] == pytest.approx([2.468, 2.450, 2.893], abs=5e-4)
    assert np.all(np.diff([variance(p, 1.5) for p in (2, 4, 8, 16, 64)]) < 0)


def test_undamped_momentum_is_stable_up_to_four_thirds():
    """The variance of momentum at delta = 1 is that of a stable system there alone."""
    for eta_h, stable in ((1.33, True), (1.34, False)):
        assert stability.momentum_is_stable(eta_h, 1 - eta_h) == stable
        assert (stability.radius(quadratic.momentum_moments(eta_h, 1 - eta_h)) < 1) == stable


def test_the_differences_of_workers_with_momentum():
    """(5.21) with delta_h (1 - alpha) at its end."""
    eta_h, delta_h, alpha = 0.3, 0.6, 0.2
    roots = np.roots([1, -(1 - eta_h - alpha + delta_h), delta_h * (1 - alpha)])
    spectrum = stability.eamsgd_spectrum(eta_h, delta_h, alpha, 0.9)
    for root in roots:
        assert np.abs(spectrum - root).min() < 1e-9


def test_the_best_learning_rate_of_multiplicative_noise():
    """omega / (lambda + 1), and not lambda / (omega + 1)."""
    shape, rate = 3.0, 1.0
    mean, variance = multiplicative.gamma_law(shape, rate)
    eta = np.linspace(0.01, 0.9, 90)
    found = eta[np.argmin(multiplicative.sgd_factor(eta, mean, variance))]
    assert found == pytest.approx(rate / (shape + 1)) == pytest.approx(float(multiplicative.best_eta(mean, variance)))
    assert multiplicative.sgd_factor(shape / (rate + 1), mean, variance) > 1


def test_the_product_of_center_and_worker_has_four_terms():
    """(5.32), third line, over the law of the noise: as printed it lacks the workers' pull in the center's step."""
    eta, alpha, beta, mean, deviation = 0.3, 0.2, 0.9, 1.5, 0.8
    center, workers = 0.7, np.array([1.3, -0.5, 2.2])
    kept = 1 - alpha - eta * mean
    found = []
    for xi in np.array(np.meshgrid(*[[mean - deviation, mean + deviation]] * 3)).reshape(3, -1).T:
        pulled = workers - eta * xi * workers + alpha * (center - workers)
        found.append((center + beta * (workers.mean() - center)) * pulled)
    printed = (
        (1 - beta) * kept * center * workers + alpha * (1 - beta) * center**2 + kept * beta * workers * workers.mean()
    )
    lacking = alpha * beta * center * workers.mean()
    np.testing.assert_allclose(np.mean(found, axis=0), printed + lacking, rtol=1e-12, atol=1e-12)
    assert np.all(np.abs(np.mean(found, axis=0) - printed) > 0.1)
    # (5.34) has it, in the equation for the mean over the workers
    state = [center**2, (workers**2).mean(), center * workers.mean(), workers.mean() ** 2]
    matrix = multiplicative.easgd_moments(3, eta, alpha, beta, mean, deviation**2)
    assert matrix[2] @ state == pytest.approx(np.mean(printed + lacking))


def test_the_gamma_density_is_over_the_gamma_function_of_its_shape():
    """Over that of its rate, as printed before Fig. 5.9, it is none, unless both are the same, as in that figure."""
    x = np.linspace(0, 40, 400_001)
    for shape, rate in ((2.0, 3.0), (3.0, 1.5), (2.0, 2.0)):
        without = rate**shape * x ** (shape - 1) * np.exp(-rate * x)
        assert np.trapezoid(without / gamma(shape), x) == pytest.approx(1, abs=1e-6)
        printed = np.trapezoid(without / gamma(rate), x)
        assert printed == pytest.approx(gamma(shape) / gamma(rate), abs=1e-6)
        assert (abs(printed - 1) < 1e-6) == (shape == rate)
    assert gamma(2.0) / gamma(3.0) == 0.5


@pytest.mark.parametrize("loss", ["(h x - xi)^2", "(x u)^2"])
def test_the_updates_are_of_half_the_printed_losses(loss):
    """(5.1) beside (5.2), and (5.22) beside (5.23): the gradient of what is printed is twice that of the update."""
    h, x, random = 1.7, 0.6, -0.8
    if loss == "(x u)^2":
        printed, update = jax.grad(lambda x: (x * random) ** 2)(x), random**2 * x
    else:
        printed, update = jax.grad(lambda x: (h * x - random) ** 2)(x) / h, h * x - random  # the update's unit of x
    assert printed == pytest.approx(2 * update, rel=1e-6)
    assert jax.grad(lambda x: 0.5 * (x * random) ** 2)(x) == pytest.approx(random**2 * x, rel=1e-6)


def test_the_sum_of_the_double_average():
    """Before (3.20), by the sum itself: with M^0 and M^(k + 1), and with eta L^-1, as printed, it is another."""
    rng = np.random.default_rng(0)
    eta, curvature, alpha, workers, steps = 0.3, 0.8, 0.1, 3, 12
    drift = np.array([[1 - eta * curvature - alpha, alpha], [workers * alpha, 1 - workers * alpha]])
    inverse = np.linalg.inv(np.eye(2) - drift)  # (eta L)^-1
    power = lambda n: np.linalg.matrix_power(drift, n)
    state = first = np.array([1.0, -0.5])
    kicks = np.stack([eta * rng.normal(size=steps), np.zeros(steps)], axis=1)
    total = state.copy()
    for kick in kicks:
        state = drift @ state + kick
        total += state
    of_start = sum(power(k) @ first for k in range(steps + 1))
    tail = lambda factor, first_power: (
        factor
        @ sum(power(steps - k + 1 if first_power == "t - k + 1" else k + 1) @ kicks[k - 1] for k in range(1, steps + 1))
    )
    right = of_start + inverse @ kicks.sum(0) - tail(inverse, "t - k + 1")
    np.testing.assert_allclose(total, right, rtol=1e-10)
    long_run = inverse @ kicks.sum(0)
    printed = first + eta**2 * inverse @ kicks.sum(0) - tail(np.eye(2), "k + 1")  # eta L^-1 = eta^2 (eta L)^-1
    assert np.linalg.norm(total - printed) > 0.5 * np.linalg.norm(total)
    assert np.linalg.norm(eta**2 * long_run) < 0.1 * np.linalg.norm(long_run)


def test_the_double_average_of_workers_has_their_share_of_the_variance():
    """(3.20): V / p of p workers; V, as printed, is that of one."""
    h, eta, alpha, t = 2.0, 0.1, 0.1, 20_000
    for workers in (1, 4):
        drift = np.array([[1 - eta * h - alpha, alpha], [workers * alpha, 1 - workers * alpha]])
        kick, weights = np.array([eta, 0.0]), np.zeros(t)
        for i in range(1, t):
            weights[i] = weights[i - 1] + kick[1]
            kick = drift @ kick
        assert (weights**2).sum() / t / workers == pytest.approx(1 / h**2 / workers, rel=3e-3)
