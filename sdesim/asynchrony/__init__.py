"""Workers in virtual time: how long their jobs take, and who arrives when."""

from sdesim.asynchrony.clocks import Timing, timetable
from sdesim.asynchrony.compute import (
    AbstractCompute,
    Deterministic,
    Exponential,
    Gamma,
    LogNormal,
    Measured,
    Pareto,
    Slowed,
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
from sdesim.asynchrony.tables import Timetable

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
    "Slowed",
    "Timetable",
    "Timing",
    "timetable",
]
