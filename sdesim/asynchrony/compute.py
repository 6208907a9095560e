"""How long a job takes: laws of compute times, in seconds of virtual time.

A job is one stochastic gradient of one worker. Its time is a function of (seed, simulation, worker, job) alone: the
quantile of the law at the one random word that belongs to these, so that algorithms race on identical clocks and a
worker's times are the same however many others there are. Quantiles are made on the host in float64: a timetable is a
sum of thousands of times, and who comes first must not hang on a rounding.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim import quantiles, random
from sdesim.fields import Part, check_per, check_sign, named, number, shown, whole_number
from sdesim.random import Seed, Stream
from sdesim.tracing import widest_vectors

_REACH = 23.0  # beyond the logits of the least and the largest word, (n + 1/2) / 2^32


def check_share(name: str, value: Any) -> None:
    """Refuse what is no share.

    Args:
        name: of the argument.
        value: anything.

    Raises:
        TypeError: for what is no number, naming the argument.
        ValueError: for what is not one from 0 to 1, likewise.
    """
    share = np.asarray(named(name, number)(value))
    if share.ndim or not 0 <= float(share) <= 1:
        raise ValueError(f"{name}={shown(value)}: must be one number from 0 to 1")


class AbstractCompute(Part):
    """A law of compute times.

    Subclasses give `distribution`, the law of mean 1; all times are multiplied by `mean`.

    Attributes:
        mean: mean time of a job > 0, in seconds: a number, or one a worker, (workers,).
    """

    mean: Array = eqx.field(converter=number, default=1.0, kw_only=True)

    def __check_init__(self):
        check_sign("mean", self.mean, zero=False)

    def distribution(self) -> Any:
        """The law of mean 1, as a frozen distribution of scipy.stats with `ppf` and `isf`."""
        raise NotImplementedError

    @property
    def average(self) -> NDArray:
        """The mean time of a job, of all workers or of each, in seconds."""
        return np.asarray(self.mean, float)

    def check_run(self, workers: int) -> None:
        """Refuse a number of workers that does not fit.

        Args:
            workers: their number.

        Raises:
            ValueError: naming the number and what would be right.
        """
        check_per("mean", self.mean, workers, "workers")

    def quantiles(self, words: NDArray) -> NDArray:
        """The times of mean 1 that belong to random words.

        Args:
            words: uint32, of any shape.

        Returns:
            float64, of that shape.
        """
        return _Table.of(self.distribution()).quantiles(words)

    def times(self, seed: Any, stream: int, sims: NDArray, first: NDArray, count: int) -> NDArray:
        """The times of jobs, in an array of their own, into which who asks may write.

        Args:
            seed: as for `simulate`.
            stream: whose words they have.
            sims: numbers of the simulations, (sims,).
            first: number of each worker's first job, (sims, workers).
            count: of jobs.

        Returns:
            Seconds, float64 (sims, workers, count).

        Raises:
            ValueError: if the law makes times that are negative or not finite.
        """
        mean = np.broadcast_to(np.asarray(self.mean, float), first.shape[1])[:, None]
        times = self.quantiles(words_of_jobs(seed, stream, sims, first, count)) * mean
        if not (times.min(initial=0) >= 0 and times.max(initial=0) < np.inf):
            bad = times[~((times >= 0) & (times < np.inf))][0]
            raise ValueError(
                f"{type(self).__name__}: the times of a law must be finite and at least 0, and one is {bad:g}"
            )
        return times

    def residuals(self, words: NDArray) -> NDArray:
        """What is left, at mean 1, of the job under way of a worker that has worked for long.

        Its density at x is the share of times beyond x: the law of the time from any moment to the next arrival of a
        stationary renewal process.

        Args:
            words: uint32, of any shape.

        Returns:
            float64, of that shape.
        """
        return _Table.of(self.distribution()).residual().quantiles(words)


class Deterministic(AbstractCompute):
    """All jobs take the mean."""

    def quantiles(self, words: NDArray) -> NDArray:
        return np.ones(words.shape)

    def residuals(self, words: NDArray) -> NDArray:
        return (words + 0.5) * 2.0**-32


class Exponential(AbstractCompute):
    """Times without memory."""

    def quantiles(self, words: NDArray) -> NDArray:
        times = words + 0.5
        times *= -(2.0**-32)
        return np.negative(np.log1p(times, out=times), out=times)

    def residuals(self, words: NDArray) -> NDArray:
        return self.quantiles(words)

    def distribution(self) -> Any:
        from scipy import stats  # half a second to import, as in the other laws

        return stats.expon()


class Gamma(AbstractCompute):
    """Gamma times: of standard deviation mean / sqrt(shape); the exponential at shape 1, regular as it grows.

    Attributes:
        shape: > 0.
    """

    shape: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("shape", self.shape, zero=False)

    def distribution(self) -> Any:
        from scipy import stats

        shape = float(self.shape)
        return stats.gamma(shape, scale=1 / shape)


class Pareto(AbstractCompute):
    """Times with a heavy tail, P(time > t) ~ t^-index: stragglers.

    Attributes:
        index: > 1, or there is no mean; at 2 or less there is no variance.
    """

    index: Array = eqx.field(converter=number)

    def __check_init__(self):
        if not np.all(np.asarray(self.index) > 1):
            raise ValueError(f"index={shown(self.index)}: must be greater than 1, or the times have no mean")

    def distribution(self) -> Any:
        from scipy import stats

        index = float(self.index)
        return stats.pareto(index, scale=(index - 1) / index)


class LogNormal(AbstractCompute):
    """Times whose logarithm is normal.

    Attributes:
        sigma: standard deviation of the logarithm > 0.
    """

    sigma: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("sigma", self.sigma, zero=False)

    def distribution(self) -> Any:
        from scipy import stats

        sigma = float(self.sigma)
        return stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2))


class Measured(AbstractCompute):
    """Times drawn from those of a measurement, each as often as any other.

    Attributes:
        sample: measured times > 0, (times,), in any unit: they are divided by their mean, which is `mean`'s to say.
    """

    sample: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("sample", self.sample, zero=False)
        if self.sample.ndim != 1:
            raise ValueError(f"sample: must be of shape (times,), got shape {self.sample.shape}")

    @property
    def _times(self) -> NDArray:
        times = np.sort(np.asarray(self.sample, float))
        return times / times.mean()

    def quantiles(self, words: NDArray) -> NDArray:
        times = self._times
        return times[(words.astype(np.uint64) * times.size >> np.uint64(32)).astype(np.intp)]

    def residuals(self, words: NDArray) -> NDArray:
        # The share of times beyond x falls by steps, so its integral is linear between the times.
        times = np.concatenate([[0.0], self._times])
        beyond = 1 - np.arange(times.size - 1) / (times.size - 1)
        return np.interp((words + 0.5) * 2.0**-32, np.concatenate([[0.0], np.cumsum(beyond * np.diff(times))]), times)


class Slowed(AbstractCompute):
    """Slowdowns that come and go: stretches of a worker's jobs take longer by a factor.

    Whether a stretch is slow is drawn for each stretch of each worker alone. `mean` is the law's; leave it out.

    Attributes:
        law: of the times of jobs that are not slowed.
        factor: by which slow jobs take longer, at least 1.
        share: of the stretches that are slow, from 0 to 1.
        length: jobs of a stretch, at least 1.
    """

    law: AbstractCompute
    factor: Array = eqx.field(converter=number)
    share: Array = eqx.field(converter=number)
    length: Array = eqx.field(converter=whole_number, default=50)

    def __check_init__(self):
        if not isinstance(self.law, AbstractCompute):
            raise TypeError(f"law={shown(self.law)}: must be a law of sdesim.asynchrony")
        if not np.all(np.asarray(self.mean) == 1):
            raise ValueError(f"mean={shown(self.mean)}: must be left out: it is the law's")
        if np.ndim(self.factor) or not float(self.factor) >= 1:
            raise ValueError(f"factor={shown(self.factor)}: must be one number, at least 1")
        check_share("share", self.share)
        check_sign("length", self.length, zero=False)

    def check_run(self, workers: int):
        self.law.check_run(workers)

    @property
    def average(self) -> NDArray:
        return self.law.average * (1 + float(self.share) * (float(self.factor) - 1))

    def times(self, seed: Any, stream: int, sims: NDArray, first: NDArray, count: int) -> NDArray:
        length = int(self.length)
        stretch = (first[..., None] + np.arange(count)) // length
        begin = first // length
        words = words_of_jobs(seed, Stream.SLOWDOWN, sims, begin, count // length + 2)
        slow = np.take_along_axis(words, stretch - begin[..., None], 2) < float(self.share) * 2.0**32
        times = self.law.times(seed, stream, sims, first, count)
        return np.where(slow, float(self.factor) * times, times)

    def residuals(self, words: NDArray) -> NDArray:
        return self.law.residuals(words)


class _Table:
    """A law of positive times as its quantiles, see `sdesim.quantiles`."""

    def __init__(self, logits: NDArray, times: NDArray, even: bool = False):
        self.logits, self.times = logits, times
        self.logs = np.log(np.maximum(times, np.finfo(float).tiny))
        self.slopes = np.diff(self.logs)
        self.even = even  # then a node is found without a search

    @staticmethod
    def of(distribution: Any) -> "_Table":
        """The table of a frozen distribution of scipy.stats, made once: it takes as long as a million quantiles."""
        key = (distribution.dist.name, distribution.args, tuple(sorted(distribution.kwds.items())))
        if key not in _TABLES:
            _TABLES[key] = _Table._made(distribution)
        return _TABLES[key]

    @classmethod
    def _made(cls, distribution: Any) -> "_Table":
        logits = quantiles.logits(_REACH)
        share = 1 / (1 + np.exp(np.abs(logits)))  # of the nearer tail, exact where one minus it is 1
        return cls(logits, np.where(logits < 0, distribution.ppf(share), distribution.isf(share)), even=True)

    def quantiles(self, words: NDArray) -> NDArray:
        share = words + 0.5
        share *= 2.0**-32
        share /= 1 - share
        logits = np.log(share, out=share)
        if not self.even:
            return np.exp(np.interp(logits, self.logits, self.logs))
        return quantiles.looked_up(logits, _REACH, np, lambda node: (self.logs.take(node), self.slopes.take(node)))

    def residual(self) -> "_Table":
        """The table of the law whose density is the share of times beyond."""
        beyond = 1 / (1 + np.exp(self.logits))
        steps = np.diff(self.times) * (beyond[1:] + beyond[:-1]) / 2
        # All times are beyond what is less than the least of them.
        start = self.times[0] * np.geomspace(2.0**-40, 1, quantiles.NODES)[:-1]
        times = np.concatenate([start, self.times])
        share = np.concatenate([start, self.times[0] + np.concatenate([[0.0], np.cumsum(steps)])])
        share = np.clip(share / share[-1], 2.0**-50, 1 - 2.0**-50)
        logits = np.log(share) - np.log1p(-share)
        kept = np.concatenate([[True], np.diff(logits) > 0])
        return _Table(logits[kept], times[kept])


_TABLES: dict[Any, _Table] = {}


def words_of_jobs(seed: Any, stream: int, sims: NDArray, first: NDArray, count: int) -> NDArray:
    """One random word a job: that of the worker's gradient noise at the step of this number, of another stream.

    Args:
        seed: as for `simulate`.
        stream: what the words are for.
        sims: numbers of the simulations, (sims,).
        first: number of each worker's first job, (sims, workers).
        count: of jobs.

    Returns:
        uint32 (sims, workers, count).
    """
    numbers = (np.asarray(a, np.uint32) for a in (sims, first))
    return np.asarray(_words()(random.seed_words(seed), np.int32(stream), *numbers, count))


@functools.cache
def _words() -> Callable[..., Array]:
    return jax.jit(_words_of_jobs, static_argnums=4, compiler_options=widest_vectors() or None)


def _words_of_jobs(seed: Seed, stream: Array, sims: Array, first: Array, count: int) -> Array:
    shape = (*first.shape, count)
    number = lambda axis: jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    spread = lambda a, *axes: jax.lax.broadcast_in_dim(a, shape, axes)
    key = random.step_key(seed, stream, spread(first, 0, 1) + number(2))
    worker = number(1)
    pair = (worker >> np.uint32(1)) << np.uint32(random.COORDINATE_BITS)
    both = key.pair(pair, spread(sims, 0))
    return jnp.where(worker & np.uint32(1) == 1, both[1], both[0])


def job_times(law: AbstractCompute, seed: Any, sims: NDArray, first: NDArray, count: int) -> NDArray:
    """How long jobs take.

    Args:
        law: of the times.
        seed: as for `simulate`.
        sims: numbers of the simulations, (sims,).
        first: number of each worker's first job, (sims, workers).
        count: of jobs.

    Returns:
        Seconds, float64 (sims, workers, count).
    """
    return law.times(seed, Stream.COMPUTE, sims, first, count)
