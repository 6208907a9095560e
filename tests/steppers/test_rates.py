"""Learning rates of 0, and times that are sums of many learning rates."""

import contextlib
import functools
import itertools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
import sdesim.training
from sdesim import coupling, objectives
from sdesim.engine import gpu
from sdesim.sums import Sum

AGENTS, DIMS = 3, 2
X = np.random.default_rng(0).normal(size=(AGENTS, DIMS))
SOME = np.array([0.0, 0.05, 0.1])  # one rate an agent
RATES = {
    "warm-up": [0.0, 0.02, 0.05, 0.1, 0.1, 0.1],
    "to 0": [0.1, 0.06, 0.02, 0.0, 0.0, 0.0],
    "0 between": [0.1, 0.0, 0.1, 0.0, 0.0, 0.1],
    "always": [0.0] * 6,
    "some agents": [SOME] * 6,
    "some, then all": [SOME, SOME, 0 * SOME, 0 * SOME, SOME[::-1], SOME],
}
DELTA, K, CENTER = 0.8, 2.0, 3.0
MOMENTA = {"none": None, "heavy ball": sdesim.HeavyBall(DELTA), "nesterov": sdesim.Nesterov(DELTA)}
exact = dict(rtol=1e-12, atol=1e-12)


def by_hand(rates, momentum, order, kicks, mode):
    """EASGD as its paper writes it, in NumPy: agents and center after the iterations."""
    x, v, center = X.copy(), np.zeros_like(X), X.mean(axis=0)
    for eta, zeta in zip(rates, kicks, strict=True):
        mean = np.mean(eta)
        own = np.broadcast_to(mean if mode == "noise" else eta, AGENTS)[:, None]
        noise = np.sqrt(np.broadcast_to(eta, AGENTS) * mean)[:, None] if mode == "noise" else own
        pull = own * K * (center - x)
        old = x
        if order == "gauss-seidel":
            x = x + pull
        point = x + DELTA * v if momentum == "nesterov" else x
        step = -own * (point + 0.5 * np.tanh(point)) + noise * zeta
        v = step if momentum == "none" else DELTA * v + step
        x = x + v if order == "gauss-seidel" else x + v + pull
        center = center + mean * CENTER * ((x if order == "gauss-seidel" else old).mean(axis=0) - center)
    return x, center


def loss(x):
    return jnp.sum(0.5 * x**2 + 0.5 * jnp.log(jnp.cosh(x)))


def model_of(etas, momentum="none", **parts):
    given = dict(
        objective=loss, coupling=sdesim.Elastic(K, CENTER), eta=sdesim.schedules.PerStep(np.asarray(etas, float))
    )
    return sdesim.Dynamics(momentum=MOMENTA[momentum], **(given | parts))


@pytest.mark.parametrize("order", coupling.ORDERS)
@pytest.mark.parametrize("momentum", MOMENTA)
def test_zero_is_a_learning_rate(momentum, order):
    """v <- delta v, x <- x + v: no gradient, no noise, no time."""
    kicks = np.random.default_rng(1).normal(size=(6, AGENTS, DIMS))
    sizes = dict(agents=AGENTS, dims=DIMS, steps=6, init=X, order=order)
    for rates in RATES.values():
        expected = by_hand(rates, momentum, order, kicks, "iteration")
        model = model_of(rates, momentum, noise=sdesim.noise.Gaussian(1.0))
        length = np.sqrt([np.mean(model.matched_step(n)) for n in range(6)])
        given = {sdesim.iterate: kicks, sdesim.simulate: kicks * length[:, None, None]}
        for how, increments in given.items():
            run = how(model, increments=increments[:, None], **sizes)
            np.testing.assert_allclose(run.agents[0], expected[0], **exact)
            np.testing.assert_allclose(run.center[0], expected[1], **exact)
            np.testing.assert_allclose(run.time, [np.sum([np.mean(r) for r in rates])], **exact)


