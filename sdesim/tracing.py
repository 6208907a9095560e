"""What all that trace and read programs of JAX share."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
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


def products_in_float32() -> contextlib.AbstractContextManager:
    """Within it, what is traced multiplies matrices in float32, as on a CPU; by itself JAX keeps eleven bits on a GPU.

    Unless the user has set `jax_default_matmul_precision`.
    """
    settings: Any = jax.config
    if jax.default_backend() != "gpu" or settings.jax_default_matmul_precision is not None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")
