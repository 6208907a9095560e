"""bs-filters: one agent in feedback with a filter of itself (BS 64), beside SGD and momentum.

Command: sdesim figure bs-filters. With p = 1 EASGD is SGD in feedback with a low-pass filter of its own output, second
order in time, and in general

    dx = (-grad f(x) + k (c - x)) dt + sqrt(eta) B dW,    dc = filter(c, x) dt,

with a linear filter r (x - c), or one that saturates, r w tanh((x - c) / w). Under a constant force all of it drifts at
the effective rate eta r / (r + k), as momentum does at eta / (1 - delta): filters, SGD, heavy ball and Nesterov are
compared at equal effective rates, where slow motion and its noise agree. What differs is fast: the agent explores about
its center with the noise of the full rate, so that the center descends a smoothed loss.

Exact here: variances on a quadratic (h its curvature), for linear filters as eta -> 0

    Var x = (eta sigma^2 / 2h) (h + r) / (h + r + k),   Var c = (eta sigma^2 / 2h) r / (h + r + k),

and rates of convergence, from the eigenvalues of the iteration. All constants are chosen [C].
"""

from sdesim.coupling import LinearFilter, SaturatingFilter
from sdesim.papers.boffi_slotine.filters import claims, picture, run
from sdesim.papers.boffi_slotine.filters.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.boffi_slotine.filters.run"

EXPERIMENT = Experiment(
    "bs-filters",
    "Boffi & Slotine, BS 64: single-agent methods with a filter",
    "One agent in feedback with a low-pass filter of itself is a method of second order in time, and other filters are "
    "possible. We set a linear and a saturating filter beside SGD and momentum of the same effective learning rate.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "nothing saturates": Mutation(
            "the saturating filter is linear",
            names={f"{_HERE}.SaturatingFilter": lambda right: lambda rate, width: LinearFilter(rate)},
        ),
        "all saturate": Mutation(
            "the linear filter saturates",
            names={f"{_HERE}.LinearFilter": lambda right: lambda rate: SaturatingFilter(rate, Config().width)},
        ),
    },
)
