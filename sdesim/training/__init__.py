"""Networks trained with the coupling rules that are simulated: real images, many agents, one definition of each rule.

data = training.split(training.cifar10())
history = training.train(training.ThreeLayer(), data, training.algorithm("easgd", agents=4), agents=4, epochs=10)
"""

from sdesim.training.algorithms import NAMES, Algorithm, algorithm
from sdesim.training.data import Images, Split, cifar10, fetch_cifar10, load, split, synthetic
from sdesim.training.loop import Progress, train
from sdesim.training.networks import NETWORKS, LowRank, SevenLayer, ThreeLayer
from sdesim.training.picture import summary
from sdesim.training.schedule import Constant, Stall

__all__ = [
    "NAMES",
    "NETWORKS",
    "Algorithm",
    "Constant",
    "Images",
    "LowRank",
    "Progress",
    "SevenLayer",
    "Split",
    "Stall",
    "ThreeLayer",
    "algorithm",
    "cifar10",
    "fetch_cifar10",
    "load",
    "split",
    "summary",
    "synthetic",
    "train",
]
