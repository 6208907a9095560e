"""`sdesim.analysis` against exact answers: Gaussian chains, transfer operators, characteristic functions."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import integrate, optimize, special, stats

import sdesim
from sdesim import analysis, noise, objectives, random
from sdesim.analysis.estimate import autocorrelation_time, bootstrap, jackknife, mean_of, share_of
from sdesim.fields import number
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


# -- errors ------------------------------------------------------------------------------------------------------------


def autoregressive(sims, records, memory, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=sims) / np.sqrt(1 - memory**2)
    series = []
    for z in rng.normal(size=(records, sims)):
        x = memory * x + z
        series.append(x)
    return np.stack(series, axis=1)


def test_autocorrelation_time():
    for memory in (0.0, 0.5, 0.9):
        found = autocorrelation_time(autoregressive(20, 20_000, memory))
        assert found == pytest.approx((1 + memory) / (1 - memory), rel=0.05)


@pytest.mark.parametrize("sims", [1, 3, 12])
def test_errors_of_stationary_means_are_right(sims):
    """z-scores of 200 independent means of correlated series have a standard deviation of 1, whoever estimates it."""
    series = autoregressive(200 * sims, 2000, 0.8).reshape(200, sims, 2000)
    z = [found.value / found.stderr for found in map(analysis.stationary_mean, series)]
    # Student-t with 11 degrees of freedom has 1.10; taking records for independent would give 3.
    assert 0.85 < np.std(z) < 1.3
    assert abs(np.mean(z)) < SIGMAS / np.sqrt(200)


def test_resampling_agrees_with_the_error_of_a_mean():
    x = np.random.default_rng(0).normal(size=400)
    exact = mean_of(x).stderr
    assert jackknife(lambda sims: x[sims].mean(), 400) == pytest.approx(exact, rel=0.5)
    assert bootstrap(lambda counts: counts @ x / 400, 400) == pytest.approx(exact, rel=0.15)
    assert np.isnan(jackknife(lambda sims: 0.0, 1))
    assert np.isnan(bootstrap(lambda counts: np.zeros(()), 1))


def test_shares_of_none_or_all_are_not_infinitely_sure():
    found = share_of(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.5]]))
    np.testing.assert_allclose(found.value, [0, 1, 0.5])
    np.testing.assert_allclose(found.stderr[:2], np.sqrt(0.2 * 0.8 / 3))
    assert found.stderr[2] == pytest.approx(np.std([0, 1, 0.5], ddof=1) / np.sqrt(3))


# -- synchronization ---------------------------------------------------------------------------------------------------


def spread_level(k, agents, eta=MATCHED):
    """Of the stationary chain: (p - 1) (eta sigma)^2 / (1 - q^2), q = 1 - eta (1 + k)."""
    return (agents - 1) * eta**2 / (1 - (1 - eta * (1 + k)) ** 2)


def watched(sims=40, agents=50, steps=300, **options):
    options = {"init": sdesim.init.Normal(0.0, 5.0), "every": 1, "observe": sdesim.observe.Spread(), **options}
    return sdesim.simulate(ornstein_uhlenbeck(), agents=agents, sims=sims, steps=steps, **options)


@pytest.mark.parametrize("sims", [2, 40])
def test_synchronization_level_is_the_stationary_spread(sims):
    found = analysis.synchronization(watched(sims=sims), after=60)
    close(analysis.Estimate(float(found["level_mean"]), float(found["level_stderr"])), spread_level(3.0, 50))
    assert found["level"].shape == (sims,)
    assert found["level"].mean() == pytest.approx(float(found["level_mean"]))
    assert float(found["synchronized"]) == 1


@pytest.mark.parametrize("multiple", [1.5, 3.0, 100.0])
def test_synchronization_time_of_many_agents(multiple):
    """With many agents the spread is its expectation, level + (start - level) q^2n, which passes at a known step."""
    agents = 4000
    found = analysis.synchronization(watched(sims=10, agents=agents, steps=100), multiple=multiple, dt=MATCHED)
    level, q = spread_level(3.0, agents), 1 - MATCHED * 4
    step = np.log((multiple - 1) * level / (25 * (agents - 1) - level)) / np.log(q**2)
    assert abs(float(found["time_mean"]) / MATCHED - np.ceil(step)) <= 0.5
    assert float(found["time_stderr"]) < 0.2 * MATCHED


def test_the_error_of_the_time_is_that_of_independent_batches():
    result = watched(sims=400, agents=8, steps=120)
    batches = [
        analysis.synchronization(result.to_xarray().isel(sim=slice(i, i + 20)), after=40) for i in range(0, 400, 20)
    ]
    times = [float(b["time_mean"]) for b in batches]
    stated = np.sqrt(np.mean([float(b["time_stderr"]) ** 2 for b in batches]))
    assert 0.6 < np.std(times, ddof=1) / stated < 1.5  # 19 degrees of freedom


def test_synchronization_keeps_the_grid_of_a_sweep():
    gains = [1.0, 3.0, 60.0]  # the last is unstable: eta (k + 1) > 2
    with pytest.warns((sdesim.StabilityWarning, sdesim.DivergenceWarning)):
        data = sdesim.sweep(
            ornstein_uhlenbeck(), {"coupling.k": gains}, agents=20, sims=30, steps=2500, init=sdesim.init.Normal(),
            observe=sdesim.observe.Spread(), every=10,
        )  # fmt: skip
    found = analysis.synchronization(data, after=100)
    assert found["level"].dims == ("coupling.k", "sim")
    for i, k in enumerate(gains[:2]):
        point = found.isel({"coupling.k": i})
        close(analysis.Estimate(float(point["level_mean"]), float(point["level_stderr"])), spread_level(k, 20))
    assert np.isnan(found["level_mean"].values[2]) and np.isnan(found["time_mean"].values[2])


def test_what_never_synchronized_counts_with_the_last_record():
    steps = np.arange(10)
    spread = np.array([[8.0] * 2 + [1.0] * 8, [8.0] * 4 + [1.0] * 6, [8.0] * 4 + [4.0] * 6])
    data = xr.Dataset({"spread": (("sim", "step"), spread)}, {"step": steps})
    found = analysis.synchronization(data, multiple=1.5)
    np.testing.assert_array_equal(found["time"], [2, 4, np.nan])
    assert float(found["time_mean"]) == pytest.approx((2 + 4 + 9) / 3)
    assert float(found["synchronized"]) == pytest.approx(2 / 3)
    assert float(found["level_mean"]) == 2.0


def test_a_window_that_is_not_stationary_is_told():
    with pytest.warns(UserWarning, match="drifts by"):
        analysis.synchronization(watched(steps=20, sims=12), after=0)


def test_synchronization_refuses():
    bare = sdesim.simulate(ornstein_uhlenbeck(), agents=3, sims=2, steps=10)
    for data in (bare, bare.to_xarray(), xr.Dataset({"spread": ("sim", [1.0, 2.0])})):
        with pytest.raises(ValueError, match=r"observe\.Spread"):
            analysis.synchronization(data)
    with pytest.raises(TypeError, match=r"must be a sdesim\.Result"):
        analysis.synchronization(np.zeros(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="multiple=1"):
        analysis.synchronization(watched(steps=10), multiple=1)
    with pytest.raises(ValueError, match="after=8: leaves 3 of 11 records"):
        analysis.synchronization(watched(steps=10), after=8)


# -- contraction -------------------------------------------------------------------------------------------------------

discrete = lambda h, dt=MATCHED: -np.log1p(-h * dt) / dt  # the rate at which one step contracts a mode of curvature h

LAWS = [noise.Silent(), noise.Gaussian(2.0), noise.Uniform(4.0), noise.StudentT(1.0, 2.0)]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("of", ["runs", "agents"])
def test_contraction_of_a_quadratic_is_exact(of, law):
    """Additive noise cancels: a shift of all agents decays with the curvature, their differences with the gain too."""
    model = dataclasses.replace(ornstein_uhlenbeck(), noise=law)
    start = {"init": 0.3, "other": 1.0} if of == "runs" else {}
    found = analysis.contraction_rate(model, steps=60, of=of, agents=4, sims=3, dims=2, every=1, **start)
    expected = discrete(1.0 if of == "runs" else 4.0)
    np.testing.assert_allclose(found.rates, expected, rtol=1e-6)
    assert found.least == pytest.approx(expected, rel=1e-6)
    assert found.distance.shape == (3, 61)
    np.testing.assert_allclose(np.diff(found.times), MATCHED)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("agents", [3, 4])
def test_agents_see_one_noise_in_single_precision(agents):
    found = analysis.contraction_rate(ornstein_uhlenbeck(), steps=100, of="agents", agents=agents, sims=20)
    assert found.rate.value == pytest.approx(discrete(4.0), rel=1e-4)
    assert not found.fitted.all()  # the end is lost in rounding


def test_contraction_of_a_nonlinear_well_is_its_lyapunov_exponent():
    """One agent: E log |1 - dt f''(x)| over the chain's stationary law, from its transfer operator."""
    eta, sigma = 0.1, 3.0
    model = sdesim.Dynamics(objectives.LogCosh(0.5, 2.0), noise=noise.Gaussian(sigma), eta=eta)
    chain = Chain(lambda x: 0.5 * x + 2 * np.tanh(x), eta * sigma, eta, -5, 5)
    curvature = 0.5 + 2 / np.cosh(chain.x) ** 2
    exact = -chain.stationary() @ np.log(np.abs(1 - eta * curvature)) / eta
    found = analysis.contraction_rate(model, steps=100, sims=400, every=5)
    close(found.rate, exact)
    assert found.rate.stderr < 0.02 * exact
    assert discrete(0.5, eta) < found.least < discrete(2.5, eta)


