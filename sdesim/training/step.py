"""Training steps of many runs at once, as pure functions that are compiled once.

A run is p agents: parameters are one pytree whose leaves lead with the axes (runs, agents). Everything is written for
one run, or for one agent, and mapped. Random numbers depend on (seed, run, agent, step) alone: a run does not depend on
which others it is trained beside.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.contents import LATER
from sdesim.coupling import per_agent
from sdesim.random import Seed
from sdesim.tracing import each
from sdesim.training import modules
from sdesim.training.algorithms import AGENT_BITS, Algorithm
from sdesim.training.kinds import Form, Kind, kind_of

MAX_RUNS = 1 << (32 - AGENT_BITS)
Said = Callable[[Array, Array], Array]
"""A function of what a network said of a batch, and of what was to be said."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static about a training: a new value compiles again.

    Attributes:
        network: what is static of it.
        batch: images a step and agent.
        evaluation_batch: images a batch in evaluation.
        crop: side of random crops (with horizontal flips) in training and of the middle crop in evaluation; None for
            whole images.
        weight_decay: lambda of lambda/2 |x|^2, added to the loss (Z 4.1).
        precision: of the forward and backward pass, "float32", "tf32" or "bfloat16"; parameters are float32.
        loss: of the user's own, in place of the data's; None for that.
        metrics: what is measured besides, by name; None for nothing.
    """

    network: modules.Network
    batch: int = 128
    evaluation_batch: int = 250
    crop: int | None = None
    weight_decay: float = 0.0
    precision: str = "float32"
    loss: Said | None = dataclasses.field(default=None, metadata=LATER)
    metrics: tuple[tuple[str, Said], ...] | None = dataclasses.field(default=None, metadata=LATER)

    def loss_of(self, kind: Kind, said: Array, y: Array) -> Array:
        """The loss of a batch.

        Args:
            kind: of the data.
            said: by the network.
            y: what was to be said.

        Returns:
            A mean.
        """
        return kind.loss(said, y) if self.loss is None else mean_of(self.loss, kind, said, y)


def mean_of(function: Said, kind: Kind, said: Array, y: Array) -> Array:
    """The mean of a function of the user's over a batch.

    Args:
        function: of what was said and what was to be said.
        kind: of the data.
        said: by the network.
        y: what was to be said.

    Returns:
        The mean, float32.
    """
    return jnp.mean(jnp.asarray(function(kind.compared(said, y), y), jnp.float32))


class Pixels(NamedTuple):
    """Images, tokens or rows as they lie on the device, and what standardizes them; as in a `Split`.

    Attributes:
        x: samples, (n, ...).
        y: what is to be said of each, (n, ...).
        mean: of each channel or column.
        std: of each channel or column.
    """

    x: Array
    y: Array
    mean: Array
    std: Array

    @property
    def kind(self) -> Kind:
        """What they are."""
        return kind_of(self.x, self.y)


def of_none(pixels: Pixels) -> Pixels:
    """No images, of the form of some.

    Args:
        pixels: of any kind; lazy ones too.

    Returns:
        None of them.
    """
    x = jnp.zeros((0, *pixels.x.shape[1:]), pixels.x.dtype)
    return pixels._replace(x=x, y=pixels.y[:0])


class RunState(NamedTuple):
    """The state of all runs.

    Attributes:
        params: (runs, agents, ...).
        optimizer: state of the optax chain, leaves (runs, ...).
        average: the exponentially weighted quorum, (runs, ...), or None.
        step: iterations done.
        diverged: first step with a loss that is not finite, or -1, (runs,).
    """

    params: PyTree
    optimizer: Any
    average: PyTree
    step: Array
    diverged: Array


# -- random numbers ----------------------------------------------------------------------------------------------------


def agent_key(seed: Seed, stream: random.Stream, number: ArrayLike, run: Array, agent: Array) -> Array:
    """A key of jax.random for one agent of one run.

    Args:
        seed: its words, and their generator.
        stream: what the numbers are for.
        number: of the step, or whatever else counts in this stream.
        run: its number, a uint32 scalar.
        agent: its number in the run, a uint32 scalar.

    Returns:
        The key.
    """
    key = random.step_key(seed, stream, number)
    words = key.pair((run << AGENT_BITS) | agent, jnp.zeros_like(run))
    return jax.random.wrap_key_data(jnp.stack(words))


def shuffled(seed: Seed, epoch: Array, runs: Array, agents: int, size: int, owners: Array | None = None) -> Array:
    """Each agent's order of the training set in an epoch: the ranks of random words.

    Args:
        seed: its words, and their generator.
        epoch: its number, a uint32 scalar.
        runs: their numbers, uint32 (runs,).
        agents: of a run.
        size: images of the training set.
        owners: of each image its agent, (runs, size), who sees no others, and its own again and again until there are
            so many; None where all see all.

    Returns:
        Images by number, int32 (runs, agents, size).
    """
    key = random.step_key(seed, random.Stream.SHUFFLE, epoch)
    lane = (runs[:, None] << AGENT_BITS) | jnp.arange(agents, dtype=jnp.uint32)
    index = jnp.arange(size, dtype=jnp.uint32)
    words, _ = key.pair(jnp.broadcast_to(lane[..., None], (*lane.shape, size)), index[None, None])
    if owners is None:
        return jnp.argsort(words, axis=-1).astype(jnp.int32)
    others = owners[:, None, :] != jnp.arange(agents, dtype=owners.dtype)[None, :, None]
    order = jnp.lexsort((words, others), axis=-1).astype(jnp.int32)
    own = size - jnp.sum(others, axis=-1, dtype=jnp.int32)
    again = jnp.arange(size, dtype=jnp.int32)[None, None] % own[..., None]
    return jnp.take_along_axis(order, again, axis=-1)


# -- one agent ---------------------------------------------------------------------------------------------------------


def prepared(task: Task, pixels: Pixels, index: Array, key: Array | None) -> Array:
    """Samples as the network sees them.

    Args:
        task: what is static about the training.
        pixels: samples and what standardizes them.
        index: which of them, by number, (batch,).
        key: of a random crop and flip of each image; None for the middle crop.

    Returns:
        (batch, ...): images and rows standardized, bfloat16 where that is the task's precision, else float32; tokens
        as they are, int32.
    """
    x = pixels.x[index]
    if task.crop is not None:
        x = _middle(x, task.crop) if key is None else _cropped(x, task.crop, key)
    seen = pixels.kind.seen(x, pixels.mean, pixels.std)
    return seen.astype(jnp.bfloat16) if task.precision == "bfloat16" else seen


def _middle(x: Array, side: int) -> Array:
    top, left = ((n - side) // 2 for n in x.shape[1:3])
    return x[:, top : top + side, left : left + side]


def _cropped(x: Array, side: int, key: Array) -> Array:
    place, flip = jax.random.split(key)
    most = jnp.asarray(x.shape[1:3]) - side + 1
    corner = jax.random.randint(place, (x.shape[0], 2), 0, most)
    cut = jax.vmap(lambda image, c: lax.dynamic_slice(image, (c[0], c[1], 0), (side, side, image.shape[-1])))(x, corner)
    return jnp.where(jax.random.bernoulli(flip, 0.5, (x.shape[0], 1, 1, 1)), cut[:, :, ::-1], cut)


def _loss(task: Task, kind: Kind, params: PyTree, x: Array, y: Array, key: Array) -> Array:
    """Mean loss of a batch in training, plus the weight decay."""
    loss = task.loss_of(kind, modules.logits(task.network, params, x, True, key), y)
    return loss + 0.5 * task.weight_decay * optax.tree.norm(params, squared=True) if task.weight_decay else loss


def precision(task: Task) -> contextlib.AbstractContextManager:
    """The precision of matrix products: what a GPU would take by default is less than float32.

    Args:
        task: what is static about the training.

    Returns:
        A context with it.
    """
    return jax.default_matmul_precision("tensorfloat32" if task.precision == "tf32" else "float32")


def gradient(task: Task, pixels: Pixels, params: PyTree, index: Array, key: Array) -> tuple[Array, PyTree]:
    """Loss and gradient of one agent on a batch.

    Args:
        task: what is static about the training.
        pixels: images and labels.
        params: of the agent.
        index: images of the batch by number, (batch,).
        key: of crops, flips and dropout.

    Returns:
        Mean loss plus the weight decay, a scalar, and its gradient, as `params`.
    """
    crop, dropout = jax.random.split(key)
    x = prepared(task, pixels, index, crop)
    with precision(task):
        return jax.value_and_grad(functools.partial(_loss, task, pixels.kind))(params, x, pixels.y[index], dropout)


# -- starts ------------------------------------------------------------------------------------------------------------


def form_of(task: Task, x: Any) -> Form:
    """What the network sees of samples.

    Args:
        task: for its crop.
        x: samples, as they lie on the device.

    Returns:
        Shape and type of one.
    """
    shape = x.shape[1:]
    return kind_of(x).form((task.crop, task.crop, *shape[2:]) if task.crop else shape)


def draw(recipe: modules.Recipe, seed: Seed, runs: Array, agents: int, form: Form, same: bool) -> PyTree:
    """Initial parameters of all runs, drawn by (seed, run, agent).

    Args:
        recipe: draws one agent's.
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        agents: of a run.
        form: of samples, as the network sees them.
        same: whether all agents start as a run's first.

    Returns:
        Leaves (runs, agents, ...).
    """

    def agent(run: Array, number: Array):
        samples = jnp.zeros((2, *form.shape), form.dtype)
        return recipe(agent_key(seed, random.Stream.POSITION, 0, run, number), samples)

    numbers = jnp.zeros(agents, jnp.uint32) if same else jnp.arange(agents, dtype=jnp.uint32)
    return lax.map(lambda run: lax.map(lambda n: agent(run, n), numbers), runs)  # compiled for one agent


def start(
    task: Task,
    algorithm: Algorithm,
    seed: Seed,
    runs: Array,
    rates: Array,
    form: Form,
    same: bool,
    params: PyTree | None = None,
) -> RunState:
    """The state of all runs before the first step.

    Args:
        task: what is static about the training.
        algorithm: with a leading axis of runs.
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        rates: learning rates, (runs, agents).
        form: of samples, as the network sees them.
        same: whether all agents start as a run's first.
        params: leaves (runs, agents, ...); None for those that the linen module draws.

    Returns:
        The state.
    """
    if params is None:
        assert not isinstance(task.network, modules.Nnx)
        recipe = functools.partial(modules.drawn, task.network)
        params = draw(recipe, seed, runs, rates.shape[1], form, same)

    def rest(algorithm: Algorithm, params: PyTree, eta: Array):
        params, optimizer = algorithm.begun(params, eta)
        return params, optimizer, algorithm.center(params, optimizer) if algorithm.averages else None

    params, optimizer, average = jax.vmap(rest)(algorithm, params, rates)
    return RunState(params, optimizer, average, jnp.zeros((), jnp.int32), jnp.full(runs.shape, -1, jnp.int32))


# -- steps -------------------------------------------------------------------------------------------------------------


def agents_step(
    algorithm: Algorithm,
    gradients_at: Callable[[PyTree], tuple[PyTree, Any]],
    params: PyTree,
    optimizer: Any,
    eta: Array,
) -> tuple[PyTree, Any, Any]:
    """One iteration of the agents of one run.

    Args:
        algorithm: of this run, without an axis of runs.
        gradients_at: a function of the point where gradients are taken, leaves (agents, ...), to (gradients, losses),
            of which the losses, (agents,), may be anything where no optimizer looks at them.
        params: leaves (agents, ...).
        optimizer: state of the optax chain.
        eta: learning rates, (agents,).

    Returns:
        (new params, new optimizer state, the losses).
    """
    coupled, chain, rate = algorithm.coupling(), algorithm.optimizer(eta), algorithm.coupling_rate(eta)
    point = coupled.gradient_point(params, optimizer, rate)
    gradients, losses = gradients_at(point)
    if algorithm.share:
        gradients = jax.tree.map(lambda g: jnp.broadcast_to(jnp.sum(g, axis=0), g.shape), gradients)
    if algorithm.inner is None:
        gradients = jax.tree.map(lambda g: -per_agent(eta, g) * g, gradients)
    updates, optimizer = chain.update(gradients, optimizer, params, eta=rate, descent=eta, point=point, losses=losses)
    return optax.apply_updates(params, updates), optimizer, losses


def take_steps(
    task: Task,
    algorithm: Algorithm,
    pixels: Pixels,
    state: RunState,
    seed: Seed,
    runs: Array,
    eta: Array,
    order: Array,
    first: Array,
    end: Array,
    total: Array,
) -> tuple[RunState, Array]:
    """Iterations over batches of an epoch.

    Args:
        task: what is static about the training.
        algorithm: with a leading axis of runs.
        pixels: images and labels to train on.
        state: of all runs.
        seed: its words, and their generator.
        runs: their numbers, uint32 (runs,).
        eta: learning rates, (runs, agents).
        order: of the epoch's images by number, (steps, runs, agents, batch).
        first: the first batch's number, an int32 scalar.
        end: the number after the last one's, an int32 scalar.
        total: each agent's losses so far, summed, (runs, agents).

    Returns:
        The new state, and each agent's losses added to `total`.
    """
    agents = eta.shape[1]

    def one_run(
        algorithm: Algorithm,
        params: PyTree,
        optimizer: Any,
        average: PyTree,
        run: Array,
        eta: Array,
        index: Array,
        step: Array,
    ):
        keys = jax.vmap(lambda a: agent_key(seed, random.Stream.DROPOUT, step, run, a))(
            jnp.arange(agents, dtype=jnp.uint32)
        )

        def gradients_at(point: PyTree):
            losses, gradients = each(functools.partial(gradient, task, pixels))(point, index, keys)
            return gradients, losses

        params, optimizer, losses = agents_step(algorithm, gradients_at, params, optimizer, eta)
        if average is not None:
            center = algorithm.center(params, optimizer)
            weight = algorithm.weight(step)
            average = jax.tree.map(lambda a, c: weight * a + (1 - weight) * c, average, center)
        return params, optimizer, average, losses

    def body(i: Array, carry: tuple[RunState, Array]):
        state, total = carry
        index = lax.dynamic_index_in_dim(order, i, keepdims=False)
        many = each(functools.partial(one_run, step=state.step))
        params, optimizer, average, losses = many(
            algorithm, state.params, state.optimizer, state.average, runs, eta, index
        )
        bad = ~jnp.isfinite(losses).all(axis=1) & (state.diverged < 0)
        diverged = jnp.where(bad, state.step, state.diverged)
        return RunState(params, optimizer, average, state.step + 1, diverged), total + losses

    return lax.fori_loop(first, end, body, (state, total))


def renew(algorithm: Algorithm, state: RunState, losses: Array) -> RunState:
    """The state after the rule's jump at the start of an epoch.

    Args:
        algorithm: with a leading axis of runs.
        state: of all runs.
        losses: on validation images, (runs, agents).

    Returns:
        The new state.
    """
    jump = lambda a, params, optimizer, loss: a.coupling().renew(params, optimizer, loss)
    return state._replace(optimizer=jax.vmap(jump)(algorithm, state.params, state.optimizer, losses))
