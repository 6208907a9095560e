"""Batches that come from an iterable, in place of arrays: made elsewhere, read ahead of the steps, and let go."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sdesim.fields import check_count, shown
from sdesim.training.lazy import Ahead

MEASURED = 5000
Batch = tuple[Any, Any]


class Batches:
    """Batches from an iterable, such as a loader with an augmentation of its own, in place of arrays.

    In a step every agent takes the next one, agent after agent; all runs see the same. An epoch is a pass through the
    iterable, in its order, and a training that is resumed begins with the next. The first samples are kept: on them
    the training loss and the gradient noise are measured, and they give mean and standard deviation.

    Args:
        make: an iterable of batches (x, y), arrays as `Training` takes them, that begins anew whenever it is iterated
            over, as a list or a loader; or a function of the number of the epoch, from 1, that makes one.
        batches: of a pass, which are shared by all agents; its length by default.
        test: samples and what is to be said of them, (x, y), to test on; None for none.
        measured: how many of the first samples are kept, at most.

    Raises:
        TypeError: for what is no such iterable, or begins but once, as a generator does.
        ValueError: for an iterable without a length, if `batches` is not given.
    """

    def __init__(
        self,
        make: Iterable[Batch] | Callable[[int], Iterable[Batch]],
        *,
        batches: int | None = None,
        test: Batch | None = None,
        measured: int = MEASURED,
    ):
        if not callable(make) and (not isinstance(make, Iterable) or isinstance(make, Iterator)):
            right = "must be an iterable that begins anew each time, or a function of the epoch's number that makes one"
            raise TypeError(f"make={shown(make)}: {right}")
        if batches is None:
            if not hasattr(make, "__len__"):
                raise ValueError("batches=None: must be the batches of an epoch, as the iterable has no length")
            batches = len(make)  # pyright: ignore[reportArgumentType]
        self.batches = check_count("batches", batches)
        self.measured = check_count("measured", measured)
        if test is not None and (not isinstance(test, tuple) or len(test) != 2):
            raise TypeError(f"test={shown(test)}: must be arrays (x, y), or None")
        self.make, self.test = make, test

    def epoch(self, number: int) -> Iterator[tuple[NDArray, NDArray]]:
        """The batches of an epoch.

        Args:
            number: of it, from 1.

        Yields:
            Samples and what is to be said of them.

        Raises:
            ValueError: where they end too early.
        """
        made: Any = self.make(number) if callable(self.make) else self.make
        count = 0
        for batch in made:
            if count == self.batches:
                return
            count += 1
            x, y = batch
            yield np.asarray(x), np.asarray(y)
        if count < self.batches:
            raise ValueError(f"batches={self.batches}: must be at most {count}, with which epoch {number} ends")

    def first(self) -> tuple[NDArray, NDArray]:
        """The samples that are kept.

        Returns:
            They, and what is to be said of them.
        """
        found, count = [], 0
        for x, y in self.epoch(1):
            found.append((x, y))
            count += len(x)
            if count >= self.measured:
                break
        xs, ys = (np.concatenate(parts)[: self.measured] for parts in zip(*found, strict=True))
        return xs, ys


class Passing(Ahead):
    """Takes the batches of an epoch's steps from an iterable, a portion ahead; asked as `lazy.Reader` is.

    Args:
        batches: the iterable.
        agents: that share them.
        like: what a batch must be: its samples and what is to be said of them.
        prepared: what is to be said, as it is trained on.
    """

    def __init__(
        self, batches: Batches, agents: int, like: tuple[NDArray, NDArray], prepared: Callable[[NDArray], NDArray]
    ):
        super().__init__(batches.batches // agents, agents * len(like[0]), like[0][0].nbytes, threads=1)
        self._batches, self._agents, self._like, self._prepared = batches, agents, like, prepared
        self._epoch: tuple[int, Iterator] | None = None
        self._next: Future | None = None
        self._there: tuple[int, Any] = (-1, None)

    def begins(self, number: int) -> None:
        """An epoch begins.

        Args:
            number: of it, from 1.
        """
        super().begins(number)
        if self._next is not None:
            self._next.cancel()
        self._epoch = number, self._batches.epoch(number)
        self._there, self._next = (-1, None), None

    def portion(self, epoch: Any, done: int, numbers_of: Any) -> tuple[Any, Any, int]:
        """As `lazy.Reader.portion`: batches come in their order.

        Args:
            epoch: does not matter.
            done: steps of the epoch so far.
            numbers_of: does not matter.

        Returns:
            Samples and what is to be said of them, on the device; and the portion's first step.
        """
        which = done // self.steps
        while self._there[0] < which:
            began = time.perf_counter()
            ready = self._taken(self._there[0] + 1) if self._next is None else self._next.result()
            self.waited += time.perf_counter() - began
            self._there = self._there[0] + 1, jax.device_put(ready)
            another = (self._there[0] + 1) * self.steps < self._steps
            self._next = self._pool.submit(self._taken, self._there[0] + 1) if another else None
        return *self._there[1], which * self.steps

    def _taken(self, which: int) -> tuple[NDArray, NDArray]:
        """A portion's samples, as many for each."""
        assert self._epoch is not None
        number, batches = self._epoch
        x, y = (np.zeros((self.images, *a.shape[1:]), a.dtype) for a in self._like)
        size = len(self._like[0])
        for place in range(self._agents * min(self.steps, self._steps - which * self.steps)):
            found = next(batches)
            new = found[0].astype(x.dtype, casting="same_kind"), self._prepared(found[1])
            for name, whole, part in zip("xy", (x, y), new, strict=True):
                if part.shape != (size, *whole.shape[1:]):
                    right = f"must be of shape {(size, *whole.shape[1:])}, as the first"
                    raise ValueError(f"make: {name} of a batch of epoch {number} is of shape {part.shape}, and {right}")
                whole[place * size : (place + 1) * size] = part
        return x, y
