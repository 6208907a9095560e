"""The limit of infinitely many agents: exact laws, conservation, orders of convergence, and simulations."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.linalg import eigvals, solve_continuous_lyapunov
from scipy.optimize import brentq

import sdesim
from sdesim import init, noise, objectives, schedules
from sdesim.coupling import Elastic, Quorum, Uncoupled
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.theory import meanfield
from sdesim.theory.meanfield import Grid, SelfConsistency, fokker_planck, iteration, parts

WELL = objectives.LogCosh(1.0, -2.0)
H, ETA, K, SIGMA, DELTA = 1.3, 0.1, 2.0, 1.5, 0.8  # a linear model
NORMAL = init.Normal(1.0, 0.5)


def order(sizes, errors):
    """Exponent of the error over the cells' width."""
    return -stats.linregress(np.log(sizes), np.log(np.abs(errors))).slope


def linear(coupling=None, law=None, eta=ETA, momentum=None):
    law = noise.Gaussian(SIGMA) if law is None else law
    return sdesim.Dynamics(
        objectives.Quadratic(H), Quorum(K) if coupling is None else coupling, law, eta=eta, momentum=momentum
    )


# -- the iteration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [noise.Gaussian(SIGMA), noise.Uniform(2.5), noise.Silent()])
def test_linear_iteration_has_its_exact_moments(law):
    silent = isinstance(law, noise.Silent)
    steps, std = (5, 0.0) if silent else (25, float(law.std))  # without noise all soon lie in one cell
    mean, variance = 1.0, 0.25
    for _ in range(steps):
        mean *= 1 - ETA * H
        variance = (1 - ETA * (H + K)) ** 2 * variance + (ETA * std) ** 2
    sizes, errors = (100, 200, 400), []
    for cells in sizes:
        found = meanfield.evolve(linear(law=law), Grid(-5, 5, cells), steps=steps, init=NORMAL)
        assert abs(found.masses.sum() - 1) < 1e-11
        assert found.masses.min() > -1e-15
        assert found.mean[-1] == pytest.approx(mean, abs=1e-6)
        errors.append(found.std[-1] ** 2 - variance)
    assert order(sizes, errors) == pytest.approx(2, abs=0.1)


def test_a_schedule_and_a_center_are_followed():
    rates = schedules.Halving(ETA, 10, 0.02)
    model = linear(Elastic(K, 1.5), eta=rates)
    found = meanfield.evolve(model, Grid(-5, 5, 400), steps=40, init=NORMAL)
    mean = center = 1.0
    for n in range(40):
        eta = float(rates(n))
        mean, center = mean - eta * H * mean + eta * K * (center - mean), center + eta * 1.5 * (mean - center)
    assert (found.mean[-1], found.target[-1]) == pytest.approx((mean, center), abs=1e-5)


def test_a_fold_of_the_drift_map_is_of_second_order_too():
    # x - f'(x) = x^2 folds (-1, 1) onto (0, 1): the density is 1 / (2 sqrt y), infinite at the fold
    model = sdesim.Dynamics(lambda x: x**2 / 2 - x**3 / 3, Uncoupled(), noise.Uniform(0.2), eta=1.0)
    sizes, errors = (60, 120, 240, 480), []
    for cells in sizes:
        found = meanfield.evolve(model, Grid(-2, 2, cells), steps=1, init=init.Uniform(-1, 1))
        errors.append(found.masses @ found.x**2 - (1 / 5 + 0.04 / 3))
        assert found.mean[1] == pytest.approx(1 / 3, abs=2 / cells**2)
    assert order(sizes, errors) == pytest.approx(2, abs=0.3)


def test_grid_convergence_on_the_loss_of_figure_1():
    model = one.model(one.Config(), Quorum(6.0))
    mean = lambda cells: meanfield.evolve(model, Grid(-4, 4, cells), steps=60, init=init.Uniform(-3, 3)).mean[-1]
    sizes = (400, 800, 1600)
    assert order(sizes, np.array([mean(n) for n in sizes]) - mean(6400)) == pytest.approx(2, abs=0.3)


