"""`sdesim new`: a commented skeleton of a part of one's own, with its test."""

import importlib.resources
import importlib.util
import keyword
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from sdesim.cli.overview import parse_options
from sdesim.fields import check_choice
from sdesim.results.files import check_writable, write_text

Kind = Literal["rule", "loss", "noise", "observable", "protocol", "figure", "sweep"]


def run(arguments: Sequence[str]) -> int:
    """`sdesim new KIND NAME`.

    Args:
        arguments: after `sdesim new`.

    Returns:
        The exit status.

    Raises:
        ValueError: as `new`.
        FileExistsError: as `new`.
    """
    return parse_options(new, "new", arguments)


def new(
    kind: Annotated[Kind, tyro.conf.Positional], name: Annotated[str, tyro.conf.Positional], out: Path = Path(".")
) -> int:
    """Write NAME.py, a commented part of one's own that works as it stands, and test_NAME.py.

    Args:
        kind: What it is: a coupling rule, a loss, a noise law, an observable, a protocol of workers in virtual time, a
            figure, or a file for `sdesim sweep`, which has no test.
        name: Its name, such as soft-quorum: the class is then SoftQuorum, the file soft_quorum.py.
        out: Folder to write to, made if it is not there.

    Returns:
        The exit status.

    Raises:
        ValueError: for a name that Python cannot have, or that hides a module of Python or of sdesim's.
        FileExistsError: if one of the files is there.
    """
    files = _files(kind, name, out)
    for path in files:
        if path.exists():
            raise FileExistsError(f"out={str(out)!r}: {path.name} is there; choose another name, or another folder")
    part, *tests = files
    if importlib.util.find_spec(part.stem) is not None:
        raise ValueError(f"name={name!r}: would hide the module {part.stem} that Python has; choose another")
    check_writable(out)
    for path, text in files.items():
        write_text(path, text)
    for test in tests:
        print(f"wrote {part} and {test}; `pytest {test}` tries it (`pip install pytest`)")
    if kind == "figure":
        print(f"`sdesim figure {part} --preset smoke` makes the figure, `sdesim figure {part} --help` says its numbers")
    if kind == "sweep":
        print(f"wrote {part}; `sdesim sweep {part} --dry-run` says how long it takes, `--store DIR` runs it")
    return 0


def _files(kind: str, name: str, out: Path) -> dict[Path, str]:
    """The part and its test, if it has one, each by its path."""
    check_choice("kind", kind, get_args(Kind))
    words = re.split(r"[-_]", name)
    module = "_".join(words).lower()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name) or keyword.iskeyword(module):
        raise ValueError(f"name={name!r}: must be words of letters and digits, such as soft-quorum")
    title = "".join(word[0].upper() + word[1:] for word in words)
    # A figure is known by its name; a class has capitals.
    called = lambda text: text.replace('"skeleton"', f'"{name}"').replace("skeleton", module).replace("Skeleton", title)
    here = importlib.resources.files("sdesim.cli") / "skeletons"
    written = {f"{module}.py": here / f"{kind}.py", f"test_{module}.py": here / f"test_{kind}.py"}
    return {out / n: called(s.read_text(encoding="utf-8")) for n, s in written.items() if s.is_file()}
