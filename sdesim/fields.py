"""What every module of sdesim shares: numbers as traced leaves, and checks of the arguments of public functions."""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import operator
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import Partial
from jaxtyping import Array
from numpy.typing import ArrayLike

from sdesim.contents import digest, functions_of
from sdesim.messages import shown, without_addresses


def _is_real(value: Any) -> bool:
    """Whether a value is of real numbers: not of strings, dates, truth values or complex numbers."""
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except jax.errors.TracerArrayConversionError:  # a list with tracers in it
            return True
        if value.dtype.kind in "mO":  # fractions are numbers and convert, dates and others do not
            return value.dtype.kind == "O"
    return value.size > 0 and any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer))


def _array_of(value: Any) -> Array:
    """A value as a floating-point array."""
    try:
        if not _is_real(value):
            raise TypeError(f"of type {type(value).__name__}")
        floating = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)
        return value if floating else jnp.asarray(value, jnp.result_type(float))
    except (TypeError, ValueError, OverflowError) as error:  # a ragged list is a ValueError to NumPy
        raise TypeError(f"{shown(value)}: must be a number or an array of numbers") from error


def number(value: Any) -> Array:
    """A number or array of finite numbers as a floating-point array: a traced leaf, whose new value never recompiles.

    Args:
        value: a number, an array, or anything that NumPy makes one of.

    Returns:
        The array, of the type it had if that is floating-point, else of JAX's default.

    Raises:
        TypeError: for what is no number.
        ValueError: for NaN and infinities, where values can be looked at.
    """
    array = _array_of(value)
    if not is_traced(array) and (bad := int((~np.isfinite(np.asarray(array, float))).sum())):
        many = f"must be finite, and {bad} of its {array.size} numbers are not" if array.size > 1 else "must be finite"
        raise ValueError(f"{shown(array)}: {many}")
    return array


def unbounded_number(value: Any) -> Array:
    """As `number`, and infinities too.

    Args:
        value: a number, an array, or anything that NumPy makes one of.

    Returns:
        The array.

    Raises:
        TypeError: for what is no number.
        ValueError: for NaN, where values can be looked at.
    """
    array = _array_of(value)
    if not is_traced(array) and np.isnan(np.asarray(array, float)).any():
        raise ValueError(f"{shown(array)}: must be a number, not nan")
    return array


def optional_number(value: Any) -> Array | None:
    """As `number`, of what may be absent.

    Args:
        value: None, or as for `number`.

    Returns:
        None, or the array.
    """
    return None if value is None else number(value)


def number_or_function(value: Any) -> Any:
    """As `number`, of what may be a function.

    Args:
        value: a function, or as for `number`.

    Returns:
        The function as it is, or the array.
    """
    return value if callable(value) else number(value)


def called_with(*arguments: str, gives: tuple[tuple[str, ...], ...] = ((),)) -> dict[str, Any]:
    """Metadata of a field that may hold a function: what it is called with, so that it can be traced beforehand.

    Args:
        *arguments: of "point" (dims,), "time" and "step", scalars; or those of a filter, from "center" on.
        gives: the shapes that its result may have, in names of sizes, "agents" and "dims"; a number by default.

    Returns:
        The metadata.
    """
    return {"called_with": (arguments, gives)}


def function(value: Any) -> Callable:
    """What must be a function, or an object that is called like one.

    Args:
        value: anything.

    Returns:
        It, as it is.

    Raises:
        TypeError: for what is none, a class among them.
    """
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{shown(value)}: must be a function")
    return value


def whole_number(value: Any) -> Array:
    """A number of steps as a traced leaf.

    Args:
        value: from 0 to 2**31 - 1.

    Returns:
        An int32 scalar.

    Raises:
        ValueError: for what is none, where values can be looked at.
    """
    return jnp.asarray(value if is_traced(value) else _whole(value, 0, 2**31 - 1), jnp.int32)


def named(name: str, converter: Callable) -> Callable:
    """A converter whose errors say which field or argument a value was meant for.

    Args:
        name: of the field or argument.
        converter: of one value, such as `number`.

    Returns:
        The converter, whose errors begin with the name.
    """

    @functools.wraps(converter)
    def convert(value: Any):
        try:
            return converter(value)
        except (TypeError, ValueError) as error:
            said = str(error)
            raise type(error)(said if said.startswith(name) else f"{name}={said}") from error

    return convert


