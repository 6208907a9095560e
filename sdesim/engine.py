"""The engine: all lanes of a run, advanced in compiled chunks.

Around the compiled loop of `advance.py`, `run_lanes` cuts the work into blocks of lanes that stay in a core's cache,
one thread a core, and each block's steps into chunks, between which it looks at progress, divergence and Ctrl-C. None
of the cuts changes a result: noise depends on the lane alone.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from tqdm import tqdm  # the plain bar: tqdm.auto warns in notebooks without ipywidgets

from sdesim import kernel
from sdesim.advance import Plan, advance_lanes, view_of
from sdesim.dynamics import Dynamics, State
from sdesim.fields import form, is_traced
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries, FirstNonFinite
from sdesim.vectorize import lanes

CHUNK_SECONDS = 0.4  # work between two looks at progress, divergence and Ctrl-C
FIRST_CHUNK = 20_000_000  # agent-steps of the first chunk, before the speed is known: 0.02 to 0.4 s
CACHE_BYTES = 1024 * 1024  # of a core, for the state of a block before and after a step
THREAD_BYTES = 64 * 1024  # of state, below which a second thread costs more than it gives
WIDTH = 16  # lanes in a vector register, at the most
LEAST = 2  # vectors in a block, if there are that many: shorter rows cost more than the cache saves


class EngineWarning(UserWarning):
    """A run is right and slower than it could be."""


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


@functools.cache
def _compiled() -> Callable:
    """`advance_lanes` compiled for this machine: with the widest vectors it has, which XLA does not use by itself."""
    options = {}
    if jax.default_backend() == "cpu" and _has_avx512():
        options["compiler_options"] = {"xla_cpu_prefer_vector_width": 512}
    return eqx.filter_jit(advance_lanes, **options)


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
    program: Any  # the key of the GPU kernel's program
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
    given = None if increments is None else increments(0, 0)
    traced = is_traced((eqx.filter(model, eqx.is_array), state, seed, dt, given)) or _inside_a_trace()
    plan = dataclasses.replace(plan, start=math.gcd(first, plan.epoch) if plan.epoch else 0)
    program = None
    if not traced:
        choice, program = _kernel_for(plan, model, axes, observables, increments, state.x.dtype)
        plan = dataclasses.replace(plan, kernel=choice.backend)
    count = sims.shape[0]
    workers = 1 if traced or jax.default_backend() != "cpu" else _cores()
    blocks = [(0, count)] if traced or jax.default_backend() != "cpu" else _blocks(count, state, workers)
    stop = threading.Event()
    bar = tqdm(total=steps * count, desc=label, unit="step", unit_scale=True, delay=2.0, disable=not progress)
    with bar:
        run = _Run(plan, axes, tuple(observables), dt, period, first, steps, seed, traced, program, bar.update, stop)

        def block(a: int, b: int) -> Lanes:
            if blocks == [(0, count)]:
                return _run_block(run, model, state, sims, increments)
            # Beyond the last lane, that lane again, so that whole vectors are at work.
            part = functools.partial(_lanes_at, lanes=np.minimum(np.arange(a, b), count - 1))
            kept, swept = eqx.partition(model, jax.tree.map(_is_none, axes, is_leaf=_is_none))
            given = None if increments is None else _composed(part, increments)
            return _run_block(run, eqx.combine(kept, part(swept)), part(state), part(sims), given)

        parts = [block(a, b) for a, b in blocks] if workers == 1 else _in_threads(block, blocks, workers, stop)
    return dataclasses.replace(_joined(parts, count), seconds=time.perf_counter() - began)


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, EngineWarning, stacklevel=5)


_KERNELS: dict[Any, kernel.Choice] = {}  # by program: half a second to find, and what this machine made of it
_CONFIRMED: set[Any] = set()  # programs and numbers of lanes for which the kernel did what the scan does


def _kernel_for(plan: Plan, model: Dynamics, axes: PyTree, observables, increments, dtype) -> tuple[kernel.Choice, Any]:
    """The backend of the GPU kernel that can take a run, and a key of the program; on a GPU, a word where none can."""
    swept = tuple(jax.tree.leaves(axes, is_leaf=_is_none))
    program = (plan, form(model), swept, tuple(o.name for o in observables), increments is None, dtype)
    if jax.default_backend() != "gpu":
        return kernel.Choice(None, "no GPU"), program
    if program not in _KERNELS:
        _KERNELS[program] = kernel.backend_for(plan, model, axes, tuple(observables), increments, dtype)
        if _KERNELS[program].backend is None:
            _warn_once(f"the GPU kernel cannot take this run, which goes on as a scan: {_KERNELS[program].reason}")
    return _KERNELS[program], program


def _confirm_kernel(run: _Run, plan: Plan, model: Dynamics, state: State, sims: Array, totals, buffers) -> None:
    """Compare the kernel with the scan, in a program's first run on this machine.

    Raises:
        kernel.Disagreement: if they differ.
    """
    if (run.program, sims.shape[0]) in _CONFIRMED:
        return
    few = kernel.lanes_to_compare(sims.shape[0])
    kept, swept = eqx.partition(model, jax.tree.map(_is_none, run.axes, is_leaf=_is_none))
    swept, few_sims = _lanes_at((swept, sims), lanes=few)
    scan_plan = dataclasses.replace(plan, kernel=None, every=None)

    def steps(plan, model, observables, state, sims, totals, buffers, *numbers):
        period, first, *rest = (jnp.asarray(n, jnp.int32) for n in (run.period, run.first, *numbers))
        arguments = (state, sims, run.seed, totals, buffers, run.dt, period, None, first, *rest)
        return _compiled()(plan, model, run.axes, observables, *arguments)[0]

    kernel.confirm(
        lambda state, *numbers: steps(plan, model, run.observables, state, sims, totals, buffers, *numbers),
        lambda state, step: steps(scan_plan, eqx.combine(kept, swept), (), state, few_sims, (), (), step, 1, 1),
        state,
        run.first,
        plan.stride,
        few,
    )
    _CONFIRMED.add((run.program, sims.shape[0]))


def _composed(outer, inner):
    return lambda *args: outer(inner(*args))


@jax.jit
def _lanes_at(tree: PyTree, lanes: np.ndarray) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[..., lanes], tree)


def _is_none(leaf) -> bool:
    return leaf is None


def _cores() -> int:
    """Cores that this process may use; not every system keeps a set of them for each process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _inside_a_trace() -> bool:
    """Whether an outer jit, scan or grad is tracing: there, our own compiler options would be refused."""
    return is_traced(jnp.zeros(()))


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
    size = WIDTH * math.ceil(vectors / blocks)  # one for all: another size would be another program to compile
    return [(first, first + size) for first in range(0, count, size)]


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
    advance = advance_lanes if run.traced else _compiled()
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
        before = (model, axes, observables, state, sims, run.seed, totals, buffers, run.dt, *steps)
        try:
            if plan.kernel is not None and now == first:
                _confirm_kernel(run, plan, model, state, sims, totals, buffers)
            new = advance(plan, *before)
        except Exception as error:
            if plan.kernel is None:
                raise
            why = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            _KERNELS[run.program] = kernel.Choice(None, why)
            _warn_once(f"the GPU kernel failed, and the run goes on as a scan: {why}")
            plan = dataclasses.replace(plan, kernel=None)
            new = advance(plan, *before)
        if not run.traced:
            fresh = ~np.asarray(_finite(new[0])) & (diverged < 0)
            if fresh.any():
                dated = _date_divergence(run, model, state, sims, steps)
                # Rounding may differ between the two programs: what the second one spared diverged by the chunk's end.
                diverged[fresh] = np.where(dated < 0, now + count, dated)[fresh]
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
        return lanes(lambda m, s: fn(view_of(run.plan, m, s, step)), (run.axes, -1), fast=run.plan.fast)(model, state)

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
    plan = dataclasses.replace(run.plan, every=None, kernel=None)
    watch = (FirstNonFinite(),)
    totals = (jnp.full(state.x.shape[-1], -1, jnp.int32),)
    _, (first_bad,), _ = _compiled()(plan, model, run.axes, watch, state, sims, run.seed, totals, (), run.dt, *steps)
    return np.asarray(first_bad)
