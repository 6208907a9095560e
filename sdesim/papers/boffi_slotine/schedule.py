"""bs-schedule: a gain that grows in time removes the coupling's own error from QSGD's limit (BS Thm 5.1).

Command: sdesim figure bs-schedule. Theorem 5.1 bounds E|x_mean - x*| by two terms: a disturbance of order 1/k, made by
agents that spread over a loss that is not quadratic, and noise of order sqrt(eta / p), which no gain changes. Here the
loss is skewed, so that the disturbance is a bias. It is measured for constant gains and for gains that grow as sqrt(t)
and as t, with eta constant and with eta halved to a floor. In the iteration a step multiplies what separates agents by
1 - eta (k + f''), so that gain helps up to k = 1/eta and hurts beyond: a floor of order eta^2 stays until eta falls.

The bias is far below the noise of x_mean. Agents on the quadratic of the same curvature with the same noise have no
bias: their mean is taken off, as a control variate. All constants are chosen [C]; the loss has its largest third
derivative at the minimum.
"""

import dataclasses

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim import noise, objectives, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum, Uncoupled
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine.skewed import Skewed
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.schedules import Growth, Halving
from sdesim.theory import bounds

POWERS = (0.0, 0.5, 1.0)
NAMES = {0.0: "constant", 0.5: r"$\propto\sqrt{t}$", 1.0: r"$\propto t$"}
COLORS = {0.0: "#7f7f7f", 0.5: "#1f77b4", 1.0: "#b2182b"}
WINDOWS = 8  # of time, equal in its logarithm, over which the bias is averaged
SETTLED = 5.0  # time after which runs at constant gain have forgotten their start, for strength 1


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: int = 1024
    """Agents p: many, so that the noise of their mean does not hide the bias."""
    sims: int = 16
    """Independent simulations."""
    steps: int = 8000
    """Iterations of the runs with schedules."""
    eta: float = 0.01
    """Learning rate."""
    floor: float = 0.00125
    """The rate to which eta is halved in the other runs."""
    halve_every: int = 1500
    """Iterations between two halvings."""
    sigma: float = 7.0
    """Standard deviation of the Gaussian gradient noise."""
    strength: float = 1.0
    """Curvature of the quadratic part of the loss, its strong convexity lambda."""
    weight: float = 1.0
    """Weight of the skewed part."""
    start: float = 1.0
    """Where all agents start, from the minimum."""
    gain: float = 1.0
    """Gain k at the start."""
    growth_time: float = 2.0
    """Time in which a linearly growing gain doubles first."""
    constant_eta: tuple[float, ...] = (0.02, 0.005)
    """Learning rates of the runs at constant gain."""
    constant_k: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 50.0, 70.0, 85.0, 95.0)
    """Gains of the runs at constant gain."""
    constant_steps: int = 2500
    """Iterations of the runs at constant gain."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "sims", "halve_every"):
            check_count(name, getattr(self, name), least=2)
        for name in ("eta", "floor", "sigma", "strength", "weight", "gain", "growth_time", "constant_eta"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("constant_k", self.constant_k, zero=False)
        for name, steps, eta in (
            ("steps", self.steps, self.eta),
            ("constant_steps", self.constant_steps, min(self.constant_eta)),
        ):
            if check_count(name, steps) * eta < 2 * SETTLED:
                raise ValueError(f"{name}={steps}: must last {2 * SETTLED:g} in time, {2 * SETTLED / eta:.0f} steps")
        if not self.floor < self.eta:
            raise ValueError(f"floor={self.floor}: must be less than eta={self.eta}")
        largest = {"gain": (self.gain * (1 + self.steps * self.eta / self.growth_time), self.eta)}
        largest["constant_k"] = (max(self.constant_k), max(self.constant_eta))
        for name, (k, eta) in largest.items():
            if not eta * (k + self.strength + self.weight) < 2:
                raise ValueError(
                    f"{name}={getattr(self, name)}: eta (k + L) reaches {eta * (k + self.strength + self.weight):.3g}; "
                    "must stay below 2, or the iteration is unstable"
                )

    @property
    def problem(self) -> Skewed:
        return Skewed(self.strength, self.weight, self.sigma, self.agents, self.start)

    def rates_to(self, floor: float) -> np.ndarray:
        """The learning rate of each step that is halved down to `floor`, (steps,)."""
        return np.maximum(self.eta * 0.5 ** (np.arange(self.steps) // self.halve_every), floor)


PRESETS = {
    "smoke": Config(sims=8, agents=128, steps=2500, halve_every=500, constant_steps=2000),
    "default": Config(),
    "paper": Config(sims=160),
}


# -- runs --------------------------------------------------------------------------------------------------------------


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return xr.merge([_scheduled(config, progress), _constant(config, progress)])


def _pair(config: Config, coupling, eta) -> tuple[Dynamics, Dynamics]:
    """The model, and agents with the same noise on the quadratic loss of the same curvature at the minimum."""
    loss, law = config.problem.objective, noise.Gaussian(config.sigma)
    quadratic = objectives.Quadratic(config.problem.curvature, config.problem.minimum)
    return Dynamics(loss, coupling, law, eta), Dynamics(quadratic, Uncoupled(), law, eta)


def _quorum(config: Config, model: Dynamics, grid, steps: int, every: int, start: float, progress: bool):
    """The quorum's series over a grid, from the minimum, (grid..., sim, step)."""
    data = sweep(
        model,
        grid,
        agents=config.agents,
        sims=config.sims,
        steps=steps,
        seed=config.seed,
        init=config.problem.minimum + start,
        observe=observe.Quorum(),
        every=every,
        keep_agents=False,
        progress=progress,
    )
    return data["quorum_series"].isel(dim=0, drop=True).astype(float) - config.problem.minimum


