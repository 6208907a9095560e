"""Zhang's analysis: against iterations, solvers of linear algebra, its printed digits, and searches where it errs."""

import numpy as np
import pytest
import scipy.linalg

from sdesim.theory import double_well, multiplicative, quadratic, stability, strongly_convex


def iterated(steps, workers, eta_h, alpha, center, mean):
    """Mean and variance of the center, by the recursion of workers' mean and center, for s^2 = 1."""
    drift = np.array([[1 - eta_h - alpha, alpha], [workers * alpha, 1 - workers * alpha]])
    m, v = np.array([mean, center]), np.zeros((2, 2))
    for _ in range(steps):
        m, v = drift @ m, drift @ v @ drift.T + np.diag([1 / workers, 0])
    return m[1], v[1, 1]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10, 100])
@pytest.mark.parametrize("workers, eta_h, alpha", [(1, 0.3, 0.3), (4, 0.5, 0.1), (10, 1.5, 0.05), (5, 0.2, 0.0)])
def test_the_center_after_any_number_of_steps(steps, workers, eta_h, alpha):
    mean, variance = iterated(steps, workers, eta_h, alpha, 0.7, 1.3)
    assert quadratic.center_mean(steps, workers, eta_h, alpha, 0.7, 1.3) == pytest.approx(mean, rel=1e-12, abs=1e-12)
    assert quadratic.center_variance(steps, workers, eta_h, alpha) == pytest.approx(variance, rel=1e-12, abs=1e-14)
    square = quadratic.center_square(steps, workers, eta_h, alpha, 0.25, 0.7, 1.3)
    assert square == pytest.approx(mean**2 + 0.25 * variance, rel=1e-12)


def test_the_center_where_its_condition_breaks():
    p, alpha = 10, 0.15
    eta_h = np.linspace(0.05, 2.5, 200)
    for workers, rate in ((p, alpha), (1, 0.9), (100, 0.015)):
        stable = stability.center_is_stable(workers, eta_h, rate)
        gamma, phi = quadratic.center_roots(workers, eta_h, rate)
        assert np.array_equal(stable, (phi > -1) & (gamma < 1)) and stable.any() and not stable.all()
        assert np.array_equal(np.isfinite(quadratic.center_variance(np.inf, workers, eta_h, rate)), stable)
    assert quadratic.center_mean(np.inf, p, 0.5, alpha) == 0 and np.isinf(quadratic.center_mean(np.inf, p, 2.4, alpha))


def test_the_limits_of_time_and_of_workers():
    eta_h, beta, p = 0.1, 0.9, 10**7
    long = quadratic.center_variance(np.inf, p, eta_h, beta / p, noise=eta_h**2)  # of sigma = h = 1
    assert quadratic.center_limit(eta_h, beta) == pytest.approx(p * long, rel=1e-6)
    assert quadratic.easgd_stationary(4, 0.5, 0.1, 0.4)[2] == pytest.approx(
        quadratic.center_variance(np.inf, 4, 0.5, 0.1)
    )


def test_the_double_average_forgets_the_gain():
    """t Var z_t by the sum over noises of the weights with which each enters z_t."""
    workers, h, eta, t = 3, 2.0, 0.1, 20_000
    for alpha in (0.02, 0.3):
        drift = np.array([[1 - eta * h - alpha, alpha], [workers * alpha, 1 - workers * alpha]])
        kick, weights = np.array([eta, 0.0]), np.zeros(t)
        for i in range(1, t):
            weights[i] = weights[i - 1] + kick[1]
            kick = drift @ kick
        found = (weights**2).sum() / t / workers
        assert found == pytest.approx(quadratic.double_average_variance(workers, h), rel=3e-3)


def lyapunov(drift, noise):
    return scipy.linalg.solve_discrete_lyapunov(drift, noise)


@pytest.mark.parametrize("eta_h, delta_h", [(0.1, 0.8), (1.5, -0.2), (0.5, 0.0)])
def test_momentum_moments(eta_h, delta_h):
    drift = np.array([[delta_h, -eta_h], [delta_h, 1 - eta_h]])
    v = lyapunov(drift, np.full((2, 2), 0.3))
    exact = v[0, 0], v[0, 1], v[1, 1]
    np.testing.assert_allclose(quadratic.momentum_stationary(eta_h, delta_h, 0.3), exact, rtol=1e-10)
    matrix = quadratic.momentum_moments(eta_h, delta_h)
    np.testing.assert_allclose(np.linalg.solve(np.eye(3) - matrix, np.full(3, 0.3)), exact, rtol=1e-10)
    assert stability.radius(matrix) == pytest.approx(stability.radius(drift) ** 2)
    if delta_h == 0:
        assert exact[2] == pytest.approx(quadratic.sgd_variance(eta_h, 0.3))


