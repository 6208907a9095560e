"""y-poisson: its claims fail of wrong models."""

import dataclasses

import pytest
import wrong_models

from sdesim import claims
from sdesim.papers.yu import poisson

SMOKE = poisson.PRESETS["smoke"]


def test_claims_hold(smoke):
    _, config, data = smoke("y-poisson")
    found = claims.judge(poisson.EXPERIMENT.statements(config), poisson.EXPERIMENT.ensemble(config, data), smoke=True)
    assert config == SMOKE and {c.id: c.verdict for c in found if c.verdict != "holds"} == {}


WRONG = {
    "shape 3": {"fixed-dispersion", "staleness-law", "staleness-square"},
    "start together": {"near-dispersion", "near-law", "fixed-dispersion"},
    "other laws": {"fixed-never", "staleness-equal", "near-dispersion", "near-law"},
    "gamma in turn": {"near-poisson", "near-falls", "staleness-never", "staleness-square", "staleness-law"},
    "random phase": {"in-turn"},
    "jobs lost": {"staleness-mean", "near-dispersion", "near-law"},
}
FAST = "start together"


@pytest.mark.parametrize("wrong", [w if w == FAST else pytest.param(w, marks=pytest.mark.slow) for w in WRONG])
def test_claims_fail_of_wrong_timetables(wrong, float32):
    assert wrong_models.broken(poisson, wrong) >= WRONG[wrong]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": (4,)}, "workers=.*two numbers"),
        ({"workers": (8, 4)}, "workers=.*increase"),
        ({"fixed": (0.5,)}, "fixed=.*must have 1"),
        ({"time": 8.1}, "whole windows"),
        ({"sims": 1}, "sims=1"),
        ({"sigma": -1.0}, "sigma=-1"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
