"""Coupling rules: how agents that descend one loss pull on each other.

**A rule is a velocity field, not an update.** It knows no step size, no learning rate, no random key and no network.
The integrator, the discrete iteration and the trainer all step the one definition given here:

    dx^i = pull(x, shared, t)^i dt        on the agents,
    dshared = flow(x, shared, t) dt       on what they share: a center variable, tree nodes, a filter's state.

`x` is any pytree whose leaves lead with the agent axis: an (agents, dims) array in a simulation, the stacked
parameters of a network in a trainer. `mean(x, weights=None)` is handed in by whoever runs the rule, and is a rule's
only look across agents; `mean.agents` is their number. That is what lets one rule serve a plain array, a padded block
on a GPU, and agents that live on several devices.

`t` is the time of the rule: it advances by the learning rate each iteration. A gain `k` has units of 1/t, so that
`eta * k` is the dimensionless weight of the pull in one iteration (the moving rate alpha of EASGD).

Sources: BS is Boffi and Slotine (arXiv 1812.10995), Z is Zhang (arXiv 1605.02216).
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.fields import (
    Part,
    check_count,
    check_sign,
    concrete,
    function,
    named,
    number,
    number_or_function,
    optional_number,
    shown,
)

Order = Literal["jacobi", "gauss-seidel"]
ORDERS: tuple[Order, ...] = ("jacobi", "gauss-seidel")


class Mean(Protocol):
    """The mean over agents, supplied by the consumer of a rule."""

    @property
    def agents(self) -> int: ...

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree: ...


class ArrayMean(eqx.Module):
    """The mean over agents whose states are all in one pytree of arrays, agent axis first."""

    agents: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("agents", self.agents)

    def __call__(self, x: PyTree, weights: Array | None = None) -> PyTree:
        """The mean, or with `weights` of shape (agents,) the mean of weight * x, over the agent axis of each leaf.

        Weights are not normalised: a rule that needs sum(w x) / sum(w) divides, and one that does not is safe at 0.
        """
        if weights is None:
            return jax.tree.map(lambda a: jnp.mean(a, axis=0), x)
        return jax.tree.map(lambda a: jnp.mean(per_agent(weights, a) * a, axis=0), x)


def per_agent(values: Array, like: Array) -> Array:
    """`values`, a scalar or of shape (agents,), shaped to multiply `like` of shape (agents, ...)."""
    return values if values.ndim == 0 else values.reshape(values.shape + (1,) * (like.ndim - 1))


def _toward(target: PyTree, x: PyTree, gain: Array) -> PyTree:
    """gain (target - x), for a target without an agent axis."""
    return jax.tree.map(lambda c, a: per_agent(gain, a) * (c[None] - a), target, x)


def _scaled_difference(rate: Array, target: PyTree, center: PyTree) -> PyTree:
    """rate (target - center), neither with an agent axis."""
    return jax.tree.map(lambda m, c: rate * (m - c), target, center)


Gain = Callable[[PyTree, Array], Array]


def _gain(k: Array | Gain, x: PyTree, t: Array) -> Array:
    """A gain as an array, a scalar or of shape (agents,): `k` is a number, one an agent, or a function k(x^i, t)."""
    return jax.vmap(lambda xi: jnp.asarray(k(xi, t)))(x) if callable(k) else k


class AbstractCoupling(Part):
    """A coupling rule. Subclasses give `pull`, and where agents share a state, `init` and `flow`.

    Shapes: `x` leaves (agents, ...); `shared` any pytree; `t` a scalar. All methods are pure and traceable.
    """

    def init(self, x: PyTree, mean: Mean) -> PyTree:
        """The shared state that goes with initial agents `x`; None by default."""
        return None

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity that the coupling gives each agent, of the structure of `x`."""
        raise NotImplementedError

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The velocity of the shared state, of its structure; at rest by default."""
        return jax.tree.map(jnp.zeros_like, shared)

    def renew(self, x: PyTree, shared: PyTree, t: Array, losses: Array) -> PyTree:
        """The shared state after a jump at the start of an epoch, given each agent's loss, of shape (agents,).

        Called by the stepper once an epoch. No jump by default. The time of a rule that jumps starts anew with each
        epoch, at t = 0, so that the iterations of an epoch are told apart by it after any number of steps.
        """
        return shared

    @property
    def renews(self) -> bool:
        """Whether the rule jumps at epochs, and so is another rule without them."""
        return type(self).renew is not AbstractCoupling.renew

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        """The signal that agents are pulled towards, the quorum variable: the mean of the agents by default."""
        return mean(x)

    def stiffness(self, agents: int) -> float | None:
        """The fastest rate of the coupling alone, or None where it is not known beforehand.

        An explicit step of length h is unstable beyond h * stiffness = 2.
        """
        return None

    def amplification(self, step: float, agents: int, order: Order) -> float | None:
        """The factor by which one step of length `step` of the coupling alone multiplies its fastest mode, or None
        where it is not known. Above 1 the step is unstable."""
        rate = self.stiffness(agents)
        return None if rate is None else abs(1 - step * rate)


class Uncoupled(AbstractCoupling):
    """No coupling: independent SGD agents."""

    def pull(self, x, shared, t, mean):
        return jax.tree.map(jnp.zeros_like, x)

    def stiffness(self, agents):
        return 0.0


class Quorum(AbstractCoupling):
    """QSGD: each agent is pulled towards the mean of all (BS 6).

        dx^i = k (x_mean - x^i) dt

    k: gain, in 1/time: a number, one an agent of shape (agents,), or a function k(x^i, t). With one common number the
        coupling leaves the mean of the agents alone.
    """

    k: Any = eqx.field(converter=number_or_function)

    def pull(self, x, shared, t, mean):
        return _toward(mean(x), x, _gain(self.k, x, t))

    def stiffness(self, agents):
        return 0.0 if agents == 1 else concrete(self.k, np.max)  # one agent is its own mean


class Elastic(AbstractCoupling):
    """EASGD: agents and a center variable pull on each other (BS 4-5, Z 2.3-2.4).

        dx^i = k (center - x^i) dt
        dcenter = center_rate (x_mean - center) dt

    In the iteration with learning rate eta, the moving rates of Z are alpha = eta k and beta = eta center_rate.
    The center starts at the mean of the initial agents.

    k: gain, in 1/time: a number, one an agent, or a function k(x^i, t).
    center_rate: in 1/time. None means elastic symmetry, k * agents (beta = agents * alpha); with a gain an agent, the
        sum of the gains. The symmetric rate makes the center stiff: see `stiffness`.
    """

    k: Any = eqx.field(converter=number_or_function)
    center_rate: Array | None = eqx.field(converter=optional_number, default=None)

    def __check_init__(self):
        check_sign("center_rate", self.center_rate)

    @classmethod
    def from_moving_rates(cls, alpha: float, beta: float, eta: float) -> "Elastic":
        """The rule whose iteration at learning rate `eta` has Z's moving rates alpha and beta."""
        check_sign("beta", beta)
        check_sign("eta", eta, zero=False)
        alpha, beta, eta = (named(n, number)(v) for n, v in (("alpha", alpha), ("beta", beta), ("eta", eta)))
        return cls(alpha / eta, beta / eta)

    def init(self, x, mean):
        return mean(x)

    def pull(self, x, shared, t, mean):
        return _toward(shared, x, _gain(self.k, x, t))

    def flow(self, x, shared, t, mean):
        if self.center_rate is not None:
            return _scaled_difference(self.center_rate, mean(x), shared)
        gain = _gain(self.k, x, t)
        if gain.ndim == 0:
            return _scaled_difference(gain * mean.agents, mean(x), shared)
        # Elastic symmetry with unequal gains: the sum of k_i (x^i - center), each the reaction to one agent's pull.
        return jax.tree.map(lambda m, c: mean.agents * (m - mean(gain) * c), mean(x, gain), shared)

    def center(self, x, shared, t, mean):
        return shared

    def stiffness(self, agents):
        rates = self._rates(agents)
        return None if rates is None else sum(rates)

    def amplification(self, step, agents, order):
        rates = self._rates(agents)
        if rates is None:
            return None
        alpha, beta = (step * rate for rate in rates)
        if order == "jacobi":
            return max(abs(1 - alpha), abs(1 - alpha - beta))
        return max(abs(1 - alpha), abs((1 - alpha) * (1 - beta)))  # so that DOWNPOUR, alpha = 1, is stable (Z 6.2)

    def _rates(self, agents: int) -> tuple[float, float] | None:
        k, mean_k = concrete(self.k, np.max), concrete(self.k, np.mean)
        if k is None or mean_k is None:
            return None
        rate = mean_k * agents if self.center_rate is None else concrete(self.center_rate, np.max)
        return None if rate is None else (k, rate)


