"""What Figures 4-6 of Boffi and Slotine share: the d-dimensional loss, one run over eleven gains, and its statistics.

The numbers of the paper are lost in the available text. All constants here are chosen [C] so that its statements about
the figures hold; put the paper's into the configuration, and everything (minima, statistics, pictures) follows.

The coordinates of the loss are exchangeable, so the planes (x1, x2), (x3, x4), ... are one sample of a plane: pictures
and statistics pool them.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from sdesim import init, noise, objectives, observe
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics, Nesterov
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame.cache import cached
from sdesim.papers.frame.measured import Runs
from sdesim.plot import theme
from sdesim.plot.landscapes import contours

K = "coupling_k"
GAINS, PANELS = 11, 6
WINDOW = 2.2  # half width of the pictures
NEAR = 0.4  # half width of a cluster in each coordinate
WELL = 0.9  # a coordinate farther than this from 0 is in one of the two wells
DRAWN = ("section", "smoothing", "shown")  # settings that change pictures alone


@dataclasses.dataclass(frozen=True)
class Loss:
    """Constants [C] of scale (sum_i (x_i^4 - well x_i^2 + tilt x_i) - a/(d-1) sum_{i<j} cos w x_i cos w x_j), BS 44.

    Attributes:
        scale: factor of the whole.
        well: of x_i^2, which makes two wells of each coordinate.
        tilt: of x_i.
        a: of the cosines, over all pairs of coordinates.
        w: frequency of the cosines, in 1/length.
    """

    scale: float = 0.15
    well: float = 4.0
    tilt: float = 0.4
    a: float = 6.0
    w: float = 4.4

    def objective(self) -> objectives.CoupledDoubleWells:
        """The loss of these constants."""
        return objectives.CoupledDoubleWells(**dataclasses.asdict(self))

    def minima(self) -> tuple[float, float]:
        """The left and the right minimum of one coordinate without coupling, the uncorrupted loss.

        Raises:
            ValueError: if it has not two.
        """
        roots = np.roots([4.0, 0.0, -2 * self.well, self.tilt])
        real = np.sort(roots.real[np.abs(roots.imag) < 1e-9])
        if real.size != 3 or self.scale <= 0:
            raise ValueError(f"loss={self}: without its cosines it must have two minima in each coordinate")
        return float(real[0]), float(real[2])


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of Figures 4-6. Replace them with the paper's to reproduce it exactly."""

    k: tuple[float, ...] = (0.0, 15.0, 30.0, 50.0, 70.0, 80.0, 85.0, 90.0, 100.0, 120.0, 160.0)
    """Coupling gains of Figure 4(c), ascending."""
    panels: tuple[float, ...] = (0.0, 15.0, 50.0, 70.0, 90.0, 120.0)
    """Those of the gains that the panels of Figures 5 and 6 show."""
    agents: int = 60
    """Agents p of one simulation."""
    dims: int = 40
    """Dimensions d of the loss, an even number: pictures pool planes of two coordinates."""
    sims: int = 24
    """Independent simulations of each gain."""
    steps: int = 2000
    """Iterations T."""
    every: int = 50
    """Iterations between two records of the loss; T is a multiple of it."""
    eta: float = 0.004
    """Learning rate."""
    momentum: float = 0.9
    """Momentum delta of the Nesterov iteration."""
    noise_half_width: float = 18.0
    """Noise is uniform on (-w, w), drawn for each agent, coordinate and iteration."""
    init_half_width: float = 2.5
    """Agents start uniformly on (-R, R) in each coordinate, at rest."""
    section: float | None = None
    """Where the pictured section holds the other coordinates; the global minimum without cosines by default."""
    smoothing: float | None = None
    """Half width at which the smoothed loss is drawn; eta * noise_half_width / (1 - momentum) by default."""
    shown: int = 6
    """Agents of each simulation that Figure 5 draws, in each plane."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: Loss = dataclasses.field(default_factory=Loss)
    """Constants of the loss."""

    def __post_init__(self):
        k = self.k
        if len(k) != GAINS or k[0] < 0 or any(not low < high for low, high in itertools.pairwise(k)):
            raise ValueError(f"k={k}: must be {GAINS} ascending gains of at least 0")
        if len(self.panels) != PANELS or not set(self.panels) <= set(k):
            raise ValueError(f"panels={self.panels}: must be {PANELS} of the gains k={k}")
        for name in ("agents", "dims", "sims", "steps", "every", "shown"):
            check_count(name, getattr(self, name))
        for name in ("eta", "noise_half_width", "init_half_width"):
            check_sign(name, getattr(self, name), zero=False)
        if self.dims % 2:
            raise ValueError(f"dims={self.dims}: must be even, for planes of two coordinates")
        if self.sims < 2:
            raise ValueError(f"sims={self.sims}: must be at least 2, for a Monte Carlo error")
        if self.steps % self.every:
            raise ValueError(f"every={self.every}: must divide steps={self.steps}, so that the end is recorded")
        if self.shown > self.agents:
            raise ValueError(f"shown={self.shown}: must be at most agents={self.agents}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}: must be at least 0 and less than 1")
        self.loss.minima()

    @property
    def rest(self) -> float:
        """The value of the coordinates that a section holds."""
        return self.loss.minima()[0 if self.loss.tilt >= 0 else 1] if self.section is None else self.section

    @property
    def half_width(self) -> float:
        """The half width of the smoothed loss: that of a coordinate's noise, summed over the memory of the momentum."""
        summed = self.eta * self.noise_half_width / (1 - self.momentum)
        return summed if self.smoothing is None else self.smoothing


