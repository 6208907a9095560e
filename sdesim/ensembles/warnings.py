"""What a run warns of: before it, a coupling that is too stiff for its step; after it, simulations that diverged."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling import AbstractCoupling, Order
from sdesim.dynamics import Dynamics
from sdesim.engine import blocks
from sdesim.engine.blocks import LEAST
from sdesim.engine.vectorize import lanes
from sdesim.fields import as_bits, is_traced, keep, warn
from sdesim.steppers import AbstractStepper


class StabilityWarning(UserWarning):
    """The coupling is too stiff for the step: the run will very likely diverge."""


class DivergenceWarning(UserWarning):
    """Some simulations became non-finite. Their results are kept as they are and marked."""


def remedy(model: Dynamics, axes: PyTree, places: Callable[[], Array], first: int, diverged: np.ndarray) -> str:
    """What would help simulations that diverged, by the cause as far as it can be told.

    Args:
        model: the dynamics, with a value for each lane of what is swept.
        axes: for each leaf of `model`, -1 if it has a value for each lane on its last axis, else None.
        places: where agents started, (agents, dims, lanes), if anyone asks.
        first: the run's first step.
        diverged: the first step after which each lane is not finite, (lanes,); -1 for never.

    Returns:
        Advice, which ends a sentence.
    """
    usual = "a smaller eta or gain would be stable"
    if is_traced(diverged) or not (np.asarray(diverged) >= 0).any() or is_traced(x := places()):
        return usual
    step = int(np.min(diverged[diverged >= 0]))
    if callable(model.eta):
        eta = np.asarray(lanes(lambda m, x: jnp.asarray(m.eta(jnp.int32(step - 1))), (axes, -1))(model, x))
        if not np.isfinite(eta).all() or eta.min() < 0:
            return f"eta of step {step - 1} is {eta.min():.3g}, and a learning rate must be finite and at least 0"
    if step == first + 1:
        some = np.flatnonzero(np.ravel(diverged) >= 0)[:LEAST]
        swept, kept = blocks.swept_and_kept(model, axes)
        of_some = eqx.combine(kept, jax.tree.map(lambda a: a[..., some], swept))
        gradients = lanes(lambda m, x: m.gradients(x), (axes, -1))(of_some, x[..., some])
        if bad := int((~np.isfinite(np.asarray(gradients))).any(axis=(0, 1)).sum()):
            return (
                f"the gradient of the loss is not finite where {bad} of them start, whatever the step (that of "
                "jnp.linalg.norm is not at 0): start elsewhere with init=, or write a loss that has a derivative there"
            )
    return usual


def warn_of_divergence(diverged: np.ndarray, first_sim: int, remedy: str) -> None:
    """Say which share of the simulations diverged, when the first one did, and what would help.

    Args:
        diverged: the first step after which each simulation is not finite, (..., sims); -1 for never.
        first_sim: number of the first simulation.
        remedy: advice, which ends the sentence.

    Warns:
        DivergenceWarning: where one did.
    """
    bad: Any = np.zeros(0) if is_traced(diverged) else np.flatnonzero(diverged.ravel() >= 0)
    if not bad.size:
        return
    first = bad[np.argmin(diverged.ravel()[bad])]
    warn(
        f"{bad.size} of {diverged.size} simulations ({bad.size / diverged.size:.1%}) diverged; the first at step "
        f"{diverged.ravel()[first]} (simulation {first_sim + first % diverged.shape[-1]}). They are kept and marked in "
        f"`diverged`; {remedy}.",
        DivergenceWarning,
    )


def warn_of_stiffness(model: Dynamics, stepper: AbstractStepper, agents: int, first: int = 0, steps: int = 1) -> bool:
    """Warn where one step of the coupling alone amplifies: beyond step * stiffness = 2 in Jacobi order.

    A learning rate that depends on the step is looked at at some steps of the run; of rates that differ between agents,
    the largest counts.

    Args:
        model: the dynamics.
        stepper: what one step is.
        agents: of one simulation.
        first: the run's first step.
        steps: how many there are.

    Returns:
        Whether it does.

    Warns:
        StabilityWarning: where it does.
    """
    if is_traced(eqx.filter((model, stepper), eqx.is_array)):
        return False
    changes = callable(model.eta) or callable(getattr(stepper, "pace", None))
    looks = [first + max(steps - 1, 0) * i // 4 for i in range(5 if changes else 1)]
    bits = as_bits((stepper, model.eta, model.momentum, model.rates))  # all that it follows from
    key = None if bits is None else (bits, tuple(looks))
    ticks = None if key is None else _TICKS.get(key)
    if ticks is None:
        ticks = np.max([_ticks(model, stepper, step) for step in looks], axis=0)
    if key is not None:
        keep(_TICKS, key, ticks, most=256)
    rules = {"coupling": model.coupling, "velocity_coupling": model.velocity_coupling}
    warned = [warn_if_unstable(name, r, ticks, agents, stepper.order) for name, r in rules.items() if r is not None]
    return any(warned)


_TICKS: dict[Any, np.ndarray] = {}
"""How far steps advance a coupling's time, by all that it follows from: to ask it again takes half a millisecond."""


def warn_if_unstable(name: str, rule: AbstractCoupling, ticks: np.ndarray, agents: int, order: Order) -> bool:
    """Warn if a step of the coupling alone amplifies.

    Args:
        name: of the coupling in the model.
        rule: the coupling.
        ticks: how far its time advances in a step, a number or one an agent, (agents,).
        agents: of one simulation.
        order: of the stepper.

    Returns:
        Whether it does.

    Warns:
        StabilityWarning: with the growth, and the gain that would be stable.
    """
    tick = rule.stiffest(np.asarray(ticks))
    growth = rule.amplification(tick, agents, order)
    if growth is None or not growth > 1 or not tick > 0:
        return False
    what = f"{name}: unstable: a step of {type(rule).__name__} with {agents} agents multiplies its fastest mode"
    stiffness = rule.stiffness(agents)
    detail = "reduce its rates or eta"
    if order == "jacobi" and stiffness is not None and stiffness > 0:
        excess = tick * stiffness / 2
        detail = f"eta * stiffness = {2 * excess:.3g} is beyond 2; reduce its rates or eta {excess:.3g} times"
        if (gentler := rule.gentler(excess, agents)) is not None:
            detail += f" ({gentler})"
    elif stiffness is not None and stiffness < 0:
        detail = "a negative gain pushes agents apart"
    warn(f"{what} by {growth:.3g}. {detail}", StabilityWarning)
    return True


def _ticks(model: Dynamics, stepper: AbstractStepper, step: int) -> np.ndarray:
    """How far the coupling's time advances at a step: a number, or one an agent, (agents,)."""
    ticks = stepper.exchange_sizes(model, jnp.asarray(step, jnp.int32)).weight
    return np.zeros(()) if is_traced(ticks) else np.asarray(ticks)  # inside a jit nothing can be looked at