def agreement(model, predicted, grid, steps, agents=40_000):
    """p-value of a chi-squared test of independent simulated agents against predicted masses of cells."""
    final = np.asarray(sdesim.simulate(model, agents=agents, steps=steps, init=init.Uniform(-3, 3)).agents).ravel()
    masses = predicted.reshape(40, -1).sum(axis=1)
    kept = masses > 1e-3
    counts = np.histogram(final, np.linspace(grid.low, grid.high, 41))[0][kept]
    expected = masses[kept] / masses[kept].sum() * counts.sum()
    return stats.chisquare(counts, expected).pvalue


@pytest.mark.parametrize("law", [noise.Uniform(8.0), noise.Gaussian(4.0)])
def test_simulated_agents_have_the_predicted_law(law):
    model = sdesim.Dynamics(objectives.OscillatingDoubleWell(), Uncoupled(), law, eta=0.05)
    grid = Grid(-4, 4, 1600)
    found = meanfield.evolve(model, grid, steps=30, init=init.Uniform(-3, 3))
    assert agreement(model, found.masses, grid, 30) > 1e-3
    other = sdesim.Dynamics(model.objective, Uncoupled(), noise.Uniform(8.8), eta=0.05)
    wrong = meanfield.evolve(other, grid, steps=30, init=init.Uniform(-3, 3))
    assert agreement(model, wrong.masses, grid, 30) < 1e-6  # ten percent more noise would be seen


def test_the_adjoint_is_the_adjoint():
    grid, rng = Grid(-3, 5, 200), np.random.default_rng(0)
    model = one.model(one.Config())
    slope = parts.gradient(model.objective)(iteration.piece_edges(grid))
    transfer = iteration.Transfer(slope, grid, 0.05, 3.0, parts.noise_law(model, 0.05))
    masses, values = rng.random(200), rng.normal(size=(2, 200))
    forward = values @ transfer(masses, 1.3)[0]
    np.testing.assert_allclose(transfer.expected(values, 1.3) @ masses, forward, rtol=1e-10)


def test_records_are_the_laws_of_shorter_runs():
    model, grid = linear(), Grid(-5, 5, 100)
    found = meanfield.evolve(model, grid, steps=12, init=NORMAL, every=5)
    assert list(found.recorded) == [0, 5, 10]
    np.testing.assert_array_equal(found.history[1], meanfield.evolve(model, grid, steps=5, init=NORMAL).masses)


# -- momentum ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [sdesim.Nesterov(DELTA), sdesim.HeavyBall(DELTA)])
def test_linear_momentum_has_its_exact_moments(momentum):
    ahead = DELTA if isinstance(momentum, sdesim.Nesterov) else 0.0
    kick = np.array([-ETA * H, DELTA - ETA * H * ahead])  # of v, and x takes the new v
    step = lambda k: np.array([[1 - ETA * k, 0], [0, 0]]) + np.outer([1, 1], kick)
    mean, covariance = np.array([1.0, 0.0]), np.diag([0.25, 0.0])
    for _ in range(20):
        mean = step(0.0) @ mean
        covariance = step(K) @ covariance @ step(K).T + (ETA * SIGMA) ** 2
    sizes, errors = (60, 120, 240), []
    for cells in sizes:
        found = meanfield.evolve_momentum(
            linear(momentum=momentum), Grid(-6, 6, cells), speed=2.4, steps=20, init=NORMAL
        )
        assert abs(found.masses.sum() - 1) < 1e-11
        assert found.masses.min() >= 0
        assert found.mean[-1] == pytest.approx(mean[0], abs=1e-6)
        errors.append([found.std[-1] ** 2 - covariance[0, 0], found.speed[-1] ** 2 - covariance[1, 1] - mean[1] ** 2])
    for column in np.transpose(errors):
        assert order(sizes, column) == pytest.approx(2, abs=0.15)


