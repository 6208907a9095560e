"""The law of infinitely many agents, and simulations of many."""

import functools
from typing import Any

import numpy as np
import xarray as xr

from sdesim import observe
from sdesim.coupling import Quorum
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.meanfield.config import BINS, Config, P
from sdesim.theory import meanfield


def _predicted(config: Config) -> xr.Dataset:
    """For each gain: mean at each iteration and the law at the end, the law after `population_steps` and its noise."""
    found: dict[str, list] = {name: [] for name in ("mean", "masses", "early_masses", "noise", "coarse_mean")}
    for k in config.k:
        model = one.model(config, Quorum(k))
        predict = functools.partial(meanfield.evolve, model, init=config.start)
        law = predict(config.grid(), steps=config.steps)
        found["mean"].append(law.mean)
        found["masses"].append(law.masses)
        found["coarse_mean"].append(predict(config.grid(2), steps=config.steps).mean)
        found["early_masses"].append(predict(config.grid(), steps=config.population_steps).masses)
        found["noise"].append(
            meanfield.iteration_noise(model, config.grid(2), steps=config.population_steps, init=config.start)
        )
    axes = {"mean": "iteration", "coarse_mean": "iteration", "masses": "cell", "early_masses": "cell"}
    named = {f"predicted_{n}": ((one.K, axes[n]) if n in axes else one.K, np.array(v)) for n, v in found.items()}
    return xr.Dataset(named, {one.K: list(config.k), "cell": config.grid().centers})


def _shares(agents: np.ndarray, config: Config, cells: int) -> np.ndarray:
    """The empirical laws of agents (..., agent): their shares in the cells, (..., cells); NaN for who is not finite."""
    lanes = agents.reshape(-1, agents.shape[-1])
    finite = np.isfinite(agents).all(axis=-1, keepdims=True)
    place = np.clip((np.nan_to_num(lanes) + config.window) / (2 * config.window) * cells, 0, cells - 1).astype(int)
    counts = np.bincount((place + cells * np.arange(len(lanes))[:, None]).ravel(), minlength=cells * len(lanes))
    return np.where(finite, counts.reshape(*agents.shape[:-1], cells) / agents.shape[-1], np.nan)


def _square_distance(agents: np.ndarray, masses: np.ndarray, config: Config) -> np.ndarray:
    """The integral of (F_p - F)^2 for agents (sim, agent) and a predicted law, (sim,)."""
    gap = np.cumsum(_shares(agents, config, config.cells) - masses, axis=-1)
    return np.sum(gap**2, axis=-1) * config.grid().width


def run(config: Config, progress: bool = False) -> xr.Dataset:
    data = _predicted(config)

    def simulated(agents: int, steps: int, **further: Any) -> xr.Dataset:
        settings: dict[str, Any] = dict(sims=config.sims, seed=config.seed, init=config.start, progress=progress)
        found = sweep(
            one.model(config), {"coupling.k": list(config.k)}, agents=agents, steps=steps, **settings, **further
        )
        return found.isel(dim=0, drop=True)

    every = max(1, config.steps // 60)
    many = simulated(config.agents, config.steps, observe=observe.Quorum(), every=every)
    data["quorum_series"] = many["quorum_series"].astype(float)
    data["shares"] = (one.K, "sim", "bin"), _shares(many["agents"].values, config, BINS)
    early = data["predicted_early_masses"]
    mean = (early * early["cell"]).sum("cell", skipna=False)
    of_mean, of_law = [], []
    for p in config.populations:
        few = simulated(p, config.population_steps)
        of_mean.append(few["quorum"].astype(float) - mean)
        laws = zip(few["agents"].values, early.values, strict=True)
        of_law.append([_square_distance(agents, masses, config) for agents, masses in laws])
    along = xr.IndexVariable(P, list(config.populations))
    data["mean_error"] = xr.concat(of_mean, dim=along)
    data["law_error2"] = (P, one.K, "sim"), np.array(of_law)
    return data
