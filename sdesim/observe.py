"""What to watch while a simulation runs, in memory that does not grow with the number of steps.

An observable looks at one simulation at a time. There are two kinds:

- a *series* is recorded every so many steps (`simulate(..., every=)`), from the initial state on;
- an *accumulator* keeps a running summary, updated at the same times, or at every step where it must
  (`every_step`, which makes the run slower).

Results carry the simulation axis, so that Monte Carlo errors come from independent simulations.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim._moved import refuse
from sdesim.coupling import Mean
from sdesim.dynamics import Counts, Dynamics, State
from sdesim.fields import (
    Part,
    check_choice,
    check_count,
    check_less,
    check_sign,
    concrete,
    is_traced,
    number,
    shown,
    whole_number,
)
from sdesim.sums import Sum


class View(NamedTuple):
    """One simulation at one step, as an observable sees it.

    Attributes:
        state: of the agents and of what they share; `state.x` is (agents, dims).
        step: its number, from 0; an int32 scalar.
        model: the dynamics.
        mean: the mean over agents, as the coupling is given it.
        center: what the agents are drawn to, (dims,).
        counts: what workers in virtual time have done so far; None of agents that step together.
    """

    state: State
    step: Array
    model: Dynamics
    mean: Mean
    center: Array
    counts: Counts | None = None

    @property
    def quorum(self) -> Array:
        """Mean of the agents, (dims,)."""
        return self.mean(self.state.x)


class AbstractObservable(Part):
    """What looks at a simulation while it runs.

    Attributes:
        name: labels the result; of the class.
    """

    name: ClassVar[str]

    def check_run(self, agents: int, dims: int) -> None:
        """Raise ValueError where a run of this size cannot be observed so.

        Args:
            agents: of one simulation.
            dims: of one agent.
        """

    def check_records(self, first: int, every: int, steps: int) -> None:
        """Raise ValueError where the records of a run would say nothing; by default any are taken.

        Args:
            first: the step at which the run starts.
            every: steps between two records.
            steps: of the run, at least 1.
        """

    def check_seconds(self) -> None:
        """Raise ValueError where it counts steps, which say nothing in a run by seconds; by default none does."""

    def numbers(self, agents: int, dims: int) -> int:
        """How many numbers it keeps of one simulation: at each record, or in all.

        Args:
            agents: of one simulation.
            dims: of one agent.

        Returns:
            At each record of a series, in all of an accumulator.
        """
        raise NotImplementedError

    def labels(self) -> dict[str, tuple[str, str]]:
        """Units and meaning of what it is recorded as, by the names in results; what is left out is not stated."""
        raise NotImplementedError

    def coordinates(self) -> dict[str, np.ndarray]:
        """Values along axes of its own, by their names, such as where bins are; of axes left out there are none."""
        return {}


class AbstractSeries(AbstractObservable):
    """A value that is recorded every so many steps, from the initial state on.

    Attributes:
        axes: names of the axes of one simulation's value: "dim", "agent" or one's own; of the class.
        label: units and meaning of the value, None where they are not stated; of the class.
    """

    axes: ClassVar[tuple[str, ...]] = ()
    label: ClassVar[tuple[str, str] | None] = None

    def value(self, view: View) -> Array:
        """What is recorded of one simulation at one step.

        Args:
            view: the simulation.

        Returns:
            An array with the axes that `axes` names.
        """
        raise NotImplementedError

    def numbers(self, agents: int, dims: int):
        sizes = {"agent": agents, "dim": dims}
        return math.prod(sizes.get(axis, 1) for axis in self.axes)

    def labels(self):
        return {} if self.label is None else {self.name: self.label}


class Quorum(AbstractSeries):
    """Mean of the agents, (dims,)."""

    name = "quorum"
    axes = ("dim",)
    label = ("length", "mean of the agents")

    def value(self, view: View):
        return view.quorum


class Center(AbstractSeries):
    """The signal that the coupling pulls agents towards, (dims,): the center variable of EASGD, the root of a tree."""

    name = "center"
    axes = ("dim",)
    label = ("length", "signal that the coupling pulls towards")

    def value(self, view: View):
        return view.center


class Spread(AbstractSeries):
    """sum_i |x^i - mean|^2, the square distance from synchronization that BS 22 bounds."""

    name = "spread"
    label = ("length^2", "sum over agents of the squared distance from their mean")

    def value(self, view: View):
        return jnp.sum((view.state.x - view.quorum[None]) ** 2)


class QuorumLoss(AbstractSeries):
    """Loss of the mean of the agents.

    Of workers in virtual time these are the values that they read, which may be old: the loss of their server is
    `CenterLoss`.
    """

    name = "quorum_loss"
    label = ("length^2 / time", "loss at the mean of the agents")

    def value(self, view: View):
        return view.model.objective.loss(view.quorum)


class CenterLoss(AbstractSeries):
    """Loss of the signal that the coupling pulls agents towards: the center variable of EASGD, or a server's value."""

    name = "center_loss"
    label = ("length^2 / time", "loss at the signal that the coupling pulls towards")

    def value(self, view: View):
        return view.model.objective.loss(view.center)