@pytest.mark.parametrize("momentum", ["none", "heavy ball"])
def test_zero_with_noise_rates_and_a_law(momentum):
    """The law's own numbers, so that nothing is 0 for being given as 0; and BS 3.4, where rates are noise alone."""
    rates = RATES["some, then all"]
    model = model_of(rates, momentum, noise=sdesim.noise.Gaussian(1.0), rates="noise")
    sizes = dict(agents=AGENTS, dims=DIMS, steps=6, init=X)
    kicks = np.random.default_rng(1).normal(size=(6, AGENTS, DIMS))
    run = sdesim.iterate(model, increments=kicks[:, None], **sizes)
    np.testing.assert_allclose(run.agents[0], by_hand(rates, momentum, "jacobi", kicks, "noise")[0], **exact)
    em, sgd = (how(model, seed=4, **sizes) for how in (sdesim.simulate, sdesim.iterate))
    np.testing.assert_allclose(em.agents, sgd.agents, **exact)
    still = sdesim.simulate(model_of([0.0] * 6, noise=sdesim.noise.Gaussian(1.0)), seed=4, **sizes)
    np.testing.assert_array_equal(still.agents[0], X)


def test_friction_stands_still_at_zero():
    """Its steps are of length eta; the friction 3/t is not asked for at the end of a step of no length, at t = 0."""
    start = dict(agents=AGENTS, dims=DIMS, init=X, velocity=1.0)
    for mu in (1.5, lambda t: 3 / t):
        model = model_of([0.0, 0.0, 0.1, 0.1], momentum="none", coupling=sdesim.Quorum(K))
        model = sdesim.Dynamics(loss, model.coupling, eta=model.eta, momentum=sdesim.Friction(mu))
        late = sdesim.Dynamics(loss, model.coupling, eta=0.1, momentum=sdesim.Friction(mu))
        for how in (sdesim.simulate, sdesim.iterate):
            np.testing.assert_array_equal(how(model, steps=2, **start).agents[0], X)
            run, other = how(model, steps=4, **start), how(late, steps=2, **start)
            np.testing.assert_allclose(run.agents, other.agents, **exact)


QUICK = ((sdesim.iterate, "none"), (sdesim.simulate, "nesterov"))


@pytest.mark.parametrize(
    ("how", "momentum"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in itertools.product((sdesim.simulate, sdesim.iterate), MOMENTA)
    ],
)
def test_gradients_by_the_rate_are_finite_where_it_is_zero(how, momentum):
    """With respect to one scale of rates that are 0 at some steps, at every scale, 0 too; against differences."""
    shape = np.asarray([SOME, SOME, 0 * SOME, SOME])
    noise = sdesim.noise.Gaussian(1.0)

    def end(scale):
        model = model_of(shape, momentum, eta=sdesim.schedules.PerStep(scale * jnp.asarray(shape)), noise=noise)
        return jnp.sum(how(model, agents=AGENTS, dims=DIMS, steps=4, init=X).agents ** 2)

    for scale in (0.0, 1.0):
        slope = (end(jnp.asarray(scale + 1e-5)) - end(jnp.asarray(scale))) / 1e-5
        for of in (jax.grad, jax.jacfwd):
            np.testing.assert_allclose(of(end)(jnp.asarray(scale)), slope, rtol=1e-3, atol=1e-4)


def test_zero_in_a_sweep_and_with_a_step_of_its_own():
    """A grid of rates with 0 in it; and in continuous time, of which eta is the noise, the gradient flow."""
    grid = [0.0, 0.1]
    sizes = dict(agents=AGENTS, dims=DIMS, steps=5, init=X, seed=2)
    for momentum in MOMENTA:
        model = model_of([0.1], momentum, eta=0.1, noise=sdesim.noise.Gaussian(1.0))
        data = sdesim.sweep(model, {"eta": grid}, **sizes)
        np.testing.assert_array_equal(data["agents"].sel(eta=0.0).isel(sim=0), X)
        alone = sdesim.simulate(model, **sizes)
        np.testing.assert_allclose(data["agents"].sel(eta=0.1), alone.agents, **exact)
    flow = [
        sdesim.Dynamics(loss, sdesim.Quorum(K), eta=eta, noise=sdesim.noise.Gaussian(1.0)) for eta in (0.0, 0 * SOME)
    ]
    silent = sdesim.Dynamics(loss, sdesim.Quorum(K), eta=0.3)
    expected = sdesim.simulate(silent, dt=0.01, **sizes).agents
    for model in flow:
        np.testing.assert_allclose(sdesim.simulate(model, dt=0.01, **sizes).agents, expected, **exact)


