"""Adam and RMSprop, and their SDEs (Malladi et al. 2022, 2205.10287; Compagnoni et al. 2025, 2411.15958).

    m <- b1 m + (1 - b1) g,    s <- b2 s + (1 - b2) g^2,    x <- x - eta (m / c1) / (sqrt(s / c2) + eps) + eta pull

coordinate by coordinate, with c = 1 - b^n after n steps; RMSprop has g in place of m. Where gradients are mostly noise,
in time t = n eta, this is

    dm = (1 - b1) / eta [(grad f - m) dt + sqrt(eta) B dW],    ds = (1 - b2) / eta (diag(B B^T) + grad f^2 - s) dt,
    dx = [-(m / c1) / (sqrt(s / c2) + eps) + pull] dt,         dc = (1 - b) / eta (1 - c) dt,

and of RMSprop dx = -(grad f dt + sqrt(eta) B dW) / (sqrt(s / c2) + eps) + pull dt. The weak error is of the order of
eta^2 where eta sigma, (1 - b) / eta^2 and eta eps stay. The square-root scaling rule follows, by which a minibatch
kappa times as large asks for sqrt(kappa) eta, 1 - kappa (1 - b) and eps / sqrt(kappa). Malladi et al. leave grad f^2
out of s, which is of that order then; with it the equation holds of little noise too.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim.coupling import Mean
from sdesim.dynamics import Agents, Dynamics, Sizes, State, weighted, weighted_tree
from sdesim.fields import check_flags, check_sign, concrete, number, optional_number, shown
from sdesim.steppers.base import AbstractStepper, Kick, descent, moved
from sdesim.steppers.euler_maruyama import check_below, step_length


class Moments(NamedTuple):
    """What each agent keeps of its gradients.

    Attributes:
        first: m, (agents, dims), in length/time; None of RMSprop.
        second: s, (agents, dims), in (length/time)^2.
        of_first: c1, how much of m is of gradients, and not of the start, a scalar; None where none is asked for.
        of_second: c2 of s, likewise.
    """

    first: Array | None
    second: Array
    of_first: Array | None
    of_second: Array | None


class AbstractAdaptive(AbstractStepper):
    """A step that divides by the root of the mean square of the gradients. Subclasses say what that is, and how long.

    Attributes:
        b1: by how much the mean gradient stays in an iteration, from 0 to less than 1; None for the gradient itself.
        b2: the same of the mean square.
        eps: what is added to the root, at least 0, in length/time.
        second: the mean square that a run starts from, at least 0, a number or one a coordinate, (dims,), in
            (length/time)^2.
        debias: whether means are divided by how much of them is of gradients, and not of the start.
    """

    b1: Array | None = eqx.field(converter=optional_number, default=0.9)
    b2: Array = eqx.field(converter=number, default=0.999)
    eps: Array = eqx.field(converter=number, default=1e-8)
    second: Array = eqx.field(converter=number, default=0.0)
    debias: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        for name in ("b1", "b2"):
            if (value := getattr(self, name)) is None:
                continue
            if jnp.shape(value) != ():
                raise ValueError(f"{name}={shown(value)}: must be one number")
            check_sign(name, value)
            if (most := concrete(value, np.max)) is not None and not most < 1:
                raise ValueError(f"{name}={most:g}: must be less than 1")
        check_sign("eps", self.eps)
        check_sign("second", self.second)
        check_flags(debias=self.debias)

    def check(self, model: Dynamics):
        super().check(model)
        name = type(self).__name__
        if model.momentum is not None:
            raise ValueError(f"momentum={type(model.momentum).__name__}: {name} has its own, b1; leave it out")
        if model.weak_order == 2:
            raise ValueError(f"weak_order=2: the modified drift is of SGD, and not of {name}; leave it out")

    @property
    def past(self):
        return 1 if self.b1 is None else 2  # means of what was, each of the size of a state

    def share(self, model: Dynamics, n: Array) -> Array | float:
        """Of an iteration, how much a step is.

        Args:
            model: the dynamics.
            n: the number of the step, from 0; an int32 scalar.

        Returns:
            Without unit.
        """
        raise NotImplementedError

    def square(self, model: Dynamics, x: Agents, gradient: Agents) -> Agents:
        """What the mean square follows.

        Args:
            model: the dynamics.
            x: agents, (agents, dims).
            gradient: of the step, with its noise, (agents, dims).

        Returns:
            (agents, dims).
        """
        raise NotImplementedError

    def init(self, model: Dynamics, x: Agents, v: Agents | None = None):
        none = jnp.zeros((), x.dtype) if self.debias else None
        first = None if self.b1 is None else jnp.zeros_like(x)
        second = jnp.broadcast_to(self.second.astype(x.dtype), x.shape)
        return super().init(model, x, v)._replace(kept=Moments(first, second, none, none))

    def advance(self, model: Dynamics, state: State, n: Array, kick: Kick, mean: Mean):
        size, share = self.sizes(model, n), self.share(model, n)
        x, shared, t, seidel = state.x, state.shared, state.t, self.order == "gauss-seidel"
        pull = weighted(size.weight, model.coupling.pull(x, shared, t, mean))
        flow = lambda x: weighted_tree(size.tick, model.coupling.flow(x, shared, t, mean))
        if seidel:
            x = x + pull
        gradient = -descent(model, x, None, kick, _of_one(size))
        toward = lambda old, new, b: old + (1 - b) * share * (new - old)
        first, second, of_first, of_second = state.kept
        second = toward(second, self.square(model, x, gradient), self.b2)
        if first is not None:
            first = toward(first, gradient, self.b1)
        if self.debias:
            of_second = toward(of_second, 1.0, self.b2)
            of_first = of_first if self.b1 is None else toward(of_first, 1.0, self.b1)
        ahead = gradient if first is None else _over(first, of_first)
        step = -weighted(size.weight, ahead) / (jnp.sqrt(_over(second, of_second)) + self.eps)
        new = x + step if seidel else x + step + pull
        shared = moved(shared, flow(new if seidel else x))
        kept = Moments(first, second, of_first, of_second)
        return state._replace(x=new, shared=shared, kept=kept, clock=state.clock.plus(size.tick))


class Adam(AbstractAdaptive):
    """The discrete algorithm, Adam; with b1=None RMSprop. The rule pulls as it does on SGD, eta pull an iteration.

    Attributes:
        b1: by how much the mean gradient stays in an iteration, from 0 to less than 1; None for the gradient itself.
        b2: the same of the mean square.
        eps: what is added to the root, at least 0, in length/time.
        second: the mean square that a run starts from, at least 0, a number or one a coordinate, (dims,), in
            (length/time)^2.
        debias: whether means are divided by how much of them is of gradients, and not of the start.
    """

    def share(self, model: Dynamics, n: Array):
        return 1.0

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n))

    def square(self, model: Dynamics, x: Agents, gradient: Agents):
        return gradient**2


class AdamSDE(AbstractAdaptive):
    """Euler-Maruyama of Adam's SDE; with b1=None of RMSprop's. The numbers are those of the algorithm.

    The mean square follows what it is in the mean, of the law's own covariance. Each coordinate must have noise of its
    own.

    Attributes:
        b1: by how much the mean gradient stays in an iteration, from 0 to less than 1; None for the gradient itself.
        b2: the same of the mean square.
        eps: what is added to the root, at least 0, in length/time.
        second: the mean square that a run starts from, at least 0, a number or one a coordinate, (dims,), in
            (length/time)^2.
        debias: whether means are divided by how much of them is of gradients, and not of the start.
        dt: length of a step, in time, greater than 0; None for eta, at which a step is an iteration.
    """

    dt: Array | None = eqx.field(converter=step_length, default=None)

    @property
    def resolved(self):
        return self.dt is not None

    def check(self, model: Dynamics):
        super().check(model)
        check_below(model, self.dt)
        name = type(model.noise).__name__
        if (reason := model.noise.without_variance()) is not None:
            raise ValueError(f"noise={name}: {reason}, and the SDE goes by its variance")
        if not model.noise.diagonal:
            raise ValueError(f"noise={name}: must be of each coordinate by itself, whose mean squares are kept")

    def share(self, model: Dynamics, n: Array):
        return 1.0 if self.dt is None else self.dt / model.at_step(n).eta

    def sizes(self, model: Dynamics, n: Array):
        return model.sizes(model.at_step(n), self.dt)

    def square(self, model: Dynamics, x: Agents, gradient: Agents):
        exact = model.gradients(x)
        root = model.noise.diffuse(jnp.ones_like(x), x, exact, model.batch, jnp.ones((), x.dtype))
        return exact**2 + root**2


def _of_one(size: Sizes) -> Sizes:
    """The sizes of a step of one gradient, in place of what that moves agents by."""
    still = size.weight == 0  # of a learning rate of 0, an iteration
    one = jnp.ones_like(size.weight)
    return size._replace(weight=one, kick=jnp.where(still, one, size.kick / jnp.where(still, one, size.weight)))


def _over(mean: Array, part: Any) -> Array:
    return mean if part is None else mean / part
