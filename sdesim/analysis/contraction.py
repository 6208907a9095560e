"""How fast trajectories that see the same noise forget where they began."""

import dataclasses
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from sdesim.analysis.estimate import Estimate, mean_of, step_length
from sdesim.dynamics import Dynamics
from sdesim.fields import check_choice, check_count
from sdesim.init import Normal
from sdesim.integrate import simulate
from sdesim.noise import AbstractNoise
from sdesim.result import Result

ROUNDING = 1e3  # units of rounding, at which a distance says nothing more


@dataclasses.dataclass(frozen=True, eq=False)
class Contraction:
    """What `contraction_rate` found.

    rate: of the fitted exponential e^(-rate t), in 1/time, with its standard error over simulations. Negative where
        trajectories separate.
    least: the least rate between two records of any simulation. What contracts in this metric at a rate has it at all
        times, so a bound of the rate bounds `least` too.
    rates: (sims,), the rate of each simulation. times: (records,). distance: (sims, records).
    fitted: (records,), which records were fitted.
    """

    rate: Estimate
    least: float
    rates: np.ndarray
    times: np.ndarray
    distance: np.ndarray
    fitted: np.ndarray


class _Common(AbstractNoise):
    """The law of `law` with one draw for all agents."""

    law: AbstractNoise

    blocks: ClassVar[Any] = property(lambda self: self.law.blocks)
    state_dependent: ClassVar[Any] = property(lambda self: self.law.state_dependent)

    @property
    def diagonal(self):
        return self.law.diagonal

    def iteration_only(self):
        return self.law.iteration_only()

    def variates(self, blocks, dtype, batch):
        z = self.law.variates(blocks, dtype, batch)
        return jnp.broadcast_to(z[:1], z.shape) if z.ndim else z

    def apply(self, z, x, gradient, batch, scale):
        return self.law.apply(z, x, gradient, batch, scale)

    def diffuse(self, dw, x, gradient, batch, scale):
        return self.law.diffuse(dw, x, gradient, batch, scale)


def contraction_rate(
    model: Dynamics,
    *,
    steps: int,
    of: Literal["runs", "agents"] = "runs",
    agents: int | None = None,
    sims: int = 20,
    init=None,
    other=None,
    every: int | None = None,
    after: int | None = None,
    dt: float | None = None,
    seed: int = 0,
    dims: int | None = None,
    **run: Any,
) -> Contraction:
    """The rate at which trajectories with the same noise approach each other: minus the largest Lyapunov exponent.

    Args:
        model: the dynamics.
        steps, agents, sims, dims, seed, dt, run: as for `simulate`; `agents` is 1 by default, or 2 for of="agents".
        of: "runs": two runs of each simulation with the same noise, from `init` and from `other`; their distance is
            that of all agents' positions, (sum_i |x^i - y^i|^2)^(1/2). "agents": one run of each simulation in which
            all agents see one common noise; the distance is (sum_i |x^i - mean|^2)^(1/2). Agents are then solutions
            of one equation with one input, the quorum, and contract at least at the synchronization rate k - concavity,
            whatever drives the quorum (BS Thm 3.1).
        init, other: where the runs start, as for `simulate`: standard normal by default, and the same law again with
            other random numbers.
        every: steps between two looks at the distance; a hundredth of `steps` by default.
        after: first step that is fitted, by default a quarter of those above rounding: before that, faster modes and
            the way into the stationary state tell.

    Returns:
        A `Contraction`. The exponential is fitted to the logarithm of each simulation's distance by least squares, up
        to the record at which the first simulation's distance is lost in rounding.

    Raises:
        ValueError: where trajectories start at one point, or fewer than three records are left to fit; and as
            `simulate`. One step of length dt contracts a mode of curvature h by |1 - dt h|, not by e^(-dt h): compare
            with that, or take a small dt.
    """
    check_choice("of", of, ("runs", "agents"))
    check_count("steps", steps, least=3)
    length = step_length(model, dt)
    agents = agents if agents is not None else 2 if of == "agents" else 1
    every = check_count("every", max(1, -(-steps // 100)) if every is None else every, most=steps)
    init = Normal() if init is None else init
    other = init if other is None else other
    place = dict(agents=agents, sims=sims, dims=dims, steps=0)
    if of == "agents":
        if agents < 2:
            raise ValueError(f"agents={agents}: of='agents' compares agents with each other; at least 2 are needed")
        model = dataclasses.replace(model, noise=_Common(model.noise))
        runs = [simulate(model, init=init, seed=seed, dt=dt, **place, **run)]
        distance = lambda: _norm(runs[0].agents - jnp.mean(runs[0].agents, axis=1, keepdims=True))
    else:
        first = {name: run[name] for name in ("first_sim",) if name in run}
        start = simulate(model, init=other, seed=(seed + 1) % 2**64, **place, **first).agents
        runs = [simulate(model, init=x, seed=seed, dt=dt, **place, **run) for x in (init, start)]
        distance = lambda: _norm(runs[0].agents - runs[1].agents)
    run = {name: value for name, value in run.items() if name != "velocity"}  # what a continued run has already
    seen, scales = [distance()], [_scale(runs)]
    for _ in range(steps // every):
        runs = [simulate(model, init=r, steps=every, dt=dt, **run) for r in runs]
        seen.append(distance())
        scales.append(_scale(runs))
    times = np.arange(len(seen)) * every * length
    return _fit(times, np.stack(seen, axis=1), np.stack(scales, axis=1), after, every, runs[0].agents.dtype)


def _norm(a) -> np.ndarray:
    with np.errstate(over="ignore"):  # of what diverges, which is told later
        return np.sqrt((np.asarray(a, float) ** 2).sum(axis=(1, 2)))


def _scale(runs: list[Result]) -> np.ndarray:
    """The size of the positions, which rounding is relative to, (sims,)."""
    return np.max([_norm(r.agents) for r in runs], axis=0)


def _fit(times, distance, scale, after, every, dtype) -> Contraction:
    if not (distance[:, 0] > 0).all():
        raise ValueError("init, other: some trajectories start at one point, and have no distance to lose")
    if not np.isfinite(distance).all():
        raise ValueError("model: some simulations diverged; a smaller eta or gain would be stable")
    floor = ROUNDING * float(jnp.finfo(dtype).eps) * np.maximum(scale, scale[:, :1] * 1e-3)
    lost = (distance <= floor).any(axis=0)
    kept = int(np.argmax(lost)) if lost.any() else len(times)
    first = kept // 4 if after is None else -(-int(after) // every)
    if kept - first < 3:
        raise ValueError(
            f"every={every}, after={after}: {max(kept - first, 0)} records are left to fit before distances are lost "
            "in rounding, 3 are needed: look more often, start farther apart, or turn on float64 (jax_enable_x64)"
        )
    fitted = (np.arange(len(times)) >= first) & (np.arange(len(times)) < kept)
    logs = np.log(distance[:, :kept])
    t = times[fitted] - times[fitted].mean()
    rates = -(logs[:, first:] @ t) / (t @ t)
    least = float((-np.diff(logs, axis=1) / np.diff(times[:kept])).min())
    return Contraction(mean_of(rates), least, rates, times, distance, fitted)
