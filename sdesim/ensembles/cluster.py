"""A sweep's tasks on a cluster of dask.distributed: one that is there, or one of this machine that ends with the call.

The cluster hands out numbers, and nothing else: who computes a task writes it into the store, which all machines must
see. So a lost worker loses what it was computing, a lost scheduler nothing that is done, and where the cluster leaves
off, whoever comes next goes on. dask's messages are pickles, which are programs: they stay between processes that the
user has started, and a cluster that is started here listens to this machine alone unless told otherwise.
"""

import contextlib
import ipaddress
import itertools
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax

from sdesim.cores import cores
from sdesim.engine.path import EngineWarning
from sdesim.ensembles.durable import Durable, SweepError
from sdesim.ensembles.handing import as_there, handed, received
from sdesim.ensembles.processes import shares_of_cores
from sdesim.fields import warn
from sdesim.memory import available_memory
from sdesim.results.stores.folder import SHARD
from sdesim.results.stores.leases import Leases
from sdesim.results.stores.work import attempt

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"  # in place of a scheduler's address
LOOPBACK = "127.0.0.1"
GOES_ON = "what is done is kept, and the same call goes on"
PAUSE = 0.01  # seconds that it waits where nothing is done
PATIENCE = 10.0  # seconds without a task done, after which it looks whether anybody is there
LOOK = 0.5  # seconds between two looks at how far all are
WINDOW = 1000  # tasks that the scheduler knows of at a time: enough for any cluster, little for its memory
RETRIES = 3  # of a task whose worker could not write
CORES = "SDESIM_CORES"  # in the environment of a worker: the numbers of its own
GPU = "GPU"  # the resource of which a worker has one


class ClusterWarning(UserWarning):
    """Others can reach a cluster, and whoever does can run programs as its user."""


