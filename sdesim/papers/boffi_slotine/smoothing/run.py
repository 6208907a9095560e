"""The runs of bs-smoothing: slopes where agents take their gradients, by the place of the center of mass."""

import itertools
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sdesim import noise
from sdesim.coupling import ORDERS, Order, Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.observe import AbstractSeries, View
from sdesim.papers.boffi_slotine.one_dimensional import Loss
from sdesim.papers.boffi_slotine.smoothing.config import WARM, WINDOW, Config
from sdesim.theory.smoothing import Law, averaged

START = 2.6  # paths start within this
EDGES = np.linspace(-WINDOW, WINDOW, 47)  # four bins a period of the fast wave
CENTERS = (EDGES[1:] + EDGES[:-1]) / 2


def factors(law: Law, loss: Loss) -> np.ndarray:
    """What convolution does to the gradient of the loss: variance, damping of the slow and of the fast wave.

    Args:
        law: symmetric, of what the loss is convolved with.
        loss: constants of the loss.
    """
    return np.array([law.variance, law.damping(loss.w1), law.damping(loss.w2)])


def slope(loss: Loss, y: np.ndarray, damped: np.ndarray) -> np.ndarray:
    """The gradient at y of the loss convolved with a symmetric law of which the `factors` are given.

    Args:
        loss: constants of the loss.
        y: points.
        damped: the `factors` of the law.

    Returns:
        Of the form of y.
    """
    variance, slow, fast = damped
    smooth = 4 * y**3 + 12 * variance * y - 2 * loss.well * y - loss.tilt
    waves = loss.a1 * loss.w1 * slow * np.sin(loss.w1 * y) + loss.a2 * loss.w2 * fast * np.cos(loss.w2 * y)
    return loss.scale * (smooth + waves)


def regressors(loss: Loss, y: np.ndarray) -> np.ndarray:
    """What each of the `factors` multiplies in `slope`: (..., 3).

    Args:
        loss: constants of the loss.
        y: points, (...).
    """
    parts = [12 * y, loss.a1 * loss.w1 * np.sin(loss.w1 * y), loss.a2 * loss.w2 * np.cos(loss.w2 * y)]
    return loss.scale * np.stack(parts, axis=-1)


class Descent(AbstractSeries):
    """The mean over agents of y = w - eta grad f(w) and of grad f(w), with w the point of the gradient: (2,).

    Attributes:
        order: of coupling and descent in one step.
    """

    order: Order = eqx.field(static=True)

    name = "descent"
    axes: ClassVar[tuple[str, ...]] = ("part",)

    def value(self, view: View):
        s, eta = view.state, view.model.matched_step()
        w = s.x
        if self.order == "gauss-seidel":
            w = w + eta * view.model.coupling.pull(s.x, s.shared, s.t, view.mean)
        gradients = view.model.gradients(w)
        return jnp.stack([jnp.mean(w - eta * gradients), jnp.mean(gradients)])


def tally(config: Config, agents: int, y: np.ndarray, slopes: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of the paths of one model.

    Args:
        config: constants of the experiment.
        agents: number of agents p.
        y: y_t, (sims, paths, transitions).
        slopes: slopes_{t+1}, (sims, paths, transitions).

    Returns:
        visits, slope, from_averaged: by bin of y, of each simulation (bin, sim): how many, and sums of the slope and of
        its differences from what the averaged noise predicts. normal, right: (3, 3, sims) and (3, sims) of the
        regression of the slope on the factors of a law.
    """
    loss = config.loss
    from_averaged = slopes - slope(loss, y, factors(averaged(config.half_width, agents), loss))
    place = np.digitize(y, EDGES) - 1
    inside = (place >= 0) & (place < CENTERS.size)
    index = (np.arange(config.sims)[:, None, None] * CENTERS.size + place)[inside]

    def binned(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, values[inside], config.sims * CENTERS.size).reshape(config.sims, -1).T

    design = regressors(loss, y) * inside[..., None]
    rest = slopes - slope(loss, y, np.zeros(3))
    lost = ~(np.isfinite(y) & np.isfinite(slopes)).all(axis=(1, 2))  # of which no bin would know
    found = {
        "visits": binned(np.ones_like(y)),
        "slope": binned(slopes),
        "from_averaged": binned(from_averaged),
        "normal": np.einsum("sptj,sptk->jks", design, design),
        "right": np.einsum("sptj,spt->js", design, rest),
    }
    return {name: np.where(lost, np.nan, values) for name, values in found.items()}


DIMENSIONS = {
    **dict.fromkeys(("visits", "slope", "from_averaged"), ("y", "sim")),
    "normal": ("factor", "column", "sim"),
    "right": ("factor", "sim"),
}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """The variables of `tally`, with the dimensions p, order and rate before theirs."""
    total = config.sims * config.paths
    starts = np.linspace(-START, START, total).reshape(config.paths, config.sims).T.reshape(total, 1, 1)
    model = Dynamics(config.loss.objective(), Quorum(0.0), noise.Uniform(config.noise_half_width), config.eta)
    found = {}
    for p, order in itertools.product(config.agents, ORDERS):
        if p == 1 and order != ORDERS[0]:  # one agent is its own mean: orders are all the same to it
            found.update({(1, order, rate): found[1, ORDERS[0], rate] for rate in config.rates})
            continue
        data = sweep(
            model,
            {"coupling.k": [rate / config.eta for rate in config.rates]},
            agents=p,
            sims=total,
            steps=config.steps,
            seed=config.seed,
            init=starts,
            order=order,
            observe=Descent(order),
            every=1,
            keep_agents=False,
            progress=progress,
        )
        records = data["descent"].values.astype(float).reshape(len(config.rates), config.sims, config.paths, -1, 2)
        for rate, one in zip(config.rates, records, strict=True):
            y, slopes = one[..., WARM:-1, 0], one[..., WARM + 1 :, 1]
            found[p, order, rate] = tally(config, p, y, slopes)
    variables = {
        name: (
            ("p", "order", "rate", *dimensions),
            np.array([[[found[p, o, r][name] for r in config.rates] for o in ORDERS] for p in config.agents]),
        )
        for name, dimensions in DIMENSIONS.items()
    }
    names = ["variance", "slow", "fast"]
    coordinates = {"p": list(config.agents), "order": list(ORDERS), "rate": list(config.rates), "y": CENTERS}
    return xr.Dataset(variables, {**coordinates, "factor": names, "column": names, "sim": np.arange(config.sims)})
