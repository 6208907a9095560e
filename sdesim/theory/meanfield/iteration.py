"""The iteration of infinitely many agents in one dimension: the exact transfer operator of their law, on a grid.

An agent moves by x <- x - eta f'(x) + eta k (target - x) + eta zeta, where the target is the mean m of the law itself
(QSGD, BS 2.3) or a center that follows it, c <- c + eta r (m - c) (EASGD). The law is held as masses of cells, uniform
within each. One iteration moves every cell by the drift map, which need not be monotone, hands its mass to the cells
that its image covers, and convolves with the exact law of the noise. Mass is conserved to rounding, and errors are of
second order in the cells' width.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse
from scipy.fft import next_fast_len

from sdesim.dynamics import Dynamics
from sdesim.fields import check_count
from sdesim.theory.meanfield import parts
from sdesim.theory.meanfield.parts import Grid, Law

SPLIT = 8  # pieces of a cell that the drift map moves as straight lines
LOST = 1e-6  # mass that may leave the grid in a whole run


@dataclasses.dataclass(frozen=True)
class Evolution:
    """The law of infinitely many agents over the iterations.

    Attributes:
        grid: where the law lives.
        masses: at the end, (cells,).
        mean: of the law, after each iteration from the start on, (steps + 1,).
        std: its standard deviation, (steps + 1,).
        target: what agents are pulled to, (steps + 1,).
        recorded: the iterations of `history`, (records,).
        history: masses at the iterations `recorded`, (records, cells).
        escaped: mass that reached the ends of the grid, where it was held.
    """

    grid: Grid
    masses: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    target: np.ndarray
    recorded: np.ndarray
    history: np.ndarray
    escaped: float

    @property
    def x(self) -> np.ndarray:
        """Centers of the cells, (cells,)."""
        return self.grid.centers

    @property
    def density(self) -> np.ndarray:
        """Density at the cells' centers, (cells,)."""
        return self.masses / self.grid.width


class Transfer:
    """One iteration as an operator on masses (cells,), at one learning rate: drift map, then shift and noise.

    Args:
        slope: f' at the edges of the pieces, (SPLIT * cells + 1,).
        grid: where the law lives.
        eta: learning rate, in time.
        k: gain, in 1/time.
        law: of the noise of one iteration, in units of x.
    """

    def __init__(self, slope: np.ndarray, grid: Grid, eta: float, k: float, law: Law):
        """Build the operator, of which the class says what it is made of."""
        self.grid, self.eta, self.k, self.law = grid, eta, k, law
        middle = (grid.low + grid.high) / 2
        x = piece_edges(grid)
        # The pull towards the middle of the grid is part of the map; the rest of it is one shift of all agents.
        self.middle = middle
        image = x - eta * slope + eta * k * (middle - x)
        self.matrix, self.outside = _sharing(image, grid)
        self.adjoint = self.matrix.T.tocsr()

    def __call__(self, masses: np.ndarray, target: float) -> tuple[np.ndarray, float]:
        """The masses after the iteration.

        Args:
            masses: before it, (cells,).
            target: what agents are pulled to, in units of x.

        Returns:
            The masses, (cells,), and how much of them reached the ends of the grid.
        """
        n = self.grid.cells
        offset, weights = self._weights(target)
        moved = self.matrix @ masses
        long = next_fast_len(n + weights.size - 1, real=True)
        full = np.fft.irfft(np.fft.rfft(moved, long) * np.fft.rfft(weights, long), long)[: n + weights.size - 1]
        start, stop = np.clip([-offset, n - offset], 0, full.size)
        inside = np.zeros(n)
        inside[start + offset : stop + offset] = full[start:stop]
        below, above = full[:start].sum(), full[stop:].sum()
        inside[0] += below
        inside[-1] += above
        return inside, below + above + float(self.outside @ masses)

    def expected(self, values: np.ndarray, target: float) -> np.ndarray:
        """E[values(X') | X = each cell]: the adjoint of the call.

        Args:
            values: (cells,) or (rows, cells).
            target: what agents are pulled to, in units of x.

        Returns:
            Of the shape of `values`.
        """
        n = self.grid.cells
        offset, weights = self._weights(target)
        # what lies beyond an end of the grid was held at that end
        reach = np.clip(np.arange(offset, n + offset + weights.size - 1), 0, n - 1)
        padded = np.atleast_2d(values)[:, reach]
        long = next_fast_len(padded.shape[1] + weights.size - 1, real=True)
        both = np.fft.rfft(padded, long) * np.fft.rfft(weights[::-1], long)
        back = np.fft.irfft(both, long)[:, weights.size - 1 : weights.size - 1 + n]
        return (self.adjoint @ back.T).T.reshape(np.shape(values))

    def _weights(self, target: float) -> tuple[int, np.ndarray]:
        return self.law.weights(self.grid.width, self.eta * self.k * (target - self.middle))


