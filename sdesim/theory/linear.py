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
from scipy.special import gammaln

from sdesim._moved import refuse
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
    a, sigma = system(matrix, covariance)
    check_count("agents", agents)
    check_stable(a)
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
    a, sigma = system(matrix, covariance)
    check_count("agents", agents)
    check_sign("dt", dt, zero=False)
    step = np.eye(len(a)) - float(dt) * a
    radius = float(np.abs(np.linalg.eigvals(step)).max())
    if not radius < 1:
        raise ValueError(
            f"dt={dt:g}: the chain is unstable, of radius {radius:.4g} with this matrix; it needs a smaller dt"
        )
    v = np.asarray(scipy.linalg.solve_discrete_lyapunov(step, float(dt) * sigma / agents), float)
    return (v + v.T) / 2


def easgd_covariance(curvature: float, covariance: float, agents: int, k: float) -> Matrix:
    """Stationary covariance of EASGD's quorum and center with elastic symmetry, in one coordinate (BS 5.3).

    (x_mean, center) on f = h x^2 / 2 is an Ornstein-Uhlenbeck process of drift [[h + k, -k], [-k p, k p]], and the
    center has no noise of its own.

    Args:
        curvature: h, greater than 0, in 1/time.
        covariance: of the quorum's noise as it multiplies dt (`quorum_noise_covariance`), in length^2/time.
        agents: p.
        k: gain, in 1/time.

    Returns:
        (2, 2), in length^2.

    Raises:
        ValueError: if an argument is out of its range, or there is no stationary law, as for k = 0.
    """
    p = check_count("agents", agents)
    check_sign("k", k)
    check_sign("curvature", curvature, zero=False)
    drift = np.array([[curvature + k, -k], [-k * p, k * p]])
    return ou_covariance(drift, np.diag([covariance, 0.0]))


def normal_length(dims: int) -> float:
    """Mean length of a standard normal vector, sqrt(2) Gamma((d + 1) / 2) / Gamma(d / 2).

    Args:
        dims: d, its coordinates.
    """
    d = check_count("dims", dims)
    return np.sqrt(2) * np.exp(gammaln((d + 1) / 2) - gammaln(d / 2))


def system(matrix: ArrayLike, covariance: ArrayLike) -> tuple[Matrix, Matrix]:
    """A and Sigma as matrices of one size.

    Args:
        matrix: A, (dims, dims) or a number.
        covariance: Sigma, likewise.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a covariance that is none.
    """
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


def check_stable(a: Matrix) -> None:
    """Refuse a drift -A without a stationary law.

    Args:
        a: A, (dims, dims), in 1/time.

    Raises:
        ValueError: if an eigenvalue has no positive real part.
    """
    least = float(np.linalg.eigvals(a).real.min())
    if not least > 0:
        raise ValueError(f"matrix: its least eigenvalue has real part {least:.4g}; must be > 0 for a stationary law")


def __getattr__(name: str):
    refuse(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
