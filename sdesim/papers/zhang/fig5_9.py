"""z-fig5.9: the law of a minibatch's curvature under multiplicative noise (Z Fig. 5.9).

Command: sdesim figure z-fig5.9. For an input u ~ N(0, 1) the curvature u^2 is of a gamma law of shape and rate 1/2, and
the mean over p of them of one of shape and rate p / 2.
"""

from typing import Any

import numpy as np
import scipy.stats
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim import noise
from sdesim.claims import Statement, at_least, at_most
from sdesim.dynamics import Dynamics
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.zhang.points import Config, colors, presets
from sdesim.run import simulate
from sdesim.steppers import Iteration
from sdesim.theory import multiplicative

SHAPE = RATE = 0.5
BATCHES = (1, 2, 4)
ETA = 1.0  # x <- x - eta xi x from 1: 1 - x is xi


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """`xi` (batch, sim), the curvature that each minibatch had, as one step of SGD shows it.

    Args:
        config: sizes.
        progress: whether to say how far it is.
    """
    loss, law = noise.zhang_multiplicative(SHAPE, RATE)
    steps = [
        simulate(
            Dynamics(loss, noise=law, eta=ETA, batch=batch),
            sims=config.sims,
            steps=1,
            stepper=Iteration(),
            init=1.0,
            seed=config.seed,
            progress=progress,
        )
        for batch in BATCHES
    ]
    xi = [(1.0 - np.asarray(step.agents[:, 0, 0], float)) / ETA for step in steps]
    return xr.Dataset({"xi": (("batch", "sim"), np.stack(xi))}, {"batch": list(BATCHES)})


def _law(batch: int) -> scipy.stats.rv_continuous:
    return scipy.stats.gamma(batch * SHAPE, scale=1 / (batch * RATE))  # pyright: ignore[reportReturnType]


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, panel = pyplot.subplots(figsize=(6.2, 4.4), layout="constrained")
    edges = np.geomspace(1e-4, 20, 41)
    for batch, color in zip(BATCHES, colors(len(BATCHES)), strict=True):
        x = np.geomspace(1e-4, 20, 400)
        panel.plot(x, _law(batch).pdf(x), color=color, lw=1.4, label=f"$p={batch}$, gamma law")
        counts = np.histogram(data["xi"].sel(batch=batch), edges)[0]
        share = data.sizes["sim"] * np.diff(edges)
        seen = counts > 0
        middle = np.sqrt(edges[1:] * edges[:-1])
        bars = 2 * np.sqrt(counts[seen]) / share[seen]
        style: dict[str, Any] = dict(fmt="o", ms=3, lw=0.9, capsize=1.5, color=color)
        panel.errorbar(middle[seen], counts[seen] / share[seen], yerr=bars, label=f"$p={batch}$, simulated", **style)
    panel.set(xscale="log", yscale="log", xlabel=r"curvature $\xi$ of a minibatch", ylabel="density")
    panel.set_ylim(1e-4, 2e2)
    panel.legend(fontsize=8)
    figure.suptitle(f"Zhang, Fig. 5.9: gamma law of shape and rate {SHAPE:g}, over $p$ samples", fontsize=10.5)
    pyplot.close(figure)
    return figure


def statements(config: Config) -> list[Statement]:
    law = multiplicative.gamma_law(SHAPE, RATE)

    def distance(runs: Runs) -> float:
        """The greatest distance of Kolmogorov from the gamma laws, over its error."""
        drawn = [np.sort(runs.data["xi"].sel(batch=b).values) for b in BATCHES]
        ranks = np.arange(1, runs.sims + 1) / runs.sims
        far = lambda b, xi: np.abs(_law(b).cdf(xi) - ranks).max() if np.isfinite(xi).all() else np.nan
        gaps = [far(b, xi) for b, xi in zip(BATCHES, drawn, strict=True)]
        return float(np.max(gaps) * np.sqrt(runs.sims))

    spread = lambda runs, b: float(np.var(runs.data["xi"].sel(batch=b).values, ddof=1))
    return [
        # fails of another shape
        measured.equal(
            "mean-and-variance",
            "the mean is lambda / omega and the variance lambda / (p omega^2)",
            lambda d: xr.concat([d["xi"], (d["xi"] - law[0]) ** 2], "moment"),
            lambda d: xr.concat([xr.full_like(d["batch"], law[0], float), law[1] / d["batch"]], "moment"),
        ),
        # fails of a normal law, and of another shape
        Statement(
            "gamma",
            "a minibatch of p has the gamma law of shape p lambda and rate p omega (greatest distance of Kolmogorov, "
            "times the root of the number of runs)",
            lambda runs: (distance(runs), 0.0),
            at_most(1.95, smoke=1.95),
        ),
        # fails where the batch is ignored
        Statement(
            "concentrates",
            "by increasing the minibatch the law becomes more concentrated near its mean (variance of 1 over "
            "that of 4)",
            lambda runs: spread(runs, 1) / spread(runs, 4),
            at_least(3.0, smoke=2.0),
        ),
    ]


EXPERIMENT = Experiment(
    "z-fig5.9",
    "Zhang, Fig. 5.9: the law of a minibatch's curvature",
    "Where lambda is below one the density has a pole at zero and a slow decay at infinity; with a greater minibatch "
    "it becomes more and more concentrated near its mean.",
    presets(),
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
