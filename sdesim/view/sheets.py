"""What there is to look at in a folder or a file: stores, data, figures with their claims, timetables, a sheet each."""

import dataclasses
import json
import pathlib
from typing import Any, Literal

import xarray as xr

from sdesim.asynchrony.tables import Timetable
from sdesim.ensembles import opening
from sdesim.ensembles.opening import header_of, opened
from sdesim.papers import MODULES
from sdesim.papers.frame import registry
from sdesim.results.datasets import read_dataset
from sdesim.results.schema import KIND, KINDS, Header
from sdesim.results.stores.folder import MANIFEST, Store

What = Literal["store", "data", "training", "figure", "timetable"]


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One thing to look at.

    Attributes:
        name: that it is chosen by.
        what: it is.
        path: of its file or folder.
    """

    name: str
    what: What
    path: pathlib.Path

    def data(self) -> xr.Dataset:
        """What can be drawn of it, as it is now.

        Returns:
            Of a store, what is told over simulations alone, so that no file of a task is opened.

        Raises:
            ValueError: if it is damaged, or of another kind.
            FileNotFoundError: if it is gone.
        """
        if self.what == "store":
            data = opening.open(self.path)
            return data.drop_vars([name for name, v in data.data_vars.items() if "sim" in v.dims])
        return read_dataset(self.path)

    def store(self) -> Store:
        """The store that it is of.

        Raises:
            ValueError: if it is damaged.
            FileNotFoundError: if it is gone.
        """
        return opened(self.path)

    def timetable(self) -> Timetable:
        """The timetable that it is of.

        Raises:
            ValueError: if it is none.
        """
        return Timetable.load(self.path)

    def claims(self) -> list[registry.Entry]:
        """What was found of a figure's statements; nothing for other sheets."""
        return registry.of_figure(self.name, self.path.parent) if self.what == "figure" else []

    def picture(self) -> bytes | None:
        """The picture of a figure, a PNG file; None where there is none."""
        path = self.path.parent / f"{self.name}.png"
        return path.read_bytes() if self.what == "figure" and path.is_file() else None

    def said(self) -> dict[str, str]:
        """How it was made, by what, when and where: names and values as text; nothing where that is not known."""
        path = self.path.with_name(f"{self.name}.nc") if self.what == "figure" else self.path
        if self.what == "timetable" or not path.exists():
            return {}
        if self.what == "store":
            header = header_of(self.store())
        else:
            attributes = read_dataset(path).attrs
            if (kind := attributes.get(KIND)) not in KINDS:
                return {str(name): str(value) for name, value in attributes.items()}
            header = Header.of(attributes, kind, f"path={str(path)!r}")
        return {"made by": header.made_by, "settings": json.dumps(header.settings, indent=1), **_plain(header)}


def _plain(header: Header) -> dict[str, str]:
    fields = {"path": header.path, "seconds": header.seconds, **header.origin}
    return {name.replace("_", " "): str(value) for name, value in fields.items() if value is not None}


def sheets(path: Any) -> list[Sheet]:
    """What there is to look at.

    Args:
        path: of a store; of a file of sdesim, or a timetable as a CSV file; or of a folder with such files in it.

    Returns:
        The sheets, at least one.

    Raises:
        FileNotFoundError: if there is nothing there, or nothing to look at.
        ValueError: for a file of another kind.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path={str(path)!r}: there is no such file or folder")
    if path.is_file():
        return [_of_file(path)]
    if (path / MANIFEST).is_file():
        opened(path)
        return [Sheet(path.name, "store", path)]
    found = [Sheet(name, "figure", path / f"{name}.claims.json") for name in _figures(path)]
    known = {sheet.name for sheet in found}
    found += [_of_file(file) for file in sorted(path.glob("*.nc")) if file.stem not in known]
    found += [Sheet(file.stem, "timetable", file) for file in sorted(path.glob("*.csv")) if _is_timetable(file)]
    found += [Sheet(each.name, "store", each) for each in sorted(path.iterdir()) if (each / MANIFEST).is_file()]
    if not found:
        kinds = "a store, NAME.nc files, timetables (.csv), or figures with their NAME.claims.json"
        raise FileNotFoundError(f"path={str(path)!r}: holds nothing to look at; must be or hold {kinds}")
    return found


def _figures(folder: pathlib.Path) -> list[str]:
    """Figures whose claims are there, in the order of the gallery."""
    there = {file.name.removesuffix(".claims.json") for file in folder.glob("*.claims.json")}
    return [name for name in MODULES if name in there] + sorted(there - set(MODULES))


def _is_timetable(path: pathlib.Path) -> bool:
    """Whether a CSV file is one: another table, such as an exported sweep, is nothing to look at here."""
    try:
        return bool(Timetable.load(path).sims)
    except ValueError:
        return False


def _of_file(path: pathlib.Path) -> Sheet:
    if path.suffix == ".csv":
        Timetable.load(path)
        return Sheet(path.stem, "timetable", path)
    if path.name.endswith(".claims.json"):
        return Sheet(path.name.removesuffix(".claims.json"), "figure", path)
    if path.suffix != ".nc":
        raise ValueError(f"path={str(path)!r}: must be a .nc file of sdesim, a timetable .csv, or a .claims.json")
    kind = read_dataset(path).attrs.get(KIND)
    return Sheet(path.stem, "training" if kind == "training" else "data", path)
