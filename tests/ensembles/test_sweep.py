"""Sweeps: a grid point is the simulation that `simulate` would run, labeled, paired and with Monte Carlo errors."""

import itertools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import sdesim
from sdesim.ensembles.designs import Design, sobol
from sdesim.ensembles.points import check_dimensions, numeric_fields, with_value

TRACES = []


def loss(x):
    TRACES.append(x.shape)
    return jnp.sum(0.25 * x**4 - 0.5 * x**2)


def model(**changes):
    parts = dict(coupling=sdesim.Quorum(1.0), noise=sdesim.noise.Uniform(1.0), eta=0.05)
    return sdesim.Dynamics(loss, **{**parts, **changes})


RUN = dict(sims=3, steps=25, init=sdesim.init.Uniform(-1, 1), seed=5)


def test_each_point_is_the_simulation_at_that_point():
    grid = {"coupling.k": [0.0, 2.0], "noise.half_width": [0.5, 1.0, 3.0], "agents": [3, 4]}
    data = sdesim.sweep(model(), grid, dims=2, observe=sdesim.observe.Spread(), every=5, **RUN)
    assert data["agents"].dims == ("coupling_k", "noise_half_width", "n_agents", "sim", "agent", "dim")
    assert data.coupling_k.attrs == {
        "units": "1 / time", "long_name": "gain of the coupling", "grid_name": "coupling.k",
    }  # fmt: skip
    assert data.n_agents.attrs["grid_name"] == "agents"
    for k in grid["coupling.k"]:
        for w in grid["noise.half_width"]:
            for p in grid["agents"]:
                one = data.sel(coupling_k=k, noise_half_width=w, n_agents=p)
                alone = model(coupling=sdesim.Quorum(k), noise=sdesim.noise.Uniform(w))
                r = sdesim.simulate(alone, agents=p, dims=2, observe=sdesim.observe.Spread(), every=5, **RUN)
                np.testing.assert_allclose(one["agents"].values[:, :p], r.agents, rtol=1e-12)
                assert np.isnan(one["agents"].values[:, p:]).all()  # agents that this size does not have
                np.testing.assert_allclose(one["quorum"], r.quorum, rtol=1e-12)
                np.testing.assert_allclose(one["spread_series"], r.observed["spread"], rtol=1e-10)
                np.testing.assert_allclose(one["spread"], r.observed["spread"][:, -1], rtol=1e-10)


def test_monte_carlo_errors_are_those_of_the_simulations():
    data = sdesim.sweep(model(), {"eta": [0.01, 0.05]}, agents=4, **RUN)
    q = data["quorum"].values
    np.testing.assert_allclose(data["quorum_mean"], q.mean(1), rtol=1e-12)
    np.testing.assert_allclose(data["quorum_stderr"], q.std(1, ddof=1) / np.sqrt(3), rtol=1e-12)


def test_grid_points_share_their_noise():
    """Free agents that differ in the gain alone are the same agents: common random numbers."""
    # a gain of 1e-300 is none, and another value of the grid
    data = sdesim.sweep(model(), {"coupling.k": [0.0, 1e-300, 1.0]}, agents=4, **RUN)["agents"].values
    np.testing.assert_array_equal(data[0], data[1])
    assert 0.5 < np.corrcoef(data[0].ravel(), data[2].ravel())[0, 1] < 0.9999


def test_new_values_do_not_compile_again():
    run = dict(RUN, agents=4)
    same = model()
    sdesim.sweep(same, {"coupling.k": [0.5, 1.0], "eta": [0.1, 0.2]}, **run)
    before = len(TRACES)
    sdesim.sweep(same, {"coupling.k": [0.7, 3.0], "eta": [0.3, 0.01]}, **run)
    assert len(TRACES) == before + 1  # a user's function is looked at once a call, and the step is not traced again