class MeanLoss(AbstractSeries):
    """Mean of the agents' losses."""

    name = "mean_loss"
    label = ("length^2 / time", "mean over agents of the loss")

    def value(self, view: View):
        return jnp.mean(view.model.losses(view.state.x))


class Snapshot(AbstractSeries):
    """The agents themselves, (agents, dims), or the first of them: thinned trajectories.

    Attributes:
        agents: how many of the first are kept; None for all.
    """

    agents: int | None = eqx.field(static=True, default=None)

    name = "snapshot"
    axes = ("agent", "dim")
    label = ("length", "position of each agent at one step")

    def __check_init__(self):
        if self.agents is not None:
            check_count("agents", self.agents)

    def check_run(self, agents: int, dims: int):
        if self.agents is not None and self.agents > agents:
            raise ValueError(f"observe: Snapshot of agents={self.agents}: must be at most the {agents} that there are")

    def value(self, view: View):
        return view.state.x[: self.agents]

    def numbers(self, agents: int, dims: int):
        return (agents if self.agents is None else min(agents, self.agents)) * dims


class Velocity(AbstractSeries):
    """The velocities of the agents, (agents, dims), or of the first of them, in units of the SDE.

    Attributes:
        agents: how many of the first are kept; None for all.
    """

    agents: int | None = eqx.field(static=True, default=None)

    name = "velocity"
    axes = ("agent", "dim")
    label = ("length / time", "velocity of each agent at one step")

    def __check_init__(self):
        if self.agents is not None:
            check_count("agents", self.agents)

    def check_run(self, agents: int, dims: int):
        if self.agents is not None and self.agents > agents:
            raise ValueError(f"observe: Velocity of agents={self.agents}: must be at most the {agents} that there are")

    def value(self, view: View):
        if view.state.v is None:
            raise ValueError("observe: Velocity: the model must have momentum, and has none")
        # As of the last step, at which the displacement was made.
        return physical_velocity(view.model, view.state.v[: self.agents], jnp.maximum(view.step - 1, 0))

    def numbers(self, agents: int, dims: int):
        return (agents if self.agents is None else min(agents, self.agents)) * dims


def physical_velocity(model: Dynamics, v: Array, last_step: Array) -> Array:
    """Velocities in units of the SDE of those that a stepper keeps, in units of the step's clock.

    Args:
        model: the dynamics.
        v: as a state has them.
        last_step: the step that made them, an int32 scalar.

    Returns:
        Of the shape of `v`; NaN where a step takes no time.
    """
    clock = model.at_step(last_step).clock
    still = clock == 0
    return jnp.where(still, jnp.nan, v / jnp.where(still, jnp.ones_like(clock), clock))


