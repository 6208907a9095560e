"""What is static about a run beside its model and stepper."""

import dataclasses
import math
from typing import Literal

from sdesim.coupling import ArrayMean
from sdesim.dynamics import Dynamics, State
from sdesim.observe import View


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static about a run: a new value of any of these compiles again."""

    agents: int
    dims: int
    epoch: int | None
    every: int | None  # steps between records, None without observables
    fast: bool = True  # polynomials for sines
    kernel: Literal["mosaic", "triton", "interpret"] | None = None  # the GPU kernel for the steps between records
    paired: bool = False  # two agents share a word pair and one complex number; from `path.choose`, as the kernel is
    start: int = 0  # the first step's number, where it matters (epochs)

    @property
    def stride(self) -> int | None:
        """Steps between two moments at which something other than stepping may happen; None if nothing does."""
        if self.every is None and self.epoch is None:
            return None
        return math.gcd(*(n for n in (self.every, self.epoch, self.start if self.epoch else None) if n))


def view_of(plan: Plan, model: Dynamics, state: State, step) -> View:
    return View(state, step, model, ArrayMean(plan.agents))
