"""Agents with different learning rates on a quadratic (BS 3.4)."""

import dataclasses

import numpy as np
import pytest

import sdesim
from sdesim.theory import bounds, rates

P, H, C, ETA = 16, 1.0, 1.0, 0.05
BATCH = np.tile([1.0, 2.0], P // 2)


def two_halves(contrast, eta=ETA):
    return eta * (1 + contrast * np.repeat([1.0, -1.0], P // 2))


def law(contrast, k, own_steps):
    return rates.spread_and_variance(rates.agents_covariance(two_halves(contrast), C, k, H, BATCH, own_steps=own_steps))


@pytest.mark.parametrize("k", [0.5, 6.0])
@pytest.mark.parametrize("contrast", [0.0, 0.5, 0.9])
def test_a_common_drift_attains_the_bound_and_own_steps_do_not(contrast, k):
    eta, level = two_halves(contrast), np.mean(ETA / BATCH) * C
    spread, variance = law(contrast, k, own_steps=False)
    bound = bounds.synchronization_level_discrete(P, eta, C, k, -H, H, batch=BATCH)
    assert spread == pytest.approx(bound, rel=1e-10)  # (22) is attained, and holds the mean rate alone
    assert variance == pytest.approx(level / P / (2 * H - ETA * H**2), rel=1e-10)
    same = law(contrast, k, own_steps=True)
    assert (same == pytest.approx((spread, variance), rel=1e-10)) == (contrast == 0.0)


def test_own_steps_tend_to_the_harmonic_mean():
    """Strongly coupled agents of small steps are one agent with the harmonic mean of the rates."""
    eta = two_halves(0.8, 1e-5)
    harmonic = 1 / np.mean(1 / eta)
    variance = rates.spread_and_variance(rates.agents_covariance(eta, C, 3000.0, H, own_steps=True))[1]
    assert variance == pytest.approx(harmonic * C / (2 * H) / P, rel=0.02)


@pytest.mark.parametrize("own_steps", [False, True])
def test_simulated_agents_have_the_covariance(own_steps, z_scores):
    eta, k = np.array([0.16, 0.16, 0.04, 0.04]), 4.0
    kind = {} if own_steps else {"rates": "noise"}
    quadratic, noise = sdesim.objectives.Quadratic(H), sdesim.noise.Gaussian(C**0.5)
    model = sdesim.Dynamics(quadratic, sdesim.Quorum(k), noise, eta, **kind)
    x = np.asarray(sdesim.iterate(model, agents=4, sims=20_000, steps=200, init=0.0).agents)[..., 0]
    products = x[:, :, None] * x[:, None]
    expected = rates.agents_covariance(eta, C, k, H, own_steps=own_steps)
    assert abs(z_scores(products, expected)).max() < 4.5
    other = rates.agents_covariance(eta, C, k, H, own_steps=not own_steps)
    assert abs(z_scores(products, other)).max() > 4.5


def test_the_coupling_of_own_steps_conserves_the_mean_weighted_by_inverse_rates():
    eta = np.array([0.16, 0.16, 0.04, 0.04])
    start = np.array([3.0, 1.0, -1.0, -2.0])
    met = rates.consensus(start, eta)
    assert met == pytest.approx((4 / 0.16 - 3 / 0.04) / (2 / 0.16 + 2 / 0.04))
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(0.0), sdesim.Quorum(4.0), eta=eta)
    end = sdesim.simulate(model, agents=4, steps=2000, init=start[:, None]).agents
    np.testing.assert_allclose(end.ravel(), met, rtol=1e-9)
    one_moving_rate = dataclasses.replace(model, coupling=sdesim.Quorum(4.0 * 0.1 / eta))
    end = sdesim.simulate(one_moving_rate, agents=4, steps=2000, init=start[:, None]).agents
    np.testing.assert_allclose(end.ravel(), start.mean(), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"k": 60.0}, "unstable"), ({"k": -1.0}, "k=-1"), ({"eta": [0.1, 0.0]}, "eta="), ({"curvature": 0.0}, "curv")],
)
def test_bad_arguments_are_refused(change, message):
    given = {"eta": [0.1, 0.05], "noise_trace": 1.0, "k": 1.0, "curvature": 1.0}
    with pytest.raises(ValueError, match=message):
        rates.agents_covariance(**{**given, **change}, own_steps=True)