class Density(AbstractSeries):
    """How many agents' coordinates are in each of `bins` equal bins of (low, high), at each record: their density.

    All coordinates are pooled. In place of the agents themselves (`Snapshot`), so many numbers are kept of a record as
    there are bins, however many agents there are. Recorded: (bins + 2,) counts, below low, in the bins, and at or above
    high (and not a number). The results' coordinate says where each bin begins.

    Attributes:
        low: lower end of the first bin, in length.
        high: upper end of the last bin, greater than low, in length.
        bins: number of bins, at least 1.
    """

    low: Array = eqx.field(converter=number)
    high: Array = eqx.field(converter=number)
    bins: int = eqx.field(static=True, default=120)

    name = "density"
    axes = ("bin",)
    label = ("1", "agents in each bin, below the first and above the last")

    def __check_init__(self):
        _check_bins(self)

    def value(self, view: View):
        return _counted(self, view.state.x, jnp.int32(1))

    def numbers(self, agents: int, dims: int):
        return self.bins + 2

    def coordinates(self):
        return _bins_begin(self)


def _check_bins(histogram: Any) -> None:
    """That bins are some, of an interval."""
    check_count("bins", histogram.bins)
    check_less("low", histogram.low, "high", histogram.high)


def _counted(histogram: Any, x: Array, weight: Array) -> Array:
    """How many of some numbers are below, in each bin, and above or no numbers, (bins + 2,), each `weight` times."""
    x, last = x.ravel(), histogram.bins + 1
    place = jnp.floor((x - histogram.low) / (histogram.high - histogram.low) * histogram.bins) + 1
    place = jnp.where(jnp.isnan(place), last, jnp.clip(place, 0, last)).astype(jnp.int32)
    return jnp.zeros(last + 1, jnp.int32).at[place].add(weight)


def _bins_begin(histogram: Any) -> dict[str, np.ndarray]:
    """Where each bin begins, the first, of what is below, at -infinity; nothing of what is traced."""
    if is_traced((histogram.low, histogram.high)) or np.ndim(histogram.low) or np.ndim(histogram.high):
        return {}
    edges = np.linspace(float(histogram.low), float(histogram.high), histogram.bins + 1)
    return {"bin": np.concatenate([[-np.inf], edges])}


class AbstractAccumulator(AbstractObservable):
    """Init, update and finish a running summary of one simulation.

    What is summed over records belongs in a `sdesim.sums.Sum`, which may be an output too: a plain float32 stands still
    after 2**24 of them.

    Attributes:
        every_step: whether it looks at every step, in place of every record, which makes the run slower; of the class.
        axes: names of each output's axes, "dim", "agent" or one's own, by the output's name; of the class.
        label: units and meaning of each output whose are stated, by the output's name; of the class.
    """

    every_step: ClassVar[bool] = False
    axes: ClassVar[dict[str, tuple[str, ...]]] = {}
    label: ClassVar[dict[str, tuple[str, str]]] = {}

    def init(self, view: View) -> Any:
        """The summary before the first look.

        Args:
            view: the simulation at its initial state.

        Returns:
            A pytree of arrays, whose shapes and types `update` keeps.
        """
        raise NotImplementedError

    def update(self, total: Any, view: View) -> Any:
        """The summary after one more look.

        Args:
            total: the summary so far.
            view: the simulation now.

        Returns:
            The new summary.
        """
        raise NotImplementedError

    def finish(self, total: Any) -> dict[str, Array]:
        """What the summary says.

        Args:
            total: the summary at the end.

        Returns:
            The outputs by name, each with the axes that `axes` names.
        """
        raise NotImplementedError

    def starts_after(self) -> Array | int | None:
        """The last step whose record does not count, as its field `after` says; None where all count."""
        return None

    def check_records(self, first: int, every: int, steps: int):
        if self.every_step:
            return
        if steps < every:
            raise ValueError(f"every={every}: {self.name} sums up records, and there is none in {steps} steps")
        after, last = concrete(self.starts_after(), np.max), first + steps // every * every
        if after is not None and after >= last:
            raise ValueError(f"after={after:.0f}: must be less than {last}, the last step at which {self.name} looks")

    def check_seconds(self):
        if after := concrete(self.starts_after(), np.max):
            raise ValueError(f"after={after:.0f}: must be left out in a run by seconds, which counts no steps")

    def numbers(self, agents: int, dims: int):
        return agents * dims

    def labels(self):
        return {f"{self.name}_{output}": label for output, label in self.label.items()}


