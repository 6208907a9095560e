"""Corners where parts meet: precision, files, tracing, sweeps, schedules with momentum."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise


def bowl(x):
    return 0.5 * jnp.sum(x * x)


def model(**changes):
    return sdesim.Dynamics(
        bowl, **{"coupling": sdesim.Quorum(1.0), "noise": noise.Gaussian(1.0), "eta": 0.05, **changes}
    )


RUN = dict(agents=4, sims=3, init=sdesim.init.Uniform(-1, 1))


def test_friction_keeps_its_velocity_when_the_noise_scale_changes():
    """An undamped oscillator without noise knows nothing of eta: x = cos t, in any schedule, and when continued."""
    run = dict(agents=1, sims=1, init=1.0, dt=1e-3)
    for eta in (0.1, 0.02, sdesim.schedules.Halving(0.1, 200, 0.001)):
        r = sdesim.simulate(sdesim.Dynamics(bowl, eta=eta, momentum=sdesim.Friction(0.0)), steps=1000, **run)
        assert float(r.quorum[0, 0]) == pytest.approx(np.cos(1.0), abs=1e-3)
        assert float(r.velocity[0, 0, 0]) == pytest.approx(-np.sin(1.0), abs=1e-3)
    half = sdesim.simulate(sdesim.Dynamics(bowl, eta=0.1, momentum=sdesim.Friction(0.0)), steps=500, **run)
    other = sdesim.Dynamics(bowl, eta=0.01, momentum=sdesim.Friction(0.0))
    rest = sdesim.simulate(other, steps=500, init=half, dt=1e-3)
    assert float(rest.quorum[0, 0]) == pytest.approx(np.cos(1.0), abs=1e-3)


def test_iterations_keep_their_displacement_when_the_learning_rate_changes():
    """The algorithm's own v <- delta v - eta g, written out, under a schedule."""
    schedule = sdesim.schedules.Halving(0.1, 5, 0.01)
    r = sdesim.simulate(
        sdesim.Dynamics(bowl, eta=schedule, momentum=sdesim.HeavyBall(0.9)), agents=1, sims=1, steps=20, init=1.0
    )
    x, v = 1.0, 0.0
    for n in range(20):
        v = 0.9 * v - float(schedule(n)) * x
        x = x + v
    assert float(r.agents[0, 0, 0]) == pytest.approx(x, rel=1e-12)


def test_a_sweep_refuses_dt_where_any_point_must():
    heavy = model(noise=noise.StudentT(1.0, 3.0))
    with pytest.raises(ValueError, match=r"freedom=1\.5"):
        sdesim.sweep(heavy, {"noise.freedom": [1.5, 3.0]}, steps=3, dt=0.01, **RUN)
    gamma = model(noise=noise.GammaMultiplicative(2.0))
    with pytest.raises(ValueError, match="leave dt out"):
        sdesim.sweep(gamma, {"eta": [0.05, 0.1]}, steps=3, dt=0.1, **RUN)


def test_velocities_that_would_be_ignored_are_refused():
    with pytest.raises(ValueError, match="no momentum"):
        sdesim.sweep(model(), {"eta": [0.05]}, steps=3, velocity=1.0, **RUN)
    moving = model(momentum=sdesim.Nesterov(0.5))
    r = sdesim.simulate(moving, steps=3, **RUN)
    with pytest.raises(ValueError, match="leave it out"):
        sdesim.simulate(moving, steps=3, init=r, velocity=1.0)


def test_simulations_are_numbered_from_the_first_one():
    data = sdesim.sweep(model(), {"eta": [0.05]}, steps=3, first_sim=100, **RUN)
    assert data["sim"].values.tolist() == [100, 101, 102]
    with pytest.warns(sdesim.DivergenceWarning, match=r"\(simulation 10[0-2]\)"):
        sdesim.simulate(model(eta=50.0), steps=3000, first_sim=100, **RUN)


