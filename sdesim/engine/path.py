"""By which program the lanes of a run are computed: the one place where that is chosen, with the reasons.

From the plainest to the fastest: one program of all lanes, within the caller's or by itself; blocks of lanes, shared
out to one thread a core; on a GPU the scan, and the fused kernel. Outside of the kernel, which pairs by itself, two
agents may share a word pair. A faster one steps aside where it is not proven, and says why.
"""

import dataclasses
import functools
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import PyTree

from sdesim.dynamics import Dynamics
from sdesim.engine import blocks, gpu
from sdesim.engine.blocks import LEAST, VECTOR, Blocks
from sdesim.engine.plan import Plan
from sdesim.engine.vectorize import mixes
from sdesim.fields import form, is_none, is_traced, warn
from sdesim.observe import AbstractObservable, looking_at_every_step
from sdesim.steppers import AbstractStepper
from sdesim.tracing import widest_vectors

# The loop of a scan as one command of a GPU, in place of a launch by the host for each of a step's kernels.
_COMMANDS = {"xla_gpu_enable_command_buffer": "FUSION,WHILE", "xla_gpu_graph_min_graph_size": 1}
# XLA cuts an operation of a CPU into one part a core, all of which wait for each other at its end.
_IN_ONE_THREAD = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
_NUMBER = np.float32(1)
# Numbers of positions, in whole vectors, below which to cut a step's operations up costs more than it gives: where a
# program has the cores to itself, and where threads beside it may compute other blocks.
FEW, FEW_OF_A_BLOCK = 6000, 10_000
FIRST_CHUNK = 20_000_000  # agent-steps of the first chunk, before the speed is known: 0.02 to 0.4 s
FIRST_CHUNK_ON_A_GPU = 2_000_000_000  # 0.01 s in the kernel; a second as the scan of a small run


class EngineWarning(UserWarning):
    """A run is right and slower than it could be."""


@dataclasses.dataclass(frozen=True)
class Path:
    """By which program the lanes of a run are computed, and why not by a faster one.

    Attributes:
        traced: whether within the caller's jit, vmap, scan or grad.
        layout: the blocks of lanes; None for one program of all of them.
        kernel: the form of the GPU kernel, or None.
        paired: whether two agents share a word pair and one complex number.
        reasons: why nothing faster.
        program: a key of the program that the GPU kernel would run.
    """

    traced: bool
    layout: Blocks | None
    kernel: Literal["mosaic", "triton", "interpret"] | None
    paired: bool
    reasons: tuple[str, ...] = ()
    program: Any = dataclasses.field(default=None, repr=False)

    def of(self, plan: Plan) -> Plan:
        """The plan of a run that goes this way.

        Args:
            plan: of the run, whichever way it goes.

        Returns:
            The plan with the path's kernel and pairs.
        """
        return dataclasses.replace(plan, kernel=self.kernel, paired=self.paired)

    @property
    def name(self) -> str:
        """The program, in words."""
        if self.kernel is not None:
            return f"GPU kernel ({self.kernel})"
        if self.traced:
            found = "one program of all lanes, within the caller's"
        elif jax.default_backend() == "gpu":
            found = "GPU scan"
        else:
            found = "one program of all lanes" if self.layout is None else f"blocks of {self.layout.width} lanes"
        return found + ", agents in pairs" * self.paired

    @property
    def exact(self) -> bool:
        """Whether a lane's bits depend on nothing but itself; those of few lanes hang on how many there are."""
        return self.layout is not None and self.layout.width >= LEAST

    def in_one_thread(self, plan: Plan, lanes: int) -> bool:
        """Whether each operation is computed by one core.

        That is another program, of other bits, so in blocks it hangs on nothing but the sizes of one simulation.

        Args:
            plan: for these.
            lanes: of the run.
        """
        if jax.default_backend() != "cpu":
            return False
        width = lanes if self.layout is None else self.layout.width
        return plan.agents * plan.dims * max(width, VECTOR) < (FEW_OF_A_BLOCK if self.exact else FEW)

    def __str__(self) -> str:
        return ": ".join([self.name, "; ".join(self.reasons)] if self.reasons else [self.name])

    def because(self, reasons: tuple[str, ...]) -> "Path":
        """The path with further reasons, which are known when the program is traced alone.

        Args:
            reasons: why nothing faster, each a phrase.

        Returns:
            The new path.
        """
        return dataclasses.replace(self, reasons=(*self.reasons, *reasons))

    def without_kernel(self, why: str) -> "Path":
        """The scan, for good: the kernel failed on this machine.

        Args:
            why: in one line.

        Returns:
            The new path.

        Warns:
            EngineWarning: with the reason.
        """
        _KERNELS[self.program] = gpu.Choice(None, why)
        _warn_once(f"the GPU kernel failed, and the run goes on as a scan: {why}")
        return dataclasses.replace(self, kernel=None, reasons=(why,))


