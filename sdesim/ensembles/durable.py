"""A sweep in a store: what it is to compute, and how a task is computed.

What is swept, simulations or trainings, is `AbstractSweep`'s to say.
"""

import dataclasses
import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sdesim.ensembles.identity import difference, size_key, versions
from sdesim.ensembles.opening import Opened, card_of, header_of, layout_name, layout_of, size_of
from sdesim.ensembles.points import coordinate
from sdesim.ensembles.sweeps import AbstractSweep, Program
from sdesim.ensembles.warnings import DivergenceWarning
from sdesim.fields import check_count, warn
from sdesim.progress import bar
from sdesim.results.datasets import describe, dimension, to_bytes
from sdesim.results.schema import Header
from sdesim.results.stores.cut import Box, Rounds, Task, missing
from sdesim.results.stores.folder import MANIFEST, Store, StoreError
from sdesim.results.stores.work import Made, Worked, work

MADE_BY = f"# a task of a store, whose {MANIFEST} says how, with all values of its grid: too many for every file"


class SweepError(RuntimeError):
    """Some tasks of a sweep failed; all others are done and kept."""


class MemoryWarning(UserWarning):
    """A task was computed in smaller blocks than its store was made with, and its bits may differ."""


def _short_hash(text: str) -> str:
    """By which files of a store call what is too long for a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclasses.dataclass
class Durable:
    """A sweep and its store.

    Attributes:
        sweep: what is asked for.
        store: the store.
        programs: what computes each choice of the axes that are computed apart, by `size_key`.
        memory: bytes that a task may use; what is free by default.
    """

    sweep: AbstractSweep
    store: Store
    programs: dict[str, Program]
    memory: int | str | None = None

    @classmethod
    def of(
        cls,
        sweep: AbstractSweep,
        path: Any,
        *,
        lanes: int | None = None,
        mix_versions: bool = False,
        memory: int | str | None = None,
    ) -> "Durable":
        """Make a store for a sweep, or open the one that is there.

        Args:
            sweep: what is asked for.
            path: of the store's folder.
            lanes: simulations of a task at the most, for a new store; about a second's work by default.
            mix_versions: whether a store of other versions of JAX, or of another kind of device, may be added to.
            memory: bytes that a task may use; what is free by default.

        Returns:
            Both.

        Raises:
            StoreError: where the store is of another sweep: with the difference.
            ValueError: as `sdesim.sweep`.
            WriteError: if the store cannot be written.
        """
        programs = sweep.programs()
        if lanes is not None:
            lanes = check_count("lanes", lanes)
        who, now = sweep.identity(), versions()
        header = Header.new("store", sweep.settings, sweep.call, identity=who, versions=now)
        cut = {"axes": list(sweep.grid), "design": None if sweep.design is None else list(sweep.design.names)}
        cut |= {"apart": sweep.apart, "lanes": lanes or sweep.lanes()}
        store = Store.create(path, {**json.loads(json.dumps(header.attributes(), default=str)), **cut})
        found = cls(sweep, store, programs, memory)
        found._check(who, now, lanes, mix_versions)
        return found

    def _check(self, who: dict[str, Any], now: dict[str, str], lanes: int | None, mix_versions: bool) -> None:
        said, own = f"store={str(self.store.path)!r}", header_of(self.store).own
        if differing := difference(own["identity"], who):
            raise StoreError(f"{said}: is of another sweep: {'; '.join(differing)}; name another folder")
        if lanes is not None and lanes != self.store.manifest["lanes"]:
            cut = f"cut into tasks of {self.store.manifest['lanes']} lanes for good"
            raise StoreError(f"lanes={lanes}: {said} is {cut}; leave lanes out")
        if other := difference(own["versions"], now):
            if not mix_versions:
                mix = "use those, or mix_versions=True (--mix-versions), after which its simulations may differ in bits"
                raise StoreError(f"{said}: was begun with others: {'; '.join(other)}; {mix}")
            self.store.note(f"mixed-{_short_hash(json.dumps(now))}", now)
            return  # another version may call the same program by other names
        known = {key: p for one in self.store.rounds().all for key, p in one.said["programs"].items()}
        for key, program in self.programs.items():
            if key in known and known[key] != program.hash:
                where = "" if key == "{}" else f" at {key}"
                why = f"{self.sweep.parts} computes something else{where}"
                raise StoreError(f"{said}: is of another sweep: {why}; name another folder")

    # -- what is to be computed ------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Add what is asked for and not in the store yet.

        Raises:
            WriteError: if it cannot be written.
        """
        while True:
            rounds = self.store.rounds()
            new, boxes = self._missing(rounds)
            if not boxes or self.store.add(new, boxes, self._said(rounds, new, boxes), rounds):
                return

    def _missing(self, rounds: Rounds) -> tuple[dict[str, list], list[Box]]:
        new, places = {}, []
        for name, values in self.sweep.grid.items():
            known = {_key(v): i for i, v in enumerate(rounds.values(name))}
            plain = [np.asarray(v).tolist() for v in values]
            new[name] = [v for v in plain if _key(v) not in known]
            known |= {_key(v): len(known) + i for i, v in enumerate(new[name])}
            places.append(tuple(known[_key(v)] for v in plain))
        sims = (0, check_count("sims", self.sweep.sims))
        groups = [
            [tuple(along[i] for i in group) for group in self.sweep.groups(name)]
            for name, along in zip(self.sweep.grid, places, strict=True)
        ]
        wanted = [Box(tuple(at), sims) for at in itertools.product(*groups)]
        return new, missing(wanted, rounds.boxes)

    def _said(self, rounds: Rounds, new: Mapping[str, list], boxes: Sequence[Box]) -> dict[str, Any]:
        """What a round says beside: labels of new values, and by what choices of sizes are known."""
        labels = {}
        for name, values in self.sweep.grid.items():
            found = coordinate(name, values).values
            by_value = {_key(np.asarray(v).tolist()): label for v, label in zip(values, found, strict=True)}
            count = len(rounds.values(name))
            vectors = bool(np.ndim(values[0]))
            labels[name] = [
                count + i if vectors else np.asarray(by_value[_key(v)]).item() for i, v in enumerate(new[name])
            ]
        held = {name: [*rounds.values(name), *new[name]] for name in self.sweep.grid}
        axes = list(self.sweep.grid)
        sizes, programmed, widths = {}, {}, {}
        apart = self.sweep.apart
        for places in itertools.chain.from_iterable(
            itertools.product(*(box.at[axes.index(name)] for name in apart)) for box in boxes
        ):
            key = size_key({name: held[name][i] for name, i in zip(apart, places, strict=True)})
            program = self.programs[key]
            sizes[",".join(map(str, places))] = _short_hash(program.layout)
            programmed[key], widths[key] = program.hash, program.width
        return {"labels": labels, "sizes": sizes, "programs": programmed, "widths": widths}

    def plan_more(self) -> bool:
        """Add what the rule asks for, of a store all of whose tasks are done.

        Returns:
            Whether there is anything to compute, added here or by another one.

        Raises:
            ValueError: if nothing of the rule's name is measured.
            WriteError: if it cannot be written.
        """
        rule = self.sweep.rule
        if rule is None:
            return False
        found = Opened(self.store)
        if rule.name not in found.summaries:
            raise ValueError(f"until='{rule}': must name what is measured: {', '.join(sorted(found.summaries))}")
        sums, counts = found.summaries[rule.name], found.rounds.counts
        shaped = lambda a: a.reshape(*counts, -1)
        boxes = rule.boxes(found.rounds, found.done, shaped(sums.mean), shaped(sums.stderr))
        if not boxes:
            return False
        said = {**self._said(found.rounds, {name: [] for name in found.rounds.axes}, boxes), "rule": str(rule)}
        self.store.add({}, boxes, said, found.rounds)  # or another one has, by the same rule
        return True

    def run(self, progress: bool = False, engine: "Engine | None" = None) -> None:
        """Compute what is asked for, round by round.

        Args:
            progress: as for `work`.
            engine: likewise.

        Raises:
            SweepError: as `work`.
            WriteError: likewise.
        """
        self.plan()
        self.work(progress, engine)
        while self.plan_more():
            self.work(progress, engine)

    # -- how it is computed ----------------------------------------------------------------------------------------

    def compute(self, number: int) -> Made:
        """A task.

        Args:
            number: of the task.

        Returns:
            Its file and its card.

        Raises:
            MemoryError: if not even one simulation fits.
        """
        began = time.perf_counter()
        rounds = self.store.rounds()
        task = rounds.task(number)
        at = _at(rounds, task.points)
        key = size_key(self.sweep.here({name: values[0] for name, values in at.items()}))
        width = next(one.said["widths"][key] for one in rounds.all if key in one.said["widths"])
        data = self._run(number, at, len(task.points), task.sims, width, width)
        plain = {dimension(name): values for name, values in at.items() if np.ndim(values) == 1}
        data = data.assign_coords({name: ("point", values) for name, values in plain.items()})
        seconds = time.perf_counter() - began
        path = data.attrs["path"]
        size = size_of(rounds, task, self.sweep.apart)
        if self.store.noted(layout_name(size)) is None:
            self.store.note(layout_name(size), layout_of(data))
        settings = {"points": task.points.tolist(), "sims": list(task.sims)}
        describe(data, "task", settings, MADE_BY, path=path, seconds=seconds, number=number)
        return Made(to_bytes(data), card_of(number, data, {"seconds": seconds, "path": path}))

    def _run(
        self, number: int, at: Mapping[str, list], points: int, sims: tuple[int, int], width: int, usual: int
    ) -> xr.Dataset:
        """Some points and simulations of a task, in as many parts as memory makes necessary."""
        count = sims[1] - sims[0]
        natural = self.sweep.width(self.sweep.here({name: values[0] for name, values in at.items()}))
        try:
            given = None if width == natural else width
            folder = self.store.work_folder(number)
            found = self.sweep.run(at, points, sims, width=given, memory=self.memory, folder=folder)
        except MemoryError:
            run = lambda at, points, sims, width: self._run(number, at, points, sims, width, usual)
            if points * count > width and points > 1:
                cuts = ((0, points // 2), (points // 2, points))
                halves = [({name: v[slice(*cut)] for name, v in at.items()}, cut[1] - cut[0]) for cut in cuts]
                parts = [run(half, length, sims, width) for half, length in halves]
                return xr.concat(parts, "point", combine_attrs="override")
            if points * count > width and count > 1:
                middle = (sims[0] + sims[1]) // 2
                parts = [run(at, points, part, width) for part in ((sims[0], middle), (middle, sims[1]))]
                return xr.concat(parts, "sim", combine_attrs="override")
            if width == 1:
                raise
            return run(at, points, sims, width // 2)
        if width != usual:
            small = f"blocks of {width} lanes in place of {usual}, for want of memory"
            warn(f"a task was computed in {small}; its simulations may differ in bits", MemoryWarning)
            found.attrs["path"] += f"; {small}"
        return found

    # -- all of it -------------------------------------------------------------------------------------------------

    def work(self, progress: bool = False, engine: "Engine | None" = None) -> Worked:
        """Compute what is missing, with whoever else does.

        Args:
            progress: show a bar, of what all do.
            engine: has others compute it first; what they leave is computed here. None for nobody.

        Returns:
            What was done here.

        Raises:
            SweepError: if tasks failed.
            WriteError: where something cannot be written.
        """
        rounds = self.store.rounds()
        held = len(self.store.done())
        with bar(rounds.tasks - held, f"sweep ({self.store.path})", progress, "task", held) as told:

            def watch(done: set[int]) -> None:
                nonlocal held
                if len(done) > held:
                    told.update(len(done) - held)
                    held = len(done)

            if engine is not None and held < rounds.tasks:
                engine(self, watch)
            worked = work(self.store, self.compute, watch=watch)
        failed = worked.failed or self.store.failures()
        if failed:
            first = min(failed)
            said = f"{len(failed)} of {rounds.tasks} tasks failed, the first, task {first}, with {failed[first]}"
            raise SweepError(f"{said}; all others are kept, and the same call tries these again")
        return worked

    def data(self) -> xr.Dataset:
        """What was asked for, lazily.

        Returns:
            As `sdesim.open`, of the grid's values in their order.

        Warns:
            DivergenceWarning: where simulations diverged.
        """
        found = Opened(self.store)
        data, rounds = found.data(), found.rounds
        lost = sum(int(card.said.get("diverged", 0)) for card in found.cards())
        if lost:
            total = sum(task.lanes for task in found.tasks)
            kept = "They are kept and marked in `diverged`; a smaller eta or gain would be stable."
            warn(f"{lost} of {total} simulations ({lost / total:.1%}) diverged. {kept}", DivergenceWarning)
        chosen: dict[str, Any] = {}
        for name, values in self.sweep.grid.items():
            known = {_key(v): i for i, v in enumerate(rounds.values(name))}
            places = [known[_key(np.asarray(v).tolist())] for v in values]
            if places != list(range(len(known))):
                chosen[dimension(name)] = places
        if self.sweep.rule is None and self.sweep.sims != rounds.sims:
            chosen["sim"] = slice(0, self.sweep.sims)
        attrs = data.attrs
        return data.isel(chosen).assign_attrs(attrs) if chosen else data


Engine = Callable[[Durable, Callable[[set[int]], None]], None]
"""Has somebody compute the tasks of a store that are missing, each `Durable.compute(number)` and `Store.put`, or `work`
of some numbers. It is told what to tell of those that are done, and returns when nobody computes any more."""


def durable_sweep(
    sweep: AbstractSweep,
    path: Any,
    *,
    lanes: int | None,
    mix_versions: bool,
    memory: int | str | None,
    progress: bool,
    engine: Engine | None = None,
) -> xr.Dataset:
    """Run what of a sweep is not in its store yet.

    Args:
        sweep: what is asked for.
        path: as `store` for `sdesim.sweep`.
        lanes: as for `sdesim.sweep`.
        mix_versions: likewise.
        memory: likewise.
        progress: likewise.
        engine: who computes; this process by default.

    Returns:
        Its data, lazily.

    Raises:
        StoreError: as `Durable.of`.
        SweepError: as `Durable.work`.
    """
    made = Durable.of(sweep, path, lanes=lanes, mix_versions=mix_versions, memory=memory)
    made.run(progress, engine)
    return made.data()


def sketched(sweep: AbstractSweep) -> xr.Dataset:
    """Data of the form of a sweep's that has not begun: all NaN.

    Args:
        sweep: what is asked for.

    Returns:
        As `Durable.data`.

    Raises:
        ValueError: as `Durable.of`.
    """
    with tempfile.TemporaryDirectory(prefix="sdesim-") as folder:
        made = Durable.of(sweep, folder)
        made.plan()
        rounds = made.store.rounds()
        for box in rounds.boxes:
            points = box.of(np.arange(1))
            name = layout_name(size_of(rounds, Task(0, points, box.sims), sweep.apart))
            if made.store.noted(name) is None:
                made.store.note(name, layout_of(sweep.sample(_at(rounds, points))))
        return made.data()


def _at(rounds: Rounds, points: np.ndarray) -> dict[str, list]:
    """Of each axis the value at some points, (points, axes)."""
    held = {name: rounds.values(name) for name in rounds.axes}
    return {name: [held[name][i] for i in points[:, j]] for j, name in enumerate(rounds.axes)}


def _key(value: Any) -> Any:
    """A value as what a dictionary can look up: 0 and 0.0 are one."""
    return tuple(map(_key, value)) if isinstance(value, list) else value
