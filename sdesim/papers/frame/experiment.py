"""What an experiment is, and how one is regenerated: data, picture and claims, or the latter two from the data."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sdesim import claims
from sdesim.claims import Claim, Statement
from sdesim.fields import check_choice, shown
from sdesim.papers.frame.mutations import Mutation
from sdesim.plot import theme
from sdesim.results.datasets import describe, read_described, write_dataset
from sdesim.results.files import Damaged, check_writable
from sdesim.results.recipe import Call, Code

PRESETS = ("smoke", "default", "paper")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One figure of a paper.

    Attributes:
        name: that the command line and files know it by.
        title: what its picture shows.
        says: what the paper says of it, or what is asked, in a sentence or two, for the gallery.
        presets: configurations, frozen dataclasses with a `seed`: "smoke" (seconds, for tests), "default" (the
            calibrated size), "paper" (the size of the paper).
        run: (configuration, progress) to labeled data.
        plot: (configuration, data) to a figure.
        ensemble: (configuration, data) to what the statements' statistics look at.
        statements: (configuration) to what is said of the data.
        trains: it trains networks, which takes hours without a GPU; `sdesim figure all` leaves it out.
        mutations: wrong models of its own by name, beside those of `frame.mutations` that are tried on every figure.
    """

    name: str
    title: str
    says: str
    presets: dict[str, Any]
    run: Callable[[Any, bool], xr.Dataset]
    plot: Callable[[Any, xr.Dataset], Figure]
    ensemble: Callable[[Any, xr.Dataset], Any]
    statements: Callable[[Any], Sequence[Statement]]
    trains: bool = False
    mutations: Mapping[str, Mutation] = dataclasses.field(default_factory=dict)

    def preset(self, name: str) -> Any:
        """A configuration by the name of its preset.

        Args:
            name: of the preset.

        Raises:
            ValueError: if there is no such preset.
        """
        check_choice("preset", name, self.presets)
        return self.presets[name]


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a figure is drawn and judged from, and its file keeps.

    Attributes:
        config: what was run.
        preset: by name; it says which claims are asked.
        data: as the experiment's `run` gave it.
    """

    config: Any
    preset: str
    data: xr.Dataset


@dataclasses.dataclass(frozen=True)
class Regenerated:
    """What `regenerate` or `redraw` wrote.

    Attributes:
        files: paths by suffix.
        claims: what was found.
        seconds: of running and judging.
    """

    files: dict[str, pathlib.Path]
    claims: list[Claim]
    seconds: float


Tell = Callable[[list[Claim]], Any]
"""Is told the claims before anything is written: a full disk does not take what was found with it."""


def regenerate(
    experiment: Experiment,
    config: Any,
    preset: str,
    out: str | os.PathLike[str],
    *,
    progress: bool = False,
    tell: Tell = lambda found: None,
) -> Regenerated:
    """Run an experiment and write NAME.nc, NAME.claims.json, NAME.png and NAME.pdf into the folder `out`.

    Args:
        experiment: what is run.
        config: what it is run with.
        preset: by name, the one that `config` is or is made of; it says which claims are asked.
        out: the folder, made if it is not there.
        progress: whether to say how far it is.
        tell: is told the claims before anything is written.

    Returns:
        What was written and found.

    Raises:
        ValueError: for an unwritable folder or an unfit configuration, before anything is computed.
        WriteError: if a file cannot be written, an OSError.
    """
    folder = check_writable(out)
    began = time.perf_counter()
    kept = Kept(config, preset, _as_in_a_file(experiment.run(config, progress)))
    found = judged(experiment, kept.config, kept.data, kept.preset)
    seconds = time.perf_counter() - began
    tell(found)
    call = Call(
        "sdesim.papers.frame.experiment.regenerate",
        {
            "experiment": Code(f"sdesim.papers.EXPERIMENTS[{experiment.name!r}]"),
            "config": config,
            "preset": preset,
            "out": str(out),
        },
    )
    own = {
        "experiment": experiment.name,
        "preset": preset,
        "seed": config.seed,
        "claims": [dataclasses.asdict(c) for c in found],
    }
    describe(kept.data, "figure", dataclasses.asdict(config), call, seconds=round(seconds, 3), **own)
    data = folder / f"{experiment.name}.nc"
    write_dataset(kept.data, data)  # first: all others can be had again from it
    return Regenerated({"nc": data, **_written(experiment, kept, found, folder)}, found, seconds)


def kept_in(experiment: Experiment, path: str | os.PathLike[str]) -> Kept:
    """What the NAME.nc that `regenerate` wrote holds, in this version or an earlier one.

    Args:
        experiment: whose file it is.
        path: of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for the file of another figure, a file of another kind, what is damaged, and a configuration that
            the experiment no longer has.
    """
    data, header = read_described(path, "figure")
    said, name = f"path={str(path)!r}", header.own["experiment"]
    if name != experiment.name:
        what = f"holds the figure {name}, and not {experiment.name}"
        raise Damaged(said, what, f"name another file, or draw it with `sdesim figure {name} --from FILE`")
    by = f"make it again, or read it with sdesim {header.origin['sdesim_version']}, which wrote it"
    try:
        config = _restored(experiment.preset(header.own["preset"]), header.settings, "")
    except (TypeError, ValueError) as error:
        raise Damaged(said, f"holds another configuration than {name} has: {error}", by) from error
    return Kept(config, header.own["preset"], data)


def redraw(
    experiment: Experiment, kept: Kept, out: str | os.PathLike[str], *, tell: Tell = lambda found: None
) -> Regenerated:
    """Judge and draw again what a file keeps: NAME.claims.json, NAME.png and NAME.pdf into the folder `out`.

    Nothing is run, and no data are written: `kept_in` may have read them from the same folder.

    Args:
        experiment: what is drawn.
        kept: as `kept_in` gives it.
        out: the folder, made if it is not there.
        tell: is told the claims before anything is written.

    Returns:
        What was written and found.

    Raises:
        ValueError: for an unwritable folder.
        WriteError: if a file cannot be written, an OSError.
    """
    folder = check_writable(out)
    began = time.perf_counter()
    found = judged(experiment, kept.config, kept.data, kept.preset)
    seconds = time.perf_counter() - began
    tell(found)
    return Regenerated(_written(experiment, kept, found, folder), found, seconds)


def judged(experiment: Experiment, config: Any, data: xr.Dataset, preset: str) -> list[Claim]:
    """What is found of an experiment's statements.

    Args:
        experiment: whose they are.
        config: that judges.
        data: as the experiment's `run` gave it.
        preset: by name; it says which claims are asked.
    """
    return claims.judge(experiment.statements(config), experiment.ensemble(config, data), smoke=preset == "smoke")


def _written(experiment: Experiment, kept: Kept, found: list[Claim], folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files, by suffix, in which the claims and the picture now are."""
    files = {suffix: folder / f"{experiment.name}.{suffix}" for suffix in ("claims.json", "png", "pdf")}
    with theme.looks():
        figure = experiment.plot(kept.config, kept.data)
        theme.plain(figure)
        for suffix in ("png", "pdf"):
            theme.save(figure, files[suffix])
            figure.set_layout_engine(
                "none"
            )  # all stays where the first has it: to place it takes as long as to draw it
    claims.write(found, files["claims.json"])
    return files


