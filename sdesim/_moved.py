"""Names that were elsewhere before version 0.1: asking for one says where it is now. To be removed with version 0.2."""

import importlib.abc
import sys
from typing import Any

MOVED = {
    "sdesim.advance": "sdesim.engine.loop",
    "sdesim.analysis.estimate": "sdesim.statistics",
    "sdesim.analysis.synchronization": "sdesim.analysis.together",
    "sdesim.bench.command": "sdesim.cli.bench",
    "sdesim.bench.training": "sdesim.bench.trainers",
    "sdesim.blocks": "sdesim.engine.blocks",
    "sdesim.cnn": "sdesim.training",
    "sdesim.couple": "sdesim.interop.as_optax",
    "sdesim.experiments": "sdesim.papers",
    "sdesim.files": "sdesim.results.files",
    "sdesim.integrate": "sdesim.run",
    "sdesim.joining": "sdesim.ensembles.joining",
    "sdesim.kernel": "sdesim.engine.gpu",
    "sdesim.observe.monte_carlo": "sdesim.statistics.monte_carlo",
    "sdesim.plotting": "sdesim.plot",
    "sdesim.recipe": "sdesim.results.recipe",
    "sdesim.result": "sdesim.results.result",
    "sdesim.steps": "sdesim.steppers",
    "sdesim.store": "sdesim.results.datasets",
    "sdesim.sweep": "sdesim.ensembles.grids",
    "sdesim.terms": "sdesim.interop.as_diffrax",
    "sdesim.theory.linear.average_covariance": "sdesim.theory.averages.average_covariance",
    "sdesim.theory.meanfield.fokker_planck": "sdesim.theory.meanfield.finite_volumes",
    "sdesim.vectorize": "sdesim.engine.vectorize",
}
# Python imports a package before what is in it, so that it alone is asked for.
WITHIN = {
    "sdesim.cnn": "trainer is training.loop, checkpoints is training.store, command is cli.train",
    "sdesim.plotting": "looks and letters are in plot.theme, density is statistics.kernel_density",
    "sdesim.experiments": "bs_fig1 is papers.boffi_slotine.fig1, z_chapter4 is papers.zhang, base is papers.frame",
}


def refuse(name: str) -> None:
    """Say where a name is now, if it was moved.

    Args:
        name: dotted.

    Raises:
        ModuleNotFoundError: with the new name.
    """
    if name in MOVED:
        within = f" ({WITHIN[name]})" if name in WITHIN else ""
        raise ModuleNotFoundError(f"{name} is now {MOVED[name]}{within}", name=name)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing, and says so of modules that were moved."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None):
        refuse(fullname)
        return None


def announce() -> None:
    """From now on, who imports a module that was moved is told where it is."""
    sys.meta_path.append(_Finder())  # the last to be asked