@pytest.mark.parametrize("agents", [2, 5])
def test_agents_never_synchronize_slower_than_the_bound(agents):
    """BS Thm 3.1 with double wells, between which the quorum wanders: k - concavity = 4 - 1, as a rate of steps."""
    k, eta = 4.0, 0.02
    model = sdesim.Dynamics(objectives.LogCosh(1.0, -2.0), sdesim.Quorum(k), noise.Gaussian(8.0), eta=eta)
    found = analysis.contraction_rate(model, steps=300, of="agents", agents=agents, sims=50, every=2)
    bound = float(bounds.synchronization_rate(k, 1.0))
    assert found.least >= discrete(bound, eta) * (1 - 1e-9)
    assert found.rate.value - bound > SIGMAS * found.rate.stderr
    assert found.rate.value < discrete(k + 1.0, eta)  # the greatest curvature is 1


def test_contraction_with_momentum():
    """Overdamped: the slower root of the iteration's matrix."""
    mu, eta = 5.0, 0.02
    model = sdesim.Dynamics(objectives.Quadratic(2.0), momentum=sdesim.Friction(mu), eta=eta)
    # The new velocity moves the position.
    matrix = np.array([[1 - eta**2 * 2.0, eta * (1 - eta * mu)], [-eta * 2.0, 1 - eta * mu]])
    exact = -np.log(np.abs(np.linalg.eigvals(matrix)).max()) / eta
    found = analysis.contraction_rate(model, steps=600, sims=2, after=300)
    np.testing.assert_allclose(found.rates, exact, rtol=1e-4)


