"""`train`: networks of many runs of p coupled agents, measured each epoch, written as it goes, resumable.

The steps themselves are `step.py`'s, the rules those of `sdesim.coupling`. Here is the loop: epochs in chunks between
which progress is shown, measurements, the learning-rate schedule, the store and the checkpoints.
"""

import contextlib
import dataclasses
import datetime
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import random
from sdesim.ensembles.warnings import warn_if_unstable
from sdesim.fields import (
    byte_count,
    check_choice,
    check_count,
    check_flags,
    check_sign,
    described,
    named,
    number,
    one_number,
    shown,
    warn,
)
from sdesim.progress import line as progress_line
from sdesim.results.datasets import describe
from sdesim.results.recipe import Call, Code
from sdesim.training import modules
from sdesim.training import step as steps
from sdesim.training.algorithms import MAX_AGENTS, Algorithm, over_runs
from sdesim.training.data import Split, check_split
from sdesim.training.memory import check_fits, size_of, stand_in, work_of
from sdesim.training.schedule import Constant, Stall
from sdesim.training.step import Pixels, RunState, Task
from sdesim.training.store import Store, fingerprint, hash_of

PRECISIONS = ("float32", "tf32", "bfloat16")
CHUNK_SECONDS = 2.0  # of work between two lines of progress


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is told between chunks of an epoch. seconds: of training so far; left: estimated, to the end."""

    epoch: int
    epochs: int
    done: int
    steps: int
    images_per_second: float
    seconds: float
    left: float
    latest: dict[str, float]


def line(p: Progress) -> str:
    """One line of progress: epoch, losses and accuracy of the last measurement, spread, images a second, time left."""
    told = "  ".join(f"{name} {value:.4g}" for name, value in p.latest.items())
    left = datetime.timedelta(seconds=round(p.left))
    return (
        f"epoch {p.epoch}/{p.epochs}  step {p.done}/{p.steps}  {told}  {p.images_per_second:.0f} images/s  {left} left"
    )


def tell(p: Progress, name: str = "") -> None:
    """Show the line, after the name of what is trained."""
    progress_line(name + line(p), p.done == p.steps)


# -- what is compiled --------------------------------------------------------------------------------------------------


@functools.cache
def _start():
    """`steps.start`, compiled. It runs once a training: on a CPU LLVM takes ten seconds for the long straight code of
    random numbers, and two at its first level."""
    options: dict[str, Any] = {}
    if jax.default_backend() == "cpu":
        options = {"compiler_options": {"xla_backend_optimization_level": 1}}
    return eqx.filter_jit(steps.start, **options)


@eqx.filter_jit
def _shuffled(seed, epoch, runs, agents, size, batches, batch):
    """An epoch's batches, (steps, runs, agents, batch); what is left of the last one is left out."""
    order = steps.shuffled(seed, epoch, runs, agents, size)[..., : batches * batch]
    return jnp.moveaxis(order.reshape(*order.shape[:2], batches, batch), 2, 0)


@eqx.filter_jit(donate="all-except-first")
def _take_steps(kept, state):
    task, algorithm, pixels, seed, runs, eta, order, first, end, total = kept
    return steps.take_steps(task, algorithm, pixels, state, seed, runs, eta, order, first, end, total)


@eqx.filter_jit
def _measure(task, algorithm, state, train, validation, test, seed, runs, order):
    models = steps.tested(algorithm, state)
    found = {}
    for name, pixels in (("train", train), ("validation", validation), ("test", test)):
        if pixels.y.shape[0]:
            found[f"{name}_loss"], found[f"{name}_accuracy"] = steps.evaluate(task, models, pixels)
    layers = steps.spread_by_layer(state.params)
    found["spread_by_layer"] = jnp.stack(list(layers.values()), axis=-1)
    found["spread"] = found["spread_by_layer"].sum(axis=-1)
    found["gradient_noise"] = steps.gradient_noise(task, train, state.params, seed, runs, order)
    return found


