"""bs-noise: the noise of the mean of coupled agents, and what their spread does to its drift (BS 31, Thm 3.2).

Command: sdesim figure bs-noise. The mean x of p agents obeys dx = (-grad f(x) + eps) dt + sqrt(eta / (b p)) B dW: its
noise is that of one agent with covariance 1/p, and the disturbance eps = grad f(x) - mean of grad f(x^i) is due to the
agents' spread: E|eps| is at most proportional to 1 / (k - concavity), and does not fall with p. Losses have bounded
curvature and are tilted, so that the gradient vanishes where the third derivative of log cosh is greatest; there eps
is as great as it can be, and has a mean. All constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.noise import claims, picture, run
from sdesim.papers.boffi_slotine.noise.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-noise",
    "Boffi & Slotine, Theorem 3.2: noise and disturbance of the quorum",
    "The mean of coupled agents descends the loss with noise whose covariance is that of one agent over their number, "
    "and with a disturbance that their spread causes. Stronger coupling removes the disturbance as one over the gain; "
    "more agents do not.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "losses convex": Mutation(
            "all losses are the convex one, which is not quadratic",
            names={
                "papers.boffi_slotine.noise.config.Config.loss": lambda right: (
                    lambda config, name: right(config, "convex")
                )
            },
        )
    },
)
