"""y-poisson: where the arrivals of many workers are Poisson, and where they never are.

Command: sdesim figure y-poisson. The paper takes aggregated gradients for a Poisson process. Of workers that have
worked for long this is right in windows of the order of m / p, m the mean time of a job, and the better the more
there are; over a window of fixed length the variance of the number of arrivals over its mean does not depend on p,
and workers in step never become Poisson. The staleness of a gradient counts arrivals over one job, a window that does
not shrink: its variance over its mean grows with p unless all times are equal. All of it for timetables alone,
without a loss. Only the abstract of the paper was at hand, and all constants are chosen [C].
"""

from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.yu.poisson import claims, picture, run
from sdesim.papers.yu.poisson.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "y-poisson",
    "After Yu, Chen & Poor: where aggregated arrivals are Poisson",
    "The arrivals of many workers together are close to a Poisson process, whatever the law of their compute times. In "
    "windows of the order of m / p they are; over a window that does not shrink with p they are not, nor if the "
    "workers are in step; and the staleness of a gradient, which looks over one job, never is.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
)
