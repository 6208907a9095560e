"""`sweep`: one model over a grid of its numbers, as labeled data with Monte Carlo errors.

Numbers are traced, so a grid over them is one compiled program. Sizes (agents, dims, steps) shape the program, so each
of their values compiles once. Noise depends on (seed, simulation, agent, step, coordinate) alone: all grid points see
the same noise, and comparisons are paired.
"""

import contextlib
import contextvars
import inspect
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import xarray as xr

from sdesim.contents import digest
from sdesim.coupling import Order
from sdesim.dynamics import Dynamics
from sdesim.ensembles.designs import Design
from sdesim.ensembles.durable import Engine, durable_sweep, sketched
from sdesim.ensembles.engines import engine_of
from sdesim.ensembles.identity import difference
from sdesim.ensembles.opening import header_of
from sdesim.ensembles.points import Sweep, combined, on_design, on_grid, product_of, run_points
from sdesim.ensembles.setup import changed, instead
from sdesim.ensembles.simulations import Simulations
from sdesim.ensembles.sweeps import AbstractSweep, Estimate
from sdesim.ensembles.warnings import warn_of_divergence
from sdesim.fields import check_choice, check_count, check_flags, shown, warn
from sdesim.observe import AbstractObservable
from sdesim.random import Generator
from sdesim.results.datasets import describe, dimension, with_errors
from sdesim.results.files import Damaged
from sdesim.results.stores.folder import MANIFEST, Store
from sdesim.steppers import AbstractStepper


