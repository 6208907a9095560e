"""The claims of the mean-field figures can fail: on data that are wrong they do."""

import dataclasses

from sdesim import claims
from sdesim.papers import EXPERIMENTS
from sdesim.papers.boffi_slotine import one_dimensional as one


def failures(experiment, config, data):
    found = claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=True)
    return {c.id for c in claims.failed(found)}


def test_claims_of_the_predicted_figure_can_fail(float32):
    experiment = EXPERIMENTS["bs-meanfield"]
    config = dataclasses.replace(experiment.preset("smoke"), sims=20, agents=200, populations=(50, 200), cells=320)
    data = experiment.run(config, False)
    rolled = {n: v.roll({one.K: 2}, roll_coords=False) for n, v in data.items() if n.startswith("predicted")}
    found = failures(experiment, config, data.assign(rolled))
    assert {f"density-{x}" for x in "abcdef"} | {"mean", "limit-c", "limit-e"} <= found
    assert "noise" in failures(experiment, config, data.assign(mean_error=0.5 * data["mean_error"]))
    assert "mass" in failures(experiment, config, data.assign(predicted_masses=1.001 * data["predicted_masses"]))


def test_claims_of_the_phase_diagram_can_fail(smoke):
    experiment, config, data = smoke("bs-phase")
    assert failures(experiment, config, data) == set()
    assert {"plane", "cut"} <= failures(
        experiment, config, data.assign(plane=1.3 * data["plane"], cut=1.3 * data["cut"])
    )
    assert "ordered" in failures(
        experiment, config, data.assign(plane=data["plane"].copy(data=data["plane"].values[::-1]))
    )
    swapped = data.assign(tilted=data["tilted"].copy(data=data["tilted"].values[::-1]))
    assert "two-agreements" in failures(experiment, config, swapped)
