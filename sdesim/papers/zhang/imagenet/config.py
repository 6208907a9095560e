"""Settings of Zhang's experiments on ImageNet: Z 4.1, 4.2, Tables 4.3 and 4.4."""

import atexit
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sdesim import training
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.zhang import chapter4
from sdesim.papers.zhang.chapter4 import MethodArm
from sdesim.papers.zhang.chapter4.config import Rates
from sdesim.papers.zhang.chapter4.methods import METHODS
from sdesim.papers.zhang.in_time import config as in_time
from sdesim.training import photos
from sdesim.training.schedule import StallState

IMAGES = 1_281_167  # of ILSVRC 2013, to train on

WORKERS = (1, 4, 8)
COMPUTED = (1248.0, 1323.0, 1239.0)
LOADED = (20.0, 24.0, 61.0)
SENT_OFTEN = (0.0, 173.0, 284.0)
SENT_SELDOM = (0.0, 7.0, 11.0)
"""Table 4.4, ImageNet: seconds of 1024 batches of each of so many workers; computation and loading are those at
tau = 1, the last two at tau = 1 and tau = 10."""

BATCHES = 1024


@dataclasses.dataclass(frozen=True)
class Config(chapter4.Config):
    """Settings of Z 4.1 and 4.2 for ImageNet, and Table 4.3. What is marked [C] is chosen."""

    DATA: ClassVar[tuple[str, ...]] = ("imagenet", "synthetic")

    data: Literal["imagenet", "synthetic"] = "imagenet"
    """imagenet: photographs of --data-folder. synthetic: a small folder of the same layout, made up for this run."""
    data_folder: str | None = None
    """Folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG, to be named with --data imagenet."""
    classes: int = 1000
    """Classes of the folder."""
    side: int = photos.SIDE
    """Pixels to which the lesser side is scaled."""
    crop: int = 221
    """Pixels a side of random crops, and of the middle one in tests."""
    train_images: int = 50_000
    channels: tuple[int, ...] = (96, 256, 384, 256)
    """Channels of the network's four convolutions."""
    units: int = 4096
    weight_decay: float = 1e-5
    easgd: Rates = (0.1,)
    eamsgd: Rates = (0.001,)
    downpour: Rates = (0.02, 0.01)
    """Learning rates of DOWNPOUR, one for each number of workers."""
    sgd: Rates = (0.05,)
    msgd: Rates = (0.0005,)
    agents: tuple[int, ...] = (4, 8)
    """Workers p of Figures 4.8 and 4.9."""
    falls: tuple[float, float] = (0.5, 0.75)
    """After which shares of the epochs learning rates fall [C]: Z lets them when the online loss stagnates."""
    factors: tuple[float, float] = (5.0, 2.0)
    """By which they then fall."""
    epochs: int = 20
    sims: int = 3
    """Independent runs of every arm; Z reports one."""
    stacked: int = 16

    def __post_init__(self):
        net.Config.__post_init__(self)
        for name in ("classes", "side", "units", "period"):
            check_count(name, getattr(self, name))
        check_count("crop", self.crop, most=self.side)
        net.check_growing("agents", self.agents, 2)
        for name in ("easgd", "eamsgd", "downpour", "sgd", "msgd", "factors"):
            for value in getattr(self, name):
                check_sign(name, value, zero=False)
        if len(self.downpour) != len(self.agents) or len(self.agents) != 2:
            raise ValueError(f"downpour={self.downpour}: must be two rates, of the two numbers of agents={self.agents}")
        for name in ("easgd", "eamsgd", "sgd", "msgd"):
            if len(getattr(self, name)) != 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be one learning rate, as in Table 4.3")
        if not 0 < self.falls[0] < self.falls[1]:
            raise ValueError(f"falls={self.falls}: must be two shares of the epochs, above 0 and in growing order")
        if self.data == "imagenet" and self.images is not None:
            check_count("images", self.images, least=10)

    @property
    def size(self) -> str:
        """What the networks see, in words."""
        many = "" if self.images is None else f"{self.images} images of "
        what = "ImageNet" if self.data == "imagenet" else "a synthetic folder"
        widths = "" if self.channels == Config.channels else f", channels {', '.join(map(str, self.channels))}"
        return f"{many}{what}{widths}, batches of {self.batch}, {self.epochs} epochs, {self.sims} runs"

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return max(1, (IMAGES if self.images is None else self.images) // self.batch)

    @property
    def fallen(self) -> tuple[int, int]:
        """The epochs after which learning rates fall."""
        first, second = (round(share * self.epochs) for share in self.falls)
        return first, second

    def samples(self) -> training.Images:
        """The photographs, which are decoded as they are needed.

        Raises:
            ValueError: if no folder is named, or it has other images or classes than the configuration says.
            FileNotFoundError: for a folder that is not there, or has another layout.
        """
        if self.data == "synthetic":
            folder = _made_up(self.images or 240, self.classes, self.side, self.seed)
        elif self.data_folder is None:
            raise ValueError(
                "data_folder=None: must be the folder that has ImageNet, as `--data-folder DIR`: "
                "DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG; `--preset smoke` makes a small one of this layout"
            )
        else:
            folder = self.data_folder
        found = training.imagenet(folder, self.images, side=self.side, lazy=True)
        many, asked = len(found.train_y), IMAGES if self.images is None else self.images
        if many != asked:
            raise ValueError(f"images={self.images}: must be {many}, as the folder has no {asked} images to train on")
        if found.outputs != self.classes:
            raise ValueError(f"classes={self.classes}: must be {found.outputs}, as the folder has")
        return found

    def network(self, classes: int) -> Any:
        sizes: dict[str, Any] = dict(channels=self.channels, units=self.units)
        return training.ElevenLayer(classes=classes, dropout=self.dropout, weights=self.weights, **sizes)

    def algorithm(self, arm: net.Arm, batches: int) -> training.Algorithm:
        made = super().algorithm(arm, batches)
        # "We start the averaging for the ASGD at the first time when we reduce the learning rate" (Z 4.3.1).
        since = self.fallen[0] * batches if arm.algorithm == "asgd" else 0
        return dataclasses.replace(made, since=float(since))

    def settings(self, arms: Sequence[net.Arm]) -> dict[str, Any]:
        return dict(schedule=Falls(self.fallen, self.factors), crop=self.crop, weight_decay=self.weight_decay)

    def arms(self, method: str, agents: int = 1) -> list[MethodArm]:
        """A method at its learning rate of Table 4.3.

        Args:
            method: its name in Z.
            agents: number of workers p.
        """
        rates = getattr(self, METHODS[method][1])
        rate = rates[self.agents.index(agents)] if method == "DOWNPOUR" else rates[0]
        period = self.period if method.startswith("EA") else 1
        return chapter4.tried(self, method, agents, period, rates=(rate,))


@functools.cache
def _made_up(images: int, classes: int, side: int, seed: int) -> str:
    """A folder of photographs that a small network can learn, for as long as this process lives."""
    folder = tempfile.mkdtemp(prefix="sdesim-photographs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    photos.made_up(folder, training.synthetic(images, max(10, images // 5), classes=classes, size=side, seed=seed))
    return folder


@dataclasses.dataclass(frozen=True)
class Falls(training.Constant):
    """Learning rates that fall after some epochs.

    Attributes:
        epochs: after which.
        factors: by which they then fall.
    """

    epochs: tuple[int, ...]
    factors: tuple[float, ...]

    def start(self, eta: jax.Array) -> StallState:
        """The state before the first epoch.

        Args:
            eta: learning rates, (runs, agents).
        """
        return super().start(eta)._replace(reference=eta)  # what they start from

    def after_epoch(self, state: StallState, loss: jax.Array) -> StallState:
        """The state after an epoch.

        Args:
            state: that before it.
            loss: validation losses, which do not matter here.
        """
        epochs, eta = state.stalled + 1, state.reference
        for epoch, factor in zip(self.epochs, self.factors, strict=True):
            eta = jnp.where(epochs >= epoch, eta / factor, eta)
        return state._replace(eta=eta, stalled=epochs)


@dataclasses.dataclass(frozen=True)
class InTime(Config, in_time.Config):
    """The same, with workers in virtual time, whose times are those of Z's Table 4.4.

    Where learning rates fall, moving rates of asynchronous workers fall with them, which Z keeps [C].
    """

    levels: tuple[float, ...] = (49.0, 47.0, 45.0, 43.0)
    """Test errors of Figure 4.15, in percent."""

    def __post_init__(self):
        super().__post_init__()
        check_sign("shape", self.shape, zero=False)
        if not self.levels or list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(f"levels={self.levels}: must be one test error or more, each less than the one before")

    def job(self, agents: int) -> float:
        return float(np.interp(agents, WORKERS, np.add(COMPUTED, LOADED)) / BATCHES)

    def exchange(self, agents: int, period: int) -> float:
        often = period < in_time.SELDOM
        seconds = np.interp(agents, WORKERS, SENT_OFTEN if often else SENT_SELDOM)
        return float(seconds * (1 if often else in_time.SELDOM) / BATCHES)

    def settings(self, arms: Sequence[net.Arm]) -> dict[str, Any]:
        return {**super().settings(arms), "stepper": self.stepper(arms[0])}


def presets(kind: type[Any]) -> dict[str, Any]:
    """Sizes. `smoke` makes a folder of its own, with rates [C] that suit few iterations.

    Args:
        kind: `Config` or `InTime`.
    """
    smoke: dict[str, Any] = dict(data="synthetic", images=192, train_images=60, classes=3, side=104, crop=101)
    smoke |= dict(channels=(4, 8, 8, 8), units=16, dropout=0.0, weights="kaiming", epochs=6, batch=12, sims=2)
    smoke |= dict(agents=(2, 3), period=2, momentum=0.8, moving=0.1, falls=(0.8, 0.95))
    smoke |= dict(easgd=(0.05,), eamsgd=(0.01,), downpour=(0.02, 0.015), sgd=(0.05,), msgd=(0.01,))
    smoke |= dict(levels=(40.0, 25.0)) if kind is InTime else {}
    return {"smoke": kind(**smoke), "default": kind(), "paper": kind(epochs=60)}
