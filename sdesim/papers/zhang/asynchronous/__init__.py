"""z-async: asynchronous EASGD against its synchronous model (Z ch. 3, Alg. 1).

Command: sdesim figure z-async. Z analyzes EASGD whose workers step together, and runs it asynchronously. Here both are
on a quadratic loss with additive noise: workers that step together (Z 2.3-2.4), workers whose compute times are without
memory, so that they come at random, and workers of equal times that come in turn (round-robin, Z 3.55-3.56). The
stationary variance of the center, over the number of workers, the moving rate alpha = eta k and the period tau, and
where the three are stable, over eta h and alpha. All predictions are `analysis.linearize`: the map of second moments of
the very code that simulates, joined with the workers' phases where tau > 1. Constants are chosen [C].
"""

from sdesim.asynchrony import Deterministic, Exponential
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import of_law
from sdesim.papers.zhang.asynchronous import claims, picture, run
from sdesim.papers.zhang.asynchronous.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "z-async",
    "Asynchronous EASGD against its synchronous model (after Zhang, ch. 3)",
    "The synchronous model tells what the asynchronous algorithm does where moving rates are small: the variance of "
    "the center nearly, and that it falls with more workers. It is unstable at moving rates that workers one at a time "
    "bear, since all of them pull the center at once. Random turns make the center noisier than equal ones; a longer "
    "period makes it quieter and lets the workers wander.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "turns equal": of_law("workers that come at random come in turn", Exponential, Deterministic),
        "turns random": of_law("workers that come in turn come at random", Deterministic, Exponential),
    },
)
