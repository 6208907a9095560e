"""bs-rates: agents with different learning rates (BS 3.4), and what explorers among them are good for.

Command: sdesim figure bs-rates. Rates that differ can mean two things. In the paper's model all agents have the same
drift and noise of their own, sqrt(eta_i / b_i): synchronization (BS 22) and the noise of the quorum then hold with the
mean of eta_i / b_i. In the iteration every agent takes its own steps, which scales its drift and the pull on it too:
the coupling conserves sum x^i / eta_i, the slow agents weigh most, and as k grows the population behaves like one of
equal rates at the harmonic mean. On quadratics both are linear, with exact laws that runs must agree with. Then half of
the agents explore the oscillating loss at a large rate and half at a small one, in both models, and in the iteration
with one moving rate eta_i k_i for all, which conserves the quorum. All constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.rates import claims, picture, run
from sdesim.papers.boffi_slotine.rates.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.mutations import Mutation

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-rates",
    "Boffi & Slotine, section 3.4: agents with different learning rates",
    "Agents may have learning rates of their own: large ones explore and avoid sharp minima, small ones converge. With "
    "a common drift explorers help; where each agent takes its own steps, slow agents hold the quorum back unless all "
    "have one moving rate.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
    mutations={
        "rates unequal": Mutation(
            "learning rates differ where they should be equal",
            names={
                "papers.boffi_slotine.rates.config.Config.rates": lambda right: (
                    lambda config, contrast: right(config, max(contrast, 0.2))
                )
            },
        )
    },
)