def sweep(
    model: Dynamics,
    grid: Mapping[str, Sequence] | Design,
    *,
    steps: int | None = None,
    until: float | str | None = None,
    at: Any = None,
    agents: int | None = None,
    sims: int = 1,
    dims: int | None = None,
    seed: Any = 0,
    random: Generator | None = None,
    init: Any = None,
    velocity: Any = None,
    stepper: AbstractStepper | None = None,
    dt: float | None = None,
    order: Order | None = None,
    epoch: int | None = None,
    observe: AbstractObservable | Sequence[AbstractObservable] = (),
    every: int | None = None,
    increments: Any = None,
    keep_agents: bool = True,
    first_sim: int | None = None,
    memory: int | str | None = None,
    exact: bool | None = None,
    fast: bool = True,
    progress: bool = False,
    store: str | os.PathLike | None = None,
    lanes: int | None = None,
    mix_versions: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    listen: str | None = None,
    most: int | None = None,
) -> xr.Dataset:
    """Simulate a model at every point of a grid; in a store, so that nothing is lost, if one is named.

    Args:
        model: the dynamics.
        grid: values by name: any number of the model by its dotted name ("coupling.k", "eta", "noise.half_width"); of
            the stepper ("stepper.protocol.period", "stepper.compute.mean"); of a law of where agents start
            ("init.low"); and "agents", "dims", "steps", "dt", "epoch" and "until". Numbers of the model that are traced
            run in one compiled program, all else one value after another, and what is static (sizes,
            "stepper.protocol.size") compiles anew. Or a design of `sdesim.ensembles.designs`, whose points have a
            dimension "point".
        steps: number of steps, unless the grid has it; of workers in virtual time, arrivals of each simulation.
        until: in place of steps, the second of virtual time at which runs of workers end. Or with a store a rule, such
            as "stderr(quorum_loss) < 0.01" (or "< 5%" of the mean): rounds of simulations are added to the points that
            it does not hold for yet, planned from all results before; `sims` is the least number of each point.
        at: the moments at which such runs are recorded, in seconds, or how many, evenly spaced; 100 by default.
        agents: p of one simulation, unless the grid has it; 1 by default.
        sims: independent simulations at each point; 1 by default.
        dims: dimensions d, unless the grid has it; those of the objective or of `init`, else 1, by default.
        seed: of all random numbers, 0 to 2**64 - 1, or a `jax.random.key`: all points see the same noise.
        random: the generator: "threefry20", the default, or "threefry13", of fewer rounds, which is faster.
        init: a law of `sdesim.init`, a number, or an array that broadcasts to (sims, agents, dims); all at 0 by
            default.
        velocity: initial velocities, as `init`: displacements in one iteration, or with `Friction` physical velocities.
            At rest by default.
        stepper: what one step is: one of `sdesim.steppers`, or one of your own.
        dt: short for stepper=EulerMaruyama(dt): length of a step. By default the model's matched step (eta, or
            sqrt(eta) with iteration momentum), at which Euler-Maruyama is the SGD iteration; smaller to resolve the
            SDE.
        order: short for stepper=EulerMaruyama(order=order): "jacobi", the default, or "gauss-seidel", see
            `sdesim.steppers.base`.
        epoch: steps between two calls of the rule's `renew` with the agents' losses (the spikes of SD-QSGD).
        observe: observables of `sdesim.observe`, one or several.
        every: steps between two records; about a hundredth of the steps by default.
        increments: Brownian increments in place of the law's, (steps, sims, agents, dims), of variance dt each; the
            model's noise supplies the diffusion that multiplies them.
        keep_agents: keep the final agents (grid..., sim, agent, dim); turn off for large sweeps.
        first_sim: number of the first simulation: sims 0-99 and then 100-199 are the sims 0-199 of one run.
        memory: bytes that may be used, a number or such as "2GB"; what is free by default.
        exact: whether a simulation's bits may depend on nothing but itself, even in a run of fewer than 16 lanes, as
            for `simulate`; by default where `first_sim` is given.
        fast: take float32 sines and cosines by polynomials, good to 2e-7 for arguments up to 1e3; False for XLA's.
        progress: show a bar with the time left, after two seconds.
        store: a folder that keeps what is done, task by task. The same call goes on after a crash, shares the work with
            whoever makes it at the same time, and runs what is new where there are more `sims` or values. None, the
            default, for memory alone.
        lanes: of a new store, simulations of a task at the most; about a second's work by default.
        mix_versions: whether a store that other versions of JAX began, or another kind of device, may be added to.
        workers: with a store, processes that compute, each with its share of the cores; by default this one alone.
        scheduler: with a store, the address of a scheduler of dask.distributed, such as "tcp://10.0.0.1:8786", whose
            workers compute; "local" for a cluster of this machine that ends with the call. See `docs/clusters.md`.
        listen: the address at which a cluster that starts here can be reached; by default by this machine alone.
        most: where `until` is a rule, simulations of a point that are not exceeded; 100 times `sims` by default.

    Returns:
        A Dataset whose dimensions are the grid's names as identifiers ("coupling.k" is `coupling_k`; sizes are
        `n_agents`, `n_dims`, `n_steps`), then sim, agent, dim.
        Variables: `agents`, `quorum`, `center`, `spread` (sum_i |x^i - quorum|^2) and `quorum_loss` at the end, what
        `observe` recorded, `diverged` (first non-finite step or -1); and of each that has no agent axis its mean over
        simulations `NAME_mean` and Monte Carlo standard error `NAME_stderr`. Where sizes differ, what a point does not
        have is NaN. With a store the values are read when they are asked for, as `sdesim.open` says.

    Raises:
        TypeError: as `simulate`.
        ValueError: for unknown names (with the nearest known), empty or unfit values, and as `simulate`; for a store of
            another sweep, with the difference.
        MemoryError: as `simulate`.
        SweepError: where tasks of a store failed; all others are kept.
    """
    check_flags(progress=progress, mix_versions=mix_versions)
    if lanes is not None:
        lanes = check_count("lanes", lanes)
    asked = asked_of(
        model,
        grid,
        steps=steps,
        until=until,
        at=at,
        agents=agents,
        sims=sims,
        dims=dims,
        seed=seed,
        random=random,
        init=init,
        velocity=velocity,
        stepper=stepper,
        dt=dt,
        order=order,
        epoch=epoch,
        observe=observe,
        every=every,
        increments=increments,
        keep_agents=keep_agents,
        first_sim=first_sim,
        exact=exact,
        fast=fast,
        most=most,
    )
    engine = engine_of(workers, scheduler, listen)
    stored = store is None and engine is None and getattr(asked.stepper, "timetable", None) is None
    if stored and (found := kept(Simulations(asked), memory, progress)) is not None:
        return found
    if store is None:
        if asked.rule is not None:
            raise ValueError(f"until={until!r}: must have a store, whose rounds it plans; give store=")
        if engine is not None:
            name, value = ("scheduler", scheduler) if workers is None else ("workers", workers)
            raise ValueError(f"{name}={value}: must have a store, in which processes meet; give store=")
        return in_memory(asked, memory, progress)
    if not isinstance(store, str | os.PathLike):
        raise TypeError(f"store={shown(store)}: must be the name of a folder")
    how: dict[str, Any] = dict(lanes=lanes, mix_versions=mix_versions, memory=memory, progress=progress)
    return durable_sweep(Simulations(asked), store, engine=engine, **how)


class _Keeping(NamedTuple):
    """Where sweeps that name no store are kept.

    Attributes:
        folder: of their stores.
        engine: who computes; None for this process alone.
        used: names of the stores that were asked for within.
    """

    folder: pathlib.Path
    engine: Engine | None
    used: set[str]


_keeping: contextvars.ContextVar[_Keeping | None] = contextvars.ContextVar("keeping", default=None)
_estimates: contextvars.ContextVar[list[Estimate] | None] = contextvars.ContextVar("estimates", default=None)


