"""The runs of z-async: with gradient noise, for stationary variances, and without, for stability."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sdesim import coupling, init, noise, objectives
from sdesim.asynchrony import EASGD, Asynchronous, Deterministic, Exponential
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.ensembles.warnings import DivergenceWarning, StabilityWarning
from sdesim.papers.yu.workers.run import ServerAndWorkers
from sdesim.papers.zhang.asynchronous.config import ARMS, Config
from sdesim.results.datasets import dimension
from sdesim.steppers import AbstractStepper, Iteration


def model(config: Config, sigma: float | None = None) -> Dynamics:
    """EASGD on a quadratic, of the moving rate `config.rate`.

    Args:
        config: constants of the experiment.
        sigma: standard deviation of the gradient noise; that of the configuration by default.
    """
    law = noise.Gaussian(config.sigma if sigma is None else sigma)
    rule = coupling.Elastic(config.rate / config.eta)
    return Dynamics(objectives.Quadratic(config.curvature), rule, law, config.eta)


def stepper(arm: str) -> AbstractStepper:
    """What one step of an arm is.

    Args:
        arm: a name of `ARMS`.
    """
    if arm == "synchronous":
        return Iteration()
    compute = Exponential() if arm == "memoryless" else Deterministic()
    return Asynchronous(EASGD(), compute=compute, start="stationary" if arm == "memoryless" else "staggered")


def period_of(arm: str) -> str:
    """What a grid calls the communication period of an arm.

    Args:
        arm: a name of `ARMS`.
    """
    return "stepper.period" if isinstance(stepper(arm), Iteration) else "stepper.protocol.period"


def gains(config: Config, rates: Sequence[float]) -> list[float]:
    """The gains k = alpha / eta of moving rates.

    Args:
        config: constants of the experiment.
        rates: alpha.
    """
    return [rate / config.eta for rate in rates]


def _swept(
    config: Config, arm: str, grid: Mapping[str, Sequence], sims: int, progress: bool, **run: Any
) -> xr.DataArray:
    """What is observed, (grid..., record, what, sim), of workers that start at independent normal points."""
    with warnings.catch_warnings():  # some points are there to diverge
        warnings.simplefilter("ignore", StabilityWarning)
        warnings.simplefilter("ignore", DivergenceWarning)
        data = sweep(
            run.pop("model", None) or model(config),
            grid,
            stepper=stepper(arm),
            sims=sims,
            seed=config.seed,
            init=init.Normal(0.0, 1.0),
            observe=ServerAndWorkers(),
            keep_agents=False,
            progress=progress,
            **run,
        )
    seen = data[ServerAndWorkers.name].drop_attrs().astype(float)
    names = {f"{ServerAndWorkers.name}_what": "what", "time" if "time" in seen.dims else "step": "record"}
    seen = seen.rename(names).assign_coords(what=["server", "workers", "square"])
    return seen.transpose(*map(dimension, grid), "record", "what", "sim")


def _squares(seen: xr.DataArray) -> dict[str, xr.DataArray]:
    """The squares of the center and of the workers, averaged over records."""
    center = (seen.sel(what="server", drop=True) ** 2).mean("record", skipna=False)
    return {"center": center, "agents": seen.sel(what="square", drop=True).mean("record", skipna=False)}


def _lasting(config: Config, arm: str) -> dict[str, Any]:
    """How long a run of stationary variances is, and when it is recorded."""
    if arm == "synchronous":
        return {"steps": config.settle + config.every * config.records, "every": config.every}
    return {"at": config.moments}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Variances over workers, moving rates and periods, and squares over the plane of stability.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        Mean squares over records of the center and of the workers, of each arm: `center_workers` and `agents_workers`
        (arm, workers, sim), `center_rates` and `agents_rates` (arm, moving_rate, sim), `center_periods` and
        `agents_periods` (arm, period, sim). And `plane` (arm, a, alpha, moment, sim), the sum of both squares at the
        moments `early` and `late` without gradient noise.
    """
    found: dict[str, list[xr.DataArray]] = {}
    for arm in ARMS:
        lasting = _lasting(config, arm)
        grid = {"agents": config.workers, "coupling.k": gains(config, config.rates)}
        seen = _swept(config, arm, grid, config.sims, progress, **lasting)
        axes = {"n_agents": "workers", "coupling_k": "moving_rate"}
        both = seen.rename(axes).assign_coords(workers=list(config.workers), moving_rate=list(config.rates))
        if arm != "synchronous":  # by arrivals, so that all phases of all workers are met as often
            steps = config.few * config.settle + config.stride * config.records
            lasting = {"steps": steps - steps % config.stride + config.stride, "every": config.stride}
        grid = {period_of(arm): config.periods}
        seen = _swept(config, arm, grid, config.sims, progress, agents=config.few, **lasting)
        panels = {
            "workers": both.sel(moving_rate=config.rate, drop=True),
            "rates": both.sel(workers=config.many, drop=True),
            "periods": seen.rename({dimension(period_of(arm)): "period"}).assign_coords(period=list(config.periods)),
        }
        for panel, values in panels.items():
            for what, squares in _squares(values.isel(record=slice(-config.records, None))).items():
                found.setdefault(f"{what}_{panel}", []).append(squares)
        found.setdefault("plane", []).append(over_plane(config, arm, progress))
    together = lambda parts: xr.concat(parts, xr.IndexVariable("arm", list(ARMS)))
    return xr.Dataset({name: together(parts) for name, parts in found.items()})


def over_plane(config: Config, arm: str, progress: bool = False) -> xr.DataArray:
    """Squares of center and workers without gradient noise, (a, alpha, moment, sim).

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        progress: whether to say how far it is.
    """
    grid = {
        "objective.curvature": [a / config.eta for a in config.plane],
        "coupling.k": gains(config, config.plane_rates),
    }
    moments = np.array([config.early, config.late])
    lasting: dict[str, Any] = {"steps": config.late, "every": 1} if arm == "synchronous" else {"at": moments - 1 / 500}
    quiet = model(config, sigma=0.0)
    seen = _swept(config, arm, grid, config.sims, progress, model=quiet, agents=config.few, **lasting)
    seen = seen.sel(record=moments) if arm == "synchronous" else seen.isel(record=slice(-2, None))
    squares = seen.sel(what="server", drop=True) ** 2 + seen.sel(what="square", drop=True)
    squares = squares.rename({"objective_curvature": "a", "coupling_k": "alpha", "record": "moment"})
    return squares.assign_coords(a=list(config.plane), alpha=list(config.plane_rates), moment=moments)