def test_simulated_agents_with_momentum_have_the_predicted_law():
    model = sdesim.Dynamics(objectives.QuarticDoubleWell(), Uncoupled(), noise.Uniform(4.0), 0.02, sdesim.Nesterov(0.9))
    grid = Grid(-4, 4, 400)
    found = meanfield.evolve_momentum(model, grid, speed=1.2, steps=25, init=init.Uniform(-3, 3))
    assert agreement(model, found.density * grid.width, grid, 25) > 1e-3
    assert agreement(model, np.roll(found.density * grid.width, 5), grid, 25) < 1e-6


# -- the Fokker-Planck equation ----------------------------------------------------------------------------------------


def sde(k, temperature=0.5, objective=WELL):
    return sdesim.Dynamics(objective, Quorum(k), noise.Gaussian(np.sqrt(2 * temperature)), eta=1.0)


def test_fokker_planck_keeps_mass_sign_and_stationary_laws():
    grid = Grid(-8, 8, 160)
    theory = SelfConsistency(WELL, grid)
    for branch in theory.branches(1.0, 0.5):
        law = theory.law(branch.mean, 1.0, 0.5)
        found = fokker_planck(sde(1.0), grid, time=1.0, dt=0.05, init=law)
        np.testing.assert_allclose(found.masses, law, atol=1e-12)
    found = fokker_planck(sde(1.0), grid, time=400.0, dt=5.0, init=-0.1)  # one long step from a point
    assert found.masses.min() >= 0
    assert abs(found.masses.sum() - 1) < 1e-11
    assert found.mean[-1] == pytest.approx(theory.branches(1.0, 0.5)[0].mean, abs=1e-9)


def test_fokker_planck_converges_in_cells_and_steps():
    model = sde(0.8, objective=objectives.QuarticDoubleWell())
    law = np.diff(stats.norm.cdf(np.linspace(-4, 4, 961), 0.4, 0.6))

    def found(cells, dt):
        start = law.reshape(cells, -1).sum(axis=1)
        result = fokker_planck(model, Grid(-4, 4, cells), time=1.0, dt=dt, init=start / start.sum())
        return result.masses @ result.x**2

    cells = (30, 60, 120)
    assert order(cells, [found(n, 0.1) - found(960, 0.1) for n in cells]) == pytest.approx(2, abs=0.15)
    steps = (5, 10, 20)
    assert order(steps, [found(60, 1 / n) - found(60, 1 / 640) for n in steps]) == pytest.approx(1, abs=0.15)


def test_fokker_planck_follows_the_ornstein_uhlenbeck_mean_and_center():
    t, h, k, r = 1.5, 1.2, 0.7, 0.9
    model = sdesim.Dynamics(objectives.Quadratic(h), Elastic(k, r), noise.Gaussian(1.0), eta=0.4)
    assert meanfield.temperature(model) == pytest.approx(0.2)
    found = fokker_planck(model, Grid(-5, 5, 200), time=t, dt=0.002, init=1.5)
    rates, modes = np.linalg.eig(np.array([[-h - k, k], [r, -r]]))
    exact = modes @ (np.exp(rates * t) * np.linalg.solve(modes, [1.5, 1.5]))
    assert (found.mean[-1], found.target[-1]) == pytest.approx(tuple(exact), abs=5e-3)


