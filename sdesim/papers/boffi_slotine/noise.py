"""bs-noise: the noise of the mean of coupled agents, and what their spread does to its drift (BS 31, Thm 3.2).

Command: sdesim figure bs-noise. The mean x of p agents obeys dx = (-grad f(x) + eps) dt + sqrt(eta / (b p)) B dW: its
noise is that of one agent with covariance 1/p, and the disturbance eps = grad f(x) - mean of grad f(x^i) is due to the
agents' spread: E|eps| is at most proportional to 1 / (k - concavity), and does not fall with p. Losses have bounded
curvature and are tilted, so that the gradient vanishes where the third derivative of log cosh is greatest; there eps
is as great as it can be, and has a mean. All constants are chosen [C].
"""

import dataclasses
import functools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim import init, noise, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.objectives import LogCosh
from sdesim.papers.boffi_slotine.strongly_convex import along
from sdesim.papers.boffi_slotine.sync import COLORS, LOSSES, MARKERS
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.theory import bounds, curvature

WELL, QUADRATIC, CONVEX = LOSSES


class Disturbance(observe.AbstractSeries):
    """eps = grad f(mean) - mean of grad f(x^i), (dims,)."""

    name = "disturbance"
    axes = ("dim",)

    def value(self, view):
        return view.model.objective.gradient(view.quorum) - view.mean(view.model.gradients(view.state.x))


class QuorumNoise(observe.AbstractAccumulator):
    """Mean square of what one step adds to the mean of the agents beyond their mean gradient, (dims,), in length^2.

    For a coupling that leaves the mean alone, whatever the loss, this is the noise of a step.
    """

    name = "quorum_noise"
    every_step = True
    axes: ClassVar[dict[str, tuple[str, ...]]] = {"square": ("dim",)}

    def _now(self, view):
        return view.quorum, view.mean(view.model.gradients(view.state.x)), view.state.t

    def init(self, view):
        return jnp.zeros((), view.state.x.dtype), jnp.zeros_like(view.quorum), self._now(view)

    def update(self, total, view):
        count, square, (x, gradient, t) = total
        now = self._now(view)
        added = now[0] - x + (now[2] - t) * gradient
        return count + 1, square + added**2, now

    def finish(self, total):
        count, square, _ = total
        return {"square": square / jnp.maximum(count, 1)}


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (2, 8, 32, 128)
    """Numbers of agents p."""
    k: tuple[float, ...] = (0.0, 4.0, 8.0, 16.0, 32.0)
    """Coupling gains; those above the double well's concavity are set beside the bound."""
    sims: int = 96
    """Independent simulations of each grid point."""
    eta: float = 0.4
    """Learning rate."""
    refine: int = 64
    """The step dt is the learning rate divided by this."""
    batch: float = 2.0
    """Minibatch size b."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian noise of one sample's gradient."""
    strength: float = 1.0
    """Curvature s of the quadratic part of the losses."""
    well: float = -2.0
    """Weight w of log cosh in the double well, below -s."""
    convex: float = 1.0
    """Weight w of log cosh in the convex loss, above 0."""
    point: float = LogCosh.STEEPEST
    """Where the gradients vanish and agents start; the minimum of the convex losses."""
    time: float = 12.0
    """Time T of a run; statistics are taken over its last two thirds."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for value in self.agents:
            check_count("agents", value, least=2)
        check_count("sims", self.sims, least=2)
        check_count("refine", self.refine)
        check_sign("k", self.k)
        for name in ("eta", "batch", "sigma", "strength", "convex", "time"):
            check_sign(name, getattr(self, name), zero=False)
        if not self.well < -self.strength:
            raise ValueError(f"well={self.well}: must be less than -strength={-self.strength:g}, for a double well")
        if len([k for k in self.k if k > -(self.strength + self.well)]) < 2:
            raise ValueError(
                f"k={self.k}: two gains at least must be more than the concavity {-(self.strength + self.well):g}"
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of log cosh in each loss."""
        return dict(zip(LOSSES, (self.well, 0.0, self.convex), strict=True))

    @property
    def dt(self) -> float:
        return self.eta / self.refine

    def loss(self, name: str) -> LogCosh:
        return LogCosh.resting_at(self.point, self.strength, self.weights[name])


