"""Contraction, occupancy and first passage against exact answers: linear chains and transfer operators."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import sdesim
from sdesim import analysis, noise, objectives
from sdesim.ensembles.setup import draw_lanes
from sdesim.statistics import mean_of
from sdesim.theory import bounds

SIGMAS = 4.0
MATCHED = 0.05


def ornstein_uhlenbeck(k=3.0, eta=MATCHED, sigma=1.0):
    return sdesim.Dynamics(objectives.Quadratic(1.0), sdesim.Quorum(k), noise.Gaussian(sigma), eta=eta)


def close(found, exact, sigmas=SIGMAS):
    """Whether an estimate is within its errors of the exact value, and the error is of use."""
    assert found.stderr > 0
    assert abs(found.value - exact) < sigmas * found.stderr, f"{found} against {exact}"


class Chain:
    """The chain x <- x - dt slope(x) + s z, z normal, on Gauss-Legendre nodes: its exact law without sampling."""

    def __init__(self, slope, s, dt, low, high, count=400):
        nodes, weights = np.polynomial.legendre.leggauss(count)
        self.x = low + (high - low) * (nodes + 1) / 2
        self.weights = weights * (high - low) / 2
        kernel = stats.norm.pdf(self.x[None], loc=(self.x - dt * slope(self.x))[:, None], scale=s)
        self.step = kernel * self.weights[None]  # of a function of the next state to one of this state
        self.kernel_from = lambda x: stats.norm.pdf(self.x, loc=x - dt * slope(x), scale=s) * self.weights

    def stationary(self):
        """The stationary probability of each node."""
        size = self.x.size
        balance = np.vstack([self.step.T - np.eye(size), np.ones((1, size))])
        return np.linalg.lstsq(balance, np.append(np.zeros(size), 1.0))[0]

    def mean_passage(self, start):
        """Expected steps to leave (low, high) from `start` inside."""
        steps = np.linalg.solve(np.eye(self.x.size) - self.step, np.ones(self.x.size))
        return 1 + self.kernel_from(start) @ steps

    def survival(self, start, steps):
        """The probability to be inside after 1, ..., `steps` steps from `start`."""
        law = self.kernel_from(start)
        alive = []
        for _ in range(steps):
            alive.append(law.sum())
            law = law @ self.step
        return np.array(alive)


# -- contraction -------------------------------------------------------------------------------------------------------

discrete = lambda h, dt=MATCHED: -np.log1p(-h * dt) / dt  # the rate at which one step contracts a mode of curvature h

CASES = [
    ("runs", noise.Gaussian(2.0)),
    ("runs", noise.StudentT(1.0, 2.0)),
    ("agents", noise.Uniform(4.0)),
    ("agents", noise.StudentT(1.0, 2.0)),
]


@pytest.mark.parametrize(("of", "law"), CASES, ids=lambda part: part if isinstance(part, str) else type(part).__name__)
def test_contraction_of_a_quadratic_is_exact(of, law):
    """A shift of all agents decays with the curvature, their differences with the gain too, whatever the noise."""
    model = dataclasses.replace(ornstein_uhlenbeck(), noise=law)
    found = analysis.contraction_rate(model, steps=400, of=of, agents=4, sims=3, dims=2, after=200)
    expected = discrete(1.0 if of == "runs" else 4.0)
    np.testing.assert_allclose(found.rates, expected, rtol=1e-9)
    assert found.least == pytest.approx(expected, rel=1e-6)
    assert found.growth.shape == (3, 101)
    np.testing.assert_allclose(np.diff(found.times), 4 * MATCHED)
    np.testing.assert_array_equal(found.times[found.fitted][[0, -1]], found.times[[50, -1]])


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("agents", [3, 4])
def test_agents_see_one_noise_in_single_precision(agents):
    """Over times at which their distance itself would long be lost in rounding, and its length underflow."""
    found = analysis.contraction_rate(ornstein_uhlenbeck(), steps=2000, of="agents", agents=agents, sims=20)
    assert found.rate.value == pytest.approx(discrete(4.0), rel=1e-5)
    assert found.growth[:, -1].max() < -400


STIFF, SOFT = 9.0, 0.5  # curvatures of two coordinates
PAIR = np.diag([STIFF, SOFT])
ETA = 0.04


def _linear_step(momentum, coupling, agents):
    """The matrix of one iteration on (x, v, center) of one coordinate of curvature h, agents first."""

    def matrix(h):
        eye, zero = np.eye(agents), np.zeros((agents, agents))
        mean, column = np.full((1, agents), 1 / agents), np.ones((agents, 1))
        x, v, c = (
            np.hstack(row) for row in ([eye, zero, 0 * column], [zero, eye, 0 * column], [0 * mean, 0 * mean, [[1.0]]])
        )
        target = c if isinstance(coupling, sdesim.Elastic) else mean @ x
        pull = ETA * float(coupling.k) * (column @ target - x)
        if momentum is None:
            new_v, new_x = v, x - ETA * h * x + pull
        else:
            delta = float(momentum.delta)
            new_v = delta * v - ETA * h * (x + (delta * v if isinstance(momentum, sdesim.Nesterov) else 0))
            new_x = x + new_v + pull
        rate = ETA * float(coupling.center_rate) if isinstance(coupling, sdesim.Elastic) else 0.0
        step = np.vstack([new_x, new_v, c + rate * (mean @ x - c)])
        kept = np.r_[:agents, agents : 2 * agents][: agents * (1 if momentum is None else 2)]
        kept = np.append(kept, 2 * agents) if rate else kept
        return step[np.ix_(kept, kept)]

    return matrix


LINEAR = {
    "nesterov": (sdesim.Nesterov(0.9), sdesim.Quorum(2.0)),
    "overdamped": (sdesim.HeavyBall(0.5), sdesim.Quorum(2.0)),
    "easgd": (None, sdesim.Elastic(2.0, 1.0)),
    "momentum easgd": (sdesim.Nesterov(0.8), sdesim.Elastic(2.0, 2.0)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_contraction_of_linear_systems_is_that_of_their_slowest_eigenvalue(name):
    """Agents with velocities and a center: eigenvalues of the iteration's matrix by NumPy, complex ones among them."""
    momentum, coupling = LINEAR[name]
    model = sdesim.Dynamics(objectives.Quadratic(PAIR), coupling, noise.Gaussian(1.0), ETA, momentum)
    matrix = _linear_step(momentum, coupling, 3)
    radius = max(np.abs(np.linalg.eigvals(matrix(h))).max() for h in (STIFF, SOFT))
    found = analysis.contraction_rate(model, steps=2000, agents=3, sims=4, dims=2, after=1000)
    exact = -np.log(radius) / (ETA if momentum is None else np.sqrt(ETA))
    np.testing.assert_allclose(found.rates, exact, rtol=1e-3)  # where it turns, a line's slope is off by its phase


