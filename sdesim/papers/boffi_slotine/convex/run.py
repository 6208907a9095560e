"""The runs of bs-convex: SGD, QSGD, EASGD and QSGD with momentum, and where EASGD becomes unstable without noise."""

import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import init, noise, objectives, observe
from sdesim.coupling import Elastic, Quorum
from sdesim.dynamics import Dynamics, Friction
from sdesim.ensembles.grids import sweep
from sdesim.ensembles.warnings import DivergenceWarning, StabilityWarning
from sdesim.fields import number
from sdesim.papers.boffi_slotine.convex.config import Config
from sdesim.papers.frame import measured


class Rotated(objectives.AbstractObjective):
    """A loss of the coordinates y_j along the rows of an orthogonal matrix R: f(x) = inner(R x), R (dims, dims).

    Rotating leaves curvature as it is. With T_j the third derivative of the sum's term j, the Hessian of component i of
    the gradient is R^T diag(R_ji T_j) R: so Q of f is that of `inner` times the greatest |R_ji|, where all T_j may be
    at their greatest, and never more.

    Attributes:
        inner: the loss of the rotated coordinates.
        rotation: R, (dims, dims).
    """

    inner: objectives.LogCosh
    rotation: Array = eqx.field(converter=number)

    def loss(self, x: Array):
        return self.inner.loss(self.rotation @ x)


class QuorumVelocity(observe.AbstractSeries):
    """Mean of the agents' velocities, (dims,), in length/time; of the displacements in the iterations' own momentum."""

    name = "quorum_velocity"
    axes = ("dim",)

    def value(self, view: observe.View):
        return view.mean(view.state.v)


def _late(
    config: Config,
    model: Dynamics,
    agents: int,
    k: Sequence[float],
    dt: float,
    observables: Any,
    progress: bool,
    start: np.ndarray | None = None,
) -> xr.Dataset:
    """Records of the last two thirds of a run for all gains, from a start at the minimum."""
    steps = int(np.ceil(config.time / dt))
    data = sweep(
        model,
        {"coupling.k": list(k)},
        agents=agents,
        dims=config.dims,
        sims=config.sims,
        steps=steps,
        dt=dt,
        seed=config.seed,
        init=init.Point(config.minimum if start is None else start),
        observe=observables,
        every=max(1, round(2 * config.eta / dt)),
        keep_agents=False,
        progress=progress,
    )
    return data.isel(step=data["step"].values > steps / 3).rename({"coupling_k": "k"}).astype(float)


def _distance(*points: xr.DataArray) -> xr.DataArray:
    """Mean over the records of the length of the vector of all points' coordinates."""
    squares = [(x**2).sum("dim", skipna=False) for x in points]
    square = xr.concat(squares, "point", combine_attrs="drop").sum("point", skipna=False)
    return (square**0.5).mean("step", skipna=False)


def qsgd_errors(config: Config, agents: int, progress: bool) -> xr.DataArray:
    """Errors of QSGD over (refine, gain, sim), at the step of the iteration and at that of the SDE.

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        progress: whether to say how far it is.
    """
    model = Dynamics(config.loss, Quorum(1.0), noise.Gaussian(config.sigma), config.eta)
    errors: list[xr.DataArray] = []
    for refine in (1, config.refine):
        data = _late(config, model, agents, (0.0, *config.k), config.eta / refine, observe.Quorum(), progress)
        errors.append(_distance(data["quorum_series"] - config.minimum).rename(k="gain"))
    return measured.along("refine", (1, config.refine), errors)


def rotated_errors(config: Config, agents: int, progress: bool) -> xr.DataArray:
    """Errors of QSGD on the rotated loss over (k, sim), at the step of the SDE.

    Noise of the same trace acts along the first of the rotated coordinates alone, whose direction is (1, ..., 1): all
    components of the gradient are then disturbed alike, as the theorem's sqrt(d) supposes.

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        progress: whether to say how far it is.
    """
    turn = config.rotation
    matrix = jnp.asarray(config.sigma * np.sqrt(config.dims) * np.outer(turn[0], np.eye(config.dims)[0]))
    law = noise.Diffusion(lambda x: matrix.astype(x.dtype), "full")
    model = Dynamics(Rotated(config.loss, turn), Quorum(1.0), law, config.eta)
    at = np.full(config.dims, config.minimum) @ turn
    data = _late(config, model, agents, config.k, config.eta / config.refine, observe.Quorum(), progress, at)
    return _distance(data["quorum_series"] - xr.DataArray(at, dims="dim"))


