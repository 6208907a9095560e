"""Euler-Maruyama of delay equations: gradients of states that are past.

    dx^i = (-grad f(x^i(t - d_i)) + pull^i) dt + noise

Pull, friction and what agents share are of today; a stochastic gradient with its noise is of the point where its agent
was. The points of the last steps lie in a ring, that of step n in slot n modulo their number: which slot is read hangs
on the number of the step, one for all simulations, unless delays are drawn.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim import random
from sdesim.coupling import Mean
from sdesim.coupling.base import per_agent, rows_of
from sdesim.dynamics import Agents, Dynamics, State
from sdesim.fields import (
    called_with,
    check_flags,
    check_per,
    check_sign,
    concrete,
    function,
    is_traced,
    number,
    one_number,
    shown,
)
from sdesim.quantiles import logits, looked_up
from sdesim.random import MAX_STEPS, Seed, Stream
from sdesim.steppers.base import AbstractStepper, Kick
from sdesim.steppers.euler_maruyama import EulerMaruyama, Look, step_length

REACH = 17.0  # beyond the logit of the least uniform number, 2**-24
DRAWS = 1 << 18  # equally likely delays, of which the weights of a law are made
_SLACK = 1e-6  # by which rounding may make a delay longer


class Law(Protocol):
    """A law of delays: those of `sdesim.asynchrony` are.

    Attributes:
        mean: mean delay > 0, a number or one an agent, (agents,).
    """

    mean: Any

    def quantiles(self, words: NDArray) -> NDArray:
        """The delays of mean 1 that belong to random words.

        Args:
            words: uint32, of any shape.

        Returns:
            float64, of that shape.
        """
        ...


class Past(NamedTuple):
    """What is kept of the last steps, that of step n in slot n modulo their number.

    Attributes:
        points: where agents would have taken their gradients, (slots, agents, dims).
        gradients: there, (slots, agents, dims), of a distributed delay; else None.
    """

    points: Array
    gradients: Array | None


def _known(converter: Callable[[Any], Any], value: Any) -> Any:
    """What a converter makes of a value, looked at within jit too: how much is kept of the past follows from it."""
    if is_traced(value):
        return converter(value)
    with jax.ensure_compile_time_eval():
        return converter(value)


def _dt(value: Any) -> Array | None:
    return _known(step_length, value)


def _delay(value: Any) -> Any:
    if callable(getattr(value, "quantiles", None)) and hasattr(value, "mean"):
        return value
    value = _known(number, value)
    if value.ndim > 1:
        raise ValueError(f"{shown(value)}: must be a number, one an agent, (agents,), or a law of sdesim.asynchrony")
    return value


def _longest(value: Any) -> float | None:
    if is_traced(value):
        raise ValueError("a traced value: must be a number that is known, for so much of the past is kept")
    return None if value is None else one_number("longest", value, zero=False)


def _history(value: Any) -> Any:
    return None if value is None else function(value)


class Delayed(AbstractStepper):
    """Euler-Maruyama with gradients of where agents were `delay` ago; between steps the past is interpolated linearly.

    A delay that is 0, and not traced, is `EulerMaruyama` itself. A law of delays, of `sdesim.asynchrony` or with `mean`
    and `quantiles` as those have, is drawn from anew at each step for each agent, by random words of (seed, simulation,
    agent, step) alone; or with `distributed` the drift is the mean over it, and the noise is that of the mean of the
    points and of the gradients.

    Attributes:
        delay: at least 0: a number, one an agent, (agents,), or a law. In time of the SDE, or in iterations where dt is
            None.
        dt: length of a step in time, greater than 0. None for the model's matched step, as in `EulerMaruyama`.
        longest: the longest delay, in the unit of `delay`: so much of the past is kept, and longer delays are taken for
            it. By default the delay; a law, or a delay that is traced, needs it.
        distributed: whether a law is one of weights, in place of one to draw from.
        history: where agents were at times before 0, in the unit of `delay`: a function of the time, which is negative,
            to a point (dims,) or a number. By default where they begin.
        order: see `sdesim.steppers.base`.

    Raises:
        TypeError: for what is no delay, naming the argument.
        ValueError: for what is out of its range or does not go together, likewise.
    """

    delay: Any = eqx.field(converter=_delay)
    dt: Array | None = eqx.field(converter=_dt, default=None)
    longest: float | None = eqx.field(converter=_longest, static=True, default=None, kw_only=True)
    distributed: bool = eqx.field(static=True, default=False, kw_only=True)
    history: Any = eqx.field(
        converter=_history, default=None, kw_only=True, metadata=called_with("time", gives=((), ("dims",)))
    )
    # What follows from the others: slots of the ring, 0 where there is no past, and numbers of the law.
    _slots: int = eqx.field(static=True, init=False, default=0, repr=False)
    _of_law: tuple[Array, ...] = eqx.field(init=False, default=(), repr=False)

    def __check_init__(self):
        check_flags(distributed=self.distributed)
        law = self._law
        if law is None:
            check_sign("delay", self.delay)
            if self.distributed:
                raise ValueError(f"distributed=True: needs a law of delays, and delay={shown(self.delay)} is none")
        most = concrete(self.delay, np.max) if law is None else None
        longest = most if self.longest is None else self.longest
        if longest is None:
            what = "a traced delay" if law is None else f"delay={type(law).__name__}, a law,"
            raise ValueError(f"longest=None: {what} needs the longest delay, in its unit; so much of the past is kept")
        if most is not None and most > longest * (1 + _SLACK):
            raise ValueError(f"longest={longest:g}: must be at least the delay, {most:g}, or be left out")
        if most == 0:
            return
        unit = 1.0 if self.dt is None else concrete(self.dt, np.max)
        if unit is None:
            raise ValueError("dt: a traced value, and how much of the past is kept must be known; give a number")
        steps = longest / unit * (1 - _SLACK)
        if not steps < MAX_STEPS:
            given = f"longest={longest:g}" if self.longest is not None or most is None else f"delay={longest:g}"
            raise ValueError(f"{given}: must be less than {MAX_STEPS} steps, and is {steps:.3g}")
        object.__setattr__(self, "_slots", max(1, math.ceil(steps)) + 1)
        if law is not None:
            made = _around(_weights(law, unit, self._slots)) if self.distributed else _table(law)
            object.__setattr__(self, "_of_law", (_known(number, made.astype(jnp.result_type(float))),))

    @property
    def _law(self) -> Law | None:
        return self.delay if callable(getattr(self.delay, "quantiles", None)) else None

    @property
    def _now(self) -> EulerMaruyama:
        """The stepper without delay."""
        return EulerMaruyama(self.dt, order=self.order)

    @property
    def resolved(self):
        return self.dt is not None

    @property
    def past(self):
        return self._slots * (2 if self.distributed else 1)

    def check(self, model: Dynamics):
        self._now.check(model)
        if model.weak_order == 2 and self._slots:
            raise ValueError("weak_order=2: the modified drift is known without delays only")

    def sizes(self, model: Dynamics, n: Array):
        return self._now.sizes(model, n)

    def init(self, model: Dynamics, x: Agents, v: Agents | None = None):
        law = self._law
        name, numbers = ("delay", self.delay) if law is None else ("delay.mean", law.mean)
        check_per(name, numbers, x.shape[0], "agents")
        state = super().init(model, x, v)
        if not self._slots:
            return state
        point = model.gradient_point(state.x, state.v)
        points = jnp.broadcast_to(point, (self._slots, *point.shape))
        if self.history is not None:
            ago = jnp.arange(self._slots, dtype=x.dtype) * (1 if self.dt is None else self.dt.astype(x.dtype))
            were = jnp.asarray(jax.vmap(self.history)(-ago), x.dtype)
            were = jnp.broadcast_to(were.reshape(self._slots, 1, -1), points.shape)
            # The state at 0 is that of the agents; a step ago it was at the end of the ring.
            points = jnp.concatenate([point[None], were[:0:-1]])
        gradients = jax.vmap(model.gradients)(points) if self.distributed else None
        return state._replace(kept=Past(points, gradients))

    def step(
        self,
        model: Dynamics,
        state: State,
        n: Array | int,
        *,
        seed: Seed | Array | int = 0,
        sim: Array | int = 0,
        dw: Agents | None = None,
    ) -> State:
        """The state after step number `n` of one simulation.

        Args:
            model: the dynamics.
            state: from `init`, or of the step before.
            n: the number of the step, from 0.
            seed: as for `simulate`; with the simulation's and the step's number it decides the noise and what delays
                are drawn.
            sim: the simulation's number, from 0.
            dw: Brownian increments in place of the noise law's, (agents, dims), of variance dt.

        Returns:
            The new state.
        """
        here = self
        if self._law is not None and not self.distributed:
            delays = self._drawn(random.seed_words(seed), sim, n, state.x.shape[0], state.x.dtype)
            here = eqx.tree_at(lambda s: s.delay, self, delays)
        return super(Delayed, here).step(model, state, n, seed=seed, sim=sim, dw=dw)

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        if self._law is not None and not self.distributed:
            raise NotImplementedError("delays are drawn by the numbers of the seed and the simulation; call step")
        if not self._slots:
            return self._now.advance(model, state, n, kick, mean)
        look = self._mean(model, n) if self.distributed else self._late(model, n)
        return self._now.looking(model, state, n, kick, mean, look)

    def _late(self, model: Dynamics, n: Array) -> Look:
        """Gradients of where each agent was."""
        delay = self.delay if self.dt is None else self.delay / self.dt.astype(self.delay.dtype)
        most = self._slots - 1
        delay = jnp.where(delay < 0, jnp.zeros_like(delay), delay)
        # Not cut where it is the longest but for rounding: a gradient by the delay would be 0 there.
        delay = jnp.where(delay > most * (1 + _SLACK), jnp.full_like(delay, most), delay)
        whole = jnp.minimum(jnp.floor(delay).astype(jnp.int32), most - 1)

        def look(point: Agents, past: Past):
            points = _put(past.points, n, point)
            part = (delay - whole.astype(delay.dtype)).astype(point.dtype)
            late = per_agent(1 - part, point) * _ago(points, n, whole) + per_agent(part, point) * _ago(
                points, n, whole + 1
            )
            return late, model.gradients(late), Past(points, None)

        return look

    def _mean(self, model: Dynamics, n: Array) -> Look:
        """The mean over the law of points and of the gradients there."""

        def look(point: Agents, past: Past):
            assert past.gradients is not None
            points = _put(past.points, n, point)
            gradients = _put(past.gradients, n, model.gradients(point))
            # Slot i has what is (n - i) modulo the slots old.
            weights = lax.dynamic_slice_in_dim(self._of_law[0], -n % self._slots, self._slots).astype(point.dtype)
            weights = weights.reshape(self._slots, -1, 1)
            return jnp.sum(weights * points, axis=0), jnp.sum(weights * gradients, axis=0), Past(points, gradients)

        return look

    def _drawn(self, seed: Seed, sim: Array | int, n: Array | int, agents: int, dtype: DTypeLike) -> Array:
        """The agents' delays at a step, (agents,)."""
        key = random.step_key(seed, Stream.DELAY, n)
        share = random.uniform(random.words(key, sim, agents, 1).own[:, 0], dtype)
        table = self._of_law[0].astype(dtype)

        def at(node: Array):
            low, high = (table.at[node + i].get(mode="promise_in_bounds") for i in (0, 1))
            return low, high - low

        times = looked_up(jnp.log(share) - jnp.log1p(-share), REACH, jnp, at)
        return times * jnp.asarray(self.delay.mean, dtype)


