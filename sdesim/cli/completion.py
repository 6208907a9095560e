"""`sdesim completion`: a script for a shell that completes commands, figures and options."""

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from sdesim.cli import bench, claims, figure, new, train, view
from sdesim.fields import check_choice
from sdesim.papers import EXPERIMENTS
from sdesim.papers.frame.experiment import PRESETS, Experiment

SHELLS = ("bash", "zsh")


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
    try:
        tyro.cli(_commands(), prog="sdesim", args=["--tyro-print-completion", arguments[0]])
    except SystemExit:  # how tyro ends what it has printed
        return 0
    raise AssertionError("tyro prints and ends")


def _commands() -> Any:
    """All commands as one type of tyro's, of which it makes the script; when run, each parses its arguments itself."""
    figures = {name: _figure(experiment) for name, experiment in EXPERIMENTS.items()}
    every = _options("all", preset=(Literal[PRESETS], "default"), seed=(int, 0), out=(Path, Path()))
    return _one_of(
        {
            "figure": _first({**figures, "all": every}),
            "claims": claims.Options,
            "train": train.Options,
            "data": train.Fetch,
            "bench": bench.Options,
            "new": _first({kind: _options(kind, out=(Path, Path())) for kind in get_args(new.Kind)}),
            "sweep": _options(
                "sweep",
                store=(Path, Path()),
                workers=(int, 1),
                scheduler=(str, ""),
                listen=(str, ""),
                lanes=(int, 1),
                memory=(str, ""),
            ),
            "runs": _options(
                "runs", check=(bool, False), repair=(bool, False), prune=(bool, False), delete=(bool, False)
            ),
            "join": _options("join", out=(Path, Path())),
            "export": _options("export", out=(Path, Path())),
            "view": view.Options,
            "completion": _first({shell: _options(shell) for shell in SHELLS}),
        }
    )


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
