"""`simulate` and `iterate`: splitting, continuing, saving, schedules, orders, divergence, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import init, noise, observe, schedules

LOSS = sdesim.objectives.LogCosh(0.5)
exact = dict(rtol=0, atol=1e-11)


def model_of(**parts):
    defaults = dict(objective=LOSS, coupling=sdesim.Elastic(0.5, 1.0), noise=noise.Gaussian(1.0), eta=0.05)
    return sdesim.Dynamics(**(defaults | parts))


VARIANTS = {
    "elastic": (model_of(), {}),
    "quorum of uniform noise": (model_of(coupling=sdesim.Quorum(2.0), noise=noise.Uniform(3.0)), {}),
    "nesterov": (model_of(momentum=sdesim.Nesterov(0.9)), {}),
    "time-dependent friction": (model_of(momentum=sdesim.Friction(lambda t: 3 / t), coupling=sdesim.Quorum(1.0)), {}),
    "velocity coupling": (model_of(momentum=sdesim.Friction(1.0), velocity_coupling=sdesim.Elastic(0.5, 1.0)), {}),
    "halving": (model_of(eta=schedules.Halving(0.1, 7, 0.02)), {}),
    "spiking": (model_of(coupling=sdesim.Spiking(1.0, 5.0, 0.2, 0.3)), dict(epoch=9)),
    "tree": (model_of(coupling=sdesim.Tree(0.5, (2, 2))), dict(order="gauss-seidel")),
    "small steps": (model_of(), dict(dt=0.01)),
    "second order": (model_of(weak_order=2), {}),
}
SIZES = dict(agents=4, dims=2, sims=6, seed=2**40 + 3)


def go(name, steps, **options):
    model, special = VARIANTS[name]
    sizes = {} if isinstance(options.get("init"), sdesim.Result) else SIZES | {"init": init.Normal(0.5, 1.0)}
    return sdesim.simulate(model, steps=steps, **(sizes | special | options))


def same(a, b):
    for one, other in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True):
        np.testing.assert_allclose(one, other, **exact)
    np.testing.assert_allclose(a.agents, b.agents, **exact)
    np.testing.assert_allclose(a.center, b.center, **exact)
    assert a.step == b.step


# -- splitting and continuing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_parts_make_the_whole(name, tmp_path):
    """Simulations in two batches; steps in three runs, one of which starts from a file; all of it in one."""
    whole = go(name, 40)
    first, second = go(name, 40, sims=2), go(name, 40, sims=4, first_sim=2)
    np.testing.assert_allclose(np.concatenate([first.agents, second.agents]), whole.agents, **exact)

    part = go(name, 11)
    part.save(tmp_path / "part.nc")
    on = go(name, 14, init=sdesim.load(tmp_path / "part.nc"))
    same(go(name, 15, init=on), whole)
    assert whole.step == 40
    # The noise of the steps matters: starting again from the same agents is another run.
    again = go(name, 29, init=part.agents)
    assert np.abs(np.asarray(again.agents - whole.agents)).max() > 1e-3


@pytest.mark.parametrize("name", ["elastic", "nesterov", "spiking"])
def test_chunks_are_invisible(name):
    """A large run looks up for progress and divergence every few dozen steps, a small one never: they are the same."""
    sizes = dict(steps=180, observe=observe.Spread(), every=4)
    large, small = go(name, sims=6000, **sizes), go(name, sims=3, **sizes)
    # Contracting dynamics: rounding does not grow, so the tolerance is that of a few steps.
    np.testing.assert_allclose(large.agents[:3], small.agents, **exact)
    np.testing.assert_allclose(large.center[:3], small.center, **exact)
    np.testing.assert_allclose(large.observed["spread"][:3], small.observed["spread"], **exact)


def test_records_of_a_continued_run_go_on():
    whole = go("spiking", 40, observe=observe.Quorum(), every=5)
    part = go("spiking", 20, observe=observe.Quorum(), every=5)
    rest = go("spiking", 20, init=part, observe=observe.Quorum(), every=5)
    np.testing.assert_array_equal(np.concatenate([part.records, rest.records[1:]]), whole.records)
    joined = np.concatenate([part.observed["quorum"], rest.observed["quorum"][:, 1:]], axis=1)
    np.testing.assert_allclose(joined, whole.observed["quorum"], **exact)


def test_file_holds_everything(tmp_path):
    result = go("nesterov", 20, observe=[observe.Spread(), observe.Quorum(), observe.Moments()], every=5)
    result.save(tmp_path / "run.nc")
    loaded = sdesim.load(tmp_path / "run.nc")
    for name in ("agents", "quorum", "center", "velocity", "diverged", "records", "time"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name), err_msg=name)
    for name in ("step", "seed", "first_sim", "settings", "sizes", "observed_axes"):
        assert getattr(loaded, name) == getattr(result, name), name
    assert set(loaded.observed) == set(result.observed)
    for name, values in result.observed.items():
        np.testing.assert_array_equal(loaded.observed[name], values, err_msg=name)
    assert loaded.seed == 2**40 + 3


def test_continuing_keeps_sizes_and_form():
    part = go("elastic", 3)
    with pytest.raises(ValueError, match=r"^agents=5: the result that init continues has agents=4; leave it out"):
        go("elastic", 3, init=part, agents=5)
    with pytest.raises(ValueError, match=r"^seed=1: the result that init continues has seed="):
        go("elastic", 3, init=part, seed=1)
    with pytest.raises(ValueError, match=r"^init: the result to continue has another state"):
        go("nesterov", 3, init=part)
    with pytest.raises(ValueError, match=r"^init: the result to continue has another state"):
        sdesim.simulate(VARIANTS["quorum of uniform noise"][0], steps=3, init=part)


def test_a_file_of_something_else_is_refused(tmp_path):
    sdesim.results.datasets.write_dataset(
        go("elastic", 1).to_xarray().assign_attrs(sdesim_kind="other"), tmp_path / "other.nc"
    )
    with pytest.raises(ValueError, match=r"^path=.*other.nc.*its sdesim_kind='other': must be one of"):
        sdesim.load(tmp_path / "other.nc")
    with pytest.raises(FileNotFoundError):
        sdesim.load(tmp_path / "none.nc")


# -- steps and their meaning -----------------------------------------------------------------------------------------


def by_hand(x, dw, *, etas, k, center_rate, order, clock, exchange=lambda n: True):
    """EASGD on log cosh x + x^2 / 4 in NumPy; etas[n] a number or one an agent, `clock` the time of a step."""
    center = x.mean(0)
    for n, z in enumerate(dw):
        own, tick = np.reshape(np.broadcast_to(etas[n], len(x)), (-1, 1)), clock[n] * exchange(n)
        scale = own / clock[n]
        if order == "gauss-seidel":
            x = x + scale * tick * k * (center - x)
            x = x + own * (z - np.tanh(x) - 0.5 * x)
            center = center + clock[n] * exchange(n + 1) * center_rate * (x.mean(0) - center)
        else:
            new = x + own * (z - np.tanh(x) - 0.5 * x) + scale * tick * k * (center - x)
            center, x = center + tick * center_rate * (x.mean(0) - center), new
    return x, center


X = np.random.default_rng(0).normal(size=(3, 2))
Z = np.random.default_rng(1).normal(size=(12, 1, 3, 2))
ETAS = np.array([0.02, 0.05, 0.11])


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
@pytest.mark.parametrize("kind", ["constant", "own", "halving", "own by step"])
def test_iteration_by_hand(kind, order):
    """Constant, one a step and one an agent: the learning rates scale drift, pull and noise of each agent alike."""
    steps = len(Z)
    eta, etas = {
        "constant": (0.05, [0.05] * steps),
        "own": (ETAS, [ETAS] * steps),
        "halving": (schedules.Halving(0.1, 3, 0.02), [max(0.1 / 2 ** (n // 3), 0.02) for n in range(steps)]),
        "own by step": (lambda n: jnp.asarray(ETAS) / (1.0 + n.astype(float)), [ETAS / (1 + n) for n in range(steps)]),
    }[kind]
    clock = [np.mean(e) for e in etas]
    expected = by_hand(X, Z[:, 0], etas=etas, k=2.0, center_rate=3.0, order=order, clock=clock)
    model = model_of(coupling=sdesim.Elastic(2.0, 3.0), eta=eta)
    sizes = dict(agents=3, dims=2, steps=steps, init=X, order=order)
    sgd = sdesim.iterate(model, increments=Z, **sizes)
    brownian = Z * np.sqrt(np.array(clock))[:, None, None, None]
    sde = sdesim.simulate(model, increments=brownian, **sizes)
    for result in (sgd, sde):
        np.testing.assert_allclose(result.agents[0], expected[0], **exact)
        np.testing.assert_allclose(result.center[0], expected[1], **exact)
        np.testing.assert_allclose(result.time, [sum(clock)], **exact)


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
@pytest.mark.parametrize("period", [2, 5, 100])
def test_communication_period(period, order):
    """Agents communicate at the steps that the period divides, step 0 among them, and run alone between; in
    Gauss-Seidel order the center follows after the last step before."""
    steps = len(Z)
    given = dict(etas=[0.05] * steps, k=2.0, center_rate=3.0, order=order, clock=[0.05] * steps)
    expected = by_hand(X, Z[:, 0], exchange=lambda n: n % period == 0, **given)
    model = model_of(coupling=sdesim.Elastic(2.0, 3.0))
    options = dict(agents=3, dims=2, init=X, order=order, period=period)
    result = sdesim.iterate(model, steps=steps, increments=Z, **options)
    np.testing.assert_allclose(result.agents[0], expected[0], **exact)
    np.testing.assert_allclose(result.center[0], expected[1], **exact)
    part = sdesim.iterate(model, steps=7, increments=Z[:7], **options)
    on = sdesim.iterate(model, steps=5, increments=Z[7:], init=part, order=order, period=period)
    np.testing.assert_allclose(on.agents, result.agents, **exact)


def test_noise_rates_leave_the_drift_common():
    """BS 3.4: agent i has noise of covariance eta_i / b_i, and all one clock, that of the mean rate."""
    batch = np.array([1.0, 2.0, 4.0])
    model = model_of(coupling=sdesim.Uncoupled(), eta=ETAS, batch=batch, rates="noise")
    dw = Z[:1] * 0.1
    x = sdesim.simulate(model, agents=3, dims=2, steps=1, init=X, increments=dw, dt=0.01).agents[0]
    expected = X - 0.01 * (np.tanh(X) + 0.5 * X) + np.sqrt(ETAS / batch)[:, None] * dw[0, 0]
    np.testing.assert_allclose(x, expected, **exact)


def test_iteration_rates_in_the_sde():
    """Time is that of the mean rate; an agent's own steps scale its drift by eta_i / eta and its noise by as much."""
    model = model_of(coupling=sdesim.Uncoupled(), eta=ETAS)
    mean, dw = ETAS.mean(), Z[:1] * 0.1
    x = sdesim.simulate(model, agents=3, dims=2, steps=1, init=X, increments=dw, dt=0.01).agents[0]
    scale = (ETAS / mean)[:, None]
    expected = X - 0.01 * scale * (np.tanh(X) + 0.5 * X) + np.sqrt(mean) * scale * dw[0, 0]
    np.testing.assert_allclose(x, expected, **exact)


