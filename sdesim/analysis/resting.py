"""Points at which agents rest: where gradient and pull cancel."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics
from sdesim.fields import check_count, named, number, shown

ROUNDED = 1e-6  # distance to rest, as a share of the point or of 1, that is float32's rounding
ALIKE = 1e-3  # of two curvatures that are one for a map
STEPS = 200  # of Newton's method, each downhill


def rest(model: Dynamics, near: ArrayLike = 0.0, *, agents: int = 1) -> NDArray:
    """A minimum at which agents that agree rest, by Newton's method from a point, downhill.

    Where the gradient vanishes; of a rule that pulls agents that agree, as one towards a point of its own does, where
    the gradient is the pull. float64.

    Args:
        model: the dynamics.
        near: where to begin, a number or (dims,), in length.
        agents: p, of rules that pull agents that agree.

    Returns:
        The point, (dims,), in length.

    Raises:
        TypeError: for what is no model.
        ValueError: for agents with losses of their own, which rest apart, and where no minimum is found.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={shown(model)}: must be a sdesim.Dynamics")
    p, point = check_count("agents", agents), as_point("near", near)
    model.check_run(p, len(point))
    if model.objective.made_for is not None:
        raise ValueError("model: its agents have losses of their own, and rest apart")
    with jax.enable_x64(True):
        found = _downhill(wide(model), point, p)
    if found is None:
        raise ValueError(f"near={shown(near)}: Newton's steps downhill from there come to no minimum; begin elsewhere")
    return found


def as_point(name: str, value: ArrayLike) -> NDArray:
    """A point from a number or an array.

    Args:
        name: of the argument.
        value: a number or (dims,).

    Returns:
        (dims,), float64.

    Raises:
        TypeError: for what is no number.
        ValueError: for another shape.
    """
    point = np.atleast_1d(np.asarray(named(name, number)(value), float))
    if point.ndim != 1:
        raise ValueError(f"{name}={shown(value)}: must be a number, or a point of shape (dims,)")
    return point


def check_rest(model: Dynamics, point: NDArray, agents: int) -> None:
    """Refuse a point whose map is not that of small departures from rest.

    A map is that of the curvature, and of the noise where that hangs on the point. So a point is as good as rest if it
    is one but for float32's rounding, or if Newton's step from it to rest changes no curvature, as on a quadratic.
    Agents with losses of their own rest apart, each at a place that is not known: theirs must be quadratic.

    Args:
        model: the dynamics, of float64.
        point: (dims,).
        agents: p.

    Raises:
        ValueError: with the gradient there, and the minimum downhill.
    """
    said = f"at={_listed(point, 7)}"
    if model.objective.made_for is not None:
        if not _quadratic(model, point, agents):
            raise ValueError(f"{said}: agents with losses of their own must meet at rest there, or have quadratic ones")
        return
    gradient = np.asarray(_slope(model, point, agents))
    if not gradient.any():
        return
    bend = np.asarray(_bend(model, point, agents))
    if np.isfinite(bend).all():
        step = -np.linalg.lstsq(bend, gradient, rcond=None)[0]
        if np.abs(gradient + bend @ step).max() <= ALIKE * np.abs(gradient).max():
            if np.abs(step).max() <= ROUNDED * max(1.0, np.abs(point).max()):
                return
            change = np.abs(np.asarray(_bend(model, point + step, agents)) - bend).max()
            if not model.noise.state_dependent and change <= ALIKE * np.abs(bend).max():
                return
    below = _downhill(model, point, agents)
    found = "no minimum is found from there"
    if below is not None:
        found = f"downhill is the minimum at={_listed(below)}, which analysis.rest(model, near) gives in full"
    raise ValueError(f"{said}: must be a point of rest, and the gradient there is {_listed(gradient)}; {found}")


def _listed(point: NDArray, digits: int = 5) -> str:
    rounded = [float(f"{value:.{digits}g}") for value in point]
    return shown(rounded if len(rounded) > 1 else rounded[0])


@eqx.filter_jit
def _slope(model: Dynamics, point: Array | NDArray, agents: int) -> Array:
    """The gradient where agents agree, less what they are pulled by in the mean, (dims,)."""
    x, mean = jnp.broadcast_to(point, (agents, len(point))), ArrayMean(agents)
    state = model.init(x, mean)
    return model.gradients(x[:1])[0] - jnp.mean(model.coupling.pull(x, state.shared, state.t, mean), axis=0)


_bend = eqx.filter_jit(jax.jacobian(_slope, argnums=1))


def wide(parts: PyTree) -> PyTree:
    """Parts with numbers of float64.

    Args:
        parts: a model, a stepper, or several.

    Returns:
        The same.
    """
    return jax.tree.map(lambda a: np.asarray(a, np.float64) if eqx.is_inexact_array(a) else a, parts)


def _quadratic(model: Dynamics, point: NDArray, agents: int) -> bool:
    """Whether agents' own gradients vanish at a point, or are linear about it."""
    of = lambda shift: np.asarray(_own(model, point + shift, agents))
    here = of(0.0)
    half, whole = of(0.5) - here, of(1.0) - here
    return not here.any() or bool(np.abs(whole - 2 * half).max() <= ALIKE * np.abs(whole).max())


@eqx.filter_jit
def _own(model: Dynamics, point: Array | NDArray, agents: int) -> Array:
    return model.gradients(jnp.broadcast_to(point, (agents, len(point))))


def _downhill(model: Dynamics, point: NDArray, agents: int) -> NDArray | None:
    """A minimum, by Newton's steps with every curvature taken as positive, cut where they bring the slope up."""
    slope = np.asarray(_slope(model, point, agents))
    for _ in range(STEPS):
        bend = np.asarray(_bend(model, point, agents))
        if not (np.isfinite(bend).all() and np.isfinite(slope).all()):
            return None
        curvature, modes = np.linalg.eigh((bend + bend.T) / 2)
        most = max(np.abs(curvature).max(), 1e-300)
        size = np.maximum(np.abs(curvature), 1e-6 * most)
        step = -modes @ ((modes.T @ slope) / size)
        if np.abs(step).max() <= 1e-12 * max(1.0, np.abs(point).max()):
            return point if curvature.min() > -1e-6 * most else None  # on the top of a hill it rests, too
        for _ in range(60):  # until it climbs at most half as steeply at the step's end as it falls at its beginning
            there = np.asarray(_slope(model, point + step, agents))
            if np.isfinite(there).all() and float(there @ step) <= -float(slope @ step) / 2:
                break
            step = step / 2
        point, slope = point + step, there
    return None