def labels_of(observables: Iterable[AbstractObservable]) -> dict[str, tuple[str, str]]:
    """What observables say of what they are recorded as.

    Args:
        observables: of a run.

    Returns:
        Units and meaning, by the names in results.

    Raises:
        TypeError: for a label that is not two texts.
    """
    found = {}
    for o in observables:
        for name, label in o.labels().items():
            if not isinstance(label, tuple | list) or [type(text) for text in label] != [str, str]:
                raise TypeError(f"observe: the label of {name} must be its units and its meaning, got {shown(label)}")
            found[name] = tuple(label)
    return found


def coordinates_of(observables: Iterable[AbstractObservable]) -> dict[str, np.ndarray]:
    """Values along the axes of what observables record.

    Args:
        observables: of a run.

    Returns:
        By the names of axes in results, such as "density_bin".
    """
    found = {}
    for o in observables:
        axes: Any = getattr(o, "axes", ())
        recorded = {f"{o.name}_{n}": a for n, a in axes.items()} if isinstance(axes, dict) else {o.name: axes}
        for axis, values in o.coordinates().items():
            found |= {f"{name}_{axis}": np.asarray(values) for name, axes in recorded.items() if axis in axes}
    return found


def looking_at_every_step(observables: Iterable[AbstractObservable]) -> list[str]:
    """Which observables look at every step, in place of every record.

    Args:
        observables: of a run.

    Returns:
        Their names.
    """
    return [o.name for o in observables if isinstance(o, AbstractAccumulator) and o.every_step]


def _is_late(view: View, after: Array) -> Array:
    """Whether the record at this step counts."""
    return view.step > after


def _share(total: Sum, count: Array) -> Array:
    """A total over `count` records as a mean; NaN of none."""
    return jnp.where(count > 0, total.value / jnp.maximum(count, 1).astype(total.value.dtype), jnp.nan)


class _Running(NamedTuple):
    """The mean of what was seen, and its sum of square deviations (Welford's recursion)."""

    mean: Sum
    square: Sum

    @classmethod
    def of(cls, like: Array) -> "_Running":
        return cls(Sum.of(jnp.zeros_like(like)), Sum.of(jnp.zeros_like(like)))

    def seen(self, value: Array, count: Array, counts: Array) -> "_Running":
        """After one more value, if it counts, which then is number `count`."""
        away = lambda mean: jnp.where(counts, (value - mean.value) - mean.rest, jnp.zeros_like(value))
        step = away(self.mean)
        mean = self.mean.plus(step / jnp.maximum(count, 1).astype(value.dtype))
        return _Running(mean, self.square.plus(step * away(mean)))


