"""The command line: `sdesim figure NAME`, `sdesim train`, `sdesim data`, `sdesim bench`."""

import contextlib
import dataclasses
import math
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from sdesim._version import __version__
from sdesim.results.files import WriteError
from sdesim.results.recipe import by_command

USAGE = """\
usage: sdesim figure NAME [--preset smoke|small|default|paper] [--seed N] [--out DIR] [any field of the configuration]
       sdesim figure all [--preset smoke|default|paper] [--seed N] [--out DIR]
       sdesim figure --list            the figures there are
       sdesim figure NAME --help       the fields of a figure's configuration
       sdesim train [--algorithm NAME] [--agents P] [--k K] [--eta ETA] [--out DIR] [--resume]
       sdesim train --help             the other options of training
       sdesim data cifar10 [--folder DIR]
       sdesim bench [--quick] [--json FILE] [--out DIR] [--record [FILE]]
       sdesim bench --help             the other options of the benchmark
       sdesim --version

Simulates coupled stochastic-gradient agents and regenerates the figures of the papers.

`sdesim figure NAME` writes NAME.png, NAME.pdf, NAME.nc (data with provenance) and NAME.claims.json into DIR, and prints
each statement of the paper about the figure with what was found. Exit status: 0; 1 if a statement fails at the default
preset; 2 for wrong usage; 130 if interrupted. `sdesim figure all` does so for every figure that trains no networks, and
writes README.md, which shows all that are in DIR. --preset small is of those that do: what two cores can train.

`sdesim train` trains networks with the same coupling rules and writes history.nc, summary.png and checkpoints.
`sdesim data cifar10` fetches the images, and verifies them.

`sdesim bench` measures sdesim beside other ways to run the same iteration and prints a table. --json writes its rows,
--out draws bench.png, --record appends what matters to the benchmark record. Exit status: 1 if nothing could be run.
"""

_OUT = "Folder to write to, made if it is not there."


