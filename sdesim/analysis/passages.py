"""When agents, or their quorum, first get somewhere; those that have not yet are censored, not dropped."""

import dataclasses
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from sdesim.analysis.arguments import step_length
from sdesim.analysis.regions import Region, as_region, inside
from sdesim.dynamics import Dynamics
from sdesim.fields import check_choice, check_count
from sdesim.observe import AbstractAccumulator, View
from sdesim.run import simulate
from sdesim.statistics import Estimate, bootstrap, share_of

RECORDS = 64  # steps between records, of which there are none here: one number for all, since each compiles anew


class Arrivals(AbstractAccumulator):
    """The first step after which the quorum, or each agent, is in a region: 0 where it starts there, -1 for never.

    Attributes:
        region: where to arrive.
        of: "quorum", or "agents", each by itself.
    """

    region: Region
    of: Literal["quorum", "agents"] = eqx.field(static=True, default="quorum")

    name = "arrivals"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"step": ("agent",)}

    def _points(self, view: View):
        return view.state.x if self.of == "agents" else view.quorum[None]

    def init(self, view: View):
        return jnp.where(inside(self.region, self._points(view)), 0, -1).astype(jnp.int32)

    def update(self, total: Any, view: View):
        arrives = (total < 0) & inside(self.region, self._points(view))
        return jnp.where(arrives, view.step.astype(jnp.int32), total)

    def finish(self, total: Any):
        return {"step": total}


@dataclasses.dataclass(frozen=True, eq=False)
class Passages:
    """First passage times and what is known of their law; every error is over independent simulations.

    Attributes:
        times: (sims, points), of each agent, or of the quorum alone; of those that did not arrive the time at which
            they were last seen: the horizon, or when they diverged.
        arrived: (sims, points), which did.
        horizon: the length of the runs, in time.
        share: that has arrived by the horizon (the Kaplan-Meier estimate).
        mean: of min(passage time, horizon), the restricted mean; the mean itself where all arrived, else a lower bound.
        median: NaN where fewer than half arrived.
        rate: arrivals per time at risk. Where escape is memoryless 1/rate is the mean, however many are censored.
    """

    times: np.ndarray
    arrived: np.ndarray
    horizon: float
    share: Estimate
    mean: Estimate
    median: Estimate
    rate: Estimate


def survival(times: ArrayLike, arrived: ArrayLike, weights: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The Kaplan-Meier estimate of the share that has not arrived yet.

    Args:
        times: when each arrived or was last seen, of any shape.
        arrived: which of the two, of the same shape.
        weights: how often each counts, of the same shape; once by default.

    Returns:
        The distinct times, ascending, and the share that is still under way just after each.

    Raises:
        ValueError: if shapes differ, times are negative or not finite.
    """
    times, arrived = np.asarray(times, float), np.asarray(arrived, bool)
    weights = np.ones(times.shape) if weights is None else np.asarray(weights, float)
    if not times.shape == arrived.shape == weights.shape:
        raise ValueError(f"times, arrived, weights: shapes {times.shape}, {arrived.shape}, {weights.shape} differ")
    if not times.size or not np.isfinite(times).all() or times.min() < 0:
        raise ValueError("times: must be some numbers that are finite and at least 0")
    distinct, place = np.unique(times.ravel(), return_inverse=True)
    return distinct, _survival(place, arrived.ravel(), weights.ravel(), distinct.size)


def _survival(place: np.ndarray, arrived: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """The share still under way after each of `count` times, of which `place` says whose is which."""
    leaves = np.bincount(place, weights, count)
    events = np.bincount(place, weights * arrived, count)
    risk = np.cumsum(leaves[::-1])[::-1]  # those that leave at a time are at risk until then
    return np.cumprod(1 - np.divide(events, risk, out=np.zeros(count), where=risk > 0))


def first_passage(
    model: Dynamics,
    target: Any,
    *,
    steps: int,
    sims: int = 200,
    of: Literal["quorum", "agents"] = "quorum",
    dt: float | None = None,
    **run: Any,
) -> Passages:
    """When the quorum, or each agent, is first in a region.

    Args:
        model: the dynamics.
        target: the region: a pair (low, high), `Box`, `Ball`, or a function of a point (dims,) to a truth value.
        steps: number of steps. Every one is looked at, which makes the run slower.
        sims: independent simulations.
        of: "quorum", one time a simulation, or "agents", one each agent; agents of one simulation are not independent,
            and errors do not take them for that.
        dt: length of a step, in time; the model's matched step by default.
        **run: as for `simulate`.

    Returns:
        `Passages`, with times in units of the SDE (steps times dt), 0 for what starts in the region. Seen at the steps
        alone, passage is late: a chain of step dt crosses a boundary as its SDE crosses one 0.583 s sqrt(dt) farther,
        s the noise's standard deviation in unit time (Siegmund 1979), so means converge like sqrt(dt). Simulations
        that diverged count as not seen from then on.

    Raises:
        TypeError: for what is no region; and as `simulate`.
        ValueError: for an eta that depends on the step without dt; and as `simulate`.
    """
    check_choice("of", of, ("quorum", "agents"))
    check_count("steps", steps)
    length = step_length(model, dt)
    watch = Arrivals(as_region("target", target), of)
    result = simulate(model, steps=steps, sims=sims, dt=dt, observe=watch, every=RECORDS, **run)
    step = np.asarray(result.observed["arrivals_step"])
    arrived = step >= 0
    last = np.where(result.diverged >= 0, np.maximum(result.diverged - 1, 0), steps)
    times = np.where(arrived, step, last[:, None]) * length
    return _passages(times, arrived, steps * length)


def _passages(times: np.ndarray, arrived: np.ndarray, horizon: float) -> Passages:
    """Estimates from times (sims, points); their errors by resampling whole simulations."""
    distinct, place = np.unique(times.ravel(), return_inverse=True)
    flat, points = arrived.ravel(), times.shape[1]
    widths = np.diff(np.concatenate([[0.0], distinct, [max(horizon, distinct[-1])]]))

    def statistics(counts: np.ndarray) -> np.ndarray:
        weights = np.repeat(counts, points)
        alive = _survival(place, flat, weights, distinct.size)
        mean = widths @ np.concatenate([[1.0], alive])
        half = alive <= 0.5
        median = distinct[np.argmax(half)] if half.any() else horizon
        exposure = weights @ times.ravel()
        rate = weights @ flat / exposure if exposure > 0 else np.inf
        return np.array([1 - alive[-1], mean, median, rate])

    value = statistics(np.ones(len(times)))
    error = bootstrap(statistics, len(times)) if np.isfinite(value).all() else np.full(4, np.nan)
    share, mean, median, rate = (Estimate(float(v), float(e)) for v, e in zip(value, error, strict=True))
    if share.value in (0.0, 1.0):  # all or none: not infinitely sure
        share = Estimate(share.value, float(share_of(arrived.all(axis=1)).stderr))
    if share.value < 0.5:
        median = Estimate(float("nan"), float("nan"))
    return Passages(times, arrived, float(horizon), share, mean, median, rate)
