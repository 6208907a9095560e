"""What the third derivative of a loss makes of the agents' noise, to leading order in the noise (BS Thm 5.1)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdesim.fields import check_count, check_sign
from sdesim.theory.arguments import finite, floats, require


def quorum_perturbation(
    agents: int, eta: ArrayLike, sigma: float, third: float, k: ArrayLike, curvature: float
) -> tuple[NDArray, NDArray]:
    """Bias and variance of the quorum of QSGD about a minimum, after each step of a schedule, in one dimension.

    To leading order agents are those of the quadratic, with variances v about their mean and V of the mean, and the
    third derivative pushes the mean, on average, by -f'''/2 E(x^i - x*)^2. With h the curvature at the minimum

        bias <- (1 - eta h) bias + eta f'''/2 (v + V),
        v <- (1 - eta (k + h))^2 v + eta^2 sigma^2 (p - 1) / p,   V <- (1 - eta h)^2 V + eta^2 sigma^2 / p

    from agents at the minimum. `qsgd_distance_scheduled` is the bound that holds to every order.

    Args:
        agents: p.
        eta: learning rate of each step, (steps,) or a number for all, in time.
        sigma: standard deviation of an agent's gradient noise, in length/time.
        third: f''' at the minimum, in 1/(length time).
        k: gain of each step, (steps,) or a number for all, in 1/time; eta or k is (steps,).
        curvature: h, in 1/time.

    Returns:
        x* - E x_mean in length, and E(x_mean - E x_mean)^2 in length^2: at the start and after each step, (steps + 1,).

    Raises:
        ValueError: if an argument is out of its range.
    """
    p = check_count("agents", agents)
    check_sign("eta", eta, zero=False)
    for name, value in (("sigma", sigma), ("k", k), ("curvature", curvature)):
        check_sign(name, value)
    finite("third", third)
    etas, gains = np.broadcast_arrays(floats(eta), floats(k))
    require(etas.ndim == 1, f"eta and k: of shape {etas.shape} together, must be one number a step, (steps,)")
    bias, own, mean = 0.0, 0.0, 0.0
    found = [(bias, mean)]
    for dt, gain in zip(etas, gains, strict=True):
        kick = (dt * sigma) ** 2
        bias = (1 - dt * curvature) * bias + dt * third / 2 * (own + mean)
        own = (1 - dt * (gain + curvature)) ** 2 * own + kick * (p - 1) / p
        mean = (1 - dt * curvature) ** 2 * mean + kick / p
        found.append((bias, mean))
    biases, variances = np.array(found).T
    return biases, variances
