"""bs-meanfield: Figure 1 of Boffi and Slotine for infinitely many agents, predicted without sampling.

Command: sdesim figure bs-meanfield. The law of infinitely many agents is carried through the iterations by its exact
transfer operator; simulations of many agents lie on its densities and means, and approach them as 1 / sqrt(p) with the
factor that linear noise theory gives. All constants of the loss and of Figure 1 are chosen [C].
"""

from sdesim.papers.boffi_slotine.meanfield import claims, picture, run
from sdesim.papers.boffi_slotine.meanfield.config import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

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
)
