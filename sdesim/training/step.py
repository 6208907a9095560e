"""Training steps of many runs at once, as pure functions that are compiled once.

A run is p agents: parameters are one pytree whose leaves lead with the axes (runs, agents). Everything is written for
one run, or for one agent, and mapped. Random numbers depend on (seed, run, agent, step) alone: a run does not depend on
which others it is trained beside.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, PyTree

from sdesim import random
from sdesim.coupling import per_agent
from sdesim.training import modules
from sdesim.training.algorithms import AGENT_BITS, Algorithm

MAX_RUNS = 1 << (32 - AGENT_BITS)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static about a training: a new value compiles again.

    crop: side of random crops (with horizontal flips) in training and of the middle crop in evaluation; None for whole
    images. weight_decay: lambda of lambda/2 |x|^2, added to the loss (Z 4.1). precision: of the forward and backward
    pass; parameters are float32.
    """

    network: modules.Network
    batch: int = 128
    evaluation_batch: int = 250
    crop: int | None = None
    weight_decay: float = 0.0
    precision: str = "float32"


class Pixels(NamedTuple):
    """Images as they lie on the device: x uint8 (n, height, width, channels), y int32 (n,), and what standardises x."""

    x: Array
    y: Array
    mean: Array
    std: Array


class RunState(NamedTuple):
    """Of all runs.

    params: (runs, agents, ...). optimizer: state of the optax chain. average: the exponentially weighted quorum,
    (runs, ...), or None. step: iterations done. diverged: first step with a loss that is not finite, or -1, (runs,).
    """

    params: PyTree
    optimizer: Any
    average: PyTree
    step: Array
    diverged: Array


# -- random numbers ----------------------------------------------------------------------------------------------------


def agent_key(seed: Array, stream: random.Stream, number, run, agent) -> Array:
    """A key of jax.random for one agent of one run."""
    key = random.step_key(seed, stream, number)
    words = random.threefry2x32(*key, (run << AGENT_BITS) | agent, jnp.zeros_like(run))
    return jax.random.wrap_key_data(jnp.stack(words))


def shuffled(seed: Array, epoch: Array, runs: Array, agents: int, size: int) -> Array:
    """Each agent's order of the training set in an epoch, (runs, agents, size): the ranks of random words."""
    key = random.step_key(seed, random.Stream.SHUFFLE, epoch)
    lane = (runs[:, None] << AGENT_BITS) | jnp.arange(agents, dtype=jnp.uint32)
    index = jnp.arange(size, dtype=jnp.uint32)
    words, _ = random.threefry2x32(*key, jnp.broadcast_to(lane[..., None], (*lane.shape, size)), index[None, None])
    return jnp.argsort(words, axis=-1).astype(jnp.int32)


# -- one agent ---------------------------------------------------------------------------------------------------------


def prepared(task: Task, pixels: Pixels, index: Array, key: Array | None) -> Array:
    """Standardised images by number; with a key, a random crop and flip of each."""
    x = pixels.x[index]
    if task.crop is not None:
        x = _middle(x, task.crop) if key is None else _cropped(x, task.crop, key)
    dtype = jnp.bfloat16 if task.precision == "bfloat16" else jnp.float32
    return ((x.astype(jnp.float32) - pixels.mean) / pixels.std).astype(dtype)


