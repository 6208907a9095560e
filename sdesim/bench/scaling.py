"""What a store and the engines of a sweep cost: `python -m sdesim.bench.scaling WHAT [NUMBER ...]`.

Seconds of the processor, of all threads and processes, unless it says otherwise: they are the same on a busy machine.
"""

import dataclasses
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import sdesim
from sdesim.ensembles.cluster import work_on_cluster
from sdesim.ensembles.durable import Durable
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.opening import open as open_store
from sdesim.ensembles.processes import work_in_processes
from sdesim.ensembles.simulations import Simulations
from sdesim.results.stores.cards import Card
from sdesim.results.stores.cut import Box
from sdesim.results.stores.folder import SHARD, Store
from sdesim.results.stores.work import Made, work


def main(arguments: list[str]) -> None:
    """Measure and print.

    Args:
        arguments: what, and numbers of tasks.
    """
    what, *numbers = arguments
    {"overhead": overhead, "engines": engines, "tasks": tasks, "open": opening}[what](*map(int, numbers))


@dataclasses.dataclass
class Cost:
    """Of the body of `measured`.

    Attributes:
        wall: seconds that it took.
        processor: seconds of the processor, of this process and of those that it started and have ended.
    """

    wall: float = 0.0
    processor: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the body.

    Yields:
        What is filled in when the body ends.
    """
    processor = lambda: sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cost, began, used = Cost(), time.perf_counter(), processor()
    yield cost
    cost.wall, cost.processor = time.perf_counter() - began, processor() - used


def _asked(points: int, **changes: int) -> dict[str, Any]:
    model = sdesim.Dynamics(
        lambda x: jnp.sum(x**4 / 4 - x**2 / 2), sdesim.Quorum(1.0), sdesim.noise.Uniform(1.0), eta=0.01
    )
    grid = {"coupling.k": np.linspace(0, 4, points).tolist()}
    sizes: dict[str, Any] = {"agents": 1, "sims": 1, "steps": 1, **changes}
    return dict(model=model, grid=grid, **sizes, init=1.0, keep_agents=False)


def overhead(tasks: int = 8, repeats: int = 3) -> None:
    """A sweep of tasks of a second or so in a store, beside the same sweep in memory, in turns.

    Args:
        tasks: how many.
        repeats: how often both are run.
    """
    asked = _asked(tasks, agents=50, sims=512, steps=20_000)
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        sdesim.sweep(**{**asked, "steps": 10})
        for i in range(repeats + 1):
            with measured() as memory:
                sdesim.sweep(**asked)
            with measured() as store:
                sdesim.sweep(**asked, store=f"{folder}/{i}", lanes=512)
            if i:  # the first one compiles
                shares.append(store.processor / memory.processor - 1)
                said = f"{tasks} tasks of {store.processor / tasks:.2f} s: {shares[-1]:+.1%} over memory"
                print(f"{said}; of the wall {store.wall / memory.wall - 1:+.1%}")
    print(f"median {statistics.median(shares):+.1%}")


def engines(tasks: int = 300) -> None:
    """Tasks that take next to nothing, by each engine: what an engine costs at its start, and of each task.

    Args:
        tasks: how many.
    """
    everyone: dict[str, Callable | None] = {
        "this process": None,
        "1 process": lambda *a: work_in_processes(*a, workers=1),
        "2 processes": lambda *a: work_in_processes(*a, workers=2),
        "dask, 1 worker": lambda *a: work_on_cluster(*a, workers=1),
        "dask, 2 workers": lambda *a: work_on_cluster(*a, workers=2),
    }
    for name, engine in everyone.items():
        costs = []
        for count in (tasks // 10, tasks):
            with tempfile.TemporaryDirectory() as folder:
                made = Durable.of(Simulations(asked_of(**_asked(count))), f"{folder}/store", lanes=1)
                made.plan()
                with measured() as cost:
                    made.work(engine=engine)
                costs.append(cost)
        more = tasks - tasks // 10
        wall, processor = ((getattr(costs[1], a) - getattr(costs[0], a)) / more for a in ("wall", "processor"))
        start = costs[0].wall - wall * (tasks // 10)
        said = f"{processor * 1e3:7.1f} ms of the processor a task, {wall * 1e3:7.1f} ms of the wall"
        print(f"{name:16s} {said}; start {start:.1f} s")


def tasks(*numbers: int) -> None:
    """A store of tasks whose computation takes nothing.

    Args:
        *numbers: of tasks.
    """
    blob, values = bytes(2000), {"quorum": np.zeros((1, 1, 1))}
    compute = lambda n: Made(blob, Card.of(n, {}, values, 1))
    for number in numbers or (1000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(f"{folder}/store", {"axes": ["a"], "lanes": 1})
            store.add({"a": list(range(number))}, [Box((tuple(range(number)),), (0, 1))], {}, store.rounds())
            with measured() as cost:
                work(store, compute)
            with measured() as again:
                work(Store(f"{folder}/store"), compute)
            size = sum(p.stat().st_blocks * 512 for p in Path(folder).rglob("*")) / number / 1e3
            each = (
                f"{cost.processor / number * 1e3:.2f} ms of the processor, {cost.wall / number * 1e3:.2f} of the wall"
            )
            print(f"{number} tasks: {each}, {size:.1f} kB each; a start with nothing to do {again.processor:.2f} s")


def opening(*numbers: int) -> None:
    """Opening stores of 100 simulations a file, each a copy of one that was computed.

    Args:
        *numbers: of files.
    """
    for number in numbers or (100, 1000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/store"
            made = Durable.of(Simulations(asked_of(**_asked(number, sims=100))), path, lanes=100)
            made.plan()
            one = made.compute(0)  # and all others are like it
            for n in range(number):
                made.store.put(n, one.blob, dataclasses.replace(one.card, number=n))
            for shard in range(math.ceil(number / SHARD)):
                made.store.pack(shard)
            with measured() as opened:
                data = open_store(path)
            with measured() as means:
                data["quorum_mean"].values.mean()
            with measured() as point:
                data["quorum"].isel(coupling_k=number // 2).values.mean()
            said = {"opened": opened, "means": means, "a point": point}
            took = ", ".join(f"{k} {c.processor:.2f} s of the processor ({c.wall:.2f})" for k, c in said.items())
            print(f"{number} files, {100 * number} results: {took}")


if __name__ == "__main__":
    main(sys.argv[1:])
