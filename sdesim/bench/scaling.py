"""What a store and the engines of a sweep cost: `python -m sdesim.bench.scaling [WHAT [NUMBER ...]]`.

All of it takes some six minutes of two cores that nobody else uses. Seconds of the processor are of all threads and
processes: they are about the same on a busy machine, and those of the wall are not.
"""

import dataclasses
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax

import sdesim
from sdesim.cores import cores
from sdesim.ensembles.cluster import work_on_cluster
from sdesim.ensembles.durable import Durable
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.opening import Opened
from sdesim.ensembles.processes import work_in_processes
from sdesim.ensembles.simulations import Simulations
from sdesim.ensembles.sweeps import AbstractSweep, Estimate, Program
from sdesim.results.recipe import Call
from sdesim.results.stores.cards import Card
from sdesim.results.stores.cut import Box
from sdesim.results.stores.folder import SHARD, Store
from sdesim.results.stores.work import Made, work


def main(arguments: list[str]) -> None:
    """Measure and print, as tables of Markdown.

    Args:
        arguments: what, all by default, and numbers of tasks.
    """
    everything: dict[str, Callable] = {
        "overhead": overhead,
        "engines": engines,
        "gain": gain,
        "tasks": tasks,
        "scheduler": scheduler,
        "open": opening,
    }
    for what in arguments[:1] or everything:
        began, load = time.perf_counter(), os.getloadavg()[0]
        print(f"\n`python -m sdesim.bench.scaling {' '.join([what, *arguments[1:]])}`, load {load:.1f} when it began\n")
        everything[what](*map(int, arguments[1:]))
        print(f"\n({time.perf_counter() - began:.0f} s)", flush=True)


def table(*rows: tuple) -> None:
    """Print a table.

    Args:
        *rows: of texts and numbers, the first one its head.
    """
    for i, row in enumerate(rows):
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row) + " |", flush=True)
        if not i:
            print("|" + "---|" * len(row))


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


def overhead(tasks: int = 3, repeats: int = 5) -> None:
    """A sweep of tasks of a second or so in a store, beside the same in memory, and beside the same steps by hand.

    By hand they are a `scan` under `vmap` and `jit`, and nothing else; all three find the same, and run in turns.

    Args:
        tasks: how many.
        repeats: how often all are run.
    """
    sims, agents, steps = 512, 50, 20_000
    asked = _asked(tasks, agents=agents, sims=sims, steps=steps)
    model, k, stepper = asked["model"], jnp.asarray(asked["grid"]["coupling.k"]), sdesim.EulerMaruyama()

    def one(k: Any, sim: Any) -> Any:
        mine = dataclasses.replace(model, coupling=sdesim.Quorum(k))
        state = stepper.init(mine, jnp.ones((agents, 1)))
        return lax.scan(lambda s, n: (stepper.step(mine, s, n, sim=sim), None), state, jnp.arange(steps))[0].x

    by_hand = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    rows: list[tuple] = []
    more: list[list[float]] = [[], []]
    with tempfile.TemporaryDirectory() as folder:
        for i in range(repeats + 1):  # the first one compiles
            with measured() as hand:
                found = np.asarray(by_hand(k, jnp.arange(sims)))
            with measured() as memory:
                sdesim.sweep(**asked)
            with measured() as store:
                data = sdesim.sweep(**asked, store=f"{folder}/{i}", lanes=sims)
            if not i:
                np.testing.assert_allclose(data["quorum"].values, found.mean(2), rtol=0.01, atol=0.01)
                continue
            for share, cost in zip(more, (hand, memory), strict=True):
                share.append(store.processor / cost.processor - 1)
            costs = [cost.processor / tasks for cost in (hand, memory, store)]
            rows.append((*costs, *(f"{share[-1]:+.1%}" for share in more), f"{store.wall / hand.wall - 1:+.1%}"))
    head = (
        "by hand, processor s a task",
        "in memory",
        "in a store",
        "over by hand",
        "over memory",
        "wall over by hand",
    )
    table(head, *rows)
    print(f"\nmedians: {statistics.median(more[0]):+.1%} over by hand, {statistics.median(more[1]):+.1%} over memory")


