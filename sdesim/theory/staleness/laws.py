"""Laws of delays, as what a characteristic equation needs of them: phi(s) = E exp(-s d).

Every law is a mixture of single delays and of gamma laws. Those of a density or of quantiles become single delays by
Gauss's quadrature, which a coarser one checks: where the two differ, a root is not claimed to be more accurate.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import ArrayLike, NDArray

from sdesim.asynchrony.compute import AbstractCompute, Deterministic, Exponential, Gamma, Measured, Slowed
from sdesim.fields import check_sign, of_part, one_number, shown

REACH = 34.0  # of logits, beyond which 1e-15 of a law lies
PANEL = 2.0  # of logits
FINE, COARSE = 16, 11  # nodes a panel


@dataclasses.dataclass(frozen=True, eq=False)
class DelayLaw:
    """A mixture of single delays and of gamma laws.

    Attributes:
        times: single delays, at least 0, (atoms,).
        weights: their probabilities, (atoms,).
        gammas: (probability, mean, shape) of each gamma law.
        edge: phi is not known at real parts below this, in 1/time: the law's own tail decays no faster.
        coarse: times and weights of a coarser quadrature, where the single delays stand for a density.
    """

    times: NDArray
    weights: NDArray
    gammas: tuple[tuple[float, float, float], ...] = ()
    edge: float = -np.inf
    coarse: tuple[NDArray, NDArray] | None = None

    @property
    def mean(self) -> float:
        """The mean delay, in time."""
        return float(self.weights @ self.times) + sum(weight * mean for weight, mean, _ in self.gammas)

    def transform(self, s: ArrayLike, order: int = 0) -> NDArray:
        """phi(s) = E exp(-s d), or a derivative.

        Args:
            s: where, complex, in 1/time.
            order: of the derivative.

        Returns:
            complex128, of the shape of `s`, in time^order.
        """
        s = np.asarray(s, complex)
        found = _of_atoms(self.times, self.weights, s, order)
        for weight, mean, shape in self.gammas:
            rising = np.prod(shape + np.arange(order)) * (-mean / shape) ** order
            found = found + weight * rising * (1 + s * (mean / shape)) ** (-shape - order)
        return found

    def doubt(self, s: ArrayLike) -> NDArray:
        """By how much phi(s) may be off because a density is taken at nodes.

        Args:
            s: where, complex, in 1/time.

        Returns:
            At least 0, of the shape of `s`.
        """
        s = np.asarray(s, complex)
        if self.coarse is None:
            return np.zeros(s.shape)
        return np.abs(_of_atoms(self.times, self.weights, s, 0) - _of_atoms(*self.coarse, s, 0))

    def scaled(self, factor: float) -> "DelayLaw":
        """The law of delays that are so many times as long.

        Args:
            factor: greater than 0, without unit.
        """
        factor = one_number("factor", factor, zero=False)
        gammas = tuple((weight, factor * mean, shape) for weight, mean, shape in self.gammas)
        coarse = None if self.coarse is None else (factor * self.coarse[0], self.coarse[1])
        return DelayLaw(factor * self.times, self.weights, gammas, self.edge / factor, coarse)


def _of_atoms(times: NDArray, weights: NDArray, s: NDArray, order: int) -> NDArray:
    with np.errstate(over="ignore", invalid="ignore"):  # far left of the roots
        return np.exp(-s[..., None] * times) @ (weights * (-times) ** order)


def delay_law(delay: Any) -> DelayLaw:
    """What a delay is given as, as a law.

    Args:
        delay: a number, one of the laws of compute times of `sdesim.asynchrony`, or a `DelayLaw`, which is itself.

    Returns:
        The law. Of times that are log-normal or of Pareto's law phi is not known left of the imaginary axis.

    Raises:
        TypeError: for what is none of these.
        ValueError: for a law of unequal workers: see `workers_delay`.
    """
    if isinstance(delay, DelayLaw):
        return delay
    if not isinstance(delay, AbstractCompute):
        return sampled_delay([one_number("delay", delay)])
    if isinstance(delay, Slowed):
        raise TypeError(f"delay={shown(delay)}: must be a law of independent times; mix two laws with `mixed_delay`")
    if np.ndim(delay.mean):
        raise ValueError(f"delay.mean={shown(delay.mean)}: must be one number; `workers_delay` is of unequal workers")
    mean = float(delay.mean)
    if isinstance(delay, Deterministic):
        return sampled_delay([mean])
    if isinstance(delay, Exponential):
        return gamma_delay(mean, 1.0)
    if isinstance(delay, Gamma):
        return gamma_delay(mean, float(delay.shape))
    if isinstance(delay, Measured):
        times = np.asarray(delay.sample, float)
        return sampled_delay(times * (mean / times.mean()))
    return quantile_delay(delay.distribution().ppf).scaled(mean)


def gamma_delay(mean: float, shape: float) -> DelayLaw:
    """Delays of a gamma law, phi(s) = (1 + s mean / shape)^-shape.

    Args:
        mean: greater than 0, in time.
        shape: greater than 0; whole of Erlang's laws, 1 of the exponential one.
    """
    mean, shape = one_number("mean", mean, zero=False), one_number("shape", shape, zero=False)
    # A whole power is known everywhere but at its pole.
    edge = -np.inf if shape == round(shape) else -shape / mean
    return DelayLaw(np.zeros(0), np.zeros(0), ((1.0, mean, shape),), edge)


def sampled_delay(times: ArrayLike, weights: ArrayLike | None = None) -> DelayLaw:
    """Single delays: a measured sample, or the nodes and weights of a density.

    Args:
        times: at least 0, (atoms,), in time.
        weights: at least 0, in proportion, (atoms,); all equal by default.

    Raises:
        ValueError: if they do not fit together.
    """
    check_sign("times", times)
    times = np.asarray(times, float)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"times={shown(times)}: must be of shape (atoms,)")
    weights = np.ones(times.shape) if weights is None else weights
    check_sign("weights", weights)
    weights = np.asarray(weights, float)
    if weights.shape != times.shape or not weights.sum() > 0:
        raise ValueError(f"weights={shown(weights)}: must be one a time, {times.size}, and not all 0")
    times, place = np.unique(times, return_inverse=True)
    return DelayLaw(times, np.bincount(place, weights) / weights.sum())


def uniform_delay(low: float, high: float) -> DelayLaw:
    """Delays that are uniform between two.

    Args:
        low: at least 0, in time.
        high: greater than `low`, in time.
    """
    low = one_number("low", low)
    if not one_number("high", high) > low:
        raise ValueError(f"high={shown(high)}: must be greater than low={low:g}")
    rules = [_gauss(low, high, nodes) for nodes in (64, 44)]
    (times, weights), coarse = ((t, w / (high - low)) for t, w in rules)
    return DelayLaw(times, weights, coarse=coarse)


def quantile_delay(quantiles: Callable[[NDArray], Any], longest: float | None = None) -> DelayLaw:
    """Delays of a law that is given by its quantiles, which are smooth.

    Args:
        quantiles: of shares within (0, 1), an array, to delays at least 0, in time: `ppf` of scipy.stats.
        longest: delays are cut to this, as `Delayed` does; None for all. Only cut ones have a transform left of the
            imaginary axis.

    Raises:
        ValueError: if these are no delays.
    """
    of = lambda logits: np.asarray(quantiles(scipy.special.expit(np.asarray(logits, float))), float)
    high, most = REACH, None
    if longest is not None:
        most = one_number("longest", longest, zero=False)
        if of(REACH) > most:
            if of(-REACH) >= most:
                raise ValueError(f"longest={most:g}: must be greater than the shortest delay, {float(of(-REACH)):g}")
            at = scipy.optimize.brentq(lambda logit: float(of(logit)) - most, -REACH, REACH, xtol=1e-14)
            high = float(at)  # pyright: ignore[reportArgumentType]
    rules = []
    for nodes in (FINE, COARSE):
        edges = np.linspace(-REACH, high, 1 + int(np.ceil((REACH + high) / PANEL)))
        logits, weights = (
            np.concatenate(a) for a in zip(*(_gauss(a, b, nodes) for a, b in itertools.pairwise(edges)), strict=True)
        )
        share = scipy.special.expit(logits)
        times, weights = of(logits), weights * share * scipy.special.expit(-logits)
        if most is not None and high < REACH:
            times, weights = np.append(times, most), np.append(weights, scipy.special.expit(-high))
        rules.append((times, weights / weights.sum()))
    (times, weights), coarse = rules
    if not np.isfinite(times).all() or times.min() < 0:
        raise ValueError("quantiles: must be finite and at least 0")
    return DelayLaw(times, weights, edge=0.0 if most is None else -np.inf, coarse=coarse)


def mixed_delay(laws: Sequence[Any], weights: ArrayLike | None = None) -> DelayLaw:
    """Delays that are each of one law or another.

    Args:
        laws: as for `delay_law`.
        weights: at least 0, in proportion, (laws,); all equal by default.

    Raises:
        ValueError: if they do not fit together.
    """
    with of_part("laws"):
        made = [delay_law(law) for law in laws]
    share = sampled_delay(np.arange(len(made)), weights)  # checks them
    parts = [(made[int(i)], w) for i, w in zip(share.times, share.weights, strict=True)]
    join = lambda rules: (np.concatenate([t for t, _ in rules]), np.concatenate([w for _, w in rules]))
    times, mixed = join([(law.times, w * law.weights) for law, w in parts])
    coarse = join([(t, w * v) for (t, v), w in ((law.coarse or (law.times, law.weights), w) for law, w in parts)])
    gammas = tuple((w * v, mean, shape) for law, w in parts for v, mean, shape in law.gammas)
    rough = any(law.coarse is not None for law, _ in parts)
    return DelayLaw(times, mixed, gammas, max(law.edge for law, _ in parts), coarse if rough else None)


def workers_delay(compute: Any, means: ArrayLike) -> DelayLaw:
    """The delays of the gradients that unequal workers bring: of each in proportion to how often it arrives.

    Args:
        compute: the law of all compute times but for their means, as for `delay_law`.
        means: mean compute time of each worker, greater than 0, (workers,), in time.
    """
    check_sign("means", means, zero=False)
    with of_part("compute"):
        law = delay_law(compute)
    means = np.atleast_1d(np.asarray(means, float))
    equal, workers = np.unique(means, return_counts=True)
    return mixed_delay([law.scaled(mean / law.mean) for mean in equal], workers / equal)


def threshold_delay(quantiles: Callable[[NDArray], Any], workers: float, threshold: float) -> tuple[DelayLaw, float]:
    """The delays of gradients that are used if fewer than `threshold` updates were made since their read.

    In the limit of many workers updates come evenly, at a rate r, so that gradients of a delay below R / r are used,
    and r is the rate at which these come: r m = p F(R / r).

    Args:
        quantiles: of the law F of compute times, as for `quantile_delay`.
        workers: p, greater than 0.
        threshold: R, greater than 0; as in `Ringmaster`.

    Returns:
        The law, and the share F of gradients that are used.
    """
    p, most = one_number("workers", workers, zero=False), one_number("threshold", threshold, zero=False)
    mean = quantile_delay(quantiles).mean
    of = lambda share: float(np.asarray(quantiles(np.asarray(share))))
    updates = lambda logit: np.log(of(scipy.special.expit(logit)) * p / mean * scipy.special.expit(logit) / most)
    if updates(REACH) <= 0:
        return quantile_delay(quantiles), 1.0
    share = float(scipy.special.expit(scipy.optimize.brentq(updates, -REACH, REACH, xtol=1e-13)))
    return quantile_delay(lambda u: quantiles(share * u), longest=of(share)), share


def _gauss(low: float, high: float, nodes: int) -> tuple[NDArray, NDArray]:
    """Gauss's nodes and weights on an interval."""
    x, w = _legendre(nodes)
    return (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * w


_legendre = functools.cache(np.polynomial.legendre.leggauss)
