"""Agents with different learning rates: their law on a quadratic loss, and where they agree (BS 3.4).

Learning rates may scale the noise of agents that share a drift, BS 3.4's model, or whole steps: each agent then moves
by eta_i times gradient and pull, and what the coupling conserves is sum_i x^i / eta_i.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign
from sdesim.theory.arguments import finite, floats
from sdesim.theory.linear import ou_covariance_discrete
from sdesim.theory.synchronization import step


def agents_covariance(
    eta: ArrayLike,
    noise_trace: float,
    k: float,
    curvature: float,
    batch: ArrayLike = 1,
    dt: float | None = None,
    *,
    own_steps: bool,
) -> NDArray:
    """Stationary covariance of the positions of all agents of QSGD on f = h x^2 / 2, in one dimension.

    With S = 1 - 1/p what takes the mean off, the chain with step dt has the drift h + k S and noise of covariance
    diag(eta_i / b_i) C for a common drift; with own steps both are multiplied by eta_i / dt.

    Args:
        eta: learning rates, (agents,), in time.
        noise_trace: C, the variance of one sample's gradient noise, in length^2/time^2.
        k: gain, in 1/time.
        curvature: h, in 1/time.
        batch: minibatch sizes, (agents,) or a number.
        dt: step of the chain, in time; by default the mean of eta, which is the iteration.
        own_steps: whether each agent's rate multiplies its whole step, or its noise alone.

    Returns:
        (agents, agents), in length^2.

    Raises:
        ValueError: if the chain is unstable, or an argument out of its range.
    """
    rates = floats(eta)
    p = check_count("agents", rates.size)
    for name, value in (("eta", eta), ("batch", batch), ("curvature", curvature)):
        check_sign(name, value, zero=False)
    for name, value in (("noise_trace", noise_trace), ("k", k)):
        check_sign(name, value)
    dt = float(step(dt, rates))
    drift = curvature * np.eye(p) + k * (np.eye(p) - 1 / p)
    noise = rates * noise_trace / floats(batch)
    if own_steps:
        drift, noise = rates[:, None] / dt * drift, noise * rates / dt
    return ou_covariance_discrete(drift, np.diag(noise), dt)


def spread_and_variance(covariance: NDArray) -> tuple[float, float]:
    """E sum_i |x^i - x_mean|^2 and Var x_mean of agents, in the unit of their covariance.

    Args:
        covariance: of their positions, (agents, agents).
    """
    p = len(covariance)
    covariance = finite("covariance", covariance)
    return float(np.trace((np.eye(p) - 1 / p) @ covariance)), float(covariance.mean())


def consensus(start: NDArray, eta: NDArray) -> NDArray:
    """Where agents meet that take their own steps and feel the coupling alone: the mean of x^i weighted by 1/eta_i.

    Args:
        start: positions, (..., agents), in length.
        eta: learning rates, (agents,), in time.

    Returns:
        (...,), in length.
    """
    check_sign("eta", eta, zero=False)
    rates = floats(eta)
    return (finite("start", start) / rates).mean(-1) / (1 / rates).mean()