def _weighted_pull(gains: Array, x: PyTree, mean: Mean) -> PyTree:
    """sum_j k_j (x^j - x^i), for gains (agents,); nothing is divided by the sum of the gains, which may be 0."""
    total = mean.agents * mean(gains)
    return jax.tree.map(lambda m, a: mean.agents * m[None] - total * a, mean(x, gains), x)


def _weighted_center(gains: Array, x: PyTree, mean: Mean) -> PyTree:
    total = mean(gains)
    safe = jnp.where(total == 0, jnp.ones_like(total), total)
    return jax.tree.map(lambda w, m: jnp.where(total == 0, m, w / safe), mean(x, gains), mean(x))


class StateDependent(AbstractCoupling):
    """All-to-all coupling with a gain of each sender (BS 55-57).

        dx^i = sum_j gain(x^j, t) (x^j - x^i) dt = K (center - x^i) dt,
        K = sum_j k_j,  center = sum_j k_j x^j / K

    gain: a function of one agent's state and the time to its gain k_j >= 0, a scalar, such as a decreasing function of
        its loss; an `equinox.Module` keeps its numbers sweepable. The constant gain k / agents is QSGD.
    """

    gain: Gain = eqx.field(converter=function)

    def pull(self, x, shared, t, mean):
        return _weighted_pull(_gain(self.gain, x, t), x, mean)

    def center(self, x, shared, t, mean):
        return _weighted_center(_gain(self.gain, x, t), x, mean)


