"""Work on all cores in threads of this process, which have the settings of JAX of the thread that asks for it."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax

from sdesim.cores import cores

Given = TypeVar("Given")
Made = TypeVar("Made")

SETTINGS = (
    *("enable_x64", "numpy_dtype_promotion", "numpy_rank_promotion", "default_device", "debug_nans", "debug_infs"),
    *("default_matmul_precision", "threefry_partitionable"),
)
"""What a user may have set for a stretch of code, which JAX keeps for each thread."""


def settings() -> dict[str, Any]:
    """What is set for the thread under way, by name."""
    return {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}


@contextlib.contextmanager
def under(given: Mapping[str, Any]) -> Iterator[None]:
    """Within, another thread's settings are those of this one.

    Args:
        given: as `settings` says them.
    """
    with contextlib.ExitStack() as stack:
        for name, value in given.items():
            stack.enter_context(getattr(jax, name)(value))
        yield


def in_threads(fn: Callable[[Given], Made], parts: Sequence[Given]) -> list[Made]:
    """A function of each of some parts, at most one thread a core.

    XLA's compiler is not safe in several threads at once: what the function compiles must have been compiled before.

    Args:
        fn: of one part.
        parts: any number of them.

    Returns:
        What it returned, in the order of the parts.
    """
    threads = min(len(cores()), len(parts))
    if threads < 2:
        return list(map(fn, parts))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(as_here(fn), parts))


def beside(fn: Callable[[], Made]) -> Callable[[], Made]:
    """Call a function in a thread beside this one; it must not compile, as in `in_threads`.

    Args:
        fn: the function.

    Returns:
        What waits for it, and returns or raises what it did.
    """
    pool = concurrent.futures.ThreadPoolExecutor(1)
    found = pool.submit(as_here(lambda _: fn()), None)
    pool.shutdown(wait=False)
    return found.result


def as_here(fn: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """A function under the settings of the thread that asks for it, in whichever it is called.

    Args:
        fn: of one argument.

    Returns:
        The function.
    """
    here = settings()

    def under_these(given: Given) -> Made:
        with under(here):
            return fn(given)

    return under_these
