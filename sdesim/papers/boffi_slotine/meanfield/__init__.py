"""bs-meanfield: Figure 1 of Boffi and Slotine for infinitely many agents, predicted without sampling.

Command: sdesim figure bs-meanfield. The law of infinitely many agents is carried through the iterations by its exact
transfer operator; simulations of many agents lie on its densities and means, and approach them as 1 / sqrt(p) with the
factor that linear noise theory gives. All constants of the loss and of Figure 1 are chosen [C].
"""

import dataclasses

from sdesim.papers.boffi_slotine.meanfield import claims, picture, run
from sdesim.papers.boffi_slotine.meanfield.config import BINS, PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]


def _predicted_at(says: str, k: float) -> Mutation:
    """The law of infinitely many agents is that of one gain, at all panels."""
    return Mutation(says, names={"papers.boffi_slotine.meanfield.run.Quorum": lambda right: lambda _: right(k)})


EXPERIMENT = Experiment(
    "bs-meanfield",
    "Fig. 1 of Boffi & Slotine for infinitely many agents, predicted without sampling",
    "Not in the paper: with infinitely many agents each feels the deterministic mean of its own law, and that law can "
    "be computed exactly, iteration by iteration. It predicts the densities and means of Figure 1, and how far p "
    "agents stray from them.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations={
        "predicted uncoupled": _predicted_at("the prediction is of agents that do not pull on each other", 0.0),
        "predicted at d": _predicted_at("the prediction has the gain of panel d everywhere", Config().k[3]),
        "cells few": Mutation(
            "the law has the fewest cells there may be",
            config=lambda config: dataclasses.replace(config, cells=2 * BINS),
        ),
    },
)
