"""Delay equations: against recursions in NumPy, exact laws, and the steppers without delay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
import scipy.stats
from catalogue import rules, some

import sdesim
from sdesim import coupling, noise, objectives, observe, random
from sdesim.asynchrony import Deterministic, Gamma, Measured
from sdesim.engine import gpu
from sdesim.engine.loop import advance_lanes
from sdesim.engine.plan import Plan
from sdesim.random import Stream
from sdesim.theory.staleness import delay_root, delay_variance, gamma_delay_limit

DT = 0.05


def loss(x):
    return jnp.sum(0.25 * x**4 - 0.5 * x**2 + 0.2 * jnp.cos(3 * x))


def slope(x):
    return x**3 - x - 0.6 * np.sin(3 * x)


def model_of(rule=None, law=None, momentum=None, fn=loss, eta=0.05):
    return sdesim.Dynamics(fn, rule or coupling.Uncoupled(), law or noise.Silent(), eta, momentum)


def sized(**more):
    return {**dict(agents=4, sims=3, dims=2, init=sdesim.init.Normal(0.0, 1.0), seed=5), **more}


def interpolated(path, back, before):
    """Where each agent was so many steps before the last of its path, (agents, dims): linear between the steps."""
    whole = np.floor(back).astype(int)
    found = []
    for agent, (k, w) in enumerate(zip(whole, back - whole, strict=True)):
        at = lambda n, agent=agent: path[n][agent] if n >= 0 else before(n)[agent]
        n = len(path) - 1
        found.append((1 - w) * at(n - k) + w * at(n - k - 1))
    return np.array(found)


def recursion(x, delays, steps, dt=DT, gradient=slope, kicks=None, before=None):
    """Euler's steps of one simulation, (steps + 1, agents, dims); delays(n): of the agents, in steps, (agents,)."""
    path = [np.asarray(x)]
    before = before or (lambda n: path[0])
    for n in range(steps):
        late = interpolated(path, delays(n), before)
        path.append(path[-1] - dt * gradient(late) + (0 if kicks is None else kicks[n]))
    return np.array(path)


def constant(delay, agents=4):
    return lambda n: np.broadcast_to(np.asarray(delay, float), (agents,))


# -- no delay ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "momentum", "dt"), [("jacobi", 0.8, None), ("gauss-seidel", None, 0.01)])
def test_no_delay_is_euler_maruyama_to_the_bit(order, momentum, dt, float32):
    """In pairs of agents too, and with weak_order=2."""
    momentum = None if momentum is None else sdesim.Nesterov(momentum)
    model = model_of(coupling.Elastic(1.0, 2.0), noise.Gaussian(1.0), momentum)
    second = sdesim.Dynamics(loss, noise=noise.Gaussian(1.0), eta=0.05, weak_order=2)
    cases = [(model, sdesim.Delayed(0.0, dt, order=order), sdesim.EulerMaruyama(dt, order=order))]
    if momentum is None:
        cases += [(second, sdesim.Delayed([0.0] * 4, dt, longest=1.0), sdesim.EulerMaruyama(dt))]
    for model, *both in cases:
        runs = [sdesim.simulate(model, steps=30, stepper=s, **sized(dims=1, sims=20)) for s in both]
        for a, b in zip(*(jax.tree.leaves(run.state) for run in runs), strict=True):
            np.testing.assert_array_equal(a, b)
        assert runs[0].run["path"] == runs[1].run["path"]
        assert "agents in pairs" in runs[0].run["path"]


@pytest.mark.parametrize("rule", some(rules(4), "uncoupled", "elastic", "tree"))
def test_a_traced_delay_of_zero_is_no_delay_but_for_rounding(rule):
    model = model_of(rules(4)[rule](), noise.Gaussian(1.0))

    @jax.jit
    def run(delay):
        return sdesim.simulate(model, steps=20, stepper=sdesim.Delayed(delay, DT, longest=1.0), **sized()).agents

    without = sdesim.simulate(model, steps=20, dt=DT, **sized()).agents
    np.testing.assert_allclose(run(0.0), without, rtol=1e-12, atol=1e-12)
    assert np.abs(run(DT) - without).max() > 1e-3


ORDERED = [(rule, "jacobi") for rule in rules(4)] + [(r, "gauss-seidel") for r in ("elastic", "filtered", "tree")]


