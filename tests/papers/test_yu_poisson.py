"""y-poisson: its claims fail of wrong models."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models

from sdesim import claims
from sdesim.asynchrony import Deterministic, Exponential, Gamma
from sdesim.papers.yu import poisson
from sdesim.papers.yu.poisson import run

SMOKE = poisson.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, poisson)


def with_tables(monkeypatch, change):
    """Runs whose timetables are made with other arguments."""
    right = run.timetable
    monkeypatch.setattr(run, "timetable", lambda compute, **how: right(**change(compute, dict(how))))
    return run.run(SMOKE, False)


def test_claims_hold(smoke):
    _, config, data = smoke("y-poisson")
    found = claims.judge(poisson.EXPERIMENT.statements(config), poisson.EXPERIMENT.ensemble(config, data), smoke=True)
    assert config == SMOKE and {c.id: c.verdict for c in found if c.verdict != "holds"} == {}


@pytest.mark.slow
def test_claims_fail_of_another_shape(float32):
    found = failed(run.run(dataclasses.replace(SMOKE, shape=3.0), False))
    assert found >= {"fixed-dispersion", "staleness-law", "staleness-square"}


def test_claims_fail_of_workers_that_start_together(monkeypatch, float32):
    found = failed(with_tables(monkeypatch, lambda law, how: how | {"compute": law, "start": "together"}))
    assert found >= {"near-dispersion", "near-law", "fixed-dispersion"}


@pytest.mark.slow
def test_claims_fail_of_other_laws(monkeypatch, float32):
    right = run.law
    other = {"gamma": Exponential(), "equal": Gamma(4.0)}
    monkeypatch.setattr(run, "law", lambda config, name: other.get(name) or right(config, name))
    assert failed(run.run(SMOKE, False)) >= {"fixed-never", "staleness-equal", "near-dispersion", "near-law"}


@pytest.mark.slow
def test_claims_fail_of_equal_workers_in_turn_in_place_of_gamma_times(monkeypatch, float32):
    right = run.law
    monkeypatch.setattr(run, "law", lambda config, name: right(config, {"gamma": "equal"}.get(name, name)))
    # a third of a turn further than "staggered", so that no arrival is at the end of a window
    ahead = lambda p: (np.arange(p) + 1 / 3) / p
    turned = lambda law, how: how | {"compute": law, "start": ahead(how["workers"]) if _is_equal(law) else how["start"]}
    found = failed(with_tables(monkeypatch, turned))
    assert found >= {"near-poisson", "near-falls", "staleness-never", "staleness-square", "staleness-law"}


def _is_equal(law):
    return isinstance(law, Deterministic)


@pytest.mark.slow
def test_claims_fail_of_workers_of_random_phase_in_place_of_in_turn(monkeypatch, float32):
    turned = lambda law, how: how | {"compute": law, "start": "stationary"}
    assert "in-turn" in failed(with_tables(monkeypatch, turned))


@pytest.mark.slow
def test_claims_fail_where_a_tenth_of_the_jobs_is_lost(monkeypatch, float32):
    lost = lambda law, how: how | {"compute": law, "failure": 0.1}
    assert failed(with_tables(monkeypatch, lost)) >= {"staleness-mean", "near-dispersion", "near-law"}


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