class Moments(AbstractAccumulator):
    """Mean and variance over time of each agent's and of the quorum's coordinates.

    Outputs: `agents_mean` and `agents_var`, (dims,): pooled over the agents, the variance about the pooled mean;
    `quorum_mean` and `quorum_var`, (dims,); `count`, the number of records.

    Attributes:
        after: the last step that does not count.
    """

    after: Array = eqx.field(converter=whole_number, default=0)

    name = "moments"
    axes: ClassVar[dict[str, tuple[str, ...]]] = {
        "agents_mean": ("dim",),
        "agents_var": ("dim",),
        "quorum_mean": ("dim",),
        "quorum_var": ("dim",),
        "count": (),
    }
    label: ClassVar[dict[str, tuple[str, str]]] = {
        "agents_mean": ("length", "mean over time and agents of the positions"),
        "agents_var": ("length^2", "variance over time and agents of the positions"),
        "quorum_mean": ("length", "mean over time of the quorum"),
        "quorum_var": ("length^2", "variance over time of the quorum"),
        "count": ("1", "records that entered the moments"),
    }

    def starts_after(self):
        return self.after

    def init(self, view: View):
        return jnp.zeros((), jnp.int32), _Running.of(view.state.x), _Running.of(view.quorum)

    def update(self, total: Any, view: View):
        count, agents, quorum = total
        late = _is_late(view, self.after)
        count = count + late.astype(count.dtype)
        return count, agents.seen(view.state.x, count, late), quorum.seen(view.quorum, count, late)

    def finish(self, total: Any):
        count, agents, quorum = total
        means = agents.mean.value
        pooled = jnp.mean(means, axis=0)
        between = jnp.mean((means - pooled[None]) ** 2, axis=0)
        some = lambda value: jnp.where(count > 0, value, jnp.nan)
        return {
            "agents_mean": some(pooled),
            "agents_var": jnp.mean(_share(agents.square, count), axis=0) + between,
            "quorum_mean": some(quorum.mean.value),
            "quorum_var": _share(quorum.square, count),
            "count": count,
        }


class Histogram(AbstractAccumulator):
    """How often agents' coordinates fell into each of `bins` equal bins of (low, high), all coordinates pooled.

    Output: `count`, (bins + 2,): below low, the bins, at or above high (and not a number); whole numbers, as float64
    because they pass what an integer of 32 bits holds.

    Attributes:
        low: lower end of the first bin, in length.
        high: upper end of the last bin, greater than low, in length.
        bins: number of bins, at least 1.
        after: the last step that does not count.
    """

    low: Array = eqx.field(converter=number)
    high: Array = eqx.field(converter=number)
    bins: int = eqx.field(static=True, default=120)
    after: Array = eqx.field(converter=whole_number, default=0)

    name = "histogram"
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"count": ("bin",)}
    label: ClassVar[dict[str, tuple[str, str]]] = {
        "count": ("1", "records in each bin, below the first and above the last"),
    }

    def __check_init__(self):
        _check_bins(self)

    def numbers(self, agents: int, dims: int):
        return agents * dims + self.bins

    def coordinates(self):
        return _bins_begin(self)

    def starts_after(self):
        return self.after

    def init(self, view: View):
        return Sum.of(jnp.zeros(self.bins + 2, view.state.x.dtype))

    def update(self, total: Any, view: View):
        late = _is_late(view, self.after).astype(jnp.int32)
        return total.plus(_counted(self, view.state.x, late).astype(view.state.x.dtype))

    def finish(self, total: Any):
        return {"count": total}


