"""Steppers: what one step of a run is. Each composes the same parts of a `Dynamics`, and takes one simulation."""

import functools

from jax.typing import ArrayLike

from sdesim.coupling import Order
from sdesim.fields import shown
from sdesim.steppers.adaptive import Adam, AdamSDE
from sdesim.steppers.base import AbstractStepper, Kick
from sdesim.steppers.delayed import Delayed
from sdesim.steppers.euler_maruyama import EulerMaruyama
from sdesim.steppers.exchanges import exchange
from sdesim.steppers.iteration import Iteration

__all__ = [
    "AbstractStepper",
    "Adam",
    "AdamSDE",
    "Delayed",
    "EulerMaruyama",
    "Iteration",
    "Kick",
    "exchange",
    "stepper_of",
]


def stepper_of(
    stepper: AbstractStepper | None, dt: ArrayLike | None = None, order: Order | None = None
) -> AbstractStepper:
    """The stepper that is asked for: itself, or Euler-Maruyama by its numbers.

    Args:
        stepper: a stepper; None for Euler-Maruyama.
        dt: length of its step, in time; None for the model's matched step.
        order: of its parts; None for "jacobi".

    Returns:
        The stepper.

    Raises:
        TypeError: for what is no stepper.
        ValueError: for both a stepper and its numbers.
    """
    if stepper is None:
        if dt is None and order is None:
            return _usual()
        return EulerMaruyama(dt, order="jacobi" if order is None else order)
    if not isinstance(stepper, AbstractStepper):
        raise TypeError(f"stepper={shown(stepper)}: must be a stepper of sdesim.steppers")
    for name, value in (("dt", dt), ("order", order)):
        if value is not None:
            raise ValueError(f"{name}={shown(value)}: is short for a stepper, and must be left out beside stepper=")
    return stepper


@functools.cache
def _usual() -> EulerMaruyama:
    """What most runs are stepped by: to make it anew takes a tenth of a short one."""
    return EulerMaruyama()
