"""Lanes in blocks of one width, so that a simulation's bits depend on nothing but itself.

XLA makes another program for another number of lanes, and another program rounds elsewhere: it fuses, unrolls and adds
up differently. In chaos a lane run by itself and the same lane among others part after a hundred steps. So lanes are
computed in blocks whose width depends on the sizes of one simulation alone, a short block is filled up with copies of
its last lane, and everything that follows from a lane (initial state, steps, records, what is said of its end) is
computed so. Within one program the place of a lane does not matter: all do the same.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.fields import is_none, is_traced

VECTOR = 16  # lanes in a vector register, at the most; fewer lanes than that are faster in a program of their own
LEAST, MOST = 32, 256  # lanes in a block: shorter rows leave vectors idle, longer ones are mostly copies in a small run
NUMBERS = 512  # of the state in a block, for which a step costs more than the loop around it


class Blocks(NamedTuple):
    """count: lanes. width: lanes of a block. number: blocks that there is room for, at least those that are needed."""

    count: int
    width: int
    number: int

    @classmethod
    def of(cls, count: int, agents: int, dims: int) -> "Blocks":
        """The blocks of `count` lanes of simulations of the given sizes."""
        width = LEAST
        while width < MOST and width * agents * dims < NUMBERS:
            width *= 2
        return cls(count, width, math.ceil(count / width))

    @property
    def needed(self) -> int:
        return math.ceil(self.count / self.width)

    def shared_by(self, workers: int) -> tuple["Blocks", list[int]]:
        """As many blocks for each of the workers, and how many of theirs are needed."""
        each = math.ceil(self.needed / workers)
        # Room in eighths of a power of two: other numbers of lanes are seldom other programs to compile.
        step = 1 << max(0, each.bit_length() - 3)
        # At least two: of an axis of length 1 XLA takes no slice, fuses what is left otherwise, and rounds otherwise.
        each = max(2, math.ceil(each / step) * step)
        return self._replace(number=each * workers), [min(each, max(0, self.needed - i * each)) for i in range(workers)]

    def split(self, tree: PyTree) -> PyTree:
        """Leaves (..., lanes) as (blocks, ..., width), by `moving`; beyond the last lane, that lane again."""

        def one(leaf):
            a, xp = moving(leaf)
            if missing := self.number * self.width - a.shape[-1]:
                a = xp.concatenate([a, xp.broadcast_to(a[..., -1:], (*a.shape[:-1], missing))], -1)
            return xp.moveaxis(a.reshape(*a.shape[:-1], self.number, self.width), -2, 0)

        return jax.tree.map(one, tree)

    def join(self, tree: PyTree) -> PyTree:
        """Leaves (blocks, ..., width) as arrays of JAX, (..., lanes)."""
        return jax.tree.map(lambda leaf: jax.device_put(in_a_row(leaf)[..., : self.count]), tree)


def moving(a) -> tuple[Any, Any]:
    """An array and the module that moves its elements: NumPy in a processor's memory, since it compiles nothing, and
    JAX compiles a program for each shape; jax.numpy on a GPU, within a trace, and for keys of random numbers."""
    if isinstance(a, np.ndarray):
        return a, np
    if is_traced(a) or jnp.issubdtype(a.dtype, jax.dtypes.prng_key) or any(d.platform != "cpu" for d in a.devices()):
        return a, jnp
    return np.asarray(a), np


def in_a_row(leaf):
    """A leaf (blocks, ..., width) as (..., blocks x width), moved as `moving` says."""
    a, xp = moving(leaf)
    return xp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)


def concatenated(*leaves):
    """Arrays one after another on their first axis; one alone is left as it is."""
    if len(leaves) == 1:
        return leaves[0]
    moved = [moving(a) for a in leaves]
    return moved[0][1].concatenate([a for a, _ in moved])


def sims_first(tree: PyTree) -> PyTree:
    """Leaves (..., lanes) as arrays of JAX, (lanes, ...)."""

    def one(leaf):
        a, xp = moving(leaf)
        return jax.device_put(xp.moveaxis(a, -1, 0))

    return jax.tree.map(one, tree)


def of_block(tree: PyTree, block: Array) -> PyTree:
    """One block of leaves (blocks, ...)."""
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, block, keepdims=False), tree)


def put_block(tree: PyTree, new: PyTree, block: Array) -> PyTree:
    return jax.tree.map(lambda a, b: lax.dynamic_update_index_in_dim(a, b, block, 0), tree, new)


def swept_and_kept(model: PyTree, axes: PyTree) -> tuple[PyTree, PyTree]:
    """The leaves of a model that have a value for each lane, and all others; `eqx.combine` joins them."""
    kept, swept = eqx.partition(model, jax.tree.map(is_none, axes, is_leaf=is_none))
    return swept, kept


def of_lanes(fn: Callable[..., Any], blocks: Blocks | None, model: PyTree, axes: PyTree, *lanes: PyTree) -> PyTree:
    """fn(model, axes, *lanes), whose results lead up to the lanes on their last axis, block by block.

    fn: a function of a module, or a `jax.tree_util.Partial` of one, that is compiled. axes: for each leaf of `model`,
    -1 if it has a value for each lane on its last axis, else None. blocks: None for one program of all lanes.
    """
    if blocks is None:
        return at_once(fn, model, axes, lanes)
    swept, kept = swept_and_kept(model, axes)
    needed = blocks.needed
    blocks, _ = blocks.shared_by(1)
    return blocks.join(each_block(fn, kept, axes, blocks.split((swept, lanes)), needed))


def each_block(fn: Callable[..., Any], kept: PyTree, axes: PyTree, parts: PyTree, number: int) -> PyTree:
    """fn(model, axes, *lanes) of the first `number` blocks of `parts` = (swept leaves, lanes); zeros for others."""
    return _each_block(fn, kept, axes, parts, jnp.asarray(number, jnp.int32))


@eqx.filter_jit
def at_once(fn, model, axes, lanes):
    return fn(model, axes, *lanes)


@eqx.filter_jit
def _each_block(fn, kept, axes, parts, number):
    def one(block):
        swept, lanes = of_block(parts, block)
        return fn(eqx.combine(kept, swept), axes, *lanes)

    room = jax.tree.leaves(parts)[0].shape[0]
    empty = lambda a: jnp.zeros((room, *a.shape), a.dtype)
    start = jax.tree.map(empty, jax.eval_shape(one, jax.ShapeDtypeStruct((), jnp.int32)))
    # The number of turns is traced: a loop of one turn would be unrolled, and be another program.
    return lax.fori_loop(0, number, lambda block, out: put_block(out, one(block), block), start)
