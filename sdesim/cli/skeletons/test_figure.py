"""The figure skeleton at smoke size: its claims hold, and a wrong model breaks each."""

from skeleton import EXPERIMENT

from sdesim.papers.frame import breaks
from sdesim.papers.frame.experiment import judged


def test_claims_hold():
    config = EXPERIMENT.preset("smoke")
    found = judged(EXPERIMENT, config, EXPERIMENT.run(config, False), "smoke")
    assert [claim.verdict for claim in found] == ["holds"]


def test_each_claim_fails_without_coupling():
    broken = breaks.under_wrong_models(EXPERIMENT, only=("coupling off",))
    assert all("coupling off" in names for names in broken.breaks().values())
