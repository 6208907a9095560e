"""Asynchronous workers on quadratic losses: what theory says exactly.

One coordinate of curvature h; a = eta h, alpha the moving rate of EASGD, p workers, s^2 = eta^2 sigma^2 / b the
variance of the noise of a step, and times in units of the mean compute time m of a job. "Memoryless" workers have
exponential compute times, so that whoever arrives next is drawn with equal chance, and the means and second moments of
all workers obey a closed linear map; "regular" workers take equal times and arrive in turn. The staleness of a gradient
is the number of others' arrivals between its read and its use; its mean is p - 1 whatever the law.
"""

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign


def geometric_staleness(workers: int, most: int) -> NDArray:
    """The law of the staleness with memoryless workers, P(s) = (1/p) (1 - 1/p)^s.

    Args:
        workers: p.
        most: the greatest staleness asked for, at least 0.

    Returns:
        P(0) to P(most), (most + 1,).
    """
    p = check_count("workers", workers)
    return (1 - 1 / p) ** np.arange(check_count("most", most, least=0) + 1) / p


# -- memoryless workers: AsyncSGD ------------------------------------------------------------------------------------


def mean_rate(workers: ArrayLike, a: ArrayLike) -> NDArray:
    """At what rate the means of AsyncSGD with many memoryless workers decay, of d/dt (E c, E x_mean).

    r = Re[(1 + a) / 2 - sqrt((1 + a)^2 / 4 - p a)]: it grows with p to p* = (1 + a)^2 / (4 a), and stays there.

    Args:
        workers: p, at least 1; any number.
        a: eta h, greater than 0, without unit.

    Returns:
        In 1 / m, of the shape of both arguments together.
    """
    check_sign("workers", workers, zero=False)
    check_sign("a", a, zero=False)
    p, a = np.broadcast_arrays(np.asarray(workers, float), np.asarray(a, float))
    return np.real((1 + a) / 2 - np.sqrt(((1 + a) ** 2 / 4 - p * a).astype(complex)))


def saturation(a: float) -> float:
    """p* = (1 + a)^2 / (4 a): beyond it further memoryless workers do not speed up the mean of AsyncSGD.

    Args:
        a: eta h, greater than 0, without unit.

    Returns:
        The number of workers, any number.
    """
    check_sign("a", a, zero=False)
    return (1 + a) ** 2 / (4 * a)


def mean_square_limit(a: float) -> float:
    """Memoryless AsyncSGD is stable in mean square if and only if p < (2 + a) / a^2.

    Args:
        a: eta h, greater than 0, without unit.

    Returns:
        The number of workers, any number.
    """
    check_sign("a", a, zero=False)
    return (2 + a) / a**2


def sgd_moments(workers: int, a: float) -> NDArray:
    """One arrival of memoryless AsyncSGD as a linear map of (E c^2, E c x_mean, E x_mean^2, E mean of x_i^2).

    Args:
        workers: p, at least 2.
        a: eta h, at least 0, without unit.

    Returns:
        (4, 4).
    """
    p = check_count("workers", workers, least=2)
    check_sign("a", a)
    row_b, row_m = np.array([1, -(1 + 2 * a), 0, a * (1 + a)]), np.array([1, -2 * a, 0, a**2])
    both = np.array([1, -2 * (1 + a), 0, (1 + a) ** 2])
    return np.array(
        [
            row_m,
            np.array([0, 1, -a, 0]) + row_b / p,
            np.array([0, 2 / p, 1 - 2 * (1 + a) / p, 0]) + both / p**2,
            np.array([0, 0, 0, 1 - 1 / p]) + row_m / p,
        ]
    )


def sgd_stationary(workers: int, a: float, noise: float = 1.0) -> NDArray:
    """The stationary moments of memoryless AsyncSGD, of `sgd_moments`.

    E c^2 = E mean of x_i^2 = s^2 (1 + p a) / (a (2 + a - p a^2)), the others (1 + a) / (1 + p a) times that.

    Args:
        workers: p, at least 2.
        a: eta h, greater than 0, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        (4,), in length^2.

    Raises:
        ValueError: if it is not stable in mean square.
    """
    p = check_count("workers", workers, least=2)
    check_sign("noise", noise)
    if not p < mean_square_limit(a):
        raise ValueError(f"workers={p}: AsyncSGD at a={a:g} is stable for fewer than {mean_square_limit(a):.4g}")
    c = noise * (1 + p * a) / (a * (2 + a - p * a**2))
    return np.array([c, c * (1 + a) / (1 + p * a), c * (1 + a) / (1 + p * a), c])