def tilted(x):
    """A loss of a user's, not convex, whose coordinates are coupled."""
    return jnp.sum(0.5 * x**2 + 1.5 * jnp.cos(2 * x)) + 0.3 * x[0] * x[1]


def first_tangent(seed, sim, agents, dims):
    """The direction in which the tangent of a simulation starts."""
    words, sims = sdesim.random.seed_words(seed), jnp.asarray([sim], jnp.uint32)
    u = draw_lanes(sdesim.init.Normal(), words, sims, agents, dims, float, sdesim.random.Stream.TANGENT)[..., 0]
    return np.asarray(u / jnp.linalg.norm(u))


def hessian(x):
    return np.diag(1 - 6 * np.cos(2 * x)) + 0.3 * (1 - np.eye(2))


@pytest.mark.parametrize("momentum", [None, sdesim.Nesterov(0.7)], ids=["first", "second"])
def test_the_tangent_is_that_of_numpy(momentum):
    """Simulation by simulation: the product of the Jacobians, by NumPy, at the points of the same run.

    The noise depends on the state, B = 1 + 0.5 sin x, and its derivative counts; its variates are read off the run.
    """
    p, d, k, eta, count, sims = 3, 2, 1.5, 0.05, 120, 2
    law = noise.Diffusion(lambda x: 1 + 0.5 * jnp.sin(x))
    model = sdesim.Dynamics(tilted, sdesim.Quorum(k), law, eta, momentum)
    run: dict[str, Any] = dict(agents=p, sims=sims, dims=d, steps=count, seed=3, init=sdesim.init.Normal())
    found = analysis.contraction_rate(model, every=1, **run)
    x = np.asarray(sdesim.simulate(model, observe=sdesim.observe.Snapshot(), every=1, **run).observed["snapshot"])
    delta = 0.0 if momentum is None else 0.7
    unit = 1.0 if momentum is None else np.sqrt(eta)
    slope = lambda y: y - 3 * np.sin(2 * y) + 0.3 * y[::-1]
    pull = lambda y: k * (y.mean(axis=0) - y)
    for s in range(sims):
        u, w = first_tangent(3, s, p, d), np.zeros((p, d))
        v, grown = np.zeros((p, d)), []
        for n in range(count):
            now, new = x[s, n], x[s, n + 1]
            new_v = new - now - eta * pull(now)
            point, ahead = now + delta * v, u + delta * w
            kick = new_v - delta * v + eta * np.array([slope(y) for y in point])
            bent = kick / (1 + 0.5 * np.sin(point)) * 0.5 * np.cos(point) * ahead
            descent = -eta * np.einsum("iab,ib->ia", np.array([hessian(y) for y in point]), ahead) + bent
            w = delta * w + descent
            u, v = u + w + eta * pull(u), new_v
            w, v = (0 * w, 0 * v) if momentum is None else (w, v)
            grown.append(0.5 * np.log((u**2).sum() + (w**2).sum() / unit**2))
        np.testing.assert_allclose(found.growth[s, 1:], grown, atol=1e-6)


