"""Other commits of sdesim, checked out so that they can be run beside this one."""

import dataclasses
import pathlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from sdesim import source


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit that can be run.

    Attributes:
        name: as it was asked for.
        folder: its sources.
        python: an interpreter that has what it needs.
    """

    name: str
    folder: pathlib.Path
    python: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process must have in its environment to import sdesim of this commit."""
        return {"PYTHONPATH": str(self.folder)}


def check_out(name: str, folder: pathlib.Path) -> Commit:
    """Check a commit out.

    It has an environment of its own where its dependencies are not those of the sources that run here.

    Args:
        name: any that git knows it by.
        folder: where to, which must not exist.

    Returns:
        The commit.

    Raises:
        ValueError: if there is no such commit, or sdesim does not run from a checkout.
    """
    root = source.checkout()
    if root is None:
        raise ValueError(f"commit={name!r}: sdesim does not run from a checkout here, which alone has other commits")
    find = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    found = subprocess.run(find, capture_output=True, text=True)
    if found.returncode:
        raise ValueError(f"commit={name!r}: must be a commit of {root}")
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(root), str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", found.stdout.strip()], check=True)
    if _dependencies(folder) == _dependencies(root):
        return Commit(name, folder, sys.executable)
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = str(next(p for p in (venv / "bin" / "python", venv / "Scripts" / "python.exe") if p.exists()))
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(folder)], check=True)
    return Commit(name, folder, python)


def _dependencies(folder: pathlib.Path) -> list[str]:
    return sorted(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])


@contextmanager
def checked_out(name: str) -> Iterator[Commit]:
    """`check_out` into a temporary folder, for as long as the body runs.

    Args:
        name: any that git knows the commit by.

    Yields:
        The commit.
    """
    with TemporaryDirectory(prefix="sdesim-") as folder:
        yield check_out(name, pathlib.Path(folder) / "source")