@pytest.mark.relaxed  # optax mixes types
def test_zero_in_training():
    """EASGD with Nesterov's momentum, as the trainer steps it."""
    silent = np.zeros((6, AGENTS, DIMS))
    algorithm = sdesim.training.Algorithm(sdesim.Elastic(K, CENTER), DELTA)
    gradients = lambda point: (jax.vmap(jax.grad(loss))(point), None)
    for rates in RATES.values():
        x = jnp.asarray(X)
        optimizer = algorithm.optimizer().init(x)
        for eta in rates:
            eta = jnp.broadcast_to(jnp.asarray(eta), AGENTS)
            x, optimizer, _ = sdesim.training.step.agents_step(algorithm, gradients, x, optimizer, eta)
        expected, center = by_hand(rates, "nesterov", "jacobi", silent, "iteration")
        np.testing.assert_allclose(x, expected, **exact)
        np.testing.assert_allclose(algorithm.center(x, optimizer), center, **exact)


@pytest.mark.usefixtures("float32")
def test_zero_in_the_kernel():
    """Interpreted: rates of the step, one an agent, all 0 at some."""
    rates = lambda n: jnp.asarray(SOME, jnp.float32) * (n % 3 < 2).astype(jnp.float32)
    for momentum in (None, sdesim.HeavyBall(DELTA)):
        model = sdesim.Dynamics(
            objectives.LogCosh(), sdesim.Elastic(K, CENTER), sdesim.noise.Uniform(1.0),
            rates, momentum,
        )  # fmt: skip
        run = sdesim.simulate(model, agents=AGENTS, sims=5, steps=6, init=X[:, :1], seed=3)
        state = sdesim.simulate(model, agents=AGENTS, sims=5, steps=0, init=X[:, :1], seed=3).state
        plan = sdesim.engine.plan.Plan(AGENTS, 1, None, None)
        numbers, words = jnp.arange(5, dtype=jnp.uint32), sdesim.random.seed_words(3)
        how = dict(backend="triton", interpret=True)
        fused = gpu.advance(plan, sdesim.EulerMaruyama(), model, None, state, numbers, words, 0, 6, **how)
        np.testing.assert_allclose(jnp.moveaxis(fused.x, -1, 0), run.agents, rtol=0, atol=2e-6)
        np.testing.assert_allclose(fused.clock.total(), run.state.clock.total(), rtol=1e-6)


@pytest.mark.relaxed
def test_diffrax_passes_over_steps_of_no_length():
    sizes = dict(key=jax.random.key(0), t1=0.3, dt0=0.01)
    ends = []
    for rates in ([0.0, 0.0, 0.01, 0.01, 0.0], [0.01, 0.01]):
        model = model_of(rates, "heavy ball", noise=sdesim.noise.Gaussian(1.0))
        ends.append(sdesim.diffrax_solve(model, jnp.asarray(X), steps=len(rates), **sizes).ys.x)
    assert np.isfinite(ends[0]).all()
    np.testing.assert_allclose(*ends, **exact)


def test_an_epoch_is_asked_for_by_rules_that_jump():
    model = sdesim.Dynamics(loss, sdesim.Spiking(1.0, 5.0, 0.2, 0.3))
    for how in (sdesim.simulate, sdesim.iterate, functools.partial(sdesim.sweep, grid={"coupling.k": [1.0]})):
        with pytest.raises(ValueError, match=r"^epoch=None: Spiking jumps at the start of each epoch; give epoch="):
            how(model, agents=3, steps=10)
    with pytest.raises(ValueError, match=r"^coupling=Spiking: jumps at epochs"):
        sdesim.diffrax_solve(model, jnp.asarray(X), key=jax.random.key(0), t1=1.0, dt0=0.1)
    with pytest.raises(ValueError, match=r"^velocity_coupling=Spiking: jumps at epochs"):
        sdesim.Dynamics(loss, momentum=sdesim.HeavyBall(0.9), velocity_coupling=model.coupling)


# -- sums that last --------------------------------------------------------------------------------------------------


def counted(terms, steps):
    return jax.jit(lambda total, n: jax.lax.fori_loop(0, n, lambda i, s: s.plus(terms(i)), total))(
        Sum.of(jnp.zeros((), jnp.float32)), steps
    )


