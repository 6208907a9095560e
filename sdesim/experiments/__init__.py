"""Experiments of the papers, one file a figure: configuration, run, picture and claims."""

import importlib
import pkgutil
import re

from sdesim.experiments.base import Experiment


def _experiments() -> dict[str, Experiment]:
    """Those of all modules here, each with its EXPERIMENT or its several EXPERIMENTS, by name; 2 before 10."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    found = [e for m in modules for e in getattr(m, "EXPERIMENTS", (getattr(m, "EXPERIMENT", None),)) if e is not None]
    number = lambda e: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", e.name)]
    return {e.name: e for e in sorted(found, key=number)}


EXPERIMENTS: dict[str, Experiment] = _experiments()
"""Every experiment by the name that the command line knows it by."""

__all__ = ["EXPERIMENTS", "Experiment"]
