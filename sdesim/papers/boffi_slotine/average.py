"""bs-average: the law of the time average of the quorum on a quadratic loss (BS 5.5, Lemma 5.5).

Command: sdesim figure bs-average. With z_n the mean of the quorum over n iterations of QSGD on f = x^T A x / 2, with
gradient noise of covariance S,

    sqrt(n) z_n  ->  N(0, A^-1 S A^-T / p)        (BS 59; with time t = n eta, sqrt(t / eta) z_t)

whatever the coupling gain, and whatever matrix preconditions the gradients of all agents alike. Agents that are
preconditioned differently lose this as soon as they are coupled. The noise here is skewed (exponential), so that the
normal law is a limit and not what was put in.

The iteration is linear, and the law of sqrt(n) z_n is known exactly for every n: its covariance and skewness are what
measurements are set beside, and the approach to the limit is that of the exact curve. All constants are chosen [C].
"""

import dataclasses
import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy import stats

from sdesim import objectives, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine.averages import SKEWNESS, Average, Chain, Exponential, Preconditioned, quorum_chain
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.theory import bounds

Matrix = tuple[tuple[float, float], tuple[float, float]]
K, UNEQUAL = "coupling.k", "unequal.k"
PAIRS = ((0, 0), (0, 1), (1, 1))  # the entries of a covariance in two dimensions
ALIKE = ("none", "common")
SHORT_AND_LONG = (plotting.AGENTS, plotting.QUORUM)  # colors


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    k: tuple[float, ...] = (0.0, 1.0, 10.0)
    """Coupling gains of agents that are preconditioned alike."""
    unequal_k: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0, 10.0)
    """Coupling gains of agents that are preconditioned differently; the first must be 0."""
    iterations: tuple[int, ...] = (25, 100, 400, 1600)
    """Numbers of iterations n over which the quorum is averaged, increasing."""
    agents: int = 2
    """Agents p that are preconditioned alike."""
    eta: float = 0.1
    """Learning rate."""
    curvature: Matrix = ((1.0, 0.3), (0.3, 0.6))
    """A, symmetric and positive definite."""
    noise: Matrix = ((1.0, 0.0), (0.7, 0.5))
    """B, with S = B B^T the covariance of the gradient noise."""
    preconditioner: Matrix = ((1.4, 0.5), (-0.4, 0.9))
    """The matrix that preconditions the gradients of all agents alike; it need not commute with A."""
    unequal: tuple[float, ...] = (1.0, 3.0)
    """Preconditioners of agents that are preconditioned differently, in one dimension with curvature and noise 1."""
    sims: int = 12_000
    """Independent simulations of each gain."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for n in self.iterations:
            check_count("iterations", n)
        if len(self.iterations) < 2 or list(self.iterations) != sorted(set(self.iterations)):
            raise ValueError(f"iterations={self.iterations}: must be at least two numbers, increasing")
        check_count("agents", self.agents)
        check_count("sims", self.sims, least=20)
        check_sign("eta", self.eta, zero=False)
        check_sign("unequal", self.unequal, zero=False)
        for name in ("k", "unequal_k"):
            check_sign(name, getattr(self, name))
        if len(self.k) < 2:
            raise ValueError(f"k={self.k}: must be at least two gains, to be compared")
        if len(self.unequal_k) < 2 or self.unequal_k[0] != 0:
            raise ValueError(f"unequal_k={self.unequal_k}: must be 0 and at least one further gain")
        curvature = np.array(self.curvature)
        if not np.array_equal(curvature, curvature.T) or np.linalg.eigvalsh(curvature)[0] <= 0:
            raise ValueError(f"curvature={self.curvature}: must be symmetric and positive definite")
        for chain in (*(alike(self, p, max(self.k)) for p in ALIKE), differing(self, max(self.unequal_k))):
            radius = np.abs(np.linalg.eigvals(chain.step)).max()
            if radius >= 1:
                raise ValueError(
                    f"eta={self.eta}: the iteration multiplies its fastest mode by {radius:.3g} at the largest gain; "
                    "it must be stable, so reduce eta, the gains or the preconditioners"
                )


# -- the exact law -----------------------------------------------------------------------------------------------------


def alike(config: Config, preconditioner: str, k: float) -> Chain:
    """The chain of agents that are preconditioned alike: by "none" or by the "common" matrix."""
    matrix = np.eye(2) if preconditioner == "none" else np.array(config.preconditioner)
    return quorum_chain(config.eta, [matrix] * config.agents, np.array(config.curvature), np.array(config.noise), k)


def differing(config: Config, k: float) -> Chain:
    """The chain of agents that are preconditioned differently, in one dimension."""
    return quorum_chain(config.eta, [np.array([[c]]) for c in config.unequal], np.eye(1), np.eye(1), k)


def limit(config: Config) -> np.ndarray:
    """Covariance of sqrt(n) z_n as n grows for agents that are preconditioned alike, (2, 2)."""
    matrix = np.array(config.noise)
    return bounds.average_covariance(config.curvature, matrix @ matrix.T, config.agents)


def differing_limit(config: Config, k: float) -> float:
    """Variance of sqrt(n) z_n as n grows for agents that are preconditioned differently."""
    return bounds.average_covariance(1.0, 1.0, len(config.unequal), k, config.unequal).item()


# -- the simulation ----------------------------------------------------------------------------------------------------


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """Variables, all sqrt(n) z_n: `alike` (preconditioner, coupling.k, n, dim, sim), and `differing` (unequal.k, n,
    sim) of agents whose preconditioners differ."""
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
        parts.append(scaled(sweep(model, {K: list(config.k)}, agents=config.agents, dims=2, **settings)))
    # An agent's own learning rate multiplies its gradient, its noise and its coupling: dividing the gain by it leaves
    # the coupling of all agents alike, and the rest preconditioned.
    own = np.array(config.unequal)
    gains = [k / own for k in config.unequal_k]
    model = Dynamics(objectives.Quadratic(1.0), Quorum(gains[0]), Exponential(np.eye(1)), config.eta * own)
    differ = scaled(sweep(model, {K: gains}, agents=own.size, dims=1, **settings)).isel(dim=0, drop=True)
    return xr.Dataset(
        {
            "alike": xr.concat(parts, xr.IndexVariable("preconditioner", list(ALIKE)), combine_attrs="drop"),
            "differing": differ.rename({K: UNEQUAL}).assign_coords({UNEQUAL: list(config.unequal_k)}),
        }
    )


# -- statements --------------------------------------------------------------------------------------------------------


def products(data: xr.Dataset) -> xr.DataArray:
    """Products of the coordinates of sqrt(n) z_n, whose mean is their covariance: (..., pair, sim)."""
    x = data["alike"]
    parts = [x.isel(dim=i, drop=True) * x.isel(dim=j, drop=True) for i, j in PAIRS]
    return xr.concat(parts, xr.IndexVariable("pair", range(len(PAIRS)))).transpose(..., "pair", "sim")


def exact_products(config: Config) -> xr.DataArray:
    """The exact covariance, as (preconditioner, coupling.k, n, pair)."""
    entries = lambda c: [c[pair] for pair in PAIRS]
    values = [
        [[entries(alike(config, m, k).covariance(n)) for n in config.iterations] for k in config.k] for m in ALIKE
    ]
    coordinates = {"preconditioner": list(ALIKE), K: list(config.k), "n": list(config.iterations)}
    return xr.DataArray(values, {**coordinates, "pair": range(len(PAIRS))}, ("preconditioner", K, "n", "pair"))


def exact_differing(config: Config) -> xr.DataArray:
    """The exact variance with preconditioners that differ, as (unequal.k, n)."""
    values = [[differing(config, k).covariance(n).item() for n in config.iterations] for k in config.unequal_k]
    return xr.DataArray(values, {UNEQUAL: list(config.unequal_k), "n": list(config.iterations)}, (UNEQUAL, "n"))


def standardized(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Coordinates of sqrt(n) z_n without preconditioner, at the first gain, over their exact standard deviations."""
    x = data["alike"].sel({"preconditioner": "none", K: config.k[0]})
    exact = [np.diag(alike(config, "none", config.k[0]).covariance(n)) for n in config.iterations]
    return x / xr.DataArray(np.sqrt(exact), {"n": list(config.iterations)}, ("n", "dim"))


