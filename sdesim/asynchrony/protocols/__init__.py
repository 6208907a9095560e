"""What workers do when they arrive: a file each."""

from sdesim.asynchrony.protocols.downpour import Downpour, MomentumDownpour
from sdesim.asynchrony.protocols.easgd import EASGD
from sdesim.asynchrony.protocols.sgd import AsyncSGD

__all__ = ["EASGD", "AsyncSGD", "Downpour", "MomentumDownpour"]
