"""The runs of bs-rates, beside the exact laws on a quadratic."""

import numpy as np
import xarray as xr

from sdesim import init, noise, objectives, observe, statistics
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.boffi_slotine.rates.config import MODELS, Config, Explorers, two_halves
from sdesim.papers.frame import measured
from sdesim.theory import rates as theory


def exact(config: Config, model: str, contrast: float, k: float) -> tuple[float, float]:
    """E sum_i |x^i - x_mean|^2 and Var x_mean on the quadratic, of the stationary iteration, in length^2.

    Args:
        config: constants of the experiment.
        model: "iteration" or a name of another model of the rates.
        contrast: of the rates.
        k: coupling gain, in 1/time.
    """
    eta, own_steps = config.rates(contrast), model == "iteration"
    v = theory.agents_covariance(
        eta, config.sigma**2, k, config.curvature, config.batch, config.eta, own_steps=own_steps
    )
    return theory.spread_and_variance(v)


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return xr.merge(
        [
            _convex(config, progress),
            _conserved(config, progress),
            explore(config.explorers, config.eta, config.sims, config.seed, progress),
        ]
    )


def _convex(config: Config, progress: bool) -> xr.Dataset:
    """Spread of the agents and square of their mean, averaged over the second half of each run."""
    rates = [config.rates(c) for c in config.contrast]
    law = noise.Gaussian(config.sigma)
    quadratic = objectives.Quadratic(config.curvature)
    kinds = {
        "quadratic_noise": Dynamics(quadratic, Quorum(1.0), law, rates[0], batch=config.batch, rates="noise"),
        "quadratic_iteration": Dynamics(quadratic, Quorum(1.0), law, rates[0], batch=config.batch),
        "logcosh_noise": Dynamics(
            objectives.LogCosh(config.curvature, config.weight),
            Quorum(1.0),
            law,
            rates[0],
            batch=config.batch,
            rates="noise",
        ),
    }
    found = {}
    for kind, dynamics in kinds.items():
        data = sweep(
            dynamics,
            {"eta": rates, "coupling.k": list(config.k)},
            agents=config.agents,
            sims=config.sims,
            steps=config.steps,
            seed=config.seed,
            init=0.0,
            observe=[observe.Spread(), observe.Quorum()],
            every=10,
            keep_agents=False,
            progress=progress,
        )
        half = data.rename({"eta": "contrast", "coupling_k": "k"}).sel(step=slice(config.steps // 2, None))
        half = half.assign_coords(contrast=list(config.contrast))
        found[f"{kind}_spread"] = half["spread_series"].mean("step", skipna=False).astype(float)
        found[f"{kind}_quorum"] = (
            (half["quorum_series"].isel(dim=0, drop=True) ** 2).mean("step", skipna=False).astype(float)
        )
    data = xr.Dataset(found)
    for model in MODELS:
        law = np.array([[exact(config, model, c, k) for k in config.k] for c in config.contrast])
        for i, name in enumerate(("spread", "quorum")):
            data[f"exact_{model}_{name}"] = (("contrast", "k"), law[:, :, i])
    return data


def _conserved(config: Config, progress: bool) -> xr.Dataset:
    """Where agents meet that feel the coupling alone, and where they started."""
    rates = [config.rates(c) for c in config.contrast]
    begin = np.random.default_rng(config.seed).normal(size=(config.sims, config.agents, 1))
    data = sweep(
        Dynamics(objectives.Quadratic(0.0), Quorum(max(config.k)), eta=rates[0]),
        {"eta": rates},
        agents=config.agents,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=begin,
        progress=progress,
    )
    begin = np.broadcast_to(begin[..., 0], (len(rates), config.sims, config.agents))
    meet = np.stack([theory.consensus(x, eta) for x, eta in zip(begin, rates, strict=True)])
    dims = ("contrast", "sim")
    return xr.Dataset(
        {
            "met": (dims, data["quorum"].isel(dim=0).values.astype(float)),
            "meet": (dims, meet),
            "started": (dims, begin.mean(-1)),
        },
        {"contrast": list(config.contrast)},
    )


def explore(config: Explorers, eta: float, sims: int, seed: int, progress: bool) -> xr.Dataset:
    """Where quorum and agents of each population are at the end, for each gain.

    Args:
        config: constants of the experiment.
        eta: mean learning rate, in time.
        sims: independent simulations of each gain.
        seed: of all random numbers.
        progress: whether to say how far it is.

    Returns:
        (population, gain, sim): `quorum_share`, 1 where the quorum is in the basin of the deepest minimum of the loss
        smoothed at the mean rate `eta`; `explorer_share` and `fine_share`, the shares of the first and of the second
        half of the agents there; `explored`, the quorum.
    """
    p = config.agents
    mixed, equal = two_halves(eta, config.contrast, p), np.full(p, eta)
    common = [np.full(p, k) for k in config.k]
    law, loss = noise.Uniform(config.noise_half_width), config.loss.objective()
    uncoupled = Quorum(np.zeros(p))
    kinds = {
        "equal": (Dynamics(loss, uncoupled, law, equal), common),
        "fine": (Dynamics(loss, uncoupled, law, np.full(p, mixed[-1])), common),
        "noise": (Dynamics(loss, uncoupled, law, mixed, rates="noise"), common),
        "iteration": (Dynamics(loss, uncoupled, law, mixed), common),
        "moving": (Dynamics(loss, uncoupled, law, mixed), [k * eta / mixed for k in common]),
    }
    marks = one.landmarks(one.Config(eta=eta, noise_half_width=config.noise_half_width, loss=config.loss))
    parts: list[xr.Dataset] = []
    for model, gains in kinds.values():
        data = sweep(
            model,
            {"coupling.k": gains},
            agents=p,
            sims=sims,
            steps=config.steps,
            seed=seed,
            init=init.Uniform(-config.init_half_width, config.init_half_width),
            progress=progress,
        )
        near = measured.within(data["agents"].isel(dim=0, drop=True), marks.right, one.NEAR).astype(float)
        explored = data["quorum"].isel(dim=0, drop=True).astype(float)
        part = xr.Dataset(
            {
                "quorum_share": measured.within(explored, marks.right, one.NEAR).astype(float),
                "explorer_share": statistics.grid_mean(near.isel(agent=slice(None, p // 2)), "agent"),
                "fine_share": statistics.grid_mean(near.isel(agent=slice(p // 2, None)), "agent"),
                "explored": explored,
            }
        )
        parts.append(part.rename({"coupling_k": "gain"}).assign_coords(gain=list(config.k)))
    return xr.concat(parts, dim=xr.IndexVariable("population", list(kinds)))