_renew = eqx.filter_jit(steps.renew)

DIMS = {
    **{f"{s}_{m}": ("run", "model") for s in ("train", "validation", "test") for m in ("loss", "accuracy")},
    "batch_loss": ("run", "agent"),
    "spread_by_layer": ("run", "layer"),
    "spread": ("run",),
    "gradient_noise": ("run", "agent"),
    "eta": ("run", "agent"),
    "seconds": (),
}

LABELS = {
    **{f"{s}_loss": ("nats", f"mean cross-entropy on {s} images") for s in ("train", "validation", "test")},
    **{f"{s}_accuracy": ("1", f"share of {s} images that are right") for s in ("train", "validation", "test")},
    "batch_loss": ("nats", "mean loss of the epoch's batches, as the agents trained on them"),
    "spread": ("parameters^2", "sum over agents of the squared distance from their mean"),
    "spread_by_layer": ("parameters^2", "spread of each layer's parameters"),
    "gradient_noise": ("(nats / parameter)^2", "trace of the covariance of one image's gradient"),
    "eta": ("parameters^2 / nat", "learning rate of the epoch"),
    "seconds": ("s", "time that the epoch's steps took"),
    "diverged": ("1", "first step whose loss was not finite, or -1"),
    "epoch": ("1", "passes through the training set"),
    "run": ("1", "place of the run"),
    "number": ("1", "number of the run, which decides its random numbers"),
    "model": ("1", "an agent, or the center"),
    "layer": ("1", "layer of the network"),
}


# -- the trainer -------------------------------------------------------------------------------------------------------


