"""bs-smoothing: which smoothed loss the center of mass descends (BS 4, BS 39).

Command: sdesim figure bs-smoothing. An agent's y_t = x_t - eta grad f(x_t) descends, in expectation, the loss convolved
with the noise of one step (Kleinberg et al.): E[y_{t+1} - y_t | y_t] = -eta grad E f(y_t + eta zeta). The mean Y of
all agents' y is said to descend the loss convolved with the mean of p such noises, narrower by 1/sqrt(p), up to a
distortion that synchronization removes.

With w the points at which agents take their gradients, Y_{t+1} = Y_t + eta mean(zeta) - eta mean(grad f(w)) exactly, so
the conditional expectation of -mean(grad f(w_{t+1})) is measured, over many paths, for every Y. It is what the agents'
scatter about their mean lets through, and that depends on the order within a step:

- "gauss-seidel", pull and then descend: at eta k = 1 all gradients are taken at the mean, and the statement is exact.
- "jacobi", both from the old state, as in BS 37: agents are at least as far apart as the noise of one step has just put
  them, and the loss is smoothed at least as much as for one agent: where it is flat the width's square over that of one
  agent is 1/p + (1 - 1/p) / (1 - (1 - eta k)^2). In the SDE the second term is (1 - 1/p) / (2 eta k), which is small
  for gains that no iteration could follow.

What agents' scatter lets through is predicted by the law that their noise of the past and present gives a gradient's
point about Y where the loss is flat (`smoothing`). All constants are chosen [C].
"""

from sdesim.papers.boffi_slotine.smoothing import claims, picture, run
from sdesim.papers.boffi_slotine.smoothing.config import PRESETS, Config
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import Mutation, noise

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "bs-smoothing",
    "Boffi & Slotine, section 4: the smoothed loss that the center of mass descends",
    "In expectation an agent descends the loss smoothed by its noise. The center of mass of synchronized agents "
    "descends a loss smoothed by their averaged noise, less by the square root of their number, up to a distortion "
    "that vanishes with synchronization. We find it so where agents are pulled before they descend; where they do both "
    "at once, many agents smooth the loss no less than one, whatever the gain.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations={
        "noise x 1/10": noise("noise is a tenth as large", 0.1),
        "pull first": Mutation(
            "agents are pulled before they descend where they should do both at once",
            names={
                "papers.boffi_slotine.smoothing.run.sweep": lambda right: (
                    lambda *of, **how: right(
                        *of, **how | {"order": "gauss-seidel", "observe": run.Descent("gauss-seidel")}
                    )
                )
            },
        ),
    },
)
