"""What p agents add to the limit of infinitely many: fluctuations of their mean.

Stationary, of the SDE: the noise of agents coupled by a quorum is that of a gradient system, whose stationary law is
exp(-(sum_i f(x^i) + (k/2) sum_i (x^i - mean)^2) / T). A Gaussian integral over an auxiliary m makes agents independent,

    exp(k p mean^2 / (2 T)) ~ integral dm exp(-k p (m^2 - 2 m mean) / (2 T)),

each with the law rho_m of `stationary`, while m has the density Z(m)^p ~ exp(-p Phi(m) / T). Moments of the mean are
integrals over m, exact for every p. Their limit is linear noise theory: p Var(mean) -> V / (1 - k V / T), which
diverges at the critical gain.

In time, of the iteration: one agent displaced at an iteration changes the final mean by its own future and by the pull
of the mean that it moved. That influence, run backwards, gives p Var(mean) of any iteration in the limit of large p.
"""

import dataclasses
from typing import Any

import numpy as np

from sdesim.dynamics import Dynamics
from sdesim.fields import check_count, check_sign
from sdesim.theory.meanfield import parts
from sdesim.theory.meanfield.iteration import Transfer, evolve, piece_edges
from sdesim.theory.meanfield.parts import Grid
from sdesim.theory.meanfield.stationary import SelfConsistency


@dataclasses.dataclass(frozen=True)
class QuorumMoments:
    """Stationary moments of the mean of p agents.

    Attributes:
        mean: in units of x.
        variance: in units of x^2.
    """

    mean: float
    variance: float

    @property
    def second(self) -> float:
        """E mean^2, about 0."""
        return self.variance + self.mean**2


def quorum_moments(
    loss: SelfConsistency, k: float, temperature: float, agents: int, points: int = 401
) -> QuorumMoments:
    """Exact stationary moments of the mean of p agents of the SDE with quorum coupling (dt -> 0).

    Args:
        loss: with its grid.
        k: gain, at least 0, in 1/time.
        temperature: T, greater than 0, in length^2/time.
        agents: p.
        points: least number of points of the integral over m, on the interval that holds its weight. More are taken
            where peaks of the density of m are narrow, sqrt(T / (k p)) at the least, as they are for many agents.

    Returns:
        Mean and variance.

    Raises:
        ValueError: for fewer than 1 agent, k < 0 or a temperature that is not positive.
    """
    p = check_count("agents", agents)
    check_count("points", points)
    check_sign("k", k)
    check_sign("temperature", temperature, zero=False)
    if k == 0:
        mean, variance = loss.moments(0.0, 0.0, temperature)
        return QuorumMoments(float(mean), float(variance) / p)
    narrowest = np.sqrt(temperature / (k * p))  # as Phi'' is at most k
    # With a weak pull m strays from the agents by that much, beyond the grid of x.
    low, high = loss.grid.low - 10 * narrowest, loss.grid.high + 10 * narrowest
    # Looks that find where the weight is, missing no peak, before one at which every peak is resolved.
    for spacing in (5 * narrowest, 5 * narrowest, 5 * narrowest, narrowest / 2):
        m = np.linspace(low, high, max(points, int((high - low) / spacing) + 2))
        exponent = -p * loss.effective_loss(m, k, temperature) / temperature
        held = np.flatnonzero(exponent > exponent.max() - 50)
        low, high = m[max(held[0] - 1, 0)], m[min(held[-1] + 1, m.size - 1)]
    weights = np.exp(exponent - exponent.max())
    weights /= weights.sum()
    own_mean, own_variance = loss.moments(m, k, temperature)
    mean = weights @ own_mean
    return QuorumMoments(float(mean), float(weights @ own_variance / p + weights @ (own_mean - mean) ** 2))


def linear_noise(variance: float, k: float, temperature: float) -> float:
    """p Var(mean) on a stable branch of agents' variance V: V / (1 - k V / T); for a quadratic loss exact, T / f''.

    Args:
        variance: V of one agent, at least 0, in length^2.
        k: gain, at least 0, in 1/time.
        temperature: T, greater than 0, in length^2/time.

    Returns:
        In length^2.

    Raises:
        ValueError: on an unstable branch.
    """
    for name, value in (("variance", variance), ("k", k)):
        check_sign(name, value)
    check_sign("temperature", temperature, zero=False)
    slope = k * variance / temperature
    if slope >= 1:
        raise ValueError(f"variance={variance:g}, k={k:g}: R' = k V / T = {slope:g}, must be less than 1 (stable)")
    return variance / (1 - slope)


def iteration_noise(model: Dynamics, grid: Grid, *, steps: int, init: Any) -> float:
    """p Var(mean of p agents) after some iterations, in the limit of large p.

    With independent initial agents; linear noise theory, so that it fails where agents' mean jumps between two
    branches.

    Args:
        model: as for `evolve`.
        grid: where the law lives; wide enough to hold all of it.
        steps: iterations.
        init: a law of `sdesim.init`, a number, or masses (cells,).

    Returns:
        In units of x^2.

    Raises:
        ValueError: as `evolve`.
    """
    forward = evolve(model, grid, steps=steps, init=init, every=1)
    eta, coupling = parts.learning_rates(model, steps), parts.pull(model)
    slope = parts.gradient(model.objective)(piece_edges(grid))
    x, transfer = grid.centers, None
    influence, of_center, variance = x.copy(), 0.0, 0.0
    for n in reversed(range(steps)):
        if transfer is None or transfer.eta != eta[n]:
            transfer = Transfer(slope, grid, eta[n], coupling.k, parts.noise_law(model, eta[n]))
        mean, square = transfer.expected(np.stack([influence, influence**2]), forward.target[n])
        before, after = forward.history[n], forward.history[n + 1]
        variance += before @ (square - mean**2)
        of_target = eta[n] * coupling.k * float(after @ np.gradient(influence, grid.width))
        if coupling.rate is None:
            influence = mean + of_target * x
        else:
            influence = mean + eta[n] * coupling.rate * of_center * x
            of_center = (1 - eta[n] * coupling.rate) * of_center + of_target
    influence = influence + of_center * x  # a center starts at the mean of the agents
    start = forward.history[0]
    return float(variance + start @ (influence - start @ influence) ** 2)