def test_optional_rates_momentum_and_steps_can_be_swept():
    elastic = model(coupling=sdesim.Elastic(1.0), momentum=sdesim.Nesterov(0.5))
    data = sdesim.sweep(
        elastic,
        {"coupling.center_rate": [0.5, 2.0], "momentum.delta": [0.0, 0.9], "steps": [3, 6]},
        agents=4,
        **{k: v for k, v in RUN.items() if k != "steps"},
    )
    for rate in (0.5, 2.0):
        for delta in (0.0, 0.9):
            for steps in (3, 6):
                alone = model(coupling=sdesim.Elastic(1.0, rate), momentum=sdesim.Nesterov(delta))
                r = sdesim.simulate(alone, agents=4, **{**RUN, "steps": steps})
                one = data.sel(coupling_center_rate=rate, momentum_delta=delta, n_steps=steps)
                np.testing.assert_allclose(one["center"], r.center, rtol=1e-12)


def test_sizes_nest_in_the_order_of_the_grid():
    grid = {"steps": [2, 4], "dims": [1, 2], "eta": [0.1, 0.2]}
    run = {k: v for k, v in RUN.items() if k != "steps"}
    data = sdesim.sweep(model(), grid, agents=2, **run)
    for steps in (2, 4):
        for dims in (1, 2):
            r = sdesim.simulate(model(eta=0.2), agents=2, dims=dims, steps=steps, **run)
            one = data.sel(n_steps=steps, n_dims=dims, eta=0.2)
            np.testing.assert_allclose(one["quorum"].values[:, :dims], r.quorum, rtol=1e-12)


def test_numbers_of_the_run_and_of_what_is_static_are_axes():
    """Each point is the simulation that it names."""
    point = lambda **at: sdesim.simulate(
        model(weak_order=at["weak_order"], noise=sdesim.noise.Gaussian(1.0)),
        agents=2,
        **{**RUN, "init": sdesim.init.Uniform(at["low"], 1)},
        dt=at["dt"],
    )
    grid = {"weak_order": [1, 2], "dt": [0.05, 0.02], "init.low": [-1.0, -3.0]}
    data = sdesim.sweep(model(noise=sdesim.noise.Gaussian(1.0)), grid, agents=2, **RUN)
    assert data["quorum"].dims == ("weak_order", "dt", "init_low", "sim", "dim")
    for order, dt, low in itertools.product(*grid.values()):
        here = data["quorum"].sel(weak_order=order, dt=dt, init_low=low)
        np.testing.assert_allclose(here, point(weak_order=order, dt=dt, low=low).quorum, rtol=1e-10)


def test_a_design_may_name_them_too():
    ranges = {"coupling.k": (0.1, 1.0), "stepper.period": (1, 3)}
    stepper = sdesim.Iteration(period=1)
    with pytest.raises(ValueError, match=r"period=.*must be an integer"):
        sdesim.sweep(model(), sobol(ranges, 4), agents=2, stepper=stepper, **RUN)
    design = Design(tuple(ranges), ((0.1, 1), (0.7, 3)))
    data = sdesim.sweep(model(), design, agents=2, stepper=stepper, **RUN)
    for i, (k, period) in enumerate(design.rows):
        alone = sdesim.iterate(model(coupling=sdesim.Quorum(k)), agents=2, period=period, **RUN)
        np.testing.assert_allclose(data["quorum"].isel(point=i), alone.quorum, rtol=1e-10)
    assert data["stepper_period"].values.tolist() == [1, 3]


def test_divergence_is_marked_at_its_grid_point():
    with pytest.warns(sdesim.DivergenceWarning, match="3 of 6 simulations"):
        data = sdesim.sweep(model(), {"eta": [0.05, 5.0]}, agents=4, **{**RUN, "init": sdesim.init.Point(3.0)})
    assert (data["diverged"].sel(eta=0.05) == -1).all()
    assert (data["diverged"].sel(eta=5.0) > 0).all()
    assert not np.isfinite(data["quorum_mean"].sel(eta=5.0)).any()  # not dropped in silence