@pytest.mark.parametrize(("steps", "rtol"), [(10**6, 1e-8), pytest.param(10**8, 2**-24, marks=pytest.mark.slow)])
def test_a_sum_is_right_over_any_number_of_terms(float32, steps, rtol):
    """Each addition rounds the rest, in the 48th binary digit of the sum: 10^8 alike may cost it the 22nd, and cost
    less than float32's own rounding, half of the 24th."""
    for eta in np.float32([1e-3, 0.05, 0.07, 3.3e-5]):
        got = counted(lambda i: jnp.asarray(eta), steps)  # noqa: B023
        assert got.value == np.float32(float(eta) * steps)
        np.testing.assert_allclose(got.total(), float(eta) * steps, rtol=rtol)
    falling = counted(lambda i: jnp.float32(0.1) * jnp.exp2(-jnp.float32(10.0 / steps) * i.astype(jnp.float32)), steps)
    np.testing.assert_allclose(falling.total(), 0.1 * steps * (1 - 2**-10.0) / (10 * np.log(2)), rtol=1e-5)


LATE = 1e5  # 10^8 steps of 10^-3


def late(result):
    """A result as it would be after 10^8 steps."""
    clock = Sum(jnp.full_like(result.time, LATE), jnp.zeros_like(result.time))
    return sdesim.results.result.dataclasses.replace(result, state=result.state._replace(clock=clock))


def test_time_goes_on_after_many_steps(float32):
    """By a schedule too; and what depends on it sees it."""
    eta = lambda n: jnp.where(n % 2 == 0, 1e-3, 2e-3)
    model = sdesim.Dynamics(loss, sdesim.Quorum(lambda x, t: 1 + t), eta=eta)
    run = sdesim.simulate(model, agents=2, sims=3, steps=2, init=X[:1, :1])
    on = sdesim.simulate(model, steps=20_000, init=late(run))
    np.testing.assert_allclose(on.time, np.float32(LATE + 30.0), rtol=6e-8)


SPIKES = [(0.07, 10), (0.05, 10), (0.03, 20), (0.1, 7), (1e-3, 100)]


class Gains(sdesim.observe.AbstractSeries):
    name = "gains"

    def value(self, view):
        return jnp.max(view.model.coupling.gains(view.state.shared, view.state.t, view.mean.agents))


@pytest.mark.parametrize(("eta", "length"), SPIKES)
def test_a_spike_lasts_its_iterations(float32, eta, length):
    """At t >= T all gains are k/p: T a number of iterations times eta is so many iterations, in every epoch."""
    epoch, k, agents = 2 * length, 2.0, 4
    rule = sdesim.Spiking(k, 5.0, 2 * length * eta, length * eta)
    on = np.arange(20 * epoch) % epoch < length
    schedule = lambda n: jnp.asarray(eta) + 0 * n.astype(jnp.float32)
    for how, given in ((sdesim.simulate, eta), (sdesim.iterate, schedule), (sdesim.simulate, np.full(agents, eta))):
        model = sdesim.Dynamics(objectives.Quadratic(0.0), rule, eta=given)
        sizes = dict(agents=agents, epoch=epoch, observe=Gains(), every=1)
        run = how(model, steps=20 * epoch, init=X[:1, :1], **sizes)
        gains = np.asarray(run.observed["gains"])[0, 1:-1]
        # A record shows the gains before the epoch's jump, so an epoch's first is the one before it.
        seen = gains > k / agents * 1.01
        keep = np.arange(1, 20 * epoch) % epoch != 0
        np.testing.assert_array_equal(seen[keep], on[1:][keep])
        after = how(model, steps=2 * epoch, init=late(run), **sizes)
        seen = np.asarray(after.observed["gains"])[0, 1:-1] > k / agents * 1.01
        np.testing.assert_array_equal(seen[keep[: 2 * epoch - 1]], on[1 : 2 * epoch][keep[: 2 * epoch - 1]])


@pytest.mark.parametrize(("eta", "length"), SPIKES)
def test_a_spike_lasts_its_iterations_in_training(float32, eta, length):
    rule = sdesim.Spiking(2.0, 5.0, 2 * length * eta, length * eta)
    couple = sdesim.couple(rule, 0.5 * eta, clock=eta)
    params = jnp.zeros((4, 2), jnp.float32)
    state = couple.init(params)
    step = jax.jit(lambda s: (couple.update(params, s, params)[1], jnp.max(rule.gains(s.shared, s.t, 4))))
    for _ in range(5):
        state = couple.renew(params, state, jnp.arange(4.0))
        seen = []
        for _ in range(2 * length):
            state, gain = step(state)
            seen.append(float(gain) > 2.0 / 4 * 1.01)
        assert seen == [True] * length + [False] * length


