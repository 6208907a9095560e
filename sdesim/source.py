"""The files that sdesim runs from: where they are, of which commit, and a hash of what they say."""

import contextlib
import functools
import hashlib
import importlib.resources
import pathlib
import subprocess
from collections.abc import Iterable


def package() -> pathlib.Path:
    """The folder of the package."""
    return pathlib.Path(str(importlib.resources.files("sdesim"))).resolve()


def checkout() -> pathlib.Path | None:
    """The root of the checkout that sdesim runs from; None where it is installed without one."""
    root = package().parent
    return root if (root / ".git").exists() and (root / "pyproject.toml").is_file() else None


@functools.cache
def commit() -> str:
    """The commit that sdesim runs from: of a checkout, or as it was built into what is installed."""
    if (root := checkout()) is not None:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    with contextlib.suppress(OSError):
        return (package() / "COMMIT").read_text(encoding="ascii").strip()
    return "unknown"


def modules(*names: str) -> list[str]:
    """The files of modules and of whole packages, relative to sdesim.

    Args:
        *names: dotted names within sdesim; with none, all files.

    Returns:
        Paths relative to sdesim; empty where sdesim is not installed as files (in a zip).

    Raises:
        LookupError: for a name that is gone, which a list of names kept elsewhere must not outlive.
    """
    root, found = package(), []
    if not root.is_dir():
        return []
    if not names:
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    for name in names:
        place = root.joinpath(*name.split("."))
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        if not files or not files[0].is_file():
            raise LookupError(f"sdesim.{name}: there is no such module")
        found += [path.relative_to(root).as_posix() for path in files]
    return found


def hash_of(files: Iterable[str]) -> str:
    """A hash of the names and contents of files of sdesim.

    Args:
        files: relative to sdesim.

    Returns:
        SHA-256 in hexadecimal digits; empty of none.
    """
    digest, files = hashlib.sha256(), list(files)
    for name in files:
        content = (package() / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest() if files else ""