class Spiking(AbstractCoupling):
    """SD-QSGD: at each epoch's start the best agent's gain spikes and relaxes (BS 57, 60-61).

    With tau = t - (start of the epoch) and i* the agent of least loss then,

        k_j(tau) = k/p (1 - e^(-tau/relaxation)) + [j = i*] magnification k e^(-tau/relaxation),   tau < duration,
        k_j = k/p from tau = duration on, and before the first epoch,

    in dx^i = sum_j k_j (x^j - x^i) dt. At the spike the center is the best agent; afterwards the rule is QSGD.

    k: gain, in 1/time. magnification: M, without unit. relaxation, duration: T_r and T, in time (iterations * eta).
    """

    k: Array = eqx.field(converter=number)
    magnification: Array = eqx.field(converter=number)
    relaxation: Array = eqx.field(converter=number)
    duration: Array = eqx.field(converter=number)

    def __check_init__(self):
        for name in ("magnification", "duration"):
            check_sign(name, getattr(self, name))
        check_sign("relaxation", self.relaxation, zero=False)

    def init(self, x, mean):
        # No spike yet: the epoch began long ago. Not at -inf, of which an adaptive solver would take differences.
        return {"best": jnp.zeros((), jnp.int32), "start": jnp.full((), -1e30, self.k.dtype)}

    def renew(self, x, shared, t, losses):
        # A diverged agent must not lead: argmin would return the first NaN.
        losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
        return {"best": jnp.argmin(losses).astype(jnp.int32), "start": jnp.asarray(t, self.k.dtype)}

    def gains(self, shared, t, agents: int) -> Array:
        """The gains k_j at time t, of shape (agents,)."""
        tau = t - shared["start"]
        # A duration of n iterations ends with the n-th: where t is that end but for roundings, the spike is over.
        on = tau + 16 * float(jnp.finfo(tau.dtype).eps) * t < self.duration
        decay = jnp.where(on, jnp.exp(-tau / self.relaxation), jnp.zeros_like(tau))
        spike = (jnp.arange(agents, dtype=jnp.int32) == shared["best"]).astype(self.k.dtype)
        return self.k / agents * (1 - decay) + spike * (self.magnification * self.k * decay)

    def pull(self, x, shared, t, mean):
        return _weighted_pull(self.gains(shared, t, mean.agents), x, mean)

    def center(self, x, shared, t, mean):
        return _weighted_center(self.gains(shared, t, mean.agents), x, mean)

    def stiffness(self, agents):
        k, magnification = concrete(self.k, np.max), concrete(self.magnification, np.max)
        return None if k is None or magnification is None else k * max(1.0, magnification)


