"""Work: tasks of a store, computed by whoever comes, until all are done.

`work` is what every engine calls: a process that was started by hand, one of several that a driver started, a worker of
a cluster that was handed some numbers. It needs nobody else to be alive, and minds nobody who is.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sdesim.results.files import WriteError
from sdesim.results.stores.cards import Card
from sdesim.results.stores.folder import SHARD, Store
from sdesim.results.stores.leases import PATIENCE, Leases

POLL = 0.05, 1.0  # seconds between two looks at what others compute: at first, and after a while
LOOK = 0.5  # seconds between two looks at how far all are


class Made(NamedTuple):
    """What the computation of a task gives.

    Attributes:
        blob: the task's file.
        card: its card.
    """

    blob: bytes | memoryview
    card: Card


class Worked(NamedTuple):
    """What became of some tasks.

    Attributes:
        computed: how many were computed here, and counted.
        twice: how many were computed here, and had been by another one meanwhile.
        failed: what went wrong here, by the number of the task.
    """

    computed: int
    twice: int
    failed: dict[int, str]


Compute = Callable[[int], Made]
"""What computes a task by its number. It raises what is wrong with this task."""


class Tried(NamedTuple):
    """What became of a task.

    Attributes:
        first: whether what was computed here counts, and no other one's.
        failed: what went wrong; None for nothing.
    """

    first: bool
    failed: str | None = None


def attempt(store: Store, leases: Leases, compute: Compute, number: int) -> Tried | None:
    """Compute a task, unless it is done or somebody is at it.

    Args:
        store: the store.
        leases: of the store, as this process takes them.
        compute: computes one.
        number: of the task.

    Returns:
        What became of it; None where nothing was begun.

    Raises:
        WriteError: where something cannot be written.
    """
    if store.has(number):
        return None
    with leases.held(number) as mine:
        if not mine or store.has(number):
            return None
        try:
            made = compute(number)
        except WriteError:
            raise
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
            store.fail(number, failed)
            return Tried(False, failed)
        return Tried(store.put(number, made.blob, made.card))


def work(
    store: Store,
    compute: Compute,
    numbers: Iterable[int] | None = None,
    *,
    patience: float = PATIENCE,
    wait: bool = True,
    watch: Callable[[set[int]], None] | None = None,
) -> Worked:
    """Compute tasks that are not done, until all are: here, or by others who are at it at the same time.

    A task that fails is noted and not tried again by this call; the others go on.

    Args:
        store: the store.
        compute: computes one.
        numbers: of the tasks; all that the store has by default.
        patience: seconds without a heartbeat after which one who computes a task is dead.
        wait: whether to wait for those that others compute; else this ends when there is nothing left to begin.
        watch: told now and then which of all tasks of the store are done.

    Returns:
        What became of them.

    Raises:
        WriteError: where something cannot be written, as on a full disk; what is done stays done.
    """
    store.tidy()
    left = list(range(store.rounds().tasks)) if numbers is None else list(numbers)
    computed, twice, failed, looked = 0, 0, {}, float("-inf")
    leases = Leases(store.path / "leases", patience)
    touched: set[int] = set()
    pause = POLL[0]

    def look() -> set[int]:
        nonlocal looked
        looked = time.monotonic()
        done = store.done()
        if watch is not None:
            watch(done)
        return done

    try:
        while left:
            done = look()
            left = [n for n in left if n not in done and n not in failed]
            if left:  # who comes later begins elsewhere, and goes on in the order of the numbers
                begin = random.SystemRandom().randrange(len(left)) if leases.living() else 0
                left = left[begin:] + left[:begin]
            before = computed + len(failed)
            for number in left:
                tried = attempt(store, leases, compute, number)
                if tried is None:
                    continue
                if tried.failed is not None:
                    failed[number] = tried.failed
                    continue
                computed, twice = computed + tried.first, twice + (not tried.first)
                touched.add(number // SHARD)
                if time.monotonic() - looked > LOOK:
                    look()
            left = [n for n in left if n not in failed and not store.has(n)]
            if computed + len(failed) > before:
                pause = POLL[0]
            elif left:
                if not wait:
                    break
                time.sleep(pause)
                pause = min(2 * pause, POLL[1])
        look()
        for shard in touched:
            store.pack(shard)
        store.tidy()
    finally:
        leases.close()
    return Worked(computed, twice, failed)
