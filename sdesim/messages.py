"""What errors and files show of a value.

Nothing here imports JAX, for which whoever only opens a store does not wait; where it has not been imported, no value
is of it.
"""

import json
import re
import sys
from typing import Any

import numpy as np


def without_addresses(text: str) -> str:
    """What is said of functions without where they lie, which is elsewhere in each process.

    Args:
        text: of `repr`.

    Returns:
        The text without " at 0x...".
    """
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def shown(value: Any) -> str:
    """A value as a message shows it: one line, whole if it is short, without addresses.

    Args:
        value: anything.

    Returns:
        At most 80 characters, but for the names of functions and the shapes of arrays.
    """
    jax = sys.modules.get("jax")
    if jax is not None and any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return "a traced value"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the {'class' if isinstance(value, type) else 'function'} {value.__qualname__.rpartition('.')[2]}"
    if _is_array(value):
        issubdtype = np.issubdtype if jax is None else jax.numpy.issubdtype  # JAX has more types of numbers
        floating = issubdtype(value.dtype, np.floating)
        if value.size > 6 or not (floating or issubdtype(value.dtype, np.integer) or value.dtype == bool):
            return f"an array of shape {value.shape} and type {value.dtype}"
        # By way of its digits, so that float32 shows 0.1 and not 0.10000000149
        plain = [float(str(v)) if floating else v.item() for v in np.asarray(value).ravel()]
        value = np.array(plain, object).reshape(value.shape).tolist()
    text = without_addresses(" ".join(repr(value).split()))
    return text if len(text) <= 80 else f"{text[:77]}..."


def to_json(value: Any) -> str:
    """JSON of Python's and NumPy's numbers and arrays; anything else as it prints.

    Args:
        value: dicts and lists of these.

    Returns:
        The text, in one line.
    """
    return json.dumps(value, default=lambda v: np.asarray(v).tolist() if _is_array(v) else repr(v))


def _is_array(value: Any) -> bool:
    """Whether a value is an array or a number of NumPy's or JAX's."""
    jax = sys.modules.get("jax")
    return isinstance(value, np.ndarray | np.generic) or (jax is not None and isinstance(value, jax.Array))
