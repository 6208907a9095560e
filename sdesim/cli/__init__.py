"""The command line: `sdesim figure NAME`, `sdesim claims`, `sdesim train`, `sdesim data`, `sdesim bench`."""

import sys
from collections.abc import Sequence

from sdesim._version import __version__
from sdesim.cli.usage import UsageError, as_usage
from sdesim.results.files import WriteError
from sdesim.results.recipe import by_command

USAGE = """\
usage: sdesim figure NAME [--preset smoke|small|default|paper] [--seed N] [--out DIR] [any field of the configuration]
       sdesim figure NAME --from FILE [--out DIR]     from a NAME.nc that was written before; nothing is run
       sdesim figure all [--preset smoke|default|paper] [--seed N] [--out DIR]
       sdesim figure --list            the figures there are
       sdesim figure NAME --help       the fields of a figure's configuration
       sdesim claims [NAME ...] [--paper PAPER] [--verdict holds|undecided|fails] [--folder DIR] [--json FILE]
       sdesim claims NAME --break [--record]          under every wrong model, each of which must break some claim
       sdesim claims NAME --seeds N [--preset smoke|default|paper] [--record]
       sdesim train [--algorithm NAME] [--agents P] [--k K] [--eta ETA] [--out DIR] [--resume]
       sdesim train --help             the other options of training
       sdesim data cifar10 [--folder DIR]
       sdesim bench [--quick] [--json FILE] [--out DIR] [--record [FILE]]
       sdesim bench --help             the other options of the benchmark
       sdesim --version

Simulates coupled stochastic-gradient agents and regenerates the figures of the papers.

`sdesim figure NAME` writes NAME.png, NAME.pdf, NAME.nc (data with provenance) and NAME.claims.json into DIR, and prints
each statement of the paper about the figure with what was found. Exit status: 0; 1 if a statement fails at the default
preset; 2 for wrong usage; 130 if interrupted. `sdesim figure all` does so for every figure that trains no networks, and
writes README.md, which shows all that are in DIR. --preset small is of those that do: what two cores can train.
--from FILE judges and draws again the data and configuration of a NAME.nc, with the same exit status.

`sdesim claims` prints every claim that lies in DIR, by default figures/, with its verdict and the wrong models that
break it. --break runs a figure under them, --seeds at other seeds; --record writes what was found beside its claims.

`sdesim train` trains networks with the same coupling rules and writes history.nc, summary.png and checkpoints.
`sdesim data cifar10` fetches the images, and verifies them.

`sdesim bench` measures sdesim beside other ways to run the same iteration and prints a table. --json writes its rows,
--out draws bench.png, --record appends what matters to the benchmark record. Exit status: 1 if nothing could be run.
"""


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
    except (UsageError, WriteError) as error:
        print(f"sdesim: error: {error}", file=sys.stderr)
        return 2


def _main(arguments: list[str]) -> int:
    # Commands are imported when they are called: JAX takes a second that --version and --help need not wait for.
    if not arguments:
        print(USAGE, end="")
        return 2
    command, *rest = arguments
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if command == "--version":
        print(f"sdesim {__version__}")
        return 0
    if command == "figure":
        if not rest or rest[0] in ("-h", "--help"):
            print(USAGE, end="")
            return 0 if rest else 2
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
        return 0 if bench.run(options).rows or options.against else 1
    if command in ("train", "data"):
        from sdesim.cli import train

        with as_usage():
            return train.main(command, rest)
    with as_usage():
        from sdesim.fields import check_choice

        check_choice("command", command, ("figure", "claims", "train", "data", "bench", "--version", "--help"))
    return 2