class LinearFilter(Part):
    """The low-pass filter dcenter = rate (x_mean - center) dt, which makes `Filtered` EASGD."""

    rate: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("rate", self.rate)

    def __call__(self, center, x, t, mean):
        return _scaled_difference(self.rate, mean(x), center)


class SaturatingFilter(Part):
    """dcenter = rate width tanh((x_mean - center) / width) dt: linear nearby, of bounded speed for far agents."""

    rate: Array = eqx.field(converter=number)
    width: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("rate", self.rate)
        check_sign("width", self.width, zero=False)

    def __call__(self, center, x, t, mean):
        return jax.tree.map(lambda m, c: self.rate * self.width * jnp.tanh((m - c) / self.width), mean(x), center)


class Filtered(AbstractCoupling):
    """Agents in feedback with any dynamics of the quorum variable (BS 64).

        dx^i = k (center - x^i) dt,   dcenter = filter(center, x, t) dt

    k: gain, in 1/time: a number, one an agent, or a function k(x^i, t).
    filter: a function (center, x, t, mean) -> dcenter, such as `LinearFilter` or `SaturatingFilter`. A filter with a
        state of its own also has `init(x, mean) -> state` and `output(state) -> center`, and receives its state in
        place of the center.
    """

    k: Any = eqx.field(converter=number_or_function)
    filter: Callable[..., PyTree] = eqx.field(converter=function)

    def init(self, x, mean):
        init = getattr(self.filter, "init", None)
        return mean(x) if init is None else init(x, mean)

    def pull(self, x, shared, t, mean):
        return _toward(self.center(x, shared, t, mean), x, _gain(self.k, x, t))

    def flow(self, x, shared, t, mean):
        return self.filter(shared, x, t, mean)

    def stiffness(self, agents):
        k, rate = concrete(self.k, np.max), concrete(getattr(self.filter, "rate", None), np.max)
        known = isinstance(self.filter, LinearFilter | SaturatingFilter)  # whose slope is nowhere more than their rate
        return None if not known or k is None or rate is None else k + rate

    def amplification(self, step, agents, order):
        return super().amplification(step, agents, order) if order == "jacobi" else None

    def center(self, x, shared, t, mean):
        output = getattr(self.filter, "output", None)
        return shared if output is None else output(shared)


def _fanout(value) -> tuple:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


