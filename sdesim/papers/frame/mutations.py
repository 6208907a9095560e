"""Wrong models, as data. What is said of a figure must fail of one of them, or it says nothing.

A mutation changes the model and the stepper of every run of a figure, whatever its code (`ensembles.setup.instead`); or
what is run is of another configuration than what it is judged by. So no figure needs code for the wrong models that all
have, and may add some (`Experiment.mutations`). Beside these stand formulas of theory that are wrong by a factor:
`frame.formulas`; what no factor makes wrong is said as a mutation of what is judged. Where a run is too dear to be run
again, as a training, the data of the right run are changed to what a wrong one would have left.
"""

import contextlib
import dataclasses
import functools
import pkgutil
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PyTree

from sdesim.asynchrony import AbstractCompute, AbstractProtocol, Asynchronous, AsyncSGD
from sdesim.coupling import AbstractCoupling, Mean
from sdesim.dynamics import Dynamics, HeavyBall, State
from sdesim.ensembles.setup import Change, instead
from sdesim.fields import Part, is_none
from sdesim.noise import AbstractAdditive, AbstractNoise
from sdesim.papers.frame.formulas import forget
from sdesim.steppers import AbstractStepper
from sdesim.steppers.delayed import Delayed

P = TypeVar("P", bound=Part)
Names = Mapping[str, Callable[[Any], Any]]
"""By the name of what is called so in sdesim, what stands in its place."""


