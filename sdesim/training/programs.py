"""What is compiled of a training, and the code that it is known by.

A compiled program has the values in it that the functions of a network or a rule read where they were
defined, and would go on with yesterday's. So each takes the `Code` that it was traced from as its first
argument.
"""

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp

from sdesim.functions import as_key
from sdesim.training import measure as measurements
from sdesim.training import step as steps
from sdesim.training.setup import Setup


@dataclasses.dataclass(frozen=True)
class Code:
    """What programs were traced to, with all that users' functions closed over, as one thing that is no pytree."""

    keys: tuple[Hashable, ...]


def code_of(setup: Setup) -> Code:
    """The code of a training, with its functions as they are now."""
    shape = setup.rates.shape
    order = lambda steps: jax.ShapeDtypeStruct((steps, *shape, setup.task.batch), jnp.int32)
    none, losses = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct(shape, jnp.float32)
    state, whose, common = setup.state, (setup.seed, setup.lanes), (setup.task, setup.algorithm)
    given = None if isinstance(setup.task.network, nn.Module) else state.params
    stepped = (*common, setup.pixels["train"], state, *whose, losses, order(setup.batches), none, none, losses)
    return Code(
        (
            as_key(steps.start, *setup.start, given),
            as_key(steps.take_steps, *stepped),
            as_key(measurements.measure, *common, state, *setup.looked_at, *whose, order(2)),
            as_key(steps.renew, setup.algorithm, state, losses) if setup.algorithm.renews else None,
        )
    )


@functools.cache
def start():
    """`step.start`, compiled. It runs once a training: on a CPU LLVM takes ten seconds for the long straight code of
    random numbers, and two at its first level."""
    options: dict[str, Any] = {}
    if jax.default_backend() == "cpu":
        options = {"compiler_options": {"xla_backend_optimization_level": 1}}
    return eqx.filter_jit(lambda code, *args: steps.start(*args), **options)


@eqx.filter_jit
def shuffled(seed, epoch, runs, agents, size, batches, batch):
    """An epoch's batches, (steps, runs, agents, batch); what is left of the last one is left out."""
    order = steps.shuffled(seed, epoch, runs, agents, size)[..., : batches * batch]
    return jnp.moveaxis(order.reshape(*order.shape[:2], batches, batch), 2, 0)


@eqx.filter_jit(donate="all-except-first")
def take_steps(kept, state):
    _, task, algorithm, pixels, seed, runs, eta, order, first, end, total = kept
    return steps.take_steps(task, algorithm, pixels, state, seed, runs, eta, order, first, end, total)


@eqx.filter_jit
def renew(code, *args):
    return steps.renew(*args)


@eqx.filter_jit
def measure(code, *args):
    return measurements.measure(*args)


@eqx.filter_jit
def tested(code, *args):
    return measurements.tested(*args)
