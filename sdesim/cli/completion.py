"""`sdesim completion`: a script for a shell that completes commands, figures and options."""

import dataclasses
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import tyro

from sdesim.cli import bench, claims, figure, new, train, view
from sdesim.fields import check_choice
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame.experiment import PRESETS, Experiment

SHELLS = ("bash", "zsh", "fish")


def run(arguments: Sequence[str]) -> int:
    """Print the script of a shell.

    Args:
        arguments: after `sdesim completion`: the shell.

    Returns:
        The exit status.

    Raises:
        ValueError: for another shell, or none.
    """
    if len(arguments) != 1:
        raise ValueError(f"completion: takes one shell: {', '.join(SHELLS)}")
    check_choice("shell", arguments[0], SHELLS)
    if arguments[0] == "fish":  # which tyro does not know
        print("\n".join(_fish(_commands())))
        return 0
    commands = {name: _first(kind) if isinstance(kind, dict) else kind for name, kind in _commands().items()}
    try:
        tyro.cli(_one_of(commands), prog="sdesim", args=["--tyro-print-completion", arguments[0]])
    except SystemExit:  # how tyro ends what it has printed
        return 0
    raise AssertionError("tyro prints and ends")


def _commands() -> dict[str, type | dict[str, type]]:
    """The options of each command, or of each of its first arguments; when run, each parses its arguments itself."""
    figures = {name: _figure(experiment) for name, experiment in EXPERIMENTS.items()}
    every = _options("all", preset=(Literal[PRESETS], "default"), seed=(int, 0), out=(Path, Path()))
    return {
        "figure": {**figures, "all": every},
        "claims": claims.Options,
        "train": train.Options,
        "data": train.Fetch,
        "bench": bench.Options,
        "new": {kind: _options(kind, out=(Path, Path())) for kind in get_args(new.Kind)},
        "sweep": _options(
            "sweep",
            store=(Path, Path()),
            workers=(int, 1),
            scheduler=(str, ""),
            listen=(str, ""),
            lanes=(int, 1),
            memory=(str, ""),
        ),
        "runs": _options("runs", check=(bool, False), repair=(bool, False), prune=(bool, False), delete=(bool, False)),
        "join": _options("join", out=(Path, Path())),
        "export": _options("export", out=(Path, Path())),
        "view": view.Options,
        "completion": {shell: _options(shell) for shell in SHELLS},
    }


def _fish(commands: Mapping[str, type | dict[str, type]]) -> Iterator[str]:
    """The lines of fish's script."""
    seen = "__fish_seen_subcommand_from"
    say = lambda when, what: f"complete -c sdesim -n '{when}' {what}"
    yield say("__fish_use_subcommand", f"-fa '{' '.join(commands)}'")
    for name, kind in commands.items():
        if isinstance(kind, dict):
            first = " ".join(kind)
            yield say(f"{seen} {name}; and not {seen} {first}", f"-fa '{first}'")
        for own, options in (kind if isinstance(kind, dict) else {name: kind}).items():
            for option, hint in _long(options):
                values = " ".join(map(str, get_args(hint))) if get_origin(hint) is Literal else ""
                takes = f" -xa '{values}'" if values else "" if hint is bool else " -r"
                yield say(f"{seen} {name}; and {seen} {own}", f"-l {option}{takes}")


def _long(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The options of a dataclass by their long names, as tyro calls them, and their types."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, said = hints[field.name], ()
        if get_origin(hint) is Annotated:
            hint, *said = get_args(hint)
        name = next((n for s in said if (n := getattr(s, "name", None)) is not None), field.name)
        if dataclasses.is_dataclass(hint):
            yield from _long(cast(type, hint), prefix + (f"{name}." if name else ""))
        elif tyro.conf.Positional not in said:
            yield (prefix + name).replace("_", "-"), hint


def _first(commands: Mapping[str, type]) -> type:
    """A command whose first argument is one of these."""
    nested = tyro.conf.OmitSubcommandPrefixes[_one_of(commands)]
    return dataclasses.make_dataclass("first", [("first", nested)])


def _one_of(commands: Mapping[str, Any]) -> Any:
    """A choice by name."""
    named = [Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)] for name, kind in commands.items()]
    return functools.reduce(operator.or_, named)


def _options(name: str, *others: tuple, **options: tuple[Any, Any]) -> type:
    fields = [(option, kind, dataclasses.field(default=default)) for option, (kind, default) in options.items()]
    return dataclasses.make_dataclass(name, [*fields, *others])


def _figure(experiment: Experiment) -> type:
    """The options of a figure, and those that `sdesim figure` takes beside them."""
    presets, file = Literal[tuple(experiment.presets)], Annotated[Path, tyro.conf.arg(name="from")]
    own = figure.options_of(experiment.preset("default"))
    kept = dict(store=(Path, Path()), processes=(int, 1), scheduler=(str, ""))
    return _options(experiment.name, *own, preset=(presets, "default"), from_=(file, Path()), **kept)
