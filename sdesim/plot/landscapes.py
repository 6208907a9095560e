"""Agents over the loss that they descend: its curve in one dimension, its contours in two."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.ticker import MaxNLocator

from sdesim.dynamics import Dynamics
from sdesim.fields import check_count, shown
from sdesim.objectives import as_objective, check_dims, fitting_loss
from sdesim.plot import theme
from sdesim.results.result import Result

Loss = Callable[[np.ndarray], np.ndarray]
"""A loss at points, (points, dims) to (points,)."""
POINTS = 600  # of a curve
MARGIN = 0.15  # of the range of agents, to either side
HIGH = 0.95  # of the loss' values in the picture, those above which walls are cut off


def agents(
    result: Result,
    loss: Callable | None = None,
    *,
    sims: int | None = None,
    dims: tuple[int, int] = (0, 1),
    ax: Axes | None = None,
) -> Axes:
    """Where agents ended over the loss: on its curve in one dimension, over its contours in two.

    Args:
        result: of `simulate` or `iterate`.
        loss: of a point (dims,), or one of `sdesim.objectives`; by default the model's, which a file does not hold.
        sims: of how many simulations agents are shown, the first of them; all by default.
        dims: both coordinates along the axes, of more than two. The loss is that of the plane through the mean of all
            agents.
        ax: axes to draw into; new ones by default.

    Returns:
        The axes. Agents are gray and their means over agents, one a simulation, red.

    Raises:
        TypeError: for what is no result.
        ValueError: for a result without a model, for which there is no `loss`, and for coordinates that are none.
    """
    positions = ended(result, sims)
    of = loss_of(result, loss)
    plane = coordinates(dims, max(positions.shape[-1], 2))
    with theme.panel(ax) as axes:
        if positions.shape[-1] == 1:
            low, high = window(positions[..., 0])
            draw_curve(axes, of, low, high)
            mark(axes, of, positions[..., 0])
        else:
            middle = np.nanmean(np.where(np.isfinite(positions), positions, np.nan), axis=(0, 1))
            limits = [window(positions[..., d]) for d in plane]
            draw_plane(axes, of, middle, plane, limits)
            mark_plane(axes, positions[..., list(plane)])
        theme.legend_above(axes)
    return axes


def ended(result: Any, sims: int | None) -> np.ndarray:
    """Final positions of agents, (sims, agents, dims).

    Args:
        result: of `simulate`.
        sims: how many simulations; None for all.

    Raises:
        TypeError: for what is no result.
        ValueError: for more simulations than there are, and where no agent is finite.
    """
    if not isinstance(result, Result):
        raise TypeError(f"result={shown(result)}: must be a result of sdesim.simulate or sdesim.iterate")
    positions = np.asarray(result.agents, float)
    if sims is not None:
        positions = positions[: check_count("sims", sims, most=len(positions))]
    if not np.isfinite(positions).any():
        raise ValueError("result: no agent is where it could be drawn, all diverged; must have one that is finite")
    return positions


def loss_of(result: Result, loss: Any) -> Loss:
    """The loss at points, (points, dims) to (points,).

    Args:
        result: with the model.
        loss: in place of the model's; None for that.

    Raises:
        TypeError: for what is no loss.
        ValueError: where there is neither, and for a loss that does not fit.
    """
    model = result.run["model"]
    if loss is None:
        if not isinstance(model, Dynamics):
            raise ValueError(
                "loss=None: must be given for a result from a file, which holds a description of its model"
            )
        objective = model.objective
    else:
        objective = as_objective(loss, "loss")
    dims = int(result.agents.shape[-1])
    point = jax.ShapeDtypeStruct((dims,), jnp.result_type(float))
    check_dims(objective, dims)
    traced = lambda form: (jax.eval_shape(lambda x: form(objective, x), point), form)
    try:
        _, form = fitting_loss(objective, dims, traced, lambda found: found[0])
    except ValueError as error:
        raise ValueError(f"loss: must be of a point: {str(error).removeprefix('objective: ')}") from error
    evaluate = jax.jit(jax.vmap(lambda x: form(objective, x)))
    return lambda x: np.asarray(evaluate(jnp.asarray(x, jnp.result_type(float))), float)


def coordinates(dims: Any, count: int) -> tuple[int, int]:
    """Two different coordinates of so many.

    Args:
        dims: their numbers.
        count: how many there are.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(dims, tuple | list) or len(dims) != 2:
        raise ValueError(f"dims={shown(dims)}: must be two numbers of coordinates, such as (0, 1)")
    first, second = (check_count("dims", d, least=0, most=count - 1) for d in dims)
    if first == second:
        raise ValueError(f"dims={shown(dims)}: must be two different coordinates")
    return first, second


