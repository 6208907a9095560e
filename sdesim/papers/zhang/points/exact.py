"""Second moments after each step of runs on a quadratic, by the maps of theory."""

import numpy as np
from numpy.typing import NDArray

from sdesim.theory import multiplicative, stability


def additive(
    steps: int,
    workers: int,
    eta_h: float,
    delta_h: float = 0.0,
    alpha: float = 0.0,
    beta: float = 0.0,
    *,
    noise: float = 0.0,
    mean: float = 0.0,
    spread: float = 0.0,
) -> NDArray:
    """E c^2, E y^2 and the mean of E x_i^2 of EAMSGD under additive noise, y the mean of the workers.

    Workers start independently, without velocity, and the center at their mean.

    Args:
        steps: how many.
        workers: p.
        eta_h: eta h, without unit.
        delta_h: delta (1 - eta h), without unit; 0 without momentum.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        noise: s^2, in length^2.
        mean: of a worker's start, in length.
        spread: its variance, in length^2.

    Returns:
        (steps + 1, 3), in length^2.
    """
    mean_drift = stability.eamsgd_drift(1, eta_h, delta_h, alpha, beta)  # of the mean's velocity, it and the center
    drift = mean_drift[:2, :2]  # of a worker's difference from the mean, which the center does not see
    of_mean = (mean**2 + spread / workers) * np.outer([0, 1, 1], [0, 1, 1])
    apart = (1 - 1 / workers) * spread * np.outer([0, 1], [0, 1])
    looks = []
    for step in range(steps + 1):
        if step:
            of_mean = mean_drift @ of_mean @ mean_drift.T + noise / workers * np.outer([1, 1, 0], [1, 1, 0])
            apart = drift @ apart @ drift.T + (1 - 1 / workers) * noise
        looks.append([of_mean[2, 2], of_mean[1, 1], of_mean[1, 1] + apart[1, 1]])
    return np.array(looks)


def multiplicative_momentum(steps: int, eta: float, delta: float, mean: float, variance: float) -> NDArray:
    """E x^2 of SGD with Nesterov's momentum under multiplicative noise, from x = 1 at rest, three times over.

    Args:
        steps: how many.
        eta: learning rate, in time.
        delta: momentum, without unit.
        mean: of xi, in 1/time.
        variance: of xi, in 1/time^2.

    Returns:
        (steps + 1, 3), in units of the start.
    """
    matrix = multiplicative.momentum_moments(eta, delta, mean, variance)
    path = _powers(matrix, np.array([0.0, 1.0, 0.0]), steps)
    return np.repeat(path[:, 1:2], 3, axis=1)


def multiplicative_easgd(
    steps: int, workers: int, eta: float, alpha: float, beta: float, mean: float, variance: float
) -> NDArray:
    """E c^2, E y^2 and the mean of E x_i^2 of EASGD under multiplicative noise, all from 1.

    Args:
        steps: how many.
        workers: p.
        eta: learning rate, in time.
        alpha: moving rate of the workers, without unit.
        beta: moving rate of the center, without unit.
        mean: of xi, in 1/time.
        variance: of xi, in 1/time^2.

    Returns:
        (steps + 1, 3), in units of the start.
    """
    matrix = multiplicative.easgd_moments(workers, eta, alpha, beta, mean, variance)
    return _powers(matrix, np.ones(4), steps)[:, [0, 3, 1]]


def _powers(matrix: NDArray, start: NDArray, steps: int) -> NDArray:
    path = [start]
    for _ in range(steps):
        path.append(matrix @ path[-1])
    return np.array(path)
