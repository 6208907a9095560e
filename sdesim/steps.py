"""One step: of Euler-Maruyama, and of the discrete algorithms as their papers write them.

Both compose the same parts of a `Dynamics`, and both take the order in which pull, gradient and shared state act:

- "jacobi": all from the old state (Z 2.3-2.4, BS 41-43);
- "gauss-seidel": first the pull on the agents, then the gradient at where it took them, then the shared state from
  the new agents (Z 6.3).

A kick, `kick(x, gradients, size)`, gives the noise of a step for agents at x: size.kick zeta, or size.diffusion B dW.
Whether it comes from a law and random words or from increments of the caller is not a stepper's business.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.coupling import Mean, Order
from sdesim.dynamics import Agents, Dynamics, Sizes, State, weighted, weighted_tree

Kick = Callable[[Agents, Agents, Sizes], Agents]


def moved(tree: PyTree, change: PyTree) -> PyTree:
    """tree + change, for the leaves that flow; an agent's index does not."""
    move = lambda s, f: s + f.astype(s.dtype) if jnp.issubdtype(s.dtype, jnp.inexact) else s
    return jax.tree.map(move, tree, change)


def em_step(
    model: Dynamics, state: State, step: Array, dt: Array | None, kick: Kick, mean: Mean, order: Order
) -> State:
    """One Euler-Maruyama step of length `dt` (None: the matched step, at which this is the SGD iteration).

    With momentum the new velocity moves the positions (semi-implicit Euler), as in the iterations.
    """
    rates = model.at_step(step)
    size = model.sizes(rates, dt)
    x, v, shared, velocity_shared, clock, before = state
    x_old, t, clock = x, state.t, clock.plus(size.tick)
    pull = model.coupling.pull(x, shared, t, mean)
    if order == "gauss-seidel":
        x = x + weighted(size.weight, pull)
    point = model.gradient_point(x, v)
    gradients = model.gradients(point)
    noise = kick(point, gradients, size)
    if v is None or model.momentum is None:
        if model.weak_order == 2 and order == "jacobi":
            change = model.change(state, mean, rates, dt, t)
            return State(x + change.x + noise, None, moved(shared, change.shared), None, clock, before)
        # Noise comes first: XLA emits its long chain before the gradient then, and the processor overlaps the two.
        if order == "gauss-seidel":
            x = x + weighted(size.weight, -gradients) + noise
        else:
            x = noise + (x + weighted(size.weight, pull - gradients))
    else:
        velocity_pull, velocity_flow = model.velocity_field(state, mean)
        loss = model.momentum.loss(size.move, state.time + size.tick)
        v = v + (weighted(size.weight, -gradients) - loss * v + size.tick * velocity_pull) + noise
        v = lax.optimization_barrier(v)  # or XLA computes it, noise and gradient too, a second time within x
        x = x + size.move * v if order == "gauss-seidel" else x + size.move * v + weighted(size.weight, pull)
        velocity_shared = moved(velocity_shared, weighted_tree(size.tick, velocity_flow))
    flow = model.coupling.flow(x if order == "gauss-seidel" else x_old, shared, t, mean)
    return State(x, v, moved(shared, weighted_tree(size.tick, flow)), velocity_shared, clock, before)


def sgd_step(model: Dynamics, state: State, step: Array, period: Array, kick: Kick, mean: Mean, order: Order) -> State:
    """One iteration of the discrete algorithm, in its own variables: learning rate, momentum, moving rates.

        x <- x - eta g + eta pull        or        v <- delta v - eta g,  x <- x + v + eta pull

    The agents communicate at the steps that `period` (tau of Z, Alg. 1-2) divides, and run alone between them. In
    Gauss-Seidel order the shared state follows the agents after the last step before the next pull, as in DOWNPOUR (Z,
    Alg. 3): what they did in the whole period, and not in its first step, is what it collects.
    """
    size = model.sizes(model.at_step(step))
    x, v, shared, velocity_shared, clock, before = state
    x_old, t, clock = x, state.t, clock.plus(size.tick)
    at = lambda n, weight: jnp.where(n % period == 0, weight, jnp.zeros_like(weight))
    pull = weighted(at(step, size.weight), model.coupling.pull(x, shared, t, mean))
    if order == "gauss-seidel":
        x = x + pull
    point = model.gradient_point(x, v)
    gradients = model.gradients(point)
    descent = weighted(size.weight, -gradients) + kick(point, gradients, size._replace(diffusion=size.kick))
    if v is None or model.momentum is None:
        x = x + descent
    else:
        velocity_pull, velocity_flow = model.velocity_field(state, mean)
        exchange = at(step, size.tick)
        kept = 1 - model.momentum.loss(size.move, state.time + size.tick)
        v = lax.optimization_barrier(kept * v + descent + exchange * velocity_pull)
        x = x + size.move * v
        velocity_shared = moved(velocity_shared, weighted_tree(exchange, velocity_flow))
    if order == "jacobi":
        x = x + pull
    flow = model.coupling.flow(x if order == "gauss-seidel" else x_old, shared, t, mean)
    collected = at(step + 1 if order == "gauss-seidel" else step, size.tick)
    return State(x, v, moved(shared, weighted_tree(collected, flow)), velocity_shared, clock, before)
