"""What the step gives by derivatives is what the thesis' matrices say by hand, to 1e-10.

Numbers are sums of few powers of 2, so that float32, in which models hold them, rounds none.
"""

import jax
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.analysis import linearize, optimize, stability_map
from sdesim.asynchrony import ADMM, EASGD, Asynchronous, AsyncSGD, Deterministic
from sdesim.dynamics import Nesterov
from sdesim.steppers import Iteration
from sdesim.theory import multiplicative, quadratic, stability

H, ETA, SIGMA, K, DELTA = 0.75, 0.25, 1.25, 0.5, 0.625
N, ALPHA, S2 = ETA * H, ETA * K, (ETA * SIGMA) ** 2
GAMMA = 2.0, 4.0  # shape and rate, whose mean is 0.5 and variance 0.125
MEAN, VARIANCE = multiplicative.gamma_law(*GAMMA)


def model_of(rule=None, **more):
    return sdesim.Dynamics(objectives.Quadratic(H), rule or coupling.Uncoupled(), noise.Gaussian(SIGMA), ETA, **more)


def elastic(beta):
    return coupling.Elastic(K, center_rate=beta / ETA)


def multiplied(rule=None, **more):
    objective, law = noise.zhang_multiplicative(*GAMMA)
    return sdesim.Dynamics(objective, rule or coupling.Uncoupled(), law, ETA, **more)


def whole(found):
    """The step as a matrix over all agents one by one, and what they share."""
    ((joint, alone),) = [(event.joint, event.alone[0]) for event in found.events]
    n, p = found.own, found.agents
    own = np.kron(np.eye(p), alone) + np.kron(np.full((p, p), 1 / p), joint[:n, :n] - alone)
    return np.block([[own, np.tile(joint[:n, n:], (p, 1))], [np.tile(joint[n:, :n] / p, p), joint[n:, n:]]])


def close(found, hand):
    np.testing.assert_allclose(found, hand, rtol=0, atol=1e-10)


@pytest.mark.parametrize("p", [2, 5])
@pytest.mark.parametrize("beta", [0.5, 1.75])
def test_drift_of_easgd_and_eamsgd(p, beta):
    found = linearize(model_of(elastic(beta)), Iteration(), agents=p)
    close(whole(found), stability.easgd_drift(p, N, ALPHA, beta))
    found = linearize(model_of(elastic(beta), momentum=Nesterov(DELTA)), Iteration(), agents=p)
    delta = DELTA * (1 - N)
    order = [*np.arange(2 * p).reshape(p, 2)[:, ::-1].ravel(), 2 * p]  # the thesis has v before x
    close(whole(found)[np.ix_(order, order)], stability.eamsgd_drift(p, N, delta, ALPHA, beta))
    spectrum = np.abs(stability.eamsgd_spectrum(N, delta, ALPHA, beta)).max()
    assert found.radius() == pytest.approx(spectrum**2, abs=1e-10)


@pytest.mark.parametrize("beta", [0.5, 1.75])
def test_gauss_seidel(beta):
    found = linearize(model_of(elastic(beta)), Iteration(order="gauss-seidel"), agents=3)
    close(found.mean(), stability.gauss_seidel_drift(N, ALPHA, beta))
    close(found.events[0].alone[0], (1 - N) * (1 - ALPHA))


def test_second_moments_of_additive_noise():
    found = linearize(model_of(momentum=Nesterov(DELTA)), Iteration(), agents=1)
    moments, added = found.second()
    close(moments.toarray()[::-1, ::-1], quadratic.momentum_moments(N, DELTA * (1 - N)))
    close(added, S2)
    there = found.stationary()["own"]
    close([there[1, 1], there[0, 1], there[0, 0]], quadratic.momentum_stationary(N, DELTA * (1 - N), S2))
    p, beta = 4, 0.5
    found = linearize(model_of(elastic(beta)), Iteration(), agents=p)
    moments, added = found.second()
    close(moments.toarray()[:3, :3], quadratic.easgd_moments(N, ALPHA, beta))
    close(added, [S2 / p, 0, 0, S2])
    y, cross, center = quadratic.easgd_stationary(p, N, ALPHA, beta, S2)
    there = found.stationary()
    close([there["shared"][0, 0], there["cross"][0, 0]], [center, cross])
    close(there["own"] / p + (1 - 1 / p) * there["pair"], y)
    own = linearize(model_of(batch=2.0), Iteration(), agents=1).stationary()["own"]
    close(own, quadratic.sgd_variance(N, S2, 2))
    symmetric = linearize(model_of(coupling.Elastic(K)), Iteration(), agents=p).stationary()["shared"]
    close(symmetric, quadratic.center_variance(np.inf, p, N, ALPHA, S2))


