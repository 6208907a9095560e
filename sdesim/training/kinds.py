"""What kinds of data networks are trained on: images with labels, tokens with the next, rows with targets or labels.

A kind says how samples come to the network, which loss is trained and what is measured beside it. It shows in the types
and axes of the arrays themselves, so that nothing has to carry it along.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sdesim.fields import shown
from sdesim.training.lazy import Lazy

MOST_CLASSES = (1 << 16) - 1


class Form(NamedTuple):
    """What a network is called with, but for how many.

    Attributes:
        shape: of one sample.
        dtype: name of its type.
        samples: what they are called.
    """

    shape: tuple[int, ...]
    dtype: str
    samples: str


class Kind:
    """One kind of data.

    Attributes:
        samples: what they are called; of the class.
        score: what is measured beside the loss, the more the better; of the class.
        loss_is: unit of the loss, and what it is; of the class.
        score_is: unit of the score, and what it is; of the class.
        network: one of ours that fits, of so many outputs; of the class.
    """

    samples: ClassVar[str]
    score: ClassVar[str]
    loss_is: ClassVar[tuple[str, str]]
    score_is: ClassVar[tuple[str, str]]
    network: ClassVar[str]

    def check(self, which: str, x: Any, y: Any) -> None:
        """Refuse arrays of another kind, or of wrong values.

        Args:
            which: the set that they are, such as "train".
            x: samples.
            y: what is to be said of each.

        Raises:
            ValueError: naming the array.
        """
        raise NotImplementedError

    def form(self, shape: tuple[int, ...]) -> Form:
        """What a network sees of samples.

        Args:
            shape: of one, as it lies on the device.

        Returns:
            Shape and type of one.
        """
        return Form(shape, "float32", self.samples)

    def seen(self, x: Array, mean: Array, std: Array) -> Array:
        """Samples as a network sees them.

        Args:
            x: as they lie on the device.
            mean: of each channel or column.
            std: of each channel or column.

        Returns:
            The same, standardized where they are quantities.
        """
        return (x.astype(jnp.float32) - mean) / std

    def compared(self, said: Array, y: Array) -> Array:
        """What a network said, as it is compared with what was to be said.

        Args:
            said: by the network.
            y: what was to be said.

        Returns:
            Logits, or numbers of the shape of `y`; float32.
        """
        return said.astype(jnp.float32)

    def loss(self, said: Array, y: Array) -> Array:
        """The loss of a batch.

        Args:
            said: by the network.
            y: what was to be said.

        Returns:
            A mean.
        """
        said = self.compared(said, y)
        return optax.softmax_cross_entropy_with_integer_labels(said, y.astype(jnp.int32)).mean()

    def scored(self, said: Array, y: Array, all_of_y: Array) -> Array:
        """The score of a batch, whose mean over batches is that of all.

        Args:
            said: by the network.
            y: what was to be said.
            all_of_y: of all batches.

        Returns:
            A mean.
        """
        return (jnp.argmax(said, axis=-1) == y).mean()

    def outputs(self, targets: Sequence[Any]) -> int:
        """How many numbers a network must give at least, for each label or row.

        Args:
            targets: what is to be said, of each set.

        Returns:
            One more than the largest label.
        """
        return 1 + max((int(y.max()) for y in targets if y.size), default=-1)

    def fits(self, said: tuple[int, ...], samples: tuple[int, ...], outputs: int) -> str | None:
        """What a network must give, if it gives something else.

        Args:
            said: shape of what it gives.
            samples: shape of those that it was called with.
            outputs: as `outputs` says.

        Returns:
            The words; None if all is well.
        """
        if said[:-1] == samples[: len(self._axes)] and said[-1] >= outputs:
            return None
        return f"({', '.join(self._axes)}, classes) logits, for labels up to {outputs - 1}"

    _axes: ClassVar[tuple[str, ...]]  # of the logits before that of classes


def _check_whole(name: str, y: Any, what: str) -> None:
    """Refuse labels that are no whole numbers from 0 on."""
    if y.dtype.kind not in "iu":
        raise ValueError(f"{name}: {what} must be of an integer type, got {y.dtype}")
    if y.size and not 0 <= int(y.min()) <= int(y.max()) <= MOST_CLASSES:
        raise ValueError(f"{name}: {what} must be from 0 to {MOST_CLASSES}, got {y.min()} to {y.max()}")


def _check_labels(which: str, x: Any, y: Any, one: str) -> None:
    """Refuse what is no label of each sample."""
    if not _is_array(y) or y.shape != x.shape[:1]:
        raise ValueError(f"{which}_y={shown(y)}: must be an array of one label {one}, of shape ({len(x)},)")
    _check_whole(f"{which}_y", y, "labels")


def _check_rows(which: str, x: Any) -> None:
    """Refuse what is no table of real numbers."""
    if not _is_array(x) or x.ndim != 2 or x.dtype.kind != "f" or not x.shape[1]:
        raise ValueError(f"{which}_x={shown(x)}: must be an array of real numbers, of shape (n, columns)")
    _check_finite(f"{which}_x", x)


def _check_finite(name: str, value: Any) -> None:
    if not np.isfinite(np.asarray(value)).all():
        raise ValueError(f"{name}: must be finite")


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | Lazy) or hasattr(value, "aval")


class _OfImages(Kind):
    samples, score, network, _axes = "images", "accuracy", "ThreeLayer(classes={})", ("batch",)
    loss_is, score_is = ("nats", "mean cross-entropy on"), ("1", "share that is right of")

    def check(self, which: str, x: Any, y: Any) -> None:
        if not _is_array(x) or x.ndim != 4 or (x.dtype != np.uint8 and x.dtype.kind != "f"):
            raise ValueError(
                f"{which}_x={shown(x)}: must be an array of uint8, from 0 to 255, or of real numbers, of shape (n, "
                "height, width, channels)"
            )
        if 0 in x.shape[1:]:
            raise ValueError(f"{which}_x: is of shape {x.shape}, and must have at least one pixel")
        if x.dtype != np.uint8:
            _check_finite(f"{which}_x", x)
        _check_labels(which, x, y, "an image")


class _OfClasses(_OfImages):
    samples, network = "rows", "Perceptron(outputs={})"

    def check(self, which: str, x: Any, y: Any) -> None:
        _check_rows(which, x)
        _check_labels(which, x, y, "a row")


class _OfTokens(Kind):
    samples, score, network, _axes = "windows", "accuracy", "Transformer(tokens={})", ("batch", "length")
    loss_is, score_is = ("nats", "mean cross-entropy of a token, on"), ("1", "share of tokens that are right, of")

    def check(self, which: str, x: Any, y: Any) -> None:
        for name, value in ((f"{which}_x", x), (f"{which}_y", y)):
            if not _is_array(value) or value.ndim != 2:
                raise ValueError(
                    f"{name}={shown(value)}: must be an array of tokens by their numbers, of shape (n, length)"
                )
            _check_whole(name, value, "tokens")
        if x.shape != y.shape:
            raise ValueError(f"{which}_y: is of shape {y.shape}, and must have the next token of each of {x.shape}")

    def form(self, shape: tuple[int, ...]) -> Form:
        return Form(shape, "int32", self.samples)

    def seen(self, x: Array, mean: Array, std: Array) -> Array:
        return x.astype(jnp.int32)


class _OfRows(Kind):
    samples, score, network = "rows", "r2", "Perceptron(outputs={})"
    loss_is = ("1", "mean square error, in variances of the training set's targets, on")
    score_is = ("1", "share of the targets' variance that is explained, of")

    def check(self, which: str, x: Any, y: Any) -> None:
        _check_rows(which, x)
        if not _is_array(y) or y.ndim not in (1, 2) or y.shape[:1] != x.shape[:1] or y.dtype.kind != "f":
            raise ValueError(
                f"{which}_y={shown(y)}: must be an array of real numbers, ({len(x)},) or ({len(x)}, outputs), or of "
                f"labels, whole numbers ({len(x)},)"
            )
        _check_finite(f"{which}_y", y)

    def compared(self, said: Array, y: Array) -> Array:
        return said.astype(jnp.float32).reshape(y.shape)

    def loss(self, said: Array, y: Array) -> Array:
        return jnp.mean((self.compared(said, y) - y) ** 2)

    def scored(self, said: Array, y: Array, all_of_y: Array) -> Array:
        return 1 - self.loss(said, y) / jnp.mean((all_of_y - all_of_y.mean(axis=0)) ** 2)

    def outputs(self, targets: Sequence[Any]) -> int:
        return 1 if targets[0].ndim == 1 else targets[0].shape[1]

    def fits(self, said: tuple[int, ...], samples: tuple[int, ...], outputs: int) -> str | None:
        if said == (samples[0], outputs) or (outputs == 1 and said == samples[:1]):
            return None
        return f"(batch, {outputs}) numbers, one for each target of a row"


IMAGES, TOKENS, ROWS, CLASSES = _OfImages(), _OfTokens(), _OfRows(), _OfClasses()


def kind_of(x: Any, y: Any = None) -> Kind:
    """The kind of some data, which need not be right.

    Args:
        x: samples: whole numbers of two axes are tokens, real ones rows, and all else should be images.
        y: what is to be said of each: of rows whole numbers are classes; None for rows with targets.

    Returns:
        The kind.
    """
    if getattr(x, "ndim", None) != 2:
        return IMAGES
    return {"f": kind_of_rows(y), "i": TOKENS, "u": TOKENS}.get(x.dtype.kind, IMAGES)


def kind_of_rows(y: Any) -> Kind:
    """The kind of rows by what is to be said of them: of whole numbers, their classes.

    Args:
        y: an array; or anything else, which is wrong.

    Returns:
        The kind.
    """
    return CLASSES if hasattr(y, "dtype") and y.dtype.kind in "iu" else ROWS