def test_epochs_start_at_multiples():
    """Before step 0, 5, 10 ...: the spike's time and leader are those of the last epoch."""
    model = model_of(coupling=sdesim.Spiking(1.0, 5.0, 0.2, 0.3), noise=noise.Silent())
    result = sdesim.simulate(model, agents=3, dims=2, steps=13, init=X, epoch=5)
    np.testing.assert_allclose(result.state.t - result.state.shared["start"], [3 * 0.05], **exact)
    np.testing.assert_allclose(result.time, [13 * 0.05], **exact)
    leader = np.argmin(np.sum(0.25 * X**2 + np.log(np.cosh(X)), axis=1))
    fresh = sdesim.simulate(model, agents=3, dims=2, steps=1, init=X, epoch=5)
    assert int(fresh.state.shared["best"].item()) == leader


# -- initial states --------------------------------------------------------------------------------------------------


def start(law, **sizes):
    return np.asarray(sdesim.simulate(model_of(), steps=0, init=law, **({"sims": 4000, "agents": 2} | sizes)).agents)


def test_initial_laws(z_scores):
    uniform, normal = start(init.Uniform(-3, 1)), start(init.Normal(2.0, 0.5))
    assert uniform.min() > -3 and uniform.max() < 1
    assert abs(z_scores(uniform.ravel(), -1.0)) < 4.5 and abs(z_scores((uniform.ravel() + 1) ** 2, 16 / 12)) < 4.5
    assert abs(z_scores(normal.ravel(), 2.0)) < 4.5 and abs(z_scores((normal.ravel() - 2) ** 2, 0.25)) < 4.5
    assert abs(np.corrcoef(uniform[:, 0, 0], uniform[:, 1, 0])[0, 1]) < 4.5 / np.sqrt(4000)
    # A draw belongs to (seed, simulation, agent, coordinate).
    np.testing.assert_array_equal(start(init.Normal(2.0, 0.5), first_sim=100, sims=3), normal[100:103])
    np.testing.assert_array_equal(start(init.Normal(2.0, 0.5), agents=5, dims=2, sims=3)[:, :2, :1], normal[:3])
    assert np.all(start(init.Point(0.7)) == 0.7) and np.all(start(None) == 0)


