"""Sweeps that are asked for in a file: Python, which makes a model of one's own, or TOML, which is data.

A Python file has a dictionary `SWEEP` of arguments of `sdesim.sweep`. A TOML file has them by name; parts of a model,
the start, observables and the stepper are tables that name a class of sdesim as their `kind`, beside its numbers. With
`data` in place of a model they are arguments of `sdesim.training.sweep`, which `sdesim.training.asked` makes of them.
"""

import importlib.util
import inspect
import json
import os
import pathlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np

from sdesim import asynchrony, coupling, dynamics, init, noise, objectives, observe, schedules, steppers
from sdesim.dynamics import Dynamics
from sdesim.ensembles.points import with_value
from sdesim.fields import check_choice, numeric_fields, shown
from sdesim.results.files import Damaged

MODULE = "sdesim_sweep_file"  # what a Python file is called when it is imported
SIGNATURE = ("model", "grid")
OF_TRAININGS = ("data", "algorithm", "grid")
NAMED = ("algorithm", "network", "optimizer")  # of trainings: names, or tables of a name and numbers
_ROOMS = {
    "model": (dynamics,),
    "objective": (objectives,),
    "coupling": (coupling,),
    "noise": (noise,),
    "momentum": (dynamics,),
    "eta": (schedules,),
    "init": (init,),
    "velocity": (init,),
    "observe": (observe,),
    "stepper": (steppers, asynchrony),
}
"""Where the kinds of a part are, by the name of the argument or field; in a part also its own room and schedules."""


def asked_in(file: str | os.PathLike, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The arguments of `sdesim.sweep`, or of `sdesim.training.sweep`, that a file has.

    Args:
        file: its name, which ends in .py or .toml.
        overrides: text by the name of an argument, of a number of the model ("model.eta") or of an axis
            ("grid.coupling.k"); JSON, several numbers apart by commas or spaces too.

    Returns:
        The arguments by name.

    Raises:
        FileNotFoundError: if there is no such file.
        Damaged: for TOML that cannot be read; a ValueError.
        ValueError: for what no sweep has.
    """
    path = pathlib.Path(file)
    said = f"file={str(path)!r}"
    if path.suffix not in (".py", ".toml"):
        raise ValueError(f"{said}: must be a .py with a dictionary SWEEP, or a .toml")
    if not path.is_file():
        raise FileNotFoundError(f"{said}: there is no such file")
    arguments = _python(path, said) if path.suffix == ".py" else _toml(path, said)
    needed = OF_TRAININGS if "data" in arguments else SIGNATURE
    if missing := [name for name in needed if name not in arguments]:
        raise ValueError(f"{said}: must have {' and '.join(missing)}")
    for name, text in (overrides or {}).items():
        _override(arguments, name, _value(text))
    return arguments


def _python(path: pathlib.Path, said: str) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[MODULE] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as Python has it for a file that it runs
    spec.loader.exec_module(module)
    found = getattr(module, "SWEEP", None)
    if not isinstance(found, Mapping):
        raise ValueError(f"{said}: must have a dictionary SWEEP of arguments of sdesim.sweep")
    return dict(found)


def _toml(path: pathlib.Path, said: str) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Damaged(said, f"is no TOML ({error})", "correct it") from error
    grid = read.get("grid", {})
    if not isinstance(grid, Mapping):
        raise ValueError(f"{said}: grid must be a table of values by name")
    read["grid"] = {name: _axis(f"{said}: grid.{name}", values) for name, values in _flat(grid).items()}
    if "data" in read:
        return read
    if isinstance(read.get("model"), Mapping):
        read["model"] = {"kind": "Dynamics", **read["model"]}
    return {
        name: v if name == "grid" else _made(f"{said}: {name}", v, _ROOMS.get(name, ())) for name, v in read.items()
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A grid whose names may be dotted keys of TOML, which are tables in tables."""
    found = {}
    for name, value in table.items():
        nested = isinstance(value, Mapping) and "from" not in value
        found |= _flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return found


def _axis(said: str, values: Any) -> list:
    """Values one by one, or `{from, to, count, scale}`, both ends among them."""
    if not isinstance(values, Mapping):
        return values
    if unknown := values.keys() - {"from", "to", "count", "scale"}:
        raise ValueError(f"{said}: has {', '.join(sorted(unknown))}; must have from, to, count, and may have scale")
    if missing := {"from", "to", "count"} - values.keys():
        raise ValueError(f"{said}: must have {', '.join(sorted(missing))}")
    scale = check_choice(f"{said}.scale", values.get("scale", "linear"), ("linear", "log"))
    between = np.geomspace if scale == "log" else np.linspace
    return between(values["from"], values["to"], values["count"]).tolist()


def _made(said: str, value: Any, rooms: Sequence[Any]) -> Any:
    """A value of TOML with parts in place of tables of a kind."""
    if isinstance(value, list):
        return [_made(said, v, rooms) for v in value]
    if not isinstance(value, Mapping):
        return value
    kinds = kinds_in(rooms)
    if "kind" not in value:
        raise ValueError(f"{said}: must be a table with a kind, such as {{kind = 'Quorum', k = 1.0}}")
    kind = kinds[check_choice(f"{said}.kind", value["kind"], kinds)]
    within = lambda name: _ROOMS.get(name, (*rooms, schedules))
    given = {name: _made(f"{said}.{name}", v, within(name)) for name, v in value.items() if name != "kind"}
    known = inspect.signature(kind).parameters
    for name in given:
        check_choice(f"{said}: {value['kind']}", name, known)
    return kind(**given)


def kinds_in(rooms: Sequence[Any]) -> dict[str, type]:
    """What a table of TOML may be, by name: public classes of some modules of sdesim, and nothing else.

    Args:
        rooms: the modules.

    Returns:
        The classes.
    """
    found: dict[str, type] = {}
    for room in rooms:
        for name in getattr(room, "__all__", vars(room)):
            value = getattr(room, name)
            if isinstance(value, type) and issubclass(value, eqx.Module) and not name.startswith(("_", "Abstract")):
                found.setdefault(name, value)
    return found


def _value(text: str) -> Any:
    """JSON, several of it, or the text itself."""
    for said in (text, f"[{','.join(text.replace(',', ' ').split())}]"):
        try:
            return json.loads(said)
        except ValueError:
            continue
    return text


def _override(arguments: dict[str, Any], name: str, value: Any) -> None:
    head, _, rest = name.partition(".")
    if head == "grid" and rest:
        arguments["grid"] = {**arguments["grid"], rest: value if isinstance(value, list) else [value]}
    elif head == "model" and rest:
        if not isinstance(arguments["model"], Dynamics):
            raise TypeError(f"model={shown(arguments['model'])}: must be a sdesim.Dynamics")
        numbers = list(numeric_fields(arguments["model"]))
        arguments["model"] = with_value(arguments["model"], check_choice(name, rest, numbers), value)
    elif head in NAMED and rest and isinstance(arguments.get(head), str | Mapping):
        given = arguments[head]
        arguments[head] = {**(given if isinstance(given, Mapping) else {"name": given}), rest: value}
    else:
        arguments[name] = value
