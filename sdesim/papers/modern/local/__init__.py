"""m-local: Local SGD drifts along a valley of minima to where it is flat, the faster the longer its periods.

Command: sdesim figure m-local. On (1 + u^2) w^2 / 2, whose minima are w = 0 and whose Hessian there has the trace
1 + u^2, noise across the valley pushes agents along it, by -u E w^2. Between two exchanges agents have noise of their
own, which exchanges average: so long periods push more (Gu et al., arXiv 2303.01215), p times as much at most. Where
the learning rate falls, QSR (arXiv 2310.14423) lengthens the period, H = (alpha / eta)^2. The drift is beside the
differential equation of its slow motion. All constants are chosen [C].
"""

from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.local import claims, picture, run
from sdesim.papers.modern.local.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "m-local",
    "Local SGD in a valley of minima: the drift to flat ones against period and learning rate",
    "Local SGD generalizes better than parallel SGD at small learning rates and long periods, as it drifts faster to "
    "flat minima: between exchanges each agent has the noise of a small batch. Where the learning rate falls, periods "
    "must grow as (alpha / eta)^2 (QSR).",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations=run.MUTATIONS,
)