def test_trajectories_that_separate_have_a_negative_rate():
    """At the top between two wells, where the curvature is -1."""
    model = sdesim.Dynamics(objectives.QuarticDoubleWell(), eta=0.01)
    found = analysis.contraction_rate(model, steps=100, sims=2, init=-1e-9, other=1e-9)
    np.testing.assert_allclose(found.rates, -np.log1p(0.01) / 0.01, rtol=1e-6)


def test_contraction_refuses():
    model = ornstein_uhlenbeck()
    with pytest.raises(ValueError, match="start at one point"):
        analysis.contraction_rate(model, steps=10, init=0.0)
    with pytest.raises(ValueError, match="agents=1"):
        analysis.contraction_rate(model, steps=10, of="agents", agents=1)
    with pytest.raises(ValueError, match="did you mean 'agents'"):
        analysis.contraction_rate(model, steps=10, of="agent")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="records are left to fit"):
        analysis.contraction_rate(model, steps=4000, of="agents", every=400)
    with pytest.raises(ValueError, match="give dt"):
        analysis.contraction_rate(dataclasses.replace(model, eta=lambda n: 0.1 / (1 + n)), steps=10)
    with pytest.raises(TypeError, match=r"must be a sdesim\.Dynamics"):
        analysis.contraction_rate(objectives.Quadratic(), steps=10)  # pyright: ignore[reportArgumentType]
    with pytest.warns(sdesim.DivergenceWarning), pytest.raises(ValueError, match="diverged"):
        analysis.contraction_rate(sdesim.Dynamics(objectives.QuarticDoubleWell(), eta=1.0), steps=50, init=4.0, other=5)


