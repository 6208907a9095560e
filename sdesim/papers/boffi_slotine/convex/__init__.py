"""bs-convex: how near the minimum of a strongly convex loss agents stay, beside Theorems 5.1-5.3 of BS.

Command: sdesim figure bs-convex. SGD, QSGD, EASGD (mean of the agents and center) and QSGD with momentum on a loss that
is not quadratic: s x^2 / 2 + w log cosh x in each coordinate, tilted so that its third derivative is greatest at the
minimum, which leaves the mean of weakly coupled agents a bias that more agents do not remove; QSGD also on that loss in
rotated coordinates, with noise along one of them. Below, how tight the bounds are, and where the iteration of EASGD
becomes unstable, of which its bound says nothing. All constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.convex import claims, picture, run
from sdesim.papers.boffi_slotine.convex.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import noise

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-convex",
    "Boffi & Slotine, Theorems 5.1-5.3: convergence to the minimum of a strongly convex loss",
    "The mean of coupled agents stays within a distance of the minimum that falls as one over the square root of their "
    "number, plus a bias that coupling removes; with momentum likewise. The bound for EASGD does not fall with the "
    "number of agents, although the error does; what limits EASGD is the stability of its iteration.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "noise x 10": noise("noise is ten times as large", 10.0),
        "noise x 1/10": noise("noise is a tenth as large", 0.1),
    },
)
