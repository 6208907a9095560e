"""The benchmark on a GPU: W1's step at three sizes, the first figure, and the floors that the hardware sets."""

import dataclasses
import shutil
import statistics
import subprocess
from collections.abc import Callable

from sdesim.bench.interleaved import Row, Worker, WorkerError, measure
from sdesim.bench.peers import VARIANTS
from sdesim.bench.workloads import WORKLOADS, Workload

# Instructions an agent-step needs, counted in code compiled for sm_90 with polynomial sines.
INSTRUCTIONS = {"uniform": 87, "gaussian": 116}
LANES = 128  # instructions a multiprocessor issues in one cycle, one for each of its lanes
STATE_BYTES = 8  # one float32 read and written: what a step that keeps nothing in registers moves at least


def workloads() -> list[Workload]:
    """W1's step with 50 thousand, 1 million and 10 million agents."""
    sizes = ((200, 20_000), (4000, 10_000), (40_000, 2000))  # long enough that a call's own 10 ms hardly count
    return [
        dataclasses.replace(
            base, sims=sims, steps=steps, name=f"{base.name}, {sims * base.agents / 1e6:g} million agents on a GPU"
        )
        for base in (WORKLOADS["w1-uniform"], WORKLOADS["w1-gaussian"])
        for sims, steps in sizes
    ]


def run(
    device: dict, rounds: int, say: Callable[[str], None]
) -> tuple[list[Row], dict[str, tuple[float, str]], list[str]]:
    """Measure on the GPU.

    Args:
        device: what `interleaved.device` says of it.
        rounds: interleaved, at least 1.
        say: is told a line now and then.

    Returns:
        Rows of the GPU, the ceiling of each workload with its reason, and the floors in words.
    """
    rows: list[Row] = []
    notes: list[str] = []
    ceilings: dict[str, tuple[float, str]] = {}
    for workload in workloads():
        rows += measure(workload, [VARIANTS["naive"], VARIANTS["sdesim"]], rounds, say, "cuda")
    with Worker(VARIANTS["sdesim"], WORKLOADS["w1-uniform"], platform="cuda") as worker:
        try:
            worker.start()
            moved = worker.ask("bandwidth")["rate"] / STATE_BYTES / 1e6
            notes.append(f"bandwidth floor: {moved:.3g} million agent-steps/s, if each step reads and writes the state")
            clock = _clock()
            issued = device["units"] * LANES * clock / 1e6 if clock is not None else 0.0  # million instructions/s
            if issued:
                ceilings.update({w.name: (issued / INSTRUCTIONS[w.noise], "instructions") for w in workloads()})
            for noise, count in INSTRUCTIONS.items() if issued else ():
                rate = f"{issued / count:.3g} million agent-steps/s at {count} instructions each"
                notes.append(f"instruction floor, {noise} noise: {rate}, at the highest clock")
            rows.append(_figure(worker.ask("figure", name="bs-fig1", preset="paper"), worker.ask("peak")["mb"]))
        except WorkerError as error:
            say(f"floors and figure are left out: {error}")
    return rows, ceilings, notes


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
