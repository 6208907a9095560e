"""bs-sync: how near agents stay to their mean, against gain, number and step, beside the bound (BS 22).

Command: sdesim figure bs-sync. The bound is one of the SDE, sum_i E|x^i - mean|^2 <= (p - 1) eta C / (2 b (k - c)),
with C the trace of an agent's noise covariance and c the largest concavity of the loss. At dt = eta the iteration
exceeds it; the same argument made for Euler-Maruyama gives the discrete form that holds there, and runs at smaller and
smaller steps approach the bound itself. The loss is s x^2 / 2 + w log cosh x in each coordinate, whose curvature is
bounded everywhere: w < -s is a double well, w = 0 a quadratic (bound and discrete form are then exact), w > 0 strongly
convex. All constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.sync import claims, picture, run
from sdesim.papers.boffi_slotine.sync.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-sync",
    "Boffi & Slotine, eq. 22: how closely coupled agents synchronize",
    "Coupled agents keep a distance from their mean whose square, summed over agents, is at most proportional to their "
    "number less one, the learning rate and the noise, and falls with the gain beyond the concavity of the loss. The "
    "bound is attained where the loss is quadratic and where agents stand on a hilltop; the iteration at a finite "
    "learning rate obeys its discrete form.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
)
