"""m-race: seconds to a loss under stragglers and slow messages, of the methods that people train with and others.

Command: sdesim figure m-race. The synchronous iteration, Local SGD whose workers wait for each other after a period,
DiLoCo with a minimum quorum (arXiv 2604.21428), asynchronous EASGD, AsyncSGD and Ringmaster descend a noisy quadratic
of two curvatures, on the same clocks and with the same gradient noise, each at what is fastest in that regime of the
numbers that are tried. Where jobs take equally long, Local SGD and DiLoCo are one exact map a round (`theory.outer`).
All constants are chosen [C].
"""

from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.race import claims, picture, run
from sdesim.papers.modern.race.config import PRESETS, Config

__all__ = ["EXPERIMENT", "PRESETS", "Config"]

EXPERIMENT = Experiment(
    "m-race",
    "A race of Local SGD, DiLoCo, EASGD and asynchronous SGD: seconds to a loss under stragglers and slow messages",
    "Who waits for everyone waits for stragglers, less often where workers exchange rarely; a server that goes on with "
    "a quorum does not wait. Asynchronous SGD waits for nobody, but sends after each job.",
    PRESETS,
    run.run,
    picture.plot,
    lambda config, data: Runs(data),
    claims.statements,
    mutations=run.MUTATIONS,
)