# -- occupancy ---------------------------------------------------------------------------------------------------------


def test_occupancy_of_gaussian_agents_and_their_quorum():
    """The mean of p agents has variance (eta sigma)^2 / p / (1 - (1 - eta)^2), and their differences a known one."""
    agents, basins = 4, {"middle": (-0.1, 0.1), "right": analysis.Box(low=0.1), "ball": analysis.Ball(-0.2, 0.05)}
    found = analysis.occupancy(
        ornstein_uhlenbeck(), {**basins, "mine": lambda x: x[0] ** 2 > 0.01}, agents=agents, sims=400, steps=1000,
        after=200, every=20, seed=3,
    )  # fmt: skip
    quorum = MATCHED**2 / agents / (1 - (1 - MATCHED) ** 2)
    one = quorum + spread_level(3.0, agents) / agents
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
def test_censored_passages(passages, horizon):
    """Share, restricted mean, median and rate against the chain's survival, where most have not arrived and later."""
    dt, _ = passages
    model = sdesim.Dynamics(objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=1.0)
    steps = round(horizon / dt)
    found = analysis.first_passage(model, (WALL, np.inf), steps=steps, sims=3000, init=START, dt=dt, seed=6)
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
    """Tightly coupled agents arrive as one: forty of them know no more than their quorum."""
    model = sdesim.Dynamics(objectives.Quadratic(1.0), sdesim.Quorum(19.0), noise.Gaussian(2.0), eta=MATCHED)
    run = dict(steps=200, sims=300, agents=40, init=-0.5)
    each = analysis.first_passage(model, (0.0, np.inf), of="agents", **run)
    quorum = analysis.first_passage(model, (0.0, np.inf), **run)
    assert each.times.shape == (300, 40) and quorum.times.shape == (300, 1)
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


# -- smoothed losses ---------------------------------------------------------------------------------------------------


class Laplace(noise.AbstractAdditive):
    """A user's law: density exp(-|z| / scale) / (2 scale)."""

    scale: jax.Array = eqx.field(converter=number)

    @property
    def amplitude(self):
        return self.scale

    def variates(self, blocks, dtype, batch):
        u = random.centered(blocks[0].own, dtype)
        return -jnp.sign(u) * jnp.log1p(-jnp.abs(u))


def student_characteristic(t, nu):
    a = np.sqrt(nu) * np.abs(t)
    return special.kv(nu / 2, a) * a ** (nu / 2) / (special.gamma(nu / 2) * 2 ** (nu / 2 - 1))


W, ETA = 5.0, 0.1
CHARACTERISTIC = {  # E cos(W ETA zeta) of one agent's noise, scaled by 1 / p
    "uniform": (noise.Uniform(4.0), lambda p: np.sinc(W * ETA * 4.0 / p / np.pi)),
    "gaussian": (noise.Gaussian(3.0), lambda p: np.exp(-0.5 * (W * ETA * 3.0 / p) ** 2)),
    "student-t": (noise.StudentT(2.0, 2.5), lambda p: student_characteristic(W * ETA * 2.0 / p, 2.5)),
    "laplace": (Laplace(2.0), lambda p: 1 / (1 + (W * ETA * 2.0 / p) ** 2)),
}


