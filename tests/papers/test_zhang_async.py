"""z-async: its claims fail of wrong models."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models
import xarray as xr

from sdesim.papers.zhang import asynchronous as z_async
from sdesim.papers.zhang.asynchronous import run
from sdesim.papers.zhang.asynchronous.claims import border
from sdesim.papers.zhang.asynchronous.config import ARMS
from sdesim.theory import staleness

SMOKE = z_async.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, z_async)
NOISE = {f"{what}-{arm}" for what in ("center", "agents") for arm in ("synchronous", "memoryless", "in-turn")}
ONE_BY_ONE = {"center-memoryless", "center-in-turn", "agents-memoryless", "agents-in-turn"}


def test_claims_hold(smoke):
    _, config, data = smoke("z-async")
    assert config == SMOKE and failed(data) == set()


@pytest.mark.slow
def test_claims_fail_where_turns_are_swapped(monkeypatch, float32):
    right, other = run.stepper, {"memoryless": "in turn", "in turn": "memoryless"}
    monkeypatch.setattr(run, "stepper", lambda arm: right(other.get(arm, arm)))
    found = failed(run.run(SMOKE))
    assert found >= {"center-memoryless", "center-in-turn", "random-turns"}
    assert not {f for f in found if "synchronous" in f}


def test_claims_fail_where_all_step_together(smoke):
    """The synchronous model in place of the algorithm."""
    data = smoke("z-async")[2]
    found = failed(data.sel(arm=[ARMS[0]] * 3).assign_coords(arm=list(ARMS)))
    assert found >= ONE_BY_ONE | {"model-too-loud", "border-memoryless", "border-in-turn", "one-at-a-time-bears-more"}
    assert not {f for f in found if "synchronous" in f}


def test_claims_fail_of_half_the_noise(smoke):
    """Squares are a quarter then, since all is linear."""
    data = smoke("z-async")[2]
    assert failed(data.assign({n: v / 4 for n, v in data.items() if n != "plane"})) == NOISE


def test_claims_fail_of_a_period_that_is_ignored(smoke):
    data = smoke("z-async")[2]
    every = data.isel(period=[0] * len(SMOKE.periods)).assign_coords(period=data["period"])
    assert failed(every) >= {"period-center", "period-workers"} | NOISE


@pytest.mark.slow
def test_claims_fail_of_half_the_moving_rate(smoke):
    data = smoke("z-async")[2]
    half = dataclasses.replace(SMOKE, plane_rates=tuple(alpha / 2 for alpha in SMOKE.plane_rates))
    plane = xr.concat([run.over_plane(half, arm) for arm in ARMS], data["arm"])
    found = failed(data.assign(plane=plane.assign_coords(alpha=data["alpha"])))
    assert found == {"border-synchronous", "border-memoryless", "border-in-turn", "one-at-a-time-bears-more"}


@pytest.mark.parametrize("a", [0.5, 1.2])
def test_borders_are_those_of_theory(a):
    """Memoryless that of the hand-made map; in turn what Z has for odd p, and for even p a little more (Z 3.3)."""
    p, step = SMOKE.few, 1.3 / 2**9
    alphas = np.arange(0.01, 1.3, 0.005)
    radii = np.array([np.abs(np.linalg.eigvals(staleness.easgd_moments(p, a, x))).max() for x in alphas])
    assert border(SMOKE, "memoryless", a) == pytest.approx(alphas[np.argmax(radii >= 1)], abs=step + 0.005)
    odd = dataclasses.replace(SMOKE, few=3, every=5, periods=(1, 3), records=18)
    assert border(odd, "in turn", a) == pytest.approx((4 - 2 * a) / (4 - a), abs=step)
    assert border(SMOKE, "in turn", a) > (4 - 2 * a) / (4 - a)
    if a == 0.5:
        assert border(SMOKE, "in turn", a) == pytest.approx(0.8661, abs=step)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": (8, 2)}, "numbers that increase"),
        ({"rates": (0.05, 0.2)}, "must be of workers and of rates"),
        ({"records": 15}, "whole cycles"),
        ({"every": 2}, "no divisor"),
        ({"early": 8}, "must be later"),
        ({"sims": 1}, "sims=1"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