def train(
    network: Any,
    data: Split,
    algorithm: Algorithm,
    *,
    eta: Any = 0.05,
    agents: int = 1,
    epochs: int = 10,
    batch: int = 128,
    runs: int | Sequence[int] = 1,
    seed: int = 0,
    same_start: bool = False,
    schedule: Stall | Constant | None = None,
    weight_decay: float = 0.0,
    crop: int | None = None,
    precision: str = "float32",
    evaluation_batch: int = 250,
    train_images: int = 5000,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    memory: int | str | None = None,
    progress: bool | Callable[[Progress], Any] = False,
) -> xr.Dataset:
    """Train networks: `runs` independent runs of `agents` coupled agents each, as one program.

    Args:
        network: a module of flax.linen; or a function of rngs that makes a module of flax.nnx, such as its class; or a
            module of flax.nnx, at whose values all agents and runs start. It is called with images (batch, height,
            width, channels), and with train, training or deterministic where it has such an argument, to logits
            (batch, classes). Linen's random numbers, if it wants them, are under the name "dropout". State beside
            parameters is refused.
        data: from `sdesim.training.data.split`.
        algorithm: from `sdesim.training.algorithm`, for these agents and this eta, or one of your own with any coupling
            rule. Its numbers may lead with an axis of runs, and differ between them.
        eta: learning rate: a number, one a run (runs,), or one an agent (runs, agents). At 0 an agent goes on by its
            momentum alone.
        epochs: passes of each agent through the training set, each in its own order. batch: images a step and agent.
        runs: how many, or their numbers; runs of one number start alike and see the same batches, so that runs that
            differ in an algorithm's number are paired.
        seed: of all random numbers.
        same_start: all agents of a run start at one point; at different points otherwise.
        schedule: of the learning rates; by default `Stall()`, the paper's, if there are validation images to look at.
            `Constant()` for none.
        weight_decay, crop: see `Task`. precision: "float32", "tf32" (matrix products, on GPUs) or "bfloat16".
        evaluation_batch: images a batch in evaluation; results of networks with batch statistics depend on it.
        train_images: of the training set, the first so many are evaluated.
        folder: where history.nc and the checkpoints are written after each epoch; None keeps nothing on disk.
        resume: go on from the folder's last epoch, to the numbers that an uninterrupted training would have given; from
            the start if there is no folder, or nothing in it.
        memory: bytes that may be used beside what is now, a number or such as "4GB"; what is free by default.
        progress: show a line as it goes, or call a function with each `Progress`.

    Returns:
        Of epoch 0 (the start) to `epochs`, for each run: train, validation and test loss and accuracy of every model
        (the agents and, last, "center": the quorum or center variable), batch_loss (mean training loss of the epoch's
        batches, with dropout), spread sum_i |x^i - mean|^2 in all and by layer, gradient_noise (trace of one sample's
        covariance), eta, seconds; `diverged`, the first step at which a run's loss was not finite, or -1: such a run is
        kept, and the others go on.

    Raises:
        ValueError, TypeError: for a bad argument, by its name, its value and what would be right.
        MemoryError: before it starts, for what does not fit.
        FileExistsError: for a folder that holds another training, or any without `resume`, or one that another process
            trains in. ValueError: for one in which anything is damaged, with what to do.

    Warns:
        StabilityWarning: for a coupling whose step amplifies.
        UserWarning: for convolutions of XLA's on a CPU; for an nnx module, where starts would differ; where `resume`
            waits for another process that trains in the folder; for an epoch that could not be written, as on a full
            disk, after which the training goes on.
    """
    numbers = _run_numbers(runs)
    check_count("agents", agents, most=MAX_AGENTS)
    check_split(data)
    taken = modules.taken(network)
    task = Task(taken.network, batch, evaluation_batch, crop, weight_decay, precision)
    _check(task, data, algorithm, epochs, train_images, folder, progress)
    check_flags(same_start=same_start, resume=resume)
    schedule = _schedule(schedule, data)
    limit = None if memory is None else byte_count("memory", memory)
    words, lanes = random.seed_words(seed), jnp.asarray(numbers, jnp.uint32)
    seed = int(words[0]) | int(words[1]) << 32
    size, batches, image = len(data.train_y), len(data.train_y) // batch, data.train_x.shape[1:]
    if epochs * batches > random.MAX_STEPS:
        raise ValueError(f"epochs={epochs}: of {batches} steps each, must be at most {random.MAX_STEPS // batches}")
    algorithm = over_runs(algorithm, len(numbers))
    rates = _rates(eta, len(numbers), agents)
    algorithm.check_made_for(agents, rates, batches)
    images = steps.image_shape(task, image)
    look = _look(taken, images, data)
    held = _held(task, algorithm, look.params, data, rates.shape, image, folder is not None)
    check_fits(len(numbers), agents, held, limit, shared=held["images"])
    _warn_of_stiffness(algorithm, rates, agents)
    if taken.values is not None and not same_start and agents * len(set(numbers.tolist())) > 1:
        warn(
            "network: all agents and runs start at the values of this nnx module; a function of rngs that makes one, "
            "such as its class, gives each a start of its own (same_start=True says that one is meant)",
            UserWarning,
        )
    parts = {
        "train": _pixels(data.train_x, data.train_y, data),
        "validation": _pixels(data.validation_x, data.validation_y, data),
        "test": _pixels(data.test_x, data.test_y, data),
    }
    seen = parts["train"]._replace(x=parts["train"].x[:train_images], y=parts["train"].y[:train_images])
    others = (agents, same_start, schedule, train_images, seed)
    if taken.values is not None:
        others = (*others, hash_of((), jax.tree.leaves(taken.values)))
    store = None if folder is None else Store(folder, fingerprint(task, algorithm, data, rates, numbers, others))
    history: list[dict[str, np.ndarray]] = []
    options = dict(agents=agents, batch=batch, runs=numbers.tolist(), seed=seed, same_start=same_start)
    options |= dict(schedule=schedule, weight_decay=weight_decay, crop=crop, precision=precision)
    options |= dict(evaluation_batch=evaluation_batch, train_images=train_images)
    settings = {
        "network": repr(network),
        "algorithm": described(algorithm),
        "data": _said_of(data),
        "eta": rates,
        "epochs": epochs,
        **options,
    }
    made = {"network": network, "data": Code("data"), "algorithm": algorithm, "eta": eta, "epochs": epochs}
    call = Call("sdesim.training.train", {**made, **options})

    def start() -> Any:
        given = _given(taken, words, lanes, agents, images, same_start)
        return _start()(task, algorithm, words, lanes, agents, image, same_start, given), schedule.start(rates)

    def measured(run_state, rates, batch_loss, seconds):
        # Two batches of this measurement's own: epochs count from the other end of the numbers.
        order = _shuffled(words, jnp.uint32(2**32 - 1 - len(history)), lanes, agents, size, 2, batch)
        found = _measure(task, algorithm, run_state, seen, parts["validation"], parts["test"], words, lanes, order)
        found.update(batch_loss=batch_loss, eta=rates, seconds=np.float64(seconds))
        return {name: np.asarray(value) for name, value in found.items()}

    def planned(steps: bool) -> dict[str, int]:
        """Bytes of the programs that are going to run."""
        orders = [stand_in((n, *rates.shape, batch), np.int32) for n in (2, batches)]
        places = parts["validation"], parts["test"], words, lanes
        found = {"measuring": work_of(_measure, task, algorithm, state[0], seen, *places, orders[0])}
        if steps:
            none, total = jnp.int32(0), jnp.zeros(rates.shape)
            kept = (task, algorithm, parts["train"], words, lanes, state[1].eta, orders[1], none, none, total)
            found["a step"] = work_of(_take_steps, kept, state[0])
        return found

    def dataset() -> xr.Dataset:
        data = _dataset(history, state[0], numbers, agents)
        return describe(data, "training", settings, call, LABELS, seed=seed, seconds=float(data["seconds"].sum()))

    def keep(epoch: int) -> None:
        """Write what there is; hours of training are not lost with a disk that is full for a while."""
        if store is not None:
            try:
                store.write(epoch, state, dataset())
            except OSError as error:
                warn(f"{error}; the training goes on", UserWarning)

    with contextlib.nullcontext() if store is None else store.lock(resume):
        history[:], state = ([], start()) if store is None else store.open(resume, start)
        if len(history) <= epochs:  # there is something to do
            left = None if limit is None else max(0, limit - sum(held.values()))
            what, most = max(planned(epochs > 0).items(), key=lambda w: w[1])
            check_fits(len(numbers), agents, {f"the work of {what}": most}, left)
        if not history:
            history.append(measured(state[0], state[1].eta, jnp.full(rates.shape, jnp.nan), 0.0))
            keep(0)
        told = (tell if progress is True else progress) or (lambda p: None)
        chunk, work = 1, len(numbers) * agents * batch
        began, before = time.perf_counter(), len(history) - 1
        for epoch in range(len(history), epochs + 1):
            clock = time.perf_counter()
            run_state, rule_rates = state
            if batches and bool((run_state.diverged >= 0).all()):
                break  # nothing is left to train
            validation = history[-1].get("validation_loss")
            if validation is not None:
                run_state = _renew(algorithm, run_state, jnp.asarray(validation[:, :agents]))
            order = _shuffled(words, jnp.uint32(epoch), lanes, agents, size, batches, batch)
            total, done = jnp.zeros(rates.shape), 0
            while done < batches:
                now, count = time.perf_counter(), min(chunk, batches - done)
                first, end = jnp.int32(done), jnp.int32(done + count)
                kept = (task, algorithm, parts["train"], words, lanes, rule_rates.eta, order, first, end, total)
                run_state, total = jax.block_until_ready(_take_steps(kept, run_state))
                done += count
                spent = time.perf_counter() - now
                chunk = min(2 * chunk, max(1, int(CHUNK_SECONDS * count / spent)))
                elapsed = time.perf_counter() - began
                passed = (epoch - 1 - before) * batches + done
                left = elapsed / passed * ((epochs - before) * batches - passed)
                told(
                    Progress(
                        epoch, epochs, done, batches, count * work / spent, elapsed, left, _latest(history, agents)
                    )
                )
            seconds = time.perf_counter() - clock
            history.append(measured(run_state, rule_rates.eta, total / max(batches, 1), seconds))
            validation = history[-1].get("validation_loss")
            # Without validation images a schedule sees no loss: those that need none go on.
            losses = jnp.full(rates.shape, jnp.nan) if validation is None else jnp.asarray(validation[:, :agents])
            rule_rates = schedule.after_epoch(rule_rates, losses)
            state = run_state, rule_rates
            keep(epoch)
        return dataset()


