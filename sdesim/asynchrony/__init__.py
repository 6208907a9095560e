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
from sdesim.asynchrony.events import AbstractProtocol, AbstractServer, Asynchronous, Job
from sdesim.asynchrony.protocols import EASGD, AsyncSGD, Downpour, MomentumDownpour
from sdesim.asynchrony.timetable import Timetable, timetable

__all__ = [
    "EASGD",
    "AbstractCompute",
    "AbstractProtocol",
    "AbstractServer",
    "AsyncSGD",
    "Asynchronous",
    "Deterministic",
    "Downpour",
    "Exponential",
    "Gamma",
    "Job",
    "LogNormal",
    "Measured",
    "MomentumDownpour",
    "Pareto",
    "Timetable",
    "timetable",
]
