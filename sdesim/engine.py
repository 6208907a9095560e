"""The engine: all lanes of a run, advanced in compiled chunks.

A *lane* is one simulation, or one simulation of one point of a sweep. Lanes are the last axis of every array, where
neighbors in memory do the same to different numbers; rules, losses and observables are written for one lane and put
over that axis by `vectorize.lanes`. `_advance_lanes` is the compiled hot path; around it, `run_lanes` cuts the work
into blocks of lanes that stay in a core's cache, one thread a core, and each block's steps into chunks, between which
it looks at progress, divergence and Ctrl-C. None of the cuts changes a result: noise depends on the lane alone.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from tqdm import tqdm  # the plain bar: tqdm.auto warns in notebooks without ipywidgets

from sdesim import random
from sdesim.coupling import ArrayMean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.fields import is_traced
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries, FirstNonFinite, View
from sdesim.random import Stream
from sdesim.steps import em_step, sgd_step
from sdesim.vectorize import Halves, lanes

CHUNK_SECONDS = 0.4  # work between two looks at progress, divergence and Ctrl-C
FIRST_CHUNK = 20_000_000  # agent-steps of the first chunk, before the speed is known: 0.02 to 0.4 s
CACHE_BYTES = 1024 * 1024  # of a core, for the state of a block before and after a step
THREAD_BYTES = 64 * 1024  # of state, below which a second thread costs more than it gives
WIDTH = 16  # lanes in a vector register, at the most
LEAST = 4  # vectors in a block, if there are that many: shorter rows cost more than the cache saves


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static about a run: a new value of any of these compiles again."""

    agents: int
    dims: int
    method: Literal["em", "sgd"]
    order: Order
    matched: bool  # dt is the model's matched step
    epoch: int | None
    every: int | None  # steps between records, None without observables
    fast: bool = True  # polynomials for sines
    start: int = 0  # the first step's number, where it matters (epochs)

    @property
    def stride(self) -> int | None:
        """Steps between two moments at which something other than stepping may happen; None if nothing does."""
        if self.every is None and self.epoch is None:
            return None
        return math.gcd(*(n for n in (self.every, self.epoch, self.start if self.epoch else None) if n))


@dataclasses.dataclass
class Lanes:
    """The outcome of a run, lanes on the last axis of every array.

    observed: name -> array. axes: name -> names of its axes before the last. diverged: first non-finite step, or -1.
    """

    state: State
    observed: dict[str, Array]
    axes: dict[str, tuple[str, ...]]
    diverged: np.ndarray
    step: int
    records: np.ndarray
    seconds: float


# -- the compiled part -----------------------------------------------------------------------------------------------


def _law_kick(model: Dynamics, seed, sim, plan: Plan, step, dtype):
    """scale * sqrt(dt) zeta from the noise law and this step's random words."""
    keys = [random.step_key(seed, Stream.NOISE + i, step) for i in range(model.noise.blocks)]
    blocks = [random.words(key, sim, plan.agents, plan.dims) for key in keys]

    def kick(x, gradients, rates, dt, scale):
        z = model.noise.variates(blocks, dtype, model.batch)
        return model.noise_force(z, x, gradients, rates, scale * jnp.sqrt(dt))

    return kick


def _given_kick(model: Dynamics, dw):
    """scale * B dw from the caller's Brownian increments."""

    def kick(x, gradients, rates, dt, scale):
        return model.brownian_force(dw, x, gradients, rates, scale)

    return kick


def _one_step(plan: Plan, model: Dynamics, state: State, sim, seed, step, dt, period, dw) -> State:
    """One step of the simulation numbered `sim`, with noise from `seed` (two words) or the increments `dw`."""
    mean = ArrayMean(plan.agents)
    kick = _law_kick(model, seed, sim, plan, step, state.x.dtype) if dw is None else _given_kick(model, dw)
    if plan.method == "sgd":
        return sgd_step(model, state, step, period, kick, mean, plan.order)
    return em_step(model, state, step, None if plan.matched else dt, kick, mean, plan.order)


def _view(plan: Plan, model: Dynamics, state: State, step) -> View:
    return View(state, step, model, ArrayMean(plan.agents))


