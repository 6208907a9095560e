"""m-disagreement: what of the disagreement between agents is left where the learning rate falls, and along what.

Command: sdesim figure m-disagreement. Agents of decentralized SGD mix with their neighbors on a ring, by a weight that
stays, that falls with the learning rate, or as its square, which keeps agents apart (DSGD-AC, arXiv 2602.02899:
`schedules.Fading`). On a quadratic the second moment of each mode of the graph along each direction of the Hessian is
one exact map; in the valley of m-local the disagreement across it pushes agents to where it is flat. All constants are
chosen [C].
"""

from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.disagreement import claims, picture, run
from sdesim.papers.modern.disagreement.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "m-disagreement",
    "The spectrum of agents' disagreement beside the Hessian's, and a coupling that falls with the learning rate",
    "Decentralized agents that agree as the learning rate falls lose what lets them find flat minima; a weight of "
    "exchanges that falls too keeps them apart. On a quadratic it keeps disagreement along flat directions alone: "
    "curvature damps it whatever the weight is.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations=run.MUTATIONS,
)
