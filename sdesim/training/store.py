"""What a training keeps in its folder: the history, a checkpoint of the last epoch, and a lock.

The history is written last and names its checkpoint; a checkpoint gets its name when it is complete, with a list of the
checksums of its files. An interruption at any moment leaves a pair that fits, and what was damaged later is said before
anything reads it. Nothing here ever starts over on its own: that is for the user to say, by deleting the folder.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import filelock
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim.contents import contents
from sdesim.fields import said_by, shown, warn
from sdesim.interrupt import undone
from sdesim.results.datasets import read_described, write_dataset
from sdesim.results.files import (
    Damaged,
    WriteError,
    check_writable,
    read_sealed,
    sync_names,
    temporary_folder,
    write_sealed,
)
from sdesim.results.schema import Header
from sdesim.training.algorithms import Algorithm
from sdesim.training.data import Split
from sdesim.training.step import Task

HISTORY, SUMS = "history.nc", "sums.json"
FIRST = ".first"  # stands until a first history does: a checkpoint beside it is of a beginning that was cut off


def hash_of(said: Iterable[str], arrays: Iterable) -> str:
    """A hash of texts and of arrays, their shapes and types included.

    Args:
        said: texts.
        arrays: of any types.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256("\n".join(said).encode())
    for array in map(np.asarray, arrays):
        digest.update(repr((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def fingerprint(task: Task, algorithm: Algorithm, data: Split, rates: Array, numbers: np.ndarray, others: tuple) -> str:
    """What a training must share with the one that it continues, as a hash.

    Args:
        task: what is static about it.
        algorithm: with a leading axis of runs.
        data: its images.
        rates: learning rates at the start, (runs, agents).
        numbers: of the runs, (runs,).
        others: of its settings.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    return hash_of([contents(said) for said in (task, algorithm, rates, others)], (numbers, *data.trained_on))


class Store:
    """The folder of one training.

    Args:
        folder: its name; it is made if it is not there.
        fingerprint: what the training must share with one that goes on with it.

    Raises:
        ValueError: if it cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: str):
        self.folder = check_writable(folder, "folder").resolve()
        self.fingerprint = fingerprint

    @property
    def history(self) -> pathlib.Path:
        """The file of the history."""
        return self.folder / HISTORY

    def refusal(self, what: str) -> str:
        """What is said of this folder in an error.

        Args:
            what: is wrong; or the name of a file in it.

        Returns:
            The text, the folder's name before it.
        """
        return _refusal(self.folder, what)

    @contextlib.contextmanager
    def lock(self, resume: bool) -> Iterator[None]:
        """The folder for this process alone; the system gives it free when the process ends, however it does.

        Args:
            resume: wait for another process that trains in it; that is refused otherwise: what it leaves is a training.

        Raises:
            FileExistsError: if another process trains in it, and `resume` is not set.
            ValueError: if the folder cannot be locked.

        Warns:
            UserWarning: where another process is waited for.
        """
        lock, holder = filelock.FileLock(self.folder / ".lock"), self.folder / ".lock-holder"
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            said = self.refusal(f"another process{_who(holder)} trains in it")
            if not resume:
                raise FileExistsError(f"{said}; wait for it, or name another folder") from None
            warn(f"{said}, and is waited for", UserWarning)
            lock.acquire()
        except OSError as error:
            raise ValueError(self.refusal(f".lock cannot be locked ({error.strerror}); remove it")) from error
        try:
            with undone(lambda: _say_who(holder), lambda _: holder.unlink(missing_ok=True)):
                yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def read(self, resume: bool, form: Callable[[int], tuple]) -> tuple[xr.Dataset, tuple] | None:
        """The history and the state that the folder keeps.

        Args:
            resume: go on with a training that it keeps; one is refused otherwise.
            form: makes a state of the kind that is read, after an epoch by its number: what goes on, the rates, and the
                networks to look at.

        Returns:
            Both; None if it keeps nothing. Of a checkpoint of before they were kept, the state without the networks.

        Raises:
            FileExistsError: if the folder holds a training and `resume` is not set, or another training.
            Damaged: if anything in it is damaged or missing, with what to do; a ValueError.
        """
        there = sorted(path.name for path in self.folder.glob("checkpoint-*"))
        if not os.path.lexists(self.history):
            if there and not os.path.lexists(self.folder / FIRST):
                advice = "put back a copy of it, or delete the folder to start over, or name another"
                raise Damaged(self.refusal("history.nc"), f"is missing, beside {', '.join(there)}", advice)
            return None
        if not resume:
            what = "holds a training already; resume=True goes on with it, or name another"
            raise FileExistsError(self.refusal(what))
        data, header = _history(self.folder)
        if header.own["fingerprint"] != self.fingerprint:
            what = "holds a training with other arguments or data; name another folder"
            raise FileExistsError(self.refusal(what))
        kept = form(header.own["checkpoint"])[: header.own.get("checkpoint_parts", 2)]
        return data, _restored(self.folder, header, kept)

    def clear(self) -> None:
        """Forget what the folder keeps."""
        self.history.unlink(missing_ok=True)
        for kept in self.folder.glob("checkpoint-*"):
            shutil.rmtree(kept, ignore_errors=True)
        (self.folder / FIRST).unlink(missing_ok=True)

    def write(self, epoch: int, state: tuple, data: xr.Dataset) -> None:
        """Keep an epoch: its checkpoint, then the history, and then no longer the checkpoint before.

        Args:
            epoch: its number.
            state: after it, of three parts, as `read`.
            data: the history up to it.

        Raises:
            WriteError: if either cannot be written; the epoch before is kept then.
        """
        import orbax.checkpoint as ocp

        kept = _checkpoint(self.folder, epoch)
        if not os.path.lexists(self.history):
            with contextlib.suppress(OSError):  # a full disk is told of by what follows
                (self.folder / FIRST).touch()
        with temporary_folder(self.folder, kept.name) as temporary:
            new = temporary / kept.name
            try:
                with ocp.StandardCheckpointer() as checkpointer:
                    checkpointer.save(new, state)
                write_sealed(json.dumps(_sums(new), indent=1).encode(), new / SUMS)
                if os.path.lexists(kept):  # of an epoch whose history was not written any more
                    shutil.rmtree(kept)
                new.replace(kept)
                sync_names(self.folder)
            except Exception as error:
                if not any(self.folder.glob("checkpoint-*")):
                    (self.folder / FIRST).unlink(missing_ok=True)
                why = said_by(error)
                refused = WriteError(f"path={str(kept)!r}: could not be written ({why}); the epoch before is kept")
                raise refused from error
        own = dict(fingerprint=self.fingerprint, checkpoint=epoch, checkpoint_parts=len(state))
        write_dataset(data.assign_attrs(own), self.history)
        (self.folder / FIRST).unlink(missing_ok=True)
        for old in self.folder.glob("checkpoint-*"):
            if old != kept:
                shutil.rmtree(old, ignore_errors=True)


def kept_in(folder: str | os.PathLike) -> tuple[xr.Dataset, list]:
    """The history and the state that a folder keeps, for whoever only looks.

    Args:
        folder: its name.

    Returns:
        The history, and the three parts of the state as nested dictionaries of arrays.

    Raises:
        FileNotFoundError: if there is no training in it.
        Damaged: if anything in it is damaged or missing, or was written before networks were kept; a ValueError.
        TypeError: for what is no name of a folder.
    """
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise TypeError(f"folder={shown(folder)}: must be the name of a folder that keeps a training")
    path = pathlib.Path(folder).resolve()
    if not os.path.lexists(path / HISTORY):
        raise FileNotFoundError(_refusal(path, f"must keep a training, and there is no {HISTORY} in it"))
    data, header = _history(path)
    if header.own.get("checkpoint_parts", 2) < 3:
        advice = "an epoch more, with resume=True, writes them"
        raise Damaged(_refusal(path, "its checkpoint"), "is of before networks were kept to be looked at", advice)
    return data, _restored(path, header)


def _checkpoint(folder: pathlib.Path, epoch: int) -> pathlib.Path:
    return folder / f"checkpoint-{epoch}"


def _refusal(folder: pathlib.Path, what: str) -> str:
    return f"folder={str(folder)!r}: {what}"


def _history(folder: pathlib.Path) -> tuple[xr.Dataset, Header]:
    read = lambda: read_described(folder / HISTORY, "training", needs=("fingerprint", "checkpoint"))
    return _sound(folder, HISTORY, read)


def _restored(folder: pathlib.Path, header: Header, form: tuple | None = None) -> Any:
    """What the checkpoint of a history keeps, of a form, or as it lies there."""
    kept = _checkpoint(folder, header.own["checkpoint"])
    _sound(folder, kept.name, lambda: _verify(kept))
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(kept, form)
    except Exception as error:  # its bytes are those that were written: another version wrote them
        why = f"cannot be read by this version of orbax ({said_by(error)})"
        advice = "go on with the version before, or name another folder"
        raise Damaged(_refusal(folder, kept.name), why, advice) from error


def _sound(folder: pathlib.Path, part: str, read: Callable[[], Any]) -> Any:
    """What `read` gives; what is wrong with it, as a refusal of the folder that says what to do."""
    try:
        return read()
    except Damaged as error:
        advice = f"put back a copy of {part}, or delete the folder to start over, or name another"
        raise Damaged(_refusal(folder, part), error.why, advice) from error


def _say_who(holder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        holder.write_text(f"{os.getpid()} on {socket.gethostname()}", encoding="utf-8")


def _who(holder: pathlib.Path) -> str:
    """Which process it is, as it wrote itself; nothing if it has not yet."""
    with contextlib.suppress(OSError):
        return f" ({holder.read_text(encoding='utf-8')})"
    return ""


def _sums(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of each file of a folder by its name there, read back and on the disk."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            sync_names(path)
    return found


def _verify(folder: pathlib.Path) -> None:
    """Refuse a folder that is not, byte by byte, what its list of sums says.

    Raises:
        Damaged: with the file that is wrong.
    """
    if not folder.is_dir():
        raise Damaged(str(folder), "is a file, not a folder" if os.path.lexists(folder) else "is missing")
    try:
        sums = json.loads(read_sealed(folder / SUMS))
    except FileNotFoundError:
        raise Damaged(str(folder), f"has no list of checksums, {SUMS}") from None
    except Damaged as error:
        raise Damaged(str(folder), f"is damaged: its {SUMS} {error.why}") from error
    for name, digest in sums.items():
        path = folder / name
        if not path.is_file():
            raise Damaged(str(folder), f"has no file {name} any more")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise Damaged(str(folder), f"is damaged: the bytes of its {name} are not those that were written")
