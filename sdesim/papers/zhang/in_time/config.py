"""Zhang's chapter 4 by the clock: asynchronous workers, whose times are those of Z's Table 4.4."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sdesim import asynchrony, training
from sdesim.asynchrony import AbstractProtocol, Asynchronous, Link
from sdesim.fields import check_sign
from sdesim.papers.frame import networks as net
from sdesim.papers.zhang import chapter4

WORKERS = (1, 4, 8, 16)
COMPUTED = (12.0, 11.0, 11.0, 11.0)
LOADED = (1.0, 2.0, 2.0, 2.0)
SENT_OFTEN = (0.0, 3.0, 5.0, 9.0)
SENT_SELDOM = (0.0, 1.0, 1.0, 1.0)
"""Table 4.4, CIFAR: seconds of 400 batches of each of so many workers, the last two at tau = 1 and tau = 10."""

BATCHES, SELDOM = 400, 10

ALONE = {"downpour": "sgd", "adownpour": "asgd", "mvadownpour": "mvasgd", "mdownpour": "sgd"}
"""What the workers of a server do by themselves, and which average of the server is tested."""


@dataclasses.dataclass(frozen=True)
class Config(chapter4.Config):
    """Settings of Z 4.1 and 4.2, with workers in virtual time. What is marked [C] is chosen."""

    shape: float = 100.0
    """Shape of the gamma law of compute times [C]: a tenth of their mean is their standard deviation."""
    levels: tuple[float, ...] = (21.0, 20.0, 19.0, 18.0)
    """Test errors of Figure 4.14, in percent."""

    def __post_init__(self):
        super().__post_init__()
        check_sign("shape", self.shape, zero=False)
        if not self.levels or list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(f"levels={self.levels}: must be one test error or more, each less than the one before")

    @property
    def seconds(self) -> float:
        """Of an epoch of one worker, in the mean."""
        return self.iterations * self.job(1)

    def job(self, agents: int) -> float:
        """The mean time of a batch, loading included, in seconds.

        Args:
            agents: number of workers p; between those of the table along straight lines.
        """
        return float(np.interp(agents, WORKERS, np.add(COMPUTED, LOADED)) / BATCHES)

    def exchange(self, agents: int, period: int) -> float:
        """The time of an exchange, in seconds.

        Args:
            agents: number of workers p, as for `job`.
            period: batches between two exchanges (tau); from 10 on those that are seldom are meant.
        """
        often = period < SELDOM
        return float(
            np.interp(agents, WORKERS, SENT_OFTEN if often else SENT_SELDOM) * (1 if often else SELDOM) / BATCHES
        )

    def protocol(self, arm: net.Arm) -> AbstractProtocol:
        """What the workers of an arm do when they arrive; one alone is its own server.

        Args:
            arm: of the comparison.
        """
        if arm.algorithm == "mdownpour":
            return asynchrony.MomentumDownpour(self.momentum)
        if arm.algorithm.startswith("ea"):
            return asynchrony.EASGD(arm.period)
        return asynchrony.Downpour(arm.period)

    def stepper(self, arm: net.Arm) -> Asynchronous:
        """The workers of an arm.

        Args:
            arm: of the comparison.
        """
        compute = asynchrony.Gamma(self.shape, mean=self.job(arm.agents))
        if arm.agents == 1:
            return Asynchronous(self.protocol(arm), compute=compute)
        # Of a message the table gives the time and not the size: one message a half of an exchange.
        link = Link(1.0, bandwidth=2 / self.exchange(arm.agents, arm.period))
        return Asynchronous(self.protocol(arm), compute=compute, uplink=link, downlink=link)

    def algorithm(self, arm: net.Arm, batches: int) -> training.Algorithm:
        """Rule, momentum and average of an arm, without what its protocol has.

        Args:
            arm: of the comparison.
            batches: of an epoch.
        """
        name = ALONE.get(arm.algorithm, arm.algorithm)
        assert arm.eta is not None
        numbers: dict[str, Any] = {}
        if name.startswith("ea"):
            numbers = dict(k=self.beta / (arm.agents * arm.eta), momentum=self.momentum)
        elif name == "msgd":
            numbers = dict(momentum=self.momentum)
        elif name == "mvasgd":
            numbers = dict(average=1 - self.moving)
        made = training.algorithm(name, **numbers)(arm.agents, arm.eta, batches)
        # As in chapter 4: an average of moving rate 1 where the center itself is meant, so that more is one program.
        return made if made.averages else dataclasses.replace(made, average=0.0)

    def alike(self, arm: net.Arm) -> Any:
        protocol = jax.tree.structure(self.protocol(arm))
        return *super().alike(arm), protocol, arm.period

    def settings(self, arms: Sequence[net.Arm]) -> dict[str, Any]:
        return {**super().settings(arms), "stepper": self.stepper(arms[0])}


def presets(**own: Any) -> dict[str, Config]:
    """Sizes: those of chapter 4, with levels that those of smaller networks get to.

    Args:
        **own: settings that a figure has of its own at `small` size.
    """
    sizes = chapter4.presets(**own)
    made = {name: {f.name: getattr(c, f.name) for f in dataclasses.fields(c)} for name, c in sizes.items()}
    made["smoke"] |= dict(levels=(85.0, 80.0))
    made["small"] |= dict(levels=(80.0, 75.0, 70.0))
    return {name: Config(**values) for name, values in made.items()}
