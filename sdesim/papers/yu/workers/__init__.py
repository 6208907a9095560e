"""y-workers: why more workers stop helping asynchronous SGD, for three laws of compute times.

Command: sdesim figure y-workers. AsyncSGD on a quadratic of curvature h: p workers send gradients to a server, each
taken where the server was when the worker read it. How fast the mean of the server decays, and how fast its mean
square, against p, in units of the mean compute time; how long it takes to a loss level above the noise floor; and the
mean-square rate over workers and learning rate. Exponential times have closed laws of means and of second moments,
equal times that arrive in turn a recursion; gamma times lie between, with the roots of a delay equation in the limit of
many workers and small steps. Only the abstract of the paper was at hand: its statements are taken up, its formulas are
derived anew, and all constants are chosen [C].
"""

import functools

from sdesim.asynchrony import Deterministic, Exponential, Gamma
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import of_law
from sdesim.papers.yu.workers import claims, picture, run
from sdesim.papers.yu.workers.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "y-workers",
    "After Yu, Chen & Poor: why more workers stop helping asynchronous SGD",
    "With more workers gradients come faster and staler. The run time need not fall with their number: a small "
    "staleness helps, a large one makes the descent diverge. The law of compute times decides: of memoryless workers "
    "the mean saturates and the mean square diverges much later, of regular ones there is a best number and a limit.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "regular memoryless": of_law("equal compute times are exponential", Deterministic, Exponential),
        "gamma memoryless": of_law("gamma compute times are exponential", Gamma, Exponential),
        "memoryless gamma": of_law(
            "exponential compute times are of shape 4", Exponential, functools.partial(Gamma, 4.0)
        ),
    },
)
