"""The engine: all lanes of a run, advanced in compiled chunks.

Around the compiled loop of `loop.py`, `run_lanes` shares the blocks of lanes out to one thread a core, and cuts
their steps into chunks, between which it looks at progress, divergence and Ctrl-C. None of the cuts changes a result:
noise depends on the lane alone, and so does rounding (`blocks.py`).
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial as _partial
from jaxtyping import Array, PyTree

from sdesim.cores import cores
from sdesim.dynamics import Dynamics, State
from sdesim.engine import blocks, gpu
from sdesim.engine.blocks import Blocks
from sdesim.engine.loop import advance_lanes
from sdesim.engine.path import Path, compiler_options, first_chunk, inside_a_trace, layout_of
from sdesim.engine.plan import Plan, view_of
from sdesim.engine.programs import compiled
from sdesim.engine.vectorize import NOTES, lanes
from sdesim.fields import form, said_by
from sdesim.observe import AbstractAccumulator, AbstractObservable, AbstractSeries, FirstNonFinite, View
from sdesim.progress import bar
from sdesim.random import Seed
from sdesim.steppers import AbstractStepper
from sdesim.threads import as_here
from sdesim.tracing import products_in_float32

CHUNK_SECONDS = 0.4  # work between two looks at progress, divergence and Ctrl-C
GIVEN = 1 << 20  # lanes times steps of what the host hands over at a time
THREAD_BYTES = 32 * 1024  # of state, below which a second thread costs more than it gives


Given = Callable[[np.ndarray], Callable[[int, int], PyTree]]
"""Of some lanes, by their numbers, (lanes,): (a, b) -> what the host hands to the steps a to b of the run by the names
of `step`'s arguments, leaves (b - a, ..., lanes). Each is asked for its steps in their order."""


@dataclasses.dataclass
class Lanes:
    """The outcome of a run, lanes on the last axis of every array.

    Attributes:
        observed: by name, (..., lanes).
        axes: by the same names, the names of the axes before the last.
        diverged: each lane's first non-finite step, or -1, (lanes,).
        step: the number of the next step.
        records: the steps after which series were recorded, (records,).
        seconds: that the run took.
        path: by which program, and why.
        whole: all of them at the end, as they were computed.
        began: initial positions, a leaf a thread.
        needed: how many of each thread's blocks are.
        lane_axes: of the model's leaves.
    """

    observed: dict[str, Array]
    axes: dict[str, tuple[str, ...]]
    diverged: Any
    step: int
    records: np.ndarray
    seconds: float
    path: Path
    whole: "_Group"
    began: tuple[Array, ...]
    needed: tuple[int | None, ...]
    lane_axes: PyTree

    @functools.cached_property
    def state(self) -> State:
        """At the end, leaves (..., lanes)."""
        return self._in_a_row(self.whole.state)

    @property
    def places(self) -> Array:
        """Where agents began, (agents, dims, lanes)."""
        return self._in_a_row(blocks.needed_first(self.needed, *self.began))

    def _in_a_row(self, tree: PyTree) -> PyTree:
        return tree if self.path.layout is None else self.path.layout.join(tree)

    def sims_first(self, fn: Callable[..., Any]) -> PyTree:
        """fn of each lane at the end, computed as the lanes were.

        Args:
            fn: of (model, axes, state), with lanes on the last axis; a `jax.tree_util.Partial` of a module's function.

        Returns:
            What fn returns, leaves (lanes, ...), arrays of JAX.
        """
        found, layout = self.whole.each(fn, self.lane_axes, self.whole.state), self.path.layout
        return blocks.sims_first(found if layout is None else layout.rows(found))


@functools.cache
def _compiled(fused: bool, in_one_thread: bool) -> Callable:
    """`_advance` for this machine, by options that XLA does not take by itself.

    fused: whether by the GPU kernel.
    in_one_thread: whether each operation is computed by the thread that calls.
    """
    advance: Callable = _advance_on_a_gpu if jax.default_backend() == "gpu" else _advance
    options: dict[str, Any] = {"compiler_options": given} if (given := compiler_options(fused, in_one_thread)) else {}
    return compiled(advance, **options)