def test_numeric_fields_and_values():
    names = numeric_fields(model(coupling=sdesim.Elastic(1.0)))
    assert list(names) == ["coupling.k", "coupling.center_rate", "noise.half_width", "eta", "batch"]
    changed = with_value(model(), "noise.half_width", 2.0)
    assert changed.noise.half_width == 2.0
    assert changed.coupling.k == 1.0


def test_two_names_of_one_dimension_are_refused():
    with pytest.raises(ValueError, match=r"'noise.a_b' and 'noise.a.b' would both be the dimension noise_a_b"):
        check_dimensions(["noise.a", "noise.a_b", "noise.a.b"])


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"coupling.kk": [1]}, "did you mean 'coupling.k'"),
        ({"agent": [1]}, "did you mean 'agents'"),
        ({"coupling.k": []}, "non-empty sequence"),
        ({"coupling.k": 3.0}, "non-empty sequence"),
        ({"eta": [0.1, -1.0]}, "eta=-1.0: must be finite and at least 0"),
        ({"noise.half_width": [-1.0]}, "half_width=-1.0"),
        ({"agents": [4, 0]}, "agents=0: must be an integer from 1"),
        ({"sims": [1, 2]}, "grid='sims': is one for all points; give sims= beside the grid"),
        ({"rates": ["noise"]}, "grid='rates': is no number, and a grid has no other values; make a sweep of each"),
        ({"weak_order": [1, 3]}, "weak_order=3: must be 1 or 2"),
        ({"init.high": [1, -2]}, "low must be less than high"),
        ({"dt": [0.1, -0.1]}, "dt=-0.1: must be finite and greater than 0"),
        ({"steps": [5]}, "steps=25: is in the grid already"),
    ],
)
def test_bad_grids_are_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        sdesim.sweep(model(), grid, **RUN)


def test_what_a_sweep_needs_is_estimated_before_it_is_allocated():
    with pytest.raises(MemoryError, match="sims=2 would fit"):  # at each of the 1000 points
        sdesim.sweep(model(), {"eta": np.linspace(0.01, 0.1, 1000)}, agents=1000, memory=10**8, **RUN)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"coupling.k": [1.0, 0.0, 1.0]}, r"^grid\['coupling.k'\]=\[1.0, 0.0, 1.0\]: each value must be there once"),
        ({"coupling.k": ["a"]}, r"^grid\['coupling.k'\]=\['a'\]: must be a number"),
        ({"coupling.k": [np.nan]}, r"^grid\['coupling.k'\]=\[nan\]: must be finite"),
        ({"coupling.k": 1.0}, r"^grid\['coupling.k'\]=1.0: must be a non-empty sequence"),
        ({"agents": [2, 10**12]}, r"^agents=1000000000000: must be an integer from"),
        ([1, 2], r"^grid=\[1, 2\]: must be values by name"),
    ],
)
def test_grids_that_are_none(grid, message):
    with pytest.raises((ValueError, TypeError), match=message):
        sdesim.sweep(model(), grid, **RUN)


def test_grids_of_other_libraries():
    """By position, whatever a Series is numbered by; and float32 by the decimals that it is but for rounding."""
    run = dict(RUN, agents=2)
    given = sdesim.sweep(model(), {"coupling.k": [0.0, 0.1, 0.2]}, **run)
    series = pd.Series([0.0, 0.1, 0.2], index=[5, 6, 7])
    single = np.linspace(0, 0.2, 3, dtype=np.float32)
    single[1] = np.nextafter(single[1], np.float32(1))  # as a linspace of JAX's has it
    for grid in (series, jnp.asarray(single), xr.DataArray([0.0, 0.1, 0.2])):
        data = sdesim.sweep(model(), {"coupling.k": grid}, **run)
        np.testing.assert_allclose(data["quorum"], given["quorum"], rtol=1e-6, atol=1e-6)
        assert data.sel(coupling_k=0.1)["spread"].shape == given["spread"].shape[1:]