def _scheduled(config: Config, progress: bool) -> xr.Dataset:
    floors, every = [config.eta, config.floor], max(config.steps // 400, 1)
    rates = Halving(config.eta, config.halve_every, config.eta)
    model, control = _pair(config, Quorum(Growth(config.gain, config.growth_time, 0.0)), rates)
    names = {"eta.floor": "rate", "coupling.k.power": "power"}
    size = (config.steps, every, config.start, progress)
    x = _quorum(config, model, {"eta.floor": floors, "coupling.k.power": list(POWERS)}, *size).rename(names)
    z = _quorum(config, control, {"eta.floor": floors}, *size).rename({"eta.floor": "rate"})
    labels = {"rate": ["constant", "halved"], "step": x["step"].values}
    x, z = x.assign_coords(labels), z.assign_coords(labels)
    steps = x["step"].values
    curves = {name: np.zeros((2, len(POWERS), steps.size)) for name in ("time", "gain", "bound", "expected", "noise")}
    exact = np.zeros((2, steps.size))  # the mean of the control
    for i, floor in enumerate(floors):
        eta = config.rates_to(floor)
        time = np.concatenate([[0.0], np.cumsum(eta)])
        exact[i] = config.start * np.concatenate([[1.0], np.cumprod(1 - eta * config.problem.curvature)])[steps]
        for j, power in enumerate(POWERS):
            k = config.gain * (1 + time / config.growth_time) ** power
            bias, variance = config.problem.perturbation(eta, k[:-1])
            parts = (time, k, config.problem.distance_bound(eta, k[:-1]), bias, variance)
            for curve, part in zip(curves.values(), parts, strict=True):
                curve[i, j] = part[steps]
    data = xr.Dataset({n: (("rate", "power", "step"), c) for n, c in curves.items()}, x.coords).assign(quorum=x)
    shift = -(x - z + xr.DataArray(exact, dims=("rate", "step")))
    for i, rate in enumerate(labels["rate"]):
        time = data["time"].isel(rate=i, power=0).values
        window = np.digitize(time, np.geomspace(2 * SETTLED, 1.0001 * time[-1], WINDOWS + 1)) - 1
        for name, of in {"bias": shift, **{f"{n}_window": data[n] for n in ("time", "gain", "expected")}}.items():
            means = [of.isel(rate=i, step=window == w).mean("step", skipna=False) for w in range(WINDOWS)]
            data[f"{name}_{rate}"] = xr.concat(means, dim="window")
    return data


def _constant(config: Config, progress: bool) -> xr.Dataset:
    grid = {"eta": list(config.constant_eta), "coupling.k": list(config.constant_k)}
    model, control = _pair(config, Quorum(config.constant_k[0]), config.constant_eta[0])
    size = (config.constant_steps, 10, 0.0, progress)
    x = _quorum(config, model, grid, *size).rename({"coupling.k": "k"})
    z = _quorum(config, control, {"eta": grid["eta"]}, *size)
    settled = x["step"] * x["eta"] >= SETTLED
    bias = -(x - z).where(settled, 0.0).sum("step", skipna=False) / settled.sum("step")
    return xr.Dataset({"constant_bias": bias.assign_coords(sim=np.arange(config.sims))})


# -- statements --------------------------------------------------------------------------------------------------------


def _variance(data: xr.Dataset) -> xr.DataArray:
    """Square of what is left of the quorum when its bias is taken off, over the variance that linear theory gives it:
    at constant eta, over the last quarter of the run, by power and simulation."""
    last = data.sel(rate="constant").isel(step=slice(-(data.sizes["step"] // 4), None))
    return ((last["quorum"] + last["expected"]) ** 2 / last["noise"]).mean("step", skipna=False)


def _end(data: xr.Dataset) -> xr.DataArray:
    """E|x_mean - x*| over the last eighth of the steps, by rate, power and simulation."""
    return abs(data["quorum"]).isel(step=slice(-(data.sizes["step"] // 8), None)).mean("step", skipna=False)


def _by_stiffness(data: xr.Dataset, name: str, curvature: float) -> xr.DataArray:
    """The bias or its prediction under growing gains at constant eta, by k + f'' and simulation."""
    bias, k = (
        data[n].sel(power=list(POWERS[1:])).stack(point=("power", "window")) for n in (name, "gain_window_constant")
    )
    return bias.drop_vars(("point", "power", "window")).assign_coords(point=k.values + curvature)


def statements(config: Config) -> list[Statement]:
    problem = config.problem
    bias, expected = (lambda d: d["bias_constant"]), (lambda d: d["expected_window_constant"])
    small, large = min(config.constant_eta), max(config.constant_eta)
    at = lambda eta: lambda d: d["constant_bias"].sel(eta=eta)
    term = lambda d: problem.first_term(d["eta"], d["k"], discrete=True)

    def last(power: float):
        return lambda runs: float(statistics.grid_mean(runs.data["bias_constant"].sel(power=power).isel(window=-1)))

    def end(rate: str, power: float, of: tuple[str, float]):
        ends = lambda d, r, p: float(statistics.grid_mean(_end(d).sel(rate=r, power=p)))
        return lambda runs: ends(runs.data, rate, power) / ends(runs.data, *of)

    return [
        measured.below(
            "distance-bound",
            "Theorem 5.1, made for the iteration, bounds E|x_mean - x*| at all times under all schedules",
            lambda d: abs(d["quorum"]).isel(step=slice(1, None)),
            lambda d: d["bound"].isel(step=slice(1, None)),
        ),
        measured.below(
            "constant-bound",
            "the bias at constant gain is below the theorem's first term, with the iteration's spread",
            lambda d: d["constant_bias"],
            term,
        ),
        measured.ratio(
            "constant-tight",
            "and that term is within a factor 4 of it for all gains (least bias / term)",
            lambda d: d["constant_bias"],
            term,
            at_least(0.25, smoke=0.25),
        ),
        measured.ratio(
            "bias-predicted-at-most",
            "the bias under schedules is what the third derivative at the minimum makes of the agents' variance "
            "(largest ratio)",
            bias,
            expected,
            at_most(1.05, smoke=1.1),
        ),
        measured.ratio("bias-predicted-at-least", "(least ratio)", bias, expected, at_least(0.9, smoke=0.85)),
        measured.exponent(
            "bias-follows-gain",
            "under growing gains the bias falls with k(t) + f'' as its prediction does",
            lambda d: _by_stiffness(d, "bias_constant", problem.curvature),
            "point",
            lambda d: _by_stiffness(d, "expected_window_constant", problem.curvature),
            0.03,
        ),
        Statement(
            "first-term-removed",
            "a gain that grows as t takes off nearly all of the bias (end, relative to constant gain)",
            lambda runs: last(1.0)(runs) / last(0.0)(runs),
            at_most(0.12, smoke=0.25),
        ),
        measured.ratio(
            "noise-stays",
            "its noise stays, that of linear theory for every schedule of the gain (least ratio of variances)",
            _variance,
            lambda d: 1.0,
            at_least(0.8),
        ),
        measured.ratio("noise-stays-at-most", "(largest ratio)", _variance, lambda d: 1.0, at_most(1.25)),
        Statement(
            "halved-too",
            "halving eta at a growing gain takes down what is left, as sqrt(eta) (E|x_mean - x*| at the end, over that "
            "at constant eta, over the square root of the two rates)",
            lambda runs: end("halved", 1.0, ("constant", 1.0))(runs) / (config.floor / config.eta) ** 0.5,
            at_most(1.4),
        ),
        Statement(
            "halved-not-alone",
            "and at constant gain leaves more (E|x_mean - x*|, relative to the growing gain)",
            end("halved", 0.0, ("halved", 1.0)),
            at_least(1.15),
        ),
        Statement(
            "step-limit",
            "beyond k = 1/eta gain hurts: agents spread again (bias at the largest gain over the least bias)",
            lambda runs: (
                float(statistics.grid_mean(at(large)(runs.data))[-1])
                / statistics.least(statistics.grid_mean(at(large)(runs.data)))
            ),
            at_least(3.0, smoke=3.0),
        ),
        measured.below(
            "sde-bound",
            "the theorem's first term as it stands, for dt -> 0, bounds the bias at the smaller eta",
            at(small),
            lambda d: problem.first_term(small, d["k"], discrete=False),
        ),
        measured.below(
            "sde-bound-large-step",
            "and at the larger eta",
            at(large),
            lambda d: problem.first_term(large, d["k"], discrete=False),
            note="it is about the SDE: from about eta k = 1 the iteration exceeds it, and the discrete form holds",
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.0), layout="constrained")
    time = data["time"].sel(rate="constant", power=0.0)
    late = slice(int(np.argmax(time.values >= SETTLED)), None)
    for power in POWERS:
        one = data.sel(rate="constant", power=power)
        look = dict(color=COLORS[power], lw=1.2)
        axes[0, 0].plot(time, abs(one["quorum"]).mean("sim"), label=f"$k$ {NAMES[power]}", **look)
        axes[0, 0].plot(time, one["bound"], "--", **look)
        bias = one["bias_constant"].assign_coords(window=one["time_window_constant"].values)
        measured.plot_measured(axes[0, 1], bias, "window", f"$k$ {NAMES[power]}", COLORS[power])
        axes[0, 1].plot(time[late], one["expected"][late], "--", **look)
    axes[0, 0].plot([], [], "k--", lw=1.2, label="bound of the iteration")
    noise_term = bounds.sgd_distance(config.eta / config.agents, config.sigma**2, config.strength)
    axes[0, 0].axhline(noise_term, color="k", ls=":", lw=1.0, label=r"noise term $\sqrt{\eta C/2\lambda p}$")
    axes[0, 0].set(yscale="log", xlabel=r"time $t=\eta n$", ylabel=r"$E\,|\bar x-x^*|$")
    plotting.letter(axes[0, 0], 0, rf"distance to the minimum, $p={config.agents}$, $\eta={config.eta:g}$")
    axes[0, 1].plot([], [], "k--", lw=1.2, label="predicted from the third derivative")
    axes[0, 1].set(xscale="log", yscale="log", xlabel="time $t$", ylabel=r"bias $|E\bar x-x^*|$")
    axes[0, 1].xaxis.minorticks_off()
    axes[0, 1].set_xticks(ticks := [10 * 2**i for i in range(8) if 10 * 2**i <= time[-1]], [f"{t}" for t in ticks])
    plotting.letter(axes[0, 1], 1, "its bias, which a growing gain removes")
    _plot_constant(config, data, axes[1, 0])
    for rate, dashes in (("constant", ":"), ("halved", "-")):
        for power in (0.0, 1.0):
            one = data.sel(rate=rate, power=power)
            smooth = abs(one["quorum"]).mean("sim").rolling(step=9, center=True, min_periods=1).mean()
            label = rf"$\eta$ {rate}, $k$ {NAMES[power]}"
            axes[1, 1].plot(data["step"], smooth, dashes, color=COLORS[power], lw=1.4, label=label)
    axes[1, 1].set(yscale="log", xlabel="iteration $n$", ylabel=r"$E\,|\bar x-x^*|$")
    plotting.letter(axes[1, 1], 3, rf"$\eta$ halved every {config.halve_every} iterations to {config.floor:g}")
    for panel in axes.flat:
        panel.legend(fontsize=8)
    figure.suptitle("QSGD on a skewed loss: gains that grow in time (Boffi & Slotine, Theorem 5.1)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_constant(config: Config, data: xr.Dataset, panel) -> None:
    """Bias against constant gains, with the theorem's first term and its form for the iteration."""
    for eta, color in zip(config.constant_eta, (plotting.QUORUM, plotting.SMOOTHED), strict=False):
        k = np.geomspace(
            min(config.constant_k), min(1.97 / eta - config.problem.smoothness, 2 * max(config.constant_k)), 200
        )
        bias = data["constant_bias"].sel(eta=eta)
        measured.plot_measured(panel, bias, "k", rf"measured, $\eta={eta:g}$", color)
        measured.plot_formula(panel, k, config.problem.first_term(eta, k, discrete=False), "", color, ":")
        measured.plot_formula(panel, k, config.problem.first_term(eta, k, discrete=True), "", color)
        panel.axvline(1 / eta, color=color, lw=0.6, alpha=0.5)
    panel.plot([], [], "k--", lw=1.2, label="first term, iteration")
    panel.plot([], [], "k:", lw=1.2, label=r"first term, $dt\to 0$")
    panel.set(xscale="log", yscale="log", xlabel="constant gain $k$", ylabel=r"bias $|E\bar x-x^*|$")
    panel.set_ylim(top=3 * float(data["constant_bias"].mean("sim").max()))
    plotting.letter(panel, 2, r"constant gains help up to $k=1/\eta$ (lines)")


EXPERIMENT = Experiment(
    "bs-schedule",
    "Boffi & Slotine, Theorem 5.1: gains that grow in time",
    "Of the two terms that bound QSGD's distance to the minimum, the disturbance falls as 1/k and the noise does not "
    "depend on k. We let k grow in time: the bias it makes on a skewed loss falls away and the noise stays, up to "
    "k = 1/eta.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