def _advance_on_a_gpu(*arguments: Any):
    with products_in_float32():
        return _advance(*arguments)


# -- what one thread advances ----------------------------------------------------------------------------------------


class _Group(NamedTuple):
    """Lanes that one thread advances.

    Attributes:
        needed: how many blocks of them, on the first axis of every leaf, are computed, the first ones; None for all
            lanes in one program.
        first: number of the first lane.
        kept: the model's leaves that are the same for all lanes.
        swept: those that are not.
        state: of the lanes; before they begin, what it is made of.
        sims: the simulation number of each lane.
        given: (a, b) -> what the host hands to the steps a to b of the run, leaves (b - a, ..., lanes); or None.
    """

    needed: int | None
    first: int
    kept: Dynamics
    swept: Dynamics
    state: Any
    sims: Array
    given: Callable[[int, int], PyTree] | None

    def each(self, fn: Callable[..., Any], axes: PyTree, *lanes: PyTree) -> PyTree:
        """fn(model, axes, *lanes) of every block, compiled."""
        if self.needed is None:
            same = not jax.tree.leaves(self.swept)
            return blocks.at_once(fn, self.kept if same else eqx.combine(self.kept, self.swept), axes, lanes)
        return blocks.each_block(fn, self.kept, axes, (self.swept, lanes), self.needed)

    def at(self, tree: PyTree, lanes: np.ndarray) -> PyTree:
        """Some of the lanes, on the last axis; copied, since a run holds no state twice for long."""
        row = np.asarray if self.needed is None else blocks.in_a_row
        return jax.tree.map(lambda leaf: row(leaf)[..., lanes], tree)


def _groups(
    layout: Blocks | None,
    model: Dynamics,
    axes: PyTree,
    state: PyTree,
    sims: Array,
    given: Given | None,
    workers: int,
) -> list[_Group]:
    """The lanes of a run, shared out to the workers."""
    swept, kept = blocks.swept_and_kept(model, axes)
    if layout is None:
        handed = None if given is None else given(np.arange(sims.shape[0]))
        return [_Group(None, 0, kept, swept, state, sims, handed)]
    room, needed = layout.shared_by(workers)
    each = room.number // workers
    parts = (room if workers == 1 else layout).split((swept, state, sims))
    groups, first = [], 0
    for n in filter(None, needed):
        # Beyond those that are needed, those of others, so that lanes stay neighbors; beyond the last one, that again.
        mine = np.minimum(first + np.arange(each), layout.needed - 1)
        some = parts if workers == 1 else jax.tree.map(lambda leaf, mine=mine: leaf[mine], parts)
        own, begin, numbers = jax.device_put(some)
        handed = None if given is None else _part_of(given, layout, mine)
        groups.append(_Group(n, first * layout.width, kept, own, begin, numbers, handed))
        first += n
    return groups


def _part_of(given: Given, layout: Blocks, blocks: np.ndarray) -> Callable[[int, int], PyTree]:
    """What the host hands to some blocks."""
    lanes = (blocks[:, None] * layout.width + np.arange(layout.width)).ravel()
    part = Blocks(lanes.size, layout.width, blocks.size)
    read = given(np.minimum(lanes, layout.count - 1))
    return lambda a, b: part.split(read(a, b))


def _advance(
    plan: Plan,
    stepper: AbstractStepper,
    axes: PyTree,
    observables: tuple[AbstractObservable, ...],
    needed: Array | np.int32 | int | None,
    kept: Dynamics,
    swept: Dynamics,
    sims: Array,
    seed: Seed,
    given: PyTree,
    state: State,
    totals: tuple,
    buffers: tuple,
    steps: tuple,
) -> tuple:
    """`advance_lanes` of a group's blocks, one after another, and which lanes are finite after it."""

    def advance(swept: Dynamics, sims: Array, given: PyTree, state: State, totals: tuple, buffers: tuple):
        model = eqx.combine(kept, swept)
        new = advance_lanes(plan, stepper, model, axes, observables, state, sims, seed, totals, buffers, given, *steps)
        return (*new, _finite(new[0]))

    if needed is None:
        return advance(swept, sims, given, state, totals, buffers)

    def one(block: Array, carry: tuple):
        *before, _ = carry
        return blocks.put_block(carry, advance(*blocks.of_block((swept, sims, given, *before), block)), block)

    return lax.fori_loop(0, needed, one, (state, totals, buffers, jnp.ones(sims.shape, bool)))


