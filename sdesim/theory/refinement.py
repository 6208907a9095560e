"""From SGD to its SDE on a quadratic, exactly: what refines steps, by SVAG or by Euler-Maruyama, and what that moves.

One coordinate of curvature h about its minimum at 0, with gradient noise of variance s^2 + c^2 x^2 at x. At level l a
step has the length eta / l and its noise l times the variance (`noise.svag_weights`), whatever its law:

    E x^2 <- (1 - eta h / l)^2 E x^2 + (eta^2 / l) (s^2 + c^2 E x^2).

Level 1 is SGD, and the limit of many its SDE. Everything is float64 NumPy, and arguments broadcast.
"""

import numpy as np
from numpy.typing import NDArray

from sdesim.theory.arguments import Numbers, check, finite, floats, require, show


def second_moment(
    eta: Numbers, level: Numbers, curvature: Numbers = 1.0, sigma: Numbers = 1.0, multiplicative: Numbers = 0.0
) -> Numbers:
    """The stationary E x^2 at a level, eta s^2 / (2 h - eta h^2 / l - eta c^2).

    Args:
        eta: learning rate, greater than 0 and less than `stable_eta` of the level, in time.
        level: l, at least 1, without unit; infinite for the SDE.
        curvature: h, greater than 0, in 1/time.
        sigma: s, the standard deviation of the noise at the minimum, at least 0, in length/time.
        multiplicative: c, by which it grows with the distance, at least 0, in 1/time.

    Returns:
        In length^2.
    """
    check("eta", eta, zero=False)
    most = stable_eta(level, curvature, multiplicative)
    require(floats(eta) < most, f"eta={show(eta)}: must be less than {show(most)}, or it is not stable")
    h, s, c = floats(curvature), _at_least_0("sigma", sigma), floats(multiplicative)
    return (eta * s**2 / (2 * h - eta * h**2 / floats(level) - eta * c**2))[()]


def fourth_moment(
    eta: Numbers, level: Numbers, curvature: Numbers = 1.0, sigma: Numbers = 1.0, excess: Numbers = 0.0
) -> Numbers:
    """The stationary E x^4 at a level of SVAG, under additive noise of any law.

    With r = 1 - eta h / l and V of `second_moment` it is (3 + g (1 - r^2) / (1 + r^2)) V^2, where
    g = excess (w1^4 + w2^4) / l^2 is the excess kurtosis of two gradients with SVAG's weights w. Its limit is 3 V^2,
    whatever the law.

    Args:
        eta: learning rate, greater than 0 and less than `stable_eta` of the level, in time.
        level: l, at least 1, without unit; infinite for the SDE.
        curvature: h, greater than 0, in 1/time.
        sigma: s, the standard deviation of the noise, at least 0, in length/time.
        excess: of one gradient's noise, E zeta^4 / s^4 - 3, at least -2, without unit.

    Returns:
        In length^4.
    """
    variance = second_moment(eta, level, curvature, sigma)
    g = finite("excess", excess)
    require(g >= -2, f"excess={show(excess)}: must be at least -2")
    share = 1 / floats(level)
    square = (1 - floats(eta) * floats(curvature) * share) ** 2
    combined = g * (share**2 + 6 * share * (2 - share) + (2 - share) ** 2) / 8
    return ((3 + combined * (1 - square) / (1 + square)) * variance**2)[()]


def path(
    eta: Numbers,
    level: Numbers,
    steps: Numbers,
    start: Numbers,
    curvature: Numbers = 1.0,
    sigma: Numbers = 1.0,
    multiplicative: Numbers = 0.0,
) -> Numbers:
    """E x^2 after so many iterations at a level, of agents that start at a point.

    Args:
        eta: learning rate, greater than 0, in time.
        level: l, at least 1, without unit; infinite for the SDE.
        steps: iterations, each l steps, at least 0.
        start: where agents start, in length.
        curvature: h, greater than 0, in 1/time.
        sigma: s, the standard deviation of the noise at the minimum, at least 0, in length/time.
        multiplicative: c, by which it grows with the distance, at least 0, in 1/time.

    Returns:
        In length^2.
    """
    h, c = _numbers(level, curvature, multiplicative)
    for name, value in (("eta", eta), ("steps", steps)):
        check(name, value, zero=name == "steps")
    eta, fine, s = floats(eta), floats(level), _at_least_0("sigma", sigma)
    loss = 2 * h - eta * h**2 / fine - eta * c**2  # per time: a step keeps 1 - eta loss / l
    many = np.isinf(fine)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.where(
            many, np.exp(-eta * loss * steps), (1 - eta * loss / np.where(many, 1.0, fine)) ** (fine * steps)
        )
        kept = np.where(many & (np.asarray(steps) == 0), 1.0, kept)
        gained = np.where(loss == 0, eta * steps, (1 - kept) / np.where(loss == 0, 1.0, loss))
    return (kept * finite("start", start) ** 2 + gained * eta * s**2)[()]


def stable_eta(level: Numbers, curvature: Numbers = 1.0, multiplicative: Numbers = 0.0) -> Numbers:
    """The learning rate below which E x^2 is finite at a level, 2 h / (h^2 / l + c^2).

    Args:
        level: l, at least 1, without unit; infinite for the SDE.
        curvature: h, greater than 0, in 1/time.
        multiplicative: c, by which noise grows with the distance, at least 0, in 1/time.

    Returns:
        In time; infinite of the SDE under additive noise.
    """
    h, c = _numbers(level, curvature, multiplicative)
    with np.errstate(divide="ignore"):
        return (2 * h / (h**2 / floats(level) + c**2))[()]


def moved(eta: Numbers, curvature: Numbers = 1.0, multiplicative: Numbers = 0.0) -> Numbers:
    """The share by which SGD's stationary E x^2 exceeds its SDE's, eta h^2 / (2 h - eta (h^2 + c^2)).

    Args:
        eta: learning rate, greater than 0 and less than SGD's `stable_eta`, in time.
        curvature: h, greater than 0, in 1/time.
        multiplicative: c, by which noise grows with the distance, at least 0, in 1/time.

    Returns:
        Without unit.
    """
    of = lambda level: floats(second_moment(eta, level, curvature, 1.0, multiplicative))
    return (of(1) / of(np.inf) - 1)[()]


def largest_eta(tolerance: Numbers, curvature: Numbers = 1.0, multiplicative: Numbers = 0.0) -> Numbers:
    """The learning rate at which `moved` is a tolerance: 2 h u / (h^2 + u (h^2 + c^2)).

    Args:
        tolerance: u, a share greater than 0, without unit.
        curvature: h, greater than 0, in 1/time.
        multiplicative: c, by which noise grows with the distance, at least 0, in 1/time.

    Returns:
        In time.
    """
    check("tolerance", tolerance, zero=False)
    h, c = _numbers(1.0, curvature, multiplicative)
    u = floats(tolerance)
    return (2 * h * u / (h**2 + u * (h**2 + c**2)))[()]


def _numbers(level: Numbers, curvature: Numbers, multiplicative: Numbers) -> tuple[NDArray, NDArray]:
    require(np.all(floats(level) >= 1), f"level={show(level)}: must be at least 1")
    check("curvature", curvature, zero=False)
    check("multiplicative", multiplicative)
    return floats(curvature), floats(multiplicative)


def _at_least_0(name: str, value: Numbers) -> NDArray:
    check(name, value)
    return floats(value)