class Part(eqx.Module):
    """What a model is made of: an equinox module whose bad values are refused by the names of their fields."""

    def __init_subclass__(cls, **options: Any):
        """Name each field in the errors of its converter."""
        super().__init_subclass__(**options)
        for name, field in vars(cls).items():
            if isinstance(field, dataclasses.Field) and (converter := field.metadata.get("converter")) is not None:
                field.metadata = MappingProxyType({**field.metadata, "converter": named(name, converter)})


def is_traced(tree: Any) -> bool:
    """Whether any leaf is a tracer: inside jit, vmap or grad, where values cannot be looked at.

    Args:
        tree: a pytree.
    """
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def concrete(value: Any, reduce: Callable[[np.ndarray], Any]) -> float | None:
    """reduce(value) as a float, or None where the value is absent, a function, or being traced.

    Args:
        value: a number, an array, a function, or None.
        reduce: of an array to one number, such as np.max.
    """
    return None if value is None or callable(value) or is_traced(value) else float(reduce(np.asarray(value)))


def numeric_fields(module: Any, prefix: str = "") -> dict[str, Any]:
    """Every number in a model by its dotted name, such as "coupling.k", "noise.half_width", "eta".

    Args:
        module: a model, or a part of one.
        prefix: what all names begin with.

    Returns:
        The arrays by name; None of a number that may be absent and is.
    """
    found: dict[str, Any] = {}
    for name, field, value in _fields(module, prefix):
        if eqx.is_array(value) or (value is None and _is_optional(field)):
            found[name] = value
    return found


def static_numbers(module: Any, prefix: str = "") -> dict[str, int | float]:
    """Every number of a model that shapes its program, and so is no array, by its dotted name: "weak_order".

    Args:
        module: a model, or a part of one.
        prefix: what all names begin with.

    Returns:
        The numbers by name.
    """
    found: dict[str, int | float] = {}
    for name, field, value in _fields(module, prefix):
        if field.metadata.get("static") and field.init and type(value) in (int, float):
            found[name] = value
    return found


def made_of(module: Any) -> dict[str, Any]:
    """What a module is made of beside its numbers, for a reader, by dotted names.

    Args:
        module: a part of a model, or a stepper.

    Returns:
        Of a part its class, of a function "<function NAME>", and what was chosen otherwise than by default.
    """
    found: dict[str, Any] = {}
    for name, field, value in _fields(module, ""):
        if value is None or eqx.is_array(value) or not field.init:
            continue
        if isinstance(value, eqx.Module):
            found[name] = type(value).__name__
        elif callable(value):
            found[name] = f"<function {getattr(value, '__name__', type(value).__name__)}>"
        elif not isinstance(value, bool | int | float | str):
            found[name] = shown(value)
        elif value != field.default:
            found[name] = repr(value) if isinstance(value, str) else value
    return found


def field_names(module: Any) -> set[str]:
    """The dotted names of all that a model is made of, numbers or not.

    Args:
        module: a model, or a part of one.
    """
    return {name for name, _, _ in _fields(module, "")}


def _fields(module: Any, prefix: str) -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """All fields of a model and of its parts, by dotted names."""
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        yield prefix + field.name, field, value
        if isinstance(value, eqx.Module):
            yield from _fields(value, f"{prefix}{field.name}.")


def _is_optional(field: dataclasses.Field) -> bool:
    """Whether a field that is None stands for a number."""
    converter = field.metadata.get("converter")
    return converter is not None and inspect.unwrap(converter) is optional_number


def form(module: Any) -> tuple:
    """What a module is but for the values of its arrays, as a key: structure, shapes, types, and what is no array.

    Args:
        module: a pytree.

    Returns:
        Equal for two modules that one compiled program serves.
    """
    leaves, structure = jax.tree.flatten(module)
    return structure, tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf for leaf in leaves)


SMALL = 1 << 16  # bytes of numbers that are cheaper to look at than what is known of them is to find again


def as_bits(tree: Any) -> tuple | None:
    """What a tree is, down to the bits of its numbers, as a key.

    Args:
        tree: a pytree.

    Returns:
        Equal for trees of which the same is true; None where that cannot be said so: of a user's parts and functions,
        which may do something else at each call, of what is traced, and of many numbers.
    """
    leaves, structure = jax.tree.flatten(tree)
    if not made_here(structure):
        return None
    found, size = [], 0
    for leaf in leaves:
        if isinstance(leaf, jax.Array | np.ndarray | np.generic) and not isinstance(leaf, Tracer):
            size += leaf.nbytes
            if size > SMALL or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
                return None
            found.append((leaf.shape, leaf.dtype, getattr(leaf, "weak_type", None), np.asarray(leaf).tobytes()))
        elif isinstance(leaf, bool | int | float | str):
            found.append((type(leaf), repr(leaf)))
        else:
            return None
    return structure, tuple(found)


