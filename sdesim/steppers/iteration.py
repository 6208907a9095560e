"""The discrete algorithms, as their papers write them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sdesim.coupling import Mean
from sdesim.dynamics import Dynamics, State, weighted, weighted_tree
from sdesim.fields import called_with, check_count, is_traced
from sdesim.random import MAX_STEPS
from sdesim.steppers.base import AbstractStepper, Kick, descent, moved


def _period(period: Any) -> Any:
    """A number as an integer, a function as it is."""
    if callable(period):
        return period
    if isinstance(period, jax.Array) and (is_traced(period) or period.ndim == 0):
        return period
    return jnp.asarray(check_count("period", period, most=MAX_STEPS), jnp.int32)


class Iteration(AbstractStepper):
    """One iteration of the discrete algorithm, in its own variables: learning rate, momentum, moving rates.

        x <- x - eta g + eta pull        or        v <- delta v - eta g,  x <- x + v + eta pull

    The agents communicate at the steps n that the period divides, and run alone between them. In Gauss-Seidel order the
    shared state follows the agents after the last step before the next pull, as in DOWNPOUR (Z, Alg. 3): what they did
    in the whole period, and not in its first step, is what it collects.

    Attributes:
        period: iterations between two communications (tau of Z, Alg. 1-2): a number, or a function of the step's number
            to one, at least 1.
        order: see `sdesim.steppers.base`.
    """

    period: Any = eqx.field(converter=_period, default=1, metadata=called_with("step"))

    @property
    def cycle(self):
        return None if callable(self.period) else int(self.period)

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n))

    def exchanges(self, n: Array) -> Array:
        """Whether the agents communicate at a step.

        Args:
            n: the number of the step, an int32 scalar.

        Returns:
            A truth value.
        """
        period = jnp.asarray(self.period(n)).astype(n.dtype) if callable(self.period) else self.period
        return n % period == 0

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        size = self.sizes(model, n)
        x, v, shared, velocity_shared, kept, clock, before = state
        x_old, t, clock = x, state.t, clock.plus(size.tick)
        at = lambda n, weight: jnp.where(self.exchanges(n), weight, jnp.zeros_like(weight))
        pull = weighted(at(n, size.weight), model.coupling.pull(x, shared, t, mean))
        if self.order == "gauss-seidel":
            x = x + pull
        gradient = descent(model, x, v, kick, size)
        if v is None or model.momentum is None:
            x = x + gradient
        else:
            velocity_pull, velocity_flow = model.velocity_field(state, mean)
            exchange = at(n, size.tick)
            left = 1 - model.momentum.loss(size.move, state.time + size.tick)
            v = lax.optimization_barrier(left * v + gradient + exchange * velocity_pull)
            x = x + size.move * v
            velocity_shared = moved(velocity_shared, weighted_tree(exchange, velocity_flow))
        if self.order == "jacobi":
            x = x + pull
        flow = model.coupling.flow(x if self.order == "gauss-seidel" else x_old, shared, t, mean)
        collected = at(n + 1 if self.order == "gauss-seidel" else n, size.tick)
        return State(x, v, moved(shared, weighted_tree(collected, flow)), velocity_shared, kept, clock, before)
