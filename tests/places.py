"""Where the checkout is that is tested."""

import pathlib

ROOT = next(p for p in pathlib.Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
