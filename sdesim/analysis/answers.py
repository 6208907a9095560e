"""How one step answers to pushes: derivatives of the code that simulates, at a state of rest.

Pushed are coordinates of agents and of what they share, and gradient noise. Of noise whose size hangs on the point it
is asked too at which point each agent takes its gradient.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.asynchrony.events import Arrival
from sdesim.coupling import per_agent
from sdesim.dynamics import Dynamics, State
from sdesim.noise import AbstractNoise
from sdesim.random import Words
from sdesim.steppers import AbstractStepper
from sdesim.steppers.delayed import Past


@eqx.filter_jit
def begun(model: Dynamics, stepper: AbstractStepper, x: Array) -> State:
    """The state at step 0 of agents at x.

    Args:
        model: the dynamics.
        stepper: what one step is.
        x: (agents, dims).

    Returns:
        The state.
    """
    return stepper.init(model, x)


@eqx.filter_jit
def pushed(
    model: Dynamics, stepper: AbstractStepper, state: State, n: Array, arrival: Arrival | None, probes: Array
) -> tuple[Array, Array, State]:
    """How a step answers to pushes of some agents and of what is shared.

    Args:
        model: the dynamics.
        stepper: what one step is.
        state: at rest.
        n: the number of the step, an int32 scalar.
        arrival: who arrives; None where all step.
        probes: the agents that are pushed, (probes,).

    Returns:
        What agents answer, (pushes, agents, own), and what is shared, (pushes, shared), to pushes of the coordinates
        and the noise of each probe, and then of what is shared; and the state after, at rest.
    """
    rows, shared = coordinates(state, n)

    def step(rows: Array, shared: Array, zeta: Array):
        noise = _Given(_of(zeta, arrival))
        new = _stepped(model, stepper, state, n, arrival, noise, rows, shared)
        return coordinates(new, n + 1), new

    (agents, own), (common,), dims = rows.shape, shared.shape, state.x.shape[1]
    still = jnp.zeros((agents, dims))
    _, slope, new = jax.linearize(step, rows, shared, still, has_aux=True)
    of_agents, of_shared = _pushes(agents, own + dims, common, probes)
    moved, changed = jax.vmap(slope)(of_agents[..., :own], of_shared, of_agents[..., own:])
    return moved, changed, _placed(new, n + 1, rows, shared)


@eqx.filter_jit
def looked(
    model: Dynamics,
    stepper: AbstractStepper,
    state: State,
    n: Array,
    arrival: Arrival | None,
    sources: Array,
    probes: Array,
) -> Array:
    """Where some agents take their gradients, as it answers to pushes of others and of what is shared.

    A noise u (point - rest) z has no effect to first order. Its effect to second order, of z and of a push together, is
    that of z by itself times how far the push has moved the point along u.

    Args:
        model: the dynamics.
        stepper: what one step is.
        state: at rest, of all agents at one point.
        n: the number of the step, an int32 scalar.
        arrival: who arrives; None where all step.
        sources: the agents that are asked, (sources,).
        probes: the agents that are pushed, (probes,).

    Returns:
        (sources, dims, pushes), in the order of `pushed` but without noise; 0 of one whose noise changes nothing.
    """
    rows, shared = coordinates(state, n)
    (agents, own), (common,), dims = rows.shape, shared.shape, state.x.shape[1]
    of_agents, of_shared = _pushes(agents, own, common, probes)
    still = jnp.zeros((agents, dims))

    def after(rows: Array, shared: Array, zeta: Array, tilt: Array, along: Array) -> Array:
        noise = _Given(_of(zeta, arrival), (_of(tilt, arrival), state.x[0], along))
        new = coordinates(_stepped(model, stepper, state, n, arrival, noise, rows, shared), n + 1)
        return jnp.concatenate([part.ravel() for part in new])

    def of(source: Array) -> Array:
        units = jnp.eye(agents)[source][None, :, None] * jnp.eye(dims)[:, None, :]  # (dims, agents, dims)
        kick = lambda unit: jax.jvp(lambda z: after(rows, shared, z, still, unit[0]), (still,), (unit,))[1]
        kicks = jax.vmap(kick)(units)

        def along(u: Array) -> Array:
            def tilted(rows: Array, shared: Array) -> Array:
                one = lambda unit: jax.jvp(lambda tilt: after(rows, shared, still, tilt, u), (still,), (unit,))[1]
                return jax.vmap(one)(units)

            _, slope = jax.linearize(tilted, rows, shared)
            return jnp.einsum("pak,ak->p", jax.vmap(slope)(of_agents, of_shared), kicks)

        size = jnp.sum(kicks**2)
        return jax.vmap(along)(jnp.eye(dims)) / jnp.where(size > 0, size, 1.0)

    return jax.lax.map(of, sources)


def _pushes(agents: int, own: int, common: int, probes: Array) -> tuple[Array, Array]:
    """Units of each probe's coordinates, (pushes, agents, own), and then of what is shared, (pushes, common)."""
    of_agent = jnp.eye(agents)[probes]  # (probes, agents)
    units = of_agent[:, None, :, None] * jnp.eye(own)[None, :, None, :]
    units = units.reshape(-1, agents, own)
    of_shared = jnp.concatenate([jnp.zeros((len(units), common)), jnp.eye(common)])
    return jnp.concatenate([units, jnp.zeros((common, agents, own))]), of_shared


