"""Labelled data and the netCDF files that hold it: units and meaning of every variable, and a header."""

import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from sdesim.results.files import Damaged, read_sealed, write_sealed
from sdesim.results.recipe import Call
from sdesim.results.schema import VERSION, VERSIONED, Header

SIZES = {"agents": "n_agents", "dims": "n_dims", "steps": "n_steps"}
"""Sizes that a grid may name, and what their dimensions are called: "agents" is the name of the positions."""
POINT = "point"  # the dimension of a design's points


def dimension(name: str) -> str:
    """The dimension of what a grid names, an identifier: "coupling.k" is `coupling_k`, for `data.sel(coupling_k=3)`.

    Args:
        name: of a number of the model, dotted, or of the stepper, or of a size.

    Returns:
        The dimension's name.
    """
    return SIZES.get(name, name.replace(".", "_"))


def has_mean(name: str, dims: Iterable[Any]) -> bool:
    """Whether something is said of simulations of which there is a mean: all that is not of single agents, nor a date.

    Args:
        name: of a variable.
        dims: its dimensions.
    """
    return name != "diverged" and not any(str(a).endswith("agent") for a in dims)


def with_summaries(names: Iterable[str]) -> set[str]:
    """Names of what is at the end, and of its means and errors over simulations, which nothing recorded is called by.

    Args:
        names: of variables.
    """
    names = list(names)
    return {*names, *(f"{name}_{of}" for name in names for of in ("mean", "stderr"))}


def with_errors(data: xr.Dataset) -> xr.Dataset:
    """The data with the mean over simulations, and its standard error, of all that has no agent axis.

    Args:
        data: with a dimension "sim".

    Returns:
        The data, with `NAME_mean` and `NAME_stderr` of each such variable.
    """
    from sdesim.statistics import monte_carlo  # here: it imports JAX, and who only reads does not wait for that

    summaries: dict[str, Any] = {}
    for name, value in data.data_vars.items():
        if not has_mean(str(name), value.dims):
            continue
        mean, stderr = monte_carlo(value.values, axis=value.dims.index("sim"))
        rest = tuple(a for a in value.dims if a != "sim")
        summaries[f"{name}_mean"], summaries[f"{name}_stderr"] = (rest, mean), (rest, stderr)
    return data.assign(summaries)


# What files hold beside what is observed, by name: units and meaning. Lengths and times are those of the loss, see
# docs/models.md.
LABELS = {
    "agents": ("length", "position of each agent"),
    "quorum": ("length", "mean of the agents"),
    "center": ("length", "signal that the coupling pulls towards"),
    "velocity": ("length / time", "velocity of each agent"),
    "diverged": ("1", "first step after which it was not finite, or -1"),
    "eta": ("time", "learning rate"),
    "k": ("1 / time", "gain of the coupling"),
    "coupling_k": ("1 / time", "gain of the coupling"),
    "momentum_delta": ("1", "momentum"),
    "momentum_mu": ("1 / time", "friction"),
    "noise_half_width": ("length / time", "half width of the gradients' noise"),
    "noise_sigma": ("length / time", "standard deviation of the gradients' noise"),
    "time": ("time", "time since the start"),
    "step": ("1", "number of the step"),
    "sim": ("1", "number of the simulation"),
    "agent": ("1", "number of the agent"),
    "dim": ("1", "coordinate"),
    "n_agents": ("1", "number of agents"),
    "n_dims": ("1", "number of dimensions"),
    "n_steps": ("1", "number of steps"),
}
_SUFFIXES = {"_mean": "mean over simulations", "_stderr": "standard error over simulations", "_series": "recorded"}


def label_by_name(name: str, labels: Mapping[str, tuple[str, str]] = LABELS) -> tuple[str, str]:
    """Units and meaning of a variable by its name.

    Args:
        name: of the variable.
        labels: units and meaning of names.

    Returns:
        Units and meaning; of a name that nobody has described "not stated", and the name.
    """
    if name in labels:
        return labels[name]
    for suffix, what in _SUFFIXES.items():
        if name.endswith(suffix):
            units, meaning = label_by_name(name.removesuffix(suffix), labels)
            return units, f"{what}: {meaning}"
    if name.endswith("_bin"):
        return "length", "where each bin begins"
    return "not stated", name.replace("_", " ")


