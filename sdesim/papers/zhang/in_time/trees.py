"""Zhang's EASGD Tree on CIFAR-10 (Z 6.1.2): settings, arms and statements."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sdesim import asynchrony, training
from sdesim.asynchrony import AbstractProtocol, Asynchronous, Link
from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.statistics import greatest

PAPER = 256  # leaves of Z's trees, whose statements on divergence are of theirs alone


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Settings of Z 6.1.2. The times of messages, the number of epochs and what is marked [C] are chosen."""

    fanout: tuple[int, ...] = (4, 4)
    """Children of a node at each level, leaves first; (16, 16) in Z."""
    ranks: tuple[int, int, int] = (10, 51, 51)
    """Ranks of the network's convolutions."""
    channels: tuple[int, int, int] = (96, 128, 256)
    """Channels of the network's convolutions."""
    units: int = 256
    """Units of the network's hidden dense layer."""
    dropout: float = 0.5
    """Share of either dense layer's inputs that is left out in training."""
    beta: float = 0.9
    """Moving rate of a node by messages of all of its neighbors; that by one is beta / (fanout + 1)."""
    weight_decay: float = 1e-4
    """lambda of the loss's lambda / 2 |x|^2."""
    eta: float = 0.05
    """Learning rate without momentum; with momentum delta it is (1 - delta) times that."""
    momenta: tuple[float, ...] = (0.0, 0.9, 0.99)
    """Momenta delta of Figures 6.5 to 6.11."""
    fast: tuple[int, int] = (1, 10)
    """Periods of both schemes: of the leaves and above (tau_1, tau_2), and up and down (tau_u, tau_d)."""
    pushing: int = 1
    """Communication period of DOWNPOUR in Figure 6.12 [C]."""
    elastic: int = 10
    """Communication period of EASGD in Figure 6.12 [C]."""
    step: float = 0.13
    """Mean time of a step of a node, in seconds."""
    shape: float = 100.0
    """Shape of the gamma law of these times [C]."""
    message: float = 0.5
    """Mean time of a message, of an exponential law, in steps [C]."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("eta", "step", "shape", "message"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("fanout", "fast"):
            for value in getattr(self, name):
                check_count(name, value)
        if len(self.momenta) < 2 or self.momenta[0] != 0:
            raise ValueError(f"momenta={self.momenta}: must be 0 and one more at least")

    @property
    def leaves(self) -> int:
        """Of a tree."""
        return math.prod(self.fanout)

    @property
    def seconds(self) -> float:
        """Of an epoch of one worker, in the mean."""
        images = 50_000 if self.images is None else self.images
        return max(1, images // self.batch) * self.step

    def network(self, classes: int) -> training.LowRank:
        sizes: dict[str, Any] = dict(ranks=self.ranks, channels=self.channels, units=self.units)
        return training.LowRank(classes=classes, dropout=self.dropout, **sizes)

    def split(self, images: training.Images) -> training.Split:
        """All images to train with, standardized per channel.

        Args:
            images: all that are used.
        """
        return training.split(images, self.seed, validation=0.0)

    def protocol(self, arm: "TreeArm") -> AbstractProtocol:
        """What the workers of an arm do when they arrive.

        Args:
            arm: of the comparison.
        """
        if arm.scheme == "first":
            return asynchrony.EASGDTree(asynchrony.ByLevel(*arm.periods))
        if arm.scheme == "second":
            return asynchrony.EASGDTree(asynchrony.UpDown(*arm.periods))
        return asynchrony.EASGD(arm.period) if arm.algorithm.startswith("ea") else asynchrony.Downpour(arm.period)

    def algorithm(self, arm: Any, batches: int) -> training.Algorithm:
        numbers: dict[str, Any] = {}
        if arm.scheme:
            weight = self.beta / (self.fanout[0] + 1)
            numbers = dict(k=weight / arm.eta, fanout=self.fanout, momentum=arm.momentum)
        elif arm.algorithm.startswith("ea"):
            numbers = dict(k=self.beta / (arm.agents * arm.eta))
        return training.algorithm(arm.algorithm, **numbers)(arm.agents, arm.eta, batches)

    def alike(self, arm: Any) -> Any:
        return arm.label  # protocols differ, and trees are large

    def settings(self, arms: Sequence[Any]) -> dict[str, Any]:
        compute = asynchrony.Gamma(self.shape, mean=self.step)
        late = asynchrony.Exponential(mean=self.message * self.step)
        link = Link(1.0, bandwidth=1e12, latency=late)  # whose bytes take no time: Z gives neither size nor bandwidth
        stepper = Asynchronous(self.protocol(arms[0]), compute=compute, uplink=link, downlink=link)
        return dict(schedule=training.Constant(), weight_decay=self.weight_decay, stepper=stepper)


@dataclasses.dataclass(frozen=True)
class TreeArm(net.Arm):
    """A tree, or the workers of a server that it is compared with.

    Attributes:
        scheme: "first" or "second" of Z 6.1; empty where there is a server.
        periods: of the scheme.
    """

    scheme: Literal["first", "second", ""] = ""
    periods: tuple[int, int] = (1, 1)


def tree(config: Config, scheme: Literal["first", "second"], delta: float, periods: tuple[int, int]) -> TreeArm:
    """A tree with a scheme and a momentum.

    Args:
        config: constants of the experiment.
        scheme: "first" or "second".
        delta: momentum.
        periods: of the scheme.
    """
    label = f"{scheme} scheme, delta = {delta:g}"
    numbers: dict[str, Any] = dict(eta=config.eta * (1 - delta), momentum=delta, same_start=True)
    return TreeArm(label, "tree", config.leaves, **numbers, scheme=scheme, periods=periods)


def servers(config: Config) -> list[TreeArm]:
    """EASGD and DOWNPOUR, of as many workers as the lowest nodes have children.

    Args:
        config: constants of the experiment.
    """
    p = config.fanout[0]
    common: dict[str, Any] = dict(agents=p, eta=config.eta, same_start=True)
    return [
        TreeArm(f"EASGD, p = {p}", "easgd-wm", period=config.elastic, **common),
        TreeArm(f"DOWNPOUR, p = {p}", "sgd", period=config.pushing, **common),
    ]


def size(config: Config) -> str:
    """What the networks saw, with the size of the trees.

    Args:
        config: constants of the experiment.
    """
    return f"{config.size}; trees of {config.leaves} leaves"


# -- statements --------------------------------------------------------------------------------------------------------


def learns(arms: Sequence[TreeArm]) -> Statement:
    """What holds at any size.

    Args:
        arms: all of a figure.
    """
    worst = lambda runs: (
        greatest([net.best(runs.data, "train_loss", arm.label) for arm in arms]) / net.GUESS_LOSS,
        0.0,
    )
    text = "what is tested, as the root of a tree, learns in every run (worst of the least training losses, over ln 10)"
    return Statement("learns", text, worst, at_most(0.9, smoke=0.97))


def during(arm: TreeArm):
    """The mean training loss of the root over all moments, (sims,).

    Args:
        arm: of the comparison.
    """
    over_moments = lambda data: data.sel(arm=arm.label).isel(epoch=slice(1, None)).mean("epoch", skipna=False)
    return lambda runs: over_moments(runs.data["train_loss"]).values


def least_error(arm: TreeArm):
    """The smallest test error of the root in percent, (sims,).

    Args:
        arm: of the comparison.
    """
    return lambda runs: 100 - net.best(runs.data, "test_accuracy", arm.label)


def schemes(first: Sequence[TreeArm], second: Sequence[TreeArm]) -> list[Statement]:
    """What is said of both schemes: of means over pairs of arms, run by run.

    Args:
        first: arms of the first scheme.
        second: those of the second with the same momenta.
    """
    mean = lambda of, arms: lambda runs: np.mean([of(arm)(runs) for arm in arms], axis=0)
    return [
        Statement(
            "first-trains-faster",
            "the first scheme trains faster (mean training loss of the root over all moments, second scheme's above "
            "it)",
            lambda runs: mean(during, second)(runs) - mean(during, first)(runs),
            at_least(0.0),
        ),
        Statement(
            "second-tests-better",
            "the second scheme has the better test performance (smallest test error of the root, points below the "
            "first scheme's)",
            lambda runs: mean(least_error, first)(runs) - mean(least_error, second)(runs),
            at_least(0.0),
        ),
    ]


def diverged(runs: Runs, arm: TreeArm) -> np.ndarray:
    """1 for each run that diverged, (sims,).

    Args:
        runs: all of a figure.
        arm: of the comparison.
    """
    return (runs.data["diverged"].sel(arm=arm.label).values >= 0).astype(float)


def stabler(id: str, statement: str, config: Config, stable: TreeArm, other: TreeArm) -> Statement:
    """Fewer runs of one arm diverge than of another.

    Args:
        id: what the statement is called within its figure.
        statement: the sentence.
        config: constants of the experiment.
        stable: the arm of which fewer diverge.
        other: the other arm.
    """
    note = "" if config.leaves >= PAPER else f"of trees of {PAPER} leaves: counted at that size"
    text = f"{statement} (difference of the shares of runs that diverge)"
    return Statement(id, text, lambda runs: diverged(runs, other) - diverged(runs, stable), at_least(0.0), note)


def presets(single: bool) -> dict[str, Config]:
    """Sizes.

    Args:
        single: batches of one image, longer periods and a smaller rate, as in Figures 6.3 and 6.4; of 16 otherwise.
    """
    of_one: dict[str, Any] = dict(batch=1, eta=0.005, step=0.01) if single else dict(batch=16)
    tiny: dict[str, Any] = dict(data="synthetic", images=120, train_images=120, fanout=(2, 2), epochs=3, sims=2)
    tiny |= dict(ranks=(2, 4, 4), channels=(6, 8, 8), units=16, dropout=0.0)
    small: dict[str, Any] = dict(images=800, train_images=400, sims=8, epochs=5, dropout=0.1)
    small |= dict(ranks=(3, 6, 6), channels=(8, 12, 16), units=32)
    if single:
        small |= dict(images=300, fanout=(2, 2))
    return {
        "smoke": Config(**{**of_one, **tiny}),
        "small": Config(**{**of_one, **small}),
        "default": Config(**of_one, epochs=10),
        "paper": Config(**of_one, fanout=(16, 16), sims=6, epochs=20 if single else 100),
    }
