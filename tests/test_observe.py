"""Observables against what NumPy makes of all snapshots of the same run."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import noise, observe

SIMS, AGENTS, STEPS = 12, 4, 60


def model_of(dims):
    return sdesim.Dynamics(
        sdesim.objectives.QuarticDoubleWell(), coupling=sdesim.Elastic(0.5, 2.0), noise=noise.Gaussian(2.5), eta=0.1
    )


def run(watch, every=1, dims=1, steps=STEPS, **options):
    return sdesim.simulate(
        model_of(dims), agents=AGENTS, dims=dims, sims=SIMS, steps=steps, seed=4, init=sdesim.init.Normal(0.2, 1.0),
        observe=watch, every=every, **options,
    )  # fmt: skip


@pytest.fixture(scope="module", params=[1, 3], ids=["1-d", "3-d"])
def path(request):
    """(dims, snapshots of shape (sims, steps + 1, agents, dims))."""
    result = run(observe.Snapshot(), dims=request.param)
    return request.param, np.asarray(result.observed["snapshot"]), result


def test_snapshots_are_the_path(path):
    dims, x, result = path
    assert x.shape == (SIMS, STEPS + 1, AGENTS, dims)
    np.testing.assert_array_equal(x[:, -1], result.agents)
    np.testing.assert_array_equal(result.records, np.arange(STEPS + 1))
    short = run((), dims=dims, steps=17, every=None)
    np.testing.assert_allclose(x[:, 17], short.agents, rtol=0, atol=1e-12)
    start = run((), dims=dims, steps=0, every=None)
    np.testing.assert_allclose(x[:, 0], start.agents, rtol=0, atol=0)


@pytest.mark.parametrize("every", [1, 7, 60, 100])
def test_series(path, every):
    """Records of all series are those of the path, from the initial state on."""
    dims, x, _ = path
    loss = lambda x: np.sum(0.25 * (1 - x**2) ** 2, axis=-1)
    watch = [observe.Quorum(), observe.Spread(), observe.QuorumLoss(), observe.MeanLoss(), observe.Snapshot(2)]
    result = run(watch, every=every, dims=dims)
    np.testing.assert_array_equal(result.records, np.arange(0, STEPS + 1, every))
    mean = x.mean(axis=2)
    expected = {
        "quorum": mean,
        "spread": np.sum((x - mean[:, :, None]) ** 2, axis=(2, 3)),
        "quorum_loss": loss(mean),
        "mean_loss": loss(x).mean(axis=2),
        "snapshot": x[:, :, :2],
    }
    assert set(result.observed) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(result.observed[name], values[:, ::every], rtol=0, atol=1e-10, err_msg=name)


def test_the_loss_of_a_server_is_not_that_of_what_its_workers_read():
    """Of AsyncSGD on a quadratic, whose workers read at 1 and the server has gone on."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(2.0), eta=0.1)
    stepper = sdesim.asynchrony.Asynchronous(sdesim.asynchrony.AsyncSGD(), compute=sdesim.asynchrony.Exponential())
    watch = [observe.Center(), observe.CenterLoss(), observe.QuorumLoss()]
    run = sdesim.simulate(model, agents=4, sims=SIMS, steps=8, init=1.0, stepper=stepper, observe=watch, every=1)
    seen = run.observed
    np.testing.assert_allclose(seen["center_loss"], np.asarray(seen["center"])[..., 0] ** 2, rtol=1e-6)
    assert (np.asarray(seen["quorum_loss"]) > np.asarray(seen["center_loss"]))[:, 1:4].all()  # later it overshoots