ENGINES: dict[str, Callable | None] = {
    "this process": None,
    "1 process": lambda *a: work_in_processes(*a, workers=1),
    "2 processes": lambda *a: work_in_processes(*a, workers=2),
    "dask, 1 worker": lambda *a: work_on_cluster(*a, workers=1),
    "dask, 2 workers": lambda *a: work_on_cluster(*a, workers=2),
}


def _worked(sweep: AbstractSweep, engine: Callable | None) -> Cost:
    """What an engine takes for a sweep of tasks of one simulation."""
    with tempfile.TemporaryDirectory() as folder:
        made = Durable.of(sweep, f"{folder}/store", lanes=1)
        made.plan()
        with measured() as cost:
            made.work(engine=engine)
    return cost


def engines(tasks: int = 200) -> None:
    """Tasks that take next to nothing, by each engine: what an engine costs at its start, and of each task.

    Args:
        tasks: how many.
    """
    rows = []
    for name, engine in ENGINES.items():
        costs = [_worked(Simulations(asked_of(**_asked(count))), engine) for count in (tasks // 10, tasks)]
        more = tasks - tasks // 10
        wall, processor = ((getattr(costs[1], a) - getattr(costs[0], a)) / more for a in ("wall", "processor"))
        rows.append((name, processor * 1e3, wall * 1e3, costs[0].wall - wall * (tasks // 10)))
    table(("engine", "processor, ms a task", "wall, ms a task", "start, s of the wall"), *rows)


def gain(tasks: int = 8) -> None:
    """Tasks of two seconds or so by one process on one core, and by 1, 2 and 4 on all.

    Args:
        tasks: how many.
    """
    own = cores()
    rows: list[tuple] = []
    for workers, some in ((1, own[:1]), (1, own), (2, own), (4, own)):
        os.sched_setaffinity(0, some)
        sweep = Simulations(asked_of(**_asked(tasks, agents=50, sims=512, steps=20_000)))
        with tempfile.TemporaryDirectory() as folder:
            made = Durable.of(sweep, f"{folder}/store", lanes=512)
            made.plan()
            with measured() as cost:
                made.work(engine=lambda *a, n=workers: work_in_processes(*a, workers=n))
            cards = Opened(made.store).cards()
        busy = sum(card.said["seconds"] for card in cards)
        rows.append((workers, len(some), cost.wall, cost.processor, busy, rows[0][2] / cost.wall if rows else 1.0))
    os.sched_setaffinity(0, own)
    table(("processes", "cores", "wall, s", "processor, s", "seconds of tasks", "times as fast"), *rows)


def tasks(*numbers: int) -> None:
    """A store of tasks whose computation takes nothing, in memory and on the disk of the folder one is in.

    Args:
        *numbers: of tasks.
    """
    blob, values = bytes(2000), {"quorum": np.zeros((1, 1, 1))}
    compute = lambda n: Made(blob, Card.of(n, {}, values, 1))
    shm = pathlib.Path("/dev/shm")
    places = {"memory": str(shm) if shm.is_dir() else None, "this disk": "."}
    rows = []
    for place, number in [("memory", n) for n in numbers or (1000, 10_000, 100_000)] + [("this disk", 1000)]:
        with tempfile.TemporaryDirectory(dir=places[place]) as folder:
            store = Store.create(f"{folder}/store", {"axes": ["a"], "lanes": 1})
            store.add({"a": list(range(number))}, [Box((tuple(range(number)),), (0, 1))], {}, store.rounds())
            with measured() as cost:
                work(store, compute)
            with measured() as again:
                work(Store(f"{folder}/store"), compute)
            size = sum(p.stat().st_blocks * 512 for p in pathlib.Path(folder).rglob("*")) / number / 1e3
        rows.append((place, number, *(c / number * 1e3 for c in (cost.processor, cost.wall)), size, again.processor))
    head = ("where", "tasks", "processor, ms a task", "wall, ms a task", "kB a task", "a start that finds all done, s")
    table(head, *rows)
    if len(rows) > 2:
        growth = math.log(rows[-2][2] * rows[-2][1] / (rows[0][2] * rows[0][1])) / math.log(rows[-2][1] / rows[0][1])
        print(f"\ncost grows as the number of tasks to the power {growth:.2f}")


class Nothing(AbstractSweep):
    """A sweep whose tasks compute nothing, of some points.

    Args:
        points: how many.
    """

    parts = "nothing"

    def __init__(self, points: int):
        self.grid, self.sims, self.first_sim, self.rule, self.design = {"k": list(range(points))}, 1, 0, None, None

    @property
    def settings(self) -> dict[str, Any]:
        return {"grid": self.grid, "first_sim": 0}

    @property
    def call(self) -> Call:
        return Call("sdesim.bench.scaling.Nothing", {"points": len(self.grid["k"])})

    @property
    def apart(self) -> list[str]:
        return []

    def identity(self) -> dict[str, Any]:
        return {}

    def programs(self) -> dict[str, Program]:
        return {"{}": Program("", "")}

    def lanes(self) -> int:
        return 1

    def estimate(self, lanes: int | None = None) -> Estimate:
        raise NotImplementedError("nothing is estimated of what takes nothing")

    def width(self, here: Mapping[str, Any]) -> int:
        return 1

    def run(
        self,
        at: Mapping[str, list],
        points: int,
        sims: tuple[int, int],
        *,
        width: int | None,
        memory: int | str | None,
        folder: pathlib.Path,
    ) -> xr.Dataset:
        return xr.Dataset({"quorum": (("point", "sim"), np.zeros((points, sims[1] - sims[0])))}, attrs={"path": "none"})


def scheduler(*numbers: int) -> None:
    """Tasks that compute nothing, handed out by dask to one worker, and by nobody.

    Args:
        *numbers: of tasks.
    """
    rows = []
    for number in numbers or (1000, 10_000):
        alone, dask = (_worked(Nothing(number), ENGINES[name]) for name in ("this process", "dask, 1 worker"))
        each = [cost / number * 1e3 for cost in (alone.processor, dask.processor, alone.wall, dask.wall)]
        rows.append((number, *each))
    head = ("tasks", "processor, ms a task", "by dask", "wall, ms a task", "by dask")
    table(head, *rows)
    if len(rows) > 1:
        growth = math.log(rows[-1][2] * rows[-1][0] / (rows[0][2] * rows[0][0])) / math.log(rows[-1][0] / rows[0][0])
        print(f"\ndask's grows as the number of tasks to the power {growth:.2f}, with its start")


FRESH = """
import resource, sdesim
data = sdesim.open({path!r})
{then}
"""


def opening(*numbers: int) -> None:
    """Opening stores of 100 simulations a file, each a copy of one that was computed, by a new process.

    Args:
        *numbers: of files.
    """
    asks = {
        "opened": "",
        "and means of all points": "data['quorum_mean'].values.mean()",
        "and one point": "data['quorum'].isel(coupling_k=1).values.mean()",
    }
    rows: list[tuple] = []
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
            row: list[Any] = [number, 100 * number]
            for program in (
                "import sdesim; sdesim.open",
                *(FRESH.format(path=path, then=then) for then in asks.values()),
            ):
                with measured() as cost:
                    subprocess.run([sys.executable, "-c", program], check=True)
                row.append(f"{cost.wall:.2f} ({cost.processor:.2f})")
        rows.append(tuple(row))
    table(("files", "results", "Python and its imports alone, s (processor)", *asks), *rows)


if __name__ == "__main__":
    main(sys.argv[1:])