@pytest.mark.parametrize(("rule", "order"), ORDERED)
def test_a_constant_slope_knows_no_delay(rule, order):
    """Pull, shared state, noise and momentum are of today: with a loss that is linear nothing else is left."""
    epoch = 10 if rule == "spiking" else None
    momentum = sdesim.HeavyBall(0.7) if rule == "elastic" else None
    model = model_of(rules(4)[rule](), noise.Uniform(1.0), momentum, fn=lambda x: 0.3 * jnp.sum(x))
    runs = [
        sdesim.simulate(model, steps=25, stepper=s, epoch=epoch, **sized())
        for s in (sdesim.Delayed(3.5, order=order), sdesim.EulerMaruyama(order=order))
    ]
    np.testing.assert_allclose(runs[0].agents, runs[1].agents, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(runs[0].center, runs[1].center, rtol=1e-12, atol=1e-12)


# -- constant delays ---------------------------------------------------------------------------------------------------


def path_of(model, stepper, steps, **more):
    observed = sdesim.simulate(model, steps=steps, stepper=stepper, observe=observe.Snapshot(), every=1, **more)
    return np.asarray(next(iter(observed.observed.values())))  # (sims, steps + 1, agents, dims)


@pytest.mark.parametrize("delay", [DT, 3 * DT, 3.3 * DT, 0.4 * DT, [0.0, 0.11, 0.5, 0.5]], ids=str)
@pytest.mark.parametrize(("longest", "sims"), [(None, 20), (0.83, 3)])
def test_a_run_is_the_recursion(delay, longest, sims):
    """Step for step, with delays between the steps, one an agent, and in the program of few and of many simulations."""
    stepper = sdesim.Delayed(delay, DT, longest=longest)
    got = path_of(model_of(), stepper, 30, **sized(sims=sims))
    for s in (0, sims - 1):
        due = recursion(got[s, 0], constant(np.asarray(delay) / DT), 30)
        np.testing.assert_allclose(got[s], due, rtol=1e-11, atol=1e-11)
        wrong = recursion(got[s, 0], constant(np.asarray(delay) / DT + 1), 30)
        assert np.abs(got[s] - wrong).max() > 1e-3


def test_at_the_matched_step_a_delay_is_a_number_of_iterations():
    """Whatever the learning rate, a schedule too."""
    eta = lambda n: jnp.where(n < 10, 0.05, 0.02)
    got = path_of(model_of(eta=eta), sdesim.Delayed(2.5), 20, **sized())
    due = [got[0, 0]]
    for n in range(20):
        late = interpolated(due, constant(2.5)(n), lambda n: due[0])
        due.append(due[-1] - (0.05 if n < 10 else 0.02) * slope(late))
    np.testing.assert_allclose(got[0], due, rtol=1e-11, atol=1e-11)


def exact(h, t):
    """dx = -h x(t - 1) dt with x = 1 before 0: a polynomial between two whole times (method of steps)."""
    total = np.ones_like(t)
    for k in range(1, int(np.max(t)) + 2):
        total = total + np.where(t >= k - 1, (-h * (t - k + 1)) ** k / scipy.special.factorial(k), 0)
    return total if np.ndim(t) else float(total)


def test_convergence_to_the_exact_solution_is_of_first_order():
    h, errors = 1.2, []
    assert exact(h, np.array(0.5)) == pytest.approx(1 - h * 0.5)
    assert exact(h, np.array(1.5)) == pytest.approx(1 - h * 1.5 + h * h * 0.5**2 / 2)
    for dt in (1 / 32, 1 / 64, 1 / 128, 1 / 256):
        steps = round(3.5 / dt)
        got = path_of(model_of(fn=objectives.Quadratic(h)), sdesim.Delayed(1.0, dt), steps, init=1.0)[0, :, 0, 0]
        errors.append(np.abs(got - exact(h, np.arange(steps + 1) * dt)).max())
    np.testing.assert_allclose(np.log2(errors[:-1]) - np.log2(errors[1:]), 1, atol=0.03)


def companion(a, back):
    """The matrix of x' = x - a x(back steps ago)."""
    matrix = np.eye(back + 1, k=-1)
    matrix[0, 0] = 1
    matrix[0, back] -= a
    return matrix


def variance_of(a, back, noise_variance):
    """Of the recursion with noise, stationary: of the discrete Lyapunov equation."""
    source = np.zeros((back + 1, back + 1))
    source[0, 0] = noise_variance
    return scipy.linalg.solve_discrete_lyapunov(companion(a, back), source)[0, 0]


def test_the_stationary_variance(z_scores):
    h, delay, eta, sims = 1.0, 0.8, 0.5, 6000
    model = model_of(fn=objectives.Quadratic(h), law=noise.Gaussian(1.0), eta=eta)
    dt, back = 0.1, 8
    run = sdesim.simulate(model, steps=400, sims=sims, stepper=sdesim.Delayed(delay, dt), seed=3)
    squares = np.asarray(run.agents)[:, 0] ** 2
    assert abs(z_scores(squares, variance_of(h * dt, back, eta * dt))[0]) < 4
    for wrong in (back - 1, back + 1):
        assert abs(z_scores(squares, variance_of(h * dt, wrong, eta * dt))[0]) > 4
    # The recursion's tends to that of the equation, at first order.
    errors = [variance_of(h * delay / n, n, eta * delay / n) / delay_variance(h, delay, eta) - 1 for n in (40, 80, 160)]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.05)


