"""What theory predicts of coupled agents, as functions that simulations are compared with.

averages: time averages of the quorum, in the limit and exactly after any number of iterations.
bounds: Boffi and Slotine's results, each with its assumptions checked, and the exact laws of linear systems.
curvature: the constants of a loss and of a noise law that the bounds need, certified or estimated.
double_well: two workers of EASGD about a saddle.
generalization: how far asynchronous SGD moves when one sample of its data is replaced.
meanfield: the limit of infinitely many agents in one dimension, and how finitely many fluctuate about it.
multiplicative: second moments where the noise grows with the distance from the minimum.
outer: an outer optimizer on a quadratic, as DiLoCo and Local SGD have it.
perturbation: the bias that the third derivative of a loss makes of the agents' noise.
quadratic: SGD, momentum and EASGD on a quadratic under additive noise.
rates: agents with different learning rates.
refinement: from SGD to its SDE on a quadratic, and how far apart they are.
renewals: how many arrivals of workers fall into a window, and the staleness that follows.
smoothing: the noise that smooths the loss which the center of mass descends.
stability: when momentum, EASGD, ADMM and DOWNPOUR are stable on a quadratic, and fastest.
staleness: asynchronous workers and delays on quadratic losses.
strongly_convex: a bound of EASGD's distance from the minimum.
transition: one agent with momentum, or with a filter of itself, as a linear iteration.
trees: EASGD Tree of workers in virtual time on a quadratic.

`compare`: coupling rules side by side, by the map of moments of the code that simulates, `sdesim.analysis.linearize`.
"""

import importlib
from typing import Any

from sdesim.theory import (
    averages,
    bounds,
    curvature,
    double_well,
    generalization,
    meanfield,
    multiplicative,
    outer,
    perturbation,
    quadratic,
    rates,
    refinement,
    renewals,
    smoothing,
    stability,
    staleness,
    strongly_convex,
    transition,
    trees,
)

__all__ = [
    "averages",
    "bounds",
    "curvature",
    "double_well",
    "generalization",
    "meanfield",
    "multiplicative",
    "outer",
    "perturbation",
    "quadratic",
    "rates",
    "refinement",
    "renewals",
    "smoothing",
    "stability",
    "staleness",
    "strongly_convex",
    "transition",
    "trees",
]


def __getattr__(name: str) -> Any:
    """`compare`, which stands above theory, since it asks the code that simulates: it is only called from here."""
    if name == "compare":
        return importlib.import_module("sdesim.analysis.comparison").compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