def window(values: np.ndarray) -> tuple[float, float]:
    """The range of what is finite, with a margin.

    Args:
        values: of any shape.
    """
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or 0.5
    return low - margin, high + margin


def draw_curve(axes: Axes, of: Loss, low: float, high: float) -> None:
    """The curve of a loss of one coordinate.

    Args:
        axes: where to draw.
        of: the loss at points.
        low: left end.
        high: right end.
    """
    grid = np.linspace(low, high, POINTS)
    axes.plot(grid, of(grid[:, None]), "-", color=theme.LOSS, lw=1.4, label="loss", zorder=1)
    axes.set(xlim=(low, high), xlabel="$x$  (length)", ylabel="loss  (length$^2$ / time)")


def mark(axes: Axes, of: Loss, positions: np.ndarray) -> tuple[Any, Any]:
    """Agents on the curve, and their means.

    Args:
        axes: where to draw.
        of: the loss at points.
        positions: (sims, agents).

    Returns:
        The drawn agents and means.
    """
    x, means = positions.ravel(), positions.mean(axis=1)
    style: dict[str, Any] = dict(ls="none", mew=0, rasterized=True)
    fade = float(np.clip(8 / np.sqrt(x.size), 0.06, 0.7))
    (gray,) = axes.plot(x, of(x[:, None]), "o", ms=4, color=theme.AGENTS, alpha=fade, label="agents", zorder=2, **style)
    (red,) = axes.plot(
        means, of(means[:, None]), "o", ms=5, color=theme.QUORUM, alpha=0.85, label="quorum", zorder=3, **style
    )
    return gray, red


def draw_plane(
    axes: Axes,
    of: Loss,
    middle: np.ndarray,
    plane: tuple[int, int],
    limits: list[tuple[float, float]],
    points: int = 120,
) -> QuadContourSet:
    """Contours of a loss over two coordinates, all others held.

    Args:
        axes: where to draw.
        of: the loss at points.
        middle: the others' values, (dims,).
        plane: both coordinates.
        limits: ends of both.
        points: along each.

    Returns:
        The filled contours.
    """
    x, y = (np.linspace(*ends, points) for ends in limits)
    at = np.broadcast_to(middle, (points * points, middle.size)).copy()
    at[:, plane[0]], at[:, plane[1]] = (g.ravel() for g in np.meshgrid(x, y))
    drawn = contours(axes, x, y, of(at).reshape(points, points), 8, cmap=theme.LAND, alpha=0.7)
    axes.figure.colorbar(drawn, ax=axes, label="loss  (length$^2$ / time)")
    axes.set(xlabel=f"$x_{plane[0] + 1}$  (length)", ylabel=f"$x_{plane[1] + 1}$  (length)")
    return drawn


def mark_plane(axes: Axes, positions: np.ndarray) -> tuple[Any, Any]:
    """Agents over contours, and their means.

    Args:
        axes: where to draw.
        positions: (sims, agents, 2).

    Returns:
        The drawn agents and means.
    """
    points, means = positions.reshape(-1, 2), positions.mean(axis=1)
    style: dict[str, Any] = dict(ls="none", mew=0, rasterized=True)
    (gray,) = axes.plot(*points.T, "o", ms=3, color="black", alpha=0.3, label="agents", **style)
    (red,) = axes.plot(*means.T, "o", ms=4.5, color=theme.QUORUM, alpha=0.9, label="quorum", **style)
    return gray, red


def contours(
    axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, steps: int, **options: Any
) -> QuadContourSet:
    """Filled contours of a loss in about `steps` steps, with thin lines between; steep walls are cut off.

    Args:
        axes: where to draw.
        x: (columns,).
        y: (rows,).
        values: (rows, columns).
        steps: about how many.
        **options: further arguments of Matplotlib's `contourf`.

    Returns:
        The filled contours.
    """
    levels = MaxNLocator(steps).tick_values(float(values.min()), float(np.quantile(values, HIGH)))
    filled = axes.contourf(x, y, values, levels=levels, extend="max", **options)
    axes.contour(x, y, values, levels=levels, colors="black", linewidths=0.3, alpha=0.35)
    return filled


def unit_range(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """`values` scaled so that over the points of `window` they run from 0 to 1.

    Args:
        values: (points,).
        window: which points, a mask or indices.

    Returns:
        (points,).
    """
    low, high = values[window].min(), values[window].max()
    return (values - low) / (high - low)
