"""Files that are whole or not there, and that say so: temporaries, renames and checksums.

Whatever is written goes to a temporary of its own, reaches the disk, and is then renamed, so that neither a full disk
nor a kill leaves half a file in place of a whole one. What is read again ends in the SHA-256 of all bytes before it,
which is checked before anything else looks at them: HDF5 reads flipped bits in silence. Readers of HDF5 ignore what
comes after its end, so such a file is an ordinary netCDF file to everyone else.
"""

import contextlib
import errno
import glob
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from sdesim.interrupt import undone

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_SEAL = b"\nsdesim sha256 "  # then 64 digits and a newline
_SEALED = re.compile(re.escape(_SEAL) + rb"[0-9a-f]{64}\n")
_SEAL_BYTES = len(_SEAL) + 65
MARK = ".sdesim-"  # in the name of every temporary
_ABANDONED = 24 * 3600.0  # seconds after which a temporary is nobody's, where the system has no locks


class WriteError(OSError):
    """A file could not be written; what was there before is untouched."""


class Damaged(ValueError):
    """What is wrong with a file, by its name, and what to do.

    Args:
        said: how the file is called.
        why: what is wrong with it, also its attribute `why`.
        advice: what to do.
    """

    def __init__(self, said: str, why: str, advice: str = "put back a copy of it, or make it again"):
        super().__init__(f"{said}: {why}; {advice}")
        self.why = why


# -- checksums ---------------------------------------------------------------------------------------------------------


def write_sealed(blob: bytes | memoryview, path: str | os.PathLike) -> None:
    """Write bytes and their checksum behind them, whole or not at all.

    Args:
        blob: the bytes.
        path: of the file.

    Raises:
        FileNotFoundError: as `replacing`.
        WriteError: likewise.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(blob)
        file.write(_seal(blob))


def write_once(blob: bytes | memoryview, path: str | os.PathLike) -> bool:
    """Write bytes and their checksum behind them, unless the file is there: of several writers the first one wins.

    Args:
        blob: the bytes.
        path: of the file, which nobody ever writes over.

    Returns:
        Whether this was the first.

    Raises:
        FileNotFoundError: as `replacing`.
        WriteError: likewise.
    """
    won: list[bool] = []
    link = lambda temporary, path: won.append(_linked(temporary, path))
    with _placing(path, link) as temporary, open(temporary, "wb") as file:
        file.write(blob)
        file.write(_seal(blob))
    return won[0]


def _linked(temporary: pathlib.Path, path: pathlib.Path) -> bool:
    """Give a temporary its name, unless somebody has it: whether that was so."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return temporary.stat().st_nlink > 1  # over a network, a link that was made may be asked for once more
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if path.exists():
            return False
        temporary.replace(path)  # a file system without links: two at the same moment write the same
    return True


def read_sealed(path: str | os.PathLike, name: str = "path") -> bytes:
    """The bytes of a file that `write_sealed` wrote, without the checksum.

    Args:
        path: of the file.
        name: how errors call the path.

    Returns:
        The bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        Damaged: if it is no file, cannot be read, has no checksum, or another than its bytes have; a ValueError.
    """
    path, said = pathlib.Path(path), f"{name}={str(path)!r}"
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{said}: there is no such file")
    if not path.is_file():
        raise Damaged(said, f"is {'a folder' if path.is_dir() else 'no file'}, not a file")
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise Damaged(said, f"cannot be read ({error.strerror})") from error
    if not whole:
        raise Damaged(said, "is empty")
    if not _SEALED.fullmatch(whole[-_SEAL_BYTES:]):
        raise Damaged(
            said, "has no checksum of sdesim's at its end: it is cut short, or another program or version wrote it"
        )
    blob = whole[:-_SEAL_BYTES]
    if _seal(blob) != whole[-_SEAL_BYTES:]:
        raise Damaged(said, "is damaged: its bytes are not those that were written")
    return blob


def _seal(blob: bytes | memoryview) -> bytes:
    return _SEAL + hashlib.sha256(blob).hexdigest().encode() + b"\n"


