"""`couple`: a coupling rule as an optax transformation, for networks trained with the rules that are simulated here.

Parameters are one pytree whose leaves stack the agents on their first axis. Put `couple` last in a chain, after the
optimizer that turns gradients into steps:

    optimizer = optax.chain(optax.sgd(eta), sdesim.couple(sdesim.Quorum(k=3.0), eta))

which is the iteration x <- x - eta g + eta pull. No update rule is written here: velocities come from the rule.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from sdesim.coupling import ORDERS, AbstractCoupling, ArrayMean, Mean, Order, per_agent
from sdesim.dynamics import weighted_tree
from sdesim.fields import check_choice, check_count, check_sign, is_traced, named, number, optional_number, shown
from sdesim.random import MAX_STEPS
from sdesim.schedules import period_of
from sdesim.steppers.base import moved
from sdesim.steppers.iteration import check_late
from sdesim.sums import Sum


class CoupleState(NamedTuple):
    """What `couple` keeps between two updates.

    Attributes:
        shared: the rule's shared state.
        clock: its time, a sum that is right over any number of steps, from the last epoch on if the rule jumps at
            epochs; `t` is it as one number.
        count: iterations done.
        step: the optimizer's last step (its velocity), kept where gradients are taken ahead of the agents, else None.
        next: the number of the iteration of the next exchange, where the period is a function, else None.
        met: where agents were when the last exchange began, where exchanges are late, else None.
    """

    shared: PyTree
    clock: Sum
    count: Array
    step: PyTree
    next: Array | None = None
    met: PyTree = None

    @property
    def t(self) -> Array:
        """The rule's time, as one number."""
        return self.clock.value


