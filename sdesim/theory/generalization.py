"""How far asynchronous SGD moves when one sample of its data is replaced, and what that says of unseen data.

Twins are two runs on n samples each that differ in one of them, with the same start, timetable and drawn samples. Each
job draws one of the n samples with equal chance. How far twins are apart says how much less the loss is on the samples
than on unseen data.

Exact is the case of losses (h / 2) |x - z|^2 of samples z, one curvature for all: the difference of twins then obeys
AsyncSGD's own recursion, kicked by a Delta wherever the replaced sample is drawn, with a = eta h and Delta the new
sample less the old one. In units of Delta its mean is E delta = (1 - m) / n, where m is what is left of the mean of a
run that starts at 1 and descends to 0. The gap of losses, unseen less seen, has the same mean: h tr(Sigma) E delta, for
samples of covariance Sigma. So delays that leave the mean stable change the gap only before it has come to rest, while
the mean square of delta, which bounds are about, grows with them for good.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign
from sdesim.theory import staleness
from sdesim.theory.arguments import require, show


def stability_bound(
    samples: int,
    rates: ArrayLike,
    delays: ArrayLike,
    *,
    smoothness: float,
    diameter: float,
    distance: float,
    least_loss: float,
) -> float:
    """The bound of Deng et al. (NeurIPS 2024) on the mean squared distance of twins, for convex losses.

    (16 e beta (1 + k / n) / n) [eta_1 |w_1 - w*|^2 + (4 beta r^2 + 2 F(w*)) sum_l eta_l^2]
    + 2 e beta^2 r^2 sum_l eta_l sum_(1 <= j <= tau_l) eta_(l-j), after k arrivals.

    The transcription is unverified: the paper could not be had, and what more it asks of the learning rates is not
    known; here they must not be above 2 / beta, beyond which not even fresh gradients bring twins together. The last
    term does not know n: with delays the bound does not vanish with more samples, and is soon above r^2, which no
    squared distance exceeds.

    Args:
        samples: n.
        rates: eta_l of each arrival, in time, (k,).
        delays: tau_l, arrivals between the read of each gradient and its use, at most l - 1, (k,), or one number for
            all, of which a run has no more than there were arrivals.
        smoothness: beta, the greatest curvature of a sample's loss, greater than 0, in 1/time.
        diameter: r, of a convex set in which all iterates stay, greater than 0, in length.
        distance: |w_1 - w*|, of the start from the best point of the samples, at least 0 and at most r, in length.
        least_loss: F(w*), the mean loss of the samples there, at least 0, in length^2/time.

    Returns:
        In length^2.

    Raises:
        ValueError: naming the argument that is out of its range.
    """
    n = check_count("samples", samples)
    check_sign("smoothness", smoothness, zero=False)
    check_sign("diameter", diameter, zero=False)
    for name, value in (("distance", distance), ("least_loss", least_loss), ("rates", rates), ("delays", delays)):
        check_sign(name, value)
    eta, tau = np.asarray(rates, float), np.asarray(delays, float)
    require(eta.ndim == 1 and eta.size > 0, f"rates: of shape {eta.shape}, must be one an arrival, (k,)")
    most = 2 / smoothness
    require(eta <= most, f"rates={show(eta)}: must be at most 2 / smoothness = {most:.6g}")
    require(distance <= diameter, f"distance={show(distance)}: must be at most diameter={show(diameter)}")
    before = np.arange(eta.size)
    require(tau.shape in ((), eta.shape), f"delays: of shape {tau.shape}, must be a number or {eta.shape}")
    require(tau == np.floor(tau), f"delays={show(tau)}: must be integers")
    require(
        tau.ndim == 0 or tau <= before, f"delays={show(tau)}: must not be more than there were arrivals before, l - 1"
    )
    sums = np.concatenate([[0.0], np.cumsum(eta)])
    stale = sums[before] - sums[before - np.minimum(tau, before).astype(int)]  # sum over 1 <= j <= tau_l of eta_(l-j)
    fresh = eta[0] * distance**2 + (4 * smoothness * diameter**2 + 2 * least_loss) * np.sum(eta**2)
    first = 16 * np.e * smoothness * (1 + eta.size / n) / n * fresh
    return float(first + 2 * np.e * (smoothness * diameter) ** 2 * np.sum(eta * stale))


def regular_twins(workers: int, a: float, samples: int, arrivals: int) -> tuple[NDArray, NDArray]:
    """How far the servers of twins are apart, with workers that arrive in turn: delays of p - 1 arrivals.

    With K_j the response of c <- c - a c_(p - 1 arrivals ago) to one kick, E delta = (a / n) sum_j K_j and Var delta =
    a^2 (1/n) (1 - 1/n) sum_j K_j^2.

    Args:
        workers: p.
        a: eta h, greater than 0, without unit.
        samples: n.
        arrivals: how many.

    Returns:
        E delta and E delta^2 in units of Delta and Delta^2, after each arrival from the start on, (arrivals + 1,) each.
    """
    n = check_count("samples", samples)
    check_sign("a", a, zero=False)
    left, squares = staleness.regular_path(workers, a, arrivals)
    mean = (1 - left) / n
    return mean, a**2 * (1 - 1 / n) / n * squares + mean**2


def memoryless_twins(workers: int, a: float, samples: int, arrivals: int) -> tuple[NDArray, NDArray]:
    """How far the servers of twins are apart, with memoryless workers: delays of a geometric law.

    The moments of `staleness.sgd_moments` of the difference, kicked by a Delta with the chance 1 / n, whose mean is not
    0 and so ties them to E c and E x_mean.

    Args:
        workers: p.
        a: eta h, greater than 0, without unit.
        samples: n.
        arrivals: how many.

    Returns:
        As `regular_twins`.
    """
    p, n = check_count("workers", workers), check_count("samples", samples)
    check_sign("a", a, zero=False)
    steps = check_count("arrivals", arrivals, least=0)
    if p == 1:
        return regular_twins(p, a, n, steps)
    kick, square = a / n, a**2 / n
    server = np.array([1.0, -a])  # where the next arrival takes the mean, by (E c, E x_mean), but for the kick
    points = np.array([0.0, 1.0]) + (server - np.array([0.0, 1.0])) / p
    move = np.zeros((7, 7))  # of E c, E x_mean, the four second moments, and 1
    move[:2, :2] = server, points
    move[:2, 6] = kick, kick / p
    move[2:6, :2] = kick * np.array([2 * server, points + server / p, 2 * points / p, 2 * server / p])
    move[2:6, 2:6] = staleness.sgd_moments(p, a)
    move[2:6, 6] = square * np.array([1, 1 / p, 1 / p**2, 1 / p])
    move[6, 6] = 1.0
    moments = np.zeros((steps + 1, 7))
    moments[0, 6] = 1.0
    for i in range(steps):
        moments[i + 1] = move @ moments[i]
    return moments[:, 0], moments[:, 2]


def regression_limit(workers: ArrayLike, dims: int) -> NDArray:
    """Memoryless AsyncSGD of least squares is stable in mean square at learning rates below this.

    For losses (u x - y)^2 / 2 of samples with standard normal features u, a new one each job: of the rates with
    (d + 2) eta (1 + p eta) < 2 (1 + eta), which is where the moments of `staleness.sgd_moments` stop decaying when the
    mean square of a gradient is d + 2 times the square of its mean.

    Args:
        workers: p, at least 1; any number.
        dims: d.

    Returns:
        eta, of the shape of `workers`.
    """
    d = check_count("dims", dims)
    check_sign("workers", workers, zero=False)
    p = np.asarray(workers, float)
    return (np.sqrt(d**2 + 8 * (d + 2) * p) - d) / (2 * (d + 2) * p)