@pytest.mark.parametrize("p", [1, 2, 7, 10_000])
def test_second_moments_of_multiplicative_noise_of_easgd(p):
    found = linearize(multiplied(elastic(0.5)), Iteration(), agents=p)
    hand = multiplicative.easgd_moments(p, ETA, ALPHA, 0.5, MEAN, VARIANCE)
    assert found.radius() == pytest.approx(stability.radius(hand), abs=1e-10)
    if p > 1:  # from E m^2, E m c, E c^2 and of two workers' difference to the thesis' moments
        basis = np.array([[0, 0, 1, 0], [1, 0, 0, 1 - 1 / p], [0, 1, 0, 0], [1, 0, 0, 0]])
        close(basis @ found.second()[0].toarray(), hand @ basis)


def test_second_moments_of_multiplicative_noise_of_one_agent():
    found = linearize(multiplied(momentum=Nesterov(DELTA)), Iteration(), agents=1)
    order = [2, 0, 1]  # E v^2, E x^2, E v x
    hand = multiplicative.momentum_moments(ETA, DELTA, MEAN, VARIANCE)
    close(found.second()[0].toarray()[np.ix_(order, order)], hand)
    for batch in (1.0, 4.0):
        found = linearize(multiplied(batch=batch), Iteration(), agents=1)
        assert found.radius() == pytest.approx(multiplicative.sgd_factor(ETA, MEAN, VARIANCE, batch), abs=1e-10)


def test_mean_square_stability_has_a_limit_of_its_own():
    """E x^2 of SGD grows from 2 m / (m^2 + w) on, where the mean still shrinks (Z 5.26)."""
    limit = 2 * MEAN / (MEAN**2 + VARIANCE)
    below, above = (
        linearize(sdesim.Dynamics(*zhang(eta)), Iteration(), agents=1) for eta in (limit * 0.99, limit * 1.01)
    )
    assert below.radius() < 1 < above.radius() and np.abs(above.mean()).max() < 1


def zhang(eta):
    objective, law = noise.zhang_multiplicative(*GAMMA)
    return objective, coupling.Uncoupled(), law, eta


@pytest.mark.parametrize("p", [2, 3, 5])
def test_workers_in_turn(p):
    in_turn = lambda protocol: Asynchronous(protocol, compute=Deterministic())
    found = linearize(model_of(coupling.Elastic(K)), in_turn(EASGD()), agents=p)
    hand = stability.radius(stability.easgd_sweep(p, N, ALPHA)) ** 2
    assert found.radius() ** p == pytest.approx(hand, abs=1e-10)


@pytest.mark.parametrize("p, rho", [(3, 2.5), (3, 8.0), (2, 0.5)])
def test_admm_in_turn(p, rho):
    eta = 2.0**-10
    model = sdesim.Dynamics(objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=eta)
    found = linearize(model, Asynchronous(ADMM(rho), compute=Deterministic()), agents=p)
    hand = stability.radius(stability.admm_sweep(p, eta, rho))
    if hand > 1 + 1e-9:  # else it is that of what ADMM conserves
        assert found.radius() ** p == pytest.approx(hand**2, abs=1e-10)
    else:
        assert found.radius() == pytest.approx(1, abs=1e-8)


def test_multiplicative_noise_of_workers_at_random():
    """All second moments of the reads and the center, worker by worker."""
    p = 3
    c, size = p, p + 1
    total = np.zeros((size**2, size**2))
    for i in range(p):
        step, kick = np.eye(size), np.zeros((size, size))
        step[c, i] = -ETA * MEAN
        step[i] = step[c]
        kick[c, i] = kick[i, i] = ETA * np.sqrt(VARIANCE)
        total += (np.kron(step, step) + np.kron(kick, kick)) / p
    found = linearize(multiplied(), Asynchronous(AsyncSGD()), agents=p)
    assert found.radius() == pytest.approx(np.abs(np.linalg.eigvals(total)).max(), abs=1e-10)
    silent = sdesim.Dynamics(objectives.Quadratic(MEAN), eta=ETA)
    assert found.radius() > linearize(silent, Asynchronous(AsyncSGD()), agents=p).radius() + 1e-3


# -- float64, whatever the user has ------------------------------------------------------------------------------------


def test_float64_where_the_user_has_float32():
    with jax.enable_x64(False):
        model = sdesim.Dynamics(objectives.Quadratic(H), elastic(0.5), noise.Gaussian(SIGMA), ETA)
        assert model.eta.dtype == np.float32
        found = linearize(model, Iteration(), agents=2)
        assert found.mean().dtype == np.float64
        close(found.mean(), [[1 - N - ALPHA, ALPHA], [0.5, 0.5]])
        grid = stability_map(multiplied(), {"eta": [0.1]}, stepper=Iteration())  # float32 would be off by 1e-9
        close(grid["radius"].values, [multiplicative.sgd_factor(0.1, MEAN, VARIANCE)])
        assert np.abs(float(np.float32(0.1)) - 0.1) > 1e-9
        best = optimize(multiplied(), "eta", (0.0, 3.0), stepper=Iteration()).best
        assert best == pytest.approx(multiplicative.best_eta(MEAN, VARIANCE), abs=1e-6)
