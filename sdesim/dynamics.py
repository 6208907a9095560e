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
from jax.typing import ArrayLike
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
from sdesim.noise import AbstractNoise, Silent, look_at_variates
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
        """c = eta / h, the time of the coupling in one unit of the time of the SDE, and 1 / (unit of v).

        Args:
            eta: learning rate, at least 0, a scalar.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    def matched_step(self, eta: Array) -> Array:
        """h, the dt at which the SDE is the iteration.

        Args:
            eta: learning rate, at least 0, a scalar.

        Returns:
            A scalar, in time of the SDE.
        """
        raise NotImplementedError

    def move(self, eta: Array, dt: Array | None) -> Array | float:
        """By how many of its v a step moves x, dt / c.

        Args:
            eta: learning rate, at least 0, a scalar.
            dt: length of the step, in time of the SDE; None for the matched step.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    def loss(self, move: Array | float, t_end: Array) -> Array:
        """The share of v, mu dt, that friction takes in a step.

        Args:
            move: of the step, from `move`.
            t_end: the time at which the step ends, a scalar.

        Returns:
            A scalar.
        """
        raise NotImplementedError

    @property
    def lookahead(self) -> Array | None:
        """Gradients are taken at x + lookahead v; None for x itself."""
        return None


class HeavyBall(AbstractMomentum):
    """v <- delta v - eta g(x), x <- x + v + eta pull (Z 2.6).

    Attributes:
        delta: momentum, from 0 to 1, without unit; 1 is no friction.
    """

    delta: Array = eqx.field(converter=number)

    def __check_init__(self):
        check_sign("delta", self.delta)
        most = concrete(self.delta, np.max)
        if most is not None and most > 1:
            raise ValueError(f"delta={most:g}: a momentum must be from 0 to 1")

    def clock(self, eta: Array):
        return _root(eta)

    def matched_step(self, eta: Array):
        return _root(eta)

    def move(self, eta: Array, dt: Array | None):
        return 1.0 if dt is None else dt / _root(eta)

    def loss(self, move: Array | float, t_end: Array):
        return (1 - self.delta) * move


class Nesterov(HeavyBall):
    """v <- delta v - eta g(x + delta v), x <- x + v + eta pull (Z 2.5, BS 42-43).

    Attributes:
        delta: momentum, from 0 to 1, without unit; 1 is no friction.
    """

    @property
    def lookahead(self):
        return self.delta


class Friction(AbstractMomentum):
    """The SDE in continuous time: dx1 = x2 dt + ..., dx2 = (-grad f(x1) - mu x2) dt + sqrt(eta) B dW (BS 33-34).

    Gains are k_1 and k_2 of the SDE, and eta is its noise scale. `HeavyBall(delta)` with learning rate eta and gain k
    is this with mu = (1 - delta) / sqrt(eta), eta -> sqrt(eta) and k_1 = k sqrt(eta).

    Attributes:
        mu: friction, at least 0, in 1/time: a number (heavy ball), or a function of time; `lambda t: 3 / t` is
            Nesterov's. A function is evaluated at the end of each step, so never at t = 0.
    """

    mu: Any = eqx.field(converter=number_or_function, metadata=called_with("time"))

    def __check_init__(self):
        check_sign("mu", self.mu)

    def clock(self, eta: Array):
        return jnp.ones_like(eta)

    def matched_step(self, eta: Array):
        return eta

    def move(self, eta: Array, dt: Array | None):
        return eta if dt is None else dt

    def loss(self, move: Array | float, t_end: Array):
        if not callable(self.mu):
            return self.mu * move
        # A step of no length, which may end at 0, has no friction, whatever mu(0) is.
        still = jnp.equal(move, 0)
        mu = jnp.asarray(self.mu(jnp.where(still, jnp.ones_like(t_end), t_end)))
        return jnp.where(still, jnp.zeros_like(mu), mu) * move


