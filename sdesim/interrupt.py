"""Ctrl-C: how a process listens to it at any moment, and what it undoes before it leaves.

The process ends by `os._exit`: no thread that computes is asked to stop, and none is torn down under XLA's feet.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

INTERRUPTED = 130  # the exit status, as shells have it
PATIENCE = 1.0  # seconds that undoing may take

_lock = threading.Lock()
_undo: "dict[object, Callable[[], Any]]" = {}


@contextlib.contextmanager
def undone(make: "Callable[[], Any]", undo: "Callable[[Any], Any]") -> "Iterator[Any]":
    """`make()`, for as long as the body runs to be undone if the process leaves: a temporary file, a process.

    The body undoes it itself however else it ends.

    Args:
        make: makes it.
        undo: undoes it, given it; returns False if it cannot.

    Yields:
        What `make` made.
    """
    key = object()
    with _lock:  # once the process leaves, nobody makes anything
        made = make()
        _undo[key] = lambda: undo(made)
    try:
        yield made
    finally:
        _undo.pop(key, None)


@contextlib.contextmanager
def child(arguments: "Sequence[str]", **options: "Any") -> "Iterator[subprocess.Popen]":
    """A process, ended with all that it has started when the body ends, or if this process leaves.

    Args:
        arguments: the command.
        **options: of `subprocess.Popen`.

    Yields:
        The process.
    """
    import subprocess

    own = {"process_group": 0} if hasattr(os, "killpg") else {}
    with undone(lambda: subprocess.Popen(arguments, **own, **options), _end) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen") -> None:
    """Kill a process with its group, and wait until the system has taken back what it held."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def listen() -> None:
    """From now on Ctrl-C ends the process, whatever it does.

    A job in the background, which starts with Ctrl-C ignored, too: a long run must stop when asked to, wherever it
    runs.
    """
    signal.signal(signal.SIGINT, _leave)


def _leave(*_: "object") -> None:
    """The handler. Its thread may hold a lock of anyone's, so another one undoes, within a time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    says = 2
    with contextlib.suppress(OSError):  # a thread whose file is removed under its hands would complain there
        says = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    done = _thread.allocate_lock()
    done.acquire()
    results: list[bool] = []
    _thread.start_new_thread(_clean, (results, done))
    clean = done.acquire(timeout=PATIENCE) and all(results)
    left = "no half-written file is left" if clean else "the next run removes what is half written"
    with contextlib.suppress(OSError):
        os.write(says, f"\nsdesim: interrupted; {left}\n".encode())
    os._exit(INTERRUPTED)


def _clean(results: "list[bool]", done: "_thread.LockType") -> None:
    """Undo all, say whether each was undone, and let go of `done`."""
    _lock.acquire(timeout=PATIENCE / 4)  # for good
    for undo in reversed(list(_undo.values())):  # what came last may use what came before
        try:
            results.append(undo() is not False)
        except Exception:
            results.append(False)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    done.release()
