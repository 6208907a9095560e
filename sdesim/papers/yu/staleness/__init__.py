"""y-staleness: a small staleness helps, a large one makes the descent diverge; with momentum and coupling too.

Command: sdesim figure y-staleness. Gradient descent on a quadratic with gradients that are some steps old: the
stationary variance and the rate of decay against h tau, beside the delay equation in closed form and the iteration
exactly, and whether and how fast everything decays over learning rate, delay, momentum and coupling, beside the
iteration's characteristic roots. Only the abstract of the paper was at hand: its statements are taken up, its formulas
are derived anew, and all constants are chosen [C].
"""

from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.yu.staleness import claims, picture, run
from sdesim.papers.yu.staleness.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "y-staleness",
    "After Yu, Chen & Poor: a small staleness helps, a large one diverges",
    "A small staleness of gradients need not harm: the descent is fastest at h tau = 1/e, e times as fast as with "
    "fresh gradients, and at h tau = pi/2 it diverges. What momentum and coupling change is read off the "
    "characteristic roots of the iteration.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
)
