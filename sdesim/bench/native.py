"""The hand-written C++ of the same step, built on the spot where there is a compiler."""

import ctypes
import pathlib
import platform
import shutil
import subprocess
import tempfile

import numpy as np

from sdesim.bench.workloads import Workload

SOURCE = pathlib.Path(__file__).with_name("native.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
LANES = 16


def compiler() -> str | None:
    """The C++ compiler of this machine, or None."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def cpu() -> tuple[str, int]:
    """Model of the CPU and the width of its vectors in bits."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), 128
    lines: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        lines.setdefault(key.strip(), value.strip())
    flags = lines.get("flags", "").split()
    width = 512 if "avx512f" in flags else 256 if "avx2" in flags else 128
    return lines.get("model name", platform.machine()), width


class Native:
    """The program, compiled for this CPU and loaded into this process.

    It must be a process made for it: `-ffast-math` may set one to flush denormal numbers to zero.

    Raises:
        RuntimeError: with the compiler's first words, if it fails; or without a compiler.
    """

    def __init__(self):
        command = compiler()
        if command is None:
            raise RuntimeError(f"no C++ compiler among {', '.join(COMPILERS)}")
        wide = ["-mprefer-vector-width=512"] if cpu()[1] == 512 else []
        with tempfile.TemporaryDirectory(prefix="sdesim-bench-") as folder:
            library = pathlib.Path(folder) / "native.so"
            arguments = [command, *FLAGS, *wide, f"-DLANES={LANES}", str(SOURCE), "-o", str(library)]
            done = subprocess.run(arguments, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{command}: {(done.stderr.strip().splitlines() or ['failed'])[0]}")
            self._library = ctypes.CDLL(str(library))  # stays loaded when its file is gone
        self._library.sdesim_words.restype = ctypes.c_uint32

    def run(self, workload: Workload, seed: int) -> np.ndarray:
        """Run a workload.

        Args:
            workload: with an even number of agents.
            seed: 0 to 2**64 - 1.

        Returns:
            The final state, (sims, agents, dims).

        Raises:
            ValueError: for an odd number of agents, which the program does not step.
        """
        w = workload
        if w.agents % 2:
            raise ValueError(f"agents={w.agents}: the C++ program steps pairs of agents")
        out = np.empty((w.sims, w.agents, w.dims), np.float32)
        sizes = (w.dims, int(w.noise == "gaussian"), w.sims, w.agents, w.steps)
        amplitude = w.sigma if w.noise == "gaussian" else w.half_width
        numbers = map(ctypes.c_float, (w.eta, w.k, w.momentum, amplitude, w.start))
        words = _seed(seed)
        self._library.sdesim_run(*sizes, _pointer(words), *numbers, _pointer(out))
        return out

    def words(self, times: int, seed: int) -> int:
        """Make and fold one word pair a lane, so many times over.

        Args:
            times: how often.
            seed: 0 to 2**64 - 1.

        Returns:
            How many words.
        """
        words = _seed(seed)
        self._library.sdesim_words(ctypes.c_uint32(times), _pointer(words))
        return 2 * LANES * times


def _seed(seed: int) -> np.ndarray:
    return np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
