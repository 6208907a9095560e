"""Checks that analyses share."""

import numpy as np
from jaxtyping import Array

from sdesim.dynamics import Dynamics
from sdesim.fields import check_sign, concrete


def step_length(model: Dynamics, dt: float | Array | None) -> float:
    """The time that one step takes: dt, or the model's matched step.

    Args:
        model: the dynamics.
        dt: length of a step, in time; None for the matched one.

    Returns:
        In time.

    Raises:
        TypeError: if `model` is none.
        ValueError: for a learning rate that depends on the step, whose steps have no one length, or one of 0.
    """
    if not isinstance(model, Dynamics):
        raise TypeError(f"model={model!r}: must be a sdesim.Dynamics")
    if dt is not None:
        check_sign("dt", dt, zero=False)
        return float(dt)
    if callable(model.eta):
        raise ValueError("dt=None: the model's eta depends on the step, so its steps have no one length: give dt")
    length = concrete(model.matched_step(), np.max)
    if length is None:
        raise ValueError("model: its numbers are being traced by a transformation; an analysis looks at their values")
    if length == 0:
        raise ValueError("model: its eta is 0, so its steps take no time; give it a learning rate above 0")
    return length
