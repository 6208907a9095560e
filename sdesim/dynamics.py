"""A model: objective + noise + coupling + momentum, composed into the drift and diffusion of one SDE.

First order (BS 2-6), h = eta:

    dx^i = (-grad f(x^i) + pull^i) dt + sqrt(h / b) B dW^i,        dshared = flow dt

Second order (BS 33-34), with v the velocity in units of 1 / u:

    dx^i = (v^i / u + c pull^i) dt
    dv^i = (-u grad f(x^i + lookahead v^i) - mu v^i + c velocity_pull^i) dt + u sqrt(h / b) B dW^i,  dshared = c flow dt

The *matched step* h is the dt at which Euler-Maruyama is the discrete algorithm: eta for SGD; sqrt(eta) for the
iteration with momentum delta, with friction mu = (1 - delta) / h. There v is the displacement in one iteration, u = h,
which is what the algorithm keeps when a schedule changes eta. c = eta / h converts the coupling's own time, which
advances by eta each iteration, into the time of the SDE. `Friction` states the SDE in continuous time: h = eta and
c = u = 1.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sdesim.coupling import AbstractCoupling, Mean, Uncoupled, per_agent
from sdesim.fields import Part, check_choice, check_sign, concrete, number, number_or_function, shown
from sdesim.noise import AbstractNoise, Silent
from sdesim.objectives import AbstractObjective, as_objective

Agents = Float[Array, "agents dims"]


class AbstractMomentum(Part):
    """Second-order dynamics: how far an iteration goes in time, its friction, and where it takes gradients."""

    def matched_step(self, eta: Array) -> Array:
        """h, the dt at which the SDE is the iteration."""
        raise NotImplementedError

    def velocity_unit(self, h: Array) -> Array:
        """u, what a displacement is to be divided by to be a velocity: h for iterations, whose v is a displacement."""
        return h

    def friction(self, t_end: Array, h: Array) -> Array:
        """mu of the step that ends at time `t_end`, in 1/time."""
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

    def matched_step(self, eta):
        return jnp.sqrt(eta)

    def friction(self, t_end, h):
        return (1 - self.delta) / h


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

    mu: Any = eqx.field(converter=number_or_function)

    def matched_step(self, eta):
        return eta

    def velocity_unit(self, h):
        return jnp.ones_like(h)

    def friction(self, t_end, h):
        return jnp.asarray(self.mu(t_end)) if callable(self.mu) else self.mu


class State(NamedTuple):
    """The state of one simulation.

    x: positions (agents, dims). v: velocities (agents, dims), None without momentum: displacements in one iteration, or
        with `Friction` physical velocities.
    shared, velocity_shared: what the two coupling rules share. t: the time of the coupling, a scalar.
    """

    x: Agents
    v: Agents | None
    shared: PyTree
    velocity_shared: PyTree
    t: Array


class Rates(NamedTuple):
    """What the learning rate of one step means: see the module's head.

    eta: the learning rate that defines time, a scalar. h: matched step. clock: c. unit: u.
    drift, noise: factors an agent on its drift and on its noise, of shape (agents,), or None for 1.
    """

    eta: Array
    h: Array
    clock: Array | float
    unit: Array
    drift: Array | None
    noise: Array | None


class Dynamics(Part):
    """A model of coupled stochastic-gradient agents.

    objective: an objective, or a function of a point (dims,) to a scalar loss in plain jax.numpy.
    coupling: a rule of `sdesim.coupling`; uncoupled by default.
    noise: a law of `sdesim.noise`; none by default.
    eta: learning rate > 0: a number, one an agent (agents,), or a function of the step.
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
    eta: Any = eqx.field(converter=number_or_function, default=0.01)
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
        check_sign("eta", self.eta, zero=False)
        check_sign("batch", self.batch, zero=False)
        for name in ("k", "center_rate"):
            value = getattr(self.coupling, name, None)
            if value is not None and concrete(value, lambda a: float(np.isfinite(a).all())) == 0.0:
                raise ValueError(f"coupling.{name}={np.asarray(value).tolist()}: must be finite")
        check_choice("rates", self.rates, ("iteration", "noise"))
        if self.weak_order not in (1, 2):
            raise ValueError(f"weak_order={self.weak_order}: must be 1 or 2")
        if self.weak_order == 2 and self.momentum is not None:
            raise ValueError("weak_order=2: the modified drift is known without momentum only")

    # -- the meaning of the learning rate ---------------------------------------------------------------------------

    def at_step(self, step) -> Rates:
        """The learning rate of a step and what follows from it."""
        eta = jnp.asarray(self.eta(step)) if callable(self.eta) else self.eta
        drift = noise = None
        if eta.ndim:
            own, eta = eta, jnp.mean(eta)
            if self.rates == "iteration":
                drift = noise = own / eta
            else:
                noise = jnp.sqrt(own / eta)
        if self.momentum is None:
            return Rates(eta, eta, 1.0, eta, drift, noise)
        h = self.momentum.matched_step(eta)
        return Rates(eta, h, eta / h, self.momentum.velocity_unit(h), drift, noise)

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
        return State(x, v, self.coupling.init(x, mean), velocity_shared, jnp.asarray(t, x.dtype))

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
        """The velocity of the whole state (its `t` field: of the coupling's time) at `state.t`; explicit, unsplit."""
        rates = self.at_step(step)
        x, v, shared, _, t = state
        gradients = self.gradients(self.gradient_point(x, v))
        pull = self.coupling.pull(x, shared, t, mean)
        flow = self.coupling.flow(x, shared, t, mean)
        clock = jnp.asarray(rates.clock, t.dtype)
        if v is None or self.momentum is None:
            dx, dshared = _scaled(rates.drift, pull - gradients), flow
            if self.weak_order == 2:
                dx, dshared = self._modified(dx, dshared, state, mean, rates)
            return State(dx, None, dshared, None, clock)
        velocity_pull, velocity_flow = self.velocity_field(state, mean)
        # The friction of a function of time is singular at 0; the SDE takes it from one matched step on.
        mu = self.momentum.friction(jnp.maximum(t / rates.clock, rates.h), rates.h)
        dx = v / rates.unit + _scaled(rates.drift, rates.clock * pull)
        dv = _scaled(rates.drift, -rates.unit * gradients) - mu * v + rates.clock * velocity_pull
        scale = lambda tree: jax.tree.map(lambda a: rates.clock * a, tree)
        return State(dx, dv, scale(flow), scale(velocity_flow), clock)

    def _modified(self, dx, dshared, state: State, mean: Mean, rates: Rates):
        """F - (h/2) (dF/dX) F, by one forward-mode product; X includes the time, for gains that depend on it."""

        def whole(x, shared, t):
            pull = self.coupling.pull(x, shared, t, mean)
            return _scaled(rates.drift, pull - self.gradients(x)), self.coupling.flow(x, shared, t, mean)

        tangent = (dx, jax.tree.map(lambda s, d: _tangent(s, d), state.shared, dshared), jnp.ones_like(state.t))
        _, change = jax.jvp(whole, (state.x, state.shared, state.t), tangent)
        return jax.tree.map(lambda f, c: f - 0.5 * rates.h * c, (dx, dshared), change)

    def velocity_field(self, state: State, mean: Mean):
        """Pull on the velocities and flow of what they share; zero without velocity coupling."""
        if self.velocity_coupling is None or state.v is None:
            return jnp.zeros_like(state.x), None
        arguments = (state.v, state.velocity_shared, state.t, mean)
        return self.velocity_coupling.pull(*arguments), self.velocity_coupling.flow(*arguments)

    def noise_force(self, z: Agents, x: Agents, gradients: Agents, rates: Rates, scale: Array) -> Agents:
        """scale * zeta of each agent's minibatch from the law's variates `z`, with the agents' own noise factors."""
        return self.noise.apply(z, x, gradients, self.batch, scale if rates.noise is None else scale * rates.noise)

    def brownian_force(self, dw: Agents, x: Agents, gradients: Agents, rates: Rates, scale: Array) -> Agents:
        """scale * B dw / sqrt(b) of each agent for Brownian increments, with the agents' own noise factors."""
        return self.noise.diffuse(dw, x, gradients, self.batch, scale if rates.noise is None else scale * rates.noise)


def _tangent(primal, tangent):
    """Integers (an agent's index) have tangents of no content."""
    return tangent if jnp.issubdtype(primal.dtype, jnp.inexact) else np.zeros(primal.shape, jax.dtypes.float0)


def _scaled(factors: Array | None, a: Array) -> Array:
    return a if factors is None else per_agent(factors, a) * a
