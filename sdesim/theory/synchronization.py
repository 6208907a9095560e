"""How close coupled agents stay together, and what their distance does to the quorum (BS 3, Lemma 5.4).

The arguments are explained in `sdesim.theory.bounds`.
"""

import numpy as np

from sdesim.theory.arguments import (
    Numbers,
    check,
    count,
    curvatures,
    finite,
    floats,
    is_vector,
    require,
    show,
    temperature,
)


def synchronization_rate(k: Numbers, concavity: Numbers) -> Numbers:
    """Rate k - concavity at which agents approach each other, whatever drives the quorum (BS Thm 3.1), in 1/time.

    |x^i - x^j| falls as e^(-rate t) without noise, for QSGD and EASGD alike. Assumes k > concavity.

    Args:
        k: gain >= 0, in 1/time.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.

    Returns:
        In 1/time.
    """
    check("k", k)
    rate = floats(k) - finite("concavity", concavity)
    require(rate > 0, f"k={show(k)}: must exceed the concavity {show(concavity)}; agents need not synchronize")
    return rate


def state_dependent_rate(total_gain: Numbers, concavity: Numbers) -> Numbers:
    """Rate of synchronization inf sum_j k_j - concavity under state-dependent coupling, for any p (BS Lemma 5.4).

    Args:
        total_gain: infimum over time and states of sum_j k_j(x^j, t), in 1/time; must exceed the concavity.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.

    Returns:
        In 1/time.
    """
    check("total_gain", total_gain)
    rate = floats(total_gain) - finite("concavity", concavity)
    what = f"total_gain={show(total_gain)}: must exceed the concavity {show(concavity)}"
    require(rate > 0, f"{what}; agents need not synchronize")
    return rate


def synchronization_level(
    agents: Numbers, eta: Numbers, noise_trace: Numbers, k: Numbers, concavity: Numbers, batch: Numbers = 1
) -> Numbers:
    """Bound (p - 1) eta C / (2 b (k - concavity)) of E sum_i |x^i - x_mean|^2, in length^2 (BS 22; rates: BS 3.4).

    Assumes k > concavity. It is attained by a quadratic loss with one curvature.

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        k: gain >= 0, in 1/time.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length^2.
    """
    return level(agents, eta, noise_trace, synchronization_rate(k, concavity), batch)


def synchronization_level_discrete(
    agents: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    k: Numbers,
    concavity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
    dt: Numbers = None,
) -> Numbers:
    """The bound of `synchronization_level` for Euler-Maruyama with step dt: the iteration, for dt = eta.

        (p - 1) eta C dt / (b (1 - q^2)),   q = max(|1 - dt (k - concavity)|, |1 - dt (k + L)|)

    Assumes k > concavity and q < 1, that is dt (k + smoothness) < 2. It holds for noise of any law, since only
    variances enter.

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        k: gain >= 0, in 1/time.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.
        smoothness: L >= -concavity, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).
        dt: in time; by default eta, and with one eta an agent their mean.

    Returns:
        In length^2.
    """
    synchronization_rate(k, concavity)
    smoothness = finite("smoothness", smoothness)
    require(smoothness >= -floats(concavity), f"smoothness={show(smoothness)}: must be at least -concavity")
    dt, k = step(dt, eta), floats(k)
    q = contraction(dt, k - floats(concavity), k + smoothness)
    require(q < 1, f"dt={show(dt)}: the chain is unstable; dt (k + smoothness) must be less than 2")
    return 2 * level(agents, eta, noise_trace, (1 - q**2) / dt, batch)


def disturbance(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    concavity: Numbers,
    batch: Numbers = 1,
) -> Numbers:
    """Bound of E|eps|, eps = grad f(x_mean) - mean of grad f(x^i), in length/time (BS 31, Thm 3.2).

        (p - 1) Q eta C sqrt(d) / (4 p b (k - concavity))

    It goes to 0 as k grows: synchronized agents descend f itself. For a loss that is a sum over coordinates sqrt(d) can
    be left out; for one that is such a sum in rotated coordinates it can be attained. Assumes k > concavity.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length/time.
    """
    return disturbance_of(agents, dims, third, synchronization_level(agents, eta, noise_trace, k, concavity, batch))


def disturbance_discrete(
    agents: Numbers,
    dims: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    third: Numbers,
    k: Numbers,
    concavity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
    dt: Numbers = None,
) -> Numbers:
    """The bound of `disturbance` for Euler-Maruyama with step dt: the iteration, for dt = eta.

        sqrt(d) Q / (2 p) times `synchronization_level_discrete`

    BS 31's argument: a component of grad f(x_mean) less its mean over agents is the remainder of Taylor's series, whose
    linear term vanishes in the mean; it is at most Q/2 times the agents' mean square distance, whatever moves them.
    Assumes what `synchronization_level_discrete` does.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        third: Q >= 0, in 1/(length time).
        k: gain >= 0, in 1/time.
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.
        smoothness: L >= -concavity, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).
        dt: in time; by default eta, and with one eta an agent their mean.

    Returns:
        In length/time.
    """
    level = synchronization_level_discrete(agents, eta, noise_trace, k, concavity, smoothness, batch, dt)
    return disturbance_of(agents, dims, third, level)


def quorum_noise_covariance(covariance: Numbers, agents: Numbers, eta: Numbers, batch: Numbers = 1) -> Numbers:
    """Covariance eta / (b p) Sigma of the noise of the quorum, as it multiplies dt, in length^2/time (BS Thm 3.2).

    Args:
        covariance: Sigma of one sample's gradient noise, a number or (dims, dims), in length^2/time^2.
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        Of the shape of `covariance`, in length^2/time.
    """
    return temperature(agents, eta, batch) / count("agents", agents) * finite("covariance", covariance)