def mean_path(workers: float, a: float, times: ArrayLike) -> NDArray:
    """The means of memoryless AsyncSGD whose server and workers all begin at 1.

    d/dt (E c, E x_mean) = [[0, -p a], [1, -(1 + a)]] (E c, E x_mean), for any p.

    Args:
        workers: p, at least 1; any number.
        a: eta h, at least 0, without unit.
        times: at least 0, in units of m, (times,).

    Returns:
        E c and E x_mean, (times, 2).
    """
    check_sign("workers", workers, zero=False)
    for name, value in (("a", a), ("times", times)):
        check_sign(name, value)
    drift = np.array([[0, -workers * a], [1, -(1 + a)]])
    return scipy.linalg.expm(np.asarray(times, float)[:, None, None] * drift) @ np.ones(2)


def moment_path(workers: int, a: float, times: ArrayLike, noise: float = 0.0) -> NDArray:
    """The moments of `sgd_moments` in time, of memoryless AsyncSGD whose server and workers all begin at 1.

    Args:
        workers: p.
        a: eta h, at least 0, without unit.
        times: at least 0, in units of m, (times,).
        noise: s^2, at least 0, in the square of the start.

    Returns:
        (times, 4), in the square of the start.
    """
    p, t = check_count("workers", workers), np.asarray(times, float)
    for name, value in (("a", a), ("times", times), ("noise", noise)):
        check_sign(name, value)
    # Of one worker the server and the point are one number.
    moments = sgd_moments(p, a) if p > 1 else (1 - a) ** 2 * np.eye(4)
    drift = np.zeros((5, 5))
    drift[:4, :4] = p * (moments - np.eye(4))
    drift[:4, 4] = p * noise * np.array([1, 1 / p, 1 / p**2, 1 / p])
    return (scipy.linalg.expm(t[:, None, None] * drift) @ np.ones(5))[:, :4]


def square_rate(workers: int, a: float) -> float:
    """The rate at which the second moments of memoryless AsyncSGD decay, p (1 - greatest eigenvalue of `sgd_moments`).

    Args:
        workers: p.
        a: eta h, at least 0, without unit.

    Returns:
        In 1 / m; negative where they grow.
    """
    p = check_count("workers", workers)
    check_sign("a", a)
    return p * (1 - float(np.linalg.eigvals(sgd_moments(p, a)).real.max())) if p > 1 else 1 - (1 - a) ** 2


def unequal_means(means: ArrayLike, a: float) -> NDArray:
    """The drift of the means of AsyncSGD with memoryless workers of unequal speed.

    d/dt E c = -sum_i (a / m_i) E x_i, d/dt E x_i = (E c - (1 + a) E x_i) / m_i, where equal workers are one.

    Args:
        means: mean compute time m_i of each worker, greater than 0, (workers,), in time.
        a: eta h, at least 0, without unit.

    Returns:
        Of E c and E x of each speed, the fastest first, (1 + speeds, 1 + speeds), in 1/time.
    """
    check_sign("means", means, zero=False)
    check_sign("a", a)
    speeds, workers = np.unique(np.atleast_1d(np.asarray(means, float)), return_counts=True)
    drift = np.diag(np.concatenate([[0.0], -(1 + a) / speeds]))
    drift[0, 1:], drift[1:, 0] = -a * workers / speeds, 1 / speeds
    return drift


# -- memoryless workers: EASGD ---------------------------------------------------------------------------------------


