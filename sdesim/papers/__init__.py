"""Experiments of the papers, a file a figure, or a folder of config, run, claims and picture."""

import functools
import importlib
import pathlib
import pkgutil
import re
from types import ModuleType
from typing import Any

from sdesim.fields import check_choice
from sdesim.papers.frame.experiment import Experiment

EXPERIMENTS: dict[str, Experiment]
"""Every experiment by the name that the command line knows it by. Asking for it imports them all."""
MODULES: dict[str, str]
"""The module or package of each."""

__all__ = ["EXPERIMENTS", "MODULES", "Experiment", "experiment"]


def experiment(name: str) -> Experiment:
    """One experiment, for which no others are imported if its source names it.

    Args:
        name: that the command line knows it by.

    Returns:
        The experiment.

    Raises:
        ValueError: if there is none of the name.
    """
    if "EXPERIMENTS" not in globals():
        root = pathlib.Path(__path__[0])
        for file in root.rglob("*.py"):
            if f'"{name}"' in file.read_text(encoding="utf-8"):
                parts = file.relative_to(root).with_suffix("").parts
                module = importlib.import_module(".".join((__name__, *parts)).removesuffix(".__init__"))
                if (found := next((e for e in _of(module) if e.name == name), None)) is not None:
                    return found
    every = _experiments()[0]
    check_choice("figure", name, every)
    return every[name]


def _of(module: ModuleType) -> list[Experiment]:
    """What a module or package has as its EXPERIMENT or its EXPERIMENTS."""
    found = getattr(module, "EXPERIMENTS", (getattr(module, "EXPERIMENT", None),))
    return [e for e in found if e is not None]


@functools.cache
def _experiments() -> tuple[dict[str, Experiment], dict[str, str]]:
    """Those of all modules and packages here, and the module of each, by name; 2 before 10."""
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(__path__, f"{__name__}.")]
    found = [(e, m.__name__) for m in modules for e in _of(m)]
    number = lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    found = sorted(found, key=lambda each: number(each[0].name))
    return {e.name: e for e, _ in found}, {e.name: module for e, module in found}


def __getattr__(name: str) -> Any:
    """The experiments and their modules, when they are first asked for: training takes half a second to import."""
    if name not in ("EXPERIMENTS", "MODULES"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    globals()["EXPERIMENTS"], globals()["MODULES"] = _experiments()
    return globals()[name]
