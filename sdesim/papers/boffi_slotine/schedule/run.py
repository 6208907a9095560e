"""The runs of bs-schedule: gains and learning rates that change, and constant ones, beside theory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from sdesim import noise, objectives, observe
from sdesim.coupling import AbstractCoupling, Quorum, Uncoupled
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine.schedule.config import POWERS, SETTLED, Config
from sdesim.schedules import Growth, Halving

WINDOWS = 8  # of time, equal in its logarithm, over which the bias is averaged


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return xr.merge([_scheduled(config, progress), _constant(config, progress)])


def _pair(config: Config, coupling: AbstractCoupling, eta: Any) -> tuple[Dynamics, Dynamics]:
    """The model, and agents with the same noise on the quadratic loss of the same curvature at the minimum."""
    loss, law = config.problem.objective, noise.Gaussian(config.sigma)
    quadratic = objectives.Quadratic(config.problem.curvature, config.problem.minimum)
    return Dynamics(loss, coupling, law, eta), Dynamics(quadratic, Uncoupled(), law, eta)


def _quorum(
    config: Config,
    model: Dynamics,
    grid: Mapping[str, Any],
    steps: int,
    every: int,
    start: float,
    progress: bool,
):
    """The quorum's series over a grid, from the minimum, (grid..., sim, step)."""
    data = sweep(
        model,
        grid,
        agents=config.agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=config.problem.minimum + start,
        observe=observe.Quorum(),
        every=every,
        keep_agents=False,
        progress=progress,
    )
    return data["quorum_series"].isel(dim=0, drop=True).astype(float) - config.problem.minimum


def _scheduled(config: Config, progress: bool) -> xr.Dataset:
    floors, every = [config.eta, config.floor], max(config.steps // 400, 1)
    rates = Halving(config.eta, config.halve_every, config.eta)
    model, control = _pair(config, Quorum(Growth(config.gain, config.growth_time, 0.0)), rates)
    names = {"eta_floor": "rate", "coupling_k_power": "power"}
    size = (config.steps, every, config.start, progress)
    x = _quorum(config, model, {"eta.floor": floors, "coupling.k.power": list(POWERS)}, *size).rename(names)
    z = _quorum(config, control, {"eta.floor": floors}, *size).rename({"eta_floor": "rate"})
    labels = {"rate": ["constant", "halved"], "step": x["step"].values}
    x, z = x.assign_coords(labels), z.assign_coords(labels)
    steps = x["step"].values
    curves = {name: np.zeros((2, len(POWERS), steps.size)) for name in ("time", "gain", "bound", "expected", "noise")}
    exact = np.zeros((2, steps.size))  # the mean of the control
    for i, floor in enumerate(floors):
        eta = config.rates_to(floor)
        time = np.concatenate([[0.0], np.cumsum(eta)])
        exact[i] = config.start * np.concatenate([[1.0], np.cumprod(1 - eta * config.problem.curvature)])[steps]
        for j, power in enumerate(POWERS):
            k = config.gain * (1 + time / config.growth_time) ** power
            bias, variance = config.problem.perturbation(eta, k[:-1])
            parts = (time, k, config.problem.distance_bound(eta, k[:-1]), bias, variance)
            for curve, part in zip(curves.values(), parts, strict=True):
                curve[i, j] = part[steps]
    data = xr.Dataset({n: (("rate", "power", "step"), c) for n, c in curves.items()}, x.coords).assign(quorum=x)
    shift = -(x - z + xr.DataArray(exact, dims=("rate", "step")))
    for i, rate in enumerate(labels["rate"]):
        time = data["time"].isel(rate=i, power=0).values
        window = np.digitize(time, np.geomspace(2 * SETTLED, 1.0001 * time[-1], WINDOWS + 1)) - 1
        for name, of in {"bias": shift, **{f"{n}_window": data[n] for n in ("time", "gain", "expected")}}.items():
            means = [of.isel(rate=i, step=window == w).mean("step", skipna=False) for w in range(WINDOWS)]
            data[f"{name}_{rate}"] = xr.concat(means, dim="window")
    return data


def _constant(config: Config, progress: bool) -> xr.Dataset:
    grid = {"eta": list(config.constant_eta), "coupling.k": list(config.constant_k)}
    model, control = _pair(config, Quorum(config.constant_k[0]), config.constant_eta[0])
    size = (config.constant_steps, 10, 0.0, progress)
    x = _quorum(config, model, grid, *size).rename({"coupling_k": "k"})
    z = _quorum(config, control, {"eta": grid["eta"]}, *size)
    settled = x["step"] * x["eta"] >= SETTLED
    bias = -(x - z).where(settled, 0.0).sum("step", skipna=False) / settled.sum("step")
    return xr.Dataset({"constant_bias": bias.assign_coords(sim=np.arange(config.sims))})
