"""Stationary and averaged covariances of linear systems, each by a second method (BS 5.5)."""

import numpy as np
import pytest
import scipy.linalg

from sdesim.theory import bounds
from sdesim.theory.linear import normal_length


def gap(p):
    """The projection to differences from the mean of p agents."""
    return np.eye(p) - np.full((p, p), 1 / p)


A = np.array([[2.0, 0.7, 0.0], [-0.4, 1.0, 0.3], [0.1, 0.0, 0.5]])
B = np.array([[1.0, 0.0, 0.2], [0.5, 0.8, 0.0], [0.0, -0.3, 0.6]])
SIGMA = B @ B.T


def kronecker(left, right, rhs):
    """V of left V + V right = rhs, written out as one linear system."""
    n = len(rhs)
    whole = np.kron(left, np.eye(n)) + np.kron(np.eye(n), right.T)
    return np.linalg.solve(whole, rhs.ravel()).reshape(n, n)


@pytest.mark.parametrize("p", [1, 4])
def test_stationary_covariance_by_a_second_method(p):
    np.testing.assert_allclose(bounds.ou_covariance(A, SIGMA, p), kronecker(A, A.T, SIGMA / p), rtol=1e-10)
    dt = 0.2
    step = np.eye(3) - dt * A
    whole = np.eye(9) - np.kron(step, step)
    expected = np.linalg.solve(whole, dt * SIGMA.ravel() / p).reshape(3, 3)
    np.testing.assert_allclose(bounds.ou_covariance_discrete(A, SIGMA, dt, p), expected, rtol=1e-10)


def test_stationary_covariance_in_closed_form():
    h, sigma, dt = 1.5, 0.8, 0.2
    assert bounds.ou_covariance(h, sigma**2, 3).item() == pytest.approx(sigma**2 / (2 * h) / 3)
    expected = sigma**2 / (2 * h - h**2 * dt)
    assert bounds.ou_covariance_discrete(h, sigma**2, dt).item() == pytest.approx(expected)
    # A symmetric A: in its eigenvectors each entry of the noise is divided by the sum of two eigenvalues.
    a = A @ A.T
    w, u = np.linalg.eigh(a)
    expected = u @ ((u.T @ SIGMA @ u) / (w[:, None] + w[None, :])) @ u.T
    np.testing.assert_allclose(bounds.ou_covariance(a, SIGMA), expected, rtol=1e-9)


def test_chain_goes_to_the_sde_at_first_order():
    errors = [np.abs(bounds.ou_covariance_discrete(A, SIGMA, dt) - bounds.ou_covariance(A, SIGMA)).max()
              for dt in (0.02, 0.01, 0.005)]  # fmt: skip
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, atol=0.06)


def average_by_autocovariance(drift, noise_covariance, p, d):
    """The integral over all lags of the mean's autocovariance: e^(-M |lag|) V, so M^-1 V + V M^-T."""
    v = scipy.linalg.solve_continuous_lyapunov(drift, noise_covariance)
    integral = np.linalg.solve(drift, v) + np.linalg.solve(drift, v).T
    row = np.kron(np.full((1, p), 1 / p), np.eye(d))
    return row @ integral @ row.T


@pytest.mark.parametrize("k", [0.0, 1.0, 30.0])
def test_average_without_or_with_one_preconditioner_does_not_depend_on_the_gain(k):
    p, d = 4, 3
    plain = bounds.average_covariance(A, SIGMA, p)
    inverse = np.linalg.inv(A)
    np.testing.assert_allclose(plain, inverse @ SIGMA @ inverse.T / p)
    drift = np.kron(np.eye(p), A) + k * np.kron(gap(p), np.eye(d))
    np.testing.assert_allclose(
        plain, average_by_autocovariance(drift, np.kron(np.eye(p), SIGMA), p, d), rtol=1e-9, atol=1e-12
    )
    one = np.array([[1.2, 0.1, 0.0], [0.0, 0.7, 0.2], [0.0, 0.1, 2.0]])
    common = bounds.average_covariance(A, SIGMA, p, k=k, preconditioners=np.stack([one] * p))
    np.testing.assert_allclose(common, plain, rtol=1e-9)


