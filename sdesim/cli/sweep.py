"""`sdesim sweep`, `runs`, `join` and `export`: sweeps in stores, from the command line."""

import contextlib
import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from sdesim.cli.overview import wrapped
from sdesim.cli.usage import FAILS, take_count, take_flags, take_option
from sdesim.ensembles.asked import asked_in
from sdesim.ensembles.durable import Durable, Engine, SweepError
from sdesim.ensembles.engines import engine_of
from sdesim.ensembles.exporting import consolidate, export
from sdesim.ensembles.grids import asked_of
from sdesim.ensembles.joining import join
from sdesim.ensembles.opening import Opened, opened
from sdesim.ensembles.opening import open as open_store
from sdesim.ensembles.simulations import Simulations
from sdesim.ensembles.sweeps import AbstractSweep
from sdesim.fields import byte_count
from sdesim.results.datasets import from_bytes, write_dataset
from sdesim.results.recipe import by_command
from sdesim.results.stores.leases import Leases

HELP = {
    "sweep": """\
usage: sdesim sweep FILE.py|FILE.toml --store DIR [--workers N] [--lanes N] [--memory BYTES] [--mix-versions]
                    [--scheduler ADDRESS|local] [--listen ADDRESS] [--NAME VALUE ...]
                    [--model.NAME VALUE] [--grid.NAME VALUE ...]
       sdesim sweep FILE --dry-run                 seconds, memory and bytes that it will take
       sdesim sweep FILE --store DIR --worker      the same, and says nothing: to be started n times by any launcher

A FILE with data, network and algorithm in place of a model is a sweep of trainings.
""",
    "runs": """\
usage: sdesim runs DIR               what is done, failed, and how long it took and will take
       sdesim runs DIR --check       whether every file is what was written
       sdesim runs DIR --repair      forget what is damaged, so that the next start computes it again
       sdesim runs DIR --prune       remove what killed processes left, and what is said of failures
       sdesim runs DIR --delete      remove the store
""",
    "join": "usage: sdesim join DIR|FILE.nc ... --out FILE.nc\n",
    "export": "usage: sdesim export DIR|FILE.nc --out FILE.csv|FILE.nc|FILE.zarr\n",
}


def main(command: str, arguments: Sequence[str]) -> int:
    """One of the commands.

    Args:
        command: its name.
        arguments: after it.

    Returns:
        The exit status.

    Raises:
        ValueError: for a mistake in the arguments.
    """
    if {"-h", "--help"} & set(arguments) or not arguments:
        for line in HELP[command].splitlines():
            print(wrapped(line, others=" " * 20))
        return 0 if arguments else 2
    return {"sweep": _sweep, "runs": _runs, "join": _join, "export": _export}[command](list(arguments))


def _sweep(arguments: list[str]) -> int:
    flags, rest = take_flags(arguments, "--dry-run", "--worker", "--mix-versions")
    store, rest = take_option(rest, "--store", None)
    workers, rest = take_count(rest, "--workers")
    scheduler, rest = take_option(rest, "--scheduler", None)
    listen, rest = take_option(rest, "--listen", None)
    lanes, rest = take_count(rest, "--lanes")
    memory, rest = take_option(rest, "--memory", None)
    file, *rest = rest or [""]
    if not file or file.startswith("--"):
        raise ValueError("sweep: name a FILE.py or FILE.toml first")
    alone = [argument for argument in arguments if argument != "--worker"]  # all that is to be made again
    given = {
        "store": store,
        "workers": workers,
        "scheduler": scheduler,
        "listen": listen,
        "lanes": lanes,
        "memory": None if memory is None else byte_count("--memory", memory),
    }
    if "--mix-versions" in flags:
        given["mix_versions"] = True
    overrides = _overrides(rest)
    with by_command(["sweep", *alone], Path(file) if Path(file).is_file() else None):
        return begin(file, overrides, given, flags)


def begin(file: str, overrides: dict[str, str], given: dict[str, Any], flags: set[str]) -> int:
    """Estimate a sweep or run it.

    Args:
        file: that it is asked for in.
        overrides: text by name, as for `asked_in`.
        given: arguments of `run`, None for those of the file.
        flags: --dry-run or --worker.

    Returns:
        The exit status.
    """
    asked = asked_in(file, overrides)
    asked.pop("progress", None)
    names = ("store", "workers", "scheduler", "listen", "lanes", "memory", "mix_versions")
    of_file = {name: asked.pop(name) for name in names if name in asked}
    chosen = {name: given[name] if given.get(name) is not None else of_file.get(name) for name in names}
    engine = engine_of(*(chosen.pop(name) for name in ("workers", "scheduler", "listen")))
    engine = None if "--worker" in flags else engine  # a launcher has started as many as there are to be
    sweep = _swept(asked)
    if "--dry-run" in flags:
        print(sweep.estimate(chosen["lanes"]))
        return 0
    mix, store = bool(chosen.pop("mix_versions")), chosen.pop("store")
    if store is None:
        raise ValueError("--store: must be the folder that keeps what is done")
    return run(sweep, store, engine, **chosen, mix_versions=mix, quiet="--worker" in flags)


def _swept(asked: dict[str, Any]) -> AbstractSweep:
    """What a file asks for."""
    if "data" not in asked:
        return Simulations(asked_of(**asked))
    from sdesim.training.asked import trainings_of  # what else trains is not needed for simulations

    return trainings_of(asked)


