"""`Training`: networks of many runs of p coupled agents, trained epoch by epoch; and `train`, all of it in one call.

The steps themselves are `step.py`'s, the rules those of `sdesim.coupling`, what is measured is `measure.py`'s. Here is
where a training is, and how it goes on: epochs in chunks of steps between which callbacks look on.
"""

import contextlib
import functools
import inspect
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PyTree

from sdesim.asynchrony import Asynchronous
from sdesim.fields import check_count, check_flags, shown
from sdesim.random import MAX_STEPS
from sdesim.results.datasets import describe
from sdesim.training import callbacks as calls
from sdesim.training import programs
from sdesim.training.algorithms import Algorithm, NamedAlgorithm
from sdesim.training.arriving import Arriving, Epoch
from sdesim.training.data import Images, Split
from sdesim.training.deal import AbstractDeal
from sdesim.training.lazy import Lazy, in_portions
from sdesim.training.measure import PARTS, Record, dataset, labels, latest
from sdesim.training.memory import check_fits, size_of, stand_in, work_of
from sdesim.training.passing import Batches
from sdesim.training.samples import Rows, Tokens
from sdesim.training.schedule import AbstractSchedule
from sdesim.training.setup import checked, rates_of, warn_of_stiffness
from sdesim.training.step import Pixels, RunState, Said, of_none
from sdesim.training.store import Store
from sdesim.training.trained import SCALES, Best, Trained, best_of, with_center
from sdesim.training.workers import Workers, room_of, with_room

CHUNK_SECONDS = 2.0  # of work between two looks
RATES_SET = "eta set after epoch"  # the name of a setting


class _At(NamedTuple):
    """Where a training is. It is replaced as a whole: what interrupts it at any moment leaves one that is right.

    Attributes:
        state: of all runs.
        rates: of the schedule.
        records: the measurements, of the start and of each epoch.
        order: of the batches of the epoch that is under way, (steps, runs, agents, batch), or of workers its arrivals;
            None if none is.
        done: its steps so far.
        seconds: that they took.
        losses: theirs, summed, (runs, agents).
        models: what was measured last, (runs, agents + 1, ...).
        best: the best of what was measured.
    """

    state: RunState
    rates: Any
    records: tuple[Record, ...] = ()
    order: Any = None
    done: int = 0
    seconds: float = 0.0
    losses: Array | None = None
    models: PyTree = None
    best: Best | None = None