@pytest.mark.parametrize("eta_h, alpha, beta", [(0.1, 0.2, 0.8), (1.2, -0.05, 0.9), (0.5, 0.1, 1.6)])
def test_easgd_moments(eta_h, alpha, beta):
    p = 4
    drift = np.array([[1 - eta_h - alpha, alpha], [beta, 1 - beta]])
    v = lyapunov(drift, np.diag([0.3 / p, 0]))
    exact = v[0, 0], v[0, 1], v[1, 1]
    np.testing.assert_allclose(quadratic.easgd_stationary(p, eta_h, alpha, beta, 0.3), exact, rtol=1e-10)
    matrix = quadratic.easgd_moments(eta_h, alpha, beta)
    np.testing.assert_allclose(np.linalg.solve(np.eye(3) - matrix, [0.3 / p, 0, 0]), exact, rtol=1e-10)
    # all workers, not their mean alone
    whole = lyapunov(stability.easgd_drift(p, eta_h, alpha, beta), np.diag([0.3] * p + [0]))
    moments = multiplicative.easgd_moments(p, 1.0, alpha, beta, eta_h, 0.0)
    found = np.linalg.solve(np.eye(4) - moments, [0, 0.3, 0, 0.3 / p])
    np.testing.assert_allclose(found, [whole[-1, -1], whole[0, 0], whole[0, -1], whole[:p, :p].mean()], rtol=1e-10)


def test_conditions_of_stability():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        n, a, b, d = rng.uniform((0, -1.5, 0, -1.2), (3, 1.5, 2.5, 1.2))
        reduced = stability.radius(np.array([[1 - n - a, a], [b, 1 - b]])) < 1
        assert stability.reduced_is_stable(n, a, b) == reduced
        assert stability.momentum_is_stable(n, d) == (stability.radius(np.array([[d, -n], [d, 1 - n]])) < 1)
        half, product = rng.uniform(-1.5, 1.5, 2)
        assert stability.in_unit_circle(half, product) == (np.abs(np.roots([1, -2 * half, product])).max() < 1)


@pytest.mark.parametrize("p", [2, 3, 7])
def test_spectra_do_not_depend_on_the_number_of_workers(p):
    for n, d, a, b in [(0.1, 0.8, 0.2, 0.9), (1.5, -0.3, -0.1, 0.9), (0.4, 0.5, 0.6, 1.7)]:
        of = lambda m: np.unique(np.round(np.linalg.eigvals(m).astype(complex), 6))
        whole, few = of(stability.easgd_drift(p, n, a, b)), stability.easgd_spectrum(n, a, b)
        np.testing.assert_allclose(whole, np.unique(np.round(few, 6)), atol=3e-6)
        whole, few = stability.eamsgd_drift(p, n, d, a, b), stability.eamsgd_spectrum(n, d, a, b)
        assert stability.radius(whole) == pytest.approx(np.abs(few).max())
        for z in few:  # each is an eigenvalue
            assert np.linalg.svd(whole - z * np.eye(len(whole)), compute_uv=False)[-1] < 1e-7


def test_the_best_momentum():
    grid = np.linspace(-0.999, 0.999, 2001)
    for n in (0.05, 0.25, 1.0, 1.7):
        radii = [stability.radius(quadratic.momentum_moments(n, d)) for d in grid]
        assert grid[np.argmin(radii)] == pytest.approx(stability.best_momentum(n), abs=2e-3)
        assert min(radii) >= stability.best_momentum(n) - 1e-6


def test_the_best_moving_rate_of_the_whole_system():
    """The thesis is right where it says, and beyond that what stands here is: against a search."""
    assert stability.best_alpha(1.5, 0.9) == pytest.approx((-0.16334, 0.33666), abs=5e-6)
    printed = np.abs(stability.easgd_spectrum(1.5, stability.best_reduced_alpha(1.5, 0.9), 0.9)).max()
    assert printed == pytest.approx(0.424, abs=5e-4)  # -0.0762, which it names the best
    assert stability.best_alpha(0.5, 1.8)[0] == pytest.approx(-0.1227, abs=5e-5)
    assert stability.best_alpha(0.5, 1.8)[1] == pytest.approx(0.623, abs=5e-4)
    assert stability.best_alpha(0.1, 0.9) == (0.0, 0.9)
    rng, grid = np.random.default_rng(1), np.linspace(-3, 3, 20_001)
    for n, b in rng.uniform(0.01, 4, (300, 2)):
        alpha, radius = stability.best_alpha(n, b)
        assert np.abs(stability.easgd_spectrum(n, alpha, b)).max() == pytest.approx(radius, abs=1e-7)
        assert np.abs(stability.easgd_spectrum(n, grid, b)).max(axis=-1).min() >= radius - 1e-9
    # reduced: its own best, at which the whole one may be unstable
    for n, b in rng.uniform(0.01, 1.9, (50, 2)):
        found = [stability.radius(quadratic.easgd_moments(n, a, b)) for a in np.linspace(-2, 1, 601)]
        best = stability.radius(quadratic.easgd_moments(n, stability.best_reduced_alpha(n, b), b))
        # three eigenvalues are one there, and come out to the third root of rounding
        assert best == pytest.approx((np.sqrt(b * n) - 1) ** 2, abs=2e-5) and min(found) >= best - 2e-5


