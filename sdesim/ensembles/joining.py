"""`join`: parts of one sweep as the sweep that they are parts of."""

import collections
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from sdesim.fields import shown
from sdesim.random import said_in
from sdesim.results.datasets import as_now, describe, dimension, with_errors
from sdesim.results.schema import Header


def join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Parts of a sweep, run apart, as the one sweep that they make.

    Simulations 0-99 and 100-199 (`first_sim=100`) are 200 of one run, and a grid may be cut along any of its names, or
    along several: the parts must tile it. Means and standard errors are computed anew, of all simulations.

    Args:
        parts: what `sweep` returned for each, or read from files, in any order along the simulations; along a grid, in
            the order that its values are to have.

    Returns:
        A Dataset as that of `sweep`: the very numbers of the whole run.

    Raises:
        TypeError: for what is no Dataset of `sweep`.
        ValueError: for parts without its header, of different settings, that overlap, or that leave holes.
    """
    if isinstance(parts, xr.Dataset) or not isinstance(parts, Sequence) or not parts:
        raise TypeError(f"parts={shown(parts)}: must be a non-empty list of Datasets of sdesim.sweep")
    headers = [_header(i, part) for i, part in enumerate(parts)]
    settings = [header.settings for header in headers]
    first = settings[0]
    for i, other in enumerate(settings):
        mine, theirs = _shared(first), _shared(other)
        if differing := [name for name in mine | theirs if mine.get(name) != theirs.get(name)]:
            raise ValueError(f"parts[{i}]: must have the settings of parts[0], and differs in {', '.join(differing)}")
        if sorted(map(str, parts[i].data_vars)) != sorted(map(str, parts[0].data_vars)):
            raise ValueError(f"parts[{i}]: must have the variables of parts[0]")
    names = {name: dimension(name) for name in first["grid"]}
    # Of each part, what it has of every number: values as they were given, which may be one an agent, and simulations.
    held = [
        {**{name: [_key(v) for v in s["grid"][name]] for name in names}, "sim": part["sim"].values.tolist()}
        for part, s in zip(parts, settings, strict=True)
    ]
    ranges = {name: _ranges(name, [h[name] for h in held]) for name in (*names, "sim")}
    at = {}
    for i, h in enumerate(held):
        place = tuple(ranges[name].index(tuple(h[name])) for name in ranges)
        if place in at:
            raise ValueError(f"parts[{i}]: must not overlap, and holds the same points as parts[{at[place]}]")
        at[place] = i
    missing = [p for p in itertools.product(*(range(len(r)) for r in ranges.values())) if p not in at]
    if missing:
        hole = {name: shown(r[p]) for (name, r), p in zip(ranges.items(), missing[0], strict=True)}
        raise ValueError(f"parts: must fill the grid, and none has {', '.join(f'{n} {v}' for n, v in hole.items())}")
    grid = {name: _values(name, ranges[name], held, settings) for name in names}
    data = _nested([_bare(as_now(part)) for part in parts], at, [*map(str, names.values()), "sim"], ())
    for name, values in grid.items():
        if np.ndim(values) > 1:  # numbered within each part
            data = data.assign_coords({names[name]: np.arange(len(values))})
    data = with_errors(data.transpose(*names.values(), ...))
    numbers = data["sim"].values
    if (np.diff(numbers) != 1).any():
        raise ValueError(f"parts: must fill the simulations, and hold {shown(numbers.tolist())}, with a hole between")
    joined = {**first, "grid": grid, "sims": len(numbers), "first_sim": int(numbers[0])}
    calls = "\n".join(dict.fromkeys(f"# a part:\n{header.made_by}" for header in headers))
    times = [header.seconds for header in headers if header.seconds is not None]
    return describe(
        data,
        "sweep",
        joined,
        calls,
        path="; ".join(dict.fromkeys(header.path for header in headers if header.path is not None)) or None,
        seconds=sum(times) if len(times) == len(headers) else None,
    )


APART = ("grid", "sims", "first_sim", "exact", "model")
"""Settings in which parts may differ, or that are compared name by name."""


def _header(i: int, part: Any) -> Header:
    if not isinstance(part, xr.Dataset) or "sim" not in part.dims:
        raise TypeError(f"parts[{i}]={shown(part)}: must be a Dataset of sdesim.sweep")
    header = Header.of(part.attrs, "sweep", f"parts[{i}]")
    if not isinstance(header.settings.get("grid"), dict):
        raise TypeError(f"parts[{i}]: must say its grid, as Datasets of sdesim.sweep do")
    return header


def _shared(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that all parts must have: all but where in the grid a part is, and what a swept number is else."""
    kept = {name: value for name, value in settings.items() if name not in APART} | {"random": said_in(settings)}
    model = dict(settings["model"])
    model["numbers"] = {n: v for n, v in model["numbers"].items() if n not in settings["grid"]}
    return {**kept, "grid's names": list(settings["grid"]), **{f"model {name}": value for name, value in model.items()}}


def _key(value: Any) -> Any:
    """A value of a grid as what a dictionary can look up."""
    return tuple(map(_key, value)) if isinstance(value, list) else value


def _ranges(name: str, held: list[list]) -> list[tuple]:
    """The different ranges of values that parts have, each value in one of them; simulations in order."""
    ranges = list(dict.fromkeys(map(tuple, held)))
    values = list(itertools.chain(*ranges))
    if twice := [v for v, count in collections.Counter(values).items() if count > 1]:
        what = "first_sim" if name == "sim" else f"grid[{name!r}]"
        raise ValueError(f"parts: must not overlap, and {what} {shown(twice)} is in several of different ranges")
    return sorted(ranges) if name == "sim" else ranges


def _values(name: str, ranges: list[tuple], held: list[dict[str, list]], settings: list[dict[str, Any]]) -> list:
    """The values of one name over the whole grid, as they were given."""
    where = {tuple(h[name]): s["grid"][name] for h, s in zip(held, settings, strict=True)}
    return list(itertools.chain(*(where[r] for r in ranges)))


def _bare(part: xr.Dataset) -> xr.Dataset:
    """What each simulation says: all but means and errors."""
    return part[[name for name, value in part.data_vars.items() if "sim" in value.dims]]


def _nested(parts: list[xr.Dataset], at: dict[tuple, int], axes: list[str], place: tuple) -> xr.Dataset:
    if len(place) == len(axes):
        return parts[at[place]]
    count = 1 + max(p[len(place)] for p in at)
    along = [_nested(parts, at, axes, (*place, i)) for i in range(count)]
    return along[0] if count == 1 else xr.concat(along, dim=axes[len(place)], join="outer", combine_attrs="override")
