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
from jaxtyping import Array, PyTree

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
from sdesim.fields import Part, check_choice, check_count, check_sign, concrete, number, optional_number


class Algorithm(Part):
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
    clock: time of an iteration for gains that depend on time, of `sdesim.couple`. by_mean: test the mean of the agents,
    where that is not the rule's own center.

    Every number may have a leading axis of runs, that of `train`'s.
    """

    rule: AbstractCoupling
    momentum: Array = eqx.field(converter=number, default=0.0)
    average: Array | None = eqx.field(converter=optional_number, default=None)
    running: Array = eqx.field(converter=lambda r: jnp.asarray(r, bool), default=False)
    pace: Array | None = eqx.field(converter=optional_number, default=None)
    clock: Array | None = eqx.field(converter=optional_number, default=None)
    order: Order = eqx.field(static=True, default="jacobi")
    period: int = eqx.field(static=True, default=1)
    nesterov: bool = eqx.field(static=True, default=True)
    share: bool = eqx.field(static=True, default=False)
    every: int = eqx.field(static=True, default=1)
    by_mean: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not isinstance(self.rule, AbstractCoupling):
            raise TypeError(f"rule={self.rule!r}: must be a coupling rule of sdesim.coupling")
        for label, most in (("momentum", np.nextafter(1, 0)), ("average", 1)):
            value = getattr(self, label)
            check_sign(label, value)
            if (largest := concrete(value, np.max)) is not None and largest > most:
                raise ValueError(f"{label}={largest:g}: must be {'at most' if most == 1 else 'less than'} 1")
        check_sign("pace", self.pace, zero=False)
        check_sign("clock", self.clock, zero=False)
        check_count("period", self.period)
        check_count("every", self.every)
        if self.average is None and concrete(self.running, np.max):
            raise ValueError("running: needs the weight `average`, up to which it averages; 1 averages all iterations")

    @property
    def averages(self) -> bool:
        """Whether an average over iterations is tested, and not the center itself."""
        return self.average is not None

    @property
    def renews(self) -> bool:
        """Whether the rule looks at validation losses at the start of an epoch."""
        return self.rule.renews

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
        return couple(self.rule, order=self.order, lookahead=lookahead, clock=self.clock, period=self.period)

    def center(self, params: PyTree, optimizer: PyTree) -> PyTree:
        """What stands for the agents of one run: their quorum, center variable or mean, without their axis."""
        if self.by_mean:
            return jax.tree.map(lambda a: jnp.mean(a, axis=0), params)
        return self.coupling().center(params, optimizer)

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
    relaxation: float | None = None,
    batches: int = 313,
    fanout: tuple[int, ...] | None = None,
    width: float | None = None,
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
        magnification, relaxation: M (p by default) and T_r in batches (20 by default) [C], of SD-QSGD's spike, which
            lasts one epoch of `batches`.
        fanout: of the tree; all agents under one root by default. width: of the saturating filter, 0.1 by default [C].

    Raises:
        ValueError: for an unknown name, with what was probably meant, a number out of range, or one that the
            algorithm does not have.
    """
    check_choice("algorithm", name, NAMES)
    check_count("agents", agents)
    check_sign("eta", eta, zero=False)
    own = dict(k=k, average=average, magnification=magnification, relaxation=relaxation, fanout=fanout, width=width)
    for label, value in (*own.items(), ("period", None if period == 1 else period)):
        if value is not None and name not in _WITH[label]:
            raise ValueError(f"{label}={value}: {name} has none; those that have: {', '.join(_WITH[label])}")
    if average is not None and not 0 <= average < 1:
        raise ValueError(f"average={average}: must be from 0 to less than 1")
    relaxation = 20.0 if relaxation is None else relaxation
    check_sign("relaxation", relaxation, zero=False)
    elastic = 0.9 / (agents * eta) if k is None else k
    plain = 0.04 / eta if k is None else k
    quorum: dict[str, Any] = dict(momentum=momentum, average=0.99 if average is None else average, period=period)
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
        "qsgd": lambda: Algorithm(Quorum(plain), **quorum),
        # By a clock of its own a spike lasts as many batches after the learning rate has fallen.
        "sd-qsgd": lambda: Algorithm(
            Spiking(plain, agents if magnification is None else magnification, relaxation * eta, batches * eta),
            **quorum,
            clock=eta,
            by_mean=True,
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
        "saturating-filter": lambda: Algorithm(
            Filtered(plain, SaturatingFilter(plain, 0.1 if width is None else width)), period=period
        ),
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

# Which algorithms have a number; those of one agent have no coupling, and DOWNPOUR's gains are fixed.
_GAINED = tuple(n for n in NAMES if n not in ("sgd", "msgd", "asgd", "mvasgd") and "downpour" not in n)
_WITH = {
    "k": _GAINED,
    "period": (*_GAINED, "downpour", "adownpour", "mvadownpour"),
    "average": ("mvasgd", "mvadownpour", "qsgd", "sd-qsgd"),
    "magnification": ("sd-qsgd",),
    "relaxation": ("sd-qsgd",),
    "fanout": ("tree",),
    "width": ("saturating-filter",),
}


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
        raise ValueError(
            f"algorithm: a number of shape {np.shape(leaf)} must be one for all, (runs,) or (runs, agents), and there "
            f"are {runs} runs"
        )

    return jax.tree.map(one, values)


def each_run(algorithm: Algorithm, runs: int) -> list[Algorithm]:
    """What `over_runs` made, as one algorithm a run."""
    arrays, rest = eqx.partition(algorithm, eqx.is_array)
    return [eqx.combine(jax.tree.map(lambda a: a[i], arrays), rest) for i in range(runs)]  # noqa: B023
