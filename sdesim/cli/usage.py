"""Mistakes on the command line, and the options that its commands share."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any, TypeVar

from sdesim.results.files import Damaged

Default = TypeVar("Default", str, None)


FAILS = 1  # a claim does not hold, or nothing could be measured
WRONG = 2  # usage
FILES = 3  # a file or folder that is missing, damaged, in the way, or cannot be written; data that cannot be fetched


class UsageError(Exception):
    """What ends a command, told in one line.

    Attributes:
        status: the exit status.
    """

    status = WRONG


class FileError(UsageError):
    """Likewise, of files, disks and the network."""

    status = FILES


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """Bad values, which name themselves, as errors of usage; what is wrong with files as such."""
    try:
        yield
    except BrokenPipeError:  # whoever reads what is printed has read enough, and that is no mistake
        raise
    except (ValueError, TypeError, MemoryError, OSError) as error:
        of_files = isinstance(error, OSError | Damaged) or isinstance(error.__cause__, OSError)
        raise (FileError if of_files else UsageError)(" ".join(str(error).split())) from error


def take_option(arguments: list[str], option: str, default: Default) -> tuple[str | Default, list[str]]:
    """The value of an option that decides the defaults of all others.

    Args:
        arguments: of the command line.
        option: its name, with its dashes.
        default: its value where it is not given.

    Returns:
        The value, and the arguments without the option.

    Raises:
        ValueError: for an option without a value.
    """
    kept, value = [], default
    iterator = iter(arguments)
    for argument in iterator:
        if argument == option:
            value = next(iterator, None)
            if value is None:
                raise ValueError(f"{option}: needs a value")
        elif argument.startswith(option + "="):
            value = argument.partition("=")[2]
        else:
            kept.append(argument)
    return value, kept


def take_count(arguments: list[str], option: str) -> tuple[int | None, list[str]]:
    """As `take_option`, of a whole number of at least 1.

    Args:
        arguments: of the command line.
        option: its name, with its dashes.

    Returns:
        The number, None where it is not given; and the arguments without the option.

    Raises:
        ValueError: for an option without a value, and for another value.
    """
    from sdesim.fields import check_count  # and with it JAX, for which --help does not wait

    text, rest = take_option(arguments, option, None)
    return None if text is None else check_count(option, int(text) if text.isdecimal() else text), rest


def take_flags(arguments: list[str], *flags: str) -> tuple[set[str], list[str]]:
    """Options without values, wherever they stand.

    Args:
        arguments: of the command line.
        *flags: their names, with their dashes.

    Returns:
        Those that are given, and the arguments without them.
    """
    return {flag for flag in flags if flag in arguments}, [a for a in arguments if a not in flags]


def check_given(options: Any, prefix: str = "--") -> None:
    """Refuse lists without a value and numbers that are not finite, of which no option has a use.

    Args:
        options: a dataclass of options, or of groups of them.
        prefix: what their names begin with on the command line.

    Raises:
        ValueError: naming the option.
    """
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            check_given(value, f"{name}.")
        if value == ():
            raise ValueError(f"{name}: needs at least one value")
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, float) and not math.isfinite(v) for v in numbers):
            raise ValueError(f"{name}={' '.join(map(str, numbers))}: must be finite")
