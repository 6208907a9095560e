"""EASGD on a strongly convex loss: how far mean, workers and center are from its minimum, at most (Z 3.2).

The loss has mu |x - y|^2 <= <grad F(x) - grad F(y), x - y> <= L |x - y|^2, and the noise of a gradient has
E |xi|^2 <= sigma^2. a, b and c are E |mean of x^i - x*|^2, the mean of E |x^i - x*|^2, and E |center - x*|^2.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_count, check_sign


def easgd_bound(
    workers: int, eta: float, alpha: float, beta: float, mu: float, smoothness: float, noise: float = 1.0
) -> tuple[NDArray, NDArray]:
    """(a, b, c) after a step is at most a matrix times (a, b, c) before it, and what the noise adds (Z, Theorem 3.2.1).

    Args:
        workers: p.
        eta: learning rate, from 0 to 2 (1 - alpha) / (mu + L), in time.
        alpha: moving rate of the workers, at least 0 and below 1, without unit.
        beta: moving rate of the center, from 0 to 1, without unit.
        mu: strong convexity, greater than 0, in 1/time.
        smoothness: L, at least mu, in 1/time.
        noise: sigma^2, at least 0, in length^2/time^2.

    Returns:
        The matrix, (3, 3), and what is added, (3,), in length^2.

    Raises:
        ValueError: where an assumption of the theorem does not hold.
    """
    p = check_count("workers", workers)
    for name, value in (("eta", eta), ("alpha", alpha), ("beta", beta), ("noise", noise)):
        check_sign(name, value)
    check_sign("mu", mu, zero=False)
    check_sign("smoothness", smoothness, zero=False)
    if not mu <= smoothness:
        raise ValueError(f"mu={mu:g}: must be at most smoothness={smoothness:g}")
    if not alpha < 1:
        raise ValueError(f"alpha={alpha:g}: must be below 1")
    if not beta <= 1:
        raise ValueError(f"beta={beta:g}: must be at most 1")
    if not eta <= (most := 2 * (1 - alpha) / (mu + smoothness)):
        raise ValueError(f"eta={eta:g}: must be at most 2 (1 - alpha) / (mu + L) = {most:.4g}")
    first, second = _gammas(eta, mu, smoothness)
    matrix = np.array(
        [
            [1 - first - second - alpha, second, alpha],
            [0, 1 - first - alpha, alpha],
            [beta, 0, 1 - beta],
        ]
    )
    return matrix, eta**2 * noise * np.array([1 / p, 1, 0])


def easgd_bound_path(
    steps: int,
    start: float,
    workers: int,
    eta: float,
    alpha: float,
    beta: float,
    mu: float,
    smoothness: float,
    noise: float = 1.0,
) -> NDArray:
    """What `easgd_bound` says after each step, of workers and a center that begin at one point.

    Args:
        steps: how many.
        start: |x_0 - x*|^2, at least 0, in length^2.
        workers: p.
        eta: learning rate, in time.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        mu: strong convexity, in 1/time.
        smoothness: L, in 1/time.
        noise: sigma^2, in length^2/time^2.

    Returns:
        (steps + 1, 3), in length^2.

    Raises:
        ValueError: where an assumption of the theorem does not hold, or the matrix has a negative entry: bounds of one
            step then make none of two.
    """
    matrix, added = easgd_bound(workers, eta, alpha, beta, mu, smoothness, noise)
    if (matrix < 0).any():
        least = 1 - sum(_gammas(eta, mu, smoothness)) - alpha
        raise ValueError(f"eta={eta:g}: 1 - gamma_1 - gamma_2 - alpha = {least:.4g} must not be negative")
    check_sign("start", start)
    path = np.full((check_count("steps", steps, least=0) + 1, 3), float(start))
    for i in range(1, len(path)):
        path[i] = matrix @ path[i - 1] + added
    return path


def easgd_bound_limit(
    workers: int, eta: float, alpha: float, beta: float, mu: float, smoothness: float, noise: float = 1.0
) -> NDArray:
    """Where `easgd_bound` ends: its fixed point (Z 3.2).

    a = c = (alpha / p + gamma_1 / p + gamma_2) / (gamma_1 (alpha + gamma_1 + gamma_2)) eta^2 sigma^2, and b the same
    with gamma_1 in place of gamma_1 / p; gamma_1 = 2 eta mu L / (mu + L), and
    gamma_2 = 2 eta L (1 - 2 sqrt(mu L) / (mu + L)).

    Args:
        workers: p.
        eta: learning rate, greater than 0, in time.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, greater than 0, without unit.
        mu: strong convexity, in 1/time.
        smoothness: L, in 1/time.
        noise: sigma^2, in length^2/time^2.

    Returns:
        (3,), in length^2.

    Raises:
        ValueError: where an assumption of the theorem does not hold.
    """
    easgd_bound(workers, eta, alpha, beta, mu, smoothness, noise)
    check_sign("eta", eta, zero=False)
    check_sign("beta", beta, zero=False)
    first, second = _gammas(eta, mu, smoothness)
    unit = eta**2 * noise / (first * (alpha + first + second))
    mean = ((alpha + first) / workers + second) * unit
    return np.array([mean, (alpha / workers + first + second) * unit, mean])


def _gammas(eta: float, mu: float, smoothness: float) -> tuple[float, float]:
    total = mu + smoothness
    return 2 * eta * mu * smoothness / total, 2 * eta * smoothness * (1 - 2 * np.sqrt(mu * smoothness) / total)