@pytest.mark.parametrize(
    ("eta", "said"),
    [
        (lambda n: 0.05 - 0.01 * n.astype(float), r"^eta=-0.01 at step 6: must be finite and at least 0"),
        (lambda n: 0.1 / n.astype(float), r"^eta=inf at step 0: must be finite and at least 0"),
        (
            lambda n: 0.1 * jnp.ones(2),
            r"^eta: the function returns shape \(2,\); it must be \(\) or \(3,\)",
        ),
    ],
)
def test_a_schedule_is_looked_at(eta, said):
    model = sdesim.Dynamics(loss, eta=eta)
    for how in (sdesim.simulate, sdesim.iterate, functools.partial(sdesim.sweep, grid={"batch": [1.0]})):
        with pytest.raises(ValueError, match=said):
            how(model, agents=3, steps=10)


def test_steps_of_a_length_of_their_own_want_a_rate():
    """dx = v dt / h: at eta = 0 the displacement of an iteration takes no time."""
    said = r"^dt: eta=0 at step 2, where an iteration with momentum has no time to divide; leave dt out"
    with pytest.raises(ValueError, match=said):
        sdesim.simulate(model_of([0.1, 0.1, 0.0], "heavy ball"), steps=5, dt=0.01)
    with pytest.raises(ValueError, match=r"^dt: eta=0, where"):
        sdesim.sweep(model_of([0.1], "nesterov", eta=0.1), {"eta": [0.0, 0.1]}, steps=5, dt=0.01)

    class Heavier(sdesim.HeavyBall):
        """A user's own."""

    with pytest.raises(ValueError, match=r"^dt: eta=0, where"):
        sdesim.simulate(sdesim.Dynamics(loss, eta=0.0, momentum=Heavier(0.9)), steps=2, dt=0.01)
    sdesim.simulate(sdesim.Dynamics(loss, eta=0.0, momentum=sdesim.Friction(1.0)), steps=2, dt=0.01)


LAST = 10**8  # records already made


def test_summaries_of_many_records(float32):
    """On top of 10^8 records: moments, shares and counts go on by what is added, where float32 alone stands still."""
    observe = sdesim.observe
    watch = [observe.Moments(), observe.Histogram(-1.0, 1.0, 2), observe.Occupancy(np.array([0.5]), 0.1)]
    more = 4000
    x = np.random.default_rng(0).normal(0.5, 0.3, (more, AGENTS, 1)).astype(np.float32)
    view = lambda a: observe.View(
        sdesim.dynamics.State(a, *[None] * 6), jnp.int32(1), None, coupling.ArrayMean(AGENTS), a[0]
    )
    seen = jax.jit(lambda totals: jax.lax.scan(
        lambda totals, a: (tuple(o.update(t, view(a)) for o, t in zip(watch, totals, strict=True)), None), totals, x
    )[0])  # fmt: skip
    empty = tuple(o.init(view(jnp.asarray(x[0]))) for o in watch)
    before = jnp.asarray(LAST, jnp.int32)
    running = type(empty[0][1])
    at = lambda total, mean, var: running(
        Sum.of(jnp.full_like(total.mean.value, mean)), Sum.of(jnp.full_like(total.square.value, var * LAST))
    )
    full = lambda total, value: Sum.of(jnp.full_like(total.value, value))
    totals = (
        (before, at(empty[0][1], 0.25, 0.5), at(empty[0][2], 0.25, 0.5)),
        full(empty[1], LAST),
        (before, full(empty[2][1], 0.25 * LAST), full(empty[2][2], 0.25 * LAST)),
    )
    moments, counts, shares = seen(totals)
    assert moments[0] == shares[0] == LAST + more
    for total, values in ((moments[1], x), (moments[2], x.mean(axis=1))):
        count, values = LAST + more, values.astype(float)
        mean = (0.25 * LAST + values.sum(axis=0)) / count
        square = 0.5 * LAST + values.var(axis=0) * more + LAST * more / count * (values.mean(axis=0) - 0.25) ** 2
        np.testing.assert_allclose(total.mean.total() - 0.25, mean - 0.25, rtol=1e-4)
        np.testing.assert_allclose(total.square.total() - 0.5 * LAST, square - 0.5 * LAST, rtol=1e-3)
    bins = np.histogram(x, [-np.inf, -1, 0, 1, np.inf])[0]
    np.testing.assert_array_equal(counts.total(), LAST + bins)
    near = np.abs(x - 0.5)[..., 0] < 0.1
    np.testing.assert_allclose(shares[1].total() - 0.25 * LAST, [near.mean(axis=1).sum()], rtol=1e-5)


