"""y-schedule: its claims fail of wrong models, and what it takes rates from is right."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models
import xarray as xr

from sdesim.papers.yu import schedule as y_schedule
from sdesim.papers.yu.schedule.claims import exact_path, exact_unequal, rate, unequal_rate
from sdesim.theory import staleness

SMOKE = y_schedule.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, y_schedule)
broken = functools.partial(wrong_models.broken, y_schedule)


def test_claims_hold(smoke):
    _, config, data = smoke("y-schedule")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_of_fresh_gradients_larger_thresholds_and_no_waiting(float32):
    assert broken("gradients fresh") >= {"unequal-mean", "unequal-roots", "slow-workers-hurt"}
    assert broken("thresholds x 8") >= {"threshold-helps", "threshold-rescues", "threshold-chosen-gamma"}
    assert broken("no waiting") >= {"waiting-helps"}


def test_a_claim_fails_of_gamma_times(smoke):
    """Both laws are run: each is taken for the other."""
    data = smoke("y-schedule")[2]
    assert "unequal-mean" in failed(data.isel(law=[1, 0]).assign_coords(law=data["law"]))


def test_unequal_workers_of_one_speed_are_equal_ones():
    equal = dataclasses.replace(SMOKE, slowness=1.0)
    times = np.array([0.3, 2.0, 7.0])
    np.testing.assert_allclose(exact_path(equal, 28, times), staleness.mean_path(28, equal.a, times)[:, 0])
    assert exact_unequal(equal, 9) == pytest.approx(staleness.mean_rate(9, equal.a))


def test_rates_of_known_paths():
    """Of simulations whose mean is known, up to where it is lost in their differences."""
    noise = 1e-4 * np.random.default_rng(0).normal(size=(1, 1, 200))
    t = SMOKE.every * np.arange(49)
    values = xr.DataArray((np.exp(-0.4 * t) * np.cos(0.7 * t))[:, None] + noise[0], dims=("long", "sim"))
    assert unequal_rate(SMOKE, values) == pytest.approx(0.4, rel=0.02)
    t = SMOKE.often * np.arange(81)
    both = np.stack([np.exp(-1.5 * t) * np.cos(t), np.exp(-1.5 * t) * np.cos(t - 1)])[..., None] + noise
    values = xr.DataArray(both, {"what": ["server", "workers"], "short": t}, ("what", "short", "sim"))
    assert rate(SMOKE, values) == pytest.approx(1.5, rel=0.02)
    assert np.isnan(rate(SMOKE, 0 * values + noise[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"active": (2, 6, 28)}, "active=.*must have 4"),
        ({"active": (4, 28, 40)}, "active=.*end with 28"),
        ({"barriers": (1, 60)}, "barriers=.*at most workers=48"),
        ({"thresholds": (4, 4)}, "thresholds=.*increase"),
        ({"sims": 1}, "sims=1"),
        ({"slowness": 0.0}, "slowness=0"),
        ({"every": 3.0}, "every=3"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
