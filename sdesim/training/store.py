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
from jaxtyping import Array, PyTree

from sdesim.contents import contents
from sdesim.fields import said_by, warn
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
from sdesim.training.algorithms import Algorithm
from sdesim.training.data import Split
from sdesim.training.step import Task

SUMS = "sums.json"


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
    return hash_of([contents(said) for said in (task, algorithm, rates, others)], (numbers, *data))


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
        return self.folder / "history.nc"

    def _checkpoint(self, epoch: int) -> pathlib.Path:
        return self.folder / f"checkpoint-{epoch}"

    def refusal(self, what: str) -> str:
        """What is said of this folder in an error.

        Args:
            what: is wrong; or the name of a file in it.

        Returns:
            The text, the folder's name before it.
        """
        return f"folder={str(self.folder)!r}: {what}"

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

    def read(self, resume: bool, form: Callable[[], Any]) -> tuple[xr.Dataset, Any] | None:
        """The history and the state that the folder keeps.

        Args:
            resume: go on with a training that it keeps; one is refused otherwise.
            form: makes a state of the kind that is read.

        Returns:
            Both; None if it keeps nothing.

        Raises:
            FileExistsError: if the folder holds a training and `resume` is not set, or another training.
            Damaged: if anything in it is damaged or missing, with what to do; a ValueError.
        """
        there = sorted(path.name for path in self.folder.glob("checkpoint-*"))
        if not os.path.lexists(self.history):
            if there:
                advice = "put back a copy of it, or delete the folder to start over, or name another"
                raise Damaged(self.refusal("history.nc"), f"is missing, beside {', '.join(there)}", advice)
            return None
        if not resume:
            what = "holds a training already; resume=True goes on with it, or name another"
            raise FileExistsError(self.refusal(what))
        read = lambda: read_described(self.history, "training", needs=("fingerprint", "checkpoint"))
        data, header = self._sound("history.nc", read)
        if header.own["fingerprint"] != self.fingerprint:
            what = "holds a training with other arguments or data; name another folder"
            raise FileExistsError(self.refusal(what))
        kept = self._checkpoint(header.own["checkpoint"])
        self._sound(kept.name, lambda: _verify(kept))
        import orbax.checkpoint as ocp

        try:
            with ocp.StandardCheckpointer() as checkpointer:
                state = checkpointer.restore(kept, form())
        except Exception as error:  # its bytes are those that were written: another version wrote them
            why = f"cannot be read by this version of orbax ({said_by(error)})"
            raise Damaged(
                self.refusal(kept.name), why, "go on with the version before, or name another folder"
            ) from error
        return data, state

    def _sound(self, part: str, read: Callable[[], Any]) -> Any:
        """What `read` gives; what is wrong with it, as a refusal of the folder that says what to do."""
        try:
            return read()
        except Damaged as error:
            advice = f"put back a copy of {part}, or delete the folder to start over, or name another"
            raise Damaged(self.refusal(part), error.why, advice) from error

    def write(self, epoch: int, state: PyTree, data: xr.Dataset) -> None:
        """Keep an epoch: its checkpoint, then the history, and then no longer the checkpoint before.

        Args:
            epoch: its number.
            state: after it.
            data: the history up to it.

        Raises:
            WriteError: if either cannot be written; the epoch before is kept then.
        """
        import orbax.checkpoint as ocp

        kept = self._checkpoint(epoch)
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
                why = said_by(error)
                refused = WriteError(f"path={str(kept)!r}: could not be written ({why}); the epoch before is kept")
                raise refused from error
        write_dataset(data.assign_attrs(fingerprint=self.fingerprint, checkpoint=epoch), self.history)
        for old in self.folder.glob("checkpoint-*"):
            if old != kept:
                shutil.rmtree(old, ignore_errors=True)


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
