"""What workers do when they arrive: a file each."""

from sdesim.asynchrony.protocols.admm import ADMM
from sdesim.asynchrony.protocols.barrier import KAsyncSGD, PartialBarrier
from sdesim.asynchrony.protocols.diloco import DecoupledDiLoCo
from sdesim.asynchrony.protocols.downpour import Downpour, MomentumDownpour
from sdesim.asynchrony.protocols.easgd import EASGD
from sdesim.asynchrony.protocols.gossip import Gossip
from sdesim.asynchrony.protocols.rennala import Rennala
from sdesim.asynchrony.protocols.ringmaster import Ringmaster
from sdesim.asynchrony.protocols.scales import DelayAdaptive, PowerLaw
from sdesim.asynchrony.protocols.sgd import AsyncSGD
from sdesim.asynchrony.protocols.tree import ByLevel, EASGDTree, UpDown

__all__ = [
    "ADMM",
    "EASGD",
    "AsyncSGD",
    "ByLevel",
    "DecoupledDiLoCo",
    "DelayAdaptive",
    "Downpour",
    "EASGDTree",
    "Gossip",
    "KAsyncSGD",
    "MomentumDownpour",
    "PartialBarrier",
    "PowerLaw",
    "Rennala",
    "Ringmaster",
    "UpDown",
]