def test_relaxation_rates():
    h, k = 1.2, 0.7
    found = meanfield.relaxation_rates(objectives.Quadratic(h), 0.0, k, 0.3, Grid(-6, 6, 400))
    # the mean forgets at rate h whatever the gain, the shape at multiples of h + k
    np.testing.assert_allclose(found, [h, 2 * (h + k), 3 * (h + k)], rtol=2e-3)
    grid = Grid(-6, 6, 80)
    theory = SelfConsistency(WELL, grid)
    for branch in theory.branches(0.8, 0.5):
        potential = parts.loss(WELL)(grid.centers) + 0.4 * (grid.centers - branch.mean) ** 2
        law = theory.law(branch.mean, 0.8, 0.5)
        dense = -eigvals(meanfield.fokker_planck_matrix(law, potential, 0.8, 0.5, grid)).real
        dense = np.sort(np.delete(dense, np.argmin(abs(dense))))[:3]
        fast = meanfield.relaxation_rates(WELL, branch.mean, 0.8, 0.5, grid)
        np.testing.assert_allclose(fast, dense, rtol=1e-6)
        assert (fast[0] > 0) == branch.stable  # R' < 1 is the condition of stability
        free = meanfield.fokker_planck_matrix(law, potential, 0.0, 0.5, grid)
        to_center = -(0.8 / 0.5) * free @ (law * (grid.centers - branch.mean))
        for r in (0.05, 5.0):  # of EASGD's center too, whatever its rate
            whole = np.block([[free, to_center[:, None]], [r * grid.centers, -r]])
            slowest = -np.sort(eigvals(whole).real)[::-1][:2]  # one of them is the mass
            assert (slowest.min() > -1e-9) == branch.stable


# -- stationary laws ---------------------------------------------------------------------------------------------------


def test_critical_gain_has_its_closed_forms():
    theory = SelfConsistency(WELL, Grid(-12, 12, 300))
    # exp(-f / T) is cosh x exp(-x^2 / 2T) at T = 2 and cosh^2 at T = 1: sums of normal laws
    assert theory.critical_gain(2.0) == pytest.approx(1.0, rel=1e-9)
    s = lambda k: 1 / (1 + k)
    variance = lambda k: (s(k) + np.exp(2 * s(k)) * (s(k) + 4 * s(k) ** 2)) / (1 + np.exp(2 * s(k)))
    assert theory.critical_gain(1.0) == pytest.approx(brentq(lambda k: k * variance(k) - 1, 0.1, 2), rel=1e-9)
    assert theory.critical_temperature(theory.critical_gain(1.3)) == pytest.approx(1.3, rel=1e-9)
    assert SelfConsistency(objectives.LogCosh(1.0, 1.0), Grid(-12, 12, 300)).critical_gain(1.0) == np.inf
    assert SelfConsistency(objectives.LogCosh(1.0, 1.0), Grid(-12, 12, 300)).critical_temperature(1.0) == 0.0


def test_branches_are_all_found_and_alternate():
    theory = SelfConsistency(WELL, Grid(-12, 12, 300))
    critical = theory.critical_gain(1.0)
    for k, count in ((0.99 * critical, 1), (1.0005 * critical, 3), (2.0, 3), (50.0, 3)):
        found = theory.branches(k, 1.0)
        assert [b.stable for b in found] == [True, False, True][:count]
        for b in found:
            assert theory.moments(b.mean, k, 1.0)[0] == pytest.approx(b.mean, abs=1e-9)
    # deep and cold: every minimum of the loss of figure 1 holds a law of its own, with strong coupling
    cold = SelfConsistency(objectives.OscillatingDoubleWell(), Grid(-3.5, 3.5, 8000)).branches(500.0, 0.005)
    stable = [b.mean for b in cold if b.stable]
    x = np.linspace(-3.5, 3.5, 20001)
    f = parts.loss(objectives.OscillatingDoubleWell())(x)
    minima = x[1:-1][(f[1:-1] < f[:-2]) & (f[1:-1] < f[2:])]
    np.testing.assert_allclose(stable, minima, atol=0.02)


def test_consensus_descends_the_effective_loss():
    theory = SelfConsistency(WELL, Grid(-10, 10, 300))
    m, k, temperature, step = np.linspace(-2, 3, 7), 0.8, 0.6, 1e-4
    phi = lambda m: theory.effective_loss(m, k, temperature)
    mean, variance = theory.moments(m, k, temperature)
    np.testing.assert_allclose((phi(m + step) - phi(m - step)) / (2 * step), k * (m - mean), atol=1e-6)
    second = (phi(m + step) - 2 * phi(m) + phi(m - step)) / step**2
    np.testing.assert_allclose(second, k * (1 - k * variance / temperature), atol=1e-5)


