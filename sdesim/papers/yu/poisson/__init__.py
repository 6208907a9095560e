"""y-poisson: where the arrivals of many workers are Poisson, and where they never are.

Command: sdesim figure y-poisson. The paper takes aggregated gradients for a Poisson process. Of workers that have
worked for long this is right in windows of the order of m / p, m the mean time of a job, and the better the more
there are; over a window of fixed length the variance of the number of arrivals over its mean does not depend on p,
and workers in step never become Poisson. The staleness of a gradient counts arrivals over one job, a window that does
not shrink: its variance over its mean grows with p unless all times are equal. All of it for timetables alone,
without a loss. Only the abstract of the paper was at hand, and all constants are chosen [C].
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from sdesim.asynchrony import Deterministic, Exponential, Gamma
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation
from sdesim.papers.yu.poisson import claims, picture, run
from sdesim.papers.yu.poisson.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]


def _tables(says: str, other: Callable[..., Any], laws: Callable[[Any], Any] | None = None) -> Mutation:
    """Timetables that are made with other arguments, of (law, workers), and laws by other names."""
    made = lambda right: lambda compute, **how: right(compute, **how | other(compute, how["workers"]))
    names = {"papers.yu.poisson.run.timetable": made}
    return Mutation(says, names=names | ({} if laws is None else {"papers.yu.poisson.run.law": laws}))


def _ahead(law: Any, workers: int) -> dict[str, Any]:
    """Equal workers in turn, a third of one further than "staggered", so that no arrival is at the end of a window."""
    return {"start": (np.arange(workers) + 1 / 3) / workers} if isinstance(law, Deterministic) else {}


MUTATIONS = {
    "shape 3": Mutation("gamma times have shape 3", config=lambda config: dataclasses.replace(config, shape=3.0)),
    "start together": _tables("all workers begin together", lambda law, workers: {"start": "together"}),
    "other laws": _tables(
        "gamma times are exponential, and equal ones gamma times",
        lambda law, workers: {},
        lambda right: lambda c, name: {"gamma": Exponential(), "equal": Gamma(c.shape)}.get(name) or right(c, name),
    ),
    "gamma in turn": _tables(
        "gamma times are equal, of workers in turn",
        _ahead,
        lambda right: lambda config, name: right(config, "equal" if name == "gamma" else name),
    ),
    "random phase": _tables("all workers begin at random phases", lambda law, workers: {"start": "stationary"}),
    "jobs lost": _tables("a tenth of the jobs is lost", lambda law, workers: {"failure": 0.1}),
}

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
    mutations=MUTATIONS,
)
