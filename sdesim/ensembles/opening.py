"""`open`: a store as one Dataset, at any moment, whose values are read when they are asked for.

What there is follows from the manifest, the rounds and the names of files; means and their errors from cards; and only
who asks for single simulations has files of tasks opened, those that hold them.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sdesim.messages import shown
from sdesim.results.datasets import POINT, SIZES, attributes, dimension, from_bytes, grid_axis, has_mean, labeled
from sdesim.results.files import Damaged
from sdesim.results.schema import Header
from sdesim.results.stores.cards import Card, Sums
from sdesim.results.stores.cut import Rounds, Task
from sdesim.results.stores.folder import MANIFEST, Store

_PARTS = re.compile(r"\d+|\D+")
KEPT = 8  # tasks whose files stay in memory, for the next variable of them


def open(store: str | os.PathLike) -> xr.Dataset:
    """A sweep's store as one Dataset, whether it is finished or not.

    Args:
        store: its folder.

    Returns:
        As `sweep` returns it, of what is done by now: a simulation that is not has NaN, and whole numbers are floating
        then. `done` says how many simulations of each point there are; means and errors are of these. Values of single
        simulations are read from files when they are asked for.

    Raises:
        FileNotFoundError: if there is no such store.
        TypeError: for what is no name of a folder.
        Damaged: if its manifest or a round is; a ValueError. Of a task that is damaged, when its values are asked for.
    """
    found = opened(store)
    try:
        return Opened(found).data()
    except Damaged:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = f"holds what no sweep has written ({type(error).__name__}: {error})"
        raise Damaged(f"store={str(found.path)!r}", why) from error


def opened(store: Any) -> Store:
    """A store by the name of its folder.

    Args:
        store: the name.

    Returns:
        The store.

    Raises:
        FileNotFoundError: as `open`.
        TypeError: likewise.
        Damaged: likewise.
    """
    if not isinstance(store, str | os.PathLike):
        raise TypeError(f"store={shown(store)}: must be the name of a folder")
    found = Store(store)
    header_of(found)
    return found


def header_of(store: Store) -> Header:
    """What a store says of itself.

    Args:
        store: the store.

    Returns:
        The header.

    Raises:
        Damaged: if it is none; a ValueError.
    """
    return Header.of(store.manifest, "store", f"store={str(store.path / MANIFEST)!r}")


def layout_name(size: str) -> str:
    """The name of the note that says what is measured at a choice of sizes.

    Args:
        size: the hash by which rounds know the choice.
    """
    return f"layout-{size}"


def layout_of(data: xr.Dataset) -> dict[str, Any]:
    """What a task of a choice of sizes measures, as JSON holds it.

    Args:
        data: of the task, (point, sim, ...).

    Returns:
        Of each variable its dimensions, sizes, type and attributes; and the labels of dimensions.
    """
    variables = {
        str(name): {
            "dims": list(map(str, v.dims[2:])),
            "shape": list(v.shape[2:]),
            "dtype": v.dtype.str,
            "attrs": {str(k): str(a) for k, a in v.attrs.items()},
        }
        for name, v in data.data_vars.items()
    }
    labels = {str(name): c.values.tolist() for name, c in data.coords.items() if str(name) not in ("sim", "point")}
    return {"variables": variables, "labels": {n: v for n, v in labels.items() if (n,) == data[n].dims}}


def size_of(rounds: Rounds, task: Task, apart: Sequence[str]) -> str:
    """By what a store's notes know the choice of a task among the axes that are computed apart.

    Args:
        rounds: all there are.
        task: the task.
        apart: those axes.

    Returns:
        A hash.
    """
    places = ",".join(str(task.points[0, rounds.axes.index(name)]) for name in apart)
    return next(str(one.said["sizes"][places]) for one in rounds.all if places in one.said["sizes"])


def card_of(number: int, data: xr.Dataset, said: Mapping[str, Any]) -> Card:
    """The card of a task.

    Args:
        number: of the task.
        data: that it found, (point, sim, ...).
        said: of it.

    Returns:
        The card.
    """
    measured = {str(name): v.values for name, v in sorted(data.data_vars.items()) if has_mean(str(name), v.dims)}
    lost = int((data["diverged"].values >= 0).sum()) if "diverged" in data else 0
    return Card.of(number, {**said, "diverged": lost}, measured, data.sizes["point"])


class Opened:
    """A store as it is at one moment.

    Args:
        store: the store.

    Attributes:
        store: the store.
        rounds: all there are.
        tasks: those that are done, in the order of their numbers.
    """

    store: Store
    rounds: Rounds
    tasks: list[Task]

    def __init__(self, store: Store):
        self.store, self.rounds = store, store.rounds()
        self.tasks = [self.rounds.task(n) for n in sorted(store.done()) if n < self.rounds.tasks]
        sizes = dict.fromkeys(str(size) for one in self.rounds.all for size in one.said["sizes"].values())
        layouts = {size: store.noted(layout_name(size)) for size in sizes}
        self.layouts: dict[str, dict] = {size: layout for size, layout in layouts.items() if layout is not None}
        self._read = functools.lru_cache(KEPT)(self._dataset)

    # -- what there is ---------------------------------------------------------------------------------------------

    @functools.cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels of all dimensions that have any, by name; those of choices of sizes together."""
        first = int(header_of(self.store).settings["first_sim"])
        found = {dimension(name): np.asarray(self._labels(name)) for name in self.rounds.axes}
        found["sim"] = first + np.arange(self.rounds.sims)
        for layout in self.layouts.values():
            for name, values in layout["labels"].items():
                known = found.get(name)
                found[name] = np.asarray(values) if known is None else _union(known, values)
        return found

    def _labels(self, axis: str) -> list:
        return [label for one in self.rounds.all for label in one.said["labels"].get(axis, ())]

    @property
    def axes(self) -> list[str]:
        """The dimensions of a point."""
        return [dimension(name) for name in self.rounds.axes]

    def size_of(self, task: Task) -> str:
        """By what rounds know the choice of sizes of a task.

        Args:
            task: the task.

        Returns:
            A hash.
        """
        return size_of(self.rounds, task, self._apart)

    @functools.cached_property
    def _apart(self) -> list[str]:
        of_simulations = lambda name: name in SIZES or name.startswith("stepper.")  # of stores that do not say it
        return self.store.manifest.get("apart") or list(filter(of_simulations, self.rounds.axes))

    @functools.cached_property
    def done(self) -> np.ndarray:
        """Simulations that are done of each point."""
        count = np.zeros(self.rounds.counts, np.int64)
        for task in self.tasks:
            np.add.at(count, tuple(task.points.T), task.sims[1] - task.sims[0])
        return count

    def task_data(self, task: Task) -> xr.Dataset:
        """What a task found, from its file.

        Args:
            task: one that is done.

        Returns:
            (point, sim, ...).

        Raises:
            Damaged: if its file is; a ValueError.
        """
        return self._read(task.number)

    def _dataset(self, number: int) -> xr.Dataset:
        return from_bytes(self.store.get(number), f"task {number}")

    def cards(self) -> list[Card]:
        """The cards of all that is done.

        Raises:
            Damaged: where one is lost and its task is damaged; a ValueError.
        """
        again = lambda number, blob: card_of(number, from_bytes(blob, f"task {number}"), {"seconds": None})
        return list(self.store.cards((task.number for task in self.tasks), again))

    @functools.cached_property
    def summaries(self) -> dict[str, Sums]:
        """Sums over all simulations of each point, by the name of what was measured, (points..., ...)."""
        by_size: dict[str, list[tuple[Task, Card]]] = {}
        for task, card in zip(self.tasks, self.cards(), strict=True):
            by_size.setdefault(self.size_of(task), []).append((task, card))
        points, found = math.prod(self.rounds.counts), {}
        for size, pairs in by_size.items():
            layout = pairs[0][1].layout
            numbers = sum(math.prod(shape) for _, shape in layout)
            whole = Sums(np.zeros(points, np.int64), np.zeros((points, numbers)), np.zeros((points, numbers)))
            for task, card in pairs:
                if card.layout != layout:
                    raise Damaged(f"task {task.number}", "has a card of other numbers")
                here = self._flat(task.points)
                n = whole.n[here]
                mine = Sums(np.full(len(here), card.sums.n), card.sums.mean, card.sums.m2)
                if n.any():  # of simulations of points that another task has others of
                    before = Sums(n[:, None], whole.mean[here], whole.m2[here])
                    mine = before.plus(mine._replace(n=mine.n[:, None]))
                    mine = mine._replace(n=mine.n[:, 0])
                whole.n[here], whole.mean[here], whole.m2[here] = mine
            at = 0
            for name, shape in layout:
                length = math.prod(shape)
                part = [a[:, at : at + length].reshape(points, *shape) for a in (whole.mean, whole.m2)]
                found[name] = self._into(found.get(name), name, size, Sums(whole.n, *part))
                at += length
        return found

    def _flat(self, points: np.ndarray) -> np.ndarray:
        counts = self.rounds.counts
        return np.asarray(np.ravel_multi_index(tuple(points.T), counts)) if counts else np.zeros(1, int)

    def _into(self, held: Sums | None, name: str, size: str, sums: Sums) -> Sums:
        """Sums of points of one choice of sizes in arrays that have room for those of all."""
        here, tail = np.flatnonzero(sums.n), self._tail(name)
        if held is None:
            empty = np.full((len(sums.n), *(length for _, length in tail)), np.nan)
            held = Sums(np.zeros((len(sums.n), *(1 for _ in tail)), np.int64), empty, empty.copy())
        places = np.ix_(here, *self._tail_places(name, size))
        held.n[here] = sums.n[here].reshape(-1, *(1 for _ in tail))
        held.mean[places], held.m2[places] = sums.mean[here], sums.m2[here]
        return held

    def _tail(self, name: str) -> list[tuple[str, int]]:
        """The dimensions of what is measured of a simulation, and how long they are."""
        found: dict[str, int] = {}
        for layout in self.layouts.values():
            said = layout["variables"][name]
            for dim, size in zip(said["dims"], said["shape"], strict=True):
                found[dim] = len(self.labels[dim]) if dim in self.labels else max(size, found.get(dim, 0))
        return list(found.items())

    def _tail_places(self, name: str, size: str) -> list[np.ndarray]:
        """Where of all places of these dimensions those of one choice of sizes are."""
        layout = self.layouts[size]
        said = layout["variables"][name]
        place = lambda dim: {label: i for i, label in enumerate(self.labels[dim].tolist())}
        return [
            np.array([place(dim)[label] for label in layout["labels"][dim]], int)
            if dim in layout["labels"]
            else np.arange(length)
            for dim, length in zip(said["dims"], said["shape"], strict=True)
        ]

    # -- as a Dataset ----------------------------------------------------------------------------------------------

    def data(self) -> xr.Dataset:
        """All of it, lazily, with the header of a sweep."""
        variables: dict[str, xr.Variable] = {}
        first = next(iter(self.layouts.values()), {"variables": {}})
        whole = self.rounds.sims > 0 and bool((self.done == self.rounds.sims).all())
        for name, said in first["variables"].items():
            tail = self._tail(name)
            alike = all(layout["variables"][name]["shape"] == [n for _, n in tail] for layout in self.layouts.values())
            dtype = np.dtype(said["dtype"])
            if not (whole and alike) and dtype.kind != "f":
                dtype = np.dtype(float)
            shape = (*self.rounds.counts, self.rounds.sims, *(n for _, n in tail))
            dims = (*self.axes, "sim", *(d for d, _ in tail))
            lazy = _Values(shape, dtype, functools.partial(self._values, name, dtype))
            variables[name] = _variable(dims, lazy, said["attrs"])
        for name, said in first["variables"].items():
            if not has_mean(name, said["dims"]):
                continue
            tail = self._tail(name)
            shape, dims = (*self.rounds.counts, *(n for _, n in tail)), (*self.axes, *(d for d, _ in tail))
            for suffix, of in (("mean", lambda s: np.where(s.n > 0, s.mean, np.nan)), ("stderr", lambda s: s.stderr)):
                read = functools.partial(self._summary, name, shape, of)
                variables[f"{name}_{suffix}"] = _variable(dims, _Values(shape, np.dtype(float), read), {})
        said = attributes(("1", "number of simulations that are done"))
        variables["done"] = xr.Variable(tuple(self.axes), self.done, said)
        labels: dict[str, Any] = dict(self.labels)
        for name, axis in zip(self.rounds.axes, self.axes, strict=True):
            labels[axis] = grid_axis(name, labels[axis], numbered=np.ndim(self.rounds.values(name)) > 1)
        data = xr.Dataset(variables, labels)
        data = data.drop_vars([d for d in self.labels if d not in data.dims])
        if names := self.store.manifest.get("design"):
            rows = np.asarray(self.rounds.values(POINT), float).reshape(-1, len(names))
            columns = {dimension(name): grid_axis(name, rows[:, i], along=POINT) for i, name in enumerate(names)}
            data = data.assign_coords(columns)
        header = header_of(self.store)
        grid = {name: self.rounds.values(name) for name in self.rounds.axes}
        settings = {**header.settings, "grid": grid, "sims": self.rounds.sims}
        # As it was made, and not as it is read, which would start JAX to say by which device.
        labeled(data).attrs = dataclasses.replace(header, kind="sweep", settings=settings, own={}).attributes()
        return data

    def _summary(
        self, name: str, shape: tuple, of: Callable[[Sums], np.ndarray], places: list[np.ndarray]
    ) -> np.ndarray:
        if name not in self.summaries:
            return np.full([len(p) for p in places], np.nan)
        return of(self.summaries[name]).reshape(shape)[np.ix_(*places)]

    def _values(self, name: str, dtype: np.dtype, places: list[np.ndarray]) -> np.ndarray:
        """Values of some places, from the files of the tasks that have any of them."""
        tail = self._tail(name)
        counts = (*self.rounds.counts, self.rounds.sims, *(n for _, n in tail))
        wanted, back = zip(*(np.unique(p, return_inverse=True) for p in places), strict=True)
        at = [np.full(n, -1) for n in counts]
        for where, p in zip(at, wanted, strict=True):
            where[p] = np.arange(len(p))
        axes = len(self.rounds.counts)
        here = [len(p) for p in wanted]
        out = np.full((math.prod(here[:axes]), *here[axes:]), np.nan if dtype.kind == "f" else 0, dtype)
        for task in self.tasks:
            rows = [where[task.points[:, j]] for j, where in enumerate(at[:axes])]
            of_points = np.flatnonzero(np.all([r >= 0 for r in rows], axis=0)) if rows else np.arange(1)
            sims = at[axes][slice(*task.sims)]
            of_sims = np.flatnonzero(sims >= 0)
            if not of_points.size or not of_sims.size:
                continue
            spots = [np.ravel_multi_index([r[of_points] for r in rows], here[:axes]) if rows else np.zeros(1, int)]
            picks = [of_points, of_sims]
            spots.append(sims[of_sims])
            for where, mine in zip(at[axes + 1 :], self._tail_places(name, self.size_of(task)), strict=True):
                inside = where[mine]
                picks.append(np.flatnonzero(inside >= 0))
                spots.append(inside[inside >= 0])
            data = self.task_data(task)
            if name not in data:
                raise Damaged(f"task {task.number}", f"has no {name}")
            out[np.ix_(*spots)] = data[name].values[np.ix_(*picks)]
        return out.reshape(here)[np.ix_(*back)]


