"""The bounds of Boffi and Slotine against independent computations: eigenvalues, Lyapunov equations, simulation.

For a quadratic loss every model here is linear, so that stationary covariances of the whole population, written down by
hand, say exactly how large a distance is; for contraction, Jacobians are diagonalized over all curvatures allowed.
z-scores within 4.5: 7e-6 a look, below 60 looks.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sdesim
from sdesim import noise, objectives
from sdesim.theory import bounds

positive = st.floats(0.05, 20.0)
gain = st.floats(0.0, 20.0)


def gap(p):
    """The projection to differences from the mean of p agents."""
    return np.eye(p) - np.full((p, p), 1 / p)


def lyapunov(drift, covariance):
    return scipy.linalg.solve_continuous_lyapunov(drift, covariance)


def symmetrized(jacobian, metric):
    """Rate of contraction of a Jacobian in a metric: minus the greatest eigenvalue of its symmetric part."""
    j = metric @ jacobian @ np.linalg.inv(metric)
    return -np.linalg.eigvalsh((j + j.T) / 2)[-1]


# -- synchronization ---------------------------------------------------------------------------------------------------


def test_printed_numbers():
    """h = sigma = 1, k = 10, p = 10: the bound of the SDE, and what the iteration with dt = 0.05 has."""
    assert bounds.synchronization_level(10, 1.0, 1.0, 10.0, -1.0) == pytest.approx(9 / 22)
    chain = bounds.synchronization_level_discrete(10, 1.0, 1.0, 10.0, -1.0, 1.0, dt=0.05)
    assert chain == pytest.approx(0.5643, abs=1e-4)


@given(st.integers(2, 5), st.lists(st.floats(0.2, 5.0), min_size=1, max_size=3), gain, positive, positive)
def test_level_bounds_quadratics_and_is_attained(p, curvatures, k, eta, c):
    """Whole system of p agents: equality for one curvature, below the bound for several."""
    d, lam = len(curvatures), min(curvatures)
    drift = np.kron(np.eye(p), np.diag(curvatures)) + k * np.kron(gap(p), np.eye(d))
    v = lyapunov(drift, eta * c / d * np.eye(p * d))
    exact = np.trace(np.kron(gap(p), np.eye(d)) @ v)
    bound = bounds.synchronization_level(p, eta, c, k, -lam)
    if max(curvatures) == lam:
        assert exact == pytest.approx(bound, rel=1e-9)
    else:
        assert exact <= bound * (1 + 1e-9)
        assert exact > bounds.synchronization_level(p, eta, c, k, -max(curvatures)) * (1 - 1e-9)


@given(st.integers(2, 5), st.floats(0.2, 3.0), st.floats(0.0, 3.0), gain, positive, st.floats(0.05, 0.95))
def test_discrete_level_bounds_quadratics_and_is_attained(p, lam, more, k, eta, share):
    """The chain of p agents in two dimensions of curvatures lambda and L, for steps up to the limit of stability."""
    smooth = lam + more
    dt = share * 2 / (k + smooth)
    step = np.eye(2 * p) - dt * (np.kron(np.eye(p), np.diag([lam, smooth])) + k * np.kron(gap(p), np.eye(2)))
    for c in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]):  # in which coordinate the noise is
        v = scipy.linalg.solve_discrete_lyapunov(step, dt * eta * np.kron(np.eye(p), np.diag(c)))
        exact = np.trace(np.kron(gap(p), np.eye(2)) @ v)
        assert exact <= bounds.synchronization_level_discrete(p, eta, 1.0, k, -lam, smooth, dt=dt) * (1 + 1e-9)
    # One of the coordinates attains it, which shows that neither part of q can be left out.
    worst = max(dt * eta * (p - 1) / (1 - (1 - dt * (k + h)) ** 2) for h in (lam, smooth))
    assert bounds.synchronization_level_discrete(p, eta, 1.0, k, -lam, smooth, dt=dt) == pytest.approx(worst)


def test_discrete_level_goes_to_that_of_the_sde_at_first_order():
    level = bounds.synchronization_level(7, 0.3, 2.0, 4.0, 1.5, batch=3)
    dt = np.array([0.02, 0.01, 0.005])
    discrete = bounds.synchronization_level_discrete(7, 0.3, 2.0, 4.0, 1.5, 2.0, batch=3, dt=dt)
    error = discrete - level
    np.testing.assert_allclose(error[:-1] / error[1:], 2, atol=0.06)
    level = bounds.synchronization_level_discrete
    assert level(7, 0.3, 2.0, 4.0, 1.5, 2.0) == level(7, 0.3, 2.0, 4.0, 1.5, 2.0, dt=0.3)


def test_rates_of_each_agent():
    """BS 3.4: noise eta_i / b_i under a common drift; exact for one curvature, and the same for everything else."""
    etas, batches, k, h = np.array([0.1, 0.2, 0.5, 0.4]), np.array([1.0, 4.0, 2.0, 1.0]), 3.0, 0.7
    v = lyapunov(h * np.eye(4) + k * gap(4), np.diag(etas / batches))
    assert bounds.synchronization_level(4, etas, 1.0, k, -h, batches) == pytest.approx(np.trace(gap(4) @ v))
    assert bounds.qsgd_distance(4, 1, etas, 1.0, 0.0, k, h, batches) == pytest.approx(np.sqrt(v.mean()))
    step = np.eye(4) - 0.3 * (h * np.eye(4) + k * gap(4))  # dt is the mean rate
    v = scipy.linalg.solve_discrete_lyapunov(step, 0.3 * np.diag(etas / batches))
    chain = bounds.synchronization_level_discrete(4, etas, 1.0, k, -h, h, batches)
    assert chain == pytest.approx(np.trace(gap(4) @ v))
    assert bounds.quorum_noise_covariance(2.0, 4, etas, batches) == pytest.approx((etas / batches).sum() * 2.0 / 16)


@pytest.mark.parametrize("coupling", [sdesim.Quorum(3.0), sdesim.Elastic(3.0), sdesim.Elastic(3.0, 0.5)])
def test_synchronization_rate(coupling):
    """Deterministic agents in double wells of concavity 2 approach each other, whatever drives the center."""
    loss, dt, steps = objectives.LogCosh(1.0, -3.0), 1e-3, 3000
    model = sdesim.Dynamics(loss, coupling, eta=dt)
    start = np.linspace(-0.02, 0.02, 5)[None, :, None] * np.array([1.0, 100.0])[:, None, None]
    x = sdesim.simulate(model, agents=5, sims=2, steps=steps, init=start, observe=sdesim.observe.Spread(), every=steps)
    spread = np.asarray(x.observed["spread"])
    rate = -np.log(spread[..., -1] / spread[..., 0]) / (2 * steps * dt)
    assert (bound := bounds.synchronization_rate(3.0, 2.0)) == 1.0
    assert rate[0] == pytest.approx(bound, rel=2e-3)  # at the top of the hill it is attained
    assert rate[1] > 1.1 * bound


def test_state_dependent_rate_does_not_depend_on_the_number_of_agents():
    """Gains of the senders from 2.5 / p to 3 / p, more for farther agents: the rate is attained near 0."""
    for p in (2, 10):
        rule = sdesim.StateDependent(lambda x, t, p=p: (2.5 + 0.5 * jnp.tanh(x[0] ** 2)) / p)
        model = sdesim.Dynamics(objectives.LogCosh(1.0, -3.0), rule, eta=1e-3)
        start = np.linspace(-0.02, 0.02, p)[None, :, None]
        x = sdesim.simulate(model, agents=p, steps=4000, init=start, observe=sdesim.observe.Spread(), every=4000)
        spread = np.asarray(x.observed["spread"])[0]
        rate = -np.log(spread[-1] / spread[0]) / 8.0
        assert rate == pytest.approx(bounds.state_dependent_rate(2.5, 2.0), rel=1e-2)


@pytest.mark.parametrize(("weight", "least"), [(1.0, 0.7), (-3.0, 0.6)], ids=["convex", "double-wells"])
def test_levels_bound_a_simulation(weight, least, z_scores):
    """Losses of bounded curvature that are not quadratic, at dt = eta where the bound of the SDE does not apply."""
    loss, eta, k, p, d = objectives.LogCosh(1.0, weight), 0.1, 6.0, 8, 2
    law = noise.Uniform(1.0)
    low, high = min(1.0, 1.0 + weight), max(1.0, 1.0 + weight)
    model = sdesim.Dynamics(loss, sdesim.Quorum(k), law, eta=eta)
    x = sdesim.simulate(model, agents=p, dims=d, sims=4000, steps=100, seed=1)
    spread = np.sum((np.asarray(x.agents) - np.asarray(x.quorum)[:, None]) ** 2, axis=(1, 2))
    bound = bounds.synchronization_level_discrete(p, eta, d / 3, k, -low, high)
    assert z_scores(spread, bound) < 4.5
    assert z_scores(spread, least * bound) > 4.5
    # The quorum's disturbance: from the agents' gradients, against Taylor's remainder.
    gradient = lambda y: y + weight * np.tanh(y)
    eps = gradient(np.asarray(x.quorum)) - gradient(np.asarray(x.agents)).mean(axis=1)
    third = abs(weight) * 4 / (3 * np.sqrt(3))
    size = np.linalg.norm(eps, axis=1)
    factor = bounds.disturbance(p, d, eta, d / 3, third, k, -low) / bounds.synchronization_level(p, eta, d / 3, k, -low)
    assert factor == pytest.approx(np.sqrt(d) * third / (2 * p))
    assert np.all(size <= factor * spread * (1 + 1e-9))  # at every moment, not on average only
    assert size.max() > 0


def test_disturbance_and_noise_of_the_quorum():
    arguments = dict(agents=4, dims=9, eta=0.2, noise_trace=3.0, third=0.5, concavity=-1.0, batch=2)
    assert bounds.disturbance(k=5.0, **arguments) == pytest.approx(3 * 0.5 * 0.2 * 3.0 * 3 / (4 * 4 * 2 * 6.0))
    assert bounds.disturbance(k=1e9, **arguments) < 1e-9
    sigma = np.array([[2.0, 0.3], [0.3, 1.0]])
    np.testing.assert_allclose(bounds.quorum_noise_covariance(sigma, 4, 0.2, 2), 0.2 / 8 * sigma)


# -- momentum: synchronization (Lemma 3.2) and contraction (Lemma 5.3) -------------------------------------------------


@given(positive, gain, positive, positive, st.floats(0.0, 10.0))
def test_momentum_synchronization_rate(k1, k2, mu, lam, more):
    """The symmetrized Jacobian of one agent over all curvatures in [lambda, L]: never worse, and once as bad."""
    smooth = lam + more
    jacobians = [np.array([[-k1, 1.0], [-h, -mu - k2]]) for h in np.linspace(lam, smooth, 41)]
    rates = [symmetrized(jacobian, np.eye(2)) for jacobian in jacobians]
    if min(rates) > 1e-9:
        assert bounds.momentum_synchronization_rate(k1, k2, mu, lam, smooth) == pytest.approx(min(rates), rel=1e-6)
    elif min(rates) < -1e-9:
        with pytest.raises(ValueError, match="k1 "):
            bounds.momentum_synchronization_rate(k1, k2, mu, lam, smooth)


def test_momentum_synchronization_level_bounds_the_whole_system():
    p, k1, k2, mu, c, eta = 4, 2.0, 0.5, 1.5, 1.3, 0.2
    for h in (0.5, 1.0, 2.0):
        zero, eye = np.zeros((p, p)), np.eye(p)
        drift = np.block([[k1 * gap(p), -eye], [h * eye, mu * eye + k2 * gap(p)]])
        v = lyapunov(drift, scipy.linalg.block_diag(zero, eta * c * eye))
        exact = np.trace(np.kron(np.eye(2), gap(p)) @ v)
        bound = bounds.momentum_synchronization_level(p, eta, c, k1, k2, mu, 0.5, 2.0)
        assert 0.3 * bound < exact < bound


@given(positive, st.floats(0.0, 10.0), st.floats(0.01, 0.99), st.floats(0.02, 0.98))
def test_momentum_metric(lam, more, share, place):
    """For any c that is allowed: the rate is that of the symmetrized Jacobian, over all curvatures in [lambda, L]."""
    smooth = lam + more
    low, high = (np.sqrt(smooth) - np.sqrt(lam)) ** 2 / 4, (np.sqrt(smooth) + np.sqrt(lam)) ** 2 / 4
    s = low + place * (high - low)
    mu = 2 * np.sqrt(s) / share
    c = mu / 2 - np.sqrt(mu**2 / 4 - s)
    theta, same, gamma = bounds.momentum_metric(mu, lam, smooth, c)
    assert same == c
    metric = np.array([[theta, 0.0], [c, 1.0]])
    rates = [symmetrized(np.array([[0.0, 1.0], [-h, -mu]]), metric) for h in np.linspace(lam, smooth, 41)]
    assert gamma == pytest.approx(min(rates), rel=1e-6, abs=1e-9 * mu)
    assert gamma > 0
    slowest = min(-np.linalg.eigvals([[0.0, 1.0], [-h, -mu]]).real.max() for h in (lam, smooth))
    assert gamma <= slowest * (1 + 1e-9)


@given(positive, st.floats(0.1, 10.0), st.floats(1.01, 5.0))
def test_best_momentum_metric(lam, more, factor):
    """No other c gives a greater rate; with much friction it has the form of an overdamped spring."""
    smooth = lam + more
    mu = factor * (np.sqrt(smooth) - np.sqrt(lam))
    theta, c, gamma = bounds.momentum_metric(mu, lam, smooth)

    def rate(other):
        try:
            return bounds.momentum_metric(mu, lam, smooth, other)[2]
        except ValueError:
            return -np.inf

    assert max(rate(other) for other in np.linspace(0, mu, 400)[1:-1]) <= gamma * (1 + 1e-9) + 1e-12
    if mu**2 > smooth + 3 * lam:
        assert gamma == pytest.approx(mu / 2 - np.sqrt(mu**2 / 4 - lam), rel=1e-6)
        assert theta**2 == pytest.approx((smooth - lam) / 4, rel=1e-6)
    else:
        assert c == pytest.approx(mu / 2)


def test_assumptions_on_friction_are_sharp():
    """mu > sqrt L - sqrt lambda: just above it there is a rate, and it vanishes; below it no c at all contracts."""
    lam, smooth = 0.5, 4.0
    least = np.sqrt(smooth) - np.sqrt(lam)
    assert 0 < bounds.momentum_metric(least * (1 + 1e-6), lam, smooth)[2] < 1e-5
    for c in np.linspace(0, least, 50)[1:-1]:
        with pytest.raises(ValueError, match="must be between"):
            bounds.momentum_metric(least * (1 - 1e-6), lam, smooth, c)
    with pytest.raises(ValueError, match=r"mu=.*must exceed sqrt\(L\) - sqrt\(lambda\) = 1.29"):
        bounds.momentum_metric(least * (1 - 1e-6), lam, smooth)


# -- distance from the minimum -----------------------------------------------------------------------------------------

COMMON = dict(dims=3, eta=0.1, noise_trace=2.0, third=0.8)


def test_one_agent_is_plain_sgd():
    first, second = bounds.qsgd_distance_terms(agents=1, k=5.0, strong_convexity=0.7, batch=2, **COMMON)
    assert first == 0
    assert second == bounds.sgd_distance(0.1, 2.0, 0.7, batch=2) == pytest.approx(np.sqrt(0.1 * 2.0 / (2 * 0.7 * 2)))


def test_distance_of_qsgd_falls_with_gain_and_agents():
    k = np.array([0.0, 1.0, 10.0, 1e9])
    first, second = bounds.qsgd_distance_terms(agents=16, k=k, strong_convexity=0.7, **COMMON)
    assert np.all(np.diff(first) < 0)
    assert first[-1] < 1e-8
    expected = 15 * 0.8 * 0.1 * 2.0 * np.sqrt(3) / (4 * 16 * 0.7 * (k + 0.7))
    np.testing.assert_allclose(first, expected)
    p = 4.0 ** np.arange(6)
    noise_only = bounds.qsgd_distance(agents=p, k=1e9, strong_convexity=0.7, **COMMON)
    np.testing.assert_allclose(noise_only[:-1] / noise_only[1:], 2, rtol=1e-6)
    np.testing.assert_allclose(second, noise_only[2], rtol=1e-6)


@given(st.integers(1, 6), st.lists(st.floats(0.2, 5.0), min_size=1, max_size=3), gain)
def test_qsgd_distance_bounds_quadratics(p, curvatures, k):
    """E|x| <= sqrt(E|x|^2), which a single curvature makes equal to the bound's second term."""
    a = np.diag(curvatures)
    root = np.sqrt(np.trace(bounds.ou_covariance(a, 0.1 * np.eye(len(a)), p)))
    bound = bounds.qsgd_distance(p, len(a), 0.1, len(a), 0.0, k, min(curvatures))
    assert root <= bound * (1 + 1e-9)
    if min(curvatures) == max(curvatures):
        assert root == pytest.approx(bound)