def test_round_robin():
    # unstable by a little for every penalty below some 7.2 and 20.8
    for p, radius, rho in [(3, 1.000974, 7.2), (8, 1.002258, 20.8)]:
        assert stability.radius(stability.admm_sweep(p, 0.001, 2.5)) == pytest.approx(radius, abs=5e-7)
        assert stability.radius(stability.admm_sweep(p, 0.001, 0.95 * rho)) > 1 + 1e-9
        assert stability.radius(stability.admm_sweep(p, 0.001, 1.05 * rho)) < 1 + 1e-9
    printed = stability.easgd_in_turn_limit(0.5)
    assert printed == pytest.approx(0.8571, abs=5e-5)
    limit = lambda p: next(
        a for a in np.arange(0.85, 0.9, 1e-4) if stability.radius(stability.easgd_sweep(p, 0.5, a)) > 1
    )
    for p, found in [(3, printed), (5, printed), (2, 0.8911), (4, 0.8661), (8, 0.8595)]:  # exact for odd p alone
        assert limit(p) == pytest.approx(found, abs=2e-4)


def test_gauss_seidel_in_ten_cases():
    rng = np.random.default_rng(2)
    seen = set()
    for n, a, b in rng.uniform(0.01, (6, 3, 6), (20_000, 3)):
        case = stability.gauss_seidel_case(n, a, b)
        assert (case is not None) == (stability.radius(stability.gauss_seidel_drift(n, a, b)) < 1)
        seen.add(case)
    for n, a, b in [(0.5, 2.5, 1.0), (1.0, 2.0, 1.5), (1.5, 0.3, 1.0)]:
        assert stability.gauss_seidel_case(n, a, b) in (2, 5, 7)
        assert stability.radius(stability.gauss_seidel_drift(n, a, b)) < 1
        seen.add(stability.gauss_seidel_case(n, a, b))
    assert seen == {None, *range(1, 11)}
    assert stability.gauss_seidel_case(0.12, 1.0, 16.0) == 4 and stability.gauss_seidel_case(0.13, 1.0, 16.0) is None
    # DOWNPOUR but for a tenth of the local memory is stable at no learning rate
    radii = stability.radius(stability.gauss_seidel_drift(np.geomspace(1e-6, 8, 8000), 0.9, 16.0))
    assert radii.min() == pytest.approx(1.5, abs=1e-4)  # (1 - 0.9) (1 - 16)
    # "beta = 1, any alpha" is of mean and center; workers' differences have (1 - eta_h) (1 - alpha)
    assert stability.gauss_seidel_case(0.5, 4.0, 1.0) == 2 and abs((1 - 0.5) * (1 - 4.0)) > 1


def test_multiplicative_noise():
    law = multiplicative.gamma_law
    for size, least in [(0.5, 2 / 3), (1.0, 1 / 2), (2.0, 1 / 3)]:
        eta = multiplicative.best_eta(*law(size, size))
        assert eta == pytest.approx(size / (size + 1))
        assert multiplicative.sgd_factor(eta, *law(size, size)) == pytest.approx(least)
        assert stability.radius(multiplicative.momentum_moments(eta, 0.0, *law(size, size))) == pytest.approx(least)
    printed = [(0.5, 6, 0.3814, 0.5742), (1, 7, 0.5225, 0.4317), (2, 9, 0.6647, 0.2945), (10, 29, 0.8929, 0.0868)]
    for size, p, eta, radius in printed:
        moments = multiplicative.easgd_moments(p, eta, 0.9 / p, 0.9, *law(size, size))
        assert stability.radius(moments) == pytest.approx(radius, abs=6e-5)
    moments = multiplicative.easgd_moments(100, 0.4343, 0.2525, 0.9, *law(0.5, 0.5))
    assert stability.radius(moments) == pytest.approx(0.5024, abs=6e-5)