# -- fluctuations ------------------------------------------------------------------------------------------------------


def test_quorum_moments_are_exact_at_every_p():
    quadratic = SelfConsistency(objectives.Quadratic(H), Grid(-8, 8, 300))
    for p in (1, 3, 1000):
        for k in (0.0, 1e-3, 5.0):
            assert meanfield.quorum_moments(quadratic, k, 0.7, p).variance == pytest.approx(0.7 / (H * p), rel=1e-8)
    tilted = lambda x: jnp.sum(0.25 * x**4 - 0.5 * x**2 + 0.1 * x)
    theory = SelfConsistency(tilted, Grid(-4, 4, 400))
    alone = meanfield.quorum_moments(theory, 0.0, 0.4, 1)
    coupled = meanfield.quorum_moments(theory, 3.0, 0.4, 1)  # one agent is its own mean: no pull
    assert (coupled.mean, coupled.variance) == pytest.approx((alone.mean, alone.variance), rel=1e-8)

    def moment(power):
        def density(y, x):
            f = sum(0.25 * z**4 - 0.5 * z**2 + 0.1 * z for z in (x, y))
            return ((x + y) / 2) ** power * np.exp(-(f + 1.5 * (x - y) ** 2 / 4) / 0.4)

        return integrate.dblquad(density, -4, 4, -4, 4, epsabs=1e-9)[0]

    pair = meanfield.quorum_moments(theory, 1.5, 0.4, 2)
    assert pair.mean == pytest.approx(moment(1) / moment(0), rel=1e-6)
    assert pair.second == pytest.approx(moment(2) / moment(0), rel=1e-6)
    wells = SelfConsistency(WELL, Grid(-8, 8, 160))
    limit = wells.branches(1.5, 1.0)[-1].mean ** 2  # two peaks, narrow for many agents
    many = [meanfield.quorum_moments(wells, 1.5, 1.0, p).second - limit for p in (10**4, 10**6)]
    assert many[0] / many[1] == pytest.approx(100, rel=0.02)


def test_linear_noise_is_the_limit_and_solves_the_lyapunov_equation():
    grid = Grid(-8, 8, 160)
    theory = SelfConsistency(WELL, grid)
    k, temperature = 0.25, 1.0
    branch = theory.branches(k, temperature)[0]
    expected = meanfield.linear_noise(branch.variance, k, temperature)
    assert expected > 1.5 * branch.variance
    many = [p * meanfield.quorum_moments(theory, k, temperature, p).variance - expected for p in (200, 800, 3200)]
    assert order((200, 800, 3200), many) == pytest.approx(1, abs=0.1)
    law = theory.law(branch.mean, k, temperature)
    potential = parts.loss(WELL)(grid.centers) + 0.5 * k * (grid.centers - branch.mean) ** 2
    matrix = meanfield.fokker_planck_matrix(law, potential, k, temperature, grid)
    hops = meanfield.fokker_planck_matrix(law, potential, 0.0, temperature, grid) * law
    noise_of_hops = -(hops + hops.T)  # each hop between cells takes one agent from one to the other
    kept = matrix - 1.0 * np.outer(law, np.ones(grid.cells))  # the mass, which nothing moves, is damped away
    covariance = solve_continuous_lyapunov(kept, -noise_of_hops)
    assert grid.centers @ covariance @ grid.centers == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="must be less than 1"):
        meanfield.linear_noise(2.0, 1.0, 1.0)