def growth(curvatures, stepper, time, dt):
    """By how much |x| changes from one half of a run to the other, by curvature."""
    steps = round(time / dt)
    model = model_of(fn=objectives.Quadratic(1.0))
    grid = {"objective.curvature": curvatures}
    more = dict(stepper=stepper, init=1.0, observe=observe.Snapshot(), every=1)
    data = sdesim.sweep(model, grid, steps=steps, **more)
    paths = np.abs(np.asarray(data[next(n for n in data if "napshot" in n)]).reshape(len(curvatures), steps + 1))
    # Per unit of time, of the greatest values in two windows that are far apart.
    window = steps // 4
    first, last = paths[:, window : 2 * window].max(axis=1), paths[:, -window:].max(axis=1)
    return np.log(last / first) / ((steps + 1 - window - window) * dt)


def test_stable_below_pi_over_2_and_fastest_at_1_over_e():
    dt = 1 / 50
    limits = np.array([1.4, 1.52, 1.62, 1.8])  # pi / 2 = 1.571, and a step less at this dt: 1.555
    got = growth(limits, sdesim.Delayed(1.0, dt), 60.0, dt)
    np.testing.assert_array_equal(got > 0, limits > np.pi / 2)
    np.testing.assert_allclose(got, [delay_root(h, 1.0).real for h in limits], atol=0.02)
    slow = np.array([0.30, 1 / np.e, 0.44])
    assert np.argmin(growth(slow, sdesim.Delayed(1.0, dt), 60.0, dt)) == 1


def test_each_agent_has_a_delay_of_its_own():
    delays = [0.0, 0.1, 0.37, 1.0]
    model = model_of(law=noise.Gaussian(1.0))
    together = sdesim.simulate(model, steps=40, stepper=sdesim.Delayed(delays, DT), **sized()).agents
    for agent, delay in enumerate(delays):
        alone = sdesim.simulate(model, steps=40, stepper=sdesim.Delayed(delay, DT), **sized()).agents
        np.testing.assert_allclose(together[:, agent], alone[:, agent], rtol=1e-11, atol=1e-11)


def test_the_strong_order_of_additive_noise_is_one(fit_order):
    sims, time, finest = 2000, 1.5, 256
    model = model_of(law=noise.Gaussian(1.0), eta=0.5)
    dw = np.random.default_rng(1).normal(size=(round(time * finest), sims, 1, 1)) / np.sqrt(finest)

    def end(parts):
        sums = dw.reshape(round(time * parts), -1, sims, 1, 1).sum(axis=1)
        stepper = sdesim.Delayed(0.375, 1 / parts)
        return sdesim.simulate(
            model, steps=len(sums), sims=sims, stepper=stepper, increments=sums, init=0.5
        ).agents.ravel()

    parts = [16, 32, 64, 128, 256]
    ends = np.array([end(n) for n in parts])
    order, error = fit_order(
        [1 / n for n in parts[:-1]], np.diff(ends, axis=0), lambda s: np.sqrt((s**2).mean(axis=-1))
    )
    assert error < 0.1
    assert abs(order - 1) < 4 * error + 0.02


@pytest.mark.parametrize("delay", [0.1, 0.17])
def test_noise_is_of_where_the_gradient_is(delay):
    dw = np.random.default_rng(0).normal(size=(20, 3, 4, 2)) * np.sqrt(DT)
    model = model_of(law=noise.Diffusion(lambda x: 1 + 0.5 * jnp.sin(x)), eta=0.3)
    got = path_of(model, sdesim.Delayed(delay, DT), 20, increments=dw, **sized())
    path = [got[1, 0]]
    for n in range(20):
        late = interpolated(path, constant(delay / DT)(n), lambda n: path[0])
        path.append(path[-1] - DT * slope(late) + np.sqrt(0.3) * (1 + 0.5 * np.sin(late)) * dw[n, 1])
    np.testing.assert_allclose(got[1], path, rtol=1e-11, atol=1e-11)


