"""How fast trajectories that see the same noise forget where they began."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from sdesim import random
from sdesim.analysis.arguments import step_length
from sdesim.coupling import Order
from sdesim.dynamics import Agents, Dynamics, State
from sdesim.engine.plan import Plan
from sdesim.engine.vectorize import lanes
from sdesim.ensembles.setup import draw_lanes, make_plan
from sdesim.fields import check_choice, check_count
from sdesim.functions import today
from sdesim.init import Normal
from sdesim.noise import AbstractNoise
from sdesim.random import Seed, Stream, Words
from sdesim.results.result import Result
from sdesim.run import simulate
from sdesim.statistics import Estimate, mean_of
from sdesim.steppers import EulerMaruyama

SIMS = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Contraction:
    """What `contraction_rate` found.

    Attributes:
        rate: minus the largest Lyapunov exponent, in 1/time, with its standard error over simulations. Negative where
            trajectories separate.
        least: the least rate between two records of any simulation. What contracts in this norm at a rate has it at all
            times, so a bound of the rate bounds `least` too.
        rates: (sims,), the rate of each simulation.
        times: (records,), in time.
        growth: (sims, records), the logarithm of the tangent's length over the first.
        fitted: (records,), which records were fitted.
    """

    rate: Estimate
    least: float
    rates: np.ndarray
    times: np.ndarray
    growth: np.ndarray
    fitted: np.ndarray


class _Common(AbstractNoise):
    """The law of `law` with one draw for all agents."""

    law: AbstractNoise

    word_pairs: ClassVar[Any] = property(lambda self: self.law.word_pairs)
    state_dependent: ClassVar[Any] = property(lambda self: self.law.state_dependent)

    @property
    def diagonal(self):
        return self.law.diagonal

    def iteration_only(self):
        return self.law.iteration_only()

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        z = self.law.variates(words, dtype, batch)
        return jnp.broadcast_to(z[:1], z.shape) if z.ndim else z

    def apply(self, z: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self.law.apply(z, x, gradient, batch, scale)

    def diffuse(self, dw: Agents, x: Agents, gradient: Agents, batch: Array, scale: Array):
        return self.law.diffuse(dw, x, gradient, batch, scale)


def contraction_rate(
    model: Dynamics,
    *,
    steps: int,
    of: Literal["runs", "agents"] = "runs",
    agents: int | None = None,
    sims: int | None = None,
    init: Any = None,
    velocity: Any = None,
    every: int | None = None,
    after: int | None = None,
    dt: float | None = None,
    order: Order = "jacobi",
    epoch: int | None = None,
    seed: int | None = None,
    first_sim: int | None = None,
    dims: int | None = None,
    fast: bool = True,
) -> Contraction:
    """The rate at which trajectories with the same noise approach each other: minus the largest Lyapunov exponent.

    A small difference between two such trajectories obeys the tangent of the step, its derivative with respect to the
    whole state: agents, velocities and what they share, the noise's dependence on the state included. The tangent
    starts in a random direction, is followed along the run and brought back to length 1 at every step, so that no
    length is ever lost in rounding. The slope of its logarithm over the time, by least squares from step `after` on,
    is minus the rate: once the run is stationary, without bias at any number of simulations.

    Args:
        model: the dynamics.
        steps: number of steps, at least 2.
        of: "runs": whole states. "agents": one run in which all agents see one common noise, and the tangent is of
            what differs between agents: their mean is taken from it at every step, and what they share is the same for
            all. Agents are then solutions of one equation with one input, the quorum, and contract at least at the
            synchronization rate k - concavity, whatever drives the quorum (BS Thm 3.1).
        agents: p of one simulation; one by default, two for of="agents".
        sims: independent simulations; 20 by default.
        init: as for `simulate`; agents start standard normal by default.
        velocity: initial velocities, as for `simulate`; at rest by default.
        every: steps between two records of the length; a hundredth of `steps` by default.
        after: first step that is fitted, by default a quarter of all: before that, faster modes and the way into the
            stationary state tell.
        dt: length of a step, in time; the model's matched step by default.
        order: "jacobi" or "gauss-seidel", see `sdesim.steppers.base`.
        epoch: steps between two calls of the rule's `renew` with the agents' losses, for rules that have one.
        seed: of all random numbers, as for `simulate`.
        first_sim: number of the first simulation.
        dims: dimensions, as for `simulate`.
        fast: take float32 sines and cosines by polynomials, as for `simulate`.

    Returns:
        A `Contraction`. Lengths are Euclidean, over agents and coordinates, velocities (in units of the SDE) and, for
        of="runs", what agents share.

    Raises:
        ValueError: where fewer than three records are left to fit, simulations diverge, or a step contracts to nothing;
            and as `simulate`. One step of length dt contracts a mode of curvature h by |1 - dt h|, not by e^(-dt h):
            compare with that, or take a small dt.
    """
    check_choice("of", of, ("runs", "agents"))
    check_count("steps", steps, least=2)
    length = step_length(model, dt)
    every = check_count("every", max(1, -(-steps // 100)) if every is None else every, most=steps)
    after = -(-steps // 4) if after is None else check_count("after", after, least=0)
    records = every * np.arange(steps // every + 1)
    fitted = records >= after
    if fitted.sum() < 3:
        raise ValueError(
            f"every={every}, after={after}: {fitted.sum()} records are left to fit of {steps} steps, not 3"
        )
    if not isinstance(init, Result):
        agents = agents if agents is not None else 2 if of == "agents" else 1
        sims, init = SIMS if sims is None else sims, Normal() if init is None else init
    if of == "agents" and agents is not None and agents < 2:
        raise ValueError(f"agents={agents}: of='agents' compares agents with each other; at least 2 are needed")
    start = simulate(
        model,
        agents=agents,
        sims=sims,
        dims=dims,
        steps=0,
        seed=seed,
        init=init,
        velocity=velocity,
        dt=dt,
        order=order,
        epoch=epoch,
        first_sim=first_sim,
        fast=fast,
    )
    sizes = start.sizes
    shape = {name: sizes[name] for name in ("agents", "dims")}
    stepper = EulerMaruyama(dt, order=order)
    plan, _ = make_plan(model, stepper, **shape, epoch=epoch, observe=(), every=None, steps=steps, fast=fast)
    if of == "agents":
        model = dataclasses.replace(model, noise=_Common(model.noise))
    numbers = random.sim_numbers(sizes["first_sim"], sizes["sims"])
    words = random.seed_words(sizes["seed"], sizes["random"])
    tangent = _direction(start.state, words, numbers, **shape)
    growth = np.zeros((len(records), sizes["sims"]))
    state = start.state
    still = jax.tree.map(lambda _: None, model)
    with today(model, still, (), stepper, **shape, renews=plan.epoch is not None) as (now, _, _, _):
        for i, first in enumerate(records[:-1], start=1):
            begin = jnp.asarray(start.step + first, jnp.int32)
            count = jnp.asarray(every, jnp.int32)
            state, tangent, grown = _follow(plan, stepper, of, now, state, tangent, numbers, words, begin, count)
            growth[i] = growth[i - 1] + np.asarray(grown, float)
            if not np.isfinite(np.asarray(state.x)).all():
                raise ValueError("model: some simulations diverged; a smaller eta or gain would be stable")
            if not np.isfinite(growth[i]).all():
                raise ValueError(f"dt={length:g}: a step contracts some tangents to nothing; a smaller step would not")
    times = records * length
    return _fitted(times, growth.T, fitted)


def _fitted(times: np.ndarray, growth: np.ndarray, fitted: np.ndarray) -> Contraction:
    t = times[fitted] - times[fitted].mean()
    rates = -(growth[:, fitted] @ t) / (t @ t)
    least = float((-np.diff(growth, axis=1) / np.diff(times)).min())
    return Contraction(mean_of(rates), least, rates, times, growth, fitted)


# -- the tangent -------------------------------------------------------------------------------------------------------
#
# A tangent has the form of a state, with None in place of what does not move continuously: integers, and the time.


def _parted(state: State) -> tuple[State, State]:
    """The part of a state that a small difference is of, and the rest."""
    moves = jax.tree.map(eqx.is_inexact_array, state)._replace(clock=False, before=False)
    return eqx.partition(state, moves)


def _direction(state: State, seed: Seed, sims: Array, agents: int, dims: int) -> State:
    """A tangent that moves agents alone, in a random direction."""
    zero = jax.tree.map(jnp.zeros_like, _parted(state)[0])
    return zero._replace(x=draw_lanes(Normal(), seed, sims, agents, dims, state.x.dtype, Stream.TANGENT))


@eqx.filter_jit
def _follow(
    plan: Plan,
    stepper: EulerMaruyama,
    of: str,
    model: Dynamics,
    state: State,
    tangent: State,
    sims: Array,
    seed: Seed,
    first: Array,
    count: Array,
):
    """State and tangent after `count` steps, and the sum of the logarithms of the tangent's growth, (sims,)."""
    still = jax.tree.map(lambda _: None, model)
    over = lambda fn: lanes(fn, (still, -1, -1, -1, None), fast=plan.fast)

    def step(model: Dynamics, state: State, tangent: State, sim: Array, n: Array):
        one = lambda s: stepper.step(model, s, n, seed=seed, sim=sim)
        state, tangent = _pushed(one, state, tangent)
        tangent, size = _normalized(_differences(tangent) if of == "agents" else tangent, model.at_step(n).clock)
        return state, tangent, jnp.log(size)

    def renewed(model: Dynamics, state: State, tangent: State, sim: Array, n: Array):
        return _pushed(model.renew, state, tangent)

    def body(i: Array, carry: tuple[State, State, Array]):
        state, tangent, total = carry
        n = first + jnp.asarray(i, jnp.int32)
        if plan.epoch is not None:
            renew = lambda s, u: over(renewed)(model, s, u, sims, n)
            state, tangent = lax.cond(n % plan.epoch == 0, renew, lambda s, u: (s, u), state, tangent)
        state, tangent, grown = over(step)(model, state, tangent, sims, n)
        return state, tangent, total + grown

    tangent, _ = lanes(
        lambda model, u, n: _normalized(_differences(u) if of == "agents" else u, model.at_step(n).clock),
        (still, -1, None),
    )(model, tangent, first)
    return lax.fori_loop(0, count, body, (state, tangent, jnp.zeros(sims.shape, state.x.dtype)))


