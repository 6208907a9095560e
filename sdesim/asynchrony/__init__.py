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
from sdesim.asynchrony.protocols import (
    ADMM,
    EASGD,
    AsyncSGD,
    DelayAdaptive,
    Downpour,
    Gossip,
    KAsyncSGD,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
)
from sdesim.asynchrony.timetable import Timetable, timetable

__all__ = [
    "ADMM",
    "EASGD",
    "AbstractCompute",
    "AbstractProtocol",
    "AbstractServer",
    "AsyncSGD",
    "Asynchronous",
    "DelayAdaptive",
    "Deterministic",
    "Downpour",
    "Exponential",
    "Gamma",
    "Gossip",
    "Job",
    "KAsyncSGD",
    "LogNormal",
    "Measured",
    "MomentumDownpour",
    "Pareto",
    "PartialBarrier",
    "PowerLaw",
    "Rennala",
    "Ringmaster",
    "Timetable",
    "timetable",
]
