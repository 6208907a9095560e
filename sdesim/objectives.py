"""Loss functions that agents descend, and what is known of them.

An objective gives `loss(x)` of one point `x` of shape (dims,) as a scalar; its gradient is automatic. Anything plain
jax.numpy will do: `Function(fn)` wraps a user's function, and `Dynamics` does so by itself.

Constants marked [C] are chosen: the available text of Boffi and Slotine has lost its numbers, and these make the
paper's statements about its figures hold. Whoever has the paper passes its numbers instead.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import (
    ConcretizationTypeError,
    JAXTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
)
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sdesim.fields import Part, called_with, check_count, function, named, number, said_by, shown

T = TypeVar("T")


class AbstractObjective(Part):
    """A loss. Subclasses give `loss`, and where it is known `smoothed`."""

    @property
    def dims(self) -> int | None:
        """The number of dimensions it is made for, None for any."""
        return None

    @property
    def made_for(self) -> int | None:
        """The number of agents that it is made for, each with a loss of its own; None where all have one."""
        return None

    def losses(self, x: Float[Array, "agents dims"]) -> Float[Array, " agents"]:
        """Each agent's loss where it is.

        Args:
            x: agents, (agents, dims), in length.

        Returns:
            (agents,), in length^2/time.
        """
        return jax.vmap(self.loss)(x)

    def gradients(self, x: Float[Array, "agents dims"]) -> Float[Array, "agents dims"]:
        """The gradient of each agent's loss where it is.

        Args:
            x: agents, (agents, dims), in length.

        Returns:
            (agents, dims), in length/time.
        """
        return jax.vmap(self.gradient)(x)

    def of(self, members: Array) -> "AbstractObjective":
        """The losses of some agents alone, to be asked where these are; itself where all agents have one loss.

        Args:
            members: their numbers, (count,).

        Returns:
            An objective of `count` agents.
        """
        return self

    def loss(self, x: Float[Array, " dims"]) -> Float[Array, ""]:
        """The loss at one point; of agents that have losses of their own, the mean of all.

        Args:
            x: the point, (dims,), in length.

        Returns:
            A number, in length^2/time.
        """
        raise NotImplementedError

    def gradient(self, x: Float[Array, " dims"]) -> Float[Array, " dims"]:
        """The gradient at one point, automatic unless a subclass knows better.

        Args:
            x: the point, (dims,), in length.

        Returns:
            (dims,), in length/time.
        """
        return jax.grad(self.loss)(x)

    def smoothed(self, x: Float[Array, " dims"], half_width: float | Array) -> Float[Array, ""]:
        """The loss convolved with noise uniform on (-half_width, half_width) in each coordinate (BS 4).

        Args:
            x: the point, (dims,), in length.
            half_width: of the noise, a number of at least 0, in length.

        Returns:
            A number, in length^2/time.

        Raises:
            NotImplementedError: where no closed form is known.
        """
        raise NotImplementedError(f"{type(self).__name__} has no closed form of its smoothed loss")


def checked_indices() -> AbstractContextManager[Any]:
    """A context in which a constant index beyond an array is an IndexError, where JAX would take the last element."""
    from jax._src import config  # as a context it is not public yet

    return config.check_static_indices(True)


class Function(AbstractObjective):
    """A user's loss.

    Attributes:
        fn: of a point (dims,) to a scalar; in one dimension it may take the number itself.

    Raises:
        IndexError: where fn looks beyond its point.
    """

    fn: Callable[[Array], Any] = eqx.field(converter=function)

    def loss(self, x: Array):
        with checked_indices():
            return jnp.asarray(self.fn(x[0] if x.shape == (1,) and not self._takes(x) else x))

    def _takes(self, x: Array) -> bool:
        """Whether fn makes one number of a point of shape (1,); if not, it may be a function of the number itself."""
        try:
            return getattr(jax.eval_shape(lambda x: self.fn(x), x), "shape", None) == ()
        except Exception:  # told by the call with the number, if that fails too
            return False


class AbstractByAgent(AbstractObjective):
    """Losses that differ between agents. Subclasses give `loss_of`, and `made_for`.

    The loss of a point that is no agent's, such as the quorum, is the mean of all: the objective of the whole.
    """

    def loss_of(self, x: Array, agent: Array) -> Array:
        """One agent's loss at a point.

        Args:
            x: the point, (dims,), in length.
            agent: its number, an int32 scalar.

        Returns:
            A number, in length^2/time.
        """
        raise NotImplementedError

    def loss(self, x: Array):
        return jnp.mean(jax.vmap(self.loss_of, (None, 0))(x, self._numbers))

    def losses(self, x: Array):
        return jax.vmap(self.loss_of)(x, self._numbers)

    def gradients(self, x: Array):
        return jax.vmap(jax.grad(self.loss_of))(x, self._numbers)

    def of(self, members: Array):
        return _Some(self, members)

    @property
    def _numbers(self) -> Array:
        return jnp.arange(self.made_for or 0, dtype=jnp.int32)


class _Some(AbstractByAgent):
    """Of some agents, whose numbers may be traced."""

    whole: AbstractByAgent
    members: Array

    @property
    def made_for(self):
        return len(self.members)

    @property
    def _numbers(self):
        return self.members

    def loss_of(self, x: Array, agent: Array):
        return self.whole.loss_of(x, agent)


class ByAgent(AbstractByAgent):
    """A loss of each agent's own, as a function of the point and of the agent's number.

    Attributes:
        fn: of a point (dims,) and a number from 0 to agents - 1, an int32 scalar, to a scalar. An `equinox.Module`
            keeps its numbers sweepable.
        agents: how many agents there are; static.

    Raises:
        IndexError: where fn looks beyond its point.
    """

    fn: Callable[[Array, Array], Any] = eqx.field(converter=function, metadata=called_with("point", "agent"))
    agents: int = eqx.field(static=True)

    def __check_init__(self):
        check_count("agents", self.agents)

    @property
    def made_for(self):
        return self.agents

    def loss_of(self, x: Array, agent: Array):
        with checked_indices():
            return jnp.asarray(self.fn(x, agent))


class Each(AbstractByAgent):
    """One kind of loss, of which every agent has its own numbers.

    Attributes:
        objective: a loss whose arrays lead with the axis of the agents: `Quadratic(curvature=[1.0, 3.0])` is of two
            agents, and so is one of minima (2, dims). Numbers without axes are all agents'.

    Raises:
        ValueError: where no array has an axis of agents, or two have axes of different lengths.
    """

    objective: AbstractObjective = eqx.field(converter=lambda loss: as_objective(loss))
    _agents: int = eqx.field(static=True, init=False, default=0, repr=False)
    _own: tuple[bool, ...] = eqx.field(static=True, init=False, default=(), repr=False)

    def __check_init__(self):
        if isinstance(self.objective, AbstractByAgent):
            raise ValueError(f"objective={type(self.objective).__name__}: differs between agents already")
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.objective) if eqx.is_array(leaf)]
        lengths = sorted({shape[0] for shape in shapes if shape})
        if len(lengths) != 1:
            what = "has no array" if not lengths else f"has arrays whose first axes are {lengths}"
            raise ValueError(f"objective={type(self.objective).__name__}: {what}; they must lead with the agents' axis")
        object.__setattr__(self, "_agents", lengths[0])
        object.__setattr__(self, "_own", tuple(bool(shape) for shape in shapes))

    @property
    def made_for(self):
        return self._agents

    @property
    def dims(self):
        of_one = lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype) if eqx.is_array(a) and a.ndim else a
        return jax.tree.map(of_one, self.objective).dims

    def _of(self, agent: Array) -> AbstractObjective:
        """That of one agent."""
        leaves, tree = jax.tree.flatten(self.objective)
        own = iter(self._own)
        one = [leaf[agent] if eqx.is_array(leaf) and next(own) else leaf for leaf in leaves]
        return jax.tree.unflatten(tree, one)

    def loss_of(self, x: Array, agent: Array):
        return self._of(agent).loss(x)

    def losses(self, x: Array):
        return self._mapped(lambda objective, x: objective.loss(x), x)

    def gradients(self, x: Array):
        return self._mapped(lambda objective, x: objective.gradient(x), x)

    def _mapped(self, fn: Callable[[AbstractObjective, Array], Array], x: Array) -> Array:
        """Of all agents, each with its own numbers: nothing is looked up."""
        leaves, tree = jax.tree.flatten(self.objective)
        own = iter(self._own)
        axes = [0 if eqx.is_array(leaf) and next(own) else None for leaf in leaves]
        arrays, still = eqx.partition(leaves, eqx.is_array)

        def one(arrays: list, x: Array):
            return fn(jax.tree.unflatten(tree, eqx.combine(arrays, still)), x)

        return jax.vmap(one, (axes, 0))(arrays, x)


def as_objective(loss: Any, name: str = "objective") -> AbstractObjective:
    """An objective as it is, or a function of a point wrapped as one.

    Args:
        loss: an objective, or a function of a point (dims,) to a scalar.
        name: what the argument is called, in messages.

    Returns:
        The objective.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(loss, AbstractObjective):
        return loss
    if callable(loss) and not isinstance(loss, type):
        return Function(loss)
    raise TypeError(f"{name}={shown(loss)}: must be an objective of sdesim or a function of a point to a scalar loss")