PRESETS = {
    "smoke": Config(agents=(2, 32), k=(0.0, 8.0, 32.0), sims=24, time=9.0),
    "default": Config(),
    "paper": Config(sims=960),
}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    each = [_on_loss(config, loss, progress) for loss in LOSSES]
    return xr.Dataset({name: along("loss", LOSSES, [data[name] for data in each]) for name in each[0]})


def _on_loss(config: Config, loss: str, progress: bool) -> xr.Dataset:
    """Measurements on one loss, over (n_agents, k, sim)."""
    model = Dynamics(
        config.loss(loss), Quorum(config.k[0]), noise.Gaussian(config.sigma), config.eta, batch=config.batch
    )
    steps = int(np.ceil(config.time / config.dt))
    data = sweep(
        model,
        {"agents": list(config.agents), "coupling.k": list(config.k)},
        steps=steps,
        dt=config.dt,
        sims=config.sims,
        seed=config.seed,
        init=init.Point(config.point),
        observe=(observe.Quorum(), Disturbance(), QuorumNoise()),
        every=max(1, config.refine // 4),
        keep_agents=False,
        progress=progress,
    )
    data = data.rename({"coupling.k": "k"})
    late = data.isel(step=data["step"].values > steps / 3, dim=0, drop=True).astype(float)
    quorum = late["quorum_series"]
    return xr.Dataset(
        {
            "noise": late["quorum_noise_square"] / config.dt,
            "quorum": quorum.mean("step", skipna=False),
            "square": ((quorum - config.point) ** 2).mean("step", skipna=False),
            "disturbance": abs(late["disturbance"]).mean("step", skipna=False),
        }
    )


# -- theory, over the grid of the measurements -------------------------------------------------------------------------


def quorum_noise(config: Config, data: xr.Dataset) -> xr.DataArray:
    """eta sigma^2 / (b p), over n_agents."""
    return bounds.quorum_noise_covariance(config.sigma**2, data["n_agents"], config.eta, config.batch)


def stationary_variance(config: Config, data: xr.Dataset, weight: float) -> xr.DataArray:
    """Variance of the mean on the loss linearized at `point`, for the chain with step dt, over n_agents."""
    slope = config.strength + weight / np.cosh(config.point) ** 2
    one = bounds.ou_covariance_discrete(slope, config.eta / config.batch * config.sigma**2, config.dt)
    return one.item() / data["n_agents"]


@functools.cache
def _constants(config: Config, loss: str) -> curvature.Constants:
    return curvature.constants(config.loss(loss), 1)


def chain_level(config: Config, data, loss: str) -> xr.DataArray:
    """The discrete form of (BS 22), of the chain with step dt, over the n_agents and k that `data` has."""
    known = _constants(config, loss)
    common = (data["n_agents"], config.eta, config.sigma**2, data["k"], known.concavity, known.smoothness)
    return bounds.synchronization_level_discrete(*common, batch=config.batch, dt=config.dt)


def largest_disturbance(config: Config, data, loss: str) -> xr.DataArray:
    """The bound (BS 31) of E|eps|, of the chain with step dt, over the n_agents and k that `data` has."""
    known = _constants(config, loss)
    common = (data["n_agents"], 1, config.eta, config.sigma**2, known.third, data["k"])
    return bounds.disturbance_discrete(*common, known.concavity, known.smoothness, config.batch, config.dt)


# -- statements --------------------------------------------------------------------------------------------------------


def variance(data: xr.Dataset, config: Config) -> xr.DataArray:
    """Variance of the mean of the agents, about its mean over all simulations."""
    center = statistics.grid_mean(data["quorum"])
    return data["square"] - 2 * (data["quorum"] - center) * (center - config.point) - (center - config.point) ** 2


def statements(config: Config) -> list[Statement]:
    concavity = -(config.strength + config.well)
    coupled = [k for k in config.k if k > concavity]
    eps = lambda loss: lambda d: d["disturbance"].sel(loss=loss, k=coupled if loss == WELL else list(config.k))
    bound = lambda loss: (
        lambda d: largest_disturbance(config, d.sel(k=coupled if loss == WELL else list(config.k)), loss)
    )
    convex = lambda d: variance(d, config).sel(loss=CONVEX)
    strongest = lambda d: d["disturbance"].sel(loss=CONVEX).isel(n_agents=-1)

    def beyond(d):
        """Large gains, by the rate k - concavity of synchronization of the chain with step dt."""
        chosen = strongest(d).sel(k=[k for k in config.k if k >= 8])
        level = chain_level(config, chosen, CONVEX)
        return chosen.assign_coords(rate=1 / level)

    def linearized(runs) -> float:
        predicted = stationary_variance(config, runs.data, config.convex)
        return statistics.greatest(abs(statistics.grid_mean(convex(runs.data)).isel(k=-1) / predicted - 1))

    strongest_gain = lambda d: d["disturbance"].sel(loss=CONVEX).isel(k=-1)

    thins = "on the convex loss its stationary variance falls as 1/p at the largest gain"
    falls = "at large k the disturbance falls nearly as its bound, which it attains as k grows"

    def growth(runs) -> float:
        """How far the disturbance of the most agents over that of the fewest is from what 1 - 1/p makes of it."""
        found = statistics.grid_mean(strongest_gain(runs.data)).isel(n_agents=[0, -1])
        found = found / (1 - 1 / found["n_agents"])
        return abs(float(found[1] / found[0]) - 1)

    return [
        measured.equal(
            "noise-exact",
            "the noise of the mean is eta sigma^2 / (b p) at every p and k, on every loss",
            lambda d: d["noise"],
            lambda d: quorum_noise(config, d),
        ),
        measured.equal(
            "variance-quadratic",
            "on the quadratic its stationary variance is that of one agent over p, whatever k",
            lambda d: d["square"].sel(loss=QUADRATIC),
            lambda d: stationary_variance(config, d, 0.0),
        ),
        measured.exponent("variance-p", thins, lambda d: convex(d).isel(k=-1), "n_agents", -1.0, 0.08),
        Statement(
            "variance-linearized",
            "and is that of the loss linearized at its minimum (largest relative deviation)",
            linearized,
            at_most(0.15),
        ),
        Statement(
            "quadratic-undisturbed",
            "on the quadratic nothing disturbs the mean (largest |eps|, of rounding)",
            lambda runs: (statistics.greatest(runs.data["disturbance"].sel(loss=QUADRATIC)), 0.0),
            at_most(1e-5, smoke=1e-5),
        ),
        measured.below(
            "disturbance-convex",
            "on the convex loss E|eps| is below (31), in its discrete form, at every p and k",
            eps(CONVEX),
            bound(CONVEX),
        ),
        measured.below(
            "disturbance-well",
            "on the double well E|eps| is below it at every p and every k above the concavity",
            eps(WELL),
            bound(WELL),
        ),
        measured.ratio(
            "disturbance-attained",
            "where the third derivative is greatest the bound is all but attained at large p and k (E|eps| / bound)",
            lambda d: strongest(d).isel(k=-1),
            lambda d: largest_disturbance(config, d, CONVEX).isel(n_agents=-1, k=-1),
            at_least(0.85, smoke=0.8),
        ),
        measured.exponent("disturbance-k", falls, beyond, "rate", -1.0, 0.08),
        Statement(
            "disturbance-p",
            "more agents do not reduce it: from the fewest to the most it grows as 1 - 1/p (relative deviation)",
            growth,
            at_most(0.2, smoke=0.4),
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    """Noise and variance of the mean against p, and the disturbance against k and p."""
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
    by_noise, by_variance, by_gain, by_number = axes.flat
    p, k = config.agents[-1], config.k[-1]
    numbers = list(config.agents)
    beside = lambda values, factor: values.assign_coords(n_agents=values["n_agents"] * factor)
    for loss, factor in zip(LOSSES, (0.85, 1.0, 1.18), strict=True):
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        found = (data["noise"] * data["n_agents"]).sel(loss=loss, k=k)
        measured.plot_measured(by_noise, beside(found, factor), "n_agents", **style)
    form = quorum_noise(config, data) * data["n_agents"]
    measured.plot_formula(by_noise, numbers, form, r"$\eta\sigma^2/b$", "black")
    for loss in (QUADRATIC, CONVEX):
        for gain, marker, factor in ((config.k[0], "o", 0.93), (k, "^", 1.08)):
            found = variance(data, config).sel(loss=loss, k=gain)
            found = beside(found * found["n_agents"], factor)
            measured.plot_measured(by_variance, found, "n_agents", f"{loss}, $k={gain:g}$", COLORS[loss], marker)
        law = stationary_variance(config, data, config.weights[loss]) * data["n_agents"]
        name = "exact" if loss == QUADRATIC else "linearized"
        measured.plot_formula(by_variance, numbers, law, f"{loss}, {name}", COLORS[loss])
    concavity = -(config.strength + config.well)
    gains = np.geomspace(max(min(k for k in config.k if k > 0), 1.5 * concavity), k, 101)
    fine = xr.Dataset(coords={"n_agents": numbers, "k": gains})
    for loss in (WELL, CONVEX):
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        eps = data["disturbance"].sel(loss=loss)
        measured.plot_measured(by_gain, eps.sel(n_agents=p, k=[k for k in config.k if k > 0]), "k", **style)
        measured.plot_measured(by_number, eps.sel(k=k), "n_agents", **style)
        bound = largest_disturbance(config, fine, loss)
        measured.plot_formula(by_gain, gains, bound.sel(n_agents=p), f"{loss}, (31) at $dt$", COLORS[loss])
        measured.plot_formula(by_number, numbers, bound.isel(k=-1), f"{loss}, (31) at $dt$", COLORS[loss])
    by_noise.set(ylabel=r"$p\,\times$ noise of $\bar x$ [length$^2$/time]")
    by_variance.set(ylabel=r"$p\,\times$ variance of $\bar x$ [length$^2$]")
    for panel in (by_gain, by_number):
        panel.set(ylabel=r"disturbance $E|\epsilon|$ [length/time]")
    titles = (f"$k={k:g}$", "stationary law, without and with coupling", f"$p={p}$", f"$k={k:g}$")
    for i, (panel, title) in enumerate(zip(axes.flat, titles, strict=True)):
        plotting.letter(panel, i, title)
        ticks = [k for k in config.k if k > 0] if panel is by_gain else numbers
        panel.set(xscale="log", yscale="log", xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("gain $k$ [1/time]" if panel is by_gain else "agents $p$")
        panel.legend(fontsize=7.5)
    for panel in (by_noise, by_variance, by_number):
        panel.set(yscale="linear", ylim=(0, None))
    by_noise.set_ylim(0.95 * float(form[0]), 1.05 * float(form[0]))
    figure.suptitle(
        rf"Noise and disturbance of the mean of agents ($\eta={config.eta:g}$, $b={config.batch:g}$, "
        rf"$\sigma={config.sigma:g}$): measured, with two standard errors, and predicted (BS Thm 3.2)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-noise",
    "Boffi & Slotine, Theorem 3.2: noise and disturbance of the quorum",
    "The mean of coupled agents descends the loss with noise whose covariance is that of one agent over their number, "
    "and with a disturbance that their spread causes. Stronger coupling removes the disturbance as one over the gain; "
    "more agents do not.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