def test_contraction_of_a_nonlinear_well_is_its_lyapunov_exponent():
    """One agent: E log |1 - dt f''(x)| over the chain's stationary law, from its transfer operator."""
    eta, sigma = 0.1, 3.0
    model = sdesim.Dynamics(objectives.LogCosh(0.5, 2.0), noise=noise.Gaussian(sigma), eta=eta)
    chain = Chain(lambda x: 0.5 * x + 2 * np.tanh(x), eta * sigma, eta, -5, 5)
    curvature = 0.5 + 2 / np.cosh(chain.x) ** 2
    exact = -chain.stationary() @ np.log(np.abs(1 - eta * curvature)) / eta
    found = analysis.contraction_rate(model, steps=200, sims=400, every=5)
    close(found.rate, exact)
    assert found.rate.stderr < 0.02 * exact
    assert discrete(0.5, eta) < found.least < discrete(2.5, eta)


def gibbs(loss, curvature, temperature):
    """E f'' over the law exp(-f / T), the exponent of dx = -f' dt + sqrt(2 T) dW with its sign changed."""
    x = np.linspace(-5, 5, 20001)
    weights = np.exp(-loss(x) / temperature)
    return (weights * curvature(x)).sum() / weights.sum()


WELLS = {
    "two wells": (lambda x, m: 0.25 * x**4 - 0.5 * x**2, lambda x: 3 * x**2 - 1),
    "convex": (lambda x, m: 0.5 * x**2 + 0.9 * m.log(m.cosh(2 * x)), lambda x: 1 + 3.6 / np.cosh(2 * x) ** 2),
}


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("well", WELLS)
@pytest.mark.parametrize("sims", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_contraction_has_no_bias_at_any_number_of_simulations(well, sims):
    """The mean curvature over the Gibbs law; at 1000 simulations an error of 1.5 % and less."""
    loss, curvature = WELLS[well]
    sigma, eta = 3.0, 0.1
    model = sdesim.Dynamics(lambda x: jnp.sum(loss(x, jnp)), noise=noise.Gaussian(sigma), eta=eta)
    found = analysis.contraction_rate(model, sims=sims, steps=6000, dt=0.002, every=20, seed=3)
    exact = gibbs(lambda x: loss(x, np), curvature, eta * sigma**2 / 2)
    close(found.rate, exact, 3.0)
    assert 0.02 < found.rate.stderr / exact * np.sqrt(sims) < 0.6


def test_agents_never_synchronize_slower_than_the_bound():
    """BS Thm 3.1 with double wells, between which the quorum wanders: k - concavity = 4 - 1, as a rate of steps."""
    k, eta = 4.0, 0.02
    model = sdesim.Dynamics(objectives.LogCosh(1.0, -2.0), sdesim.Quorum(k), noise.Gaussian(8.0), eta=eta)
    found = analysis.contraction_rate(model, steps=300, of="agents", agents=5, sims=50, every=2)
    bound = float(bounds.synchronization_rate(k, 1.0))
    assert found.least >= discrete(bound, eta) * (1 - 1e-9)
    assert found.rate.value - bound > SIGMAS * found.rate.stderr
    assert found.rate.value < discrete(k + 1.0, eta)  # the greatest curvature is 1


def test_trajectories_that_separate_have_a_negative_rate():
    """At the top between two wells, where the curvature is -1."""
    model = sdesim.Dynamics(objectives.QuarticDoubleWell(), eta=0.01)
    found = analysis.contraction_rate(model, steps=100, sims=2, init=0.0)
    np.testing.assert_allclose(found.rates, -np.log1p(0.01) / 0.01, rtol=1e-6)


def test_contraction_sees_a_loss_as_it_is_today():
    scale = 1.0
    model = sdesim.Dynamics(lambda x: 0.5 * scale * jnp.sum(x**2), eta=MATCHED)
    for scale in (1.0, 3.0):
        np.testing.assert_allclose(analysis.contraction_rate(model, steps=8, sims=1).rates, discrete(scale))


def test_contraction_goes_on_from_a_result():
    """Of its sizes, seed and step: a stationary start, of which every record may be fitted."""
    model = sdesim.Dynamics(tilted, sdesim.Elastic(2.0), noise.Gaussian(2.0), 0.02, sdesim.HeavyBall(0.5))
    ended = sdesim.simulate(model, agents=2, sims=3, dims=2, steps=50, seed=1)
    found = analysis.contraction_rate(model, steps=40, init=ended, after=0)
    assert found.growth.shape == (3, 41) and found.fitted.all() and (found.growth[:, 0] == 0).all()
    assert np.ptp(found.rates) > 0
    again = analysis.contraction_rate(model, steps=40, init=ended, after=0, every=8)
    np.testing.assert_allclose(again.growth, found.growth[:, ::8], atol=1e-9)


def test_an_epoch_s_jump_is_differentiated():
    """A rule whose center jumps to the agents' mean: the tangent of the center is then that of their mean."""

    class Jumping(sdesim.Elastic):
        def renew(self, x, shared, t, losses):
            return jnp.mean(x, axis=0)

    k, eta, h = 1.0, 0.1, 0.5
    model = sdesim.Dynamics(objectives.Quadratic(h), Jumping(k, 0.0), noise.Gaussian(1.0), eta)
    found = analysis.contraction_rate(model, steps=400, agents=2, sims=2, epoch=4, every=4, after=200)
    once = np.linalg.matrix_power(np.array([[1 - eta * (h + k), eta * k], [0, 1]]), 4) @ np.array([[1, 0], [1, 0]])
    exact = -np.log(np.abs(np.linalg.eigvals(once)).max()) / (4 * eta)
    np.testing.assert_allclose(found.rates, exact, rtol=1e-8)


def test_contraction_refuses():
    model = ornstein_uhlenbeck()
    with pytest.raises(ValueError, match="agents=1"):
        analysis.contraction_rate(model, steps=10, of="agents", agents=1)
    with pytest.raises(ValueError, match="did you mean 'agents'"):
        analysis.contraction_rate(model, steps=10, of="agent")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="2 records are left to fit of 800 steps"):
        analysis.contraction_rate(model, steps=800, every=400)
    with pytest.raises(ValueError, match="give dt"):
        analysis.contraction_rate(dataclasses.replace(model, eta=lambda n: 0.1 / (1 + n)), steps=10)
    with pytest.raises(ValueError, match="eta is 0, so its steps take no time"):
        analysis.contraction_rate(dataclasses.replace(model, eta=0.0), steps=10)
    with pytest.raises(TypeError, match=r"must be a sdesim\.Dynamics"):
        analysis.contraction_rate(objectives.Quadratic(), steps=10)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="diverged"):
        analysis.contraction_rate(sdesim.Dynamics(objectives.QuarticDoubleWell(), eta=1.0), steps=50, init=4.0)
    with pytest.raises(ValueError, match="contracts some tangents to nothing"):
        analysis.contraction_rate(sdesim.Dynamics(objectives.Quadratic(2.0), eta=0.5), steps=10)


