"""A training's settings, checked: what is told of a wrong one, before anything is drawn or compiled."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sdesim import random
from sdesim.asynchrony import AbstractServer, Asynchronous, Link
from sdesim.coupling import Uncoupled
from sdesim.dynamics import Dynamics
from sdesim.ensembles.warnings import warn_if_unstable
from sdesim.fields import (
    byte_count,
    check_choice,
    check_count,
    check_flags,
    check_sign,
    concrete,
    described,
    named,
    number,
    of_part,
    one_number,
    said_by,
    shown,
    warn,
)
from sdesim.random import Seed
from sdesim.results.recipe import Call, Code, as_code
from sdesim.training import modules
from sdesim.training import step as steps
from sdesim.training.algorithms import MAX_AGENTS, Algorithm, NamedAlgorithm, over_runs
from sdesim.training.arriving import Epoch
from sdesim.training.data import Split, as_split, as_targets, kept_of
from sdesim.training.deal import AbstractDeal
from sdesim.training.inner import Inner, check_steps
from sdesim.training.kinds import IMAGES, ROWS, TOKENS, Form
from sdesim.training.lazy import Lazy, Reader
from sdesim.training.memory import check_fits, size_of, stand_in
from sdesim.training.passing import Batches, Passing
from sdesim.training.schedule import AbstractSchedule, Constant, Stall
from sdesim.training.step import Pixels, RunState, Said, Task
from sdesim.training.store import fingerprint, hash_of
from sdesim.training.workers import Given, Workers

ETA = 0.05  # without an optimizer
PRECISIONS = ("float32", "tf32", "bfloat16")
_ALONE = "beside a server give 'sgd' or 'msgd', or 'asgd' or 'mvasgd' for averages of it"
TOGETHER = 16  # gradients of workers at a time, at most, on a GPU


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingSetup:
    """Checked settings, and what follows from them.

    Attributes:
        taken: the network.
        task: what is static about the training.
        data: images to train on, to validate on and to test on.
        algorithm: with a leading axis of runs.
        rates: learning rates at the start, (runs, agents).
        numbers: of the runs, (runs,).
        seed: its words, and their generator.
        same_start: whether all agents of a run start at one point.
        schedule: of the learning rates.
        train_images: of the training set, the first so many are evaluated.
        memory: bytes, or None for what is free.
        params: of one agent, as shapes.
        says: shape of what the network says of two samples.
        given: what was given, to make it again.
        deal: which agent trains on which samples; None for all on all.
        stepper: of workers in virtual time; None of agents that step together.
        passing: batches from an iterable, of which `data` are the first; None where data are all.
    """

    taken: modules.Taken
    task: Task
    data: Split
    algorithm: Algorithm
    rates: Array
    numbers: np.ndarray
    seed: Seed
    same_start: bool
    schedule: AbstractSchedule
    train_images: int
    memory: int | None
    params: Any
    says: tuple[int, ...]
    given: dict[str, Any]
    deal: AbstractDeal | None = None
    stepper: Asynchronous | None = None
    passing: Batches | None = None

    @property
    def agents(self) -> int:
        """Of a run, p."""
        return self.rates.shape[1]

    @property
    def lanes(self) -> Array:
        """Numbers of the runs as random numbers take them, uint32 (runs,)."""
        return jnp.asarray(self.numbers, jnp.uint32)

    @property
    def size(self) -> int:
        """Images that an agent sees in an epoch, those of its last batch that is not whole among them."""
        return len(self.data.train_y) if self.passing is None else self.batches * self.task.batch

    @property
    def batches(self) -> int:
        """Of an agent in an epoch."""
        return batches_of(self.passing, self.data, self.task.batch, self.agents)

    @property
    def steps(self) -> int:
        """Of an epoch: batches of all agents at once, or of workers in virtual time one after another."""
        return self.batches * (1 if self.stepper is None else self.agents)

    def stepping(self, room: int = 1) -> Algorithm | Workers:
        """What steps the agents.

        Args:
            room: values that messages under way carry at a time, of workers.

        Returns:
            The algorithm, or it with workers, with a leading axis of runs.
        """
        if self.stepper is None:
            return self.algorithm
        return workers_of(self.algorithm, self.stepper, len(self.numbers), self.agents, room)

    @property
    def of_workers(self) -> Dynamics:
        """The dynamics of the first run's workers, as the host knows them."""
        workers = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, self.stepping())
        assert isinstance(workers, Workers)
        return workers.model(self.rates[0], Given())

    @property
    def form(self) -> Form:
        """Of samples, as the network sees them."""
        return steps.form_of(self.task, self.data.train_x)

    @functools.cached_property
    def pixels(self) -> dict[str, Pixels]:
        """The images on the device: to train on, to be measured on as "seen", for validation and for tests.

        Of lazy ones the labels alone.
        """
        parts = {n: _pixels(self.data, n) for n in ("train", "validation", "test")}
        train, seen = parts["train"], self.train_images
        return {**parts, "seen": train._replace(x=train.x[:seen], y=train.y[:seen])}

    def said_of(self, batch: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """What the user's loss and metrics get.

        Args:
            batch: how many samples.

        Returns:
            What the network says of them and what was to be said, as shapes.
        """
        y = jax.ShapeDtypeStruct((batch, *self.data.train_y.shape[1:]), self.data.train_y.dtype)
        said = jax.ShapeDtypeStruct((batch, *self.says[1:]), jnp.float32)
        return jax.eval_shape(self.data.kind.compared, said, y), y

    @property
    def looked_at(self) -> tuple[Pixels, Pixels, Pixels]:
        """Images that are measured on."""
        return self.pixels["seen"], self.pixels["validation"], self.pixels["test"]

    @functools.cached_property
    def reader(self) -> Reader | Passing | None:
        """Reads the samples to train on; None where they are in memory."""
        x, y = self.data.train_x, self.data.train_y
        if self.passing is not None:
            batch, scale = self.task.batch, (self.data.target_mean, self.data.target_std)
            prepared = lambda of: as_targets(of, *(scale if self.data.kind is ROWS else ()))
            return Passing(self.passing, self.agents, (np.asarray(x[:batch]), y[:batch]), prepared)
        if not isinstance(x, Lazy):
            return None
        together = self._distinct[0].size * (self.agents if self.stepper is None else 1)
        return Reader(x, self.data.train_y, self.steps, together * self.task.batch)

    @functools.cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of runs whose images are no other run's, and which of these each run's are.

        Runs of one number see the same, unless they are of workers, who may arrive otherwise in each.
        """
        if self.passing is not None:
            return np.zeros(1, int), np.zeros(len(self.numbers), int)
        if self.stepper is not None:
            return np.arange(len(self.numbers)), np.arange(len(self.numbers))
        _, first, which = np.unique(self.numbers, return_index=True, return_inverse=True)
        return first, which.ravel()

    def handed(self, order: Any, done: int) -> tuple[Pixels, Any, int]:
        """What the next steps of an epoch train on.

        Args:
            order: of the epoch's batches, (steps, runs, agents, batch); or of workers its `Epoch`.
            done: steps of the epoch so far.

        Returns:
            The images on the device; the order, by their numbers there; and the step with which that begins.
        """
        if self.reader is None:
            return self.pixels["train"], order, 0
        runs, _ = self._distinct
        if isinstance(order, Epoch):
            index = np.asarray(order.plan.index)
            numbers_of = lambda first, end: index[runs, first:end].swapaxes(0, 1)
        else:
            numbers_of = lambda first, end: order[first:end, runs]
        x, y, first = self.reader.portion(order, done, numbers_of)
        pixels = self.pixels["train"]._replace(x=x, y=y)
        return pixels, self._renumbered(order, first), 0 if isinstance(order, Epoch) else first

    def _renumbered(self, order: Any, first: int) -> Any:
        """The order of a portion's batches, by their numbers in it."""
        reader, (runs, which), batch = self.reader, self._distinct, self.task.batch
        assert reader is not None
        if isinstance(order, Epoch):
            there = np.arange(reader.steps * len(runs) * batch, dtype=np.int32).reshape(reader.steps, -1, batch)
            index = np.zeros(order.plan.index.shape, np.int32)
            end = min(first + reader.steps, index.shape[1])
            index[:, first:end] = there.swapaxes(0, 1)[which, : end - first]
            return dataclasses.replace(order, plan=order.plan._replace(index=jnp.asarray(index)))
        there = np.arange(reader.steps * len(runs) * self.agents * batch, dtype=np.int32)
        return jnp.asarray(there.reshape(reader.steps, len(runs), self.agents, batch)[:, which])

    def stand_ins(self, order: Any) -> tuple[Pixels, Any]:
        """What has the shapes of what is `handed`, and is not read.

        Args:
            order: of an epoch, as for `handed`.

        Returns:
            Images and order.
        """
        if self.reader is None:
            return self.pixels["train"], order
        if not isinstance(order, Epoch):
            order = stand_in((self.reader.steps, *order.shape[1:]), np.int32)
        return self.stand_in_of(self.reader.images), order

    def stand_in_of(self, count: int) -> Pixels:
        """What has the shapes of images to train on that were read; those themselves where they are in memory.

        Args:
            count: how many were read.

        Returns:
            The images.
        """
        train, data = self.pixels["train"], self.data
        if self.reader is None:
            return train
        x, y = (stand_in((count, *a.shape[1:]), a.dtype) for a in (data.train_x, data.train_y))
        return train._replace(x=x, y=y)

    def some(self, order: NDArray) -> tuple[Pixels, Array]:
        """A few batches of the training set.

        Args:
            order: images by number, of any shape.

        Returns:
            The images on the device, and the order by their numbers there.
        """
        if self.reader is None:
            return self.pixels["train"], jnp.asarray(order)
        x = self.data.train_x
        numbers = order.ravel() % len(self.data.train_y)  # of those that are kept of what passes
        chosen = x.read(numbers) if isinstance(x, Lazy) else x[numbers]
        pixels = self.pixels["train"]._replace(x=jnp.asarray(chosen), y=jnp.asarray(self.data.train_y[numbers]))
        return pixels, jnp.arange(numbers.size, dtype=jnp.int32).reshape(order.shape)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What a training must share with the one that it continues."""
        others = (self.agents, self.same_start, self.schedule, self.train_images, self.seed_number)
        others = (*others, *(part for part in (self.deal, self.stepper) if part is not None))
        if self.passing is not None:
            others = (*others, self.batches)
        if self.taken.values is not None:
            others = (*others, hash_of((), jax.tree.leaves(self.taken.values)))
        return fingerprint(self.task, self.algorithm, self.data, self.rates, self.numbers, others)

    @functools.cached_property
    def owners(self) -> Array | None:
        """Of each training sample its agent, int32 (runs, samples); None where all train on all."""
        deal, labels = self.deal, self.data.train_y
        if deal is None:
            return None
        of_runs = [deal.owners(labels, self.agents, self.seed_number, run) for run in self.numbers.tolist()]
        return jnp.asarray(np.stack(of_runs), jnp.int32)

    @property
    def seed_number(self) -> int:
        """The seed as it was given, one number."""
        return random.seed_number(self.seed)

    def starting_values(self) -> Any:
        """Initial parameters of all agents that a linen module does not draw.

        Those of a function are drawn anew at each call, which sees what the function sees today.

        Returns:
            Leaves (runs, agents, ...); None of a linen module.
        """
        taken, runs, agents = self.taken, self.lanes, self.agents
        if isinstance(taken.network, nn.Module):
            return None
        if taken.values is not None:
            return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(runs), agents, *a.shape)), taken.values)
        form, same = self.form, self.same_start
        return jax.jit(lambda seed, runs: steps.draw(taken.recipe, seed, runs, agents, form, same))(self.seed, runs)

    @functools.cached_property
    def state(self) -> RunState:
        """The state of all runs, as shapes."""
        stacked = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*self.rates.shape, *a.shape), a.dtype), self.params)
        return eqx.filter_eval_shape(steps.start, *self.start(), stacked)

    def start(self, room: int = 1) -> tuple:
        """Arguments of `step.start` but for the parameters.

        Args:
            room: of `stepping`.
        """
        return self.task, self.stepping(room), self.seed, self.lanes, self.rates, self.form, self.same_start

    @functools.cached_property
    def held(self) -> dict[str, int]:
        """Bytes that a training holds from its start on, by what they are for."""
        networks = self.rates.shape[0] * (self.agents + 1) * size_of(self.params)
        own = jax.default_backend() == "cpu"  # else they are not where the training is
        return {
            "images": size_of([a for a in self.data if not isinstance(a, Lazy)]),
            **({} if self.reader is None else {"images that are read": self.reader.bytes}),
            "parameters and their optimizer": size_of(self.state),
            **({"the networks as measured last and at their best": 2 * networks} if own else {}),
            "the order of batches": 5 * 4 * self.size * self.rates.size,  # with what sorting takes
        }

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """Settings by their names, but for network, data, algorithm and rate."""
        task = self.task
        found: dict[str, Any] = dict(
            agents=self.agents, batch=task.batch, runs=self.numbers.tolist(), seed=self.seed_number
        )
        found |= dict(same_start=self.same_start, schedule=self.schedule, weight_decay=task.weight_decay)
        for name in ("deal", "stepper"):
            if (given := getattr(self, name)) is not None:
                found[name] = given
        if task.loss is not None:
            found["loss"] = task.loss
        if task.metrics is not None:
            found["metrics"] = dict(task.metrics)
        return found | dict(
            crop=task.crop,
            precision=task.precision,
            evaluation_batch=task.evaluation_batch,
            train_images=self.train_images,
        )

    @functools.cached_property
    def said(self) -> dict[str, Any]:
        """What a file says of the settings."""
        said = {"network": repr(self.given["network"]), "algorithm": described(self.algorithm)}
        if (own := self.given["optimizer"]) is not None:
            said["optimizer"] = as_code(own)
        return {**said, "data": _said_of(self.data), "eta": self.rates, **self.options}

    def call(self, epochs: int) -> Call:
        """What makes the training again.

        Args:
            epochs: how many.

        Returns:
            The call.
        """
        given = {**self.given, "data": Code("data")}
        if isinstance(named := given["algorithm"], NamedAlgorithm):
            own = [f"{name}={as_code(value)}" for name, value in named.numbers.items()]
            given["algorithm"] = Code(f"sdesim.training.algorithm({', '.join([repr(named.name), *own])})")
        first = {name: given[name] for name in ("network", "data", "algorithm", "eta")}
        if given["optimizer"] is not None:
            first["optimizer"] = given["optimizer"]
        return Call("sdesim.training.train", {**first, "epochs": epochs, **self.options})


def checked(
    network: Any,
    data: Any,
    algorithm: Algorithm | NamedAlgorithm,
    eta: Any,
    agents: int,
    batch: int,
    runs: int | Sequence[int],
    seed: int,
    same_start: bool,
    schedule: AbstractSchedule | None,
    weight_decay: float,
    crop: int | None,
    precision: str,
    evaluation_batch: int,
    train_images: int,
    memory: int | str | None,
    optimizer: Any = None,
    deal: AbstractDeal | None = None,
    stepper: Asynchronous | None = None,
    loss: Said | None = None,
    metrics: Mapping[str, Said] | None = None,
) -> TrainingSetup:
    """The settings that `Training` takes, checked, and what they warn of.

    Args:
        network: a module of flax.linen, one of flax.nnx, or a function of rngs that makes one of flax.nnx.
        data: from `split`, or what `as_split` takes.
        algorithm: by its name, or one of the user's own.
        eta: learning rate: a number, one a run (runs,), or one an agent (runs, agents); None for 0.05.
        agents: of a run, p.
        batch: images a step and agent.
        runs: how many, or their numbers.
        seed: of all random numbers.
        same_start: whether all agents of a run start at one point.
        schedule: of the learning rates; None for `Stall()` if there are validation images, else `Constant()`.
        weight_decay: lambda of lambda/2 |x|^2, added to the loss.
        crop: side of crops; None for whole images.
        precision: one of `PRECISIONS`.
        evaluation_batch: images a batch in evaluation.
        train_images: of the training set, the first so many are evaluated.
        memory: bytes that may be used beside what is now, a number or such as "4GB"; None for what is free.
        optimizer: each agent's own, as `inner.Inner` takes it; None for a step with the algorithm's momentum.
        deal: which agent trains on which samples; None for all on all.
        stepper: of workers in virtual time; None of agents that step together.
        loss: in place of the data's; None for that.
        metrics: what is measured besides, by name; None for nothing.

    Returns:
        The settings.

    Raises:
        ValueError: for a bad argument: its name, its value and what would be right.
        TypeError: for an argument of another kind, likewise.
        MemoryError: for what does not fit.

    Warns:
        StabilityWarning: for a coupling whose step amplifies.
        UserWarning: for convolutions of XLA's on a CPU; for an nnx module, where starts would differ.
    """
    numbers = _run_numbers(runs)
    check_count("agents", agents, most=MAX_AGENTS)
    passing = data if isinstance(data, Batches) else None
    data = as_split(data) if passing is None else kept_of(passing)
    if passing is not None:
        _check_passing(passing, agents, batch, deal, stepper)
    taken = modules.taken(network)
    measured = _metrics(metrics)
    task = Task(taken.network, batch, evaluation_batch, crop, weight_decay, precision, loss, measured)
    _check(task, data, algorithm, train_images)
    check_flags(same_start=same_start)
    schedule = _schedule(schedule, data)
    limit = None if memory is None else byte_count("memory", memory)
    words = random.seed_words(seed, random.DEFAULT)
    batches = batches_of(passing, data, batch, agents)
    inner = None if optimizer is None else Inner(optimizer)
    if eta is None and inner is not None:
        raise ValueError("eta=None: must be given beside an optimizer, whose learning rate it is")
    eta = ETA if eta is None else eta
    given = dict(network=network, algorithm=algorithm, eta=eta, optimizer=optimizer)
    if isinstance(algorithm, NamedAlgorithm):
        made = algorithm(agents, eta, batches, inner)
    else:
        made = algorithm if inner is None else dataclasses.replace(algorithm, inner=inner)
    rates = rates_of(eta, len(numbers), agents)
    if made.renews and not len(data.validation_y):
        raise ValueError("algorithm: its rule looks at validation losses, and data have no validation images")
    made = over_runs(made, len(numbers))
    made.check_made_for(agents, rates, batches)
    look = _look(taken, steps.form_of(task, data.train_x), data)
    if made.inner is not None:
        check_steps(made.inner, look.params)
    found = (taken, task, data, made, rates, numbers, words, same_start, schedule, train_images, limit)
    if deal is not None and not isinstance(deal, AbstractDeal):
        raise TypeError(f"deal={shown(deal)}: must be None, or such as sdesim.training.Dirichlet(0.3)")
    if stepper is not None:
        stepper = _of_parameters(stepper, size_of(look.params))
        _check_workers(made, stepper)
    setup = TrainingSetup(*found, look.params, look.logits, given, deal, stepper, passing)
    _ = setup.owners  # what cannot be dealt is told now
    if stepper is not None:
        with of_part("algorithm"):
            stepper.check(setup.of_workers)
            setup.of_workers.coupling.check_run(agents)
    if loss is not None:
        _check_said("loss", loss, setup)
    for name, function in measured or ():
        _check_said(f"metrics: {name}", function, setup)
    check_fits(len(numbers), agents, setup.held, limit, shared=setup.held["images"])
    if stepper is None:
        warn_of_stiffness(made, rates)
    if taken.values is not None and not same_start and agents * len(set(numbers.tolist())) > 1:
        warn(
            "network: all agents and runs start at the values of this nnx module; a function of rngs that makes one, "
            "such as its class, gives each a start of its own (same_start=True says that one is meant)",
            UserWarning,
        )
    return setup


def batches_of(passing: Batches | None, data: Split, batch: int, agents: int) -> int:
    """Batches of an agent in an epoch.

    Args:
        passing: batches from an iterable; None for those of data.
        data: to train on.
        batch: images a step and agent.
        agents: p.
    """
    return len(data.train_y) // batch if passing is None else passing.batches // agents


def _check_passing(passing: Batches, agents: int, batch: int, deal: Any, stepper: Any) -> None:
    """Refuse what batches from an iterable cannot be trained by."""
    for name, given in (("deal", deal), ("stepper", stepper)):
        if given is not None:
            raise ValueError(f"{name}: must be None beside Batches, whose samples have no numbers")
    if passing.batches < agents:
        raise ValueError(f"batches={passing.batches}: must be at least agents={agents}, as each takes one in a step")
    if (size := len(next(passing.epoch(1))[0])) != batch:
        raise ValueError(f"batch={batch}: must be {size}, as the batches of the iterable are")


def workers_of(algorithm: Algorithm, stepper: Asynchronous, runs: int, agents: int, room: int) -> Workers:
    """Workers as programs take them.

    Args:
        algorithm: with a leading axis of runs.
        stepper: theirs.
        runs: how many there are.
        agents: of a run, p.
        room: values that messages under way carry at a time.

    Returns:
        The workers, with a leading axis of runs.
    """
    protocol = stepper.protocol
    if protocol.messages:
        protocol = dataclasses.replace(protocol, slots=room)
    bare = eqx.tree_at(lambda s: s.protocol, stepper, protocol).bare()
    # Gradients that are taken together are so many batches at once: on a CPU one of them fills the cores already.
    together = 1 if jax.default_backend() == "cpu" else min(TOGETHER, agents)
    moves = concrete(algorithm.momentum, np.max) != 0
    return Workers(algorithm, over_runs(bare, runs), moves, together)


def _of_parameters(stepper: Any, size: int) -> Asynchronous:
    """The stepper, whose messages are as large as a network unless they have a size of their own."""
    if not isinstance(stepper, Asynchronous):
        raise TypeError(
            f"stepper={shown(stepper)}: must be None, or workers in virtual time, sdesim.asynchrony.Asynchronous"
        )
    for name in ("uplink", "downlink"):
        law = getattr(stepper, name)
        if isinstance(law, Link) and law.size is None:
            law = dataclasses.replace(law, size=size)
            stepper = dataclasses.replace(stepper, **{name: law})
    return stepper


def _check_workers(algorithm: Algorithm, stepper: Asynchronous) -> None:
    """Refuse an algorithm of agents that step together: when workers meet, and how, is their protocol's to say."""
    protocol = type(stepper.protocol).__name__
    if algorithm.inner is not None:
        raise ValueError(f"optimizer: must be left out beside stepper={protocol}, whose workers step against gradients")
    if isinstance(stepper.protocol, AbstractServer) and not isinstance(algorithm.rule, Uncoupled):
        rule = type(algorithm.rule).__name__
        raise ValueError(f"algorithm: has a rule, {rule}, and {protocol} a server in its place; {_ALONE}")
    if algorithm.renews:
        raise ValueError(f"algorithm: its rule jumps at epochs, and workers of {protocol} have none of their own")
    if algorithm.period != 1 or algorithm.rounds is not None:
        raise ValueError(f"period: must be given to the protocol, as {protocol}(period=...), and not to the algorithm")
    if algorithm.late:
        raise ValueError(f"late={algorithm.late}: must be left out beside workers, whose messages take their time")
    pace = getattr(stepper.protocol, "pace", None)
    together = (
        algorithm.order != "jacobi" or algorithm.share or algorithm.clock is not None or algorithm.pace is not None
    )
    if together and (pace is None or algorithm.share or not np.all(np.asarray(algorithm.pace) == np.asarray(pace))):
        right = f"give rule and momentum alone, such as 'easgd' for EASGD and 'qsgd' for Gossip; {_ALONE}"
        raise ValueError(f"algorithm: is one of agents that step together, and stepper={protocol} of workers: {right}")


def _said_of(data: Split) -> dict[str, Any]:
    """What a file says of the images: how many, of which form, and a hash that tells these from others."""
    counts = {name: len(getattr(data, f"{name}_y")) for name in ("train", "validation", "test")}
    kind = data.kind
    many: dict[str, Any] = {"outputs" if kind is ROWS else "classes": kind.outputs(_targets(data))}
    if kind is IMAGES and data.train_x.dtype != np.uint8:  # which images are unless it is said
        many["dtype"] = str(data.train_x.dtype)
    return {**counts, "shape": data.train_x.shape[1:], **many, "sha256": hash_of((), data.trained_on)}


def _targets(data: Split) -> tuple[Any, ...]:
    return data.train_y, data.validation_y, data.test_y


def _pixels(data: Split, part: str) -> Pixels:
    x, y = getattr(data, f"{part}_x"), getattr(data, f"{part}_y")
    there: Any = x if isinstance(x, Lazy) else jnp.asarray(x)
    return Pixels(there, jnp.asarray(y), jnp.asarray(data.mean), jnp.asarray(data.std))


def _run_numbers(runs: Any) -> np.ndarray:
    """The numbers of the runs, which are given, or counted from 0."""
    right = f"must be a number of runs from 1 to {steps.MAX_RUNS}, or a list of their numbers, each below that"
    try:
        given = np.asarray(runs)
        numbers = given if given.ndim else np.arange(check_count("runs", runs, most=steps.MAX_RUNS))
        fit = numbers.ndim == 1 and numbers.size and numbers.dtype.kind in "iu"
    except ValueError:  # of a ragged list, or no count
        fit = False
    if not fit or numbers.min() < 0 or numbers.max() >= steps.MAX_RUNS:
        raise ValueError(f"runs={shown(runs)}: {right}")
    return numbers


def _check(task: Task, data: Split, algorithm: Any, train_images: Any) -> None:
    kind = data.kind
    check_count("batch", task.batch)
    check_count("evaluation_batch", task.evaluation_batch)
    check_count("train_images", train_images)
    one_number("weight_decay", task.weight_decay)
    check_choice("precision", task.precision, PRECISIONS)
    if not isinstance(algorithm, Algorithm | NamedAlgorithm):
        raise TypeError(
            f"algorithm={shown(algorithm)}: must be a sdesim.training.Algorithm, or such as "
            "sdesim.training.algorithm('easgd')"
        )
    if 2 * task.batch > len(data.train_y):
        raise ValueError(
            f"batch={task.batch}: must be at most half of the {len(data.train_y)} training {kind.samples}, as two "
            "batches tell the gradient noise"
        )
    if task.crop is not None:
        check_count("crop", task.crop, most=min(data.train_x.shape[1:3]))
        if kind is not IMAGES:
            raise ValueError(f"crop={task.crop}: must be None, as {kind.samples} are no images")
    if kind is TOKENS and task.precision == "bfloat16":
        raise ValueError("precision='bfloat16': must be float32 or tf32 beside tokens, which are whole numbers")


def _schedule(given: Any, data: Split) -> AbstractSchedule:
    schedule = (Stall() if len(data.validation_y) else Constant()) if given is None else given
    if not isinstance(schedule, AbstractSchedule):
        raise TypeError(f"schedule={shown(schedule)}: must be None, or such as sdesim.training.Stall() or Constant()")
    if schedule.looks_at_losses and not len(data.validation_y):
        name = type(schedule).__name__
        raise ValueError(f"schedule: {name} looks at validation losses, and data have no validation images")
    return schedule


def _metrics(given: Any) -> tuple[tuple[str, Said], ...] | None:
    right = "must be functions by their names, such as {'top3': mine}"
    if given is None or given == {}:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"metrics={shown(given)}: {right}")
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or name in ("loss", "accuracy", "r2", "perplexity"):
            raise ValueError(f"metrics: {right}, and {shown(name)} is no name that is free")
    return tuple(given.items())


