"""Photographs of a folder, such as ImageNet's: decoded by several threads into squares of one size.

    FOLDER/train/CLASS/*    FOLDER/val/CLASS/*    of any names that end as images do; .JPEG as ImageNet's

A JPEG is decoded at the least scale that its format has and that is large enough, an eighth to all of it, which saves
most of the time of large ones.
"""

import itertools
import os
import pathlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdesim.cores import cores
from sdesim.fields import check_count, check_flags, shown
from sdesim.memory import available_memory
from sdesim.progress import bar
from sdesim.training.lazy import Lazy, in_memory
from sdesim.training.samples import Images

SIDE = 256
"""Pixels to which Z 4.1 scales the lesser side."""
ENDINGS = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")


def imagenet(
    folder: str | os.PathLike,
    images: int | None = None,
    *,
    side: int = SIDE,
    lazy: bool | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Images:
    """The photographs of a folder in ImageNet's layout, in memory or decoded when they are needed.

    Each is scaled so that its lesser side is `side`, of which the square in the middle is kept; random crops come from
    that while training (`crop=221`), by the seed, the run, the agent and the step, so that a training that goes on sees
    the same. Z 4.1 crops from all of the image [C].

    Args:
        folder: that holds `train` and `val`, with a folder of images for each class in both.
        images: take so many to train on and a fifth as many to test on, one of each class in turn; all by default.
        side: of the squares, in pixels.
        lazy: decode them while training, ahead of the steps, again in each epoch, and hold none in memory; False for
            all in memory, None for that where they fit.
        threads: that decode; one a core by default.
        progress: whether to show how far it is.

    Returns:
        The images, and their classes as numbers in the order of their names.

    Raises:
        TypeError: for what is no name of a folder.
        FileNotFoundError: naming the folder that is not there, and the layout.
        ValueError: for one without images, a class of `val` that `train` has not, and an image that cannot be read:
            the file is named, of lazy ones when it is its turn.
        MemoryError: for more images than fit, if they are not to be lazy, with how many do.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder={shown(folder)}: must be the name of a folder")
    check_count("side", side)
    if lazy is not None:
        check_flags(lazy=lazy)
    if images is not None:
        check_count("images", images, least=10)
    if threads is not None:
        check_count("threads", threads)
    root = pathlib.Path(folder)
    train, val = (_classes(root / part) for part in ("train", "val"))
    if unknown := sorted(set(val) - set(train)):
        raise ValueError(f"folder={str(root)!r}: val has the class {unknown[0]!r}, which train must have too")
    names = sorted(train)
    parts = [_in_turn(train, names, images), _in_turn(val, names, None if images is None else max(10, images // 5))]
    try:
        if not lazy:
            _check_room(sum(len(paths) for paths, _ in parts), side)
    except MemoryError:
        if lazy is not None:
            raise
        lazy = True
    if lazy:
        squares: list[Any] = [Lazy(_Photographs(paths, side), threads=threads) for paths, _ in parts]
    else:
        squares = [decoded([str(path) for path in paths], side, threads, progress) for paths, _ in parts]
    return Images(squares[0], parts[0][1], squares[1], parts[1][1])


def made_up(folder: str | os.PathLike, images: Images) -> pathlib.Path:
    """Images as a folder in ImageNet's layout, of JPEGs: to try what takes such a folder, without one.

    Args:
        folder: made if it is not there.
        images: in memory, such as those of `synthetic`.

    Returns:
        The folder, which `imagenet` takes.
    """
    from PIL import Image

    root, digits = pathlib.Path(folder), len(str(images.classes))
    for part, x, y in (("train", images.train_x, images.train_y), ("val", images.test_x, images.test_y)):
        for i, (image, label) in enumerate(zip(in_memory(x), y, strict=True)):
            place = root / part / f"n{int(label):0{digits}}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{place.name}_{i}.JPEG", quality=95)
    return root


class _Photographs:
    """Files as the squares that `square` makes of them, one at a time."""

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[pathlib.Path], side: int):
        self._paths, self.shape = paths, (len(paths), side, side, 3)

    def __getitem__(self, i: int) -> NDArray:
        return square(self._paths[i], self.shape[1])


def decoded(
    paths: Sequence[str | os.PathLike], side: int = SIDE, threads: int | None = None, progress: bool = False
) -> NDArray:
    """Images as squares of one size, by several threads.

    Args:
        paths: of the files.
        side: of the squares, in pixels.
        threads: that decode; one a core by default.
        progress: whether to show how far it is.

    Returns:
        uint8 (images, side, side, 3).

    Raises:
        ValueError: for a file that is missing, or no image, or damaged: it is named.
    """
    check_count("side", side)
    if threads is not None:
        check_count("threads", threads)
    found = np.empty((len(paths), side, side, 3), np.uint8)

    def one(i: int) -> None:
        found[i] = square(paths[i], side)

    with bar(len(paths), "images", progress) as told:
        pool = ThreadPoolExecutor(len(cores()) if threads is None else threads)
        try:
            for _ in pool.map(one, range(len(paths))):
                told.update(1)
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def square(path: str | os.PathLike, side: int = SIDE) -> NDArray:
    """An image, scaled so that its lesser side is `side`, and of that the square in the middle.

    Args:
        path: of the file.
        side: in pixels.

    Returns:
        uint8 (side, side, 3).

    Raises:
        ValueError: for a file that is missing, or no image, or damaged: it is named.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))
            least = min(image.size)
            left, top = ((n - least) / 2 for n in image.size)
            box = (left, top, left + least, top + least)
            whole = image.convert("RGB")
            return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR, box=box))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        said = " ".join(str(error).split())[:150]
        raise ValueError(f"{os.fspath(path)}: must be an image that can be read whole: {said}") from error


def _classes(part: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The images of each class, by names in their order."""
    layout = "must have a folder of images for each class, as ImageNet's train/n01440764/*.JPEG and val likewise"
    if not part.is_dir():
        raise FileNotFoundError(f"folder: {part} is not there; {part.parent} {layout}")
    found = {}
    for place in sorted(p for p in part.iterdir() if p.is_dir()):
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in ENDINGS)
        if not files:
            raise ValueError(f"folder: {place} has no images; {part} {layout}")
        found[place.name] = files
    if not found:
        raise ValueError(f"folder: {part} has no classes; it {layout}")
    return found


def _in_turn(
    classes: dict[str, list[pathlib.Path]], names: list[str], most: int | None
) -> tuple[list[pathlib.Path], NDArray]:
    """Images, one of each class in turn, and their classes as numbers."""
    numbers = {name: i for i, name in enumerate(names)}
    rows = [[(path, numbers[name]) for path in paths] for name, paths in classes.items()]
    turns = (one for turn in itertools.zip_longest(*rows) for one in turn if one is not None)
    taken = list(itertools.islice(turns, most))
    kind = np.uint8 if len(names) <= 256 else np.uint16
    return [path for path, _ in taken], np.array([label for _, label in taken], kind)


def _check_room(count: int, side: int) -> None:
    need, have = count * side * side * 3, available_memory()
    if have is not None and 1.5 * need > have:
        fit = int(have / 1.5 / (side * side * 3) / 1.2)
        raise MemoryError(
            f"images: {count} of {side} x {side} pixels need about {1.5 * need / 2**30:.3g} GiB, and "
            f"{have / 2**30:.3g} GiB are free; images={fit} fit"
        )