def _said_of(data: Split) -> dict[str, Any]:
    """What a file says of the images: how many, of which form, and a hash that tells these from others."""
    counts = {name: len(getattr(data, f"{name}_y")) for name in ("train", "validation", "test")}
    classes = 1 + max(int(y.max()) for y in (data.train_y, data.validation_y, data.test_y) if len(y))
    return {**counts, "shape": data.train_x.shape[1:], "classes": classes, "sha256": hash_of((), data)}


def _pixels(x: np.ndarray, y: np.ndarray, data: Split) -> Pixels:
    return Pixels(jnp.asarray(x), jnp.asarray(y), jnp.asarray(data.mean), jnp.asarray(data.std))


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


def _check(task: Task, data: Split, algorithm, epochs, train_images, folder, progress) -> None:
    check_count("epochs", epochs, least=0)
    check_count("batch", task.batch)
    check_count("evaluation_batch", task.evaluation_batch)
    check_count("train_images", train_images)
    one_number("weight_decay", task.weight_decay)
    check_choice("precision", task.precision, PRECISIONS)
    if not isinstance(algorithm, Algorithm):
        raise TypeError(
            f"algorithm={shown(algorithm)}: must be a sdesim.training.Algorithm, such as "
            "sdesim.training.algorithm('easgd', agents=4, eta=0.05)"
        )
    if 2 * task.batch > len(data.train_y):
        raise ValueError(
            f"batch={task.batch}: must be at most half of the {len(data.train_y)} training images, as two batches "
            "tell the gradient noise"
        )
    if task.crop is not None:
        check_count("crop", task.crop, most=min(data.train_x.shape[1:3]))
    if algorithm.renews and not len(data.validation_y):
        raise ValueError("algorithm: its rule looks at validation losses, and data have no validation images")
    if folder is not None and (not isinstance(folder, str | os.PathLike) or not os.fspath(folder)):
        raise TypeError(f"folder={shown(folder)}: must be the name of a folder, or None")
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress={shown(progress)}: must be True, False or a function of a Progress")


