"""An outer optimizer on a quadratic under additive noise: DiLoCo and Local SGD as one exact iteration (Z 5.1).

One coordinate of curvature h about its minimum at 0. In a round p workers take H steps of learning rate eta from the
center, of which each adds noise of variance eta^2 sigma^2: one map of curvature A = 1 - (1 - eta h)^H. The center then
moves by SGD with Nesterov's momentum mu and learning rate lr along D, the mean of the ways they came,

    D = -A c + noise,    v <- mu v + D,    c <- c + lr ((1 + mu) D + mu^2 v),

which in x = c - mu lr v is Zhang's iteration (Z 5.4) of eta_h = lr A and delta = mu, with V = lr v for its velocity. So
`stability.momentum_is_stable` and `quadratic.momentum_stationary` say all of it. Everything is float64 NumPy, and
arguments broadcast.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.theory import quadratic, stability
from sdesim.theory.arguments import Numbers, all_finite, check, count, finite, floats, require, show


def curvature(eta_h: Numbers, period: Numbers) -> Numbers:
    """A = 1 - (1 - eta h)^H, of the map that a period of steps is.

    Args:
        eta_h: eta h, without unit.
        period: H, steps of a round.

    Returns:
        Without unit.
    """
    return 1 - (1 - finite("eta_h", eta_h)) ** count("period", period)


def noise(eta_h: Numbers, period: Numbers, workers: Numbers = 1, step: Numbers = 1.0) -> Numbers:
    """Variance of the mean way that workers come in a period, about its own mean.

    s^2 / p (1 - r^2H) / (1 - r^2) with r = 1 - eta h, and s^2 H / p where r^2 is 1.

    Args:
        eta_h: eta h, without unit.
        period: H, steps of a round.
        workers: p.
        step: s^2 = eta^2 sigma^2, which a step adds, at least 0, in length^2.

    Returns:
        In length^2.
    """
    check("step", step)
    square, many = (1 - finite("eta_h", eta_h)) ** 2, count("period", period)
    one = square == 1
    ratio = np.where(one, many, (1 - square**many) / np.where(one, 1.0, 1 - square))
    return (floats(step) / count("workers", workers) * ratio)[()]


def fixed_point(eta_h: Numbers, minimum: Numbers, period: Numbers) -> Numbers:
    """Where the center rests if workers have losses of their own: not at the minimum of their mean, unless H is 1.

    sum A_i m_i / sum A_i with A_i = 1 - (1 - eta h_i)^H, whatever lr and momentum. The minimum of the mean loss is that
    of weights h_i, to which H = 1 or a small eta H h leads; many steps lead to the mean of the minima.

    Args:
        eta_h: eta h of each worker, (workers, ...), greater than 0 and less than 2, without unit.
        minimum: m_i of each, (workers, ...), in length.
        period: H, steps of a round.

    Returns:
        (...), in length.
    """
    step, at = all_finite(eta_h=eta_h, minimum=minimum)
    require((step > 0) & (step < 2), f"eta_h={show(step)}: must be greater than 0 and less than 2")
    require(step.ndim > 0, f"eta_h={show(step)}: must lead with the axis of the workers")
    a = curvature(step, period)
    return np.sum(a * at, axis=0) / np.sum(a, axis=0)


def means(a: Numbers, lr: Numbers, momentum: Numbers) -> NDArray:
    """The map of (E c, E v) in a round.

    Args:
        a: A, the curvature of a round, without unit.
        lr: outer learning rate, without unit.
        momentum: mu, without unit.

    Returns:
        (..., 2, 2).
    """
    a, lr, mu = all_finite(a=a, lr=lr, momentum=momentum)
    rows = [1 - lr * (1 + mu) * a, lr * mu**2], [-a, mu]
    return np.moveaxis(np.array([np.broadcast_arrays(*row) for row in rows]), (0, 1), (-2, -1))


def lr_limit(a: Numbers, momentum: Numbers) -> Numbers:
    """The outer learning rate below which a round is stable, 2 (1 + mu) / ((1 + 2 mu) A).

    Args:
        a: A, the curvature of a round, greater than 0, without unit.
        momentum: mu, from 0 to less than 1, without unit.

    Returns:
        Without unit: from 2 / A without momentum to 4 / (3 A).
    """
    check("a", a, zero=False)
    mu = _momentum(momentum)
    return 2 * (1 + mu) / ((1 + 2 * mu) * floats(a))


def radius(a: Numbers, lr: Numbers, momentum: Numbers) -> Numbers:
    """The factor by which the mean of the center changes in a round, in the end.

    Args:
        a: A, the curvature of a round, without unit.
        lr: outer learning rate, without unit.
        momentum: mu, without unit.

    Returns:
        At least 0; stable below 1.
    """
    return stability.radius(means(a, lr, momentum))


def best_momentum(a: Numbers, lr: Numbers) -> Numbers:
    """The momentum at which means decay fastest, (1 - sqrt(q)) / (1 + sqrt(q)) with q = lr A: by 1 - sqrt(q) a round.

    Args:
        a: A, the curvature of a round, without unit.
        lr: outer learning rate, without unit, with lr A between 0 and 1: beyond, no momentum of at least 0 helps.

    Returns:
        mu, without unit.
    """
    q = finite("a", a) * finite("lr", lr)
    require((q > 0) & (q <= 1), f"lr={show(lr)}: must be greater than 0, and at most {show(1 / floats(a))} at this a")
    return (1 - np.sqrt(q)) / (1 + np.sqrt(q))


def stationary(a: Numbers, lr: Numbers, momentum: Numbers, noise: Numbers = 1.0) -> tuple[Numbers, Numbers, Numbers]:
    """The stationary E c^2, E c v and E v^2, after an outer step.

    c = x + mu V, so that E c^2 = E x^2 + 2 mu E V x + mu^2 E V^2 of (Z 5.7) at a noise of lr^2 times that of D.

    Args:
        a: A, the curvature of a round, greater than 0, without unit.
        lr: outer learning rate, between 0 and `lr_limit`, without unit.
        momentum: mu, from 0 to less than 1, without unit.
        noise: variance of D about its mean, at least 0, in length^2; see the function `noise`.

    Returns:
        The three, in length^2.
    """
    mu, rate, limit = _momentum(momentum), finite("lr", lr), lr_limit(a, momentum)
    require((rate > 0) & (rate < limit), f"lr={show(lr)}: must be between 0 and {show(limit)}, or it is not stable")
    check("noise", noise)
    q = rate * floats(a)
    square, cross, own = quadratic.momentum_stationary(q, mu * (1 - q), rate**2 * floats(noise))
    return own + 2 * mu * cross + mu**2 * square, (cross + mu * square) / rate, square / rate**2


def _momentum(momentum: Numbers) -> Numbers:
    mu = finite("momentum", momentum)
    require((mu >= 0) & (mu < 1), f"momentum={show(mu)}: must be from 0 to less than 1")
    return mu
