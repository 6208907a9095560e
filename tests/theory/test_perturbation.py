"""The bias that the third derivative makes of the agents' noise."""

import numpy as np
import pytest

import sdesim
from sdesim.objectives import LogCosh
from sdesim.theory import curvature
from sdesim.theory.perturbation import quorum_perturbation


def test_leading_order_of_the_bias():
    """Half the third derivative times an agent's variance, over the curvature."""
    eta, k, h, third = 0.01, 4.0, 1.7, 0.8
    bias, variance = quorum_perturbation(10, np.full(5000, eta), 1.0, third, k, h)
    assert bias.shape == variance.shape == (5001,)
    assert bias[0] == variance[0] == 0
    of_mean = eta / (2 * h - eta * h**2) / 10
    agents = 0.9 * eta / (2 * (k + h) - eta * (k + h) ** 2) + of_mean
    assert variance[-1] == pytest.approx(of_mean, rel=1e-6)
    assert bias[-1] == pytest.approx(third / 2 * agents / h, rel=1e-6)


def test_weak_noise_gives_the_bias_of_a_simulation(z_scores):
    """Of the mean of agents on a skewed loss, against that of the same noise on the quadratic, which has none."""
    loss, eta, k, sigma, p, steps = LogCosh.resting_at(-LogCosh.STEEPEST, 1.0, 1.0), 0.1, 2.0, 0.4, 4, 60
    h = 1.0 + 1.0 / float(np.cosh(LogCosh.STEEPEST)) ** 2
    law, start = sdesim.noise.Gaussian(sigma), -LogCosh.STEEPEST
    run = lambda objective: sdesim.iterate(
        sdesim.Dynamics(objective, sdesim.Quorum(k), law, eta), agents=p, sims=20_000, steps=steps, init=start, seed=1
    ).quorum[:, 0]
    shift = np.asarray(run(sdesim.objectives.Quadratic(h, start))) - np.asarray(run(loss))
    third = curvature.constants(loss, 1).third
    bias, _ = quorum_perturbation(p, np.full(steps, eta), sigma, third, k, h)
    assert abs(z_scores(shift, bias[-1])) < 4.5 + 0.05 * bias[-1] / (shift.std() / len(shift) ** 0.5)  # the next order
    assert abs(z_scores(shift, 0.5 * bias[-1])) > 4.5


@pytest.mark.parametrize(
    ("change", "message"),
    [({"eta": 0.1, "k": 1.0}, "one number a step"), ({"sigma": -1.0}, "sigma=-1"), ({"agents": 0}, "agents=0")],
)
def test_bad_arguments_are_refused(change, message):
    given = {"agents": 2, "eta": np.full(3, 0.1), "sigma": 1.0, "third": 1.0, "k": 1.0, "curvature": 1.0}
    with pytest.raises(ValueError, match=message):
        quorum_perturbation(**{**given, **change})