@pytest.mark.parametrize("shape", [(), (2,), (4, 2), (6, 4, 2), (1, 4, 2), (6, 1, 2)])
def test_initial_arrays(shape):
    x = np.random.default_rng(0).normal(size=shape)
    for law in (x, jnp.asarray(x), x.tolist()):
        np.testing.assert_array_equal(start(law, sims=6, agents=4, dims=2), np.broadcast_to(x, (6, 4, 2)))


def test_initial_velocity():
    """In displacements of one matched step: the first step moves by (1 - friction) v."""
    model = model_of(momentum=sdesim.HeavyBall(0.8), coupling=sdesim.Uncoupled(), noise=noise.Silent())
    v = np.array([[0.3], [-0.1]])
    result = sdesim.simulate(model, agents=2, steps=1, velocity=v)
    np.testing.assert_allclose(result.agents[0], 0.8 * v, **exact)
    np.testing.assert_allclose(result.velocity[0], 0.8 * v / np.sqrt(0.05), **exact)
    drawn = sdesim.simulate(model, agents=2, sims=9, steps=0, velocity=init.Normal(), init=init.Normal())
    assert not np.allclose(drawn.velocity * np.sqrt(0.05), drawn.agents)


# -- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epoch", "every"), [(None, None), (None, 7), (100, 30), (64, None)])
@pytest.mark.parametrize("momentum", [None, sdesim.HeavyBall(0.9)], ids=["plain", "momentum"])
def test_divergence_is_dated_to_the_step(momentum, epoch, every):
    """Against all snapshots; simulations that stay finite are untouched."""
    model = sdesim.Dynamics(lambda x: -jnp.sum(x**4), coupling=sdesim.Quorum(0.5), eta=0.001, momentum=momentum)
    starts = np.array([1.0, 0.0, 0.6, 0.9])[:, None, None] * np.array([[1.0], [0.9]])
    sizes = dict(agents=2, sims=4, steps=400, init=starts, epoch=epoch)
    with pytest.warns(sdesim.DivergenceWarning):
        full = sdesim.simulate(model, observe=observe.Snapshot(), every=1, **sizes).observed["snapshot"]
    finite = np.isfinite(np.asarray(full)).all(axis=(2, 3))
    expected = np.where(finite.all(axis=1), -1, (~finite).argmax(axis=1))
    assert expected[0] > 0 and expected[1] == -1 and expected[2] > expected[3] > expected[0]
    watch = dict(observe=observe.Spread(), every=every) if every else {}
    message = rf"^3 of 4 simulations \(75.0%\) diverged; the first at step {expected[0]} \(simulation 0\)"
    with pytest.warns(sdesim.DivergenceWarning, match=message):
        result = sdesim.simulate(model, **sizes, **watch)
    np.testing.assert_array_equal(result.diverged, expected)
    assert not np.isfinite(np.asarray(result.agents[0])).all() and np.all(np.asarray(result.agents[1]) == 0)


