"""y-schedule: which workers to activate, how stale a gradient may be, how many to wait for: read off the roots.

Command: sdesim figure y-schedule. AsyncSGD on a quadratic of curvature h. Rates of decay of the mean of the server
against the number of activated workers of unequal speed, the fastest first; against the threshold of staleness beyond
which gradients are discarded (Ringmaster); and against the number of gradients that the server waits for (K-async
SGD); beside the exact linear law of memoryless workers and characteristic roots in the limit of many workers. Only the
abstract of the paper was at hand: its statements are taken up, its formulas are derived anew, and all constants are
chosen [C].
"""

from sdesim.asynchrony import AsyncSGD, KAsyncSGD, Ringmaster
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import of_protocol
from sdesim.papers.yu.schedule import claims, picture, run
from sdesim.papers.yu.schedule.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "y-schedule",
    "After Yu, Chen & Poor: which workers to activate, and how stale a gradient may be",
    "Workers, the threshold of staleness and the number of gradients that are averaged can be chosen before anything "
    "is run: they decide the law of the delays, whose characteristic roots say how fast the mean decays and where it "
    "diverges. Slow workers that are added to enough fast ones slow the descent down.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "thresholds x 8": of_protocol("stale gradients are used", Ringmaster, lambda p: Ringmaster(8 * p.threshold)),
        "no waiting": of_protocol("the server waits for nobody", KAsyncSGD, lambda p: AsyncSGD()),
    },
)
