"""Leases: who is computing what, so that others compute something else meanwhile.

A lease is a file that is made if it is not there, which one process alone can do. As long as its owner lives, its
heartbeat changes the file. An observer that has seen no change for some seconds, by a clock of its own that nobody
sets, takes it for dead; of an owner on the same machine it sees at once whether it lives. A lease saves work and
decides nothing: two that compute the same task write the same file, of which the first counts.
"""

import contextlib
import functools
import json
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

from sdesim.results.files import MARK, remove_abandoned

PATIENCE = 30.0  # seconds without a heartbeat after which a lease is dead
BEATS = 6  # within that time


@functools.cache
def _machine() -> str | None:
    """The machine and what of it this process sees: where a number of a process means the same; None if unknown."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    """When a process of this machine began, in the system's ticks; None if there is none, or it is dead."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else fields[19]


class Leases:
    """The leases of a folder, as one process takes and sees them; for all of its threads.

    Args:
        folder: that they are in, which must be there.
        patience: seconds without a heartbeat after which one is dead.
        clock: that tells seconds and never jumps.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.folder, self.patience, self.clock = pathlib.Path(folder), patience, clock
        self._me = {"machine": _machine(), "pid": os.getpid(), "began": _start_of(os.getpid())}
        self._seen: dict[int, tuple[object, float]] = {}  # what a lease was like, and since when
        self._held: dict[int, int] = {}  # open files by the task's number
        self._lock = threading.Lock()
        self._beating: threading.Thread | None = None
        self._end = threading.Event()

    @contextlib.contextmanager
    def held(self, number: int) -> Iterator[bool]:
        """A task's lease, for as long as the body runs.

        Args:
            number: of the task.

        Yields:
            Whether it was to be had.
        """
        mine = self.take(number)
        try:
            yield mine
        finally:
            if mine:
                self.release(number)

    def take(self, number: int) -> bool:
        """Take a task's lease, if nobody living has it.

        Args:
            number: of the task.

        Returns:
            Whether it was to be had.
        """
        path = self._path(number)
        for attempt in range(2):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                if attempt or not self._bury(number, path):
                    return False
                continue
            try:
                os.write(handle, json.dumps({**self._me, "token": secrets.token_hex(8)}).encode() + b"\n")
            except OSError:  # a full disk
                os.close(handle)
                path.unlink(missing_ok=True)
                raise
            with self._lock:
                self._held[number] = handle
                self._seen.pop(number, None)
                if self._beating is None:
                    self._beating = threading.Thread(target=self._beat, name="leases", daemon=True)
                    self._beating.start()
            return True
        return False

    def release(self, number: int) -> None:
        """Give a task's lease back.

        Args:
            number: of the task, whose lease this process has.
        """
        with self._lock:
            handle = self._held.pop(number)
        path = self._path(number)
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:  # else it was taken for dead, and is another's
                path.unlink()
        os.close(handle)

    def living(self) -> list[int]:
        """The tasks that somebody has, as far as it is known: all leases that are not known to be dead.

        Returns:
            Their numbers.
        """
        numbers = [int(p.name) for p in self.folder.iterdir() if p.name.isdecimal()]
        return [n for n in numbers if n in self._held or not self._is_dead(n, self._path(n))]

    def close(self) -> None:
        """Give all back, and let the heart stop."""
        self._end.set()
        for number in list(self._held):
            self.release(number)
        remove_abandoned(self.folder)

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:06d}"

    def _bury(self, number: int, path: pathlib.Path) -> bool:
        """Put a lease out of the way if it is dead: whether the way is free, as far as it is known."""
        if not self._is_dead(number, path):
            return False
        before, _ = self._seen[number]
        aside = path.with_name(f".{path.name}{MARK}{secrets.token_hex(4)}")
        try:
            path.rename(aside)
        except FileNotFoundError:  # another one was faster
            return True
        if self._state(aside) != before:  # and has a lease now, which is given back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink()
            return False
        aside.unlink()
        return True

    def _is_dead(self, number: int, path: pathlib.Path) -> bool:
        state = self._state(path)
        if state is None:
            return False
        now = self.clock()
        if number not in self._seen or self._seen[number][0] != state:
            self._seen[number] = state, now
        return self._owner_is_gone(state[0]) or now - self._seen[number][1] > self.patience

    @staticmethod
    def _state(path: pathlib.Path) -> tuple[bytes, int, int] | None:
        """What a heartbeat changes."""
        try:
            with open(path, "rb") as file:
                said = os.fstat(file.fileno())
                return file.read(4096), said.st_ino, said.st_mtime_ns
        except OSError:
            return None

    @staticmethod
    def _owner_is_gone(said: bytes) -> bool:
        """Whether it was a process of this machine, and has ended: else the heartbeat must tell."""
        try:
            owner = json.loads(said.partition(b"\n")[0])
            here = owner["machine"] is not None and owner["machine"] == _machine() and owner["began"] is not None
            return here and _start_of(int(owner["pid"])) != owner["began"]
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ):  # half written, or not by us
            return False

    def _beat(self) -> None:
        beats = 0
        while not self._end.wait(self.patience / BEATS):
            beats += 1
            with self._lock:
                for handle in self._held.values():
                    with contextlib.suppress(OSError):  # a full disk: others will take us for dead
                        os.pwrite(handle, f"{beats:<12d}".encode(), 1024)