def elastic_drift(h, k, p):
    """Of all p agents and the center."""
    one = np.ones((p, 1))
    return np.block([[(h + k) * np.eye(p), -k * one], [-k * one.T, k * p * np.eye(1)]])


@given(st.integers(1, 300), positive, positive)
def test_easgd_rate(p, k, lam):
    """The symmetrized Jacobian in the metric diag(sqrt p, 1), over curvatures from lambda on."""
    jacobians = [-np.array([[h + k, -k], [-k * p, k * p]]) for h in lam * np.linspace(1, 30, 30)]
    rates = [symmetrized(jacobian, np.diag([np.sqrt(p), 1.0])) for jacobian in jacobians]
    assert bounds.easgd_rate(p, k, lam) == pytest.approx(min(rates), rel=1e-6, abs=1e-12 * k * p)
    assert min(rates) == rates[0]
    assert 0 < bounds.easgd_rate(p, k, lam) < min(lam, k * p)


def test_easgd_bound_is_poor_in_the_number_of_agents():
    """h = k = sigma = 1: the error itself falls like 1/sqrt p, and the bound of it stays where it is."""
    p = np.array([1, 16, 256])
    v = [bounds.ou_covariance([[2.0, -1.0], [-q, q]], np.diag([1 / q, 0])) for q in p.astype(float)]
    reduced = np.sqrt(np.trace(v, axis1=1, axis2=2))
    np.testing.assert_allclose(reduced, [0.707, 0.239, 0.062], atol=5e-4)
    for q, expected in zip(p[:2], reduced, strict=False):  # the same of all agents and the center
        v = lyapunov(elastic_drift(1.0, 1.0, q), np.diag([1.0] * q + [0.0]))
        whole = v[:q, :q].mean() + v[q, q]
        assert np.sqrt(whole) == pytest.approx(expected)
    bound = bounds.easgd_distance(p, 1, 1.0, 1.0, 0.0, 1.0, 1.0)
    assert np.all(bound > reduced)
    assert bound[-1] > 0.99 * np.sqrt(0.5)  # the limit, gamma = lambda
    assert bound[-1] / reduced[-1] > 11
    # Third derivatives weigh sqrt p more than in the quorum alone: that part of the bound even grows.
    more = bounds.easgd_distance(p, 4, 1.0, 1.0, 0.5, 1.0, 1.0) - bounds.easgd_distance(p, 4, 1.0, 1.0, 0.0, 1.0, 1.0)
    eps = (p - 1) * 0.5 * 2 / (4 * p * 2.0)
    np.testing.assert_allclose(more, np.sqrt(p) * eps / bounds.easgd_rate(p, 1.0, 1.0), rtol=1e-9)


