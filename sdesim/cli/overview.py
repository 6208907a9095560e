"""What `sdesim --help` says: all commands, as wide as the terminal; and options, whose help is so too."""

import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

FORMS = """
figure NAME [--preset smoke|small|default|paper] [--seed N] [--out DIR] [any field of the configuration]
figure NAME --from FILE [--out DIR]
figure FILE.py [...]
figure all [--preset smoke|default|paper] [--seed N] [--out DIR]
figure --list
figure NAME --help
claims [NAME ...] [--paper PAPER] [--verdict holds|undecided|fails] [--folder DIR] [--json FILE] [--page FILE]
claims NAME --break [--record]
claims NAME --seeds N [--preset smoke|default|paper] [--record]
train [FILE.toml] [--algorithm NAME] [--agents P] [--k K] [--eta ETA] [--out DIR] [--resume]
data cifar10 [--folder DIR]
data imagenet --folder DIR
bench [--quick] [--json FILE] [--out DIR] [--record [FILE]]
sweep FILE.py|FILE.toml --store DIR [--workers N] [--worker] [--dry-run] [--NAME VALUE ...]
runs DIR [--check|--repair|--prune|--delete]
join DIR|FILE.nc ... --out FILE.nc
export DIR|FILE.nc --out FILE.csv|FILE.nc|FILE.zarr
view [STORE|FILE|FOLDER] [--port N] [--no-open] [--export FILE]
new rule|loss|noise|observable|protocol|figure NAME [--out DIR]
completion bash|zsh|fish
--version
"""

SAYS = """
Simulates coupled stochastic-gradient agents and regenerates the figures of the papers. `sdesim COMMAND --help` has all
options of train, bench, claims, sweep, runs and new.

`sdesim figure NAME` writes NAME.png, NAME.pdf, NAME.nc (data with provenance) and NAME.claims.json into DIR, and prints
each statement of the paper about the figure with what was found; --help after the name has the fields of its
configuration, --list the figures there are. --from FILE judges and draws again the data and configuration of a NAME.nc
that was written before; nothing is run. FILE.py is a figure of your own. `sdesim figure all` makes every figure that
trains no networks, and writes README.md, which shows all that are in DIR. --preset small is of those that do: what two
cores can train.

`sdesim claims` prints every claim that lies in DIR, by default figures/, with its verdict and the wrong models that
break it. --break runs a figure under every wrong model that applies, --seeds at other seeds; --record writes what was
found beside its claims.

`sdesim train` trains networks with the same coupling rules and writes history.nc, summary.png and checkpoints. `sdesim
data cifar10` fetches the images, and verifies them; `sdesim data imagenet` says whether decoding photographs keeps up
with training.

`sdesim bench` measures sdesim beside other ways to run the same iteration and prints a table. --json writes its rows,
--out draws bench.png, --record appends what matters to the benchmark record.

`sdesim sweep` runs a sweep in a folder that loses nothing: the same command goes on after a crash, and started several
times it is shared. `sdesim runs` says how far it is, `sdesim export` makes one file of it.
`sdesim view` shows a sweep's store, a file or a folder in the browser, on this machine alone; --export writes one HTML
file to send.

`sdesim new` writes a commented part of your own that works as it stands, and its test; or a sweep as a file.

`sdesim completion` prints a script that completes commands, figures and options. For bash: sdesim completion bash >
~/.local/share/bash-completion/completions/sdesim; for zsh: > ~/.zfunc/_sdesim, a folder of your fpath; for fish: >
~/.config/fish/completions/sdesim.fish

Data, runs of figures and what was compiled are kept in $SDESIM_CACHE, by default ~/.cache/sdesim, and nowhere if that
is set to nothing; JAX_ENABLE_COMPILATION_CACHE=0 compiles anew. Help has colors on terminals alone, and none where
NO_COLOR is set.

Exit status: 0; 1 if a claim fails at the default preset, is broken by nothing (--break), or nothing could be measured;
2 for wrong usage; 3 for files that are missing, damaged or in the way, a full disk, data that cannot be fetched; 130 if
interrupted.
"""


def overview(width: int | None = None) -> str:
    """All commands and what they do.

    Args:
        width: columns; by default those of the terminal, at most 120.
    """
    begins = ["usage: ", *[" " * 7] * (len(FORMS.splitlines()) - 2)]
    forms = [
        wrapped(f"sdesim {form}", width, first=begin, others=" " * 11)
        for begin, form in zip(begins, FORMS.strip().splitlines(), strict=True)
    ]
    says = [wrapped(" ".join(part.split()), width) for part in SAYS.strip().split("\n\n")]
    return "\n".join(forms) + "\n\n" + "\n\n".join(says)


def wrapped(text: str, width: int | None = None, *, first: str = "", others: str = "") -> str:
    """A paragraph as wide as the terminal, with words and options whole.

    Args:
        text: the paragraph.
        width: columns; by default those of the terminal, at most 120.
        first: what the first line begins with.
        others: what the others begin with.

    Returns:
        The lines.
    """
    width = min(shutil.get_terminal_size().columns, 120) if width is None else width
    wrapper = textwrap.TextWrapper(width, first, others, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


def colored() -> bool:
    """Whether what is said may have colors: on a terminal alone, and not where NO_COLOR (no-color.org) is set."""
    terminals = sys.stdout.isatty() and sys.stderr.isatty()  # help goes to the one, mistakes to the other
    return terminals and not os.environ.get("NO_COLOR")


def parse_options(form: Any, command: str, arguments: Sequence[str], about: str | None = None) -> Any:
    """Options by tyro, which ends the process on a mistake, with what would be right, and after --help.

    Args:
        form: a dataclass of options, or a function of them.
        command: whose they are, without sdesim.
        arguments: of the command.
        about: what the help says first; by default what the form does.

    Returns:
        The options, or what the function returns.
    """
    import tyro  # here: `sdesim --help` need not wait for it

    tyro._experimental_options["ansi_codes"] = colored()
    said = (inspect.getdoc(form) or "").partition("\n\n")[0] if about is None else about
    # Lines that begin with a letter tyro joins to one, however long.
    description = wrapped(" ".join(said.split()), others=" ")
    return tyro.cli(form, prog=f"sdesim {command}", description=description, args=list(arguments))