def said_while_traced(error: Exception) -> str:
    """An error in one line, and what helps where a function decides or computes outside JAX.

    Args:
        error: of a function that was traced.

    Returns:
        As `fields.said_by`, with advice for JAX's errors about traced values.
    """
    said = said_by(error)
    if isinstance(error, TracerBoolConversionError):
        return f"{said} Python's if, while, and, or cannot see values that are traced: use jnp.where, or jax.lax.cond"
    if isinstance(error, TracerArrayConversionError | ConcretizationTypeError):
        return f"{said} NumPy and Python's own numbers cannot hold values that are traced: use jax.numpy"
    return said


Form = Callable[[AbstractObjective, Array], Any]


def fitting_loss(objective: AbstractObjective, dims: int, trace: Callable[[Form], T], value: Callable[[T], Any]) -> T:
    """`trace(form)` of the form in which the loss is one real number of a point (dims,).

    Args:
        objective: the loss; a `Function` of one dimension may take the number itself.
        dims: of the point.
        trace: evaluates a form, a function of the objective and a point, at abstract values.
        value: the loss's abstract value of what `trace` returned.

    Returns:
        What `trace` returned of the first form that fits.

    Raises:
        ValueError: where no form fits, with what is wrong with the first: the function of a point.
    """
    forms: list[Form] = [lambda f, x: f.loss(x)]
    if isinstance(objective, Function):
        forms = [lambda f, x: f.fn(x), lambda f, x: f.fn(x[0])][: 2 if dims == 1 else 1]
    refused = None
    for form in forms:
        try:
            found = trace(form)
        except Exception as error:
            refused = refused or _refusal(error, dims)
            continue
        shape, kind = (getattr(value(found), name, None) for name in ("shape", "dtype"))
        if shape == () and kind is not None and jnp.issubdtype(kind, jnp.floating):
            return found
        what = f"is {type(value(found)).__name__}" if shape is None else f"has shape {shape} and type {kind}"
        refused = refused or ValueError(
            f"objective: the loss of a point of shape ({dims},) {what}; it must be one real number (sum over the "
            "coordinates?)"
        )
    assert refused is not None
    raise refused from refused.__cause__