def momentum_path(x, v, back, steps, lookahead, move, left, weight):
    path, points = [x], []
    for _ in range(steps):
        points.append(path[-1] + lookahead * v)
        late = interpolated(points, constant(back)(0), lambda n: points[0])
        v = left * v - weight * slope(late)
        path.append(path[-1] + move * v)
    return np.array(path)


@pytest.mark.parametrize("back", [2.0, 2.4])
def test_momentum(back):
    """The point is the one at which the gradient was due: with Nesterov's momentum ahead of where agents were."""
    start = dict(velocity=sdesim.init.Normal(0.0, 0.1))
    cases = {
        "heavy ball": (sdesim.HeavyBall(0.8), None, (0.0, 1.0, 0.8, 0.05)),
        "nesterov": (sdesim.Nesterov(0.8), None, (0.8, 1.0, 0.8, 0.05)),
        "friction": (sdesim.Friction(0.7), DT, (0.0, DT, 1 - 0.7 * DT, DT)),
    }
    for name, (momentum, dt, numbers) in cases.items():
        stepper = sdesim.Delayed(back if dt is None else back * dt, dt)
        got = path_of(model_of(momentum=momentum), stepper, 20, **sized(**start))
        v = np.asarray(sdesim.simulate(model_of(momentum=momentum), steps=0, **sized(**start)).state.v)[..., 0]
        due = momentum_path(got[0, 0], v, back, 20, *numbers)
        np.testing.assert_allclose(got[0], due, rtol=1e-11, atol=1e-11, err_msg=name)


# -- laws of delays ----------------------------------------------------------------------------------------------------


def words(seed, sims, agents, n):
    """The uniform numbers of a step, (sims, agents), one simulation after another."""
    key = random.step_key(random.seed_words(seed), Stream.DELAY, n)
    of_one = lambda sim: random.uniform(random.words(key, sim, agents, 1).own[:, 0], jnp.float64)
    return np.asarray(jax.vmap(of_one)(jnp.arange(sims, dtype=jnp.uint32)))


def drawn_delays(law, n, sims, agents=4, longest=3.0, seed=5):
    """What a step took for its delays: with x = t before 0 and a slope of x, it moves each agent by dt times them."""
    model = model_of(fn=objectives.Quadratic(1.0))
    stepper = sdesim.Delayed(law, DT, longest=longest, history=lambda t: t)
    one = jax.jit(lambda sim: stepper.step(model, stepper.init(model, jnp.zeros((agents, 1))), n, seed=seed, sim=sim).x)
    return np.asarray(jax.vmap(one)(jnp.arange(sims, dtype=jnp.uint32)))[..., 0] / DT


def test_delays_are_drawn_from_the_law(z_scores):
    law, sims = Gamma(2.0, mean=0.6), 5000
    got = drawn_delays(law, 0, sims)
    due = np.minimum(scipy.stats.gamma(2.0, scale=0.3).ppf(words(5, 40, 4, 0)), 3.0)
    np.testing.assert_allclose(got[:40], due, rtol=2e-5, atol=1e-7)
    # E min(d, 3), of P(d > t) = (1 + t / 0.3) exp(-t / 0.3)
    mean = scipy.integrate.quad(lambda t: (1 + t / 0.3) * np.exp(-t / 0.3), 0, 3.0)[0]
    assert (np.abs(z_scores(got, mean)) < 4).all()
    assert got.max() <= 3.0 + 1e-9
    assert np.abs(np.corrcoef(got.T) - np.eye(4)).max() < 4 / np.sqrt(sims)
    cut = drawn_delays(law, 0, 500, longest=0.5)
    np.testing.assert_allclose(cut, np.minimum(got[:500], 0.5), rtol=1e-9)