def trace_ratio(config: Config, runs: Runs, preconditioner: str, n: int) -> float:
    """Trace of the measured covariance over that of the limit, at the first gain."""
    x = runs.data["alike"].sel({"preconditioner": preconditioner, K: config.k[0], "n": n})
    return float(statistics.grid_mean(x**2).sum(skipna=False) / np.trace(limit(config)))


def _near_one(id: str, statement: str, statistic, tolerance: float, smoke: float) -> list[Statement]:
    """A ratio that must be 1 within a tolerance, as two statements."""
    return [
        Statement(f"{id}-at-least", statement, statistic, at_least(1 - tolerance, smoke=1 - smoke)),
        Statement(f"{id}-at-most", statement, statistic, at_most(1 + tolerance, smoke=1 + smoke)),
    ]


def statements(config: Config) -> list[Statement]:
    first, last = config.iterations[0], config.iterations[-1]
    ratio = lambda runs, m="none", n=last: trace_ratio(config, runs, m, n)

    def path_difference(runs: Runs) -> tuple[float, float]:
        x = runs.data["alike"]
        return statistics.greatest(abs(x - x.isel({K: 0})) / x.std("sim", skipna=False)), 0.0

    def kolmogorov(runs: Runs) -> tuple[float, float]:
        x = runs.data["alike"].sel({"preconditioner": "none", K: config.k[0], "n": last}).transpose("dim", "sim").values
        if not np.isfinite(x).all():
            return math.nan, 0.0
        distances = [stats.kstest(one / scale, "norm").statistic for one, scale in zip(x, deviations, strict=True)]
        return float(max(distances)), 0.26 / np.sqrt(runs.sims)  # the spread of Kolmogorov's law

    def variance(runs: Runs, k: float) -> float:
        return float(statistics.grid_mean(runs.data["differing"].sel({UNEQUAL: k, "n": last}) ** 2))

    skewness = [alike(config, "none", config.k[0]).skewness(n, SKEWNESS) for n in config.iterations]
    exact_skewness = xr.DataArray(skewness, {"n": list(config.iterations)}, ("n", "dim"))
    deviations = np.sqrt(np.diag(limit(config)))
    strongest = max(config.unequal_k)
    expected = differing_limit(config, strongest) / differing_limit(config, 0.0)
    return [
        measured.equal(
            "covariance",
            "the covariance of sqrt(n) z_n is that of the iteration for every gain, n and common preconditioner",
            products,
            lambda _: exact_products(config),
        ),
        *_near_one("limit", "at the longest n it is A^-1 S A^-T / p (trace over that)", ratio, 0.1, 0.4),
        *_near_one(
            "common-preconditioner",
            "a preconditioner common to all agents changes nothing at the longest n (trace with it over without)",
            lambda runs: ratio(runs, "common") / ratio(runs),
            0.05,
            0.2,
        ),
        Statement(
            "not-at-once",
            "and at the shortest it is less, because the average remembers the start (trace over the limit)",
            lambda runs: ratio(runs, n=first),
            at_most(0.85, smoke=0.9),
        ),
        Statement(
            "any-gain",
            "the gain changes no path of the quorum, whatever its size (largest difference over the spread)",
            path_difference,
            at_most(1e-3, smoke=1e-3),
        ),
        Statement(
            "normal",
            "the law at the longest n is the normal one with that covariance (Kolmogorov-Smirnov distance)",
            kolmogorov,
            at_most(0.02, smoke=0.08),
        ),
        measured.equal(
            "skewness",
            "on the way there its skewness is that of the skewed noise, summed",
            lambda data: standardized(config, data) ** 3,
            lambda _: exact_skewness,
        ),
        measured.equal(
            "differing",
            "with preconditioners that differ the variance is that of the coupled iteration, for every gain and n",
            lambda data: data["differing"] ** 2,
            lambda _: exact_differing(config),
        ),
        *_near_one(
            "differing-uncoupled",
            "without coupling, preconditioners that differ change nothing either (variance at the longest n over 1/p)",
            lambda runs: variance(runs, 0.0) * len(config.unequal),
            0.1,
            0.35,
        ),
        Statement(
            "differing-worse-coupled",
            f"coupled at k = {strongest:g} they cost variance (over that without coupling; the limit's is "
            f"{expected:.3g})",
            lambda runs: variance(runs, strongest) / variance(runs, 0.0),
            at_least(1 + (expected - 1) / 2, smoke=1.02),
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, panels = pyplot.subplots(2, 2, figsize=(9.2, 7.0), layout="constrained")
    _plot_law(config, data, panels[0, 0])
    _plot_quantiles(config, data, panels[0, 1])
    _plot_approach(config, data, panels[1, 0])
    _plot_gains(config, data, panels[1, 1])
    titles = ("law of the average", "quantiles", "approach to the limit", "against the gain")
    for i, (panel, title) in enumerate(zip(panels.flat, titles, strict=True)):
        panel.legend(fontsize=8)
        plotting.letter(panel, i, title)
    figure.suptitle(
        r"Time average $z_n$ of the quorum on a quadratic loss (Boffi & Slotine, Lemma 5.5)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


def _plot_law(config: Config, data: xr.Dataset, panel) -> None:
    x = data["alike"].sel({"preconditioner": "none", K: config.k[0]}).isel(dim=0)
    deviation = float(np.sqrt(limit(config)[0, 0]))
    grid = np.linspace(-4 * deviation, 4 * deviation, 401)
    for n, color in zip(config.iterations[:: len(config.iterations) - 1], SHORT_AND_LONG, strict=True):
        values = x.sel(n=n).values
        panel.hist(values, np.linspace(grid[0], grid[-1], 49), density=True, color=color, alpha=0.4, label=f"$n={n}$")
    measured.plot_formula(panel, grid, stats.norm.pdf(grid, 0, deviation), "normal limit", plotting.SMOOTHED, "-")
    panel.set(xlabel=r"first coordinate of $\sqrt{n}\,z_n$", ylabel="density")


def _plot_quantiles(config: Config, data: xr.Dataset, panel) -> None:
    x = standardized(config, data).isel(dim=0)
    levels = np.linspace(0.005, 0.995, 100)
    normal = stats.norm.ppf(levels)
    for n, color in zip(config.iterations[:: len(config.iterations) - 1], SHORT_AND_LONG, strict=True):
        panel.plot(normal, np.quantile(x.sel(n=n).values, levels) - normal, color=color, lw=1.2, label=f"$n={n}$")
        skewness = alike(config, "none", config.k[0]).skewness(n, SKEWNESS)[0]
        # The first term of the Cornish-Fisher expansion: what a small skewness does to the quantiles.
        measured.plot_formula(panel, normal, skewness / 6 * (normal**2 - 1), f"skewness {skewness:.2f}", color)
    panel.axhline(0, color="black", lw=0.6)
    panel.set(xlabel="quantile of the normal law", ylabel="standardized quantile, less the normal one")


def _plot_approach(config: Config, data: xr.Dataset, panel) -> None:
    trace = np.trace(limit(config))
    fine = np.unique(np.geomspace(config.iterations[0], config.iterations[-1], 30).astype(int))
    styles = {"none": (plotting.QUORUM, "o"), "common": (plotting.LOSS, "s")}
    for preconditioner, (color, marker) in styles.items():
        square = (data["alike"].sel(preconditioner=preconditioner) ** 2).sum("dim", skipna=False) / trace
        label = "no preconditioner" if preconditioner == "none" else "a common preconditioner"
        measured.plot_measured(panel, square.isel({K: -1}), "n", f"{label}, $k={config.k[-1]:g}$", color, marker)
        curve = [np.trace(alike(config, preconditioner, config.k[0]).covariance(n)) / trace for n in fine]
        measured.plot_formula(panel, fine, curve, "exact", color)
    panel.axhline(1, color="black", lw=0.6)
    panel.set(
        xscale="log", xlabel="iterations $n$", ylabel=r"trace of the covariance of $\sqrt{n}\,z_n$, over its limit"
    )


def _plot_gains(config: Config, data: xr.Dataset, panel) -> None:
    n, p = config.iterations[-1], len(config.unequal)
    fine = np.linspace(0, max(config.unequal_k), 101)
    which = ", ".join(f"{c:g}" for c in config.unequal)
    trace = np.trace(limit(config))
    square = (data["alike"].sel(preconditioner="common", n=n) ** 2).sum("dim", skipna=False) / trace
    measured.plot_measured(panel, square, K, "a common preconditioner", plotting.LOSS, "s")
    square = p * data["differing"].sel(n=n) ** 2
    measured.plot_measured(panel, square, UNEQUAL, f"preconditioners {which}", plotting.QUORUM)
    exact = [p * differing(config, k).covariance(n).item() for k in fine[::4]]
    measured.plot_formula(panel, fine[::4], exact, f"exact, $n={n}$", plotting.QUORUM)
    limits = [p * differing_limit(config, k) for k in fine]
    measured.plot_formula(panel, fine, limits, "limit", plotting.SMOOTHED, "-")
    panel.axhline(1, color="black", lw=0.6)
    panel.set(
        xlabel="coupling gain $k$", ylabel=f"covariance of $\\sqrt{{n}}\\,z_n$ at $n={n}$, over $A^{{-1}}SA^{{-T}}/p$"
    )


PRESETS = {"smoke": Config(iterations=(25, 400), sims=1000), "default": Config(), "paper": Config(sims=120_000)}

EXPERIMENT = Experiment(
    "bs-average",
    "Boffi & Slotine, Lemma 5.5: the time average of the quorum on a quadratic loss",
    "The time average of the quorum becomes normal with the least covariance there can be, whatever the coupling gain "
    "and whatever matrix preconditions all agents alike. Agents that are preconditioned differently lose this when "
    "they are coupled.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
