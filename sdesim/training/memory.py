"""What a training needs of memory, against what is free: before anything is drawn, and before the first step.

What is held for long follows from shapes. The work of a step and of a measurement, most of it activations, patches and
gradients, is what the compiler has planned for the programs that will run, which are compiled for that no earlier than
they would be.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sdesim.memory import available_memory


def size_of(tree: Any) -> int:
    """Bytes of a pytree's arrays, or of what stands for them.

    Args:
        tree: the pytree; leaves without a type count for nothing.

    Returns:
        Bytes.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return sum(int(np.prod(leaf.shape, dtype=object)) * jax.numpy.dtype(leaf.dtype).itemsize for leaf in leaves)


def stand_in(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of no memory, which tells a compiler shape and type.

    Args:
        shape: of the array.
        dtype: of the array.

    Returns:
        Zeros.
    """
    return np.broadcast_to(np.zeros((), dtype), shape)


def work_of(program: Any, *arguments: Any) -> int:
    """Bytes that a call of a `filter_jit` takes beside its arguments.

    It is compiled, as the call would.

    Args:
        program: the `filter_jit`.
        *arguments: of the call, which stay what they are.

    Returns:
        Bytes; 0 where the backend does not tell.
    """
    told = program.lower(*arguments).compile().compiled.memory_analysis()
    return 0 if told is None else told.temp_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes


def check_fits(runs: int, agents: int, needs: Mapping[str, int], limit: int | None, shared: int = 0) -> None:
    """Refuse what does not fit.

    Args:
        runs: how many.
        agents: of a run.
        needs: bytes by what they are for.
        limit: bytes that there are; None for what is free.
        shared: bytes of `needs` that fewer runs need as well.

    Raises:
        MemoryError: with what is needed, what there is, and how to fit.
    """
    need, have = sum(needs.values()), available_memory() if limit is None else limit
    if have is None or need <= have:
        return
    fit = int(runs * max(0, have - shared) / max(1, need - shared))
    advice = "fewer agents, a smaller batch or evaluation_batch, or a smaller network would be needed"
    if fit:
        advice = f"runs={fit} would fit; train the others afterwards, by their numbers"
    gib = lambda size: f"{size / 2**30:.3g} GiB"
    parts = ", ".join(f"{gib(size)} for {what}" for what, size in needs.items())
    raise MemoryError(
        f"runs={runs}, agents={agents}: need about {gib(need)} more ({parts}), and {gib(have)} are free: {advice}"
    )
