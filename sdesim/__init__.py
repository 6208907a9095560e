"""sdesim: stochastic differential equations of coupled stochastic-gradient agents, at scale.

Every part is imported when it is first asked for, so that the command line hears Ctrl-C before JAX is imported, which
takes seconds, and `sdesim --help` does not wait for it.
"""

import importlib

from sdesim._moved import announce
from sdesim._version import __version__

TYPE_CHECKING = False  # importing it from typing takes longer than all that is below
if TYPE_CHECKING:  # what type checkers and editors see; at run time `_HOME` says the same
    from sdesim import (
        analysis,
        coupling,
        init,
        noise,
        objectives,
        observe,
        plot,
        schedules,
        sharding,
        statistics,
        theory,
        training,
    )
    from sdesim.coupling import (
        AbstractCoupling,
        Elastic,
        Filtered,
        LinearFilter,
        Mixing,
        Outer,
        Quorum,
        SaturatingFilter,
        Spiking,
        StateDependent,
        Streaming,
        Tree,
        Uncoupled,
    )
    from sdesim.dynamics import Dynamics, Friction, HeavyBall, Nesterov
    from sdesim.ensembles.grids import sweep
    from sdesim.ensembles.joining import join
    from sdesim.ensembles.opening import open
    from sdesim.ensembles.warnings import DivergenceWarning, StabilityWarning
    from sdesim.interop.as_diffrax import diffrax_solve, diffrax_state, diffrax_terms
    from sdesim.interop.as_optax import couple
    from sdesim.results.result import Result, load
    from sdesim.run import iterate, simulate
    from sdesim.steppers import AbstractStepper, Adam, AdamSDE, Delayed, EulerMaruyama, Iteration

announce()

__all__ = [
    "AbstractCoupling",
    "AbstractStepper",
    "Adam",
    "AdamSDE",
    "Delayed",
    "DivergenceWarning",
    "Dynamics",
    "Elastic",
    "EulerMaruyama",
    "Filtered",
    "Friction",
    "HeavyBall",
    "Iteration",
    "LinearFilter",
    "Mixing",
    "Nesterov",
    "Outer",
    "Quorum",
    "Result",
    "SaturatingFilter",
    "Spiking",
    "StabilityWarning",
    "StateDependent",
    "Streaming",
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
    "join",
    "load",
    "noise",
    "objectives",
    "observe",
    "open",
    "plot",
    "schedules",
    "sharding",
    "simulate",
    "statistics",
    "sweep",
    "theory",
    "training",
]

# The module of each name that is no module itself.
_HOME = {
    **dict.fromkeys(("Dynamics", "Friction", "HeavyBall", "Nesterov"), "dynamics"),
    **dict.fromkeys(("DivergenceWarning", "StabilityWarning"), "ensembles.warnings"),
    **dict.fromkeys(("AbstractStepper", "Adam", "AdamSDE", "Delayed", "EulerMaruyama", "Iteration"), "steppers"),
    **dict.fromkeys(("iterate", "simulate"), "run"),
    **dict.fromkeys(
        ("AbstractCoupling", "Elastic", "Filtered", "LinearFilter", "Quorum", "SaturatingFilter"), "coupling"
    ),
    **dict.fromkeys(("Mixing", "Outer", "Spiking", "StateDependent", "Streaming", "Tree", "Uncoupled"), "coupling"),
    "join": "ensembles.joining",
    "open": "ensembles.opening",
    "sweep": "ensembles.grids",
    **dict.fromkeys(("Result", "load"), "results.result"),
    "couple": "interop.as_optax",
    **dict.fromkeys(("diffrax_solve", "diffrax_state", "diffrax_terms"), "interop.as_diffrax"),
}


def __getattr__(name: str):
    if name in _HOME:
        value = globals()[name] = getattr(importlib.import_module(f"sdesim.{_HOME[name]}"), name)
        return value
    missing = AttributeError(f"module 'sdesim' has no attribute {name!r}")
    if name.startswith("_"):
        raise missing
    try:
        return importlib.import_module(f"sdesim.{name}")
    except ModuleNotFoundError as error:
        moved = str(error).startswith(f"sdesim.{name} is now ")
        raise (error if moved or error.name != f"sdesim.{name}" else missing) from None


def __dir__() -> list[str]:
    return sorted(__all__)