@pytest.mark.parametrize("agents", [1, 2, 7])
@pytest.mark.parametrize("name", CHARACTERISTIC)
def test_a_wave_is_damped_by_the_characteristic_function(name, agents):
    """Of the averaged noise of p agents: the p-th power of one agent's at 1/p of the frequency."""
    law, factor = CHARACTERISTIC[name]
    x = np.array([[0.0], [0.3], [-1.1]])
    found = analysis.smoothed_loss(lambda x: jnp.cos(W * x[0]), law, ETA, x, agents=agents)
    exact = np.cos(W * x[:, 0]) * factor(agents) ** agents
    # A wave in the tails of Student-t's law oscillates too fast for any nodes, and the error says so.
    most = 1e-12 if name in ("uniform", "gaussian") else 1e-5 if name == "student-t" and agents == 1 else 3e-3
    assert np.all(found.stderr < most)
    assert np.all(np.abs(found.value - exact) < 1e-13 + 5 * found.stderr)  # Student-t with 15 degrees of freedom


def test_a_law_of_your_own_by_quadrature():
    law, factor = CHARACTERISTIC["laplace"]
    loss = lambda x: jnp.cos(W * x[0])
    found = analysis.smoothed_loss(loss, law, ETA, 0.0, distribution=stats.laplace())
    assert found.value == pytest.approx(factor(1), abs=1e-12)
    assert isinstance(found.value, float)


@pytest.mark.parametrize("agents", [1, 40, 500, 501])
def test_many_averaged_uniforms(agents):
    """The mean of p uniforms has variance w^2 / 3p and fourth moment w^4 (1/3p^2 - 2/15p^3); by a spline to p = 500."""
    w = 3.0
    found = analysis.smoothed_loss(lambda x: x**4 + x**2, noise.Uniform(w), 1.0, 0.0, agents=agents, points=64)
    exact = w**2 / (3 * agents) + w**4 * (1 / (3 * agents**2) - 2 / (15 * agents**3))
    assert abs(found.value - exact) < 1e-12 * exact + 5 * found.stderr
    assert found.stderr < (1e-12 if agents <= 500 else 0.1) * exact


def test_smoothing_agrees_with_the_objectives_own():
    x = np.linspace(-3, 3, 41)[:, None]
    loss = objectives.OscillatingDoubleWell()
    found = analysis.smoothed_loss(loss, noise.Uniform(8.0), 0.05, x)
    np.testing.assert_allclose(found.value, jax.vmap(lambda x: loss.smoothed(x, 0.4))(jnp.asarray(x)), atol=1e-12)
    assert found.stderr.max() < 1e-12
    coupled = objectives.CoupledDoubleWells()
    x = np.array([[0.1, -0.5, 1.0], [1.4, 1.4, -1.4]])
    found = analysis.smoothed_loss(coupled, noise.Uniform(3.0), 0.2, x)
    exact = jax.vmap(lambda x: coupled.smoothed(x, 0.6))(jnp.asarray(x))
    assert np.all(np.abs(found.value - exact) < 5 * found.stderr)
    assert np.all(found.stderr < 1e-4)  # independent points would give 1e-2


@pytest.mark.usefixtures("float32")
def test_smoothing_in_single_precision():
    loss = objectives.OscillatingDoubleWell()
    found = analysis.smoothed_loss(loss, noise.Uniform(8.0), 0.05, [0.7])
    assert abs(found.value - float(loss.smoothed(jnp.asarray([0.7]), 0.4))) < 5e-6
    assert 0 < found.stderr < 5e-6


def test_noise_that_depends_on_the_state():
    x, scale, h = 0.8, 0.3, 2.0
    quadratic = objectives.Quadratic(h)
    found = analysis.smoothed_loss(quadratic, noise.GammaMultiplicative(1.5), scale, x)
    assert found.value == pytest.approx(h * x**2 / 2 * (1 + (scale * h) ** 2 / 1.5), abs=1e-12)
    b = lambda x: 1 + x**2
    for agents in (1, 3):
        found = analysis.smoothed_loss(quadratic, noise.Diffusion(b), scale, x, agents=agents)
        assert found.value == pytest.approx(h / 2 * (x**2 + (scale * (1 + x**2)) ** 2 / agents), abs=1e-12)
    full = noise.Diffusion(lambda x: jnp.array([[1.0, 0.0], [2.0, 1.0]]), kind="full")
    found = analysis.smoothed_loss(lambda x: x[0] * x[1], full, scale, [1.0, 2.0])
    close(found, 2.0 + scale**2 * 2.0, 5)  # the covariance B B^T has 2 off its diagonal
    assert analysis.smoothed_loss(quadratic, noise.Silent(), scale, x).value == pytest.approx(h * x**2 / 2)


