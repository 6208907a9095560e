"""Run the Python of pages and keep the pictures that they show, which is what the site shows.

    python docs/pictures/regenerate.py [PAGE ...]

A page shows pictures/.../NAME where its code writes NAME.
"""

import argparse
import contextlib
import pathlib
import re
import shutil
import sys
import tempfile

import matplotlib

DOCS = pathlib.Path(__file__).parents[1]
PAGES = ("recipes", "pictures")
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"!\[[^]]*\]\((pictures/[^)]+)\)")


def regenerate(page: pathlib.Path) -> None:
    """Run one page and keep its pictures.

    Args:
        page: its file.

    Raises:
        FileNotFoundError: for a picture that its code does not write.
    """
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        namespace = {"__name__": "__docs__"}
        for block in FENCE.finditer(text):
            before = text.count("\n", 0, block.start(1))  # so that a traceback names the line of the page
            exec(compile("\n" * before + block[1], str(page), "exec"), namespace)
        for shown in SHOWN.findall(text):
            kept = DOCS / shown
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(kept.name, kept)
            print(shown, kept.stat().st_size, "bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Run the Python of pages and keep the pictures that they show."
    )
    parser.add_argument("pages", nargs="*", help=f"of {', '.join(PAGES)}; all by default")
    pages = parser.parse_args().pages or PAGES
    if unknown := [page for page in pages if page not in PAGES]:
        sys.exit(f"{', '.join(unknown)}: must be of {', '.join(PAGES)}")
    matplotlib.use("agg")
    for page in pages:
        regenerate(DOCS / f"{page}.md")


if __name__ == "__main__":
    main()
