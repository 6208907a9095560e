"""Builds the commit into what is installed: a wheel has no .git to ask."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "sdesim/COMMIT"


class CommitHook(BuildHookInterface):
    """Puts a file that names the commit into wheel and sdist; a wheel that is built from an sdist has the sdist's."""

    def initialize(self, version, build_data):
        if version == "editable":  # runs from the checkout, and asks it
            return
        root = pathlib.Path(self.root)
        commit = "unknown"
        with contextlib.suppress(OSError):
            commit = (root / NAME).read_text(encoding="ascii").strip()
        if (root / ".git").exists():
            command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        handle, self.path = tempfile.mkstemp(prefix="sdesim-commit-")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(commit + "\n")
        build_data["force_include"][self.path] = NAME

    def finalize(self, version, build_data, artifact_path):
        if hasattr(self, "path"):
            pathlib.Path(self.path).unlink()
