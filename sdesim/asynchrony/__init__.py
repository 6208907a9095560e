"""Workers in virtual time: how long their jobs take, and who arrives when."""

from sdesim.asynchrony.compute import (
    AbstractCompute,
    Deterministic,
    Exponential,
    Gamma,
    LogNormal,
    Measured,
    Pareto,
)
from sdesim.asynchrony.timetable import Timetable, timetable

__all__ = [
    "AbstractCompute",
    "Deterministic",
    "Exponential",
    "Gamma",
    "LogNormal",
    "Measured",
    "Pareto",
    "Timetable",
    "timetable",
]