def test_a_continued_run_stays_diverged(tmp_path):
    model = sdesim.Dynamics(lambda x: -jnp.sum(x**4), eta=0.1)
    with pytest.warns(sdesim.DivergenceWarning):
        part = sdesim.simulate(model, sims=2, steps=30, init=np.array([[[2.0]], [[0.0]]]))
    part.save(tmp_path / "part.nc")
    with pytest.warns(sdesim.DivergenceWarning):
        on = sdesim.simulate(model, steps=30, init=sdesim.load(tmp_path / "part.nc"))
    np.testing.assert_array_equal(on.diverged, part.diverged)
    assert 0 < on.diverged[0] < 30 and on.diverged[1] == -1


# -- memory ----------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_refused_with_what_fits():
    sizes = dict(agents=10, dims=5, steps=100, init=0.1)
    with pytest.raises(
        MemoryError, match=r"^memory=100000: 1000 simulations of 10 agents in 5 dimensions need about .*sims=(\d+)"
    ) as e:
        sdesim.simulate(model_of(), sims=1000, memory=100_000, **sizes)
    fits = int(str(e.value).split("sims=")[1].split()[0])
    assert 0 < fits < 1000
    sdesim.simulate(model_of(), sims=fits, memory=100_000, **sizes)
    with pytest.raises(MemoryError, match="fewer agents or dims"):
        sdesim.simulate(model_of(), sims=1, memory=10, **sizes)


