"""What a value is, as text that is the same in every process: for hashes of what a run was made of.

`repr` says where a function lies, which differs between processes, and nothing of what it does. Here a function is its
code, its defaults, and the values that it closes over or reads of its module.
"""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from sdesim.messages import without_addresses

LATER = types.MappingProxyType({"later": True})
"""Of a field that came later, whose None means what was before: at None it is left out, and hashes stay."""


def digest(value: Any) -> str:
    """A hash of `contents`.

    Args:
        value: anything.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    return hashlib.sha256(contents(value).encode()).hexdigest()


def contents(value: Any) -> str:
    """A value as text, equal for values that compute the same numbers by the same code, wherever they lie.

    Args:
        value: anything: arrays, functions, modules, containers of these.

    Returns:
        The text, of any length.
    """
    return _contents(value, {})


def _contents(value: Any, seen: dict[int, tuple[int, Any]]) -> str:
    """seen: functions by where they lie, numbered: each is opened once, one that calls itself too."""
    inner = functools.partial(_contents, seen=seen)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        plain = np.asarray(value)
        if plain.dtype != object:
            return f"{plain.dtype}{plain.shape}:{hashlib.sha256(np.ascontiguousarray(plain).tobytes()).hexdigest()}"
        value = plain.tolist()
    if isinstance(value, types.FunctionType):
        if id(value) in seen:
            return f"function {seen[id(value)][0]}"
        seen[id(value)] = len(seen), value
        code = value.__code__
        read = {n: value.__globals__[n] for n in sorted(_names(code)) if n in value.__globals__}
        if "site-packages" in code.co_filename or str(value.__module__).partition(".")[0] == "sdesim":
            read = {}  # what a library is made of is said by its version
        cells = [c.cell_contents if _filled(c) else None for c in value.__closure__ or ()]
        return f"function({inner(code)},{inner((value.__defaults__, value.__kwdefaults__, cells, read))})"
    if isinstance(value, types.CodeType):
        return f"code({value.co_code.hex()},{value.co_names},{value.co_varnames},{inner(value.co_consts)})"
    if isinstance(value, types.MethodType):
        return f"method({inner(value.__func__)},{inner(value.__self__)})"
    if isinstance(value, functools.partial):
        return f"partial({inner((value.func, value.args, value.keywords))})"
    if isinstance(value, types.ModuleType | type | types.BuiltinFunctionType):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{inner(k)}:{inner(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"{name}[{','.join(inner(v) for v in value)}]"
    if isinstance(value, set | frozenset):
        return f"{name}[{','.join(sorted(inner(v) for v in value))}]"
    if dataclasses.is_dataclass(value):  # equinox's modules among them
        fields = {f.name: (getattr(value, f.name, None), f) for f in dataclasses.fields(value)}
        kept = {n: v for n, (v, f) in fields.items() if not (v is None and f.metadata.get("later"))}
        return f"{name}({inner(kept)})"
    if callable(wrapped := getattr(value, "__wrapped__", None)):  # jit, checkpoint, custom derivatives
        return f"{name}({inner(wrapped)})"
    if callable(value) and hasattr(value, "__dict__"):
        return f"{name}({inner(vars(value))})"
    return without_addresses(repr(value))


def _names(code: types.CodeType) -> set[str]:
    """Names that a function and those within it may read of their module."""
    inside = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*(_names(c) for c in inside))


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # of a function that is being defined
        return False


def program(closed: Any) -> str:
    """A traced program as text, equal for programs that do the same to the same constants, in any process.

    What JAX prints of a program leaves out the values of its arrays, and says where functions lie. A derivative of the
    user's own is part of it where it is taken.

    Args:
        closed: from `jax.make_jaxpr`.

    Returns:
        The text, of any length.
    """
    jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
    names = {v: f"v{i}" for i, v in enumerate((*jaxpr.constvars, *jaxpr.invars))}
    atom = lambda v: f"{v.aval}={contents(v.val)}" if isinstance(v, Literal) else names[v]
    lines = [f"{names[v]}:{v.aval}" for v in names] + [contents(c) for c in consts]
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            names[v] = f"v{len(names)}"
        held = ("call_jaxpr",) if eqn.primitive.name.startswith("custom_") else eqn.params
        said = ",".join(f"{name}={_parameter(eqn.params[name])}" for name in sorted(held) if name in eqn.params)
        lines.append(f"{eqn.primitive.name}({','.join(map(atom, eqn.invars))})[{said}]")
    return "\n".join([*lines, ",".join(map(atom, jaxpr.outvars))])


def _parameter(value: Any) -> str:
    """What a primitive does beside its operands."""
    if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
        return "{" + program(value) + "}"
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_parameter, value))}]"
    return contents(value)


def functions_of(module: Any, prefix: str = "") -> dict[str, Any]:
    """The functions in a model by their dotted names.

    Args:
        module: a model, or a part of one.
        prefix: what all names begin with.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if isinstance(value, eqx.Module):
            found.update(functions_of(value, f"{prefix}{field.name}."))
        elif callable(value):
            found[prefix + field.name] = value
    return found