def _refusal(error: Exception, dims: int) -> ValueError:
    """The error of a loss that cannot be evaluated at a point (dims,)."""
    hint = "; give dims= if its points have another number of coordinates"
    about_shapes = isinstance(error, IndexError | TypeError | ValueError) and not isinstance(error, JAXTypeError)
    refused = ValueError(
        f"objective: the loss cannot be evaluated at a point of shape ({dims},): "
        f"{said_while_traced(error)}{hint if about_shapes else ''}"
    )
    refused.__cause__ = error
    return refused


def check_dims(objective: AbstractObjective, dims: int) -> None:
    """Refuse a number of dimensions that the objective is not made for.

    Args:
        objective: the loss.
        dims: of the points.

    Raises:
        ValueError: naming both.
    """
    if objective.dims is not None and objective.dims != dims:
        raise ValueError(f"dims={dims}: {type(objective).__name__} has {objective.dims} dimension(s)")


def check_loss(objective: AbstractObjective, dims: int, dtype: DTypeLike) -> None:
    """Refuse a loss that does not fit `dims`, does not trace, or is no scalar.

    Args:
        objective: the loss.
        dims: of the points.
        dtype: of the points.

    Raises:
        ValueError: naming the loss, what it returned and what would be right.
    """
    check_dims(objective, dims)
    point = jax.ShapeDtypeStruct((dims,), dtype)
    with checked_indices():
        fitting_loss(objective, dims, lambda form: jax.eval_shape(lambda x: form(objective, x), point), lambda v: v)


