"""m-outer: stability, rate and noise of DiLoCo's outer optimizer on a quadratic, and its best learning rate.

Command: sdesim figure m-outer. Workers take a period of inner steps from a center, which SGD with Nesterov's momentum
moves by the mean of the ways they came (DiLoCo, arXiv 2311.08105): `coupling.Outer` by `Iteration`. On a quadratic of
two curvatures a round is one linear map of each (`theory.outer`), by which second moments after any number of rounds
are exact. All constants are chosen [C].
"""

from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.outer import claims, picture, run
from sdesim.papers.modern.outer.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "m-outer",
    "DiLoCo on a quadratic: stability, speed and noise against the outer learning rate and momentum",
    "DiLoCo moves a center by an outer optimizer with momentum; Local SGD is its learning rate of 1 without momentum. "
    "On a quadratic: up to which outer learning rate is it stable, and is the best one above 1? It is with little "
    "noise and momenta up to one half; not with a momentum of 0.9, and not where noise decides.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations=run.MUTATIONS,
)