PRESETS = {"smoke": Config(sims=8, dims=20, steps=1000), "default": Config(), "paper": Config(sims=240)}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """The run that all three figures look at, made once for a configuration (see `cache`).

    Args:
        config: constants of the experiment.
        progress: whether to say how far it is.

    Returns:
        quorum_loss (k, sim, step): loss of the quorum divided by d. quorum (panel, sim, dim) and agents (panel, sim,
        agent, dim): the final ones. diverged (k, sim): first step that is not finite, or -1.
    """
    decides = {name: value for name, value in dataclasses.asdict(config).items() if name not in DRAWN}
    return cached("high-dimensional", decides, lambda: _run(config, progress))


def _run(config: Config, progress: bool) -> xr.Dataset:
    model = Dynamics(
        config.loss.objective(),
        Quorum(config.k[0]),
        noise.Uniform(config.noise_half_width),
        config.eta,
        Nesterov(config.momentum),
    )
    all_gains = sweep(
        model,
        {"coupling.k": list(config.k)},
        agents=config.agents,
        dims=config.dims,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=init.Uniform(-config.init_half_width, config.init_half_width),
        observe=observe.QuorumLoss(),
        every=config.every,
        progress=progress,
    )
    shown = all_gains[["quorum", "agents"]].isel({K: [config.k.index(k) for k in config.panels]})
    return xr.Dataset(
        {
            "quorum_loss": (all_gains["quorum_loss_series"] / config.dims).rename({K: "k"}),
            "diverged": all_gains["diverged"].rename({K: "k"}),
            **{name: variable.rename({K: "panel"}) for name, variable in shown.items()},
        }
    )


# -- what statements look at -------------------------------------------------------------------------------------------


def panel(runs: Runs, name: str, letter: str) -> np.ndarray:
    """The agents or the quorum of a panel.

    Args:
        runs: the simulations.
        name: "agents" or "quorum".
        letter: of the panel, "a" to "f".

    Returns:
        Agents (sims, agents, dims), or quorum (sims, dims).
    """
    return runs.data[name].values["abcdef".index(letter)].astype(float)