def attributes(label: tuple[str, str] | None) -> dict[str, str]:
    """What a variable says of itself.

    Args:
        label: its units and meaning; None where they are not stated.

    Returns:
        Its attributes.
    """
    return {} if label is None else dict(zip(("units", "long_name"), label, strict=True))


def grid_axis(name: str, values: Any, *, along: str | None = None, numbered: bool = False) -> xr.Variable:
    """The labels of the dimension of what a grid names, with units, meaning, and the name in the grid.

    Args:
        name: in the grid.
        values: of it, one a place.
        along: the dimension that they lie along; by default their own.
        numbered: whether they count values that are no single numbers.

    Returns:
        The coordinate. Its attribute `grid_name` is the name; of what nobody has described the meaning is, too.
    """
    units, meaning = label_by_name(dimension(name))
    if numbered:
        units, meaning = "1", f"number of the values of {name}"
    elif units == "not stated":
        meaning = name
    return xr.Variable(along or dimension(name), values, {"units": units, "long_name": meaning, "grid_name": name})


def label_of(variable: xr.Variable | xr.DataArray) -> tuple[str, str] | None:
    """What `attributes` made attributes of.

    Args:
        variable: of a Dataset.

    Returns:
        Its units and meaning; None where it does not say both.
    """
    said = variable.attrs
    return (said["units"], said["long_name"]) if {"units", "long_name"} <= said.keys() else None


def describe(
    data: xr.Dataset,
    kind: str,
    settings: Any,
    call: Call | str,
    labels: Mapping[str, tuple[str, str]] | None = None,
    **more: Any,
) -> xr.Dataset:
    """The data with all that a file of ours says: the header, and units and meaning of every variable.

    Args:
        data: what is described, in place.
        kind: as `Header.new`.
        settings: as `Header.new`.
        call: as `Header.new`.
        labels: (units, meaning) of names that are not in LABELS, or mean something else here. What a variable says
            itself, in its attributes, comes first, and is said of its mean and error too.
        **more: as `Header.new`.

    Returns:
        `data`.

    Raises:
        TypeError: as `Header.new`.
    """
    labeled(data, labels).attrs = Header.new(kind, settings, call, **more).attributes()
    return data


def labeled(data: xr.Dataset, labels: Mapping[str, tuple[str, str]] | None = None) -> xr.Dataset:
    """The data with units and meaning of every variable.

    Args:
        data: what is described, in place.
        labels: as for `describe`.

    Returns:
        `data`.
    """
    says = {str(name): label for name, v in data.variables.items() if (label := label_of(v)) is not None}
    known = {**LABELS, **(labels or {}), **says}
    for name in data.variables:
        data[name].attrs = {**attributes(label_by_name(str(name), known)), **data[name].attrs}
    return data


def write_dataset(data: xr.Dataset, path: str | os.PathLike) -> None:
    """Write a Dataset as compressed netCDF with a checksum behind it, whole or not at all.

    HDF5 builds the file in memory: it cannot close one on a full disk, and takes the process with it.

    Args:
        data: what is written.
        path: of the file.

    Raises:
        FileNotFoundError: as `sdesim.results.files.replacing`.
        WriteError: likewise.
    """
    encoding = {name: {"zlib": True, "complevel": 4} for name, v in data.data_vars.items() if v.size > 1000}
    with data.to_netcdf(engine="h5netcdf", encoding=encoding) as blob:  # a view, which is to be given back
        write_sealed(blob, path)


_CLASSIC = b"CDF"  # with which netCDF-3 begins


