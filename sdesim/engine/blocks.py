"""Lanes in blocks of one width, so that a simulation's bits depend on nothing but itself.

XLA makes another program for another number of lanes, and another program rounds elsewhere: it fuses, unrolls and adds
up differently. In chaos a lane run by itself and the same lane among others part after a hundred steps. So lanes are
computed in blocks whose width depends on the sizes of one simulation alone, a short block is filled up with copies of
its last lane, and everything that follows from a lane (initial state, steps, records, what is said of its end) is
computed so. Within one program the place of a lane does not matter: all do the same.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.engine.programs import compiled
from sdesim.fields import is_none, is_traced

VECTOR = 16  # lanes in a vector register, at the most; fewer lanes than that are faster in a program of their own
LEAST, MOST = 32, 256  # lanes in a block: shorter rows leave vectors idle, longer ones are mostly copies in a small run
NUMBERS = 512  # of the state in a block, for which a step costs more than the loop around it


class Blocks(NamedTuple):
    """The cut of lanes into blocks of one width.

    Attributes:
        count: lanes.
        width: lanes of a block.
        number: blocks that there is room for, at least those that are needed.
    """

    count: int
    width: int
    number: int

    @classmethod
    def of(cls, count: int, agents: int, dims: int, width: int | None = None) -> "Blocks":
        """The blocks of lanes of simulations of given sizes.

        Args:
            count: lanes.
            agents: of one simulation.
            dims: of one agent.
            width: lanes of a block; None for what the sizes say.

        Returns:
            As many blocks as are needed, of a width that depends on the sizes alone unless it is given.
        """
        if width is None:
            width = LEAST
            while width < MOST and width * agents * dims < NUMBERS:
                width *= 2
        return cls(count, width, math.ceil(count / width))

    @property
    def needed(self) -> int:
        """Blocks that hold a lane that is asked for."""
        return math.ceil(self.count / self.width)

    def shared_by(self, workers: int) -> tuple["Blocks", list[int]]:
        """The blocks that are needed, shared out evenly, and as much room for each of the workers.

        Args:
            workers: threads, at least 1.

        Returns:
            Room for the blocks of all, as much for each, and how many of each worker's are needed, at its front.
        """
        share = math.ceil(self.needed / workers)
        # Room in eighths of a power of two: other numbers of lanes are seldom other programs to compile.
        step = 1 << max(0, share.bit_length() - 3)
        # At least two: of an axis of length 1 XLA takes no slice, fuses what is left otherwise, and rounds otherwise.
        each = max(2, math.ceil(share / step) * step)
        return self._replace(number=each * workers), [
            min(share, max(0, self.needed - i * share)) for i in range(workers)
        ]

    def split(self, tree: PyTree) -> PyTree:
        """Lanes in blocks, moved as `moving` says; beyond the last lane, that lane again.

        Args:
            tree: leaves (..., lanes).

        Returns:
            Leaves (blocks, ..., width).
        """

        def one(leaf: Array | np.ndarray):
            a, xp = moving(leaf)
            if missing := self.number * self.width - a.shape[-1]:
                a = xp.concatenate([a, xp.broadcast_to(a[..., -1:], (*a.shape[:-1], missing))], -1)
            return xp.moveaxis(a.reshape(*a.shape[:-1], self.number, self.width), -2, 0)

        return jax.tree.map(one, tree)

    def join(self, tree: PyTree) -> PyTree:
        """Lanes in a row, without the copies of the last one.

        Args:
            tree: leaves (blocks, ..., width).

        Returns:
            Leaves (..., lanes), arrays of JAX.
        """
        return jax.device_put(self.rows(tree))

    def rows(self, tree: PyTree) -> PyTree:
        """As `join`, of NumPy where lanes are moved by it.

        Args:
            tree: leaves (blocks, ..., width).

        Returns:
            Leaves (..., lanes).
        """
        return jax.tree.map(lambda leaf: in_a_row(leaf)[..., : self.count], tree)


def moving(a: Array | np.ndarray) -> tuple[Any, Any]:
    """An array and the module that moves its elements.

    That is NumPy in a processor's memory, since it compiles nothing, and JAX compiles a program for each shape;
    jax.numpy on a GPU, within a trace, and for keys of random numbers.

    Args:
        a: of any shape.

    Returns:
        The array, as the module has it, and the module.
    """
    if isinstance(a, np.ndarray):
        return a, np
    if is_traced(a) or jnp.issubdtype(a.dtype, jax.dtypes.prng_key) or any(d.platform != "cpu" for d in a.devices()):
        return a, jnp
    return np.asarray(a), np


def in_a_row(leaf: Array | np.ndarray) -> Any:
    """The blocks of a leaf side by side, moved as `moving` says.

    Args:
        leaf: (blocks, ..., width).

    Returns:
        (..., blocks x width), of NumPy or JAX.
    """
    a, xp = moving(leaf)
    return xp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)


def needed_first(needed: Sequence[int | None], *leaves: Array | np.ndarray) -> Any:
    """The blocks of several workers as those of one, the needed ones in front, moved as `moving` says.

    Args:
        needed: how many of each worker's are, at its front; of one alone that does not matter.
        *leaves: (blocks, ...), a worker's each.

    Returns:
        (all blocks, ...), of NumPy or JAX.
    """
    if len(leaves) == 1:
        return leaves[0]
    moved = [moving(a) for a in leaves]
    cut = [(a[:n], a[n:]) for (a, _), n in zip(moved, needed, strict=True)]
    return moved[0][1].concatenate([front for front, _ in cut] + [rest for _, rest in cut])


def sims_first(tree: PyTree) -> PyTree:
    """Lanes on the first axis in place of the last.

    Args:
        tree: leaves (..., lanes).

    Returns:
        Leaves (lanes, ...), arrays of JAX.
    """

    def one(leaf: Array | np.ndarray):
        a, xp = moving(leaf)
        return xp.moveaxis(a, -1, 0)

    return jax.device_put(jax.tree.map(one, tree))


def of_block(tree: PyTree, block: Array) -> PyTree:
    """One block of all.

    Args:
        tree: leaves (blocks, ...).
        block: its number, from 0; an int32 scalar.

    Returns:
        Leaves (...).
    """
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, block, keepdims=False), tree)


def put_block(tree: PyTree, new: PyTree, block: Array) -> PyTree:
    """All blocks, one of them new.

    Args:
        tree: leaves (blocks, ...).
        new: leaves (...).
        block: the number of the one that is new, from 0; an int32 scalar.

    Returns:
        Leaves (blocks, ...).
    """
    return jax.tree.map(lambda a, b: lax.dynamic_update_index_in_dim(a, b, block, 0), tree, new)


def swept_and_kept(model: PyTree, axes: PyTree) -> tuple[PyTree, PyTree]:
    """The leaves of a model that have a value for each lane, and all others; `eqx.combine` joins them.

    Args:
        model: any pytree.
        axes: for each leaf, -1 if it has a value for each lane on its last axis, else None.

    Returns:
        Two trees of the model's structure, each with None for the other's leaves.
    """
    if not jax.tree.leaves(axes):  # of most runs: what looks at each leaf takes a tenth of a short one
        return axes, model
    kept, swept = eqx.partition(model, jax.tree.map(is_none, axes, is_leaf=is_none))
    return swept, kept


def each_block(fn: Callable[..., Any], kept: PyTree, axes: PyTree, parts: PyTree, number: int) -> PyTree:
    """fn(model, axes, *lanes) of the first blocks; zeros for the others.

    Args:
        fn: a function of a module, or a `jax.tree_util.Partial` of one, that is compiled.
        kept: the model's leaves that are the same for all lanes.
        axes: for each leaf of the model, -1 or None.
        parts: the model's leaves that are not, and what `fn` takes beside, both (blocks, ...).
        number: of blocks that are needed; a new one never recompiles.

    Returns:
        Leaves (blocks, ...).
    """
    return _each_block(fn, kept, axes, parts, np.int32(number))


@compiled
def at_once(fn: Callable[..., Any], model: PyTree, axes: PyTree, lanes: Sequence[PyTree]) -> PyTree:
    """fn(model, axes, *lanes), in one program of all lanes.

    Args:
        fn: a function of a module, or a `jax.tree_util.Partial` of one, that is compiled.
        model: with the values of all lanes.
        axes: for each leaf of `model`, -1 or None.
        lanes: what `fn` takes beside, leaves (..., lanes).

    Returns:
        Leaves (..., lanes).
    """
    return fn(model, axes, *lanes)


@compiled
def _each_block(fn: Callable[..., Any], kept: PyTree, axes: PyTree, parts: PyTree, number: np.int32):
    def one(block: Array):
        swept, lanes = of_block(parts, block)
        return fn(eqx.combine(kept, swept), axes, *lanes)

    room = jax.tree.leaves(parts)[0].shape[0]
    empty = lambda a: jnp.zeros((room, *a.shape), a.dtype)
    start = jax.tree.map(empty, jax.eval_shape(one, jax.ShapeDtypeStruct((), jnp.int32)))
    # The number of turns is traced: a loop of one turn would be unrolled, and be another program.
    return lax.fori_loop(0, number, lambda block, out: put_block(out, one(block), block), start)
