"""Timetables: who arrives when with which job; made, measured, saved."""

import csv
import dataclasses
import os

import numpy as np
from numpy.typing import NDArray

from sdesim import random
from sdesim.fields import check_count, shown
from sdesim.results.files import replacing


@dataclasses.dataclass(frozen=True, eq=False)
class Timetable:
    """Arrivals of all workers in the order of their times; those at one time in the order of the workers.

    Attributes:
        time: of each arrival, in seconds, float64 (sims, arrivals).
        worker: who arrives, int32 (sims, arrivals).
        job: with which of its jobs, from 0, int32 (sims, arrivals); a number that is left out is a job that was lost.
        workers: how many there are.
        began: when the job began, in seconds, float64 (sims, arrivals); None where that is not known.
    """

    time: NDArray
    worker: NDArray
    job: NDArray
    workers: int
    began: NDArray | None = None

    def __post_init__(self):
        shapes = {name: getattr(self, name).shape for name in ("time", "worker", "job")}
        if self.began is not None:
            shapes["began"] = self.began.shape
        if len(set(shapes.values())) > 1 or self.time.ndim != 2:
            raise ValueError(f"{', '.join(shapes)}: must be of one shape (sims, arrivals), got {shapes}")
        check_count("workers", self.workers, most=random.MAX_AGENTS)
        for name in ("worker", "job"):
            if not np.issubdtype((dtype := getattr(self, name).dtype), np.integer):
                raise ValueError(f"{name}: must be whole numbers, got an array of type {dtype}")
        if self.worker.size and (self.worker.min() < 0 or self.worker.max() >= self.workers):
            raise ValueError(f"worker: must be from 0 to {self.workers - 1}")
        if not np.isfinite(self.time).all() or (self.time < 0).any() or (np.diff(self.time, axis=1) < 0).any():
            raise ValueError("time: must be finite, at least 0, and must not fall from one arrival to the next")
        if not _jobs_in_order(self.worker, self.job):
            raise ValueError("job: each worker's must be whole numbers from 0 that grow from one arrival to the next")
        if self.began is not None and not ((self.began >= 0) & (self.began <= self.time)).all():
            raise ValueError("began: must be from 0 to the time of the arrival")

    @property
    def sims(self) -> int:
        """Simulations."""
        return self.time.shape[0]

    @property
    def arrivals(self) -> int:
        """Arrivals of a simulation."""
        return self.time.shape[1]

    def staleness(self) -> NDArray:
        """Arrivals of others between a worker's last arrival, at which it read, and this one.

        Of a first job it is counted from the start, where all have read.

        Returns:
            int32 (sims, arrivals).
        """
        return _since_last(self.worker) - 1

    def law_of_staleness(self, after: int = 0) -> NDArray:
        """How often each staleness occurs.

        Args:
            after: arrivals at the start that are not counted, as those before the workers are out of step.

        Returns:
            Shares of the arrivals, (sims, greatest staleness + 1); NaN of none.
        """
        seen = self.staleness()[:, check_count("after", after, least=0, most=max(self.arrivals - 1, 0)) :]
        most = int(seen.max(initial=0)) + 1
        rows = np.arange(self.sims)[:, None] * most + seen
        found = np.bincount(rows.ravel(), minlength=self.sims * most).reshape(self.sims, most)
        return found / (seen.shape[1] or np.nan)

    def busy(self) -> NDArray:
        """The share of the time to the last arrival that each worker spent on jobs that arrived; the rest it waited.

        Returns:
            (sims, workers), from 0 to 1; NaN where no time has passed, as of no arrivals.

        Raises:
            ValueError: where it is not known when jobs began.
        """
        if self.began is None:
            raise ValueError("began=None: it is not known when jobs began")
        spent = np.zeros((self.sims, self.workers))
        np.add.at(spent, (np.arange(self.sims)[:, None], self.worker), self.time - self.began)
        last = self.time.max(axis=1, initial=0)
        return spent / np.where(last > 0, last, np.nan)[:, None]

    def save(self, path: str | os.PathLike) -> None:
        """Write it as text: a line of sim, worker, job, began, time for each arrival, to all digits.

        Args:
            path: of the file, which is replaced as a whole.

        Raises:
            OSError: if it cannot be written.
        """
        began = np.full(self.time.shape, np.nan) if self.began is None else self.began
        sim = np.broadcast_to(np.arange(self.sims)[:, None], self.time.shape)
        with replacing(path) as made, open(made, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            columns = (sim, self.worker, self.job, began, self.time)
            writer.writerows(zip(*(column.ravel().tolist() for column in columns), strict=True))

    @classmethod
    def load(cls, path: str | os.PathLike, workers: int | None = None) -> "Timetable":
        """Read what `save` wrote, or measured arrivals: a CSV file whose first line names its columns.

        "worker" and "time" must be there. Without "sim" all are of one simulation, without "job" each worker's are
        counted, without "began" that is not known. Of simulations of different numbers of arrivals as many are kept as
        the shortest has.

        Args:
            path: of the file.
            workers: how many there are; as many as the greatest number says by default.

        Returns:
            The timetable.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: naming the column, and the line and the value of what is not right there.
        """
        columns = _columns(path)
        sim = columns.get("sim", np.zeros(columns["time"].size))
        order = np.lexsort((columns["worker"], columns["time"], sim))
        rows = {name: column[order] for name, column in columns.items()}
        counts = np.unique(sim, return_counts=True)[1]
        first, fewest = np.concatenate([[0], np.cumsum(counts)[:-1]]), int(counts.min())
        kept = (first[:, None] + np.arange(fewest)).ravel()
        cut = lambda name: rows[name][kept].reshape(counts.size, fewest)
        worker = cut("worker").astype(np.int32)
        job = cut("job").astype(np.int32) if "job" in rows else _numbered(worker)
        began = cut("began") if "began" in rows and not np.isnan(rows["began"]).all() else None
        return cls(cut("time"), worker, job, int(worker.max()) + 1 if workers is None else workers, began)


_COLUMNS = ("sim", "worker", "job", "began", "time")
_WHOLE = ("sim", "worker", "job")
_MOST = int(np.iinfo(np.int32).max)


def _columns(path: str | os.PathLike) -> dict[str, NDArray]:
    """The known columns of a CSV file, as numbers."""
    with open(path, encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark of order before the text
        reader = csv.reader(file)
        names = [name.strip() for name in next(reader, [])]
        rows = dict((reader.line_num, row) for row in reader if row)
    for name in ("worker", "time"):
        if name not in names:
            raise ValueError(f"path={shown(str(path))}: its first line must name a column {name!r}, has {names}")
    if not rows:
        raise ValueError(f"path={shown(str(path))}: holds no arrival")
    found = {name: _column(rows, names.index(name), name, path) for name in _COLUMNS if name in names}
    if "began" in found and (unknown := np.isnan(found["began"])).any() and not unknown.all():
        where = f"line {[*rows][int(unknown.argmax())]} has began=nan"
        raise ValueError(f"path={shown(str(path))}: {where}: must be known of all arrivals, or of none")
    return found


def _column(rows: dict[int, list[str]], place: int, name: str, path: str | os.PathLike) -> NDArray:
    """A column as numbers, of rows by the numbers of their lines."""
    found = np.empty(len(rows))
    for i, (line, row) in enumerate(rows.items()):
        try:
            found[i] = float(row[place])
        except (ValueError, IndexError):
            raise ValueError(f"path={shown(str(path))}: line {line} has no number for {name!r}") from None
    if name in _WHOLE:
        right, good = f"a whole number from 0 to {_MOST}", (found >= 0) & (found <= _MOST) & (found % 1 == 0)
    else:
        right, good = "finite and at least 0", (found >= 0) & (found < np.inf) | (np.isnan(found) & (name == "began"))
    if not good.all():
        line, row = [*rows.items()][int(good.argmin())]
        raise ValueError(f"path={shown(str(path))}: line {line} has {name}={row[place].strip()}: must be {right}")
    return found


def _of_workers(worker: NDArray) -> tuple[NDArray, NDArray]:
    """Of each worker its arrivals in their order, and where a worker's first one is, (sims, arrivals)."""
    bits = max(worker.shape[1] - 1, 0).bit_length()
    keys = (worker.astype(np.int64) << bits) | np.arange(worker.shape[1])  # sorted faster than places are by workers
    keys.sort(axis=1)
    order, whose = keys & ((1 << bits) - 1), keys >> bits
    return order, np.concatenate([np.ones((worker.shape[0], 1), bool), whose[:, 1:] != whose[:, :-1]], 1)


def _since_last(worker: NDArray) -> NDArray:
    """Arrivals since the last one of the same worker, itself counted; of a first one since the start."""
    order, first = _of_workers(worker)
    before = np.concatenate([np.full((worker.shape[0], 1), -1), order[:, :-1]], 1)
    since = np.empty(worker.shape, np.int32)
    np.put_along_axis(since, order, (order - np.where(first, -1, before)).astype(np.int32), 1)
    return since


def _numbered(worker: NDArray) -> NDArray:
    """Each worker's arrivals by number, from 0."""
    order, first = _of_workers(worker)
    place = np.arange(worker.shape[1])
    begins = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    found = np.empty(worker.shape, np.int32)
    np.put_along_axis(found, order, (place - begins).astype(np.int32), 1)
    return found


def _jobs_in_order(worker: NDArray, job: NDArray) -> bool:
    order, first = _of_workers(worker)
    which = np.take_along_axis(job, order, 1)
    return bool((which >= 0).all() and (first[:, 1:] | (np.diff(which, axis=1) > 0)).all())
