"""What Zhang's thesis prints and computation finds otherwise, where no figure shows it: docs/errata.md."""

import numpy as np
import pytest

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
