"""Experiments of the papers, a file a figure, or a folder of config, run, claims and picture."""

import importlib
import pkgutil
import re

from sdesim.papers.frame.experiment import Experiment


def _experiments() -> dict[str, tuple[Experiment, str]]:
    """Those of all modules and packages here, each with its EXPERIMENT or its EXPERIMENTS, by name; 2 before 10."""
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(__path__, f"{__name__}.")]
    of = lambda module: getattr(module, "EXPERIMENTS", (getattr(module, "EXPERIMENT", None),))
    found = [(e, m.__name__) for m in modules for e in of(m) if e is not None]
    number = lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    return {e.name: (e, module) for e, module in sorted(found, key=lambda each: number(each[0].name))}


_FOUND = _experiments()
EXPERIMENTS: dict[str, Experiment] = {name: experiment for name, (experiment, _) in _FOUND.items()}
"""Every experiment by the name that the command line knows it by."""
MODULES: dict[str, str] = {name: module for name, (_, module) in _FOUND.items()}
"""The module or package of each."""

__all__ = ["EXPERIMENTS", "MODULES", "Experiment"]
