"""Stationary laws of linear systems: quadratic losses under constant noise, where theory is exact (BS 5.5).

For f = 1/2 x^T A x and gradient noise B dW the quorum x of p agents is the Ornstein-Uhlenbeck process

    dx = -A x dt + B / sqrt(p) dW,    Sigma = B B^T,

whatever the gain. `covariance` stands for Sigma as it multiplies dt: with the learning rate, eta / b times the
covariance of one gradient. Everything is float64 NumPy; A must have eigenvalues of positive real part.
"""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign

Matrix = NDArray[Any]


def ou_covariance(matrix: ArrayLike, covariance: ArrayLike, agents: int = 1) -> Matrix:
    """Stationary covariance V of the quorum, A V + V A^T = Sigma / agents (BS 5.5).

    Args:
        matrix: A, (dims, dims) or a number, in 1/time; not necessarily symmetric.
        covariance: Sigma, (dims, dims) or a number, in length^2/time; symmetric, positive semidefinite.
        agents: p.

    Returns:
        V, (dims, dims), in length^2.

    Raises:
        ValueError: if A is not stable (an eigenvalue of -A has real part >= 0) or a shape is wrong.
    """
    a, sigma = _system(matrix, covariance)
    check_count("agents", agents)
    _check_stable(a)
    v = np.asarray(scipy.linalg.solve_continuous_lyapunov(a, sigma / agents), float)
    return (v + v.T) / 2


def ou_covariance_discrete(matrix: ArrayLike, covariance: ArrayLike, dt: float, agents: int = 1) -> Matrix:
    """Stationary covariance of the Euler-Maruyama chain with step dt, which is not that of the SDE.

    x <- (1 - dt A) x + sqrt(dt / agents) B z has V = (1 - dt A) V (1 - dt A)^T + dt Sigma / agents; in one dimension
    sigma^2 / (2h - h^2 dt) / agents.

    Args:
        matrix: A, (dims, dims) or a number, in 1/time; not necessarily symmetric.
        covariance: Sigma, (dims, dims) or a number, in length^2/time; symmetric, positive semidefinite.
        dt: length of a step, greater than 0, in time.
        agents: p.

    Returns:
        V, (dims, dims), in length^2.

    Raises:
        ValueError: if the chain is unstable (an eigenvalue of 1 - dt A of modulus >= 1) or a shape is wrong.
    """
    a, sigma = _system(matrix, covariance)
    check_count("agents", agents)
    check_sign("dt", dt, zero=False)
    step = np.eye(len(a)) - float(dt) * a
    radius = float(np.abs(np.linalg.eigvals(step)).max())
    if not radius < 1:
        raise ValueError(f"dt={dt:g}: the chain is unstable (spectral radius {radius:.4g}); it needs a smaller dt")
    v = np.asarray(scipy.linalg.solve_discrete_lyapunov(step, float(dt) * sigma / agents), float)
    return (v + v.T) / 2


def average_covariance(
    matrix: ArrayLike,
    covariance: ArrayLike,
    agents: int = 1,
    k: float | None = None,
    preconditioners: ArrayLike | None = None,
) -> Matrix:
    """Covariance of sqrt(t) z_t for t -> infinity, z_t = (1/t) integral of the quorum (BS 59).

    Without preconditioners, or with a common one, it is A^-1 Sigma A^-T / agents for every gain k. With preconditioners
    P_i that differ,

        dx^i = (-P_i A x^i + k (x_mean - x^i)) dt + P_i B dW^i,

    it depends on k, and is the average of the stacked system's M^-1 N M^-T, M its drift and N its noise covariance.

    Args:
        matrix: A, (dims, dims) or a number, in 1/time.
        covariance: Sigma, (dims, dims) or a number, in length^2/time.
        agents: p.
        k: gain of quorum coupling, in 1/time; needed where the preconditioners differ.
        preconditioners: None, or one an agent: numbers (agents,) or matrices (agents, dims, dims), without unit.

    Returns:
        (dims, dims), in length^2 time.

    Raises:
        ValueError: if A or the stacked system is not stable, a shape is wrong, or k is missing.
    """
    a, sigma = _system(matrix, covariance)
    p, d = check_count("agents", agents), len(a)
    if k is not None:
        check_sign("k", k)
    if preconditioners is None:
        _check_stable(a)
        inverse = np.linalg.inv(a)
        return inverse @ sigma @ inverse.T / p
    if k is None:
        raise ValueError("k=None: agents with preconditioners need the gain k (0 for uncoupled agents)")
    each = np.asarray(preconditioners, float)
    if each.shape == (p,):
        each = each[:, None, None] * np.eye(d)
    if each.shape != (p, d, d):
        raise ValueError(f"preconditioners: of shape {each.shape}, must be (agents,) = ({p},) or {(p, d, d)}")
    coupling = float(k) * np.kron(np.eye(p) - np.full((p, p), 1 / p), np.eye(d))
    drift = np.asarray(scipy.linalg.block_diag(*(each @ a)), float) + coupling
    noise = np.asarray(scipy.linalg.block_diag(*(each @ sigma @ each.transpose(0, 2, 1))), float)
    _check_stable(drift)
    row = np.linalg.solve(drift.T, np.kron(np.full((p, 1), 1 / p), np.eye(d))).T  # the averaging row times M^-1
    return row @ noise @ row.T


def _system(matrix: ArrayLike, covariance: ArrayLike) -> tuple[Matrix, Matrix]:
    """A and Sigma as matrices of one size."""
    a, sigma = np.atleast_2d(np.asarray(matrix, float)), np.atleast_2d(np.asarray(covariance, float))
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"matrix: of shape {a.shape}, must be a number or (dims, dims)")
    if sigma.shape != a.shape:
        raise ValueError(f"covariance: of shape {sigma.shape}, must be that of matrix, {a.shape}")
    if not (np.isfinite(a).all() and np.isfinite(sigma).all()):
        raise ValueError("matrix, covariance: must be finite")
    scale = max(float(np.abs(sigma).max()), np.finfo(float).tiny)
    if np.abs(sigma - sigma.T).max() > 1e-9 * scale or np.linalg.eigvalsh((sigma + sigma.T) / 2)[0] < -1e-9 * scale:
        raise ValueError(f"covariance={sigma.tolist()}: must be symmetric and positive semidefinite")
    return a, sigma


def _check_stable(a: Matrix) -> None:
    least = float(np.linalg.eigvals(a).real.min())
    if not least > 0:
        raise ValueError(f"matrix: its least eigenvalue has real part {least:.4g}; must be > 0 for a stationary law")
