"""The runs of y-workers: without gradient noise, for rates, and with it, for the time to a loss level."""

from collections.abc import Sequence

import jax.numpy as jnp
import xarray as xr

from sdesim import noise, objectives, observe
from sdesim.asynchrony import Asynchronous, AsyncSGD, Deterministic, Exponential, Gamma
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.yu.workers.config import LAWS, Config


class ServerAndWorkers(observe.AbstractSeries):
    """The server c, the mean of the workers' points x_i, and the mean of their squares: of one coordinate, (3,)."""

    name = "server_and_workers"
    axes = ("what",)

    def value(self, view: observe.View):
        x = view.state.x[:, 0]
        return jnp.stack([view.center[0], jnp.mean(x), jnp.mean(x**2)])

    def numbers(self, agents: int, dims: int):
        return 3


def stepper(config: Config, law: str) -> Asynchronous:
    """AsyncSGD with compute times of a law, and workers that have worked for long.

    Args:
        config: constants of the experiment.
        law: a name of `LAWS`.
    """
    if law == "equal":
        return Asynchronous(AsyncSGD(), compute=Deterministic(), start="staggered")
    compute = Exponential() if law == "exponential" else Gamma(shape=config.shape)
    return Asynchronous(AsyncSGD(), compute=compute, start="stationary")


def _swept(
    config: Config,
    law: str,
    workers: Sequence[int],
    length: float,
    sims: int,
    progress: bool,
    sigmas: Sequence[float] = (0.0,),
    etas: Sequence[float] | None = None,
) -> xr.DataArray:
    """What is observed, (n_agents, sigma, eta, time, what, sim), of workers that all start at 1."""
    etas = (config.eta,) if etas is None else etas
    data = sweep(
        Dynamics(objectives.Quadratic(config.curvature), noise=noise.Gaussian(config.sigma), eta=config.eta),
        {"agents": list(workers), "noise.sigma": list(sigmas), "eta": list(etas)},
        stepper=stepper(config, law),
        sims=sims,
        at=config.moments(length),
        seed=config.seed,
        init=1.0,
        observe=ServerAndWorkers(),
        keep_agents=False,
        progress=progress,
    )
    seen = data[ServerAndWorkers.name].drop_attrs().astype(float)
    seen = seen.rename({f"{ServerAndWorkers.name}_what": "what", "noise_sigma": "sigma"})
    seen = seen.assign_coords(what=["server", "workers", "square"])
    return seen.transpose("n_agents", "sigma", "eta", "time", "what", "sim")


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """With and without gradient noise, on the same clocks.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        Without gradient noise `memoryless` (many, time, what, sim) and `gamma` (gamma_workers, time, what, sim), and,
        where nothing is random, `regular` (equal_workers, equal_time, what) and `fluid` (equal_time, what), at the best
        learning rate for so many. With it, as shares of the loss at the start, (workers, race, sim):
        `exponential_loss`, `gamma_loss` and `equal_loss`.
    """
    crowd = _swept(config, "exponential", config.crowd, config.time, config.sims, progress)
    quiet, found = {}, {}
    for law in LAWS:
        etas = (config.eta, config.best_eta) if law == "equal" else None
        common = (config, law, getattr(config, law), config.race, config.sims, progress)
        data = _swept(*common, sigmas=(0.0, config.sigma), etas=etas).rename(n_agents=f"{law}_workers")
        quiet[law] = data.isel(sigma=0, drop=True)
        found[f"{law}_loss"] = (data.isel(sigma=1, eta=0, drop=True).sel(what="server", drop=True) ** 2).rename(
            time="race"
        )
    early = lambda values: values.isel(eta=0, drop=True).sel(time=slice(0, config.time))
    parts = [early(quiet["exponential"]).rename(exponential_workers="many")]
    parts.append(early(crowd.isel(sigma=0, drop=True)).rename(n_agents="many"))
    found["memoryless"] = xr.concat(parts, "many")
    found["gamma"] = early(quiet["gamma"])
    equal = quiet["equal"].isel(sim=0, drop=True).sel(time=slice(0, config.equal_time)).rename(time="equal_time")
    found["regular"] = equal.isel(eta=0, drop=True)
    found["fluid"] = equal.isel(eta=1, equal_workers=-1, drop=True)
    return xr.Dataset(found).transpose(..., "what", "sim")