def test_heavy_tails():
    """E t^4 = 3 nu^2 / ((nu - 2) (nu - 4)) is 25 at nu = 5, and infinite at 4 and below."""
    quartic = lambda x: x[0] ** 4
    assert analysis.smoothed_loss(quartic, noise.StudentT(1.0, 5.0), 1.0, 0.0).value == pytest.approx(25, rel=1e-9)
    with pytest.raises(ValueError, match="tails are too heavy"):
        analysis.smoothed_loss(quartic, noise.StudentT(1.0, 3.5), 1.0, 0.0)


def test_a_kink_is_told_by_its_error():
    """Quadrature of |x| converges slowly: the exact value is within the stated error, which is not that of rounding."""
    found = analysis.smoothed_loss(lambda x: jnp.abs(x[0]), noise.Gaussian(1.0), 1.0, 0.0)
    assert 1e-6 < found.stderr < 1e-2
    assert abs(found.value - np.sqrt(2 / np.pi)) < 2 * found.stderr


def test_the_quorum_of_one_step_sees_the_smoothed_loss():
    """BS 39 in a simulation: the quorum's mean loss after one step is the smoothed loss where the gradient leads."""
    agents, x, eta = 3, 0.4, 0.05
    loss, law = objectives.OscillatingDoubleWell(), noise.Uniform(8.0)
    model = sdesim.Dynamics(loss, sdesim.Quorum(2.0), law, eta=eta)
    result = sdesim.simulate(model, agents=agents, sims=60_000, steps=1, init=x, seed=9)
    seen = mean_of(jax.vmap(loss.loss)(result.quorum))
    y = x - eta * float(loss.gradient(jnp.asarray([x]))[0])
    close(seen, analysis.smoothed_loss(loss, law, eta, y, agents=agents).value)
    # Uniform noise of the same variance, which averaged noise is not, is seen to be another law.
    other = analysis.smoothed_loss(loss, law, eta / np.sqrt(agents), y).value
    assert abs(seen.value - other) > SIGMAS * seen.stderr


def test_smoothed_loss_refuses():
    loss, law = objectives.Quadratic(), noise.Uniform(1.0)
    with pytest.raises(TypeError, match=r"one of sdesim\.noise"):
        analysis.smoothed_loss(loss, 3.0, 1.0, 0.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="scale=-1"):
        analysis.smoothed_loss(loss, law, -1.0, 0.0)
    with pytest.raises(ValueError, match="got shape"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="not finite at"):
        analysis.smoothed_loss(lambda x: jnp.log(x[0]), law, 1.0, 0.0)
    with pytest.raises(ValueError, match="for dims=3"):
        analysis.smoothed_loss(loss, noise.Gaussian([1.0, 2.0]), 1.0, np.zeros(3))
    with pytest.raises(ValueError, match="scramblings=1"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros(3), scramblings=1)
    with pytest.raises(ValueError, match="take fewer agents"):
        analysis.smoothed_loss(loss, law, 1.0, np.zeros(30), agents=1000)


# -- the best gain -----------------------------------------------------------------------------------------------------

AGENTS, SIMS, COST = 6, 2000, 0.01
RUN = dict(agents=AGENTS, steps=40, init=0.0)


def costly_spread(data):
    """Expected: (p - 1) (eta sigma)^2 (1 - q^2n) / (1 - q^2) + cost k, with one minimum in k."""
    return data["spread"] + COST * data["coupling.k"]


def best_gain():
    def expected(k):
        q = 1 - MATCHED * (1 + k)
        return spread_level(k, AGENTS) * (1 - q ** (2 * RUN["steps"])) + COST * k

    return optimize.minimize_scalar(expected, (0.5, 3, 12)).x


