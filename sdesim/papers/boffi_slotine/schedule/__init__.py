"""bs-schedule: a gain that grows in time removes the coupling's own error from QSGD's limit (BS Thm 5.1).

Command: sdesim figure bs-schedule. Theorem 5.1 bounds E|x_mean - x*| by two terms: a disturbance of order 1/k, made by
agents that spread over a loss that is not quadratic, and noise of order sqrt(eta / p), which no gain changes. Here the
loss is skewed, so that the disturbance is a bias. It is measured for constant gains and for gains that grow as sqrt(t)
and as t, with eta constant and with eta halved to a floor. In the iteration a step multiplies what separates agents by
1 - eta (k + f''), so that gain helps up to k = 1/eta and hurts beyond: a floor of order eta^2 stays until eta falls.

The bias is far below the noise of x_mean. Agents on the quadratic of the same curvature with the same noise have no
bias: their mean is taken off, as a control variate. All constants are chosen [C]; the loss has its largest third
derivative at the minimum.
"""

from sdesim.papers.boffi_slotine.schedule import claims, picture, run
from sdesim.papers.boffi_slotine.schedule.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-schedule",
    "Boffi & Slotine, Theorem 5.1: gains that grow in time",
    "Of the two terms that bound QSGD's distance to the minimum, the disturbance falls as 1/k and the noise does not "
    "depend on k. We let k grow in time: the bias it makes on a skewed loss falls away and the noise stays, up to "
    "k = 1/eta.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
)
