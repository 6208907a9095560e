"""One run for several figures: a Dataset that is computed once for what decides it, in the process and on disk.

The file lies in the folder `runs` of the cache (`sdesim.cache`); without a cache no file is read or
written. Its name is a hash of everything that the numbers depend on: the settings, every source file of sdesim, and the
versions, platform, device and precision that provenance names. A run is therefore found again only where it would come
out the same, and an edit anywhere in the package makes another name. The commit is not in it: the same commit may have
been edited, and the same sources may be of two commits. What runs in the place of another model is not kept.

A file is written whole or not at all, one that cannot be read is computed anew and replaced, and of all files the KEPT
used last are kept. A folder that cannot be written to costs a warning and the next run its time. What the run warned of
is kept with it and said again.
"""

import contextlib
import hashlib
import os
import pathlib
import time
import warnings
from collections.abc import Callable
from typing import Any

import xarray as xr

from sdesim import source
from sdesim.cache import cache_folder
from sdesim.ensembles.setup import changed
from sdesim.fields import warn
from sdesim.messages import to_json
from sdesim.results.datasets import read_described, write_dataset
from sdesim.results.files import check_writable
from sdesim.results.schema import Header, provenance

KEPT = 20  # files on disk
REMEMBERED = 4  # runs in the process

_remembered: dict[str, tuple[xr.Dataset, list[str]]] = {}  # with what they warned of


# Taken when the code is imported: a file that is edited while the process lives is not what the process runs.
SOURCES = source.hash_of(source.modules())


def folder() -> pathlib.Path | None:
    """Where files are kept; None for nowhere."""
    base = cache_folder()
    return None if base is None else base / "runs"


def circumstances() -> dict[str, str]:
    """What decides a run's numbers beside its settings and the code: versions, device and precision."""
    return {name: value for name, value in provenance().items() if name not in ("written", "commit")}


def key(kind: str, settings: dict[str, Any]) -> str:
    """The name of a run: `kind`, and a hash of its settings and of everything else that decides its numbers.

    Args:
        kind: what kind of run it is, the first part of the name.
        settings: all that decides the outcome, of types that JSON has.
    """
    decides = to_json({"settings": settings, "sources": SOURCES, **circumstances()})
    return f"{kind}-{hashlib.sha256(decides.encode()).hexdigest()[:32]}"


def cached(kind: str, settings: dict[str, Any], compute: Callable[[], xr.Dataset]) -> xr.Dataset:
    """What `compute()` gives, computed once for its settings.

    Args:
        kind: what kind of run it is, the first part of the file's name.
        settings: all that decides the outcome, of types that JSON has; `compute` must depend on nothing else.
        compute: the run. Its Dataset must survive a netCDF file: plain arrays, no objects. Its attributes are not kept.

    Returns:
        A Dataset of the caller's own, without attributes: changing it changes no later one.
    """
    if changed():
        return _bare(compute())
    name = key(kind, settings)
    made = _remembered.pop(name, None)  # popped and put back last: the dict is in order of use
    path = None if not SOURCES or (at := folder()) is None else at / f"{name}.nc"
    if made is None and path is not None:
        made = _read(path)
    if made is None:
        began = time.perf_counter()
        data, said = made = _computed(compute)
        if path is not None:
            call, seconds = f"sdesim.papers.frame.cache.cached({kind!r}, ...)", time.perf_counter() - began
            _write(data, Header.new("cache", settings, call, seconds=seconds, warnings=said), path)
    _remembered[name] = made
    while len(_remembered) > REMEMBERED:
        del _remembered[next(iter(_remembered))]
    data, said = made
    for message in said:
        warn(message, UserWarning)
    return data.copy(deep=True)


def forget() -> None:
    """Forget the runs that this process remembers; files stay."""
    _remembered.clear()


def _computed(compute: Callable[[], xr.Dataset]) -> tuple[xr.Dataset, list[str]]:
    """The run and what it warned of; warnings that are not a user's pass at once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = compute()
    for w in caught:
        if not issubclass(w.category, UserWarning):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    return _bare(data), [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def _read(path: pathlib.Path) -> tuple[xr.Dataset, list[str]] | None:
    """The run of a file and what it warned of, marked as just used; None if there is none or it is none."""
    if not path.is_file():
        return None
    try:
        data, header = read_described(path, "cache")
    except Exception:  # whatever a library makes of a damaged file, it is no run of ours: compute it anew
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return _bare(data), header.own["warnings"]


def _bare(data: xr.Dataset) -> xr.Dataset:
    """The data without attributes of its own: those of a file are its header."""
    bare = data.copy(deep=False)
    bare.attrs = {}
    return bare


def _write(data: xr.Dataset, header: Header, path: pathlib.Path) -> None:
    """Write a run and remove the files that were not used for longest."""
    try:
        check_writable(path.parent, "cache")
        write_dataset(data.assign_attrs(header.attributes()), path)
    except (OSError, ValueError) as error:
        warn(f"cache {str(path.parent)!r}: the run could not be kept ({error})", UserWarning)
        return
    with contextlib.suppress(OSError):  # another process may remove files too
        files = sorted(path.parent.glob("[!.]*.nc"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for old in files[KEPT:]:
            old.unlink(missing_ok=True)
