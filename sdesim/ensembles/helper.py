"""A process that works on a sweep's store beside the one that started it: `python -m sdesim.ensembles.helper CORES`.

It is handed the sweep over its standard input, pickled by its own parent, of the same user on the same machine, and
ends when that input does. Its cores are its own before JAX is imported, which counts them.
"""

import os
import struct
import sys
import threading


def main() -> None:
    """Work until all tasks are done, or the parent is gone."""
    cores = [int(core) for core in sys.argv[1].split(",") if core]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    source = sys.stdin.buffer
    (size,) = struct.unpack("<Q", source.read(8))
    blob = source.read(size)

    def end_with_parent() -> None:
        source.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    from sdesim.ensembles.processes import help_with

    help_with(blob)
    os._exit(0)  # the other thread holds the input


if __name__ == "__main__":
    main()