def _check_said(name: str, function: Any, setup: TrainingSetup) -> None:
    """Refuse a loss or a metric that is no function of what a network says, to real numbers."""
    if not callable(function):
        raise TypeError(f"{name}={shown(function)}: must be a function of what a network says and what was to be said")
    said, y = setup.said_of(setup.task.batch)
    try:
        found = jax.eval_shape(function, said, y)
        real = isinstance(found, jax.ShapeDtypeStruct) and not jnp.issubdtype(found.dtype, jnp.complexfloating)
    except Exception as error:
        raise ValueError(
            f"{name}: fails on what the network says, {said.shape}, and targets {y.shape}: {said_by(error)}"
        ) from error
    if not real:
        raise ValueError(f"{name}: must give real numbers, and gives {shown(found)}")


def _look(taken: modules.Taken, form: Form, data: Split) -> modules.Look:
    """What a network is, if it fits what is to be said."""
    look, kind = modules.looked_at(taken, form), data.kind
    outputs = kind.outputs(_targets(data))
    if (right := kind.fits(look.logits, (2, *form.shape), outputs)) is not None:
        raise ValueError(
            f"network: must give {right}, and gives shape {look.logits} of a batch of 2; "
            f"e.g. {kind.network.format(outputs)} does"
        )
    if look.convolves and jax.default_backend() == "cpu":
        warn(
            "network: has convolutions of XLA's, which are some fifty times slower within a loop on a CPU; "
            "sdesim.training.networks.Convolution is as fast there as outside",
            UserWarning,
        )
    return look


