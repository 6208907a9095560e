"""sdesim: stochastic differential equations of coupled stochastic-gradient agents, at scale."""

from sdesim import analysis, coupling, init, noise, objectives, observe, schedules
from sdesim._version import __version__
from sdesim.couple import couple
from sdesim.coupling import (
    AbstractCoupling,
    Elastic,
    Filtered,
    LinearFilter,
    Quorum,
    SaturatingFilter,
    Spiking,
    StateDependent,
    Tree,
    Uncoupled,
)
from sdesim.dynamics import Dynamics, Friction, HeavyBall, Nesterov
from sdesim.integrate import DivergenceWarning, StabilityWarning, iterate, simulate
from sdesim.result import Result, load
from sdesim.sweep import sweep
from sdesim.terms import diffrax_solve, diffrax_state, diffrax_terms

__all__ = [
    "AbstractCoupling",
    "DivergenceWarning",
    "Dynamics",
    "Elastic",
    "Filtered",
    "Friction",
    "HeavyBall",
    "LinearFilter",
    "Nesterov",
    "Quorum",
    "Result",
    "SaturatingFilter",
    "Spiking",
    "StabilityWarning",
    "StateDependent",
    "Tree",
    "Uncoupled",
    "__version__",
    "analysis",
    "couple",
    "coupling",
    "diffrax_solve",
    "diffrax_state",
    "diffrax_terms",
    "init",
    "iterate",
    "load",
    "noise",
    "objectives",
    "observe",
    "schedules",
    "simulate",
    "sweep",
]
