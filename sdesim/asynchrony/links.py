"""When workers send, and how long a message takes: by its size."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim.asynchrony.compute import AbstractCompute
from sdesim.fields import check_per, check_sign, number, optional_number, shown, whole_number


def due(number: Any, period: Any) -> Any:
    """Whether a worker sends, and is answered, at the end of its job of this number.

    Args:
        number: of the job among the worker's, from 0, of any shape.
        period: jobs between two messages.

    Returns:
        Truth values, of that shape.
    """
    return (number + 1) % period == 0


def _optional(period: Any) -> Array | None:
    return None if period is None else whole_number(period)


class Link(AbstractCompute):
    """The times of messages of one size: latency + size / bandwidth. For `uplink=` and `downlink=`.

    `mean` follows from these; leave it out.

    Attributes:
        size: of a message > 0, in bytes: a number, or one a worker, (workers,); None for that of all parameters, in a
            training of networks.
        bandwidth: > 0, in bytes a second, likewise.
        latency: the law of the time that a message takes beside; None for no time.
        period: jobs of a worker between two messages, at least 1; the others send nothing. None for the `period` of the
            protocol, and 1 in a timetable without one.
    """

    size: Array | None = eqx.field(converter=optional_number)
    bandwidth: Array = eqx.field(converter=number)
    latency: AbstractCompute | None = None
    period: Array | None = eqx.field(converter=_optional, default=None)

    def __check_init__(self):
        for name in ("size", "bandwidth"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("period", self.period, zero=False)
        if self.latency is not None and not isinstance(self.latency, AbstractCompute):
            raise TypeError(f"latency={shown(self.latency)}: must be a law of sdesim.asynchrony, or None")
        if not np.all(np.asarray(self.mean) == 1):
            raise ValueError(f"mean={shown(self.mean)}: must be left out: size, bandwidth and latency say it")

    def check_run(self, workers: int):
        if self.size is None:
            raise ValueError("size=None: must be given, in bytes; a training alone knows how large its messages are")
        for name in ("size", "bandwidth"):
            check_per(name, getattr(self, name), workers, "workers")
        if self.latency is not None:
            self.latency.check_run(workers)

    @property
    def _period(self) -> int:
        return 1 if self.period is None else int(self.period)

    @property
    def _transfer(self) -> NDArray:
        """Seconds of the bytes alone, of all workers or of each."""
        return np.asarray(np.nan if self.size is None else self.size, float) / np.asarray(self.bandwidth, float)

    @property
    def average(self) -> NDArray:
        return (self._transfer + (0.0 if self.latency is None else self.latency.average)) / self._period

    def times(self, seed: Any, stream: int, sims: NDArray, first: NDArray, count: int) -> NDArray:
        times = np.broadcast_to(self._transfer, first.shape[1])[:, None]
        if self.latency is not None:
            times = times + self.latency.times(seed, stream, sims, first, count)
        return np.where(due(first[..., None] + np.arange(count), self._period), times, 0.0)

    def quantiles(self, words: NDArray) -> NDArray:
        raise ValueError("Link: a law of messages; as compute= give a law of compute times")

    def residuals(self, words: NDArray) -> NDArray:
        return self.quantiles(words)
