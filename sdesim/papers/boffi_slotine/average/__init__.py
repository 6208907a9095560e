"""bs-average: the law of the time average of the quorum on a quadratic loss (BS 5.5, Lemma 5.5).

Command: sdesim figure bs-average. With z_n the mean of the quorum over n iterations of QSGD on f = x^T A x / 2, with
gradient noise of covariance S,

    sqrt(n) z_n  ->  N(0, A^-1 S A^-T / p)        (BS 59; with time t = n eta, sqrt(t / eta) z_t)

whatever the coupling gain, and whatever matrix preconditions the gradients of all agents alike. Agents that are
preconditioned differently lose this as soon as they are coupled. The noise here is skewed (exponential), so that the
normal law is a limit and not what was put in.

The iteration is linear, and the law of sqrt(n) z_n is known exactly for every n: its covariance and skewness are what
measurements are set beside, and the approach to the limit is that of the exact curve. All constants are chosen [C].
"""

import numpy as np

from sdesim import init
from sdesim.coupling import Elastic
from sdesim.papers.boffi_slotine.average import claims, picture, run
from sdesim.papers.boffi_slotine.average.config import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.boffi_slotine.average.run"

EXPERIMENT = Experiment(
    "bs-average",
    "Boffi & Slotine, Lemma 5.5: the time average of the quorum on a quadratic loss",
    "The time average of the quorum becomes normal with the least covariance there can be, whatever the coupling gain "
    "and whatever matrix preconditions all agents alike. Agents that are preconditioned differently lose this when "
    "they are coupled.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations={
        "gradients unconditioned": Mutation(
            "the noise is preconditioned, and gradients are not",
            names={f"{_HERE}.Preconditioned": lambda right: lambda of, matrix: right(of, matrix=np.eye(len(matrix)))},
        ),
        "start far": Mutation(
            "agents start far from the minimum, each at a place of its own",
            names={f"{_HERE}.sweep": lambda right: lambda *of, **how: right(*of, init=init.Normal(0.0, 10.0), **how)},
        ),
        "fixed center": Mutation(
            "agents are pulled to where they start, and not to their mean",
            names={f"{_HERE}.Quorum": lambda right: lambda k: Elastic(k, 0.0)},
        ),
        "noise even": Mutation("the noise has no skewness", names={f"{_HERE}.Exponential": lambda right: run.Normal}),
    },
)
