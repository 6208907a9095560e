"""A store, or any data, as one file of another kind: zarr, netCDF, CSV."""

import os
import pathlib
from typing import Any

import numpy as np
import xarray as xr

from sdesim.ensembles.opening import open as open_store
from sdesim.fields import shown
from sdesim.results.datasets import write_dataset
from sdesim.results.files import temporary_folder, write_text

SLAB = 2**27  # bytes that are read at a time
CHUNK = 2**20  # numbers of a chunk of zarr, about


def consolidate(store: str | os.PathLike, out: str | os.PathLike) -> None:
    """Write a sweep's store as one zarr of version 3, whole or not at all: for reading by others, and from afar.

    What is written is what is done by now; the store stays as it is. Needs the extra `zarr`.

    Args:
        store: its folder.
        out: name of the zarr, which must not be there.

    Raises:
        FileNotFoundError: if there is no such store.
        FileExistsError: if there is something of the name.
        TypeError: for what is no name.
        ImportError: without the package zarr.
        Damaged: for damaged tasks; a ValueError.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImportError("consolidate needs zarr: pip install 'sdesim[zarr]'") from error
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out={shown(out)}: must be the name of a zarr to write")
    data, path = open_store(store), pathlib.Path(out)
    if path.exists():
        raise FileExistsError(f"out={str(path)!r}: must not be there yet; remove it, or name another")
    with temporary_folder(path.parent, path.stem) as temporary:
        group = zarr.open_group(str(temporary / "zarr"), mode="w", zarr_format=3)
        group.attrs.update({str(name): _plain(value) for name, value in data.attrs.items()})
        for name, variable in data.variables.items():
            _write(group, str(name), variable)
        (temporary / "zarr").rename(path)


def _write(group: Any, name: str, variable: xr.Variable) -> None:
    """A variable, slab by slab of its first dimension."""
    chunks, left = [], CHUNK
    for length in reversed(variable.shape):  # whole rows of the last dimensions
        chunks.insert(0, max(1, min(length, left)))
        left = max(1, left // max(1, length))
    said = dict(shape=variable.shape, chunks=tuple(chunks), dtype=variable.dtype, dimension_names=variable.dims)
    fill = np.nan if variable.dtype.kind == "f" else 0
    attributes = {str(k): _plain(v) for k, v in variable.attrs.items()}
    array = group.create_array(name, fill_value=fill, attributes=attributes, **said)
    if not variable.ndim:
        array[...] = variable.values
        return
    row = variable.dtype.itemsize * max(1, variable.size // max(1, variable.shape[0]))
    step = max(1, SLAB // row // chunks[0]) * chunks[0]
    for begin in range(0, variable.shape[0], step):
        array[begin : begin + step] = variable[begin : begin + step].values


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def export(data: xr.Dataset, out: str | os.PathLike) -> None:
    """Write data as netCDF (.nc) or as a table (.csv), whole or not at all.

    Of a table, each row is a point of the grid, with means, errors and how many simulations are done; or, of data
    without a grid's means, whatever `to_dataframe` makes of it.

    Args:
        data: of `sdesim.open` or `sdesim.sweep`.
        out: name of the file.

    Raises:
        ValueError: for another kind of file.
        FileNotFoundError: if its folder does not exist.
        WriteError: if it cannot be written.
    """
    path = pathlib.Path(out)
    if path.suffix == ".nc":
        write_dataset(data, path)
    elif path.suffix == ".csv":
        write_text(path, table_of(data).to_csv())
    else:
        raise ValueError(f"out={str(path)!r}: must end in .nc, .csv or .zarr")


def table_of(data: xr.Dataset) -> Any:
    """Means and errors of a sweep as a table of pandas, a row a point (and record, coordinate).

    Args:
        data: of `sdesim.open` or `sdesim.sweep`.

    Returns:
        A DataFrame.
    """
    means = [str(n) for n in data.data_vars if str(n).endswith(("_mean", "_stderr")) or n == "done"]
    kept = [n for n in means if "sim" not in data[n].dims]
    return (data[kept] if kept else data).to_dataframe()
