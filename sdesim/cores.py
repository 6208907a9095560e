"""The cores that this process may use."""

import os


def cores() -> list[int]:
    """The numbers of the cores that this process may use; not every system keeps a set of them for each process."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