def _put(ring: Array, n: Array, row: Array) -> Array:
    """The ring with what belongs to a step."""
    return lax.dynamic_update_index_in_dim(ring, row, n % ring.shape[0], 0)


def _ago(ring: Array, n: Array, back: Array) -> Array:
    """What the ring has of so many steps before step n, one number or one an agent; (agents, dims)."""
    slots, agents, dims = ring.shape
    slot = (n - back) % slots
    if back.ndim == 0:
        return lax.dynamic_index_in_dim(ring, slot, 0, keepdims=False)
    return rows_of(ring.reshape(slots * agents, dims), slot * agents + jnp.arange(agents, dtype=jnp.int32))


def _quantiles(law: Law, words: NDArray) -> NDArray:
    """Of mean 1, on the host."""
    try:
        return np.asarray(law.quantiles(words.astype(np.uint32)), float)
    except jax.errors.JAXTypeError as error:
        raise ValueError("delay: quantiles of a law are made outside of jit, and its numbers are traced") from error


def _table(law: Law) -> NDArray:
    """Logarithms of the quantiles of mean 1, at equal steps of the logit."""
    share = 1 / (1 + np.exp(-logits(REACH)))
    words = np.clip(np.rint(share * 2.0**32 - 0.5), 0, 2**32 - 1)
    return np.log(np.maximum(_quantiles(law, words), np.finfo(np.float32).tiny))


def _around(weights: NDArray) -> NDArray:
    """Weights backwards, twice around: from place -n modulo the slots on, those of the ring's slots at step n."""
    backwards = np.roll(weights[::-1], 1, axis=0)
    return np.concatenate([backwards, backwards])


def _weights(law: Law, unit: float, slots: int) -> NDArray:
    """How much each step back counts, (slots,) or for each agent (slots, agents): the past is linear between steps."""
    if is_traced(law.mean):
        raise ValueError("delay.mean: a traced value, of which no weights can be made; give a number")
    words = (2 * np.arange(DRAWS, dtype=np.uint64) + 1) * np.uint64(2**31 // DRAWS)
    times = _quantiles(law, words)

    def of(mean: float) -> NDArray:
        back = np.minimum(times * (mean / unit), slots - 1)
        whole = np.minimum(back.astype(np.int64), slots - 2)
        near, far = (np.bincount(whole + i, w, minlength=slots) for i, w in ((0, 1 + whole - back), (1, back - whole)))
        return (near + far) / DRAWS

    mean = np.asarray(law.mean, float)
    return np.stack([of(m) for m in mean], axis=-1) if mean.ndim else of(float(mean))
