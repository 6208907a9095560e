"""z-fig3.1: mean squared error of EASGD's center over rates, workers and time (Z Fig. 3.1).

Command: sdesim figure z-fig3.1. h = 1, sigma = 10, and everything starts at 1: Lemma 3.1.1 in blocks of p times t, in
each of which the learning rate grows to the right and the center's moving rate beta = p alpha upwards.
"""

import dataclasses

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from sdesim import noise, objectives
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Elastic
from sdesim.dynamics import Dynamics
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.papers.frame.mutations import formula
from sdesim.papers.zhang import points as shared
from sdesim.papers.zhang.points import Config, Points
from sdesim.statistics import grid_mean
from sdesim.steppers import Iteration
from sdesim.theory import quadratic, stability

SIGMA = 10.0
WORKERS = (1, 10, 100, 1000, 10_000)
TIMES = (1, 2, 10, 100, np.inf)
STEPS = 100
MANY = 1000  # from so many workers on there are fewer simulations [C]
FEWER = 25  # by how much, but not below LEAST of them [C]
LEAST = 200
RATES = ((0.1, 0.1), (0.5, 1.0), (1.5, 0.3))  # eta and beta of them [C]


def _square(steps: ArrayLike, workers: ArrayLike, eta: NDArray | float, beta: ArrayLike) -> NDArray:
    """The error of Lemma 3.1.1; arguments broadcast."""
    return quadratic.center_square(steps, workers, eta, beta / np.asarray(workers), noise=(eta * SIGMA) ** 2)


