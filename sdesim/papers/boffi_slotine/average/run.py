"""The simulation of bs-average, with its skewed noise and the average that is observed."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import DTypeLike
from jaxtyping import Array

from sdesim import noise, objectives, random
from sdesim.coupling import Quorum, per_agent
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import number
from sdesim.observe import AbstractAccumulator, View
from sdesim.papers.boffi_slotine.average.config import ALIKE, UNEQUAL, Config, K
from sdesim.random import Words


class Exponential(noise.AbstractNoise):
    """zeta = matrix (e - 1), e of independent exponential components of mean 1: variance 1 and skewness 2.

    Attributes:
        matrix: what multiplies the components, (dims, dims), in length/time.
    """

    matrix: Array = eqx.field(converter=number)

    def iteration_only(self):
        return "skewed noise is not the increment of an SDE"

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return -jnp.log(random.uniform(words[0].own, dtype)) - 1

    def apply(self, z: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        return per_agent(scale / jnp.sqrt(batch), z) * jnp.sum(self.matrix[None] * z[:, None], axis=2)

    def diffuse(self, dw: Array, x: Array, gradient: Array, batch: Array, scale: Array):
        return self.apply(dw, x, gradient, batch, scale)


class Normal(Exponential):
    """The same with independent standard normal components, which have no skewness: of a wrong model."""

    def variates(self, words: Sequence[Words], dtype: DTypeLike, batch: Array):
        return random.normal(words[0], dtype)


SKEWNESS = 2.0  # of an exponential law


class Preconditioned(objectives.Quadratic):
    """A quadratic loss whose gradients are multiplied by a matrix.

    Attributes:
        matrix: what multiplies gradients, (dims, dims).
    """

    matrix: Array = eqx.field(converter=number, default=1.0)

    def gradient(self, x: Array):
        return self.matrix @ super().gradient(x)


class Average(AbstractAccumulator):
    """The mean of the quorum over the first n iterations, for each n of `iterations`: output `mean`, (len, dims).

    Attributes:
        iterations: the numbers n, (len,).
    """

    iterations: Array = eqx.field(converter=lambda n: jnp.asarray(n, jnp.int32))

    name = "average"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"mean": ("record", "dim")}

    def init(self, view: View):
        zero = jnp.zeros_like(view.quorum)
        return zero, jnp.zeros((self.iterations.size, zero.size), zero.dtype)

    def update(self, total: Any, view: View):
        mean, kept = total
        mean = mean + (view.quorum - mean) / view.step.astype(mean.dtype)
        return mean, jnp.where((self.iterations == view.step)[:, None], mean[None], kept)

    def finish(self, total: Any):
        return {"mean": total[1]}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Run every gain, of agents that are preconditioned alike and of such that are not.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        Variables, all sqrt(n) z_n: `alike` (preconditioner, coupling.k, n, dim, sim), and `differing` (unequal.k, n,
        sim) of agents whose preconditioners differ.
    """
    settings: dict[str, Any] = dict(
        sims=config.sims, steps=config.iterations[-1], seed=config.seed, keep_agents=False, progress=progress,
        observe=Average(config.iterations), every=config.iterations[-1],
    )  # fmt: skip
    scale = xr.DataArray(np.sqrt(config.iterations), {"n": list(config.iterations)}, "n")

    def scaled(data: xr.Dataset) -> xr.DataArray:
        found = data["average_mean"].rename(average_mean_record="n").assign_coords(n=list(config.iterations))
        return (found * scale).transpose(..., "n", "dim", "sim")

    parts = []
    for matrix in (np.eye(2), np.array(config.preconditioner)):
        model = Dynamics(
            Preconditioned(config.curvature, matrix=matrix),
            Quorum(config.k[0]),
            Exponential(matrix @ np.array(config.noise)),
            config.eta,
        )
        parts.append(scaled(sweep(model, {"coupling.k": list(config.k)}, agents=config.agents, dims=2, **settings)))
    # An agent's own learning rate multiplies its gradient, its noise and its coupling: dividing the gain by it leaves
    # the coupling of all agents alike, and the rest preconditioned.
    own = np.array(config.unequal)
    gains = [k / own for k in config.unequal_k]
    model = Dynamics(objectives.Quadratic(1.0), Quorum(gains[0]), Exponential(np.eye(1)), config.eta * own)
    differ = scaled(sweep(model, {"coupling.k": gains}, agents=own.size, dims=1, **settings)).isel(dim=0, drop=True)
    return xr.Dataset(
        {
            "alike": xr.concat(parts, xr.IndexVariable("preconditioner", list(ALIKE)), combine_attrs="drop"),
            "differing": differ.rename({K: UNEQUAL}).assign_coords({UNEQUAL: list(config.unequal_k)}),
        }
    )
