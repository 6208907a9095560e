"""Several processes of one machine on one store: each with cores of its own, and none that the others wait for."""

import contextlib
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import jax

from sdesim.engine.run import SETTINGS
from sdesim.ensembles.asked import MODULE
from sdesim.ensembles.durable import Durable
from sdesim.ensembles.identity import programs
from sdesim.ensembles.points import Sweep
from sdesim.interrupt import child
from sdesim.memory import available_memory
from sdesim.results.stores.folder import Store
from sdesim.results.stores.work import work

LOOK = 0.2  # seconds between two looks at how far all are


def work_in_processes(made: Durable, watch: Callable[[set[int]], None], *, workers: int) -> None:
    """Have processes compute what is missing, until all of it is done or all of them have ended.

    Args:
        made: the sweep and its store.
        watch: told now and then which tasks are done.
        workers: how many processes.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    memory = made.memory
    if memory is None and (free := available_memory()) is not None:
        memory = free // workers
    if MODULE in sys.modules:
        cloudpickle.register_pickle_by_value(sys.modules[MODULE])
    settings = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}
    blob = cloudpickle.dumps((made.sweep, str(made.store.path), memory, settings, list(sys.path)))
    with contextlib.ExitStack() as stack:
        started = []
        for i in range(workers):
            mine = cores[i::workers] or cores[i % len(cores) : i % len(cores) + 1] if cores else []
            command = [sys.executable, "-m", "sdesim.ensembles.helper", ",".join(map(str, mine))]
            process = stack.enter_context(child(command, stdin=subprocess.PIPE))
            given: Any = process.stdin  # which stays open: when it ends, so does the process
            with contextlib.suppress(BrokenPipeError):
                given.write(struct.pack("<Q", len(blob)) + blob)
                given.flush()
            started.append(process)
        while any(process.poll() is None for process in started):
            time.sleep(LOOK)
            watch(made.store.done())


def help_with(sweep: Sweep, path: str, memory: Any, settings: dict[str, Any], places: list[str]) -> None:
    """What a process that was started does.

    Args:
        sweep: what is asked for.
        path: of its store.
        memory: bytes that a task may use.
        settings: of JAX, by name.
        places: where modules are found.
    """
    sys.path[:] = places
    for name, value in settings.items():
        jax.config.update(f"jax_{name}", value)
    made = Durable(sweep, Store(path), programs(sweep), memory)
    work(made.store, made.compute)