class UsageError(Exception):
    """A mistake on the command line, told in one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, in any thread, and return its exit status. The command itself is `__main__.command`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with by_command(arguments):
            return _main(arguments)
    except (UsageError, WriteError) as error:
        print(f"sdesim: error: {error}", file=sys.stderr)
        return 2


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    command, *rest = arguments
    if command == "--version":
        print(f"sdesim {__version__}")
        return 0
    if command == "figure":
        return _figure(rest)
    if command == "bench":
        return _bench(rest)
    if command in ("train", "data"):
        return _train(command, rest)
    with _as_usage():
        from sdesim.fields import check_choice

        check_choice("command", command, ("figure", "train", "data", "bench", "--version", "--help"))
    return 2


@contextlib.contextmanager
def _as_usage():
    """Bad values, which name themselves, as errors of usage."""
    try:
        yield
    except (ValueError, TypeError, MemoryError, OSError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def _train(command: str, arguments: list[str]) -> int:
    from sdesim.cnn import command as cnn

    with _as_usage():
        if command == "data":
            print(f"CIFAR-10 is in {cnn.fetch(arguments)}, all six parts as published")
        else:
            options = cnn.parse(arguments)
            _check_given(options)
            cnn.run(options)
    return 0


def _bench(arguments: list[str]) -> int:
    from sdesim.bench import command

    with _as_usage():
        options = command.parse(arguments)
    return 0 if command.run(options).rows else 1


def _figure(arguments: list[str]) -> int:
    # Imported here: JAX takes a second that --version and --help need not wait for.
    from sdesim.experiments import EXPERIMENTS
    from sdesim.fields import check_choice

    if arguments[:1] in (["--list"], ["-l"]):
        width = max(map(len, EXPERIMENTS))
        for name, experiment in EXPERIMENTS.items():
            print(f"{name.ljust(width)}  {experiment.title}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "all":
        return _all_figures(rest)
    with _as_usage():
        check_choice("figure", name, [*EXPERIMENTS, "all"])
        experiment = EXPERIMENTS[name]
        preset, rest = _take_option(rest, "--preset", "default")
        config = experiment.preset(preset)
    out, config = _parse(experiment, config, preset, rest)
    return _regenerate(experiment, config, preset, out)


def _all_figures(arguments: list[str]) -> int:
    """Every figure, one after another, whatever becomes of one; the status is that of the worst."""
    from sdesim.experiments import EXPERIMENTS
    from sdesim.experiments.base import PRESETS
    from sdesim.experiments.gallery import write_gallery
    from sdesim.fields import check_choice

    with _as_usage():
        preset, rest = _take_option(arguments, "--preset", "default")
        check_choice("preset", preset, PRESETS)
        out, rest = _take_option(rest, "--out", "figures")
        seed, rest = _take_option(rest, "--seed", "0")
        if rest or not seed.isdecimal():
            wrong = rest[0] if rest else f"--seed {seed}"
            raise ValueError(f"{wrong}: `sdesim figure all` takes --preset, --seed (a whole number) and --out alone")
    statuses = {}
    chosen = {name: e for name, e in EXPERIMENTS.items() if not e.trains}
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
    print(f"{len(statuses)} figures; gallery: {write_gallery(EXPERIMENTS, Path(out))}")
    if bad:
        print(f"not as the papers say, or not drawn: {', '.join(bad)}")
    return max(statuses.values())


def _take_option(arguments: list[str], option: str, default: str) -> tuple[str, list[str]]:
    """The value of an option that decides the defaults of all others, and the arguments without it."""
    kept, value = [], default
    iterator = iter(arguments)
    for argument in iterator:
        if argument == option:
            value = next(iterator, None)
            if value is None:
                raise ValueError(f"{option}: needs a value")
        elif argument.startswith(option + "="):
            value = argument.partition("=")[2]
        else:
            kept.append(argument)
    return value, kept


def _parse(experiment, config: Any, preset: str, arguments: list[str]) -> tuple[Path, Any]:
    """The output folder and the configuration, by tyro over the configuration's own dataclass."""
    import tyro

    command = dataclasses.make_dataclass(
        "figure",
        [
            ("config", Annotated[type(config), tyro.conf.arg(name="")], dataclasses.field(default=config)),
            ("out", Annotated[Path, tyro.conf.arg(help=_OUT)], dataclasses.field(default=Path("figures"))),
        ],
    )
    sizes = ", ".join(experiment.presets)
    description = (
        f"{experiment.title}. Defaults are those of --preset {preset} (one of {sizes}). Where the "
        "paper's own numbers are lost, these are chosen; put those in if you have them."
    )
    with _as_usage():
        parsed: Any = tyro.cli(
            command, prog=f"sdesim figure {experiment.name}", description=description, args=arguments
        )
        _check_given(parsed.config)
    return parsed.out, parsed.config


def _check_given(options: Any, prefix: str = "--") -> None:
    """Refuse lists without a value and numbers that are not finite, of which no option has a use.

    Raises:
        ValueError: naming the option.
    """
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            _check_given(value, f"{name}.")
        if value == ():
            raise ValueError(f"{name}: needs at least one value")
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, float) and not math.isfinite(v) for v in numbers):
            raise ValueError(f"{name}={' '.join(map(str, numbers))}: must be finite")


def _regenerate(experiment, config, preset: str, out: Path) -> int:
    from sdesim import claims
    from sdesim.experiments.base import regenerate

    def tell(found) -> None:
        print(f"{experiment.title} [{preset} preset, seed {config.seed}]\n\n{claims.table(found)}", flush=True)

    with warnings.catch_warnings(record=True) as caught, _as_usage():
        warnings.simplefilter("always", UserWarning)
        done = regenerate(experiment, config, preset, out, progress=True, tell=tell)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"sdesim: warning: {warning.message}", file=sys.stderr)
    paths = ", ".join(str(path) for path in done.files.values())
    print("\n" + textwrap.fill(f"wrote {paths} ({done.seconds:.1f} s)", 120, break_on_hyphens=False))
    as_preset = dataclasses.replace(config, seed=0) == dataclasses.replace(experiment.preset(preset), seed=0)
    if not as_preset:
        print("the configuration is not the preset's: its claims are shown and do not decide the exit status")
    return 1 if preset == "default" and as_preset and claims.failed(done.claims) else 0