def test_average_with_different_preconditioners():
    printed = [bounds.average_covariance(1.0, 1.0, 2, k=k, preconditioners=[1, 3]).item() for k in (0.0, 1.0, 10.0)]
    np.testing.assert_allclose(printed, [0.500, 0.520, 0.595], atol=6e-4)
    each = np.array([0.5 * np.eye(3), np.diag([1.0, 2.0, 0.7]), np.eye(3) + 0.2 * A])
    drift = scipy.linalg.block_diag(*(each @ A)) + 2.0 * np.kron(gap(3), np.eye(3))
    force = scipy.linalg.block_diag(*(each @ SIGMA @ each.transpose(0, 2, 1)))
    np.testing.assert_allclose(
        bounds.average_covariance(A, SIGMA, 3, k=2.0, preconditioners=each),
        average_by_autocovariance(drift, force, 3, 3),
        rtol=1e-9,
    )


@pytest.mark.parametrize("p", [1, 4, 64])
@pytest.mark.parametrize("k", [0.5, 8.0])
def test_law_of_easgd_by_the_whole_system(p, k):
    """Of all p agents and the center, written out; with many strongly coupled agents it is that of one over p."""
    h, noise = 1.3, 0.7
    whole = np.zeros((p + 1, p + 1))
    whole[:p, :p] = (h + k) * np.eye(p)
    whole[:p, p], whole[p, :p], whole[p, p] = -k, -k, k * p
    force = np.diag([*[noise] * p, 0.0])
    v = bounds.ou_covariance(whole, force)
    row = np.zeros((2, p + 1))
    row[0, :p], row[1, p] = 1 / p, 1
    np.testing.assert_allclose(bounds.easgd_covariance(h, noise / p, p, k), row @ v @ row.T, rtol=1e-9)
    many = bounds.easgd_covariance(h, noise / 4096, 4096, 200.0)
    np.testing.assert_allclose(many, noise / (2 * h) / 4096, rtol=4e-3)


def test_spread_with_momentum_solves_the_lyapunov_equation():
    eta, c, mu, h = 0.1, 4.0, 2.0, 1.4
    p, k = np.array([2.0, 64.0])[:, None], np.array([0.5, 8.0])
    found = bounds.momentum_spread(p, eta, c, k, mu, h)
    for j, gain in enumerate(k):
        law = bounds.ou_covariance([[gain, -1.0], [h, mu]], np.diag([0.0, eta * c]))
        np.testing.assert_allclose(found[:, j], (p[:, 0] - 1) * law[0, 0], rtol=1e-10)
    np.testing.assert_allclose(bounds.momentum_spread(p, eta, c, k, mu, h, batch=2.0), found / 2)


def test_length_of_a_normal_vector():
    assert normal_length(1) == pytest.approx(np.sqrt(2 / np.pi), rel=1e-12)
    assert normal_length(2) == pytest.approx(np.sqrt(np.pi / 2), rel=1e-12)
    assert normal_length(10_000) == pytest.approx(100.0, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.ou_covariance(-1.0, 1.0), "matrix: its least eigenvalue has real part -1"),
        (lambda: bounds.ou_covariance([[1.0, 2.0]], 1.0), r"matrix: of shape \(1, 2\)"),
        (lambda: bounds.ou_covariance(1.0, -1.0), "covariance=.*positive semidefinite"),
        (lambda: bounds.ou_covariance(np.eye(2), [[1.0, 0.5], [0.0, 1.0]]), "covariance=.*symmetric"),
        (lambda: bounds.ou_covariance(np.eye(2), 1.0), r"covariance: of shape \(1, 1\), must be that of matrix"),
        (lambda: bounds.ou_covariance_discrete(3.0, 1.0, 0.7), "dt=0.7: the chain is unstable"),
        (lambda: bounds.easgd_covariance(1.0, 1.0, 2, 0.0), "matrix: its least eigenvalue has real part 0"),
        (lambda: bounds.momentum_spread(2, 0.1, 1.0, 1.0, 0.0, 1.0), "mu=0"),
        (lambda: bounds.average_covariance(1.0, 1.0, 2, preconditioners=[1, 3]), "k=None: agents with preconditioners"),
        (lambda: bounds.average_covariance(1.0, 1.0, 3, k=1, preconditioners=[1, 3]), r"preconditioners: of shape"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
