"""The iteration with momentum of infinitely many agents in one dimension: their law over (x, v), on a grid.

v <- delta v - eta f'(x + lookahead v) + eta zeta, x <- x + v + eta k (target - x) (BS 42-43, Z 2.5-2.6), with v the
displacement in one iteration. Cells have one width h in x and v, and the centers of v are multiples of h, so that
moving x by v is a shift by whole cells, exact. The other three parts of an iteration (the map of v at fixed x, the
noise in v, the pull on x) are conservative remaps as in one dimension.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from sdesim.dynamics import Dynamics, HeavyBall, Nesterov
from sdesim.fields import check_sign
from sdesim.theory.meanfield import parts
from sdesim.theory.meanfield.iteration import LOST, shared_out
from sdesim.theory.meanfield.parts import Grid, Law

SPLIT = 4  # pieces of a cell that the map of v moves as straight lines


@dataclasses.dataclass(frozen=True)
class PhaseEvolution:
    """The law of infinitely many agents with momentum over the iterations.

    Attributes:
        grid: of x.
        velocities: the grid of v, in units of x in one iteration.
        masses: at the end, (cells of x, cells of v).
        mean: of x, after each iteration from the start on, (steps + 1,).
        std: standard deviation of x, (steps + 1,).
        speed: root mean square of v, (steps + 1,).
        target: what agents are pulled to, (steps + 1,).
        escaped: mass that reached the ends of the grids, where it was held.
    """

    grid: Grid
    velocities: Grid
    masses: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    speed: np.ndarray
    target: np.ndarray
    escaped: float

    @property
    def x(self) -> np.ndarray:
        """Centers of the cells of x, (cells,)."""
        return self.grid.centers

    @property
    def density(self) -> np.ndarray:
        """Density of x at the cells' centers, (cells,)."""
        return self.masses.sum(axis=1) / self.grid.width


def velocity_grid(grid: Grid, speed: float) -> Grid:
    """Cells of v of the width of those of x, centered at its multiples.

    Args:
        grid: of x.
        speed: up to which they reach at least, greater than 0, in units of x in one iteration.

    Returns:
        An odd number of cells.
    """
    check_sign("speed", speed, zero=False)
    half = int(np.ceil(speed / grid.width))
    return Grid(-(half + 0.5) * grid.width, (half + 0.5) * grid.width, 2 * half + 1)


