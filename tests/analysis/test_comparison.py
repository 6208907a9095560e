"""Rules side by side: against what is known in closed form, and the table in the docs against the code."""

import re

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, objectives, source, theory
from sdesim.analysis import comparison
from sdesim.theory import bounds, quadratic

ETA, K, P, DELTA = 0.1, 1.0, 4, 0.9


@pytest.fixture(scope="module")
def table():
    return theory.compare()


def of(table, name):
    return {key: float(table[key].sel(model=name)) for key in comparison.WORDS}


@pytest.mark.slow
def test_plain_agents_are_those_of_theory(table):
    """SGD is stable below 2 / h; the pull of a quorum shrinks differences alone."""
    own = quadratic.sgd_variance(ETA, ETA**2)
    apart = (1 - 1 / P) * ETA**2 / (1 - (1 - ETA - ETA * K) ** 2)
    for name, limit, agent in (("SGD", 2.0, own), ("QSGD", 2 / (1 + K), own / P + apart)):
        found = of(table, name)
        assert found["limit"] == pytest.approx(limit, rel=1e-8) and found["agent"] == pytest.approx(agent, rel=1e-10)
        assert found["quorum"] == pytest.approx(own / P, rel=1e-10) and np.isnan(found["center"])
        assert found["speed_up"] == pytest.approx(P, rel=1e-10)
        assert found["rate"] == pytest.approx(-np.log(1 - ETA), rel=1e-10)
    # Differences are least where a step takes them off whole.
    assert of(table, "QSGD")["best_gain"] == pytest.approx(1 / ETA - 1, rel=1e-4)
    np.testing.assert_allclose([*of(table, "SD-QSGD").values()][2:], [*of(table, "QSGD").values()][2:], rtol=1e-10)


@pytest.mark.slow
def test_easgd_is_that_of_the_thesis(table):
    found, alpha = of(table, "EASGD"), ETA * K
    mean, _, center = quadratic.easgd_stationary(P, ETA, alpha, P * alpha, ETA**2)
    apart = (1 - 1 / P) * ETA**2 / (1 - (1 - ETA - alpha) ** 2)
    assert found["limit"] == pytest.approx(bounds.easgd_stability_limit(P, K, 1.0), rel=1e-8)
    for name, value in (("quorum", mean), ("center", center), ("agent", mean + apart)):
        assert found[name] == pytest.approx(value, rel=1e-10)
    assert found["speed_up"] == pytest.approx(quadratic.sgd_variance(ETA, ETA**2) / center, rel=1e-10)
    assert found["rate"] == pytest.approx(-np.log(quadratic.center_roots(P, ETA, alpha)[0]), rel=1e-10)
    # The best gain, by the closed form over a fine grid.
    gains = np.linspace(0.01, 3.95, 50_000)
    square = lambda k: (
        quadratic.easgd_stationary(P, ETA, ETA * k, P * ETA * k)[0] + (1 - 1 / P) / (1 - (1 - ETA - ETA * k) ** 2)
    )
    assert found["best_gain"] == pytest.approx(gains[np.argmin(square(gains))], abs=2e-4)


@pytest.mark.slow
def test_momentum_is_that_of_theory(table):
    delta_h = DELTA * (1 - ETA)
    own = quadratic.momentum_stationary(ETA, delta_h, ETA**2)[2]
    assert of(table, "SGD, momentum")["agent"] == pytest.approx(own, rel=1e-10)
    # eta h = 2 (1 + delta (1 - eta h)) at the limit
    assert of(table, "SGD, momentum")["limit"] == pytest.approx(2 * (1 + DELTA) / (1 + 2 * DELTA), rel=1e-8)
    found = of(table, "EASGD, momentum")
    exact = quadratic.eamsgd_stationary(P, ETA, delta_h, ETA * K, P * ETA * K, ETA**2)
    np.testing.assert_allclose([found["center"], found["quorum"], found["agent"]], exact[[0, 3, 6]], rtol=1e-10)
    assert found["speed_up"] == pytest.approx(own / exact[0], rel=1e-10)


def test_what_is_compared_covers_the_registry():
    """But for spikes, which come at epochs, and fragments that take turns."""
    compared = {type(model.coupling) for model in comparison.rules_compared().values()}
    assert set(coupling.RULES.values()) - compared == {coupling.Spiking, coupling.Streaming}


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_the_code_says(table):
    said = (source.package().parent / "docs" / "theory.md").read_text(encoding="utf-8")
    assert comparison.markdown(table) in said
    assert (
        len(
            re.findall(
                r"^\| (SGD|QSGD|SD-QSGD|EASGD|EASGD Tree, 2 x 2|mixing on a ring|outer optimizer|linear filter)",
                said,
                re.MULTILINE,
            )
        )
        == table.sizes["model"]
    )


def test_what_does_not_rest_has_no_moments_and_a_limit_below():
    model = sdesim.Dynamics(objectives.Quadratic(), sdesim.Quorum(1.0), noise.Gaussian(1.0), eta=1.5)
    found = of(theory.compare({"far": model}), "far")
    assert found["limit"] == pytest.approx(1.0, rel=1e-8)
    assert all(np.isnan(found[name]) for name in ("agent", "quorum", "center", "speed_up"))


@pytest.mark.parametrize(
    ("models", "kind", "words"),
    [
        ({}, TypeError, "^models={}: must be sdesim.Dynamics by name, one or more"),
        ({"a": 3}, TypeError, "^models=.*must be sdesim.Dynamics by name"),
        (3, TypeError, "^models=3: must be"),
    ],
)
def test_what_is_no_models_is_refused(models, kind, words):
    with pytest.raises(kind, match=words):
        theory.compare(models)


def test_a_model_that_is_no_map_of_moments_is_named():
    spiking = sdesim.Dynamics(objectives.Quadratic(), coupling.Spiking(1.0, 4.0, 1.0, 1.0), noise.Gaussian(1.0))
    with pytest.raises(ValueError, match=r"^models\['mine'\]: coupling=Spiking: jumps at epochs"):
        theory.compare({"mine": spiking})


def test_theory_has_no_other_names_than_its_own():
    with pytest.raises(AttributeError, match=r"^module 'sdesim.theory' has no attribute 'nothing'"):
        _ = theory.nothing
