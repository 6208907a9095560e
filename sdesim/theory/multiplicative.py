"""SGD, momentum and EASGD under multiplicative noise: second moments far from the minimum (Z 5.2).

In one coordinate the gradient of a sample is xi x, where xi has the mean m and the variance w. In Z's case it is of a
gamma law of shape lambda and rate omega, m = lambda / omega and w = lambda / omega^2, as the square of a regression's
input is. The mean of b samples has the variance w / b. Everything is float64 NumPy.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.theory import quadratic
from sdesim.theory.arguments import Numbers, all_finite, check, count, finite, floats, require, show


def gamma_law(shape: Numbers, rate: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and variance of xi, of a gamma law.

    Args:
        shape: lambda, greater than 0.
        rate: omega, greater than 0, in time.

    Returns:
        lambda / omega, in 1/time, and lambda / omega^2, in 1/time^2.
    """
    check("shape", shape, zero=False)
    check("rate", rate, zero=False)
    return floats(shape) / floats(rate), floats(shape) / floats(rate) ** 2


def sgd_factor(eta: Numbers, mean: Numbers, variance: Numbers, batch: Numbers = 1) -> Numbers:
    """By which factor E x^2 changes in a step of SGD, (1 - eta m)^2 + eta^2 w / b (Z 5.26).

    Args:
        eta: learning rate, at least 0, in time.
        mean: m, in 1/time.
        variance: w, at least 0, in 1/time^2.
        batch: b, samples of a step.

    Returns:
        Without unit.
    """
    for name, value in (("eta", eta), ("variance", variance)):
        check(name, value)
    step, m = floats(eta), finite("mean", mean)
    return (1 - step * m) ** 2 + step**2 * floats(variance) / count("batch", batch)


def best_eta(mean: Numbers, variance: Numbers, batch: Numbers = 1) -> Numbers:
    """The learning rate at which E x^2 of SGD falls fastest, m / (m^2 + w / b) (Z 5.27).

    Args:
        mean: m, greater than 0, in 1/time.
        variance: w, at least 0, in 1/time^2.
        batch: b, samples of a step.

    Returns:
        In time.
    """
    check("mean", mean, zero=False)
    check("variance", variance)
    m = floats(mean)
    return m / (m**2 + floats(variance) / count("batch", batch))


