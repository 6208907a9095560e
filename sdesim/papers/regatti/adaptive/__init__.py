"""r-adaptive: learning rates that fall with the staleness, on least squares.

Command: sdesim figure r-adaptive. AsyncSGD of memoryless workers on n samples of a linear model: the loss on unseen
data, the gap to the loss on the samples, the greatest stable learning rate and the time to a loss level, for a constant
learning rate, for rates that fall as a power of the staleness and for delay-adaptive ones, at all learning rates. Only
the abstract of the paper was at hand: its statements are taken up, and all constants are chosen [C].
"""

import dataclasses

import numpy as np

from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.regatti.adaptive import claims, picture, run
from sdesim.papers.regatti.adaptive.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.regatti.adaptive.run"

EXPERIMENT = Experiment(
    "r-adaptive",
    "After Regatti et al.: learning rates that fall with the staleness",
    "The more asynchronous the descent is, the lower the learning rate should be: that makes it stable and generalize "
    "well. A rate that falls with the staleness of each gradient does so by itself. Asked is where that holds: of the "
    "loss on unseen data it does, of its gap to the loss on the samples it does not while the descent is stable.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "rates blind": Mutation(
            "no learning rate knows the staleness",
            names={f"{_HERE}.stepper": lambda right: lambda workers, *_: right(workers, 0.0, run.NEVER)},
        ),
        "rates high": Mutation(
            "the lowest learning rate is not tried",
            config=lambda config: dataclasses.replace(config, etas=config.etas[1:]),
        ),
        "other samples": Mutation(
            "samples are drawn from another set than that whose loss is looked at",
            names={f"{_HERE}.Regression": lambda right: lambda rows, most: right(np.roll(rows, most, axis=0), most)},
        ),
    },
)