@pytest.mark.parametrize(("sims", "mean"), [(20, 0.2), (3, [0.1, 0.2, 0.3, 0.4])], ids=str)
def test_a_run_with_drawn_delays_is_the_recursion(sims, mean):
    stepper = sdesim.Delayed(Gamma(3.0, mean=mean), DT, longest=1.0)
    got = path_of(model_of(), stepper, 25, **sized(sims=sims))
    scale = np.asarray(mean) / 3
    delays = [scipy.stats.gamma(3.0).ppf(words(5, sims, 4, n)) * scale for n in range(25)]
    for s in (0, sims - 1):
        due = recursion(got[s, 0], lambda n, s=s: np.minimum(delays[n][s], 1.0) / DT, 25)
        np.testing.assert_allclose(got[s], due, rtol=1e-5, atol=1e-5)
        shifted = recursion(got[s, 0], lambda n, s=s: np.minimum(delays[n - 1][s], 1.0) / DT, 25)
        assert np.abs(shifted - got[s]).max() > 1e-3


@pytest.mark.parametrize("distributed", [False, True])
def test_a_law_of_one_delay_is_that_delay(distributed):
    model = model_of(law=noise.Diffusion(lambda x: 1 + 0.5 * jnp.sin(x)), eta=0.3)
    law = sdesim.Delayed(Deterministic(mean=0.2), DT, longest=0.7, distributed=distributed)
    runs = [sdesim.simulate(model, steps=30, stepper=s, **sized()).agents for s in (law, sdesim.Delayed(0.2, DT))]
    np.testing.assert_allclose(*runs, rtol=1e-9, atol=1e-9)


def test_measured_delays_are_those_of_the_sample():
    got = drawn_delays(Measured(np.array([1.0, 3.0]), mean=0.5), 0, 4000)
    near = lambda value: np.abs(got - value) < 1e-6
    assert (near(0.25) | near(0.75)).mean() > 0.998
    assert abs(near(0.75).mean() - 0.5) < 4 * 0.5 / np.sqrt(got.size)


def hat_weights(shape, mean, dt, count):
    """E hat(d / dt - j) of a gamma law: second differences of E max(x - d, 0)."""
    below = lambda x: (
        x * scipy.stats.gamma(shape, scale=mean / shape).cdf(x)
        - mean * scipy.stats.gamma(shape + 1, scale=mean / shape).cdf(x)
    )
    grid = below(np.arange(-1, count + 1) * dt)
    return (grid[2:] - 2 * grid[1:-1] + grid[:-2]) / dt


@pytest.mark.parametrize(("sims", "mean"), [(20, 0.3), (3, [0.1, 0.2, 0.3, 0.4])], ids=str)
def test_a_distributed_delay_is_the_mean_over_the_law(sims, mean):
    longest = 4.0
    stepper = sdesim.Delayed(Gamma(2.0, mean=mean), DT, longest=longest, distributed=True)
    got = path_of(model_of(), stepper, 40, **sized(sims=sims))
    means = np.broadcast_to(mean, (4,))
    weights = np.stack([hat_weights(2.0, m, DT, 81) for m in means])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    for s in (0, sims - 1):
        path = [got[s, 0]]
        for n in range(40):
            slopes = np.stack([slope(path[max(n - j, 0)]) for j in range(81)])
            path.append(path[-1] - DT * np.einsum("aj,jad->ad", weights, slopes))
        np.testing.assert_allclose(got[s], path, rtol=2e-4, atol=2e-4)
        assert np.abs(recursion(got[s, 0], constant(means / DT), 40) - got[s]).max() > 5e-3


def test_the_spread_of_distributed_delays_decides_on_stability():
    """The limit of a gamma law is above pi / 2, and at shape 1 there is none."""
    dt = 1 / 40
    at = lambda shape: sdesim.Delayed(Gamma(shape), dt, longest=12.0, distributed=True)
    limit = gamma_delay_limit(2.0)
    assert limit == pytest.approx(4.0)
    hs = np.array([0.85, 1.15]) * limit
    got = growth(hs, at(2.0), 40.0, dt)
    np.testing.assert_array_equal(got > 0, [False, True])
    np.testing.assert_allclose(got, [delay_root(h, 1.0, 2.0).real for h in hs], atol=0.1)
    assert (growth(np.array([8.0]), at(1.0), 40.0, dt) < 0).all()


# -- the past before the run, and runs that go on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "history", [lambda t: jnp.stack([1 + t, jnp.sin(t)]), lambda t: 2 * t], ids=["point", "number"]
)
@pytest.mark.parametrize("dt", [None, DT])
def test_a_history(history, dt):
    unit = 1.0 if dt is None else dt
    stepper = sdesim.Delayed(4.6 * unit, dt, history=history)
    got = path_of(model_of(), stepper, 12, **sized())
    before = lambda n: np.broadcast_to(np.asarray(history(jnp.asarray(n * unit))), (4, 2))
    due = recursion(got[0, 0], constant(4.6), 12, before=before)
    np.testing.assert_allclose(got[0], due, rtol=1e-11, atol=1e-11)


