"""Euler-Maruyama of the SDE."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.coupling import Mean
from sdesim.dynamics import Agents, Dynamics, State, weighted, weighted_tree
from sdesim.fields import check_sign, concrete, named, number, shown
from sdesim.steppers.base import AbstractStepper, Kick, moved

Look = Callable[[Agents, PyTree], tuple[Agents, Agents, PyTree]]
"""look(point, kept): where a step takes its gradients, (agents, dims), the gradients there, and what it keeps of that;
of the points where agents are, and what the steps before have kept."""


def step_length(dt: Any) -> Array | None:
    """The length of a step as a traced number, in the precision of the states.

    Args:
        dt: a number greater than 0, or None.

    Returns:
        A scalar; None for None.

    Raises:
        TypeError: for what is no number.
        ValueError: for one that is not greater than 0.
    """
    if dt is None:
        return None
    check_sign("dt", dt, zero=False)
    dt = named("dt", number)(dt)
    if jnp.shape(dt) != ():
        raise ValueError(f"dt={shown(dt)}: must be one number")
    return jnp.asarray(dt, jnp.result_type(float))


def check_below(model: Dynamics, dt: Array | None) -> None:
    """Refuse steps of another length than an iteration's, of a law that has no SDE there.

    Args:
        model: the dynamics.
        dt: length of a step, in time; None for the matched one.

    Raises:
        ValueError: naming dt.
    """
    if dt is None or (reason := model.noise.iteration_only()) is None:
        return
    matched = concrete(model.matched_step(), np.max)
    fits = matched is not None and math.isclose(concrete(dt, np.max) or 0, matched, rel_tol=1e-6)
    if callable(model.eta) or not fits:
        raise ValueError(f"dt={dt}: {reason}, so it runs at the matched step alone: leave dt out")


class EulerMaruyama(AbstractStepper):
    """Steps of length `dt` of the SDE; with momentum the new velocity moves the positions, as in the iterations.

    Attributes:
        dt: in time, greater than 0. None is the model's matched step, at which this is the SGD iteration: eta, or
            sqrt(eta) with iteration momentum.
        order: see `sdesim.steppers.base`.
    """

    dt: Array | None = eqx.field(converter=step_length, default=None)

    @property
    def resolved(self):
        return self.dt is not None

    def check(self, model: Dynamics):
        super().check(model)
        check_below(model, self.dt)

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n), self.dt)

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        return self.looking(model, state, n, kick, mean, lambda point, kept: (point, model.gradients(point), kept))

    def looking(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean, look: Look) -> State:
        """The state after one step, with the gradients of where it looks.

        Args:
            model: the dynamics.
            state: before the step.
            n: the number of the step, from 0; an int32 scalar.
            kick: makes the noise of the step, at these points and of these gradients.
            mean: the mean over agents, for the coupling.
            look: says where gradients are taken, which without delays is where agents are.

        Returns:
            The new state.
        """
        rates = model.at_step(n)
        size = model.sizes(rates, self.dt)
        x, v, shared, velocity_shared, kept, clock, before = state
        x_old, t, clock = x, state.t, clock.plus(size.tick)
        pull = model.coupling.pull(x, shared, t, mean)
        if self.order == "gauss-seidel":
            x = x + weighted(size.weight, pull)
        point, gradients, kept = look(model.gradient_point(x, v), kept)
        noise = kick(point, gradients, size)
        if v is None or model.momentum is None:
            if model.weak_order == 2 and self.order == "jacobi":
                change = model.change(state, mean, rates, self.dt, t)
                return State(x + change.x + noise, None, moved(shared, change.shared), None, kept, clock, before)
            # Noise first: XLA emits its long chain before the gradient then, and the processor overlaps the two.
            if self.order == "gauss-seidel":
                x = x + weighted(size.weight, -gradients) + noise
            else:
                x = noise + (x + weighted(size.weight, pull - gradients))
        else:
            velocity_pull, velocity_flow = model.velocity_field(state, mean)
            loss = model.momentum.loss(size.move, state.time + size.tick)
            v = v + (weighted(size.weight, -gradients) - loss * v + size.tick * velocity_pull) + noise
            v = lax.optimization_barrier(v)  # or XLA computes it, noise and gradient too, a second time within x
            x = x + size.move * v if self.order == "gauss-seidel" else x + size.move * v + weighted(size.weight, pull)
            velocity_shared = moved(velocity_shared, weighted_tree(size.tick, velocity_flow))
        flow = model.coupling.flow(x if self.order == "gauss-seidel" else x_old, shared, t, mean)
        return State(x, v, moved(shared, weighted_tree(size.tick, flow)), velocity_shared, kept, clock, before)
