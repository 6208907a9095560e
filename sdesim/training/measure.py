"""What is measured of a training, at the start and after each epoch: one compiled function, and a Dataset of all."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import lax
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.random import Seed
from sdesim.tracing import each
from sdesim.training import modules
from sdesim.training import step as steps
from sdesim.training.algorithms import Algorithm
from sdesim.training.kinds import TOKENS, Kind
from sdesim.training.step import Pixels, RunState, Task

Record = dict[str, np.ndarray]
"""One measurement, by name."""


def tested(algorithm: Algorithm, state: RunState) -> PyTree:
    """What is tested of each run: its agents and, last, its quorum or center.

    Args:
        algorithm: with a leading axis of runs.
        state: of all runs.

    Returns:
        Parameters, (runs, agents + 1, ...).
    """
    center = state.average
    if center is None:
        center = jax.vmap(lambda a, p, o: a.center(p, o))(algorithm, state.params, state.optimizer)
    return jax.tree.map(lambda p, c: jnp.concatenate([p, c[:, None]], axis=1), state.params, center)


def evaluate(task: Task, params: PyTree, pixels: Pixels) -> dict[str, Array]:
    """Mean loss, score and metrics of every model over all samples.

    Batches are of one size and in one order, because networks with batch statistics depend on them; samples beyond the
    last whole batch are left out.

    Args:
        task: what is static about the training.
        params: of the models, (runs, models, ...).
        pixels: samples and what is to be said of them.

    Returns:
        By name, (runs, models) each: the loss, the score as the data's `Kind` has it, and the task's metrics.
    """
    size = min(task.evaluation_batch, pixels.y.shape[0])
    batches, kind = jnp.arange(pixels.y.shape[0] // size * size).reshape(-1, size), pixels.kind

    def one(params: PyTree, x: Array, y: Array):
        with steps.precision(task):
            said = modules.logits(task.network, params, x, False)
        own = {name: steps.mean_of(function, kind, said, y) for name, function in task.metrics or ()}
        score = kind.scored(said, y, pixels.y[batches.reshape(-1)])
        return {"loss": task.loss_of(kind, said, y), kind.score: score, **own}

    def body(total: dict[str, Array], index: Array):
        x = steps.prepared(task, pixels, index, None)
        found = each(each(lambda p: one(p, x, pixels.y[index])))(params)
        return jax.tree.map(jnp.add, total, found), None

    names = ("loss", kind.score, *dict(task.metrics or ()))
    zeros = jnp.zeros(jax.tree.leaves(params)[0].shape[:2])
    total, _ = lax.scan(body, dict.fromkeys(names, zeros), batches)
    return jax.tree.map(lambda t: t / batches.shape[0], total)


def spread_by_layer(params: PyTree) -> dict[str, Array]:
    """sum_i |x^i - mean|^2 of every layer: the agents' distance from their mean.

    Args:
        params: by the layer's name, leaves (runs, agents, ...).

    Returns:
        By the same names, (runs,).
    """

    def one(layer: PyTree):
        away = jax.tree.map(lambda a: jnp.sum((a - a.mean(axis=1, keepdims=True)) ** 2, axis=range(1, a.ndim)), layer)
        return functools.reduce(jnp.add, jax.tree.leaves(away))

    return {name: one(layer) for name, layer in params.items()}


def gradient_noise(task: Task, pixels: Pixels, params: PyTree, seed: Seed, runs: Array, order: Array) -> Array:
    """Trace of the covariance of one sample's gradient, estimated from two batches at the same point.

    batch / 2 |g_1 - g_2|^2 has that mean. Both see the same dropout and crops.

    Args:
        task: what is static about the training.
        pixels: images and labels.
        params: of the agents, (runs, agents, ...).
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        order: images of the two batches by number, (2, runs, agents, batch).

    Returns:
        (runs, agents), in (nats / parameter)^2.
    """

    def agent(params: PyTree, run: Array, number: Array, index: Array):
        key = steps.agent_key(seed, random.Stream.DROPOUT, jnp.uint32(2**32 - 1), run, number)
        both = each(lambda i: steps.gradient(task, pixels, params, i, key)[1])(index)  # compiled once for both batches
        difference = jax.tree.map(lambda g: g[0] - g[1], both)
        return 0.5 * task.batch * optax.tree.norm(difference, squared=True)

    def one_run(params: PyTree, run: Array, order: Array):
        numbers = jnp.arange(order.shape[1], dtype=jnp.uint32)
        of = lambda params, number, index: agent(params, run, number, index)
        return each(of)(params, numbers, jnp.swapaxes(order, 0, 1))

    return each(one_run)(params, runs, jnp.swapaxes(order, 0, 1))


def measure(
    task: Task,
    algorithm: Algorithm,
    state: RunState,
    train: Pixels,
    seen: Pixels,
    validation: Pixels,
    test: Pixels,
    seed: Seed,
    runs: Array,
    order: Array,
) -> dict[str, Any]:
    """All that is measured of a state but what the loop knows: rates, the losses of batches, seconds.

    Args:
        task: what is static about the training.
        algorithm: with a leading axis of runs.
        state: of all runs.
        train: images of the training set.
        seen: those of them that losses are measured on.
        validation: images for validation, of which there may be none.
        test: images of the test set, of which there may be none.
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        order: images of two batches by number, (2, runs, agents, batch), for the gradient noise.

    Returns:
        By name, of the axes that `DIMS` says; and as "models" what was tested, as `tested`.
    """
    models = tested(algorithm, state)
    found: dict = {"models": models}
    for name, pixels in (("train", seen), ("validation", validation), ("test", test)):
        if pixels.y.shape[0]:
            means = evaluate(task, models, pixels)
            found |= {f"{name}_{what}": mean for what, mean in means.items()}
            if pixels.kind is TOKENS and task.loss is None:
                found[f"{name}_perplexity"] = jnp.exp(means["loss"])
    layers = spread_by_layer(state.params)
    found["spread_by_layer"] = jnp.stack(list(layers.values()), axis=-1)
    found["spread"] = found["spread_by_layer"].sum(axis=-1)
    found["gradient_noise"] = gradient_noise(task, train, state.params, seed, runs, order)
    return found


# -- as a history ------------------------------------------------------------------------------------------------------

PARTS = ("train", "validation", "test")
DIMS = {
    **{f"{s}_{m}": ("run", "model") for s in PARTS for m in ("loss", "accuracy", "r2", "perplexity")},
    "batch_loss": ("run", "agent"),
    "spread_by_layer": ("run", "layer"),
    "spread": ("run",),
    "gradient_noise": ("run", "agent"),
    "eta": ("run", "agent"),
    "seconds": (),
    "waited": (),
    "time": ("run",),
    "jobs": ("run", "agent"),
}

LABELS = {
    "batch_loss": ("nats", "mean loss of the epoch's batches, as the agents trained on them"),
    "spread": ("parameters^2", "sum over agents of the squared distance from their mean"),
    "spread_by_layer": ("parameters^2", "spread of each layer's parameters"),
    "gradient_noise": ("(nats / parameter)^2", "trace of the covariance of one sample's gradient"),
    "eta": ("parameters^2 / nat", "learning rate of the epoch"),
    "seconds": ("s", "time that the epoch's steps took"),
    "waited": ("s", "of these, time in which steps waited for images to be read"),
    "time": ("s", "virtual time of the workers at the epoch's end"),
    "jobs": ("1", "jobs that each worker ended in the epoch"),
    "diverged": ("1", "first step whose loss was not finite, or -1"),
    "epoch": ("1", "passes through the training set"),
    "run": ("1", "place of the run"),
    "number": ("1", "number of the run, which decides its random numbers"),
    "model": ("1", "an agent, or the center"),
    "layer": ("1", "layer of the network"),
}


def labels(kind: Kind, task: Task) -> dict[str, tuple[str, str]]:
    """Units and meaning of all that is measured.

    Args:
        kind: of the data.
        task: for its loss and metrics.

    Returns:
        Both by name.
    """
    found = {}
    loss_is = kind.loss_is if task.loss is None else ("1", "mean of the training's own loss on")
    own = [(name, ("1", f"mean {name} on")) for name, _ in task.metrics or ()]
    for part in PARTS:
        for name, (unit, says) in (("loss", loss_is), (kind.score, kind.score_is), *own):
            found[f"{part}_{name}"] = unit, f"{says} {part} {kind.samples}"
        found[f"{part}_perplexity"] = "1", f"e to the loss on {part} {kind.samples}: as of so many tokens alike"
    unit = loss_is[0]
    in_units = {n: (u.replace("nats", unit).replace("nat", unit), says) for n, (u, says) in LABELS.items()}
    return {**in_units, **found}


def latest(history: Sequence[Record], agents: int) -> dict[str, float]:
    """What a line of progress shows of the last measurement.

    Args:
        history: measurements of the start and of each epoch.
        agents: of a run.

    Returns:
        Numbers by what they are: means over runs, losses those of agents.
    """
    last, told = history[-1], {}
    if len(history) > 1:
        told["training loss"] = float(last["batch_loss"].mean())
    if "validation_loss" in last:
        told["validation loss"] = float(last["validation_loss"][:, :agents].mean())
    for score in ("accuracy", "r2", "perplexity"):
        if f"test_{score}" in last:
            told[f"center's test {score}"] = float(last[f"test_{score}"][:, agents].mean())
    return {**told, "spread": float(last["spread"].mean())}


def dataset(history: Sequence[Record], state: RunState, numbers: np.ndarray, agents: int) -> xr.Dataset:
    """The history, labeled.

    Args:
        history: measurements of the start and of each epoch.
        state: of all runs, after the last of them.
        numbers: of the runs, (runs,).
        agents: of a run.

    Returns:
        The measurements by name, with an axis of epochs before their own (`DIMS`; metrics are of models), and
        `diverged`.
    """
    names = history[0].keys()
    variables = {n: (("epoch", *DIMS.get(n, ("run", "model"))), np.stack([h[n] for h in history])) for n in names}
    coordinates = {
        "epoch": np.arange(len(history)),
        "run": np.arange(len(numbers)),
        "number": ("run", numbers),
        "agent": np.arange(agents),
        "model": [*(f"agent {i}" for i in range(agents)), "center"],
        "layer": list(state.params),
    }
    data = xr.Dataset(variables, coordinates)
    if "time" in data:
        data = data.set_coords("time")
    return data.assign(diverged=("run", np.asarray(state.diverged)))
