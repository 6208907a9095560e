"""Ornstein-Uhlenbeck: stationary laws of agents and quorum against the discrete-exact ones of the chain.

For a quadratic loss every rule here is linear, so one step of a simulation is X' = A X + G z with z of independent
standard normals. A and G are written down here, by hand and not by the code under test; the stationary covariance
solves S = A S A^T + G G^T, and the covariance over n steps is A^n S. Samples are independent simulations, each looked
at twice. z-scores within 4.5: 7e-6 a look, about 500 looks, false alarms below 4e-3 in this file.
"""

import numpy as np
import pytest
import scipy.linalg

import sdesim
from sdesim import noise

SIMS = 4000


def stationary(model, a, g, *, agents, dims=1, dt=None, lag, init=0.0):
    """Two looks `lag` steps apart at all of the state, flattened, after a burn-in that leaves less than 1e-6."""
    radius = np.abs(np.linalg.eigvals(a)).max()
    assert radius < 1
    burn = int(np.ceil(np.log(1e-6) / np.log(radius)))
    sizes = dict(dt=dt, observe=sdesim.observe.Center(), every=10**6)
    first = sdesim.simulate(model, agents=agents, dims=dims, sims=SIMS, steps=burn, init=init, seed=8, **sizes)
    second = sdesim.simulate(model, init=first, steps=lag, **sizes)
    return first, second


def joint(result, *, center=False, velocity=False):
    """(sims, components): agents, then velocities, then the center."""
    parts = [np.asarray(result.agents).reshape(SIMS, -1)]
    if velocity:
        parts.append(np.asarray(result.velocity).reshape(SIMS, -1))
    if center:
        parts.append(np.asarray(result.center))
    return np.concatenate(parts, axis=1)


def outer(x, y):
    return x[:, :, None] * y[:, None, :]


def check(x, y, a, g, z_scores, lag, mean=0.0):
    """Mean, covariance and covariance over `lag` steps of the looks x and y against those of the chain (A, G)."""
    covariance = scipy.linalg.solve_discrete_lyapunov(a, g @ g.T)
    assert np.abs(z_scores(x, mean)).max() < 4.5
    x, y = x - mean, y - mean
    assert np.abs(z_scores(outer(x, x), covariance)).max() < 4.5
    assert np.abs(z_scores(outer(y, x), np.linalg.matrix_power(a, lag) @ covariance)).max() < 4.5
    # The looks have power: 20% more variance, or one step more or fewer of lag, would show.
    assert np.abs(z_scores(outer(x, x), 1.2 * covariance)).max() > 4.5
    return covariance


def centering(p):
    return np.full((p, p), 1 / p)


# -- one dimension, first order --------------------------------------------------------------------------------------

P, H, K, SIGMA, ETA = 4, 1.5, 2.0, 0.8, 0.1


@pytest.mark.parametrize("refine", [1, 3])
def test_quorum(refine, z_scores):
    dt, lag = ETA / refine, 5
    eye = np.eye(P)
    a = eye - dt * (H * eye + K * (eye - centering(P)))
    g = np.sqrt(ETA * dt) * SIGMA * eye
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H, 0.7), coupling=sdesim.Quorum(K), noise=noise.Gaussian(SIGMA), eta=ETA
    )
    first, second = stationary(model, a, g, agents=P, dt=dt, lag=lag, init=3.0)
    x, y = joint(first), joint(second)
    check(x, y, a, g, z_scores, lag, mean=0.7)

    # The same in closed form, for the quorum and for an agent.
    quorum = ETA * dt * SIGMA**2 / P / (1 - (1 - dt * H) ** 2)
    agent = quorum + (1 - 1 / P) * ETA * dt * SIGMA**2 / (1 - (1 - dt * (H + K)) ** 2)
    m = np.asarray(first.quorum) - 0.7
    assert abs(z_scores(m**2, quorum).item()) < 4.5
    assert abs(z_scores(m * (np.asarray(second.quorum) - 0.7), (1 - dt * H) ** lag * quorum).item()) < 4.5
    assert abs(z_scores(((x - 0.7) ** 2).mean(axis=1), agent)) < 4.5
    np.testing.assert_allclose(scipy.linalg.solve_discrete_lyapunov(a, g @ g.T)[0, 0], agent, rtol=1e-12)