class Quadratic(AbstractObjective):
    """1/2 (x - minimum)^T A (x - minimum).

    Attributes:
        curvature: A as a number (times the identity), a vector (its diagonal), or a symmetric matrix (dims, dims), in
            1/time.
        minimum: a number or a vector (dims,), in length.
    """

    curvature: Array = eqx.field(converter=number, default=1.0)
    minimum: Array = eqx.field(converter=number, default=0.0)

    @property
    def dims(self):
        sizes = [a.shape[-1] for a in (self.curvature, self.minimum) if a.ndim]
        return sizes[0] if sizes else None

    def loss(self, x: Array):
        z = x - self.minimum
        return 0.5 * jnp.sum(z * (self.curvature @ z if self.curvature.ndim == 2 else self.curvature * z))


class LogCosh(AbstractObjective):
    """sum of strength x^2 / 2 + weight log cosh x + tilt x: not quadratic, and its curvature is bounded everywhere.

    Curvature lies between strength and strength + weight. With weight >= 0 < strength the loss is strongly convex; with
    weight < -strength < 0 it is a double well in each coordinate whose concavity is at most -(strength + weight). The
    tilt moves the minima, and makes one well deeper; curvature depends on the point alone.

    Attributes:
        STEEPEST: the point at which, and at whose negative, the third derivative is greatest, 4 |weight| / (3 sqrt 3);
            of the class.
        strength: curvature far away, a number or one a coordinate (dims,), in 1/time.
        weight: what the curvature at 0 has beyond it, a number or (dims,), in 1/time.
        tilt: constant part of the gradient, a number or (dims,), in length/time.
    """

    STEEPEST: ClassVar[float] = float(np.arctanh(1 / np.sqrt(3)))

    strength: Array = eqx.field(converter=number, default=1.0)
    weight: Array = eqx.field(converter=number, default=1.0)
    tilt: Array = eqx.field(converter=number, default=0.0)

    @classmethod
    def resting_at(cls, point: Any, strength: Any = 1.0, weight: Any = 1.0) -> "LogCosh":
        """Tilted so that the gradient vanishes where every coordinate is `point`: the minimum of a convex one.

        Args:
            point: a number or one a coordinate (dims,), in length.
            strength: curvature far away, in 1/time.
            weight: what the curvature at 0 has beyond it, in 1/time.

        Returns:
            The loss, with the tilt that does it.
        """
        given = (("point", point), ("strength", strength), ("weight", weight))
        point, strength, weight = (named(name, number)(value) for name, value in given)
        return cls(strength, weight, -(strength * point + weight * jnp.tanh(point)))

    def loss(self, x: Array):
        # log cosh x = logaddexp(x, -x) - log 2, which does not overflow
        wall = jnp.logaddexp(x, -x) - np.log(2.0)
        return jnp.sum(0.5 * self.strength * x * x + self.weight * wall + self.tilt * x)


class QuarticDoubleWell(AbstractObjective):
    """sum of 1/4 (1 - x^2)^2: minima at -1 and 1, a saddle at 0 (Z 5.3)."""

    def loss(self, x: Array):
        return 0.25 * jnp.sum((1 - x * x) ** 2)


