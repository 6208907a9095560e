"""The SDE of infinitely many agents: the nonlinear Fokker-Planck equation of their law, by finite volumes.

    d rho / dt = d/dx [(f' + k (x - target)) rho] + T d^2 rho / dx^2,        T = eta sigma^2 / (2 b),

with target = mean of rho, or EASGD's center, dcenter = r (mean - center) dt. Fluxes are those of Scharfetter and Gummel
(Chang and Cooper), exact where the potential is linear between two cells: the stationary states of the scheme are the
Gibbs laws at the cells' centers, to rounding. Steps are implicit in the law: mass is conserved and no cell becomes
negative, whatever dt. Errors are of second order in the cells and first order in dt.
"""

from typing import Any

import numpy as np
from scipy.linalg import eigh, solve_banded

from sdesim.dynamics import Dynamics
from sdesim.fields import check_count, check_sign
from sdesim.theory.meanfield import parts
from sdesim.theory.meanfield.iteration import Evolution
from sdesim.theory.meanfield.parts import Grid


def bernoulli(z: np.ndarray) -> np.ndarray:
    """z / (e^z - 1), 1 at 0.

    Args:
        z: of any shape.

    Returns:
        Of the shape of z.
    """
    small = abs(z) < 1e-8
    safe = np.clip(np.where(small, 1.0, z), -700, 700)
    return np.where(small, 1 - z / 2, safe / np.expm1(safe))


def hops(potential: np.ndarray, temperature: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Rates of hopping right from each cell but the last, and left from each but the first.

    Args:
        potential: at the cells' centers, (cells,), in length^2/time.
        temperature: T, greater than 0, in length^2/time.
        width: of a cell, in length.

    Returns:
        Both (cells - 1,), in 1/time.
    """
    step = np.diff(potential) / temperature
    scale = temperature / width**2
    return scale * bernoulli(step), scale * bernoulli(-step)


def generator(potential: np.ndarray, temperature: float, width: float) -> np.ndarray:
    """The matrix A of d masses / dt = A masses; its columns sum to 0.

    Args:
        potential: at the cells' centers, (cells,), in length^2/time.
        temperature: T, greater than 0, in length^2/time.
        width: of a cell, in length.

    Returns:
        (cells, cells), in 1/time.
    """
    right, left = hops(potential, temperature, width)
    a = np.diag(right, -1) + np.diag(left, 1)
    return a - np.diag(a.sum(axis=0))


def fokker_planck(
    model: Dynamics, grid: Grid, *, time: float, dt: float, init: Any, every: int | None = None
) -> Evolution:
    """The law of infinitely many agents of the SDE of `model`.

    Args:
        model: as for `evolve`, with eta a number and noise that is not Silent.
        grid: where the law lives; its ends reflect.
        time: how long, in the SDE's time.
        dt: length of a step, shortened so that steps fill the time.
        init: a law of `sdesim.init`, a number, or masses (cells,).
        every: steps between two records of the masses; none by default.

    Returns:
        The law after each step.

    Raises:
        ValueError: for a model without such a prediction, or too little noise for the equation to be parabolic.
    """
    parts.check_model(model, momentum=False)
    check_sign("time", time)
    check_sign("dt", dt, zero=False)
    coupling, temperature = parts.pull(model), parts.temperature(model)
    if temperature == 0:
        raise ValueError("noise: must not vanish for the Fokker-Planck equation")
    steps = int(np.ceil(time / dt - 1e-9))
    dt = time / max(steps, 1)
    every = None if every is None else check_count("every", every)
    x, f = grid.centers, parts.loss(model.objective)(grid.centers)
    masses = parts.initial_masses(init, grid)
    recorded = np.arange(0) if every is None else np.arange(0, steps + 1, every)
    history = np.empty((recorded.size, grid.cells))
    mean, square, target = np.empty(steps + 1), np.empty(steps + 1), np.empty(steps + 1)
    center = float(x @ masses)
    bands = np.empty((3, grid.cells))
    for n in range(steps + 1):
        mean[n], square[n] = x @ masses, (x * x) @ masses
        center = target[n] = mean[n] if coupling.rate is None else center
        if every is not None and n % every == 0:
            history[n // every] = masses
        if n == steps:
            break
        right, left = hops(f + 0.5 * coupling.k * (x - center) ** 2, temperature, grid.width)
        bands[0, 1:], bands[2, :-1] = -dt * left, -dt * right
        bands[1] = 1.0
        bands[1, :-1] += dt * right
        bands[1, 1:] += dt * left
        masses = solve_banded((1, 1), bands, masses, check_finite=False)
        if coupling.rate is not None:
            center = (center + dt * coupling.rate * float(x @ masses)) / (1 + dt * coupling.rate)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return Evolution(grid, masses, mean, std, target, recorded, history, 0.0)


def fokker_planck_matrix(
    masses: np.ndarray, potential: np.ndarray, k: float, temperature: float, grid: Grid
) -> np.ndarray:
    """The matrix of small deviations from a stationary law of quorum coupling.

    A deviation moves the mean, and with it every agent's potential; at a stationary law that response is
    -(k / T) A (masses (x - m)) a unit of mean.

    Args:
        masses: of the law, (cells,).
        potential: f + k (x - m)^2 / 2 at the cells' centers, (cells,).
        k: gain, in 1/time.
        temperature: T, greater than 0, in length^2/time.
        grid: where the law lives.

    Returns:
        (cells, cells), in 1/time.
    """
    x = grid.centers
    a = generator(potential, temperature, grid.width)
    response = -(k / temperature) * (a @ (masses * (x - masses @ x)))
    return a + np.outer(response, x)


def relaxation_rates(
    objective: Any, mean: float, k: float, temperature: float, grid: Grid, count: int = 3
) -> np.ndarray:
    """The slowest rates at which small deviations from a stationary law die out.

    A negative rate is that of an instability. The conserved mass, rate 0, is left out. They are the eigenvalues of
    minus `fokker_planck_matrix`, found from a symmetric matrix of the fluxes between cells: the dynamics are a gradient
    flow, and the mean's feedback is of rank one.

    Args:
        objective: the loss, of one dimension.
        mean: of the law: a root of the self-consistency R(m) = m.
        k: gain, in 1/time.
        temperature: T, greater than 0, in length^2/time.
        grid: where the law lives.
        count: how many rates, less than cells.

    Returns:
        (count,), in 1/time, the slowest first.
    """
    check_count("count", count, most=grid.cells - 1)
    check_sign("temperature", temperature, zero=False)
    x = grid.centers
    potential = parts.loss(objective)(x) + 0.5 * k * (x - mean) ** 2
    weights = np.exp(-(potential - potential.min()) / temperature)
    right, left = hops(potential, temperature, grid.width)
    between = -np.sqrt(left[:-1] * right[1:])
    fluxes = np.sqrt(right * weights[:-1] / weights.sum())
    matrix = np.diag(right + left) + np.diag(between, 1) + np.diag(between, -1)
    matrix -= (k / temperature) * grid.width**2 * np.outer(fluxes, fluxes)
    return eigh(matrix, eigvals_only=True, subset_by_index=(0, count - 1), check_finite=False)
