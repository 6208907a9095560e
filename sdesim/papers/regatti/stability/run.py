"""The runs of r-stability: each with its twins, on the same timetable and with the same samples drawn."""

import numpy as np
import xarray as xr

from sdesim import objectives
from sdesim.asynchrony import Asynchronous, AsyncSGD, Deterministic, Exponential
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.regatti.samples import Points
from sdesim.papers.regatti.stability.config import LAWS, Config


def stepper(law: str) -> Asynchronous:
    """AsyncSGD with compute times of a law, and workers that have worked for long.

    Args:
        law: a name of `LAWS`.
    """
    if law == "equal":
        return Asynchronous(AsyncSGD(), compute=Deterministic(), start="staggered")
    return Asynchronous(AsyncSGD(), compute=Exponential(), start="stationary")


def servers(config: Config, law: str, progress: bool = False) -> xr.DataArray:
    """Where the servers of all runs and of their twins end, from a start at 0.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
        progress: whether to say how far it is.

    Returns:
        (workers, samples, eta, twin, sim, dim).
    """
    model = Dynamics(
        objectives.Quadratic(1.0), noise=Points(config.samples(), config.count, curvature=1.0), eta=config.eta
    )
    data = sweep(
        model,
        {"agents": config.workers, "noise.count": config.counts, "eta": config.etas, "noise.twin": (0, 1)},
        stepper=stepper(law),
        sims=config.sims,
        steps=config.arrivals,
        dims=config.dims,
        seed=config.seed,
        init=0.0,
        keep_agents=False,
        progress=progress,
    )
    names = {"n_agents": "workers", "noise_count": "samples", "noise_twin": "twin"}
    return data["center"].drop_attrs().astype(float).rename(names)


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Twins and gaps.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        (law, workers, samples, eta, sim) each: `shift`, the mean over coordinates of the difference of twins in units
        of Delta; `square`, that of its square; `gap`, by how much the run has opened the gap of losses, unseen less
        seen, as a share of a coordinate's variance.
    """
    ends = xr.concat([servers(config, law, progress) for law in LAWS], xr.IndexVariable("law", list(LAWS)))
    samples = config.samples()
    of_counts = lambda values: xr.DataArray(np.array(values), {"samples": list(config.counts)}, ("samples", "dim"))
    delta = ends.sel(twin=1) - ends.sel(twin=0)
    relative = delta / of_counts([config.replaced(n) for n in config.counts])
    # At x the mean of (x - z)^2 / 2 over all z, less that over the samples, is x times their mean, and what is no
    # matter of x.
    gap = (ends.sel(twin=0) * of_counts([samples[:n].mean(0) for n in config.counts])).mean("dim")
    found = {"shift": relative.mean("dim"), "square": (relative**2).mean("dim"), "gap": gap}
    return xr.Dataset(found).drop_vars("twin", errors="ignore").transpose(..., "sim")