@pytest.mark.parametrize("p", [1, 2, 9])
def test_easgd_stability_limit(p):
    k, smooth = 0.7, 1.9
    limit = bounds.easgd_stability_limit(p, k, smooth)
    radius = lambda eta: np.abs(np.linalg.eigvals(np.eye(p + 1) - eta * elastic_drift(smooth, k, p))).max()
    assert radius(limit * (1 - 1e-6)) < 1 < radius(limit * (1 + 1e-6))
    assert 2 / (k * (1 + p) + smooth) <= limit < 2 / (k * (1 + p))


@pytest.mark.parametrize(("mu", "c"), [(1.0, None), (2.2, None), (3.5, None), (2.2, 0.6)])
def test_momentum_distance_bounds_quadratics(mu, c):
    """Both branches of the best c, and another."""
    lam, smooth, p, k1, k2 = 0.6, 1.8, 5, 2.0, 0.3
    bound = bounds.momentum_distance(p, 1, 0.1, 2.0, 0.0, k1, k2, mu, lam, smooth, c=c)
    for h in np.linspace(lam, smooth, 7):
        zero, eye = np.zeros((p, p)), np.eye(p)
        drift = np.block([[k1 * gap(p), -eye], [h * eye, mu * eye + k2 * gap(p)]])
        v = lyapunov(drift, scipy.linalg.block_diag(zero, 0.1 * 2.0 * eye))
        root = np.sqrt(v[:p, :p].mean() + v[p:, p:].mean())
        assert 0.1 * bound < root < bound
    # With third derivatives the disturbance enters in the metric's condition number.
    theta, c, gamma = bounds.momentum_metric(mu, lam, smooth, c)
    level = bounds.momentum_synchronization_level(p, 0.1, 2.0, k1, k2, mu, lam, smooth)
    eps = np.sqrt(3) * 0.8 * level / (2 * p)
    condition = np.linalg.cond([[theta, 0.0], [c, 1.0]])
    more = bounds.momentum_distance(p, 3, 0.1, 2.0, 0.8, k1, k2, mu, lam, smooth, c=c)
    assert more - bound == pytest.approx(condition * eps / gamma)