def _of(noise: Array, arrival: Arrival | None) -> Array:
    """The noise of those who take a gradient."""
    return noise if arrival is None else noise[arrival.worker][None]


def _stepped(
    model: Dynamics,
    stepper: AbstractStepper,
    state: State,
    n: Array,
    arrival: Arrival | None,
    noise: AbstractNoise,
    rows: Array,
    shared: Array,
) -> State:
    which: dict[str, Any] = {} if arrival is None else {"arrival": arrival}
    return stepper.step(dataclasses.replace(model, noise=noise), _placed(state, n, rows, shared), n, **which)


# -- coordinates ------------------------------------------------------------------------------------------------------


def coordinates(state: State, n: Array) -> tuple[Array, Array]:
    """What there is of floating-point numbers before step n.

    Args:
        state: of one simulation.
        n: the number of the step, an int32 scalar.

    Returns:
        Those of each agent, (agents, own), and of what they share, (shared,).
    """
    of_agents, shared = _parts(state, n)
    rows = jnp.concatenate([a.reshape(a.shape[0], -1) for a in jax.tree.leaves(of_agents)], axis=1)
    return rows, ravel_pytree(shared)[0].astype(rows.dtype)  # of nothing it has another type


def _parts(state: State, n: Array) -> tuple[PyTree, PyTree]:
    """What each agent has, and what they share, of floating-point numbers."""
    kept = getattr(state.kept, "own", None)
    if isinstance(state.kept, Past):  # leaves (slots, agents, dims), of which that of step n is to be overwritten
        kept = jax.tree.map(lambda a: jnp.moveaxis(a[_by_age(len(a), n)], 0, 1), state.kept)
    return tuple(
        eqx.filter(tree, eqx.is_inexact_array)
        for tree in ((state.x, state.v, kept), (state.shared, state.velocity_shared))
    )


def _by_age(slots: int, n: Array) -> Array:
    """The slots of the steps before step n, from the last one back, but for that which step n takes."""
    return (n - 1 - jnp.arange(slots - 1, dtype=n.dtype)) % slots


