"""The moments of EAMSGD: against plain enumeration, plain simulation, the simulator's own map, and their limits.

One step in plain NumPy is `stepped`: all of these tests but that of the simulator's map are against it.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise
from sdesim.analysis import linearize
from sdesim.theory import multiplicative, quadratic, stability

CASES = [(2, 0.3, 0.6, 0.1, 0.4), (3, 0.1, 0.9, 0.3, 0.9), (5, 0.5, 0.4, -0.05, 0.5), (1, 0.3, 0.6, 0.1, 0.1)]


def stepped(c, x, v, eta, delta, alpha, beta, curvature, kick=0.0):
    """A step of Z 2.5 and 2.4 on curvatures that may be one a worker; workers last."""
    new = delta * v - eta * curvature * (x + delta * v) + kick
    return c + beta * (x.mean(-1) - c), x + new - alpha * (x - c[..., None]), new


def moments_of(c, x, v):
    """The nine moments, (..., 9)."""
    y, u = x.mean(-1), v.mean(-1)
    each = [(a * b).mean(-1) for a, b in ((x, x), (x, v), (v, v))]
    return np.stack([c * c, c * y, c * u, y * y, y * u, u * u, *each], axis=-1)


def started(rng, p):
    return rng.normal(size=()), rng.normal(size=p), rng.normal(size=p)


@pytest.mark.parametrize("p, eta, delta, alpha, beta", CASES)
def test_the_moments_after_a_step_by_enumeration(p, eta, delta, alpha, beta):
    """Over all equally likely curvatures m +- sqrt w of the workers, from states that are not alike."""
    m, w, rng = 1.2, 0.5, np.random.default_rng(1)
    xi = m + np.sqrt(w) * np.array(list(itertools.product([-1.0, 1.0], repeat=p)))
    for _ in range(3):
        c, x, v = started(rng, p)
        # The workers' signs count in all ways of numbering them, so that only the nine moments can matter.
        after = moments_of(*stepped(np.full(len(xi), c), x, v, eta, delta, alpha, beta, xi)).mean(0)
        map_ = multiplicative.eamsgd_moments(p, eta, delta, alpha, beta, m, w)
        np.testing.assert_allclose(map_ @ moments_of(c, x, v), after, rtol=1e-12, atol=1e-13)
        # Additive noise of variance 1, the same way.
        kicks = (xi - m) / np.sqrt(w)
        after = moments_of(*stepped(np.full(len(xi), c), x, v, eta, delta, alpha, beta, m, kicks)).mean(0)
        n, d = eta * m, delta * (1 - eta * m)
        found = quadratic.eamsgd_moments(n, d, alpha, beta) @ moments_of(c, x, v) + np.repeat([0, 1 / p, 1], 3)
        np.testing.assert_allclose(found, after, rtol=1e-12, atol=1e-13)
        means = quadratic.eamsgd_means(n, d, alpha, beta) @ [c, x.mean(), v.mean()]
        new = stepped(np.array(c), x, v, eta, delta, alpha, beta, m)
        np.testing.assert_allclose(means, [new[0], new[1].mean(), new[2].mean()], rtol=1e-12, atol=1e-13)


def test_the_limits_are_exact():
    n, a, b, m, w, p = 0.3, 0.1, 0.4, 1.2, 0.5, 4
    plain = [0, 6, 1, 3]  # the moments of EASGD
    still = multiplicative.eamsgd_moments(p, n, 0.0, a, b, m, w)
    np.testing.assert_array_equal(still[:, [2, 4, 5, 7, 8]], 0)  # no step is without momentum
    np.testing.assert_allclose(still[np.ix_(plain, plain)], multiplicative.easgd_moments(p, n, a, b, m, w), rtol=4e-16)
    whole, mean, both = quadratic.eamsgd_stationary(p, n, 0.0, a, b)[[6, 3, 0]]
    pulled = quadratic.easgd_stationary(p, n, a, b)
    np.testing.assert_allclose([mean, both], [pulled[0], pulled[2]], rtol=1e-14)
    assert whole - mean == pytest.approx((1 - 1 / p) / (1 - (1 - n - a) ** 2), rel=1e-14)
    # Without a pull every worker is MSGD, and the center lags behind.
    alone = [8, 6, 7]  # E v^2, E x^2, E v x
    free = multiplicative.eamsgd_moments(p, n, 0.7, 0.0, b, m, w)
    own = multiplicative.momentum_moments(n, 0.7, m, w)
    np.testing.assert_allclose(free[np.ix_(alone, alone)], own, rtol=1e-14, atol=1e-16)
    np.testing.assert_array_equal(free[6:, :6], 0)
    v, vx, x = quadratic.momentum_stationary(n, 0.6)
    np.testing.assert_allclose(quadratic.eamsgd_stationary(p, n, 0.6, 0.0, b)[[8, 7, 6]], [v, vx, x], rtol=1e-13)


@pytest.mark.parametrize("p, n, d, alpha, beta", CASES)
def test_moments_grow_where_the_whole_drift_does(p, n, d, alpha, beta):
    whole = stability.radius(stability.eamsgd_drift(p, n, d, alpha, beta))
    moments = quadratic.eamsgd_moments(n, d, alpha, beta)
    assert stability.radius(moments if p > 1 else moments[:6, :6]) == pytest.approx(whole**2, rel=1e-7)
    with pytest.raises(ValueError, match=r"^eta_h=4: with delta_h=0.1.*not stable"):
        quadratic.eamsgd_stationary(p, 4.0, 0.1, alpha, beta)


@pytest.mark.parametrize("p, n, delta, alpha, beta", CASES)
def test_the_simulators_own_map_has_these_moments(p, n, delta, alpha, beta):
    """`linearize` differentiates the code that simulates: the same stationary law, to rounding."""
    eta, h, sigma = 0.05, n / 0.05, 1.7
    rule = coupling.Elastic.from_moving_rates(alpha=alpha, beta=beta, eta=eta)
    loss = sdesim.Dynamics(
        lambda x: h * jnp.sum(x**2) / 2, rule, noise.Gaussian(sigma), momentum=sdesim.Nesterov(delta), eta=eta
    )
    found = linearize(loss, sdesim.Iteration(), agents=p).stationary()
    exact = quadratic.eamsgd_stationary(p, n, delta * (1 - n), alpha, beta, (eta * sigma) ** 2)
    own, pair = found["own"], found.get("pair", found["own"])
    mean = own / p + (1 - 1 / p) * pair
    given = [found["shared"][0, 0], *found["cross"][0], *mean[[0, 0, 1], [0, 1, 1]], *own[[0, 0, 1], [0, 1, 1]]]
    np.testing.assert_allclose(given, exact, rtol=1e-10)


def test_simulated_runs_have_these_moments(z_scores):
    """Plain NumPy, in float64: 20 000 runs of three workers until nothing is left of where they began."""
    p, n, delta, alpha, beta = 3, 0.2, 0.6, 0.1, 0.5
    rng = np.random.default_rng(7)
    c, x, v = np.ones(20_000), np.ones((20_000, p)), np.zeros((20_000, p))
    for _ in range(150):
        c, x, v = stepped(c, x, v, n, delta, alpha, beta, 1.0, rng.normal(size=x.shape))
    exact = quadratic.eamsgd_stationary(p, n, delta * (1 - n), alpha, beta)
    for found, value in zip(moments_of(c, x, v).T, exact, strict=True):
        assert abs(z_scores(found, value)) < 4.5
    for i in (0, 3, 5, 6, 8):  # variances, which are known better
        assert abs(z_scores(moments_of(c, x, v)[:, i], 1.1 * exact[i])) > 4.5
