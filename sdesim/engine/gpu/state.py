"""The leaves of a state, packed for the kernel to read and to write."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sdesim.engine.gpu.cells import Unsupported
from sdesim.engine.gpu.layout import (
    BlockPlace,
    Place,
    Rows,
    Shape,
    axes_inside,
    block_place,
    from_blocks,
    over_coordinates,
    to_blocks,
    to_lanes,
)


class Leaves:
    """The leaves of a state and where they lie: those that steps change in arrays that a launch returns anew.

    Arrays over agents are *blocks*, arrays over coordinates alone *lines*, where these are not unrolled, and all others
    *rows*.

    Args:
        leaves: (..., lanes).
        kept: where those lie that steps do not change.
        shape: how simulations are laid out.
        agents: of one simulation.
        dims: of one agent.
        lanes: to which they are filled up.

    Raises:
        Unsupported: for what the kernel cannot hold.
    """

    def __init__(self, leaves: Sequence[Array], kept: Rows, shape: Shape, agents: int, dims: int, lanes: int):
        self._leaves, self._shape, self._dims, self._lanes = leaves, shape, dims, lanes
        self.moves = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
        self._rows = Rows(kept.width)
        self._lines: list[Array] = []
        self._blocks: list[Array] = []
        self.places: list[Place | BlockPlace] = []
        for leaf, move in zip(leaves, self.moves, strict=True):
            agent, coordinate = axes_inside(leaf.shape[:-1], agents, dims, shape) if move else (None, None)
            if agent is not None:
                self.places.append(
                    block_place(
                        self._blocks, leaf.shape[:-1], self._over_agents(leaf, agent, coordinate), agent, coordinate
                    )
                )
            elif coordinate is not None:
                self.places.append(
                    block_place(
                        self._lines, leaf.shape[:-1], self._over_coordinates(leaf, coordinate), None, coordinate
                    )
                )
            else:
                self.places.append(filled_up(self._rows if move else kept, leaf, lanes))

    def packed(self) -> tuple[Array, Array, Array]:
        """The rows, lines and blocks that steps change."""
        lines, blocks = (joined(part, self._shape) for part in (self._lines, self._blocks))
        return self._rows.packed(np.float32), lines, blocks

    def unpacked(self, rows: Array, lines: Array, blocks: Array) -> list[Array]:
        """The leaves from what a launch made of `packed`.

        Args:
            rows: as `packed` has them.
            lines: likewise.
            blocks: likewise.

        Returns:
            (..., lanes) each.
        """
        new = []
        for leaf, place, move in zip(self._leaves, self.places, self.moves, strict=True):
            count = leaf.shape[-1]
            if isinstance(place, Place):
                part = rows[place.row : place.row + math.prod(place.shape)].reshape(*place.shape, self._lanes)
                new.append(part[..., :count] if move else leaf)
            elif place.agent is None and place.coordinate is not None:
                part = lines[place.row : place.row + place.cells(self._shape), :, 0, : self._dims]
                rest = [n for axis, n in enumerate(place.shape) if axis != place.coordinate]
                new.append(
                    jnp.moveaxis(part.reshape(*rest, self._lanes, self._dims), -1, place.coordinate)[..., :count]
                )
            else:
                part = blocks[place.row : place.row + place.cells(self._shape)]
                new.append(self._of_agents(part, leaf, place))
        return new

    def _over_coordinates(self, leaf: Array, axis: int) -> Array:
        leaf = to_lanes(leaf, self._lanes)
        return over_coordinates(leaf, axis, self._shape).reshape(-1, self._lanes, 1, self._shape.width)

    def _over_agents(self, leaf: Array, agent: int, coordinate: int | None) -> Array:
        """An array over agents as blocks, those of each of its other places after one another."""
        if self._shape.width == 1:
            each = [jnp.moveaxis(leaf, agent, 0).reshape(leaf.shape[agent], -1, leaf.shape[-1])]
        elif coordinate is None:
            raise Unsupported("numbers of the agents' own")
        else:
            x = jnp.moveaxis(leaf, (agent, coordinate), (0, 1))
            x = x.reshape(*x.shape[:2], -1, x.shape[-1])
            each = [x[:, :, i] for i in range(x.shape[2])]
        return jnp.concatenate([to_blocks(x, self._shape, self._lanes) for x in each])

    def _of_agents(self, blocks: Array, leaf: Array, place: BlockPlace) -> Array:
        """What `_over_agents` made blocks of."""
        inside = [axis for axis in (place.agent, place.coordinate) if axis is not None]
        rest = [n for axis, n in enumerate(leaf.shape) if axis not in inside]  # the lanes among them
        if self._shape.width == 1:
            like = (leaf.shape[inside[0]], math.prod(rest[:-1]), rest[-1])
            x = from_blocks(blocks, self._shape, like)
        else:
            agents, dims = (leaf.shape[axis] for axis in inside)
            like = (agents, dims, rest[-1])
            parts = jnp.split(blocks, math.prod(rest[:-1]))
            x = jnp.stack([from_blocks(part, self._shape, like) for part in parts], axis=2)
        x = x.reshape(*(leaf.shape[axis] for axis in inside), *rest)
        return jnp.moveaxis(x, range(len(inside)), inside)


def filled_up(rows: Rows, leaf: Array, lanes: int) -> Place:
    """Pack an array in rows of all lanes, filled up with zeros.

    Args:
        rows: where to.
        leaf: (..., lanes).
        lanes: to which it is filled up.

    Returns:
        Its place.
    """
    return rows.add(to_lanes(leaf, lanes).reshape(*leaf.shape[:-1], *rows.width))


def joined(blocks: Sequence[Array], shape: Shape) -> Array:
    """Blocks in one array, of zeros if there are none.

    Args:
        blocks: (cells, ...) each.
        shape: how simulations are laid out.

    Returns:
        (cells, ...).
    """
    return jnp.concatenate(blocks) if blocks else jnp.zeros((1,) * (1 + len(shape.block)), jnp.float32)