def _middle(x: Array, side: int) -> Array:
    top, left = ((n - side) // 2 for n in x.shape[1:3])
    return x[:, top : top + side, left : left + side]


def _cropped(x: Array, side: int, key: Array) -> Array:
    place, flip = jax.random.split(key)
    most = jnp.asarray(x.shape[1:3]) - side + 1
    corner = jax.random.randint(place, (x.shape[0], 2), 0, most)
    cut = jax.vmap(lambda image, c: lax.dynamic_slice(image, (c[0], c[1], 0), (side, side, image.shape[-1])))(x, corner)
    return jnp.where(jax.random.bernoulli(flip, 0.5, (x.shape[0], 1, 1, 1)), cut[:, :, ::-1], cut)


def _loss(task: Task, params: PyTree, x: Array, y: Array, key: Array) -> Array:
    """Mean cross-entropy of a batch in training, plus the weight decay."""
    said = modules.logits(task.network, params, x, True, key)
    loss = optax.softmax_cross_entropy_with_integer_labels(said.astype(jnp.float32), y).mean()
    return loss + 0.5 * task.weight_decay * optax.tree.norm(params, squared=True) if task.weight_decay else loss


def precision(task: Task):
    """Of matrix products: what a GPU would take by default is less than float32."""
    return jax.default_matmul_precision("tensorfloat32" if task.precision == "tf32" else "float32")


def gradient(task: Task, pixels: Pixels, params: PyTree, index: Array, key: Array) -> tuple[Array, PyTree]:
    crop, dropout = jax.random.split(key)
    x = prepared(task, pixels, index, crop)
    with precision(task):
        return jax.value_and_grad(functools.partial(_loss, task))(params, x, pixels.y[index], dropout)


def each(fn):
    """`fn` over the leading axis of its arguments: runs, agents or models.

    On a CPU one after another: a product of patches with one agent's matrix fills the cores already, and the patches of
    all at once fit no cache. On a GPU all at once.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(fn)
    return lambda *args: lax.map(lambda one: fn(*one), args)


# -- starts ------------------------------------------------------------------------------------------------------------


def image_shape(task: Task, image: tuple[int, ...]) -> tuple[int, ...]:
    """Of two images of a data set, as the network sees them. image: height, width and channels of the data."""
    return (2, *((task.crop, task.crop) if task.crop else image[:2]), image[2])


def draw(recipe: modules.Recipe, seed: Array, runs: Array, agents: int, images: tuple[int, ...], same: bool) -> PyTree:
    """Initial parameters of all runs, drawn by (seed, run, agent); with `same`, all agents start as a run's first."""

    def agent(run, number):
        return recipe(agent_key(seed, random.Stream.POSITION, 0, run, number), jnp.zeros(images))

    numbers = jnp.zeros(agents, jnp.uint32) if same else jnp.arange(agents, dtype=jnp.uint32)
    return lax.map(lambda run: lax.map(lambda n: agent(run, n), numbers), runs)  # compiled for one agent


def start(
    task: Task,
    algorithm: Algorithm,
    seed: Array,
    runs: Array,
    agents: int,
    image: tuple,
    same: bool,
    params: PyTree | None = None,
) -> RunState:
    """The state of all runs before the first step, from parameters that a linen module draws, or from those given."""
    if params is None:
        assert not isinstance(task.network, modules.Nnx)
        recipe = functools.partial(modules.drawn, task.network)
        params = draw(recipe, seed, runs, agents, image_shape(task, image), same)

    def rest(algorithm, params):
        optimizer = algorithm.optimizer().init(params)
        return optimizer, algorithm.center(params, optimizer) if algorithm.averages else None

    optimizer, average = jax.vmap(rest)(algorithm, params)
    return RunState(params, optimizer, average, jnp.zeros((), jnp.int32), jnp.full(runs.shape, -1, jnp.int32))


# -- steps -------------------------------------------------------------------------------------------------------------


def agents_step(algorithm: Algorithm, gradients_at, params: PyTree, optimizer: Any, eta: Array):
    """One iteration of the agents of one run: (new params, new optimizer state, what gradients_at said besides).

    gradients_at: a function of the point where gradients are taken, leaves (agents, ...), to (gradients, anything).
    eta: (agents,).
    """
    coupled, chain, rate = algorithm.coupling(), algorithm.optimizer(), algorithm.coupling_rate(eta)
    gradients, said = gradients_at(coupled.gradient_point(params, optimizer, rate))
    if algorithm.share:
        gradients = jax.tree.map(lambda g: jnp.broadcast_to(jnp.sum(g, axis=0), g.shape), gradients)
    descent = jax.tree.map(lambda g: -per_agent(eta, g) * g, gradients)
    updates, optimizer = chain.update(descent, optimizer, params, eta=rate)
    return optax.apply_updates(params, updates), optimizer, said


def take_steps(
    task: Task,
    algorithm: Algorithm,
    pixels: Pixels,
    state: RunState,
    seed: Array,
    runs: Array,
    eta: Array,
    order: Array,
    first: Array,
    end: Array,
    total: Array,
) -> tuple[RunState, Array]:
    """Iterations over batches `first` to `end` of an epoch's `order`, (steps, runs, agents, batch), at rates eta (runs,
    agents): the new state, and each agent's losses added to `total`, (runs, agents)."""
    agents = eta.shape[1]

    def one_run(algorithm, params, optimizer, average, run, eta, index, step):
        keys = jax.vmap(lambda a: agent_key(seed, random.Stream.DROPOUT, step, run, a))(
            jnp.arange(agents, dtype=jnp.uint32)
        )

        def gradients_at(point):
            losses, gradients = each(functools.partial(gradient, task, pixels))(point, index, keys)
            return gradients, losses

        params, optimizer, losses = agents_step(algorithm, gradients_at, params, optimizer, eta)
        if average is not None:
            center = algorithm.center(params, optimizer)
            weight = algorithm.weight(step)
            average = jax.tree.map(lambda a, c: weight * a + (1 - weight) * c, average, center)
        return params, optimizer, average, losses

    def body(i, carry):
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
    """The state after the rule's jump at the start of an epoch, given validation losses (runs, agents)."""
    jump = lambda a, params, optimizer, loss: a.coupling().renew(params, optimizer, loss)
    return state._replace(optimizer=jax.vmap(jump)(algorithm, state.params, state.optimizer, losses))
