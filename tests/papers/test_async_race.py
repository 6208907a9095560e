"""async-race: its claims fail of wrong models, and what it takes times and counts from is right."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models
import xarray as xr

from sdesim.asynchrony import Deterministic, Downpour, Gamma, Pareto
from sdesim.papers.asynchrony import race
from sdesim.papers.asynchrony.race import run
from sdesim.papers.asynchrony.race.claims import discarded_share, typical
from sdesim.papers.frame.measured import settled

SMOKE = race.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, race)


def with_other(data: xr.Dataset, cells, config=SMOKE) -> xr.Dataset:
    """The data with (protocol, regime) run anew, as whatever they are now."""
    data = data.copy(deep=True)
    for protocol, regime in cells:
        found = run.raced(config, protocol, regime)
        for name, value in found.items():
            data[name].loc[{"protocol": protocol, "regime": regime}] = value
    return data


def test_claims_hold(smoke):
    _, config, data = smoke("async-race")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_of_other_laws(monkeypatch, smoke, float32):
    data, right = smoke("async-race")[2], run.law
    monkeypatch.setattr(run, "law", lambda config, regime: Deterministic())
    cells = [("synchronous", "exponential"), *((p, "heavy tail") for p in ("synchronous", "Rennala", "AsyncSGD"))]
    assert failed(with_other(data, cells)) >= {"memoryless-waiting", "stragglers-waiting"}
    monkeypatch.setattr(run, "law", lambda config, regime: Gamma(shape=4.0))
    cells = [("AsyncSGD", "exponential"), ("Rennala", "exponential")]
    assert failed(with_other(data, cells)) >= {"memoryless-exact", "rennala-discards"}
    monkeypatch.setattr(run, "law", lambda config, regime: Pareto(2.0))
    assert "equal-waiting" in failed(with_other(data, [("synchronous", "equal")]))
    monkeypatch.setattr(run, "law", right)


def test_claims_fail_of_half_the_noise(smoke, float32):
    config = dataclasses.replace(SMOKE, sigma=SMOKE.sigma / 2)
    assert "memoryless-exact" in failed(with_other(smoke("async-race")[2], [("AsyncSGD", "exponential")], config))


def test_claims_fail_of_a_period_of_one(monkeypatch, smoke, float32):
    data = smoke("async-race")[2]  # before anything is wrong: other tests have the same
    monkeypatch.setitem(run.MAKERS, "DOWNPOUR", lambda config: Downpour(1))
    found = failed(with_other(data, [("DOWNPOUR", "exponential")]))
    assert found >= {"downpour-bytes", "downpour-seconds"}


def test_claims_fail_of_clocks_and_gradients_of_their_own(smoke, float32):
    config = dataclasses.replace(SMOKE, seed=SMOKE.seed + 1)
    assert failed(with_other(smoke("async-race")[2], [("synchronous", "equal")], config)) == {"paired"}


@pytest.mark.parametrize(("workers", "batch"), [(3, 2), (8, 8), (5, 20)])
def test_what_rennala_discards_is_that_of_a_plain_simulation(workers, batch):
    rng, used, wasted = np.random.default_rng(0), [], []
    for _ in range(4000):
        at, count, lost = {0}, 0, 0
        while count < batch:
            i = int(rng.integers(workers))
            count, lost = (count + 1, lost) if i in at else (count, lost + 1)
            at.add(i)
        used.append(count)
        wasted.append(lost)
    error = np.std(wasted) / np.sqrt(len(wasted))
    share = discarded_share(workers, batch)
    assert np.mean(wasted) == pytest.approx(share / (1 - share) * batch, abs=4 * error)


def test_what_rennala_discards_by_hand():
    """Of four workers, a batch of one: one, two, three of them are at the new point until one of these is next."""
    wasted = 3 / 4 * (1 + 2 / 4 * (1 + 1 / 4 * 1))
    assert discarded_share(4, 1) == pytest.approx(wasted / (wasted + 1))


def test_a_median_of_what_is_not_finite_is_none():
    loss = xr.DataArray([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0], [1.0, 2.0, np.inf]], dims=("time", "sim"))
    np.testing.assert_array_equal(typical(loss), [2.0, np.nan, np.nan])
    assert np.isnan(settled([0, 1, 2], typical(loss), 0.5))


def test_the_fastest_goes_on_to_half_the_level():
    """Of rates that come to the level at 2, 1 and never, the one at 1 stays at it."""
    t = np.arange(9.0)
    paths = [10.0**-t, np.maximum(100.0**-t, 0.009), 2.0**-t]
    loss = xr.DataArray(np.array(paths).T[:, :, None] * np.ones(3), {"time": t}, ("time", "point", "sim"))
    assert run.fastest(SMOKE, loss) == 0
    assert run.fastest(SMOKE, loss.isel(point=[1, 2])) == 1  # none does: the least at the end


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocols": ("AsyncSGD",)}, "protocols: must have synchronous"),
        ({"protocols": (*SMOKE.protocols, "none")}, "protocols"),
        ({"regimes": ("equal",)}, "regimes: must have exponential"),
        ({"workers": 2}, "workers=2"),
        ({"sims": 1}, "sims=1"),
        ({"rates": ()}, "rates"),
        ({"slow": -1.0}, "slow"),
        ({"every": 9.0}, "eight records"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
