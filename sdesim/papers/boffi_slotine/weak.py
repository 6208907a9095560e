"""bs-weak: how far the law of stochastic gradient descent is from that of its SDEs, against the learning rate.

Command: sdesim figure bs-weak. For QSGD and for EASGD with its center, on a loss that is not quadratic, the expectation
of a smooth function of an agent and the center under the iteration is set beside that under three SDEs: the first-order
model (BS 2-6), the same with the loss corrected as for a single agent, f + (eta/4) |grad f|^2, and the second-order
model, F - (eta/2) (dF/dX) F with F the whole drift, coupling and center included (Li, Tai and E 2017). The first two
must err by O(eta), the third by O(eta^2). All constants are chosen [C].

The iteration and its SDEs are driven by one Brownian path, the iteration by its increments over eta, and by its mirror
image, so that what is averaged is a small difference. The SDE is solved by steps of eta / 4 and eta / 8 and
extrapolated; a third solution measures the bias that this leaves, and it is a statement that it is small. Numbers of
iterations that double share their compiled programs.
"""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim import noise, objectives, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import AbstractCoupling, Elastic, Quorum
from sdesim.dynamics import Dynamics
from sdesim.fields import check_choice, check_count, check_sign, number
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.progress import each
from sdesim.run import iterate, simulate