def keep(found: dict[Any, Any], key: Any, value: Any, *, most: int) -> None:
    """Keep what was found, in place of the first of what is kept where there is much.

    Args:
        found: what is kept.
        key: of what was found.
        value: what was found.
        most: how much is kept.
    """
    if len(found) >= most:
        found.pop(next(iter(found)), None)
    found[key] = value


def made_here(structure: Any) -> bool:
    """Whether all nodes of a tree are sdesim's own, or plain containers.

    Args:
        structure: of `jax.tree.structure`.
    """
    try:
        return _made_here(structure)
    except TypeError:  # of a static field that has no hash
        return False


@functools.lru_cache(maxsize=4096)
def _made_here(structure: Any) -> bool:
    """As `made_here`, of what has a hash."""
    node = structure.node_data()
    if node is None:
        return True
    kind, static = node
    if getattr(kind, "OF_USERS", False):
        return False
    plain = kind in (tuple, list, dict, type(None))
    what = static if kind is Partial else kind
    return (plain or what.__module__.partition(".")[0] == "sdesim") and all(map(_made_here, structure.children()))


def described(module: Any) -> dict[str, Any]:
    """The numbers of a model by name, the parts it is made of, and hashes of its functions: what a file says of it.

    Args:
        module: a model, or a part of one.

    Returns:
        `parts`, `numbers` and `functions`, as JSON holds them.
    """
    numbers = {n: None if v is None else np.asarray(v).tolist() for n, v in numeric_fields(module).items()}
    functions = {name: digest(function)[:16] for name, function in functions_of(module).items()}
    return {"parts": without_addresses(repr(module)), "numbers": numbers, "functions": functions}


def check_count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """`value` as an int.

    Args:
        name: of the argument.
        value: anything.
        least: that it may be.
        most: that it may be; None for no limit.

    Returns:
        The integer.

    Raises:
        ValueError: if it is not an integer from `least` to `most`.
    """
    try:
        return _whole(value, least, most)
    except ValueError as error:
        raise ValueError(f"{name}={error}") from None


def _whole(value: Any, least: int, most: int | None) -> int:
    """The value as an int from `least` to `most`; a ValueError without the argument's name if it is none."""
    try:
        whole = operator.index(value) if np.ndim(value) == 0 and not isinstance(value, bool | np.bool_) else None
    except (TypeError, ValueError):  # what is ragged, traced, or no integer
        whole = None
    if whole is None or whole < least or (most is not None and whole > most):
        limit = f"an integer from {least} to {most}" if most is not None else f"an integer of at least {least}"
        raise ValueError(f"{shown(value)}: must be {limit}")
    return whole


def check_sign(name: str, value: Any, *, zero: bool = True) -> None:
    """Refuse negative or non-finite numbers (and 0 unless `zero`); traced and callable values pass unseen.

    Args:
        name: of the argument.
        value: a number, an array, a function, or None.
        zero: whether 0 may be.

    Raises:
        ValueError: for such numbers, naming the argument, its value and what would be right.
        TypeError: for what is no number, likewise.
    """
    if value is None or callable(value) or is_traced(value):
        return
    plain = None
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # of what NumPy takes for an object
        plain = np.asarray(value, float) if _is_real(value) else None
    if plain is None:
        raise TypeError(f"{name}={shown(value)}: must be a number or an array of numbers")
    if not np.isfinite(plain).all() or plain.min() < 0 or (plain.min() == 0 and not zero):
        raise ValueError(f"{name}={shown(value)}: must be finite and {'at least 0' if zero else 'greater than 0'}")


def check_finite(name: str, value: Any) -> None:
    """Refuse numbers that are not finite; traced and callable values pass unseen.

    Args:
        name: of the argument.
        value: a number, an array, a function, or None.

    Raises:
        ValueError: naming the argument and its value.
    """
    if concrete(value, lambda a: float(np.isfinite(a).all())) == 0.0:
        raise ValueError(f"{name}={shown(value)}: must be finite")


