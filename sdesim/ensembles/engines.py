"""Who computes the tasks of a store: the one place where that is chosen."""

import functools
from typing import Any

from sdesim.ensembles.cluster import LOCAL, LOOPBACK, work_on_cluster
from sdesim.ensembles.durable import Engine
from sdesim.ensembles.processes import work_in_processes
from sdesim.fields import check_count, shown


def engine_of(workers: Any = None, scheduler: Any = None, listen: Any = None) -> Engine | None:
    """Who computes.

    Args:
        workers: how many processes of this machine; None for this process alone, or for as many as a cluster of this
            machine has by itself.
        scheduler: the address of one of dask.distributed, or "local" for a cluster of this machine; None for none.
        listen: the address at which a cluster of this machine can be reached; by default by this machine alone.

    Returns:
        The engine; None for this process alone.

    Raises:
        TypeError: for what is no address.
        ValueError: for what does not go together, or is out of its range.
    """
    workers = None if workers is None else check_count("workers", workers)
    for name, value in (("scheduler", scheduler), ("listen", listen)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name}={shown(value)}: must be an address")
    if listen is not None and scheduler != LOCAL:
        raise ValueError(f"listen={shown(listen)}: must be None, or scheduler {LOCAL!r}: another one listens already")
    if scheduler is None:
        return None if workers is None else functools.partial(work_in_processes, workers=workers)
    if scheduler != LOCAL and workers is not None:
        raise ValueError(f"workers={workers}: must be None, since a cluster that is there has its own")
    return functools.partial(work_on_cluster, scheduler=scheduler, workers=workers, listen=listen or LOOPBACK)
