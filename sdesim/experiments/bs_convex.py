"""bs-convex: how near the minimum of a strongly convex loss agents stay, beside Theorems 5.1-5.3 of BS.

Command: sdesim figure bs-convex. SGD, QSGD, EASGD (mean of the agents and center) and QSGD with momentum on a loss that
is not quadratic: s x^2 / 2 + w log cosh x in each coordinate, tilted so that its third derivative is greatest at the
minimum, which leaves the mean of weakly coupled agents a bias that more agents do not remove. Below, how tight the
bounds are, and where the iteration of EASGD becomes unstable, of which its bound says nothing. All constants are
chosen [C].
"""

import dataclasses
import warnings

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim import init, noise, observe, plotting
from sdesim.claims import Statement
from sdesim.coupling import Elastic, Quorum
from sdesim.dynamics import Dynamics, Friction
from sdesim.experiments import measured
from sdesim.experiments.base import Experiment
from sdesim.experiments.bs_noise import STEEPEST, TiltedLogCosh
from sdesim.fields import check_count, check_sign
from sdesim.integrate import DivergenceWarning, StabilityWarning
from sdesim.sweep import sweep
from sdesim.theory import bounds, curvature

COLORS = {"qsgd": "#1f77b4", "easgd": "#b2182b", "momentum": "#2ca02c"}


class QuorumVelocity(observe.AbstractSeries):
    """Mean of the agents' velocities, (dims,), in length/time; of the displacements in the iterations' own momentum."""

    name = "quorum_velocity"
    axes = ("dim",)

    def value(self, view):
        return view.mean(view.state.v)


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Numbers of agents p of SGD (1) and QSGD, with and without momentum."""
    center_agents: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of agents of EASGD, whose stiffness grows with them."""
    k: tuple[float, ...] = (0.5, 2.0, 8.0)
    """Coupling gains; QSGD runs at 0 too."""
    sims: int = 64
    """Independent simulations of each grid point."""
    dims: int = 2
    """Dimensions d."""
    eta: float = 0.1
    """Learning rate."""
    refine: int = 8
    """The SDE is integrated with dt = eta / refine, EASGD with less where it is stiff; QSGD also with dt = eta."""
    sigma: float = 2.0
    """Standard deviation of the Gaussian gradient noise in each coordinate."""
    strength: float = 1.0
    """Least curvature of the loss, lambda."""
    weight: float = 1.0
    """Weight w of log cosh; the greatest curvature L is strength + weight."""
    minimum: float = STEEPEST
    """Where the minimum lies, in every coordinate; agents start there."""
    mu: float = 2.0
    """Friction of QSGD with momentum."""
    time: float = 12.0
    """Time T of a run; errors are means over its last two thirds."""
    stability_step: float = 0.02
    """Relative distance of the learning rates between which EASGD's limit of stability is bracketed."""
    stability_iterations: int = 400
    """Iterations after which they are told apart."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "center_agents"):
            for value in getattr(self, name):
                check_count(name, value)
        for name, least in (("sims", 2), ("dims", 1), ("refine", 1), ("stability_iterations", 10)):
            check_count(name, getattr(self, name), least=least)
        for name in ("k", "eta", "sigma", "strength", "weight", "mu", "time", "stability_step"):
            check_sign(name, getattr(self, name), zero=False)
        least = np.sqrt(self.smoothness) - np.sqrt(self.strength)
        if not self.mu > least:
            raise ValueError(f"mu={self.mu}: must exceed sqrt(L) - sqrt(lambda) = {least:.4g} (BS Lemma 5.3)")

    @property
    def smoothness(self) -> float:
        """L, the greatest curvature of the loss."""
        return self.strength + self.weight

    @property
    def loss(self) -> TiltedLogCosh:
        return TiltedLogCosh(self.strength, self.weight, self.minimum)

    @property
    def noise_trace(self) -> float:
        """C, the trace of the covariance of an agent's gradient noise."""
        return self.dims * self.sigma**2

    def center_dt(self, agents: int) -> float:
        """A step that resolves EASGD: half of what its stability allows at the largest gain, or less."""
        return min(self.eta / self.refine, 1 / (max(self.k) * (1 + agents) + self.smoothness))