def easgd_moments(workers: int, a: float, alpha: float) -> NDArray:
    """One arrival of memoryless EASGD that exchanges at every job, as a map of the moments of `sgd_moments`.

    The worker that arrives does x <- (1 - a - alpha) x + alpha c, c <- (1 - alpha) c + alpha x (Z 3.55-3.56).

    Args:
        workers: p, at least 2.
        a: eta h, at least 0, without unit.
        alpha: moving rate, at least 0, without unit.

    Returns:
        (4, 4).
    """
    p = check_count("workers", workers, least=2)
    for name, value in (("a", a), ("alpha", alpha)):
        check_sign(name, value)
    g = a + alpha
    keep = 1 - alpha
    return np.array(
        [
            [keep**2, 2 * alpha * keep, 0, alpha**2],
            [alpha * keep / p, keep + (alpha**2 - keep * g) / p, alpha, -alpha * g / p],
            [alpha**2 / p**2, 2 * alpha / p - 2 * alpha * g / p**2, 1 - 2 * g / p, g**2 / p**2],
            [alpha**2 / p, 2 * alpha * (1 - g) / p, 0, 1 - 1 / p + (1 - g) ** 2 / p],
        ]
    )


def easgd_stationary(workers: int, a: float, alpha: float, noise: float = 1.0) -> NDArray:
    """The stationary moments of memoryless EASGD, of `easgd_moments`.

    Args:
        workers: p, at least 2.
        a: eta h, at least 0, without unit.
        alpha: moving rate, at least 0, without unit.
        noise: s^2, at least 0, in length^2.

    Returns:
        (4,), in length^2.

    Raises:
        ValueError: if it is not stable in mean square.
    """
    check_sign("noise", noise)
    moments = easgd_moments(workers, a, alpha)
    if (radius := float(np.abs(np.linalg.eigvals(moments)).max())) >= 1:
        raise ValueError(f"alpha={alpha:g}: must be stable, and moments grow by {radius:.6g} an arrival at a={a:g}")
    return np.linalg.solve(np.eye(4) - moments, noise * np.array([0, 0, 1 / workers**2, 1 / workers]))


# -- regular workers -------------------------------------------------------------------------------------------------


def regular_limit(workers: int) -> float:
    """AsyncSGD of workers that arrive in turn, c <- c - a c_(p - 1 arrivals ago), is stable iff a is below this.

    2 sin(pi / (2 (2 p - 1))).

    Args:
        workers: p.

    Returns:
        Of a = eta h, without unit.
    """
    return float(2 * np.sin(np.pi / (2 * (2 * check_count("workers", workers) - 1))))


def regular_radius(workers: int, a: float) -> float:
    """The greatest root of z^p = z^(p-1) - a in absolute value: the factor of c at each arrival, in the end.

    Args:
        workers: p.
        a: eta h, at least 0, without unit.

    Returns:
        Without unit; below 1 where it is stable. At a = (p - 1)^(p - 1) / p^p it is least.
    """
    p = check_count("workers", workers)
    check_sign("a", a)
    return float(np.abs(np.roots([1.0, -1.0, *np.zeros(p - 2), a] if p > 1 else [1.0, a - 1.0])).max())


def regular_rate(workers: int, a: float) -> float:
    """The rate of decay of AsyncSGD with workers that arrive in turn, -p log of `regular_radius`.

    Args:
        workers: p.
        a: eta h, at least 0, without unit.

    Returns:
        In 1 / m; negative where it diverges.
    """
    return -workers * float(np.log(regular_radius(workers, a)))


def regular_path(workers: int, a: float, arrivals: int) -> tuple[NDArray, NDArray]:
    """AsyncSGD of workers that arrive in turn, whose server and workers all begin at 1, after each arrival.

    Args:
        workers: p.
        a: eta h, at least 0, without unit.
        arrivals: how many.

    Returns:
        E c, from the start on, (arrivals + 1,), and Var c for noise of s^2 = 1.
    """
    p, n = check_count("workers", workers), check_count("arrivals", arrivals, least=0)
    check_sign("a", a)
    mean, kick = np.ones(p + n), np.concatenate([np.zeros(p - 1), np.ones(n + 1)])  # first what was read before
    for i in range(p, p + n):
        mean[i] = mean[i - 1] - a * mean[i - p]
        kick[i] = kick[i - 1] - a * kick[i - p]
    variance = np.concatenate([[0.0], np.cumsum(kick[p - 1 :] ** 2)[:-1]])
    return mean[p - 1 :], variance
