"""Interleaved rounds of variants, each in its own process on the cores it is given."""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from sdesim.bench.peers import VARIANTS, Variant
from sdesim.bench.workloads import AnyWorkload, Workload
from sdesim.cores import cores
from sdesim.interrupt import child
from sdesim.results.files import temporary_folder

# The mask is set before anything is imported: a package may count the cores at its import.
_BOOT = """import os, sys
if hasattr(os, "sched_setaffinity"): os.sched_setaffinity(0, {cores})
from sdesim.bench.worker import main
main()"""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant of one workload.

    Attributes:
        workload: its name.
        variant: its name.
        min: least of its rates over the rounds, in `unit`.
        median: of its rates.
        max: greatest of its rates.
        unit: of the rates; in "s" they are times.
        ratio_to_naive: of the medians; None where there is nothing to compare with.
        ratio_to_cpp: of the medians; None where there is nothing to compare with.
        compile_s: seconds of the first run beyond a warm one.
        peak_mb: memory beyond what the process held after its imports.
    """

    workload: str
    variant: str
    min: float
    median: float
    max: float
    unit: str
    ratio_to_naive: float | None
    ratio_to_cpp: float | None
    compile_s: float
    peak_mb: float


class WorkerError(Exception):
    """A variant failed, in one line."""


class Worker:
    """A process that holds one variant of one workload. It starts importing at once, on one core.

    Args:
        variant: what is measured.
        workload: what it runs.
        own: the cores it runs on; None for all.
        importing_on: the core on which one of one core imports; its own by default.
        platform: of JAX; None for what it finds.
    """

    def __init__(
        self,
        variant: Variant,
        workload: AnyWorkload,
        own: list[int] | None = None,
        *,
        importing_on: int | None = None,
        platform: str | None = "cpu",
    ):
        self.variant, self.workload = variant, variant.part(workload)
        self.cores = cores() if own is None else own
        # Those of one core can import at the same time; one of several should see all of its own from the start.
        one = len(self.cores) == 1
        first = [importing_on] if one and importing_on is not None else self.cores
        environment = dict(os.environ)
        if one:
            environment.update(dict.fromkeys(_THREADS, "1"))
        if platform is not None:
            environment["JAX_PLATFORMS"] = platform
        environment["JAX_ENABLE_X64"] = "0"
        commit = variant.commit
        environment.update({} if commit is None else commit.environment)
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # several share a GPU
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        command = (variant.name, json.dumps(dataclasses.asdict(self.workload)))
        python = sys.executable if commit is None else commit.python
        elsewhere = [] if commit is None else ["-P"]  # or the folder it begins in comes first, which may be a checkout
        arguments = [python, *elsewhere, "-c", _BOOT.format(cores=first), *command]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._alive = contextlib.ExitStack()
        environment["TMPDIR"] = str(self._alive.enter_context(temporary_folder(tempfile.gettempdir(), "sdesim-bench")))
        self._process = self._alive.enter_context(child(arguments, **pipes, text=True, env=environment))

    def ask(self, do: str, **arguments: Any) -> dict:
        """The reply to a request.

        Args:
            do: the request's name: a method of `worker.Worker`.
            **arguments: its arguments, as JSON holds them.

        Returns:
            What the method returned.

        Raises:
            WorkerError: if the worker failed or died.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise WorkerError(said[-1] if said else f"the process ended with {self._process.returncode}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def start(self) -> None:
        """Have it import what the variant needs, on its own cores."""
        self.ask("start", cores=self.cores)

    def close(self) -> None:
        """End the process, and let go of its files."""
        self._alive.close()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what it was not told
                if pipe is not None:
                    pipe.close()
        self._errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()


@dataclasses.dataclass(frozen=True)
class Rounds:
    """What was measured of each variant, by its key.

    Attributes:
        first: seconds of the first run.
        seconds: of every round.
        peaks: of memory, in MB.
        amounts: of work in a run.
    """

    first: dict[str, float]
    seconds: dict[str, list[float]]
    peaks: dict[str, float]
    amounts: dict[str, float]


def measure(
    workload: AnyWorkload,
    variants: Sequence[Variant],
    rounds: int,
    say: Callable[[str], None] = lambda line: None,
    platform: str = "cpu",
) -> list[Row]:
    """Rates of the variants on a workload, by `run_rounds`.

    Args:
        workload: what is run.
        variants: by whom.
        rounds: interleaved, at least 1.
        say: is told a line now and then.
        platform: of JAX: "cpu" or "cuda".

    Returns:
        A row of each variant that did not fail.
    """
    return _rows(workload, run_rounds(workload, variants, rounds, say, platform))


def run_rounds(
    workload: AnyWorkload,
    variants: Sequence[Variant],
    rounds: int,
    say: Callable[[str], None] = lambda line: None,
    platform: str = "cpu",
) -> Rounds:
    """The variants on a workload, in interleaved rounds.

    One-core variants share one core, and only one process runs at any time.

    Args:
        workload: what is run.
        variants: by whom.
        rounds: how many, at least 1.
        say: is told why variants fail, which are left out.
        platform: of JAX: "cpu" or "cuda".

    Returns:
        What was measured of those that did not fail.
    """
    every = cores()
    workers: list[Worker] = []
    try:
        for i, variant in enumerate(variants):
            count = variant.cores if platform == "cpu" else None  # a GPU's host is not what is measured
            own = every if count is None else every[-count:]
            workers.append(Worker(variant, workload, own, importing_on=every[i % len(every)], platform=platform))

        def ask(worker: Worker, do: str, **arguments: Any) -> dict | None:
            """The reply, or None from a worker that fails and is from then on left out."""
            try:
                return worker.ask(do, **arguments)
            except WorkerError as error:
                say(f"{workload.name}: {worker.variant.key} is left out: {error}")
                worker.close()
                workers.remove(worker)
                return None

        for worker in list(workers):
            ask(worker, "start", cores=worker.cores)
        replies = {worker.variant.key: ask(worker, "compile") for worker in list(workers)}
        first = {name: reply["seconds"] for name, reply in replies.items() if reply}
        seconds: dict[str, list[float]] = {name: [] for name in first}
        wall = cpu = 0.0  # of those that have one core
        for i in range(rounds):
            turn = i % max(len(workers), 1)  # who comes after whom should not always be the same
            for worker in workers[turn:] + workers[:turn]:
                if reply := ask(worker, "measure", seed=i + 1):
                    seconds[worker.variant.key].append(reply["seconds"])
                    if len(worker.cores) == 1:
                        wall, cpu = wall + reply["seconds"], cpu + reply["cpu"]
        replies = {worker.variant.key: ask(worker, "peak") for worker in list(workers)}
        peaks = {name: reply["mb"] for name, reply in replies.items() if reply}
    finally:
        for worker in workers:
            worker.close()
    if platform == "cpu" and cpu < 0.9 * wall:
        share = f"other processes took {1 - cpu / wall:.0%} of the core"
        say(f"{workload.name}: {share}; figures of a busy machine mean little")
    return Rounds(first, seconds, peaks, {worker.variant.key: worker.workload.amount for worker in workers})


def _rows(workload: AnyWorkload, ran: Rounds) -> list[Row]:
    first, seconds, peaks = ran.first, ran.seconds, ran.peaks
    rates = {name: sorted(ran.amounts[name] / s for s in seconds[name]) for name in peaks}
    middle = {name: statistics.median(r) for name, r in rates.items()}
    ratio = lambda name, to: middle[name] / middle[to] if to in middle else None
    return [
        Row(
            workload=workload.name,
            variant=name,
            min=r[0],
            median=middle[name],
            max=r[-1],
            unit=workload.unit,
            ratio_to_naive=ratio(name, "naive"),
            ratio_to_cpp=ratio(name, "cpp"),
            compile_s=max(first[name] - statistics.median(seconds[name]), 0.0),
            peak_mb=peaks[name],
        )
        for name, r in rates.items()
    ]


def generator_rate(workload: Workload, quick: bool) -> float:
    """How many random words one core can make, if it does nothing else.

    Args:
        workload: any.
        quick: fewer words.

    Returns:
        Million agent-coordinate-steps a second for which that is enough.

    Raises:
        WorkerError: without a working compiler.
    """
    with Worker(VARIANTS["cpp"], workload, cores()[-1:]) as worker:
        worker.start()
        times = 1_000_000 if quick else 10_000_000
        return max(worker.ask("words", times=times)["rate"] for _ in range(3)) / 1e6


def device(workload: AnyWorkload) -> dict:
    """What JAX computes on by default, found in a process that ends: this one takes no memory of a GPU.

    Args:
        workload: any.

    Returns:
        `platform`, `kind`, and the `units` that compute, of a GPU its multiprocessors.
    """
    with Worker(VARIANTS["naive"], workload, platform=None) as worker:
        return worker.ask("device")