class OscillatingDoubleWell(AbstractObjective):
    """The paper's one-dimensional model loss: a tilted double well with oscillations (BS 40), constants [C].

        f(x) = scale (x^4 - well x^2 - tilt x - a1 cos(w1 x) + a2 sin(w2 x))

    With the default constants the deepest minimum is at 1.851, and the minima of the loss smoothed at half width 0.4
    are at -1.672, -0.009 and 1.700.

    Attributes:
        scale: of the whole loss.
        well: what x^2 takes away, which makes two wells.
        tilt: what makes the right one the deeper, if positive.
        a1: amplitude of the slow oscillation.
        w1: its frequency, in radians per length.
        a2: amplitude of the fast oscillation.
        w2: its frequency, in radians per length.
    """

    scale: Array = eqx.field(converter=number, default=0.1)
    well: Array = eqx.field(converter=number, default=5.0)
    tilt: Array = eqx.field(converter=number, default=0.75)
    a1: Array = eqx.field(converter=number, default=6.0)
    w1: Array = eqx.field(converter=number, default=3.6)
    a2: Array = eqx.field(converter=number, default=4.0)
    w2: Array = eqx.field(converter=number, default=16.0)

    @property
    def dims(self):
        return 1

    def loss(self, x: Array):
        z = x[0]
        smooth = z**4 - self.well * z**2 - self.tilt * z
        return self.scale * (smooth - self.a1 * jnp.cos(self.w1 * z) + self.a2 * jnp.sin(self.w2 * z))

    def smoothed(self, x: Array, half_width: float | Array):
        z, h = x[0], jnp.asarray(half_width, x.dtype)
        # Uniform noise has second moment h^2 / 3 and fourth h^4 / 5, and damps a wave of frequency w by sin(wh)/(wh).
        smooth = z**4 + 2 * h**2 * z**2 + h**4 / 5 - self.well * (z**2 + h**2 / 3) - self.tilt * z
        slow, fast = (jnp.sinc(w * h / np.pi) for w in (self.w1, self.w2))
        return self.scale * (smooth - self.a1 * slow * jnp.cos(self.w1 * z) + self.a2 * fast * jnp.sin(self.w2 * z))


class CoupledDoubleWells(AbstractObjective):
    """The paper's d-dimensional model loss: double wells, all pairs coupled by cosines (BS 44), constants [C].

        f(x) = scale (sum_i (x_i^4 - well x_i^2 + tilt x_i) - a/(d-1) sum_{i<j} cos(w x_i) cos(w x_j))

    in O(d) operations. With the default constants the uncorrupted minima are at -1.439 (global) and 1.389.

    Attributes:
        scale: of the whole loss.
        well: what x_i^2 takes away, which makes two wells in each coordinate.
        tilt: what makes the left one the deeper, if positive.
        a: amplitude of the coupling of pairs.
        w: its frequency, in radians per length.
    """

    scale: Array = eqx.field(converter=number, default=0.15)
    well: Array = eqx.field(converter=number, default=4.0)
    tilt: Array = eqx.field(converter=number, default=0.4)
    a: Array = eqx.field(converter=number, default=6.0)
    w: Array = eqx.field(converter=number, default=4.4)

    def loss(self, x: Array):
        wells = jnp.sum(x**4 - self.well * x**2 + self.tilt * x)
        return self.scale * (wells - self._pairs(jnp.cos(self.w * x)))

    def smoothed(self, x: Array, half_width: float | Array):
        h = jnp.asarray(half_width, x.dtype)
        moments = x**4 + 2 * h**2 * x**2 + h**4 / 5 - self.well * (x**2 + h**2 / 3) + self.tilt * x
        damped = jnp.sinc(self.w * h / np.pi) * jnp.cos(self.w * x)
        return self.scale * (jnp.sum(moments) - self._pairs(damped))

    def _pairs(self, z: Array):
        """a/(d-1) sum_{i<j} z_i z_j; in one dimension there is no pair."""
        return self.a * (jnp.sum(z) ** 2 - jnp.sum(z * z)) / (2 * max(z.size - 1, 1))
