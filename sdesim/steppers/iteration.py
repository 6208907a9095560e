"""The discrete algorithms, as their papers write them."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from sdesim.coupling import Mean
from sdesim.dynamics import Agents, Dynamics, State, weighted, weighted_tree
from sdesim.fields import called_with, check_count, check_sign, concrete, is_traced, number_or_function, shown
from sdesim.random import MAX_STEPS
from sdesim.schedules import Fading, period_of
from sdesim.steppers.base import AbstractStepper, Kick, descent, moved


def _period(period: Any) -> Any:
    """A number as an integer, a function as it is."""
    if callable(period):
        return period
    if isinstance(period, jax.Array) and (is_traced(period) or period.ndim == 0):
        return period
    return jnp.asarray(check_count("period", period, most=MAX_STEPS), jnp.int32)


def check_late(late: int, period: Any) -> None:
    """Refuse exchanges that are late by a period or more, or by an unknown share of it.

    Args:
        late: by how many iterations.
        period: iterations between two exchanges, a number or a function.

    Raises:
        ValueError: with what would be right.
        TypeError: for what is no whole number.
    """
    check_count("late", late, least=0, most=MAX_STEPS)
    if late and callable(period):
        raise ValueError(f"late={late}: must be 0 where the period is a function")
    if late and (least := concrete(period, np.min)) is not None and late >= least:
        raise ValueError(f"late={late}: must be less than the period, {least:g}")


def _pace(pace: Any) -> Any:
    if pace is None or callable(pace):
        return pace
    pace = number_or_function(pace)
    if jnp.shape(pace) != ():
        raise ValueError(f"pace={shown(pace)}: must be None, one number, or a function of the step's number to one")
    return pace


class Between(NamedTuple):
    """What is kept between two exchanges.

    Attributes:
        own: where agents were at the last exchange that began, (agents, dims); None where none is late.
        next: the number of the step of the next exchange, an int32 scalar; None where a number of steps says it.
    """

    own: Agents | None
    next: Array | None


class Iteration(AbstractStepper):
    """One iteration of the discrete algorithm, in its own variables: learning rate, momentum, moving rates.

        x <- x - eta g + eta pull        or        v <- delta v - eta g,  x <- x + v + eta pull

    The agents communicate at the steps n that the period divides, and run alone between them. In Gauss-Seidel order the
    shared state follows the agents after the last step before the next pull, as in DOWNPOUR (Z, Alg. 3): what they did
    in the whole period, and not in its first step, is what it collects.

    Attributes:
        period: iterations between two communications (tau of Z, Alg. 1-2), at least 1: a number; or `schedules.QSR` or
            `PostLocal`, or a function of the step's number, which are asked at each communication, from that of step 0
            on, how long it is to the next.
        pace: the learning rate by which gains become weights of an exchange, pace k, whatever the model's own rates
            are: greater than 0, a number or a function of the step's number, in time; or `schedules.Fading`, which asks
            for the model's rate. None for the model's rates, with which the weights then fall.
        late: by how many iterations an exchange is late, less than the period; static. Agents go on while it is under
            way: pull and flow are of where they were when it began.
        order: see `sdesim.steppers.base`.
    """

    period: Any = eqx.field(converter=_period, default=1, metadata=called_with("step"))
    pace: Any = eqx.field(converter=_pace, default=None, kw_only=True, metadata=called_with("step"))
    late: int = eqx.field(static=True, default=0, kw_only=True)

    def __check_init__(self):
        check_sign("pace", self.pace, zero=False)
        check_late(self.late, self.period)

    def check(self, model: Dynamics):
        super().check(model)
        if self.late and model.velocity_coupling is not None:
            raise ValueError(f"late={self.late}: must be 0 with a velocity_coupling, whose exchanges are of today")

    @property
    def cycle(self):
        changes = callable(self.pace) and not isinstance(self.pace, Fading)
        return None if callable(self.period) or changes else int(self.period)

    @property
    def past(self):
        return 1 if self.late else 0

    def init(self, model: Dynamics, x: Agents, v: Agents | None = None):
        state = super().init(model, x, v)
        if not self.late and not callable(self.period):
            return state
        first = jnp.zeros((), jnp.int32) if callable(self.period) else None
        return state._replace(kept=Between(state.x if self.late else None, first))

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n))

    def exchange_sizes(self, model: Dynamics, n: Array):
        size = self.sizes(model, n)
        if self.pace is None:
            return size
        pace = self.pace
        if callable(pace):
            pace = pace(model.at_step(n).eta) if isinstance(pace, Fading) else pace(n)
        pace = jnp.asarray(pace).astype(size.tick.dtype)
        return size._replace(weight=pace, tick=pace)

    def exchanges(self, n: Array, kept: Between | None = None) -> Array:
        """Whether an exchange begins at a step.

        Args:
            n: the number of the step, an int32 scalar.
            kept: of the state before it, where the period is a function.

        Returns:
            A truth value.
        """
        if kept is not None and kept.next is not None:
            return n == kept.next
        return n % self.period == 0

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        size, exchange = self.sizes(model, n), self.exchange_sizes(model, n)
        x, v, shared, velocity_shared, kept, clock, before = state
        t, clock, seidel = state.t, clock.plus(size.tick), self.order == "gauss-seidel"
        rule, of = model.coupling, lambda now, weight: jnp.where(now, weight, jnp.zeros_like(weight))
        now, kept = self._meeting(model, n, x, kept)
        met = x if kept is None or kept.own is None else kept.own  # where agents were when it began
        if seidel and self.late:  # what the others collect at the end of a period has come now
            shared = moved(shared, weighted_tree(of(now, exchange.tick), rule.flow(met, shared, t, mean)))
        pull = weighted(of(now, exchange.weight), rule.pull(met, shared, t, mean))
        if seidel:
            x = x + pull
        gradient = descent(model, x, v, kick, size)
        if v is None or model.momentum is None:
            x = x + gradient
        else:
            velocity_pull, velocity_flow = model.velocity_field(state, mean)
            velocities = of(now, exchange.tick)
            left = 1 - model.momentum.loss(size.move, state.time + size.tick)
            v = lax.optimization_barrier(left * v + gradient + velocities * velocity_pull)
            x = x + size.move * v
            velocity_shared = moved(velocity_shared, weighted_tree(velocities, velocity_flow))
        if not seidel:
            x = x + pull
            shared = moved(shared, weighted_tree(of(now, exchange.tick), rule.flow(met, shared, t, mean)))
        elif not self.late:
            ends = of(self.exchanges(n + 1, kept), exchange.tick)
            shared = moved(shared, weighted_tree(ends, rule.flow(x, shared, t, mean)))
        return State(x, v, shared, velocity_shared, kept, clock, before)

    def _meeting(self, model: Dynamics, n: Array, x: Agents, kept: Between | None) -> tuple[Array, Between | None]:
        """Whether what an exchange does comes at a step, and what is kept from then on."""
        begins = self.exchanges(n, kept)
        if kept is None:
            return begins, None
        if kept.next is not None:
            after = n + period_of(self.period, n, model.at_step(n).eta)
            return begins, kept._replace(next=jnp.where(begins, after, kept.next))
        assert kept.own is not None
        return (n - self.late) % self.period == 0, kept._replace(own=jnp.where(begins, x, kept.own))