def _as_in_a_file(data: xr.Dataset) -> xr.Dataset:
    """The data with its arrays in the order of memory that reading a file gives them.

    NumPy adds up in that order, and a claim that is judged again is the same to the last digit.
    """
    return data.copy(data={name: np.asarray(v.values, order="C") for name, v in data.data_vars.items()})


def _restored(like: Any, value: Any, name: str) -> Any:
    """A value from JSON as it was: dataclasses in place of objects and tuples in place of lists, as a preset has them.

    Raises:
        TypeError, ValueError: with the name of a field that is unknown, missing or unfit.
    """
    if not dataclasses.is_dataclass(like):
        return _tuples(value)
    names = [field.name for field in dataclasses.fields(like) if field.init]
    if not isinstance(value, dict):
        raise TypeError(f"{name}={shown(value)}: must have the fields {', '.join(names)}")
    dotted = {field: f"{name}.{field}".lstrip(".") for field in (*names, *value)}
    if missing := [dotted[field] for field in names if field not in value]:
        raise ValueError(f"{', '.join(missing)}: must be there")
    if unknown := [dotted[field] for field in value if field not in names]:
        raise ValueError(f"{', '.join(unknown)}: is no field of it")
    return type(like)(**{field: _restored(getattr(like, field), value[field], dotted[field]) for field in names})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
