"""What is static about a run beside its model and stepper."""

import dataclasses
import math
from typing import Literal

from jaxtyping import Array

from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, State
from sdesim.observe import View
from sdesim.steppers import AbstractStepper

ARRIVAL = 8  # agents that step together for the price of one worker's arrival, as measured


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static about a run: a new value of any of these compiles again.

    Attributes:
        agents: of one simulation.
        dims: of one agent.
        epoch: steps of an epoch; None without epochs.
        every: steps between records; None without observables.
        fast: whether polynomials stand for sines.
        kernel: the form of the GPU kernel for the steps between records; None for the scan.
        paired: whether two agents share a word pair and one complex number; from `path.choose`, as the kernel is.
        start: the first step's number, where it matters (epochs).
        lockstep: whether all agents take each step.
        width: lanes of a block; None for what the sizes of a simulation say.
    """

    agents: int
    dims: int
    epoch: int | None
    every: int | None
    fast: bool = True
    kernel: Literal["mosaic", "triton", "interpret"] | None = None
    paired: bool = False
    start: int = 0
    lockstep: bool = True
    width: int | None = None

    @property
    def rows(self) -> int:
        """Agents that a step is as dear as: an arrival moves one, and draws its words and finds its row beside."""
        return self.agents if self.lockstep else ARRIVAL

    @property
    def stride(self) -> int | None:
        """Steps between two moments at which something other than stepping may happen; None if nothing does."""
        if self.every is None and self.epoch is None:
            return None
        return math.gcd(*(n for n in (self.every, self.epoch, self.start if self.epoch else None) if n))


def view_of(plan: Plan, stepper: AbstractStepper, model: Dynamics, state: State, step: Array) -> View:
    """A simulation as an observable sees it.

    Args:
        plan: for the number of agents.
        stepper: what a step is, for what the agents are drawn to.
        model: the dynamics.
        state: of one simulation.
        step: its number, from 0; an int32 scalar.

    Returns:
        The view.
    """
    mean = ArrayMean(plan.agents)
    return View(state, step, model, mean, stepper.center(model, state, mean), stepper.counts(state, step))
