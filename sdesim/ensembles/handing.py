"""A sweep on its way to another process of the same user: by cloudpickle, which is a program and no data.

Functions that can be imported are handed on by name, and so must be found there, too; all others, as those of a
notebook or of a sweep's file, by what they are. What a notebook or a script defines is handed to processes that were
started here alone: it is bytecode, which another Python cannot run, and nobody there could read it.
"""

import contextlib
import io
import os
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle

from sdesim.ensembles.asked import MODULE
from sdesim.ensembles.durable import Durable
from sdesim.results.stores.folder import Store
from sdesim.threads import settings, under


class _ToOthers(cloudpickle.Pickler):
    """Refuses what a notebook or a script defines."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.FunctionType | type) and obj.__module__ == "__main__":
            name = getattr(obj, "__qualname__", obj)
            raise TypeError(f"{name} is of a notebook or script, and goes to no process but those that it starts")
        return super().reducer_override(obj)


def handed(made: Durable, memory: int | str | None, *, to_others: bool = False) -> bytes:
    """A sweep and its store, for another process.

    Args:
        made: both.
        memory: bytes that a task may use there; what is free there by default.
        to_others: to processes that were not started here.

    Returns:
        For `received`.

    Raises:
        TypeError: if one of its functions cannot be handed on.
    """
    if MODULE in sys.modules:
        cloudpickle.register_pickle_by_value(sys.modules[MODULE])
    try:
        sweep = io.BytesIO()
        pickler = _ToOthers if to_others else cloudpickle.Pickler
        pickler(sweep).dump((made.sweep, os.path.abspath(made.store.path), memory))
        return cloudpickle.dumps((list(sys.path), settings(), sweep.getvalue()))
    except Exception as error:
        how = "functions reach other processes by import, from a file, or by cloudpickle between processes of one user"
        why = f"{type(error).__name__}: {error}"
        raise TypeError(f"{how}; it cannot take one of these ({why}): put it into a file") from error


@contextlib.contextmanager
def as_there(blob: bytes) -> Iterator[bytes]:
    """Within, this thread finds modules where another process does, and has its settings of JAX; then its own again.

    Args:
        blob: from `handed`, of a process that is trusted.

    Yields:
        What is for `received`.
    """
    places, given, blob = pickle.loads(blob)
    own = list(sys.path)
    with under(given):
        sys.path[:] = dict.fromkeys([*places, *own])
        try:
            yield blob
        finally:
            sys.path[:] = own


def received(blob: bytes) -> Durable:
    """What another process has handed on, checked: that it is the store's sweep here, too.

    Args:
        blob: of `as_there`, within it.

    Returns:
        The sweep and its store.

    Raises:
        FileNotFoundError: if the store cannot be seen from here.
        StoreError: if the sweep computes something else here, or is computed by another version of JAX.
    """
    sweep, path, memory = pickle.loads(blob)
    mixed = any(name.startswith("mixed-") for name in Store(path).notes())  # never made here: another folder's name
    return Durable.of(sweep, path, mix_versions=mixed, memory=memory)
