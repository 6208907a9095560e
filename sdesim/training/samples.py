"""What is trained on: images, tokens, each to be said from those before it, rows of numbers. Two sets come along."""

import pathlib
from typing import NamedTuple

import numpy as np

from sdesim.fields import check_count, shown
from sdesim.training.kinds import CLASSES, kind_of_rows
from sdesim.training.lazy import Lazy

BUNDLED = pathlib.Path(__file__).parent / "bundled"  # with SOURCES.md
TESTED = 10  # the last of so many parts of a text, and of so many rows, is tested on


class Images(NamedTuple):
    """Labelled images, of the training and of the test set.

    Attributes:
        train_x: images, uint8 or real numbers (n, height, width, channels), or `Lazy` ones of uint8.
        train_y: labels, whole numbers from 0 on (n,).
        test_x: images of the test set, as `train_x`.
        test_y: their labels, as `train_y`.
    """

    train_x: np.ndarray | Lazy
    train_y: np.ndarray
    test_x: np.ndarray | Lazy
    test_y: np.ndarray

    @property
    def classes(self) -> int:
        """One more than the largest label of both sets; 0 if there is none."""
        return _classes(self.train_y, self.test_y)

    @property
    def outputs(self) -> int:
        """Logits that a network gives of an image, one a class."""
        return self.classes


class Tokens(NamedTuple):
    """Windows of tokens by their numbers, each with the token that comes next.

    Attributes:
        train_x: tokens from 0 on, whole numbers (n, length).
        train_y: the next token of each, (n, length).
        test_x: tokens of the test set, (n, length).
        test_y: the next of each, (n, length).
        characters: what they stand for, one a token, where they are characters.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    characters: str = ""

    @property
    def outputs(self) -> int:
        """Tokens that there are: logits that a network gives at each."""
        arrays = (self.train_x, self.train_y, self.test_x, self.test_y)
        return max(len(self.characters), 1 + max((int(a.max()) for a in map(np.asarray, arrays) if a.size), default=-1))


class Rows(NamedTuple):
    """Rows of numbers, each with the number that is to be said of it, or with its class.

    Attributes:
        train_x: real numbers, (n, columns), in units of their own.
        train_y: targets, real numbers (n,) or (n, outputs); or labels, whole numbers from 0 on (n,).
        test_x: rows of the test set, (n, columns).
        test_y: their targets, or labels.
        columns: their names.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    columns: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Numbers that a network gives of each row: one a target, or a logit a class."""
        if kind_of_rows(self.train_y) is CLASSES:
            return _classes(self.train_y, self.test_y)
        return 1 if self.train_y.ndim == 1 else self.train_y.shape[1]


def _classes(*labels: np.ndarray) -> int:
    """One more than the largest of some labels; 0 if there is none."""
    return 1 + max((int(y.max()) for y in map(np.asarray, labels) if y.size), default=-1)


def text(written: str | None = None, *, length: int = 64) -> Tokens:
    """A text, character by character, cut into windows.

    Args:
        written: the text, of which the last tenth is tested on; Genesis and Exodus, King James Version, by default.
        length: characters of a window, each with the next one as its target.

    Returns:
        The windows, which follow each other in the text.

    Raises:
        TypeError: for what is no text.
        ValueError: for one that is too short, or has more than 65536 different characters.
    """
    check_count("length", length)
    if written is None:
        written = (BUNDLED / "genesis-exodus.txt").read_text(encoding="ascii")
    if not isinstance(written, str):
        raise TypeError(f"written={shown(written)}: must be a text, or None for the one that comes along")
    characters = "".join(sorted(set(written)))
    cut = len(written) - len(written) // TESTED
    if min(cut, len(written) - cut) <= length:
        raise ValueError(
            f"written: has {len(written)} characters, too few for windows of {length}, and tests on a tenth"
        )
    if len(characters) > 1 << 16:
        raise ValueError(f"written: has {len(characters)} different characters, and may have {1 << 16}")
    number = {character: i for i, character in enumerate(characters)}
    dtype = np.uint8 if len(characters) <= 1 << 8 else np.uint16
    tokens = np.array([number[c] for c in written], dtype)
    return Tokens(*_windows(tokens[:cut], length), *_windows(tokens[cut:], length), characters)


def _windows(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    many = (len(tokens) - 1) // length
    return tokens[: many * length].reshape(many, length), tokens[1 : many * length + 1].reshape(many, length)


def diabetes(seed: int = 0) -> Rows:
    """Ten measurements of 442 patients, and the progression of their diabetes a year later (Efron et al. 2004).

    Args:
        seed: of the draw of the tenth that is tested on.

    Returns:
        The rows, as they were measured.
    """
    check_count("seed", seed, least=0)
    path = BUNDLED / "diabetes.csv"
    *columns, _ = path.read_text(encoding="ascii").partition("\n")[0].split(",")
    table = np.random.default_rng(seed).permutation(np.loadtxt(path, np.float32, delimiter=",", skiprows=1))
    tested, trained = np.split(table, [len(table) // TESTED])
    return Rows(trained[:, :-1], trained[:, -1], tested[:, :-1], tested[:, -1], tuple(columns))