def piece_edges(grid: Grid) -> np.ndarray:
    """Edges of the pieces that the drift map moves.

    Args:
        grid: where the law lives.

    Returns:
        (SPLIT * cells + 1,).
    """
    return np.linspace(grid.low, grid.high, SPLIT * grid.cells + 1)


def _sharing(image: np.ndarray, grid: Grid) -> tuple[Any, np.ndarray]:
    """The matrix (cells, cells) that hands each piece's mass to the cells about its image, as `shared_out` says.

    Returns also the share of each cell that left the grid, (cells,): it is held in the cells at the ends.
    """
    n = grid.cells
    place = (image - grid.low) / grid.width
    piece, cell, share, outside = shared_out(place[:-1], place[1:], n)
    source = np.arange(outside.size) // SPLIT
    matrix = sparse.csr_matrix((share / SPLIT, (cell, source[piece])), shape=(n, n))
    return matrix, np.bincount(source, outside / SPLIT, minlength=n)


def shared_out(
    start: np.ndarray, stop: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How pieces are shared among cells 0, 1, ...

    Each point gives to the two cells whose centers enclose it what keeps its mean. Sharing by overlap would move the
    mass of a fold of the drift map, where the density is like 1 / sqrt(x) and a cell holds sqrt(h), by up to h / 2: an
    error of order 3/2. This one is of order 2.

    Args:
        start: one end of each piece, which is uniform between both, (pieces,), in units of cells.
        stop: the other end, (pieces,).
        cells: how many there are.

    Returns:
        (piece, cell, share, outside): one entry for each piece and each cell that gets some of it (shares sum to 1 over
        a piece); and the share of each piece beyond the ends, (pieces,), which is held in the cells there.
    """
    low = np.minimum(start, stop)
    length = np.maximum(abs(stop - start), 1e-6)  # a piece that is mapped to a point keeps its mass
    outside = (np.clip(-low, 0, length) + np.clip(low + length - cells, 0, length)) / length
    first = np.floor(low - 0.5).astype(int)
    count = np.ceil(low + length - 0.5).astype(int) - first + 1
    piece = np.repeat(np.arange(low.size), count)
    cell = first[piece] + np.arange(piece.size) - np.repeat(np.cumsum(count) - count, count)
    from_center = low[piece] - cell - 0.5
    share = (_hat(from_center + length[piece]) - _hat(from_center)) / length[piece]
    share /= np.bincount(piece, share)[piece]  # of rounding
    return piece, np.clip(cell, 0, cells - 1), share, outside


def _hat(t: np.ndarray) -> np.ndarray:
    """The integral of max(1 - |t|, 0) up to t."""
    t = np.clip(t, -1, 1)
    return 0.5 + t - 0.5 * t * abs(t)


def evolve(model: Dynamics, grid: Grid, *, steps: int, init: Any, every: int | None = None) -> Evolution:
    """The law of infinitely many agents of `model`, iteration by iteration, without sampling.

    Args:
        model: one-dimensional, without momentum; coupling Uncoupled, Quorum or Elastic with a center rate; noise
            Silent, Uniform or Gaussian; eta a number or a function of the step.
        grid: where the law lives; wide enough to hold all of it.
        steps: iterations.
        init: a law of `sdesim.init`, a number, or masses (cells,).
        every: iterations between two records of the masses, from the start on; none by default.

    Returns:
        The law after each iteration.

    Raises:
        ValueError: for a model without such a prediction, or when more than 1e-6 of the mass leaves the grid.
    """
    parts.check_model(model, momentum=False)
    rates, coupling = parts.learning_rates(model, steps), parts.pull(model)
    every = None if every is None else check_count("every", every)
    slope = parts.gradient(model.objective)(piece_edges(grid))
    x, masses = grid.centers, parts.initial_masses(init, grid)
    recorded = np.arange(0) if every is None else np.arange(0, steps + 1, every)
    history = np.empty((recorded.size, grid.cells))
    mean, square, target = np.empty(steps + 1), np.empty(steps + 1), np.empty(steps + 1)
    escaped, center, transfer = 0.0, float(x @ masses), None
    for n in range(steps + 1):
        mean[n], square[n] = x @ masses, (x * x) @ masses
        center = target[n] = mean[n] if coupling.rate is None else center
        if every is not None and n % every == 0:
            history[n // every] = masses
        if n == steps:
            break
        if transfer is None or transfer.eta != rates[n]:
            transfer = Transfer(slope, grid, rates[n], coupling.k, parts.noise_law(model, rates[n]))
        masses, out = transfer(masses, center)
        escaped += out
        if escaped > LOST:
            raise ValueError(
                f"grid=({grid.low:g}, {grid.high:g}): {escaped:.2g} of the mass left it by iteration {n + 1}; "
                "widen it, or the model diverges"
            )
        if coupling.rate is not None:
            center += rates[n] * coupling.rate * (mean[n] - center)
    # a law uniform within its cells has the cells' own variance besides
    std = np.sqrt(np.maximum(square - mean**2, 0) + grid.width**2 / 12)
    return Evolution(grid, masses, mean, std, target, recorded, history, float(escaped))