def _advance_lanes(
    plan: Plan,
    model: Dynamics,
    axes: PyTree,
    observables: tuple[AbstractObservable, ...],
    state: State,
    sims: Array,
    seed: Array,
    totals: tuple,
    buffers: tuple,
    dt,
    period,
    increments,
    start,
    first,
    blocks,
    stride,
):
    """`blocks` blocks of `stride` steps of all lanes from step `first`; between blocks, records and epochs.

    blocks and stride may be traced, so that runs of any length share one program; as Python integers they make loops
    that reverse-mode differentiation can follow.
    """
    over = lambda fn, *in_axes: lanes(fn, in_axes, fast=plan.fast)
    accumulators = [i for i, o in enumerate(observables) if isinstance(o, AbstractAccumulator)]
    watching = [i for i in accumulators if observables[i].every_step]  # pyright: ignore[reportAttributeAccessIssue]
    series = [o for o in observables if isinstance(o, AbstractSeries)]

    def update(indices, totals, state, step):
        """`step` is the number of the step just taken, plus one."""
        totals = list(totals)
        for i in indices:
            one = lambda m, total, s, n, o=observables[i]: o.update(total, _view(plan, m, s, n))
            totals[i] = over(one, axes, -1, -1, None)(model, totals[i], state, step)
        return tuple(totals)

    # Agents 2i and 2i + 1 share a block of random words. XLA's fused loops have one result, and one complex number
    # holds two agents: so both words of a block are used, and the state is one array in one kernel.
    paired = plan.fast and plan.dims == 1 and plan.agents % 2 == 0 and not watching and increments is None
    paired = paired and model.noise.blocks > 0 and state.x.dtype == jnp.float32
    pack = _packed if paired else lambda state: state
    unpack = _unpacked if paired else lambda state: state

    def step_body(step, carry):
        state, totals = carry
        dw = None if increments is None else lax.dynamic_index_in_dim(increments, step - first, keepdims=False)
        one = functools.partial(_one_step, plan)
        if paired:
            state = jax.tree.map(lambda a: _halves(a) if jnp.iscomplexobj(a) else a, state)
        state = over(one, axes, -1, -1, None, None, None, None, -1)(model, state, sims, seed, step, dt, period, dw)
        if paired:
            state = jax.tree.map(_complex, state, is_leaf=lambda a: isinstance(a, Halves))
        return state, update(watching, totals, state, step + 1)

    def renew(state):
        def one(model, s):
            return s._replace(shared=model.coupling.renew(s.x, s.shared, s.t, model.losses(s.x)))

        return over(one, axes, -1)(model, state)

    def record(step, state, totals, buffers):
        totals = update([i for i in accumulators if i not in watching], totals, state, step)
        place = (step - start) // plan.every
        values = [
            over(lambda m, s, n, o=o: o.value(_view(plan, m, s, n)), axes, -1, None)(model, state, step) for o in series
        ]
        write = lambda buffer, value: lax.dynamic_update_index_in_dim(buffer, value, place, 0)
        return totals, tuple(map(write, buffers, values))

    def block_body(block, carry):
        state, totals, buffers = carry
        begin = jnp.asarray(first + block * stride, jnp.int32)
        if plan.epoch is not None:
            state = lax.cond(begin % plan.epoch == 0, renew, lambda s: s, state)
        # From 0, because loops whose ends are traced cannot be differentiated in reverse mode.
        steps = (0, stride, lambda i, carry: step_body(begin + jnp.asarray(i, jnp.int32), carry))
        state, totals = lax.fori_loop(*steps, (pack(state), totals))
        state = unpack(state)
        if plan.every is not None:
            end = begin + stride
            due = (end - start) % plan.every == 0
            totals, buffers = lax.cond(
                due, lambda s, t, b: record(end, s, t, b), lambda s, t, b: (t, b), state, totals, buffers
            )
        return state, totals, buffers

    return lax.fori_loop(0, blocks, block_body, (state, totals, buffers))


def _halves(z: Array) -> Halves:
    return Halves(z.real[:, None], z.imag[:, None])


def _complex(a):
    """Halves of shape (pairs, 1, lanes) as complex numbers (pairs, lanes); anything else as it is."""
    return lax.complex(a.even[:, 0], a.odd[:, 0]) if isinstance(a, Halves) else a


def _packed(state: State) -> State:
    """Positions and velocities as one complex number a pair of agents."""
    pack = lambda a: None if a is None else _complex(Halves.split(a))
    return state._replace(x=pack(state.x), v=pack(state.v))


def _unpacked(state: State) -> State:
    unpack = lambda a: None if a is None else _halves(a).merged()
    return state._replace(x=unpack(state.x), v=unpack(state.v))


@functools.cache
def _compiled() -> Callable:
    """`_advance_lanes` compiled for this machine: with the widest vectors it has, which XLA does not use by itself."""
    options = {}
    if jax.default_backend() == "cpu" and _has_avx512():
        options["compiler_options"] = {"xla_cpu_prefer_vector_width": 512}
    return eqx.filter_jit(_advance_lanes, **options)


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo") as lines:
            return any("avx512f" in line for line in lines if line.startswith("flags"))
    except OSError:
        return False


@eqx.filter_jit
def _finite(state: State) -> Array:
    """Which lanes are finite."""
    leaves = [a for a in (state.x, state.v) if a is not None]
    return functools.reduce(jnp.logical_and, [jnp.isfinite(a).all(axis=(0, 1)) for a in leaves])


