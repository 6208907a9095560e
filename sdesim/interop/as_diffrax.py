"""Every `Dynamics` as a pair of diffrax terms, so that diffrax's solvers, adaptive steps and Brownian trees run it.

The noise is Gaussian with the covariance of the model's law, whatever its shape: an SDE has no other. The terms are of
one simulation, and `jax.vmap` over keys runs many.
"""

import inspect
import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, State
from sdesim.fields import check_count, check_sign, concrete, is_traced, named, number, shown
from sdesim.objectives import check_loss
from sdesim.random import MAX_STEPS


class _Diffusion(lx.AbstractLinearOperator):
    """Brownian increments (agents, dims) to the noise of a whole state.

    On the velocities where there are any, else on the positions. An operator made of arrays, because diffrax maps and
    differentiates over it.

    Attributes:
        matrix: of each agent, (agents, dims, dims), or its diagonal, (agents, dims).
        rest: the state at rest.
    """

    matrix: Array
    rest: State

    def mv(self, vector: Array):
        force = self.matrix * vector if self.matrix.ndim == 2 else jnp.einsum("aij,aj->ai", self.matrix, vector)
        return self.rest._replace(x=force) if self.rest.v is None else self.rest._replace(v=force)

    def as_matrix(self):
        raise NotImplementedError("the diffusion is applied, never assembled")

    def transpose(self):
        raise NotImplementedError("the diffusion is applied, never transposed")

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.rest.x.shape, self.rest.x.dtype)

    def out_structure(self):
        return jax.eval_shape(lambda: self.rest)


for _question in (lx.is_symmetric, lx.is_positive_semidefinite, lx.is_negative_semidefinite):
    _question.register(_Diffusion)(lambda _: False)  # lineax asks each operator at construction


def diffrax_state(model: Dynamics, x: Float[Array, "agents dims"], v: Any = None) -> State:
    """The initial state `y0` that goes with agents and, with momentum, their displacements.

    Args:
        model: the dynamics.
        x: agents, (agents, dims), in length.
        v: displacements in one iteration, (agents, dims); at rest by default.

    Returns:
        What flows of the state.

    Raises:
        TypeError: for what is no model, or no numbers.
        ValueError: for agents or displacements of another shape, or displacements without momentum.
    """
    x = _agents(model, x)
    if v is not None:
        if model.momentum is None:
            raise ValueError("v: must be left out, as the model has no momentum")
        v = named("v", number)(v)
        if v.shape != x.shape:
            raise ValueError(f"v: of shape {v.shape}, must be that of x, {x.shape}")
    return eqx.filter(model.init(x, ArrayMean(x.shape[0]), v), eqx.is_inexact_array)


def _agents(model: Dynamics, x: Any) -> Array:
    """Agents as an array (agents, dims) that fits the model."""
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    x = named("x", number)(x)
    if x.ndim != 2:
        raise ValueError(f"x: of shape {x.shape}, must be (agents, dims); agents in one dimension are x[:, None]")
    check_loss(model.objective, x.shape[1], x.dtype)
    return x


def diffrax_terms(
    model: Dynamics, x: Float[Array, "agents dims"], path: diffrax.AbstractPath, *, steps: int | None = None
) -> diffrax.MultiTerm:
    """Drift and diffusion of a model: MultiTerm(ODETerm, ControlTerm) over the state of `diffrax_state`.

    Args:
        model: the dynamics.
        x: agents, (agents, dims), for their number and for what the coupling shares at the start.
        path: Brownian motion of shape (agents, dims), such as `diffrax.VirtualBrownianTree(..., shape=x.shape)`.
        steps: only for a learning rate that depends on the step: the number of steps that time is divided into.

    Returns:
        The terms, of one simulation.

    Raises:
        TypeError: for what is no path.
        ValueError: for agents of another shape, a law without variance, a rule that jumps at epochs, and a schedule
            without `steps`.
    """
    x = _agents(model, x)
    if (reason := model.noise.without_variance()) is not None:
        raise ValueError(f"noise: {reason}, so no Brownian motion has its covariance")
    if not isinstance(path, diffrax.AbstractPath):
        raise TypeError(f"path={shown(path)}: must be a path of diffrax, such as diffrax.VirtualBrownianTree")
    if model.coupling.renews:
        raise ValueError(f"coupling={type(model.coupling).__name__}: jumps at epochs, of which diffrax has none")
    if steps is not None:
        steps = check_count("steps", steps, most=MAX_STEPS)
    if callable(model.eta) and steps is None:
        raise ValueError("steps=None: the learning rate depends on the step; say how many steps time is divided into")
    mean = ArrayMean(x.shape[0])
    # What does not flow (the index of the best agent) is no part of the state that diffrax integrates.
    still = eqx.filter(model.init(x, mean), eqx.is_inexact_array, inverse=True)
    whole = lambda y: eqx.combine(y, still)
    ends = None
    if callable(model.eta):
        ends = jnp.cumsum(jax.vmap(lambda n: model.at_step(n).h)(jnp.arange(steps, dtype=jnp.int32)))

    def step_at(t: Any):
        """The step within which time t lies.

        One at which the learning rate is 0 has no length, and no time is in it; a time that is the end of a step but
        for rounding is in the next.
        """
        if ends is None:
            return 0
        t = t * (1 + 4 * jnp.finfo(ends.dtype).eps)
        last = jnp.searchsorted(ends, ends[-1], side="left")
        return jnp.minimum(jnp.searchsorted(ends, t, side="right"), last).astype(jnp.int32)

    def drift(t: Any, y: State, args: Any):
        return eqx.filter(model.drift(whole(y), mean, step_at(t)), eqx.is_inexact_array)

    def diffusion(t: Any, y: State, args: Any):
        rates = model.at_step(step_at(t))
        point = model.gradient_point(y.x, y.v)
        gradients = model.gradients(point) if model.noise.state_dependent else point
        scale = model.sizes(rates, jnp.ones_like(rates.h)).diffusion
        force = lambda dw: model.noise.diffuse(dw, point, gradients, model.batch, scale)
        if model.noise.diagonal:
            matrix = force(jnp.ones_like(point))
        else:
            basis = jnp.eye(point.shape[1], dtype=point.dtype)
            matrix = jax.vmap(lambda e: force(jnp.broadcast_to(e[None], point.shape)), out_axes=-1)(basis)
        return _Diffusion(matrix, jax.tree.map(jnp.zeros_like, y))

    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path))