# -- occupancy ---------------------------------------------------------------------------------------------------------


def test_occupancy_of_gaussian_agents_and_their_quorum():
    """The mean of p agents has variance (eta sigma)^2 / p / (1 - (1 - eta)^2), and their differences a known one."""
    agents, basins = 4, {"middle": (-0.1, 0.1), "right": analysis.Box(low=0.1), "ball": analysis.Ball(-0.2, 0.05)}
    found = analysis.occupancy(
        ornstein_uhlenbeck(), {**basins, "mine": lambda x: x[0] ** 2 > 0.01}, agents=agents, sims=400, steps=1000,
        after=200, every=20, seed=3,
    )  # fmt: skip
    quorum = MATCHED**2 / agents / (1 - (1 - MATCHED) ** 2)
    one = quorum + MATCHED**2 * (1 - 1 / agents) / (1 - (1 - MATCHED * 4) ** 2)
    for name, variance in (("quorum", quorum), ("agents", one)):
        law = stats.norm(scale=np.sqrt(variance)).cdf
        middle = law(0.1) - law(-0.1)
        exact = [middle, 1 - law(0.1), law(-0.15) - law(-0.25), 1 - middle]
        z = (found[f"{name}_mean"] - exact) / found[f"{name}_stderr"]
        assert np.abs(z).max() < SIGMAS
        assert (found[f"{name}_stderr"] < 0.02).all()
    assert list(found["basin"].values) == [*basins, "mine"]
    assert found["agents"].shape == (400, 4)


