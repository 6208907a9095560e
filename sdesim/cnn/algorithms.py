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
from sdesim.fields import check_choice, check_count, check_sign, concrete, number


class Algorithm(eqx.Module):
    """How agents step and are coupled.

    rule: any coupling rule. momentum: delta of Nesterov's scheme (0: none). nesterov: take gradients ahead, at
    x + delta v; heavy ball otherwise. order, period: of `sdesim.couple`. share: all agents step by the sum of their
    gradients (MDOWNPOUR, whose momentum is the master's).
    pace: the learning rate by which gains become weights of a step, alpha = pace k, whatever the agents' own rates are:
    the weights stay where those fall or differ. None: the agents' own rates, with which the weights then fall.
    average: weight gamma of the past in the exponentially weighted center, y <- gamma y + (1 - gamma) center, which is
    then what is tested; None tests the center itself. running: true for the plain average of all centers so far, the
    start among them, for as long as the past's weight n / (n + 1) in it is below gamma: with gamma = 1, always. every:
    iterations between two centers that enter the average.

    Every number may have a leading axis of runs, that of `train`'s.
    """

    rule: AbstractCoupling
    momentum: Array = eqx.field(converter=number, default=0.0)
    average: Array | None = eqx.field(converter=lambda a: None if a is None else number(a), default=None)
    running: Array = eqx.field(converter=lambda r: jnp.asarray(r, bool), default=False)
    pace: Array | None = eqx.field(converter=lambda a: None if a is None else number(a), default=None)
    order: Order = eqx.field(static=True, default="jacobi")
    period: int = eqx.field(static=True, default=1)
    nesterov: bool = eqx.field(static=True, default=True)
    share: bool = eqx.field(static=True, default=False)
    every: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not isinstance(self.rule, AbstractCoupling):
            raise TypeError(f"rule={self.rule!r}: must be a coupling rule of sdesim.coupling")
        check_sign("momentum", self.momentum)
        check_sign("pace", self.pace, zero=False)
        check_count("period", self.period)
        check_count("every", self.every)
        if self.average is None and concrete(self.running, np.max):
            raise ValueError("running: needs the weight `average`, up to which it averages; 1 averages all iterations")

    @property
    def averages(self) -> bool:
        """Whether an average over iterations is tested, and not the center itself."""
        return self.average is not None

    def weight(self, step: Array) -> Array:
        """The weight of the past in the average after iteration number `step`; 1 where nothing enters the average."""
        assert self.average is not None
        entry = (step + 1) // self.every  # that of the start is 0
        past = jnp.where(self.running, jnp.minimum(self.average, entry / (entry + 1)), self.average)
        return jnp.where((step + 1) % self.every == 0, past, jnp.ones_like(past))

    def coupling_rate(self, eta: Array) -> Array:
        """The rate that the coupling steps by, where the agents step by `eta`."""
        return eta if self.pace is None else self.pace

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
    average: float | None = None,
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
        average: weight gamma of the past in what is tested: the quorum of QSGD and SD-QSGD, 0.99 by default [C], the
            agent of MVASGD and the center of MVADOWNPOUR, 0.999 by default (1 - gamma = 0.001, Z 4.2).
        magnification, relaxation: M (p by default) and T_r in batches [C], of SD-QSGD's spike, which lasts one epoch of
            `batches`.
        fanout: of the tree; all agents under one root by default. width: of the saturating filter.

    Raises:
        ValueError: for an unknown name, with what was probably meant, a number out of range, or a period of
            MDOWNPOUR, which has none.
    """
    check_choice("algorithm", name, NAMES)
    check_count("agents", agents)
    for label, value in (("eta", eta), ("relaxation", relaxation)):
        check_sign(label, value, zero=False)
    if average is not None and not 0 <= average < 1:
        raise ValueError(f"average={average}: must be from 0 to less than 1")
    if name == "mdownpour" and period != 1:
        raise ValueError(f"period={period}: MDOWNPOUR communicates at every iteration (Z 4); leave it at 1")
    elastic = 0.9 / (agents * eta) if k is None else k
    plain = 0.04 / eta if k is None else k
    many: dict[str, Any] = dict(average=0.99 if average is None else average) if agents > 1 else {}
    slow = 0.999 if average is None else average
    # DOWNPOUR is alpha = 1, beta = p in Gauss-Seidel order (Z 6.3), whatever becomes of the learning rates. The
    # master's clock, by which averages count, ticks once a period (Z 4).
    pushes: dict[str, Any] = dict(
        rule=Elastic(1 / eta, agents / eta), order="gauss-seidel", period=period, pace=eta, every=period
    )
    builders = {
        "sgd": lambda: Algorithm(Uncoupled()),
        "msgd": lambda: Algorithm(Uncoupled(), momentum),
        "asgd": lambda: Algorithm(Uncoupled(), average=1.0, running=True),
        "mvasgd": lambda: Algorithm(Uncoupled(), average=slow),
        "qsgd": lambda: Algorithm(Quorum(plain), momentum, **many, period=period),
        "sd-qsgd": lambda: Algorithm(
            Spiking(plain, agents if magnification is None else magnification, relaxation * eta, batches * eta),
            momentum,
            **many,
            period=period,
        ),
        "easgd": lambda: Algorithm(Elastic(elastic), momentum, period=period),
        "easgd-wm": lambda: Algorithm(Elastic(elastic), period=period),
        "downpour": lambda: Algorithm(**pushes),
        "adownpour": lambda: Algorithm(**pushes, average=1.0, running=True),
        "mvadownpour": lambda: Algorithm(**pushes, average=slow),
        # Agents read x~ + delta v and the master steps by all their gradients (Z, Alg. 4-5), at every iteration: where
        # they all are after it is where the master is.
        "mdownpour": lambda: Algorithm(Elastic(1 / eta, 1 / eta), momentum, pace=eta, order="gauss-seidel", share=True),
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