def check_per(name: str, value: Any, count: int, axis: str) -> None:
    """Refuse an array that is neither one number nor one for each of `count`; a function passes unseen.

    Args:
        name: of the argument.
        value: a number, an array or a function.
        count: how many there are.
        axis: of what, such as "agents".

    Raises:
        ValueError: naming the argument and its shape.
    """
    if not callable(value) and np.shape(value) not in ((), (count,)):
        raise ValueError(f"{name}: must be a number or of shape ({axis},) = ({count},), got shape {np.shape(value)}")


@contextlib.contextmanager
def of_part(name: str) -> Iterator[None]:
    """Within it, errors that name a number of a part name the part too: "k: ..." is "coupling.k: ...".

    Args:
        name: of the part.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}.{error}") from error


def check_flags(**flags: Any) -> None:
    """Refuse what is neither True nor False.

    Args:
        **flags: the arguments by name.

    Raises:
        TypeError: naming the argument.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name}={shown(value)}: must be True or False")


def check_less(low_name: str, low: ArrayLike, high_name: str, high: ArrayLike) -> None:
    """Refuse an empty interval; traced values pass unseen.

    Args:
        low_name: of the argument that is the lower end.
        low: the lower end, a number or an array.
        high_name: of the argument that is the upper end.
        high: the upper end; of one shape with low if both are arrays.

    Raises:
        ValueError: naming both ends.
    """
    if is_traced((low, high)):
        return
    low, high = np.asarray(low), np.asarray(high)
    if low.ndim and high.ndim and low.shape != high.shape:
        raise ValueError(f"{low_name}, {high_name}: of shapes {low.shape} and {high.shape}; both must be of one shape")
    if not np.all(low < high):
        both = f"{low_name}={shown(low)}, {high_name}={shown(high)}"
        raise ValueError(f"{both}: {low_name} must be less than {high_name}")


def check_choice(name: str, value: Any, known: Iterable[str]) -> str:
    """`value` if it is among `known`.

    Args:
        name: of the argument.
        value: what was given.
        known: all that may be.

    Returns:
        The value.

    Raises:
        ValueError: with the nearest known name.
    """
    known = list(known)
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{name}={shown(value)}: {hint}known: {', '.join(known)}")


def byte_count(name: str, value: Any) -> int:
    """A number of bytes, given as a whole number or in words: "1GB" is 10**9, "512 MiB" 512 * 2**20.

    Args:
        name: of the argument.
        value: what was given.

    Returns:
        Bytes.

    Raises:
        ValueError: for what is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?\s*", value.lower()) if isinstance(value, str) else None
    if found:
        amount, prefix, binary = found.groups()
        return int(float(amount) * (1024 if binary else 1000) ** " kmgt".index(prefix or " "))
    try:
        return _whole(value, 0, None)
    except ValueError:
        right = "a whole number of bytes of at least 0, or such as '2GB' or '512MiB'"
        raise ValueError(f"{name}={shown(value)}: must be {right}") from None


def is_none(leaf: Any) -> bool:
    """Whether a place of a tree holds nothing; for `is_leaf`, since JAX takes None for no leaf.

    Args:
        leaf: what is at the place.
    """
    return leaf is None


def said_by(error: BaseException) -> str:
    """An error in one line: its class, and the first line of what it says, at most 200 characters of it.

    Args:
        error: of somebody else's code.

    Returns:
        The line; the class alone of an error that says nothing.
    """
    line = " ".join(next(iter(str(error).strip().splitlines()), "").split())[:200]
    return ": ".join(filter(None, (type(error).__name__, line)))


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line that called sdesim, however deep inside the cause was found.

    Args:
        message: what to say.
        category: the class of the warning.
    """
    level, frame = 2, sys._getframe(1)
    inside = ("sdesim", "contextlib")  # whose frames lie between those of a context and its body
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def one_number(name: str, value: Any, *, zero: bool = True, below: float | None = None) -> float:
    """`value` as a float: one number of at least 0 (above 0 unless `zero`), and less than `below`.

    Args:
        name: of the argument.
        value: anything.
        zero: whether 0 may be.
        below: what it must be less than; None for no limit.

    Returns:
        The number.

    Raises:
        ValueError: for a number out of its range, naming the argument, its value and what would be right.
        TypeError: for what is not one number, likewise.
    """
    if named(name, number)(value).ndim:
        raise TypeError(f"{name}={shown(value)}: must be one number")
    check_sign(name, value, zero=zero)
    if below is not None and not value < below:
        raise ValueError(f"{name}={shown(value)}: must be {'from 0' if zero else 'above 0'} to less than {below:g}")
    return float(value)
