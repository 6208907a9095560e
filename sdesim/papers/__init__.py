"""Experiments of the papers, a file a figure, or a folder of config, run, claims and picture."""

import importlib
import pkgutil
import re

from sdesim.papers.frame.experiment import Experiment


def _experiments() -> dict[str, Experiment]:
    """Those of all modules and packages here, each with its EXPERIMENT or its EXPERIMENTS, by name; 2 before 10."""
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(__path__, f"{__name__}.")]
    found = [e for m in modules for e in getattr(m, "EXPERIMENTS", (getattr(m, "EXPERIMENT", None),)) if e is not None]
    number = lambda e: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", e.name)]
    return {e.name: e for e in sorted(found, key=number)}


EXPERIMENTS: dict[str, Experiment] = _experiments()
"""Every experiment by the name that the command line knows it by."""

__all__ = ["EXPERIMENTS", "Experiment"]
