"""Flax modules of both kinds, as the trainer takes them: values of one agent drawn from a key, and logits of samples.

A linen module is a recipe, which draws its parameters from a key. An nnx module holds its values: a *function of rngs*
that makes one is the recipe, and a module that is made already is one start for all. Both are parameters as a plain
pytree, {layer: ...}, beside something static that a compiled program belongs to.
"""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx, traverse_util
from jaxtyping import Array, PyTree

from sdesim.fields import said_by, shown
from sdesim.training.kinds import Form

# What modules call the argument that says whether they train, and its value when they do.
_MODES = {"train": True, "training": True, "is_training": True, "deterministic": False}
_KINDS = "must be a module of flax.linen, one of flax.nnx, or a function of rngs that makes one of flax.nnx"


@dataclasses.dataclass(frozen=True)
class Nnx:
    """An nnx module without its values: equal, and compiled once, for modules that are made alike.

    Attributes:
        name: of its class.
        training: its graph where it trains.
        evaluating: its graph where it is evaluated.
        parameters: their paths.
        streams: paths of its random streams' keys and counts, and whether each is a key.
    """

    name: str
    training: Any
    evaluating: Any
    parameters: tuple[tuple, ...]
    streams: tuple[tuple[tuple, bool], ...]

    def values(self, module: nnx.Module) -> PyTree:
        """The parameters of a module of this graph.

        Args:
            module: the module.

        Returns:
            {layer: {"name/of/it": array}}.
        """
        state = dict(nnx.to_flat_state(nnx.state(module, nnx.Param)))
        found: dict[str, Any] = {}
        for path in self.parameters:
            layer, *rest = map(str, path)
            value = state[path].get_value()
            if rest:
                found.setdefault(layer, {})["/".join(rest)] = value
            else:
                found[layer] = value
        return found

    def _by_path(self, params: PyTree) -> dict[tuple, Any]:
        """`params` of the form of `values`, each by its path in the module."""
        found = {}
        for path in self.parameters:
            layer, *rest = map(str, path)
            found[path] = params[layer]["/".join(rest)] if rest else params[layer]
        return found

    def nested(self, params: PyTree) -> PyTree:
        """Parameters as nnx nests them.

        Args:
            params: of the form of `values`.

        Returns:
            Nested dictionaries, a level for each part of a path.
        """
        return traverse_util.unflatten_dict(self._by_path(params))

    def __call__(self, params: PyTree, x: Array, train: bool, key: Array | None) -> Array:
        state = self._by_path(params)
        key = jax.random.key(0) if key is None else key  # which a module that is not training does not look at
        for number, (path, is_key) in enumerate(self.streams):
            state[path] = jax.random.fold_in(key, number) if is_key else jnp.zeros((), jnp.uint32)
        module = nnx.merge(self.training if train else self.evaluating, nnx.from_flat_state(state))
        return module(x, **_mode(module, train))


Network = nn.Module | Nnx
Recipe = Callable[[Array, Array], PyTree]


class Taken(NamedTuple):
    """A user's network.

    Attributes:
        network: what is static of it.
        recipe: draws an agent's parameters from a key, for images.
        values: the parameters that it has already, of an nnx module; None for a recipe.
    """

    network: Network
    recipe: Recipe
    values: PyTree | None = None


def taken(network: Any) -> Taken:
    """What the trainer makes of a user's network.

    Args:
        network: a module of flax.linen, one of flax.nnx, or a function of rngs that makes one of flax.nnx.

    Returns:
        Its static part, and where parameters come from.

    Raises:
        TypeError: for what is no network.
        ValueError: for a function of rngs that fails, or a network that keeps more than parameters.
    """
    if isinstance(network, nn.Module):
        frozen = _hashable(network)
        return Taken(frozen, functools.partial(drawn, frozen))
    if isinstance(network, nnx.Module):
        graph = _graph(network)
        values = graph.values(network)
        return Taken(graph, lambda key, images: values, values)
    if not callable(network) or (inspect.isclass(network) and not issubclass(network, nnx.Module)):
        linen = inspect.isclass(network) and issubclass(network, nn.Module)
        raise TypeError(f"network={shown(network)}: {_KINDS}" + (f", such as {network.__name__}()" if linen else ""))

    function: Any = network
    called = network.__init__ if inspect.isclass(network) else network

    def make(key: Array) -> Any:
        rngs, named = nnx.Rngs(key), "rngs" in inspect.signature(called).parameters
        return function(rngs=rngs) if named else function(rngs)

    try:
        made = nnx.eval_shape(lambda: make(jax.random.key(0)))
    except Exception as error:
        raise ValueError(f"network={shown(network)}: fails as a function of rngs: {said_by(error)}") from error
    if not isinstance(made, nnx.Module):
        raise TypeError(f"network={shown(network)}: {_KINDS}, and makes {shown(made)}")
    graph = _graph(made)
    return Taken(graph, lambda key, images: graph.values(make(key)))


def drawn(network: nn.Module, key: Array, images: Array) -> PyTree:
    """The parameters that a linen module draws for images.

    Args:
        network: the module.
        key: of the draw.
        images: (batch, height, width, channels); their shape and type matter.

    Returns:
        Parameters of one agent.
    """
    return network.init({"params": key}, images, **_mode(network, False))["params"]