def test_chain_is_not_the_continuous_process(z_scores):
    """At dt = eta the agents' variance differs from that of the SDE, and a simulation must know which it has."""
    h, eta = 4.0, 0.2
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(h), noise=noise.Gaussian(1.0), eta=eta)
    x = np.asarray(sdesim.simulate(model, sims=SIMS, agents=8, steps=40, seed=2).agents)
    assert abs(z_scores((x**2).ravel(), eta / (2 * h - h**2 * eta))) < 4.5
    assert abs(z_scores((x**2).ravel(), eta / (2 * h))) > 20


@pytest.mark.parametrize("rate", [None, 3.0])
def test_elastic(rate, z_scores):
    """The center is part of the state; elastic symmetry gives it the rate k p."""
    dt, lag = ETA / 2, 4
    up = K * P if rate is None else rate
    one = np.ones((P, 1))
    a = np.eye(P + 1) + dt * np.block([[-(H + K) * np.eye(P), K * one], [up / P * one.T, -up * np.eye(1)]])
    g = np.sqrt(ETA * dt) * SIGMA * np.eye(P + 1, P)
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H), coupling=sdesim.Elastic(K, rate), noise=noise.Gaussian(SIGMA), eta=ETA
    )
    first, second = stationary(model, a, g, agents=P, dt=dt, lag=lag, init=1.0)
    check(joint(first, center=True), joint(second, center=True), a, g, z_scores, lag)


def test_batches_and_noise_rates_of_each_agent(z_scores):
    """BS 3.4's model: a common drift, agent i with noise of covariance eta_i / b_i."""
    etas, batches = np.array([0.05, 0.1, 0.2, 0.25]), np.array([1.0, 4.0, 2.0, 1.0])
    mean_eta, lag = etas.mean(), 3
    eye = np.eye(P)
    a = eye - mean_eta * (H * eye + K * (eye - centering(P)))
    g = np.diag(np.sqrt(mean_eta * etas / batches)) * SIGMA
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H), coupling=sdesim.Quorum(K), noise=noise.Gaussian(SIGMA),
        eta=etas, batch=batches, rates="noise",
    )  # fmt: skip
    first, second = stationary(model, a, g, agents=P, lag=lag)
    check(joint(first), joint(second), a, g, z_scores, lag)


def test_iteration_rates_of_each_agent(z_scores):
    """Steps of each agent's own length scale its drift, the coupling and the noise alike."""
    etas, lag = np.array([0.05, 0.1, 0.2, 0.25]), 3
    eye = np.eye(P)
    a = eye - np.diag(etas) @ (H * eye + K * (eye - centering(P)))
    g = np.diag(etas) * SIGMA
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H), coupling=sdesim.Quorum(K), noise=noise.Gaussian(SIGMA), eta=etas
    )
    first, second = stationary(model, a, g, agents=P, lag=lag)
    check(joint(first), joint(second), a, g, z_scores, lag)


# -- two dimensions --------------------------------------------------------------------------------------------------

CURVATURE = np.array([[2.0, 0.6], [0.6, 1.0]])
NOISE = np.array([[0.8, 0.0], [0.5, 0.4]])


def test_quorum_in_two_dimensions(z_scores):
    """A matrix curvature and a full noise matrix that do not commute."""
    p, lag = 3, 4
    a = np.eye(2 * p) - ETA * (np.kron(np.eye(p), CURVATURE) + K * np.kron(np.eye(p) - centering(p), np.eye(2)))
    g = ETA * np.kron(np.eye(p), NOISE)
    law = noise.Diffusion(lambda x: NOISE, kind="full")
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(CURVATURE), coupling=sdesim.Quorum(K), noise=law, eta=ETA)
    first, second = stationary(model, a, g, agents=p, dims=2, lag=lag)
    covariance = check(joint(first), joint(second), a, g, z_scores, lag)

    quorum = np.asarray(first.quorum)
    average = np.kron(np.full((1, p), 1 / p), np.eye(2))
    assert np.abs(z_scores(outer(quorum, quorum), average @ covariance @ average.T)).max() < 4.5
    single = np.eye(2) - ETA * CURVATURE
    alone = scipy.linalg.solve_discrete_lyapunov(single, ETA**2 * NOISE @ NOISE.T)
    np.testing.assert_allclose(average @ covariance @ average.T, alone / p, rtol=1e-10)