def _finite(state: State) -> Array:
    """Which lanes are finite."""
    leaves = [a for a in (state.x, state.v) if a is not None]
    return functools.reduce(jnp.logical_and, [jnp.isfinite(a).all(axis=(0, 1)) for a in leaves])


# -- the run ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Run:
    """What all lanes of a run have in common."""

    plan: Plan
    stepper: AbstractStepper
    axes: PyTree
    observables: tuple[AbstractObservable, ...]
    first: int
    steps: int
    seed: Seed
    path: Path
    in_one_thread: bool  # each operation
    done: Callable[[int], Any]  # told how many steps of how many lanes have been taken
    stop: threading.Event


class _Lost(NamedTuple):
    """Lanes that became non-finite within a chunk: their numbers, their state at its start, and its steps."""

    lanes: np.ndarray
    state: State
    given: PyTree
    now: int
    turns: int
    stride: int


class _Ended(NamedTuple):
    """A group at the end of its steps, and how many of its blocks are needed."""

    needed: int | None
    state: State
    totals: tuple
    buffers: tuple
    lost: list[_Lost]
    path: Path


def room(plan: Plan, lanes: int, exact: bool) -> tuple[int, int]:
    """For how many lanes a run holds their state, and how many it computes at a time.

    Args:
        plan: for the sizes of one simulation.
        lanes: of the run.
        exact: whether a lane's bits must depend on nothing but itself.

    Returns:
        Both numbers, the second at the most.
    """
    layout = None if inside_a_trace() else layout_of(plan, lanes, exact)
    if layout is None:
        return lanes, lanes
    workers = min(len(cores()), layout.needed)
    return layout.shared_by(workers)[0].number * layout.width, layout.width * workers


def run_lanes(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    state: PyTree,
    sims: Array,
    seed: Seed,
    *,
    first: int,
    steps: int,
    path: Path,
    begin: Sequence[Callable[..., PyTree]] = (),
    observables: Sequence[AbstractObservable] = (),
    given: Given | None = None,
    progress: bool = False,
    label: str = "simulate",
) -> Lanes:
    """Run lanes for `steps` steps from step number `first`.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
        state: of all lanes before the first step, leaves (..., lanes); or what `begin` makes it of.
        sims: the simulation number of each lane, uint32 (lanes,), which with `seed` decides its noise.
        seed: its words, and their generator.
        first: the first step's number.
        steps: how many.
        path: from `choose`.
        begin: functions of (model, axes, sims, state), one after another, each compiled in the lanes' blocks, to the
            state of lanes that start; none where they go on.
        observables: what is watched; nothing by default.
        given: what the host hands to the lanes; None for nothing.
        progress: whether a bar is shown.
        label: before the bar.

    Returns:
        The outcome; a lane that diverges is no error here.
    """
    began = time.perf_counter()
    plan, layout = path.of(plan), path.layout
    count = sims.shape[0]
    workers = 1
    number = plan.agents * plan.dims * count * (1 if model.momentum is None else 2)
    if layout is not None and number * (jnp.result_type(float) if begin else state.x.dtype).itemsize > THREAD_BYTES:
        workers = min(len(cores()), layout.needed)
    groups = _groups(layout, model, axes, state, sims, given, workers)
    for fn in begin:
        groups = [group._replace(state=group.each(fn, axes, group.sims, group.state)) for group in groups]
    places = tuple(group.state.x for group in groups)
    key = (plan, form((stepper, model, tuple(observables))), layout is None, path.traced)
    with bar(steps * count, f"{label} ({path})", progress) as told, _noting(key):
        stop = threading.Event()
        alone = path.in_one_thread(plan, count)
        run = _Run(plan, stepper, axes, tuple(observables), first, steps, seed, path, alone, told.update, stop)
        ends = _in_threads(run, groups, count) if len(groups) > 1 else [_run_group(run, groups[0], count)]
        whole = _together(groups, ends)
        observed, names = _observed(run, whole, ends)
    return Lanes(
        observed=observed if layout is None or not observed else layout.join(observed),
        axes=names,
        diverged=_dated(run, model, sims, [lost for end in ends for lost in end.lost]),
        step=first + steps,
        records=_records(run),
        seconds=time.perf_counter() - began,
        path=ends[0].path.because(_NOTES.get(key, ())),
        whole=whole,
        began=places,
        needed=tuple(end.needed for end in ends),
        lane_axes=axes,
    )