class Coupled(optax.GradientTransformationExtraArgs):
    """What `couple` returns: an optax transformation that also answers three questions about its own state.

    Attributes:
        rule: the coupling rule.
        order: "jacobi" or "gauss-seidel".
        eta: learning rate, as `couple` was given it.
        lookahead: momentum delta of Nesterov's scheme, or None.
        clock: time of one iteration, or None for the mean learning rate.
        period: iterations between two communications, a number or a function.
        late: by how many iterations an exchange is late.
        mean: the mean over agents; None for that over the first axis of the leaves.
    """

    rule: AbstractCoupling
    order: Order
    eta: Any
    lookahead: Array | None
    clock: Array | None
    period: Any
    late: int
    mean: Mean | None

    def gradient_point(self, params: PyTree, state: PyTree, eta: Any = None) -> PyTree:
        """Where gradients are to be taken: `params` itself, except with look-ahead or in Gauss-Seidel order.

        Args:
            params: the agents' parameters, stacked on the first axis of their leaves.
            state: of this transformation or of any chain that holds it.
            eta: learning rate of the iteration; as `couple` was given it by default.

        Returns:
            Parameters of the same form.
        """
        own = find_state(state)
        point = params
        if self.order == "gauss-seidel":
            rate = self._rate(eta, own)
            point = _plus(point, self._pull(self._begun(params, own, rate), rate))
        if self.lookahead is not None:
            point = jax.tree.map(lambda x, v: x + self.lookahead * v, point, own.step)
        return point

    def renew(self, params: PyTree, state: PyTree, losses: Array) -> PyTree:
        """The state after the rule's jump at the start of an epoch.

        Args:
            params: the agents' parameters, stacked on the first axis of their leaves.
            state: of this transformation or of any chain that holds it.
            losses: of each agent, (agents,).

        Returns:
            The new state, of the form of `state`.
        """
        if not self.rule.renews:
            return state

        def jump(own: Any):
            if not isinstance(own, CoupleState):
                return own
            clock = Sum.of(jnp.zeros_like(own.t))
            return own._replace(shared=self.rule.renew(params, own.shared, clock.value, losses), clock=clock)

        return jax.tree.map(jump, state, is_leaf=lambda s: isinstance(s, CoupleState))

    def center(self, params: PyTree, state: PyTree) -> PyTree:
        """The quorum or center variable.

        Args:
            params: the agents' parameters, stacked on the first axis of their leaves.
            state: of this transformation or of any chain that holds it.

        Returns:
            Parameters without agent axis.
        """
        own = find_state(state)
        return self.rule.center(params, own.shared, own.t, self._mean(params))

    def _mean(self, params: PyTree) -> Mean:
        return ArrayMean(jax.tree.leaves(params)[0].shape[0]) if self.mean is None else self.mean

    def _rate(self, eta: Any, own: CoupleState) -> Array:
        """The learning rate of this iteration, a number or one an agent."""
        eta = self.eta if eta is None else eta
        if eta is None:
            raise ValueError("eta=None: give the learning rate to couple() or to update(..., eta=)")
        return named("eta", number)(eta(own.count) if callable(eta) else eta)

    def _exchange(self, own: CoupleState, ahead: int = 0) -> Array:
        """1 at the iterations at which what an exchange does comes, else 0; or `ahead` of them."""
        count = own.count + ahead - self.late
        return (count % self.period == 0 if own.next is None else count == own.next).astype(own.t.dtype)

    def _met(self, own: CoupleState, descent: Array) -> CoupleState:
        """With the next exchange, after that of this iteration if there is one."""
        if own.next is None:
            return own
        after = own.count + period_of(self.period, own.count, descent)
        return own._replace(next=jnp.where(own.count == own.next, after, own.next))

    def _begun(self, params: PyTree, own: CoupleState, eta: Array) -> CoupleState:
        """With where agents meet, and in Gauss-Seidel order with what a late exchange collects: it comes with it.

        See `sdesim.steppers.Iteration`; others collect at the end of a period.
        """
        if not self.late:
            return own._replace(met=params)
        begins = own.count % self.period == 0
        met = jax.tree.map(lambda x, kept: jnp.where(begins, x, kept), params, own.met)
        own = own._replace(met=met)
        return self._collected(met, own, self._exchange(own), eta) if self.order == "gauss-seidel" else own

    def _collected(self, seen: PyTree, own: CoupleState, exchange: Array, eta: Array) -> CoupleState:
        """With the shared state after its flow, if there is an exchange."""
        flow = self.rule.flow(seen, own.shared, own.t, self._mean(seen))
        return own._replace(shared=moved(own.shared, weighted_tree(jnp.mean(eta) * exchange, flow)))

    def _pull(self, own: CoupleState, eta: Array) -> PyTree:
        pull = self.rule.pull(own.met, own.shared, own.t, self._mean(own.met))
        weight = eta * self._exchange(own)
        return jax.tree.map(lambda a: per_agent(weight, a).astype(a.dtype) * a, pull)


