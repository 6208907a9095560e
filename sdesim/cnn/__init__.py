"""Networks trained with the coupling rules that are simulated: real images, many agents, one definition of each rule.

data = cnn.split(cnn.cifar10())
history = cnn.train(cnn.ThreeLayer(), data, cnn.algorithm("easgd", agents=4), agents=4, epochs=10)
"""

from sdesim.cnn.algorithms import NAMES, Algorithm, algorithm
from sdesim.cnn.data import Images, Split, cifar10, fetch_cifar10, split, synthetic
from sdesim.cnn.networks import NETWORKS, LowRank, SevenLayer, ThreeLayer
from sdesim.cnn.picture import summary
from sdesim.cnn.schedule import Constant, Stall
from sdesim.cnn.trainer import Progress, train

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
    "split",
    "summary",
    "synthetic",
    "train",
]
