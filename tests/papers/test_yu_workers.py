"""y-workers: its claims fail of wrong models, and what it takes rates and times from is right."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models
import xarray as xr

from sdesim.papers.frame.measured import decay, settled
from sdesim.papers.yu import workers as y_workers
from sdesim.papers.yu.workers.claims import exact_regular, square_rate
from sdesim.theory import staleness

SMOKE = y_workers.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, y_workers)
broken = functools.partial(wrong_models.broken, y_workers)


def test_claims_hold(smoke):
    _, config, data = smoke("y-workers")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_of_fresh_gradients(float32):
    assert broken("gradients fresh") >= {
        *("memoryless-mean", "memoryless-helped", "memoryless-saturates"),
        *("memoryless-square", "memoryless-square-best", "memoryless-square-limit"),
        *("regular-path", "regular-best", "regular-limit", "small-staleness-helps"),
        *("race-memoryless", "race-regular", "race-saturates", "race-best"),
    }


@pytest.mark.slow
def test_claims_fail_of_other_laws_of_compute_times(float32):
    regular, gamma, memoryless = map(broken, ("regular memoryless", "gamma memoryless", "memoryless gamma"))
    assert regular >= {"regular-path", "regular-best", "race-regular"} and not {f for f in regular if "memory" in f}
    assert gamma >= {"gamma-limit", "gamma-fluid"} and all("gamma" in f for f in gamma)
    assert memoryless >= {"memoryless-mean", "memoryless-square", "race-memoryless"}
    assert not {f for f in memoryless if "regular" in f}


@pytest.mark.slow
def test_claims_fail_of_another_learning_rate(float32):
    assert broken("eta x 1.1") >= {"memoryless-mean", "memoryless-square", "regular-path"}


def test_claims_fail_of_half_the_noise(float32):
    assert broken("noise x 1/2") >= {"race-memoryless", "race-regular"}


def test_rates_of_known_signals():
    t = 0.5 * np.arange(12)
    one, other = np.exp(-0.3 * t), np.exp(-0.9 * t)
    assert decay(one + other, one - 2 * other, 0.5) == pytest.approx(0.3, rel=1e-6)
    assert decay(one, one, 0.5) == pytest.approx(0.3, rel=1e-6)  # one worker and its server
    assert decay(one * np.cos(2 * t), one * np.sin(2 * t + 1), 0.5) == pytest.approx(0.3, rel=1e-6)
    assert decay((1 + t) * one, t * one, 0.5) == pytest.approx(0.3, rel=1e-3)  # a double root
    assert np.isnan(decay(np.inf * one, one, 0.5))


@pytest.mark.parametrize("p", [1, 8, 64])
def test_rates_of_exact_paths(p):
    times = SMOKE.moments(SMOKE.time)
    mean = staleness.mean_path(p, SMOKE.a, times)
    assert decay(mean[:, 0], mean[:, 1], SMOKE.every) == pytest.approx(staleness.mean_rate(p, SMOKE.a), rel=1e-6)


@pytest.mark.parametrize("p", [1, 8, 1024])
def test_the_rate_of_the_mean_square_is_that_of_its_moments_at_any_time(p):
    """Of simulations that all have the exact moments: server, workers' mean and mean square."""
    c2, cx, xx, m = staleness.moment_path(p, SMOKE.a, [2.3])[0]
    # two simulations whose averages of c c, c x and x x are these
    c = np.sqrt(c2) * np.array([1.0, 1.0])
    x = cx / np.sqrt(c2) + np.sqrt(max(xx - cx**2 / c2, 0)) * np.array([1.0, -1.0])
    values = np.stack([c, x, [m, m]])[None]
    named = {"time": [2.3], "what": ["server", "workers", "square"], "many": p}
    data = xr.DataArray(values, named, ("time", "what", "sim"))
    assert square_rate(SMOKE, data) == pytest.approx(staleness.square_rate(p, SMOKE.a), rel=1e-6)


def test_when_a_loss_settles():
    t = np.arange(6.0)
    assert settled(t, 10.0**-t, SMOKE.level) == pytest.approx(2.0)
    assert settled(t, 10.0 ** (0.5 - t), SMOKE.level) == pytest.approx(2.5)
    back = np.array([1, 1e-3, 1e-1, 1e-3, 1e-3, 1e-3])
    assert settled(t, back, SMOKE.level) == pytest.approx(2.5)  # the last time, not the first
    assert np.isnan(settled(t, 10.0 ** (t - 5), SMOKE.level))
    assert np.isnan(settled(t, np.where(t == 1, np.nan, 10.0**-t), SMOKE.level))


def test_no_equal_worker_arrives_at_a_record():
    times = y_workers.PRESETS["default"].moments(24.0)
    for p in (1, 2, 6, 31, 32, 128):
        assert abs(p * times - np.round(p * times)).min() > 5e-4
    mean, _ = exact_regular(SMOKE, 4, [0.1, 0.3, 1.3])
    assert mean[0] == 1 and mean[1] == pytest.approx(0.9) and mean[2] == pytest.approx(0.6 - 0.1 * 0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exponential": (1, 2, 4)}, "exponential=.*must have"),
        ({"equal": (4, 8, 32)}, "equal=.*must have"),
        ({"equal": (2, 4, 12)}, "equal=.*must go beyond"),
        ({"gamma": (2, 1)}, "numbers that increase"),
        ({"gamma": (2, 8)}, "gamma=.*must go beyond 22"),
        ({"crowd": (200,)}, "crowd=.*must go beyond"),
        ({"sims": 1}, "sims=1"),
        ({"eta": -1.0}, "eta=-1"),
        ({"every": 3.0}, "four records"),
        ({"square_time": 7.0}, "square_time=7"),
        ({"race": 8.0}, "the race is longest"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
