"""z-tree: EASGD Tree on a quadratic, in both communication schemes, against flat EASGD.

Command: sdesim figure z-tree. Leaves that compute for exponential times, two levels of averaging nodes above them, and
messages that take a fixed time (Z, Alg. 6). The mean of the root against time for several times of messages, and the
stationary variances of leaves, nodes and root against the moving rate, beside linear equations that are exact; then the
time to a level of the mean, and the variances, against the slow period of each scheme: tau_2 of the first (fast at the
bottom, slow above), tau_d of the second (fast up, slow down). Z's own experiments are neural networks; here statements
of section 6.1 are asked of a quadratic, and all constants are chosen [C].
"""

import equinox as eqx
import jax.numpy as jnp

from sdesim.coupling import Tree
from sdesim.dynamics import Dynamics
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.zhang.tree import claims, picture, run
from sdesim.papers.zhang.tree.config import PRESETS, SCHEMES, Config
from sdesim.steppers import AbstractStepper

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.zhang.tree.run"


def _copying(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    """In trees the greatest moving rate at all points."""
    tree = model.coupling
    if not isinstance(tree, Tree):
        return model, stepper
    alike = eqx.tree_at(lambda rule: rule.k, tree, jnp.full_like(tree.k, jnp.max(tree.k)))
    return eqx.tree_at(lambda m: m.coupling, model, alike), stepper


EXPERIMENT = Experiment(
    "z-tree",
    "After Z 6.1: EASGD Tree on a quadratic, two communication schemes and messages that take time",
    "A tree of averaging nodes reduces variance at several scales: its root has the least. Messages that take time "
    "slow it down. Fast messages upwards inform the root; fast ones at the bottom alone leave it behind, and average "
    "more.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "schemes exchanged": Mutation(
            "each scheme is taken for the other",
            names={
                f"{_HERE}.protocol": lambda right: (
                    lambda scheme, period: right(SCHEMES[1 - SCHEMES.index(scheme)], period)
                )
            },
        ),
        "messages at once": Mutation(
            "messages take no time",
            names={f"{_HERE}.stepper": lambda right: lambda scheme, period, delay: right(scheme, period, 0.0)},
        ),
        "nodes copy": Mutation("in trees moving rates are so great that nodes nearly copy each other", _copying),
    },
)
