"""Cards: of each task its size, how long it took, and of every point and number the sums that means are made of.

A card is a small file beside that of its task, so that nobody opens a task to know how far a sweep is, its means or
their errors. It follows from the task's file, and can be made again from it. Cards of many tasks are packed into one
file, which is read in one go.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Sums(NamedTuple):
    """What means and their standard errors are made of.

    Attributes:
        n: how many values.
        mean: of them.
        m2: sum of their squared distances from their mean.
    """

    n: Any
    mean: np.ndarray
    m2: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, axis: int) -> "Sums":
        """The sums of some values, in float64.

        Args:
            values: of any shape.
            axis: that is summed over.

        Returns:
            Arrays without that axis.
        """
        values = np.asarray(values, float)
        mean = values.mean(axis, keepdims=True)
        with np.errstate(invalid="ignore"):  # of infinities, which are no error here
            return cls(values.shape[axis], mean.squeeze(axis), ((values - mean) ** 2).sum(axis))

    def plus(self, other: "Sums") -> "Sums":
        """The sums of these values and others, by Chan's formula.

        Args:
            other: of the same shape.

        Returns:
            The sums.
        """
        n = self.n + other.n
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(n > 0, np.asarray(other.n) / np.maximum(n, 1), 0.0)
            apart = np.where(np.asarray(self.n) == 0, 0.0, other.mean - self.mean)
            mean = np.where(np.asarray(self.n) == 0, other.mean, self.mean + apart * share)
            mean = np.where(np.asarray(other.n) == 0, self.mean, mean)
            return Sums(n, mean, self.m2 + other.m2 + apart**2 * self.n * share)

    @property
    def stderr(self) -> np.ndarray:
        """Standard error of the mean; NaN of fewer than two values."""
        n = np.asarray(self.n, float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n > 1, np.sqrt(self.m2 / (n - 1)) / np.sqrt(n), np.nan)


@dataclasses.dataclass(frozen=True)
class Card:
    """Of a task, all but its values.

    Attributes:
        number: of the task.
        said: of it, as JSON holds it: seconds of computing, how many simulations diverged.
        shapes: of what was measured of a simulation, by name.
        sums: over simulations of these, one after another, (points, numbers).
    """

    number: int
    said: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    sums: Sums

    @classmethod
    def of(cls, number: int, said: Mapping[str, Any], values: Mapping[str, np.ndarray], points: int) -> "Card":
        """The card of what a task has measured.

        Args:
            number: of the task.
            said: of it.
            values: by name, (points, sims, ...).
            points: how many there are.

        Returns:
            The card.
        """
        rows = [np.reshape(np.moveaxis(v, 1, 0), (v.shape[1], points, -1)) for v in values.values()]
        whole = np.concatenate(rows, -1) if rows else np.zeros((1, points, 0))
        return cls(number, said, {name: v.shape[2:] for name, v in values.items()}, Sums.of(whole, 0))

    @property
    def layout(self) -> tuple:
        """What must be equal of cards whose numbers are of the same things."""
        return tuple(self.shapes.items())

    def to_bytes(self) -> bytes:
        """As `from_bytes` reads it: a line of JSON, then numbers."""
        head = {"task": self.number, "said": dict(self.said), "n": int(self.sums.n), "points": len(self.sums.mean)}
        head["shapes"] = {name: list(shape) for name, shape in self.shapes.items()}
        parts = [np.asarray(a, "<f8").tobytes() for a in (self.sums.mean, self.sums.m2)]
        return b"".join([json.dumps(head).encode(), b"\n", *parts])

    @classmethod
    def from_bytes(cls, blob: bytes | memoryview) -> "Card":
        """What `to_bytes` made.

        Args:
            blob: the bytes.

        Returns:
            The card.

        Raises:
            ValueError: for what is none.
        """
        try:
            blob = bytes(blob)
            end = blob.index(b"\n")
            head = json.loads(blob[:end])
            shapes = {str(name): tuple(map(int, shape)) for name, shape in head["shapes"].items()}
            mean, m2 = np.frombuffer(blob, "<f8", offset=end + 1).reshape(2, int(head["points"]), -1)
            if mean.shape[1] != sum(map(math.prod, shapes.values())):
                raise ValueError("no card (of other shapes)")
            return cls(int(head["task"]), dict(head["said"]), shapes, Sums(int(head["n"]), mean, m2))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no card ({type(error).__name__})") from None


def packed(blobs: Mapping[int, bytes]) -> bytes:
    """Cards in one file.

    Args:
        blobs: of `Card.to_bytes`, by the number of their task.

    Returns:
        As `unpacked` reads it.
    """
    head = json.dumps({"tasks": list(blobs), "bytes": [len(blob) for blob in blobs.values()]}).encode()
    return b"".join([head, b"\n", *blobs.values()])


def unpacked(blob: bytes) -> dict[int, memoryview]:
    """What `packed` was given.

    Args:
        blob: the bytes.

    Returns:
        The bytes of each card, by the number of its task.

    Raises:
        ValueError: for what is none.
    """
    try:
        end = blob.index(b"\n")
        head = json.loads(blob[:end])
        ends = np.cumsum([end + 1, *map(int, head["bytes"])])
        view = memoryview(blob)
        return {int(n): view[a:b] for n, a, b in zip(head["tasks"], ends[:-1], ends[1:], strict=True)}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no pack of cards ({type(error).__name__})") from None