def test_noise_of_the_linear_iteration_is_exact():
    variance = 0.25
    for _ in range(30):
        variance = (1 - ETA * H) ** 2 * variance + (ETA * SIGMA) ** 2
    sizes = (100, 200, 400)
    found = [meanfield.iteration_noise(linear(), Grid(-6, 6, n), steps=30, init=NORMAL) for n in sizes]
    assert order(sizes, np.array(found) - variance) == pytest.approx(2, abs=0.1)
    # with a center: of the pair (mean, center), which starts from one and the same mean
    step = np.array([[1 - ETA * (H + K), ETA * K], [ETA * 1.5, 1 - ETA * 1.5]])
    covariance = np.full((2, 2), 0.25)
    for _ in range(30):
        covariance = step @ covariance @ step.T + np.diag([(ETA * SIGMA) ** 2, 0])
    found = [meanfield.iteration_noise(linear(Elastic(K, 1.5)), Grid(-6, 6, n), steps=30, init=NORMAL) for n in sizes]
    assert order(sizes, np.array(found) - covariance[0, 0]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("coupling", [Quorum(1.0), Elastic(1.0, 0.5)])
def test_mean_and_noise_of_coupled_agents_are_predicted(coupling):
    model = sdesim.Dynamics(WELL, coupling, noise.Uniform(3.0), eta=0.2)
    grid, start, agents, sims = Grid(-10, 10, 800), init.Uniform(-1, 3), 500, 600
    law = meanfield.evolve(model, grid, steps=30, init=start)
    predicted = meanfield.iteration_noise(model, grid, steps=30, init=start)
    result = sdesim.simulate(model, agents=agents, sims=sims, steps=30, init=start)
    error = np.asarray(result.quorum).ravel() - law.mean[-1]
    assert abs(error.mean()) < 4 * np.sqrt(predicted / agents / sims)
    ratio = agents * np.mean(error**2) / predicted
    assert abs(ratio - 1) < 4 * np.sqrt(2 / sims)
    assert predicted > 1.5 * law.std[-1] ** 2  # so that independent agents would be refused


# -- arguments ---------------------------------------------------------------------------------------------------------


class Twice(Quorum):
    """Another rule than its parent's."""

    def pull(self, x, shared, t, mean):
        return 2 * super().pull(x, shared, t, mean)


class Shifted(init.Normal):
    def draw(self, words, dtype):
        return super().draw(words, dtype) + 1


def test_unfit_models_are_refused():
    grid = Grid(-3, 3, 60)
    run = lambda model, **changes: meanfield.evolve(model, grid, **{"steps": 5, "init": 0.0, **changes})
    for model, message in (
        (linear(Elastic(1.0)), "center_rate=None"),
        (linear(law=noise.StudentT(1.0, 5.0)), "noise=StudentT"),
        (linear(law=type("Wider", (noise.Gaussian,), {})(1.0)), "noise=Wider"),
        (linear(Twice(1.0)), "coupling=Twice"),
        (linear(momentum=sdesim.Nesterov(0.9)), "must be None here"),
        (linear(Quorum(lambda x, t: 1.0)), "coupling.k"),
        (linear(eta=jnp.ones(3)), "eta: must be one number"),
    ):
        with pytest.raises(ValueError, match=message):
            run(model)
    with pytest.raises(ValueError, match="of the mass left it by iteration"):
        run(linear(law=noise.Gaussian(20.0)))
    with pytest.raises(ValueError, match="of its mass lies on the grid"):
        run(linear(), init=init.Uniform(-4, 4))
    with pytest.raises(ValueError, match="init=Shifted"):
        run(linear(), init=Shifted(0.0, 0.3))
    with pytest.raises(ValueError, match="low less than high"):
        Grid(1.0, -1.0, 10)
    with pytest.raises(ValueError, match="must not vanish"):
        fokker_planck(linear(law=noise.Silent()), grid, time=1.0, dt=0.1, init=0.0)
    with pytest.raises(ValueError, match="must be HeavyBall or Nesterov"):
        model = linear(momentum=sdesim.Friction(1.0))
        meanfield.evolve_momentum(model, grid, speed=1.0, steps=2, init=0.0)
