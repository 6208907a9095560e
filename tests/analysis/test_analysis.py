"""`sdesim.analysis`: synchronization and the search for the best gain, against Gaussian chains."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

import sdesim
from sdesim import analysis, noise, objectives

SIGMAS = 4.0
MATCHED = 0.05


def ornstein_uhlenbeck(k=3.0, eta=MATCHED, sigma=1.0):
    return sdesim.Dynamics(objectives.Quadratic(1.0), sdesim.Quorum(k), noise.Gaussian(sigma), eta=eta)


def close(found, exact, sigmas=SIGMAS):
    """Whether an estimate is within its errors of the exact value, and the error is of use."""
    assert found.stderr > 0
    assert abs(found.value - exact) < sigmas * found.stderr, f"{found} against {exact}"


# -- synchronization ---------------------------------------------------------------------------------------------------


def spread_level(k, agents, eta=MATCHED):
    """Of the stationary chain: (p - 1) (eta sigma)^2 / (1 - q^2), q = 1 - eta (1 + k)."""
    return (agents - 1) * eta**2 / (1 - (1 - eta * (1 + k)) ** 2)


def watched(sims=40, agents=50, steps=300):
    start, watch = sdesim.init.Normal(0.0, 5.0), sdesim.observe.Spread()
    model = ornstein_uhlenbeck()
    return sdesim.simulate(model, agents=agents, sims=sims, steps=steps, init=start, observe=watch, every=1)


@pytest.fixture(scope="module")
def recorded():
    return watched()


@pytest.mark.parametrize("sims", [2, 40])
def test_synchronization_level_is_the_stationary_spread(recorded, sims):
    data = recorded if sims == 40 else recorded.to_xarray().isel(sim=slice(sims))
    found = analysis.synchronization(data, after=60)
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
    assert found["level"].dims == ("coupling_k", "sim")
    for i, k in enumerate(gains[:2]):
        point = found.isel(coupling_k=i)
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


@pytest.mark.parametrize("sims", [2, 12])
def test_a_window_that_is_not_stationary_is_told(recorded, sims):
    with pytest.warns(UserWarning, match="drifts by"):
        analysis.synchronization(recorded.to_xarray().isel(sim=slice(sims), step=slice(21)), after=0)


def test_synchronization_refuses(recorded):
    bare = sdesim.simulate(ornstein_uhlenbeck(), agents=3, sims=2, steps=10)
    for data in (bare, bare.to_xarray(), xr.Dataset({"spread": ("sim", [1.0, 2.0])})):
        with pytest.raises(ValueError, match=r"observe\.Spread"):
            analysis.synchronization(data)
    with pytest.raises(TypeError, match=r"must be a sdesim\.Result"):
        analysis.synchronization(np.zeros(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="multiple=1"):
        analysis.synchronization(recorded, multiple=1)
    with pytest.raises(ValueError, match="after=298: leaves 3 of 301 records"):
        analysis.synchronization(recorded, after=298)


# -- the best gain -----------------------------------------------------------------------------------------------------

AGENTS, SIMS, COST = 6, 2000, 0.01
RUN: dict[str, Any] = dict(agents=AGENTS, steps=40, init=0.0)


def costly_spread(data):
    """Expected: (p - 1) (eta sigma)^2 (1 - q^2n) / (1 - q^2) + cost k, with one minimum in k."""
    return data["spread"] + COST * data["coupling_k"]


def best_gain():
    def expected(k):
        q = 1 - MATCHED * (1 + k)
        return spread_level(k, AGENTS) * (1 - q ** (2 * RUN["steps"])) + COST * k

    gains = np.linspace(0, 12, 100_001)
    return gains[np.argmin(expected(gains))]


def test_best_k_is_the_minimum_of_the_expectation():
    found = analysis.best_k(ornstein_uhlenbeck(), costly_spread, (0.0, 12.0), sims=SIMS, resolution=0.05, **RUN)
    low, high = found.bracket
    assert low < best_gain() < high
    assert low <= found.best <= high and not found.at_edge
    assert high - low < 0.4 * 12
    assert found.table.sizes["coupling_k"] <= 40
    best = found.table.sel(coupling_k=found.best)
    assert best["difference"] == 0 and best["mean"] == found.value.value
    assert (found.table["difference"] >= 0).all()
    # The same noise at every gain: neighbors differ far less than independent runs would.
    near = found.table.sortby(abs(found.table["coupling_k"] - found.best)).isel(coupling_k=1)
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
    assert found.reason == "noise" and found.table.sizes["coupling_k"] == 5
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