PRESETS = {
    "smoke": Config(agents=(16,), center_agents=(16,), k=(0.5, 4.0), sims=24, time=9.0),
    "default": Config(),
    "paper": Config(sims=640),
}


# -- run ---------------------------------------------------------------------------------------------------------------


def _late(config: Config, model: Dynamics, agents: int, k, dt: float, observables, progress: bool) -> xr.Dataset:
    """Records of the last two thirds of a run for all gains, less the minimum."""
    steps = int(np.ceil(config.time / dt))
    data = sweep(
        model,
        {"coupling.k": list(k)},
        agents=agents,
        dims=config.dims,
        sims=config.sims,
        steps=steps,
        dt=dt,
        seed=config.seed,
        init=init.Point(config.minimum),
        observe=observables,
        every=max(1, round(2 * config.eta / dt)),
        keep_agents=False,
        progress=progress,
    )
    return data.isel(step=data["step"].values > steps / 3).rename({"coupling.k": "k"}).astype(float)


def _distance(*points: xr.DataArray) -> xr.DataArray:
    """Mean over the records of the length of the vector of all points' coordinates."""
    return np.sqrt(sum((x**2).sum("dim") for x in points)).mean("step")


def _qsgd(config: Config, agents: int, progress: bool) -> xr.DataArray:
    """Errors of QSGD over (dt, k, sim), dt that of the iteration and that of the SDE."""
    model = Dynamics(config.loss, Quorum(1.0), noise.Gaussian(config.sigma), config.eta)
    errors = []
    for refine in (1, config.refine):
        data = _late(config, model, agents, (0.0, *config.k), config.eta / refine, observe.Quorum(), progress)
        errors.append(_distance(data["quorum_series"] - config.minimum))
    return xr.concat(errors, xr.IndexVariable("refine", [1, config.refine]))


def _momentum(config: Config, agents: int, progress: bool) -> xr.DataArray:
    """Errors |(x1 - x*, x2)| of the mean of QSGD with momentum over (k, sim)."""
    model = Dynamics(config.loss, Quorum(1.0), noise.Gaussian(config.sigma), config.eta, Friction(config.mu))
    what = (observe.Quorum(), QuorumVelocity())
    data = _late(config, model, agents, config.k, config.eta / config.refine, what, progress)
    return _distance(data["quorum_series"] - config.minimum, data["quorum_velocity"])


def _easgd(config: Config, agents: int, progress: bool) -> xr.Dataset:
    """Errors of EASGD's mean of the agents, of its center, and of both as one vector, over (k, sim)."""
    model = Dynamics(config.loss, Elastic(1.0), noise.Gaussian(config.sigma), config.eta)
    what = (observe.Quorum(), observe.Center())
    data = _late(config, model, agents, config.k, config.center_dt(agents), what, progress)
    mean, center = data["quorum_series"] - config.minimum, data["center_series"] - config.minimum
    errors = {"easgd": _distance(mean), "center": _distance(center), "both": _distance(mean, center)}
    return xr.Dataset(errors).drop_vars("step", errors="ignore")


