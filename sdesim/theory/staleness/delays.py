"""Delay equations in closed form, and the iterations of delayed gradients.

One coordinate of curvature h; the iterations with a = eta h, momentum delta, kappa = eta k of the coupling, and delays
in steps, linear between two whole ones as in `Delayed`.
"""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from sdesim.fields import check_flags, check_sign, one_number


def delay_variance(h: float, delay: float, noise: float) -> float:
    """The stationary variance of dx = -h x(t - delay) dt + sigma dW, sigma^2 / (2 h) (1 + sin h d) / cos h d.

    Args:
        h: curvature, greater than 0, in 1/time.
        delay: d, at least 0, in time.
        noise: sigma^2, at least 0, in length^2/time.

    Returns:
        In length^2.

    Raises:
        ValueError: if h d is not below pi / 2, where it is unstable.
    """
    check_sign("h", h, zero=False)
    check_sign("delay", delay)
    check_sign("noise", noise)
    if not h * delay < np.pi / 2:
        raise ValueError(f"delay={delay:g}: must be below pi / (2 h) = {np.pi / (2 * h):.4g}, or there is none")
    return noise / (2 * h) * (1 + np.sin(h * delay)) / np.cos(h * delay)


def delay_root(h: float, delay: float, shape: float | None = None) -> complex:
    """The root of s + h E exp(-s d) = 0 of greatest real part, for a delay d that is constant or of a gamma law.

    A constant one by Lambert's function, a gamma one of whole shape (Erlang) by its polynomial, of any other by
    Newton's method from the nearest of these.

    Args:
        h: curvature, greater than 0, in 1/time.
        delay: its mean, at least 0, in time.
        shape: of the gamma law, greater than 0; None for a constant delay.

    Returns:
        In 1/time; stable where its real part is negative.
    """
    check_sign("h", h, zero=False)
    check_sign("delay", delay)
    if delay == 0:
        return complex(-h)
    if shape is None:
        at_branch = np.isclose(h * delay, np.exp(-1), rtol=1e-14)  # where SciPy has no number
        return (-1 + 0j if at_branch else complex(scipy.special.lambertw(-h * delay, 0))) / delay
    check_sign("shape", shape, zero=False)
    scale, whole = delay / shape, max(1, round(shape))
    # s (1 + s d / n)^n + h = 0
    powers = np.polynomial.Polynomial([1.0, delay / whole]) ** whole
    roots = (np.polynomial.Polynomial([0.0, 1.0]) * powers + h).roots()
    start = complex(roots[np.argmax(np.real(roots))])
    if shape == whole:
        return start
    of = lambda s: s + h * (1 + s * scale) ** -shape
    slope = lambda s: 1 - h * delay * (1 + s * scale) ** (-shape - 1)
    return newton(of, slope, start)


def newton(function: Callable[[complex], complex], slope: Callable[[complex], complex], start: complex) -> complex:
    """A root by Newton's method.

    Args:
        function: of which a root is sought.
        slope: its derivative.
        start: near the root.

    Returns:
        The root.

    Raises:
        ValueError: for a start that is not finite.
        RuntimeError: if the method does not come to one.
    """
    if not np.isfinite(start):
        raise ValueError(f"start={start}: must be finite")
    return complex(scipy.optimize.newton(function, start, slope, tol=1e-13, maxiter=200))


def gamma_delay_limit(shape: float) -> float:
    """dx = -h x(t - d) dt with delays of a gamma law of mean E d is stable iff h E d is below this.

    n tan(pi / (2 n)) / cos^n(pi / (2 n)) for shape n > 1, without limit for n <= 1; pi / 2 as n grows: the spread of
    the delays, and not their mean alone, decides.

    Args:
        shape: n, greater than 0.

    Returns:
        Without unit; infinite for a shape of at most 1.
    """
    check_sign("shape", shape, zero=False)
    if shape <= 1:
        return float("inf")
    angle = np.pi / (2 * shape)
    return float(shape * np.tan(angle) * np.exp(-shape * np.log(np.cos(angle))))


def step_radius(a: float, delay: float, *, delta: float = 0.0, coupling: float = 0.0, nesterov: bool = False) -> float:
    """By what factor a step of gradient descent with a delayed gradient multiplies x, in the end.

    v <- delta v - a y, x <- x + v - kappa x, where y is x of `delay` steps ago, and with `nesterov` x + delta v: the
    greatest root of z^d (z - 1 + kappa) (z - delta) + a z = 0 in absolute value, or of + a (z + delta (z - 1 + kappa)).

    Args:
        a: eta h, at least 0, without unit.
        delay: d, at least 0, in steps.
        delta: momentum, from 0 to less than 1.
        coupling: kappa = eta k of the differences of coupled agents, 0 of their mean, without unit.
        nesterov: whether gradients are taken ahead by the velocity.

    Returns:
        Without unit; below 1 where it is stable.
    """
    free, pushed, whole, part = _step(delay, delta, coupling, nesterov)
    # (1 - part) z^-whole + part z^-(whole + 1)
    powers = np.zeros(whole + 2)
    powers[whole + 1] = 1.0
    late = np.polynomial.Polynomial([part, 1 - part])
    return float(np.abs((free * np.polynomial.Polynomial(powers) + one_number("a", a) * pushed * late).roots()).max())


def step_limit(delay: float, *, delta: float = 0.0, coupling: float = 0.0, nesterov: bool = False) -> float:
    """The a from which on the iteration of `step_radius` does not decay: there a pair of roots is on the unit circle.

    Args:
        delay: d, at least 0, in steps.
        delta: momentum, from 0 to less than 1.
        coupling: kappa, from 0 to less than 2, without unit.
        nesterov: whether gradients are taken ahead by the velocity.

    Returns:
        Of a = eta h, without unit.
    """
    one_number("coupling", coupling, below=2.0)
    free, pushed, whole, part = _step(delay, delta, coupling, nesterov)

    def ratio(angle: NDArray | float) -> NDArray:
        z = np.exp(1j * np.asarray(angle))
        return -free(z) / (pushed(z) * ((1 - part) * z**-whole + part * z ** -(whole + 1)))

    angles = np.linspace(0, np.pi, 200 * (whole + 2))[1:]
    value = ratio(angles)
    signs = np.sign(np.imag(value))
    found = [float(value[-1].real)]  # at z = -1 it is real
    for i in np.flatnonzero(signs[1:] * signs[:-1] < 0):
        at = scipy.optimize.brentq(lambda angle: float(np.imag(ratio(angle))), angles[i], angles[i + 1], xtol=1e-15)
        found.append(float(np.real(ratio(float(at)))))  # pyright: ignore[reportArgumentType]
    return min((a for a in found if a > 0), default=np.inf)


def _step(
    delay: float, delta: float, coupling: float, nesterov: bool
) -> tuple[np.polynomial.Polynomial, np.polynomial.Polynomial, int, float]:
    """(z - 1 + kappa) (z - delta), what multiplies a z^-d, and the delay as whole steps and a part of one."""
    check_flags(nesterov=nesterov)
    kappa, delta = one_number("coupling", coupling), one_number("delta", delta, below=1.0)
    delay = one_number("delay", delay)
    whole = int(np.floor(delay))
    place = np.polynomial.Polynomial([kappa - 1, 1.0])
    pushed = np.polynomial.Polynomial([0.0, 1.0]) + (delta * place if nesterov else 0.0)
    return place * np.polynomial.Polynomial([-delta, 1.0]), pushed, whole, delay - whole
