"""The folder of what can be had again: data, runs of figures, and what XLA has compiled for the command line."""

import hashlib
import os
import pathlib
import platform

COMPILED_BYTES = 512 * 2**20
"""Of what is compiled for one kind of processor; beyond, JAX removes what was not used for longest."""


def cache_folder() -> pathlib.Path | None:
    """Where what can be had again is kept: $SDESIM_CACHE, or sdesim in $XDG_CACHE_HOME, or in ~/.cache.

    Returns:
        The folder, which need not be there; None, for nowhere, if SDESIM_CACHE is set to nothing.
    """
    if (named := os.environ.get("SDESIM_CACHE")) is not None:
        return pathlib.Path(named).expanduser() if named else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "sdesim"


def keep_compiled() -> None:
    """Have JAX keep what XLA compiles from one process to the next: to be called before JAX is imported.

    By JAX's own variables of the environment, which processes that this one starts inherit, and of which those that are
    set stay as they are: JAX_ENABLE_COMPILATION_CACHE=0 keeps nothing, JAX_COMPILATION_CACHE_DIR names another folder.
    Nothing is kept either where there is no cache, or none that can be written.
    """
    cache = cache_folder()
    if cache is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache / "compiled" / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(COMPILED_BYTES))
    # A command runs many small programs: each is soon compiled, and sooner read.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def processor() -> str:
    """A hash of what XLA compiles for: the processor's name and features. Unlike nodes may share a home folder."""
    said = [platform.machine(), platform.processor()]
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            said += sorted({line.strip() for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:  # not of Linux
        pass
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