def test_velocities_are_what_moved_the_agents():
    """Of Euler-Maruyama with friction x moves by v dt, and the last record is the result's own velocity."""
    model = sdesim.Dynamics(
        sdesim.objectives.Quadratic(1.0), noise=noise.Gaussian(1.0), eta=0.1, momentum=sdesim.Friction(1.0)
    )
    result = sdesim.simulate(
        model, agents=AGENTS, sims=SIMS, steps=20, dt=0.05, init=sdesim.init.Normal(), every=1,
        observe=[observe.Snapshot(), observe.Velocity(2)],
    )  # fmt: skip
    x, v = (np.asarray(result.observed[name]) for name in ("snapshot", "velocity"))
    assert v.shape == (SIMS, 21, 2, 1)
    np.testing.assert_allclose(np.diff(x[:, :, :2], axis=1), 0.05 * v[:, 1:], rtol=0, atol=1e-12)
    np.testing.assert_allclose(v[:, -1], np.asarray(result.velocity)[:, :2], rtol=1e-12)
    assert result.to_xarray()["velocity_series"].attrs["units"] == "length / time"
    with pytest.raises(ValueError, match="Velocity: the model must have momentum"):
        run(observe.Velocity())
    with pytest.raises(ValueError, match="Velocity of agents=9"):
        sdesim.simulate(model, agents=2, steps=1, observe=observe.Velocity(9))


