"""Who looks on at a training: what is called and when, and the two that `train` brings, progress and a folder."""

import contextlib
import dataclasses
import datetime
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from sdesim.fields import check_flags, shown, warn
from sdesim.progress import line as progress_line
from sdesim.training.store import Store


class Callback:
    """What `Training.run` calls while it goes on.

    Derive from it and define what is wanted of the three; a function of the training is an `after_epoch`. Each may call
    `training.stop()`. What one raises ends the run, and the training stays where it is: run it again, and it goes on.

    Attributes:
        copies_state: whether it makes a copy of the training's state, for which there must be memory; of the class.
    """

    copies_state: ClassVar[bool] = False

    def around(self, training: Any) -> contextlib.AbstractContextManager:
        """A context for the whole run.

        Args:
            training: the `Training` that runs.

        Returns:
            The context, which is entered before anything is computed.
        """
        return contextlib.nullcontext()

    def after_steps(self, training: Any, steps: int, seconds: float) -> None:
        """Some steps of an epoch were taken; called every few seconds, and at the end of each epoch.

        Args:
            training: the `Training` that runs.
            steps: how many were taken since the last call.
            seconds: that they took.
        """

    def after_epoch(self, training: Any) -> None:
        """An epoch was trained and measured, or the start was measured.

        Args:
            training: the `Training` that runs; its `epochs_done` is 0 if it was the start.
        """


class _OfFunction(Callback):
    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def after_epoch(self, training: Any) -> None:
        self.function(training)


def checked(callbacks: Iterable[Callback | Callable[[Any], Any]]) -> list[Callback]:
    """Callbacks, of which functions may be some.

    Args:
        callbacks: objects of classes that derive from `Callback`, or functions of a training.

    Returns:
        All as `Callback`s, in their order.

    Raises:
        TypeError: for what is neither.
    """
    right = "must be a list of functions of the training, or of objects of classes that derive from Callback"
    if isinstance(callbacks, str) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks={shown(callbacks)}: {right}")
    found = []
    for one in callbacks:
        if not isinstance(one, Callback) and (not callable(one) or isinstance(one, type)):
            raise TypeError(f"callbacks: {right}, and one is {shown(one)}")
        found.append(one if isinstance(one, Callback) else _OfFunction(one))
    return found


# -- progress ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is told between chunks of an epoch.

    Attributes:
        epoch: number of the one that is under way, from 1.
        epochs: until which the training runs.
        done: steps of this epoch.
        steps: of an epoch.
        images_per_second: of all runs and agents, lately.
        seconds: of training so far.
        left: seconds, estimated, to the end.
        latest: the last measurement in a few numbers, by name.
    """

    epoch: int
    epochs: int
    done: int
    steps: int
    images_per_second: float
    seconds: float
    left: float
    latest: dict[str, float]


def line(p: Progress) -> str:
    """One line of progress: epoch, losses and accuracy of the last measurement, spread, images a second, time left.

    Args:
        p: what is told.

    Returns:
        The line, without its end.
    """
    told = "  ".join(f"{name} {value:.4g}" for name, value in p.latest.items())
    left = datetime.timedelta(seconds=round(p.left))
    return (
        f"epoch {p.epoch}/{p.epochs}  step {p.done}/{p.steps}  {told}  {p.images_per_second:.0f} images/s  {left} left"
    )


def tell(p: Progress, name: str = "") -> None:
    """Show the line of progress.

    Args:
        p: what is told.
        name: of what is trained, before the line; nothing by default.
    """
    progress_line(name + line(p), p.done == p.steps)


class ShowProgress(Callback):
    """Hands each `Progress` of a run to a function.

    Args:
        show: the function; by default it shows a line.
    """

    def __init__(self, show: Callable[[Progress], Any] = tell):
        if not callable(show):
            raise TypeError(f"show={shown(show)}: must be a function of a Progress")
        self.show = show

    def around(self, training: Any) -> contextlib.AbstractContextManager:
        self._began: tuple[float, int] | None = None
        return contextlib.nullcontext()

    def after_steps(self, training: Any, steps: int, seconds: float) -> None:
        done, batches, now = training.steps_done, training.steps_an_epoch, time.perf_counter()
        if self._began is None:  # before these: what came first was compiling, which does not come again
            self._began = now - seconds, done - steps
        elapsed, passed = now - self._began[0], done - self._began[1]
        left = elapsed / passed * (training.goal * batches - done)
        epoch, speed = training.epochs_done + 1, steps * training.images_a_step / seconds
        within = done - training.epochs_done * batches
        self.show(Progress(epoch, training.goal, within, batches, speed, elapsed, left, training.latest))


# -- a folder ----------------------------------------------------------------------------------------------------------


class Keep(Callback):
    """Writes history and checkpoint to a folder after each epoch of a run, and has it for this process alone meanwhile.

    Args:
        folder: where to.
        resume: go on from what the folder keeps; else one that keeps anything but this training is refused.
    """

    copies_state = True

    def __init__(self, folder: str | os.PathLike, resume: bool = False):
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise TypeError(f"folder={shown(folder)}: must be the name of a folder, or None")
        check_flags(resume=resume)
        self.folder, self.resume = folder, resume
        self._of: Any = None

    @contextlib.contextmanager
    def around(self, training: Any):
        self._store = Store(self.folder, training.fingerprint)
        mine = self._of is training  # as it was in the run before
        with self._store.lock(self.resume or mine):
            training.take_up(self._store, self.resume or mine)
            self._of = training
            yield

    def after_epoch(self, training: Any) -> None:
        """Write what there is; hours of training are not lost with a disk that is full for a while.

        Args:
            training: the `Training` that runs.

        Warns:
            UserWarning: for what could not be written.
        """
        try:
            training.write(self._store)
        except OSError as error:
            last = training.epochs_done >= training.goal
            after = (
                "what was measured is returned, and not all of it is in the folder" if last else "the training goes on"
            )
            warn(f"{error}; {after}", UserWarning)
