"""Where a long run is: a bar on a terminal and in a notebook, plain lines everywhere else, as in a log."""

import datetime
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm  # the plain bar: tqdm.auto warns in notebooks without ipywidgets

DELAY = 2.0  # seconds before a bar is shown
EVERY = 10.0  # seconds between two lines

_last_line = 0.0


def in_place() -> bool:
    """Whether a line can be overwritten."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def bar(total: int, label: str, shown: bool, unit: str = "step", held: int = 0) -> Any:
    """A context whose `update(count)` says how much more is done; from any thread.

    Args:
        total: how much there is to do, in steps.
        label: what the bar is called.
        shown: whether there is anything to see.
        unit: what is counted.
        held: how much was done before: it counts as done, and tells nothing of the time that is left.

    Returns:
        tqdm's bar, lines where a line cannot be overwritten, or what says nothing.
    """
    if not shown:
        return _Silence()
    if not in_place():
        return _Lines(total, label, held)
    return tqdm(total=held + total, initial=held, desc=label, unit=unit, unit_scale=True, delay=DELAY)


def each(items: Sequence, label: str, shown: bool) -> Iterator:
    """The items, one after another, with a bar.

    Args:
        items: any.
        label: what the bar is called.
        shown: whether there is anything to see.

    Yields:
        Each item.
    """
    with bar(len(items), label, shown) as told:
        for item in items:
            yield item
            told.update(1)


def line(text: str, last: bool) -> None:
    """A line in place of the one before, until the last of its kind; in a log that one, and one now and then.

    Args:
        text: the line.
        last: whether it is the last of its kind, which stays.
    """
    global _last_line
    if in_place():
        print("\r\x1b[K" + text, end="\n" if last else "", file=sys.stderr, flush=True)
    elif last or time.monotonic() - _last_line > EVERY:
        _last_line = time.monotonic()
        print(text, file=sys.stderr, flush=True)


class _Silence:
    """No bar: of a short run, tqdm's own would be a twentieth of the time, shown or not."""

    def update(self, count: int) -> None:
        """`count` more is done."""

    def __enter__(self) -> "_Silence":
        return self

    def __exit__(self, *_) -> None:
        pass


class _Lines(_Silence):
    """What a bar says, as lines."""

    def __init__(self, total: int, label: str, held: int = 0):
        self.total, self.label, self.held, self.done = total, label, held, 0
        self.began = self.told = time.monotonic()
        self.lock = threading.Lock()

    def update(self, count: int) -> None:
        """`count` more is done."""
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.told < EVERY or not self.done:
                return
            self.told = now
            left = (now - self.began) * (self.total / self.done - 1)
            share = (self.held + self.done) / (self.held + self.total)
            said = f"{self.label}: {share:.0%}, {datetime.timedelta(seconds=round(left))} left"
            print(said, file=sys.stderr, flush=True)
