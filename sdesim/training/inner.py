"""Each agent's own optimizer: any optax transformation, mapped over agents, so that each is as if it were alone.

A leading axis of agents would change what looks at a whole array or at all parameters: Muon's matrices, the norms of
LAMB, clipping by the global norm.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, PyTree

from sdesim.contents import digest
from sdesim.fields import check_choice, said_by, shown
from sdesim.results.recipe import as_code
from sdesim.tracing import each

_RIGHT = (
    "must be a function of a learning rate that makes an optax transformation, such as optax.adamw, or a "
    "transformation, whose updates the learning rate then multiplies, such as optax.adamw(1.0)"
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inner:
    """An optimizer of one agent. Equal for what computes the same, so that it compiles once however often it is made.

    Attributes:
        given: a function of a learning rate that makes an optax transformation; or a transformation, whose updates the
            learning rate multiplies.
    """

    given: Any

    def __post_init__(self):
        if not callable(self.given) and not _is_transformation(self.given):
            raise TypeError(f"optimizer={shown(self.given)}: {_RIGHT}")

    @functools.cached_property
    def _digest(self) -> str:
        return digest(self.given)

    def __hash__(self):
        return hash(self._digest)

    def __repr__(self):
        return f"Inner({as_code(self.given)}, {self._digest[:16]})"  # the same in every process

    def __eq__(self, other: object):
        return isinstance(other, Inner) and self._digest == other._digest

    def of_one(self, eta: Any) -> optax.GradientTransformationExtraArgs:
        """The optimizer of an agent.

        Args:
            eta: its learning rate, a number.

        Returns:
            From the agent's gradients to its updates.

        Raises:
            TypeError: if the function makes something else.
        """
        if _is_transformation(self.given):
            scaled = optax.stateless(lambda updates, params: jax.tree.map(lambda u: eta * u, updates))
            return optax.chain(self.given, scaled)
        made = self.given(eta)
        if not _is_transformation(made):
            raise TypeError(f"optimizer={shown(self.given)}: {_RIGHT}, and makes {shown(made)}")
        return optax.with_extra_args_support(made)

    def of_all(self, rates: Array) -> optax.GradientTransformationExtraArgs:
        """The optimizers of all agents of a run, none of which sees another.

        Args:
            rates: their learning rates, (agents,).

        Returns:
            A transformation of leaves (agents, ...). Its update takes, beside parameters, `point`, where gradients were
            taken, and `losses`, (agents,), which an optimizer that looks at its loss sees as `value`.
        """

        def init(params: PyTree):
            return each(lambda eta, one: self.of_one(eta).init(one))(rates, params)

        def update(
            updates: PyTree,
            state: PyTree,
            params: PyTree = None,
            *,
            point: PyTree = None,
            losses: Array | None = None,
            **extra: Any,
        ):
            def one(eta: Array, gradient: PyTree, own: PyTree, at: PyTree, loss: Array | None):
                seen = {} if loss is None else {"value": loss, "grad": gradient}
                return self.of_one(eta).update(gradient, own, at, **seen)

            return each(one)(rates, updates, state, params if point is None else point, losses)

        return optax.GradientTransformationExtraArgs(init, update)


def _is_transformation(value: Any) -> bool:
    return (
        not inspect.isclass(value)
        and callable(getattr(value, "init", None))
        and callable(getattr(value, "update", None))
    )


def check_steps(inner: Inner, params: PyTree) -> None:
    """Refuse an optimizer that cannot step an agent.

    Args:
        inner: the optimizer.
        params: of an agent, as shapes.

    Raises:
        ValueError: for one that fails, or gives updates of another form, or of other types.
        TypeError: as `Inner.of_one`.
    """

    def step(eta: Array, params: PyTree):
        optimizer = inner.of_one(eta)
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params, value=eta, grad=params)
        return optax.apply_updates(params, updates), state, after

    eta = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        new, state, after = jax.eval_shape(step, eta, params)
    except TypeError as error:
        if str(error).startswith("optimizer="):
            raise
        raise ValueError(f"optimizer: fails in a step: {said_by(error)}") from error
    except Exception as error:
        raise ValueError(f"optimizer: fails in a step: {said_by(error)}") from error
    form = lambda tree: (jax.tree.structure(tree), [(a.shape, a.dtype) for a in jax.tree.leaves(tree)])
    for what, before, now in (("parameters", params, new), ("its state", state, after)):
        if form(before) != form(now):
            raise ValueError(f"optimizer: must leave the shapes and types of {what} as they were, and changes them")


OPTIMIZERS = (
    *("sgd", "adam", "adamw", "amsgrad", "nadam", "nadamw", "adabelief", "adagrad", "adafactor", "lion", "muon"),
    *("rmsprop", "lamb", "lars", "novograd", "radam", "sm3", "yogi"),
)
"""Optimizers of optax that `optimizer` knows."""


def optimizer(name: str, **numbers: Any) -> Callable[[Any], optax.GradientTransformation]:
    """An optimizer of optax by its name, for a training to take, which gives it the learning rate.

    Args:
        name: one of `OPTIMIZERS`.
        **numbers: its other arguments by their names in optax, such as b2=0.95.

    Returns:
        A function of the learning rate that makes the transformation.

    Raises:
        ValueError: for an unknown name, with what was probably meant, or an argument that it does not have.
        TypeError: for the learning rate, which is the training's.
    """
    check_choice("optimizer", name, OPTIMIZERS)
    maker = getattr(optax.contrib if name == "muon" else optax, name)
    if "learning_rate" in numbers:
        raise TypeError(f"learning_rate={shown(numbers['learning_rate'])}: must be given to the training alone, as eta")
    has = [n for n in inspect.signature(maker).parameters if n != "learning_rate"]
    for label, value in numbers.items():
        if label not in has:
            raise ValueError(f"{label}={shown(value)}: {name} has none; it has {', '.join(has)}")
    return functools.partial(maker, **numbers) if numbers else maker
