"""r-stability: twins of asynchronous SGD, and what they say of unseen data.

Command: sdesim figure r-stability. Twins are two runs on n samples that differ in one of them, with the same start,
timetable and drawn samples. How far apart their servers are in mean square, against the number of samples, workers and
learning rate, beside what is exact and beside a bound; and the gap of losses, unseen less seen. The losses are
quadratic of one curvature, so that all is exact: for workers that arrive in turn, whose gradients are all p - 1
arrivals old, and for memoryless workers. Only the abstract of the paper was at hand: its statements are taken up, and
all constants are chosen [C].
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp

from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation, of_noise
from sdesim.papers.regatti.stability import claims, picture, run
from sdesim.papers.regatti.stability.config import LAWS, PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.regatti.stability"

EXPERIMENT = Experiment(
    "r-stability",
    "After Regatti et al.: how far asynchronous SGD moves when one sample is replaced",
    "Asynchronous SGD generalizes well given enough samples, and the more asynchronous it is the lower the learning "
    "rate should be. Twins, which differ in one sample, tell: their mean square distance grows with staleness and "
    "falls with samples and with the rate; the gap between unseen and seen loss falls with samples alone.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "samples unlike": Mutation(
            "samples are unlike the unseen ones",
            names={f"{_HERE}.config.Config.samples": lambda right: lambda config: right(config) + 0.3},
        ),
        "samples few": of_noise("all draw from the fewest samples", "count", lambda n: jnp.full_like(n, jnp.min(n))),
        "laws exchanged": Mutation(
            "each law of compute times is taken for the other",
            names={f"{_HERE}.run.stepper": lambda right: lambda law: right(LAWS[1 - LAWS.index(law)])},
        ),
        "rate kept": Mutation(
            "the lower learning rate is not lower",
            lambda m, s: (eqx.tree_at(lambda m: m.eta, m, jnp.full_like(m.eta, jnp.max(m.eta))), s),
        ),
        "not at rest": Mutation("runs are too short", config=lambda config: dataclasses.replace(config, arrivals=15)),
    },
)
