"""`sdesim figure`: figures of the papers, one or all."""

import dataclasses
import importlib.util
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from sdesim import claims, papers
from sdesim.cli.overview import parse_options
from sdesim.cli.usage import FAILS, UsageError, as_usage, check_given, take_count, take_flags, take_option
from sdesim.ensembles.durable import SweepError
from sdesim.ensembles.grids import NotEstimatedError, estimated, stored_in
from sdesim.ensembles.sweeps import Estimate
from sdesim.fields import check_choice, said_by
from sdesim.papers.frame.experiment import PRESETS, Experiment, Regenerated, Tell, kept_in, redraw, regenerate
from sdesim.papers.frame.gallery import write_gallery
from sdesim.results.recipe import by_command

_OUT = "Folder to write to, made if it is not there."


def run(arguments: list[str]) -> int:
    """`sdesim figure`: make one figure or all, draw one again from its file, or list them.

    Args:
        arguments: after `sdesim figure`.

    Returns:
        The exit status.

    Raises:
        UsageError: for a mistake in the arguments.
    """
    if arguments[:1] in (["--list"], ["-l"]):
        width = max(map(len, papers.EXPERIMENTS))
        for name, experiment in papers.EXPERIMENTS.items():
            print(f"{name.ljust(width)}  {experiment.title}")
        return 0
    name, *rest = arguments
    with as_usage():
        path, rest = take_option(rest, "--from", None)
        if path is not None and name == "all":
            raise ValueError("--from: is of one figure; give its name in place of all")
    if name == "all":
        return _all_figures(rest)
    with as_usage():
        experiment = _experiment(name)
    if path is not None and not {"-h", "--help"} & set(rest):
        return _redraw(experiment, path, rest)
    with as_usage():
        preset, rest = take_option(rest, "--preset", "default")
        store, rest = take_option(rest, "--store", None)
        processes, rest = take_count(rest, "--processes")
        scheduler, rest = take_option(rest, "--scheduler", None)
        flags, rest = take_flags(rest, "--dry-run", "--worker")
        worker = "--worker" in flags
        if store is None and (worker or (processes, scheduler) != (None, None)):
            raise ValueError("--store: must be the folder in which those who compute meet")
        config = experiment.preset(preset)
    out, config = _parse(experiment, config, preset, rest)
    if "--dry-run" in flags:
        return _estimate(experiment, config)
    if store is None:
        return _regenerate(experiment, config, preset, out)
    if worker:  # a launcher has started as many as there are to be
        processes = scheduler = None
    try:
        with as_usage(), stored_in(store, processes, scheduler):
            return _work(experiment, config) if worker else _regenerate(experiment, config, preset, out)
    except SweepError as error:
        print(f"sdesim: {error}", file=sys.stderr)
        return FAILS


def _experiment(name: str) -> Experiment:
    """One of the papers' by its name, or a user's own by its file."""
    if not name.endswith(".py"):
        return papers.experiment(name)
    path = Path(name).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"figure={name!r}: there is no such file")
    sys.path.insert(0, str(path.parent))  # as `python FILE` does: for what stands beside it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # of a name that ends in .py
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"figure={name!r}: must end in an EXPERIMENT; `sdesim new figure NAME` writes one that does")
    return experiment


def _all_figures(arguments: list[str]) -> int:
    """Every figure, one after another, whatever becomes of one; the status is that of the worst."""
    with as_usage():
        preset, rest = take_option(arguments, "--preset", "default")
        check_choice("preset", preset, PRESETS)
        out, rest = take_option(rest, "--out", "figures")
        seed, rest = take_option(rest, "--seed", "0")
        if rest or not seed.isdecimal():
            wrong = rest[0] if rest else f"--seed {seed}"
            raise ValueError(f"{wrong}: `sdesim figure all` takes --preset, --seed (a whole number) and --out alone")
    statuses = {}
    chosen = {name: e for name, e in papers.EXPERIMENTS.items() if not e.trains}
    for i, (name, experiment) in enumerate(chosen.items(), 1):
        print(f"[{i} of {len(chosen)}] {name}", flush=True)
        config = dataclasses.replace(experiment.preset(preset), seed=int(seed))
        try:
            with by_command(["figure", name, "--preset", preset, "--seed", seed, "--out", out]):
                statuses[name] = _regenerate(experiment, config, preset, Path(out))
        except UsageError as error:
            print(f"sdesim: error: {error}", file=sys.stderr)
            statuses[name] = 2
        print(flush=True)
    bad = [name for name, status in statuses.items() if status]
    print(f"{len(statuses)} figures; gallery: {write_gallery(papers.EXPERIMENTS, Path(out))}")
    if bad:
        print(f"not as the papers say, or not drawn: {', '.join(bad)}")
    return max(statuses.values())