FINE = 8  # steps of the SDE's solution in one iteration, at the finest
MODELS = {"first": "first order", "loss": "loss corrected alone", "second": "whole drift corrected"}
ORDERS = {"first": 1, "loss": 1, "second": 2}
SIDES = (("least", at_least, -1), ("most", at_most, 1))
RULES = {"quorum": "QSGD", "elastic": "EASGD"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    rules: tuple[str, ...] = ("quorum", "elastic")
    """Coupling rules: "quorum" (QSGD), "elastic" (EASGD), or both."""
    iterations: tuple[int, ...] = (8, 16, 32, 64)
    """Numbers of iterations in `time`; the learning rate is time / iterations."""
    time: float = 0.5
    """Time at which the laws are compared."""
    start: tuple[float, ...] = (3.0, -1.0)
    """Where the agents start: one number an agent."""
    k: float = 2.0
    """Gain of the coupling."""
    center_rate: float = 3.0
    """Rate of EASGD's center."""
    strength: float = 0.5
    """Curvature far away of the loss strength x^2 / 2 + log cosh x."""
    sigma: float = 1.5
    """Standard deviation of the Gaussian gradient noise."""
    sims: int = 4000
    """Brownian paths, each with its mirror image."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in self.rules:
            check_choice("rules", name, RULES)
        if not self.rules:
            raise ValueError(f"rules={self.rules}: must be at least one of {', '.join(RULES)}")
        for n in self.iterations:
            check_count("iterations", n)
        if len(set(self.iterations)) < max(2, len(self.iterations)):
            raise ValueError(f"iterations={self.iterations}: must be at least two different numbers, for a fit")
        if len(self.start) < 2:
            raise ValueError(f"start={self.start}: must place at least two agents, or nothing is coupled")
        for name in ("time", "k", "center_rate", "strength"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("sigma", self.sigma)
        check_count("sims", self.sims, least=2)

    def coupling(self, rule: str) -> AbstractCoupling:
        return Quorum(self.k) if rule == "quorum" else Elastic(self.k, self.center_rate)


PRESETS = {
    "smoke": Config(rules=("elastic",), iterations=(8, 16), sims=500),
    "default": Config(),
    "paper": Config(sims=40_000),
}


class Corrected(objectives.LogCosh):
    """LogCosh of which agents descend f + (eta/4) |grad f|^2, the correction of an agent that is alone."""

    eta: Array = eqx.field(converter=number, default=0.0)

    def gradient(self, x):
        slope = jax.grad(self.loss)
        return slope(x) + 0.5 * self.eta * jax.jvp(slope, (x,), (slope(x),))[1]


def function(state: np.ndarray) -> np.ndarray:
    """The smooth function whose expectations are compared, of (sims, agents + 1), the center last; one number a
    simulation: the squares of the first agent and of the center."""
    return state[:, 0] ** 2 + state[:, -1] ** 2


def dynamics(config: Config, rule: AbstractCoupling, model: str, eta: float) -> Dynamics:
    """The SDE of one of `MODELS`; the iteration is the matched step of the first."""
    # An eta of 0 corrects nothing, and spares the first-order model a compilation of its own.
    loss = Corrected(config.strength, eta=eta if model == "loss" else 0.0)
    return Dynamics(loss, rule, noise.Gaussian(config.sigma), eta, weak_order=2 if model == "second" else 1)


def increments(config: Config, iterations: int) -> np.ndarray:
    """Brownian increments (iterations, FINE, 2 sims, agents, 1): paths, and then their mirror images."""
    eta = config.time / iterations
    rng = np.random.default_rng([config.seed, iterations])
    dw = rng.standard_normal((iterations, FINE, config.sims, len(config.start), 1), np.float32) * np.sqrt(eta / FINE)
    return np.concatenate([dw, -dw], axis=2)


def weak_errors(config: Config, rule: AbstractCoupling, iterations: int) -> dict[str, np.ndarray]:
    """The function under each SDE less that under the iteration, one number a path (sims,), by model; by the name
    "bias" what the discretization of the second-order model's SDE leaves."""
    eta, dw = config.time / iterations, increments(config, iterations)
    sizes: dict[str, Any] = dict(agents=len(config.start), sims=dw.shape[2], init=np.array(config.start)[:, None])

    def of(result) -> np.ndarray:
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
        found[model] = 2 * full - half - sgd
    # Extrapolations from (h, h/2) and (h/2, h/4) differ by three times the bias of the second.
    found["bias"] = ((2 * half - sde(model, FINE // 4)) - (2 * full - half)) / 3
    return found


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Variables: `error` (rule, model, eta, sim), the SDE's expectation less the iteration's, one path and its mirror
    image a simulation; `bias` (rule, eta, sim), of the solution of the second-order SDE."""
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


def order(error: xr.DataArray) -> float:
    """The order of the mean of `error` (eta, sim): the exponent of eta in error = constant eta^order e^(c eta).

    The last factor takes up the next power of eta, which would bend a straight line; two learning rates cannot tell it.
    """
    eta = error["eta"].values
    fit = np.linalg.pinv(np.stack([np.ones_like(eta), np.log(eta), eta][: eta.size], axis=1))
    return float(fit[1] @ np.log(np.abs(statistics.grid_mean(error).values)))


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure = pyplot.figure(figsize=(2.0 + 3.3 * len(config.rules), 3.9), layout="constrained")
    panels = figure.subplots(1, len(config.rules), sharex=True, sharey=True, squeeze=False)[0]
    colors = {"first": plotting.AGENTS, "loss": plotting.LOSS, "second": plotting.SMOOTHED}
    markers = {"first": "o", "loss": "s", "second": "^"}
    for i, (panel, rule) in enumerate(zip(panels, config.rules, strict=True)):
        for model, label in MODELS.items():
            error = data["error"].sel(rule=rule, model=model)
            size = error * np.sign(error.mean("sim"))
            text = rf"{label}: $\eta^{{{order(error):.2f}}}$"
            measured.plot_measured(panel, size, "eta", text, colors[model], markers[model])
            eta = np.geomspace(*np.sort(data["eta"].values)[[0, -1]])
            power = eta ** ORDERS[model]
            power *= float(size.mean("sim")[-1]) / (data["eta"].values[-1] ** ORDERS[model])
            name = {"first": r"slope 1", "second": r"slope 2"}.get(model, "_")
            measured.plot_formula(panel, eta, power, name, colors[model], ":" if model == "second" else "--")
        panel.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$")
        panel.legend(fontsize=8)
        panel.set_xticks(data["eta"].values, [f"{eta:.3g}" for eta in data["eta"].values])
        panel.set_xticks([], minor=True)
        plotting.letter(panel, i, f"{RULES[rule]}, $k = {config.k:g}$")
    panels[0].set_ylabel(r"weak error $|\mathrm{E}\,\phi_{SDE} - \mathrm{E}\,\phi_{SGD}|$")
    figure.suptitle(
        rf"Weak error of the SDE models, $\phi = (x^1)^2 + \tilde x^2$ at $t = {config.time:g}$ (Boffi & Slotine, 2.3)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


def statements(config: Config) -> list[Statement]:
    found = []
    for rule in config.rules:
        name = RULES[rule]
        for model, what in MODELS.items():
            expected = ORDERS[model]
            fit = lambda runs, rule=rule, model=model: order(runs.data["error"].sel(rule=rule, model=model))
            text = f"{name}, {what}: the weak error is of order {expected} in the learning rate (fitted order)"
            for side, bound, sign in SIDES:
                id = f"{rule}-{model}-order-at-{side}"
                needs = bound(expected + sign * 0.1, smoke=expected + sign * 0.3)
                found.append(Statement(id, text, fit, needs))
        found.append(
            Statement(
                f"{rule}-bias",
                f"{name}: the SDE is solved well enough (bias of its solution over the weak error it tests)",
                lambda runs, rule=rule: _bias(runs, rule),
                at_most(0.05, smoke=0.1),
            )
        )
        found.append(
            Statement(
                f"{rule}-gain",
                f"{name}: at the smallest learning rate the whole drift's correction pays (its error over that of the "
                "loss's correction alone)",
                lambda runs, rule=rule: abs(_smallest(runs, rule, "second") / _smallest(runs, rule, "loss")),
                at_most(0.1, smoke=0.1),
            )
        )
    return found


def _bias(runs: Runs, rule: str) -> float:
    """The largest bias over error of the second-order model."""
    error = statistics.grid_mean(runs.data["error"].sel(rule=rule, model="second"))
    return statistics.greatest(abs(statistics.grid_mean(runs.data["bias"].sel(rule=rule)) / error))


def _smallest(runs: Runs, rule: str, model: str) -> float:
    """The mean error at the smallest learning rate."""
    error = statistics.grid_mean(runs.data["error"].sel(rule=rule, model=model))
    return float(error.sel(eta=error["eta"].min()))


EXPERIMENT = Experiment(
    "bs-weak",
    "Weak error of the SDE models of QSGD and EASGD against the learning rate",
    "The continuous-time models approximate the law of the iterations to first order in the learning rate. A corrected "
    "drift reaches second order, but the correction must take in the coupling and the center as well as the loss.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
