"""`sdesim view`: the run browser."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from sdesim.cli.overview import parse_options
from sdesim.results.files import write_text


@dataclasses.dataclass(frozen=True)
class Options:
    """Look at a store, a file or a folder in the browser: pictures with sliders, claims, how far a sweep is."""

    path: tyro.conf.Positional[Path] = Path("figures")
    """A store, a .nc file of sdesim, a timetable (.csv), or a folder of these."""
    port: int = 0
    """Port to listen at, on this machine alone; a free one by default."""
    show: Annotated[bool, tyro.conf.arg(name="open")] = True
    """Open the browser."""
    export: Path | None = None
    """Write one HTML file without scripts to this path instead."""


def run(arguments: Sequence[str]) -> int:
    """`sdesim view PATH`.

    Args:
        arguments: after `sdesim view`.

    Returns:
        The exit status.

    Raises:
        FileNotFoundError: if there is nothing to look at.
        ValueError: for a file of another kind, a port that is none, and without the packages of the extra `view`.
    """
    options = parse_options(Options, "view", arguments)
    if not 0 <= options.port < 2**16:
        raise ValueError(f"port={options.port}: must be from 0, for a free one, to {2**16 - 1}")
    if options.export is not None:
        return write(options.path, options.export)
    return look(options.path, options.port, options.show)


def write(path: Path, out: Path) -> int:
    """Write what there is to look at as one HTML file.

    Args:
        path: of a store, a file or a folder.
        out: of the HTML file.

    Returns:
        The exit status.
    """
    from sdesim.view import markup
    from sdesim.view.sheets import sheets

    write_text(out, markup.page(str(path), sheets(path)))
    print(f"wrote {out}")
    return 0


def look(path: Path, port: int, show: bool) -> int:
    """Serve the run browser until Ctrl-C.

    Args:
        path: of a store, a file or a folder.
        port: that it listens at; 0 for a free one.
        show: whether to open the browser.

    Returns:
        The exit status.

    Raises:
        ValueError: without the packages of the extra `view`.
    """
    try:
        from sdesim.view.server import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"view: needs {error.name}; `pip install 'sdesim[view]'` brings it") from error
    serve(path, port, show)
    return 0