class State(NamedTuple):
    """The state of one simulation.

    Attributes:
        x: positions, (agents, dims), in length.
        v: velocities, (agents, dims), None without momentum: displacements in one iteration, or with `Friction`
            physical velocities.
        shared: what the agents share by the coupling.
        velocity_shared: what they share by the coupling of velocities; None without one.
        kept: what the stepper keeps beside, as workers in virtual time do; None where steps need nothing.
        clock: the time of the coupling, a sum of learning rates that is right over any number of steps; `t` is it as
            one number. With a rule that jumps at epochs it is counted from the last one.
        before: the time until then; the whole is `time`.
    """

    x: Agents
    v: Agents | None
    shared: PyTree
    velocity_shared: PyTree
    kept: PyTree
    clock: Sum
    before: Sum

    @property
    def t(self) -> Array:
        """The time of the coupling, as one number: of a rule that jumps, since the last epoch's start."""
        return self.clock.value

    @property
    def time(self) -> Array:
        """The time since the run's start, as one number."""
        return self.before.plus(self.clock.rest).plus(self.clock.value).value


class Counts(NamedTuple):
    """What workers in virtual time have done since their first run began, int32 scalars.

    Attributes:
        arrivals: jobs that ended, each a gradient.
        used: gradients that have moved what the workers are drawn to, or are kept to move it.
        up: messages of workers; of those that begin an exchange, where there is no server.
        down: messages to workers; of those with whom they exchange, where there is no server.
        updates: how often what the workers are drawn to was updated: the master's clock of Z, chapter 4.
    """

    arrivals: Array
    used: Array
    up: Array
    down: Array
    updates: Array


class Rates(NamedTuple):
    """What the learning rate of one step means: see the module's head.

    Attributes:
        eta: the learning rate that defines time, a scalar.
        own: the agents' own, (agents,), or None where all have that one.
        h: matched step, in time of the SDE.
        clock: c, time of the coupling in one unit of that.
    """

    eta: Array
    own: Array | None
    h: Array
    clock: Array


class Sizes(NamedTuple):
    """How much of everything there is in one step, finite at every learning rate. Where agents differ, (agents,).

    Attributes:
        tick: of the coupling's time, c dt, a scalar; shared states flow by it.
        weight: of pull and gradient, the agents' ticks.
        move: of v on x, see `AbstractMomentum.move`; 0 without momentum.
        kick: of one sample's noise zeta, sqrt(eta tick).
        diffusion: of B dW, sqrt(eta c).
    """

    tick: Array
    weight: Array
    move: Array | float
    kick: Array
    diffusion: Array


