"""Formulas of theory that are wrong, as figures get them: what is set beside them must not agree.

The modules of figures are given another value of a public function of `sdesim.theory` than it has. What theory itself
makes of it stays right.
"""

import contextlib
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

FACTORS = {"x 1.1": 1.1, "x 1/2": 0.5}
"""By what a formula of theory is wrong."""

_FIGURES, _THEORY = "sdesim.papers.", "sdesim.theory"


@contextlib.contextmanager
def changed(change: Callable[[str, Any], Any]) -> Iterator[None]:
    """Within, what the modules of figures get of the public functions of theory is changed.

    Args:
        change: of a formula's name, as "bounds.sync_bound", and its value, what is got in its place.
    """
    with contextlib.ExitStack() as after:
        wrapped: dict[Any, Any] = {}
        forget()
        after.callback(forget)
        for module, name, function in _held():
            if _is_formula(function):
                setattr(module, name, wrapped.setdefault(function, _asked(function, change)))
                after.callback(setattr, module, name, function)
        yield


def forget() -> None:
    """Forget what figures and theory have found once: another formula would find something else."""
    for _, _, thing in _held():
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()


def _held() -> list[tuple[types.ModuleType, str, Any]]:
    """What the modules of figures and of theory hold, with its name there."""
    modules = [m for name, m in sys.modules.items() if name.startswith((_FIGURES, _THEORY))]
    return [(module, name, thing) for module in modules for name, thing in vars(module).items()]


def _is_formula(thing: Any) -> bool:
    public = isinstance(thing, types.FunctionType) and not thing.__name__.startswith("_")
    return public and thing.__module__.startswith(_THEORY)


def _asked(function: Any, change: Callable[[str, Any], Any]) -> Any:
    name = f"{function.__module__.removeprefix(_THEORY + '.')}.{function.__name__}"

    @functools.wraps(function)
    def formula(*arguments: Any, **named: Any) -> Any:
        value, caller = function(*arguments, **named), sys._getframe(1)
        while caller is not None and not caller.f_globals.get("__name__", "").startswith("sdesim."):
            caller = caller.f_back  # as NumPy's, which calls it for each number
        asked = caller is not None and caller.f_globals["__name__"].startswith(_FIGURES)
        return change(name, value) if asked else value

    return formula


def scaled(value: Any, factor: float) -> Any:
    """A formula's value, all its numbers times one; what is no number that could be scaled stays.

    Args:
        value: a number, an array, or a tuple or a dataclass of such.
        factor: the number.

    Returns:
        Of the same kind.
    """
    if isinstance(value, tuple):
        parts = [scaled(v, factor) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{name: scaled(getattr(value, name), factor) for name in fields})
    inexact = isinstance(value, float | complex) or getattr(getattr(value, "dtype", None), "kind", None) in ("f", "c")
    number: Any = value
    return number * factor if inexact else number


def wrong(name: str, factor: float) -> Callable[[str, Any], Any]:
    """The change for `changed` by which one formula is wrong.

    Args:
        name: of the formula.
        factor: what its values are multiplied by.
    """
    return lambda asked, value: scaled(value, factor) if asked == name else value
