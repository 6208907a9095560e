"""What experiments on networks compare, and at which size: the arms of a comparison, and the settings of a training.

The numbers of the paper's figures are lost in the available text, and are chosen here [C].
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn

from sdesim import training
from sdesim.fields import check_choice, check_count, check_sign


@dataclasses.dataclass(frozen=True)
class Arm:
    """One algorithm with its numbers, in a comparison; what is None is the configuration's or the algorithm's own.

    Attributes:
        label: its name in data, claims and pictures, which no other arm of the comparison has.
        algorithm: a name that `training.algorithm` knows.
        agents: number of agents p.
        k: coupling gain, in 1/time.
        eta: learning rate at the start.
        momentum: momentum delta.
        period: iterations between two exchanges.
        same_start: whether all agents start at one point.
        first: number of its first run; arms with the same run numbers start alike and see the same batches.
        group: arms of one group share a color in the picture.
        style: line style, which distinguishes the arms of a group.
    """

    label: str
    algorithm: str
    agents: int = 1
    k: float | None = None
    eta: float | None = None
    momentum: float | None = None
    period: int = 1
    same_start: bool = False
    first: int = 0
    group: str = ""
    style: str = "-"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and constants [C] of a training experiment."""

    DATA: ClassVar[tuple[str, ...]] = ("cifar10", "synthetic")  # that it may be of

    data: Literal["cifar10", "synthetic"] = "cifar10"
    """The images; CIFAR-10 must have been fetched: sdesim data cifar10."""
    images: int | None = None
    """Use this many training images and a fifth as many test images alone; all by default."""
    train_images: int = 5000
    """Measure training loss and accuracy on so many of the training images."""
    channels: tuple[int, int, int] = (64, 128, 64)
    """Channels of the network's three convolutions."""
    epochs: int = 30
    """Passes through the training set."""
    sims: int = 3
    """Independent runs of every arm; runs of one number start alike and see the same batches."""
    batch: int = 128
    """Images a step and agent."""
    eta: float = 0.05
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum delta, of the algorithms that have one."""
    precision: str = "float32"
    """float32, tf32 or bfloat16."""
    stacked: int = 64
    """Networks (runs times agents) trained as one program, at the most: bounds memory."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("epochs", "sims", "batch", "stacked", "train_images"):
            check_count(name, getattr(self, name))
        for name in ("eta", "momentum"):
            check_sign(name, getattr(self, name))
        check_choice("data", self.data, self.DATA)
        if self.sims < 2:
            raise ValueError(f"sims={self.sims}: must be at least 2, for an error of the mean")

    @property
    def size(self) -> str:
        """What the networks see, in words."""
        images = "" if self.images is None else f"{self.images} images of "
        widths = "" if self.channels == Config.channels else f", channels {', '.join(map(str, self.channels))}"
        seen = f"{images}{self.data}{widths}, batches of {self.batch}"
        return f"{seen}, {self.epochs} epochs, {self.sims} runs"

    @property
    def short(self) -> bool:
        """Whether an epoch has so few steps that rounding has not grown in it."""
        return self.images is not None and self.images <= 20 * self.batch

    # What another paper's experiments do otherwise.

    def network(self, classes: int) -> nn.Module:
        """The network that is trained.

        Args:
            classes: of the images, or how many numbers it is to give.
        """
        return training.ThreeLayer(classes=classes, channels=self.channels)

    def samples(self) -> training.Images | training.Tokens | training.Rows:
        """All samples that are used."""
        return training.load(self.data, None, self.images)

    def split(self, images: training.Images | training.Tokens | training.Rows) -> training.Split:
        """The data as the trainer takes them.

        Args:
            images: all samples that are used.
        """
        return training.split(images, self.seed)

    def starting_rate(self, arm: Arm) -> float:
        """The learning rate of an arm at the start.

        Args:
            arm: of the comparison.
        """
        return self.eta if arm.eta is None else arm.eta

    def algorithm(self, arm: Arm, batches: int) -> training.Algorithm:
        """The algorithm of an arm, for epochs of so many batches.

        Args:
            arm: of the comparison.
            batches: of an epoch.
        """
        momentum = self.momentum if arm.momentum is None else arm.momentum
        named = training.algorithm(arm.algorithm, k=arm.k, momentum=momentum, period=arm.period)
        return named(arm.agents, self.starting_rate(arm), batches)

    def alike(self, arm: Arm) -> Any:
        """What arms share that are trained as one program.

        Args:
            arm: of the comparison.
        """
        # EASGD-WM is EASGD with a momentum of 0: a number.
        return arm.algorithm.removesuffix("-wm"), arm.agents, arm.period, arm.same_start

    def settings(self, arms: Sequence[Arm]) -> dict[str, Any]:
        """Further arguments of `training.train`, for arms of one program.

        Args:
            arms: those of one program.
        """
        return {}


SMALL: dict[str, Any] = dict(images=4000, train_images=1000, channels=(16, 32, 64), epochs=10, batch=32)
"""CIFAR-10 as two cores can learn it: fewer images, a narrower network, smaller batches for as many steps."""


def presets(kind: type[Config], smoke: dict[str, Any], small: dict[str, Any]) -> dict[str, Config]:
    """The sizes of a training experiment: a minute on two cores, some ten minutes there, one GPU, the paper's.

    Args:
        kind: the configuration, whose defaults are those of one GPU.
        smoke: what is special about the first.
        small: what is special about the second.
    """
    tiny: dict[str, Any] = dict(data="synthetic", images=240, channels=(4, 8, 8), epochs=2, batch=32, sims=2)
    return {
        "smoke": kind(**{**tiny, **smoke}),
        "small": kind(**{**SMALL, **small}),
        "default": kind(),
        "paper": kind(epochs=150),
    }


def check_growing(name: str, values: Sequence[float], least: int = 1) -> None:
    """Numbers in growing order, each above 0, `least` of them or more.

    Args:
        name: of the field, for the message.
        values: of the field.
        least: how many there must be.

    Raises:
        ValueError: if they are not.
    """
    for value in values:
        check_sign(name, value, zero=False)
    if len(values) < least or list(values) != sorted(set(values)):
        raise ValueError(f"{name}={tuple(values)}: must be at least {least}, each greater than the one before")