# -- the run ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Run:
    """What all blocks of lanes of a run have in common."""

    plan: Plan
    axes: PyTree
    observables: tuple[AbstractObservable, ...]
    dt: Array | None
    period: int
    first: int
    steps: int
    seed: Array
    traced: bool
    done: Callable[[int], Any]  # told how many steps of how many lanes have been taken
    stop: threading.Event


def run_lanes(
    plan: Plan,
    model: Dynamics,
    axes: PyTree,
    state: State,
    sims: Array,
    seed: Array,
    *,
    first: int,
    steps: int,
    observables: Sequence[AbstractObservable] = (),
    dt: Array | None = None,
    period: int = 1,
    increments: Callable[[int, int], Array] | None = None,
    progress: bool = False,
    label: str = "simulate",
) -> Lanes:
    """Run lanes for `steps` steps from step number `first`.

    axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
    sims: the simulation number of each lane, which with `seed` decides its noise.
    increments: (a, b) -> Brownian increments of steps a to b of this run, (b - a, agents, dims, lanes).
    """
    began = time.perf_counter()
    traced = is_traced((eqx.filter(model, eqx.is_array), state, seed)) or _inside_a_trace()
    plan = dataclasses.replace(plan, start=first if plan.epoch else 0)
    count = sims.shape[0]
    workers = 1 if traced or jax.default_backend() != "cpu" else len(os.sched_getaffinity(0))
    blocks = [(0, count)] if traced or jax.default_backend() != "cpu" else _blocks(count, state, workers)
    stop = threading.Event()
    bar = tqdm(total=steps * count, desc=label, unit="step", unit_scale=True, delay=2.0, disable=not progress)
    with bar:
        run = _Run(plan, axes, tuple(observables), dt, period, first, steps, seed, traced, bar.update, stop)

        def block(a: int, b: int) -> Lanes:
            if blocks == [(0, count)]:
                return _run_block(run, model, state, sims, increments)
            # Beyond the last lane, that lane again, so that whole vectors are at work.
            part = lambda leaf: leaf[..., a:b] if b <= count else leaf[..., np.minimum(np.arange(a, b), count - 1)]
            mine = jax.tree.map(lambda axis, leaf: leaf if axis is None else part(leaf), axes, model, is_leaf=_is_none)
            given = None if increments is None else lambda i, j: part(increments(i, j))
            return _run_block(run, mine, jax.tree.map(part, state), part(sims), given)

        parts = [block(a, b) for a, b in blocks] if workers == 1 else _in_threads(block, blocks, workers, stop)
    return dataclasses.replace(_joined(parts, count), seconds=time.perf_counter() - began)


def _is_none(leaf) -> bool:
    return leaf is None


