"""Docstrings that tools can read: every parameter and every field of what is public has an entry of its own."""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import re
import textwrap
import types
import typing

import flax.linen as nn
import pytest

import sdesim

HEADS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns")
PROPERTY = (property, functools.cached_property)
ENTRY = re.compile(r"    (\*{0,2}\w+): \S")
PARTS = {"run": ["config", "progress"], "plot": ["config", "data"], "ensemble": ["config", "data"]}
PARTS |= {"statements": ["config"], "arms": ["config"], "methods": ["config"], "curves": ["config", "data"]}
"""Parameters of the parts of a figure, which `Experiment` and the functions that make one document once for all."""


def modules() -> list[str]:
    """All modules of sdesim that are looked at; the command itself starts when it is imported."""
    return [m.name for m in pkgutil.walk_packages(sdesim.__path__, "sdesim.") if not m.name.endswith("__main__")]


def entries(documented: object, section: str) -> list[str] | None:
    """The names in a section of a docstring, in order, also of one that an override inherits; None without it."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    if f"{section}:" not in lines:
        return None
    names = []
    for line in lines[lines.index(f"{section}:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if found := ENTRY.match(line):
            names.append(found[1])
    return names


def parameters(function: typing.Callable) -> list[str]:
    """Those that a caller names, with the stars that they have in the signature."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    named = inspect.signature(function).parameters.values()
    return [stars.get(p.kind, "") + p.name for p in named if p.name not in ("self", "cls") and p.name[0] != "_"]


@functools.cache
def public(module: str) -> dict[str, typing.Any]:
    """The functions and classes that a module defines, and the methods of these classes, by dotted name."""
    found = {}
    for name, value in vars(importlib.import_module(module)).items():
        value = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
        if name.startswith("_") or getattr(value, "__module__", None) != module:
            continue
        if isinstance(value, types.FunctionType):
            found[name] = value
        elif isinstance(value, type):
            found[name] = value
            for method in vars(value).keys() - fields(value)[1]:  # a field may be a function by default
                inner = getattr(value, method)
                if not method.startswith("_") and inspect.isroutine(inner) and not isinstance(inner, PROPERTY):
                    found[f"{name}.{method}"] = inner
    return found


def is_part(module: str, name: str, value: object) -> bool:
    """Whether it is a figure's own part of an experiment, with the signature that all figures' have."""
    return module.startswith("sdesim.papers") and name in PARTS and parameters(value) == PARTS[name]


def one_by_one(cls: type) -> set[str]:
    """Fields with a docstring below each, in a class or its bases: where a command's help finds a configuration's."""
    says = lambda node: isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)
    bases = [base for base in cls.__mro__ if base.__module__.startswith("sdesim.")]
    bodies = [ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body for base in bases]
    pairs = itertools.chain.from_iterable(map(itertools.pairwise, bodies))
    return {field.target.id for field, below in pairs if isinstance(field, ast.AnnAssign) and says(below)}


def fields(cls: type) -> tuple[set[str], set[str]]:
    """The fields that a class adds, and all names that it and its bases annotate."""
    constant = lambda note: "ClassVar" in str(note)
    own = {
        n for n, note in vars(cls).get("__annotations__", {}).items() if not n.startswith("_") and not constant(note)
    }
    if issubclass(cls, nn.Module):
        own -= {"parent", "name"}  # which Flax adds to every module
    return own, {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}


@pytest.mark.parametrize("module", modules())
def test_every_parameter_has_an_entry(module):
    wrong = {}
    for name, value in public(module).items():
        if isinstance(value, type):
            made = getattr(value, "_is_protocol", False) or dataclasses.is_dataclass(value)
            if made or "__init__" not in vars(value):
                continue
            expected = parameters(value.__init__)
        else:
            expected = parameters(value)
        if not is_part(module, name, value) and (entries(value, "Args") or []) != expected:
            wrong[name] = (entries(value, "Args"), expected)
    assert wrong == {}


@pytest.mark.parametrize("module", modules())
def test_every_field_has_an_entry(module):
    wrong = {}
    for name, value in public(module).items():
        # The options of commands are documented one by one, where the command's help finds them.
        if not isinstance(value, type) or module.startswith("sdesim.cli"):
            continue
        own, known = fields(value)
        named = set(entries(value, "Attributes") or []) | one_by_one(value)
        if not own <= named <= known:
            wrong[name] = (sorted(named), sorted(own))
    assert wrong == {}


@pytest.mark.parametrize("module", modules())
def test_everything_public_says_what_it_is(module):
    silent = [n for n, value in public(module).items() if not inspect.getdoc(value) and not is_part(module, n, value)]
    for name, value in public(module).items():
        if isinstance(value, type):
            properties = [n for n, p in vars(value).items() if isinstance(p, PROPERTY) and not n.startswith("_")]
            silent += [f"{name}.{n}" for n in properties if not inspect.getdoc(getattr(value, n))]
    assert silent == []


def test_an_entry_that_is_missing_is_found():
    def f(x, *, y=1, **run):
        """Do it.

        Args:
            x: what.
                y: is no entry of its own.
            **run: as ever.

        Returns:
            y: nothing.
        """

    assert entries(f, "Args") == ["x", "**run"] != parameters(f) == ["x", "y", "**run"]
    assert entries(f, "Attributes") is None


def test_there_is_much_to_look_at():
    found = [value for module in modules() for value in public(module).values()]
    assert len(found) > 250