def _placed(state: State, n: Array, rows: Array, shared: Array) -> State:
    """A state with these coordinates before step n, and its own integers."""
    of_agents, common = _parts(state, n)
    leaves, tree = jax.tree.flatten(of_agents)
    ends = np.cumsum([a[0].size for a in leaves])[:-1]
    parts = [part.reshape(a.shape) for part, a in zip(jnp.split(rows, ends, axis=1), leaves, strict=True)]
    x, v, own = jax.tree.unflatten(tree, parts)
    new = ravel_pytree(common)[1](shared) if shared.size else common
    whole = eqx.combine(new, (state.shared, state.velocity_shared))
    if isinstance(state.kept, Past):
        put = lambda ring, aged: ring.at[_by_age(len(ring), n)].set(jnp.moveaxis(aged, 1, 0))
        state = state._replace(kept=jax.tree.map(put, state.kept, own))
    elif own is not None:
        state = state._replace(kept=state.kept._replace(own=eqx.combine(own, state.kept.own)))
    return state._replace(x=x, v=v, shared=whole[0], velocity_shared=whole[1])


# -- the law of the noise ---------------------------------------------------------------------------------------------


class Law(NamedTuple):
    """Covariance of an agent's gradient noise, of a minibatch, by the departure d of the point from rest.

    fixed + sum_cd curved[:, :, c, d] E d_c d_d, of departures of mean 0. For a law whose covariance is quadratic in the
    point it is exact.

    Attributes:
        fixed: at rest, (dims, dims).
        curved: half of the second derivative, (dims, dims, dims, dims); None where the covariance is one everywhere.
    """

    fixed: NDArray
    curved: NDArray | None


def law_of(model: Dynamics, at: NDArray, batch: float) -> Law:
    """What a model's noise states of its covariance, by `AbstractNoise.diffuse`.

    Args:
        model: the dynamics.
        at: the point, (dims,).
        batch: minibatch size.

    Returns:
        The law.

    Raises:
        ValueError: for a noise without variance, or that states none.
    """
    name = type(model.noise).__name__
    if (reason := model.noise.without_variance()) is not None:
        raise ValueError(f"noise={name}: must have a covariance, and {reason}")
    if type(model.noise).diffuse is AbstractNoise.diffuse:
        raise ValueError(f"noise={name}: must state its covariance by `diffuse`, scale B(x) dw, and has no such method")
    fixed, slope = (np.asarray(a) for a in _covariance(model, jnp.asarray(at), jnp.asarray(batch)))
    if not model.noise.state_dependent and not slope.any():
        return Law(fixed, None)
    curved = np.asarray(_curved(model, jnp.asarray(at), jnp.asarray(batch))) / 2
    return Law(fixed, curved if curved.any() else None)


def _root(model: Dynamics, batch: Array, x: Array) -> Array:
    """What multiplies a Brownian increment at a point, (dims, dims)."""
    gradient = model.gradients(x[None])
    kick = lambda dw: model.noise.diffuse(dw[None], x[None], gradient, batch, jnp.ones(()))[0]
    return jax.jacobian(kick)(jnp.zeros_like(x))


def _square(model: Dynamics, batch: Array, x: Array) -> Array:
    root = _root(model, batch, x)
    return root @ root.T


@eqx.filter_jit
def _covariance(model: Dynamics, at: Array, batch: Array) -> tuple[Array, Array]:
    """At a point, (dims, dims), and the slope of its root there."""
    return _square(model, batch, at), jax.jacobian(lambda x: _root(model, batch, x))(at)


@eqx.filter_jit
def _curved(model: Dynamics, at: Array, batch: Array) -> Array:
    """Its second derivative, (dims, dims, dims, dims)."""
    return jax.hessian(lambda x: _square(model, batch, x))(at)


class _Given(AbstractNoise):
    """Noise that is handed in: zeta + tilt (x - at) . along, the second with `slope` = (tilt, at, along) alone."""

    zeta: Array
    slope: tuple[Array, Array, Array] | None = None

    word_pairs = 0

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return self.zeta

    def apply(self, z: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        if self.slope is not None:
            tilt, at, along = self.slope
            z = z + tilt * ((x - at[None]) @ along)[:, None]
        return per_agent(scale, x) * z