_NOTES: dict[Any, tuple[str, ...]] = {}  # why programs went through jax.vmap, which is known when they are traced alone


@contextlib.contextmanager
def _noting(key: Any) -> Iterator[None]:
    """Within it, keep why programs go through jax.vmap by the run's key."""
    token = NOTES.set(notes := [])
    try:
        yield
    finally:
        NOTES.reset(token)
        if notes:
            _NOTES[key] = tuple(notes)


_CONFIRMED: set[Any] = set()  # programs and numbers of lanes for which the kernel did what the scan does


def _confirm_kernel(run: _Run, plan: Plan, group: _Group, totals: tuple, buffers: tuple) -> None:
    """Compare the kernel with the scan, in a program's first run on this machine.

    Raises:
        gpu.Disagreement: if they differ.
    """
    count = group.sims.shape[0]
    program = (run.path.program, run.seed.generator, count)
    if program in _CONFIRMED:
        return
    few = gpu.lanes_to_compare(count)
    some = group._replace(**dict(zip(("swept", "sims"), _lanes_at((group.swept, group.sims), few), strict=True)))
    scan = dataclasses.replace(plan, kernel=None, every=None)

    def steps(
        plan: Plan,
        group: _Group,
        observables: tuple[AbstractObservable, ...],
        state: State,
        totals: tuple,
        buffers: tuple,
        *numbers: Any,
    ):
        numbers = tuple(jnp.asarray(n, jnp.int32) for n in (run.first, *numbers))
        lanes = (None, group.kept, group.swept, group.sims, run.seed, None, state, totals, buffers)
        return _compiled(plan.kernel is not None, run.in_one_thread)(
            plan, run.stepper, run.axes, observables, *lanes, numbers
        )[0]

    gpu.confirm(
        lambda state, *numbers: steps(plan, group, run.observables, state, totals, buffers, *numbers),
        lambda state, step: steps(scan, some, (), state, (), (), step, 1, 1),
        group.state,
        run.first,
        plan.stride,
        few,
    )
    _CONFIRMED.add(program)


def _in_threads(run: _Run, groups: list[_Group], count: int) -> list[_Ended]:
    """All groups, one thread a core; XLA releases Python's lock while it computes."""
    # XLA's compiler is not safe in several threads at once: no steps of one group compile what all groups run.
    _run_group(run, groups[0], count, compile=True)
    each: Callable[[_Group], _Ended] = as_here(lambda group: _run_group(run, group, count))
    with concurrent.futures.ThreadPoolExecutor(len(groups)) as pool:
        futures = [pool.submit(each, group) for group in groups]
        try:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C too: let every thread finish its chunk, and no more
            run.stop.set()
            for future in futures:
                future.cancel()
            raise


def _together(groups: list[_Group], ends: list[_Ended]) -> _Group:
    """All blocks of all groups as one group, at the end."""
    if len(groups) == 1:
        return groups[0]._replace(state=ends[0].state)
    each = ([e.state for e in ends], [g.swept for g in groups])
    state, swept = (_joined(ends, trees) for trees in each)
    return groups[0]._replace(needed=sum(g.needed or 0 for g in groups), swept=swept, state=state)


