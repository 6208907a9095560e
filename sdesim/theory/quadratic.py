"""SGD, momentum and synchronous EASGD on a quadratic under additive noise: exact moments (Z 3.1, 5.1).

One coordinate of curvature h about its minimum at 0. A step has the learning rate eta, and s^2 = eta^2 sigma^2 is the
variance that the gradient's noise adds to a worker in it. eta_h = eta h and, of Nesterov's momentum delta,
delta_h = delta (1 - eta h) are without unit. EASGD is in the form of Jacobi,

    x^i <- x^i - eta (h x^i - xi^i) - alpha (x^i - c),    c <- c + beta (mean of x^i - c),

with elastic symmetry where beta = p alpha. Everything is float64 NumPy, and arguments broadcast.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_count
from sdesim.theory.arguments import Numbers, all_finite, check, count, finite, floats, require, show

# -- the center of EASGD with elastic symmetry (Z 3.1.1) ---------------------------------------------------------------


def center_roots(workers: Numbers, eta_h: Numbers, alpha: Numbers) -> tuple[Numbers, Numbers]:
    """gamma and phi of Z, Lemma 3.1.1: the factors of center and workers' mean, with beta = p alpha.

    gamma, phi = 1 - (a -+ sqrt(a^2 - 4 c^2)) / 2 with a = eta h + (p + 1) alpha and c^2 = eta h p alpha: real always,
    and different but for alpha = eta h = 0.

    Args:
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.

    Returns:
        gamma and phi, the greater and the lesser.
    """
    p, step, rate = count("workers", workers), finite("eta_h", eta_h), finite("alpha", alpha)
    a = step + (p + 1) * rate
    # a^2 - 4 c^2 as a sum of two parts, of which none is a difference of large numbers
    root = np.sqrt((step - (p - 1) * rate) ** 2 + 4 * p * rate**2)
    return 1 - (a - root) / 2, 1 - (a + root) / 2


def center_mean(
    steps: Numbers, workers: Numbers, eta_h: Numbers, alpha: Numbers, center: Numbers = 1.0, mean: Numbers = 1.0
) -> Numbers:
    """E of the center after so many steps of EASGD with beta = p alpha (Z 3.2).

    gamma^t c_0 + (gamma^t - phi^t) / (gamma - phi) alpha u_0,  u_0 = p (mean_0 - alpha c_0 / (1 - p alpha - phi)).

    Args:
        steps: t, at least 0; infinity for the limit.
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        center: where the center starts, c_0, in length.
        mean: where the mean of the workers starts, in length.

    Returns:
        In length; infinite in a limit that is none.
    """
    t, gamma, phi, p, rate = _center(steps, workers, eta_h, alpha)
    c = finite("center", center)
    with np.errstate(all="ignore"):
        # alpha u_0, since (1 - p alpha - phi) (gamma - 1 + p alpha) = p alpha^2
        pushed = p * rate * finite("mean", mean) - (gamma - 1 + p * rate) * c
        return _power(gamma, t) * c + _divided(gamma, phi, t) * pushed


def center_variance(steps: Numbers, workers: Numbers, eta_h: Numbers, alpha: Numbers, noise: Numbers = 1.0) -> Numbers:
    """Variance of the center after so many steps of EASGD with beta = p alpha from a fixed start (Z 3.3).

    p alpha^2 s^2 / (gamma - phi)^2 times the sum over k < t of (gamma^k - phi^k)^2.

    Args:
        steps: t, at least 0; infinity for the limit.
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        In length^2; infinite in a limit that is none.
    """
    t, gamma, phi, p, rate = _center(steps, workers, eta_h, alpha)
    check("noise", noise)
    with np.errstate(all="ignore"):
        total = _sum(gamma * gamma, t) + _sum(phi * phi, t) - 2 * _sum(gamma * phi, t)
        whole = np.where(np.isinf(_sum(gamma * gamma, t)) | np.isinf(_sum(phi * phi, t)), np.inf, total)
        scale = p * rate**2 * floats(noise)
        return np.where(scale == 0, 0.0, scale * whole / (gamma - phi) ** 2)[()]


def center_square(
    steps: Numbers,
    workers: Numbers,
    eta_h: Numbers,
    alpha: Numbers,
    noise: Numbers = 1.0,
    center: Numbers = 1.0,
    mean: Numbers = 1.0,
) -> Numbers:
    """Mean squared error of the center, the square of `center_mean` and `center_variance` together (Z 3.1.1).

    Args:
        steps: t, at least 0; infinity for the limit.
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        noise: s^2, at least 0, in length^2.
        center: where the center starts, in length.
        mean: where the mean of the workers starts, in length.

    Returns:
        In length^2.
    """
    bias = center_mean(steps, workers, eta_h, alpha, center, mean)
    return bias**2 + center_variance(steps, workers, eta_h, alpha, noise)


def center_limit(eta_h: Numbers, beta: Numbers) -> Numbers:
    """lim of p E c^2 as first the steps and then the workers grow, in units of sigma^2 / h^2 (Z, Corollary 3.1.1).

    beta eta h / ((2 - beta) (2 - eta h)) (2 - beta - eta h + beta eta h) / (beta + eta h - beta eta h).

    Args:
        eta_h: eta h, between 0 and 2, without unit.
        beta: moving rate of the center, between 0 and 2, without unit.

    Returns:
        Without unit.
    """
    step, b = finite("eta_h", eta_h), finite("beta", beta)
    for name, value in (("eta_h", step), ("beta", b)):
        require((value > 0) & (value < 2), f"{name}={show(value)}: must be between 0 and 2, or there is no limit")
    return b * step / ((2 - b) * (2 - step)) * (2 - b - step + b * step) / (b + step - b * step)


def double_average_variance(workers: Numbers, h: Numbers, variance: Numbers = 1.0) -> Numbers:
    """Variance of sqrt(t) z_t, z_t the mean of the center over t steps, as t grows (Z, Lemma 3.1.2).

    sigma^2 / (p h^2), of whatever gain and learning rate, as long as EASGD is stable: Fisher's bound. In more than one
    dimension it is A^-1 Sigma A^-T / p (Lemma 3.1.3), which is `theory.averages.average_covariance`.

    Args:
        workers: p.
        h: curvature, greater than 0, in 1/time.
        variance: sigma^2 of a gradient, at least 0, in length^2/time^2.

    Returns:
        In length^2.
    """
    check("h", h, zero=False)
    check("variance", variance)
    return floats(variance) / (count("workers", workers) * floats(h) ** 2)


# -- second moments (Z 5.1) --------------------------------------------------------------------------------------------


def sgd_variance(eta_h: Numbers, noise: Numbers = 1.0, batch: Numbers = 1) -> Numbers:
    """Stationary variance of SGD on minibatches, s^2 / (b (1 - (1 - eta h)^2)) (Z 5.3).

    Args:
        eta_h: eta h, between 0 and 2, without unit.
        noise: s^2, at least 0, in length^2.
        batch: b.

    Returns:
        In length^2.
    """
    step = finite("eta_h", eta_h)
    require((step > 0) & (step < 2), f"eta_h={show(step)}: must be between 0 and 2, or SGD is not stable")
    check("noise", noise)
    return floats(noise) / (count("batch", batch) * step * (2 - step))


def momentum_moments(eta_h: float, delta_h: float) -> NDArray:
    """One step of SGD with Nesterov's momentum as a map of (E v^2, E v x, E x^2), to each of which it adds s^2 (Z 5.6).

    Args:
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.

    Returns:
        (3, 3).
    """
    n, d = float(finite("eta_h", eta_h)), float(finite("delta_h", delta_h))
    return np.array(
        [
            [d**2, -2 * d * n, n**2],
            [d**2, d * (1 - 2 * n), -n * (1 - n)],
            [d**2, 2 * d * (1 - n), (1 - n) ** 2],
        ]
    )


def momentum_stationary(eta_h: Numbers, delta_h: Numbers, noise: Numbers = 1.0) -> tuple[Numbers, Numbers, Numbers]:
    """The stationary E v^2, E v x and E x^2 of SGD with Nesterov's momentum (Z 5.7).

    (2, 1, (1 + delta_h) / eta_h) s^2 / ((1 - delta_h) (2 (1 + delta_h) - eta_h)).

    Args:
        eta_h: eta h, between 0 and 2 (1 + delta_h), without unit.
        delta_h: delta (1 - eta h), between -1 and 1, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        The three, in length^2.
    """
    n, d = finite("eta_h", eta_h), finite("delta_h", delta_h)
    require(np.abs(d) < 1, f"delta_h={show(d)}: must be between -1 and 1, or it is not stable")
    require((n > 0) & (n < 2 * (1 + d)), f"eta_h={show(n)}: must be between 0 and 2 (1 + delta_h), or it is not stable")
    check("noise", noise)
    unit = floats(noise) / ((1 - d) * (2 * (1 + d) - n))
    return 2 * unit, unit, (1 + d) / n * unit


def easgd_moments(eta_h: float, alpha: float, beta: float) -> NDArray:
    """One step of EASGD as a map of (E y^2, E y c, E c^2), y the workers' mean; it adds s^2 / p to the first (Z 5.12).

    It is the reduced system: of the workers' differences, which it knows nothing of, see `stability.easgd_spectrum`.

    Args:
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (3, 3).
    """
    n, a, b = (float(finite(*pair)) for pair in (("eta_h", eta_h), ("alpha", alpha), ("beta", beta)))
    keep = 1 - n - a
    return np.array(
        [
            [keep**2, 2 * a * keep, a**2],
            [keep * b, keep * (1 - b) + a * b, a * (1 - b)],
            [b**2, 2 * b * (1 - b), (1 - b) ** 2],
        ]
    )


def easgd_stationary(
    workers: Numbers, eta_h: Numbers, alpha: Numbers, beta: Numbers, noise: Numbers = 1.0
) -> tuple[Numbers, Numbers, Numbers]:
    """The stationary E y^2, E y c and E c^2 of EASGD, y the mean of the workers (Z 5.13-5.14).

    Args:
        workers: p.
        eta_h: eta h, without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        The three, in length^2.

    Raises:
        ValueError: where the reduced system is not stable, by (5.15).
    """
    p, n = count("workers", workers), finite("eta_h", eta_h)
    a, b = finite("alpha", alpha), finite("beta", beta)
    check("noise", noise)
    first = (2 - b) * (2 - n) - 2 * a
    second = a + b + n * (1 - b)
    stable = (n > 0) & (b > 0) & (first > 0) & (second > 0) & (second < 2)
    require(stable, f"eta_h={show(n)}: with alpha={show(a)} and beta={show(b)} workers' mean and center are not stable")
    unit = floats(noise) / p / (n * first * second)
    pulled = b * (2 - a - b)
    return (
        ((2 - b) * (1 - b) * n + pulled) * unit,
        b * ((2 - b) * (1 - n) - a) * unit,
        (pulled - b * (1 - b) * n) * unit,
    )


def eamsgd_means(eta_h: Numbers, delta_h: Numbers, alpha: Numbers, beta: Numbers) -> NDArray:
    """One step of EAMSGD as a map of (E c, E x_mean, E v_mean), the reduced system of Z 5.20. Arguments broadcast.

    v^i <- delta_h v^i - eta_h x^i + eta xi^i,  x^i <- x^i + v^i - alpha (x^i - c),  c <- c + beta (x_mean - c), where x
    moves by the new v and is pulled by the old center.

    Args:
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (..., 3, 3).
    """
    n, d, a, b = all_finite(eta_h=eta_h, delta_h=delta_h, alpha=alpha, beta=beta)
    zero = np.zeros(n.shape)
    rows = [[1 - b, b, zero], [a, 1 - n - a, d], [zero, -n, d]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def eamsgd_moments(eta_h: Numbers, delta_h: Numbers, alpha: Numbers, beta: Numbers) -> NDArray:
    """One step of EAMSGD as a map of its nine second moments, which the thesis leaves out. Arguments broadcast.

    They are E c^2, E c x_mean, E c v_mean, E x_mean^2, E x_mean v_mean, E v_mean^2, and the means over workers of
    E x_i^2, E x_i v_i, E v_i^2. Noise adds s^2 / p to each of the middle three, and s^2 to each of the last.

    Args:
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.

    Returns:
        (..., 9, 9).
    """
    step = eamsgd_means(eta_h, delta_h, alpha, beta)
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]  # of c, x and v
    moments = np.zeros((*step.shape[:-2], 9, 9))
    for row, (i, j) in enumerate(pairs):
        for column, (k, m) in enumerate(pairs):
            share = step[..., i, k] * step[..., j, m] + (step[..., i, m] * step[..., j, k] if k != m else 0)
            moments[..., row, column] = share
            if i > 0:  # of a worker by itself, who sees the center as the mean does
                moments[..., row + 3, column + (3 if k > 0 else 0)] = share
    return moments


def eamsgd_stationary(
    workers: int, eta_h: float, delta_h: float, alpha: float, beta: float, noise: float = 1.0
) -> NDArray:
    """The stationary second moments of EAMSGD, of `eamsgd_moments`: the first is the center's, the seventh a worker's.

    Args:
        workers: p.
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        (9,), in length^2.

    Raises:
        ValueError: where it is not stable. Of more than one worker the whole system must be, differences too.
    """
    p = check_count("workers", workers)
    check("noise", noise)
    moments, added = eamsgd_moments(eta_h, delta_h, alpha, beta), float(noise) * np.repeat([0, 1 / p, 1], 3)
    if p == 1:  # who is the mean
        moments, added = moments[:6, :6], added[:6]
    if not (radius := float(np.abs(np.linalg.eigvals(moments)).max())) < 1:
        values = f"eta_h={eta_h:g}: with delta_h={delta_h:g}, alpha={alpha:g} and beta={beta:g}"
        raise ValueError(f"{values} EAMSGD is not stable: second moments have the factor {radius:.6g}")
    found = np.linalg.solve(np.eye(len(added)) - moments, added)
    return np.concatenate([found, found[3:]]) if p == 1 else found


def _center(steps: Numbers, workers: Numbers, eta_h: Numbers, alpha: Numbers) -> tuple[Numbers, ...]:
    t = floats(steps)
    require((t >= 0) & ((t == np.floor(t)) | np.isinf(t)), f"steps={show(t)}: must be integers of at least 0, or inf")
    gamma, phi = center_roots(workers, eta_h, alpha)
    return t, gamma, phi, floats(workers), floats(alpha)


def _power(base: Numbers, t: Numbers) -> Numbers:
    """base^t; in the limit 0, 1, or infinite."""
    limit = np.where(np.abs(base) < 1, 0.0, np.where(base == 1, 1.0, np.inf))
    return np.where(np.isinf(t), limit, np.asarray(base) ** np.where(np.isinf(t), 0, t))[()]


def _divided(gamma: Numbers, phi: Numbers, t: Numbers) -> Numbers:
    """(gamma^t - phi^t) / (gamma - phi), also where they are one number."""
    same = gamma == phi
    found = (_power(gamma, t) - _power(phi, t)) / np.where(same, 1.0, gamma - phi)
    limit = np.where(np.isinf(t), np.where(np.abs(gamma) < 1, 0.0, np.inf), t * _power(gamma, np.maximum(t, 1) - 1))
    return np.where(same, limit, found)[()]


def _sum(base: Numbers, t: Numbers) -> Numbers:
    """base + base^2 + ... + base^(t - 1)."""
    one = base == 1
    found = (base - _power(base, t)) / np.where(one, 1.0, 1 - base)
    diverges = np.isinf(t) & (np.abs(base) >= 1)
    return np.where(diverges, np.inf, np.where(np.asarray(t) < 1, 0.0, np.where(one, t - 1, found)))[()]