def test_distances_bound_simulations(z_scores):
    """E|x* - x| of QSGD and EASGD on a strongly convex loss that is not quadratic, close to the SDE."""
    eta, sigma, k, p, d = 0.4, 1.5, 2.0, 6, 2
    loss, third = objectives.LogCosh(0.5, 1.5), 1.5 * 4 / (3 * np.sqrt(3))
    arguments = (p, d, eta, d * sigma**2, third, k, 0.5)
    for rule, bound, least in (
        (sdesim.Quorum(k), bounds.qsgd_distance(*arguments), 0.2),
        (sdesim.Elastic(k), bounds.easgd_distance(*arguments), 0.04),
    ):
        model = sdesim.Dynamics(loss, rule, noise.Gaussian(sigma), eta=eta)
        x = sdesim.simulate(
            model, agents=p, dims=d, sims=2000, steps=400, dt=0.02, seed=2, observe=sdesim.observe.Center(), every=400
        )
        parts = [np.asarray(x.quorum)] + ([np.asarray(x.center)] if isinstance(rule, sdesim.Elastic) else [])
        size = np.linalg.norm(np.concatenate(parts, axis=1), axis=1)
        assert z_scores(size, bound) < 4.5
        assert z_scores(size, least * bound) > 4.5


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.synchronization_rate(1.0, 2.0), "k=1: must exceed the concavity 2"),
        (lambda: bounds.synchronization_rate(-1.0, -2.0), "k=-1"),
        (lambda: bounds.synchronization_rate(1.0, np.nan), "concavity=nan: must be finite"),
        (lambda: bounds.synchronization_level(4, 0.1, 1.0, [1.0, 3.0], 2.0), r"k=\[1, 3\]: must exceed"),
        (lambda: bounds.synchronization_level(4, 0.0, 1.0, 3.0, 2.0), "eta=0.0: must be finite and greater than 0"),
        (lambda: bounds.synchronization_level(4, [0.1, 0.2], 1.0, 3.0, 2.0), r"eta: of shape \(2,\), must be"),
        (lambda: bounds.synchronization_level(4, 0.1, 1.0, 3.0, 2.0, [1.0]), r"batch: of shape \(1,\), must be"),
        (lambda: bounds.synchronization_level(4, 0.1, -1.0, 3.0, 2.0), "noise_trace=-1"),
        (lambda: bounds.synchronization_level(2.5, 0.1, 1.0, 3.0, 2.0), "agents=2.5: must be an integer"),
        (lambda: bounds.synchronization_level_discrete(4, 0.5, 1, 3.0, 2.0, 1.0), "dt=0.5: the chain is unstable"),
        (lambda: bounds.synchronization_level_discrete(4, 0.1, 1, 3.0, -2.0, 1.0), "smoothness=1: must be at least"),
        (lambda: bounds.disturbance(4, 0, 0.1, 1.0, 1.0, 3.0, 2.0), "dims=0: must be an integer"),
        (lambda: bounds.disturbance(4, 1, 0.1, 1.0, -1.0, 3.0, 2.0), "third=-1"),
        (lambda: bounds.state_dependent_rate(1.0, 1.0), "total_gain=1: must exceed the concavity 1"),
        (lambda: bounds.sgd_distance(0.1, 1.0, 0.0), "strong_convexity=0"),
        (lambda: bounds.qsgd_distance(4, 1, 0.1, 1.0, 1.0, 3.0, -1.0), "strong_convexity=-1"),
        (lambda: bounds.easgd_rate(4, 0.0, 1.0), "k=0.0: must be finite and greater than 0"),
        (lambda: bounds.easgd_stability_limit(4, 0.0, 0.0), "k=0, smoothness=0: one must be greater than 0"),
        (lambda: bounds.momentum_metric(2.0, 1.0, 0.5), "smoothness=0.5: must be at least strong_convexity=1"),
        (lambda: bounds.momentum_metric(3.0, 1.0, 1.0), "makes the metric singular, so give another"),
        (lambda: bounds.momentum_metric(3.0, 1.0, 2.0, c=2.99), "c=2.99"),
        (lambda: bounds.momentum_synchronization_rate(0.1, 0.0, 1.0, 0.1, 3.0), "k1=0.1: k1 .* = 0.1 must exceed"),
    ],
)  # fmt: skip
def test_broken_assumptions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_labeled_arrays_keep_their_labels():
    p = xr.DataArray([1, 4, 16], dims="agents")
    k = xr.DataArray([1.0, 3.0], dims="k", coords={"k": [1.0, 3.0]})
    eta = xr.DataArray([0.1, 0.2, 0.3, 0.4], dims="eta")  # a grid: only a plain vector is one an agent
    bound = bounds.easgd_distance(p, 2, eta, 1.0, 0.5, k, 1.0)
    assert set(bound.dims) == {"agents", "eta", "k"}
    one = bounds.easgd_distance(16, 2, 0.3, 1.0, 0.5, 3.0, 1.0)
    assert isinstance(one, np.float64)
    assert float(bound.isel(agents=2, eta=2).sel(k=3.0)) == pytest.approx(one)
