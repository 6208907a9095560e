"""Where agents agree, simulated and predicted."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sdesim import init, noise, observe
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine.one_dimensional import K
from sdesim.papers.boffi_slotine.phase.config import BARRIER, ETA, GRID, START, Config, P, T
from sdesim.theory.meanfield import SelfConsistency, fokker_planck, quorum_moments


def _second_moments(
    config: Config, k: Sequence[float], temperatures: Sequence[float], agents: int, progress: bool
) -> np.ndarray:
    """Averages over time of the square of the agents' mean, (k, temperature, sim), from agreement on one side.

    Agreement decays faster below the critical gain than it grows above it from its absence.
    """
    model = Dynamics(config.well(), Quorum(1.0), noise.Gaussian(1.0), ETA)
    steps = int(np.ceil((config.burn_in + config.time) / config.dt))
    every = max(1, round(0.1 / config.dt))
    data = sweep(
        model,
        {"coupling.k": list(k), "noise.sigma": [_sigma(t) for t in temperatures]},
        agents=agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=init.Point(START),
        dt=config.dt,
        observe=observe.Moments(after=int(config.burn_in / config.dt)),
        every=every,
        keep_agents=False,
        progress=progress,
    ).isel(dim=0, drop=True)
    return (data["moments_quorum_mean"] ** 2 + data["moments_quorum_var"]).values.astype(float)


def _tilted_means(config: Config, start: float, progress: bool) -> np.ndarray:
    """Averages of the agents' mean on the tilted well over the second half of the time, (k, sim)."""
    sigma = _sigma(config.tilted_temperature)
    steps = int(np.ceil((config.burn_in + config.time) / config.dt))
    data = sweep(
        Dynamics(config.well(config.tilt), Quorum(1.0), noise.Gaussian(sigma), ETA),
        {"coupling.k": list(config.tilted_k)},
        agents=config.agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=init.Point(start),
        dt=config.dt,
        observe=observe.Moments(after=steps // 2),
        every=max(1, round(0.1 / config.dt)),
        keep_agents=False,
        progress=progress,
    ).isel(dim=0, drop=True)
    return data["moments_quorum_mean"].values.astype(float)


def consensus(theory: SelfConsistency, k: float, temperature: float) -> float:
    """The largest self-consistent mean of a symmetric well, 0 below the critical line.

    Args:
        theory: of the well.
        k: coupling gain, in 1/time.
        temperature: of the noise.
    """
    if theory.branch(0.0, k, temperature).slope <= 1:
        return 0.0
    return max(b.mean for b in theory.branches(k, temperature, points=41))


def settled(config: Config, k: float, start: float) -> float:
    """The mean that agents on the tilted well are to have settled on from `start`, in the second half of the time.

    It is that of the law of infinitely many agents; NaN where this has not come to rest by then, or where the barrier
    of the effective loss is so low that the agents there are may cross it.

    Args:
        config: constants of the experiment.
        k: coupling gain, in 1/time.
        start: where all agents start.
    """
    theory, temperature = SelfConsistency(config.well(config.tilt), GRID), config.tilted_temperature
    found = theory.branches(k, temperature)
    phi = theory.effective_loss(np.array([b.mean for b in found]), k, temperature)
    chosen = [b for b in found if b.stable][0 if start < 0 else -1]
    own = float(phi[found.index(chosen)])
    barriers = [float(p) - own for b, p in zip(found, phi, strict=True) if not b.stable]
    if any(config.agents * barrier < BARRIER * temperature for barrier in barriers):
        return np.nan
    model = Dynamics(config.well(config.tilt), Quorum(k), noise.Gaussian(_sigma(temperature)), ETA)
    half = (config.burn_in + config.time) / 2
    law = fokker_planck(model, GRID, time=half, dt=0.1, init=start)
    return chosen.mean if abs(law.mean[-1] - chosen.mean) < 0.01 else np.nan


def _sigma(temperature: float) -> float:
    return float(np.sqrt(2 * temperature / ETA))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    theory = SelfConsistency(config.well(), GRID)
    cut_k = sorted({*config.cut_k, config.critical_gain(config.cut)})
    plane = {K: list(config.k), T: list(config.temperatures)}
    cut = {"cut_k": cut_k, P: list(config.populations)}
    data = xr.Dataset(coords={**plane, **cut, "tilted_k": list(config.tilted_k), "start": [-2.0, 2.0]})
    data["plane"] = (K, T, "sim"), _second_moments(config, config.k, config.temperatures, config.agents, progress)
    exact = lambda k, t, p: quorum_moments(theory, k, t, p).second
    over = lambda f: ((K, T), np.array([[f(k, t) for t in config.temperatures] for k in config.k]))
    data["plane_exact"] = over(lambda k, t: exact(k, t, config.agents))
    data["plane_limit"] = over(lambda k, t: consensus(theory, k, t))
    data["plane_slope"] = over(lambda k, t: theory.branch(0.0, k, t).slope)
    cuts = [_second_moments(config, cut_k, (config.cut,), p, progress)[:, 0] for p in config.populations]
    data["cut"] = (P, "cut_k", "sim"), np.array(cuts)
    data["cut_exact"] = (P, "cut_k"), np.array([[exact(k, config.cut, p) for k in cut_k] for p in config.populations])
    data["tilted"] = ("start", "tilted_k", "sim"), np.array([_tilted_means(config, s, progress) for s in (-2.0, 2.0)])
    branch = [[settled(config, k, s) for k in config.tilted_k] for s in (-2.0, 2.0)]
    data["tilted_branch"] = ("start", "tilted_k"), np.array(branch)
    return data