@pytest.mark.slow
def test_moments_and_shares_over_sixteen_million_records(float32):
    """x is a standard normal of its own at every step."""
    model = sdesim.Dynamics(objectives.Quadratic(1.0), noise=sdesim.noise.Gaussian(1.0), eta=1.0)
    watch = [
        sdesim.observe.Occupancy(np.array([0.0]), 0.2),
        sdesim.observe.Moments(),
        sdesim.observe.Histogram(-9, 0, 1),
    ]
    steps = 16_000_000
    seen = sdesim.simulate(model, agents=3, steps=steps, observe=watch, every=1, seed=5).observed
    share = math.erf(0.2 / math.sqrt(2))
    assert abs(seen["moments_agents_var"][0, 0] - 1) < 4 * math.sqrt(2 / 3 / steps)
    assert abs(seen["occupancy_agents"][0, 0] - share) < 4 * math.sqrt(share * (1 - share) / 3 / steps)
    assert seen["histogram_count"].sum() == 3 * steps
    assert abs(seen["histogram_count"][0, 1] / (3 * steps) - 0.5) < 4 * 0.5 / math.sqrt(3 * steps)


def test_counts_beyond_an_integer_survive_a_file(float32, tmp_path):
    model = sdesim.Dynamics(loss)
    run = sdesim.simulate(model, agents=2, steps=4, observe=sdesim.observe.Histogram(-1, 1, 2), every=1)
    run.observed["histogram_count"] = run.observed["histogram_count"] + 2.0**40 + 1
    run.save(tmp_path / "run.nc")
    np.testing.assert_array_equal(
        sdesim.load(tmp_path / "run.nc").observed["histogram_count"], run.observed["histogram_count"]
    )


def test_summaries_of_nothing_are_refused():
    model = sdesim.Dynamics(loss)
    for watch in (sdesim.observe.Moments(10), sdesim.observe.Occupancy(np.zeros(1), 1.0, 25)):
        with pytest.raises(ValueError, match=rf"^after={int(watch.after)}: must be less than 9, the last step"):
            sdesim.simulate(model, steps=11, observe=watch, every=3)
    with pytest.raises(ValueError, match=r"^every=20: moments sums up records, and there is none in 11 steps"):
        sdesim.sweep(model, {"batch": [1.0]}, steps=11, observe=sdesim.observe.Moments(), every=20)
    nothing = sdesim.simulate(model, steps=0, observe=sdesim.observe.Moments()).observed
    assert np.isnan(nothing["moments_agents_mean"]).all() and np.isnan(nothing["moments_quorum_var"]).all()


class Records(sdesim.observe.AbstractAccumulator):
    """A user's count of records, which wants some of them; `after` is a word of its own."""

    after: Any
    name = "records"
    axes: ClassVar = {"count": ()}

    def check_records(self, first, every, steps):
        if steps // every < 3:
            raise ValueError(f"every={every}: three records are needed")

    def init(self, view):
        return jnp.zeros((), jnp.int32)

    def update(self, total, view):
        return total + 1

    def finish(self, total):
        return {"count": total}


def test_an_observable_says_itself_which_records_it_needs():
    run = lambda every: sdesim.simulate(sdesim.Dynamics(loss), steps=9, observe=Records(100), every=every)
    assert run(3).observed["records_count"] == 3
    with pytest.raises(ValueError, match=r"^every=4: three records are needed$"):
        run(4)


class LateRecords(Records):
    check_records = sdesim.observe.AbstractAccumulator.check_records

    def starts_after(self):
        return self.after


def test_an_accumulator_of_ones_own_that_starts_too_late():
    for after, said in ((9, "^after=9: must be less than 9, the last step at which records looks"), (8, None)):
        with pytest.raises(ValueError, match=said) if said else contextlib.nullcontext():
            sdesim.simulate(sdesim.Dynamics(loss), steps=9, observe=LateRecords(after), every=3)
