"""The iteration and its SDEs, driven by one Brownian path."""

import itertools
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from sdesim import noise, objectives
from sdesim.coupling import AbstractCoupling
from sdesim.dynamics import Dynamics
from sdesim.fields import number
from sdesim.papers.boffi_slotine.weak.config import MODELS, Config
from sdesim.progress import each
from sdesim.results.result import Result
from sdesim.run import iterate, simulate

FINE = 8  # steps of the SDE's solution in one iteration, at the finest


class Corrected(objectives.LogCosh):
    """LogCosh of which agents descend f + (eta/4) |grad f|^2, the correction of an agent that is alone.

    Attributes:
        eta: learning rate, in time; 0 corrects nothing.
    """

    eta: Array = eqx.field(converter=number, default=0.0)

    def gradient(self, x: Array):
        slope = jax.grad(self.loss)
        return slope(x) + 0.5 * self.eta * jax.jvp(slope, (x,), (slope(x),))[1]


def function(state: np.ndarray) -> np.ndarray:
    """The smooth function whose expectations are compared: the squares of the first agent and of the center.

    Args:
        state: agents and the center, which is last, (sims, agents + 1).

    Returns:
        One number a simulation, (sims,).
    """
    return state[:, 0] ** 2 + state[:, -1] ** 2


def dynamics(config: Config, rule: AbstractCoupling, model: str, eta: float) -> Dynamics:
    """The SDE of one of `MODELS`; the iteration is the matched step of the first.

    Args:
        config: constants of the experiment.
        rule: the coupling.
        model: one of `MODELS`.
        eta: learning rate, in time.
    """
    # An eta of 0 corrects nothing, and spares the first-order model a compilation of its own.
    loss = Corrected(config.strength, eta=eta if model == "loss" else 0.0)
    return Dynamics(loss, rule, noise.Gaussian(config.sigma), eta, weak_order=2 if model == "second" else 1)


def increments(config: Config, iterations: int) -> np.ndarray:
    """Brownian increments (iterations, FINE, 2 sims, agents, 1): paths, and then their mirror images.

    Args:
        config: constants of the experiment.
        iterations: in the configuration's time.
    """
    eta = config.time / iterations
    rng = np.random.default_rng([config.seed, iterations])
    dw = rng.standard_normal((iterations, FINE, config.sims, len(config.start), 1), np.float32) * np.sqrt(eta / FINE)
    return np.concatenate([dw, -dw], axis=2)


def extrapolated(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """What a solution tends to as its steps become short.

    Args:
        fine: of the shorter steps.
        coarse: of steps twice as long.
    """
    return 2 * fine - coarse


def weak_errors(config: Config, rule: AbstractCoupling, iterations: int) -> dict[str, np.ndarray]:
    """The function under each SDE less that under the iteration.

    Args:
        config: constants of the experiment.
        rule: the coupling.
        iterations: in the configuration's time.

    Returns:
        By model, one number a path, (sims,); by the name "bias" what the discretization of the second-order model's SDE
        leaves.
    """
    eta, dw = config.time / iterations, increments(config, iterations)
    sizes: dict[str, Any] = dict(agents=len(config.start), sims=dw.shape[2], init=np.array(config.start)[:, None])

    def of(result: Result) -> np.ndarray:
        x, center = np.asarray(result.agents, float)[..., 0], np.asarray(result.center, float)
        pairs = function(np.concatenate([x, center], axis=1)).reshape(2, config.sims)
        return pairs.mean(axis=0)

    def sde(model: str, n: int) -> np.ndarray:
        given = dw.reshape(iterations * n, FINE // n, *dw.shape[2:]).sum(axis=1)
        chain = dynamics(config, rule, model, eta)
        return of(simulate(chain, steps=iterations * n, dt=eta / n, increments=given, **sizes))

    unit = dw.sum(axis=1) / np.sqrt(eta)
    algorithm = Dynamics(objectives.LogCosh(config.strength), rule, noise.Gaussian(config.sigma), eta)
    sgd = of(iterate(algorithm, steps=iterations, increments=unit, **sizes))
    found, half, full = {}, sgd, sgd
    for model in MODELS:  # the second-order model last
        half, full = sde(model, FINE // 2), sde(model, FINE)
        found[model] = extrapolated(full, half) - sgd
    # Extrapolations from (h, h/2) and (h/2, h/4) differ by three times the bias of the second.
    found["bias"] = (extrapolated(half, sde(model, FINE // 4)) - extrapolated(full, half)) / 3
    return found


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Set the SDEs beside the iteration for each rule and learning rate.

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        Variables: `error` (rule, model, eta, sim), the SDE's expectation less the iteration's, one path and its mirror
        image a simulation; `bias` (rule, eta, sim), of the solution of the second-order SDE.
    """
    points = list(itertools.product(config.rules, config.iterations))
    errors = {(name, n): weak_errors(config, config.coupling(name), n) for name, n in each(points, "bs-weak", progress)}
    over = lambda name, what: [errors[name, n][what] for n in config.iterations]
    return xr.Dataset(
        {
            "error": (("rule", "model", "eta", "sim"), np.array([[over(r, m) for m in MODELS] for r in config.rules])),
            "bias": (("rule", "eta", "sim"), np.array([over(r, "bias") for r in config.rules])),
        },
        {
            "rule": list(config.rules),
            "model": list(MODELS),
            "eta": config.time / np.array(config.iterations),
            "sim": np.arange(config.sims),
        },
    )