# -- momentum --------------------------------------------------------------------------------------------------------


def momentum_chain(p, dt, friction, force, position_noise, pull, look=0.0):
    """x' = x + dt u' + pull (mean - x), u' = (1 - dt friction) u - dt force (x + look u) + noise: A and G of (x, u)."""
    eye = np.eye(p)
    up = np.hstack([-dt * force * eye, (1 - dt * friction - dt * force * look) * eye])
    ax = np.hstack([eye - pull * (eye - centering(p)), np.zeros((p, p))]) + dt * up
    return np.vstack([ax, up]), np.vstack([dt * position_noise * eye, position_noise * eye])


@pytest.mark.parametrize("k2", [0.0, 1.0])
def test_friction(k2, z_scores):
    """BS 33-34, position and velocity coupling; the new velocity moves the position (semi-implicit)."""
    mu, dt, lag = 1.2, 0.08, 6
    a, g = momentum_chain(P, dt, mu, H, np.sqrt(ETA * dt) * SIGMA, dt * K)
    damp = -dt * k2 * (np.eye(P) - centering(P))
    a[P:, P:] += damp
    a[:P, P:] += dt * damp
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H), coupling=sdesim.Quorum(K), noise=noise.Gaussian(SIGMA), eta=ETA,
        momentum=sdesim.Friction(mu), velocity_coupling=sdesim.Quorum(k2),
    )  # fmt: skip
    first, second = stationary(model, a, g, agents=P, dt=dt, lag=lag)
    check(joint(first, velocity=True), joint(second, velocity=True), a, g, z_scores, lag)


@pytest.mark.parametrize("rule", [sdesim.HeavyBall, sdesim.Nesterov])
def test_iteration_momentum(rule, z_scores):
    """v <- delta v - eta g(x + look v) + eta zeta, x <- x + v + eta k (mean - x), written in its own variables."""
    delta, lag = 0.8, 7
    # With v for the displacement, u = v in a chain of unit time: friction 1 - delta, force eta h, noise eta sigma.
    look = delta if rule is sdesim.Nesterov else 0.0
    a, g = momentum_chain(P, 1.0, 1 - delta, ETA * H, ETA * SIGMA, ETA * K, look)
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(H), coupling=sdesim.Quorum(K), noise=noise.Gaussian(SIGMA), eta=ETA,
        momentum=rule(delta),
    )  # fmt: skip
    first, second = stationary(model, a, g, agents=P, lag=lag)
    scale = np.concatenate([np.ones(P), np.full(P, np.sqrt(ETA))])  # velocities of the SDE are v / sqrt(eta)
    check(
        joint(first, velocity=True) * scale, joint(second, velocity=True) * scale, a, g, z_scores, lag
    )  # fmt: skip


# -- noise of the quorum ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law", [noise.Gaussian(SIGMA), noise.Uniform(SIGMA * np.sqrt(3.0))], ids=["gaussian", "uniform"]
)
def test_quorum_noise_falls_as_one_over_p(law, z_scores):
    """Also where p is odd, and the last agent has its word pair alone."""
    alone = ETA**2 * SIGMA**2 / (1 - (1 - ETA * H) ** 2)
    for p in (1, 2, 5, 16, 64):
        model = sdesim.Dynamics(sdesim.objectives.Quadratic(H), coupling=sdesim.Quorum(K), noise=law, eta=ETA)
        m = np.asarray(sdesim.simulate(model, agents=p, sims=SIMS, steps=90, seed=p).quorum)
        assert abs(z_scores(m**2, alone / p).item()) < 4.5
        assert abs(z_scores(m**2, 1.2 * alone / p).item()) > 4.5