def test_occupancy_of_a_double_well():
    eta, sigma = 0.05, 4.0
    model = sdesim.Dynamics(lambda x: jnp.sum(0.5 * x**2 + 0.3 * x - 2 * jnp.log(jnp.cosh(x))), eta=eta)
    model = dataclasses.replace(model, noise=noise.Gaussian(sigma))
    chain = Chain(lambda x: x + 0.3 - 2 * np.tanh(x), eta * sigma, eta, -7, 7)
    # A smooth basin is none, so the cut at 0 is integrated one step later, where the kernel makes it smooth.
    left = stats.norm.cdf(0, loc=chain.x - eta * (chain.x + 0.3 - 2 * np.tanh(chain.x)), scale=eta * sigma)
    exact = chain.stationary() @ left
    assert exact > 0.6
    found = analysis.occupancy(
        model, {"left": (-np.inf, 0.0)}, sims=600, steps=2000, after=400, every=10, init=sdesim.init.Normal(-0.5, 1.5)
    )
    close(analysis.Estimate(found["agents_mean"].item(), found["agents_stderr"].item()), exact)
    np.testing.assert_array_equal(found["agents"], found["quorum"])  # of one agent


def test_occupancy_refuses():
    model = ornstein_uhlenbeck()
    with pytest.raises(TypeError, match="regions by name"):
        analysis.occupancy(model, {}, steps=10)
    with pytest.raises(TypeError, match=r"basins\['a'\]=3"):
        analysis.occupancy(model, {"a": 3}, steps=10)
    with pytest.raises(ValueError, match="must be one truth value"):
        analysis.occupancy(model, {"a": lambda x: x > 0}, steps=10)
    with pytest.raises(ValueError, match="no record of the 10 steps"):
        analysis.occupancy(model, {"a": (0, 1)}, steps=10, after=10)
    with pytest.raises(ValueError, match="low must be less"):
        analysis.Box(1, 0)
    with pytest.raises(ValueError, match="radius=0"):
        analysis.Ball(0.0, 0.0)


# -- first passage -----------------------------------------------------------------------------------------------------

START, WALL = -0.5, 0.6


def passage_chain(dt, wall=WALL):
    return Chain(lambda x: x, np.sqrt(dt), dt, -8, wall)


def continuous_mean_passage():
    """Of dx = -x dt + dW from START to WALL: 2 int e^(y^2) int_{-inf}^y e^(-z^2) dz dy."""
    inner = lambda y: np.exp(y**2) * np.sqrt(np.pi) / 2 * special.erfc(-y)
    return 2 * integrate.quad(inner, START, WALL)[0]


@pytest.fixture(scope="module", params=[0.1, 0.025])
def passages(request):
    """(dt, passages of one agent): eta = 1 makes the SDE dx = -x dt + dW."""
    dt = request.param
    model = sdesim.Dynamics(objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=1.0)
    return dt, analysis.first_passage(model, (WALL, np.inf), steps=int(40 / dt), sims=4000, init=START, dt=dt, seed=5)


def test_mean_first_passage_of_an_ornstein_uhlenbeck_chain(passages):
    """The mean is the chain's, from its transfer operator; the SDE's double integral is many errors away."""
    dt, found = passages
    exact = passage_chain(dt).mean_passage(START) * dt
    close(found.mean, exact)
    assert found.share.value > 0.999 and found.share.stderr > 0
    assert found.mean.value - continuous_mean_passage() > 5 * found.mean.stderr
    assert found.mean.stderr == pytest.approx(mean_of(found.times[:, 0]).stderr, rel=0.15)