def momentum_synchronization_rate(
    k1: Numbers, k2: Numbers, mu: Numbers, strong_convexity: Numbers, smoothness: Numbers
) -> Numbers:
    """Rate of synchronization of agents with momentum, in the norm of (positions, velocities) (BS Lemma 3.2).

        (k1 + k2 + mu) / 2 - sqrt(((k1 - k2 - mu) / 2)^2 + m^2 / 4),   m = max(|1 - lambda|, |1 - L|)

    Assumes k1 (mu + k2) > m^2 / 4.

    Args:
        k1: gain on positions >= 0, in 1/time.
        k2: gain on velocities >= 0, in 1/time.
        mu: friction >= 0, in 1/time.
        strong_convexity: lambda, in 1/time^2; it may be negative here: minus the concavity.
        smoothness: L >= lambda, in 1/time^2.

    Returns:
        In 1/time.
    """
    for name, value in (("k1", k1), ("k2", k2)):
        check(name, value)
    check("mu", mu)
    k1, damping = floats(k1), floats(k2) + floats(mu)
    lam, smooth = curvatures(strong_convexity, smoothness, convex=False)
    worst = np.maximum(abs(1 - lam), abs(1 - smooth)) ** 2 / 4
    what = f"k1={show(k1)}: k1 (mu + k2) = {show(k1 * damping)} must exceed max((1 - lambda)^2, (1 - L)^2) / 4"
    require(k1 * damping > worst, f"{what} = {show(worst)}")
    # The difference of the two terms, without cancellation where one is much greater.
    mean, radius = (k1 + damping) / 2, np.sqrt(((k1 - damping) / 2) ** 2 + worst)
    return (k1 * damping - worst) / (mean + radius)


def momentum_synchronization_level(
    agents: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    k1: Numbers,
    k2: Numbers,
    mu: Numbers,
    strong_convexity: Numbers,
    smoothness: Numbers,
    batch: Numbers = 1,
) -> Numbers:
    """Bound of E sum_i |x1^i - mean|^2 + |x2^i - mean|^2: (p - 1) eta C / (2 b rate) with the rate of BS Lemma 3.2.

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        k1: gain on positions >= 0, in 1/time.
        k2: gain on velocities >= 0, in 1/time.
        mu: friction >= 0, in 1/time.
        strong_convexity: lambda, in 1/time^2; it may be negative here: minus the concavity.
        smoothness: L >= lambda, in 1/time^2.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        Of positions and velocities together, with time measured in a unit of the user's choice.
    """
    rate = momentum_synchronization_rate(k1, k2, mu, strong_convexity, smoothness)
    return level(agents, eta, noise_trace, rate, batch)


def momentum_spread(
    agents: Numbers,
    eta: Numbers,
    noise_trace: Numbers,
    k: Numbers,
    mu: Numbers,
    curvature: Numbers,
    batch: Numbers = 1,
) -> Numbers:
    """E sum_i |x^i - x_mean|^2 with momentum and coupling of the positions alone, on a quadratic, in length^2.

        (p - 1) eta C / (2 b (k + mu) (k mu + h))

    Exact: the distance y of an agent's position from the mean obeys y'' + (k + mu) y' + (k mu + h) y = noise.

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        k: gain of the coupling of the positions >= 0, in 1/time.
        mu: friction > 0, in 1/time.
        curvature: h > 0, of the loss, in all directions the same, in 1/time^2.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length^2.
    """
    check("k", k)
    for name, value in (("mu", mu), ("curvature", curvature)):
        check(name, value, zero=False)
    k, mu = floats(k), floats(mu)
    return level(agents, eta, noise_trace, (k + mu) * (k * mu + floats(curvature)), batch)


def level(agents: Numbers, eta: Numbers, noise_trace: Numbers, rate: Numbers, batch: Numbers) -> Numbers:
    """(p - 1) eta C / (2 b rate).

    Args:
        agents: p >= 1.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).
        noise_trace: C >= 0, in length^2/time^2.
        rate: of synchronization, in 1/time.
        batch: minibatch size b > 0; a plain vector is one an agent, (agents,).

    Returns:
        In length^2.
    """
    check("noise_trace", noise_trace)
    others = count("agents", agents) - 1
    return others * temperature(agents, eta, batch) * floats(noise_trace) / (2 * rate)


def step(dt: Numbers, eta: Numbers) -> Numbers:
    """dt of a chain.

    Args:
        dt: in time; by default eta, and with one eta an agent their mean.
        eta: learning rate > 0, in time; a plain vector is one an agent, (agents,).

    Returns:
        In time.
    """
    if dt is None:
        dt = np.mean(floats(eta)) if is_vector(eta) else eta
    check("dt", dt, zero=False)
    return floats(dt)


def contraction(dt: Numbers, least: Numbers, greatest: Numbers) -> Numbers:
    """Factor by which a step of descent shrinks distances at worst.

    Args:
        dt: in time.
        least: of the curvatures, in 1/time.
        greatest: of the curvatures, in 1/time.

    Returns:
        Without unit; below 1 for a stable step.
    """
    return np.maximum(abs(1 - dt * least), abs(1 - dt * greatest))


def disturbance_of(agents: Numbers, dims: Numbers, third: Numbers, level: Numbers) -> Numbers:
    """Taylor's remainder of the d components: sqrt(d) Q / 2 times the mean square distance from the quorum.

    Args:
        agents: p >= 1.
        dims: d >= 1.
        third: Q >= 0, in 1/(length time).
        level: sum over agents of the mean square distance from the quorum, in length^2.

    Returns:
        In length/time.
    """
    check("third", third)
    return np.sqrt(count("dims", dims)) * floats(third) * level / (2 * count("agents", agents))