def test_center(path):
    """The center variable follows the mean of the agents of the step before: its own recursion."""
    dims, x, _ = path
    center = np.asarray(run(observe.Center(), dims=dims).observed["center"])
    mean = x.mean(axis=2)
    expected = [mean[:, 0]]
    for step in range(STEPS):
        expected.append(expected[-1] + 0.1 * 2.0 * (mean[:, step] - expected[-1]))
    np.testing.assert_allclose(center, np.stack(expected, axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("every", "after"), [(1, 0), (3, 0), (1, 20), (7, 30), (1, 59)])
def test_moments(path, every, after):
    """Records count from the first after step `after`; the initial state is not a record of an accumulator."""
    dims, x, _ = path
    out = run(observe.Moments(after), every=every, dims=dims).observed
    records = [n for n in range(every, STEPS + 1, every) if n > after]
    seen, mean = x[:, records], x[:, records].mean(axis=2)
    expected = {
        "agents_mean": seen.mean(axis=(1, 2)),
        "agents_var": seen.var(axis=(1, 2)),
        "quorum_mean": mean.mean(axis=1),
        "quorum_var": mean.var(axis=1),
        "count": np.full(SIMS, len(records)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(out[f"moments_{name}"], values, rtol=0, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(("every", "after"), [(1, 0), (4, 25)])
def test_histogram(path, every, after):
    dims, x, _ = path
    out = run(observe.Histogram(-0.5, 0.75, 11, after), every=every, dims=dims).observed["histogram_count"]
    records = [n for n in range(every, STEPS + 1, every) if n > after]
    edges = np.concatenate([[-np.inf], np.linspace(-0.5, 0.75, 12), [np.inf]])
    for sim in range(SIMS):
        np.testing.assert_array_equal(out[sim], np.histogram(x[sim, records].ravel(), edges)[0])
    assert np.all(np.asarray(out)[:, [0, -1]].sum(axis=0) > 0)  # some of them fell outside, on both sides


def test_histogram_counts_what_is_not_a_number_above():
    model = sdesim.Dynamics(lambda x: -jnp.exp(x * x) * x, eta=1.0)
    with pytest.warns(sdesim.DivergenceWarning):
        result = sdesim.simulate(model, steps=20, init=2.0, observe=observe.Histogram(0.0, 1.0, 4), every=1)
    np.testing.assert_array_equal(result.observed["histogram_count"], [[0, 0, 0, 0, 0, 20]])


@pytest.mark.parametrize(("every", "after"), [(1, 0), (3, 31)])
def test_occupancy(path, every, after):
    dims, x, _ = path
    centers = np.array([[-1.0] * dims, [1.0] * dims, [9.0] * dims])
    out = run(observe.Occupancy(centers, 0.8, after), every=every, dims=dims).observed
    records = [n for n in range(every, STEPS + 1, every) if n > after]
    inside = lambda z: (np.sum((z[..., None, :] - centers) ** 2, axis=-1) < 0.8**2).astype(float)
    np.testing.assert_allclose(out["occupancy_agents"], inside(x[:, records]).mean(axis=(1, 2)), rtol=0, atol=1e-12)
    mean = x[:, records].mean(axis=2)
    np.testing.assert_allclose(out["occupancy_quorum"], inside(mean).mean(axis=1), rtol=0, atol=1e-12)
    assert np.asarray(out["occupancy_agents"])[:, :2].sum() > 0


def test_occupancy_of_basins_on_a_line(path):
    dims, *_ = path
    if dims == 1:
        flat, tall = (
            run(observe.Occupancy(c, 0.5)).observed["occupancy_agents"] for c in ([-1.0, 1.0], [[-1.0], [1.0]])
        )
        np.testing.assert_array_equal(flat, tall)


@pytest.mark.parametrize("of", ["quorum", "agents"])
@pytest.mark.parametrize("every", [1, 25])
def test_first_passage(path, of, every):
    """To the step, however rarely other things are recorded; -1 for those that never arrive."""
    dims, x, _ = path
    target, radius = np.full(dims, 0.7), 0.5 * np.sqrt(dims)
    points = x if of == "agents" else x.mean(axis=2, keepdims=True)
    inside = np.sum((points[:, 1:] - target) ** 2, axis=-1) < radius**2  # (sims, steps, points)
    expected = np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, -1)
    out = run(observe.FirstPassage(target, radius, of), every=every, dims=dims).observed["first_passage_step"]
    np.testing.assert_array_equal(out, expected if of == "agents" else expected[:, 0])
    assert (expected > 1).any()
    never = run(observe.FirstPassage(np.full(dims, 50.0), 1.0, of), every=every, dims=dims)
    assert np.all(np.asarray(never.observed["first_passage_step"]) == -1)


def test_observables_do_not_change_the_run(path):
    dims, _, result = path
    watch = [observe.Moments(), observe.FirstPassage(np.zeros(dims), 0.1), observe.Spread()]
    np.testing.assert_allclose(run(watch, every=9, dims=dims).agents, result.agents, rtol=0, atol=1e-12)


def test_labeled_data(path):
    dims, x, _ = path
    watch = [observe.Snapshot(2), observe.Spread(), observe.Moments(), observe.Quorum(), observe.Histogram(0.0, 1.0, 5)]
    data = run(watch, every=10, dims=dims, first_sim=3).to_xarray()
    assert data.agents.dims == ("sim", "agent", "dim") and data.spread_series.dims == ("sim", "step")
    np.testing.assert_array_equal(data.step, np.arange(0, 61, 10))
    np.testing.assert_array_equal(data.sim, np.arange(3, 3 + SIMS))
    assert data.quorum.dims == ("sim", "dim") and data.quorum_series.dims == ("sim", "step", "dim")
    assert data.snapshot.sizes["step"] == 7 and data.histogram_count.shape == (SIMS, 7)
    shared = SIMS - 3  # simulations 3, 4 of the path
    np.testing.assert_allclose(data.snapshot.values[:shared], x[3:, ::10, :2], rtol=0, atol=1e-12)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watch", ["spread", [observe.Spread], [observe.Spread(), None], 3])
def test_what_is_no_observable_is_refused(watch):
    with pytest.raises(TypeError, match=r"^observe=.*must be an observable of sdesim.observe"):
        run(watch)


def test_two_of_a_name_are_refused():
    with pytest.raises(ValueError, match=r"^observe: each name may appear once, got spread, spread"):
        run([observe.Spread(), observe.Spread()])


@pytest.mark.parametrize("every", [0, -3, 2.5, True])
def test_bad_intervals_are_refused(every):
    with pytest.raises(ValueError, match=rf"^every={every}: must be an integer from 1 to"):
        run(observe.Spread(), every=every)


def test_first_passage_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"^of='agent': did you mean 'agents'"):
        observe.FirstPassage(0.0, 1.0, "agent")
