"""m-validity: at which learning rates an SDE describes SGD, in which statistic.

Command: sdesim figure m-validity. SGD on a quadratic, refined to its SDE in two ways, by SVAG (Li, Malladi and Arora,
arXiv 2102.12470) and by Euler-Maruyama on one Brownian path, with `analysis.validity`. Under noise of rare large
gradients, whose kurtosis the SDE does not have, and under noise that grows with the distance from the minimum. All is
set beside what is exact (`theory.refinement`); all constants are chosen [C].
"""

from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.validity import claims, picture, run
from sdesim.papers.modern.validity.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "m-validity",
    "Where the SDE of SGD breaks: refinements by SVAG and by Euler-Maruyama, beside exact moments",
    "An SDE describes SGD where a statistic does not move as steps are refined towards it (SVAG). How far it moves is "
    "the weak error at that learning rate, and another statistic may move much further: rare gradients leave in SGD a "
    "kurtosis that no SDE has.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations=run.MUTATIONS,
)
