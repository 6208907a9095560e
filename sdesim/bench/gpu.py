"""The benchmark on a GPU: is it right, W1's step at three sizes, what the kernel refuses, training, the first figure.

And the floors that the hardware sets.
"""

import contextlib
import dataclasses
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator

from sdesim.bench.interleaved import Row, Worker, WorkerError, measure
from sdesim.bench.peers import VARIANTS
from sdesim.bench.races import variants_of
from sdesim.bench.workloads import RACES, TRAININGS, WORKLOADS, AnyWorkload, Workload

# Instructions that a step of an agent's one coordinate needs, counted in code compiled for sm_90 with polynomial sines:
# in Mosaic's, and in many dimensions Triton's, which alone has them.
INSTRUCTIONS = {"w1-uniform": 87, "w1-gaussian": 116, "w2": 177}
LANES = 128  # instructions a multiprocessor issues in one cycle, one for each of its lanes
PRECISIONS = {"float32": None, "tf32": "tensorfloat32", "bfloat16": "bfloat16"}
"""Of the products of a network, by the names that JAX has for them; None for what sdesim takes by itself."""
AGREE = (64, 20)  # simulations and steps over which kernel and scan are compared
ULPS = 40  # by which they may differ then, as the tests of the kernel have it
STATE_BYTES = 8  # one float32 read and written: what a step that keeps nothing in registers moves at least


def workloads() -> list[tuple[str, Workload]]:
    """W1's step with 50 thousand, 1 million and 10 million agents, and W2's, each with the workload that it is of."""
    sizes = ((200, 20_000), (4000, 10_000), (40_000, 2000))  # long enough that a call's own 10 ms hardly count

    def sized(name: str, sims: int, steps: int, what: str):
        base = WORKLOADS[name]
        called = f"{name}, {sims * base.agents * base.dims / 1e6:g} million {what} on a GPU"
        return name, dataclasses.replace(base, sims=sims, steps=steps, name=called)

    w1 = [sized(name, *size, "agents") for name in ("w1-uniform", "w1-gaussian") for size in sizes]
    return [*w1, sized("w2", 2000, 3000, "coordinates")]


def others() -> list[tuple[AnyWorkload, str, str | None]]:
    """What no kernel runs, what it is called in rows, and the precision of its products, as JAX has it.

    A state too large for the kernel, events, training.
    """
    large = dataclasses.replace(WORKLOADS["w2"], dims=200, sims=500, name="w2, 5 million coordinates, scanned on a GPU")
    cnn = dataclasses.replace(TRAININGS["cnn"], steps=40)
    trained = [(cnn, f"cnn in {called} on a GPU", precision) for called, precision in PRECISIONS.items()]
    return [(large, large.name, None), (RACES["async"], "async on a GPU", None), *trained]


def run(
    device: dict, rounds: int, say: Callable[[str], None]
) -> tuple[list[Row], dict[str, tuple[float, str]], list[str]]:
    """Measure on the GPU.

    Args:
        device: what `interleaved.device` says of it.
        rounds: interleaved, at least 1.
        say: is told a line now and then.

    Returns:
        Rows of the GPU, the ceiling of each workload with its reason, and the floors in words, with what was found of
        whether it is right.
    """
    rows: list[Row] = []
    notes = [line for name in INSTRUCTIONS if (line := _agreement(WORKLOADS[name], say))]
    ceilings: dict[str, tuple[float, str]] = {}
    for _, workload in workloads():
        rows += measure(workload, [VARIANTS[n] for n in ("naive", "sdesim", "sdesim-13")], rounds, say, "cuda")
    for workload, name, precision in others():
        # What events are compared with is SimPy, which knows no GPU.
        variants = [
            variants_of(workload)[n] for n in ("naive", "sdesim") if n == "sdesim" or workload.name not in RACES
        ]
        with _environment("JAX_DEFAULT_MATMUL_PRECISION", precision):
            found = measure(workload, variants, min(rounds, 3), say, "cuda")
        rows += [dataclasses.replace(row, workload=name) for row in found]
    with Worker(VARIANTS["sdesim"], WORKLOADS["w1-uniform"], platform="cuda") as worker:
        try:
            worker.start()
            moved = worker.ask("bandwidth")["rate"] / STATE_BYTES / 1e6
            notes.append(f"bandwidth floor: {moved:.3g} million agent-steps/s, if each step reads and writes the state")
            clock = _clock()
            issued = device["units"] * LANES * clock / 1e6 if clock is not None else 0.0  # million instructions/s
            if issued:
                ceilings.update({w.name: (issued / INSTRUCTIONS[name], "instructions") for name, w in workloads()})
            for name, count in INSTRUCTIONS.items() if issued else ():
                rate = f"{issued / count:.3g} {WORKLOADS[name].unit} at {count} instructions each"
                notes.append(f"instruction floor, {name}: {rate}, at the highest clock")
            drawn = worker.ask("figure", name="bs-fig1", preset="paper")
            rows.append(_figure(drawn, worker.ask("peak")["mb"]))
            notes.append(f"claims of bs-fig1 at paper size: {drawn['claims']}")
        except WorkerError as error:
            say(f"floors and figure are left out: {error}")
    return rows, ceilings, notes


def _agreement(workload: Workload, say: Callable[[str], None]) -> str:
    """Whether the kernel does what the scan does, in a line; nothing where that could not be asked."""
    sims, steps = AGREE
    workload = dataclasses.replace(workload, sims=sims, steps=steps)
    with Worker(VARIANTS["sdesim"], workload, platform="cuda") as worker:
        try:
            worker.start()
            found = worker.ask("agree")
        except WorkerError as error:
            say(f"{workload.name}: kernel and scan are not compared: {error}")
            return ""
    verdict = "agree" if found["ulps"] <= ULPS else "DO NOT AGREE"
    ways = " and ".join(found["paths"])
    return f"{workload.name}: {ways} {verdict}: {found['ulps']:.3g} units in the last place after {steps} steps"


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Within, processes that start find a variable set; None for as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name) if before is None else os.environ.update({name: before})


def _clock() -> float | None:
    """The highest clock of the multiprocessors in Hz, as the driver tells it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    arguments = [command, "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    first = done.stdout.split()[:1]
    return float(first[0]) * 1e6 if done.returncode == 0 and first and first[0].isdigit() else None


def _figure(spent: dict, peak: float) -> Row:
    seconds = sorted(spent["seconds"])
    middle = statistics.median(seconds)
    return Row(
        workload="bs-fig1 at paper size on a GPU",
        variant="sdesim",
        min=seconds[0],
        median=middle,
        max=seconds[-1],
        unit="s",
        ratio_to_naive=None,
        ratio_to_cpp=None,
        compile_s=max(spent["first"] - middle, 0.0),
        peak_mb=peak,
    )
