"""What every module of sdesim shares: numbers as traced leaves, and checks of the arguments of public functions."""

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


def number(value) -> Array:
    """A number or array of numbers as a floating-point array: a traced leaf, whose new value never recompiles."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    try:
        return jnp.asarray(value, jnp.result_type(float))
    except (TypeError, ValueError) as error:  # a string or a ragged list is a ValueError to NumPy
        raise TypeError(f"{value!r}: must be a number or an array of numbers") from error


def optional_number(value) -> Array | None:
    """The same of what may be absent."""
    return None if value is None else number(value)


def is_traced(tree: Any) -> bool:
    """Whether any leaf is a tracer: inside jit, vmap or grad, where values cannot be looked at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def concrete(value, reduce: Callable[[np.ndarray], Any]) -> float | None:
    """reduce(value) as a float, or None where the value is absent, a function, or being traced."""
    return None if value is None or callable(value) or is_traced(value) else float(reduce(np.asarray(value)))


def numeric_fields(module: Any, prefix: str = "") -> dict[str, Any]:
    """Every number in a model by its dotted name, such as "coupling.k", "noise.half_width", "eta"."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if isinstance(value, eqx.Module):
            found.update(numeric_fields(value, f"{prefix}{field.name}."))
        elif eqx.is_array(value) or (value is None and field.name in ("center_rate", "up", "down")):
            found[prefix + field.name] = value
    return found


def form(module) -> tuple:
    """What a module is but for the values of its arrays, as a key: structure, shapes, types, and what is no array."""
    leaves, structure = jax.tree.flatten(module)
    return structure, tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf for leaf in leaves)


def described(module) -> dict[str, Any]:
    """The numbers of a model by name, and the parts it is made of: what a file says of it."""
    numbers = {n: None if v is None else np.asarray(v).tolist() for n, v in numeric_fields(module).items()}
    return {"parts": repr(module), "numbers": numbers}


def to_json(value) -> str:
    """JSON of Python's and NumPy's numbers and arrays; anything else as it prints."""
    plain = lambda v: np.asarray(v).tolist() if isinstance(v, np.generic | np.ndarray | jax.Array) else repr(v)
    return json.dumps(value, default=plain)


def check_count(name: str, value, *, least: int = 1, most: int | None = None) -> int:
    """`value` as an int.

    Raises:
        ValueError: if it is not an integer from `least` to `most`.
    """
    limit = f"an integer from {least} to {most}" if most is not None else f"an integer of at least {least}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r}: must be {limit}")
    if most is not None and value > most:
        raise ValueError(f"{name}={value!r}: must be {limit}")
    return int(value)


def check_sign(name: str, value, *, zero: bool = True) -> None:
    """Refuse negative or non-finite numbers (and 0 unless `zero`); traced and callable values pass unseen.

    Raises:
        ValueError: naming the argument, its value and what would be right.
    """
    least = concrete(value, np.min)
    most = concrete(value, np.max)
    if least is None or most is None:
        return
    if not np.isfinite(most) or not np.isfinite(least) or least < 0 or (least == 0 and not zero):
        shown = np.asarray(value).tolist()
        raise ValueError(f"{name}={shown}: must be finite and {'at least 0' if zero else 'greater than 0'}")


def check_choice(name: str, value: str, known: Iterable[str]) -> str:
    """`value` if it is among `known`.

    Raises:
        ValueError: with the nearest known name.
    """
    known = list(known)
    if value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{name}={value!r}: {hint}known: {', '.join(known)}")


def available_memory() -> int | None:
    """Bytes of memory free for arrays on the default device, or None where that is not known."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