def work_on_cluster(
    made: Durable,
    watch: Callable[[set[int]], None],
    *,
    scheduler: str = LOCAL,
    workers: int | None = None,
    listen: str = LOOPBACK,
) -> None:
    """Have a cluster compute what is missing, until all of it is done.

    Args:
        made: the sweep and its store, in a folder that all workers see by the same name.
        watch: told now and then which tasks are done.
        scheduler: its address, such as "tcp://10.0.0.1:8786"; "local" for a cluster of this machine.
        workers: of a cluster of this machine, each a process of one thread; one a GPU, or a core, by default.
        listen: the address at which a cluster of this machine, and its dashboard, can be reached.

    Raises:
        ImportError: if dask.distributed is not installed.
        TypeError: if a function cannot be handed on, as one of a notebook to a cluster that is named.
        SweepError: if a task ended one worker after another, a worker could not begin, or the scheduler was lost.
        ValueError: if a worker has several threads.

    Warns:
        ClusterWarning: if others can reach the cluster.
        EngineWarning: if it waits for workers, and there is none.
    """
    distributed = _distributed()
    missing = sorted(set(range(made.store.rounds().tasks)) - made.store.done())
    on_gpu = jax.default_backend() == "gpu"
    devices = jax.local_device_count() if on_gpu else len(cores())
    workers = workers or devices
    memory = made.memory
    if memory is None and scheduler == LOCAL and not on_gpu and (free := available_memory()) is not None:
        memory = free // workers
    with _client(scheduler, workers, listen, on_gpu) as client:
        _check_threads(client)
        # A task without inputs, which the scheduler has run again if all that hold its result are lost.
        sweep = handed(made, memory, to_others=scheduler != LOCAL)
        given = client.submit(_itself, sweep, pure=False, key=f"sweep-{secrets.token_hex(8)}")
        options: dict[str, Any] = dict(given=given, pure=False, retries=RETRIES)
        if on_gpu:
            options["resources"] = {GPU: 1}
        left, lost = iter(missing), []
        looked = heard = time.monotonic()
        running: Any = distributed.as_completed()
        running.update(client.map(_compute, list(itertools.islice(left, WINDOW)), **options))
        while not running.is_empty():
            batch = running.next_batch(block=False)
            if any(future.cancelled() for future in batch):  # as all are when nobody answers any more
                raise SweepError(f"scheduler={scheduler!r}: was lost; {GOES_ON}, with another one or without")
            lost.extend(future.exception() for future in batch if future.status == "error")
            if more := list(itertools.islice(left, len(batch))):
                running.update(client.map(_compute, more, **options))
            now = time.monotonic()
            heard = now if batch else heard
            if now - looked > LOOK:
                looked = now
                watch(made.store.done())
                if scheduler == LOCAL and _has_ended(client.cluster):
                    raise SweepError(f"scheduler={LOCAL!r}: all workers have ended; {GOES_ON}")
                if now - heard > PATIENCE and not client.nthreads():
                    heard = math.inf  # said once, until something is done
                    warn(f"scheduler={scheduler!r}: has no worker; the sweep goes on when one comes", EngineWarning)
            if not batch:
                time.sleep(PAUSE)
    for shard in {number // SHARD for number in missing}:
        made.store.pack(shard)
    if lost:
        raise SweepError(f"{len(lost)} tasks were given up by the cluster, the first with {lost[0]}") from lost[0]


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ImportError("scheduler: needs dask.distributed; pip install 'sdesim[dask]'") from error
    return distributed


@contextlib.contextmanager
def _client(scheduler: str, workers: int, listen: str, on_gpu: bool) -> "Iterator[Client]":
    """A client of the cluster that was named, or of a new one."""
    distributed = _distributed()
    if scheduler != LOCAL:
        with distributed.Client(scheduler) as client:
            yield client
        return
    with contextlib.ExitStack() as stack:
        cluster = _local(workers, listen, on_gpu)
        stack.callback(_closed, cluster)
        client = stack.enter_context(distributed.Client(cluster))
        if not _is_loopback(listen):
            where = f"{cluster.scheduler_address} and its dashboard {cluster.dashboard_link}"
            warn(f"listen={listen!r}: whoever reaches {where} can run programs as you", ClusterWarning)
        yield client


def _closed(cluster: Any) -> None:
    """End a cluster of this machine."""
    with contextlib.suppress(TimeoutError):  # a worker that a busy machine is slow to end: the work is done
        cluster.close()


def _local(workers: int, listen: str, on_gpu: bool) -> Any:
    """A cluster of this machine: workers of one thread, each with its own cores or GPU."""
    distributed = _distributed()
    specs = {}
    for i, share in enumerate(shares_of_cores(workers)):
        own = {CORES: ",".join(map(str, share))}
        options: dict[str, Any] = {"nthreads": 1, "host": listen, "dashboard": False}
        options["silence_logs"] = logging.ERROR
        if on_gpu:
            own["CUDA_VISIBLE_DEVICES"] = str(i % jax.local_device_count())
            options["resources"] = {GPU: 1}
        specs[i] = {"cls": distributed.Nanny, "options": {**options, "env": own}}
    at = {"host": listen, "port": 0, "dashboard_address": f"{listen}:0"}
    scheduler = {"cls": distributed.Scheduler, "options": at}
    try:
        return distributed.SpecCluster(workers=specs, scheduler=scheduler, name="sdesim", silence_logs=logging.ERROR)
    except RuntimeError as error:  # as where a worker was killed before it could begin
        raise SweepError(f"scheduler={LOCAL!r}: the cluster did not start ({error}); {GOES_ON}") from error


def _has_ended(cluster: Any) -> bool:
    """Whether no worker of a cluster of this machine will come: dask gives up those that are long not back."""
    over = {"closed", "closing", "failed"}
    return all(nanny.status.name in over for nanny in list(cluster.workers.values()))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_threads(client: "Client") -> None:
    """Of each worker's threads one computes at a time, and the others would hold tasks that wait for it."""
    for address, said in client.scheduler_info(n_workers=-1)["workers"].items():
        if said["nthreads"] != 1:
            right = "start workers with --nthreads 1: each task uses all cores of its worker"
            raise ValueError(f"scheduler: its worker {address} has {said['nthreads']} threads; {right}")


# -- on a worker -----------------------------------------------------------------------------------------------------


def _itself(value: Any) -> Any:
    return value


_ALONE = threading.Lock()  # a task uses all cores of its process


def _compute(number: int, given: bytes) -> None:
    """A task, by its number, of the sweep that was handed on; what goes wrong with it alone is noted in the store."""
    with _ALONE:
        if (own := os.environ.get(CORES)) and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, map(int, own.split(",")))  # of this thread, and of those that it starts
        with as_there(given) as inner:
            made, leases = _received(inner)
            attempt(made.store, leases, made.compute, number)


@lru_cache(1)
def _received(given: bytes) -> tuple[Durable, Leases]:
    made = received(given)
    return made, Leases(made.store.path / "leases")
