"""Run notebooks at full size and keep what they show, which is what the site shows.

    python notebooks/regenerate.py [NAME ...]

The text is NAME.py; NAME.ipynb is written anew from it, with its outputs and nothing that hangs on the hour.
"""

import argparse
import os
import pathlib
import sys

import jupytext
import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent
MOST = 2**20  # bytes of a file


def regenerate(text: pathlib.Path) -> None:
    """Run one notebook and write it.

    Args:
        text: its NAME.py.

    Raises:
        ValueError: for one that would be too large to keep.
    """
    notebook = jupytext.read(text)
    client = nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", record_timing=False, store_widget_state=False
    )
    client.execute(cwd=str(HERE))
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
    notebook.metadata.pop("language_info", None)  # which Python it was
    written = nbformat.writes(nbformat.from_dict(notebook), version=4)
    if len(written) > MOST:
        raise ValueError(f"{text.stem}: would have {len(written)} bytes, and must have at most {MOST}")
    text.with_suffix(".ipynb").write_text(written + "\n", encoding="utf-8")
    print(text.stem, len(written), "bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run notebooks at full size and keep what they show.")
    parser.add_argument("names", nargs="*", help="such as 01-first-steps; all by default")
    names = parser.parse_args().names or sorted(path.stem for path in HERE.glob("[0-9]*.py"))
    if unknown := [name for name in names if not (HERE / f"{name}.py").is_file()]:
        sys.exit(f"{', '.join(unknown)}: there is no such notebook")
    if os.environ.pop("SDESIM_SMOKE", None) is not None:
        print("SDESIM_SMOKE is set, and not heeded: what is kept is of full size")
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in names:
        regenerate(HERE / f"{name}.py")


if __name__ == "__main__":
    main()