POINTS = Points(
    names=("workers", "eta", "beta"),
    values=tuple((p, *rates) for p in WORKERS for rates in RATES),
    label=lambda p, eta, beta: rf"$p={p:g}$, $\eta={eta:g}$, $\beta={beta:g}$",
    model=lambda p, eta, beta: (
        Dynamics(objectives.Quadratic(1.0), Elastic.from_moving_rates(beta / p, beta, eta), noise.Gaussian(SIGMA), eta),
        int(p),
    ),
    stepper=Iteration(),
    init=1.0,
    steps=STEPS,
    exact=lambda p, eta, beta: np.repeat(_square(np.arange(STEPS + 1), p, eta, beta)[:, None], 3, axis=1),
    radius=lambda p, eta, beta: float(np.abs(quadratic.center_roots(p, eta, beta / p)).max()),
    what=("center",),
)
OF_FEW = dataclasses.replace(POINTS, values=tuple(v for v in POINTS.values if v[0] < MANY))
OF_MANY = dataclasses.replace(POINTS, values=tuple(v for v in POINTS.values if v[0] >= MANY))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """`squares` (point, step, what, sim) of few workers, and `squares_many` of many, of fewer simulations."""
    fewer = dataclasses.replace(config, sims=max(min(LEAST, config.sims), config.sims // FEWER))
    many = OF_MANY.run(fewer, progress)
    own = {name: f"{name}_many" for name in ("squares", "point", "sim", *POINTS.names)}
    return OF_FEW.run(config, progress).merge(many.rename(own))


def _of_all(data: xr.Dataset) -> xr.Dataset:
    """`squares` at all points, of as many groups of simulations of few workers as there are simulations of many."""
    many = data["squares_many"].rename({f"{name}_many": name for name in ("point", "sim", *POINTS.names)})
    groups = many.sizes["sim"]
    few = data["squares"].coarsen(sim=data.sizes["sim"] // groups, boundary="trim").mean().isel(sim=slice(groups))
    return xr.concat([few, many.rename("squares")], "point").to_dataset()


def _stable(p: float, eta: NDArray, beta: NDArray) -> NDArray:
    return stability.center_is_stable(p, eta, beta / p)


def plot(config: Config, data: xr.Dataset) -> Figure:
    data = _of_all(data)
    figure = pyplot.figure(figsize=(13.4, 6.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1.0), squeeze=False)[0]
    panels = left.subplots(len(WORKERS), len(TIMES), sharex=True, sharey=True)
    eta = np.linspace(0, 2, config.resolution + 2)[1:-1]
    beta = np.linspace(0, 2, config.resolution + 2)[1:-1, None]
    norm, image = LogNorm(1e-3, 1e3), None
    for row, p in zip(panels, WORKERS, strict=True):
        for panel, t in zip(row, TIMES, strict=True):
            values = np.where(_stable(p, eta, beta), _square(t, p, eta, beta), np.nan)
            image = panel.pcolormesh(eta, beta[:, 0], values, norm=norm, cmap="viridis", shading="nearest")
            image.set_rasterized(True)
            panel.set_facecolor("#7f0000")
            for i, (q, n, b) in enumerate(POINTS.values):
                if q == p and t <= STEPS:
                    seen = float(grid_mean(data["squares"].sel(what="center", step=t).isel(point=i)))
                    panel.scatter(n, b, s=26, c=[seen], norm=norm, cmap="viridis", edgecolors="white", linewidths=0.9)
            if p == WORKERS[0]:
                panel.set_title(rf"$t={t:g}$" if np.isfinite(t) else r"$t=\infty$")
            if p == WORKERS[-1]:
                panel.set_xlabel(r"$\eta$")
            if t == TIMES[0]:
                panel.set_ylabel(rf"$p={p}$" + "\n" + r"$\beta$")
    assert image is not None
    left.colorbar(image, ax=panels, label=r"$E\,\tilde x_t^2$; circles: runs; dark red: diverges", extend="both")
    axes = right.subplots()
    shared.paths(axes, POINTS, data)
    axes.set(xscale="log", xlim=(1, STEPS), ylim=(1e-4, 1e3))
    figure.suptitle(rf"Zhang, Fig. 3.1: error of EASGD's center, $h=1$, $\sigma={SIGMA:g}$", fontsize=10.5)
    pyplot.close(figure)
    return figure


def statements(config: Config) -> list[Statement]:
    eta, beta = np.linspace(0.021, 1.983, 50), np.linspace(0.021, 1.983, 50)[:, None]

    def border(runs: Runs) -> tuple[float, float]:
        """The share of the map at which (3.4) and the limit of (3.3) disagree."""
        return float(
            np.mean([_stable(p, eta, beta) != np.isfinite(_square(np.inf, p, eta, beta)) for p in WORKERS])
        ), 0.0

    def corollary(runs: Runs) -> tuple[float, float]:
        """Of p E c^2 at many workers from its limit, greatest relative difference."""
        eta, beta = np.linspace(0.1, 1.8, 30), np.linspace(0.1, 1.8, 30)[:, None]
        limit = quadratic.center_limit(eta, beta) * SIGMA**2
        return float(np.max(np.abs(1e7 * _square(np.inf, 1e7, eta, beta) / limit - 1))), 0.0

    def with_more(runs: Runs) -> float:
        """By what a hundred workers have less error than one, at the last step of the first rates."""
        last = grid_mean(runs.data["squares"].sel(what="center").isel(step=-1)).values
        return float(np.log(last[0] / last[2 * len(RATES)]))

    seen = [int(t) for t in TIMES if t <= STEPS]
    after = f"{', '.join(map(str, seen[:-1]))} and {seen[-1]} steps"
    return [
        # fails of another moving rate, and of half the noise
        measured.equal(
            "lemma-3.1.1",
            f"bias and variance of the center after {after} are those of Lemma 3.1.1",
            lambda d: d["squares"].sel(what=["center"], step=seen),
            lambda d: OF_FEW.theory(d).isel(step=seen),
        ),
        measured.equal(
            "lemma-3.1.1-many",
            f"and so they are of {MANY} and {WORKERS[-1]} workers",
            lambda d: d["squares_many"].sel(what=["center"], step=seen).rename(point_many="point", sim_many="sim"),
            lambda d: OF_MANY.theory(d).isel(step=seen),
        ),
        # fails of one worker in place of a hundred
        Statement(
            "variance-reduction",
            f"significant variance reduction by more workers: at eta = beta = 0.1 and t = {STEPS} a hundred have less "
            "error than one (logarithm of the ratio)",
            with_more,
            at_least(2.0, smoke=1.0),
        ),
        Statement(
            "condition-3.4",
            "the center is stable exactly where (3.4) says (share of the maps at which the limit of (3.3) says "
            "otherwise, of no simulation)",
            border,
            at_most(0.0, smoke=0.0),
        ),
        Statement(
            "corollary-3.1.1",
            "with the workers p E c^2 tends to the limit of Corollary 3.1.1 (greatest relative difference at 10^7 "
            "workers, of no simulation)",
            corollary,
            at_most(1e-4, smoke=1e-4),
        ),
    ]


EXPERIMENT = Experiment(
    "z-fig3.1",
    "Zhang, Fig. 3.1: error of EASGD's center over rates, workers and time",
    "Significant variance reduction can be achieved by increasing the number of workers, and it is less sensitive to "
    "the choice of the rates for many of them. Where condition (3.4) is violated EASGD diverges.",
    shared.presets(20_000, 1_000),
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
    mutations={
        **shared.REVERSED,
        "(3.4) at 1.1 eta": formula(
            "the condition is that of a learning rate a tenth too large",
            "stability.center_is_stable",
            lambda right: lambda p, n, a: right(p, 1.1 * n, a),
        ),
    },
)