def options_of(config: Any) -> list[tuple[str, Any, Any]]:
    """The options that a figure's own numbers are on the command line, and its folder, as fields of a dataclass.

    Args:
        config: whose values are the defaults.
    """
    return [
        ("config", Annotated[type(config), tyro.conf.arg(name="")], dataclasses.field(default=config)),
        ("out", Annotated[Path, tyro.conf.arg(help=_OUT)], dataclasses.field(default=Path("figures"))),
    ]


def _parse(experiment: Experiment, config: Any, preset: str, arguments: list[str]) -> tuple[Path, Any]:
    """The output folder and the configuration, by tyro over the configuration's own dataclass."""
    said = f"{', '.join(experiment.presets)}: sets all numbers below but those that are given."
    sizes = Annotated[str, tyro.conf.arg(metavar="SIZE", help=said)]  # which was taken before, and is listed here
    options = [("preset", sizes, dataclasses.field(default=preset)), *options_of(config)]
    command = dataclasses.make_dataclass("figure", options)
    description = (
        f"{experiment.title}. Defaults are those of --preset {preset}. Where the paper's own numbers are lost, these "
        "are chosen; put those in if you have them. With --from FILE, which takes "
        "--out alone, nothing is run: a NAME.nc that was written before is judged and drawn again. With --store DIR "
        "its sweeps are kept there as they run: the same command goes on after a crash, and --processes N or "
        "--scheduler ADDRESS have others compute. --worker says and draws nothing: to be started n times by any "
        "launcher. --dry-run says what seconds, memory and bytes the sweeps will take."
    )
    with as_usage():
        parsed: Any = parse_options(command, f"figure {experiment.name}", arguments, description)
        check_given(parsed.config)
    return parsed.out, parsed.config


def _regenerate(experiment: Experiment, config: Any, preset: str, out: Path) -> int:
    make = lambda tell: regenerate(experiment, config, preset, out, progress=True, tell=tell)
    return _told(experiment, config, preset, make)


def _estimate(experiment: Experiment, config: Any) -> int:
    """Say what a figure's sweeps will take."""
    rest = None
    with as_usage(), estimated() as sweeps:
        try:
            experiment.run(config, False)
        except NotEstimatedError as error:
            rest = str(error)
        except Exception as error:  # whatever is made of data that are all NaN
            if not sweeps:
                raise
            rest = f"whatever hangs on their results ({said_by(error)})"
    for sweep in sweeps:
        print(sweep)
    if len(sweeps) > 1:
        print(f"in all: {Estimate.of_all(sweeps)}")
    if rest is not None:
        print(f"{'and' if sweeps else 'not estimated:'} {rest}")
    return 0


def _work(experiment: Experiment, config: Any) -> int:
    """Have a figure's sweeps computed, and nothing else."""
    experiment.run(config, False)
    return 0


def _redraw(experiment: Experiment, path: str, arguments: list[str]) -> int:
    """Judge and draw again what a file keeps."""
    with as_usage():
        out, others = take_option(arguments, "--out", "figures")
        if others:
            raise ValueError(f"{others[0]}: --from takes --out alone; the configuration is that of the file")
        kept = kept_in(experiment, path)
    return _told(experiment, kept.config, kept.preset, lambda tell: redraw(experiment, kept, out, tell=tell))


def _told(experiment: Experiment, config: Any, preset: str, make: Callable[[Tell], Regenerated]) -> int:
    """Make the files of a figure, say what was found, and return the exit status."""

    def tell(found: list[claims.Claim]) -> None:
        print(f"{experiment.title} [{preset} preset, seed {config.seed}]\n\n{claims.table(found)}", flush=True)

    with warnings.catch_warnings(record=True) as caught, as_usage():
        warnings.simplefilter("always", UserWarning)
        done = make(tell)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"sdesim: warning: {warning.message}", file=sys.stderr)
    paths = ", ".join(str(path) for path in done.files.values())
    print("\n" + textwrap.fill(f"wrote {paths} ({done.seconds:.1f} s)", 120, break_on_hyphens=False))
    as_preset = dataclasses.replace(config, seed=0) == dataclasses.replace(experiment.preset(preset), seed=0)
    if not as_preset:
        print("the configuration is not the preset's: its claims are shown and do not decide the exit status")
    return 1 if preset == "default" and as_preset and claims.failed(done.claims) else 0