def _plus(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


def find_state(state: PyTree) -> CoupleState:
    """The state of `couple` within the state of a chain.

    Args:
        state: of `couple`, or of any chain that holds it.

    Returns:
        The state of `couple`.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = [
        s for s in jax.tree.leaves(state, is_leaf=lambda s: isinstance(s, CoupleState)) if isinstance(s, CoupleState)
    ]
    if len(found) != 1:
        raise ValueError(f"state: must hold the state of one couple() transformation, holds {len(found)}")
    return found[0]


def couple(
    rule: AbstractCoupling,
    eta: Any = None,
    *,
    order: Order = "jacobi",
    lookahead: float | Array | None = None,
    clock: float | Array | None = None,
    period: Any = 1,
    late: int = 0,
    mean: Mean | None = None,
) -> Coupled:
    """A coupling rule as a gradient transformation: adds eta * pull to the steps of the agents.

    Args:
        rule: any coupling rule.
        eta: learning rate: a number, one an agent (agents,), a schedule, which is a function of the number of
            iterations done (optax's, for one), or None to pass it to each `update(..., eta=)`.
        order: "jacobi", or "gauss-seidel": the pull acts before the gradient, which is then taken at
            `gradient_point`, and the shared state follows the new agents.
        lookahead: momentum delta of Nesterov's scheme in Zhang's form: gradients are to be taken at
            `gradient_point`, x + delta v, with v the steps of the optimizer before it in the chain,
            `optax.sgd(eta, momentum=delta)`. None for heavy ball or no momentum.
        clock: time of one iteration for gains that depend on time, which then change at the same iterations whatever
            becomes of the learning rate. The mean learning rate if None.
        period: iterations between two communications: a number; or a function, as `Iteration` takes it, of the
            iteration's number or, of `schedules.QSR`, of the learning rate too: of `update(..., descent=)`, by default
            that of the coupling.
        late: by how many iterations an exchange is late, less than the period, as of `Iteration`: agents go on while it
            is under way, and pull and flow are of where they were when it began.
        mean: the mean over agents, where they are not all on the first axis of the leaves here.

    Returns:
        The transformation, whose state is a `CoupleState`.

    Raises:
        TypeError: for an argument of another kind: its name, its value and what would be right.
        ValueError: for a bad value, likewise.
    """
    if not isinstance(rule, AbstractCoupling):
        raise TypeError(f"rule={shown(rule)}: must be a coupling rule of sdesim.coupling")
    check_choice("order", order, ORDERS)
    if not callable(period):
        check_count("period", period, most=MAX_STEPS)
    check_late(late, period)
    check_sign("eta", eta)
    check_sign("clock", clock, zero=False)
    if mean is not None and not isinstance(mean, Mean):
        raise TypeError(f"mean={shown(mean)}: must be a sdesim.coupling.Mean, such as ArrayMean")
    ahead = named("lookahead", optional_number)(lookahead)
    if not is_traced(ahead) and ahead is not None and not 0 <= float(jnp.max(ahead)) <= 1:
        raise ValueError(f"lookahead={shown(ahead)}: must be from 0 to 1")

    def init(params: PyTree):
        leaf = jax.tree.leaves(params)[0]
        step = None if lookahead is None else jax.tree.map(jnp.zeros_like, params)
        shared = rule.init(params, coupled._mean(params))
        # Time needs more digits than bfloat16 parameters have.
        t = jnp.zeros((), leaf.dtype if leaf.dtype.itemsize >= 4 else jnp.float32)
        none = jnp.zeros((), jnp.int32)
        return CoupleState(shared, Sum.of(t), none, step, none if callable(period) else None, params if late else None)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, *, eta: Any = None, descent: Any = None, **extra: Any
    ):
        if params is None:
            raise ValueError("params=None: a coupling needs the agents' parameters in update(updates, state, params)")
        rate = coupled._rate(eta, state)
        common = jnp.mean(rate)
        state = coupled._begun(params, state, rate)
        pull = coupled._pull(state, rate)
        new_updates = jax.tree.map(lambda u, p: (u + p).astype(u.dtype), updates, pull)
        exchanges = coupled._exchange(state)
        state = coupled._met(state, common if descent is None else jnp.mean(descent))
        if order == "jacobi":
            state = coupled._collected(state.met, state, exchanges, rate)
        elif not late:  # see sdesim.steppers.Iteration: the shared state follows at the end of a period
            state = coupled._collected(_plus(params, new_updates), state, coupled._exchange(state, ahead=1), rate)
        tick = (common if coupled.clock is None else coupled.clock).astype(state.t.dtype)
        return new_updates, state._replace(
            clock=state.clock.plus(tick),
            count=state.count + 1,
            step=None if lookahead is None else updates,
            met=state.met if late else None,
        )

    coupled = Coupled(init, update)
    coupled.rule, coupled.order, coupled.eta, coupled.period, coupled.mean = rule, order, eta, period, mean
    coupled.late = late
    coupled.lookahead = ahead
    coupled.clock = named("clock", optional_number)(clock)
    return coupled
