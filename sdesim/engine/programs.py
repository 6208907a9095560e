"""Compiled functions whose call costs next to nothing beside what it computes.

`eqx.filter_jit` takes a fifth of a millisecond to look at a model, several times in a run, which is more than a short
run computes. Where all is of sdesim's own making, a call is one flattening and one look-up.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from sdesim.fields import made_here

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def compiled(fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`eqx.filter_jit` of a function: arrays are traced, all else is static.

    Args:
        fn: of pytrees, to a pytree of arrays.
        **options: as for `jax.jit`.

    Returns:
        The function, compiled. Calls with parts of a user's go through `eqx.filter_jit`, which explains their errors.
    """
    general = eqx.filter_jit(fn, **options)

    def of_arrays(static: tuple, arrays: list):
        tree, rest, places = static
        leaves = [value for _, value in rest]
        for place, array in zip(places, arrays, strict=True):
            leaves[place] = array
        return fn(*jax.tree.unflatten(tree, leaves))

    of_arrays.__name__ = of_arrays.__qualname__ = fn.__name__
    own = jax.jit(of_arrays, static_argnums=0, **options)

    @functools.wraps(fn)
    def call(*arguments: Any):
        leaves, tree = jax.tree.flatten(arguments)
        if not made_here(tree):
            return general(*arguments)
        rest, places, arrays = [], [], []
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, _ARRAYS):
                places.append(place)
                arrays.append(leaf)
                leaf = None
            elif callable(leaf) and not isinstance(leaf, type):
                return general(*arguments)
            rest.append((type(leaf), leaf))  # with its type: True is no 1
        return own((tree, tuple(rest), tuple(places)), arrays)

    told: Any = call
    told.lower = general.lower  # the same program, for whoever reads it
    return told
