"""What to ask of a model of your own: how fast, how tight, how often, how long, how smooth, and which gain is best.

Every number comes with the standard error of independent simulations, or with the error of a quadrature where nothing
is random.

- `synchronization`: when the agents of recorded runs have come together, and how close they stay.
- `contraction_rate`: how fast runs that see the same noise forget where they began.
- `occupancy` and `first_passage`: where agents and quorum are, and when they first get there.
- `smoothed_loss`: the expectation of any loss under any noise law.
- `rest`: where agents that agree rest.
- `linearize`: maps of means and second moments near a point, from the code that simulates; `stability_map`: the same
  over a grid of numbers, and the boundary of stability; `limit`: how large a number may be; `optimize`: the number
  at which they fall fastest or are least; `compare`: coupling rules side by side.
- `validity`: whether the SDE describes the iteration at a learning rate.
- `best_k`: a search for the best gain, or any other number, on any observable.
"""

from sdesim.analysis.comparison import compare
from sdesim.analysis.contraction import Contraction, contraction_rate
from sdesim.analysis.linear import linearize
from sdesim.analysis.moments import Linear
from sdesim.analysis.optimum import Optimum, optimize
from sdesim.analysis.passages import Passages, first_passage, survival
from sdesim.analysis.regions import Ball, Box, occupancy
from sdesim.analysis.resting import rest
from sdesim.analysis.search import Search, best_k
from sdesim.analysis.smoothing import smoothed_loss
from sdesim.analysis.stability import limit, stability_map
from sdesim.analysis.svag import Validity, validity
from sdesim.analysis.together import synchronization
from sdesim.statistics import Estimate, stationary_mean

__all__ = [
    "Ball",
    "Box",
    "Contraction",
    "Estimate",
    "Linear",
    "Optimum",
    "Passages",
    "Search",
    "Validity",
    "best_k",
    "compare",
    "contraction_rate",
    "first_passage",
    "limit",
    "linearize",
    "occupancy",
    "optimize",
    "rest",
    "smoothed_loss",
    "stability_map",
    "stationary_mean",
    "survival",
    "synchronization",
    "validity",
]
