"""How much memory there is."""

import functools
import os
import pathlib
import time
from collections.abc import Iterator

import jax

LOOK = 100_000_000  # nanoseconds for which what is free is taken to be the same


def available_memory() -> int | None:
    """Bytes of memory free for arrays on the default device, or None where that is not known.

    On a CPU the least of what the system has and of what the control groups of this process, such as those of a
    container or of a batch job, still allow, as it was at most a tenth of a second ago: to look takes longer than the
    rest of a short run.
    """
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return _left_now(time.monotonic_ns() // LOOK)


@functools.lru_cache(maxsize=1)
def _left_now(look: int) -> int | None:
    """What is left on a CPU; look: a number that another look has."""
    free = _free_in_system()
    left = [free] if free is not None else []
    left.extend(_left_in_groups())
    return max(0, min(left)) if left else None


def _free_in_system() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


# Of both versions of control groups: where they are mounted, the files of limit and use, and what can be reclaimed.
_VERSIONS = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def _left_in_groups(proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> Iterator[int]:
    """What each control group of this process, and each that holds it, still allows."""
    try:
        lines = pathlib.Path(proc).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for name in {"", "memory"} & set(controllers.split(",")):
            folder, limit, use, cached = _VERSIONS[name]
            parts = pathlib.PurePosixPath(path).parts[1:]
            for depth in range(len(parts), -1, -1):
                group = pathlib.Path(mount, folder, *parts[:depth])
                try:
                    most, used = ((group / file).read_text().strip() for file in (limit, use))
                    kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                    if most != "max":
                        yield int(most) - int(used) + int(kept.get(cached, 0))
                except (OSError, ValueError):  # not mounted here, or no group of memory
                    continue