MADE = {
    "constant": lambda: sdesim.Delayed(0.33, DT),
    "each": lambda: sdesim.Delayed([0.0, 0.1, 0.15, 0.12], DT, order="gauss-seidel"),
    "drawn": lambda: sdesim.Delayed(Gamma(2.0, mean=0.2), DT, longest=0.8),
    "distributed": lambda: sdesim.Delayed(Gamma(2.0, mean=0.2), DT, longest=0.8, distributed=True),
    "iterations": lambda: sdesim.Delayed(2.5),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("sims", [3, 20])
def test_going_on_is_never_having_stopped(name, sims, tmp_path):
    model = model_of(coupling.Elastic(1.0, 2.0), noise.Uniform(1.0), sdesim.Nesterov(0.5) if name == "each" else None)
    whole = sdesim.simulate(model, steps=40, stepper=MADE[name](), **sized(sims=sims))
    part = sdesim.simulate(model, steps=17, stepper=MADE[name](), **sized(sims=sims))
    part.save(tmp_path / "part.nc")
    for start in (part, sdesim.load(tmp_path / "part.nc")):
        end = sdesim.simulate(model, init=start, steps=23, stepper=MADE[name]())
        for a, b in zip(jax.tree.leaves(end.state), jax.tree.leaves(whole.state), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"^init: the result to continue has another state"):
        sdesim.simulate(model, init=part, steps=3)


@pytest.mark.parametrize("name", MADE)
def test_a_simulation_hangs_on_nothing_but_itself(name, float32):
    model = model_of(coupling.Quorum(1.0), noise.Gaussian(1.0))
    near = sdesim.init.Normal(0.0, 0.5)
    many = sdesim.simulate(model, steps=30, stepper=MADE[name](), **sized(sims=37, init=near))
    one = sdesim.simulate(model, steps=30, stepper=MADE[name](), **sized(sims=2, first_sim=35, init=near))
    np.testing.assert_array_equal(many.agents[35:], one.agents)


# -- as every stepper --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_a_scan_of_steps_has_the_numbers_of_a_run(name):
    stepper = MADE[name]()
    model = model_of(coupling.Elastic(1.0, 2.0), noise.Gaussian(1.0), sdesim.Nesterov(0.8) if name == "each" else None)
    run = sdesim.simulate(model, steps=20, stepper=stepper, **sized())
    begin = sdesim.simulate(model, steps=0, **sized()).agents

    @jax.jit
    def one(x, sim, stepper):
        body = lambda state, n: (stepper.step(model, state, n, seed=5, sim=sim), None)
        return jax.lax.scan(body, stepper.init(model, x), jnp.arange(20, dtype=jnp.int32))[0].x

    end = jax.vmap(one, in_axes=(0, 0, None))(begin, jnp.arange(3, dtype=jnp.uint32), stepper)
    np.testing.assert_allclose(end, run.agents, rtol=1e-10, atol=1e-10)


def test_a_sweep_over_delays():
    delays = [0.0, 0.1, 0.33]
    model = model_of(law=noise.Gaussian(1.0))
    stepper = sdesim.Delayed(0.1, DT, longest=0.5)
    data = sdesim.sweep(model, {"stepper.delay": delays, "eta": [0.1, 0.2]}, steps=20, stepper=stepper, **sized())
    for delay in delays:
        one = sdesim.simulate(
            model_of(law=noise.Gaussian(1.0), eta=0.2), steps=20, stepper=sdesim.Delayed(delay, DT), **sized()
        )
        got = data["agents"].sel(stepper_delay=delay, eta=0.2)
        np.testing.assert_allclose(got, one.agents, rtol=1e-11, atol=1e-11)
    law = sdesim.Delayed(Gamma(2.0, mean=0.1), DT, longest=0.5, distributed=True)
    data = sdesim.sweep(model, {"stepper.delay.mean": [0.1, 0.2]}, steps=20, stepper=law, **sized())
    two = sdesim.Delayed(Gamma(2.0, mean=0.2), DT, longest=0.5, distributed=True)
    one = sdesim.simulate(model, steps=20, stepper=two, **sized()).agents
    np.testing.assert_allclose(data["agents"].sel(stepper_delay_mean=0.2), one, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("delay", [0.1, 0.17, 0.5])
def test_gradients_by_a_delay_inside_jit(delay):
    """Also of the longest delay, and between steps; against differences, to one side where there is a bend."""
    model = model_of(coupling.Quorum(1.0), noise.Gaussian(1.0))

    def end(delay):
        stepper = sdesim.Delayed(delay, DT, longest=0.5)
        return jnp.sum(sdesim.simulate(model, steps=25, stepper=stepper, **sized(sims=2)).agents ** 2)

    by = 1e-6
    got = jax.jit(jax.grad(end))(delay)
    sides = [(float(end(delay)) - float(end(delay - by))) / by]
    if delay < 0.5:
        sides.append((float(end(delay + by)) - float(end(delay))) / by)
    assert any(abs(float(got) - side) < 1e-4 * max(1, abs(side)) for side in sides)
    assert abs(float(got)) > 1e-2


def test_gradients_by_the_model_inside_jit():
    law = Gamma(2.0)

    def end(k, mean):
        stepper = sdesim.Delayed(dataclasses.replace(law, mean=mean), DT, longest=1.0)
        model = model_of(coupling.Quorum(k), noise.Gaussian(1.0))
        return jnp.sum(sdesim.simulate(model, steps=15, stepper=stepper, **sized(sims=2)).agents ** 2)

    got = jax.jit(jax.grad(end, argnums=(0, 1)))(1.0, 0.2)
    by = 1e-6
    for i, g in enumerate(got):
        at = lambda s, i=i: float(end(*(v + s * (j == i) for j, v in enumerate((1.0, 0.2)))))
        assert float(g) == pytest.approx((at(by) - at(-by)) / (2 * by), rel=1e-4, abs=1e-5)


def test_many_delays_under_vmap():
    model = model_of(law=noise.Gaussian(1.0))
    run = lambda d: sdesim.simulate(model, steps=15, stepper=sdesim.Delayed(d, DT, longest=0.5), **sized()).agents
    delays = jnp.asarray([0.0, 0.1, 0.42])
    for delay, got in zip(delays, jax.vmap(run)(delays), strict=True):
        np.testing.assert_allclose(got, run(delay), rtol=1e-11, atol=1e-11)


def test_why_it_takes_no_faster_path(float32):
    model = model_of(law=noise.Gaussian(1.0))
    run = sdesim.simulate(model, steps=3, stepper=sdesim.Delayed(0.1, DT), **sized(dims=1, sims=20))
    assert "no pairs of steps that look back" in run.run["path"]
    plan = Plan(4, 1, None, None)
    refused = lambda s: gpu.refusal(plan, s, model, None, (), False, jnp.float32)
    assert refused(sdesim.Delayed(0.0, DT)) is None
    assert refused(sdesim.Delayed(2 * DT, DT)) is None
    assert refused(sdesim.Delayed(1000 * DT, DT)) == "4008 numbers of the state a thread; its registers hold 64"
    assert refused(sdesim.Delayed([DT, DT, DT, 2 * DT], DT)) == "the primitive gather"


def test_the_past_counts_in_memory():
    stepper = sdesim.Delayed(1000.0, longest=1e6)
    with pytest.raises(MemoryError, match="GiB"):
        sdesim.simulate(model_of(), steps=1, stepper=stepper, memory="1GB", **sized(sims=100))


@pytest.mark.parametrize("delay", [5.5, [5.5, 0.0, 2.0, 7.0]], ids=str)
def test_a_step_does_not_copy_the_past(delay, float32):
    """Before and after the loop XLA may; within it the time of a step would grow with the longest delay."""
    stepper, model, lanes = sdesim.Delayed(delay, longest=1000.0), model_of(coupling.Quorum(1.0)), 32
    state = jax.vmap(lambda x: stepper.init(model, x), -1, -1)(jnp.ones((4, 1, lanes)))
    still, sims = jax.tree.map(lambda _: None, model), jnp.arange(lanes, dtype=jnp.uint32)

    def run(state, steps):
        plan, seed = Plan(4, 1, None, None), jnp.zeros(2, jnp.uint32)
        return advance_lanes(plan, stepper, model, still, (), state, sims, seed, (), (), None, 0, 0, 1, steps)[0]

    text = jax.jit(run).lower(state, 10).compile().as_text()
    # Of each computation that a loop's body is, what it does with all of the past.
    bodies = [part for part in text.split("\n\n") if "get-tuple-element" in part and not part.startswith("ENTRY")]
    whole = [line for part in bodies for line in part.splitlines() if "= f32[1001," in line]
    assert len(whole) >= 2
    assert all("get-tuple-element(" in line or "dynamic-update-slice" in line for line in whole), whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(delay=-0.1), r"^delay=-0.1: must be finite and at least 0"),
        (dict(delay="late"), r"^delay='late': must be a number"),
        (dict(delay=np.ones((2, 2))), r"^delay=.*must be a number, one an agent"),
        (dict(delay=float("nan")), r"^delay=nan: must be finite"),
        (dict(delay=Gamma(2.0)), r"^longest=None: delay=Gamma, a law, needs the longest delay"),
        (dict(delay=0.5, longest=0.4), r"^longest=0.4: must be at least the delay, 0.5"),
        (dict(delay=0.5, longest=-1.0), r"^longest=-1.0: must be finite and greater than 0"),
        (dict(delay=0.5, longest="long"), r"^longest='long'"),
        (dict(delay=0.5, dt=0.0), r"^dt=0.0: must be"),
        (dict(delay=0.5, distributed=True), r"^distributed=True: needs a law of delays"),
        (dict(delay=Gamma(2.0), longest=1.0, distributed=1), r"^distributed=1: must be True or False"),
        (dict(delay=0.5, history=3.0), r"^history=3.0: must be a function"),
        (dict(delay=1e12), r"^delay=1e\+12: must be less than"),
        (dict(delay=0.5, order="jacoby"), r"^order='jacoby': did you mean"),
    ],
    ids=lambda a: a if isinstance(a, str) else " ".join(f"{k}={v}" for k, v in a.items())[:40],
)
def test_what_is_refused(arguments, said):
    with pytest.raises((ValueError, TypeError), match=said):
        sdesim.Delayed(**arguments)


