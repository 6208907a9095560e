"""A store: the folder of a sweep, and nothing in it but files that are whole, each written once.

    manifest.json         what the sweep is; never changes
    rounds/000000.json    what it is to compute, and what was added later; each never changes
    tasks/000/000123.nc   what a task found; the first to be linked counts, and never changes
    cards/000/000123      its card; cards/000.pack has many
    leases/000123         who computes it now
    failed/000123         what went wrong with it last time
    notes/                what programs that use the store say of it, each written once
    work/                 what a long task keeps to go on with

Every file ends in the checksum of its bytes. Names are made of numbers, so that nothing in a file can lead out of the
folder; a store with a link in place of one of its folders is refused.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sdesim.results.files import Damaged, WriteError, read_sealed, remove_abandoned, write_once, write_sealed
from sdesim.results.stores.cards import Card, packed, unpacked
from sdesim.results.stores.cut import Box, Round, Rounds

SHARD = 1000  # tasks of a folder
FOLDERS = ("rounds", "tasks", "cards", "leases", "failed", "notes", "work")
MANIFEST = "manifest.json"
ADVICE = "`sdesim runs STORE --repair` has it computed again"
_NOTE = re.compile(r"[a-z0-9-]{1,100}")


class StoreError(ValueError):
    """What is wrong with a store, and what to do."""


class Store:
    """A store that is there.

    Args:
        path: of its folder.

    Attributes:
        path: of its folder.
        manifest: what the sweep is, as JSON holds it; `axes` names its axes, `lanes` is the greatest size of a task.

    Raises:
        FileNotFoundError: if there is none.
        Damaged: if its manifest is not what was written; a ValueError.
        StoreError: if it is no store that could have been written.
    """

    path: pathlib.Path
    manifest: dict[str, Any]

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        said = _said(self.path)
        if not (self.path / MANIFEST).exists():
            what = "there is no such folder" if not self.path.exists() else f"it has no {MANIFEST}"
            raise FileNotFoundError(f"{said}: must be the folder of a sweep, and {what}")
        for name in (MANIFEST, *FOLDERS):
            _check_link(self.path / name)
        self.manifest = _json(self.path / MANIFEST)
        axes, lanes = self.manifest.get("axes"), self.manifest.get("lanes")
        named = isinstance(axes, list) and all(isinstance(name, str) for name in axes)
        if not named or not isinstance(lanes, int) or lanes < 1:
            raise StoreError(f"{said}: its manifest names no axes, or no size of a task")
        self._axes: list[str] = axes  # pyright: ignore[reportAttributeAccessIssue]
        self._rounds = Rounds(self._axes, lanes)
        self._packs: dict[int, tuple[int, dict[int, memoryview]]] = {}
        self._whole: set[int] = set()  # folders of which every task is done, which need no second look

    @classmethod
    def create(cls, path: str | os.PathLike, manifest: Mapping[str, Any]) -> "Store":
        """Make a store; of several that do so at once the first one's manifest counts, and all open it.

        Args:
            path: of its folder, made with all above it if it is not there.
            manifest: as `Store.manifest`.

        Returns:
            The store, whose manifest may be another one's.

        Raises:
            StoreError: for a folder that holds something else.
            WriteError: if it cannot be written.
        """
        path = pathlib.Path(path)
        if path.exists() and not (path / MANIFEST).exists():
            others = [p.name for p in path.iterdir() if not p.name.startswith(".") and p.name not in FOLDERS]
            if others:
                right = "must be a new or empty folder, or a store"
                raise StoreError(f"store={str(path)!r}: {right}, and holds {others[0]!r}; name another")
        try:
            for name in FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"store={str(path)!r}: could not be made ({error.strerror})") from error
        write_once(json.dumps(dict(manifest), indent=1).encode(), path / MANIFEST)
        return cls(path)

    # -- rounds ----------------------------------------------------------------------------------------------------

    def rounds(self) -> Rounds:
        """All rounds that there are now.

        Returns:
            The rounds.

        Raises:
            Damaged: for one that is not what was written, or does not follow those before; a ValueError.
        """
        while (path := self._round(len(self._rounds))).exists():
            before = self._rounds
            try:
                new = Round.of(_json(path), self._axes, before)
            except ValueError as error:
                raise error if isinstance(error, Damaged) else Damaged(_said(path), str(error)) from error
            self._rounds = Rounds(self._axes, before.lanes, [*before.all, new])
        return self._rounds

    def add(self, values: Mapping[str, list], boxes: Sequence[Box], said: Mapping[str, Any], after: Rounds) -> bool:
        """Add a round, unless another one has been added since.

        Args:
            values: that it adds, by axis.
            boxes: what it is to compute.
            said: of it beside.
            after: the rounds that it follows.

        Returns:
            Whether it was added.

        Raises:
            WriteError: if it cannot be written.
        """
        new = after.with_round(values, boxes, said)
        return write_once(json.dumps(new.to_json()).encode(), self._round(new.number))

    def _round(self, number: int) -> pathlib.Path:
        return self.path / "rounds" / f"{number:06d}.json"

    # -- tasks -----------------------------------------------------------------------------------------------------

    def task_path(self, number: int) -> pathlib.Path:
        """The file of a task, whether it is there or not.

        Args:
            number: of the task.

        Returns:
            Its name.
        """
        return self.path / "tasks" / f"{number // SHARD:03d}" / f"{number:06d}.nc"

    def card_path(self, number: int) -> pathlib.Path:
        """The file of a task's card, whether it is there or not.

        Args:
            number: of the task.

        Returns:
            Its name.
        """
        return self.path / "cards" / f"{number // SHARD:03d}" / f"{number:06d}"

    def has(self, number: int) -> bool:
        """Whether a task is done.

        Args:
            number: of the task.
        """
        return self.task_path(number).exists()

    def done(self) -> set[int]:
        """The tasks that are done.

        Returns:
            Their numbers.
        """
        found: set[int] = set()
        for folder in _shards(self.path / "tasks"):
            shard = int(folder.name)
            every = range(shard * SHARD, (shard + 1) * SHARD)
            if shard not in self._whole:
                here = [n for n in _in_shard(folder, ".nc") if n in every]
                if len(here) < SHARD:
                    found.update(here)
                    continue
                self._whole.add(shard)
            found.update(every)
        return found

    def put(self, number: int, blob: bytes | memoryview, card: Card) -> bool:
        """Keep what a task found, unless somebody has.

        Args:
            number: of the task.
            blob: its file.
            card: its card.

        Returns:
            Whether this was the first.

        Raises:
            WriteError: if it cannot be written; then it is not done.
        """
        path, card_path = self.task_path(number), self.card_path(number)
        for made in (path, card_path):
            _made(made.parent)
        first = write_once(blob, path)
        if first:  # the card of this very file, and not that of another one's
            write_sealed(card.to_bytes(), card_path)
            (self.path / "failed" / f"{number:06d}").unlink(missing_ok=True)
            shutil.rmtree(self._work(number), ignore_errors=True)
        return first

    def get(self, number: int) -> bytes:
        """What a task found, its checksum verified.

        Args:
            number: of the task.

        Returns:
            Its file.

        Raises:
            Damaged: if it is not what was written; a ValueError.
            FileNotFoundError: if it is not done.
        """
        try:
            return read_sealed(self.task_path(number), f"task {number}")
        except Damaged as error:
            raise Damaged(f"task {number}={str(self.task_path(number))!r}", error.why, ADVICE) from error

    def damaged(self, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, str]]:
        """Look at the bytes of all that is done.

        Args:
            numbers: of the tasks; all by default.

        Yields:
            The number of each that is not what was written, and what is wrong with it.
        """
        for number in sorted(self.done() if numbers is None else numbers):
            try:
                self.get(number)
            except Damaged as error:
                yield number, error.why

    def forget(self, number: int) -> None:
        """Remove what a task found: it is to be computed again.

        Args:
            number: of the task.
        """
        shard = number // SHARD
        for path in (self._pack(shard), self.card_path(number), self.task_path(number)):  # in this order
            path.unlink(missing_ok=True)
        self._packs.pop(shard, None)
        self._whole.discard(shard)

    # -- cards -----------------------------------------------------------------------------------------------------

    def cards(self, numbers: Iterable[int], again: Callable[[int, bytes], Card]) -> Iterator[Card]:
        """The cards of tasks that are done.

        Args:
            numbers: of the tasks.
            again: makes a card from a task's number and file, where it is lost.

        Yields:
            Each card.

        Raises:
            Damaged: where the card is lost and the file is damaged; a ValueError.
        """
        shard, held = -1, {}
        for number in numbers:
            if number // SHARD != shard:
                shard = number // SHARD
                held = self._unpacked(shard)
            blob = held.get(number)
            try:
                yield Card.from_bytes(read_sealed(self.card_path(number)) if blob is None else blob)
            except (FileNotFoundError, ValueError):
                card = again(number, self.get(number))
                with contextlib.suppress(OSError):  # a store that can only be read is read all the same
                    _made(self.card_path(number).parent)
                    write_sealed(card.to_bytes(), self.card_path(number))
                yield card

    def pack(self, shard: int) -> None:
        """Put the cards of a thousand tasks into one file, those that are there.

        Args:
            shard: the number of the thousand.

        Raises:
            WriteError: if it cannot be written.
        """
        folder = self.path / "cards" / f"{shard:03d}"
        if not folder.is_dir():
            return
        blobs = {}
        for number in _in_shard(folder, ""):
            try:
                blobs[number] = read_sealed(folder / f"{number:06d}")
            except (FileNotFoundError, Damaged):  # it will be made again
                continue
        if len(blobs) > len(self._unpacked(shard)):
            write_sealed(packed(blobs), self._pack(shard))

    def _pack(self, shard: int) -> pathlib.Path:
        return self.path / "cards" / f"{shard:03d}.pack"

    def _unpacked(self, shard: int) -> dict[int, memoryview]:
        """The cards that are packed, of one thousand."""
        try:
            when = os.stat(self._pack(shard)).st_mtime_ns
        except OSError:
            return {}
        if self._packs.get(shard, (None,))[0] != when:
            try:
                self._packs[shard] = when, unpacked(read_sealed(self._pack(shard)))
            except (FileNotFoundError, ValueError):
                return {}
        return self._packs[shard][1]

    # -- what is beside --------------------------------------------------------------------------------------------

    def fail(self, number: int, why: str) -> None:
        """Say what went wrong with a task.

        Args:
            number: of the task.
            why: in words.
        """
        write_sealed(json.dumps({"task": number, "why": why}).encode(), self.path / "failed" / f"{number:06d}")

    def failures(self) -> dict[int, str]:
        """What went wrong with tasks the last time that somebody tried, of those that are not done.

        Returns:
            By the number of the task.
        """
        found = {}
        for number in _in_shard(self.path / "failed", ""):
            try:
                if not self.has(number):
                    found[number] = str(_json(self.path / "failed" / f"{number:06d}").get("why"))
            except (FileNotFoundError, Damaged):
                continue
        return found

    def note(self, name: str, value: Any) -> bool:
        """Say something of the store, once.

        Args:
            name: lower-case letters, digits and dashes.
            value: as JSON holds it.

        Returns:
            Whether nobody has before.
        """
        return write_once(json.dumps(value).encode(), self._note(name))

    def noted(self, name: str) -> Any:
        """What was said of the store.

        Args:
            name: as for `note`.

        Returns:
            The value; None where nobody has.
        """
        return _json(self._note(name), dict, list) if self._note(name).exists() else None

    def notes(self) -> list[str]:
        """The names of all that was said.

        Returns:
            In alphabetical order.
        """
        return sorted(p.stem for p in (self.path / "notes").glob("*.json") if _NOTE.fullmatch(p.stem))

    def _note(self, name: str) -> pathlib.Path:
        if not _NOTE.fullmatch(name):
            raise ValueError(f"name={name!r}: must be lower-case letters, digits and dashes")
        return self.path / "notes" / f"{name}.json"

    def work_folder(self, number: int) -> pathlib.Path:
        """Where a long task keeps what it can go on with, whether it is there or not.

        Args:
            number: of the task.

        Returns:
            The folder.

        Raises:
            StoreError: if it is a link, or what is in it.
        """
        folder = self._work(number)
        for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
            _check_link(path)
        return folder

    def _work(self, number: int) -> pathlib.Path:
        return self.path / "work" / f"{number:06d}"

    def tidy(self) -> None:
        """Remove what killed processes left half written, and what is left of the work on tasks that are done."""
        for folder in (self.path, *(self.path / name for name in FOLDERS)):
            remove_abandoned(folder)
        for kind in ("tasks", "cards"):
            for shard in _shards(self.path / kind):
                remove_abandoned(shard)
        for number in _in_shard(self.path / "leases", ""):
            if self.has(number):  # its owner was killed between the two
                (self.path / "leases" / f"{number:06d}").unlink(missing_ok=True)
        for number in _in_shard(self.path / "work", ""):
            if self.has(number):
                shutil.rmtree(self._work(number), ignore_errors=True)

    def delete(self) -> None:
        """Remove the store and nothing else: a file of anybody else's in its folder stays, and so does the folder."""
        (self.path / MANIFEST).unlink()  # first: what is left of it is no store
        for name in FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        remove_abandoned(self.path)
        with contextlib.suppress(OSError):
            self.path.rmdir()


def _json(path: pathlib.Path, *kinds: type) -> Any:
    """What a file holds, an object unless told otherwise."""
    blob = read_sealed(path, "store")
    try:
        found = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise Damaged(_said(path), "is no JSON") from error
    if not isinstance(found, kinds or dict):
        raise Damaged(_said(path), "is not what a store holds there")
    return found


def _said(path: pathlib.Path) -> str:
    return f"store={str(path)!r}"


def _made(shard: pathlib.Path) -> None:
    """Make the folder of a thousand tasks, if it is not there."""
    shard.mkdir(exist_ok=True)
    _check_link(shard)


def _check_link(path: pathlib.Path) -> None:
    if path.is_symlink():
        raise StoreError(f"{_said(path)}: is a link, which could lead anywhere; a store has none")


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders of a thousand tasks each; no links."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if re.fullmatch(r"\d{3,}", e.name) and e.is_dir(follow_symlinks=False)]
    return [folder / name for name in sorted(names)]


def _in_shard(folder: pathlib.Path, suffix: str) -> list[int]:
    """The numbers that name files of a folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    stems = (name[: len(name) - len(suffix)] for name in names if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if len(stem) >= 6 and stem.isdecimal())