def _inside_a_trace() -> bool:
    """Whether an outer jit, scan or grad is tracing: there, our own compiler options would be refused."""
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def _blocks(count: int, state: State, workers: int) -> list[tuple[int, int]]:
    """Blocks of lanes, (first, end): whole vectors, within the cache, and as many for each worker.

    The last one may end beyond the lanes there are; fewer lanes than a vector are one block as they are.
    """
    if count < WIDTH:
        return [(0, count)]
    one = 2 * sum(leaf.nbytes for leaf in (state.x, state.v) if leaf is not None) / count  # before and after a step
    vectors = math.ceil(count / WIDTH)
    blocks = min(math.ceil(vectors / LEAST), math.ceil(count * one / CACHE_BYTES))
    if count * one > THREAD_BYTES:
        blocks = min(vectors, math.ceil(blocks / workers) * workers)
    edges = [WIDTH * (vectors * i // blocks) for i in range(blocks + 1)]
    return list(zip(edges, edges[1:], strict=False))


# What a user may have set for a stretch of code, which JAX keeps for each thread.
_THREAD_LOCAL = ("enable_x64", "numpy_dtype_promotion", "numpy_rank_promotion", "default_device", "debug_nans")


def _in_threads(block, blocks, workers: int, stop: threading.Event) -> list[Lanes]:
    """All blocks, one thread a core; XLA releases Python's lock while it computes."""
    settings = {name: getattr(jax.config, f"jax_{name}") for name in _THREAD_LOCAL}

    def as_here(a: int, b: int) -> Lanes:
        with contextlib.ExitStack() as stack:
            for name, value in settings.items():
                stack.enter_context(getattr(jax, name)(value))
            return block(a, b)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(as_here, a, b) for a, b in blocks]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C too: let every thread finish its chunk, and no more
            stop.set()
            for future in futures:
                future.cancel()
            raise


def _joined(parts: list[Lanes], count: int) -> Lanes:
    if len(parts) == 1 and parts[0].diverged.size == count:
        return parts[0]
    join = lambda *leaves: jnp.concatenate(leaves, axis=-1)[..., :count]
    return dataclasses.replace(
        parts[0],
        state=jax.tree.map(join, *(p.state for p in parts)),
        observed={name: join(*(p.observed[name] for p in parts)) for name in parts[0].observed},
        diverged=np.concatenate([p.diverged for p in parts])[:count],
    )


def _run_block(run: _Run, model: Dynamics, state: State, sims: Array, increments) -> Lanes:
    """All steps of a block of lanes, in chunks, watching for divergence."""
    plan, axes, observables, first = run.plan, run.axes, run.observables, run.first
    advance = _advance_lanes if run.traced else _compiled()
    totals, buffers, records = _empty(run, model, state)
    diverged = np.full(sims.shape, -1)
    number = (lambda n: n) if run.traced else (lambda n: jnp.asarray(n, jnp.int32))
    end, now = first + run.steps, first
    target = run.steps if run.traced and increments is None else max(1, FIRST_CHUNK // state.x.size)
    warm = False
    while now < end:
        if run.stop.is_set():
            raise KeyboardInterrupt
        blocks, stride = _chunk(target, end - now, plan.stride)
        count = blocks * stride
        given = None if increments is None else increments(now - first, now - first + count)
        steps = (number(run.period), given, number(first), number(now), number(blocks), number(stride))
        clock = time.perf_counter()
        new = advance(plan, model, axes, observables, state, sims, run.seed, totals, buffers, run.dt, *steps)
        if not run.traced:
            fresh = ~np.asarray(_finite(new[0])) & (diverged < 0)
            if fresh.any():
                diverged[fresh] = _date_divergence(run, model, state, sims, steps)[fresh]
            spent = time.perf_counter() - clock
            if warm or spent < CHUNK_SECONDS:  # a first call that compiled says nothing of the speed
                target = int(np.clip(count * CHUNK_SECONDS / max(spent, 1e-4), target / 2, 8 * target)) or 1
            warm = True
        state, totals, buffers = new
        now += count
        run.done(count * sims.shape[0])
    observed, names = _finished(observables, totals, buffers)
    return Lanes(state, observed, names, diverged, end, records, 0.0)


def _chunk(target: int, left: int, stride: int | None) -> tuple[int, int]:
    """Blocks and steps a block of the next chunk: about `target` steps of the `left`, in whole strides if there are."""
    if stride is None:
        return 1, min(target, left)
    if stride > left:
        return 1, left
    return max(1, min(target, left) // stride), stride


def _empty(run: _Run, model: Dynamics, state: State):
    """Accumulators at zero, and series' buffers that hold the initial state, (records, ..., lanes)."""
    every = run.plan.every
    records = np.zeros(0, int) if every is None else run.first + np.arange(1 + run.steps // every) * every
    step = jnp.asarray(run.first, jnp.int32)

    def over(fn):
        return lanes(lambda m, s: fn(_view(run.plan, m, s, step)), (run.axes, -1), fast=run.plan.fast)(model, state)

    totals = tuple(over(o.init) if isinstance(o, AbstractAccumulator) else () for o in run.observables)
    values = [over(o.value) for o in run.observables if isinstance(o, AbstractSeries)]
    return totals, tuple(jnp.zeros((records.size, *v.shape), v.dtype).at[0].set(v) for v in values), records


def _finished(observables, totals, buffers) -> tuple[dict[str, Array], dict[str, tuple[str, ...]]]:
    """What was observed and the names of its axes, by name."""
    observed: dict[str, Array] = {}
    names: dict[str, tuple[str, ...]] = {}
    series = [o for o in observables if isinstance(o, AbstractSeries)]
    for o, buffer in zip(series, buffers, strict=True):
        observed[o.name], names[o.name] = buffer, ("step", *o.axes)
    for o, total in zip(observables, totals, strict=True):
        if isinstance(o, AbstractAccumulator):
            for key, value in jax.vmap(o.finish, in_axes=-1, out_axes=-1)(total).items():
                observed[f"{o.name}_{key}"], names[f"{o.name}_{key}"] = value, tuple(o.axes[key])
    return observed, names


def _date_divergence(run: _Run, model: Dynamics, state: State, sims, steps) -> np.ndarray:
    """The first non-finite step of each lane within a chunk, found by running the chunk again and looking each step."""
    plan = dataclasses.replace(run.plan, every=None)
    watch = (FirstNonFinite(),)
    totals = (jnp.full(state.x.shape[-1], -1, jnp.int32),)
    _, (first_bad,), _ = _compiled()(plan, model, run.axes, watch, state, sims, run.seed, totals, (), run.dt, *steps)
    return np.asarray(first_bad)
