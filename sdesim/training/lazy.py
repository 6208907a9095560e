"""Images that do not fit into memory: read when a step needs them, by threads, ahead of the steps.

A reader goes through the batches of an epoch a portion at a time: as many steps as a buffer has room for. While one
portion is trained on, the next is read. Which images a step gets is decided before, by (seed, run, agent, epoch) as for
images in memory, and so are crops and flips: the same numbers come out, however many threads read.
"""

import hashlib
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sdesim.cores import cores
from sdesim.fields import check_count, shown

PORTION = 1 << 28  # bytes that are read at a time, and ahead
HASHED = 16  # images by which a set is told from others
MEASURED = 1000  # images of which mean and standard deviation are taken


class Lazy:
    """Images that are read when a step needs them, and not held in memory.

    Takes the place of `train_x` or `test_x` in `Images`. Of what it is trained on, sixteen images and all labels tell a
    training from another; mean and standard deviation are those of a thousand images, drawn by the seed of `split`.

    Args:
        source: of `shape` (n, height, width, channels) and `dtype` uint8, whose `source[i]` is the i-th image: a
            `np.memmap`, an array of h5py or zarr, or an object of your own. It is asked by several threads at once.
        threads: that read; one a core by default.

    Raises:
        TypeError: for what has no shape and type, or cannot be asked for an image.
        ValueError: for other shapes and types.
    """

    def __init__(self, source: Any, *, threads: int | None = None):
        shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
        if not isinstance(shape, tuple) or dtype is None or not hasattr(source, "__getitem__"):
            raise TypeError(f"source={shown(source)}: must have a shape, a dtype, and an image at [i]")
        if len(shape) != 4 or 0 in shape[1:] or np.dtype(dtype) != np.uint8:
            right = "must be images, uint8 of shape (n, height, width, channels)"
            raise ValueError(f"source: is {np.dtype(dtype)} of shape {shape}, and {right}")
        if threads is not None:
            check_count("threads", threads)
        self.source, self.threads = source, len(cores()) if threads is None else threads
        self._which = np.arange(shape[0])
        self._identity: NDArray | None = None

    def __repr__(self) -> str:
        return f"Lazy({type(self.source).__name__}, shape={self.shape})"

    def __len__(self) -> int:
        return len(self._which)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images."""
        return (len(self._which), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of their values."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """Axes of all images."""
        return 4

    @property
    def bytes_of_one(self) -> int:
        """Of an image."""
        return int(np.prod(self.shape[1:]))

    def __getitem__(self, which: Any) -> "Lazy":
        """Some of the images, which are not read either.

        Args:
            which: a slice, or an array of their numbers.

        Returns:
            They, in this order.
        """
        some = np.atleast_1d(self._which[which])
        made = Lazy(self.source, threads=self.threads)
        made._which = some
        return made

    def read(self, which: NDArray | slice = slice(None)) -> NDArray:
        """Images, read by several threads.

        Args:
            which: their numbers, of any shape; all by default.

        Returns:
            uint8 (..., height, width, channels).

        Raises:
            ValueError: as the source, and for an image of another shape.
        """
        numbers = np.arange(len(self))[which]
        with ThreadPoolExecutor(self.threads) as pool:
            return _Reading(self, numbers.ravel(), pool).images().reshape(*numbers.shape, *self.shape[1:])

    def one(self, number: int, into: NDArray) -> None:
        """Read one image.

        Args:
            number: of it.
            into: where to, (height, width, channels).

        Raises:
            ValueError: as the source, and for an image of another shape.
        """
        image = np.asarray(self.source[int(self._which[number])])
        if image.shape != into.shape or image.dtype != np.uint8:
            raise ValueError(
                f"source: its image {int(self._which[number])} is {image.dtype} of shape {image.shape}, and must be "
                f"uint8 of shape {into.shape}"
            )
        into[...] = image

    @property
    def identity(self) -> NDArray:
        """What tells these images from others: a hash of their shape and of some of them, as bytes."""
        if self._identity is None:
            some = self.read(np.unique(np.linspace(0, len(self) - 1, HASHED).astype(int))) if len(self) else b""
            digest = hashlib.sha256(repr(self.shape).encode() + bytes(some))
            self._identity = np.frombuffer(digest.digest(), np.uint8)
        return self._identity


def in_memory(samples: Any) -> Any:
    """Samples as an array, unless they are lazy.

    Args:
        samples: of any kind.

    Returns:
        Themselves if they are lazy, else an array.
    """
    return samples if isinstance(samples, Lazy) else np.asarray(samples)


def in_portions(samples: Lazy, batch: int) -> Iterator[slice]:
    """Whole batches of lazy images, so many at a time as a portion has room for.

    Args:
        samples: all that there are.
        batch: images of one.

    Yields:
        Which images.
    """
    batches = len(samples) // batch
    of_portion = max(1, PORTION // (batch * samples.bytes_of_one))
    for first in range(0, batches, of_portion):
        yield slice(first * batch, min(first + of_portion, batches) * batch)


class _Reading:
    """Some images, which are being read. A number of -1 is none, and stays black."""

    def __init__(self, samples: Lazy, numbers: NDArray, pool: ThreadPoolExecutor):
        self._found = np.zeros((len(numbers), *samples.shape[1:]), np.uint8)
        self._futures = [
            pool.submit(samples.one, n, into) for n, into in zip(numbers.tolist(), self._found, strict=True) if n >= 0
        ]

    def images(self) -> NDArray:
        """All, once they are there."""
        try:
            for future in self._futures:
                future.result()
        except BaseException:
            self.forget()
            raise
        return self._found

    def forget(self) -> None:
        """Read no more."""
        for future in self._futures:
            future.cancel()


class Ahead:
    """What the steps of an epoch take, a portion at a time, while the next portion is got ready by threads.

    Args:
        steps: of an epoch.
        of_step: samples of one.
        bytes_of_one: of a sample.
        threads: that get them ready.
    """

    def __init__(self, steps: int, of_step: int, bytes_of_one: int, threads: int):
        self._steps, self._bytes_of_one = steps, bytes_of_one
        self._pool = ThreadPoolExecutor(threads)
        # The interpreter would else wait for what is queued.
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        self.steps = max(1, min(steps, PORTION // (of_step * bytes_of_one)))  # of a portion
        self.images = self.steps * of_step
        self.waited = 0.0  # seconds in which steps waited for samples

    @property
    def bytes(self) -> int:
        """That are held at a time: a portion on the device, one that is got ready, and one that goes there."""
        return 3 * self.images * self._bytes_of_one

    def begins(self, number: int) -> None:
        """An epoch begins.

        Args:
            number: of it, from 1.
        """
        self.waited = 0.0

    def left(self, done: int) -> int:
        """How many steps of the portion are left.

        Args:
            done: steps of the epoch so far.
        """
        return min(self.steps - done % self.steps, self._steps - done)


class Reader(Ahead):
    """Reads the images of an epoch's steps, a portion ahead.

    Args:
        samples: all that there are.
        labels: of each, (n, ...).
        steps: of an epoch.
        of_step: images of one.
    """

    def __init__(self, samples: Lazy, labels: NDArray, steps: int, of_step: int):
        super().__init__(steps, of_step, samples.bytes_of_one, samples.threads)
        self._samples, self._labels = samples, labels
        self._epoch: Any = None
        self._begun: dict[int, tuple[NDArray, _Reading]] = {}
        self._there: tuple[int, Any] | None = None

    def portion(self, epoch: Any, done: int, numbers_of: Callable[[int, int], NDArray]) -> tuple[Any, Any, int]:
        """The images of the portion that the next step is in, and begins to read the one after it.

        Args:
            epoch: what tells this epoch from others.
            done: steps of the epoch so far.
            numbers_of: of the first step and the one after the last, images by number, (steps, ...).

        Returns:
            The images, (count, height, width, channels), and labels, on the device; and the portion's first step.
        """
        if epoch is not self._epoch:
            self._forget()
            self._epoch = epoch
        which = done // self.steps
        if self._there is None or self._there[0] != which:
            self._there = None  # before the next takes its room
            began = time.perf_counter()
            self._begin(which, numbers_of)
            numbers, reading = self._begun.pop(which)
            images = reading.images()
            self.waited += time.perf_counter() - began
            self._there = which, jax.device_put((images, self._labels[np.maximum(numbers, 0)]))
            if (which + 1) * self.steps < self._steps:
                self._begin(which + 1, numbers_of)
        return *self._there[1], which * self.steps

    def _begin(self, which: int, numbers_of: Callable[[int, int], NDArray]) -> None:
        if which in self._begun:
            return
        numbers = numbers_of(which * self.steps, min((which + 1) * self.steps, self._steps))
        whole = np.full((self.steps, *numbers.shape[1:]), -1, numbers.dtype)  # all portions are of one size
        whole[: len(numbers)] = numbers
        self._begun[which] = whole.ravel(), _Reading(self._samples, whole.ravel(), self._pool)

    def _forget(self) -> None:
        for _, reading in self._begun.values():
            reading.forget()
        self._begun, self._there = {}, None