# -- temporaries -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary name beside `path` to write to; on success on the disk and renamed to `path`, else removed.

    Args:
        path: of the file that is written anew.

    Yields:
        The temporary, of the same suffix.

    Raises:
        FileNotFoundError: if the folder does not exist.
        WriteError: in one line, if the system refuses any part of it: a full disk, for one.
    """
    with _placing(path, lambda temporary, path: temporary.replace(path)) as temporary:
        yield temporary


@contextlib.contextmanager
def _placing(path: str | os.PathLike, place: Callable[[pathlib.Path, pathlib.Path], Any]) -> Iterator[pathlib.Path]:
    """As `replacing`, with a way of one's own to give the temporary, which is on the disk then, its name."""
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: its folder does not exist; make it first")
    remove_abandoned(path.parent, path.stem)
    with _said(path), undone(lambda: _temporary(path), lambda made: made[1].unlink(missing_ok=True)) as made:
        file, temporary = made
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 is not what a user expects of a picture
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            place(temporary, path)
        finally:
            file.close()
            temporary.unlink(missing_ok=True)
        sync_names(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a file of text, in UTF-8, whole or not at all.

    Args:
        path: of the file that is written anew.
        text: of it.

    Raises:
        FileNotFoundError: if the folder does not exist.
        WriteError: in one line, if the system refuses any part of it.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def temporary_folder(parent: str | os.PathLike, stem: str = "folder") -> Iterator[pathlib.Path]:
    """A folder that is gone when the body ends, however it does; that of a killed process goes with the next one.

    Args:
        parent: the folder that it is made in.
        stem: what its name begins with, after a dot.

    Yields:
        The folder.
    """
    remove_abandoned(parent, stem)

    def make() -> tuple[int, str]:
        name = tempfile.mkdtemp(prefix=f".{stem}{MARK}", dir=parent)
        return _opened(name), name

    with undone(lambda: _locked(make), lambda made: _remove_for_good(made[1])) as (handle, folder):
        try:
            yield folder
        finally:
            os.close(handle)
            shutil.rmtree(folder, ignore_errors=True)


def _remove_for_good(folder: pathlib.Path) -> bool:
    """Remove a folder into which other threads may still be writing, which make it anew: whether it stays away."""
    gone = 0
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        gone = gone + 1 if not folder.exists() else 0
        if gone == 4:
            return True
        time.sleep(0.01)
    return False


def remove_abandoned(folder: str | os.PathLike, stem: str = "*") -> None:
    """Remove the temporaries of processes that were killed; one that a living process writes to stays.

    Args:
        folder: that they are in.
        stem: what their names begin with, after a dot; "*" for all.
    """
    named = stem if stem == "*" else glob.escape(stem)
    for temporary in pathlib.Path(folder).glob(f".{named}{MARK}*"):
        with contextlib.suppress(OSError):
            handle = _opened(temporary)
            try:
                free = _lock(handle, wait=False)
                if time.time() - temporary.stat().st_mtime > _ABANDONED if free is None else free:
                    shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
            finally:
                os.close(handle)


def check_writable(folder: str | os.PathLike, name: str = "out") -> pathlib.Path:
    """The folder, made if it is not there; what killed processes left half written in it is removed.

    Args:
        folder: its name.
        name: how errors call it.

    Returns:
        The folder.

    Raises:
        ValueError: if it cannot be made or written to.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{name}={str(folder)!r}: must be a folder that can be written to ({error.strerror})"
        ) from error
    remove_abandoned(folder)
    return folder


def sync_names(folder: str | os.PathLike) -> None:
    """Have the names in a folder on the disk, where the system can.

    Args:
        folder: that they are in.
    """
    with contextlib.suppress(OSError):
        handle = _opened(folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _said(path: pathlib.Path) -> Iterator[None]:
    """What the system refuses, in one line that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        kept = "what was there before is untouched" if path.exists() else "nothing is left of it"
        refused = WriteError(f"path={str(path)!r}: could not be written ({why}); {kept}")
        refused.errno = error.errno
        raise refused from error


def _temporary(path: pathlib.Path) -> tuple[IO, pathlib.Path]:
    """A new temporary beside `path`, of the same suffix, open and locked as long as it is."""
    make = lambda: tempfile.mkstemp(prefix=f".{path.stem}{MARK}", suffix=path.suffix, dir=path.parent)
    handle, temporary = _locked(make)
    return os.fdopen(handle, "r+b"), temporary


def _locked(make: Callable[[], tuple[int, str]]) -> tuple[int, pathlib.Path]:
    """What `make` makes, open and locked."""
    while True:
        handle, name = make()
        _lock(handle)
        if os.path.exists(name):  # until it was locked, another process may have taken it for abandoned
            return handle, pathlib.Path(name)
        os.close(handle)


def _opened(path: str | os.PathLike) -> int:
    return os.open(path, os.O_RDONLY)


def _lock(handle: int, *, wait: bool = True) -> bool | None:
    """Lock an open file until it is closed or the process ends, however it does.

    Returns:
        Whether that worked; None where the system or its file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True
