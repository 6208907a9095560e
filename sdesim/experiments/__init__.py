"""Experiments of the papers, one file a figure: configuration, run, picture and claims."""

import importlib
import pkgutil

from sdesim.experiments.base import Experiment


def _experiments() -> dict[str, Experiment]:
    """Those of all modules here that have one, by name; 2 before 10."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {m.EXPERIMENT.name: m.EXPERIMENT for m in modules if hasattr(m, "EXPERIMENT")}


EXPERIMENTS: dict[str, Experiment] = _experiments()
"""Every experiment by the name that the command line knows it by."""

__all__ = ["EXPERIMENTS", "Experiment"]
