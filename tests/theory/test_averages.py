"""The law of time averages of the quorum on a quadratic, after n iterations and in the limit (BS 5.5)."""

import numpy as np
import pytest

import sdesim
from sdesim.theory import averages

ETA, P = 0.1, 2
A = np.array([[1.0, 0.3], [0.3, 0.6]])
B = np.array([[1.0, 0.0], [0.7, 0.5]])
COMMON = {"none": np.eye(2), "common": np.array([[1.4, 0.5], [-0.4, 0.9]])}


def alike(preconditioner, k):
    return averages.quorum_chain(ETA, [COMMON[preconditioner]] * P, A, B, k)


@pytest.mark.parametrize("preconditioner", COMMON)
def test_exact_law_of_the_average_is_that_of_the_written_out_sum(preconditioner):
    """Covariance and skewness from the coefficient of every zeta, pushed through the iteration one by one."""
    chain, n = alike(preconditioner, 2.0), 6
    size = len(chain.step)
    coefficients = []
    for born in range(n):
        x, total = chain.kick.copy(), np.zeros_like(chain.kick)
        for _ in range(born, n):  # x_{born + 1}, ..., x_n
            total, x = total + x, chain.step @ x
        coefficients.append(chain.quorum @ total / n * np.sqrt(n))
    c = np.concatenate(coefficients, axis=1)
    assert c.shape == (2, n * size)
    np.testing.assert_allclose(chain.covariance(n), c @ c.T, rtol=1e-12)
    np.testing.assert_allclose(chain.skewness(n, 2.0), 2 * (c**3).sum(1) / (c**2).sum(1) ** 1.5, rtol=1e-12)


def test_the_chain_is_the_iteration():
    """Without noise, and with one kick, by the simulator; preconditioners multiply gradient and noise alone."""
    own, k, h = np.array([1.0, 3.0]), 4.0, 1.5
    chain = averages.quorum_chain(ETA, own, h, 0.7, k)
    law = sdesim.noise.Gaussian(0.7)
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(h), sdesim.Quorum(k / own), law, eta=ETA * own)
    zeta = np.random.default_rng(0).normal(size=(30, 1, 2, 1))
    found = sdesim.iterate(model, agents=2, steps=30, increments=zeta, init=1.0)
    x = np.ones(2)
    for z in zeta[:, 0, :, 0]:
        x = chain.step @ x + chain.kick @ z
    np.testing.assert_allclose(found.agents[0, :, 0], x, rtol=1e-10)
    np.testing.assert_allclose(chain.quorum @ x, x.mean(), rtol=1e-12)


@pytest.mark.parametrize("preconditioner", COMMON)
@pytest.mark.parametrize("k", [0.0, 7.0])
def test_average_approaches_its_limit_for_any_gain_and_common_preconditioner(preconditioner, k):
    """What is missing falls as 1/n, so that doubling n and extrapolating leaves next to nothing of it."""
    law = alike(preconditioner, k).covariance
    limit, half, full = averages.average_covariance(A, B @ B.T, P), law(1000), law(2000)
    np.testing.assert_allclose(2 * full - half, limit, atol=1e-12 * abs(limit).max() + 1e-9)
    assert np.trace(full) < 0.995 * np.trace(limit)
    np.testing.assert_allclose(np.trace(limit - half), 2 * np.trace(limit - full), rtol=1e-6)


def test_preconditioners_that_differ_cost_variance_when_coupled():
    """The closed form, and the iteration extrapolated to it."""
    for k, expected in ((0.0, 0.5), (1.0, 0.52), (10.0, (169 + 1089) / (4 * 529))):
        limit = averages.average_covariance(1.0, 1.0, 2, k, [1.0, 3.0]).item()
        assert limit == pytest.approx(expected, rel=1e-12)
        law = averages.quorum_chain(ETA, [1.0, 3.0], 1.0, 1.0, k).covariance
        assert 2 * law(1000).item() - law(500).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: averages.quorum_chain(0.0, [1.0], 1.0, 1.0, 1.0), "eta=0"),
        (lambda: averages.quorum_chain(0.1, [1.0], 1.0, 1.0, -1.0), "k=-1"),
        (lambda: averages.quorum_chain(0.1, [1.0], [[1.0, 2.0]], 1.0, 1.0), "matrix: of shape"),
        (lambda: averages.quorum_chain(0.1, [np.eye(3)], np.eye(2), np.eye(2), 1.0), "preconditioners: of shape"),
        (lambda: alike("none", 1.0).covariance(0), "n=0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