def kept(sweep: AbstractSweep, memory: int | str | None, progress: bool) -> xr.Dataset | None:
    """A sweep in the folder of `stored_in`, or what `estimated` has in its place.

    Args:
        sweep: what is asked for.
        memory: as for `sweep`.
        progress: likewise.

    Returns:
        Its data, as those of one in memory: without what a store says beside. None where no folder is named, or a wrong
        model runs in place of the one that is asked for.

    Raises:
        SweepError: as `sweep`.

    Warns:
        OtherProgramWarning: if it begins anew beside a store of the same settings.
    """
    if (estimates := _estimates.get()) is not None:
        with instead(None):
            estimates.append(sweep.estimate())
            return sketched(sweep).drop_vars("done")
    keeping = _keeping.get()
    if keeping is None or changed():
        return None
    identity = sweep.identity()
    name = digest([identity, {key: program.hash for key, program in sweep.programs().items()}])[:16]
    keeping.used.add(name)
    if not (keeping.folder / name).exists():
        _warn_of_others(identity, keeping)
    how: dict[str, Any] = dict(lanes=None, mix_versions=False, memory=memory, progress=progress)
    return durable_sweep(sweep, keeping.folder / name, engine=keeping.engine, **how).drop_vars("done")


class OtherProgramWarning(UserWarning):
    """A sweep begins anew, because what a folder has of the same settings was computed by another program."""


def _warn_of_others(identity: Mapping[str, Any], keeping: _Keeping) -> None:
    """Of stores of the same settings that nobody has asked for: it may be hours of an earlier version's."""
    for path in sorted(keeping.folder.glob(f"*/{MANIFEST}")):
        if path.parent.name in keeping.used:
            continue
        with contextlib.suppress(Damaged):
            if not difference(header_of(Store(path.parent)).own["identity"], identity):
                warn(
                    f"{path.parent} has the same settings and was computed by another program, of another version of "
                    "sdesim, or with other functions or sizes: it is left as it is, and the sweep begins anew",
                    OtherProgramWarning,
                )


@contextlib.contextmanager
def stored_in(folder: str | os.PathLike, workers: int | None = None, scheduler: str | None = None) -> Iterator[None]:
    """Within, every sweep that names no store has one of its own in a folder, found again by what is computed.

    So that what is made of several sweeps, such as a figure, goes on where it was killed.

    Args:
        folder: made if it is not there.
        workers: as for `sweep`.
        scheduler: likewise.

    Raises:
        TypeError: as `sweep`.
        ValueError: likewise.
    """
    token = _keeping.set(_Keeping(pathlib.Path(folder), engine_of(workers, scheduler), set()))
    try:
        yield
    finally:
        _keeping.reset(token)


class NotEstimatedError(RuntimeError):
    """A run that no store would keep, of which nothing is known before it runs."""


@contextlib.contextmanager
def estimated() -> Iterator[list[Estimate]]:
    """Within, sweeps that name no store do not run: what each will take is noted, and its data are all NaN.

    Yields:
        What they will take, in their order.

    Raises:
        NotEstimatedError: in the body, where something else than a sweep is run.
    """

    def refused(model: Any, stepper: Any) -> Any:
        raise NotEstimatedError("a run that no store would keep, of which nothing is known before it runs")

    found: list[Estimate] = []
    token = _estimates.set(found)
    try:
        with instead(refused):
            yield found
    finally:
        _estimates.reset(token)


def asked_of(model: Dynamics, grid: Mapping[str, Sequence] | Design, **arguments: Any) -> Sweep:
    """A sweep by the arguments of `sweep`, checked.

    Args:
        model: as for `sweep`.
        grid: likewise.
        **arguments: likewise, those that decide the numbers; defaults are those of `sweep`.

    Returns:
        The sweep.

    Raises:
        TypeError: as `sweep`.
        ValueError: likewise; and for an argument that there is not.
    """
    known = inspect.signature(sweep).parameters
    apart = ("model", "grid", "memory", "progress", "store", "lanes", "mix_versions", "workers", "scheduler", "listen")
    defaults = {name: p.default for name, p in known.items() if name not in apart}
    for name in arguments:
        check_choice("sweep", name, defaults)
    return Sweep.of(model, grid, **{**defaults, **arguments})


def in_memory(sweep: Sweep, memory: int | str | None, progress: bool) -> xr.Dataset:
    """Run a sweep at once.

    Args:
        sweep: what is asked for.
        memory: as for `sweep`.
        progress: likewise.

    Returns:
        Its data.

    Raises:
        ValueError: as `sweep`.
        TypeError: likewise.
        MemoryError: likewise.
    """
    sizes, numbers, designed = sweep.sizes, sweep.numbers, sweep.design is not None
    columns, parts, began = numbers if designed else product_of(numbers), [], time.perf_counter()
    shaped = lambda ran: ran if designed and numbers else on_grid(ran, numbers)
    for here in sweep.choices():
        ran = run_points(sweep, here, columns, of=numbers, memory=memory, progress=progress)
        parts.append(with_errors(shaped(ran)))
    data = combined(parts, sizes)
    data = data.transpose(*map(dimension, sweep.grid), ...)
    if sweep.design is not None:
        data = on_design(data, sweep.design.columns)
    remedies = [part.attrs["remedy"] for part in parts if (part["diverged"] >= 0).any()]
    warn_of_divergence(data["diverged"].values, sweep.run["first_sim"], "; ".join(dict.fromkeys(remedies)))
    paths = "; ".join(dict.fromkeys(part.attrs["path"] for part in parts))
    return describe(data, "sweep", sweep.settings, sweep.call, path=paths, seconds=time.perf_counter() - began)