def rates_of(eta: Any, runs: int, agents: int) -> Array:
    """Learning rates of all agents.

    Args:
        eta: a number, one a run (runs,), or one an agent (runs, agents), at least 0.
        runs: how many.
        agents: of a run.

    Returns:
        (runs, agents), float32.

    Raises:
        ValueError: for another shape, and a rate that is negative or not finite.
    """
    check_sign("eta", named("eta", number)(eta))
    rates = jnp.asarray(eta, jnp.float32)
    if rates.shape not in ((), (runs,), (runs, agents)):
        raise ValueError(
            f"eta: must be a number, one a run of shape ({runs},), or one an agent of shape ({runs}, {agents}), got "
            f"shape {rates.shape}"
        )
    return jnp.broadcast_to(rates[:, None] if rates.ndim == 1 else rates, (runs, agents))


def warn_of_stiffness(algorithm: Algorithm, rates: Array) -> None:
    """Warn once for each coupling among the runs that amplifies from step to step.

    Args:
        algorithm: with a leading axis of runs.
        rates: learning rates, (runs, agents).

    Warns:
        StabilityWarning: where it does.
    """
    ticks = np.asarray(rates if algorithm.pace is None else algorithm.pace)
    leaves = [np.asarray(a) for a in jax.tree.leaves(eqx.filter(algorithm.rule, eqx.is_array))]
    first = {tuple(a[i].tobytes() for a in (*leaves, ticks)): i for i in reversed(range(len(ticks)))}
    for i in sorted(first.values()):
        rule = jax.tree.map(lambda a: a[i] if eqx.is_array(a) else a, algorithm.rule)  # noqa: B023
        warn_if_unstable("algorithm", rule, ticks[i], rates.shape[1], algorithm.order)