class Tree(AbstractCoupling):
    """EASGD Tree: agents are the leaves of a tree of averaging nodes (Z 6.1, synchronous).

        dx^i = k (parent - x^i) dt
        dnode = up (mean of its children - node) dt + down (parent - node) dt

    The agents fill the tree in order: agents 0 .. fanout[0]-1 share the first parent, and so on up to the one root,
    so the number of agents is the product of `fanout`. Nodes start at the mean of their leaves.

    k: gain of the leaves, in 1/time.
    fanout: children of a node at each level, leaves first; static. (16, 16) is Z's tree of 256 agents.
    up, down: rates of the nodes, in 1/time. None means elastic symmetry: up = k * fanout of the level, down = k.
    """

    k: Array = eqx.field(converter=number)
    fanout: tuple[int, ...] = eqx.field(static=True, converter=_fanout)
    up: Array | None = eqx.field(converter=optional_number, default=None)
    down: Array | None = eqx.field(converter=optional_number, default=None)

    def __check_init__(self):
        if not self.fanout or any(not isinstance(f, int | np.integer) or f < 1 for f in self.fanout):
            raise ValueError(f"fanout={shown(self.fanout)}: must be a tuple of positive integers, leaves first")
        for name in ("up", "down"):
            check_sign(name, getattr(self, name))

    def _levels(self, values: PyTree) -> list[PyTree]:
        """Each level's node values from those of the level above the leaves, by averaging children up to the root."""
        levels = [values]
        for fan in self.fanout[1:]:
            values = self._children_mean(values, fan)
            levels.append(values)
        return levels

    def _parents(self, x: PyTree, mean: Mean) -> PyTree:
        """The mean of each lowest node's leaves, of leaves (nodes, ...): one weighted mean a node."""
        agents, fan = mean.agents, self.fanout[0]
        if agents != int(np.prod(self.fanout)):
            raise ValueError(f"agents={agents}: a Tree of fanout {self.fanout} has {int(np.prod(self.fanout))} leaves")
        member = np.arange(agents)[None, :] // fan == np.arange(agents // fan)[:, None]
        weights = jnp.asarray(member * (agents / fan), self.k.dtype)
        # Not by vmap: of that XLA (jaxlib 0.10.2, on CPUs) makes a reduction that reads memory which is not its own.
        nodes = [mean(x, weights[i]) for i in range(agents // fan)]
        return jax.tree.map(lambda *means: jnp.concatenate([m[None] for m in means]), *nodes)

    def init(self, x, mean):
        return self._levels(self._parents(x, mean))

    def pull(self, x, shared, t, mean):
        return jax.tree.map(lambda n, a: self.k * (jnp.repeat(n, self.fanout[0], axis=0) - a), shared[0], x)

    def flow(self, x, shared, t, mean):
        flows = []
        for level, nodes in enumerate(shared):
            fan = self.fanout[level]
            children = self._parents(x, mean) if level == 0 else self._children_mean(shared[level - 1], fan)
            up = self.k * fan if self.up is None else self.up
            down = self.k if self.down is None else self.down
            change = jax.tree.map(lambda c, n: up * (c - n), children, nodes)  # noqa: B023
            if level + 1 < len(shared):
                above = self.fanout[level + 1]
                change = jax.tree.map(
                    lambda d, n, parent: d + down * (jnp.repeat(parent, above, axis=0) - n),  # noqa: B023
                    change,
                    nodes,
                    shared[level + 1],
                )
            flows.append(change)
        return flows

    @staticmethod
    def _children_mean(nodes: PyTree, fan: int) -> PyTree:
        return jax.tree.map(lambda a: a.reshape(-1, fan, *a.shape[1:]).mean(1), nodes)

    def center(self, x, shared, t, mean):
        """The root."""
        return jax.tree.map(lambda a: a[0], shared[-1])

    def stiffness(self, agents):
        k = concrete(self.k, np.max)
        if k is None:
            return None
        up = concrete(self.up, np.max)
        down = k if self.down is None else concrete(self.down, np.max)
        if down is None:
            return None
        # The mode in which all nodes of a level move together and levels alternate is the fastest: one row a level.
        size = len(self.fanout) + 1
        matrix = np.zeros((size, size))
        for row in range(size):
            to_child = 0.0 if row == 0 else (k * self.fanout[row - 1] if up is None else up)
            to_parent = 0.0 if row == size - 1 else (k if row == 0 else down)
            matrix[row, row] = to_child + to_parent
            if row:
                matrix[row, row - 1] = -to_child
            if row < size - 1:
                matrix[row, row + 1] = -to_parent
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    def amplification(self, step, agents, order):
        return super().amplification(step, agents, order) if order == "jacobi" else None


RULES: dict[str, type[AbstractCoupling]] = {
    "uncoupled": Uncoupled,
    "quorum": Quorum,
    "elastic": Elastic,
    "state-dependent": StateDependent,
    "spiking": Spiking,
    "filtered": Filtered,
    "tree": Tree,
}
"""Every coupling rule by name. Whatever is added here must pass the tests that hold for all rules."""