def test_absurd_sizes_are_refused_before_allocating():
    with pytest.raises(MemoryError, match="GiB are free"):
        sdesim.simulate(model_of(), agents=1000, dims=1000, sims=10**6, steps=10)
    with pytest.raises(MemoryError, match="GiB are free"):
        sdesim.simulate(model_of(), agents=100, sims=1000, steps=10**8, observe=observe.Snapshot(), every=1)


# -- as users run it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [{}, dict(momentum=lambda: sdesim.Nesterov(0.9)), dict(coupling=lambda: sdesim.Spiking(1.0, 5.0, 0.2, 0.3))],
    ids=["elastic", "nesterov", "spiking"],
)
def test_float32(parts):
    """The same run in float32: the noise is the same, and 20 steps do no more than round."""

    def run():
        made = {name: make() for name, make in parts.items()}  # numbers become arrays of the precision in force
        fresh = dict(objective=sdesim.objectives.LogCosh(0.5), coupling=sdesim.Elastic(0.5, 1.0))
        watch = [observe.Spread(), observe.Moments()]
        return sdesim.simulate(
            model_of(**(fresh | made | {"noise": noise.Gaussian(1.0)})), **SIZES, steps=20, init=init.Normal(0.5, 1.0),
            epoch=9, observe=watch, every=2,
        )  # fmt: skip

    double = run()
    with jax.enable_x64(False):
        single = run()
    assert all(leaf.dtype != jnp.float64 for leaf in jax.tree.leaves((single.state, single.observed)))
    assert single.agents.dtype == single.observed["spread"].dtype == jnp.float32
    np.testing.assert_allclose(single.agents, double.agents, rtol=0, atol=2e-5)
    np.testing.assert_allclose(single.observed["spread"], double.observed["spread"], rtol=1e-4)