class Occupancy(AbstractAccumulator):
    """Share of time that agents, and the quorum, spend within `radius` of each center.

    Outputs: `agents` and `quorum`, (basins,), from 0 to 1.

    Attributes:
        centers: (basins,) in one dimension or (basins, dims), in length.
        radius: greater than 0, in length.
        after: the last step that does not count.
    """

    centers: Array = eqx.field(converter=number)
    radius: Array = eqx.field(converter=number)
    after: Array = eqx.field(converter=whole_number, default=0)

    name = "occupancy"
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"agents": ("basin",), "quorum": ("basin",)}
    label: ClassVar[dict[str, tuple[str, str]]] = {
        "agents": ("1", "share of time that agents spend in each basin"),
        "quorum": ("1", "share of time that the quorum spends in each basin"),
    }

    def __check_init__(self):
        check_sign("radius", self.radius, zero=False)

    def _inside(self, x: Array) -> Array:
        """(points, dims) -> share of the points in each basin, (basins,)."""
        centers = self.centers.reshape(self.centers.shape[0], -1)
        if centers.shape[1] != x.shape[-1]:
            raise ValueError(f"centers: of shape {self.centers.shape}, must be (basins, dims) with dims={x.shape[-1]}")
        square = jnp.sum((x[None] - centers[:, None]) ** 2, axis=-1)
        return jnp.mean((square < self.radius**2).astype(x.dtype), axis=1)

    def starts_after(self):
        return self.after

    def init(self, view: View):
        zeros = Sum.of(jnp.zeros(self.centers.shape[0], view.state.x.dtype))
        return jnp.zeros((), jnp.int32), zeros, zeros

    def update(self, total: Any, view: View):
        return shares_after(total, view, self.after, self._inside)

    def finish(self, total: Any):
        return shares_of(total)


def shares_after(total: tuple, view: View, after: Array, share: Callable[[Array], Array]) -> tuple:
    """Records, and sums of the agents' and the quorum's shares, after one more record.

    Args:
        total: the number of records that counted, and both sums, `Sum` of (regions,).
        view: the simulation now.
        after: the last step that does not count.
        share: of points (points, dims) in each of several regions, (regions,).

    Returns:
        The new `total`.
    """
    count, agents, quorum = total
    late = _is_late(view, after)
    add = lambda sums, points: sums.plus(jnp.where(late, share(points), jnp.zeros_like(sums.value)))
    return count + late.astype(count.dtype), add(agents, view.state.x), add(quorum, view.quorum[None])


def shares_of(total: tuple) -> dict[str, Array]:
    """Of `shares_after`, the shares over all records.

    Args:
        total: the number of records that counted, and the sums of the agents' and of the quorum's shares.

    Returns:
        `agents` and `quorum`, (regions,), from 0 to 1; NaN without records.
    """
    count, agents, quorum = total
    return {"agents": _share(agents, count), "quorum": _share(quorum, count)}


class FirstPassage(AbstractAccumulator):
    """The first step after which the quorum, or each agent, is within `radius` of `target`; -1 for never.

    Looks after every step, the first at the earliest, wherever the run starts; this makes the run slower. Output:
    `step`, a scalar, or (agents,) for of="agents".

    Attributes:
        target: a number or (dims,), in length.
        radius: greater than 0, in length.
        of: "quorum", or "agents", each by itself.
    """

    target: Array = eqx.field(converter=number)
    radius: Array = eqx.field(converter=number)
    of: Literal["quorum", "agents"] = eqx.field(static=True, default="quorum")

    name = "first_passage"
    every_step = True
    label: ClassVar[dict[str, tuple[str, str]]] = {"step": ("1", "first step within the radius of the target, or -1")}

    def __check_init__(self):
        check_choice("of", self.of, ("quorum", "agents"))
        check_sign("radius", self.radius, zero=False)

    @property
    def axes(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"step": ("agent",) if self.of == "agents" else ()}

    def check_seconds(self):
        why = "is dated by steps, which a run by seconds does not count; give steps= in place of until= and at="
        raise ValueError(f"observe={type(self).__name__}: {why}")

    def _points(self, view: View):
        return view.state.x if self.of == "agents" else view.quorum[None]

    def init(self, view: View):
        return jnp.full(self._points(view).shape[:1], -1, jnp.int32)

    def update(self, total: Any, view: View):
        points = self._points(view)
        away = points - jnp.broadcast_to(self.target, points.shape)
        inside = jnp.sum(away**2, axis=1) < self.radius**2
        return jnp.where((total < 0) & inside, view.step.astype(jnp.int32), total)

    def finish(self, total: Any):
        return {"step": total if self.of == "agents" else total[0]}


