"""What of an asynchronous run is worth a record beside its states: gradients used, and bytes sent."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sdesim.dynamics import Counts
from sdesim.fields import check_sign, number, shown
from sdesim.observe import AbstractSeries, View


def _done(series: AbstractSeries, view: View) -> Counts:
    """What workers have done.

    Raises:
        ValueError: where agents step together.
    """
    if view.counts is None:
        name = type(series).__name__
        raise ValueError(f"observe={name}: counts what workers in virtual time do; agents step together here")
    return view.counts


class Gradients(AbstractSeries):
    """Gradients that were used and that were discarded since the first run began, (2,), whole numbers.

    Whether one is used is the protocol's to say: `Rennala` and `Ringmaster` discard. One that waits for others is used.
    """

    name = "gradients"
    axes = ("fate",)
    label = ("1", "gradients so far: used, and discarded")

    def value(self, view: View):
        counts = _done(self, view)
        return jnp.stack([counts.used, counts.arrivals - counts.used])

    def numbers(self, agents: int, dims: int):
        return 2


class Bytes(AbstractSeries):
    """Bytes of the messages of workers, and of those to them, since the first run began, (2,).

    A worker that exchanges sends one message and is sent one. Without a server, as in `Gossip`, that is one of the
    worker that begins the exchange and one of its partner, so that both together are what was sent. What happens when a
    run begins is not counted.

    Attributes:
        up: bytes of a message of a worker, greater than 0; those of a point, dims numbers, by default.
        down: bytes of a message to a worker, or of a partner, likewise.
    """

    up: Any = eqx.field(converter=lambda size: _size("up", size), default=None)
    down: Any = eqx.field(converter=lambda size: _size("down", size), default=None)

    name = "bytes"
    axes = ("way",)
    label = ("byte", "bytes of messages so far: of workers, and to them")

    def value(self, view: View):
        counts, x = _done(self, view), view.state.x
        point = x.shape[-1] * x.dtype.itemsize
        sizes = [point if size is None else size for size in (self.up, self.down)]
        messages = jnp.stack([counts.up, counts.down]).astype(x.dtype)
        return messages * jnp.stack([jnp.asarray(size, x.dtype) for size in sizes])

    def numbers(self, agents: int, dims: int):
        return 2


def _size(name: str, value: Any) -> Array | None:
    """The size of a message, or None."""
    if value is None:
        return None
    size = number(value)
    check_sign(name, size, zero=False)
    if jnp.ndim(size):
        raise ValueError(f"{name}={shown(value)}: must be one number, in bytes")
    return size