def test_what_a_run_refuses():
    run = lambda stepper, model=None, **more: sdesim.simulate(
        model or model_of(), steps=2, stepper=stepper, **sized(**more)
    )
    with pytest.raises(ValueError, match=r"^delay: must be a number or of shape \(agents,\) = \(4,\)"):
        run(sdesim.Delayed([0.1, 0.2], DT))
    with pytest.raises(ValueError, match=r"^delay.mean: must be a number or of shape \(agents,\) = \(4,\)"):
        run(sdesim.Delayed(Gamma(2.0, mean=[0.1, 0.2]), DT, longest=1.0))
    with pytest.raises(ValueError, match=r"^history: the function returns shape \(3,\)"):
        run(sdesim.Delayed(0.1, DT, history=lambda t: jnp.ones(3)))
    with pytest.raises(ValueError, match=r"^weak_order=2: the modified drift is known without delays"):
        run(sdesim.Delayed(0.1, DT), sdesim.Dynamics(loss, eta=0.1, weak_order=2))
    with pytest.raises(ValueError, match=r"^dt=0.05: .*matched step"):
        run(sdesim.Delayed(0.1, DT), model_of(law=noise.GammaMultiplicative(2.0), eta=0.1))
    with pytest.raises(NotImplementedError, match="call step"):
        sdesim.Delayed(Gamma(2.0), longest=5.0).advance(*[None] * 5)


