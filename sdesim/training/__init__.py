"""Networks trained with the coupling rules that are simulated: real data, many agents, one definition of each rule.

data = training.split(training.cifar10())
trained = training.train(training.ThreeLayer(), data, training.algorithm("easgd"), agents=4, eta=0.05, epochs=10)
"""

from sdesim.training.algorithms import NAMES, Algorithm, NamedAlgorithm, algorithm
from sdesim.training.callbacks import Callback, Keep, Progress, ShowProgress
from sdesim.training.data import Split, cifar10, fetch_cifar10, load, split, synthetic
from sdesim.training.deal import AbstractDeal, Dirichlet
from sdesim.training.inner import OPTIMIZERS, optimizer
from sdesim.training.lazy import Lazy
from sdesim.training.logs import TensorBoard
from sdesim.training.loop import Training, train
from sdesim.training.networks import NETWORKS, ElevenLayer, LowRank, Perceptron, SevenLayer, ThreeLayer, Transformer
from sdesim.training.pairs import svag
from sdesim.training.passing import Batches
from sdesim.training.photos import imagenet
from sdesim.training.picture import summary
from sdesim.training.samples import Images, Rows, Tokens, diabetes, text
from sdesim.training.schedule import AbstractSchedule, Constant, Stall
from sdesim.training.sweeps import sweep
from sdesim.training.trained import Trained

__all__ = [
    "NAMES",
    "NETWORKS",
    "OPTIMIZERS",
    "AbstractDeal",
    "AbstractSchedule",
    "Algorithm",
    "Batches",
    "Callback",
    "Constant",
    "Dirichlet",
    "ElevenLayer",
    "Images",
    "Keep",
    "Lazy",
    "LowRank",
    "NamedAlgorithm",
    "Perceptron",
    "Progress",
    "Rows",
    "SevenLayer",
    "ShowProgress",
    "Split",
    "Stall",
    "TensorBoard",
    "ThreeLayer",
    "Tokens",
    "Trained",
    "Training",
    "Transformer",
    "algorithm",
    "cifar10",
    "diabetes",
    "fetch_cifar10",
    "imagenet",
    "load",
    "optimizer",
    "split",
    "summary",
    "svag",
    "sweep",
    "synthetic",
    "text",
    "train",
]
