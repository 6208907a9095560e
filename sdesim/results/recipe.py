"""How a file says it was made: the command, or the call with all its values as Python that can be pasted.

Numbers are written as short as they can be read back to the same bits. What has no such form (a large array, a lambda)
is named in angle brackets; functions and classes of the user's own come with their source.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import re
import shlex
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

SHORT = 64  # numbers of an array that are written out
SHOWN = 20  # calls of a run that was continued many times
HASHED = 64 * 2**20  # bytes of an array, whose digest takes a tenth of a second
SOURCE = 4000  # characters of a function
FILE = 40_000  # of a file that a command was given

_command: ContextVar[str | None] = ContextVar("command", default=None)


class Code(str):
    """Python as it stands."""


@contextlib.contextmanager
def by_command(arguments: Sequence[str], file: Path | None = None) -> Iterator[None]:
    """While the body runs, what is made is made by this command line.

    Args:
        arguments: after `sdesim`.
        file: one that it reads, whose text follows the command; None if it is whole without.
    """
    said = shlex.join(["sdesim", *map(str, arguments)])
    if file is not None:
        text = file.read_text(encoding="utf-8", errors="replace")
        rest = "" if len(text) <= FILE else f"\n# ... and {len(text) - FILE} characters that are not shown"
        said += f"\n# {file.name}:\n{text[:FILE].rstrip()}{rest}"
    token = _command.set(said)
    try:
        yield
    finally:
        _command.reset(token)


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of a function of sdesim, written out only when it is asked for.

    Arrays are written out at once: they may be large, or be changed before anyone asks.

    Attributes:
        function: its dotted name.
        arguments: by name.
        before: the call whose result it goes on with, as `init=result`; None if it goes on with none.
        times: how often in a row.
    """

    function: str
    arguments: Mapping[str, Any]
    before: "Call | str | None" = None
    times: int = 1

    def __post_init__(self):
        object.__setattr__(self, "arguments", _without_arrays(self.arguments))

    def once_more(self, before: "Call | str") -> "Call":
        """This call on the result of another; the same one again is counted.

        Args:
            before: the other call.

        Returns:
            The call.
        """
        if isinstance(before, Call) and before.before is not None and _same(before.arguments, self.arguments):
            return dataclasses.replace(before, times=before.times + 1)
        return dataclasses.replace(self, before=before)

    def __str__(self) -> str:
        writer, lines, call, hidden = _Writer(), [], self, 0
        while isinstance(call, Call):
            if len(lines) < SHOWN or call.before is None:
                lines.append(_line(call, writer))
            else:
                hidden += call.times
            call = call.before
        if hidden:
            lines.insert(-1, f"# ... and {hidden} calls that are not shown")
        began = [] if call is None else [call]
        return "\n".join([*writer.preamble(), *began, *reversed(lines)])


def made_by(call: Call | str) -> str:
    """How something is made: the command line, if there is one, or the call.

    Args:
        call: that makes it.

    Returns:
        The text.
    """
    return _command.get() or str(call)


def as_code(value: Any) -> str:
    """A value as Python, without what would have to be imported or defined for it.

    Args:
        value: anything.

    Returns:
        The text.
    """
    return _Writer().code(value)


def _line(call: Call, writer: "_Writer") -> str:
    given = [f"{name}={writer.code(value)}" for name, value in call.arguments.items()]
    if call.before is not None:
        given.append("init=result")
    repeated = f"for _ in range({call.times}): " if call.times > 1 else ""
    return f"{repeated}result = {call.function}({', '.join(given)})"


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    plain = (type(None), bool, int, float, str)
    equal = lambda x, y: x is y or (isinstance(x, plain) and isinstance(y, plain) and x == y)
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


def _without_arrays(value: Any) -> Any:
    """A value with the code of its arrays in their place."""
    if (code := _of_array(value)) is not None:
        return code
    if type(value) in (list, tuple):
        return type(value)(map(_without_arrays, value))
    if isinstance(value, Mapping):
        return {name: _without_arrays(v) for name, v in value.items()}
    return value


class _Writer:
    """Values as Python, with the imports and definitions that they need."""

    def __init__(self):
        self.imports, self.sources = {"sdesim"}, {}

    def preamble(self) -> list[str]:
        return [f"import {', '.join(sorted(self.imports))}", *self.sources.values()]

    def code(self, value: Any) -> str:
        try:
            return self._code(value)
        except Exception:  # a value of the user's may do anything when it is looked at
            return f"<{type(value).__name__}>"

    def _code(self, value: Any) -> str:
        import numpy as np

        if isinstance(value, Code):
            return value
        if (code := _of_array(value)) is not None:
            return code
        if value is None or isinstance(value, bool | int | str | bytes):
            return repr(value)
        if isinstance(value, float | np.number | np.bool_):
            return _array(np.asarray(value))
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.code(k)}: {self.code(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return f"[{', '.join(map(self.code, value))}]"
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return f"({', '.join(map(self.code, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, type | types.FunctionType):
            return self._named(value)
        if isinstance(value, functools.partial):
            self.imports.add("functools")
            given = [self.code(value.func), *map(self.code, value.args)]
            given += [f"{name}={self.code(v)}" for name, v in value.keywords.items()]
            return f"functools.partial({', '.join(given)})"
        if dataclasses.is_dataclass(value):
            names = [name for name in inspect.signature(type(value)).parameters if name not in ("parent", "name")]
            given = ", ".join(f"{name}={self.code(getattr(value, name))}" for name in names)
            return f"{self._named(type(value))}({given})"
        return "<" + re.sub(r" at 0x[0-9a-f]+", "", repr(value)).strip("<>") + ">"

    def _named(self, thing: Any) -> str:
        """A class or function by its name: imported, or defined by its source."""
        module, name = thing.__module__, thing.__qualname__
        if module.partition(".")[0] == "sdesim":  # by the shortest way: a room hands on what its files hold
            parts = module.split(".")
            rooms = (".".join(parts[:n]) for n in range(2, len(parts)))
            room = next((r for r in rooms if getattr(sys.modules.get(r), name, None) is thing), module)
            return f"{room}.{name}"
        if module != "__main__" and getattr(sys.modules.get(module), name, None) is thing:
            self.imports.add(module)
            return f"{module}.{name}"
        with contextlib.suppress(OSError, TypeError):
            source = textwrap.dedent(inspect.getsource(thing))[:SOURCE].rstrip()
            if thing.__name__ == "<lambda>":
                source = textwrap.indent(source, "# ")
            self.sources[name] = source
        return thing.__name__


def _of_array(value: Any) -> Code | None:
    """The code of an array; None for what is none."""
    import jax  # here: the command says what it is before either is imported
    import numpy as np
    from jax.core import Tracer

    if isinstance(value, Tracer):
        return Code("<traced>")
    return Code(_array(np.asarray(value))) if isinstance(value, np.ndarray | jax.Array) else None


def _array(value: Any) -> str:
    """A NumPy array."""
    import numpy as np

    if value.nbytes > HASHED:
        return f"<{value.dtype} array of shape {value.shape}>"
    if value.size > SHORT:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"<{value.dtype} array of shape {value.shape}, SHA-256 {digest}>"
    if value.ndim:
        return f"[{', '.join(map(_array, value))}]"
    if value.dtype.kind == "f":
        return str(value[()]) if np.isfinite(value) else f"float('{value}')"
    return repr(value.item())
