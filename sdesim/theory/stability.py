"""When momentum, EASGD, EAMSGD, ADMM and DOWNPOUR are stable on a quadratic, and fastest (Z 3.3, 5.1, 6.2).

One coordinate of curvature h about its minimum at 0: eta_h = eta h and, of Nesterov's momentum delta,
delta_h = delta (1 - eta h), are without unit; alpha is the moving rate of the workers and beta that of the center,
which elastic symmetry makes p alpha. EASGD is in the form of Jacobi unless it says Gauss-Seidel. A radius is the
greatest absolute value of eigenvalues: what means change by at a step, in the end, and second moments by its square.

The *reduced* system is of the workers' mean and the center. What the whole one has besides are differences of workers,
which the center never sees and which have a factor of their own. Everything is float64 NumPy.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_count, check_sign
from sdesim.theory import quadratic
from sdesim.theory.arguments import Numbers, all_finite, count, finite, require, show


def radius(matrix: NDArray) -> Numbers:
    """The greatest absolute value of a matrix's eigenvalues.

    Args:
        matrix: (..., n, n).

    Returns:
        (...).
    """
    return np.abs(np.linalg.eigvals(finite("matrix", matrix))).max(axis=-1)


def in_unit_circle(b: Numbers, c: Numbers) -> Numbers:
    """Whether both roots of z^2 - 2 b z + c are below 1 in absolute value (Z, Lemma 6.2.1).

    -1 < c < 1, c > 2 b - 1 and c > -2 b - 1.

    Args:
        b: half of the roots' sum.
        c: their product.
    """
    b, c = finite("b", b), finite("c", c)
    return (np.abs(c) < 1) & (c > 2 * np.abs(b) - 1)


# -- one agent with momentum (Z 5.1.2) ---------------------------------------------------------------------------------


def momentum_is_stable(eta_h: Numbers, delta_h: Numbers) -> Numbers:
    """Whether SGD with momentum is stable: |delta_h| < 1 and 0 < eta_h < 2 (1 + delta_h).

    Args:
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
    """
    n, d = finite("eta_h", eta_h), finite("delta_h", delta_h)
    return (np.abs(d) < 1) & (n > 0) & (n < 2 * (1 + d))


def best_momentum(eta_h: Numbers) -> Numbers:
    """The delta_h at which SGD with momentum is fastest, (sqrt(eta_h) - 1)^2, by which E x^2 then changes at a step.

    Args:
        eta_h: eta h, between 0 and 4, without unit.

    Returns:
        Without unit.
    """
    n = finite("eta_h", eta_h)
    require((n > 0) & (n < 4), f"eta_h={show(n)}: must be between 0 and 4, or it is stable at no momentum")
    return (np.sqrt(n) - 1) ** 2


# -- EASGD and EAMSGD (Z 3.1.1, 5.1.3) ---------------------------------------------------------------------------------


def center_is_stable(workers: Numbers, eta_h: Numbers, alpha: Numbers) -> Numbers:
    """Whether workers' mean and center of EASGD with beta = p alpha are stable (Z 3.4).

    (2 - eta h) (2 - p alpha) > 2 alpha, (2 - eta h) + (2 - p alpha) > alpha, and both eta h and alpha greater than 0.

    Args:
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
    """
    p, n, a = count("workers", workers), finite("eta_h", eta_h), finite("alpha", alpha)
    step, pulled = 2 - n, 2 - p * a
    return (n > 0) & (a > 0) & (step * pulled > 2 * a) & (step + pulled > a)


def reduced_is_stable(eta_h: Numbers, alpha: Numbers, beta: Numbers) -> Numbers:
    """Whether workers' mean and center of EASGD are stable, of any two moving rates (Z 5.15).

    eta_h and beta greater than 0, (2 - beta) (2 - eta_h) > 2 alpha, and 0 < alpha + beta + eta_h (1 - beta) < 2:
    sufficient and necessary.

    Args:
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
    """
    n, a, b = finite("eta_h", eta_h), finite("alpha", alpha), finite("beta", beta)
    total = a + b + n * (1 - b)
    return (n > 0) & (b > 0) & ((2 - b) * (2 - n) > 2 * a) & (total > 0) & (total < 2)


def easgd_drift(workers: int, eta_h: float, alpha: float, beta: float) -> NDArray:
    """One step of EASGD as a map of (x^1, ..., x^p, c) (Z 5.18).

    Args:
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (p + 1, p + 1).
    """
    names = (("eta_h", eta_h), ("alpha", alpha), ("beta", beta))
    n, a, b = (float(finite(*pair)) for pair in names)
    return _drift(workers, np.array([[1 - a - n]]), a, b)


def eamsgd_drift(workers: int, eta_h: float, delta_h: float, alpha: float, beta: float) -> NDArray:
    """One step of EAMSGD as a map of (v^1, x^1, ..., v^p, x^p, c) (Z 5.20).

    Args:
        workers: p.
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (2 p + 1, 2 p + 1).
    """
    names = (("eta_h", eta_h), ("delta_h", delta_h), ("alpha", alpha), ("beta", beta))
    n, d, a, b = (float(finite(*pair)) for pair in names)
    return _drift(workers, np.array([[d, -n], [d, 1 - n - a]]), a, b)


def easgd_spectrum(eta_h: Numbers, alpha: Numbers, beta: Numbers) -> NDArray:
    """The eigenvalues of `easgd_drift`, of any number of workers above one (Z 5.19).

    1 - alpha - eta_h, of the workers' differences (p - 1 times), and both of mean and center, which are all that one
    worker has: (1 - beta - z) (1 - alpha - eta_h - z) = alpha beta.

    Args:
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (..., 3), complex.
    """
    n, a, b = all_finite(eta_h=eta_h, alpha=alpha, beta=beta)
    half, product = (2 - b - n - a) / 2, (1 - n) * (1 - b) - a
    root = np.sqrt((half**2 - product).astype(complex))
    return np.stack([(1 - a - n).astype(complex), half - root, half + root], axis=-1)


def eamsgd_spectrum(eta_h: Numbers, delta_h: Numbers, alpha: Numbers, beta: Numbers) -> NDArray:
    """The eigenvalues of `eamsgd_drift`, of any number of workers above one (Z 5.21).

    Both roots of u(z) = z^2 - (1 - eta_h - alpha + delta_h) z + delta_h (1 - alpha), of the workers' differences, and
    the three of v(z) = (delta_h - z) (1 - eta_h - alpha - z) (1 - beta - z) + eta_h delta_h (1 - beta - z) - alpha beta
    (delta_h - z), of mean and center. (The thesis prints u with the sign of delta_h turned.)

    Args:
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (..., 5), complex.
    """
    whole = quadratic.eamsgd_means(eta_h, delta_h, alpha, beta)[..., ::-1, ::-1]  # of v, x and c
    parts = [np.linalg.eigvals(m).astype(complex) for m in (whole[..., :2, :2], whole)]
    return np.concatenate(parts, axis=-1)


def best_reduced_alpha(eta_h: Numbers, beta: Numbers) -> Numbers:
    """The moving rate at which workers' mean and center of EASGD are fastest, -(sqrt(beta) - sqrt(eta_h))^2 (Z 5.17).

    Their second moments then change by (sqrt(beta eta_h) - 1)^2 at a step; the workers' differences may grow meanwhile.

    Args:
        eta_h: eta h, greater than 0, without unit.
        beta: moving rate of the center, greater than 0, without unit.

    Returns:
        Without unit; negative but where both are one number.
    """
    check_sign("eta_h", eta_h, zero=False)
    check_sign("beta", beta, zero=False)
    return -((np.sqrt(beta) - np.sqrt(eta_h)) ** 2)


def best_alpha(eta_h: float, beta: float) -> tuple[float, float]:
    """The moving rate at which EASGD of more than one worker is fastest, and its radius there (Z 5.1.3, corrected).

    The thesis has -(sqrt(beta) - sqrt(eta_h))^2 for beta < eta_h and 0 for beta > eta_h. That holds while
    eta_h <= (2 + beta)^2 / (9 beta) and while beta + eta_h <= 2; beyond, another pair of eigenvalues is greatest.

    Args:
        eta_h: eta h, greater than 0, without unit.
        beta: moving rate of the center, greater than 0, without unit.

    Returns:
        alpha and the radius of `easgd_drift`, which is stable where it is below 1.
    """
    check_sign("eta_h", eta_h, zero=False)
    check_sign("beta", beta, zero=False)
    n, b = float(eta_h), float(beta)
    meet = -((np.sqrt(b) - np.sqrt(n)) ** 2), abs(1 - np.sqrt(b * n))
    if b <= n:
        if n <= (2 + b) ** 2 / (9 * b):
            return meet
        r = (np.sqrt(1 + 4 * b * (n - 1)) - 1) / 2
        return 1 + r - n, r
    if b + n <= 2:
        return 0.0, 1 - n
    if 3 * np.sqrt(b * n) >= 2 + b:
        return meet
    r = (np.sqrt((2 - b) ** 2 + 8 * b * (1 - n)) - (2 - b)) / 4
    return 1 - n - r, r


def _drift(workers: int, own: NDArray, alpha: float, beta: float) -> NDArray:
    """A step of workers of the same rows, the last of which is drawn to a center that follows the mean of these."""
    p, n = check_count("workers", workers), len(own)
    matrix = np.zeros((p * n + 1, p * n + 1))
    matrix[:-1, :-1] = np.kron(np.eye(p), own)
    matrix[n - 1 : -1 : n, -1], matrix[-1, n - 1 : -1 : n] = alpha, beta / p
    matrix[-1, -1] = 1 - beta
    return matrix


# -- workers in turn (Z 3.3) -------------------------------------------------------------------------------------------


def easgd_sweep(workers: int, eta_h: float, alpha: float) -> NDArray:
    """One turn of all workers of round-robin EASGD as a map of (x^1, ..., x^p, c) (Z 3.55-3.56).

    Args:
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of a worker and the center, without unit.

    Returns:
        (p + 1, p + 1).
    """
    p, n, a = check_count("workers", workers), float(finite("eta_h", eta_h)), float(finite("alpha", alpha))
    whole = np.eye(p + 1)
    for i in range(p):
        step = np.eye(p + 1)
        step[i, i], step[i, -1] = 1 - n - a, a
        step[-1, i], step[-1, -1] = a, 1 - a
        whole = step @ whole
    return whole


def easgd_in_turn_limit(eta_h: Numbers) -> Numbers:
    """Below which moving rate round-robin EASGD is stable, (4 - 2 eta_h) / (4 - eta_h) (Z 3.3).

    Exact for an odd number of workers. For an even one it is sufficient and not necessary, whatever the thesis says:
    steps of two workers in turn can undo what a single one of them does.

    Args:
        eta_h: eta h, from 0 to 2, without unit.

    Returns:
        Without unit.
    """
    n = finite("eta_h", eta_h)
    require((n >= 0) & (n <= 2), f"eta_h={show(n)}: must be from 0 to 2, or it is stable at no moving rate")
    return (4 - 2 * n) / (4 - n)


def admm_turn(workers: int, worker: int, eta: float, rho: float, h: float = 1.0) -> NDArray:
    """One turn of one worker of ADMM as a map of (lambda^1, x^1, ..., lambda^p, x^p, c) (Z 3.52-3.54).

    Args:
        workers: p.
        worker: whose turn it is, from 0.
        eta: learning rate, at least 0, in time.
        rho: penalty, at least 0, in 1/time.
        h: curvature, at least 0, in 1/time.

    Returns:
        (2 p + 1, 2 p + 1).
    """
    p = check_count("workers", workers)
    i = 2 * check_count("worker", worker, least=0, most=p - 1)
    for name, value in (("eta", eta), ("rho", rho), ("h", h)):
        check_sign(name, value)
    dual, primal, center = (np.eye(2 * p + 1) for _ in range(3))
    dual[i, i + 1], dual[i, -1] = -1, 1
    weight = eta * rho / (1 + eta * rho)
    primal[i + 1, [i, i + 1, -1]] = weight, (1 - eta * h) / (1 + eta * rho), weight
    center[-1] = [*np.tile([-1 / p, 1 / p], p), 0]
    return center @ primal @ dual


def admm_sweep(workers: int, eta: float, rho: float, h: float = 1.0) -> NDArray:
    """One turn of all workers of round-robin ADMM, of `admm_turn` (Z 3.3).

    Args:
        workers: p.
        eta: learning rate, at least 0, in time.
        rho: penalty, at least 0, in 1/time.
        h: curvature, at least 0, in 1/time.

    Returns:
        (2 p + 1, 2 p + 1).
    """
    turns = [admm_turn(workers, i, eta, rho, h) for i in range(check_count("workers", workers))]
    return functools.reduce(lambda done, turn: turn @ done, turns)


# -- EASGD and DOWNPOUR as Gauss and Seidel have it (Z 6.2) ------------------------------------------------------------


def gauss_seidel_drift(eta_h: Numbers, alpha: Numbers, beta: Numbers) -> NDArray:
    """One step of Gauss-Seidel EASGD as a map of (mean of the workers, center) (Z 6.5).

    With alpha = 1 and beta = p it is DOWNPOUR. The workers' differences have the factor (1 - eta_h) (1 - alpha).

    Args:
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (..., 2, 2).
    """
    n, a, b = all_finite(eta_h=eta_h, alpha=alpha, beta=beta)
    first = [(1 - n) * (1 - a), (1 - n) * a]
    rows = [first, [b * first[0], b * first[1] + 1 - b]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def gauss_seidel_case(eta_h: float, alpha: float, beta: float) -> int | None:
    """Under which of the ten conditions of Z, Theorem 6.2.1, mean and center of Gauss-Seidel EASGD are stable.

    Args:
        eta_h: eta h, greater than 0, without unit.
        alpha: moving rate of the workers, greater than 0, without unit.
        beta: moving rate of the center, greater than 0, without unit.

    Returns:
        Its number, from 1; None where none holds, and they are not stable.
    """
    for name, value in (("eta_h", eta_h), ("alpha", alpha), ("beta", beta)):
        check_sign(name, value, zero=False)
    n, a, b = float(eta_h), float(alpha), float(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        c2 = np.divide(4 - 2 * b - 2 * n + b * n, 2 - 2 * b - 2 * n + 2 * b * n)
        c3 = np.divide(-b - n + b * n, 1 - b - n + b * n)
    conditions = (
        0 < n < 1 and 0 < b < 1 and 0 < a < c2,
        0 < n < 1 and b == 1,
        0 < n < 1 and 1 < b <= 2 and 0 < a < c3,
        0 < n < 1 and 2 < b < 4 / n and c2 < a < c3,
        n == 1 and 0 < b < 2,
        1 < n < 2 and 0 < b < 1 and 0 < a < c3,
        1 < n < 2 and b == 1,
        1 < n < 2 and 1 < b < 2 and 0 < a < c2,
        2 <= n <= 4 and 0 < b < 1 and c2 < a < c3,
        n > 4 and 0 < b < 4 / n and c2 < a < c3,
    )
    return next((i for i, holds in enumerate(conditions, 1) if holds), None)
