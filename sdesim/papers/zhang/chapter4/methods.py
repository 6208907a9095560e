"""Zhang's methods, each with the learning rates that it is tried with."""

import dataclasses
from typing import Any

from sdesim.papers.frame import networks as net
from sdesim.papers.zhang.chapter4.config import Config, Rates

METHODS = {
    "EASGD": ("easgd-wm", "easgd"),
    "EAMSGD": ("eamsgd", "eamsgd"),
    "DOWNPOUR": ("downpour", "downpour"),
    "ADOWNPOUR": ("adownpour", "downpour"),
    "MVADOWNPOUR": ("mvadownpour", "downpour"),
    "MDOWNPOUR": ("mdownpour", "mdownpour"),
    "SGD": ("sgd", "sgd"),
    "ASGD": ("asgd", "sgd"),
    "MVASGD": ("mvasgd", "sgd"),
    "MSGD": ("msgd", "msgd"),
}
"""Of each method, its algorithm and the field of the configuration with its learning rates."""

ALONE = ("SGD", "ASGD", "MVASGD", "MSGD")


@dataclasses.dataclass(frozen=True)
class MethodArm(net.Arm):
    """A method with one learning rate.

    Attributes:
        method: its name in Z.
        decay: gamma of the rate's decay, in 1 / iteration.
    """

    method: str = ""
    decay: float = 0.0


def tried(
    config: Config, method: str, agents: int = 1, period: int = 1, rates: Rates | None = None, decay: float = 0.0
) -> list[MethodArm]:
    """A method with each of its learning rates.

    Args:
        config: constants of the experiment.
        method: its name in Z.
        agents: number of workers p.
        period: iterations between two exchanges.
        rates: learning rates, before the configuration's factor; by default the configuration's of the method.
        decay: gamma of the rates' decay, in 1 / iteration.
    """
    algorithm, field = METHODS[method]
    where = f", p = {agents}, tau = {period}" if agents > 1 else ""
    slower = f", gamma = {decay:g}" if decay else ""
    etas = [config.eta * eta for eta in (getattr(config, field) if rates is None else rates)]
    numbers: dict[str, Any] = dict(agents=agents, period=period, same_start=True, method=method, decay=decay)
    return [MethodArm(f"{method}{where}, eta = {eta:g}{slower}", algorithm, eta=eta, **numbers) for eta in etas]


Methods = dict[str, list[MethodArm]]
"""Arms by the method that they are of."""


def flat(methods: Methods) -> list[MethodArm]:
    """All arms of a figure.

    Args:
        methods: the arms of each method.
    """
    return [arm for arms in methods.values() for arm in arms]
