"""async-race: how long protocols of asynchronous SGD take to a loss level, by compute times, stragglers and messages.

Command: sdesim figure async-race. All protocols of one server or none and the synchronous minibatch iteration descend a
noisy quadratic, on the same clocks and with the same gradient noise. Each does so at what is fastest in that regime
of a small grid of learning rates, and of gains where there is one, among those at which the loss goes on well below the
level. Compared are the seconds until the median loss has settled below the level, the gradients taken until then, and
the bytes sent. All constants are chosen [C].
"""

from sdesim.papers.asynchrony.race import claims, picture, run
from sdesim.papers.asynchrony.race.config import PRESETS, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "async-race",
    "A race of asynchronous SGD: time to a loss level, by protocol and regime",
    "Which protocol is fastest depends on who waits for whom. With equal workers and free messages waiting costs "
    "nothing and gradients are fresh; with stragglers a barrier waits for the slowest, and what does not wait is "
    "stale; where messages are slow, all take longer.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: measured.Runs(data),
    claims.statements,
)
