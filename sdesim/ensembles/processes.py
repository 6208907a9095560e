"""Several processes of one machine on one store: each with cores of its own, and none that the others wait for."""

import contextlib
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sdesim.cores import cores
from sdesim.engine.path import EngineWarning
from sdesim.ensembles.durable import Durable
from sdesim.ensembles.handing import as_there, handed, received
from sdesim.fields import warn
from sdesim.interrupt import child
from sdesim.memory import available_memory
from sdesim.results.stores.work import work

LOOK = 0.2  # seconds between two looks at how far all are
LIVES = 3  # times that a process is replaced at the most


def work_in_processes(made: Durable, watch: Callable[[set[int]], None], *, workers: int) -> None:
    """Have processes compute what is missing, until all of it is done or all of them have ended.

    Args:
        made: the sweep and its store.
        watch: told now and then which tasks are done.
        workers: how many processes.

    Warns:
        EngineWarning: if one of them was killed.
    """
    memory = made.memory
    if memory is None and (free := available_memory()) is not None:
        memory = free // workers
    blob = handed(made, memory)
    shares = shares_of_cores(workers)
    with contextlib.ExitStack() as stack:
        running = {i: stack.enter_context(_started(share, blob)) for i, share in enumerate(shares)}
        lives = dict.fromkeys(running, LIVES)
        while running:
            time.sleep(LOOK)
            watch(made.store.done())
            for i, process in list(running.items()):
                if (status := process.poll()) is None:
                    continue
                del running[i]
                if status < 0 and lives[i]:  # by a signal: killed, as by a system that has no memory left
                    lives[i] -= 1
                    warn(
                        f"a process of the sweep was killed (signal {-status}), and another one goes on", EngineWarning
                    )
                    running[i] = stack.enter_context(_started(shares[i], blob))


def shares_of_cores(workers: int) -> list[list[int]]:
    """The numbers of each worker's own cores; where there are more workers than cores, some have the same one.

    Args:
        workers: how many there are, at least 1.
    """
    own = cores()
    return [own[i::workers] or [own[i % len(own)]] for i in range(workers)]


@contextlib.contextmanager
def _started(cores: Sequence[int], blob: bytes) -> Iterator[subprocess.Popen]:
    """A process with cores of its own, which has been handed the sweep."""
    command = [sys.executable, "-m", "sdesim.ensembles.helper", ",".join(map(str, cores))]
    with child(command, stdin=subprocess.PIPE) as process:
        given: Any = process.stdin  # which stays open: when it ends, so does the process
        with contextlib.suppress(BrokenPipeError):
            given.write(struct.pack("<Q", len(blob)) + blob)
            given.flush()
        yield process


def help_with(blob: bytes) -> None:
    """What a process that was started does.

    Args:
        blob: what it was handed.
    """
    with as_there(blob) as inner:
        made = received(inner)
        work(made.store, made.compute)
