"""bs-phase: where many coupled agents agree, in the plane of gain and noise, predicted and simulated.

Command: sdesim figure bs-phase. On a symmetric double well of bounded curvature, infinitely many agents agree on one
side when the gain exceeds a critical one, which grows with the temperature of their noise. Simulations of p agents lie
on exact averages at finite p. On a tilted well two agreements are stable between two folds. Constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.phase import claims, picture, run
from sdesim.papers.boffi_slotine.phase.config import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-phase",
    "Phase diagram of consensus in gain and noise, predicted for infinitely many agents and simulated",
    "Not in the paper: above which gain do agents on a symmetric double well agree on a side, how does it grow with "
    "the noise, and what remains of the transition for finitely many of them.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
)
