"""Data files, and what every one of them says of its origin."""

import contextlib
import functools
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import subprocess
from datetime import UTC, datetime

import jax
import xarray as xr

from sdesim._version import __version__
from sdesim.files import Damaged, read_sealed, write_sealed


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


FORMAT = 1  # of the files that are read again; another number where their meaning changes


def check_kind(data: xr.Dataset, kind: str, said: str) -> None:
    """Refuse a file of ours that is of another kind or format.

    Raises:
        Damaged: a ValueError.
    """
    found = data.attrs.get("sdesim_kind")
    if found != kind:
        what = "no kind of sdesim's" if found is None else f"a {found}"
        raise Damaged(said, f"is {what}, and not a {kind} saved by sdesim", "name another file")
    if (number := data.attrs.get("sdesim_format")) != FORMAT:
        version = data.attrs.get("sdesim_version", "unknown")
        why = f"is of format {number} (sdesim {version}), and this version reads {FORMAT}"
        raise Damaged(said, why, "read it with that version, or make it again")


def write_dataset(data: xr.Dataset, path) -> None:
    """Write a Dataset as compressed netCDF with a checksum behind it, whole or not at all.

    HDF5 builds the file in memory: it cannot close one on a full disk, and takes the process with it.

    Raises:
        FileNotFoundError, WriteError: as `sdesim.files.replacing`.
    """
    encoding = {name: {"zlib": True, "complevel": 4} for name, v in data.data_vars.items() if v.size > 1000}
    write_sealed(data.to_netcdf(engine="h5netcdf", encoding=encoding), path)


def read_dataset(path, name: str = "path") -> xr.Dataset:
    """What `write_dataset` wrote, its checksum verified before HDF5 sees a byte of it.

    name: how errors call the path.

    Raises:
        FileNotFoundError, ValueError: as `sdesim.files.read_sealed`.
    """
    blob = io.BytesIO(read_sealed(path, name))
    try:
        with xr.open_dataset(blob, engine="h5netcdf") as opened:
            return opened.load()
    except (OSError, ValueError) as error:
        raise Damaged(f"{name}={str(path)!r}", "is no netCDF file", "name another file") from error