def choose(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    observables: tuple[AbstractObservable, ...],
    lanes: int,
    *,
    exact: bool,
    increments: bool,
    arrays: PyTree,
    dtype: Any,
) -> Path:
    """The path of a run.

    Args:
        plan: what is static about the run.
        stepper: what a step is.
        model: with the values of all lanes, as `axes` says.
        axes: for each leaf of the model, -1 if it has a value for each lane on its last axis, else None.
        observables: what is watched.
        lanes: their number.
        exact: whether a lane's bits must depend on nothing but itself.
        increments: whether the caller brings the Brownian increments.
        arrays: all that the run computes with, of which any may be traced.
        dtype: of the states.

    Returns:
        The path.

    Warns:
        EngineWarning: once for each reason, where the GPU kernel cannot take the run.
    """
    traced = is_traced(arrays) or inside_a_trace()
    alone = _why_not_in_pairs(plan, stepper, model, axes, observables, increments, dtype)
    layout = None if traced else layout_of(plan, lanes, exact)
    path = Path(traced, layout, None, alone is None)
    if traced or jax.default_backend() != "gpu":
        few = not traced and not path.exact and jax.default_backend() == "cpu"
        said = (f"fewer than {VECTOR} lanes" if few else None, alone and f"no pairs {alone}")
        return path.because(tuple(why for why in said if why))
    swept = tuple(jax.tree.leaves(axes, is_leaf=is_none))
    program = (plan, form((stepper, model)), swept, tuple(o.name for o in observables), not increments, dtype)
    if program not in _KERNELS:
        _KERNELS[program] = gpu.backend_for(plan, stepper, model, axes, observables, increments, dtype)
        if _KERNELS[program].backend is None:
            _warn_once(f"the GPU kernel cannot take this run, which goes on as a scan: {_KERNELS[program].reason}")
    choice = _KERNELS[program]
    reasons = (choice.reason,) if choice.reason else ()
    return dataclasses.replace(path, kernel=choice.backend, reasons=reasons, program=program)


def _why_not_in_pairs(
    plan: Plan,
    stepper: AbstractStepper,
    model: Dynamics,
    axes: PyTree,
    observables: tuple[AbstractObservable, ...],
    increments: bool,
    dtype: Any,
) -> str | None:
    """Why two agents cannot share a word pair and a complex number; None where they can."""
    watching = looking_at_every_step(observables)
    reasons = {
        "of workers in virtual time": not stepper.lockstep,
        "of steps that look back": stepper.past > 0,
        "with fast=False": not plan.fast,
        f"in {plan.dims} dimensions on a GPU": plan.dims > 1 and jax.default_backend() != "cpu",  # not measured
        f"of {plan.agents} agents": plan.agents % 2 == 1,
        f"with a look at every step ({', '.join(watching)})": bool(watching),
        "with the caller's increments": increments,
        "without random words": model.noise.word_pairs == 0,
        "of variates drawn by rejection": model.noise.rejects,
        f"in {dtype}": dtype != jnp.float32,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is None and plan.dims > 1 and _mixes_coordinates(plan, stepper, model, axes):
        return "of coordinates that depend on each other"  # whose sums XLA does not vectorize over complex numbers
    return reason


def _mixes_coordinates(plan: Plan, stepper: AbstractStepper, model: Dynamics, axes: PyTree) -> bool:
    """Whether a step looks from one coordinate at another."""
    program = (plan, form((stepper, model)), tuple(jax.tree.leaves(axes, is_leaf=is_none)))
    if program not in _MIXING:
        swept, kept = blocks.swept_and_kept(model, axes)
        one = eqx.combine(kept, jax.tree.map(lambda a: a[..., 0], swept))
        x = jnp.zeros((plan.agents, plan.dims), jnp.float32)
        state = jax.eval_shape(lambda x: stepper.init(one, x), x)
        jaxpr = jax.make_jaxpr(lambda state, n: stepper.step(one, state, n))(state, jnp.zeros((), jnp.int32)).jaxpr
        _MIXING[program] = mixes(jaxpr, plan.agents, plan.dims)
    return _MIXING[program]


_MIXING: dict[Any, bool] = {}  # by program: a step takes 25 ms to trace
_KERNELS: dict[Any, gpu.Choice] = {}  # by program: half a second to find, and what this machine made of it


@functools.cache
def _warn_once(message: str) -> None:
    warn(message, EngineWarning)


def layout_of(plan: Plan, lanes: int, exact: bool) -> Blocks | None:
    """The blocks in which lanes are computed outside of a trace; None for one program of all of them.

    One program is what a run is on a GPU. Lanes that fill no vector are one block, unless they are to be `exact`. Its
    width is the next power of two: a loop over 12 numbers is not vectorized, and takes up to four times as long as one
    over 16. Where a loss is a product of matrices, the copies cost what they compute, up to a quarter.

    Args:
        plan: for the sizes of one simulation.
        lanes: their number.
        exact: whether a lane's bits must depend on nothing but itself.

    Returns:
        The blocks, or None.
    """
    if jax.default_backend() != "cpu":
        return None
    if lanes < VECTOR and not exact:
        width = 1 << (lanes - 1).bit_length()
        return None if width == lanes else Blocks.of(lanes, plan.rows, plan.dims, width)
    return Blocks.of(lanes, plan.rows, plan.dims, plan.width)


def inside_a_trace() -> bool:
    """Whether an outer jit, scan or grad is tracing: there, our own compiler options would be refused."""
    return isinstance(lax.neg(_NUMBER), Tracer)  # what is computed is traced, whatever it is computed of


def first_chunk() -> int:
    """Agent-steps of a run's first chunk."""
    return FIRST_CHUNK if jax.default_backend() == "cpu" else FIRST_CHUNK_ON_A_GPU


def compiler_options(fused: bool, in_one_thread: bool) -> dict[str, Any]:
    """Options that XLA does not take by itself: on a CPU its widest vectors, on a GPU a scan's loop as one command.

    Args:
        fused: whether the program is the GPU kernel.
        in_one_thread: whether XLA must not share an operation out to the cores.

    Returns:
        By the names that XLA has for them.
    """
    if jax.default_backend() == "gpu":
        return {} if fused else _COMMANDS
    return {**widest_vectors(), **(_IN_ONE_THREAD if in_one_thread else {})}
