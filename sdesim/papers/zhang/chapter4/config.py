"""Settings of Z 4.1, 4.2 and Table 4.1."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sdesim import training
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame import networks as net
from sdesim.training.schedule import StallState

Rates = tuple[float, ...]

IMAGES = {"cifar10": 50_000, "synthetic": 2_000}  # there are, to train with

CROP = 28


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Settings of Z 4.1, 4.2 and Table 4.1. The number of epochs and what is marked [C] are chosen."""

    units: int = 256
    """Units of the network's fully connected layer."""
    dropout: float = 0.5
    """Share of those units that are dropped in training."""
    weights: Literal["torch", "kaiming"] = "torch"
    """Law of the initial weights: Torch's, as Zhang's, or Kaiming's, which learns from the first iterations."""
    eta: float = 1.0
    """Factor of all the learning rates below."""
    momentum: float = 0.99
    """Momentum delta of EAMSGD, MDOWNPOUR and MSGD."""
    beta: float = 0.9
    """Moving rate of the center of EASGD and EAMSGD; that of each worker is beta / p."""
    moving: float = 0.001
    """Moving rate of the averages of MVADOWNPOUR and, there [C], MVASGD."""
    weight_decay: float = 1e-4
    """lambda of the loss's lambda / 2 |x|^2."""
    easgd: Rates = (0.05, 0.01, 0.005)
    """Learning rates of EASGD."""
    eamsgd: Rates = (0.01, 0.005, 0.001)
    """Learning rates of EAMSGD."""
    downpour: Rates = (0.005, 0.001, 0.0005)
    """Learning rates of DOWNPOUR, ADOWNPOUR and MVADOWNPOUR."""
    mdownpour: Rates = (0.00005, 0.00001, 0.000005)
    """Learning rates of MDOWNPOUR."""
    sgd: Rates = (0.05, 0.01, 0.005)
    """Learning rates of SGD, ASGD and MVASGD."""
    msgd: Rates = (0.001, 0.0005, 0.0001)
    """Learning rates of MSGD."""
    agents: tuple[int, ...] = (4, 8, 16)
    """Workers p of Figures 4.5, 4.6 and 4.7; the first number is that of 4.1 to 4.4, the last of 4.12 and 4.13."""
    periods: tuple[int, ...] = (1, 4, 16, 64)
    """Communication periods tau of Figures 4.1 to 4.4."""
    period: int = 10
    """Communication period of EASGD and EAMSGD in Figures 4.5 to 4.7 and 4.12."""
    long_periods: tuple[int, ...] = (1, 10, 100, 1000)
    """Communication periods of Figure 4.13."""
    rate: float = 0.01
    """Learning rate of Figure 4.13."""
    decay: float = 0.001
    """gamma [C] of the decaying learning rates eta / (1 + gamma t)^0.5 of Figure 4.13, in 1 / iteration."""

    def __post_init__(self):
        super().__post_init__()
        check_count("units", self.units)
        check_count("period", self.period)
        for name in ("eta", "rate", "decay"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("beta", "weight_decay"):
            check_sign(name, getattr(self, name))
        if not 0 < self.moving <= 1:
            raise ValueError(f"moving={self.moving}: must be greater than 0 and at most 1")
        for name in ("momentum", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be from 0 to less than 1")
        for name, length in (("agents", 3), ("periods", 4), ("long_periods", None)):
            values = getattr(self, name)
            for value in values:
                check_count(name, value)
            if (length or max(len(values), 2)) != len(values) or list(values) != sorted(set(values)):
                raise ValueError(f"{name}={values}: must be {length or 'two or more'} numbers in growing order")
        for name in ("easgd", "eamsgd", "downpour", "mdownpour", "sgd", "msgd"):
            values = getattr(self, name)
            for value in values:
                check_sign(name, value, zero=False)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={values}: must be one learning rate or more, each once")

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return max(1, (IMAGES[self.data] if self.images is None else self.images) // self.batch)

    def network(self, classes: int) -> training.SevenLayer:
        sizes: dict[str, Any] = dict(channels=self.channels, units=self.units)
        return training.SevenLayer(classes=classes, dropout=self.dropout, weights=self.weights, **sizes)

    def split(self, images: training.Images) -> training.Split:
        """All images to train with, in [0, 1].

        Args:
            images: all that are used.
        """
        channels = images.train_x.shape[-1]
        zero, most = np.zeros(channels, np.float32), np.full(channels, 255, np.float32)
        return training.split(images, self.seed, validation=0.0)._replace(mean=zero, std=most)

    def algorithm(self, arm: net.Arm, batches: int) -> training.Algorithm:
        """The algorithm of an arm.

        All test an average, of moving rate 1 where the center itself is meant: what differs in numbers alone is one
        program.

        Args:
            arm: of the comparison.
            batches: of an epoch.
        """
        assert arm.eta is not None
        k = self.beta / (arm.agents * arm.eta) if arm.algorithm.startswith("ea") else None
        numbers: dict[str, Any] = dict(k=k, period=arm.period, momentum=self.momentum)
        average = 1 - self.moving if arm.algorithm.startswith("mva") else None
        made = training.algorithm(arm.algorithm, **numbers, average=average)(arm.agents, arm.eta, batches)
        # Moving rates stay where learning rates decay, which is what Z 4.3.3 means by a growing penalty rho.
        made = dataclasses.replace(made, pace=arm.eta)
        return made if made.averages else dataclasses.replace(made, average=0.0)

    def alike(self, arm: net.Arm) -> Any:
        return jax.tree.structure(self.algorithm(arm, self.iterations)), arm.agents, arm.same_start

    def settings(self, arms: Sequence[net.Arm]) -> dict[str, Any]:
        gammas = tuple(getattr(arm, "decay", 0.0) for arm in arms for _ in range(self.sims))
        return dict(schedule=Decay(gammas, self.iterations), crop=CROP, weight_decay=self.weight_decay)


@dataclasses.dataclass(frozen=True)
class Decay(training.Constant):
    """Learning rates eta / (1 + gamma t)^0.5 (Z Fig. 4.13), t the iterations done, set anew after each epoch.

    Attributes:
        gamma: of each run, in 1 / iteration.
        iterations: of an epoch.
    """

    gamma: Rates
    iterations: int

    def __post_init__(self):
        check_sign("gamma", np.asarray(self.gamma))
        check_count("iterations", self.iterations)

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
        epochs = state.stalled + 1
        gamma = jnp.asarray(self.gamma, state.eta.dtype)[:, None]
        t = (epochs * self.iterations).astype(state.eta.dtype)
        return state._replace(eta=state.reference * jax.lax.rsqrt(1 + gamma * t), stalled=epochs)


def presets(**own: Any) -> dict[str, Config]:
    """Sizes. `smoke` and `small` are of smaller networks, with rates [C] that suit few iterations.

    Eight runs of a network that hardly drops units tell methods apart where two of one three times as dear do not. A
    momentum of 0.9 takes the place of 0.99, which 800 iterations are too few for.

    Args:
        **own: settings that a figure has of its own at `small` size.
    """
    smoke: dict[str, Any] = dict(data="synthetic", images=240, epochs=6, batch=12, sims=2)
    smoke |= dict(channels=(8, 16, 16), units=32, weights="kaiming", dropout=0.0, momentum=0.8, moving=0.1, decay=0.1)
    smoke |= dict(agents=(2, 3, 4), periods=(1, 2, 4, 8), period=2, long_periods=(1, 10))
    smoke |= dict(easgd=(0.05, 0.02), eamsgd=(0.02, 0.01), downpour=(0.02,), mdownpour=(0.01,))
    smoke |= dict(sgd=(0.05, 0.03), msgd=(0.02,), rate=0.02)
    small: dict[str, Any] = dict(images=1600, train_images=400, epochs=8, batch=16, sims=8, momentum=0.9, dropout=0.1)
    small |= dict(channels=(8, 16, 16), units=32, weights="kaiming", moving=0.01, decay=0.01)
    small |= dict(agents=(4, 6, 8), long_periods=(1, 10, 100))  # of 800 iterations
    small |= dict(easgd=(0.05, 0.02), eamsgd=(0.02, 0.01), downpour=(0.0125,), mdownpour=(0.002,))
    small |= dict(sgd=(0.05,), msgd=(0.01,))
    return {
        "smoke": Config(**smoke),
        "small": Config(**(small | own)),
        "default": Config(epochs=20),
        "paper": Config(epochs=150),
    }