def stability_limit(config: Config, agents: int, k: float) -> xr.DataArray:
    """The learning rate at which EASGD's iteration becomes unstable, bracketed by simulation without noise, (sim,).

    Learning rates are tried at equal ratios about 2 / (k (1 + p) + L). Agents start near the point of greatest
    curvature; a rate is unstable if the larger of the errors of mean and center grows in the second half of the run.
    The limit is the middle between the greatest rate below which all are stable and the next.
    """
    ratios = (1 + config.stability_step) ** np.arange(-8, 16)
    tried = 2 / (k * (1 + agents) + config.smoothness) * ratios
    model = Dynamics(TiltedLogCosh(config.strength, config.weight, 0.0), Elastic(k), eta=0.1)
    half = config.stability_iterations // 2
    with warnings.catch_warnings():  # rates beyond the limit are what is looked for
        warnings.simplefilter("ignore", StabilityWarning)
        warnings.simplefilter("ignore", DivergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        data = sweep(
            model,
            {"eta": list(tried)},
            agents=agents,
            dims=1,
            sims=config.sims,
            steps=2 * half,
            seed=config.seed,
            init=init.Normal(0.0, 1e-3),
            observe=(observe.Quorum(), observe.Center()),
            every=half,
            keep_agents=False,
        )
    size = (
        np.maximum(abs(data["quorum_series"]), abs(data["center_series"])).isel(dim=0).transpose("eta", "sim", "step")
    )
    grows = ~(size.values[..., 2] <= size.values[..., 1])  # what is not finite has grown
    first = np.where(grows.any(axis=0), grows.argmax(axis=0), len(tried))
    if (first == 0).any() or (first == len(tried)).any():
        raise ValueError(f"stability_step={config.stability_step}: the limit is not among the rates tried; enlarge it")
    return xr.DataArray(np.sqrt(tried[first] * tried[first - 1]), dims="sim")


def run(config: Config, progress: bool = False) -> xr.Dataset:
    number = lambda name, values: xr.IndexVariable(name, list(values))
    along = lambda name, values, parts: xr.concat(parts, number(name, values), combine_attrs="drop")
    qsgd = along("n_agents", config.agents, [_qsgd(config, p, progress) for p in config.agents])
    momentum = along("n_agents", config.agents, [_momentum(config, p, progress) for p in config.agents])
    easgd = along("center_agents", config.center_agents, [_easgd(config, p, progress) for p in config.center_agents])
    limits = [stability_limit(config, p, config.k[-1]) for p in config.center_agents]
    limit = along("center_agents", config.center_agents, limits)
    return xr.Dataset({"qsgd": qsgd.rename(k="gain"), "momentum": momentum, "limit": limit, **easgd})


# -- theory, over the grid of the measurements -------------------------------------------------------------------------


def _constants(config: Config) -> tuple[float, float, float]:
    """lambda, L and Q of the loss, everywhere."""
    known = curvature.constants(config.loss, config.dims)
    return known.strong_convexity, known.smoothness, known.third


def qsgd_bound(config: Config, data) -> xr.DataArray:
    """Theorem 5.1, over the n_agents and gain that `data` has."""
    strong, _, third = _constants(config)
    p, k = data["n_agents"], data["gain"]
    return bounds.qsgd_distance(p, config.dims, config.eta, config.noise_trace, third, k, strong)


def qsgd_bound_discrete(config: Config, data, dt: float) -> xr.DataArray:
    """Theorem 5.1's argument for Euler-Maruyama with step dt, over (n_agents, gain).

    One step of descent contracts distances by q = max(|1 - dt lambda|, |1 - dt L|), so that the noise alone leaves
    sqrt(eta C dt / (p (1 - q^2))) and the disturbance adds dt E|eps| / (1 - q).
    """
    strong, smooth, third = _constants(config)
    p, k = data["n_agents"], data["gain"]
    q = max(abs(1 - dt * strong), abs(1 - dt * smooth))
    if not q < 1:
        raise ValueError(f"dt={dt}: must be less than 2 / L = {2 / smooth:.4g}")
    level = bounds.synchronization_level_discrete(p, config.eta, config.noise_trace, k, -strong, smooth, dt=dt)
    disturbance = np.sqrt(config.dims) * third / (2 * p) * level
    return dt * disturbance / (1 - q) + np.sqrt(config.eta * config.noise_trace * dt / (p * (1 - q**2)))


def easgd_bound(config: Config, data) -> xr.DataArray:
    """Theorem 5.2, over the center_agents and k that `data` has."""
    strong, _, third = _constants(config)
    p, k = data["center_agents"], data["k"]
    return bounds.easgd_distance(p, config.dims, config.eta, config.noise_trace, third, k, strong)


def momentum_bound(config: Config, data) -> xr.DataArray:
    """Theorem 5.3 with coupling of the positions alone, over the n_agents and k that `data` has."""
    strong, smooth, third = _constants(config)
    p, k = data["n_agents"], data["k"]
    common = (p, config.dims, config.eta, config.noise_trace, third)
    return bounds.momentum_distance(*common, k, 0.0, config.mu, strong, smooth)


# -- statements --------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    strong, smooth, _ = _constants(config)
    sde = lambda d: d["qsgd"].sel(refine=config.refine)
    strongest = lambda name: lambda d: sde(d).isel(gain=-1) if name == "qsgd" else d[name].isel(k=-1)
    limit = lambda d: bounds.easgd_stability_limit(d["center_agents"], config.k[-1], smooth)

    def deviation(runs) -> float:
        return float(abs(runs.data["limit"].mean("sim") / limit(runs.data) - 1).max())

    def floor(d):
        """Errors of the mean of the most agents, uncoupled over coupled the strongest."""
        most = sde(d).isel(n_agents=-1).mean("sim")
        return float(most.isel(gain=0) / most.isel(gain=-1))

    def looseness(runs) -> float:
        """Exponent in p of EASGD's bound over its error."""
        ratio = easgd_bound(config, runs.data) / runs.data["both"].mean("sim")
        return measured.slope(runs.data["center_agents"], ratio.isel(k=-1))

    halves = "error of {} falls as the square root of p at the largest gain"
    found = [
        measured.below(
            "qsgd-below",
            "E|mean - minimum| of QSGD stays below Theorem 5.1 at every p and k",
            sde,
            lambda d: qsgd_bound(config, d),
        ),
        measured.below(
            "iteration-below",
            "at dt = eta too it stays below the discrete form of Theorem 5.1",
            lambda d: d["qsgd"].sel(refine=1),
            lambda d: qsgd_bound_discrete(config, d, config.eta),
        ),
        measured.below(
            "easgd-below",
            "E|(mean, center) - minimum| of EASGD stays below Theorem 5.2 at every p and k",
            lambda d: d["both"],
            lambda d: easgd_bound(config, d),
        ),
        measured.below(
            "momentum-below",
            "E|(position - minimum, velocity)| of the mean with momentum stays below Theorem 5.3 at every p and k",
            lambda d: d["momentum"],
            lambda d: momentum_bound(config, d),
        ),
        measured.ratio(
            "qsgd-tight",
            "Theorem 5.1 is within a factor of 3 of the error at every p and k (least error / bound)",
            sde,
            lambda d: qsgd_bound(config, d),
            ">=",
            1 / 3,
            smoke=1 / 3,
        ),
        measured.ratio(
            "easgd-loose",
            "Theorem 5.2 is loose with many agents (largest error / bound at the most agents)",
            lambda d: d["both"].isel(center_agents=-1),
            lambda d: easgd_bound(config, d).isel(center_agents=-1),
            "<=",
            0.2,
            smoke=0.4,
        ),
        measured.ratio(
            "momentum-loose",
            "Theorem 5.3 is loose (largest error / bound)",
            lambda d: d["momentum"],
            lambda d: momentum_bound(config, d),
            "<=",
            0.5,
            smoke=0.5,
        ),
        Statement(
            "easgd-limit",
            "EASGD's iteration becomes unstable where its matrix says, at every p (relative deviation of eta)",
            lambda runs: (deviation(runs), 0.0),
            "<=",
            config.stability_step,
            smoke=config.stability_step,
        ),
        Statement(
            "easgd-limit-nominal",
            "which is at eta (k (1 + p) + L) = 2 or a little beyond (least of that product / 2)",
            lambda runs: (float((runs.data["limit"].mean("sim") * nominal(config, runs.data)).min()), 0.0),
            ">=",
            1.0 - config.stability_step,
            smoke=1.0 - config.stability_step,
        ),
    ]
    if 1 in config.agents:
        found.append(
            measured.below(
                "sgd-below",
                "E|x - minimum| of plain SGD stays below its own bound",
                lambda d: sde(d).sel(n_agents=1).isel(gain=0),
                lambda d: bounds.sgd_distance(config.eta, config.noise_trace, strong),
            )
        )
    if len(config.agents) > 1:
        for name, words in (("qsgd", "QSGD"), ("momentum", "QSGD with momentum")):
            over = strongest(name)
            found += measured.exponent(name, halves.format(words), over, "n_agents", -0.55, -0.43, smoke=None)
        found.append(
            Statement(
                "uncoupled-biased",
                "the mean of the most agents is farther from the minimum if they are uncoupled (ratio of errors)",
                lambda runs: floor(runs.data),
                ">=",
                1.25,
            )
        )
    if len(config.center_agents) > 1:
        for name, words in (("easgd", "EASGD's mean of agents"), ("center", "EASGD's center")):
            over = strongest(name)
            found += measured.exponent(name, halves.format(words), over, "center_agents", -0.58, -0.42, smoke=None)
        found.append(
            Statement(
                "easgd-looser",
                "EASGD's bound does not fall with p, so that it exceeds the error ever more (exponent of bound / error)",
                looseness,
                ">=",
                0.4,
            )
        )
    return found


def nominal(config: Config, data) -> xr.DataArray:
    """(k (1 + p) + L) / 2 at the largest gain, over center_agents: one over the rule of thumb for EASGD's limit."""
    return (config.k[-1] * (1 + data["center_agents"]) + config.smoothness) / 2


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    """Errors of the methods against p and k with their bounds, how loose these are, and EASGD's limit."""
    figure, axes = pyplot.subplots(2, 3, figsize=(11.4, 7.0), layout="constrained")
    by_qsgd, by_easgd, by_momentum, by_gain, by_ratio, by_limit = axes.flat
    sde, most = data["qsgd"].sel(refine=config.refine), config.k[-1]
    numbers, centers = list(config.agents), list(config.center_agents)
    for gain, color in zip(
        (0.0, *config.k), pyplot.colormaps["viridis"](np.linspace(0, 0.85, len(config.k) + 1)), strict=True
    ):
        measured.plot_measured(by_qsgd, sde.sel(gain=gain), "n_agents", f"QSGD, $k={gain:g}$", color)
        measured.plot_formula(by_qsgd, numbers, qsgd_bound(config, data).sel(gain=gain), "", color)
    at = data.sel(k=most)
    measured.plot_measured(by_easgd, at["easgd"], "center_agents", r"mean $\bar x$", COLORS["easgd"])
    measured.plot_measured(by_easgd, at["center"], "center_agents", r"center $\tilde x$", "#f28e2b", "s")
    measured.plot_measured(by_easgd, at["both"], "center_agents", r"$(\bar x, \tilde x)$", "black", "D")
    measured.plot_formula(by_easgd, centers, easgd_bound(config, at), r"Thm 5.2, $(\bar x, \tilde x)$", "black")
    measured.plot_measured(by_momentum, at["momentum"], "n_agents", r"$(\bar x_1, \bar x_2)$", COLORS["momentum"], "^")
    measured.plot_formula(by_momentum, numbers, momentum_bound(config, at), "Thm 5.3", COLORS["momentum"])
    p, gains = numbers[-1], np.geomspace(config.k[0], most, 101)
    fine = xr.Dataset(coords={"n_agents": numbers, "center_agents": centers, "k": gains, "gain": gains})
    coupled = sde.sel(n_agents=p, gain=list(config.k)).rename(gain="k")
    one = {
        "qsgd": coupled,
        "easgd": data["both"].isel(center_agents=-1),
        "momentum": data["momentum"].isel(n_agents=-1),
    }
    lines = {
        "qsgd": qsgd_bound(config, fine).sel(n_agents=p),
        "easgd": easgd_bound(config, fine).isel(center_agents=-1),
        "momentum": momentum_bound(config, fine).sel(n_agents=p),
    }
    names = {"qsgd": f"QSGD, $p={p}$", "easgd": f"EASGD, $p={centers[-1]}$", "momentum": f"with momentum, $p={p}$"}
    for name, color in COLORS.items():
        measured.plot_measured(by_gain, one[name], "k", names[name], color)
        measured.plot_formula(by_gain, gains, lines[name], "", color)
    ratios = {
        "qsgd": (numbers, qsgd_bound(config, data).sel(gain=most) / sde.sel(gain=most).mean("sim")),
        "easgd": (centers, (easgd_bound(config, data) / data["both"].mean("sim")).sel(k=most)),
        "momentum": (numbers, (momentum_bound(config, data) / data["momentum"].mean("sim")).sel(k=most)),
    }
    words = {"qsgd": "QSGD, Thm 5.1", "easgd": "EASGD, Thm 5.2", "momentum": "with momentum, Thm 5.3"}
    for (name, (x, y)), marker in zip(ratios.items(), "os^", strict=True):
        measured.plot_formula(by_ratio, x, y, words[name], COLORS[name], f"-{marker}")
    by_ratio.axhline(1, color="gray", lw=0.8, ls=":")
    limit = bounds.easgd_stability_limit(data["center_agents"], most, config.smoothness) * nominal(config, data)
    scaled = data["limit"] * nominal(config, data)
    measured.plot_measured(by_limit, scaled, "center_agents", "becomes unstable", COLORS["easgd"])
    measured.plot_formula(by_limit, centers, limit, "of its matrix", COLORS["easgd"])
    by_limit.axhline(1, color="gray", lw=0.8, ls=":", label=r"$\eta\,(k(1+p)+L)=2$")
    error = "mean distance from the minimum [length]"
    for panel in (by_qsgd, by_easgd, by_momentum, by_gain):
        panel.set(yscale="log", ylabel=error)
    by_ratio.set(yscale="log", ylabel="bound / measured")
    by_limit.set(ylabel=r"limit of stability $\eta\,(k(1+p)+L)\,/\,2$")
    ticks = (numbers, centers, numbers, config.k, numbers, centers)
    titles = ("QSGD and Thm 5.1 (dashed)", f"EASGD, $k={most:g}$", f"with momentum, $k={most:g}$")
    titles += ("against gain, bounds dashed", f"looseness, $k={most:g}$", f"EASGD's iteration, $k={most:g}$")
    for i, (panel, title) in enumerate(zip(axes.flat, titles, strict=True)):
        plotting.letter(panel, i, title)
        panel.set(xscale="log", xticks=ticks[i], xticklabels=[f"{tick:g}" for tick in ticks[i]])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("gain $k$ [1/time]" if panel is by_gain else "agents $p$")
        panel.legend(fontsize=7.5)
    figure.suptitle(
        rf"Distance from the minimum of a strongly convex loss ($\eta={config.eta:g}$, $\sigma={config.sigma:g}$, "
        rf"$d={config.dims}$): measured, with two standard errors, and bounds (BS 5)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-convex",
    "Boffi & Slotine, Theorems 5.1-5.3: convergence to the minimum of a strongly convex loss",
    "The mean of coupled agents stays within a distance of the minimum that falls as one over the square root of their "
    "number, plus a bias that coupling removes; with momentum likewise. The bound for EASGD does not fall with the "
    "number of agents, although the error does; what limits EASGD is the stability of its iteration.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