def _union(known: np.ndarray, more: Sequence) -> np.ndarray:
    """Labels of both, in the order of numbers, also of those in a text: agent 2 comes before agent 10."""
    number = lambda part: (part.isdecimal(), int(part) if part.isdecimal() else part)
    numbers = lambda text: list(map(number, _PARTS.findall(text)))
    both = np.union1d(known, more)
    return np.array(sorted(both.tolist(), key=numbers)) if both.dtype.kind == "U" else both


class _Values(BackendArray):
    """An array whose values are read when they are asked for."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype, read: Callable[[list[np.ndarray]], np.ndarray]):
        self.shape, self.dtype, self._read = tuple(shape), dtype, read

    def __getitem__(self, key: indexing.ExplicitIndexer):
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._of)

    def _of(self, key: tuple) -> np.ndarray:
        places = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        found = self._read(places)
        return found[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


def _variable(dims: tuple[str, ...], values: _Values, attrs: Mapping[str, str]) -> xr.Variable:
    """A variable that reads what is asked for, and keeps it."""
    lazy: Any = indexing.MemoryCachedArray(indexing.LazilyIndexedArray(values))
    lazy = indexing.CopyOnWriteArray(lazy)
    return xr.Variable(dims, lazy, dict(attrs), fastpath=True)