def run(
    sweep: AbstractSweep,
    store: str | Path,
    engine: Engine | None,
    lanes: int | None,
    memory: int | str | None,
    mix_versions: bool,
    quiet: bool,
) -> int:
    """Run a sweep in its store.

    Args:
        sweep: what is asked for.
        store: its folder.
        engine: who computes; None for this process alone.
        lanes: as for `sdesim.sweep`.
        memory: likewise.
        mix_versions: likewise.
        quiet: whether nothing is said.

    Returns:
        The exit status: 1 where tasks failed.
    """
    made = Durable.of(sweep, store, lanes=lanes, mix_versions=mix_versions, memory=memory)
    try:
        made.run(progress=not quiet, engine=engine)
    except SweepError as error:
        print(f"sdesim: {error}")
        return FAILS
    if not quiet:
        print(_state(Path(store)))
    return 0


def _overrides(arguments: list[str]) -> dict[str, str]:
    """--NAME VALUE ... as texts by name."""
    found: dict[str, list[str]] = {}
    name = None
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            found[name] = [value] if equals else []
        elif name is None:
            raise ValueError(f"{argument}: must come after an option, --NAME {argument}")
        else:
            found[name].append(argument)
    if empty := [name for name, values in found.items() if not values]:
        raise ValueError(f"--{empty[0]}: needs a value")
    return {name: " ".join(values) for name, values in found.items()}


def _state(path: Path) -> str:
    """What is done of a store, in lines."""
    store = opened(path)
    found = Opened(store)
    rounds, done = found.rounds, len(found.tasks)
    failures = store.failures()
    cards = found.cards()
    computed = sum(card.said.get("seconds") or 0.0 for card in cards)
    lanes = sum(task.lanes for task in found.tasks)
    every = sum(box.lanes for box in rounds.boxes)
    running = [n for n in Leases(store.path / "leases").living() if not store.has(n)]
    said = [f"{path}: {done} of {rounds.tasks} tasks, {lanes} of {every} simulations"]
    said.append(f"computed in {_time(computed)}, {sum(c.said.get('diverged', 0) for c in cards)} diverged")
    if lanes and lanes < every:
        said[-1] += f"; about {_time(computed / lanes * (every - lanes))} of computing left, by all that work on it"
    if running:
        said.append(f"in work, or left by somebody who died: {', '.join(map(str, running[:10]))}")
    said += [f"task {number} failed: {why}" for number, why in sorted(failures.items())]
    mixed = [n for n in store.notes() if n.startswith("mixed-")]
    if mixed:
        said.append(f"versions are mixed: {[store.noted(n) for n in mixed]}")
    return "\n".join(said)


def _time(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def _runs(arguments: list[str]) -> int:
    flags, rest = take_flags(arguments, "--check", "--repair", "--prune", "--delete")
    if len(rest) != 1 or len(flags) > 1:
        raise ValueError("runs: takes the folder of one store, and one option at the most")
    return look(Path(rest[0]), flags)


def look(path: Path, flags: set[str]) -> int:
    """Say what there is of a store, or change it.

    Args:
        path: its folder.
        flags: --check, --repair, --prune, --delete or nothing.

    Returns:
        The exit status.
    """
    store = opened(path)
    if "--delete" in flags:
        store.delete()
        print(f"{path}: removed")
        return 0
    if flags & {"--check", "--repair"}:
        damaged = dict(store.damaged())
        for number, why in damaged.items():
            print(f"task {number}={str(store.task_path(number))!r}: {why}")
            if "--repair" in flags:
                store.forget(number)
        ending = "; they will be computed again" if "--repair" in flags and damaged else ""
        print(f"{len(damaged)} of {len(store.done()) + len(damaged) * ('--repair' in flags)} tasks are damaged{ending}")
        return FAILS if damaged and "--check" in flags else 0
    if "--prune" in flags:
        store.tidy()
        for number in store.failures():
            with contextlib.suppress(FileNotFoundError):
                (store.path / "failed" / f"{number:06d}").unlink()
    print(_state(path))
    return 0


def _dataset(name: str) -> xr.Dataset:
    """A store's, or a file's."""
    path = Path(name)
    if path.is_dir():
        return open_store(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no such store or file")
    return from_bytes(path.read_bytes(), name)


def _join(arguments: list[str]) -> int:
    out, rest = take_option(arguments, "--out", None)
    if out is None or not rest:
        raise ValueError("join: takes stores or files of sweeps, and --out FILE.nc")
    parts = [_dataset(name) for name in rest]
    write_dataset(join([part.drop_vars("done", errors="ignore").load() for part in parts]), out)
    print(out)
    return 0


def _export(arguments: list[str]) -> int:
    out, rest = take_option(arguments, "--out", None)
    if out is None or len(rest) != 1:
        raise ValueError("export: takes one store or file, and --out FILE.csv, FILE.nc or FILE.zarr")
    return write(rest[0], out)


def write(name: str, out: str) -> int:
    """Write a store or a file as another kind of file.

    Args:
        name: of the store or file.
        out: of the file.

    Returns:
        The exit status.
    """
    began = time.perf_counter()
    if Path(out).suffix == ".zarr":
        consolidate(name, out)
    else:
        export(_dataset(name), out)
    print(f"{out}: {time.perf_counter() - began:.1f} s")
    return 0
