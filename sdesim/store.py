"""Files that are whole or not there, and what every data file says of its origin."""

import contextlib
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

import jax
import xarray as xr

from sdesim._version import __version__


@functools.cache
def _commit() -> str:
    """The commit that sdesim runs from, as far as it can be known: of a checkout, or of an installation from git."""
    folder = pathlib.Path(__file__).resolve().parent
    if (folder.parent / ".git").exists():
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, TypeError):
        origin = importlib.metadata.distribution("sdesim").read_text("direct_url.json")
        return json.loads(origin or "{}").get("vcs_info", {}).get("commit_id", "unknown")
    return "unknown"


@functools.cache
def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "equinox", "diffrax", "numpy", "xarray")
    return {f"{name}_version": importlib.metadata.version(name) for name in packages}


def provenance() -> dict[str, str]:
    """Versions, commit, device, precision and time, as attributes of a data file."""
    device = jax.devices()[0]
    return {
        "sdesim_version": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_versions(),
        "device": f"{device.platform}: {device.device_kind} x {jax.device_count()}",
        "x64": str(jax.dtypes.canonicalize_dtype(float).itemsize == 8),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cache_folder() -> pathlib.Path | None:
    """Where what can be had again is kept: $SDESIM_CACHE, or sdesim in $XDG_CACHE_HOME, or in ~/.cache. None, for
    nowhere, if SDESIM_CACHE is set to nothing."""
    if (named := os.environ.get("SDESIM_CACHE")) is not None:
        return pathlib.Path(named).expanduser() if named else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "sdesim"


@contextlib.contextmanager
def replacing(path) -> Iterator[pathlib.Path]:
    """A temporary name beside `path` to write to; renamed to `path` on success, removed on any failure."""
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: its folder does not exist; make it first")
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 is not what a user expects of a picture
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder) -> pathlib.Path:
    """The folder, made if it is not there.

    Raises:
        ValueError: if it cannot be made or written to.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"out={str(folder)!r}: must be a folder that can be written to ({error.strerror})") from error
    return folder


def write_dataset(data: xr.Dataset, path) -> None:
    """Write a Dataset as compressed netCDF, whole or not at all."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, v in data.data_vars.items() if v.size > 1000}
    with replacing(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
