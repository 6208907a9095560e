"""The distributed algorithms by their names: a coupling rule of `sdesim.coupling`, a momentum, an order and a period.

No update rule is written here. What trains a network is `optax.trace` and `sdesim.couple` with the rule; what an
algorithm's name stands for is which rule, with which numbers (BS 6, Z 2 and 4).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sdesim.couple import Coupled, couple
from sdesim.coupling import (
    AbstractCoupling,
    Elastic,
    Filtered,
    LinearFilter,
    Order,
    Quorum,
    SaturatingFilter,
    Spiking,
    Tree,
    Uncoupled,
)
from sdesim.fields import check_choice, check_count, check_sign, number


class Algorithm(eqx.Module):
    """How agents step and are coupled.

    rule: any coupling rule. momentum: delta of Nesterov's scheme (0: none). nesterov: take gradients ahead, at
    x + delta v; heavy ball otherwise. order, period: of `sdesim.couple`. share: all agents step by the sum of their
    gradients (MDOWNPOUR, whose momentum is the master's).
    average: weight gamma of the past in the exponentially weighted center, y <- gamma y + (1 - gamma) center, which is
    then what is tested; None tests the center itself. running: test the average of all centers so far.

    Every number may have a leading axis of runs, that of `train`'s.
    """

    rule: AbstractCoupling
    momentum: Array = eqx.field(converter=number, default=0.0)
    average: Array | None = eqx.field(converter=lambda a: None if a is None else number(a), default=None)
    order: Order = eqx.field(static=True, default="jacobi")
    period: int = eqx.field(static=True, default=1)
    nesterov: bool = eqx.field(static=True, default=True)
    share: bool = eqx.field(static=True, default=False)
    running: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not isinstance(self.rule, AbstractCoupling):
            raise TypeError(f"rule={self.rule!r}: must be a coupling rule of sdesim.coupling")
        check_sign("momentum", self.momentum)
        check_count("period", self.period)
        if self.running and self.average is not None:
            raise ValueError("running: an average over all iterations has no weight `average`; leave one of them out")

    @property
    def averages(self) -> bool:
        """Whether an average over iterations is tested, and not the center itself."""
        return self.running or self.average is not None

    def weight(self, step: Array) -> Array:
        """The weight of the past in the average after iteration number `step`."""
        return (step + 1) / (step + 2) if self.average is None else self.average

    def coupling(self) -> Coupled:
        """The rule as an optax transformation, last in the chain."""
        lookahead = self.momentum if self.nesterov else None
        return couple(self.rule, order=self.order, lookahead=lookahead, period=self.period)

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """From steps -eta g of the agents to their updates: momentum, then the coupling."""
        return optax.chain(optax.trace(self.momentum), self.coupling())


def algorithm(
    name: str,
    *,
    agents: int = 1,
    eta: float = 0.05,
    k: Any = None,
    momentum: float = 0.9,
    period: int = 1,
    average: float = 0.99,
    magnification: float | None = None,
    relaxation: float = 20.0,
    batches: int = 313,
    fanout: tuple[int, ...] | None = None,
    width: float = 0.1,
) -> Algorithm:
    """An algorithm by its name in the papers.

    Args:
        name: one of `NAMES`.
        agents: p. eta: the learning rate, which turns gains into weights a step (alpha = eta k).
        k: gain in 1/time. By default what the papers use: for the elastic family alpha = 0.9 / p (Z 4.1), else alpha =
            0.04 [C].
        momentum: delta, where the algorithm has one.
        period: iterations between two communications, tau.
        average: weight gamma of the past in the tested quorum of QSGD and SD-QSGD [C], of MVASGD and MVADOWNPOUR.
        magnification, relaxation: M (p by default) and T_r in batches [C], of SD-QSGD's spike, which lasts one epoch of
            `batches`.
        fanout: of the tree; all agents under one root by default. width: of the saturating filter.

    Raises:
        ValueError: for an unknown name, with what was probably meant, or a number out of range.
    """
    check_choice("algorithm", name, NAMES)
    check_count("agents", agents)
    for label, value in (("eta", eta), ("relaxation", relaxation)):
        check_sign(label, value, zero=False)
    if not 0 <= average < 1:
        raise ValueError(f"average={average}: must be from 0 to less than 1")
    elastic = 0.9 / (agents * eta) if k is None else k
    plain = 0.04 / eta if k is None else k
    pushes = Elastic(1 / eta, agents / eta)
    many: dict[str, Any] = dict(average=average) if agents > 1 else {}
    builders = {
        "sgd": lambda: Algorithm(Uncoupled()),
        "msgd": lambda: Algorithm(Uncoupled(), momentum),
        "asgd": lambda: Algorithm(Uncoupled(), running=True),
        "mvasgd": lambda: Algorithm(Uncoupled(), average=average),
        "qsgd": lambda: Algorithm(Quorum(plain), momentum, **many, period=period),
        "sd-qsgd": lambda: Algorithm(
            Spiking(plain, agents if magnification is None else magnification, relaxation * eta, batches * eta),
            momentum,
            **many,
            period=period,
        ),
        "easgd": lambda: Algorithm(Elastic(elastic), momentum, period=period),
        "easgd-wm": lambda: Algorithm(Elastic(elastic), period=period),
        # Z 6.3: DOWNPOUR is alpha = 1, beta = p in Gauss-Seidel order.
        "downpour": lambda: Algorithm(pushes, order="gauss-seidel", period=period),
        "adownpour": lambda: Algorithm(pushes, order="gauss-seidel", period=period, running=True),
        "mvadownpour": lambda: Algorithm(pushes, average=average, order="gauss-seidel", period=period),
        "mdownpour": lambda: Algorithm(Uncoupled(), momentum, share=True),
        "filter": lambda: Algorithm(Filtered(plain, LinearFilter(plain)), period=period),
        "saturating-filter": lambda: Algorithm(Filtered(plain, SaturatingFilter(plain, width)), period=period),
        "tree": lambda: Algorithm(
            Tree(0.9 / ((fanout or (agents,))[0] + 1) / eta if k is None else k, fanout or (agents,)),
            momentum,
            period=period,
        ),
    }
    builders["eamsgd"] = builders["easgd"]
    return builders[name]()


NAMES = (
    *("sgd", "msgd", "asgd", "mvasgd", "qsgd", "sd-qsgd", "easgd", "easgd-wm", "eamsgd"),
    *("downpour", "adownpour", "mvadownpour", "mdownpour", "filter", "saturating-filter", "tree"),
)
"""Algorithms that `algorithm` knows."""


def over_runs(values: Any, runs: int) -> Any:
    """Every array of a pytree with a leading axis of runs: as it is where it has one, repeated where it is a number.

    Raises:
        ValueError: for a leading axis of another length.
    """

    def one(leaf):
        if not eqx.is_array(leaf):
            return leaf
        if leaf.ndim and leaf.shape[0] == runs:
            return leaf
        if leaf.ndim == 0:
            return jnp.broadcast_to(leaf, (runs,))
        raise ValueError(f"numbers of the algorithm: shape {np.shape(leaf)} does not lead with runs={runs}")

    return jax.tree.map(one, values)
