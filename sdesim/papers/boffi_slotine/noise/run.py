"""The runs of bs-noise, and what is observed of the mean: its disturbance and its noise."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim import init, noise, observe
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.papers.boffi_slotine.log_cosh import LOSSES
from sdesim.papers.boffi_slotine.noise.config import Config
from sdesim.papers.frame import measured


class Disturbance(observe.AbstractSeries):
    """eps = grad f(mean) - mean of grad f(x^i), (dims,)."""

    name = "disturbance"
    axes = ("dim",)

    def value(self, view: observe.View):
        return view.model.objective.gradient(view.quorum) - view.mean(view.model.gradients(view.state.x))


class QuorumNoise(observe.AbstractAccumulator):
    """Mean square of what one step adds to the mean of the agents beyond their mean gradient, (dims,), in length^2.

    For a coupling that leaves the mean alone, whatever the loss, this is the noise of a step.
    """

    name = "quorum_noise"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"square": ("dim",)}

    def _now(self, view: observe.View):
        return view.quorum, view.mean(view.model.gradients(view.state.x)), view.state.t

    def init(self, view: observe.View):
        return jnp.zeros((), view.state.x.dtype), jnp.zeros_like(view.quorum), self._now(view)

    def update(self, total: Any, view: observe.View):
        count, square, (x, gradient, t) = total
        now = self._now(view)
        added = now[0] - x + (now[2] - t) * gradient
        return count + 1, square + added**2, now

    def finish(self, total: Any):
        count, square, _ = total
        return {"square": square / jnp.maximum(count, 1)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    each = [_on_loss(config, loss, progress) for loss in LOSSES]
    return xr.Dataset({name: measured.along("loss", LOSSES, [data[name] for data in each]) for name in each[0]})


def _on_loss(config: Config, loss: str, progress: bool) -> xr.Dataset:
    """Measurements on one loss, over (n_agents, k, sim)."""
    model = Dynamics(
        config.loss(loss), Quorum(config.k[0]), noise.Gaussian(config.sigma), config.eta, batch=config.batch
    )
    steps = int(np.ceil(config.time / config.dt))
    data = sweep(
        model,
        {"agents": list(config.agents), "coupling.k": list(config.k)},
        steps=steps,
        dt=config.dt,
        sims=config.sims,
        seed=config.seed,
        init=init.Point(config.point),
        observe=(observe.Quorum(), Disturbance(), QuorumNoise()),
        every=max(1, config.refine // 4),
        keep_agents=False,
        progress=progress,
    )
    data = data.rename({"coupling_k": "k"})
    late = data.isel(step=data["step"].values > steps / 3, dim=0, drop=True).astype(float)
    quorum = late["quorum_series"]
    return xr.Dataset(
        {
            "noise": late["quorum_noise_square"] / config.dt,
            "quorum": quorum.mean("step", skipna=False),
            "square": ((quorum - config.point) ** 2).mean("step", skipna=False),
            "disturbance": abs(late["disturbance"]).mean("step", skipna=False),
        }
    )
