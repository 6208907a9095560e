"""Roots of characteristic equations of delays: P(s) + h E exp(-s d) = 0.

    dx = (-h x(t - d) - k x) dt                       P(s) = s + k
    dx = (v - k x) dt, dv = (-h x(t - d) - mu v) dt   P(s) = (s + k) (s + mu)

for a delay d of any law: k = 0 is one agent or the mean of coupled ones, k > 0 their differences. AsyncSGD of many
workers and a small eta h has delays that are its compute times: h is the sum over workers of eta h / m_i. Starting
values are eigenvalues of the equation's generator, collocated at Chebyshev's points of the past (Breda, Maset and
Vermiglio 2005), where gamma laws are chains of exponential ones; Newton's method of the exact equation refines them;
and that none was missed is seen from how often the equation winds about 0 along a line to their left.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from sdesim.fields import check_count, of_part, one_number, shown
from sdesim.theory.staleness.laws import DelayLaw, delay_law

POINTS = (16, 32, 64, 128)  # of collocation: more where fewer miss a root
SAMPLES = 1 << 18  # of the equation along a line, at most
NEAR = 1e-4  # roots that are as near to each other, in the unit of the equation, are counted together


@dataclasses.dataclass(frozen=True, eq=False)
class Roots:
    """The roots of greatest real part, those of the upper half plane.

    Attributes:
        values: in 1/time, the greatest real part first, (roots,). Fewer than were asked for where there are no more
            right of `edge`.
        errors: by how much each may be off, in 1/time, (roots,).
        edge: roots of lesser real part were not sought: the tail of the law decays no faster.
    """

    values: NDArray
    errors: NDArray
    edge: float

    @property
    def rate(self) -> float:
        """The rate at which solutions decay in the end, in 1/time; negative where they grow."""
        return -max([self.edge, *np.real(self.values)])

    @property
    def oscillates(self) -> bool:
        """Whether the slowest of them do."""
        return bool(self.values.size and self.values[0].imag > self.errors[0])


def characteristic_roots(
    h: float, delay: Any, *, pull: float = 0.0, friction: float | None = None, count: int = 1
) -> Roots:
    """The roots of P(s) + h E exp(-s d) = 0 of greatest real part, all of them counted.

    Args:
        h: curvature, greater than 0, in 1/time, with momentum in 1/time^2.
        delay: a number, a law of compute times, or a `DelayLaw`.
        pull: k, at least 0, in 1/time.
        friction: mu, at least 0, in 1/time; None without momentum.
        count: of roots in the upper half plane, the real axis included.

    Returns:
        The roots.

    Raises:
        RuntimeError: if they are not all found.
    """
    equation = _equation(h, delay, pull, friction)
    count = check_count("count", count)
    for points in POINTS:
        found = equation.refined(equation.starts(points), 3 * count + 12)
        kept = found[: _kept(found, count, equation.unit)]
        few = int(np.sum(np.imag(kept) >= 0)) < count
        line = _line(equation, found, kept.size, few)
        # A law that is cut has roots without end.
        enough = not few or equation.longest == 0 or np.isfinite(equation.law.edge)
        if enough and equation.right_of(line) == np.sum(np.real(found) > line):
            upper = kept[np.imag(kept) >= 0][:count]
            return Roots(upper, equation.errors(upper), equation.law.edge)
    raise RuntimeError(f"h={h:g}: some of the {count} roots of greatest real part are not found")


def stability_limit(delay: Any, *, pull: float = 0.0, friction: float | None = None) -> float:
    """Solutions decay for all h from 0 to this: there the first pair of roots comes to the imaginary axis.

    Args:
        delay: a number, a law of compute times, or a `DelayLaw`.
        pull: k, at least 0, in 1/time.
        friction: mu, greater than 0, in 1/time; None without momentum.

    Returns:
        h in 1/time, with momentum in 1/time^2; infinite if no pair comes there below 10^5 times the unit.
    """
    if friction is not None:
        one_number("friction", friction, zero=False)
    equation = _equation(1.0, delay, pull, friction)
    ratio = lambda w: -equation.polynomial(1j * w) / equation.law.transform(1j * np.asarray(w))
    fine = 0.05 / max(equation.reach(0.0), 1 / equation.unit)
    found = np.inf
    low = 1e-6 * fine
    while low < min(1e5 * equation.unit, found if friction is None else np.inf):
        # |P(j w)| <= h: beyond that no pair comes at a lesser h
        if abs(equation.polynomial(1j * low)) > found:
            break
        w = low * 1.02 ** np.arange(201) if low < 50 * fine else low + max(fine, low / 2000) * np.arange(2001)
        value = ratio(w)
        signs = np.sign(value.imag)
        for i in np.flatnonzero((signs[1:] != signs[:-1]) & (value.real[1:] > 0)):
            at = scipy.optimize.brentq(
                lambda x: float(ratio(x).imag), w[i], w[i + 1], xtol=1e-15, rtol=np.float64(1e-14)
            )
            h = float(ratio(at).real)
            found = min(found, h) if h > 0 else found
        low = w[-1]
    return found


def best_gain(delay: Any, *, pull: float = 0.0, friction: float | None = None) -> tuple[float, float]:
    """The h at which solutions decay fastest, and how fast.

    Args:
        delay: a number, a law of compute times, or a `DelayLaw`, whose mean is greater than 0.
        pull: k, at least 0, in 1/time.
        friction: mu, greater than 0, in 1/time; None without momentum.

    Returns:
        The least such h, in 1/time or 1/time^2, and the rate, in 1/time.

    Raises:
        ValueError: for a law of whose tail phi is not known: nothing decays exponentially in the end.
    """
    law = delay_law(delay)
    if law.edge >= 0:
        raise ValueError(f"delay={shown(delay)}: must be of a law with an exponential tail, or be cut to a longest")
    if not law.mean > 0:
        raise ValueError(f"delay={shown(delay)}: must be greater than 0, or the greater h the faster")
    top = stability_limit(law, pull=pull, friction=friction)
    unit = _equation(1.0, law, pull, friction).unit ** (1 if friction is None else 2)
    rate = lambda log_h: characteristic_roots(np.exp(log_h), law, pull=pull, friction=friction).rate
    logs = np.linspace(np.log(1e-3 * unit), np.log(min(top, 30 * unit)), 40)
    rates = np.array([rate(log_h) for log_h in logs])
    first = int(np.flatnonzero(rates >= rates.max() - 1e-9 * abs(rates.max()))[0])
    low, high = logs[max(first - 1, 0)], logs[min(first + 1, logs.size - 1)]
    golden = (np.sqrt(5) - 1) / 2
    while high - low > 1e-7:
        one, two = high - golden * (high - low), low + golden * (high - low)
        # Of rates that are equal, as beyond the best of an exponential law, the lesser h.
        if rate(one) >= rate(two) - 1e-12 * unit:
            high = two
        else:
            low = one
    best = (low + high) / 2
    return float(np.exp(best)), rate(best)


def best_workers(a: float, compute: Any) -> float:
    """The number of equal workers at which the mean of AsyncSGD decays fastest, in the limit of many and small a.

    Args:
        a: eta h, greater than 0, without unit.
        compute: the law of compute times, as for `characteristic_roots`.

    Returns:
        p, any number: h = p a / m is that of `best_gain`.
    """
    with of_part("compute"):
        law = delay_law(compute)
    return best_gain(law)[0] * law.mean / one_number("a", a, zero=False)


def most_workers(a: float, compute: Any) -> float:
    """The number of equal workers beyond which the mean of AsyncSGD diverges, in the limit of many and small a.

    Args:
        a: eta h, greater than 0, without unit.
        compute: the law of compute times, as for `characteristic_roots`.

    Returns:
        p, any number; infinite where no number diverges.
    """
    with of_part("compute"):
        law = delay_law(compute)
    return stability_limit(law) * law.mean / one_number("a", a, zero=False)


def _equation(h: float, delay: Any, pull: float, friction: float | None) -> "_Equation":
    k, mu = one_number("pull", pull), None if friction is None else one_number("friction", friction)
    return _Equation(one_number("h", h, zero=False), delay_law(delay), k, mu)


@dataclasses.dataclass(frozen=True, eq=False)
class _Equation:
    """P(s) + h phi(s)."""

    h: float
    law: DelayLaw
    pull: float
    friction: float | None

    @property
    def polynomial(self) -> np.polynomial.Polynomial:
        first = np.polynomial.Polynomial([self.pull, 1.0])
        return first if self.friction is None else first * np.polynomial.Polynomial([self.friction, 1.0])

    @property
    def unit(self) -> float:
        """What roots are measured in."""
        own = self.h if self.friction is None else np.sqrt(self.h)
        return 1 / self.law.mean if self.law.mean > 0 else own

    def value(self, s: Any, order: int = 0) -> NDArray:
        return self.polynomial.deriv(order)(s) + self.h * self.law.transform(s, order)

    def size(self, s: NDArray) -> NDArray:
        """What adds up to the value, in absolute value: rounding is of this."""
        late = self._most(s)
        return np.abs(self.polynomial(s)) + np.abs(s) ** self.polynomial.degree() + self.h * late

    def errors(self, s: NDArray) -> NDArray:
        """Of roots, from what is left of the equation there, also where two are one."""
        left = np.abs(self.value(s)) + 8 * np.finfo(float).eps * self.size(s) + self.h * self.law.doubt(s)
        slope, bend = np.abs(self.value(s, 1)), np.abs(self.value(s, 2))
        with np.errstate(divide="ignore"):
            return np.minimum(2 * left / slope, 2 * np.sqrt(2 * left / bend))

    def reach(self, real: float) -> float:
        """The delay beyond which there is too little of the law to matter on a line of this real part."""
        if not self.law.times.size:
            return 0.0
        with np.errstate(over="ignore"):
            mass = self.law.weights * np.exp(-real * self.law.times)
        order = np.argsort(self.law.times)
        beyond = np.cumsum(mass[order][::-1])[::-1]
        return float(self.law.times[order][beyond > 0.002 * beyond[0]].max())

    @property
    def longest(self) -> float:
        """The past that collocation looks at, in time."""
        cut = np.isneginf(self.law.edge) and self.law.times.size
        return float(self.law.times.max()) if cut else self.reach(0.0)

    # -- starting values -----------------------------------------------------------------------------------------------

    def starts(self, points: int) -> NDArray:
        """Eigenvalues of the generator: of x at points of the past, of v, and of the chains of gamma laws."""
        longest = self.longest
        past = points if longest > 0 else 0
        late = np.zeros(past + 1)  # what the mean over single delays takes of each point
        if past:
            angles = np.pi * np.arange(past + 1) / past
            nodes = -longest / 2 * (1 - np.cos(angles))
            bary = (-1.0) ** np.arange(past + 1) * np.where((angles == 0) | (angles == np.pi), 0.5, 1.0)
            gap = nodes[:, None] - nodes + np.eye(past + 1)
            differences = bary / bary[:, None] / gap
            differences -= np.eye(past + 1)
            differences -= np.diag(differences.sum(1))
            off = -np.minimum(self.law.times, longest)[:, None] - nodes
            hit = np.abs(off) < 1e-14 * longest
            shares = np.where(hit.any(1, keepdims=True), hit, bary / np.where(hit, 1, off))
            late = self.law.weights @ (shares / shares.sum(1, keepdims=True))
        else:
            late[0] = self.law.weights.sum()
        stages = [max(1, int(np.ceil(shape))) for _, _, shape in self.law.gammas]
        speed = 0 if self.friction is None else 1
        matrix = np.zeros((past + 1 + speed + sum(stages),) * 2)
        if past:
            matrix[1 : past + 1, : past + 1] = differences[1:]
        matrix[0, 0] = -self.pull
        force = past + 1 if speed else 0  # the row of what the gradient moves
        if self.friction is not None:
            matrix[0, force], matrix[force, force] = 1.0, -self.friction
        matrix[force, : past + 1] -= self.h * late
        first = past + 1 + speed
        for (weight, mean, shape), many in zip(self.law.gammas, stages, strict=True):
            rows = first + np.arange(many)
            matrix[rows, rows] = -shape / mean
            matrix[rows, [0, *rows[:-1]]] = shape / mean
            # A shape between two whole ones, by both: near enough to begin with.
            matrix[force, rows[-1]] -= self.h * weight * (1 - (many - shape))
            if many > shape:
                matrix[force, rows[-2] if many > 1 else 0] -= self.h * weight * (many - shape)
            first += many
        found = np.linalg.eigvals(matrix)
        # Near the edge roots are real, and these are far from them.
        near = self.law.edge * (1 - np.geomspace(1e-3, 0.9, 20)) if -np.inf < self.law.edge < 0 else np.zeros(0)
        return np.append(found, near)

    def refined(self, starts: NDArray, most: int) -> NDArray:
        """Roots by Newton's method, each with its conjugate and as often as it is one; greatest real part first."""
        s = starts[np.argsort(-np.real(starts))]
        s = s[np.imag(s) >= -1e-12 * self.unit][:most]
        with np.errstate(all="ignore"):
            for _ in range(60):
                change = self.value(s) / self.value(s, 1)
                change = np.where(np.isfinite(change), change, 0)  # 0 / 0 at a double root
                s = s - change
                if np.all(np.abs(change) <= 1e-15 * np.abs(s)):
                    break
            s = s[(np.abs(self.value(s)) < 1e-9 * self.size(s)) & (np.real(s) > self.law.edge)]
        real, imaginary = np.real(s), np.abs(np.imag(s))
        s = np.where(imaginary < 1e-9 * self.unit, real, real + 1j * imaginary)
        found: list[complex] = []
        for root in np.where(np.imag(s) <= NEAR * self.unit, np.real(s), s):  # a close pair is found about its middle
            if all(abs(root - other) > NEAR * self.unit for other in found):
                found += [root] if root.imag == 0 else [root, np.conj(root)]
        apart = lambda root: min((abs(root - other) for other in found if other != root), default=np.inf)
        together = lambda root: self._together(root, min(3 * NEAR * self.unit, 0.45 * apart(root)))
        roots = np.array([r for root in found for r in together(root)], complex)
        return roots[np.lexsort((-np.imag(roots), -np.round(np.real(roots) / self.unit, 9)))]

    def _together(self, root: complex, radius: float) -> list[complex]:
        """The root, and others that lie within a radius of it, where Newton's method is slow: by Cauchy's integrals."""
        if radius * abs(self.value(root, 2)) < 0.02 * abs(self.value(root, 1)):
            return [root]
        offsets = radius * np.exp(2j * np.pi * np.arange(64) / 64)
        spokes = offsets * self.value(root + offsets, 1) / self.value(root + offsets)
        many = round(spokes.mean().real)
        if many < 2:
            return [root]
        middle, square = (spokes * offsets).mean() / many, (spokes * offsets**2).mean() / many
        if many > 2:
            return [root + middle] * many
        half = np.sqrt(square - middle**2)
        pair = np.array([root + middle + half, root + middle - half])
        if root.imag == 0:  # both real, or conjugates
            real = abs(half.real) > abs(half.imag)
            values = np.real(pair)
            pair = np.sort(values)[::-1] + 0j if real else values.mean() + 1j * abs(half.imag) * np.array([1, -1])
        return list(pair)

    # -- counting ------------------------------------------------------------------------------------------------------

    def right_of(self, real: float) -> int:
        """How many roots lie right of a vertical line, by the principle of the argument; -1 where it cannot be told."""
        degree, left = self.polynomial.degree(), real - self.unit
        poles = sum(round(shape) for _, mean, shape in self.law.gammas if real < -shape / mean)
        # From here up the polynomial outweighs all else.
        top = 30 * (abs(real) + abs(left) + self.pull + (self.friction or 0.0) + self.unit)
        while abs(self.polynomial(real + 1j * top)) < 20 * self.h * self._most(real + 1j * top):
            top *= 1.5
        ratio = lambda w: self.value(real + 1j * w) / (real + 1j * w - left) ** degree
        first = 100 + int(2 * top * self.reach(real))
        if first > SAMPLES:
            return -1
        w = np.unique(np.concatenate([np.linspace(0, top, first), np.geomspace(1e-4 * self.unit, top, 200)]))
        value = ratio(w)
        while True:
            turn = np.abs(np.angle(value[1:] / value[:-1]))
            wide = np.flatnonzero(turn > 0.5)
            if not wide.size:
                break
            if w.size > SAMPLES or np.min(np.diff(w)[wide]) < 1e-13 * top:
                return -1
            middle = (w[wide] + w[wide + 1]) / 2
            w, value = np.insert(w, wide + 1, middle), np.insert(value, wide + 1, ratio(middle))
        turned = np.sum(np.angle(value[1:] / value[:-1])) - np.angle(value[-1])
        return round(-turned / np.pi) + poles

    def _most(self, s: Any) -> Any:
        """What |phi| is at most at s, and on the vertical line from it up: of single delays and gamma laws."""
        found = np.abs(DelayLaw(self.law.times, self.law.weights).transform(np.real(s)))
        return found + sum(weight * np.abs(1 + s * mean / shape) ** -shape for weight, mean, shape in self.law.gammas)


def _kept(found: NDArray, count: int, unit: float) -> int:
    """How many of the roots, with conjugates, make up `count` of the upper half plane, so that a gap follows."""
    upper = np.cumsum(np.imag(found) >= 0)
    if not upper.size or upper[-1] < count:
        return found.size
    n = int(np.searchsorted(upper, count)) + 1
    while n < found.size and found[n - 1].real - found[n].real < 1e-6 * unit:
        n += 1
    return n


def _line(equation: _Equation, found: NDArray, kept: int, few: bool) -> float:
    """A real part left of the roots that are kept, and right of all others and of the edge: at it if there are few."""
    edge = equation.law.edge + 1e-6 * equation.unit
    if few and np.isfinite(edge):
        return edge
    last = found[kept - 1].real if kept else -equation.unit
    after = found[kept].real if kept < found.size else -np.inf
    return max(last + 0.47 * (max(after, last - equation.unit) - last), edge)