class _Kicks:
    """The map of v at each x, and the noise in v, at one learning rate. Masses are (cells of x, cells of v)."""

    def __init__(
        self,
        slope: Callable[[np.ndarray], np.ndarray],
        grid: Grid,
        velocities: Grid,
        eta: float,
        delta: float,
        lookahead: float,
        law: Law,
    ):
        """slope: f' as a function of x."""
        self.eta, n, self.shape = eta, velocities.cells, (grid.cells, velocities.cells)
        v = np.linspace(velocities.low, velocities.high, SPLIT * n + 1)
        x = grid.centers[:, None]
        # Heavy ball takes one gradient a cell of x, which its own within-cell variance would not change at this order.
        image = delta * v - eta * (slope(x + lookahead * v) if lookahead else slope(x))
        place = (image - velocities.low) / velocities.width
        piece, cell, share, outside = shared_out(place[:, :-1].ravel(), place[:, 1:].ravel(), n)
        row, source = piece // (SPLIT * n), piece // SPLIT  # pieces are numbered along v first, as are the cells
        size = grid.cells * n
        self.matrix = sparse.csr_matrix((share / SPLIT, (row * n + cell, source)), shape=(size, size))
        outside = np.bincount(np.arange(outside.size) // SPLIT, outside / SPLIT, minlength=size)
        self.at_ends = np.flatnonzero(outside)  # few or none, which is quicker to sum than all
        self.outside = outside[self.at_ends]
        # the noise as a banded matrix from v to v': what would leave an end is held there
        offset, weights = law.weights(velocities.width, 0.0)
        before = np.repeat(np.arange(n), weights.size)
        after = before + offset + np.tile(np.arange(weights.size), n)
        entries = np.tile(weights, n)
        self.noise = sparse.csr_matrix((entries, (np.clip(after, 0, n - 1), before)), shape=(n, n))
        self.beyond = np.bincount(before, entries * ((after < 0) | (after >= n)))

    def __call__(self, masses: np.ndarray) -> tuple[np.ndarray, float]:
        flat = masses.ravel()
        moved = (self.matrix @ flat).reshape(self.shape)
        return (self.noise @ moved.T).T, float(self.outside @ flat[self.at_ends] + self.beyond @ moved.sum(axis=0))


class _Moves:
    """x <- x + v by whole cells, as one gather; `out` is the share that is held at the ends of the grid."""

    def __init__(self, grid: Grid, velocities: Grid):
        n, half = grid.cells, velocities.cells // 2
        self.to = np.arange(n)[:, None] + np.arange(-half, half + 1)
        self.outside = (self.to < 0) | (self.to >= n)
        flat = np.clip(self.to, 0, n - 1) * velocities.cells + np.arange(velocities.cells)
        ones = np.ones(flat.size)
        self.matrix = sparse.csr_matrix((ones, (flat.ravel(), np.arange(flat.size))), shape=(flat.size, flat.size))

    def __call__(self, masses: np.ndarray) -> tuple[np.ndarray, float]:
        return (self.matrix @ masses.ravel()).reshape(masses.shape), float(masses[self.outside].sum())


def _pulled(masses: np.ndarray, grid: Grid, weight: float, target: float) -> np.ndarray:
    """x <- x + weight (target - x), of masses (cells, ...)."""
    if weight == 0:
        return masses
    edges = grid.edges
    place = (edges + weight * (target - edges) - grid.low) / grid.width
    piece, cell, share, _ = shared_out(place[:-1], place[1:], grid.cells)
    return sparse.csr_matrix((share, (cell, piece)), shape=(grid.cells, grid.cells)) @ masses


def evolve_momentum(model: Dynamics, grid: Grid, *, speed: float, steps: int, init: Any) -> PhaseEvolution:
    """The law of infinitely many agents of `model` with HeavyBall or Nesterov momentum, starting at rest.

    Args:
        model: one-dimensional; coupling Uncoupled, Quorum or Elastic with a center rate; noise Silent, Uniform or
            Gaussian; eta a number or a function of the step.
        grid: of x.
        speed: largest displacement in one iteration that is held, in units of x.
        steps: iterations.
        init: of x, as for `evolve`.

    Returns:
        The law after each iteration.

    Raises:
        ValueError: for a model without such a prediction, or when more than 1e-6 of the mass leaves the grids.
    """
    momentum = parts.check_model(model, momentum=True)
    if type(momentum) not in (HeavyBall, Nesterov):
        raise ValueError(f"momentum={type(momentum).__name__}: must be HeavyBall or Nesterov")
    delta = float(np.asarray(momentum.delta))  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    rates, coupling = parts.learning_rates(model, steps), parts.pull(model)
    velocities = velocity_grid(grid, speed)
    slope = parts.gradient(model.objective)
    x, v = grid.centers, velocities.centers
    masses = np.zeros((grid.cells, velocities.cells))
    masses[:, velocities.cells // 2] = parts.initial_masses(init, grid)
    moves = _Moves(grid, velocities)
    mean, square, speeds, target = (np.empty(steps + 1) for _ in range(4))
    escaped, kicks = 0.0, None
    center = float(x @ masses.sum(axis=1))
    for n in range(steps + 1):
        along = masses.sum(axis=1)
        mean[n], square[n], speeds[n] = x @ along, (x * x) @ along, (v * v) @ masses.sum(axis=0)
        center = target[n] = mean[n] if coupling.rate is None else center
        if n == steps:
            break
        if kicks is None or kicks.eta != rates[n]:
            lookahead = delta if type(momentum) is Nesterov else 0.0
            law = parts.noise_law(model, rates[n])
            kicks = _Kicks(slope, grid, velocities, rates[n], delta, lookahead, law)
        masses, out = kicks(masses)
        masses, beyond = moves(_pulled(masses, grid, rates[n] * coupling.k, center))
        escaped += out + beyond
        if escaped > LOST:
            raise ValueError(
                f"grid=({grid.low:g}, {grid.high:g}), speed={speed:g}: {escaped:.2g} of the mass left the grids by "
                f"iteration {n + 1}; widen them, or the model diverges"
            )
        if coupling.rate is not None:
            center += rates[n] * coupling.rate * (mean[n] - center)
    return PhaseEvolution(
        grid, velocities, masses, mean, np.sqrt(np.maximum(square - mean**2, 0)), np.sqrt(speeds), target, escaped
    )
