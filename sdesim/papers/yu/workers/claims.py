"""Rates and times that are taken from the runs, and what is said of them. Times are in units of m.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs, decay
from sdesim.papers.yu.workers.config import Config
from sdesim.theory import staleness

SETTLING = 1.0  # from when on gamma times leave two modes of the mean, near enough


# -- what is measured --------------------------------------------------------------------------------------------------


def mean_rate(config: Config, values: xr.DataArray) -> float:
    """The rate at which means over simulations decay, of one number of workers.

    Args:
        config: constants of the experiment.
        values: (time, what, sim), or of equal times (equal_time, what), whose first half is left out.
    """
    if "time" in values.dims:
        late = statistics.grid_mean(values.isel(time=values["time"].values > SETTLING))
    else:
        late = values.isel(equal_time=values["equal_time"].values > config.equal_time / 2)
    return decay(late.sel(what="server"), late.sel(what="workers"), config.every)


def square_rate(config: Config, values: xr.DataArray) -> float:
    """The rate at which second moments decay up to `square_time`, of one number of exponential workers.

    Of the combination of moments that theory says to decay as one exponential: the left eigenvector of the map.

    Args:
        config: constants of the experiment.
        values: (time, what, sim).
    """
    p, last = int(values["many"]), values.sel(time=slice(0, config.square_time)).isel(time=-1)
    c, x, square = (last.sel(what=name) for name in ("server", "workers", "square"))
    weights = np.array([1.0, 0.0, 0.0, 0.0])
    if p > 1:
        eigenvalues, vectors = np.linalg.eig(staleness.sgd_moments(p, config.a).T)
        weights = np.real(vectors[:, np.argmax(np.real(eigenvalues))])
    parts = zip(weights / weights.sum(), (c * c, c * x, x * x, square), strict=True)
    value = float(statistics.grid_mean(sum(weight * part for weight, part in parts)))  # pyright: ignore[reportArgumentType]
    return -np.log(value) / float(last["time"]) if value > 0 else np.nan


def race_time(config: Config, data: xr.Dataset, law: str, workers: int) -> float:
    """When the mean loss of so many workers has come below the level.

    Args:
        config: constants of the experiment.
        data: of the runs.
        law: of compute times, a name of `LAWS`.
        workers: p.
    """
    losses = data[f"{law}_loss"]
    loss = statistics.grid_mean(losses.sel({losses.dims[0]: workers}))
    return measured.settled(data["race"], loss, config.level)


# -- what is exact -----------------------------------------------------------------------------------------------------


def exact_regular(config: Config, workers: int, times: ArrayLike) -> tuple[NDArray, NDArray]:
    """E c and Var c of equal workers at moments, for noise of s^2 = 1 and a start at 1.

    Args:
        config: constants of the experiment.
        workers: p.
        times: in m, none of which is that of an arrival but 0, (times,).

    Returns:
        Both (times,).
    """
    arrivals = np.floor(workers * np.asarray(times, float)).astype(int)
    mean, variance = staleness.regular_path(workers, config.a, int(arrivals.max()))
    return mean[arrivals], variance[arrivals]


def exact_loss(config: Config, law: str, workers: int, times: ArrayLike) -> NDArray:
    """The mean loss with gradient noise as a share of that at the start, for exponential and equal times.

    Args:
        config: constants of the experiment.
        law: "exponential" or "equal".
        workers: p.
        times: in m, (times,).

    Returns:
        (times,).
    """
    if law == "exponential":
        return staleness.moment_path(workers, config.a, times, config.noise)[:, 0]
    mean, variance = exact_regular(config, workers, times)
    return mean**2 + config.noise * variance


def _over(values: xr.DataArray, axis: str, time: str, exact: Callable[[int, NDArray], NDArray]) -> xr.DataArray:
    """exact(p, times) over the numbers of workers and the times that measurements have."""
    workers, times = values[axis].values, values[time].values
    found = np.array([exact(int(p), times) for p in workers])
    return xr.DataArray(found, {axis: workers, time: times}, (axis, time))


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    return [*_memoryless(config), *_squares(config), *_regular(config), *_gamma(config), *_race(config)]


def _memoryless(config: Config) -> list[Statement]:
    a, best = config.a, config.best
    rate = lambda runs, p: mean_rate(config, runs.data["memoryless"].sel(many=p))
    saturation = staleness.saturation(a)
    return [
        # fails of gamma times, of fresh gradients and of another learning rate
        measured.equal(
            "memoryless-mean",
            "of exponential times the mean of the server, E c(t), is that of the linear law at every p and t",
            lambda d: d["memoryless"].sel(what="server"),
            lambda d: _over(d["memoryless"], "many", "time", lambda p, t: staleness.mean_path(p, a, t)[:, 0]),
        ),
        # fails of fresh gradients
        Statement(
            "memoryless-helped",
            f"a small staleness helps it: of {best} workers it decays faster than at p a, that of fresh gradients "
            "(ratio)",
            lambda runs: rate(runs, best) / (best * a),
            at_least(1.15, smoke=1.1),
        ),
        # fails of fresh gradients and of equal times
        Statement(
            "memoryless-saturates",
            f"beyond p* = (1 + a)^2 / 4 a = {saturation:.3g} more of them do not speed it up: {4 * best} are as fast "
            f"as {best} (rate, relative difference)",
            lambda runs: abs(rate(runs, 4 * best) / rate(runs, best) - 1),
            at_most(0.2, smoke=0.4),
        ),
    ]


def _squares(config: Config) -> list[Statement]:
    a, best = config.a, config.best
    limit = staleness.mean_square_limit(a)
    below, above = max(p for p in config.many if p < limit), min(p for p in config.many if p > limit)
    rate = lambda runs, p: square_rate(config, runs.data["memoryless"].sel(many=p))
    squares = functools.partial(staleness.moment_path, a=a)
    told = lambda d: d["memoryless"].sel(what="server", many=slice(None, int(0.75 * limit)))
    crowd = config.exponential[-1]
    return [
        # fails of gamma times, of fresh gradients and of another learning rate
        measured.equal(
            "memoryless-square",
            "their mean square, E c^2(t), is that of the linear law of second moments at every t and every p below 3/4 "
            "of the limit, beyond which a few simulations make up the mean",
            lambda d: told(d) ** 2,
            lambda d: _over(told(d), "many", "time", lambda p, t: squares(p, times=t)[:, 0]),
        ),
        # fails of fresh gradients
        Statement(
            "memoryless-square-best",
            f"in mean square more than {best} hurt: {crowd} are slower (rate of {best} over that of {crowd})",
            lambda runs: rate(runs, best) / rate(runs, crowd),
            at_least(1.2, smoke=1.0),
        ),
        # fails of fresh gradients, which decay ever faster
        Statement(
            "memoryless-square-limit",
            f"and beyond (2 + a) / a^2 = {limit:.3g} diverge: {below} decay, {above} grow (the lesser of the rates of "
            "decay and of growth)",
            lambda runs: statistics.least([rate(runs, below), -rate(runs, above)]),
            at_least(0.0, smoke=0.0),
        ),
    ]


def _regular(config: Config) -> list[Statement]:
    best, limit, p = config.best, config.limit, config.equal[-1]
    stable, grows = max(q for q in config.equal if q <= limit), min(q for q in config.equal if q > limit)
    rate = lambda runs, p: mean_rate(config, runs.data["regular"].sel(equal_workers=p))

    def distance(runs: Runs) -> tuple[float, float]:
        """From the recursion, as a share of the greatest that c is at any time."""
        found = runs.data["regular"].sel(what="server")
        exact = _over(found, "equal_workers", "equal_time", lambda p, t: exact_regular(config, p, t)[0])
        return statistics.greatest(abs(found - exact) / abs(exact).max("equal_time")), 0.0

    def helped(runs: Runs) -> tuple[float, float]:
        """The rate with delay over that without, of as many workers of that learning rate."""
        found = mean_rate(config, runs.data["fluid"])
        return abs(found / (-p * np.log1p(-config.best_eta * config.curvature)) / np.e - 1), 0.0

    return [
        # fails of exponential times and of another learning rate
        Statement(
            "regular-path",
            "equal workers that arrive in turn do c <- c - a c_(p - 1 arrivals ago) at every p and t (largest "
            "distance)",
            distance,
            at_most(1e-4, smoke=1e-4),
        ),
        # fails of fresh gradients and of exponential times
        Statement(
            "regular-best",
            f"they have a best number, where a = (p - 1)^(p - 1) / p^p: {best} are faster than half and three times as "
            "many (rate, over the greater of theirs)",
            lambda runs: (rate(runs, best) / statistics.greatest([rate(runs, best // 2), rate(runs, 3 * best)]), 0.0),
            at_least(1.3, smoke=1.3),
        ),
        # fails of fresh gradients, which decay the faster the more there are
        Statement(
            "regular-limit",
            f"and diverge where a > 2 sin(pi / 2(2p - 1)): {stable} decay, {grows} grow (the lesser of the rates of "
            "decay and of growth)",
            lambda runs: (statistics.least([rate(runs, stable), -rate(runs, grows)]), 0.0),
            at_least(0.0, smoke=0.0),
        ),
        # fails of fresh gradients, which it helps by nothing
        Statement(
            "small-staleness-helps",
            f"a small staleness helps: of {p} equal workers at their best learning rate the mean decays e times as "
            "fast as of fresh gradients (relative distance from e)",
            helped,
            at_most(0.03, smoke=0.05),
        ),
    ]


def _gamma(config: Config) -> list[Statement]:
    limit = staleness.gamma_delay_limit(config.shape) / config.a
    below = max(p for p in config.gamma if p < limit)
    above = min(p for p in config.gamma if p > limit)
    rate = lambda runs, p: mean_rate(config, runs.data["gamma"].sel(gamma_workers=p))

    def off(runs: Runs) -> float:
        """The greatest distance of a rate from that of the delay equation s + (p a / m) E exp(-s times) = 0."""
        fluid = [-staleness.delay_root(p * config.a, 1.0, config.shape).real for p in config.gamma]
        return statistics.greatest([abs(rate(runs, p) - root) for p, root in zip(config.gamma, fluid, strict=True)])

    return [
        # both fail of exponential times, of which no number diverges in the mean
        Statement(
            "gamma-fluid",
            f"with gamma times of shape {config.shape:g} the mean decays as in the limit of many workers and small a, "
            "a delay equation, but for terms of order a (greatest distance of a rate, over a)",
            lambda runs: off(runs) / config.a,
            at_most(2.0, smoke=2.0),
        ),
        Statement(
            "gamma-limit",
            f"so that they have a limit too, of some {limit:.0f} workers: the mean of {below} decays, of {above} grows "
            "(the lesser of the rates of decay and of growth)",
            lambda runs: statistics.least([rate(runs, below), -rate(runs, above)]),
            at_least(0.0, smoke=0.0),
        ),
    ]


def _race(config: Config) -> list[Statement]:
    best = config.best
    time = lambda runs, law, p: race_time(config, runs.data, law, p)
    stable = config.limit

    def asked(d: xr.Dataset, law: str) -> xr.DataArray:
        """Losses where they do not grow beyond what a mean over simulations can say."""
        return d["exponential_loss"] if law == "exponential" else d["equal_loss"].sel(equal_workers=slice(None, stable))

    def exact(d: xr.Dataset, law: str) -> xr.DataArray:
        losses = asked(d, law)
        return _over(losses, str(losses.dims[0]), "race", functools.partial(exact_loss, config, law))

    return [
        # both fail of half the noise; the first of gamma times, the second of exponential ones
        measured.equal(
            "race-memoryless",
            "with gradient noise the mean loss of exponential workers is that of theory, down to the noise floor",
            lambda d: asked(d, "exponential"),
            lambda d: exact(d, "exponential"),
        ),
        measured.equal(
            "race-regular",
            "and so is that of equal ones, up to the last number that is stable",
            lambda d: asked(d, "equal"),
            lambda d: exact(d, "equal"),
        ),
        # fails of fresh gradients
        Statement(
            "race-saturates",
            f"{4 * best} exponential workers take no less time to the level than {best} do (ratio)",
            lambda runs: time(runs, "exponential", 4 * best) / time(runs, "exponential", best),
            at_least(0.9, smoke=0.8),
        ),
        # fails of fresh gradients
        Statement(
            "race-best",
            f"equal ones have a best number: half and three times {best} take longer (the lesser of their times "
            "over that)",
            lambda runs: (
                statistics.least([time(runs, "equal", p) for p in (best // 2, 3 * best)]) / time(runs, "equal", best)
            ),
            at_least(1.3, smoke=1.2),
        ),
    ]