def test_what_must_be_known_is_asked_for_within_jit():
    def within(make):
        return jax.jit(lambda d: make(d)._slots + 0.0 * d)(0.2)

    assert within(lambda d: sdesim.Delayed(d, 0.1, longest=1.0)) == 11
    with pytest.raises(ValueError, match=r"^longest=None: a traced delay needs the longest delay"):
        within(lambda d: sdesim.Delayed(d, 0.1))
    with pytest.raises(ValueError, match=r"^dt: a traced value"):
        within(lambda d: sdesim.Delayed(0.5, d))
    with pytest.raises(ValueError, match=r"^longest=a traced value: must be a number that is known"):
        within(lambda d: sdesim.Delayed(0.5, 0.1, longest=d))
    with pytest.raises(ValueError, match=r"^delay: quantiles of a law are made outside of jit"):
        within(lambda d: sdesim.Delayed(Gamma(d), 0.1, longest=1.0))
    law = Gamma(2.0)
    with pytest.raises(ValueError, match=r"^delay.mean: a traced value"):
        within(lambda d: sdesim.Delayed(dataclasses.replace(law, mean=d), 0.1, longest=1.0, distributed=True))


def test_rounding_adds_no_slot(float32):
    for delay, dt, steps in ((0.3, 0.1, 3), (1.1, 0.1, 11), (0.7, 0.1, 7), (1.0, 1 / 3, 3), (0.1, 0.3, 1)):
        assert sdesim.Delayed(delay, dt)._slots == steps + 1