def momentum_moments(eta: Numbers, delta: Numbers, mean: Numbers, variance: Numbers) -> NDArray:
    """One step of SGD with Nesterov's momentum as a map of (E v^2, E x^2, E v x) (Z 5.30). Arguments broadcast.

    Args:
        eta: learning rate, at least 0, in time.
        delta: momentum, without unit.
        mean: m, in 1/time.
        variance: w, at least 0, in 1/time^2.

    Returns:
        (..., 3, 3).
    """
    for name, value in (("eta", eta), ("variance", variance)):
        check(name, value)
    step, d, u1, w = all_finite(eta=eta, delta=delta, mean=mean, variance=variance)
    u2 = u1**2 + w
    keep = 1 - 2 * step * u1 + step**2 * u2
    cross = 2 * d * step * (u1 - step * u2)
    fall = d * (1 - step * u1)
    rows = [
        [d**2 * keep, step**2 * u2, -cross],
        [d**2 * keep, keep, 2 * fall - cross],
        [d**2 * keep, -step * u1 + step**2 * u2, fall - cross],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def easgd_moments(
    workers: Numbers, eta: Numbers, alpha: Numbers, beta: Numbers, mean: Numbers, variance: Numbers
) -> NDArray:
    """One step of EASGD as a map of (E c^2, mean of E x_i^2, E c x_mean, E x_mean^2) (Z 5.34).

    With w = 0 it is that of additive noise, which adds s^2 (0, 1, 0, 1 / p). Arguments broadcast.

    Args:
        workers: p.
        eta: learning rate, at least 0, in time.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        mean: m, in 1/time.
        variance: w, at least 0, in 1/time^2.

    Returns:
        (..., 4, 4).
    """
    for name, value in (("eta", eta), ("variance", variance)):
        check(name, value)
    numbers = all_finite(eta=eta, alpha=alpha, beta=beta, mean=mean, variance=variance)
    p, step, a, b, m, w = np.broadcast_arrays(count("workers", workers), *numbers)
    keep, zero = 1 - a - step * m, np.zeros(p.shape)
    rows = [
        [(1 - b) ** 2, zero, 2 * b * (1 - b), b**2],
        [a**2, keep**2 + step**2 * w, 2 * a * keep, zero],
        [a * (1 - b), zero, (1 - b) * keep + a * b, keep * b],
        [a**2, step**2 * w / p, 2 * a * keep, keep**2],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def eamsgd_moments(
    workers: Numbers, eta: Numbers, delta: Numbers, alpha: Numbers, beta: Numbers, mean: Numbers, variance: Numbers
) -> NDArray:
    """One step of EAMSGD as a map of the nine moments of `quadratic.eamsgd_moments`, which the thesis leaves out.

    v^i <- delta v^i - eta xi^i (x^i + delta v^i), so that to the map of the means' curvature m the fluctuations of xi
    add eta^2 w E (x_i + delta v_i)^2 to the moments of a worker's x and v, and 1 / p of it to those of x_mean and
    v_mean. Arguments broadcast.

    Args:
        workers: p.
        eta: learning rate, at least 0, in time.
        delta: momentum, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        mean: m, in 1/time.
        variance: w, at least 0, in 1/time^2.

    Returns:
        (..., 9, 9).
    """
    for name, value in (("eta", eta), ("variance", variance)):
        check(name, value)
    numbers = all_finite(eta=eta, delta=delta, alpha=alpha, beta=beta, mean=mean, variance=variance)
    p, step, d, a, b, m, w = np.broadcast_arrays(count("workers", workers), *numbers)
    moments = quadratic.eamsgd_moments(step * m, d * (1 - step * m), a, b)
    ahead = step**2 * w * np.array([np.ones(p.shape), 2 * d, d**2])  # of x_i^2, x_i v_i, v_i^2
    added = np.moveaxis(ahead, 0, -1)[..., None, :]
    moments[..., 6:, 6:] += added
    moments[..., 3:6, 6:] += added / p[..., None, None]
    return moments


def easgd_limit(shape: Numbers, rate: Numbers, alpha: Numbers, beta: Numbers) -> Numbers:
    """Below which learning rate infinitely many workers of EASGD are stable, alpha free of p (Z 5.2.3, Case II).

    The least of omega (1 - alpha) / (lambda + 1) + omega / (lambda (lambda + 1)) sqrt(lambda^2 + lambda (2 alpha -
    alpha^2)), of a worker by itself, and of (4 - 2 alpha - 2 beta) / (2 - beta) omega / lambda, of mean and center.

    Args:
        shape: lambda of xi's gamma law, greater than 0.
        rate: omega of it, greater than 0, in time.
        alpha: moving rate of the workers, between 0 and 1, without unit.
        beta: moving rate of the center, between 0 and 1, without unit.

    Returns:
        In time.
    """
    check("shape", shape, zero=False)
    check("rate", rate, zero=False)
    lam, w, a, b = (floats(value) for value in (shape, rate, alpha, beta))
    for name, value in (("alpha", a), ("beta", b)):
        require((value > 0) & (value < 1), f"{name}={show(value)}: must be between 0 and 1")
    worker = w * (1 - a) / (lam + 1) + w / (lam * (lam + 1)) * np.sqrt(lam**2 + lam * (2 * a - a**2))
    return np.minimum(worker, (4 - 2 * a - 2 * b) / (2 - b) * w / lam)


def widest_alpha(shape: Numbers, rate: Numbers) -> tuple[Numbers, Numbers]:
    """The moving rate at which the limit of a worker by itself, in `easgd_limit`, is greatest, and that limit.

    1 - sqrt(lambda) and omega / sqrt(lambda) for lambda < 1 (Z 5.2.3). For lambda >= 1 that rate is not above 0, and
    the best one in (0, 1) is none: the limit rises to 2 omega / (lambda + 1), that of SGD, as alpha falls to 0.

    Args:
        shape: lambda of xi's gamma law, greater than 0.
        rate: omega of it, greater than 0, in time.

    Returns:
        alpha, 0 for lambda >= 1, without unit; and the learning rate, in time.
    """
    check("shape", shape, zero=False)
    check("rate", rate, zero=False)
    root, w = np.sqrt(floats(shape)), floats(rate)
    return np.maximum(1 - root, 0.0), np.where(root < 1, w / root, 2 * w / (root**2 + 1))[()]
