"""One agent on a quadratic loss as a linear iteration: SGD, momentum, and feedback with a filter of itself (BS 64).

The state is (x, s): s is the filter's center, with momentum the displacement of the last iteration, and for SGD x
itself. All methods are those of `sdesim.iterate`, of one agent on f = h x^2 / 2 in one dimension.
"""

import dataclasses

import numpy as np

from sdesim.fields import check_sign
from sdesim.theory.arguments import curvatures
from sdesim.theory.linear import Matrix, ou_covariance_discrete


@dataclasses.dataclass(frozen=True)
class Transition:
    """One iteration of a linear system, X <- matrix X + noise.

    Attributes:
        matrix: (n, n), without unit.
        noise: covariance of the noise of an iteration, (n, n), in length^2.
    """

    matrix: Matrix
    noise: Matrix

    def covariance(self) -> Matrix:
        """Stationary covariance, (n, n), in length^2.

        Raises:
            ValueError: if the iteration is unstable.
        """
        return ou_covariance_discrete(np.eye(len(self.matrix)) - self.matrix, self.noise, 1.0)

    def decay(self) -> float:
        """Rate of convergence without noise, per iteration: minus the logarithm of the spectral radius."""
        return float(-np.log(np.abs(np.linalg.eigvals(self.matrix)).max()))


def effective_rate(eta: float, k: float, rate: float) -> float:
    """Drift of the agent with a linear filter under a constant unit force, eta r / (r + k), in time.

    That of momentum is eta / (1 - delta), and that of SGD eta.

    Args:
        eta: learning rate, in time.
        k: gain of the pull to the center, in 1/time.
        rate: r of the linear filter, greater than 0, in 1/time.
    """
    for name, value in (("eta", eta), ("k", k)):
        check_sign(name, value)
    check_sign("rate", rate, zero=False)
    return eta * rate / (rate + k)


def sgd_transition(eta: float, noise_trace: float, curvature: float) -> Transition:
    """x <- x - eta (h x + noise), with s = x.

    Args:
        eta: learning rate, in time.
        noise_trace: variance of the gradient noise, in length^2/time^2.
        curvature: h, in 1/time.

    Returns:
        The iteration of (x, s).

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check(eta, noise_trace, curvature)
    left = 1 - eta * curvature
    return Transition(np.array([[left, 0.0], [left, 0.0]]), np.full((2, 2), eta**2 * noise_trace))


def momentum_transition(
    eta: float, noise_trace: float, curvature: float, delta: float, *, nesterov: bool = False
) -> Transition:
    """x <- x + s', s' = delta s - eta (h x + noise): heavy ball, or with the gradient taken at x + delta s Nesterov's.

    Args:
        eta: learning rate, in time.
        noise_trace: variance of the gradient noise, in length^2/time^2.
        curvature: h, in 1/time.
        delta: momentum, at least 0 and less than 1.
        nesterov: whether the gradient is taken at x + delta s in place of x.

    Returns:
        The iteration of (x, s).

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check(eta, noise_trace, curvature)
    if not 0 <= delta < 1:
        raise ValueError(f"delta={delta:g}: must be at least 0 and less than 1")
    kept = delta * (1 - eta * curvature) if nesterov else delta
    matrix = np.array([[1 - eta * curvature, kept], [-eta * curvature, kept]])
    return Transition(matrix, np.full((2, 2), eta**2 * noise_trace))


def filter_transition(eta: float, noise_trace: float, curvature: float, k: float, rate: float) -> Transition:
    """x <- x - eta (h x + noise) + eta k (c - x), c <- c + eta r (x - c), both from the old state (BS 64).

    As eta -> 0 the stationary variances are eta C / (2 h) times (h + r) / (h + r + k) of the agent, and
    r / (h + r + k) of its center.

    Args:
        eta: learning rate, in time.
        noise_trace: variance of the gradient noise, in length^2/time^2.
        curvature: h, in 1/time.
        k: gain of the pull to the center, in 1/time.
        rate: r of the linear filter, in 1/time.

    Returns:
        The iteration of (x, c).

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check(eta, noise_trace, curvature)
    check_sign("k", k)
    check_sign("rate", rate, zero=False)
    a = np.array([[curvature + k, -k], [-rate, rate]])
    return Transition(np.eye(2) - eta * a, np.diag([eta**2 * noise_trace, 0.0]))


def filter_energy(
    eta: float, noise_trace: float, k: float, rate: float, strong_convexity: float, smoothness: float
) -> float:
    """Bound of E[x^2 + (k / r) c^2] of the iteration with a linear filter, stationary, about the minimum.

    In the metric diag(sqrt r, sqrt k) the drift is symmetric, and contracts for curvatures from lambda to L as at the
    worst of the two: BS Lemma 5.2 and Thm 5.2 for p = 1, with a rate r of the center that need not be k.

    Args:
        eta: learning rate, in time.
        noise_trace: variance of the gradient noise, in length^2/time^2.
        k: gain of the pull to the center, in 1/time.
        rate: r of the linear filter, in 1/time.
        strong_convexity: lambda, the least curvature, in 1/time.
        smoothness: L, the greatest curvature, in 1/time.

    Returns:
        In length^2.

    Raises:
        ValueError: if the iteration is unstable at one of the two, or an argument out of its range.
    """
    for name, value in (("eta", eta), ("rate", rate)):
        check_sign(name, value, zero=False)
    for name, value in (("noise_trace", noise_trace), ("k", k)):
        check_sign(name, value)
    worst = 0.0
    for h in curvatures(strong_convexity, smoothness):
        mixed = -np.sqrt(k * rate)
        a = np.array([[h + k, mixed], [mixed, rate]])
        worst = max(worst, np.abs(1 - eta * np.linalg.eigvalsh(a)).max())
    if not worst < 1:
        raise ValueError(f"eta={eta:g}: the iteration is unstable (it multiplies a mode by {worst:.4g}); reduce it")
    return eta**2 * noise_trace / (1 - worst**2)


def _check(eta: float, noise_trace: float, curvature: float) -> None:
    """Refuse numbers out of their ranges."""
    check_sign("eta", eta, zero=False)
    check_sign("noise_trace", noise_trace)
    check_sign("curvature", curvature, zero=False)
