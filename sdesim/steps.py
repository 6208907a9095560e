"""One step: of Euler-Maruyama, and of the discrete algorithms as their papers write them.

Both compose the same parts of a `Dynamics`, and both take the order in which pull, gradient and shared state act:

- "jacobi": all from the old state (Z 2.3-2.4, BS 41-43);
- "gauss-seidel": first the pull on the agents, then the gradient at where it took them, then the shared state from
  the new agents (Z 6.3).

A kick, `kick(x, gradients, rates, dt, scale)`, gives scale sqrt(dt) zeta or scale B dW for agents at x. Whether it
comes from a law and random words or from increments of the caller is not a stepper's business.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sdesim.coupling import Mean, Order
from sdesim.dynamics import Agents, Dynamics, Rates, State, _scaled

Kick = Callable[[Agents, Agents, Rates, Array, Array], Agents]


def _advance(tree, velocity, dt):
    """tree + dt * velocity, for the leaves that flow; an agent's index does not."""
    move = lambda s, f: (s + dt.astype(s.dtype) * f).astype(s.dtype) if jnp.issubdtype(s.dtype, jnp.inexact) else s
    return jax.tree.map(move, tree, velocity)


def em_step(
    model: Dynamics, state: State, step: Array, dt: Array | None, kick: Kick, mean: Mean, order: Order
) -> State:
    """One Euler-Maruyama step of length `dt` (None: the matched step, at which this is the SGD iteration).

    With momentum the new velocity moves the positions (semi-implicit Euler), as in the iterations.
    """
    rates = model.at_step(step)
    dt = rates.h if dt is None else dt
    tick = rates.clock * dt
    x, v, shared, velocity_shared, t = state
    x_old = x
    pull = _scaled(rates.drift, model.coupling.pull(x, shared, t, mean))
    if order == "gauss-seidel":
        x = x + tick * pull
    point = model.gradient_point(x, v)
    gradients = model.gradients(point)
    force = _scaled(rates.drift, -gradients)
    noise = kick(point, gradients, rates, dt, jnp.sqrt(rates.h) * (1 if v is None else rates.unit))
    if v is None or model.momentum is None:
        if model.weak_order == 2 and order == "jacobi":
            drift = model.drift(state, mean, step)
            return State(x + dt * drift.x + noise, None, _advance(shared, drift.shared, dt), None, t + dt)
        # Noise comes first: XLA emits its long chain before the gradient then, and the processor overlaps the two.
        x = x + dt * force + noise if order == "gauss-seidel" else noise + (x + dt * (force + pull))
    else:
        velocity_pull, velocity_flow = model.velocity_field(state, mean)
        friction = model.momentum.friction(t / rates.clock + dt, rates.h)
        v = v + dt * (rates.unit * force - friction * v + rates.clock * velocity_pull) + noise
        v = lax.optimization_barrier(v)  # or XLA computes it, noise and gradient too, a second time within x
        x = x + dt / rates.unit * v if order == "gauss-seidel" else x + dt / rates.unit * v + tick * pull
        velocity_shared = _advance(velocity_shared, velocity_flow, tick)
    flow = model.coupling.flow(x if order == "gauss-seidel" else x_old, shared, t, mean)
    return State(x, v, _advance(shared, flow, tick), velocity_shared, t + tick)


def sgd_step(model: Dynamics, state: State, step: Array, period: Array, kick: Kick, mean: Mean, order: Order) -> State:
    """One iteration of the discrete algorithm, in its own variables: learning rate, momentum, moving rates.

        x <- x - eta g + eta pull        or        v <- delta v - eta g,  x <- x + v + eta pull

    The agents communicate at the steps that `period` (tau of Z, Alg. 1-2) divides, and run alone between them. In
    Gauss-Seidel order the shared state follows the agents after the last step before the next pull, as in DOWNPOUR (Z,
    Alg. 3): what they did in the whole period, and not in its first step, is what it collects.
    """
    rates = model.at_step(step)
    x, v, shared, velocity_shared, t = state
    x_old = x
    moving = rates.h * rates.clock  # eta: weight of the coupling in one iteration
    at = lambda n: jnp.where(n % period == 0, moving, jnp.zeros_like(moving))
    exchange = at(step)
    pull = exchange * _scaled(rates.drift, model.coupling.pull(x, shared, t, mean))
    if order == "gauss-seidel":
        x = x + pull
    point = model.gradient_point(x, v)
    gradients = model.gradients(point)
    eta = rates.h if v is None else rates.h * rates.unit
    descent = eta * _scaled(rates.drift, -gradients) + kick(point, gradients, rates, jnp.ones_like(eta), eta)
    if v is None or model.momentum is None:
        x = x + descent
    else:
        velocity_pull, velocity_flow = model.velocity_field(state, mean)
        delta = 1 - rates.h * model.momentum.friction(t / rates.clock + rates.h, rates.h)
        v = lax.optimization_barrier(delta * v + descent + exchange * velocity_pull)
        x = x + rates.h / rates.unit * v
        velocity_shared = _advance(velocity_shared, velocity_flow, exchange)
    if order == "jacobi":
        x = x + pull
    flow = model.coupling.flow(x if order == "gauss-seidel" else x_old, shared, t, mean)
    collected = at(step + 1) if order == "gauss-seidel" else exchange
    return State(x, v, _advance(shared, flow, collected), velocity_shared, t + moving)