def momentum_errors(config: Config, agents: int, progress: bool) -> dict[str, xr.DataArray]:
    """With momentum: errors |(x1 - x*, x2)| of the mean, and the spread of the agents' positions, over (k, sim).

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        progress: whether to say how far it is.
    """
    model = Dynamics(config.loss, Quorum(1.0), noise.Gaussian(config.sigma), config.eta, Friction(config.mu))
    what = (observe.Quorum(), QuorumVelocity(), observe.Spread())
    data = _late(config, model, agents, config.k, config.eta / config.refine, what, progress)
    error = _distance(data["quorum_series"] - config.minimum, data["quorum_velocity"])
    return {"momentum": error, "momentum_spread": data["spread_series"].mean("step", skipna=False)}


def easgd_errors(config: Config, agents: int, progress: bool) -> dict[str, xr.DataArray]:
    """Errors of EASGD's mean of the agents, of its center, and of both as one vector, over (k, sim).

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        progress: whether to say how far it is.
    """
    model = Dynamics(config.loss, Elastic(1.0), noise.Gaussian(config.sigma), config.eta)
    what = (observe.Quorum(), observe.Center())
    data = _late(config, model, agents, config.k, config.center_dt(agents), what, progress)
    mean, center = data["quorum_series"] - config.minimum, data["center_series"] - config.minimum
    return {"easgd": _distance(mean), "center": _distance(center), "both": _distance(mean, center)}


def stability_bracket(config: Config, agents: int, k: float) -> xr.DataArray:
    """Between which learning rates EASGD's iteration becomes unstable, by simulation without noise, (side,).

    First rates from 0.3 to 2.1 times 2 / (k (1 + p) + L) are tried, then rates at the ratio 1 + stability_step about
    the place. Agents start near the point of greatest curvature L.

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        k: coupling gain, in 1/time.

    Returns:
        The greatest rate below which every simulation is stable, and the least above which none is.

    Raises:
        ValueError: if the limit is not among the rates tried.
    """
    nominal = 2 / (k * (1 + agents) + config.smoothness)
    coarse = _bracket(config, agents, k, nominal * np.geomspace(0.3, 2.1, 32))
    fine = np.sqrt(coarse[0] * coarse[1]) * (1 + config.stability_step) ** (np.arange(24) - 11.5)
    return xr.DataArray(list(_bracket(config, agents, k, fine)), {"side": ["stable", "unstable"]}, "side")


def _bracket(config: Config, agents: int, k: float, rates: np.ndarray) -> tuple[float, float]:
    """The greatest of increasing rates below which all simulations are stable, and the least above which none is.

    A rate is unstable if the error of the mean or of the center has grown in the end.
    """
    model = Dynamics(objectives.LogCosh(config.strength, config.weight), Elastic(k), eta=0.1)
    with warnings.catch_warnings():  # rates beyond the limit are what is looked for
        for kind in (StabilityWarning, DivergenceWarning, RuntimeWarning):
            warnings.simplefilter("ignore", kind)
        data = sweep(
            model,
            {"eta": list(rates)},
            agents=agents,
            sims=8,
            steps=config.stability_iterations,
            seed=config.seed,
            init=init.Normal(0.0, 1e-3),
            observe=(observe.Quorum(), observe.Center()),
            every=config.stability_iterations,
            keep_agents=False,
        )
    both = xr.concat([data["quorum_series"], data["center_series"]], "point", combine_attrs="drop")
    size = abs(both).max(("point", "dim"), skipna=False).transpose("eta", "sim", "step").values
    grows = ~(size[..., -1] < size[..., 0])  # what is not finite has grown
    if grows[0].any() or not grows[-1].all():
        raise ValueError(
            f"stability_step={config.stability_step:g}: the limit is not among the rates tried; enlarge it"
        )
    above = np.flatnonzero(~grows.all(axis=1))[-1] + 1  # the rate after the last at which any is stable
    return float(rates[np.argmax(grows.any(axis=1)) - 1]), float(rates[above])


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """All errors, over (n_agents, ...) or for EASGD (center_agents, ...): see the functions above."""
    numbers, centers = list(config.agents), list(config.center_agents)
    qsgd = [qsgd_errors(config, p, progress) for p in numbers]
    rotated = [rotated_errors(config, p, progress) for p in numbers]
    momentum = [momentum_errors(config, p, progress) for p in numbers]
    easgd = [easgd_errors(config, p, progress) for p in centers]
    limits = [stability_bracket(config, p, config.k[-1]) for p in centers]
    each = {"qsgd": qsgd, "rotated": rotated, **{name: [m[name] for m in momentum] for name in momentum[0]}}
    of_centers = {**{name: [e[name] for e in easgd] for name in easgd[0]}, "limit": limits}
    return xr.Dataset(
        {
            **{name: measured.along("n_agents", numbers, parts) for name, parts in each.items()},
            **{name: measured.along("center_agents", centers, parts) for name, parts in of_centers.items()},
        }
    )