class _Average(AbstractAccumulator):
    """An average over the updates of what the agents are drawn to.

        z_(t+1) = z_t + rate_(t+1) (c_t - z_t),    z_0 = c_0

    Agents that step together update it at each step, workers in virtual time when their protocol does (Z's master
    clock); t is counted from the start of the run. Looks after every step, which makes the run slower. Output: `point`,
    (dims,), z after the last update, which like Z's does not hold the last c.
    """

    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"point": ("dim",)}

    def rate_at(self, t: Array, dtype: Any) -> Array:
        """rate_t, a scalar.

        Args:
            t: the number of the update, from 1, an int32 scalar.
            dtype: of the result.
        """
        raise NotImplementedError

    def init(self, view: View):
        return _updates(view), jnp.zeros((), jnp.int32), view.center, Sum.of(view.center)

    def update(self, total: Any, view: View):
        clock, t, last, average = total
        now = _updates(view)
        moved = now > clock
        t = t + moved.astype(t.dtype)
        rate = self.rate_at(jnp.maximum(t, 1), last.dtype)
        step = rate * ((last - average.value) - average.rest)
        average = average.plus(jnp.where(moved, step, jnp.zeros_like(step)))
        return now, t, jnp.where(moved, view.center, last), average

    def finish(self, total: Any):
        return {"point": total[-1]}

    def numbers(self, agents: int, dims: int):
        return 3 * dims + 2


def _updates(view: View) -> Array:
    """How often what the agents are drawn to was updated, an int32 scalar."""
    return jnp.asarray(view.step, jnp.int32) if view.counts is None else view.counts.updates


class RunningMean(_Average):
    """The mean of what the agents are drawn to over its updates, as it was before each: rate_t = 1 / t (Z, chapter 4).

    Of one agent ASGD, averaged SGD; of `Downpour` ADOWNPOUR. Looks after every step, which makes the run slower.
    Output: `point`, (dims,).
    """

    name = "running_mean"
    label: ClassVar[dict[str, tuple[str, str]]] = {"point": ("length", "mean over updates of what agents are drawn to")}

    def rate_at(self, t: Array, dtype: Any):
        return 1 / t.astype(dtype)


class MovingAverage(_Average):
    """The moving average of what the agents are drawn to, over its updates, of a constant rate (Z, chapter 4).

    Of one agent MVASGD; of `Downpour` MVADOWNPOUR. Looks after every step, which makes the run slower. Output: `point`,
    (dims,).

    Attributes:
        rate: of an update, from 0 to 1 (Z's alpha, 0.001 in its experiments).
    """

    rate: Array = eqx.field(converter=number, default=0.001)

    name = "moving_average"
    label: ClassVar[dict[str, tuple[str, str]]] = {"point": ("length", "moving average of what agents are drawn to")}

    def __check_init__(self):
        check_sign("rate", self.rate)
        most = concrete(self.rate, np.max)
        if np.ndim(self.rate) or (most is not None and most > 1):
            raise ValueError(f"rate={shown(self.rate)}: must be one number from 0 to 1")

    def rate_at(self, t: Array, dtype: Any):
        return self.rate.astype(dtype)


class FirstNonFinite(AbstractAccumulator):
    """The first step after which the state is not finite; -1 for never. The integrator uses it to date a divergence."""

    name = "first_non_finite"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"step": ()}
    label: ClassVar[dict[str, tuple[str, str]]] = {"step": ("1", "first step after which it was not finite, or -1")}

    def init(self, view: View):
        return jnp.full((), -1, jnp.int32)

    def update(self, total: Any, view: View):
        s = view.state
        finite = jnp.isfinite(s.x).all() if s.v is None else jnp.isfinite(s.x).all() & jnp.isfinite(s.v).all()
        return jnp.where((total < 0) & ~finite, view.step.astype(jnp.int32), total)

    def finish(self, total: Any):
        return {"step": total}


def __getattr__(name: str):
    refuse(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
