"""What Figures 1-3 of Boffi and Slotine share: the 1-D loss, a run over six gains, six panels, and statistics.

The numbers of the paper are lost in the available text. All constants here are chosen [C] so that its statements about
the figures hold; put the paper's into the configuration, and everything (minima, statistics, picture) follows.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar

from sdesim import init, noise, objectives
from sdesim.coupling import AbstractCoupling, Quorum
from sdesim.dynamics import AbstractMomentum, Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame.measured import within
from sdesim.plot import theme
from sdesim.plot.landscapes import unit_range
from sdesim.statistics import kernel_density, silverman

K = "coupling_k"
WINDOW = 3.0  # half width of the pictures
NEAR = 0.4  # a basin of the smoothed loss, about each of its minima


@dataclasses.dataclass(frozen=True)
class Loss:
    """Constants [C] of f(x) = scale (x^4 - well x^2 - tilt x - a1 cos(w1 x) + a2 sin(w2 x)) (BS 40).

    Attributes:
        scale: factor of the whole.
        well: of x^2, which makes two wells.
        tilt: of x.
        a1: of the slow wave, the cosine.
        w1: frequency of the slow wave, in 1/length.
        a2: of the fast wave, the sine.
        w2: frequency of the fast wave, in 1/length.
    """

    scale: float = 0.1
    well: float = 5.0
    tilt: float = 0.75
    a1: float = 6.0
    w1: float = 3.6
    a2: float = 4.0
    w2: float = 16.0

    def objective(self) -> objectives.OscillatingDoubleWell:
        """The loss of these constants."""
        return objectives.OscillatingDoubleWell(**dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of a one-dimensional experiment. Replace them with the paper's to reproduce it exactly."""

    k: tuple[float, ...] = (0.0, 0.25, 2.75, 3.25, 6.0, 10.0)
    """Coupling gains of the six panels."""
    agents: int = 250
    """Agents p of one simulation."""
    sims: int = 200
    """Independent simulations of each gain."""
    steps: int = 3000
    """Iterations T."""
    eta: float = 0.05
    """Learning rate."""
    noise_half_width: float = 8.0
    """Noise is uniform on (-w, w), drawn for each agent and iteration."""
    init_half_width: float = 3.0
    """Agents start uniformly on (-R, R)."""
    smoothing: float | None = None
    """Half width at which the smoothed loss is drawn and its minima are taken; eta * noise_half_width by default."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: Loss = dataclasses.field(default_factory=Loss)
    """Constants of the loss."""

    def __post_init__(self):
        if len(self.k) != 6 or any(k < 0 for k in self.k):
            raise ValueError(f"k={self.k}: must be six gains of at least 0, one a panel")
        for name in ("agents", "sims", "steps"):
            check_count(name, getattr(self, name))
        for name in ("eta", "noise_half_width", "init_half_width"):
            check_sign(name, getattr(self, name), zero=False)
        if self.sims < 2:
            raise ValueError(f"sims={self.sims}: must be at least 2, for a Monte Carlo error")

    @property
    def half_width(self) -> float:
        """Half width at which the smoothed loss is drawn and its minima are taken, in length."""
        return self.eta * self.noise_half_width if self.smoothing is None else self.smoothing


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """Minima that the statements speak of.

    Attributes:
        deepest: of the true loss.
        near_start: minimum of the true loss nearest to 0.
        right: of the two deepest minima of the smoothed loss, the one at the greater position.
        left: the other of the two.
        origin: minimum of the smoothed loss nearest to 0.
    """

    deepest: float
    near_start: float
    right: float
    left: float
    origin: float


def _minima(f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """All local minima of f on the window, refined, deepest first."""
    x = np.linspace(-WINDOW, WINDOW, 6001)
    y = f(x)
    inner = np.flatnonzero((y[1:-1] < y[:-2]) & (y[1:-1] < y[2:])) + 1
    refined = [
        minimize_scalar(lambda z: float(f(np.array([z]))[0]), bounds=(x[i - 1], x[i + 1]), method="bounded").x  # pyright: ignore[reportAttributeAccessIssue]
        for i in inner
    ]
    return np.array(sorted(refined, key=lambda z: float(f(np.array([z]))[0])))


def curves(config: Config) -> tuple[Callable, Callable]:
    """The true and the smoothed loss as functions of an array of points.

    Args:
        config: constants of the experiment.
    """
    objective = config.loss.objective()

    def over(f: Callable):
        fast = jax.jit(jax.vmap(f))  # asked for one point at a time by who refines minima
        return lambda x: np.asarray(fast(jnp.asarray(x)[:, None]), float)

    return over(objective.loss), over(lambda x: objective.smoothed(x, config.half_width))


@functools.cache
def landmarks(config: Config) -> Landmarks:
    """The landmarks of a configuration's loss.

    Args:
        config: constants of the experiment.

    Raises:
        ValueError: if the smoothed loss has fewer than two minima in the window.
    """
    true, smoothed = (_minima(f) for f in curves(config))
    if smoothed.size < 2:
        raise ValueError(
            f"loss, smoothing={config.half_width:g}: the smoothed loss must have two minima in "
            f"(-{WINDOW:g}, {WINDOW:g}) for the figure's statements, it has {smoothed.size}"
        )
    left, right = sorted(smoothed[:2])
    nearest = lambda values: float(values[np.argmin(np.abs(values))])
    return Landmarks(float(true[0]), nearest(true), float(right), float(left), nearest(smoothed))


@dataclasses.dataclass(frozen=True)
class Points:
    """Final points of one gain.

    Attributes:
        x: agents, (sims, agents).
        q: quorum (or center), (sims,).
    """

    x: np.ndarray
    q: np.ndarray

    @property
    def sims(self) -> int:
        """Simulations."""
        return self.q.shape[0]

    def take(self, sims: np.ndarray) -> "Points":
        """The points of these simulations alone.

        Args:
            sims: their indices.
        """
        return Points(self.x[sims], self.q[sims])


@dataclasses.dataclass(frozen=True)
class Panels:
    """The points of the panels a, b, ... and of further runs by name: what statistics look at.

    Attributes:
        points: of the panels, by letter, and of further runs, by name.
    """

    points: dict[str, Points]

    @property
    def sims(self) -> int:
        """Simulations."""
        return next(iter(self.points.values())).sims

    def take(self, sims: np.ndarray) -> "Panels":
        """The panels with the points of these simulations alone.

        Args:
            sims: their indices.
        """
        return Panels({name: points.take(sims) for name, points in self.points.items()})

    def __getitem__(self, name: str) -> Points:
        return self.points[name]


def model(
    config: Config,
    coupling: AbstractCoupling | None = None,
    eta: Any = None,
    momentum: AbstractMomentum | None = None,
) -> Dynamics:
    """The dynamics of a configuration.

    Args:
        config: constants of the experiment.
        coupling: by default the quorum's, at the first gain.
        eta: learning rate or schedule; the configuration's by default.
        momentum: none by default.
    """
    return Dynamics(
        config.loss.objective(),
        Quorum(config.k[0]) if coupling is None else coupling,
        noise.Uniform(config.noise_half_width),
        config.eta if eta is None else eta,
        momentum,
    )


def final_points(config: Config, dynamics: Dynamics, k: tuple[float, ...], progress: bool) -> xr.Dataset:
    """Final agents and quorum for each gain, all with the same noise.

    Args:
        config: constants of the experiment.
        dynamics: what is run.
        k: coupling gains.
        progress: whether to say how far it is.
    """
    data = sweep(
        dynamics,
        {"coupling.k": list(k)},
        agents=config.agents,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=init.Uniform(-config.init_half_width, config.init_half_width),
        progress=progress,
    )
    return data[["agents", "quorum", "center", "diverged"]].isel(dim=0, drop=True)


def panels(data: xr.Dataset, signal: str = "quorum", **further: xr.Dataset) -> Panels:
    """Panels a-f, in the order of the gains, and the points of `further` datasets by name.

    Args:
        data: as `final_points` gives it.
        signal: the variable that q is: "quorum" or "center".
        **further: datasets of one gain, by the name of their points.
    """
    points = {}
    for i in range(data.sizes[K]):
        one = data.isel({K: i})
        points["abcdefghijkl"[i]] = Points(one["agents"].values.astype(float), one[signal].values.astype(float))
    for name, one in further.items():
        points[name] = Points(one["agents"].values.astype(float), one[signal].values.astype(float))
    return Panels(points)


# -- statistics of one panel -----------------------------------------------------------------------------------------


def near(values: np.ndarray, center: float, radius: float) -> np.ndarray:
    """Which quorum points, (sims,), lie within `radius`: a share of the simulations, NaN where one is not finite.

    Args:
        values: of the quorum, (sims,).
        center: of the interval.
        radius: half the length of the interval.
    """
    return np.abs(values - center) < radius if np.isfinite(values).all() else within(values, center, radius)


def share_near(x: np.ndarray, center: float, radius: float) -> np.ndarray:
    """Share of each simulation's agents within `radius`, (sims,); NaN of one that is not finite.

    Args:
        x: agents, (sims, agents).
        center: of the interval.
        radius: half the length of the interval.
    """
    return within(x, center, radius).mean(axis=1)


def median(x: np.ndarray) -> float:
    """The median of all agents, which would hold out against some that are not finite: NaN then.

    Args:
        x: agents, (sims, agents).
    """
    return float(np.median(x)) if np.isfinite(x).all() else np.nan


def width(q: np.ndarray) -> float:
    """Half-way robust width of a distribution: the 5-95 % range in standard deviations of a normal law.

    Args:
        q: quorum, (sims,).
    """
    return float(np.subtract(*np.percentile(q, [95, 5])) / 3.29) if np.isfinite(q).all() else np.nan


def flatness(x: np.ndarray) -> np.ndarray:
    """A smoothed density of agents (bandwidth 0.2) on (-2, 2), relative to its mean there.

    Args:
        x: agents, (sims, agents).
    """
    if not np.isfinite(x).all():  # which a histogram would leave out
        return np.full(1, np.nan)
    counts, edges = np.histogram(x, bins=240, range=(-3, 3), density=True)
    centers = (edges[1:] + edges[:-1]) / 2
    kernel = np.exp(-0.5 * ((centers[:, None] - centers) / 0.2) ** 2)
    smooth = (kernel @ counts / kernel.sum(1))[np.abs(centers) < 2]
    return smooth / smooth.mean()


def peak_ratio(x: np.ndarray) -> float:
    """Largest over smallest density on (-2, 2).

    Args:
        x: agents, (sims, agents).
    """
    u = flatness(x)
    return float(u.max() / np.maximum(u.min(), 1e-9))


def divergence_from_uniform(x: np.ndarray) -> float:
    """Kullback-Leibler divergence of the agents' density on (-2, 2) from the uniform one.

    Args:
        x: agents, (sims, agents).
    """
    u = flatness(x)
    return float(np.mean(u * np.log(np.maximum(u, 1e-12))))


def deep_excess(x: np.ndarray, marks: Landmarks) -> float:
    """Density of agents in the two deepest basins relative to that over (-2, 2).

    Args:
        x: agents, (sims, agents).
        marks: of the loss.
    """
    share = lambda center, radius: within(x, center, radius).mean()
    deep = share(marks.right, NEAR) + share(marks.left, NEAR)
    return float(deep / (4 * NEAR) / (share(0.0, 2.0) / 4))


def loss_correlation(x: np.ndarray, config: Config) -> tuple[float, float]:
    """Correlation of log density on (-2.2, 2.2) with minus the smoothed loss, and with minus what smoothing removed.

    Args:
        x: agents, (sims, agents).
        config: constants of the experiment.
    """
    if not np.isfinite(x).all():
        return np.nan, np.nan
    counts, edges = np.histogram(x, bins=200, range=(-2.2, 2.2))
    centers = (edges[1:] + edges[:-1]) / 2
    true, smoothed = (f(centers) for f in curves(config))
    log_density = np.log(counts + 1.0)
    correlate = lambda y: float(np.corrcoef(log_density, -y)[0, 1])
    return correlate(smoothed), correlate(true - smoothed)


# -- picture ---------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset, title: str, signal: str = "quorum", signal_name: str = "quorum") -> Figure:
    """Six panels: densities of final agents and of the quorum over the true and the smoothed loss.

    Args:
        config: constants of the experiment.
        data: as `final_points` gives it.
        title: of the picture.
        signal: the variable beside the agents: "quorum" or "center".
        signal_name: what the legend calls it.
    """
    grid = np.linspace(-WINDOW, WINDOW, 1201)
    true, smoothed = (f(grid) for f in curves(config))
    inside = np.abs(grid) < 2.6
    figure, axes = pyplot.subplots(2, 3, figsize=(9.6, 5.4), sharex=True, sharey=True, layout="constrained")
    for i, (panel, k) in enumerate(zip(axes.flat, config.k, strict=True)):
        one = data.isel({K: i})
        agents = kernel_density(one["agents"].values, grid, 0.05)
        q = one[signal].values
        quorum = kernel_density(q, grid, min(0.05, silverman(q)))
        panel.plot(grid, unit_range(true, inside), color=theme.LOSS, lw=1.0, label="loss (scaled)", zorder=1)
        panel.plot(
            grid,
            unit_range(smoothed, inside),
            color=theme.SMOOTHED,
            lw=1.4,
            label="smoothed loss (scaled)",
            zorder=2,
        )
        panel.fill_between(grid, agents / np.nanmax(agents), color=theme.AGENTS, alpha=0.35, lw=0, zorder=0)
        panel.plot(grid, agents / np.nanmax(agents), color=theme.AGENTS, lw=1.0, label="agents", zorder=3)
        panel.plot(grid, quorum / np.nanmax(quorum), color=theme.QUORUM, lw=1.4, label=signal_name, zorder=4)
        theme.letter(panel, i, f"$k = {k:g}$")
        bad = int((one["diverged"].values >= 0).sum())
        if bad:
            panel.text(
                0.5, 0.5, f"{bad} of {q.size} diverged", transform=panel.transAxes, ha="center", color=theme.QUORUM
            )
    axes[0, 0].set(xlim=(-WINDOW, WINDOW), ylim=(0, 1.08))
    for panel in axes[1]:
        panel.set_xlabel("$x$")
    for panel in axes[:, 0]:
        panel.set_ylabel("density / maximum")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=10.5)
    pyplot.close(figure)  # kept by its reference alone, so that no window opens and none is leaked
    return figure
