"""How far from the minimum of a strongly convex loss the quorum stays (BS 5).

The arguments are explained in `sdesim.theory.bounds`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdesim.theory.arguments import Numbers, check, count, curvatures, finite, floats, require, show, temperature
from sdesim.theory.synchronization import (
    contraction,
    disturbance,
    disturbance_discrete,
    disturbance_of,
    momentum_synchronization_level,
    step,
)


def sgd_distance(eta: Numbers, noise_trace: Numbers, strong_convexity: Numbers, batch: Numbers = 1) -> Numbers:
    """Bound sqrt(eta C / (2 lambda b)) of E|x - x*| of one agent, in length (BS 5.1). Here everything broadcasts.

    Args:
        eta: learning rate > 0, in time.
        noise_trace: C >= 0, in length^2/time^2.
        strong_convexity: lambda > 0, in 1/time.
        batch: minibatch size b > 0.

    Returns:
        In length.
    """
    for name, value in (("eta", eta), ("strong_convexity", strong_convexity), ("batch", batch)):
        check(name, value, zero=False)
    check("noise_trace", noise_trace)
    return np.sqrt(floats(eta) * floats(noise_trace) / (2 * floats(strong_convexity) * floats(batch)))


def qsgd_distance_terms(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    strong_convexity: Numbers,
    batch: Numbers = 1,
) -> tuple[Numbers, Numbers]:
    """The two terms of `qsgd_distance`: of imperfect synchronization, and of the averaged noise.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        Both, in length.
    """
    check("strong_convexity", strong_convexity, zero=False)
    lam = floats(strong_convexity)
    eps = disturbance(agents, dims, eta, noise_trace, third, k, -lam, batch)
    return eps / lam, sgd_distance(temperature(agents, eta, batch) / floats(agents), noise_trace, lam)


def qsgd_distance(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    strong_convexity: Numbers,
    batch: Numbers = 1,
) -> Numbers:
    """Bound of E|x_mean - x*| of QSGD, in length (BS Thm 5.1).

    (p - 1) Q eta C sqrt(d) / (4 p b lambda (k + lambda)) + sqrt(eta C / (2 lambda b p))

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length.
    """
    first, second = qsgd_distance_terms(agents, dims, eta, noise_trace, third, k, strong_convexity, batch)
    return first + second


def qsgd_distance_discrete_terms(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    strong_convexity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
    dt: Numbers = None,
) -> tuple[Numbers, Numbers]:
    """The two terms of `qsgd_distance_discrete`: of imperfect synchronization, and of the averaged noise.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        smoothness: L >= lambda, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).
        dt: in time; by default eta, and with one eta an agent their mean.

    Returns:
        Both, in length.
    """
    lam, smooth = curvatures(strong_convexity, smoothness)
    eps = disturbance_discrete(agents, dims, eta, noise_trace, third, k, -lam, smooth, batch, dt)
    dt = step(dt, eta)
    q = contraction(dt, lam, smooth)  # below 1, since that of the agents at gain k is
    kick = temperature(agents, eta, batch) * floats(noise_trace) * dt / floats(agents)
    return dt * eps / (1 - q), np.sqrt(kick / (1 - q**2))


def qsgd_distance_discrete(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    strong_convexity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
    dt: Numbers = None,
) -> Numbers:
    """The bound of `qsgd_distance` for Euler-Maruyama with step dt: the iteration, for dt = eta.

        dt E|eps| / (1 - q) + sqrt(eta C dt / (b p (1 - q^2))),   q = max(|1 - dt lambda|, |1 - dt L|)

    with `disturbance_discrete` for E|eps|. The argument of BS Thm 5.1: a step of descent shrinks distances by q at
    least, so that the noise alone leaves the second term, and the disturbance takes the chain no farther from the one
    without it than the first. Assumes dt (k + L) < 2.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        smoothness: L >= lambda, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).
        dt: in time; by default eta, and with one eta an agent their mean.

    Returns:
        In length.
    """
    common = (agents, dims, eta, noise_trace, third, k, strong_convexity, smoothness, batch, dt)
    first, second = qsgd_distance_discrete_terms(*common)
    return first + second


def qsgd_distance_scheduled(
    agents: int,
    dims: int,
    eta: ArrayLike,
    noise_trace: float,
    third: float,
    k: ArrayLike,
    strong_convexity: float,
    smoothness: float,
    batch: float = 1,
    start: float = 0.0,
) -> NDArray:
    """Bound of E|x_mean - x*| of the iteration of QSGD after each step of a schedule, in length.

    The terms of `qsgd_distance_discrete` in time. With S >= sum_i E|x^i - x_mean|^2, D the distance from the chain
    without disturbance, N^2 the mean square of that chain, q_k = max(|1 - eta (k + lambda)|, |1 - eta (k + L)|),

        D <- q_0 D + eta sqrt(d) Q S / (2 p),   N^2 <- q_0^2 N^2 + eta^2 C / (b p),   S <- q_k^2 S + (p - 1) eta^2 C / b

    and the bound is D + N. Nothing is assumed of the steps: where they are unstable it grows.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate of each step, (steps,), or a number for all, in time; it or `k` is (steps,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain of each step, (steps,), or a number for all, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        smoothness: L >= lambda, in 1/time.
        batch: minibatch size b > 0.
        start: distance of all agents from the minimum at the start, where they agree, in length.

    Returns:
        At the start and after each step, (steps + 1,).
    """
    check("eta", eta, zero=False)
    check("batch", batch, zero=False)
    for name, value in (("k", k), ("noise_trace", noise_trace), ("start", start)):
        check(name, value)
    lam, smooth = curvatures(strong_convexity, smoothness)
    etas, gains = np.broadcast_arrays(floats(eta), floats(k))
    require(etas.ndim == 1, f"eta and k: of shape {etas.shape} together, must be one number a step, (steps,)")
    others = count("agents", agents) - 1
    spread, apart, square = 0.0, 0.0, float(start) ** 2
    found = [float(start)]
    for dt, gain in zip(etas, gains, strict=True):
        kick, q = dt**2 * noise_trace / batch, contraction(dt, lam, smooth)
        apart = q * apart + dt * disturbance_of(agents, dims, third, spread)
        square = q**2 * square + kick / agents
        spread = contraction(dt, gain + lam, gain + smooth) ** 2 * spread + others * kick
        found.append(apart + square**0.5)
    return np.array(found)


def easgd_rate(agents: Numbers, k: Numbers, strong_convexity: Numbers) -> Numbers:
    """Rate of contraction of EASGD's (x_mean, center) in the metric diag(sqrt p, 1), in 1/time (BS Lemma 5.2).

        gamma = (lambda + k (1 + p)) / 2 - sqrt(((lambda + k - k p) / 2)^2 + k^2 p)

    Positive for k > 0, which is assumed, and less than lambda and than k p: the slower of the loss and the center.

    Args:
        agents: p >= 1.
        k: gain > 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.

    Returns:
        gamma, in 1/time.
    """
    for name, value in (("k", k), ("strong_convexity", strong_convexity)):
        check(name, value, zero=False)
    agent, center, exchange = _easgd(agents, k, strong_convexity)
    # By the determinant, lambda k p, over the other eigenvalue: their difference cancels where k p is large.
    return floats(strong_convexity) * center / ((agent + center) / 2 + _radius(agent, center, exchange))


def easgd_distance(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    strong_convexity: Numbers,
    batch: Numbers = 1,
) -> Numbers:
    """Bound of E|(x_mean, center) - (x*, x*)| of EASGD with elastic symmetry, in length (BS Thm 5.2).

        sqrt(p) E|eps| / gamma + sqrt(eta C / (2 gamma b)),   gamma of `easgd_rate`

    It does not fall with p, unlike the error itself: the metric gives the quorum a weight sqrt(p).

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain > 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length.
    """
    gamma = easgd_rate(agents, k, strong_convexity)
    eps = disturbance(agents, dims, eta, noise_trace, third, k, -floats(strong_convexity), batch)
    return np.sqrt(floats(agents)) * eps / gamma + sgd_distance(temperature(agents, eta, batch), noise_trace, gamma)


def easgd_stability_limit(agents: Numbers, k: Numbers, smoothness: Numbers) -> Numbers:
    """The largest stable step of EASGD with elastic symmetry in Jacobi order, in time.

    Two over the greatest eigenvalue of [[L + k, -k sqrt p], [-k sqrt p, k p]]: exact for a loss of curvature up to L,
    and at least 2 / (k (1 + p) + L).

    Args:
        agents: p >= 1.
        k: gain >= 0, in 1/time; it or `smoothness` is greater than 0.
        smoothness: L >= 0, in 1/time.

    Returns:
        In time.
    """
    for name, value in (("k", k), ("smoothness", smoothness)):
        check(name, value)
    agent, center, exchange = _easgd(agents, k, smoothness)
    require(agent > 0, f"k={show(k)}, smoothness={show(smoothness)}: one must be greater than 0")
    return 2 / ((agent + center) / 2 + _radius(agent, center, exchange))


def momentum_metric(
    mu: Numbers, strong_convexity: Numbers, smoothness: Numbers, c: Numbers = None
) -> tuple[Numbers, Numbers, Numbers]:
    """Metric in which the quorum of QSGD with momentum contracts, and its rate (BS Lemma 5.3).

    With Theta = [[theta, 0], [c, 1]] on (position, velocity), s = c (mu - c) and theta^2 = (lambda + L) / 2 - s,

        gamma = mu / 2 - sqrt((mu / 2 - c)^2 + ((L - lambda) / (4 theta))^2) > 0
        iff   (sqrt L - sqrt lambda)^2 / 4 < s < (sqrt L + sqrt lambda)^2 / 4.

    Args:
        mu: friction > 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time^2.
        smoothness: L >= lambda, in 1/time^2.
        c: in 1/time; None for the best: mu / 2 if mu^2 <= L + 3 lambda, else (mu - sqrt(mu^2 - L - 3 lambda)) / 2.
            Assumes then mu > sqrt L - sqrt lambda. For L = lambda and mu^2 >= 4 lambda the best metric is singular:
            give a c.

    Returns:
        (theta, c, gamma), in 1/time.
    """
    check("mu", mu, zero=False)
    lam, smooth = curvatures(strong_convexity, smoothness)
    mu, best = floats(mu), c is None
    if best:
        least = np.sqrt(smooth) - np.sqrt(lam)
        require(mu > least, f"mu={show(mu)}: must exceed sqrt(L) - sqrt(lambda) = {show(least)}")
        c = (mu - np.sqrt(np.maximum(mu**2 - smooth - 3 * lam, 0))) / 2
    c = finite("c", c)
    s = c * (mu - c)
    low, high = (np.sqrt(smooth) - np.sqrt(lam)) ** 2 / 4, (np.sqrt(smooth) + np.sqrt(lam)) ** 2 / 4
    inside = (s > low) & (s < high * (1 - 1e-12))  # at L = lambda rounding must not make a metric of theta = 0
    hint = "; the best c makes the metric singular, so give another" if best else ""
    require(inside, f"c={show(c)}: c (mu - c) = {show(s)} must be between {show(low)} and {show(high)}{hint}")
    theta = np.sqrt((lam + smooth) / 2 - s)
    mismatch = ((smooth - lam) / (4 * theta)) ** 2
    gamma = (s - mismatch) / (mu / 2 + np.sqrt((mu / 2 - c) ** 2 + mismatch))  # the difference, without cancellation
    return theta, c, gamma


def momentum_distance(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k1: Numbers,
    k2: Numbers,
    mu: Numbers,
    strong_convexity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
    c: Numbers = None,
) -> Numbers:
    """Bound of E|(x1_mean - x*, x2_mean)| of QSGD with momentum (BS Thm 5.3).

        cond(Theta) E|eps| / gamma + sqrt(eta C / (2 gamma b p beta)),   beta = lambda_min(Theta^T Theta)

    Theta and gamma of `momentum_metric`, E|eps| bounded with the rate of `momentum_synchronization_rate`, whose
    assumption on k1 (mu + k2) is made too. The condition number is BS's; 1 / sqrt(beta) would do in its place, as the
    disturbance enters the velocities alone.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time^2).
        k1: gain on positions >= 0, in 1/time.
        k2: gain on velocities >= 0, in 1/time.
        mu: friction > 0, in 1/time.
        strong_convexity: lambda > 0, in 1/time^2.
        smoothness: L >= lambda, in 1/time^2.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).
        c: of `momentum_metric`; None for the best.

    Returns:
        Of positions and velocities together, with time measured in a unit of the user's choice.
    """
    theta, c, gamma = momentum_metric(mu, strong_convexity, smoothness, c)
    level = momentum_synchronization_level(agents, eta, noise_trace, k1, k2, mu, strong_convexity, smoothness, batch)
    eps = disturbance_of(agents, dims, third, level)
    # Squares of the singular values of Theta: their sum is theta^2 + c^2 + 1, their product theta^2.
    half = (theta**2 + c**2 + 1) / 2
    greatest = half + np.sqrt(half**2 - theta**2)
    beta = theta**2 / greatest
    noise = sgd_distance(temperature(agents, eta, batch) / floats(agents), noise_trace, gamma * beta)
    return np.sqrt(greatest / beta) * eps / gamma + noise


def _easgd(agents: Numbers, k: Numbers, curvature: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Diagonal and off-diagonal of EASGD's drift of (x_mean, center) in its metric, where it is symmetric."""
    p, k = count("agents", agents), floats(k)
    return floats(curvature) + k, k * p, k * np.sqrt(p)


def _radius(first: Numbers, second: Numbers, off: Numbers) -> Numbers:
    """Half the difference of the eigenvalues of [[first, off], [off, second]]."""
    return np.sqrt(((first - second) / 2) ** 2 + off**2)