def _pushed(fn: Callable[[State], State], state: State, tangent: State) -> tuple[State, State]:
    """fn(state), and what becomes of the tangent."""
    moving, rest = _parted(state)

    def move(moving: State):
        new = fn(eqx.combine(moving, rest))
        return _parted(new)[0], new

    _, tangent, new = jax.jvp(move, (moving,), (tangent,), has_aux=True)
    return new, tangent


def _differences(tangent: State) -> State:
    """Of a tangent what differs between agents."""
    apart = lambda u: u - jnp.mean(u, axis=0, keepdims=True)
    still = jax.tree.map(jnp.zeros_like, (tangent.shared, tangent.velocity_shared))
    v = None if tangent.v is None else apart(tangent.v)
    return tangent._replace(x=apart(tangent.x), v=v, shared=still[0], velocity_shared=still[1])


def _normalized(tangent: State, unit: Array) -> tuple[State, Array]:
    """The tangent of length 1, and the length it had. unit: of displacements, in velocities."""
    physical = tangent if tangent.v is None else tangent._replace(v=tangent.v / unit)
    leaves = jax.tree.leaves(physical)
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(u)) for u in leaves]))  # whose square may not be a number any more
    safe = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    size = safe * jnp.sqrt(sum(jnp.sum((u / safe) ** 2) for u in leaves))
    return jax.tree.map(lambda u: u / size, tangent), size
