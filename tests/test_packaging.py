"""The oldest versions of what sdesim needs: those that `pyproject.toml` names pass.

Last run whole on 2026-11-26, with Python 3.11: jax 0.10.2 and the rest as they were up to two years before.
"""

import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest
from places import ROOT

SELECTION = [
    "steppers/test_one_definition.py",
    "interop/test_diffrax.py",
    "training/test_training_networks.py",
    "cli/test_cli.py",
    "ensembles/test_engines.py",
    "ensembles/test_durable.py",
    "steppers/test_convergence.py",
]


@pytest.mark.slow
def test_the_lower_bounds_are_enough(tmp_path):
    """An environment of the lowest version of each dependency, in which every module is imported and a part tested."""
    uv = shutil.which("uv", path=pathlib.Path(sys.executable).parent) or shutil.which("uv")
    if uv is None:
        pytest.fail("uv: must be installed to resolve the lowest versions; `pip install uv`")
    python = str(tmp_path / "venv/bin/python")
    run = lambda *command: subprocess.run(command, cwd=ROOT, check=True, timeout=1500)
    run(uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    run(uv, "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct", f"{ROOT}[test]")
    every = "import importlib, pkgutil, sdesim; [importlib.import_module(m.name) for m in pkgutil.walk_packages("
    run(python, "-c", every + "sdesim.__path__, 'sdesim.')]")
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in SELECTION))


def test_every_version_of_python_that_is_admitted_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        c.rsplit(" ", 1)[1] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert named == ["3.11", "3.12", "3.13"]
    assert project["requires-python"] == ">=3.11,<3.14"
