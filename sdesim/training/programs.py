"""What is compiled of a training, and the code that it is known by.

A compiled program has the values in it that the functions of a network or a rule read where they were
defined, and would go on with yesterday's. So each takes the `TracedCode` that it was traced from as its first
argument.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sdesim.functions import as_key
from sdesim.random import Seed
from sdesim.training import measure as measurements
from sdesim.training import modules
from sdesim.training import step as steps
from sdesim.training import workers as replay
from sdesim.training.algorithms import Algorithm
from sdesim.training.setup import TrainingSetup
from sdesim.training.step import RunState
from sdesim.training.workers import Workers


@dataclasses.dataclass(frozen=True)
class TracedCode:
    """What a network and a rule were traced to, with all that their functions closed over; no pytree.

    Attributes:
        keys: of the network in training and in evaluation, of its parameters' draw, of the agents' step, and of the
            user's loss and metrics.
    """

    keys: tuple[Hashable, ...]


def code_of(setup: TrainingSetup) -> TracedCode:
    """The code of a training, with its functions as they are now.

    It is what is not ours of its programs, traced by itself, which is faster than tracing them whole.

    Args:
        setup: of the training.

    Returns:
        The code.
    """
    task, stepping, params = setup.task, _of_one_run(setup.stepping()), setup.params
    network, form = task.network, setup.form
    samples = lambda batch: jax.ShapeDtypeStruct((batch, *form.shape), form.dtype)
    most = max(part.y.shape[0] for part in setup.looked_at)
    key = jax.eval_shape(lambda: jax.random.key(0))
    train = lambda params, x, key: modules.logits(network, params, x, True, key)
    test = lambda params, x: modules.logits(network, params, x, False)
    draw = lambda key, x: modules.drawn(network, key, x) if isinstance(network, nn.Module) else None

    def own(said: Array, y: Array):
        functions = (task.loss, *dict(task.metrics or ()).values())
        return [f(said, y) for f in functions if f is not None]

    def step(algorithm: Algorithm | Workers, params: PyTree, eta: Array):
        if isinstance(algorithm, Workers):
            return algorithm.one_arrival(params, eta)
        optimizer = algorithm.optimizer(eta).init(params)
        params, optimizer, _ = steps.agents_step(algorithm, lambda at: (at, eta), params, optimizer, eta)
        renewed = algorithm.coupling().renew(params, optimizer, eta) if algorithm.renews else None
        return params, optimizer, algorithm.center(params, optimizer), renewed

    agents = jax.tree.map(lambda a: jax.ShapeDtypeStruct((setup.agents, *a.shape), a.dtype), params)
    return TracedCode(
        (
            as_key(train, params, samples(task.batch), key),
            as_key(test, params, samples(min(task.evaluation_batch, most))),
            as_key(draw, key, samples(2)),
            as_key(step, stepping, agents, jax.ShapeDtypeStruct((setup.agents,), jnp.float32)),
            as_key(own, *setup.said_of(task.batch)),
        )
    )


def _of_one_run(stepping: Algorithm | Workers) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype) if eqx.is_array(a) else a, stepping)


@functools.cache
def start() -> Callable[..., RunState]:
    """`step.start`, compiled; the `TracedCode` comes before its arguments.

    It runs once a training: on a CPU LLVM takes ten seconds for the long straight code of random numbers, and two at
    its first level.
    """
    options: dict[str, Any] = {}
    if jax.default_backend() == "cpu":
        options = {"compiler_options": {"xla_backend_optimization_level": 1}}
    return eqx.filter_jit(lambda code, *args: steps.start(*args), **options)


@eqx.filter_jit
def shuffled(
    seed: Seed, epoch: Array, runs: Array, agents: int, size: int, batches: int, batch: int, owners: Array | None
) -> Array:
    """An epoch's batches; what is left of the last one is left out.

    Args:
        seed: its words, and their generator.
        epoch: its number, a uint32 scalar.
        runs: their numbers, uint32 (runs,).
        agents: of a run.
        size: images of the training set.
        batches: of the epoch.
        batch: images of each, by agent.
        owners: of each image its agent, (runs, size); None where all see all.

    Returns:
        Images by number, (steps, runs, agents, batch).
    """
    order = steps.shuffled(seed, epoch, runs, agents, size, owners)[..., : batches * batch]
    return jnp.moveaxis(order.reshape(*order.shape[:2], batches, batch), 2, 0)


@eqx.filter_jit(donate="all-except-first")
def take_steps(kept: tuple, state: RunState) -> tuple[RunState, Array]:
    """`step.take_steps`, compiled.

    Args:
        kept: the `TracedCode`, and the arguments of `step.take_steps` but for the state.
        state: of all runs, which is given up.

    Returns:
        As `step.take_steps`.
    """
    _, task, algorithm, pixels, seed, runs, eta, order, first, end, total = kept
    return steps.take_steps(task, algorithm, pixels, state, seed, runs, eta, order, first, end, total)


@eqx.filter_jit(donate="all-except-first")
def take_arrivals(kept: tuple, state: RunState) -> tuple[RunState, Array]:
    """`workers.take_arrivals`, compiled.

    Args:
        kept: the `TracedCode`, and the arguments of `workers.take_arrivals` but for the state.
        state: of all runs, which is given up.

    Returns:
        As `workers.take_arrivals`.
    """
    _, task, workers, pixels, seed, runs, eta, plan, bounds, windows, total = kept
    return replay.take_arrivals(task, workers, pixels, state, seed, runs, eta, plan, bounds, windows, total)


@eqx.filter_jit
def renew(code: TracedCode, *args: Any) -> RunState:
    """`step.renew`, compiled.

    Args:
        code: of the training.
        *args: of `step.renew`.

    Returns:
        As `step.renew`.
    """
    return steps.renew(*args)


@eqx.filter_jit
def measure(code: TracedCode, *args: Any) -> dict[str, Any]:
    """`measure.measure`, compiled.

    Args:
        code: of the training.
        *args: of `measure.measure`.

    Returns:
        As `measure.measure`.
    """
    return measurements.measure(*args)


@eqx.filter_jit
def evaluate(code: TracedCode, *args: Any) -> dict[str, Array]:
    """`measure.evaluate`, compiled.

    Args:
        code: of the training.
        *args: of `measure.evaluate`.

    Returns:
        As `measure.evaluate`.
    """
    return measurements.evaluate(*args)


@eqx.filter_jit
def tested(code: TracedCode, *args: Any) -> PyTree:
    """`measure.tested`, compiled.

    Args:
        code: of the training.
        *args: of `measure.tested`.

    Returns:
        As `measure.tested`.
    """
    return measurements.tested(*args)
