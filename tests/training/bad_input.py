"""Wrong values for every kind of argument, and what a refusal must look like: one line that names the argument."""

import math
import re

import numpy as np

NOTHING = (None, [], {}, "", (), np.array([]))
FUNCTION = lambda: 0
STRANGE = ("x", [[1], [2, 3]], object(), 1j, np.datetime64("2020-01-01"), FUNCTION)
NOT_FINITE = (math.nan, math.inf, -math.inf)
ARRAYS = ([1.0, 2.0], np.ones((2, 2)))
HUGE = 10**12

WRONG = {
    "count": (*NOTHING, *STRANGE, *NOT_FINITE, *ARRAYS, -1, 0, 1.5, True, HUGE),
    "number": (*NOTHING, *STRANGE, *NOT_FINITE),
    "positive": (*NOTHING, *STRANGE, *NOT_FINITE, -1.0, 0.0),
    "at least 0": (*NOTHING, *STRANGE, *NOT_FINITE, -1.0),
    "one at least 0": (*NOTHING, *STRANGE, *NOT_FINITE, *ARRAYS, -1.0),
    "flag": (*NOTHING, *STRANGE, *NOT_FINITE, *ARRAYS, 1, 0, "yes"),
    "name": (*NOTHING, *STRANGE, *NOT_FINITE, *ARRAYS, 3),
    "object": (*NOTHING, *STRANGE[:4], *NOT_FINITE, *ARRAYS, 3, "no such", object),
    "": (),
    "folder": (3, math.nan, [], {}, "", object()),
}
"""By the kind of an argument, what must be refused. An argument whose default is None takes None."""

REFUSALS = (ValueError, TypeError, MemoryError)


def _is(value, others) -> bool:
    """Whether a value is among others, by identity or as an equal number or string."""
    return any(
        value is o or (type(value) is type(o) and isinstance(o, int | float | str) and value == o) for o in others
    )


def unrefused(call, name: str, kind: str, *, takes=(), also=()) -> list[str]:
    """What is wrong with how a call refuses the wrong values of one argument; nothing, if all is well.

    takes: values of the kind that are right here. also: more that are wrong.
    """
    found = []
    for value in (*WRONG[kind], *also):
        if _is(value, takes):
            continue
        said = " ".join(repr(value).split())[:60]
        try:
            call(**{name: value})
        except REFUSALS as error:
            message = str(error)
            if "\n" in message or len(message) > 400 or not re.match(rf"(\w+=\S+, )*{name}\b", message):
                found.append(f"{name}={said}: {type(error).__name__}: {message[:300]!r}")
        except Exception as error:
            found.append(f"{name}={said}: {type(error).__name__}: {str(error)[:200]!r}")
        else:
            found.append(f"{name}={said}: accepted")
    return found