def logits(network: Network, params: PyTree, x: Array, train: bool, key: Array | None = None) -> Any:
    """What the network says of images.

    Args:
        network: what is static of it.
        params: of one agent.
        x: images, (batch, height, width, channels).
        train: whether it trains; it is evaluated otherwise.
        key: of its dropout; None where there is none.

    Returns:
        Logits, (batch, classes).
    """
    if isinstance(network, Nnx):
        return network(params, x, train, key)
    rngs = None if key is None else {"dropout": key}
    return network.apply({"params": params}, x, **_mode(network, train), rngs=rngs)


def _mode(module: Any, train: bool) -> dict[str, Any]:
    """The arguments by which a module's call learns whether it trains; none where it has none."""
    has = inspect.signature(type(module).__call__).parameters
    return {name: value == train for name, value in _MODES.items() if name in has}


def _graph(module: nnx.Module) -> Nnx:
    graph, parameters, streams, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
    if kept := {type(value).__name__ for _, value in nnx.to_flat_state(rest)}:
        raise ValueError(_keeps(type(module).__name__, kept))
    copy = nnx.merge(graph, parameters, streams)  # in whose modes nobody else looks
    copy.train()
    training = nnx.graphdef(copy)
    copy.eval()
    paths = tuple(path for path, _ in nnx.to_flat_state(parameters))
    keys = tuple((path, isinstance(value, nnx.RngKey)) for path, value in nnx.to_flat_state(streams))
    return Nnx(type(module).__name__, training, nnx.graphdef(copy), paths, keys)


def _keeps(name: str, kept: Iterable[str]) -> str:
    return (
        f"network: {name} keeps {', '.join(sorted(kept))} beside its parameters, which no coupling rule "
        "moves; take layer norm, or statistics of the batch alone, as sdesim.training.networks.BatchNorm"
    )


def _hashable(module: nn.Module) -> nn.Module:
    """The module, with tuples for lists where it has those, as `nn.Sequential`: programs are kept by its hash."""
    for candidate in (module, _with_tuples(module)):
        with contextlib.suppress(TypeError):
            hash(candidate)
            return candidate
    raise TypeError(f"network: {type(module).__name__} has fields that cannot be hashed; numbers and tuples can")


def _with_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    if isinstance(value, nn.Module):
        own = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init and f.name != "parent"}
        return value.clone(**{name: _with_tuples(field) for name, field in own.items()})
    return value


# -- before anything is trained ----------------------------------------------------------------------------------------


class Look(NamedTuple):
    """What a network is, of images of a shape.

    Attributes:
        params: of an agent, as shapes.
        logits: shape of those of the images.
        convolves: whether there is a convolution of XLA's on the way.
    """

    params: PyTree
    logits: tuple[int, ...]
    convolves: bool


def looked_at(taken: Taken, form: Form) -> Look:
    """A network traced in both modes, of two samples.

    Args:
        taken: the network.
        form: of samples, as the network sees them.

    Returns:
        What it is of such samples.

    Raises:
        ValueError: for one that fails, or keeps more than parameters.
    """
    if isinstance(taken.network, nn.Module):
        return _linen(taken.network, form)
    network, recipe = taken.network, taken.recipe
    params = _attempt(network, form, lambda x: jax.eval_shape(recipe, _KEY, x))
    return Look(params, *_traced(network, form, params))


def _linen(network: nn.Module, form: Form) -> Look:
    init = lambda key, x: network.init({"params": key}, x, **_mode(network, False))
    variables = dict(_attempt(network, form, lambda x: jax.eval_shape(init, _KEY, x)))
    params = variables.pop("params", {})
    try:
        return Look(params, *_traced(network, form, params))
    except ValueError as error:
        if variables:  # such as batch_stats, without which it cannot be called
            raise ValueError(_keeps(_name(network), variables)) from error
        raise


def _traced(network: Network, form: Form, params: PyTree) -> tuple[tuple[int, ...], bool]:
    leaves = jax.tree.leaves(params)
    if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        kinds = ", ".join(sorted({str(leaf.dtype) for leaf in leaves})) or "none"
        raise ValueError(f"network: {_name(network)} must have parameters that are real numbers, and has {kinds}")
    evaluate = lambda p, x: logits(network, p, x, False)
    train = lambda p, x, key: logits(network, p, x, True, key)
    traced = _attempt(network, form, lambda x: jax.make_jaxpr(evaluate)(params, x))
    _attempt(network, form, lambda x: jax.eval_shape(train, params, x, _KEY))
    said = traced.out_avals[0]
    if len(traced.out_avals) != 1 or not jnp.issubdtype(said.dtype, jnp.floating):
        raise ValueError(f"network: {_name(network)} must give one array of real logits, gives {traced.out_avals}")
    return said.shape, "conv_general_dilated" in str(traced)


def _attempt(network: Network, form: Form, call: Callable[[Any], Any]) -> Any:
    """What a user's network does with two samples, as shapes; what it raises is an argument's fault."""
    samples = (2, *form.shape)
    try:
        return call(jax.ShapeDtypeStruct(samples, form.dtype))
    except Exception as error:
        raise ValueError(
            f"network: {_name(network)} cannot be evaluated on {form.samples} of shape {samples}: {said_by(error)}"
        ) from error


def _name(network: Network) -> str:
    return network.name if isinstance(network, Nnx) else type(network).__name__


_KEY = jax.eval_shape(lambda: jax.random.key(0))
