"""The runs of bs-sync: the spread of agents against gain, number, step and learning rates."""

import numpy as np
import xarray as xr

from sdesim import noise, objectives, observe
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine.log_cosh import LOSSES
from sdesim.papers.boffi_slotine.sync.config import Config


def _spread(config: Config, model: Dynamics, grid: dict, agents: int, refine: int, progress: bool) -> xr.DataArray:
    """The spread against time of all grid points, at dt = eta / refine; records every fifth iteration."""
    data = sweep(
        model,
        {"objective.weight": list(config.weights), "coupling.k": list(config.k), **grid},
        agents=agents,
        dims=config.dims,
        sims=config.sims,
        steps=int(np.ceil(config.time / config.eta)) * refine,
        dt=config.eta / refine,
        seed=config.seed,
        observe=observe.Spread(),
        every=5 * refine,
        keep_agents=False,
        progress=progress,
    )
    series = data["spread_series"].rename({"objective_weight": "loss", "coupling_k": "k"}).astype(float)
    return series.assign_coords(loss=list(LOSSES), time=("step", data["step"].values * config.eta / refine))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    loss, law = objectives.LogCosh(config.strength, config.convex), noise.Gaussian(config.sigma)
    model = Dynamics(loss, Quorum(config.k[0]), law, config.eta)
    late, early = [], []
    for p in config.agents:
        series = [_spread(config, model, {}, p, refine, progress) for refine in config.refine]
        late.append(xr.concat([s[..., s.time > config.time / 2].mean("step", skipna=False) for s in series], "refine"))
        hill = series[-1].sel(loss=LOSSES[0], drop=True)
        near = abs(hill.time - config.hilltop_time) < 6 * config.eta
        early.append(hill[..., near].mean("step", skipna=False))
    along = xr.IndexVariable("n_agents", list(config.agents))
    batches = np.array(config.batches)
    own = Dynamics(loss, Quorum(config.k[0]), law, config.rates[0], batch=batches, rates="noise")
    rates = _spread(config, own, {"eta": list(config.rates)}, len(batches), config.refine[-1], progress)
    rates = rates[..., rates.time > config.time / 2].mean("step", skipna=False).rename(eta="rate_spread")
    return xr.Dataset(
        {
            "spread": xr.concat(late, along).assign_coords(refine=list(config.refine)),
            "hilltop": xr.concat(early, along),
            "spread_rates": rates.assign_coords(rate_spread=list(config.rate_spreads)),
        }
    )
