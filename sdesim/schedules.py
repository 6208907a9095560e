"""Learning rates as functions of the step, and gains as functions of time.

A schedule maps the step's number, a traced integer, to the learning rate: a scalar, or one an agent (agents,). Any
function of that form is accepted, optax's schedules among them. A gain is a function of an agent's state and the time
of the coupling. The classes here keep their numbers sweepable.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.fields import Part, check_sign, number, whole_number


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
