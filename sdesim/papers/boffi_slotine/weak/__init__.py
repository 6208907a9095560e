"""bs-weak: how far the law of stochastic gradient descent is from that of its SDEs, against the learning rate.

Command: sdesim figure bs-weak. For QSGD and for EASGD with its center, on a loss that is not quadratic, the expectation
of a smooth function of an agent and the center under the iteration is set beside that under three SDEs: the first-order
model (BS 2-6), the same with the loss corrected as for a single agent, f + (eta/4) |grad f|^2, and the second-order
model, F - (eta/2) (dF/dX) F with F the whole drift, coupling and center included (Li, Tai and E 2017). The first two
must err by O(eta), the third by O(eta^2). All constants are chosen [C].

The iteration and its SDEs are driven by one Brownian path, the iteration by its increments over eta, and by its mirror
image, so that what is averaged is a small difference. The SDE is solved by steps of eta / 4 and eta / 8 and
extrapolated; a third solution measures the bias that this leaves, and it is a statement that it is small. Numbers of
iterations that double share their compiled programs.
"""

from sdesim.papers.boffi_slotine.weak import claims, picture, run
from sdesim.papers.boffi_slotine.weak.config import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

_HERE = "papers.boffi_slotine.weak.run"
_EXCHANGED = {"first": "second", "loss": "second", "second": "first"}

EXPERIMENT = Experiment(
    "bs-weak",
    "Weak error of the SDE models of QSGD and EASGD against the learning rate",
    "The continuous-time models approximate the law of the iterations to first order in the learning rate. A corrected "
    "drift reaches second order, but the correction must take in the coupling and the center as well as the loss.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations={
        "models exchanged": Mutation(
            "the drift is corrected where it should not be, and is not where it should",
            names={
                f"{_HERE}.dynamics": lambda right: (
                    lambda config, rule, model, eta: right(config, rule, _EXCHANGED[model], eta)
                )
            },
        ),
        "not extrapolated": Mutation(
            "the SDE is solved by short steps, and that is all",
            names={f"{_HERE}.extrapolated": lambda right: lambda fine, coarse: fine},
        ),
    },
)
