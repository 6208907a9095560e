"""bs-phase: where many coupled agents agree, in the plane of gain and noise, predicted and simulated.

Command: sdesim figure bs-phase. On a symmetric double well of bounded curvature, infinitely many agents agree on one
side when the gain exceeds a critical one, which grows with the temperature of their noise. Simulations of p agents lie
on exact averages at finite p. On a tilted well two agreements are stable between two folds. Constants are chosen [C].
"""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import init, noise, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.objectives import LogCosh
from sdesim.papers.boffi_slotine.one_dimensional import K
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs
from sdesim.theory.meanfield import Grid, SelfConsistency, fokker_planck, linear_noise, quorum_moments

SIGMA = "noise.sigma"
T = "temperature"
P = "n_agents"
ETA = 0.1  # sets the unit of sigma alone: T = eta sigma^2 / 2
BARRIER = 12.0  # p times the height of the effective loss over T, from which a mean does not cross it in these runs
START = 1.5  # where agents start, inside a well
GRID = Grid(-12.0, 12.0, 240)


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the wells, of the plane, and of the runs."""

    strength: float = 1.0
    """Curvature of the well far from its middle."""
    weight: float = -2.0
    """Curvature in the middle is strength + weight, and must be negative."""
    tilt: float = 0.05
    """Slope that is added in the last panel."""
    k: tuple[float, ...] = (0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.2)
    """Gains of the plane's points, in 1/time."""
    temperatures: tuple[float, ...] = (0.5, 0.8, 1.2, 1.8, 2.4, 3.0)
    """Temperatures T = eta sigma^2 / 2 of the plane's points, in units of the loss."""
    agents: int = 60
    """Agents p of the plane's points, and of the tilted well's."""
    cut: float = 1.0
    """Temperature at which p is varied."""
    cut_k: tuple[float, ...] = (0.1, 0.2, 0.3, 0.6, 0.8, 1.2, 2.0)
    """Gains there; the critical one is added."""
    populations: tuple[int, ...] = (20, 60, 180)
    """Numbers of agents there."""
    tilted_temperature: float = 0.5
    """Temperature of the tilted well."""
    tilted_k: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
    """Gains of the tilted well."""
    sims: int = 24
    """Independent simulations of each point."""
    burn_in: float = 80.0
    """Time before averages are taken."""
    time: float = 120.0
    """Time over which averages are taken."""
    dt: float = 0.01
    """Step of the integrator: the predictions are those of the SDE."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("strength", "cut", "tilted_temperature", "burn_in", "time", "dt", "tilt"):
            check_sign(name, getattr(self, name), zero=name == "tilt")
        if not self.weight < -self.strength:
            raise ValueError(f"weight={self.weight:g}: must be less than -strength = {-self.strength:g}, for two wells")
        for name in ("k", "temperatures", "cut_k", "tilted_k", "populations"):
            values = getattr(self, name)
            if not values or any(v <= 0 for v in values) or list(values) != sorted(set(values)):
                raise ValueError(f"{name}={values}: must be one or more increasing numbers greater than 0")
        if len(self.populations) < 2:
            raise ValueError(f"populations={self.populations}: must be two or more, for an exponent")
        check_count("agents", self.agents, least=2)
        check_count("sims", self.sims, least=2)

    def well(self, tilt: float = 0.0) -> LogCosh:
        return LogCosh(self.strength, self.weight, tilt)

    def critical_gain(self, temperature: float) -> float:
        return SelfConsistency(self.well(), GRID).critical_gain(temperature)


PRESETS = {
    "smoke": Config(
        k=(0.1, 0.5, 2.0), temperatures=(0.6, 2.0), agents=40, cut_k=(0.1, 2.0), populations=(40, 120),
        tilted_k=(0.1, 1.0), sims=16, burn_in=40.0, time=40.0, dt=0.04,
    ),
    "default": Config(),
    "paper": Config(sims=240, dt=0.005),  # the error of the integrator must stay below that of more runs
}  # fmt: skip


# -- simulated and predicted -------------------------------------------------------------------------------------------


def _second_moments(config: Config, k, temperatures, agents: int, progress: bool) -> np.ndarray:
    """Averages over time of the square of the agents' mean, (k, temperature, sim), from agreement on one side.

    Agreement decays faster below the critical gain than it grows above it from its absence.
    """
    model = Dynamics(config.well(), Quorum(1.0), noise.Gaussian(1.0), ETA)
    steps = int(np.ceil((config.burn_in + config.time) / config.dt))
    every = max(1, round(0.1 / config.dt))
    data = sweep(
        model,
        {K: list(k), SIGMA: [_sigma(t) for t in temperatures]},
        agents=agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=init.Point(START),
        dt=config.dt,
        observe=observe.Moments(after=int(config.burn_in / config.dt)),
        every=every,
        keep_agents=False,
        progress=progress,
    ).isel(dim=0, drop=True)
    return (data["moments_quorum_mean"] ** 2 + data["moments_quorum_var"]).values.astype(float)


def _tilted_means(config: Config, start: float, progress: bool) -> np.ndarray:
    """Averages of the agents' mean on the tilted well over the second half of the time, (k, sim)."""
    sigma = _sigma(config.tilted_temperature)
    steps = int(np.ceil((config.burn_in + config.time) / config.dt))
    data = sweep(
        Dynamics(config.well(config.tilt), Quorum(1.0), noise.Gaussian(sigma), ETA),
        {K: list(config.tilted_k)},
        agents=config.agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=init.Point(start),
        dt=config.dt,
        observe=observe.Moments(after=steps // 2),
        every=max(1, round(0.1 / config.dt)),
        keep_agents=False,
        progress=progress,
    ).isel(dim=0, drop=True)
    return data["moments_quorum_mean"].values.astype(float)


def _consensus(theory: SelfConsistency, k: float, temperature: float) -> float:
    """The largest self-consistent mean of a symmetric well, 0 below the critical line."""
    if theory.branch(0.0, k, temperature).slope <= 1:
        return 0.0
    return max(b.mean for b in theory.branches(k, temperature, points=41))


def settled(config: Config, k: float, start: float) -> float:
    """The mean that agents on the tilted well are to have settled on from `start`, in the second half of the time.

    It is that of the law of infinitely many agents; NaN where this has not come to rest by then, or where the barrier
    of the effective loss is so low that the agents there are may cross it.
    """
    theory, temperature = SelfConsistency(config.well(config.tilt), GRID), config.tilted_temperature
    found = theory.branches(k, temperature)
    phi = theory.effective_loss(np.array([b.mean for b in found]), k, temperature)
    chosen = [b for b in found if b.stable][0 if start < 0 else -1]
    own = float(phi[found.index(chosen)])
    barriers = [float(p) - own for b, p in zip(found, phi, strict=True) if not b.stable]
    if any(config.agents * barrier < BARRIER * temperature for barrier in barriers):
        return np.nan
    model = Dynamics(config.well(config.tilt), Quorum(k), noise.Gaussian(_sigma(temperature)), ETA)
    half = (config.burn_in + config.time) / 2
    law = fokker_planck(model, GRID, time=half, dt=0.1, init=start)
    return chosen.mean if abs(law.mean[-1] - chosen.mean) < 0.01 else np.nan


def _sigma(temperature: float) -> float:
    return float(np.sqrt(2 * temperature / ETA))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    theory = SelfConsistency(config.well(), GRID)
    cut_k = sorted({*config.cut_k, config.critical_gain(config.cut)})
    plane = {K: list(config.k), T: list(config.temperatures)}
    cut = {"cut_k": cut_k, P: list(config.populations)}
    data = xr.Dataset(coords={**plane, **cut, "tilted_k": list(config.tilted_k), "start": [-2.0, 2.0]})
    data["plane"] = (K, T, "sim"), _second_moments(config, config.k, config.temperatures, config.agents, progress)
    exact = lambda k, t, p: quorum_moments(theory, k, t, p).second
    over = lambda f: ((K, T), np.array([[f(k, t) for t in config.temperatures] for k in config.k]))
    data["plane_exact"] = over(lambda k, t: exact(k, t, config.agents))
    data["plane_limit"] = over(lambda k, t: _consensus(theory, k, t))
    data["plane_slope"] = over(lambda k, t: theory.branch(0.0, k, t).slope)
    cuts = [_second_moments(config, cut_k, (config.cut,), p, progress)[:, 0] for p in config.populations]
    data["cut"] = (P, "cut_k", "sim"), np.array(cuts)
    data["cut_exact"] = (P, "cut_k"), np.array([[exact(k, config.cut, p) for k in cut_k] for p in config.populations])
    data["tilted"] = ("start", "tilted_k", "sim"), np.array([_tilted_means(config, s, progress) for s in (-2.0, 2.0)])
    branch = [[settled(config, k, s) for k in config.tilted_k] for s in (-2.0, 2.0)]
    data["tilted_branch"] = ("start", "tilted_k"), np.array(branch)
    return data


# -- statements --------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    at = lambda which: lambda d: d["cut"].isel(cut_k=which)
    where_critical = int(np.searchsorted(sorted(config.cut_k), config.critical_gain(config.cut)))
    # "Not above" and "not known", so that what is not a number is asked.
    ordered = lambda d: measured.asked(d["plane"] / d["plane_limit"] ** 2, ~(d["plane_slope"] <= 1.2))
    off = lambda d: measured.asked(
        abs(statistics.grid_mean(d["tilted"]) - d["tilted_branch"]), ~np.isnan(d["tilted_branch"])
    )
    return [
        measured.equal(
            "plane",
            "the mean square of the mean of p agents is the exact average over their stationary law, over the plane",
            lambda d: d["plane"],
            lambda d: d["plane_exact"],
        ),
        measured.equal(
            "cut",
            "the same for all p at one temperature, the critical gain included",
            lambda d: d["cut"],
            lambda d: d["cut_exact"],
        ),
        measured.ratio(
            "ordered",
            "well above the critical line (R' > 1.2) agents agree as infinitely many do (least relative mean square)",
            ordered,
            lambda d: 1.0,
            at_least(0.8, smoke=0.6),
        ),
        measured.exponent(
            "below",
            f"below the critical gain (k = {config.cut_k[0]:g}) the mean square vanishes as 1 / p",
            at(0),
            P,
            -1.0,
            0.25,
        ),
        measured.exponent("above", f"above it (k = {config.cut_k[-1]:g}) it does not vanish", at(-1), P, 0.0, 0.05),
        measured.exponent(
            "critical", "at the predicted critical gain it vanishes as 1 / sqrt(p)", at(where_critical), P, -0.5, 0.25
        ),
        Statement(
            "two-agreements",
            "on the tilted well each start settles on its stable branch (largest distance, where the law has settled "
            f"and no barrier is below {BARRIER:g} T / p)",
            lambda runs: statistics.greatest(off(runs.data)),
            at_most(0.1, smoke=0.4),
        ),
        Statement(
            "one-agreement",
            f"with weak coupling (k = {config.tilted_k[0]:g}) both starts settle on the same mean (distance)",
            lambda runs: abs(float(statistics.grid_mean(runs.data["tilted"].isel(tilted_k=0)).diff("start")[0])),
            at_most(0.2, smoke=0.4),
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def _plane(panel: Axes, config: Config, data: xr.Dataset, theory: SelfConsistency) -> None:
    gains = np.geomspace(config.k[0] / 1.4, config.k[-1] * 1.3, 32)
    heats = np.linspace(0.6 * config.temperatures[0], config.temperatures[-1] * 1.22, 28)
    limit = np.array([[_consensus(theory, k, t) for k in gains] for t in heats])
    style: dict[str, Any] = dict(cmap="viridis", vmin=0.0, vmax=float(limit.max()))
    image = panel.pcolormesh(gains, heats, limit, shading="gouraud", **style)
    lines = [theory.critical_gain(t) for t in heats]
    panel.plot(lines, heats, color="white", lw=1.8, label="critical gain")
    k, t = np.meshgrid(data[K], data[T], indexing="ij")
    found = np.sqrt(data["plane"].mean("sim"))
    panel.scatter(
        k, t, c=found, s=42, edgecolors="white", linewidths=0.8, label=f"simulated, $p={config.agents}$", **style
    )
    panel.set(xscale="log", xlabel="gain $k$ (1/time)", ylabel=r"temperature $T=\eta\sigma^2/2b$ (loss)")
    panel.set(xlim=(gains[0], gains[-1]), ylim=(heats[0], heats[-1]))
    ticks = [0.1, 0.2, 0.5, 1.0, 2.0]
    panel.set_xticks(ticks, [f"{v:g}" for v in ticks])
    panel.minorticks_off()
    legend = panel.legend(loc="upper left", fontsize=8, labelcolor="white")
    legend.legend_handles[1].set_facecolor("none")  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    panel.figure.colorbar(image, ax=panel, label=r"agreement: $|m|$, points $\sqrt{\mathrm{E}\,\bar x^2}$")


def _cut(panels, config: Config, data: xr.Dataset, theory: SelfConsistency) -> None:
    gains = np.geomspace(config.cut_k[0] / 1.3, config.cut_k[-1] * 1.2, 40)
    colors = pyplot.get_cmap("plasma")(np.linspace(0.15, 0.75, len(config.populations)))
    order, size = panels
    limit = [_consensus(theory, k, config.cut) for k in gains]
    order.plot(gains, limit, color="black", lw=1.4, label=r"$p\to\infty$")
    critical = theory.critical_gain(config.cut)
    calm = gains[gains < 0.97 * critical]
    noises = [linear_noise(theory.branch(0.0, k, config.cut).variance, k, config.cut) for k in calm]
    size.plot(calm, noises, color="black", lw=1.4, label="linear noise theory")
    for i, (p, color) in enumerate(zip(config.populations, colors, strict=True)):
        exact = np.array([quorum_moments(theory, k, config.cut, p).second for k in gains])
        one = data["cut"].isel({P: i})
        root = np.sqrt(one.mean("sim"))
        bar = statistics.grid_error(one) / root  # two standard errors of the root
        order.plot(gains, np.sqrt(exact), color=color, lw=1.1, label=f"$p={p}$, exact")
        order.errorbar(data["cut_k"], root, yerr=bar, fmt="o", ms=3.5, capsize=2, lw=1, color=color)
        size.plot(gains, p * exact, color=color, lw=1.1, label=f"$p={p}$, exact")
        measured.plot_measured(size, p * one, "cut_k", "simulated" if i == 0 else "_", color)
    for panel in panels:
        panel.axvline(critical, color="0.6", lw=0.9, ls=":")
        panel.set(xscale="log", xlabel="gain $k$ (1/time)")
        panel.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        panel.minorticks_off()
        panel.legend(loc="upper left", fontsize=8)
    order.set_ylabel(r"$\sqrt{\mathrm{E}\,\bar x^2}$")
    size.set(yscale="log", ylabel=r"$p\,\mathrm{E}\,\bar x^2$")


def _tilted(panel: Axes, config: Config, data: xr.Dataset) -> None:
    theory = SelfConsistency(config.well(config.tilt), GRID)
    gains = np.geomspace(config.tilted_k[0] / 1.2, config.tilted_k[-1] * 1.1, 80)
    found = [(k, b) for k in gains for b in theory.branches(k, config.tilted_temperature, points=61)]
    for stable, marker, name in ((True, "black", "stable"), (False, "0.65", "unstable")):
        points = [(k, b.mean) for k, b in found if b.stable == stable]
        if points:
            panel.plot(*zip(*points, strict=True), ".", ms=2.2, color=marker, label=name)
    for i, (start, color) in enumerate(((-2, "#1f77b4"), (2, "#b2182b"))):
        mean = data["tilted"].isel(start=i)
        measured.plot_measured(panel, mean, "tilted_k", f"$p={config.agents}$ from {start}", color, "sv"[i])
    panel.set(xscale="log", xlabel="gain $k$ (1/time)", ylabel=r"mean $\bar x$")
    panel.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    panel.minorticks_off()
    panel.legend(loc="center left", fontsize=8)


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.4, 7.0), layout="constrained")
    theory = SelfConsistency(config.well(), GRID)
    _plane(axes[0, 0], config, data, theory)
    _cut((axes[0, 1], axes[1, 0]), config, data, theory)
    _tilted(axes[1, 1], config, data)
    titles = (
        "where agents agree",
        f"agreement at $T={config.cut:g}$",
        f"fluctuations of the mean at $T={config.cut:g}$",
        f"tilted well, $T={config.tilted_temperature:g}$: two agreements, or one",
    )
    for i, title in enumerate(titles):
        plotting.letter(axes.flat[i], i, title)
    figure.suptitle("Phase diagram of consensus of coupled agents (QSGD) on a double well", fontsize=10.5)
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-phase",
    "Phase diagram of consensus in gain and noise, predicted for infinitely many agents and simulated",
    "Not in the paper: above which gain do agents on a symmetric double well agree on a side, how does it grow with "
    "the noise, and what remains of the transition for finitely many of them.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
