"""How a file says it was made: the command, or the call with all its values as Python that can be pasted.

Numbers are written as short as they can be read back to the same bits. What has no such form (a large array, a lambda)
is named in angle brackets; functions and classes of the user's own come with their source, and with what that reads of
the module that it is from.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import re
import shlex
import symtable
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
        calls, call = [], self
        while isinstance(call, Call):
            calls.append(call)
            call = call.before
        writer = _Writer("" if call is None else call)
        shown, hidden = calls[:SHOWN], calls[SHOWN:]
        if call is None and hidden:
            writer.add(hidden.pop())
        if hidden:
            writer.lines.append(f"# ... and {sum(one.times for one in hidden)} calls that are not shown")
        for one in reversed(shown):
            writer.add(one)
        return "\n".join(writer.lines)


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
    """Calls and values as Python, each after the imports and definitions that it needs and nothing before it has.

    Args:
        began: text that comes before.
    """

    def __init__(self, began: str = ""):
        self.lines = [began] if began else []
        self.imports, self.sources = {"import sdesim"}, {}  # of the call that is written: lines; texts by name
        self.said, self.clashes = dict[int, str](), 0  # of it functions by where they lie; names of two things
        self.known, self.began = dict[str, str](), began

    def add(self, call: Call) -> None:
        """Write one call."""
        given = [f"{name}={self.code(value)}" for name, value in call.arguments.items()]
        if call.before is not None:
            given.append("init=result")
        repeated = f"for _ in range({call.times}): " if call.times > 1 else ""
        needs = {**{line: line for line in sorted(self.imports)}, **self.sources}
        for name, text in needs.items():
            before = self.known.get(name, text if f"\n{text}\n" in f"\n{self.began}\n" else None)
            self.lines += [] if before == text else [text]
        self.lines.append(f"{repeated}result = {call.function}({', '.join(given)})")
        self.known |= needs
        self.imports, self.sources, self.said = {"import sdesim"}, {}, {}

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
        if isinstance(value, type | types.FunctionType) or _lies_in_a_module(value):
            return self._named(value)
        if isinstance(value, functools.partial):
            self.imports.add("import functools")
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
        if module != "__main__" and _lies_in_a_module(thing):
            self.imports.add(f"import {module}")
            return f"{module}.{name}"
        if id(thing) not in self.said:
            self.said[id(thing)], clashes = thing.__name__, self.clashes  # before: it may call itself
            with contextlib.suppress(OSError, TypeError):
                source = textwrap.dedent(inspect.getsource(thing)).rstrip()
                self._define(thing, source if len(source) <= SOURCE else f"{source[:SOURCE]} ...")
            if self.clashes > clashes:
                self.said[id(thing)] = f"<another {thing.__name__}>"
        return self.said[id(thing)]

    def _define(self, thing: Any, source: str) -> None:
        """A function or class by its source, after what that reads; one that is no whole statement as a comment."""
        name = thing.__name__
        try:
            reads = _read_by(source) if name.isidentifier() and not source.endswith(" ...") else None
        except SyntaxError:
            reads = None
        if reads is None:
            self.sources[source] = textwrap.indent(source, "# ")
            return
        around = _around(thing)
        for read in sorted(reads & around.keys() - {name}):
            self._bind(read, around[read])
        self._keep(name, source)

    def _bind(self, name: str, value: Any) -> None:
        """What a source reads by a name."""
        import jax
        import numpy as np

        if isinstance(value, types.ModuleType):
            self.imports.add(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
            return
        code = self.code(value)
        array = isinstance(value, np.ndarray | np.generic | jax.Array)  # computes otherwise than a list or a float
        if array and not code.startswith("<"):
            room = "jax.numpy" if isinstance(value, jax.Array) else "numpy"
            self.imports.add(f"import {room}")
            code = f"{room}.array({code}, '{value.dtype}')"
        if len(code) > SOURCE:
            code = f"<{type(value).__name__}, {len(code)} characters>"
        try:
            compile(code, name, "eval")
        except SyntaxError:  # of what has no such form
            self._keep(name, textwrap.indent(f"{name} = {code}", "# "))
        else:
            if code != name:
                self._keep(name, f"{name} = {code}")

    def _keep(self, name: str, text: str) -> None:
        """One name has one text in a call: another one is said, and not written over it."""
        if self.sources.setdefault(name, text) != text:
            self.clashes += 1
            self.sources[text] = textwrap.indent(text, "# ")


def _read_by(source: str) -> set[str]:
    """The names that a statement reads of the module that it stands in, at once or when what it defines is called."""

    def names(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and symbol.is_global():
                yield symbol.get_name()
        for inner in table.get_children():
            yield from names(inner)

    return set(names(symtable.symtable(source, "<source>", "exec")))


def _around(thing: Any) -> dict[str, Any]:
    """What a function or class can read by name: of its module, and what it closes over."""
    if not isinstance(thing, types.FunctionType):
        return vars(sys.modules[thing.__module__])
    inside = dict(thing.__globals__)
    for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # of a function that is being defined
            inside[name] = cell.cell_contents
    return inside


def _lies_in_a_module(thing: Any) -> bool:
    """Whether a function, a class or what is called like one is where its name says."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    return isinstance(name, str) and getattr(sys.modules.get(str(module)), name, None) is thing


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