def test_best_k_is_the_minimum_of_the_expectation():
    found = analysis.best_k(ornstein_uhlenbeck(), costly_spread, (0.0, 12.0), sims=SIMS, resolution=0.05, **RUN)
    low, high = found.bracket
    assert low < best_gain() < high
    assert low <= found.best <= high and not found.at_edge
    assert high - low < 0.4 * 12
    assert found.table.sizes["coupling.k"] <= 40
    best = found.table.sel({"coupling.k": found.best})
    assert best["difference"] == 0 and best["mean"] == found.value.value
    assert (found.table["difference"] >= 0).all()
    # The same noise at every gain: neighbors differ far less than independent runs would.
    near = found.table.sortby(abs(found.table["coupling.k"] - found.best)).isel({"coupling.k": 1})
    assert near["difference_stderr"] < 0.3 * np.sqrt(2) * near["stderr"]


def test_more_simulations_narrow_the_bracket():
    widths = []
    for sims in (30, SIMS):
        found = analysis.best_k(ornstein_uhlenbeck(), costly_spread, (0.0, 12.0), sims=sims, resolution=1e-3, **RUN)
        assert found.reason == "noise"
        widths.append(found.bracket[1] - found.bracket[0])
    assert widths[1] < 0.5 * widths[0]


def test_greatest_is_least_of_the_negative():
    search = lambda observable, goal: analysis.best_k(
        ornstein_uhlenbeck(), observable, (0.0, 12.0), sims=SIMS, goal=goal, **RUN
    )
    least, greatest = search(costly_spread, "min"), search(lambda data: -costly_spread(data), "max")
    assert (greatest.best, greatest.bracket, greatest.reason) == (least.best, least.bracket, least.reason)
    assert greatest.value.value == -least.value.value
    np.testing.assert_allclose(greatest.table["difference"], -least.table["difference"])


def test_what_does_not_depend_on_k_ends_at_once():
    """The quorum of a quadratic is the same for every gain."""
    observable = lambda data: data["quorum"].isel(dim=0)
    found = analysis.best_k(ornstein_uhlenbeck(), observable, (0.0, 12.0), sims=SIMS, **RUN)
    assert found.reason == "noise" and found.table.sizes["coupling.k"] == 5
    assert found.bracket == (0.0, 12.0)


def test_a_monotone_observable_leads_to_the_edge():
    found = analysis.best_k(ornstein_uhlenbeck(), "spread", (0.0, 12.0), sims=SIMS, **RUN)
    assert found.best == 12.0 and found.at_edge and found.bracket[1] == 12.0
    assert found.reason in ("narrow", "noise")
    least = analysis.best_k(ornstein_uhlenbeck(), "spread", (0.01, 0.09), sims=200, name="eta", **RUN)
    assert least.best == 0.01 and "eta" in least.table.dims


def test_gains_that_diverge_are_worse():
    with pytest.warns((sdesim.StabilityWarning, sdesim.DivergenceWarning)):
        found = analysis.best_k(
            ornstein_uhlenbeck(), "spread", (0.0, 400.0), sims=20, agents=4, steps=700, init=sdesim.init.Normal()
        )
    assert found.best < 39 and np.isfinite(found.value.value)  # eta (k + 1) < 2
    assert np.isinf(found.table["difference"].values[-1])


def test_best_k_refuses():
    model = ornstein_uhlenbeck()
    for bracket in ((3.0, 1.0), (0.0, np.inf)):
        with pytest.raises(ValueError, match="bracket="):
            analysis.best_k(model, "spread", bracket, **RUN)
    with pytest.raises(ValueError, match=r"did you mean 'coupling\.k'"):
        analysis.best_k(model, "spread", (0, 1), name="coupling.kk", **RUN)
    with pytest.raises(ValueError, match="did you mean 'quorum_loss'"):
        analysis.best_k(model, "quorum_los", (0, 1), **RUN)
    with pytest.raises(ValueError, match="one number a simulation"):
        analysis.best_k(model, "quorum", (0, 1), **RUN)
    with pytest.raises(ValueError, match="one number a simulation"):
        analysis.best_k(model, lambda data: 3.0, (0, 1), **RUN)
    with pytest.raises(ValueError, match="resolution=0"):
        analysis.best_k(model, "spread", (0, 1), resolution=0, **RUN)
    with pytest.raises(ValueError, match="sims=1"):
        analysis.best_k(model, "spread", (0, 1), sims=1, **RUN)