class Training:
    """A training of networks: `runs` independent runs of `agents` coupled agents each, as one program.

    It begins when it is first asked for anything, and is then at epoch 0, which is measured. `step`, `epoch` and `run`
    take it on, to the same numbers whichever is called and how often.

    Args:
        network: a module of flax.linen; or a function of rngs that makes a module of flax.nnx, such as its class; or a
            module of flax.nnx, at whose values all agents and runs start. It is called with images (batch, height,
            width, channels), and with train, training or deterministic where it has such an argument, to logits
            (batch, classes). Linen's random numbers, if it wants them, are under the name "dropout". State beside
            parameters is refused.
        data: from `sdesim.training.split`; or arrays, of samples and of what is to be said of them, (x, y) or (x, y,
            test_x, test_y), of which `split` keeps a fifth for validation; or `Batches` from an iterable.
        algorithm: from `sdesim.training.algorithm`, whose numbers follow from agents, eta and batch here; or an
            `Algorithm` of your own with any coupling rule. Its numbers may lead with an axis of runs, and differ
            between them.
        optimizer: each agent's own, in place of a step against the gradient with the algorithm's momentum: a function
            of a learning rate, for which it gets `eta`, that makes an optax transformation, such as optax.adamw,
            functools.partial(optax.adamw, b2=0.95) or one from `sdesim.training.optimizer`; or a transformation, whose
            updates `eta` multiplies, such as optax.adamw(1.0).
        eta: learning rate: a number, one a run (runs,), or one an agent (runs, agents); 0.05 by default, and to be
            given beside an optimizer. At 0 an agent goes on by its momentum alone.
        agents: of a run, p.
        batch: images a step and agent.
        runs: how many, or their numbers; runs of one number start alike and see the same batches, so that runs that
            differ in an algorithm's number are paired.
        seed: of all random numbers.
        same_start: all agents of a run start at one point; at different points otherwise.
        schedule: of the learning rates; by default `Stall()`, the paper's, if there are validation images to look at.
            `Constant()` for none, or one of your own, an `AbstractSchedule`.
        weight_decay: lambda of lambda/2 |x|^2, added to the loss (Z 4.1).
        crop: side of random crops (with horizontal flips) in training and of the middle crop in evaluation; None for
            whole images.
        precision: "float32", "tf32" (matrix products, on GPUs) or "bfloat16".
        evaluation_batch: images a batch in evaluation; results of networks with batch statistics depend on it.
        train_images: of the training set, the first so many are evaluated.
        memory: bytes that may be used beside what is now, a number or such as "4GB"; what is free by default.
        deal: which agent trains on which samples, such as `Dirichlet(0.3)`; all on all by default. Those of an agent
            come again and again, until it has seen as many in an epoch as there are.
        stepper: agents as workers in virtual time, `sdesim.asynchrony.Asynchronous`, whose jobs are a batch each: its
            protocol says when they meet, and how, of the algorithm's rule. A step is then the end of a job, and an
            epoch as many jobs of all together as agents that step together would have. A `Link` without a size has
            that of the network's parameters. None of agents that step together.
        loss: in place of the data's, a function of what the network says of a batch and of what was to be said, to
            one number or one a sample, whose mean is trained, such as optax.losses.huber_loss.
        metrics: what is measured beside loss and score: functions like a loss by their names, of which train_NAME,
            validation_NAME and test_NAME are the means.

    Raises:
        ValueError: for a bad argument: its name, its value and what would be right.
        TypeError: for an argument of another kind, likewise.
        MemoryError: before it begins, for what does not fit.

    Warns:
        StabilityWarning: for a coupling whose step amplifies.
        UserWarning: for convolutions of XLA's on a CPU; for an nnx module, where starts would differ.
    """

    def __init__(
        self,
        network: Any,
        data: Split | Images | Tokens | Rows | Batches | tuple,
        algorithm: Algorithm | NamedAlgorithm,
        *,
        optimizer: Any = None,
        eta: Any = None,
        agents: int = 1,
        batch: int = 128,
        runs: int | Sequence[int] = 1,
        seed: int = 0,
        same_start: bool = False,
        schedule: AbstractSchedule | None = None,
        weight_decay: float = 0.0,
        crop: int | None = None,
        precision: str = "float32",
        evaluation_batch: int = 250,
        train_images: int = 5000,
        memory: int | str | None = None,
        deal: AbstractDeal | None = None,
        stepper: Asynchronous | None = None,
        loss: Said | None = None,
        metrics: Mapping[str, Said] | None = None,
    ):
        sizes = (eta, agents, batch, runs, seed, same_start, schedule, weight_decay, crop, precision)
        more = (evaluation_batch, train_images, memory, optimizer, deal, stepper, loss, metrics)
        self._setup = checked(network, data, algorithm, *sizes, *more)
        self._now: _At | None = None
        self._planned: set[str] = set()
        self._rates_set: dict[str, Any] = {}
        self._chunk, self._stopped = 1, False
        self.goal = 0  # epochs that `run` was asked for

    # -- to look at it

    @property
    def epochs_done(self) -> int:
        """Epochs that were trained and measured."""
        return 0 if self._now is None else max(0, len(self._now.records) - 1)

    @property
    def steps_an_epoch(self) -> int:
        """Batches of an epoch, each of them one step: of all agents at once, or of one worker in virtual time."""
        return self._setup.steps

    @property
    def steps_done(self) -> int:
        """Steps of each run, those of an epoch under way among them."""
        return self.epochs_done * self.steps_an_epoch + (0 if self._now is None else self._now.done)

    @property
    def images_a_step(self) -> int:
        """Images of one step, of all runs and agents."""
        together = self._setup.rates.size if self._setup.stepper is None else len(self._setup.numbers)
        return together * self._setup.task.batch

    @property
    def all_diverged(self) -> bool:
        """Whether every run has had a loss that was not finite."""
        return bool((self._at.state.diverged >= 0).all())

    @property
    def models(self) -> PyTree:
        """What is tested: parameters of each run's agents and, last, of its center, (runs, agents + 1, ...)."""
        return programs.tested(self._code, self._stepping, self._at.state)

    @property
    def trained(self) -> Trained:
        """History and networks as they were measured last, and at the best epoch of each run."""
        at, split = self._measured, self._setup.data
        assert at.best is not None
        scales = {name: np.asarray(getattr(split, name)) for name in SCALES}
        return Trained(self.history, self._setup.task, at.models, at.best, scales)

    @property
    def latest(self) -> dict[str, float]:
        """The last measurement in a few numbers: losses, accuracy, spread; means over runs."""
        return latest(self._measured.records, self._setup.agents)

    @property
    def history(self) -> xr.Dataset:
        """What was measured of epoch 0 (the start) to the last, for each run.

        Train, validation and test loss and accuracy of every model (the agents and, last, "center": the quorum or
        center variable), batch_loss (mean training loss of the epoch's batches, with dropout), spread sum_i |x^i -
        mean|^2 in all and by layer, gradient_noise (trace of one sample's covariance), eta, seconds; `diverged`, the
        first step at which a run's loss was not finite, or -1: such a run is kept, and the others go on.
        """
        at, setup = self._measured, self._setup
        data = dataset(at.records, at.state, setup.numbers, setup.agents)
        said, made = {**setup.said, "epochs": self.epochs_done}, str(setup.call(self.epochs_done))
        for epoch, eta in self._rates_set.items():
            made += f"\n# with eta = {eta} from the end of epoch {epoch} on"
        if self._rates_set:
            said[RATES_SET] = self._rates_set
        seconds = float(data["seconds"].sum())
        return describe(
            data,
            "training",
            said,
            made,
            labels(setup.pixels["train"].kind, setup.task),
            seed=setup.seed_number,
            seconds=seconds,
        )

    @property
    def eta(self) -> np.ndarray:
        """Learning rates now, (runs, agents).

        They may be set between epochs, as they are given at first; the schedule goes on from there, and gains stay, as
        they do when it lowers a rate.
        """
        return np.asarray(self._at.rates.eta)

    @eta.setter
    def eta(self, value: Any) -> None:
        if self._now is None or not self._now.records:
            raise ValueError(f"eta={shown(value)}: must be given to Training, as it has not begun")
        at, setup = self._between_epochs("eta"), self._setup
        rates = rates_of(value, len(setup.numbers), setup.agents)
        warn_of_stiffness(setup.algorithm, rates)
        self._rates_set[str(self.epochs_done)] = np.asarray(value).tolist()
        self._now = at._replace(rates=at.rates._replace(eta=rates))

    # -- to take it on

    def step(self, count: int = 1) -> None:
        """Take steps: those of the epoch that is under way, or of the next. An epoch is measured after its last one.

        Args:
            count: how many, at least 1.
        """
        left = check_count("count", count)
        self._check_epochs("count", -(-(self.steps_done + left) // self.steps_an_epoch), left)
        self._prepare(True)
        while left:
            if taken := min(left, self._at_once):
                self._take(taken)
                left -= taken
            if self._at.done == self.steps_an_epoch:
                self._close()

    def epoch(self) -> None:
        """Train to the end of the epoch that is under way, or one, and measure it."""
        self._check_epochs("epoch", self.epochs_done + 1, self.epochs_done + 1)
        self._prepare(True)
        self._stopped = False
        self._to_its_end([])

    def run(self, epochs: int, callbacks: Iterable[calls.Callback | Callable[["Training"], Any]] = ()) -> xr.Dataset:
        """Train until so many epochs are done, counted from the start, unless all runs have diverged before.

        Args:
            epochs: in all; those that are done already are not done again.
            callbacks: who looks on: functions of this object, called after each epoch, or `Callback`s, in the order of
                their calls.

        Returns:
            The `history`.
        """
        check_count("epochs", epochs, least=0)
        self._check_epochs("epochs", epochs, epochs)
        watching = calls.checked(callbacks)
        self.goal, self._stopped = epochs, False
        with contextlib.ExitStack() as stack:
            for callback in watching:
                stack.enter_context(callback.around(self))
            if not self._at.records or self.epochs_done < epochs:
                self._prepare(epochs > 0, watching)
            while self.epochs_done < epochs and not self._stopped and not self.all_diverged:
                self._to_its_end(watching)
            return self.history

    def stop(self) -> None:
        """To be called by a callback: end the run that goes on, after the callbacks of this moment. Another goes on."""
        self._stopped = True

    # -- to keep it

    @property
    def fingerprint(self) -> str:
        """What a training must share with the one that it goes on with."""
        return self._setup.fingerprint

    def save(self, folder: str | os.PathLike) -> None:
        """Write history and checkpoint to a folder.

        Args:
            folder: its name; it may keep an earlier epoch of this training.

        Raises:
            FileExistsError: for a folder that keeps another training, or a later epoch of this one, or in which another
                process trains.
            WriteError: if it cannot be written; what was kept before is still there.
        """
        self._between_epochs("folder")
        store = Store(folder, self.fingerprint)
        with store.lock(False):
            self.take_up(store, True)

    def resume(self, folder: str | os.PathLike) -> None:
        """Go on from a folder's last epoch, to the numbers that an uninterrupted training would have given.

        The training must not have begun.

        Args:
            folder: its name; the training goes on from the start if there is no folder, or nothing in it.

        Raises:
            FileExistsError: for a folder that keeps another training.
            ValueError: for one in which anything is damaged, with what to do.
        """
        if self._now is not None and self._now.records:
            raise ValueError(f"folder={shown(folder)}: must be resumed by a training that has not begun")
        store = Store(folder, self.fingerprint)
        with store.lock(True):
            self.take_up(store, True)

    def take_up(self, store: Store, resume: bool) -> None:
        """Go on from what a folder keeps, or write there what it does not keep yet.

        Args:
            store: the folder, whose lock is held.
            resume: whether it may keep a training; one that does is refused otherwise.

        Raises:
            FileExistsError: for a folder that is further than a training that has begun, or whose rates were set
                otherwise; as `Store.read`.
            Damaged: as `Store.read`.
            WriteError: as `Store.write`.
        """
        kept = store.read(resume, self._form)
        if self._now is None or not self._now.records:
            if kept is not None:
                self._go_on_from(*kept)
            return
        if kept is not None:
            epochs, rates_set = kept[0].sizes["epoch"] - 1, _rates_set(kept[0])
            until_then = lambda rates: {epoch: eta for epoch, eta in rates.items() if int(epoch) < epochs}
            if epochs > self.epochs_done:
                what = f"keeps epoch {epochs} of this training, which is at {self.epochs_done}"
                raise FileExistsError(store.refusal(f"{what}; resume it before it begins, or name another"))
            if until_then(rates_set) != until_then(self._rates_set):
                raise FileExistsError(store.refusal("keeps a training whose rates were set otherwise; name another"))
            if epochs == self.epochs_done and rates_set == self._rates_set:
                return
        if self._now.order is None:
            self.write(store)

    def _go_on_from(self, data: xr.Dataset, kept: tuple) -> None:
        names = [str(n) for n in data.variables if n != "epoch" and "epoch" in data[n].dims]
        records = [{n: data[n].values[e] for n in names} for e in range(data.sizes["epoch"])]
        state, rates, *networks = kept
        if networks:
            models = with_center(state.params, networks[0]["center"])
            best = Best(**jax.tree.map(np.asarray, networks[0]["best"]))
        else:  # of before they were kept: the best from now on
            stepping = self._setup.stepping(room_of(state))
            models = jax.tree.map(np.asarray, programs.tested(self._code, stepping, state))
            best = best_of(None, len(records) - 1, records[-1], models)
        self._now = _At(state, rates, tuple(records), models=models, best=best)
        self._rates_set = _rates_set(data)

    def write(self, store: Store) -> None:
        """Write history and checkpoint.

        Args:
            store: the folder, whose lock is held.

        Raises:
            WriteError: as `save`.
        """
        at = self._between_epochs("folder")
        store.write(self.epochs_done, self._kept(at), self.history)

    # -- inside

    @functools.cached_property
    def _code(self) -> programs.TracedCode:
        """Of the network and the rule as they are when the training begins."""
        return programs.code_of(self._setup)

    @property
    def _at(self) -> _At:
        """Where it is; drawn at the start if it is not anywhere yet."""
        if self._now is None:
            self._now = _At(*self._drawn(self._room(1)))
        if any(leaf.is_deleted() for leaf in jax.tree.leaves(self._now.state)):
            raise RuntimeError(
                "this training was interrupted within a step, and its state is gone; make it anew, or resume it from a "
                "folder that keeps it"
            )
        return self._now

    @property
    def _measured(self) -> _At:
        """Where it is, with the start measured."""
        if not self._at.records:
            self._prepare(False)
        return self._at

    def _between_epochs(self, name: str) -> _At:
        at = self._measured
        if at.order is not None:
            done = f"{at.done} of {self.steps_an_epoch} steps of epoch {self.epochs_done + 1} are done"
            raise ValueError(f"{name}: must wait for the end of the epoch, as {done}; epoch() takes the others")
        return at

    def _check_epochs(self, name: str, epochs: int, given: int) -> None:
        batches = self.steps_an_epoch
        if epochs * batches > MAX_STEPS:
            raise ValueError(f"{name}={given}: of {batches} steps each, must be at most {MAX_STEPS // batches}")

    @functools.cached_property
    def _arriving(self) -> Arriving:
        return self._from_the_first_on()

    def _from_the_first_on(self) -> Arriving:
        """Who arrives when, of workers."""
        setup = self._setup
        stepper = setup.stepper
        assert stepper is not None
        images = lambda epoch: np.asarray(self._order(epoch, setup.batches))
        return Arriving(stepper, setup.of_workers, setup.numbers, setup.agents, setup.seed, setup.batches, images)

    def _room(self, epoch: int) -> int:
        """For messages of workers that are under way after an epoch, or before its end."""
        stepper = self._setup.stepper
        return self._from_the_first_on().room(epoch) if stepper is not None and stepper.protocol.messages else 1

    @property
    def _stepping(self) -> Algorithm | Workers:
        """What steps the agents, with room for the messages that are under way."""
        return self._setup.stepping(1 if self._now is None else room_of(self._now.state))

    def _drawn(self, room: int) -> tuple[RunState, Any]:
        """The state before the first step."""
        setup = self._setup
        given = (*setup.start(room), setup.starting_values())
        return programs.start()(self._code, *given), setup.schedule.start(setup.rates)

    def _kept(self, at: _At) -> tuple:
        """What a checkpoint keeps: what goes on, the rates, and the networks that `Trained.load` shows."""
        assert at.best is not None
        center = jax.tree.map(lambda leaf: leaf[:, -1], at.models)
        scales = {name: np.asarray(getattr(self._setup.data, name)) for name in SCALES}
        return at.state, at.rates, {"center": center, "best": at.best._asdict(), **scales}

    def _form(self, epoch: int) -> tuple:
        """A checkpoint of such a training after an epoch, as far as its form goes."""
        room = self._room(max(1, epoch))
        state, rates = self._drawn(room) if self._now is None else (with_room(self._at.state, room), self._at.rates)
        runs, agents = self._setup.rates.shape
        form = lambda *lead: jax.tree.map(lambda a: np.zeros((*lead, *a.shape[2:]), a.dtype), state.params)
        best = Best(np.zeros(runs, np.int32), np.zeros(runs, np.float32), form(runs, agents + 1))
        return self._kept(_At(state, rates, models=best.models, best=best))

    def _prepare(self, trains: bool, callbacks: Sequence[calls.Callback] = ()) -> None:
        """Compile what is going to run, and refuse what does not fit; and measure the start."""
        at, setup = self._at, self._setup
        plans = {"measuring": self._plan_of_measuring}
        if trains:
            plans["a step"] = self._plan_of_steps
        if any(callback.copies_state for callback in callbacks):
            plans["a checkpoint"] = lambda: size_of((at.state, at.rates))  # a copy of what is on the device
        if new := plans.keys() - self._planned:
            what, most = max(((n, plan()) for n, plan in plans.items() if n in new), key=lambda w: w[1])
            left = None if setup.memory is None else max(0, setup.memory - sum(setup.held.values()))
            check_fits(len(setup.numbers), setup.agents, {f"the work of {what}": most}, left)
            self._planned |= new
        if not at.records:
            nan = jnp.full(setup.rates.shape, jnp.nan)
            record, models = self._measure(at.state, at.rates.eta, nan, 0.0)
            self._now = at._replace(records=(record,), models=models, best=best_of(None, 0, record, models))
            for callback in callbacks:
                callback.after_epoch(self)

    def _plan_of_measuring(self) -> int:
        setup = self._setup
        order = stand_in((2, *setup.rates.shape, setup.task.batch), np.int32)
        train = setup.stand_in_of(order.size)
        return work_of(programs.measure, self._code, *self._to_measure(self._at.state, train, order))

    def _plan_of_steps(self) -> int:
        setup, at = self._setup, self._at
        order: Any = stand_in((self.steps_an_epoch, *setup.rates.shape, setup.task.batch), np.int32)
        if setup.stepper is not None:
            order = self._arriving.epoch(len(at.records) or 1)
        program = programs.take_steps if setup.stepper is None else programs.take_arrivals
        at = at._replace(losses=jnp.zeros(setup.rates.shape))
        return work_of(program, *self._to_step(at, 1, *setup.stand_ins(order)))

    def _to_measure(self, state: RunState, train: Pixels, order: Any) -> tuple:
        setup = self._setup
        looked_at = [of_none(part) if isinstance(part.x, Lazy) else part for part in setup.looked_at]
        return setup.task, self._stepping, state, train, *looked_at, setup.seed, setup.lanes, order

    def _to_step(self, at: _At, count: int, pixels: Pixels, order: Any, begins: int = 0) -> tuple:
        """Arguments of a program that takes steps of what was handed to it, an order that begins with some step."""
        setup, first, end = self._setup, at.done - begins, at.done - begins + count
        stepping = self._stepping
        static = (self._code, setup.task, stepping, pixels, setup.seed, setup.lanes)
        if isinstance(stepping, Workers):
            assert isinstance(order, Epoch)
            bounds, windows = order.windows(first, end, stepping.together, stepping.own)
            return (*static, at.rates.eta, order.plan, jnp.asarray(bounds), jnp.int32(windows), at.losses), at.state
        return (*static, at.rates.eta, order, jnp.int32(first), jnp.int32(end), at.losses), at.state

    def _order(self, epoch: int, batches: int) -> Array:
        setup = self._setup
        whose = (setup.lanes, setup.agents, setup.size)
        return programs.shuffled(setup.seed, jnp.uint32(epoch), *whose, batches, setup.task.batch, setup.owners)

    def _measure(
        self, state: RunState, eta: Array, batch_loss: Array, seconds: float, order: Any = None
    ) -> tuple[Record, PyTree]:
        """What is measured, and of which parameters."""
        # Two batches of this measurement's own: epochs count from the other end of the numbers.
        number = 0 if self._now is None else len(self._now.records)
        some = self._setup.some(np.asarray(self._order(2**32 - 1 - number, 2)))
        found = programs.measure(self._code, *self._to_measure(state, *some))
        found |= self._measured_apart(found["models"])
        models = jax.tree.map(np.asarray, found.pop("models"))
        found = {**found, "batch_loss": batch_loss, "eta": eta, "seconds": np.float64(seconds)}
        if self._setup.reader is not None:
            found["waited"] = np.float64(self._setup.reader.waited)
        if self._setup.stepper is not None:
            started = dict(time=np.zeros(eta.shape[0]), jobs=np.zeros(eta.shape, int))
            found |= started if order is None else dict(time=order.time, jobs=order.jobs)
        return {name: np.asarray(value) for name, value in found.items()}, models

    def _measured_apart(self, models: PyTree) -> dict[str, Any]:
        """What is measured on lazy images, a portion at a time."""
        setup, found = self._setup, {}
        for name, pixels in zip(PARTS, setup.looked_at, strict=True):
            if not isinstance(pixels.x, Lazy) or not len(pixels.y):
                continue
            size = min(setup.task.evaluation_batch, len(pixels.y))
            whole, total = len(pixels.y) // size * size, {}
            for there in in_portions(pixels.x, size):
                part = pixels._replace(x=jnp.asarray(pixels.x.read(there)), y=pixels.y[there])
                means, share = programs.evaluate(self._code, setup.task, models, part), len(part.y) / whole
                total = {what: total.get(what, 0.0) + share * mean for what, mean in means.items()}
            found |= {f"{name}_{what}": mean for what, mean in total.items()}
        return found

    def _within_epoch(self) -> _At:
        """Where it is in the epoch that is under way; one begins if none is."""
        at, setup = self._at, self._setup
        if at.order is None:
            clock, state = time.perf_counter(), at.state
            validation = at.records[-1].get("validation_loss")
            if validation is not None and setup.stepper is None:
                state = programs.renew(self._code, self._stepping, state, jnp.asarray(validation[:, : setup.agents]))
            number, losses = len(at.records), jnp.zeros(setup.rates.shape)
            order = self._order(number, setup.batches) if setup.stepper is None else self._arriving.epoch(number)
            if setup.reader is not None:
                setup.reader.begins(number)
                order = np.asarray(order) if setup.stepper is None else order
            if isinstance(order, Epoch):
                state = with_room(state, order.room)
            clocked = dict(order=order, seconds=time.perf_counter() - clock, losses=losses)
            self._now = at._replace(state=state, done=0, **clocked)
        return self._at

    @property
    def _at_once(self) -> int:
        """Steps of the epoch that are left, as far as their images are read together."""
        done, reader = self._within_epoch().done, self._setup.reader
        return self.steps_an_epoch - done if reader is None else reader.left(done)

    def _take(self, count: int) -> float:
        """Take steps within the epoch; the seconds that they took."""
        at, clock = self._within_epoch(), time.perf_counter()
        program = programs.take_steps if self._setup.stepper is None else programs.take_arrivals
        state, losses = program(*self._to_step(at, count, *self._setup.handed(at.order, at.done)))
        # The state before is given up to the program: at no moment may it be the one that is held.
        self._now = at._replace(state=state, losses=losses, done=at.done + count)
        jax.block_until_ready((state, losses))
        seconds = time.perf_counter() - clock
        self._now = self._now._replace(seconds=at.seconds + seconds)
        return seconds

    def _close(self) -> None:
        """Measure the epoch, whose steps are done, and let the schedule look at it."""
        at, setup = self._at, self._setup
        assert at.losses is not None
        steps = at.order.jobs if isinstance(at.order, Epoch) else self.steps_an_epoch
        record, models = self._measure(at.state, at.rates.eta, at.losses / steps, at.seconds, at.order)
        validation = record.get("validation_loss")
        # Without validation images a schedule sees no loss: those that need none go on.
        nan = jnp.full(setup.rates.shape, jnp.nan)
        losses = nan if validation is None else jnp.asarray(validation[:, : setup.agents])
        best = best_of(at.best, len(at.records), record, models)
        rates = setup.schedule.after_epoch(at.rates, losses)
        self._now = _At(at.state, rates, (*at.records, record), models=models, best=best)

    def _to_its_end(self, callbacks: Sequence[calls.Callback]) -> None:
        """The epoch, in chunks between which callbacks look on; or to where one of them stops it."""
        while left := self._at_once:
            count = min(self._chunk, left)
            seconds = self._take(count)
            self._chunk = min(2 * self._chunk, max(1, int(CHUNK_SECONDS * count / seconds)))
            for callback in callbacks:
                callback.after_steps(self, count, seconds)
            if self._stopped:
                return
        self._close()
        for callback in callbacks:
            callback.after_epoch(self)


def _rates_set(data: xr.Dataset) -> dict[str, Any]:
    """The learning rates that were set by hand, by the epoch after which, as a history says it."""
    return json.loads(data.attrs["settings"]).get(RATES_SET, {})


F = TypeVar("F", bound=Callable)


def _with_settings_of(taker: Callable) -> Callable[[F], F]:
    """Show a function's `**settings` as what they are: keywords of `taker`, with what it says of each."""
    named = [p for p in inspect.signature(taker).parameters.values() if p.kind is p.KEYWORD_ONLY]

    def shown_so(fn: F) -> F:
        own = inspect.signature(fn)
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        vars(fn)["__signature__"] = own.replace(parameters=[*kept, *named])
        if fn.__doc__ and taker.__doc__:  # python -OO has none
            entries = inspect.cleandoc(taker.__doc__).partition(f"    {named[0].name}: ")
            entries = "".join(entries[1:]).partition("\n\n")[0]
            fn.__doc__ = re.sub(r"    \*\*settings: .*", lambda _: entries, inspect.cleandoc(fn.__doc__))
        return fn

    return shown_so


@_with_settings_of(Training)
def train(
    network: Any,
    data: Split | Images | Tokens | Rows | Batches | tuple,
    algorithm: Algorithm | NamedAlgorithm,
    *,
    epochs: int = 10,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool | Callable[[calls.Progress], Any] = False,
    callbacks: Iterable[calls.Callback | Callable[[Training], Any]] = (),
    **settings: Any,
) -> Trained:
    """Make a `Training`, run it, and return its history and its networks.

    Args:
        network: of `Training`.
        data: of `Training`.
        algorithm: of `Training`.
        epochs: passes of each agent through the training set, each in its own order.
        folder: where history.nc and the checkpoints are written after each epoch; None keeps nothing on disk.
        resume: go on from the folder's last epoch, to the numbers that an uninterrupted training would have given; from
            the start if there is no folder, or nothing in it.
        progress: show a line as it goes, or call a function with each `Progress`.
        callbacks: of `Training.run`; they come after what is kept and shown.
        **settings: the others of `Training`.

    Returns:
        `Training.trained`: its `history`, parameters of every network and what they `predict`.

    Raises:
        ValueError: as `Training`; for a folder in which anything is damaged, with what to do.
        TypeError: as `Training`.
        MemoryError: as `Training`.
        FileExistsError: for a folder that holds another training, or any without `resume`, or one that another process
            trains in.

    Warns:
        StabilityWarning: as `Training`.
        UserWarning: as `Training`; where `resume` waits for another process that trains in the folder; for an epoch
            that could not be written, as on a full disk.
    """
    check_flags(resume=resume)
    watching: list[Any] = [] if folder is None else [calls.Keep(folder, resume)]
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress={shown(progress)}: must be True, False or a function of a Progress")
    if progress is not False:
        watching.append(calls.ShowProgress() if progress is True else calls.ShowProgress(progress))
    training = Training(network, data, algorithm, **settings)
    training.run(epochs, [*watching, *calls.checked(callbacks)])
    return training.trained