def check_solver(model: Dynamics, solver: diffrax.AbstractSolver) -> None:
    """Refuse a solver that does not converge to the model's SDE, which is Itô's.

    Args:
        model: the dynamics.
        solver: of diffrax.

    Raises:
        TypeError: for what is no solver of diffrax.
        ValueError: for state-dependent noise with a solver that is not Itô's.
    """
    if not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"solver={shown(solver)}: must be a solver of diffrax, such as diffrax.Euler()")
    if model.noise.state_dependent and not isinstance(solver, diffrax.AbstractItoSolver):
        raise ValueError(
            f"solver={type(solver).__name__}: {type(model.noise).__name__} noise depends on the state, and the model "
            "is an Itô SDE; this solver converges to another interpretation of it. Use an Itô solver such as "
            "diffrax.Euler or diffrax.ItoMilstein"
        )


def _levy_area(solver: diffrax.AbstractSolver) -> type:
    """The Lévy areas that a solver's path must have, as a Brownian tree takes them: the least that are enough."""
    least = getattr(solver, "minimal_levy_area", diffrax.BrownianIncrement)
    areas = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return next((area for area in areas if issubclass(area, least)), least)


def _time(name: str, value: Any) -> Any:
    """One number greater than 0, traced or as a float."""
    check_sign(name, value, zero=False)
    value = named(name, number)(value)
    if value.shape != ():
        raise ValueError(f"{name}={shown(value)}: must be one number")
    return value if is_traced(value) else float(value)


def _most_steps(t1: Any, dt0: Any, options: dict[str, Any]) -> int:
    """diffrax's own limit on the number of steps, or what steps of constant length need.

    Not None, which would be no limit: of a loop without one there is no reverse mode.
    """
    usual = inspect.signature(diffrax.diffeqsolve).parameters["max_steps"].default
    constant = isinstance(options.get("stepsize_controller", diffrax.ConstantStepSize()), diffrax.ConstantStepSize)
    end, length = concrete(t1, np.max), concrete(dt0, np.max)
    if not constant or end is None or length is None:
        return usual
    if (needed := end / length) > MAX_STEPS:
        raise ValueError(f"dt0={length:g}: must be at least t1 / {MAX_STEPS} = {end / MAX_STEPS:.3g}")
    return max(usual, math.ceil(needed) + 1)


def diffrax_solve(
    model: Dynamics,
    x: Float[Array, "agents dims"],
    *,
    key: Array,
    t1: float,
    dt0: float | None,
    solver: diffrax.AbstractSolver | None = None,
    path: diffrax.AbstractPath | None = None,
    v: Array | None = None,
    steps: int | None = None,
    **options: Any,
) -> diffrax.Solution:
    """Solve one simulation of a model from agents `x` at time 0 to `t1` with diffrax.

    Args:
        model: the dynamics.
        x: agents at time 0, (agents, dims), in length.
        key: a JAX key for a `diffrax.VirtualBrownianTree` fine enough for `dt0`, unless a `path` is given.
        t1: the end, in the time of the SDE.
        dt0: length of the steps, in the time of the SDE; None to let an adaptive controller choose.
        solver: `diffrax.Euler()` by default.
        path: Brownian motion of shape (agents, dims), with the Lévy areas that the solver needs.
        v: initial displacements in one iteration, of the shape of x; at rest by default.
        steps: only for a learning rate that depends on the step, as for `diffrax_terms`.
        **options: to `diffrax.diffeqsolve` (saveat, stepsize_controller, ...). Its `max_steps` is as there, or what
            steps of constant length need.

    Returns:
        diffrax's Solution; `ys.x` are the agents at the saved times.

    Raises:
        TypeError: for an argument of another kind, and as `diffrax_terms` and `check_solver`.
        ValueError: for a bad argument, and as `diffrax_terms` and `check_solver`.
    """
    x = _agents(model, x)
    solver = diffrax.Euler() if solver is None else solver
    check_solver(model, solver)
    t1 = _time("t1", t1)
    if dt0 is not None:
        dt0 = _time("dt0", dt0)
    elif "stepsize_controller" not in options:
        raise ValueError("dt0=None: must be the length of a step, unless an adaptive stepsize_controller chooses it")
    if path is None:
        if not isinstance(key, jax.Array) or not (
            (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and not key.shape)
            or (key.shape == (2,) and key.dtype == jnp.uint32)
        ):
            raise TypeError(f"key={shown(key)}: must be one key of jax.random, such as jax.random.key(0)")
        levy = _levy_area(solver)
        tolerance = t1 * 2.0**-20 if dt0 is None else dt0 / 4
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        path = diffrax.VirtualBrownianTree(0.0, t1, tol=tolerance, shape=shape, key=key, levy_area=levy)
    terms = diffrax_terms(model, x, path, steps=steps)
    options.setdefault("max_steps", _most_steps(t1, dt0, options))
    return diffrax.diffeqsolve(terms, solver, 0.0, t1, dt0, diffrax_state(model, x, v), **options)