def test_numpy_numbers_are_numbers(tmp_path):
    data = sdesim.sweep(model(), {"eta": [0.05]}, steps=np.int64(5), dt=np.float32(0.005), **RUN)
    assert json.loads(data.attrs["settings"])["steps"] == 5
    r = sdesim.simulate(model(), steps=np.int64(6), every=np.int64(2), observe=sdesim.observe.Spread(), **RUN)
    r.save(tmp_path / "r.nc")
    again = sdesim.load(tmp_path / "r.nc")
    np.testing.assert_array_equal(again.observed["spread"], r.observed["spread"])
    assert again.settings["model"]["numbers"]["coupling.k"] == 1.0  # a file says with which numbers it was made


def test_a_seed_of_two_words_is_that_number(tmp_path):
    seed = 7 + (3 << 32)
    words = sdesim.random.seed_words(seed)
    r = sdesim.simulate(model(), steps=3, seed=words, **RUN)
    np.testing.assert_array_equal(r.agents, sdesim.simulate(model(), steps=3, seed=seed, **RUN).agents)
    r.save(tmp_path / "r.nc")
    assert sdesim.load(tmp_path / "r.nc").seed == seed
    sdesim.simulate(model(), steps=3, seed=seed, init=r)


def test_a_result_in_float32_goes_on_in_float64():
    with jax.enable_x64(False):
        run = dict(RUN, init=sdesim.init.Uniform(-1, 1))
        short = sdesim.simulate(model(coupling=sdesim.Elastic(0.1)), steps=5, **run)
    long = sdesim.simulate(model(coupling=sdesim.Elastic(0.1)), steps=5, init=short)
    whole = sdesim.simulate(model(coupling=sdesim.Elastic(0.1)), steps=10, **RUN)
    assert long.agents.dtype == jnp.float64
    np.testing.assert_allclose(long.agents, whole.agents, atol=1e-6)


def test_float64_is_kept_by_load_and_its_rounding_is_warned_of(tmp_path, float32):
    """As xarray keeps it; where a run goes on in float32 it says so, and within x64 it goes on to the bit."""
    go_on = lambda result: sdesim.simulate(model(), steps=2, init=result).agents
    with jax.enable_x64(True):
        result = sdesim.simulate(model(), steps=2, **RUN)
        expected = go_on(result)
    result.save(tmp_path / "run.nc")
    loaded = sdesim.load(tmp_path / "run.nc")
    assert loaded.agents.dtype == loaded.state.x.dtype == loaded.quorum.dtype == np.float64
    np.testing.assert_array_equal(loaded.agents, result.agents)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(go_on(loaded), expected)
    said = "is of float64, and goes on rounded to float32; .* JAX_ENABLE_X64=1"
    for kept in (result, loaded):
        with pytest.warns(UserWarning, match=said) as told:
            np.testing.assert_allclose(go_on(kept), expected, atol=1e-6)
        assert told[0].filename == __file__  # the line that called
    assert "s, float64 on cpu: cpu x 1; " in repr(loaded)


def test_gradients_and_maps_over_what_is_no_part_of_the_model():
    sizes = dict(agents=4, sims=2, steps=3, init=1.0)
    dw = jnp.ones((3, 2, 4, 1)) * 0.1
    final = lambda dt, dw: jnp.sum(sdesim.simulate(model(), dt=dt, increments=dw, **sizes).agents)
    slope = jax.grad(final)(0.01, dw)
    assert float(slope) == pytest.approx((float(final(0.0101, dw)) - float(final(0.0099, dw))) / 2e-4, rel=1e-4)
    assert jax.grad(final, argnums=1)(0.01, dw).shape == dw.shape
    many = jax.vmap(lambda dw: final(0.01, dw))(jnp.stack([dw, 2 * dw]))
    np.testing.assert_allclose(many, [final(0.01, dw), final(0.01, 2 * dw)])


def test_a_loss_that_takes_the_number_alone():
    loss = lambda x: jax.lax.cond(x > 0, lambda x: x * x, lambda x: 2 * x * x, x)
    r = sdesim.simulate(sdesim.Dynamics(loss, eta=0.1), agents=2, sims=2, steps=1, init=jnp.array([[1.0], [-1.0]]))
    np.testing.assert_allclose(r.agents[0, :, 0], [0.8, -0.6])