def _schedule(given: Any, data: Split) -> Stall | Constant:
    schedule = (Stall() if len(data.validation_y) else Constant()) if given is None else given
    if not isinstance(schedule, Stall | Constant):
        raise TypeError(f"schedule={shown(schedule)}: must be None, or such as sdesim.training.Stall() or Constant()")
    if isinstance(schedule, Stall) and not len(data.validation_y):
        raise ValueError("schedule: Stall looks at validation losses, and data have no validation images")
    return schedule


def _look(taken: modules.Taken, images: tuple[int, ...], data: Split) -> modules.Look:
    """What a network is, if it fits the data's labels."""
    look = modules.looked_at(taken, images)
    largest = max(int(part.max(initial=0)) for part in (data.train_y, data.validation_y, data.test_y))
    if len(look.logits) != 2 or look.logits[0] != images[0] or look.logits[1] <= largest:
        raise ValueError(
            f"network: must give (batch, classes) logits, for labels up to {largest}, and gives shape {look.logits} of "
            f"a batch of {images[0]}"
        )
    if look.convolves and jax.default_backend() == "cpu":
        warn(
            "network: has convolutions of XLA's, which are some fifty times slower within a loop on a CPU; "
            "sdesim.training.networks.Convolution is as fast there as outside",
            UserWarning,
        )
    return look


