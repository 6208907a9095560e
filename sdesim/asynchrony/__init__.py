"""Workers in virtual time: how long their jobs take, and who arrives when."""

from sdesim.asynchrony.branches import Computation, computation
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
from sdesim.asynchrony.events import AbstractProtocol, AbstractServer, Asynchronous, Discrete, Job, own_rows
from sdesim.asynchrony.links import Link
from sdesim.asynchrony.protocols import (
    ADMM,
    EASGD,
    AsyncSGD,
    ByLevel,
    DecoupledDiLoCo,
    DelayAdaptive,
    Downpour,
    EASGDTree,
    Gossip,
    KAsyncSGD,
    MomentumDownpour,
    PartialBarrier,
    PowerLaw,
    Rennala,
    Ringmaster,
    UpDown,
)
from sdesim.asynchrony.records import Bytes, Gradients
from sdesim.asynchrony.tables import Timetable
from sdesim.dynamics import Counts

__all__ = [
    "ADMM",
    "EASGD",
    "AbstractCompute",
    "AbstractProtocol",
    "AbstractServer",
    "AsyncSGD",
    "Asynchronous",
    "ByLevel",
    "Bytes",
    "Computation",
    "Counts",
    "DecoupledDiLoCo",
    "DelayAdaptive",
    "Deterministic",
    "Discrete",
    "Downpour",
    "EASGDTree",
    "Exponential",
    "Gamma",
    "Gossip",
    "Gradients",
    "Job",
    "KAsyncSGD",
    "Link",
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
    "UpDown",
    "computation",
    "own_rows",
    "timetable",
]