def to_bytes(data: xr.Dataset) -> bytes:
    """A small Dataset as netCDF-3, which takes a millisecond, a fortieth of netCDF-4 with its HDF5.

    Args:
        data: the Dataset. Whole numbers come back as 32 bits, unless they need more: then as netCDF-4.

    Returns:
        The bytes of the file.
    """
    try:
        return bytes(data.to_netcdf(engine="scipy"))
    except (ValueError, TypeError):  # a type that netCDF-3 has no room for
        with data.to_netcdf(engine="h5netcdf") as blob:
            return bytes(blob)


def from_bytes(blob: bytes, said: str) -> xr.Dataset:
    """What `to_bytes` made, or any other netCDF.

    Args:
        blob: the bytes of the file, whose checksum was verified.
        said: how errors call the file.

    Returns:
        The data, in memory.

    Raises:
        Damaged: for bytes that are no netCDF file, and what only a stranger would write; a ValueError.
    """
    classic = blob.startswith(_CLASSIC)
    failures = Exception if classic else (OSError, ValueError)  # SciPy reads the bytes of others as they come
    try:
        why = None if classic else _reads_elsewhere(blob)
        if why is None:
            with xr.open_dataset(io.BytesIO(blob), engine="scipy" if classic else "h5netcdf") as opened:
                if opened.nbytes <= _DENSEST * len(blob):
                    return opened.load()
                why = f"claims to hold {opened.nbytes} bytes of values, which its {len(blob)} cannot"
    except failures as error:
        raise Damaged(said, "is no netCDF file", "name another file") from error
    raise Damaged(said, why, "name another file")


_DENSEST = 2000  # bytes of values in a byte of a file, at the most: zlib's best is half of that


def _reads_elsewhere(blob: bytes) -> str | None:
    """What is wrong with an HDF5 file whose values would be those of another file, any that its reader may read."""
    import h5py

    with h5py.File(io.BytesIO(blob)) as file:
        names = ["/"]
        file.visit(names.append)  # along hard links alone
        for name in names:
            thing, elsewhere = file[name], False
            if isinstance(thing, h5py.Dataset):
                elsewhere = thing.is_virtual or thing.external
            elif isinstance(thing, h5py.Group):
                elsewhere = any(not isinstance(thing.get(n, getlink=True), h5py.HardLink) for n in thing)
            if elsewhere:
                return f"would read other files: {name} is a link"
    return None


def as_now(data: xr.Dataset) -> xr.Dataset:
    """Data of a file with the names of this version of the schema.

    Args:
        data: as it was written, with its header if it is one of ours.

    Returns:
        The data; until format 4 a dimension of a grid was called as in the grid, "coupling.k".
    """
    version = data.attrs.get(VERSIONED, VERSION)
    if not isinstance(version, int | np.integer) or version >= 4:  # what is no version, the header's reader says
        return data
    return data.rename({name: dimension(str(name)) for name in {*data.dims, *data.coords} if "." in str(name)})


def read_dataset(path: str | os.PathLike, name: str = "path") -> xr.Dataset:
    """What `write_dataset` wrote, its checksum verified before HDF5 sees a byte of it.

    Args:
        path: of the file.
        name: how errors call the path.

    Returns:
        The data, in memory, as `as_now` names it.

    Raises:
        FileNotFoundError: as `sdesim.results.files.read_sealed`.
        Damaged: likewise, and for bytes that are no netCDF file; a ValueError.
    """
    return as_now(from_bytes(read_sealed(path, name), f"{name}={str(path)!r}"))


def read_described(
    path: str | os.PathLike, kind: str, name: str = "path", needs: Iterable[str] = ()
) -> tuple[xr.Dataset, Header]:
    """Data of one kind that `describe` described and `write_dataset` wrote, with its header.

    Args:
        path: of the file.
        kind: as `Header.of`.
        name: how errors call the path.
        needs: as `Header.of`.

    Returns:
        The data and the header.

    Raises:
        FileNotFoundError: as `read_dataset`.
        Damaged: as `read_dataset` and `Header.of`; a ValueError.
    """
    data = read_dataset(path, name)
    return data, Header.of(data.attrs, kind, f"{name}={str(path)!r}", needs)