def test_multiplicative_moments_are_those_of_random_matrices():
    """E kron(A, A) over the gamma law, by its quantiles at the nodes of Gauss and Laguerre."""
    eta, delta, shape = 0.4, 0.6, 2.0
    x, w = np.polynomial.laguerre.laggauss(30)
    xi, weight = x / shape, w * x / (w * x).sum()  # density of shape 2: x exp(-x)
    steps = [np.array([[delta * (1 - eta * z), -eta * z], [delta * (1 - eta * z), 1 - eta * z]]) for z in xi]
    second = sum(q * np.kron(a, a) for q, a in zip(weight, steps, strict=True))
    found = multiplicative.momentum_moments(eta, delta, *multiplicative.gamma_law(shape, shape))
    assert stability.radius(found) == pytest.approx(stability.radius(second), rel=1e-10)
    start = np.array([0.3, -0.2])
    after = (second @ np.kron(start, start)).reshape(2, 2)
    moments = found @ np.array([start[0] ** 2, start[1] ** 2, start[0] * start[1]])
    np.testing.assert_allclose(moments, [after[0, 0], after[1, 1], after[0, 1]], rtol=1e-10)


def test_many_workers_of_multiplicative_noise():
    law = multiplicative.gamma_law
    stable = lambda eta, alpha: (
        stability.radius(multiplicative.easgd_moments(10**8, eta, alpha, 0.9, *law(0.5, 0.5))) < 1
    )
    for alpha in (0.1, 0.2929, 0.6):
        limit = multiplicative.easgd_limit(0.5, 0.5, alpha, 0.9)
        assert stable(0.999 * limit, alpha) and not stable(1.001 * limit, alpha)
    alpha, limit = multiplicative.widest_alpha(0.5, 0.5)
    assert (alpha, limit) == pytest.approx((0.2929, np.sqrt(0.5)), abs=5e-5)
    assert limit == pytest.approx(multiplicative.easgd_limit(0.5, 0.5, alpha, 0.9))
    assert multiplicative.easgd_limit(0.5, 0.5, np.linspace(0.01, 0.99, 99), 0.9).max() <= limit
    for shape in (1.0, 4.0):  # where the thesis' 1 - sqrt(lambda) is no rate between 0 and 1
        alpha, limit = multiplicative.widest_alpha(shape, shape)
        assert alpha == 0 and limit == pytest.approx(2 * shape / (shape + 1))
        assert multiplicative.easgd_limit(shape, shape, np.linspace(0.01, 0.99, 99), 0.5).max() < limit


def test_the_strongly_convex_bound():
    arguments = dict(eta=0.05, alpha=0.1, beta=0.4, mu=1.0, smoothness=3.0, noise=0.7)
    matrix, added = strongly_convex.easgd_bound(4, **arguments)
    limit = strongly_convex.easgd_bound_limit(4, **arguments)
    np.testing.assert_allclose(matrix @ limit + added, limit, rtol=1e-12)
    path = strongly_convex.easgd_bound_path(3000, 2.0, 4, **arguments)
    np.testing.assert_allclose(path[[0, -1]], [[2.0] * 3, limit], rtol=1e-9)
    # on a quadratic, mu = L, the moments themselves: a bound, and tight for no step
    h, eta, alpha, beta, p = 1.0, 0.05, 0.1, 0.4, 4
    bound = strongly_convex.easgd_bound_path(200, 1.0, p, eta, alpha, beta, h, h)
    moments = multiplicative.easgd_moments(p, eta, alpha, beta, h, 0.0)
    state = np.ones(4)
    for step in range(1, 201):
        state = moments @ state + eta**2 * np.array([0, 1, 0, 1 / p])
        center, workers, _, mean = state
        assert mean <= bound[step, 0] and workers <= bound[step, 1] and center <= bound[step, 2]


@pytest.mark.parametrize(
    "name, value",
    [("eta", 0.5), ("alpha", 1.0), ("beta", 1.2), ("mu", 4.0), ("noise", -1.0)],
)
def test_the_strongly_convex_bound_asks_for_its_assumptions(name, value):
    arguments = dict(eta=0.05, alpha=0.1, beta=0.4, mu=1.0, smoothness=3.0, noise=0.7)
    with pytest.raises(ValueError, match=f"^{name}="):
        strongly_convex.easgd_bound(4, **{**arguments, name: value})


def test_two_workers_about_a_saddle():
    for rho in (0.1, 0.3, 0.6, 0.8, 1.5):
        points = double_well.critical_points(rho)
        assert len(points) == (9 if rho < 2 / 3 else 5 if rho < 1 else 3)
        np.testing.assert_allclose(double_well.gradient(points, rho), 0, atol=1e-12)
    # the thesis has none besides x = y and x = -y
    assert double_well.critical_points(0.3)[5][:2] == pytest.approx([0.9070, -0.1654], abs=6e-5)
    for rho in np.linspace(0.01, 0.99, 99):
        assert (double_well.least_curvature_apart(rho) > 0) == (rho < 2 / 3)
    # by differences
    point, step = np.array([0.3, -0.7, 0.1]), 1e-6
    columns = [
        (double_well.gradient(point + step * e, 0.4) - double_well.gradient(point - step * e, 0.4)) / (2 * step)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(double_well.hessian(point, 0.4), np.stack(columns), atol=1e-8)
