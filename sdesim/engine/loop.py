"""The compiled loop: steps of all lanes, and between blocks of steps, records and epochs.

A *lane* is one simulation, or one simulation of one point of a sweep. Lanes are the last axis of every array, where
neighbors in memory do the same to different numbers; rules, losses and observables are written for one lane and put
over that axis by `vectorize.lanes`. `advance_lanes` is the hot path; who calls it, in which blocks and chunks, is the
engine's business.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from sdesim.dynamics import Dynamics, State
from sdesim.engine import gpu
from sdesim.engine.plan import Plan, view_of
from sdesim.engine.vectorize import Halves, lanes
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries
from sdesim.random import Seed
from sdesim.steppers import AbstractStepper


def advance_lanes(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    observables: tuple[AbstractObservable, ...],
    state: State,
    sims: Array,
    seed: Seed,
    totals: tuple,
    buffers: tuple,
    given: PyTree,
    start: Array | int,
    first: Array | int,
    blocks: Array | int,
    stride: Array | int,
) -> tuple[State, tuple, tuple]:
    """`blocks` blocks of `stride` steps of all lanes from step `first`; between blocks, records and epochs.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes, as `axes` says.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
        observables: what is watched.
        state: of all lanes, leaves (..., lanes).
        sims: the simulation number of each lane, uint32 (lanes,).
        seed: its words, and their generator.
        totals: of each observable, the summary of an accumulator, leaves (..., lanes), or nothing.
        buffers: of each series, its records so far, (records, ..., lanes).
        given: what the host hands to these steps by the names of `step`'s arguments, leaves (steps, ..., lanes):
            Brownian increments, or arrivals; None for nothing. What is beyond the last step is not read.
        start: the number of the run's first step, from which records are counted.
        first: the number of the first step here.
        blocks: how many. It and `stride` may be traced, so that runs of any length share one program; as Python
            integers they make loops that reverse-mode differentiation can follow.
        stride: steps of a block.

    Returns:
        The state, the totals and the buffers after the steps.
    """
    over = lambda fn, *in_axes: lanes(fn, in_axes, fast=plan.fast)
    accumulators = [i for i, o in enumerate(observables) if isinstance(o, AbstractAccumulator)]
    watching = [i for i in accumulators if observables[i].every_step]  # pyright: ignore[reportAttributeAccessIssue]
    series = [o for o in observables if isinstance(o, AbstractSeries)]

    def update(indices: Any, totals: Any, state: State, step: Array):
        """`step` is the number of the step just taken, plus one."""
        totals = list(totals)
        for i in indices:
            one = lambda m, total, s, n, o=observables[i]: o.update(total, view_of(plan, stepper, m, s, n))
            totals[i] = over(one, axes, -1, -1, None)(model, totals[i], state, step)
        return tuple(totals)

    # Agents 2i and 2i + 1 share a pair of random words. XLA's fused loops have one result, and one complex number
    # holds two agents: so both words of a pair are used, and the state is one array in one kernel.
    paired = plan.paired
    pack = _packed if paired else lambda state: state
    unpack = _unpacked if paired else lambda state: state
    tight = not stepper.lockstep or stepper.past > 0
    if tight:  # one form in and out of a step, or XLA copies all of the state to move one worker or to keep one more
        like = jax.eval_shape(lambda s: s, state)
        pack, unpack = _tight, lambda state: jax.tree.map(lambda a, like: a.reshape(like.shape), state, like)
    if not stepper.lockstep:  # what no state has a say in beforehand, for all steps at once
        ahead = lambda sim, seed, handed: stepper.prepared(model, sim, seed, plan.dims, handed)
        given = over(ahead, -1, None, -1)(sims, seed, given)

    def step_body(step: Array, carry: tuple):
        state, totals = carry
        here = jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, step - first, keepdims=False), given or {})
        one = lambda stepper, model, state, sim, seed, n, here: stepper.step(
            model, state, n, seed=seed, sim=sim, **here
        )
        if paired:
            state = _of_agents(_halves, state)
        elif tight:
            state = unpack(state)
        state = over(one, None, axes, -1, -1, None, None, -1)(stepper, model, state, sims, seed, step, here)
        if paired:
            state = _repacked(state)
        totals = update(watching, totals, state, step + 1)
        return (pack(state) if tight else state), totals

    def renew(state: State):
        return over(lambda m, s: stepper.renew(m, s), axes, -1)(model, state)

    def record(step: Any, state: State, totals: tuple, buffers: tuple):
        totals = update([i for i in accumulators if i not in watching], totals, state, step)
        place = (step - start) // plan.every
        values = [
            over(lambda m, s, n, o=o: o.value(view_of(plan, stepper, m, s, n)), axes, -1, None)(model, state, step)
            for o in series
        ]
        write = lambda buffer, value: lax.dynamic_update_index_in_dim(buffer, value, place, 0)
        return totals, tuple(map(write, buffers, values))

    def block_body(block: Array, carry: tuple):
        state, totals, buffers = carry
        begin = jnp.asarray(first + block * stride, jnp.int32)
        if plan.epoch is not None:
            state = lax.cond(begin % plan.epoch == 0, renew, lambda s: s, state)
        if plan.kernel is not None:
            backend = "triton" if plan.kernel == "interpret" else plan.kernel
            arguments = (stepper, model, axes, state, sims, seed, begin, stride)
            scan = dataclasses.replace(plan, kernel=None)
            state = gpu.advance(scan, *arguments, backend=backend, interpret=plan.kernel == "interpret")
            return recorded(begin + stride, state, totals, buffers)
        # From 0, because loops whose ends are traced cannot be differentiated in reverse mode.
        steps = (0, stride, lambda i, carry: step_body(begin + jnp.asarray(i, jnp.int32), carry))
        state, totals = lax.fori_loop(*steps, (pack(state), totals))
        state = unpack(state)
        if not stepper.lockstep:
            state = over(lambda m, s, n: stepper.settled(m, s, n), axes, -1, None)(model, state, begin + stride)
        return recorded(begin + stride, state, totals, buffers)

    def recorded(end: Array, state: State, totals: tuple, buffers: tuple):
        """The carry of a block that ended after step `end`, with a record if one is due."""
        if plan.every is not None:
            due = (end - start) % plan.every == 0
            totals, buffers = lax.cond(
                due, lambda s, t, b: record(end, s, t, b), lambda s, t, b: (t, b), state, totals, buffers
            )
        return state, totals, buffers

    return lax.fori_loop(0, blocks, block_body, (state, totals, buffers))


def _tight(state: State) -> State:
    """A state without axes of length 1 before that of the lanes."""
    return jax.tree.map(lambda a: a.reshape(*(n for n in a.shape[:-1] if n != 1), a.shape[-1]), state)


def _of_agents(change: Callable[[Any], Any], state: State) -> State:
    """A state with its positions and velocities changed."""
    return state._replace(x=change(state.x), v=None if state.v is None else change(state.v))


def _halves(z: Array) -> Halves:
    """Complex numbers (pairs, dims, lanes), without dims where it is 1, as agents."""
    loose = (z.shape[0], math.prod(z.shape[1:-1]), z.shape[-1])
    return Halves(z.real.reshape(loose), z.imag.reshape(loose))


def _complex(a: Array | Halves) -> Array:
    """An array of agents, in halves or not, as complex numbers (pairs, dims, lanes), without dims where it is 1."""
    a = a if isinstance(a, Halves) else Halves.split(a)
    pairs, dims, lanes = a.even.shape
    tight = (pairs, lanes) if dims == 1 else (pairs, dims, lanes)
    return lax.complex(a.even.reshape(tight), a.odd.reshape(tight))


def _packed(state: State) -> State:
    """Positions and velocities as one complex number a pair of agents."""
    return _of_agents(_complex, state)


def _repacked(state: State) -> State:
    """A state after a step in halves, as `_packed` makes it: what agents share is whole."""
    merge = lambda a: a.merged() if isinstance(a, Halves) else a
    return jax.tree.map(merge, _packed(state), is_leaf=lambda a: isinstance(a, Halves))


def _unpacked(state: State) -> State:
    """A state from what `_packed` makes of it."""
    return _of_agents(lambda a: _halves(a).merged(), state)
