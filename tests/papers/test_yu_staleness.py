"""y-staleness: its claims fail of wrong models, and what it takes rates from is right."""

import dataclasses
import functools

import numpy as np
import pytest
import wrong_models

from sdesim.dynamics import HeavyBall, Nesterov
from sdesim.papers.yu import staleness as y_staleness
from sdesim.papers.yu.staleness import run
from sdesim.papers.yu.staleness.claims import rate
from sdesim.steppers.euler_maruyama import EulerMaruyama

SMOKE = y_staleness.PRESETS["smoke"]
failed = functools.partial(wrong_models.failed, y_staleness)


def test_claims_hold(smoke):
    _, config, data = smoke("y-staleness")
    assert config == SMOKE and failed(data) == set()


def test_claims_fail_of_fresh_gradients(monkeypatch, float32):
    monkeypatch.setattr(run, "stepper", lambda config, delay: EulerMaruyama())
    fails = {"variance", "variance-law", "small-helps", "large-diverges", "atlas", "atlas-border", "momentum-narrows"}
    assert failed(run.run(SMOKE)) >= fails


@pytest.mark.slow
def test_claims_fail_of_gradients_taken_ahead(monkeypatch, float32):
    monkeypatch.setattr(run, "HeavyBall", Nesterov)
    assert "atlas" in failed(run.run(SMOKE))


@pytest.mark.slow
def test_claims_fail_without_momentum_and_coupling(monkeypatch, float32):
    monkeypatch.setattr(run, "HeavyBall", lambda delta: HeavyBall(0.0))
    none = dataclasses.replace(SMOKE, coupling=1e-9, delta=1e-9)
    data = run.run(none).assign_coords(delta=[0.0, SMOKE.delta])
    found = failed(data)
    assert found == {"atlas", "atlas-border", "momentum-narrows", "momentum-helps", "coupling-steadies"}


@pytest.mark.slow
def test_claims_fail_of_another_learning_rate(monkeypatch, float32):
    right = SMOKE.etas
    monkeypatch.setattr(y_staleness.Config, "etas", lambda self, delay, shares: 1.1 * right(delay, shares))
    data = run.run(SMOKE)
    monkeypatch.undo()
    assert failed(data) >= {"variance", "atlas"}


def test_rates_of_known_paths():
    n = np.arange(300)
    assert rate(1e-12 * 0.9**n) == pytest.approx(-np.log(0.9), rel=1e-6)
    assert rate(1e-12 * 1.3**n) == pytest.approx(-np.log(1.3), rel=1e-6)  # beyond what is looked at, in the end
    assert rate(1e-12 * 0.6**n * np.cos(2 * n)) == pytest.approx(-np.log(0.6), rel=1e-6)
    assert np.isnan(rate(np.full(300, np.inf)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delays": (4, 1)}, "delays=.*increase"),
        ({"learning": (0.1, 0.9)}, "learning=.*must go beyond 1"),
        ({"quiet": (0.1, 1.2)}, "quiet=.*must stay below 1"),
        ({"delta": 1.0}, "delta=1"),
        ({"sims": 1}, "sims=1"),
        ({"steps": 50}, "steps=50"),
        ({"sigma": -1.0}, "sigma=-1"),
    ],
)
def test_unfit_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMOKE, **change)
