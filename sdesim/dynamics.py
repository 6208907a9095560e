"""A model: objective + noise + coupling + momentum, composed into the drift and diffusion of one SDE.

First order (BS 2-6), h = eta:

    dx^i = (-grad f(x^i) + pull^i) dt + sqrt(h / b) B dW^i,        dshared = flow dt

Second order (BS 33-34), with v the velocity in units of 1 / c:

    dx^i = (v^i / c + c pull^i) dt
    dv^i = (-c grad f(x^i + lookahead v^i) - mu v^i + c velocity_pull^i) dt + c sqrt(h / b) B dW^i,  dshared = c flow dt

The *matched step* h is the dt at which Euler-Maruyama is the discrete algorithm: eta for SGD; sqrt(eta) for the
iteration with momentum delta, with friction mu = (1 - delta) / h. c = eta / h converts the coupling's own time, which
advances by eta each iteration, into the time of the SDE. With the iteration's momentum c = h, and v is the displacement
in one iteration, which is what the algorithm keeps when a schedule changes eta. `Friction` states the SDE in continuous
time: h = eta and c = 1.

A learning rate of 0 is a step without descent: v <- delta v, x <- x + v, and no time passes. Steppers therefore see
products that have a value there (`Sizes`), and never a quotient of two rates.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sdesim.coupling import AbstractCoupling, Mean, Uncoupled, per_agent
from sdesim.fields import (
    Part,
    called_with,
    check_choice,
    check_per,
    check_sign,
    concrete,
    number,
    number_or_function,
    of_part,
    shown,
)
from sdesim.noise import AbstractNoise, Silent
from sdesim.objectives import AbstractObjective, as_objective, check_dims
from sdesim.sums import Sum

Agents = Float[Array, "agents dims"]


def _root(a: Array) -> Array:
    """The square root, with 0 for its derivative at 0: what is always 0 there must not spoil a gradient."""
    zero = a == 0
    return jnp.where(zero, jnp.zeros_like(a), jnp.sqrt(jnp.where(zero, jnp.ones_like(a), a)))


class AbstractMomentum(Part):
    """Second-order dynamics: how time relates to the learning rate, friction, and where gradients are taken."""

    def clock(self, eta: Array) -> Array:
        """c = eta / h, the time of the coupling in one unit of the time of the SDE, and 1 / (unit of v)."""
        raise NotImplementedError

    def matched_step(self, eta: Array) -> Array:
        """h, the dt at which the SDE is the iteration."""
        raise NotImplementedError

    def move(self, eta: Array, dt: Array | None) -> Array | float:
        """By how many of its v a step of length dt moves x, dt / c; of the matched step if dt is None."""
        raise NotImplementedError

    def loss(self, move: Array | float, t_end: Array) -> Array:
        """The share of v, mu dt, that friction takes in a step that ends at time `t_end`."""
        raise NotImplementedError

    @property
    def lookahead(self) -> Array | None:
        """Gradients are taken at x + lookahead v; None for x itself."""
        return None


class HeavyBall(AbstractMomentum):
    """v <- delta v - eta g(x), x <- x + v + eta pull (Z 2.6); 0 <= delta <= 1, and 1 is no friction."""

    delta: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("delta", self.delta)
        most = concrete(self.delta, np.max)
        if most is not None and most > 1:
            raise ValueError(f"delta={most:g}: a momentum must be from 0 to 1")

    def clock(self, eta):
        return _root(eta)

    def matched_step(self, eta):
        return _root(eta)

    def move(self, eta, dt):
        return 1.0 if dt is None else dt / _root(eta)

    def loss(self, move, t_end):
        return (1 - self.delta) * move


class Nesterov(HeavyBall):
    """v <- delta v - eta g(x + delta v), x <- x + v + eta pull (Z 2.5, BS 42-43)."""

    @property
    def lookahead(self):
        return self.delta


class Friction(AbstractMomentum):
    """The SDE in continuous time: dx1 = x2 dt + ..., dx2 = (-grad f(x1) - mu x2) dt + sqrt(eta) B dW (BS 33-34).

    mu: friction in 1/time: a number (heavy ball), or a function of time; `lambda t: 3 / t` is Nesterov's. A function
    is evaluated at the end of each step, so never at t = 0. Gains are k_1 and k_2 of the SDE, and eta is its noise
    scale. `HeavyBall(delta)` with learning rate eta and gain k is this with mu = (1 - delta) / sqrt(eta),
    eta -> sqrt(eta) and k_1 = k sqrt(eta).
    """

    mu: Any = eqx.field(converter=number_or_function, metadata=called_with("time"))

    def __check_init__(self):
        check_sign("mu", self.mu)

    def clock(self, eta):
        return jnp.ones_like(eta)

    def matched_step(self, eta):
        return eta

    def move(self, eta, dt):
        return eta if dt is None else dt

    def loss(self, move, t_end):
        if not callable(self.mu):
            return self.mu * move
        # A step of no length, which may end at 0, has no friction, whatever mu(0) is.
        still = jnp.equal(move, 0)
        mu = jnp.asarray(self.mu(jnp.where(still, jnp.ones_like(t_end), t_end)))
        return jnp.where(still, jnp.zeros_like(mu), mu) * move


class State(NamedTuple):
    """The state of one simulation.

    x: positions (agents, dims). v: velocities (agents, dims), None without momentum: displacements in one iteration, or
        with `Friction` physical velocities.
    shared, velocity_shared: what the two coupling rules share.
    clock: the time of the coupling, a sum of learning rates that is right over any number of steps; `t` is it as one
        number. With a rule that jumps at epochs it is counted from the last one. before: the time until then; the
        whole is `time`.
    """

    x: Agents
    v: Agents | None
    shared: PyTree
    velocity_shared: PyTree
    clock: Sum
    before: Sum

    @property
    def t(self) -> Array:
        return self.clock.value

    @property
    def time(self) -> Array:
        return self.before.plus(self.clock.rest).plus(self.clock.value).value


class Rates(NamedTuple):
    """What the learning rate of one step means: see the module's head.

    eta: the learning rate that defines time, a scalar. own: the agents' own, (agents,), or None where all have that
    one. h: matched step. clock: c.
    """

    eta: Array
    own: Array | None
    h: Array
    clock: Array


class Sizes(NamedTuple):
    """How much of everything there is in one step, finite at every learning rate. Where agents differ, (agents,).

    tick: of the coupling's time, c dt; shared states flow by it. weight: of pull and gradient, the agents' ticks.
    move: of v on x, see `AbstractMomentum.move`; 0 without momentum. kick: of one sample's noise zeta, sqrt(eta tick).
    diffusion: of B dW, sqrt(eta c).
    """

    tick: Array
    weight: Array
    move: Array | float
    kick: Array
    diffusion: Array


class Dynamics(Part):
    """A model of coupled stochastic-gradient agents.

    objective: an objective, or a function of a point (dims,) to a scalar loss in plain jax.numpy.
    coupling: a rule of `sdesim.coupling`; uncoupled by default.
    noise: a law of `sdesim.noise`; none by default.
    eta: learning rate >= 0: a number, one an agent (agents,), or a function of the step. A step at 0 takes no gradient,
        no noise and no time.
    momentum: None, `Nesterov`, `HeavyBall` or `Friction`.
    velocity_coupling: a rule on the velocities (k_2 of BS 34); needs momentum. The rule must be linear, as it is
        stated for physical velocities and acts on v = h * velocity.
    batch: minibatch size b > 0, a number or one an agent: the noise's covariance is divided by it.
    rates: what learning rates that differ between agents mean. "iteration": each agent's own steps, which scale its
        drift as well as its noise (the mean of the agents is then no longer conserved). "noise": BS 3.4, a common
        drift and noise sqrt(eta_i / b_i). Time is measured by the mean of the rates.
    weak_order: 1, or 2 for the drift F - (eta/2) (dF/dX) F of the second-order weak approximation of SGD, F the whole
        drift with coupling and shared state (Li, Tai and E 2017); without momentum only.

    Every number is a traced array: a new value never recompiles, and a vmap over it is a sweep.

    Raises:
        TypeError, ValueError: naming the argument, its value and what would be right.
    """

    objective: AbstractObjective = eqx.field(converter=as_objective)
    coupling: AbstractCoupling = eqx.field(default_factory=Uncoupled)
    noise: AbstractNoise = eqx.field(default_factory=Silent)
    eta: Any = eqx.field(
        converter=number_or_function, default=0.01, metadata=called_with("step", gives=((), ("agents",)))
    )
    momentum: AbstractMomentum | None = None
    velocity_coupling: AbstractCoupling | None = None
    batch: Array = eqx.field(converter=number, default=1.0)
    rates: Literal["iteration", "noise"] = eqx.field(static=True, default="iteration")
    weak_order: Literal[1, 2] = eqx.field(static=True, default=1)

    def __check_init__(self):
        for name, kind in (("coupling", AbstractCoupling), ("noise", AbstractNoise)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name}={shown(getattr(self, name))}: must be one of sdesim.{name}")
        if self.momentum is not None and not isinstance(self.momentum, AbstractMomentum):
            raise TypeError(f"momentum={shown(self.momentum)}: must be None, Nesterov, HeavyBall or Friction")
        if self.velocity_coupling is not None and not isinstance(self.velocity_coupling, AbstractCoupling):
            raise TypeError(f"velocity_coupling={shown(self.velocity_coupling)}: must be one of sdesim.coupling")
        if self.velocity_coupling is not None and self.momentum is None:
            raise ValueError("velocity_coupling: there is no velocity to couple without momentum")
        if self.velocity_coupling is not None and self.velocity_coupling.renews:
            name = type(self.velocity_coupling).__name__
            raise ValueError(f"velocity_coupling={name}: jumps at epochs, which only a rule on positions does")
        check_sign("eta", self.eta)
        check_sign("batch", self.batch, zero=False)
        check_choice("rates", self.rates, ("iteration", "noise"))
        if not isinstance(self.weak_order, int) or self.weak_order not in (1, 2):
            raise ValueError(f"weak_order={shown(self.weak_order)}: must be 1 or 2")
        if self.weak_order == 2 and self.momentum is not None:
            raise ValueError("weak_order=2: the modified drift is known without momentum only")

    def check_run(self, agents: int, dims: int) -> None:
        """Refuse a run of a size that does not fit the numbers of the parts.

        Raises:
            ValueError: naming the number and what would be right.
        """
        check_dims(self.objective, dims)
        for name in ("eta", "batch"):
            check_per(name, getattr(self, name), agents, "agents")
        for name, rule in (("coupling", self.coupling), ("velocity_coupling", self.velocity_coupling)):
            if rule is not None:
                with of_part(name):
                    rule.check_run(agents)
        with of_part("noise"):
            self.noise.check_run(dims)

    # -- the meaning of the learning rate ---------------------------------------------------------------------------

    def at_step(self, step) -> Rates:
        """The learning rate of a step and what follows from it."""
        eta = jnp.asarray(self.eta(step)) if callable(self.eta) else self.eta
        own, eta = (eta, jnp.mean(eta)) if eta.ndim else (None, eta)
        if self.momentum is None:
            return Rates(eta, own, eta, jnp.ones_like(eta))
        return Rates(eta, own, self.momentum.matched_step(eta), self.momentum.clock(eta))

    def sizes(self, rates: Rates, dt: Array | None = None) -> Sizes:
        """How much one step of length `dt` does; of the matched step, which is an iteration, if dt is None."""
        eta, own, _, clock = rates
        tick = eta if dt is None else clock * dt
        move = 0.0 if self.momentum is None else self.momentum.move(eta, dt)
        weight, kick, diffusion = tick, eta if dt is None else _root(eta * tick), _root(eta * clock)
        if own is not None and self.rates == "noise":
            kick, diffusion = _root(own * tick), _root(own * clock)
        elif own is not None:
            zero = eta == 0  # rates that are all 0 are equal
            share = jnp.where(zero, jnp.ones_like(own), own / jnp.where(zero, jnp.ones_like(eta), eta))
            weight, kick = (own, own) if dt is None else (share * tick, share * kick)
            diffusion = share * diffusion
        return Sizes(tick, weight, move, kick, diffusion)

    def matched_step(self, step: int | Array = 0) -> Array:
        """The dt at which Euler-Maruyama is the discrete algorithm: eta, or sqrt(eta) with iteration momentum."""
        return self.at_step(step).h

    # -- state -------------------------------------------------------------------------------------------------------

    def init(self, x: Agents, mean: Mean, v: Agents | None = None, t=0.0) -> State:
        """The state that starts from agents `x`, at rest unless `v` is given, at time t."""
        if self.momentum is None:
            v = None
        elif v is None:
            v = jnp.zeros_like(x)
        velocity_shared = None if self.velocity_coupling is None else self.velocity_coupling.init(v, mean)
        clock = Sum.of(jnp.asarray(t, x.dtype))
        return State(x, v, self.coupling.init(x, mean), velocity_shared, clock, Sum.of(jnp.zeros_like(clock.value)))

    def renew(self, state: State) -> State:
        """The state after the rule's jump at the start of an epoch."""
        if not self.coupling.renews:
            return state
        clock = Sum.of(jnp.zeros_like(state.t))
        shared = self.coupling.renew(state.x, state.shared, clock.value, self.losses(state.x))
        before = state.before.plus(state.clock.rest).plus(state.clock.value)
        return state._replace(shared=shared, clock=clock, before=before)

    # -- the parts that every stepper composes -----------------------------------------------------------------------

    def losses(self, x: Agents) -> Float[Array, " agents"]:
        return jax.vmap(self.objective.loss)(x)

    def gradients(self, x: Agents) -> Agents:
        return jax.vmap(self.objective.gradient)(x)

    def gradient_point(self, x: Agents, v: Agents | None) -> Agents:
        """Where agents take their gradients: at x, or ahead of it with Nesterov's momentum."""
        if v is None or self.momentum is None or self.momentum.lookahead is None:
            return x
        return x + self.momentum.lookahead * v

    def drift(self, state: State, mean: Mean, step: Array | int = 0) -> State:
        """The velocity of the whole state at `state.t`; explicit, unsplit."""
        rates = self.at_step(step)
        # The friction of a function of time is singular at 0; the SDE takes it from one matched step on.
        return self.change(state, mean, rates, jnp.ones_like(rates.h), jnp.maximum(state.time, rates.h))

    def change(self, state: State, mean: Mean, rates: Rates, dt: Array | None, t_end: Array) -> State:
        """What the drift adds to the whole state in an explicit step of length `dt` that ends at time `t_end`; None
        for the matched step."""
        size = self.sizes(rates, dt)
        x, v, shared, *_ = state
        still = Sum.of(jnp.zeros_like(size.tick))
        if v is None or self.momentum is None:
            dx, dshared = self._first_order(size, x, shared, state.t, mean)
            if self.weak_order == 2:
                # F dt - (h/2) (dF/dX) F dt, by one forward-mode product; X includes the time, for gains that change.
                matched = self.sizes(rates)
                tangent = (dx, jax.tree.map(_tangent, shared, dshared), size.tick)
                fields = lambda x, shared, t: self._first_order(matched, x, shared, t, mean)
                _, bend = jax.jvp(fields, (x, shared, state.t), tangent)
                less = lambda f, b: f - 0.5 * b if jnp.issubdtype(f.dtype, jnp.inexact) else f
                dx, dshared = jax.tree.map(less, (dx, dshared), bend)
            return State(dx, None, dshared, None, Sum.of(size.tick), still)
        gradients = self.gradients(self.gradient_point(x, v))
        pull = self.coupling.pull(x, shared, state.t, mean)
        velocity_pull, velocity_flow = self.velocity_field(state, mean)
        dx = size.move * v + weighted(size.weight, pull)
        loss = self.momentum.loss(size.move, t_end)
        dv = weighted(size.weight, -gradients) - loss * v + size.tick * velocity_pull
        dshared = weighted_tree(size.tick, self.coupling.flow(x, shared, state.t, mean))
        return State(dx, dv, dshared, weighted_tree(size.tick, velocity_flow), Sum.of(size.tick), still)

    def _first_order(self, size: Sizes, x: Agents, shared: PyTree, t: Array, mean: Mean) -> tuple[Agents, PyTree]:
        """What a step of these sizes adds to agents without momentum, and to what they share."""
        force = self.coupling.pull(x, shared, t, mean) - self.gradients(x)
        return weighted(size.weight, force), weighted_tree(size.tick, self.coupling.flow(x, shared, t, mean))

    def velocity_field(self, state: State, mean: Mean):
        """Pull on the velocities and flow of what they share; zero without velocity coupling."""
        if self.velocity_coupling is None or state.v is None:
            return jnp.zeros_like(state.x), None
        arguments = (state.v, state.velocity_shared, state.t, mean)
        return self.velocity_coupling.pull(*arguments), self.velocity_coupling.flow(*arguments)


def _tangent(primal, tangent):
    """Integers (an agent's index) have tangents of no content."""
    return tangent if jnp.issubdtype(primal.dtype, jnp.inexact) else np.zeros(primal.shape, jax.dtypes.float0)


def weighted(weights: Array, a: Array) -> Array:
    """`a` times a number, or one an agent, (agents,)."""
    return per_agent(weights, a) * a


def weighted_tree(weight: Array, tree: PyTree) -> PyTree:
    """The leaves that flow times a number; an agent's index does not flow."""
    return jax.tree.map(lambda a: weight.astype(a.dtype) * a if jnp.issubdtype(a.dtype, jnp.inexact) else a, tree)
