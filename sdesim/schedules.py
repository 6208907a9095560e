"""Learning rates as functions of the step, gains as functions of time, and periods as functions of both.

A schedule maps the step's number, a traced integer, to the learning rate: a scalar, or one an agent (agents,). Any
function of that form is accepted, optax's schedules among them. A gain is a function of an agent's state and the time
of the coupling. A period is asked at each exchange how long it is to the next. The classes here keep their numbers
sweepable.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.fields import Part, check_sign, number, whole_number
from sdesim.random import MAX_STEPS


class Halving(Part):
    """initial, halved every `every` steps, never below `floor` (the schedule of BS Fig. 2).

    Attributes:
        initial: learning rate of the first steps, greater than 0, in time.
        every: steps between two halvings, at least 1.
        floor: the least learning rate, at least 0, in time.
    """

    initial: Array = eqx.field(converter=number)
    every: Array = eqx.field(converter=whole_number)
    floor: Array = eqx.field(converter=number, default=0.0)

    def __check_init__(self):
        check_sign("initial", self.initial, zero=False)
        check_sign("every", self.every, zero=False)
        check_sign("floor", self.floor)

    def __call__(self, step: Array | int) -> Array:
        """The learning rate of step number `step`."""
        halvings = jnp.asarray(step, jnp.int32) // self.every
        return jnp.maximum(self.initial * jnp.exp2(-halvings.astype(self.initial.dtype)), self.floor)


class PerStep(Part):
    """One learning rate a step; the last one goes on.

    Attributes:
        values: (steps,) or (steps, agents), in time.
    """

    values: Array = eqx.field(converter=number)

    def __call__(self, step: Array | int) -> Array:
        """The learning rate of step number `step`, a number or one an agent."""
        return self.values[jnp.minimum(jnp.asarray(step, jnp.int32), self.values.shape[0] - 1)]


class Growth(Part):
    """A coupling gain that grows as a power of time, initial (1 + t / time)^power, for `Quorum(k=Growth(...))`.

    Attributes:
        initial: the gain at t = 0, at least 0, in 1/time.
        time: when the growth sets in, greater than 0, in units of the coupling's time, which advances by the learning
            rate each iteration.
        power: at least 0: 0 is a constant gain, 1 linear growth.
    """

    initial: Array = eqx.field(converter=number)
    time: Array = eqx.field(converter=number)
    power: Array = eqx.field(converter=number, default=1.0)

    def __check_init__(self):
        check_sign("initial", self.initial)
        check_sign("time", self.time, zero=False)
        check_sign("power", self.power)

    def __call__(self, x: Array, t: Array) -> Array:
        """The gain at time `t`, wherever the agent is."""
        return self.initial * jnp.exp(self.power * jnp.log1p(t / self.time))


class AbstractPeriod(Part):
    """How many iterations it is from an exchange to the next, by the step's number and the learning rate then."""

    def __call__(self, step: Array, eta: Array) -> Array:
        """The period that begins.

        Args:
            step: the number of the step at which the exchange is, an int32 scalar.
            eta: the learning rate of that step, a scalar, in time; of agents that differ their mean.

        Returns:
            At least 1, an int32 scalar.
        """
        raise NotImplementedError


class QSR(AbstractPeriod):
    """The quadratic synchronization rule (2310.14423): periods max(base, floor((alpha / eta)^2)), longer as eta falls.

    Attributes:
        alpha: growth coefficient, greater than 0, in time.
        base: H_0, the least period, at least 1.
    """

    alpha: Array = eqx.field(converter=number)
    base: Array = eqx.field(converter=whole_number, default=1)

    def __check_init__(self):
        check_sign("alpha", self.alpha, zero=False)
        check_sign("base", self.base, zero=False)

    def __call__(self, step: Array, eta: Array):
        # Twice as many steps as a run may have are none of them, whatever the rate is.
        ratio = self.alpha / jnp.where(eta > 0, eta, jnp.ones_like(eta))
        grown = jnp.minimum(jnp.where(eta > 0, jnp.floor(ratio**2), jnp.inf), float(MAX_STEPS - 1))
        return jnp.maximum(self.base, grown.astype(jnp.int32))


class PostLocal(AbstractPeriod):
    """Post-local SGD (1808.07217): an exchange every step until one of them, and then every `period`.

    Attributes:
        until: the number of the step from which on agents step alone, at least 0.
        period: iterations between two exchanges from then on, at least 1.
    """

    until: Array = eqx.field(converter=whole_number)
    period: Array = eqx.field(converter=whole_number)

    def __check_init__(self):
        check_sign("period", self.period, zero=False)

    def __call__(self, step: Array, eta: Array):
        return jnp.where(step < self.until, jnp.ones_like(self.period), self.period)


def period_of(period: Any, step: Array, eta: Array) -> Array:
    """What a period that is no number says at an exchange.

    Args:
        period: an `AbstractPeriod`, or a function of the step's number.
        step: that number, an int32 scalar.
        eta: the learning rate of the step, a scalar.

    Returns:
        At least 1, an int32 scalar.
    """
    said = period(step, eta) if isinstance(period, AbstractPeriod) else period(step)
    return jnp.asarray(said).astype(step.dtype)


class Fading(Part):
    """A pace that falls as a power of the learning rate, (eta / reference)^power (DSGD-AC, 2602.02899).

    The variance of disagreement along a direction of no curvature is in proportion to eta^2 / pace: with a power of 2
    it stays where learning rates fall, with a power of 1, as gains per time have it, it falls with them. Curvature
    damps disagreement too, whatever the pace.

    Attributes:
        reference: the learning rate at which a gain of 1 is a whole exchange, greater than 0, in time.
        power: at least 0, without unit; 0 is a pace of 1.
    """

    reference: Array = eqx.field(converter=number)
    power: Array = eqx.field(converter=number, default=2.0)

    def __check_init__(self):
        check_sign("reference", self.reference, zero=False)
        check_sign("power", self.power)

    def __call__(self, eta: Array) -> Array:
        """The pace at a learning rate.

        Args:
            eta: at least 0, in time.

        Returns:
            Of its shape.
        """
        return (eta / self.reference) ** self.power
