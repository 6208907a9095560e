"""The distributed algorithms by their names: a coupling rule of `sdesim.coupling`, a momentum, an order and a period.

No update rule is written here. What trains a network is `optax.trace` and `sdesim.couple` with the rule; what an
algorithm's name stands for is which rule, with which numbers (BS 6, Z 2 and 4).
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from sdesim.contents import LATER
from sdesim.coupling import (
    ORDERS,
    AbstractCoupling,
    Elastic,
    Filtered,
    LinearFilter,
    Order,
    Outer,
    Quorum,
    SaturatingFilter,
    Spiking,
    Tree,
    Uncoupled,
)
from sdesim.fields import (
    Part,
    check_choice,
    check_count,
    check_flags,
    check_sign,
    concrete,
    is_traced,
    named,
    number,
    optional_number,
    shown,
)
from sdesim.interop.as_optax import Coupled, couple
from sdesim.random import MAX_STEPS
from sdesim.schedules import QSR, AbstractPeriod, Fading, PostLocal
from sdesim.steppers.iteration import check_late
from sdesim.training.inner import Inner

AGENT_BITS = 12  # of a counter's first word of random numbers; the run has the others
MAX_AGENTS = 1 << AGENT_BITS


class Made(Part):
    """What an algorithm's numbers follow from, each 0 where they do not.

    Numbers, so that algorithms of other values are one program.

    Attributes:
        agents: p.
        eta: the rate that turns gains into weights of a step: a number, (runs,) or (runs, agents).
        batches: of an epoch.
    """

    agents: Array = eqx.field(converter=number, default=0.0)
    eta: Array = eqx.field(converter=number, default=0.0)
    batches: Array = eqx.field(converter=number, default=0.0)


class Algorithm(Part):
    """How agents step and are coupled.

    Every number may have a leading axis of runs, that of `train`'s.

    Attributes:
        rule: any coupling rule.
        momentum: delta of Nesterov's scheme, from 0 to less than 1; 0 for none.
        average: weight gamma of the past, from 0 to 1, in the exponentially weighted center, y <- gamma y + (1 - gamma)
            center, which is then what is tested; None tests the center itself.
        running: True for the plain average of all centers so far, the start among them, for as long as the past's
            weight n / (n + 1) in it is below gamma: with gamma = 1, always.
        pace: the learning rate by which gains become weights of a step, alpha = pace k, whatever the agents' own rates
            are: the weights stay where those fall or differ; or `schedules.Fading` of the agents' own rates. None:
            these, with which the weights then fall.
        clock: time of an iteration for gains that depend on time, of `sdesim.couple`.
        order: of `sdesim.couple`, "jacobi" or "gauss-seidel".
        period: of `sdesim.couple`, iterations between two communications.
        rounds: in place of the period one that changes, such as `schedules.QSR(alpha)`, by the agents' mean learning
            rate, or `schedules.PostLocal`; None for the period.
        late: of `sdesim.couple`, by how many iterations an exchange is late; None of those that come at once.
        nesterov: take gradients ahead, at x + delta v; heavy ball otherwise.
        share: all agents step by the sum of their gradients (MDOWNPOUR, whose momentum is the master's).
        every: iterations between two centers that enter the average.
        since: iterations after which the average begins, from the center of then; None for 0.
        by_mean: test the mean of the agents, where that is not the rule's own center.
        made: what the numbers follow from, of a `NamedAlgorithm`'s; a training of other agents, rates or batches an
            epoch is refused, as its weights would be others than the algorithm's.
        inner: each agent's own optimizer in place of a step against the gradient with `momentum`, which must then be 0;
            `Training(..., optimizer=)` sets it.
    """

    rule: AbstractCoupling
    momentum: Array = eqx.field(converter=number, default=0.0)
    average: Array | None = eqx.field(converter=optional_number, default=None)
    running: Array = eqx.field(converter=lambda r: _flags(r), default=False)
    pace: Any = eqx.field(converter=lambda p: p if isinstance(p, Fading) else optional_number(p), default=None)
    clock: Array | None = eqx.field(converter=optional_number, default=None)
    order: Order = eqx.field(static=True, default="jacobi")
    period: int = eqx.field(static=True, default=1)
    rounds: AbstractPeriod | None = None
    late: int | None = eqx.field(static=True, default=None, metadata=LATER)
    nesterov: bool = eqx.field(static=True, default=True)
    share: bool = eqx.field(static=True, default=False)
    every: int = eqx.field(static=True, default=1)
    since: Array | None = eqx.field(converter=optional_number, default=None, metadata=LATER)
    by_mean: bool = eqx.field(static=True, default=False)
    made: Made = eqx.field(default_factory=Made)
    inner: Inner | None = eqx.field(static=True, default=None, metadata=LATER)

    def __check_init__(self):
        if not isinstance(self.rule, AbstractCoupling):
            raise TypeError(f"rule={shown(self.rule)}: must be a coupling rule of sdesim.coupling")
        if not isinstance(self.made, Made):
            raise TypeError(f"made={shown(self.made)}: must be what sdesim.training.algorithm remembers")
        check_flags(nesterov=self.nesterov, share=self.share, by_mean=self.by_mean)
        check_choice("order", self.order, ORDERS)
        for label, most in (("momentum", np.nextafter(1, 0)), ("average", 1)):
            value = getattr(self, label)
            check_sign(label, value)
            if (largest := concrete(value, np.max)) is not None and largest > most:
                raise ValueError(f"{label}={shown(value)}: must be {'at most' if most == 1 else 'less than'} 1")
        if not isinstance(self.pace, Fading):
            check_sign("pace", self.pace, zero=False)
        check_sign("clock", self.clock, zero=False)
        check_sign("since", self.since)
        check_count("period", self.period, most=MAX_STEPS)
        check_count("every", self.every, most=MAX_STEPS)
        if self.rounds is not None and not isinstance(self.rounds, AbstractPeriod):
            raise TypeError(f"rounds={shown(self.rounds)}: must be None, or such as sdesim.schedules.QSR(0.1)")
        if self.rounds is not None and self.period != 1:
            raise ValueError(f"period={self.period}: must be left out beside rounds, which say it")
        if self.late is not None:
            check_late(self.late, self.period if self.rounds is None else self.rounds)
        if self.average is None and concrete(self.running, np.max):
            raise ValueError("running: needs the weight `average`, up to which it averages; 1 averages all iterations")
        if self.inner is not None:
            if not isinstance(self.inner, Inner):
                raise TypeError(f"inner={shown(self.inner)}: must be None, or what Training(..., optimizer=) makes")
            if (concrete(self.momentum, np.max) or 0) > 0:
                raise ValueError(
                    f"momentum={shown(self.momentum)}: must be 0 beside an optimizer, which has one of its own; "
                    "that of training.algorithm(...) is, unless it is given"
                )

    def check_made_for(self, agents: int, rates: Array, batches: int) -> None:
        """Refuse a training whose numbers are others than those that the algorithm's follow from.

        Its weights would be another algorithm's.

        Args:
            agents: of a run.
            rates: learning rates, (runs, agents), beside numbers of the algorithm that lead with runs.
            batches: of an epoch.

        Raises:
            ValueError: naming both.
        """
        trained = {"agents": agents, "eta": self.coupling_rate(rates), "batches": batches}
        for label, there in trained.items():
            own = getattr(self.made, label)
            if is_traced((own, there)):
                continue
            own, there = (a[:, None] if a.ndim == 1 else a for a in (np.asarray(own), np.asarray(there)))
            own, there = np.broadcast_arrays(own, there)
            if (wrong := (own != 0) & ~np.isclose(own, there, rtol=1e-6, atol=0)).any():
                made_for, has = own[wrong][0], there[wrong][0]
                raise ValueError(
                    f"algorithm: was made for {label}={made_for:g}, and the training has {has:g}; give the training "
                    "what sdesim.training.algorithm gives, which takes its numbers from there"
                )

    @property
    def averages(self) -> bool:
        """Whether an average over iterations is tested, and not the center itself."""
        return self.average is not None

    @property
    def renews(self) -> bool:
        """Whether the rule looks at validation losses at the start of an epoch."""
        return self.rule.renews

    def weight(self, step: Array) -> Array:
        """The weight of the past in the average after an iteration.

        Args:
            step: the number of the iteration, from 0.

        Returns:
            From 0 to 1; 1 where nothing enters the average.
        """
        assert self.average is not None
        entry = (step + 1) // self.every  # that of the start is 0
        if self.since is not None:
            entry = jnp.maximum(entry - self.since // self.every, 0)
        past = jnp.where(self.running, jnp.minimum(self.average, entry / (entry + 1)), self.average)
        if self.since is not None:
            past = jnp.where(entry > 0, past, 0.0)
        return jnp.where((step + 1) % self.every == 0, past, jnp.ones_like(past))

    def coupling_rate(self, eta: Array) -> Array:
        """The rate that the coupling steps by.

        Args:
            eta: that the agents step by.

        Returns:
            The pace then, or `eta` where there is none.
        """
        if self.pace is None:
            return eta
        return self.pace(eta) if isinstance(self.pace, Fading) else self.pace

    def coupling(self) -> Coupled:
        """The rule as an optax transformation, last in the chain."""
        lookahead = self.momentum if self.nesterov and self.inner is None else None
        period = self.period if self.rounds is None else self.rounds
        options: dict[str, Any] = dict(order=self.order, lookahead=lookahead, clock=self.clock)
        return couple(self.rule, **options, period=period, late=self.late or 0)

    def center(self, params: PyTree, optimizer: PyTree) -> PyTree:
        """What stands for the agents of one run: their quorum, center variable or mean.

        Args:
            params: of the agents, leaves (agents, ...).
            optimizer: state of the chain that `optimizer` makes.

        Returns:
            Parameters without the agents' axis.
        """
        if self.by_mean:
            return jax.tree.map(lambda a: jnp.mean(a, axis=0), params)
        return self.coupling().center(params, optimizer)

    def begun(self, params: PyTree, rates: Array) -> tuple[PyTree, Any]:
        """Agents before their first step.

        Args:
            params: where they start, leaves (agents, ...).
            rates: learning rates, (agents,).

        Returns:
            Their parameters, and the state of the chain that `optimizer` makes.
        """
        return params, self.optimizer(rates).init(params)

    def optimizer(self, rates: Array | None = None) -> optax.GradientTransformationExtraArgs:
        """What makes updates, and then couples them.

        Args:
            rates: learning rates, (agents,), which the agents' own optimizers take; not needed where they have none.

        Returns:
            The chain: from steps -eta g of the agents, to which it adds momentum; or from their gradients, where they
            have optimizers of their own.
        """
        own = optax.trace(self.momentum) if self.inner is None else self.inner.of_all(jnp.asarray(rates))
        return optax.chain(own, self.coupling())


def _flags(value: Any) -> Array:
    if not is_traced(value) and np.asarray(value).dtype != bool:
        raise TypeError(f"{shown(value)}: must be True or False")
    return jnp.asarray(value, bool)


@dataclasses.dataclass(frozen=True)
class NamedAlgorithm:
    """An algorithm by its name in the papers.

    Called with a training's agents, learning rate and batches an epoch, from which numbers of it follow, it makes the
    `Algorithm`; `Training` calls it with its own. `algorithm` says what the numbers are by default.

    Attributes:
        name: one of `NAMES`.
        k: gain in 1/time.
        momentum: delta; None for 0.9, or for 0 beside an optimizer, which has one of its own.
        period: iterations between two communications, tau.
        late: by how many iterations an exchange is late, less than the period.
        average: weight gamma of the past in what is tested, from 0 to less than 1.
        magnification: M of SD-QSGD's spike.
        relaxation: T_r of SD-QSGD's spike, in batches.
        fanout: children of a node at each level of the tree, leaves first.
        width: of the saturating filter.
        lr: outer learning rate.
        outer_momentum: of the outer optimizer.
        alpha: growth coefficient of QSR, in time.
        until: the iteration from which on agents step alone.
    """

    name: str
    k: Any = None
    momentum: Any = None
    period: int = 1
    late: int | None = None
    average: Any = None
    magnification: Any = None
    relaxation: Any = None
    fanout: tuple[int, ...] | None = None
    width: Any = None
    lr: Any = None
    outer_momentum: Any = None
    alpha: Any = None
    until: int | None = None

    def __post_init__(self):
        name, average = self.name, self.average
        check_choice("algorithm", name, NAMES)
        check_count("period", self.period, most=MAX_STEPS)
        check_sign("momentum", named("momentum", optional_number)(self.momentum))
        for label, having in _WITH.items():
            value = getattr(self, label)
            if value is not None and (label, value) != ("period", 1) and name not in having:
                raise ValueError(f"{label}={shown(value)}: {name} has none; those that have: {', '.join(having)}")
        named("k", optional_number)(self.k)
        check_sign("average", named("average", optional_number)(average))
        if average is not None and np.max(average) >= 1:
            raise ValueError(f"average={shown(average)}: must be from 0 to less than 1")
        if self.relaxation is not None:
            check_sign("relaxation", named("relaxation", number)(self.relaxation), zero=False)
        if self.fanout is not None:
            if not isinstance(self.fanout, list | tuple) or not self.fanout:
                raise TypeError(
                    f"fanout={shown(self.fanout)}: must be a tuple of the children at each level, leaves first"
                )
            object.__setattr__(self, "fanout", tuple(check_count("fanout", f) for f in self.fanout))
            if (leaves := math.prod(self.fanout)) > MAX_AGENTS:
                raise ValueError(f"fanout={self.fanout}: has {leaves} leaves, and must have at most {MAX_AGENTS}")
        if self.until is not None:
            check_count("until", self.until, least=0, most=MAX_STEPS)
            if self.alpha is not None:
                raise ValueError(f"alpha={shown(self.alpha)}: must be left out beside until, or until beside alpha")
        # Other numbers are the rule's to check, which asks for no more than a rate and a number of agents.
        self(agents=1 if self.fanout is None else math.prod(self.fanout), eta=1.0, batches=1)

    @property
    def numbers(self) -> dict[str, Any]:
        """Those of its own that are not as they are by default."""
        own = [f for f in dataclasses.fields(self) if f.name != "name"]
        return {f.name: value for f in own if (value := getattr(self, f.name)) is not f.default}

    @property
    def couples(self) -> bool:
        """Whether there is anything between its agents."""
        return self.name not in _UNCOUPLED

    def __call__(self, agents: int, eta: Any, batches: int, inner: Inner | None = None) -> Algorithm:
        """The algorithm of a training.

        Args:
            agents: p.
            eta: learning rate, which turns gains into weights of a step (alpha = eta k): a number, (runs,), or (runs,
                agents).
            batches: of an epoch.
            inner: each agent's own optimizer, of `Algorithm`.

        Returns:
            The algorithm, which remembers what its numbers follow from.

        Raises:
            ValueError: for a number out of range, or a fanout of other leaves than there are agents.
            TypeError: for what is no number.
        """
        name, k = self.name, self.k
        check_count("agents", agents, most=MAX_AGENTS)
        check_count("batches", batches, most=MAX_STEPS)
        # The rate divides where gains follow from weights of a step, and is the clock of spikes.
        free = not self.couples or (k is not None and name in _FREE)
        check_sign("eta", named("eta", number)(eta), zero=free)
        eta = eta if np.ndim(eta) == 0 else np.asarray(eta)
        fanout = (agents,) if self.fanout is None else self.fanout
        if name == "tree" and math.prod(fanout) != agents:
            raise ValueError(f"fanout={fanout}: has {math.prod(fanout)} leaves, and agents={agents}")
        made = Made(
            agents=agents if self._by_agents else 0.0,
            eta=eta if k is None and name in _GAINED else 0.0,
            batches=batches if name == "sd-qsgd" else 0.0,
        )
        algorithm = self._made(agents, eta, batches, fanout, inner is None)
        return dataclasses.replace(algorithm, made=made, inner=inner, late=self.late or None)

    @property
    def _by_agents(self) -> bool:
        """Whether numbers follow from the number of agents."""
        if self.name == "sd-qsgd":
            return self.magnification is None
        return self.name in _BY_AGENTS or (self.k is None and self.name in _ELASTIC)

    def _made(self, agents: int, eta: Any, batches: int, fanout: tuple[int, ...], plain: bool) -> Algorithm:
        momentum, period, width = self.momentum, self.period, self.width
        if momentum is None:
            momentum = 0.9 if plain else 0.0
        gain = lambda weight, over: weight / over if self.k is None else self.k
        slow = 0.999 if self.average is None else self.average
        quorum: dict[str, Any] = dict(momentum=momentum, average=0.99 if self.average is None else self.average)
        # DOWNPOUR is alpha = 1, beta = p in Gauss-Seidel order (Z 6.3), whatever becomes of the learning rates. The
        # master's clock, by which averages count, ticks once a period (Z 4).
        pushes = lambda **more: Algorithm(
            Elastic(1 / eta, agents / eta), order="gauss-seidel", period=period, pace=eta, every=period, **more
        )
        match self.name:
            case "sgd":
                return Algorithm(Uncoupled())
            case "msgd":
                return Algorithm(Uncoupled(), momentum)
            case "asgd":
                return Algorithm(Uncoupled(), average=1.0, running=True)
            case "mvasgd":
                return Algorithm(Uncoupled(), average=slow)
            case "qsgd":
                return Algorithm(Quorum(gain(0.04, eta)), period=period, **quorum)
            case "sd-qsgd":
                # By a clock of its own a spike lasts as many batches after the learning rate has fallen.
                largest = agents if self.magnification is None else self.magnification
                relaxation = 20.0 if self.relaxation is None else self.relaxation
                rule = Spiking(gain(0.04, eta), largest, relaxation * eta, batches * eta)
                return Algorithm(rule, period=period, **quorum, clock=eta, by_mean=True)
            case "easgd" | "eamsgd":
                return Algorithm(Elastic(gain(0.9, agents * eta)), momentum, period=period)
            case "easgd-wm":
                return Algorithm(Elastic(gain(0.9, agents * eta)), period=period)
            case "downpour":
                return pushes()
            case "adownpour":
                return pushes(average=1.0, running=True)
            case "mvadownpour":
                return pushes(average=slow)
            case "mdownpour":
                # Agents read x~ + delta v and the master steps by all their gradients (Z, Alg. 4-5), at every
                # iteration: where they all are after it is where the master is.
                master = Elastic(1 / eta, 1 / eta)
                return Algorithm(master, momentum, pace=eta, order="gauss-seidel", share=True)
            case "filter":
                return Algorithm(Filtered(gain(0.04, eta), LinearFilter(gain(0.04, eta))), period=period)
            case "saturating-filter":
                saturating = SaturatingFilter(gain(0.04, eta), 0.1 if width is None else width)
                return Algorithm(Filtered(gain(0.04, eta), saturating), period=period)
            case "local-sgd":
                # Weights of 1, whatever becomes of the learning rates: a gain of 1 at a pace of 1.
                jumps: dict[str, Any] = dict(pace=1.0, order="gauss-seidel")
                if self.alpha is not None:
                    return Algorithm(Quorum(1.0), momentum, rounds=QSR(self.alpha, period), **jumps)
                if self.until is not None:
                    return Algorithm(Quorum(1.0), momentum, rounds=PostLocal(self.until, period), **jumps)
                return Algorithm(Quorum(1.0), momentum, period=period, **jumps)
            case "diloco" | "slowmo" | "lookahead":
                lr = _OUTER[self.name][0] if self.lr is None else self.lr
                slow = _OUTER[self.name][1] if self.outer_momentum is None else self.outer_momentum
                rule = Outer(1.0, lr, slow, nesterov=self.name != "slowmo")
                return Algorithm(rule, momentum, pace=1.0, order="gauss-seidel", period=period)
            case "tree":
                return Algorithm(Tree(gain(0.9 / (fanout[0] + 1), eta), fanout), momentum, period=period)
        raise AssertionError(self.name)


def algorithm(name: str, **numbers: Any) -> NamedAlgorithm:
    """An algorithm by its name in the papers, for a training to take.

    Agents, learning rate and batches are the training's, and given there alone.

    Args:
        name: one of `NAMES`.
        **numbers: by their names, those that are not to be as they are by default:
            k: gain in 1/time. By default what the papers use: for the elastic family alpha = 0.9 / p (Z 4.1), else
                alpha = 0.04 [C], as weights of a step at the learning rate that the training starts with.
            momentum: delta, where the algorithm has one; by default 0.9, or 0 beside an optimizer of the agents' own.
            period: iterations between two communications, tau; 1 by default.
            late: by how many iterations an exchange is late, less than the period; none by default. Agents go on while
                it is under way, as with overlapped communication (2501.18512).
            average: weight gamma of the past in what is tested: the quorum of QSGD and SD-QSGD, 0.99 by default [C],
                the agent of MVASGD and the center of MVADOWNPOUR, 0.999 by default (1 - gamma = 0.001, Z 4.2).
            magnification: M of SD-QSGD's spike, p by default [C].
            relaxation: T_r of SD-QSGD's spike, which lasts one epoch, in batches; 20 by default [C].
            fanout: children of a node at each level of the tree, leaves first; all agents under one root by default.
            width: of the saturating filter, 0.1 by default [C].
            lr: outer learning rate of DiLoCo, 0.7 by default (2311.08105), SlowMo, 1 (1910.00643), and Lookahead, 0.5
                (1907.08610).
            outer_momentum: of DiLoCo, 0.9 by default, and SlowMo, 0.5 [C].
            alpha: growth coefficient of QSR, in time: Local SGD's periods are the greater of `period` and
                (alpha / eta)^2 (2310.14423).
            until: the iteration from which on Local SGD steps alone for a period: post-local SGD (1808.07217).

    Returns:
        The algorithm, whose other numbers follow from a training's.

    Raises:
        ValueError: for an unknown name, with what was probably meant, a number out of range, or one that the algorithm
            does not have.
        TypeError: for one that is the training's, an unknown one, or one of another kind.
    """
    for label in ("agents", "eta", "batches"):
        if label in numbers:
            where = "by its batch and its images" if label == "batches" else f"as train(..., {label}=...)"
            raise TypeError(f"{label}={shown(numbers[label])}: must be given to the training alone, {where}")
    return NamedAlgorithm(name, **numbers)


NAMES = (
    *("sgd", "msgd", "asgd", "mvasgd", "qsgd", "sd-qsgd", "easgd", "easgd-wm", "eamsgd"),
    *("downpour", "adownpour", "mvadownpour", "mdownpour", "filter", "saturating-filter", "tree"),
    *("local-sgd", "diloco", "slowmo", "lookahead"),
)
"""Algorithms that `algorithm` knows."""

# Which algorithms have a number; those of one agent have no coupling, and DOWNPOUR's gains are fixed.
_UNCOUPLED = ("sgd", "msgd", "asgd", "mvasgd")
_OUTER = {"diloco": (0.7, 0.9), "slowmo": (1.0, 0.5), "lookahead": (0.5, 0.0)}  # learning rate and momentum
_JUMPS = ("local-sgd", *_OUTER)  # onto the center: of weight 1
_GAINED = tuple(n for n in NAMES if n not in (*_UNCOUPLED, *_JUMPS) and "downpour" not in n)
_FREE = tuple(n for n in _GAINED if n != "sd-qsgd")  # of the learning rate, once they have a gain
_ELASTIC = ("easgd", "easgd-wm", "eamsgd")  # alpha = 0.9 / p
_BY_AGENTS = ("downpour", "adownpour", "mvadownpour", "tree")  # whatever the gain
_WITH = {
    "k": _GAINED,
    "period": (*_GAINED, "downpour", "adownpour", "mvadownpour", *_JUMPS),
    "late": (*_GAINED, "downpour", "adownpour", "mvadownpour", *_JUMPS),
    "average": ("mvasgd", "mvadownpour", "qsgd", "sd-qsgd"),
    "magnification": ("sd-qsgd",),
    "relaxation": ("sd-qsgd",),
    "fanout": ("tree",),
    "width": ("saturating-filter",),
    "lr": tuple(_OUTER),
    "outer_momentum": ("diloco", "slowmo"),
    "alpha": ("local-sgd",),
    "until": ("local-sgd",),
}


def over_runs(values: Any, runs: int) -> Any:
    """Every array of a pytree with a leading axis of runs: as it is where it has one, repeated where it is a number.

    Args:
        values: the pytree; what is no array in it stays.
        runs: how many there are.

    Returns:
        The pytree, its arrays (runs, ...).

    Raises:
        ValueError: for a leading axis of another length.
    """

    def one(leaf: Any):
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
