"""What a training keeps in its folder: the history, a checkpoint of the last epoch, and a lock."""

import contextlib
import hashlib
import pathlib
import re
import shutil
import sys
from collections.abc import Iterable

import filelock
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim.cnn.algorithms import Algorithm
from sdesim.cnn.data import Split
from sdesim.cnn.step import Task
from sdesim.store import check_writable, write_dataset


def _without_addresses(text: str) -> str:
    """What is said of functions without where they lie, which is elsewhere in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def hash_of(said: Iterable[str], arrays: Iterable) -> str:
    """Of texts and of arrays, their shapes and types included."""
    digest = hashlib.sha256("\n".join(said).encode())
    for array in map(np.asarray, arrays):
        digest.update(repr((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def fingerprint(task: Task, algorithm: Algorithm, data: Split, rates: Array, numbers, others: tuple) -> str:
    """What a training must share with the one that it continues, as a hash."""
    said = [_without_addresses(repr(said)) for said in (task, jax.tree.structure(algorithm), others)]
    return hash_of(said, (*jax.tree.leaves((algorithm, rates)), numbers, *data))


class Store:
    """history.nc, and a checkpoint of the last epoch by orbax. The history is written last, whole or not at all, and
    says which checkpoint is its own: an interruption at any moment leaves a pair that fits."""

    def __init__(self, folder, fingerprint: str):
        self.folder = check_writable(folder).resolve()
        self.fingerprint = fingerprint

    @property
    def history(self) -> pathlib.Path:
        return self.folder / "history.nc"

    @contextlib.contextmanager
    def lock(self):
        """The folder for this process alone; the system gives it free when the process ends, however it does."""
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"waiting for another process that trains in {self.folder}", file=sys.stderr, flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def open(self, resume: bool, state):
        """History and state to go on from: those of the folder, or none and `state`.

        Raises:
            FileExistsError: if the folder holds a training and `resume` is not set, or another training.
        """
        if not self.history.exists():
            return [], state
        if not resume:
            raise FileExistsError(
                f"folder={str(self.folder)!r}: holds a training already; resume=True goes on with it, or name another"
            )
        with xr.open_dataset(self.history) as saved:
            data = saved.load()
        if data.attrs["fingerprint"] != self.fingerprint:
            raise FileExistsError(
                f"folder={str(self.folder)!r}: holds a training with other arguments or data; name another folder"
            )
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(self._checkpoint(int(data.attrs["checkpoint"])), state)
        names = [str(n) for n in data.data_vars if "epoch" in data[n].dims]
        return [{n: data[n].values[e] for n in names} for e in range(data.sizes["epoch"])], state

    def _checkpoint(self, epoch: int) -> pathlib.Path:
        return self.folder / f"checkpoint-{epoch}"

    def write(self, epoch: int, state, data: xr.Dataset) -> None:
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(self._checkpoint(epoch), state, force=True)
        data.attrs.update(fingerprint=self.fingerprint, checkpoint=epoch)
        write_dataset(data, self.history)
        for old in self.folder.glob("checkpoint-*"):
            if old != self._checkpoint(epoch):
                shutil.rmtree(old, ignore_errors=True)
