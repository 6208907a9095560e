"""r-adaptive: its claims fail of wrong models, and what it takes from the runs is right."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models
import xarray as xr

from sdesim.papers.regatti import adaptive as r_adaptive
from sdesim.papers.regatti.adaptive import run
from sdesim.papers.regatti.adaptive.claims import best_rate, best_time, stable_rates, time_to_level
from sdesim.papers.regatti.samples import Regression

SMOKE = r_adaptive.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, r_adaptive)


def test_claims_hold(smoke):
    _, config, data = smoke("r-adaptive")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_of_fresh_gradients(float32):
    assert wrong_models.broken(r_adaptive, "gradients fresh") >= {"must-be-lower", "no-samples-help"}


def test_claims_fail_of_rates_that_know_no_staleness(smoke):
    """Of data in which every kind of rate is the constant one."""
    _, _, data = smoke("r-adaptive")
    blind = data.isel(kind=[0] * 4).assign_coords(kind=data["kind"].values)
    assert failed(blind) >= {"falls-by-itself", "same-rate", "sooner-there"}


def test_a_claim_fails_where_low_rates_are_not_tried(smoke):
    _, _, data = smoke("r-adaptive")
    high = dataclasses.replace(SMOKE, etas=SMOKE.etas[1:])
    assert failed(data.isel(eta=slice(1, None)), high) >= {"a-low-rate-does-as-well"}


@pytest.mark.slow
def test_claims_fail_of_draws_from_other_samples(monkeypatch, float32):
    """Of runs that draw from another set than that whose loss is looked at."""
    monkeypatch.setattr(run, "Regression", lambda rows, most: Regression(np.roll(rows, most, axis=0), most))
    assert failed(run.run(SMOKE)) >= {"gap-knows-no-rate"}


def test_stable_rates_are_those_below_the_first_that_grows():
    found = lambda *excess: stable_rates(SMOKE, xr.DataArray(np.array(excess), {"eta": list(SMOKE.etas)}, ("eta",)))
    assert found(1.0, 0.5, 2.0, 5.0, 3.0) == (0.05, 0.1)
    assert found(5.0, 1.0, 1.0, 1.0, 1.0) == (0.0, 0.00625)
    assert found(1.0, 1.0, 1.0, 1.0, 1.0) == (0.2, np.inf)
    assert found(1.0, 1.0, np.inf, 1.0, 1.0) == (0.025, 0.05)


def test_the_level_is_reached_where_the_loss_stays_below():
    of = lambda *excess: xr.DataArray(np.array(excess), {"step": 10 * np.arange(len(excess))}, ("step",))
    assert time_to_level(SMOKE, of(4.0, 0.2, 0.3, 0.25, 0.1)) == 30
    assert time_to_level(SMOKE, of(4.0, 0.2, 0.2, 0.2, 0.3)) == np.inf
    assert time_to_level(SMOKE, of(4.0, np.inf, np.inf)) == np.inf
    both = xr.concat([of(4.0, 1.0, 0.1), of(4.0, 0.2, 0.2)], xr.IndexVariable("eta", [0.1, 0.2]))
    assert best_time(SMOKE, both) == 10 and best_rate(both) == 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": (4, 16)}, "workers=.*begin with 1"),
        ({"counts": (8, 32)}, "counts=.*dims"),
        ({"etas": (0.1, 0.2)}, "etas=.*must have"),
        ({"etas": (0.025, 0.05)}, "etas=.*beyond"),
        ({"every": 7}, "every=7"),
        ({"level": 0.0}, "level=0"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
