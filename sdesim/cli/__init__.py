"""The command line, a file each: `figure`, `claims`, `train`, `data`, `bench`, `sweep` and stores, `new`, ..."""

import importlib
import sys
from collections.abc import Sequence

from sdesim._version import __version__
from sdesim.cli.overview import overview
from sdesim.cli.usage import FAILS, FILES, WRONG, UsageError, as_usage
from sdesim.results.files import WriteError
from sdesim.results.recipe import by_command

SWEEPS = ("sweep", "runs", "join", "export")
ALIKE = ("new", "view", "completion")  # a module of the name, with a `run`
COMMANDS = ("figure", "claims", "train", "data", "bench", *SWEEPS, *ALIKE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, in any thread. The command itself is `__main__.command`.

    Args:
        argv: the arguments, without the command's own name; those of the process by default.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with by_command(arguments):
            return _main(arguments)
    except UsageError as error:
        print(f"sdesim: error: {error}", file=sys.stderr)
        return error.status
    except WriteError as error:
        print(f"sdesim: error: {error}", file=sys.stderr)
        return FILES


def _main(arguments: list[str]) -> int:
    # Commands are imported when they are called: JAX takes a second that --version and --help need not wait for.
    if not arguments:
        print(overview())
        return WRONG
    command, *rest = arguments
    if command in ("-h", "--help"):
        print(overview())
        return 0
    if command == "--version":
        print(f"sdesim {__version__}")
        return 0
    if command == "figure":
        if not rest or rest[0] in ("-h", "--help"):
            print(overview())
            return 0 if rest else WRONG
        from sdesim.cli import figure

        return figure.run(rest)
    if command == "claims":
        from sdesim.cli import claims

        with as_usage():
            options = claims.parse(rest)
            return claims.run(options)
    if command == "bench":
        from sdesim.cli import bench

        with as_usage():
            options = bench.parse(rest)
        return 0 if bench.run(options).rows or options.against else FAILS
    if command in ("train", "data"):
        from sdesim.cli import train

        with as_usage():
            return train.main(command, rest)
    if command in SWEEPS:
        from sdesim.cli import sweep

        with as_usage():
            return sweep.main(command, rest)
    if command in ALIKE:
        with as_usage():
            return importlib.import_module(f"sdesim.cli.{command}").run(rest)
    with as_usage():
        from sdesim.fields import check_choice

        check_choice("command", command, (*COMMANDS, "--version", "--help"))
    return WRONG