def test_late_discrete_passage_fades_with_the_square_root_of_the_step():
    """And is that of a boundary 0.5826 sqrt(dt) farther away, up to a term of order dt."""
    steps = [0.04, 0.01, 0.0025]
    exact = continuous_mean_passage()
    late = [passage_chain(dt).mean_passage(START) * dt - exact for dt in steps]
    moved = [passage_chain(dt, WALL - 0.5826 * np.sqrt(dt)).mean_passage(START) * dt - exact for dt in steps]
    assert np.all(np.array(late) > 0)
    np.testing.assert_allclose(np.divide(late[:-1], late[1:]), 2, rtol=0.15)
    np.testing.assert_allclose(np.divide(moved[:-1], moved[1:]), 4, rtol=0.15)
    assert np.all(np.abs(moved) < 0.15 * np.array(late))


@pytest.mark.parametrize("horizon", [1.0, 4.0])
def test_censored_passages(horizon):
    """Share, restricted mean, median and rate against the chain's survival, where most have not arrived and later."""
    dt = 0.1
    model = sdesim.Dynamics(objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=1.0)
    steps = round(horizon / dt)
    found = analysis.first_passage(model, (WALL, np.inf), steps=steps, sims=4000, init=START, dt=dt, seed=6)
    alive = passage_chain(dt).survival(START, steps)
    restricted = dt * (1 + alive[:-1].sum())
    close(found.share, 1 - alive[-1])
    close(found.mean, restricted)
    close(found.rate, (1 - alive[-1]) / restricted)
    if alive[-1] > 0.5:
        assert np.isnan(found.median.value)
    else:
        assert abs(found.median.value - dt * (1 + np.argmax(alive <= 0.5))) < SIGMAS * found.median.stderr + dt
    assert found.times.max() == pytest.approx(horizon)
    times, shares = analysis.survival(found.times, found.arrived)
    np.testing.assert_allclose(shares[-1], 1 - found.share.value)
    np.testing.assert_allclose(shares, [(found.times > t + 1e-9).mean() for t in times[:-1]] + [shares[-1]])


def test_kaplan_meier_by_hand():
    times, shares = analysis.survival([3.0, 1.0, 2.0, 5.0, 4.0, 4.0], [True, True, False, True, False, True])
    np.testing.assert_array_equal(times, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(shares, np.cumprod([5 / 6, 1, 3 / 4, 2 / 3, 0]))
    twice = analysis.survival([1.0, 1.0, 2.0], [True, True, True])[1]
    np.testing.assert_allclose(analysis.survival([1.0, 2.0], [True, True], [2, 1])[1], twice)
    for bad in (([1.0, np.nan], [True, True]), ([-1.0], [True]), ([], []), ([1.0], [True, False])):
        with pytest.raises(ValueError, match="times"):
            analysis.survival(*bad)


def test_agents_that_move_together_are_not_independent():
    """Tightly coupled agents arrive as one: twenty of them know no more than their quorum."""
    model = sdesim.Dynamics(objectives.Quadratic(1.0), sdesim.Quorum(19.0), noise.Gaussian(2.0), eta=MATCHED)
    run: dict[str, Any] = dict(steps=200, sims=200, agents=20, init=-0.5)
    each = analysis.first_passage(model, (0.0, np.inf), of="agents", **run)
    quorum = analysis.first_passage(model, (0.0, np.inf), **run)
    assert each.times.shape == (200, 20) and quorum.times.shape == (200, 1)
    pretended = each.times.std() / np.sqrt(each.times.size)
    assert each.mean.stderr > 2 * pretended
    assert each.mean.stderr == pytest.approx(mean_of(each.times.mean(axis=1)).stderr, rel=0.15)


def test_passage_at_the_start_and_after_divergence():
    at_once = analysis.first_passage(ornstein_uhlenbeck(), analysis.Ball(0.0, 0.5), steps=5, sims=4, init=0.0)
    np.testing.assert_array_equal(at_once.times, 0)
    assert at_once.arrived.all() and at_once.mean.value == 0
    never = sdesim.Dynamics(objectives.QuarticDoubleWell(), eta=1.0)
    with pytest.warns(sdesim.DivergenceWarning):
        found = analysis.first_passage(never, analysis.Ball(1.0, 1e-3), steps=50, sims=3, init=4.0)
    assert not found.arrived.any()
    assert found.times.max() < 50  # seen until they diverged
    assert found.share.value == 0 < found.share.stderr and np.isnan(found.median.value)