@pytest.mark.relaxed  # a rule's own numbers have more digits than such parameters
def test_couple_keeps_the_type_of_small_parameters():
    couple = sdesim.couple(sdesim.Elastic(1.0, 1.0), 0.01)
    params = jnp.ones((4, 3), jnp.bfloat16)
    state = couple.init(params)

    def body(carry, _):
        params, state = carry
        updates, state = couple.update(jnp.zeros_like(params), state, params)
        return (params + updates, state), None

    (params, state), _ = jax.lax.scan(body, (params, state), length=400)
    assert params.dtype == state.shared.dtype == jnp.bfloat16
    assert float(state.t) == pytest.approx(4.0, rel=1e-3)  # which bfloat16 could not count to by hundredths


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sdesim.schedules.Halving(0.1, 0), "every=0"),
        (lambda: sdesim.schedules.Halving(-0.1, 5), "initial=-0.1"),
        (lambda: coupling.Spiking(1.0, 5.0, 0.0, 1.0), "relaxation=0"),
        (lambda: coupling.LinearFilter(-1.0), "rate=-1"),
        (lambda: coupling.Tree(1.0, (2, 2), up=float("nan")), "up=nan"),
        (lambda: model(velocity_coupling=3, momentum=sdesim.Nesterov(0.5)), "velocity_coupling=3"),
        (lambda: sdesim.observe.Snapshot(-1), "agents=-1"),
        (lambda: sdesim.observe.Histogram(1.0, -1.0), "low must be less than high"),
        (lambda: sdesim.simulate(model(), steps=3, dt="a", **RUN), "dt='a'"),
        (lambda: sdesim.simulate(model(coupling=sdesim.Quorum([1.0, 2.0])), steps=3, **RUN), "coupling.k: must be"),
        (
            lambda: sdesim.simulate(model(noise=noise.Gaussian([1.0, 2.0])), steps=3, **RUN),
            "noise.sigma: must be a number",
        ),
        (lambda: sdesim.sweep(model(), {"eta": [None]}, steps=3, **RUN), "must be numbers"),
        (
            lambda: sdesim.simulate(model(), steps=3, observe=sdesim.observe.Occupancy([[0.0, 3.0]], 1.0), **RUN),
            "centers: of shape",
        ),
    ],
)
def test_told_in_one_line(make, message):
    with pytest.raises((ValueError, TypeError), match=message) as told:
        make()
    assert "\n" not in str(told.value)


def test_stiffness_of_the_fastest_agent_and_of_later_steps():
    uneven = model(coupling=sdesim.Quorum(10.0), eta=jnp.array([0.001] * 3 + [1.0]))
    with pytest.warns(sdesim.StabilityWarning, match="unstable"):
        sdesim.simulate(uneven, steps=1, **RUN)
    rising = model(coupling=sdesim.Quorum(10.0), eta=sdesim.schedules.PerStep([0.01] * 5 + [0.5] * 5))
    with pytest.warns(sdesim.StabilityWarning, match=r"eta \* stiffness = 5"):
        sdesim.simulate(rising, steps=10, **RUN)


def test_files_where_there_is_no_folder(tmp_path):
    r = sdesim.simulate(model(), steps=1, **RUN)
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        r.save(tmp_path / "no" / "r.nc")
    with pytest.raises(FileNotFoundError, match="no such file"):
        sdesim.load(tmp_path / "none.nc")


def test_stiffness_of_own_gains_and_rates_is_their_product():
    """A large gain with a small learning rate, and the other way round: each agent is stable, and nothing warns."""
    rates, loss = np.array([0.01, 0.1]), lambda x: jnp.sum(x**2) / 2
    run = dict(agents=2, steps=3, init=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        sdesim.simulate(sdesim.Dynamics(loss, sdesim.Quorum(k=1 / rates), eta=rates), **run)
    with pytest.warns(sdesim.StabilityWarning, match=r"eta \* stiffness = 3 "):
        sdesim.simulate(sdesim.Dynamics(loss, sdesim.Quorum(k=3 / rates), eta=rates), **run)


def test_a_run_continued_in_a_loop_says_what_it_continues_and_no_more():
    model = sdesim.Dynamics(lambda x: jnp.sum(x**2) / 2, eta=0.1)
    result = sdesim.simulate(model, steps=1, init=1.0)
    for _ in range(30):
        result = sdesim.simulate(model, steps=1, init=result)
    assert result.run["init"] == "the result at step 30"
