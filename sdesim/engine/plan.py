"""What is static about a run, and the one step that it takes: of one simulation, with its own noise."""

import dataclasses
import math
from typing import Literal

from sdesim import random
from sdesim.coupling import ArrayMean, Order
from sdesim.dynamics import Dynamics, State
from sdesim.observe import View
from sdesim.random import Stream
from sdesim.steps import em_step, sgd_step


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
    kernel: Literal["mosaic", "triton", "interpret"] | None = None  # the GPU kernel for the steps between records
    start: int = 0  # the first step's number, where it matters (epochs)

    @property
    def stride(self) -> int | None:
        """Steps between two moments at which something other than stepping may happen; None if nothing does."""
        if self.every is None and self.epoch is None:
            return None
        return math.gcd(*(n for n in (self.every, self.epoch, self.start if self.epoch else None) if n))


def _law_kick(model: Dynamics, seed, sim, plan: Plan, step, dtype):
    """size.kick * zeta from the noise law and this step's random words."""
    keys = [random.step_key(seed, Stream.NOISE + i, step) for i in range(model.noise.blocks)]
    blocks = [random.words(key, sim, plan.agents, plan.dims) for key in keys]

    def kick(x, gradients, size):
        z = model.noise.variates(blocks, dtype, model.batch)
        return model.noise.apply(z, x, gradients, model.batch, size.kick)

    return kick


def _given_kick(model: Dynamics, dw):
    """size.diffusion * B dw from the caller's Brownian increments."""

    def kick(x, gradients, size):
        return model.noise.diffuse(dw, x, gradients, model.batch, size.diffusion)

    return kick


def one_step(plan: Plan, model: Dynamics, state: State, sim, seed, step, dt, period, dw) -> State:
    """One step of the simulation numbered `sim`, with noise from `seed` (two words) or the increments `dw`."""
    mean = ArrayMean(plan.agents)
    kick = _law_kick(model, seed, sim, plan, step, state.x.dtype) if dw is None else _given_kick(model, dw)
    if plan.method == "sgd":
        return sgd_step(model, state, step, period, kick, mean, plan.order)
    return em_step(model, state, step, None if plan.matched else dt, kick, mean, plan.order)


def view_of(plan: Plan, model: Dynamics, state: State, step) -> View:
    return View(state, step, model, ArrayMean(plan.agents))
