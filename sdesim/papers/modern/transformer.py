"""m-transformer: DiLoCo beside data-parallel training of a small transformer (Douillard et al., 2311.08105).

Command: sdesim figure m-transformer. All numbers are chosen [C] but the outer optimizer's, which are the paper's.
Agents have AdamW each. Data-parallel are agents at one point that step by the sum of their gradients, whose scale AdamW
does not see: every arm of p agents takes as many steps, on the same windows of text.
"""

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np

import sdesim
from sdesim import training
from sdesim.claims import Statement, at_least, at_most
from sdesim.fields import check_count
from sdesim.papers.frame import networks as net
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.networks.config import check_growing
from sdesim.statistics import least
from sdesim.training.inner import Inner

ALONE, PARALLEL = "one agent", "data-parallel"


@dataclasses.dataclass(frozen=True)
class Config(net.Config):
    """Sizes and constants [C] of the comparison."""

    DATA: ClassVar = ("text",)

    data: Literal["text"] = "text"
    """Genesis and Exodus, by characters."""
    images: int | None = None
    """Use this many windows of text and a fifth as many for tests alone; all by default."""
    channels: tuple[int, ...] = (64, 64)
    """Width of each block of the transformer, all alike."""
    heads: int = 4
    """Heads of attention in a block."""
    agents: int = 4
    """Number of agents p."""
    periods: tuple[int, ...] = (8, 32)
    """Steps between two exchanges, in growing order."""
    batch: int = 16
    """Windows of 64 characters a step and agent."""
    eta: float = 0.003
    """Learning rate of AdamW."""
    weight_decay: float = 0.1
    """Of AdamW."""
    sims: int = 8
    """Independent runs of every arm; runs of one number start alike and see the same batches."""
    epochs: int = 10
    """Passes through the training set."""

    def __post_init__(self):
        super().__post_init__()
        check_count("agents", self.agents, least=2)
        for period in self.periods:
            check_count("periods", period)
        check_growing("periods", self.periods, 2)
        if len(set(self.channels)) != 1:
            raise ValueError(f"channels={self.channels}: must be alike, the width of each block")

    @property
    def size(self) -> str:
        """What the networks see, in words."""
        windows = "" if self.images is None else f"{self.images} windows of "
        of = f"{len(self.channels)} blocks of width {self.channels[0]}, batches of {self.batch}"
        return f"{windows}text, {of}, {self.epochs} epochs, {self.sims} runs"

    def network(self, classes: int) -> training.Transformer:
        """The transformer.

        Args:
            classes: characters of the text.
        """
        return training.Transformer(classes, self.channels[0], len(self.channels), self.heads)

    def algorithm(self, arm: net.Arm, batches: int) -> training.Algorithm:
        """The algorithm of an arm, whose agents have AdamW.

        Args:
            arm: of the comparison.
            batches: of an epoch.
        """
        adamw = Inner(training.optimizer("adamw", weight_decay=self.weight_decay))
        if arm.algorithm == PARALLEL:
            return training.Algorithm(sdesim.Uncoupled(), share=True, inner=adamw)
        own = {} if arm.algorithm == "msgd" else dict(period=arm.period)
        return training.algorithm(arm.algorithm, **own)(arm.agents, self.eta, batches, adamw)

    def settings(self, arms: Any) -> dict[str, Any]:
        """Rates that stay.

        Args:
            arms: those of one program.
        """
        return dict(schedule=training.Constant())


def label(name: str, period: int) -> str:
    """The label of an arm that exchanges now and then.

    Args:
        name: of the method.
        period: steps between two exchanges.
    """
    return f"{name}, every {period}"


def arms(config: Config) -> list[net.Arm]:
    """What is compared: every arm of p agents starts at one point.

    Args:
        config: constants of the comparison.
    """
    coupled: dict[str, Any] = dict(agents=config.agents, same_start=True)
    found = [
        net.Arm(ALONE, "msgd", group="alone", same_start=True, style=":"),
        net.Arm(PARALLEL, PARALLEL, group="parallel", **coupled),
    ]
    for period in config.periods:
        found.append(net.Arm(label("DiLoCo", period), "diloco", period=period, group=str(period), **coupled))
        averaged = net.Arm(
            label("averaging", period), "local-sgd", period=period, group=str(period), style="--", **coupled
        )
        found.append(averaged)
    return found


def unigram() -> float:
    """The loss of guessing each character by how often it is in the text, in nats."""
    counts = np.bincount(training.text().train_y.ravel())
    law = counts[counts > 0] / counts.sum()
    return float(-(law * np.log(law)).sum())


def statements(config: Config) -> list[Statement]:
    """What the paper says of DiLoCo, and what must hold of any such comparison.

    Args:
        config: constants of the comparison.
    """
    short, long = config.periods[0], config.periods[-1]

    def learned(runs: Runs):
        return least([unigram() - net.best(runs.data, "test_loss", arm.label) for arm in arms(config)]), 0.0

    by = lambda of, over: net.gain(of, over, "test_loss")
    found = [
        Statement(
            f"transformer-diloco-{period}-as-parallel",
            f"DiLoCo that exchanges every {period} steps comes within 0.05 nats of data-parallel training, which does "
            "at each (by how much its best test loss is greater, nats)",
            lambda runs, period=period: -by(label("DiLoCo", period), PARALLEL)(runs),
            at_most(0.05),
        )
        for period in config.periods
    ]
    found += [
        Statement(
            f"transformer-outer-{period}",
            f"The outer optimizer is better than averaging every {period} steps (best test loss, nats)",
            by(label("DiLoCo", period), label("averaging", period)),
            at_least(0.0),
        )
        for period in config.periods
    ]
    return [
        *found,
        Statement(
            "transformer-diloco-than-one",
            f"{config.agents} agents by DiLoCo, every {long} steps, are better than one (best test loss, nats)",
            by(label("DiLoCo", long), ALONE),
            at_least(0.0),
        ),
        Statement(
            "transformer-period",
            f"DiLoCo loses by exchanging every {long} steps and not every {short} (best test loss, nats)",
            by(label("DiLoCo", short), label("DiLoCo", long)),
            at_least(0.0),
        ),
        net.same_starts("transformer-same-start", arms(config)),
        Statement(
            "transformer-learns",
            "Every arm learns more than how often characters are (least gain of the best test loss over it, nats)",
            learned,
            at_least(0.3, smoke=0.0),
        ),
    ]


def _presets() -> dict[str, net.Config]:
    tiny: dict[str, Any] = dict(
        channels=(16,), heads=2, images=240, epochs=6, sims=2, batch=8, periods=(2, 6), eta=0.01
    )
    small: dict[str, Any] = dict(channels=(32, 32), images=1200, epochs=4, sims=4)
    return {"smoke": Config(**tiny), "small": Config(**small), "default": Config(), "paper": Config(epochs=40)}


EXPERIMENT = net.experiment(
    "m-transformer",
    "DiLoCo and data-parallel training of a small transformer",
    "DiLoCo, whose agents exchange rarely, by an outer optimizer with Nesterov's momentum, learns a text as well as "
    "agents that share each gradient, and better than agents that are averaged.",
    _presets(),
    arms,
    statements,
    metrics=("train_loss", "test_loss", "test_accuracy", "spread"),
)