def _given(taken: modules.Taken, seed: Array, runs: Array, agents: int, images: tuple[int, ...], same: bool) -> Any:
    """Initial parameters of all agents that a linen module does not draw; of a function drawn anew at each call, which
    sees what the function sees today."""
    if isinstance(taken.network, nn.Module):
        return None
    if taken.values is not None:
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(runs), agents, *a.shape)), taken.values)
    return jax.jit(lambda seed, runs: steps.draw(taken.recipe, seed, runs, agents, images, same))(seed, runs)


def _held(task: Task, algorithm: Algorithm, params: Any, data: Split, shape, image, saves: bool) -> dict[str, int]:
    """Bytes that a training holds from its start on, by what they are for. params: of one agent, as shapes."""
    stacked = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*shape, *a.shape), a.dtype), params)
    words, lanes = random.seed_words(0), jnp.zeros(shape[0], jnp.uint32)
    state = eqx.filter_eval_shape(steps.start, task, algorithm, words, lanes, shape[1], image, False, stacked)
    order = 4 * len(data.train_y) * math.prod(shape)
    return {
        "images": size_of(data),
        "parameters and their optimizer": size_of(state) * (2 if saves else 1),  # a checkpoint is a copy
        "the order of batches": 5 * order,  # with what sorting takes
    }


def _rates(eta: Any, runs: int, agents: int) -> Array:
    """Learning rates of all agents, (runs, agents)."""
    check_sign("eta", named("eta", number)(eta))
    rates = jnp.asarray(eta, jnp.float32)
    if rates.shape not in ((), (runs,), (runs, agents)):
        raise ValueError(
            f"eta: must be a number, one a run of shape ({runs},), or one an agent of shape ({runs}, {agents}), got "
            f"shape {rates.shape}"
        )
    return jnp.broadcast_to(rates[:, None] if rates.ndim == 1 else rates, (runs, agents))


def _warn_of_stiffness(algorithm: Algorithm, rates: Array, agents: int) -> None:
    """Once for each coupling among the runs that amplifies from step to step."""
    ticks = np.asarray(rates if algorithm.pace is None else algorithm.pace)
    leaves = [np.asarray(a) for a in jax.tree.leaves(eqx.filter(algorithm.rule, eqx.is_array))]
    first = {tuple(a[i].tobytes() for a in (*leaves, ticks)): i for i in reversed(range(len(ticks)))}
    for i in sorted(first.values()):
        rule = jax.tree.map(lambda a: a[i] if eqx.is_array(a) else a, algorithm.rule)  # noqa: B023
        warn_if_unstable("algorithm", rule, ticks[i], agents, algorithm.order)


def _latest(history: list[dict[str, np.ndarray]], agents: int) -> dict[str, float]:
    """What a line of progress shows of the last measurement: means over runs, losses those of agents."""
    last, told = history[-1], {}
    if len(history) > 1:
        told["training loss"] = float(last["batch_loss"].mean())
    if "validation_loss" in last:
        told["validation loss"] = float(last["validation_loss"][:, :agents].mean())
    if "test_accuracy" in last:
        told["center's test accuracy"] = float(last["test_accuracy"][:, agents].mean())
    return {**told, "spread": float(last["spread"].mean())}


def _dataset(history, state: RunState, numbers, agents: int) -> xr.Dataset:
    """The history, labelled."""
    names = history[0].keys()
    variables = {n: (("epoch", *DIMS[n]), np.stack([h[n] for h in history])) for n in names}
    coordinates = {
        "epoch": np.arange(len(history)),
        "run": np.arange(len(numbers)),
        "number": ("run", numbers),
        "agent": np.arange(agents),
        "model": [*(f"agent {i}" for i in range(agents)), "center"],
        "layer": list(state.params),
    }
    data = xr.Dataset(variables, coordinates)
    return data.assign(diverged=("run", np.asarray(state.diverged)))