def planes(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (..., dims) as points of planes: their first and second coordinates, (..., dims/2) each.

    Args:
        z: points, (..., dims).
    """
    return z[..., 0::2], z[..., 1::2]


def _share(inside: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share of each simulation's planar points that are inside, (sims,); NaN for one that diverged."""
    share = inside.reshape(len(z), -1).mean(axis=1)
    return np.where(np.isfinite(z.reshape(len(z), -1)).all(axis=1), share, np.nan)


def clusters(z: np.ndarray, minima: tuple[float, float]) -> np.ndarray:
    """Share of each simulation's planar points in each of the four squares about pairs of minima, (4, sims).

    Args:
        z: points, (..., dims).
        minima: the left and the right minimum of a coordinate.
    """
    first, second = planes(z)
    near = lambda a, m: np.abs(a - m) < NEAR
    return np.stack([_share(near(first, m) & near(second, n), z) for m in minima for n in minima])


def in_clusters(z: np.ndarray, minima: tuple[float, float]) -> np.ndarray:
    """Share of each simulation's planar points in the four clusters together, (sims,).

    Args:
        z: points, (..., dims).
        minima: the left and the right minimum of a coordinate.
    """
    return clusters(z, minima).sum(axis=0)


def smallest_cluster(z: np.ndarray, minima: tuple[float, float]) -> float:
    """Share of all planar points in the least of the four clusters.

    Args:
        z: points, (..., dims).
        minima: the left and the right minimum of a coordinate.
    """
    return float(clusters(z, minima).mean(axis=1).min())


def near_origin(z: np.ndarray) -> np.ndarray:
    """Share of each simulation's planar points in the square about the origin, (sims,).

    Args:
        z: points, (..., dims).
    """
    first, second = planes(z)
    return _share((np.abs(first) < NEAR) & (np.abs(second) < NEAR), z)


def bottom_left(z: np.ndarray) -> np.ndarray:
    """Share of each simulation's planar points in the quadrant of negative coordinates, (sims,).

    Args:
        z: points, (..., dims).
    """
    first, second = planes(z)
    return _share((first < 0) & (second < 0), z)


def stragglers(z: np.ndarray) -> np.ndarray:
    """Share of each simulation's planar points with a coordinate in neither well, (sims,).

    Args:
        z: points, (..., dims).
    """
    first, second = planes(z)
    return _share((np.abs(first) < WELL) | (np.abs(second) < WELL), z)


def unevenness(z: np.ndarray) -> float:
    """Largest over smallest count of planar points in 4 x 4 squares of (-1.8, 1.8)^2; NaN if any is not finite.

    Args:
        z: points, (..., dims).
    """
    first, second = planes(z)
    if not np.isfinite(z).all():
        return np.nan
    counts = np.histogram2d(first.ravel(), second.ravel(), bins=4, range=[[-1.8, 1.8]] * 2)[0]
    return float(counts.max() / max(counts.min(), 1e-9))


def distance_in_wells(z: np.ndarray) -> float:
    """Mean distance from 0 of the coordinates that are in a well; NaN if none is.

    Args:
        z: points, (..., dims).
    """
    distance = np.abs(z)
    if not np.isfinite(z).all() or not (distance > WELL).any():
        return np.nan
    return float(distance[distance > WELL].mean())


# -- pictures ----------------------------------------------------------------------------------------------------------


def section(config: Config, points: int = 161, smoothed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The loss over the plane (x1, x2), the other coordinates held, less its least value there.

    Args:
        config: constants of the experiment.
        points: of the grid, along either coordinate.
        smoothed: whether to take the smoothed loss.

    Returns:
        The grid (points,) of either coordinate, and the values (points, points), x2 first.
    """
    grid = np.linspace(-WINDOW, WINDOW, points)
    plane = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    x = np.full((len(plane), config.dims), config.rest)
    x[:, :2] = plane
    # The other coordinates add tens to values that differ by less than one: their float32 contours would be ragged.
    with jax.enable_x64(True):
        objective = config.loss.objective()
        f = (lambda z: objective.smoothed(z, config.half_width)) if smoothed else objective.loss
        values = np.asarray(jax.jit(jax.vmap(f))(jnp.asarray(x)), float).reshape(points, points)
    return grid, values - values.min()


def draw_section(axes: Axes, grid: np.ndarray, values: np.ndarray, steps: int, **options: Any) -> QuadContourSet:
    """Filled contours of a section in about `steps` steps, with thin lines between; the steep walls are cut off.

    Args:
        axes: where to draw.
        grid: as `section` gives it.
        values: as `section` gives them.
        steps: about how many.
        **options: further arguments of Matplotlib's `contourf`.

    Returns:
        The filled contours.
    """
    filled = contours(axes, grid, grid, values, steps, **options)
    axes.set_aspect("equal")
    axes.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW))
    return filled


def draw_panels(
    config: Config, data: xr.Dataset, z: np.ndarray, title: str, what: str, style: dict[str, Any]
) -> Figure:
    """Six panels of planar points over the section of the loss.

    Args:
        config: constants of the experiment.
        data: as `run` gives it.
        z: points, (panels, sims, ..., dims).
        title: of the picture.
        what: the points are, for the legend.
        style: of the points, arguments of Matplotlib.
    """
    grid, values = section(config, points=101)
    figure, axes = pyplot.subplots(2, 3, figsize=(9.6, 6.4), sharex=True, sharey=True, layout="constrained")
    for i, (panel, k) in enumerate(zip(axes.flat, config.panels, strict=True)):
        filled = draw_section(panel, grid, values, 7, cmap="GnBu_r", alpha=0.55)
        first, second = planes(z[i])
        panel.plot(first.ravel(), second.ravel(), label=what, ls="none", mew=0, rasterized=True, **style)
        theme.letter(panel, i, f"$k = {k:g}$")
        bad = int((data["diverged"].sel(k=k).values >= 0).sum())
        if bad:
            text = f"{bad} of {data.sizes['sim']} diverged"
            panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", color=theme.QUORUM)
    for panel in axes[1]:
        panel.set_xlabel("$x_1$ (pooled: $x_1, x_3, \\ldots$)")
    for panel in axes[:, 0]:
        panel.set_ylabel("$x_2$ (pooled: $x_2, x_4, \\ldots$)")
    figure.colorbar(filled, ax=axes, shrink=0.6, pad=0.01, label="loss in the section, above its minimum")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", markerscale=3)
    figure.suptitle(title, fontsize=10.5)
    pyplot.close(figure)  # kept by its reference alone, so that no window opens and none is leaked
    return figure