def _run_group(run: _Run, group: _Group, count: int, compile: bool = False) -> _Ended:
    """All steps of a group of lanes, in chunks, watching for divergence.

    Args:
        run: what all lanes have in common.
        group: the lanes.
        count: lanes of the run.
        compile: take no steps, and have all programs compiled.
    """
    plan, path, axes, observables, first = run.plan, run.path, run.axes, run.observables, run.first
    advance = _advance if run.path.traced else _compiled(plan.kernel is not None, run.in_one_thread)
    state = group.state
    totals, buffers = (), ()
    if observables:
        watch = _partial(_watch, plan, observables, _records(run).size, run.stepper, jnp.int32(first))
        totals, buffers = group.each(watch, axes, state)
    mine = group.sims.size if group.needed is None else min(group.needed * group.sims.shape[1], count - group.first)
    diverged = np.zeros(group.sims.size, bool)
    diverged[mine:] = True  # copies of the last lane: nobody asks
    lost: list[_Lost] = []
    number = (lambda n: n) if run.path.traced else np.int32
    needed = None if group.needed is None else number(group.needed)
    end, now = first + run.steps, first
    target = run.steps if run.path.traced and group.given is None else max(1, first_chunk() // state.x.size)
    length = None if group.given is None else _room_for_given(plan, run.steps, max(count, group.sims.size))
    steps_axis = 0 if group.needed is None else 1
    warm = False
    while now < end or compile:
        if run.stop.is_set():
            raise KeyboardInterrupt
        turns, stride = (0, 1) if compile else _chunk(min(target, length or target), end - now, plan.stride)
        done = turns * stride
        given = (
            None if group.given is None else _padded(group.given(now - first, now - first + done), length, steps_axis)
        )
        steps = tuple(map(number, (first, now, turns, stride)))
        clock = time.perf_counter()
        before = (run.stepper, axes, observables, needed, group.kept, group.swept, group.sims, run.seed, given)
        try:
            if plan.kernel is not None and now == first:
                _confirm_kernel(run, plan, group, totals, buffers)
            new = advance(plan, *before, state, totals, buffers, steps)
        except Exception as error:
            if plan.kernel is None:
                raise
            path = path.without_kernel(said_by(error))
            plan = path.of(plan)
            new = advance(plan, *before, state, totals, buffers, steps)
        if not run.path.traced:
            fresh = ~np.asarray(new[3]).ravel() & ~diverged
            if fresh.any():
                diverged |= fresh
                held = (group.at(state, fresh), group.at(given, fresh))
                lost.append(_Lost(group.first + np.flatnonzero(fresh), *held, now, turns, stride))
            spent = time.perf_counter() - clock
            if warm or spent < CHUNK_SECONDS:  # a first call that compiled says nothing of the speed
                target = int(np.clip(done * CHUNK_SECONDS / max(spent, 1e-4), target / 2, 8 * target)) or 1
            warm = True
        state, totals, buffers, _ = new
        if compile:
            break
        now += done
        run.done(done * mine)
    return _Ended(group.needed, state, totals, buffers, lost, path)


def _chunk(target: int, left: int, stride: int | None) -> tuple[int, int]:
    """Turns and steps a turn of the next chunk: about `target` steps of the `left`, in whole strides if there are."""
    if stride is None:
        return 1, min(target, left)
    if stride > left:
        return 1, left
    return max(1, min(target, left) // stride), stride


def _room_for_given(plan: Plan, steps: int, lanes: int) -> int:
    """Of how many steps what the host hands to them is on the device: one number for all chunks, so one program."""
    most = max(plan.stride or 1, GIVEN // (lanes * plan.dims))
    return min(1 << max(0, steps - 1).bit_length(), most)  # short runs of many lengths are one program too


def _padded(given: PyTree, length: int | None, axis: int) -> PyTree:
    """What is handed to some steps, in room for `length` of them on an axis."""

    def pad(leaf: Array | np.ndarray):
        missing = max(0, (length or 0) - leaf.shape[axis])
        widths = [(0, missing if i == axis else 0) for i in range(leaf.ndim)]
        return (np if isinstance(leaf, np.ndarray) else jnp).pad(leaf, widths) if missing else leaf

    return jax.tree.map(pad, given)


def _records(run: _Run) -> np.ndarray:
    """The steps of the series' records."""
    every = run.plan.every
    return np.zeros(0, int) if every is None else run.first + np.arange(1 + run.steps // every) * every


def _watch(
    plan: Plan,
    observables: tuple[AbstractObservable, ...],
    records: int,
    stepper: AbstractStepper,
    step: Array,
    model: Dynamics,
    axes: PyTree,
    state: State,
) -> tuple[tuple, tuple]:
    """Accumulators at zero, and series' buffers that hold the initial state, (records, ..., lanes)."""

    def over(fn: Callable[[View], PyTree]):
        return lanes(lambda m, s: fn(view_of(plan, stepper, m, s, step)), (axes, -1), fast=plan.fast)(model, state)

    totals = tuple(over(o.init) if isinstance(o, AbstractAccumulator) else () for o in observables)
    values = [over(o.value) for o in observables if isinstance(o, AbstractSeries)]
    return totals, tuple(jnp.zeros((records, *v.shape), v.dtype).at[0].set(v) for v in values)


def _finish(
    observables: tuple[AbstractObservable, ...], model: Dynamics, axes: PyTree, totals: tuple
) -> list[dict[str, Array]]:
    """What the accumulators have found, by name."""
    finish = lambda o, total: jax.vmap(o.finish, in_axes=-1, out_axes=-1)(total)
    pairs = zip(observables, totals, strict=True)
    return [finish(o, total) for o, total in pairs if isinstance(o, AbstractAccumulator)]


def _joined(ends: list[_Ended], trees: Sequence[PyTree]) -> PyTree:
    """The blocks of all groups, of leaves (blocks, ...) a group, those that are needed in front."""
    return jax.tree.map(functools.partial(blocks.needed_first, [end.needed for end in ends]), *trees)


def _observed(run: _Run, whole: _Group, ends: list[_Ended]) -> tuple[dict[str, Array], dict[str, tuple[str, ...]]]:
    """What was observed and the names of its axes, by name."""
    observed: dict[str, Array] = {}
    names: dict[str, tuple[str, ...]] = {}
    each = ([e.totals for e in ends], [e.buffers for e in ends])
    totals, buffers = (_joined(ends, parts) for parts in each)
    series = [o for o in run.observables if isinstance(o, AbstractSeries)]
    for o, buffer in zip(series, buffers, strict=True):
        observed[o.name], names[o.name] = buffer, ("step", *o.axes)
    accumulators = [o for o in run.observables if isinstance(o, AbstractAccumulator)]
    if accumulators:
        found = whole.each(_partial(_finish, run.observables), run.axes, totals)
        for o, values in zip(accumulators, found, strict=True):
            for key, value in values.items():
                observed[f"{o.name}_{key}"], names[f"{o.name}_{key}"] = value, tuple(o.axes[key])
    return observed, names


def _dated(run: _Run, model: Dynamics, sims: Array, lost: list[_Lost]) -> np.ndarray:
    """The first non-finite step of each lane, -1 for none: the lost ones take their chunk again, looking each step."""
    diverged = np.full(sims.shape, -1)
    if not lost:
        return diverged
    plan = dataclasses.replace(run.plan, every=None, kernel=None, paired=False)
    swept, kept = blocks.swept_and_kept(model, run.axes)
    width = Blocks.of(1, plan.rows, plan.dims, plan.width).width  # one for all, so one program
    for part in lost:
        count = part.turns * part.stride
        numbers = (run.first, part.now, part.turns, part.stride)
        steps = tuple(jnp.asarray(n, jnp.int32) for n in numbers)
        for i in range(0, part.lanes.size, width):
            places = np.minimum(np.arange(i, i + width), part.lanes.size - 1)
            here = part.lanes[places]
            state, given = jax.tree.map(lambda a, at=places: jnp.asarray(a[..., at]), (part.state, part.given))
            totals = (jnp.full(width, -1, jnp.int32),)
            arguments = (*_lanes_at((swept, sims), here), run.seed, given, state, totals, ())
            watch = (FirstNonFinite(),)
            _, (dates,), *_ = _compiled(False, run.in_one_thread)(
                plan, run.stepper, run.axes, watch, None, kept, *arguments, steps
            )
            # Rounding may differ between the two programs: what the second one spared diverged by the chunk's end.
            diverged[here] = np.where(np.asarray(dates) < 0, part.now + count, np.asarray(dates))
    return diverged


@jax.jit
def _lanes_at(tree: PyTree, lanes: np.ndarray) -> PyTree:
    """Some of the lanes of leaves (..., lanes)."""
    return jax.tree.map(lambda leaf: leaf[..., lanes], tree)