def _right(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    return model, stepper


@contextlib.contextmanager
def _in_place(names: Names) -> Iterator[None]:
    """Within, others stand in the place of what is called so, and nothing is remembered that the right ones found."""
    with contextlib.ExitStack() as after:
        for name, other in names.items():
            place, _, attribute = name.rpartition(".")
            owner = pkgutil.resolve_name(f"sdesim.{place}")
            right = getattr(owner, attribute)
            setattr(owner, attribute, other(right))
            after.callback(setattr, owner, attribute, right)
        if names:
            forget()
            after.callback(forget)
        yield


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One way to be wrong.

    Attributes:
        says: what is wrong, a part of a sentence.
        change: of a model and a stepper, those that run in their place; the same ones where it does not apply.
        config: of the configuration that judges, the one that is run; None for the same.
        names: of what is called so in sdesim, as "papers.yu.poisson.run.law", what stands in its place while it runs.
        judged: the same, as "theory.stability.best_alpha", while what was run is judged.
        data: of what the right model left, what is judged in its place; None for the same.
    """

    says: str
    change: Change = _right
    config: Callable[[Any], Any] | None = None
    names: Names = dataclasses.field(default_factory=dict)
    judged: Names = dataclasses.field(default_factory=dict)
    data: Callable[[xr.Dataset], xr.Dataset] | None = None

    @property
    def runs(self) -> bool:
        """Whether it needs a run of its own."""
        return self.config is not None or bool(self.names) or self.change is not _right

    @property
    def misjudges(self) -> bool:
        """Whether formulas alone are wrong, and neither a run nor what it left."""
        return bool(self.judged) and not self.runs and self.data is None

    @contextlib.contextmanager
    def wrong(self) -> Iterator[None]:
        """Within, runs are wrong: all but the configuration."""
        with instead(self.change), _in_place(self.names):
            yield

    @contextlib.contextmanager
    def misjudged(self) -> Iterator[None]:
        """Within, what runs are set beside is wrong."""
        with _in_place(self.judged):
            yield

    def concerns(self, ran: Iterable[tuple[Dynamics, AbstractStepper]], data: xr.Dataset) -> bool:
        """Whether it changes anything of a figure.

        Args:
            ran: the model and the stepper of each run.
            data: what they left.
        """
        if self.data is not None and not self.data(data).equals(data):
            return True
        always = self.config is not None or bool(self.names) or bool(self.judged)
        return always or any(self.applies(*each) for each in ran)

    def applies(self, model: Dynamics, stepper: AbstractStepper) -> bool:
        """Whether it makes another run of one.

        Args:
            model: the dynamics.
            stepper: what one step is.
        """
        right, wrong = (model, stepper), self.change(model, stepper)
        of = functools.partial(jax.tree.flatten, is_leaf=is_none)
        (before, form), (after, other) = of(right), of(wrong)
        same = lambda a, b: a is b or (eqx.is_array_like(a) and eqx.is_array_like(b) and np.array_equal(a, b))
        return form != other or not all(map(same, before, after))


# -- of models ---------------------------------------------------------------------------------------------------------


class Scaled(Part):
    """A function times a number.

    Attributes:
        function: of whatever arguments.
        factor: the number.
    """

    function: Any
    factor: float = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Any:
        """The product.

        Args:
            *arguments: of the function.
        """
        return self.factor * self.function(*arguments)


def times(value: Any, factor: float) -> Any:
    """A number, or a function, times a number.

    Args:
        value: an array, or a function to one.
        factor: the number.

    Returns:
        Of the same kind and type.
    """
    return Scaled(value, factor) if callable(value) else jnp.asarray(value * factor, value.dtype)


def _other(part: P, kind: type[P]) -> P:
    """The part as one of a class with the same fields."""
    made = object.__new__(kind)
    for field in dataclasses.fields(part):
        object.__setattr__(made, field.name, getattr(part, field.name))
    return made


def gains(says: str, wrong: Callable[[Any], Any]) -> Mutation:
    """Other gains of all couplings.

    Args:
        says: what is wrong.
        wrong: of a gain, the other: of a function, or of a number with a value for each point of a sweep.
    """

    def change(model: Dynamics, stepper: AbstractStepper):
        names = [n for n in ("coupling", "velocity_coupling") if hasattr(getattr(model, n), "k")]
        if names:
            where = lambda m: [getattr(m, n).k for n in names]
            model = eqx.tree_at(where, model, [wrong(k) for k in where(model)])
        return model, stepper

    return Mutation(says, change)


def _all_of(reduce: Callable[..., Array], k: Any) -> Any:
    """One gain of those of all points."""
    return k if callable(k) or k.ndim == 0 else jnp.broadcast_to(reduce(k, axis=-1, keepdims=True), k.shape)


def noise(says: str, factor: float) -> Mutation:
    """The noise of every law times a number, by the size of the minibatch.

    Args:
        says: what is wrong.
        factor: the number.
    """
    return Mutation(says, lambda m, s: (_with(m, "batch", times(m.batch, factor**-2)) if _noisy(m) else m, s))


def of_noise(says: str, name: str, wrong: Callable[[Array], Array]) -> Mutation:
    """Another number of the noise law.

    Args:
        says: what is wrong.
        name: of the number.
        wrong: of it, the other.
    """
    other = lambda law: eqx.tree_at(lambda n: getattr(n, name), law, wrong(getattr(law, name)))
    return Mutation(says, lambda m, s: (_with(m, "noise", other(m.noise)) if hasattr(m.noise, name) else m, s))


def learning_rate(says: str, factor: float) -> Mutation:
    """All learning rates times a number.

    Args:
        says: what is wrong.
        factor: the number.
    """
    return Mutation(says, lambda m, s: (_with(m, "eta", times(m.eta, factor)), s))


def momentum(says: str, of: Callable[[Array], Array]) -> Mutation:
    """Another momentum delta.

    Args:
        says: what is wrong.
        of: of delta, the other.
    """
    wrong = lambda m: eqx.tree_at(lambda m: m.momentum.delta, m, of(m.momentum.delta))
    return Mutation(says, lambda m, s: (wrong(m) if isinstance(m.momentum, HeavyBall) else m, s))


def shared(says: str, factor: float) -> Mutation:
    """What agents share by the coupling, as a center, moves by so much of what it should.

    Args:
        says: what is wrong.
        factor: the number.
    """

    def change(model: Dynamics, stepper: AbstractStepper):
        rule = model.coupling
        if type(rule).flow is AbstractCoupling.flow:
            return model, stepper
        return _with(model, "coupling", _other(rule, _slower(type(rule), factor))), stepper

    return Mutation(says, change)


def formula(says: str, name: str, wrong: Callable[[Any], Any]) -> Mutation:
    """A formula of theory that is wrong where runs are judged, and not by a factor.

    Args:
        says: what is wrong.
        name: of the formula, as "stability.best_alpha".
        wrong: of the formula, the other.
    """
    return Mutation(says, judged={f"theory.{name}": wrong})


def _with(model: Dynamics, name: str, value: Any) -> Dynamics:
    return eqx.tree_at(lambda m: getattr(m, name), model, value)


def _noisy(model: Dynamics) -> bool:
    return model.noise.word_pairs > 0


def _variant(name: str, part: type[P], **methods: Any) -> type[P]:
    """A class with the fields of another, and some methods of its own. To be made once: programs are known by it."""
    own = dict(__module__=__name__, **methods)
    return types.new_class(name + part.__name__, (part,), exec_body=lambda namespace: namespace.update(own))


@functools.cache
def _slower(rule: type[AbstractCoupling], factor: float) -> type[AbstractCoupling]:
    """A class of rules whose shared state moves by so much."""

    def flow(self: Any, x: PyTree, shared: PyTree, t: Array, mean: Mean) -> PyTree:
        moves = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)
        return jax.tree.map(lambda a: factor * a if moves(a) else a, rule.flow(self, x, shared, t, mean))

    return _variant("Slower", rule, flow=flow)


@functools.cache
def _off(law: type[AbstractNoise]) -> type[AbstractNoise]:
    """A class of laws whose variates are too large by a half."""

    def variates(self: Any, words: Any, dtype: Any, batch: Array):
        return law.variates(self, words, dtype, batch) + jnp.asarray(0.5, dtype)

    return _variant("Biased", law, variates=variates)


def _biased(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    if not (_noisy(model) and isinstance(model.noise, AbstractAdditive)):
        return model, stepper
    return _with(model, "noise", _other(model.noise, _off(type(model.noise)))), stepper


@functools.cache
def _common(law: type[AbstractNoise]) -> type[AbstractNoise]:
    """A class of laws by which all agents have the noise of the first."""
    first = lambda z: jnp.broadcast_to(z[:1], z.shape)

    def variates(self: Any, words: Any, dtype: Any, batch: Array):
        return first(law.variates(self, words, dtype, batch))

    def diffuse(self: Any, dw: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        return law.diffuse(self, first(dw), x, gradient, batch, scale)

    return _variant("Common", law, variates=variates, diffuse=diffuse)


def _together(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    """Workers in virtual time have no noise at one moment."""
    if not (_noisy(model) and stepper.lockstep):
        return model, stepper
    return _with(model, "noise", _other(model.noise, _common(type(model.noise)))), stepper


# -- of steppers -------------------------------------------------------------------------------------------------------


class Fresh(AsyncSGD):
    """Every gradient is taken at the server's point of the arrival: no staleness."""

    def arrive(self, state: State, job: Any):
        return super().arrive(state._replace(x=jnp.broadcast_to(state.shared["center"], state.x.shape)), job)


def of_law(says: str, right: type[AbstractCompute], wrong: Callable[..., AbstractCompute]) -> Mutation:
    """Workers in virtual time whose jobs take times of another law, of the same means.

    Args:
        says: what is wrong.
        right: the class of the laws that are changed.
        wrong: makes the other, by `mean`.
    """

    def change(model: Dynamics, stepper: AbstractStepper):
        if isinstance(stepper, Asynchronous) and isinstance(stepper.compute, right):
            stepper = dataclasses.replace(stepper, compute=wrong(mean=stepper.compute.mean))
        return model, stepper

    return Mutation(says, change)


def of_protocol(says: str, right: type[AbstractProtocol], wrong: Callable[[Any], AbstractProtocol]) -> Mutation:
    """Workers in virtual time that do something else when they arrive.

    Args:
        says: what is wrong.
        right: the class of the protocols that are changed, and not of those that inherit from it.
        wrong: of the protocol, the other.
    """

    def change(model: Dynamics, stepper: AbstractStepper):
        if isinstance(stepper, Asynchronous) and type(stepper.protocol) is right:
            stepper = dataclasses.replace(stepper, protocol=wrong(stepper.protocol))
        return model, stepper

    return Mutation(says, change)


_fresh_workers = of_protocol("no gradient is stale", AsyncSGD, lambda protocol: _other(protocol, Fresh))


def _fresh(model: Dynamics, stepper: AbstractStepper) -> tuple[Dynamics, AbstractStepper]:
    if isinstance(stepper, Delayed) and eqx.is_array(stepper.delay):
        return model, eqx.tree_at(lambda s: s.delay, stepper, times(stepper.delay, 0.0))
    return _fresh_workers.change(model, stepper)


MUTATIONS: dict[str, Mutation] = {
    "coupling off": gains("agents do not pull on each other", lambda k: times(k, 0.0)),
    "coupling flipped": gains("they push each other away", lambda k: times(k, -1.0)),
    "k x 1.1": gains("gains are a tenth too large", lambda k: times(k, 1.1)),
    "k x 1/2": gains("gains are half as large", lambda k: times(k, 0.5)),
    "k x 3": gains("gains are three times as large", lambda k: times(k, 3.0)),
    "k greatest": gains("all points of a sweep have its greatest gain", functools.partial(_all_of, jnp.max)),
    "k middle": gains("all points of a sweep have its median gain", functools.partial(_all_of, jnp.median)),
    "noise x 1/2": noise("noise is half as large", 0.5),
    "noise x 1.1": noise("noise is a tenth too large", 1.1),
    "noise x 3": noise("noise is three times as large", 3.0),
    "noise common": Mutation("all agents have the same noise", _together),
    "noise biased": Mutation("the noise has a mean of half a variate", _biased),
    "batch ignored": Mutation("a minibatch is one sample", lambda m, s: (_with(m, "batch", jnp.ones_like(m.batch)), s)),
    "eta x 1.1": learning_rate("learning rates are a tenth too large", 1.1),
    "delta - 0.05": momentum("momentum is less by 0.05", lambda delta: delta - jnp.asarray(0.05, delta.dtype)),
    "momentum off": momentum("there is no momentum", jnp.zeros_like),
    "center frozen": shared("what agents share stays where it began", 0.0),
    "center slow": shared("what agents share moves ten times slower", 0.1),
    "gradients fresh": Mutation("no gradient is stale", _fresh),
}
"""Those that are tried on every figure, each where it applies."""


def tried(own: Mapping[str, Mutation]) -> dict[str, Mutation]:
    """The mutations of a figure by name: its own first.

    Args:
        own: those that it adds.
    """
    return {**own, **{name: m for name, m in MUTATIONS.items() if name not in own}}
