"""bs-meanfield: Figure 1 of Boffi and Slotine for infinitely many agents, predicted without sampling.

Command: sdesim figure bs-meanfield. The law of infinitely many agents is carried through the iterations by its exact
transfer operator; simulations of many agents lie on its densities and means, and approach them as 1 / sqrt(p) with the
factor that linear noise theory gives. All constants of the loss and of Figure 1 are chosen [C].
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import init, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import one_dimensional as one
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.theory import meanfield

P = "n_agents"
BINS = 160  # of the simulated densities


@dataclasses.dataclass(frozen=True)
class Config(one.Config):
    """Constants [C] of Figure 1 with more agents and fewer iterations, and of the comparison."""

    agents: int = 1600
    """Agents p of the runs whose densities are shown."""
    sims: int = 200
    """Independent simulations of each gain and number of agents."""
    steps: int = 450
    """Iterations: all gains have settled, and so many agents do not leave the branch they settled on."""
    populations: tuple[int, ...] = (200, 400, 800, 1600, 3200)
    """Numbers of agents p over which the error falls."""
    population_steps: int = 40
    """Iterations after which that error is taken."""
    window: float = 4.0
    """The law is held on (-window, window)."""
    cells: int = 1600
    """Cells of the law."""

    def __post_init__(self):
        super().__post_init__()
        if len(self.populations) < 2 or min(self.populations) < 2:
            raise ValueError(f"populations={self.populations}: must be two or more numbers of at least 2 agents")
        check_count("population_steps", self.population_steps)
        check_sign("window", self.window, zero=False)
        if check_count("cells", self.cells) % (2 * BINS):
            raise ValueError(f"cells={self.cells}: must be a multiple of {2 * BINS}")

    @property
    def start(self) -> init.Uniform:
        return init.Uniform(-self.init_half_width, self.init_half_width)

    def grid(self, coarser: int = 1) -> meanfield.Grid:
        return meanfield.Grid(-self.window, self.window, self.cells // coarser)


PRESETS = {
    "smoke": Config(sims=40, agents=800, steps=400, populations=(200, 800), cells=640),
    "default": Config(),
    "paper": Config(sims=2000, cells=3200),
}


def _predicted(config: Config) -> xr.Dataset:
    """For each gain: mean at each iteration and the law at the end, the law after `population_steps` and its noise."""
    found: dict[str, list] = {name: [] for name in ("mean", "masses", "early_masses", "noise", "coarse_mean")}
    for k in config.k:
        model = one.model(config, Quorum(k))
        predict = functools.partial(meanfield.evolve, model, init=config.start)
        law = predict(config.grid(), steps=config.steps)
        found["mean"].append(law.mean)
        found["masses"].append(law.masses)
        found["coarse_mean"].append(predict(config.grid(2), steps=config.steps).mean)
        found["early_masses"].append(predict(config.grid(), steps=config.population_steps).masses)
        found["noise"].append(
            meanfield.iteration_noise(model, config.grid(2), steps=config.population_steps, init=config.start)
        )
    axes = {"mean": "iteration", "coarse_mean": "iteration", "masses": "cell", "early_masses": "cell"}
    named = {f"predicted_{n}": ((one.K, axes[n]) if n in axes else one.K, np.array(v)) for n, v in found.items()}
    return xr.Dataset(named, {one.K: list(config.k), "cell": config.grid().centers})


def _shares(agents: np.ndarray, config: Config, cells: int) -> np.ndarray:
    """The empirical laws of agents (..., agent): their shares in the cells, (..., cells); NaN for who is not finite."""
    lanes = agents.reshape(-1, agents.shape[-1])
    finite = np.isfinite(agents).all(axis=-1, keepdims=True)
    place = np.clip((np.nan_to_num(lanes) + config.window) / (2 * config.window) * cells, 0, cells - 1).astype(int)
    counts = np.bincount((place + cells * np.arange(len(lanes))[:, None]).ravel(), minlength=cells * len(lanes))
    return np.where(finite, counts.reshape(*agents.shape[:-1], cells) / agents.shape[-1], np.nan)


def _square_distance(agents: np.ndarray, masses: np.ndarray, config: Config) -> np.ndarray:
    """The integral of (F_p - F)^2 for agents (sim, agent) and a predicted law, (sim,)."""
    gap = np.cumsum(_shares(agents, config, config.cells) - masses, axis=-1)
    return np.sum(gap**2, axis=-1) * config.grid().width


def run(config: Config, progress: bool = False) -> xr.Dataset:
    data = _predicted(config)

    def simulated(agents: int, steps: int, **further) -> xr.Dataset:
        settings: dict[str, Any] = dict(sims=config.sims, seed=config.seed, init=config.start, progress=progress)
        found = sweep(one.model(config), {one.K: list(config.k)}, agents=agents, steps=steps, **settings, **further)
        return found.isel(dim=0, drop=True)

    every = max(1, config.steps // 60)
    many = simulated(config.agents, config.steps, observe=observe.Quorum(), every=every)
    data["quorum_series"] = many["quorum_series"].astype(float)
    data["shares"] = (one.K, "sim", "bin"), _shares(many["agents"].values, config, BINS)
    early = data["predicted_early_masses"]
    mean = (early * early["cell"]).sum("cell", skipna=False)
    of_mean, of_law = [], []
    for p in config.populations:
        few = simulated(p, config.population_steps)
        of_mean.append(few["quorum"].astype(float) - mean)
        laws = zip(few["agents"].values, early.values, strict=True)
        of_law.append([_square_distance(agents, masses, config) for agents, masses in laws])
    along = xr.IndexVariable(P, list(config.populations))
    data["mean_error"] = xr.concat(of_mean, dim=along)
    data["law_error2"] = (P, one.K, "sim"), np.array(of_law)
    return data


# -- statements --------------------------------------------------------------------------------------------------------


def kolmogorov(data: xr.Dataset, gain: int) -> float:
    """Largest difference between the distribution functions of all simulated agents and of the prediction."""
    found = data["shares"].values[gain].mean(axis=0).cumsum()
    law = data["predicted_masses"].values[gain].cumsum()
    ends = np.arange(1, BINS + 1) * (law.size // BINS) - 1
    return statistics.greatest(abs(found - law[ends]))


def relative_noise(data: xr.Dataset) -> xr.DataArray:
    """p (mean - predicted)^2 of each simulation over its predicted average, (p, k, sim)."""
    return data["mean_error"] ** 2 * data[P] / data["predicted_noise"]


def _predicted_mean(gain: int):
    return lambda runs: float(runs.data["predicted_mean"].values[gain, -1])


def _predicted_mass(data: xr.Dataset, gain: int, radius: float) -> float:
    """The mass of the predicted law within `radius` of zero."""
    near = abs(data["cell"].values) < radius
    return float(data["predicted_masses"].values[gain, near].sum())


def statements(config: Config) -> list[Statement]:
    marks = one.landmarks(config)
    largest = {P: int(np.argmax(config.populations))}
    quorum = lambda d: d["quorum_series"].isel(step=-1)
    rms = lambda error2: statistics.grid_mean(
        error2 / statistics.grid_mean(error2.isel({P: 0})), one.K
    )  # of all gains, each in its own unit
    found = [
        Statement(
            f"density-{'abcdef'[i]}",
            f"k = {k:g}: all simulated agents follow the predicted law (largest difference of distribution functions)",
            functools.partial(lambda runs, i: kolmogorov(runs.data, i), i=i),
            at_most(0.008, smoke=0.05),
        )
        for i, k in enumerate(config.k)
    ]
    found += [
        measured.equal(
            "mean",
            "the mean of the agents ends where it is predicted to, for all gains",
            quorum,
            lambda d: d["predicted_mean"].isel(iteration=-1),
        ),
        measured.exponent(
            "mean-error",
            "the square error of the mean falls as 1 / p, all gains together",
            lambda d: rms(d["mean_error"] ** 2),
            P,
            -1.0,
            0.1,
        ),
        measured.exponent(
            "law-error",
            "the square error of the distribution function falls as 1 / p, all gains together",
            lambda d: rms(d["law_error2"]),
            P,
            -1.0,
            0.1,
        ),
        measured.equal(
            "noise",
            "linear noise theory gives its factor, p Var of the mean, at the largest p for all gains",
            lambda d: relative_noise(d).isel(largest),
            lambda d: 1.0,
        ),
        Statement(
            "noise-independent",
            "coupled agents' mean is noisier than that of independent ones (largest p Var over the variance of one)",
            lambda runs: (statistics.greatest(runs.data["predicted_noise"] / _variance(runs.data)), 0.0),
            at_least(3.0, smoke=3.0),
        ),
        Statement(
            "cells",
            "the prediction does not depend on its cells (largest change of a mean when cells are twice as wide)",
            lambda runs: (_change(runs.data), 0.0),
            at_most(1e-3, smoke=3e-3),
        ),
        Statement(
            "mass",
            "mass is conserved (largest deviation from 1)",
            lambda runs: (statistics.greatest(abs(runs.data["predicted_masses"].sum("cell", skipna=False) - 1)), 0.0),
            at_most(1e-6, smoke=1e-6),
        ),
    ]
    for i in (2, 3):
        found.append(
            Statement(
                f"limit-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: infinitely many agents find the deepest smoothed minimum (distance of mean)",
                functools.partial(lambda runs, m: (abs(m(runs) - marks.right), 0.0), m=_predicted_mean(i)),
                at_most(0.4, smoke=0.4),
            )
        )
    for i in (0, 4, 5):
        found.append(
            Statement(
                f"limit-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: the mean of infinitely many agents stays near its start (distance)",
                functools.partial(lambda runs, m: (abs(m(runs)), 0.0), m=_predicted_mean(i)),
                at_most(0.25, smoke=0.25),
            )
        )
    for i in (4, 5):
        found.append(
            Statement(
                f"limit-agents-{'abcdef'[i]}",
                f"k = {config.k[i]:g}: and so do most of them (mass within 0.8, two steps' noise)",
                functools.partial(lambda runs, i: (_predicted_mass(runs.data, i, 0.8), 0.0), i=i),
                at_least(0.8, smoke=0.8),
            )
        )
    return found


def _change(data: xr.Dataset) -> float:
    """Largest change of a final mean between the cells of the prediction and cells twice as wide."""
    fine, coarse = (data[name].isel(iteration=-1) for name in ("predicted_mean", "predicted_coarse_mean"))
    return statistics.greatest(abs(fine - coarse))


def _variance(data: xr.Dataset) -> xr.DataArray:
    """Variance of one agent after `population_steps`, by gain."""
    law = data["predicted_early_masses"]
    mean = (law * law["cell"]).sum("cell", skipna=False)
    return (law * (law["cell"] - mean) ** 2).sum("cell", skipna=False)


# -- picture -----------------------------------------------------------------------------------------------------------


def _densities(axes: np.ndarray, config: Config, data: xr.Dataset) -> None:
    x = data["cell"].values
    edges = np.linspace(-config.window, config.window, BINS + 1)
    inside = np.abs(x) < one.WINDOW - 0.4
    smoothed = one.curves(config)[1](x)
    for i, (panel, k) in enumerate(zip(axes.flat, config.k, strict=True)):
        law = data["predicted_masses"].isel({one.K: i}).values / config.grid().width
        found = data["shares"].isel({one.K: i}).mean("sim").values / (edges[1] - edges[0])
        top = law.max()
        loss = plotting.unit_range(smoothed, inside) * top
        panel.plot(x, loss, color=plotting.SMOOTHED, lw=1.0, alpha=0.7, label="smoothed loss (scaled)", zorder=1)
        panel.stairs(found, edges, fill=True, color=plotting.AGENTS, alpha=0.4, lw=0, label="simulated agents")
        panel.plot(x, law, color="black", lw=1.0, label=r"predicted law, $p\to\infty$", zorder=3)
        mean = float(data["predicted_mean"].values[i, -1])
        panel.axvline(mean, color=plotting.QUORUM, lw=1.2, ls="--", label="predicted mean", zorder=2)
        q = data["quorum_series"].isel({one.K: i, "step": -1}).values
        style: dict[str, Any] = dict(color=plotting.QUORUM, ms=4, capsize=2, lw=1.2, zorder=4)
        panel.errorbar(q.mean(), 0.93 * top, xerr=2 * q.std(), fmt="o", label="simulated means (2 s.d.)", **style)
        plotting.letter(panel, i, f"$k = {k:g}$")
        panel.set(xlim=(-one.WINDOW, one.WINDOW), ylim=(0, 1.08 * top), xlabel="$x$", ylabel="density")


def _means(panel: Axes, config: Config, data: xr.Dataset, colors) -> None:
    for i, k in enumerate(config.k):
        series = data["quorum_series"].isel({one.K: i})
        panel.plot(data["predicted_mean"].isel({one.K: i}), color=colors[i], lw=1.2, label=f"$k={k:g}$")
        panel.plot(series["step"], series.mean("sim"), "o", color=colors[i], ms=2.2)
    plotting.letter(panel, 6, f"mean: lines predicted, dots $p={config.agents}$")
    panel.set(xlabel="iteration", ylabel=r"mean of the agents $\bar x$")


def _errors(panel: Axes, index: int, title: str, ylabel: str, error2: xr.DataArray, colors, factor=None) -> None:
    p = error2[P].values.astype(float)
    for i, k in enumerate(error2[one.K].values):
        rms = np.sqrt(error2.isel({one.K: i}).mean("sim").values)
        panel.plot(p, rms, "o", color=colors[i], ms=3)
        line = np.sqrt(factor[i] / p) if factor is not None else rms[-1] * np.sqrt(p[-1] / p)
        panel.plot(p, line, "-", color=colors[i], lw=1.0, label=f"$k={k:g}$")
    plotting.letter(panel, index, title)
    panel.set(xscale="log", yscale="log", xlabel="number of agents $p$", ylabel=ylabel)
    panel.set_xticks(p, [f"{n:g}" for n in p])
    panel.minorticks_off()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if panel.get_ylim()[0] < t < panel.get_ylim()[1]]
    panel.set_yticks(ticks, [f"{t:g}" for t in ticks])


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(3, 3, figsize=(9.6, 8.2), layout="constrained")
    colors = pyplot.get_cmap("viridis")(np.linspace(0, 0.9, len(config.k)))
    _densities(axes[:2], config, data)
    _means(axes[2, 0], config, data, colors)
    noise = data["predicted_noise"].values
    n = config.population_steps
    of_mean = rf"error of $\bar x$, iteration {n}; lines predicted"
    _errors(axes[2, 1], 7, of_mean, r"root mean square of $\bar x - m$", data["mean_error"] ** 2, colors, noise)
    of_law = r"error of the law; lines $\propto 1/\sqrt{p}$"
    ylabel = r"root mean square of $\Vert F_p - F\Vert_2$"
    _errors(axes[2, 2], 8, of_law, ylabel, data["law_error2"], colors)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[2, 0].legend(loc="upper left", fontsize=7, handlelength=1.2, labelspacing=0.2)
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    figure.suptitle(
        f"QSGD with infinitely many agents, predicted, and {config.agents} agents, simulated: iteration {config.steps} "
        "of Figure 1",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-meanfield",
    "Fig. 1 of Boffi & Slotine for infinitely many agents, predicted without sampling",
    "Not in the paper: with infinitely many agents each feels the deterministic mean of its own law, and that law can "
    "be computed exactly, iteration by iteration. It predicts the densities and means of Figure 1, and how far p "
    "agents stray from them.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
