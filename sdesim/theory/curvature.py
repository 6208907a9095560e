"""The constants of a loss and of a noise law that the bounds need: concavity, lambda, L, Q and C.

`constants` knows the losses of `sdesim.objectives`, in closed form or by a grid and a Lipschitz bound between its
points: true bounds, everywhere or on a stated box. `estimate` looks at the points that a run visited, for any loss: a
lower bound of the true concavity, L and Q, and labeled as an estimate. `share_outside` says how often a run left a box.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count
from sdesim.functions import objective_of_today
from sdesim.noise import AbstractNoise
from sdesim.objectives import (
    AbstractObjective,
    CoupledDoubleWells,
    LogCosh,
    OscillatingDoubleWell,
    Quadratic,
    QuarticDoubleWell,
    as_objective,
    check_loss,
)

Box = tuple[float, float]

GRID = 2**17  # intervals of a grid: what the Lipschitz bound adds is below 0.1 % for the default model losses
TENSORS = 2**22  # numbers in the third derivatives of one chunk of points


@dataclasses.dataclass(frozen=True)
class Constants:
    """Bounds of the second and third derivatives of a loss, as arguments of `sdesim.theory.bounds`.

    Attributes:
        concavity: sup of lambda_max(-Hessian), in 1/time; negative where the loss is strongly convex.
        smoothness: L, sup of lambda_max(Hessian), in 1/time.
        third: Q, sup of the spectral norm of the Hessian of each component of the gradient, in 1/(length time).
        box: (low, high) of every coordinate within which they hold; None for everywhere, and for an estimate.
        certified: whether they are true bounds. An estimate bounds the true concavity, L and Q from below.
        kind: how they were found.
    """

    concavity: float
    smoothness: float
    third: float
    box: Box | None
    certified: bool
    kind: str

    @property
    def strong_convexity(self) -> float:
        """lambda, the least eigenvalue of the Hessian: minus the concavity. Not positive if the loss is not convex."""
        return -self.concavity


def constants(objective: Any, dims: int, box: Box | None = None) -> Constants:
    """The constants of a loss of `sdesim.objectives`, as true bounds.

    `Quadratic` and `LogCosh` have them everywhere, so a box is not looked at; the other losses grow faster than any
    quadratic, and have them on a box.

    Args:
        objective: an objective. Its numbers are taken as they are stored, in float32 unless x64 is on.
        dims: d.
        box: (low, high) of every coordinate, in length.

    Returns:
        `Constants` that are certified.

    Raises:
        ValueError: if the loss needs a box and has none, the box is empty, or dims does not fit.
        TypeError: if nothing is known of the loss, a subclass of these among them; `estimate` takes any.
    """
    check_count("dims", dims)
    kind = type(objective)  # exactly: a subclass may be another loss
    if kind not in _KNOWN:
        known = ", ".join(one.__name__ for one in _KNOWN)
        raise TypeError(f"objective={objective!r}: known are {known}; use estimate(objective, points) for others")
    check_loss(objective, dims, jnp.result_type(float))
    if kind in (Quadratic, LogCosh):
        box = None
    elif box is None:
        raise ValueError(f"box=None: {kind.__name__} has no bounded curvature; give a box (low, high)")
    else:
        box = _box(box)
    return _KNOWN[kind](objective, dims, box)


def share_outside(points: ArrayLike, box: Box, axis: int | tuple[int, ...] = -1) -> float:
    """Share of points with a coordinate outside a box; what is not a number is outside.

    Args:
        points: (..., dims), in length.
        box: (low, high) of every coordinate, in length.
        axis: axes over which one coordinate outside counts for all; with the axis of time among them, the share of the
            trajectories that ever leave.

    Returns:
        From 0 to 1.
    """
    low, high = _box(box)
    x = np.asarray(points)
    return float(np.mean(np.any(~((x >= low) & (x <= high)), axis=axis)))


def estimate(objective: Any, points: ArrayLike) -> Constants:
    """The extremes of a loss's second and third derivatives at given points: estimates, not bounds.

    They bound the true concavity, L and Q from below, and are what agents met if the points are theirs.

    Args:
        objective: an objective or a function of a point (dims,) to a scalar, three times differentiable by JAX.
        points: (..., dims), such as the agents of a result (sims, agents, dims). Third derivatives take dims^3 numbers
            a point, in chunks.

    Returns:
        `Constants` that are not certified.

    Raises:
        ValueError: if there are no points, one is not finite, or the loss does not fit them.
    """
    objective = as_objective(objective)
    x = jnp.asarray(points, jnp.result_type(float))
    if x.ndim < 1 or x.size == 0:
        raise ValueError(f"points: of shape {x.shape}, must be (..., dims) with at least one point")
    x = x.reshape(-1, x.shape[-1])
    if bad := int(np.sum(~np.isfinite(np.asarray(x)).all(axis=-1))):
        raise ValueError(f"points: {bad} of {len(x)} are not finite; leave out the simulations that diverged")
    with objective_of_today(objective, x.shape[-1]) as now:
        least, greatest, third = _extremes(now, x)
    return Constants(-least, greatest, third, None, False, f"estimate along trajectories, {len(x)} points")


def gradient_noise_trace(
    law: AbstractNoise, dims: int, points: ArrayLike | None = None, objective: Any = None
) -> float:
    """C, the trace of the covariance of one sample's gradient noise.

    Args:
        law: a law of `sdesim.noise`.
        dims: d.
        points: (..., dims), for a law that depends on the state: its greatest trace at these points is returned, which
            is a bound only if they include the worst.
        objective: the loss, for a law that multiplies the gradient; the gradient is 0 without it.

    Returns:
        C, in length^2/time^2.

    Raises:
        ValueError: if the law depends on the state and there are no points, or if it has no variance.
    """
    check_count("dims", dims)
    dtype = jnp.result_type(float)
    if points is None:
        if law.state_dependent:
            raise ValueError(f"points=None: {type(law).__name__} depends on the state; give the points to look at")
        x = jnp.zeros((1, dims), dtype)
    else:
        x = jnp.asarray(points, dtype).reshape(-1, dims)
    gradient = jnp.zeros_like(x) if objective is None else jax.vmap(as_objective(objective).gradient)(x)
    one = jnp.ones((), dtype)
    # Of a diagonal B the vector of ones makes every entry at once; of a full one each unit vector makes a column.
    directions = np.ones((1, dims)) if law.diagonal else np.eye(dims)
    trace = np.zeros(len(x))
    for direction in directions:
        dw = jnp.broadcast_to(jnp.asarray(direction, dtype), x.shape)
        column = jnp.broadcast_to(law.diffuse(dw, x, gradient, one, one), x.shape)
        trace += np.sum(np.asarray(column, float) ** 2, axis=-1)
    if not np.isfinite(trace).all():
        raise ValueError(f"law={law!r}: has no finite variance")
    return float(trace.max())


# -- the losses of sdesim.objectives -----------------------------------------------------------------------------------


def _quadratic(objective: Quadratic, dims: int, box: Box | None) -> Constants:
    a = np.asarray(objective.curvature, float)
    eigenvalues = np.linalg.eigvalsh((a + a.T) / 2) if a.ndim == 2 else np.atleast_1d(a)
    return Constants(-float(eigenvalues.min()), float(eigenvalues.max()), 0.0, None, True, "closed form")


def _log_cosh(objective: LogCosh, dims: int, box: Box | None) -> Constants:
    """f'' = strength + weight sech^2 x, |f'''| = 2 |weight sech^2 x tanh x|, greatest where tanh^2 x = 1/3."""
    s, w = np.broadcast_arrays(np.asarray(objective.strength, float), np.asarray(objective.weight, float))
    least, greatest = np.minimum(s, s + w).min(), np.maximum(s, s + w).max()
    third = 4 / (3 * np.sqrt(3.0)) * np.abs(w).max()
    return Constants(-float(least), float(greatest), float(third), None, True, "closed form")


def _quartic(objective: QuarticDoubleWell, dims: int, box: Box) -> Constants:
    """f'' = 3 x^2 - 1, f''' = 6 x in each coordinate."""
    far = max(abs(box[0]), abs(box[1]))
    near = 0.0 if box[0] <= 0 <= box[1] else min(abs(box[0]), abs(box[1]))
    return Constants(1 - 3 * near**2, 3 * far**2 - 1, 6 * far, box, True, f"closed form on {_text(box)}")


def _oscillating(objective: OscillatingDoubleWell, dims: int, box: Box) -> Constants:
    scale, well, a1, w1, a2, w2 = (float(getattr(objective, n)) for n in ("scale", "well", "a1", "w1", "a2", "w2"))
    second = lambda x: scale * (12 * x**2 - 2 * well + a1 * w1**2 * np.cos(w1 * x) - a2 * w2**2 * np.sin(w2 * x))
    third = lambda x: scale * (24 * x - a1 * w1**3 * np.sin(w1 * x) - a2 * w2**3 * np.cos(w2 * x))
    far = max(abs(box[0]), abs(box[1]))
    slope = abs(scale) * (24 * far + abs(a1 * w1**3) + abs(a2 * w2**3))
    steeper = abs(scale) * (24 + abs(a1) * w1**4 + abs(a2) * w2**4)
    return Constants(
        _maximum(lambda x: -second(x), slope, box),
        _maximum(second, slope, box),
        _maximum(lambda x: np.abs(third(x)), steeper, box),
        box,
        True,
        _on_grid(box),
    )


def _coupled(objective: CoupledDoubleWells, dims: int, box: Box) -> Constants:
    """Bounds over the box by one coordinate x at a time, with c = cos w x, s = sin w x, n = d - 1 other coordinates.

    The Hessian has the diagonal q(x_i) + (A / n) c_i sum_j c_j with q = scale (12 x^2 - 2 well) and A = scale a w^2,
    and -(A / n) s_i s_j beside it. Each row's disc of Gershgorin is within A of q, as |c_i c_j| + |s_i s_j| <= 1. For
    A >= 0 the Hessian is also a diagonal, at most q + A |c| + (A / n) s^2, less a positive semidefinite matrix; for
    A < 0 the same holds below. With D = scale a w^3 the Hessian of a gradient's component is 24 scale x at its head and
    a sum over j of -(D / n) [[s c_j, c s_j], [c s_j, s c_j]], each of norm at most 1 / n of D. It has also an arrow's
    shape: at most |D s| more at its head, |D c| / sqrt(n) the norm of its sides, |D s| / n on its diagonal.
    """
    scale, well, a, w = (float(getattr(objective, name)) for name in ("scale", "well", "a", "w"))
    a = a if dims > 1 else 0.0  # one coordinate has no pair
    strength, twist, n = scale * a * w**2, abs(scale * a * w**3), max(dims - 1, 1)
    far = max(abs(box[0]), abs(box[1]))
    q = lambda x: scale * (12 * x**2 - 2 * well)
    slope = 24 * abs(scale) * far
    ends = [q(x) for x in (*box, *([0.0] if box[0] <= 0 <= box[1] else []))]
    greatest, least = max(ends) + abs(strength), min(ends) - abs(strength)
    diagonal = lambda x: abs(strength) * (np.abs(np.cos(w * x)) + np.sin(w * x) ** 2 / n)
    steepness = slope + 2 * abs(strength * w)  # of |c| at most w, of s^2 / n at most w / n
    if strength >= 0:
        greatest = min(greatest, _maximum(lambda x: q(x) + diagonal(x), steepness, box))
    else:
        least = max(least, -_maximum(lambda x: diagonal(x) - q(x), steepness, box))

    def arrow(x: NDArray):
        sine = np.abs(np.sin(w * x))
        head, side, rest = 24 * abs(scale * x), twist * np.abs(np.cos(w * x)) / np.sqrt(n), twist * sine / n
        mean, half = (head + twist * sine + rest) / 2, (head + twist * sine - rest) / 2
        return np.minimum(mean + np.sqrt(half**2 + side**2), head + twist)

    third = _maximum(arrow, 24 * abs(scale) + 3 * twist * abs(w), box)
    return Constants(-least, greatest, third, box, True, _on_grid(box))


_KNOWN: dict[type[AbstractObjective], Callable[..., Constants]] = {
    Quadratic: _quadratic,
    LogCosh: _log_cosh,
    QuarticDoubleWell: _quartic,
    OscillatingDoubleWell: _oscillating,
    CoupledDoubleWells: _coupled,
}


def _maximum(function: Callable[[NDArray], NDArray], slope: float, box: Box) -> float:
    """An upper bound of a function's maximum on the box: of its values on a grid, plus what it may rise between.

    slope: a Lipschitz constant of the function there; no point is farther than half a spacing from the grid.
    """
    grid = np.linspace(*box, GRID + 1)
    return float(np.max(function(grid)) + slope * (box[1] - box[0]) / (2 * GRID))


def _on_grid(box: Box) -> str:
    return f"grid of spacing {(box[1] - box[0]) / GRID:.2g} and Lipschitz bound on {_text(box)}"


def _text(box: Box) -> str:
    return f"[{box[0]:g}, {box[1]:g}] in every coordinate"


def _box(box: Any) -> Box:
    """The box as two numbers, checked."""
    try:
        low, high = (float(end) for end in box)
    except (TypeError, ValueError) as error:
        raise ValueError(f"box={box!r}: must be (low, high), two numbers") from error
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"box={box!r}: low must be less than high, both finite")
    return low, high


def _extremes(objective: AbstractObjective, points: Array) -> tuple[float, float, float]:
    """Least and greatest eigenvalue of the Hessian, and greatest norm of a gradient component's, over points."""
    chunk = max(1, min(len(points), TENSORS // points.shape[-1] ** 3))
    points = jnp.concatenate([points, jnp.repeat(points[:1], -len(points) % chunk, axis=0)])  # whole chunks: one trace
    least, greatest, most = np.inf, -np.inf, 0.0
    for start in range(0, len(points), chunk):
        hessians, thirds = (np.asarray(a, float) for a in _derivatives(objective, points[start : start + chunk]))
        if not (np.isfinite(hessians).all() and np.isfinite(thirds).all()):
            raise ValueError("objective: its second and third derivatives are not finite at every point")
        # Not by JAX: two eigenvalue problems of one program can deadlock where there are two cores (jaxlib 0.10).
        eigenvalues = np.linalg.eigvalsh(hessians)
        least, greatest = min(least, eigenvalues.min()), max(greatest, eigenvalues.max())
        most = max(most, np.abs(np.linalg.eigvalsh(thirds)).max())
    return float(least), float(greatest), float(most)


@eqx.filter_jit
def _derivatives(objective: AbstractObjective, points: Array) -> tuple[Array, Array]:
    """Hessians (points, dims, dims) and third derivatives (points, dims, dims, dims), symmetric in all axes."""
    hessian = jax.hessian(objective.loss)
    return jax.vmap(hessian)(points), jax.vmap(jax.jacfwd(hessian))(points)