class Dynamics(Part):
    """A model of coupled stochastic-gradient agents.

    Every number is a traced array: a new value never recompiles, and a vmap over it is a sweep.

    Attributes:
        objective: an objective, or a function of a point (dims,) to a scalar loss in plain jax.numpy.
        coupling: a rule of `sdesim.coupling`; uncoupled by default.
        noise: a law of `sdesim.noise`; none by default.
        eta: learning rate >= 0: a number, one an agent (agents,), or a function of the step. A step at 0 takes no
            gradient, no noise and no time.
        momentum: None, `Nesterov`, `HeavyBall` or `Friction`.
        velocity_coupling: a rule on the velocities (k_2 of BS 34); needs momentum. The rule must be linear, as it is
            stated for physical velocities and acts on v = h * velocity.
        batch: minibatch size b > 0, a number or one an agent: the noise's covariance is divided by it.
        rates: what learning rates that differ between agents mean. "iteration": each agent's own steps, which scale its
            drift as well as its noise (the mean of the agents is then no longer conserved). "noise": BS 3.4, a common
            drift and noise sqrt(eta_i / b_i). Time is measured by the mean of the rates.
        weak_order: 1, or 2 for the drift F - (eta/2) (dF/dX) F of the second-order weak approximation of SGD, F the
            whole drift with coupling and shared state (Li, Tai and E 2017); without momentum only.

    Raises:
        TypeError: for what is no part or no number, naming the argument, its value and what would be right.
        ValueError: for what is out of its range or does not go together, likewise.
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
        look_at_variates(self.noise)

    def check_run(self, agents: int, dims: int) -> None:
        """Refuse a run of a size that does not fit the numbers of the parts.

        Args:
            agents: of one simulation.
            dims: of one agent.

        Raises:
            ValueError: naming the number and what would be right.
        """
        check_dims(self.objective, dims)
        if self.objective.made_for not in (None, agents):
            name, own = type(self.objective).__name__, self.objective.made_for
            raise ValueError(f"agents={agents}: the objective, {name}, has losses of {own} agents")
        for name in ("eta", "batch"):
            check_per(name, getattr(self, name), agents, "agents")
        for name, rule in (("coupling", self.coupling), ("velocity_coupling", self.velocity_coupling)):
            if rule is not None:
                with of_part(name):
                    rule.check_run(agents)
        with of_part("noise"):
            self.noise.check_run(dims)

    # -- the meaning of the learning rate ---------------------------------------------------------------------------

    def at_step(self, step: Array | int) -> Rates:
        """The learning rate of a step and what follows from it.

        Args:
            step: its number, from 0.

        Returns:
            Scalars, and where agents differ their own learning rates.
        """
        eta = jnp.asarray(self.eta(step)) if callable(self.eta) else self.eta
        own, eta = (eta, jnp.mean(eta)) if eta.ndim else (None, eta)
        if self.momentum is None:
            return Rates(eta, own, eta, jnp.ones_like(eta))
        return Rates(eta, own, self.momentum.matched_step(eta), self.momentum.clock(eta))

    def sizes(self, rates: Rates, dt: Array | None = None) -> Sizes:
        """How much one step does.

        Args:
            rates: of the step, from `at_step`.
            dt: length of the step, in time of the SDE; None for the matched step, which is an iteration.

        Returns:
            Scalars, or where agents differ (agents,).
        """
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
        """The dt at which Euler-Maruyama is the discrete algorithm: eta, or sqrt(eta) with iteration momentum.

        Args:
            step: its number, from 0; the first by default.

        Returns:
            A scalar, in time of the SDE.
        """
        return self.at_step(step).h

    # -- state -------------------------------------------------------------------------------------------------------

    def init(self, x: Agents, mean: Mean, v: Agents | None = None, t: ArrayLike = 0.0) -> State:
        """The state that starts from some agents.

        Args:
            x: agents, (agents, dims), in length.
            mean: the mean over them.
            v: velocities as `State` has them, (agents, dims); at rest unless they are given.
            t: time of the coupling at the start; 0 by default.

        Returns:
            The state, with what the agents share.
        """
        if self.momentum is None:
            v = None
        elif v is None:
            v = jnp.zeros_like(x)
        velocity_shared = None if self.velocity_coupling is None else self.velocity_coupling.init(v, mean)
        clock = Sum.of(jnp.asarray(t, x.dtype))
        before = Sum.of(jnp.zeros_like(clock.value))
        return State(x, v, self.coupling.init(x, mean), velocity_shared, None, clock, before)

    def renew(self, state: State) -> State:
        """The state after the rule's jump at the start of an epoch.

        Args:
            state: before the jump.

        Returns:
            The new state, whose time of the coupling starts anew; the same for a rule that does not jump.
        """
        if not self.coupling.renews:
            return state
        clock = Sum.of(jnp.zeros_like(state.t))
        shared = self.coupling.renew(state.x, state.shared, clock.value, self.losses(state.x))
        before = state.before.plus(state.clock.rest).plus(state.clock.value)
        return state._replace(shared=shared, clock=clock, before=before)

    # -- the parts that every stepper composes -----------------------------------------------------------------------

    def losses(self, x: Agents) -> Float[Array, " agents"]:
        """The loss at each agent.

        Args:
            x: agents, (agents, dims), in length.

        Returns:
            (agents,).
        """
        return self.objective.losses(x)

    def gradients(self, x: Agents) -> Agents:
        """The gradient of the loss at each agent.

        Args:
            x: agents, (agents, dims), in length.

        Returns:
            (agents, dims), in length/time.
        """
        return self.objective.gradients(x)

    def gradient_point(self, x: Agents, v: Agents | None) -> Agents:
        """Where agents take their gradients: at x, or ahead of it with Nesterov's momentum.

        Args:
            x: agents, (agents, dims), in length.
            v: velocities, (agents, dims); None without momentum.

        Returns:
            Points, (agents, dims), in length.
        """
        if v is None or self.momentum is None or self.momentum.lookahead is None:
            return x
        return x + self.momentum.lookahead * v

    def drift(self, state: State, mean: Mean, step: Array | int = 0) -> State:
        """The velocity of the whole state at `state.t`; explicit, unsplit.

        Args:
            state: where it is taken.
            mean: the mean over agents.
            step: the step's number, from 0, for learning rates that change.

        Returns:
            Of the structure of `state`, per time of the SDE.
        """
        rates = self.at_step(step)
        # The friction of a function of time is singular at 0; the SDE takes it from one matched step on.
        return self.change(state, mean, rates, jnp.ones_like(rates.h), jnp.maximum(state.time, rates.h))

    def change(self, state: State, mean: Mean, rates: Rates, dt: Array | None, t_end: Array) -> State:
        """What the drift adds to the whole state in an explicit step.

        Args:
            state: before the step.
            mean: the mean over agents.
            rates: of the step, from `at_step`.
            dt: length of the step, in time of the SDE; None for the matched step.
            t_end: the time at which the step ends, a scalar.

        Returns:
            Of the structure of `state`.
        """
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
            return State(dx, None, dshared, None, None, Sum.of(size.tick), still)
        gradients = self.gradients(self.gradient_point(x, v))
        pull = self.coupling.pull(x, shared, state.t, mean)
        velocity_pull, velocity_flow = self.velocity_field(state, mean)
        dx = size.move * v + weighted(size.weight, pull)
        loss = self.momentum.loss(size.move, t_end)
        dv = weighted(size.weight, -gradients) - loss * v + size.tick * velocity_pull
        dshared = weighted_tree(size.tick, self.coupling.flow(x, shared, state.t, mean))
        return State(dx, dv, dshared, weighted_tree(size.tick, velocity_flow), None, Sum.of(size.tick), still)

    def _first_order(self, size: Sizes, x: Agents, shared: PyTree, t: Array, mean: Mean) -> tuple[Agents, PyTree]:
        """What a step of these sizes adds to agents without momentum, and to what they share."""
        force = self.coupling.pull(x, shared, t, mean) - self.gradients(x)
        return weighted(size.weight, force), weighted_tree(size.tick, self.coupling.flow(x, shared, t, mean))

    def velocity_field(self, state: State, mean: Mean) -> tuple[Agents, PyTree]:
        """Pull on the velocities and flow of what they share; zero without velocity coupling.

        Args:
            state: where it is taken.
            mean: the mean over agents.

        Returns:
            The pull, (agents, dims), and the flow, of the structure of `state.velocity_shared`.
        """
        if self.velocity_coupling is None or state.v is None:
            return jnp.zeros_like(state.x), None
        arguments = (state.v, state.velocity_shared, state.t, mean)
        return self.velocity_coupling.pull(*arguments), self.velocity_coupling.flow(*arguments)


def _tangent(primal: Array, tangent: Array):
    """Integers (an agent's index) have tangents of no content."""
    return tangent if jnp.issubdtype(primal.dtype, jnp.inexact) else np.zeros(primal.shape, jax.dtypes.float0)


def weighted(weights: Array, a: Array) -> Array:
    """An array over agents times a number, or one an agent.

    Args:
        weights: a scalar, or (agents,).
        a: (agents, ...).

    Returns:
        (agents, ...).
    """
    return per_agent(weights, a) * a


def weighted_tree(weight: Array, tree: PyTree) -> PyTree:
    """The leaves that flow times a number; an agent's index does not flow.

    Args:
        weight: a scalar.
        tree: of what is shared.

    Returns:
        Of the same structure and types.
    """
    return jax.tree.map(lambda a: weight.astype(a.dtype) * a if jnp.issubdtype(a.dtype, jnp.inexact) else a, tree)
