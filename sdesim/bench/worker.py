"""One variant of one workload in a process of its own, which runs it when told to.

Apart, so that each has its own peak memory and compile time and sees the cores it is given from its first import on;
idle between its turns, so that rounds of several variants can be interleaved. Requests and replies are lines of JSON.
"""

import contextlib
import importlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from sdesim.bench.peers import Run
from sdesim.bench.races import variants_of
from sdesim.bench.workloads import AnyWorkload, workload_of


def pin(cores: list[int]) -> None:
    """Run on some cores alone, where the system lets us choose.

    Args:
        cores: their numbers.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, cores)


def memory(field: str) -> float:
    """What the system says of this process's memory.

    Args:
        field: VmRSS (now) or VmHWM (at most).

    Returns:
        Megabytes; 0 where the system does not say.
    """
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


class Worker:
    """The requests, by name.

    Args:
        variant: its name.
        workload: what it runs.
    """

    def __init__(self, variant: str, workload: AnyWorkload):
        self.variant, self.workload = variants_of(workload)[variant], workload
        self.before, self.gpu = 0.0, None
        self.run: Run = lambda seed: None

    def start(self, cores: list[int]) -> dict:
        """Import what the variant needs, and stay on some cores from here on.

        Args:
            cores: their numbers.

        Returns:
            Nothing, as a reply.
        """
        for name in self.variant.needs:
            importlib.import_module(name)
        pin(cores)
        own = len(cores) == 1 or os.environ.get("JAX_PLATFORMS") == "cuda"
        if own and self.variant.name.startswith(("naive", "sdesim", "diffrax")):
            # The backend's start is no part of compilation. With several cores sdesim has a say in it, and does it.
            import jax

            device = jax.devices()[0]
            self.gpu = device if device.platform == "gpu" else None
        self.before = memory("VmRSS")
        return {}

    def compile(self) -> dict:
        """The first run, with all that comes before it."""
        began = time.perf_counter()
        self.run = self.variant.build(self.workload)
        result = self.run(0)
        seconds = time.perf_counter() - began
        if not np.isfinite(_state(result)).all():
            raise FloatingPointError("its final state is not finite")
        return {"seconds": seconds}

    def measure(self, seed: int) -> dict:
        """One run, timed.

        Args:
            seed: of its random numbers.

        Returns:
            `seconds` that passed, and `cpu` seconds that this process was busy.
        """
        began, busy = time.perf_counter(), time.process_time()
        self.run(seed)
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - busy}

    def peak(self) -> dict:
        """Megabytes above what the process held after its imports, compilation included; on a GPU, of its memory."""
        if self.gpu:
            return {"mb": (self.gpu.memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20}
        return {"mb": max(memory("VmHWM") - self.before, 0.0)}

    def state(self, seed: int) -> dict:
        """The final state, for tests.

        Args:
            seed: of the run.

        Returns:
            `state`, in lists.
        """
        return {"state": _state(self.run(seed)).astype(float).tolist()}

    def agree(self) -> dict:
        """How far apart the fastest path of the workload and the scan are at its end, from the same noise.

        Returns:
            `ulps`, units in the last place of the largest position, and both `paths`.
        """
        import sdesim
        from sdesim.bench.peers import sdesim_model

        w: Any = self.variant.part(self.workload)
        how: dict[str, Any] = dict(agents=w.agents, sims=w.sims, steps=w.steps, dims=w.dims, init=w.start)
        # No kernel takes an observable of every step.
        looks = ((), sdesim.observe.FirstNonFinite())
        found = [sdesim.simulate(sdesim_model(w), observe=observe, **how) for observe in looks]
        fast, scan = (np.asarray(result.agents) for result in found)
        unit = np.spacing(np.abs(scan).max())
        return {"ulps": float(np.abs(fast - scan).max() / unit), "paths": [r.run["path"] for r in found]}

    def words(self, times: int) -> dict:
        """Random words a second of the generator alone, in C++.

        Args:
            times: how often each lane makes a word pair.

        Returns:
            `rate`.
        """
        from sdesim.bench.native import Native

        program = Native()
        program.words(times // 10, 0)
        began = time.perf_counter()
        count = program.words(times, 0)
        return {"rate": count / (time.perf_counter() - began)}

    def device(self) -> dict:
        """What JAX computes on here, and how many multiprocessors it has if it is a GPU."""
        import jax

        first = jax.devices()[0]
        return {"platform": first.platform, "kind": first.device_kind, "units": getattr(first, "core_count", 0)}

    def bandwidth(self) -> dict:
        """Bytes a second that the device reads and writes, by the best of several passes over a gigabyte."""
        import jax
        import jax.numpy as jnp

        x = jnp.zeros(1 << 28, jnp.float32)
        step = jax.jit(lambda x: x + 1.0).lower(x).compile()
        times = []
        for _ in range(10):
            began = time.perf_counter()
            step(x).block_until_ready()
            times.append(time.perf_counter() - began)
        return {"rate": 2 * x.nbytes / min(times)}

    def figure(self, name: str, preset: str) -> dict:
        """Seconds to compute the data of a figure, after a first time that compiles.

        Args:
            name: of the figure.
            preset: of its configuration.

        Returns:
            `first`, the `seconds` of three more, and what is found of its `claims`, in words.
        """
        from sdesim.papers import experiment
        from sdesim.papers.frame.experiment import judged

        drawn, spent, data = experiment(name), [], None
        config = drawn.preset(preset)
        for _ in range(4):
            began = time.perf_counter()
            data = drawn.run(config, False)
            spent.append(time.perf_counter() - began)
        assert data is not None
        counted = [claim for claim in judged(drawn, config, data, preset) if claim.counted]
        others = [f"{claim.id} {claim.verdict}" for claim in counted if claim.verdict != "holds"]
        said = f"{len(counted) - len(others)} of {len(counted)} hold" + "".join(f"; {other}" for other in others)
        return {"first": spent[0], "seconds": spent[1:], "claims": said}


def _state(result: Any) -> np.ndarray:
    """What a variant returned, as NumPy's array."""
    return np.asarray(getattr(result, "agents", result))


def serve(variant: str, workload: dict, requests: Iterable[str], replies: IO[str]) -> None:
    """Answer requests until there are no more.

    Args:
        variant: its name.
        workload: its fields.
        requests: a line of JSON each.
        replies: file to which a line of JSON each is written.
    """
    worker = Worker(variant, workload_of(workload))
    for line in requests:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # told to the parent, which goes on without this variant
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(reply), file=replies, flush=True)


def main() -> None:
    """Serve the variant and workload of the command line until there are no more requests."""
    # Libraries that print must not break the protocol.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # the parent tells the user
        serve(sys.argv[1], json.loads(sys.argv[2]), sys.stdin, replies)
