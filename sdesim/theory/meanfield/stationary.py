"""Where infinitely many agents come to rest: self-consistent means, their stability, and the critical gain.

Coupled to a mean held at m, one agent of dx = (-f' + k (m - x)) dt + sqrt(2 T) dW, T = eta sigma^2 / (2 b), has the
stationary law rho_m ~ exp(-(f(x) + k (x - m)^2 / 2) / T), of mean R(m) and variance V(m), and R'(m) = k V(m) / T.
The law of infinitely many agents is stationary where R(m) = m. With Z(m) the integral of the exponential,
R(m) - m = -Phi'(m) / k for the effective loss

    Phi(m) = -T log(Z(m) / sqrt(2 pi T / k)),

the loss softly averaged over the width sqrt(T / k) of the agents, so that consensus descends Phi. The dynamics of the
law are the gradient flow of a free energy whose second variation at rho_m is positive exactly if R'(m) < 1: that is
the condition of stability, and it is Phi''(m) > 0. All of it holds for EASGD too, whatever the rate of its center.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from sdesim.fields import check_count, check_sign
from sdesim.theory.meanfield import parts
from sdesim.theory.meanfield.parts import Grid


@dataclasses.dataclass(frozen=True)
class Branch:
    """A stationary law of infinitely many agents.

    Attributes:
        mean: m = R(m), in length.
        variance: V(m), in length^2.
        slope: R'(m), without unit; stable below 1.
    """

    mean: float
    variance: float
    slope: float

    @property
    def stable(self) -> bool:
        """Whether the law is approached from near by."""
        return self.slope < 1


class SelfConsistency:
    """R(m), V(m) and Phi(m) of a one-dimensional loss, by the midpoint rule on a grid, for any gain and temperature.

    The midpoint rule is accurate beyond all orders for a smooth loss once cells are narrower than the features of the
    law, about min(sqrt(T / (k + f'')), 1 / sqrt(T f'''')) / 2; the grid must hold all of the law.

    Args:
        objective: the loss, or a function of a point to a scalar.
        grid: where the laws live.

    Raises:
        ValueError: for a loss that is not finite everywhere on the grid.
    """

    def __init__(self, objective: Any, grid: Grid):
        self.grid = grid
        self.f = parts.loss(objective)(grid.centers)
        if not np.isfinite(self.f).all():
            raise ValueError("objective: the loss is not finite everywhere on the grid")

    def law(self, m: ArrayLike, k: float, temperature: float) -> np.ndarray:
        """Masses of rho_m in the cells.

        Args:
            m: what agents are pulled to, of shape (...), in length.
            k: gain, at least 0, in 1/time.
            temperature: T, greater than 0, in length^2/time.

        Returns:
            (..., cells).
        """
        return self._masses(m, k, temperature)[0]

    def moments(self, m: ArrayLike, k: float, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """R(m) and V(m).

        Args:
            m: what agents are pulled to, of shape (...), in length.
            k: gain, at least 0, in 1/time.
            temperature: T, greater than 0, in length^2/time.

        Returns:
            Both of the shape of m.
        """
        masses, x = self.law(m, k, temperature), self.grid.centers
        mean = masses @ x
        return mean, np.sum(masses * (x - mean[..., None]) ** 2, axis=-1)

    def effective_loss(self, m: ArrayLike, k: float, temperature: float) -> np.ndarray:
        """Phi(m).

        Args:
            m: what agents are pulled to, of shape (...), in length.
            k: gain, greater than 0, in 1/time.
            temperature: T, greater than 0, in length^2/time.

        Returns:
            Of the shape of m, in length^2/time.
        """
        check_sign("k", k, zero=False)
        log_z = self._masses(m, k, temperature)[1]
        return -temperature * (log_z + 0.5 * np.log(k / (2 * np.pi * temperature)))

    def _masses(self, m: ArrayLike, k: float, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Masses of rho_m, (..., cells), and log Z(m), (...)."""
        check_sign("k", k)
        check_sign("temperature", temperature, zero=False)
        m = np.asarray(m, float)
        exponent = -(self.f + 0.5 * k * (self.grid.centers - m[..., None]) ** 2) / temperature
        top = exponent.max(axis=-1, keepdims=True)  # in log space, or small temperatures underflow
        weights = np.exp(exponent - top)
        total = weights.sum(axis=-1, keepdims=True)
        return weights / total, (top + np.log(total * self.grid.width))[..., 0]

    # -- branches ------------------------------------------------------------------------------------------------------

    def branches(self, k: float, temperature: float, *, points: int = 201) -> list[Branch]:
        """All stationary laws.

        R increases, so that repeating it from the ends of the grid leads to the least and the largest root. Between
        them R(m) - m is scanned; a pair of roots between two values of m is found too, from the extremum that its slope
        R'(m) - 1 betrays.

        Args:
            k: gain, at least 0, in 1/time.
            temperature: T, greater than 0, in length^2/time.
            points: values of m at which R(m) - m is looked at, at least 3.

        Returns:
            By increasing mean.
        """
        check_count("points", points, least=3)
        ends = np.array([self.grid.low, self.grid.high])
        for _ in range(200):
            before, (ends, variance) = ends, self.moments(ends, k, temperature)
            if abs(ends - before).max() < 1e-10:
                break
        low, high = ends
        if high - low < 1e-8:
            return [self.branch((low + high) / 2, k, temperature)]
        pad = 1e-3 * (high - low)
        m = np.linspace(low - pad, high + pad, points)
        mean, variance = self.moments(m, k, temperature)
        excess, slope = mean - m, k * variance / temperature - 1
        gap = lambda z: float(self.moments(z, k, temperature)[0] - z)
        turn = lambda z: float(k * self.moments(z, k, temperature)[1] / temperature - 1)
        roots = []
        for i in range(points - 1):
            if excess[i] * excess[i + 1] <= 0:
                roots += _root(gap, m[i], m[i + 1])
            elif slope[i] * slope[i + 1] < 0:
                for z in _root(turn, m[i], m[i + 1]):
                    if gap(z) * excess[i] < 0:
                        roots += _root(gap, m[i], z) + _root(gap, z, m[i + 1])
        distinct = [r for i, r in enumerate(roots) if i == 0 or r - roots[i - 1] > 1e-9]
        return [self.branch(root, k, temperature) for root in distinct]

    def branch(self, mean: float, k: float, temperature: float) -> Branch:
        """What there is to say of a root of R(m) = m.

        Args:
            mean: the root, in length.
            k: gain, at least 0, in 1/time.
            temperature: T, greater than 0, in length^2/time.

        Returns:
            The law's mean, variance and slope.
        """
        variance = float(self.moments(mean, k, temperature)[1])
        return Branch(mean, variance, k * variance / temperature)

    # -- critical lines of a loss that is symmetric about a point ------------------------------------------------------

    def critical_gain(self, temperature: float, *, center: float = 0.0) -> float:
        """The gain above which agents of a symmetric loss agree on one of its sides: k V(center) = T.

        Args:
            temperature: T, greater than 0, in length^2/time.
            center: about which the loss is symmetric, in length.

        Returns:
            In 1/time; inf where there is none up to T / width^2, the largest that the grid's cells resolve.
        """
        excess = lambda log_k: self.branch(center, float(np.exp(log_k)), temperature).slope - 1
        low = np.log(temperature) - 20.0  # R' = k V / T falls with k, to 0
        grid = np.linspace(low, np.log(temperature / self.grid.width**2), 200)
        values = np.array([excess(g) for g in grid])
        above = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
        if above.size == 0:
            return np.inf
        return float(np.exp(_brent(excess, grid[above[0]], grid[above[0] + 1])))

    def critical_temperature(self, k: float, *, center: float = 0.0, most: float = 1e3) -> float:
        """The temperature below which agents of a symmetric loss agree on a side.

        Args:
            k: gain, greater than 0, in 1/time.
            center: about which the loss is symmetric, in length.
            most: the highest that is looked at, in length^2/time.

        Returns:
            In length^2/time; 0 where there is none up to `most` and down to k width^2, the least that the grid's cells
            resolve.
        """
        check_sign("k", k, zero=False)
        excess = lambda log_t: self.branch(center, k, float(np.exp(log_t))).slope - 1
        grid = np.linspace(np.log(k * self.grid.width**2), np.log(most), 200)
        values = np.array([excess(g) for g in grid])
        below = np.flatnonzero((values[:-1] >= 0) & (values[1:] < 0))
        if below.size == 0:
            return 0.0
        return float(np.exp(_brent(excess, grid[below[-1]], grid[below[-1] + 1])))


def _root(function: Callable[[float], float], low: float, high: float) -> list[float]:
    """The root of a function between two points; one of the points where rounding makes it 0 there, or none."""
    at_low, at_high = function(low), function(high)
    if at_low * at_high < 0:
        return [_brent(function, low, high)]
    return [float(low) if abs(at_low) < abs(at_high) else float(high)] if min(abs(at_low), abs(at_high)) < 1e-12 else []


def _brent(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-13))  # pyright: ignore[reportArgumentType]
