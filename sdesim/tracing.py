"""What all that trace and read programs of JAX share."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array


def bind(primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> list[Array]:
    """A primitive's results, of one or of several.

    Args:
        primitive: of an equation.
        arrays: what it is applied to.
        params: of the equation, by name.

    Returns:
        One for each variable that the equation sets.
    """
    bound = primitive.get_bind_params(params)
    subfuns, params = bound if isinstance(bound, tuple) else ((), bound)
    out = primitive.bind(*subfuns, *arrays, **params)
    return list(out) if primitive.multiple_results else [out]


def widest_vectors() -> dict[str, Any]:
    """The compiler's option by which it takes a CPU's widest vectors, which XLA does not by itself; none elsewhere."""
    return {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" and _has_avx512() else {}


@functools.cache
def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo") as lines:
            return any("avx512f" in line for line in lines if line.startswith("flags"))
    except OSError:
        return False


def products_in_float32() -> contextlib.AbstractContextManager:
    """Within it, what is traced multiplies matrices in float32, as on a CPU; by itself JAX keeps eleven bits on a GPU.

    Unless the user has set `jax_default_matmul_precision`.
    """
    settings: Any = jax.config
    if jax.default_backend() != "gpu" or settings.jax_default_matmul_precision is not None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


def each(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function over the leading axis of its arguments: runs, agents or models.

    On a CPU one after another: a product with one agent's matrix fills the cores already, and the activations of all at
    once fit no cache. On a GPU all at once.

    Args:
        fn: a function of one.

    Returns:
        The same of all, results stacked on a leading axis.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(fn)
    return lambda *args: lax.map(lambda one: fn(*one), args)
