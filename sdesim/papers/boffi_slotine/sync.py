"""bs-sync: how near agents stay to their mean, against gain, number and step, beside the bound (BS 22).

Command: sdesim figure bs-sync. The bound is one of the SDE, sum_i E|x^i - mean|^2 <= (p - 1) eta C / (2 b (k - c)),
with C the trace of an agent's noise covariance and c the largest concavity of the loss. At dt = eta the iteration
exceeds it; the same argument made for Euler-Maruyama gives the discrete form that holds there, and runs at smaller and
smaller steps approach the bound itself. The loss is s x^2 / 2 + w log cosh x in each coordinate, whose curvature is
bounded everywhere: w < -s is a double well, w = 0 a quadratic (bound and discrete form are then exact), w > 0 strongly
convex. All constants are chosen [C].
"""

import dataclasses
import functools

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sdesim import noise, objectives, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.theory import bounds, curvature

LOSSES: tuple[str, ...] = ("double well", "quadratic", "convex")
COLORS: dict[str, str] = dict(zip(LOSSES, ("#b2182b", "#4d4d4d", "#1f77b4"), strict=True))
MARKERS: dict[str, str] = dict(zip(LOSSES, "osD", strict=True))


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (2, 4, 16, 64)
    """Numbers of agents p."""
    k: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """Coupling gains; larger than the double well's concavity."""
    refine: tuple[int, ...] = (1, 4, 16)
    """Steps dt are the learning rate divided by these."""
    sims: int = 64
    """Independent simulations of each grid point."""
    dims: int = 2
    """Dimensions d."""
    eta: float = 0.05
    """Learning rate."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise in each coordinate."""
    strength: float = 1.0
    """Curvature s of the quadratic part of the losses."""
    well: float = -2.0
    """Weight w of log cosh in the double well, below -s."""
    convex: float = 1.0
    """Weight w of log cosh in the convex loss, above 0."""
    time: float = 10.0
    """Time T of a run; the stationary level is the mean over its second half."""
    hilltop_time: float = 1.0
    """Until this time the mean of many agents, which start on the hill between the wells, is still on it."""
    rate_spreads: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Ratio of successive agents' learning rates in the runs with a rate and a batch for each agent."""
    batches: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    """Minibatch sizes b_i of the agents of those runs."""
    seed: int = 0
    """Seed of all random numbers."""

    def __post_init__(self):
        for name in ("agents", "refine"):
            for value in getattr(self, name):
                check_count(name, value, least=2 if name == "agents" else 1)
        for name in ("k", "eta", "sigma", "strength", "convex", "time", "hilltop_time", "rate_spreads", "batches"):
            check_sign(name, getattr(self, name), zero=False)
        for name in ("sims", "dims"):
            check_count(name, getattr(self, name), least=2 if name == "sims" else 1)
        if not self.well < -self.strength:
            raise ValueError(f"well={self.well}: must be less than -strength={-self.strength:g}, for a double well")
        if min(self.k) <= -(self.strength + self.well):
            raise ValueError(
                f"k={self.k}: all gains must be more than the concavity {-(self.strength + self.well):g}, "
                "or agents need not synchronize"
            )
        if len(self.refine) < 2 or sorted(set(self.refine)) != list(self.refine):
            raise ValueError(f"refine={self.refine}: must be two or more increasing integers, to extrapolate to dt = 0")
        if not self.hilltop_time < self.time / 2:
            raise ValueError(f"hilltop_time={self.hilltop_time}: must be less than half of time={self.time:g}")

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of log cosh in the order of `LOSSES`."""
        return (self.well, 0.0, self.convex)

    @property
    def noise_trace(self) -> float:
        """C, the trace of the covariance of an agent's gradient noise."""
        return self.dims * self.sigma**2

    @property
    def rates(self) -> np.ndarray:
        """Learning rates of the runs with one for each agent, (spreads, agents); their mean is `eta`."""
        powers = np.array(self.rate_spreads)[:, None] ** np.arange(len(self.batches))
        return self.eta * powers / powers.mean(axis=1, keepdims=True)


PRESETS = {
    "smoke": Config(agents=(2, 16), k=(4.0, 12.0), refine=(1, 6), sims=24),
    "default": Config(),
    "paper": Config(sims=640),
}


# -- theory, over the grid of the measurements -------------------------------------------------------------------------


def levels(config: Config, data: xr.Dataset, form: str) -> xr.DataArray:
    """What bounds the spread, over (n_agents, k, loss): (BS 22) for form "sde", and over refine too for "discrete"."""
    p, k, concavity, smoothness = data["n_agents"], data["k"], *curvatures(config)
    if form == "sde":
        return bounds.synchronization_level(p, config.eta, config.noise_trace, k, concavity)
    dt = config.eta / data["refine"]
    return bounds.synchronization_level_discrete(p, config.eta, config.noise_trace, k, concavity, smoothness, dt=dt)


@functools.cache
def curvatures(config: Config) -> tuple[xr.DataArray, xr.DataArray]:
    """The concavity and the greatest curvature of each loss, over loss."""
    found = [curvature.constants(objectives.LogCosh(config.strength, w), config.dims) for w in config.weights]
    label = lambda values: xr.DataArray(values, {"loss": list(LOSSES)}, "loss")
    return label([c.concavity for c in found]), label([c.smoothness for c in found])


def rate_levels(config: Config, data: xr.Dataset) -> xr.DataArray:
    """The discrete form with each agent's learning rate and batch (BS 3.4), over (rate_spread, k, loss)."""
    concavity, smoothness = curvatures(config)
    batch, dt = np.array(config.batches), config.eta / config.refine[-1]
    level = lambda rates: bounds.synchronization_level_discrete(
        batch.size, rates, config.noise_trace, data["k"], concavity, smoothness, batch=batch, dt=dt
    )
    each: list[xr.DataArray] = [level(rates) for rates in config.rates]
    return xr.concat(each, data["rate_spread"])


def extrapolated(spread: xr.DataArray) -> xr.DataArray:
    """The spread of each simulation as dt -> 0: the polynomial in dt through all steps (Richardson)."""
    dt = 1 / spread["refine"].values
    weights = [np.prod([b / (b - a) for b in dt if b != a]) for a in dt]
    return (spread * xr.DataArray(weights, dims="refine", coords={"refine": spread["refine"]})).sum(
        "refine", skipna=False
    )


# -- run ---------------------------------------------------------------------------------------------------------------


def _spread(config: Config, model: Dynamics, grid: dict, agents: int, refine: int, progress: bool) -> xr.DataArray:
    """The spread against time of all grid points, at dt = eta / refine; records every fifth iteration."""
    data = sweep(
        model,
        {"objective.weight": list(config.weights), "coupling.k": list(config.k), **grid},
        agents=agents,
        dims=config.dims,
        sims=config.sims,
        steps=int(np.ceil(config.time / config.eta)) * refine,
        dt=config.eta / refine,
        seed=config.seed,
        observe=observe.Spread(),
        every=5 * refine,
        keep_agents=False,
        progress=progress,
    )
    series = data["spread_series"].rename({"objective.weight": "loss", "coupling.k": "k"}).astype(float)
    return series.assign_coords(loss=list(LOSSES), time=("step", data["step"].values * config.eta / refine))


def run(config: Config, progress: bool = False) -> xr.Dataset:
    loss, law = objectives.LogCosh(config.strength, config.convex), noise.Gaussian(config.sigma)
    model = Dynamics(loss, Quorum(config.k[0]), law, config.eta)
    late, early = [], []
    for p in config.agents:
        series = [_spread(config, model, {}, p, refine, progress) for refine in config.refine]
        late.append(xr.concat([s[..., s.time > config.time / 2].mean("step", skipna=False) for s in series], "refine"))
        hill = series[-1].sel(loss=LOSSES[0], drop=True)
        near = abs(hill.time - config.hilltop_time) < 6 * config.eta
        early.append(hill[..., near].mean("step", skipna=False))
    along = xr.IndexVariable("n_agents", list(config.agents))
    batches = np.array(config.batches)
    own = Dynamics(loss, Quorum(config.k[0]), law, config.rates[0], batch=batches, rates="noise")
    rates = _spread(config, own, {"eta": list(config.rates)}, len(batches), config.refine[-1], progress)
    rates = rates[..., rates.time > config.time / 2].mean("step", skipna=False).rename(eta="rate_spread")
    return xr.Dataset(
        {
            "spread": xr.concat(late, along).assign_coords(refine=list(config.refine)),
            "hilltop": xr.concat(early, along),
            "spread_rates": rates.assign_coords(rate_spread=list(config.rate_spreads)),
        }
    )


# -- statements --------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    one = lambda loss: lambda d: d["spread"].sel(loss=loss)
    discrete = lambda loss: lambda d: levels(config, d, "discrete").sel(loss=loss)
    sde = lambda d: levels(config, d, "sde")
    limit = lambda d: extrapolated(d["spread"])
    coarse = lambda d: d["spread"].isel(refine=0)
    concavity = -(config.strength + config.well)

    def hill(d):
        """The hilltop with enough agents to stay there and gains that synchronize within the time."""
        chosen = d["hilltop"].sel(n_agents=[p for p in config.agents if p >= 16])
        chosen = chosen.sel(k=[k for k in config.k if (k - concavity) * config.hilltop_time > 2])
        return chosen.assign_coords(excess=("k", chosen["k"].values - concavity))

    def hill_level(d):
        return levels(config, d, "discrete").sel(loss=LOSSES[0]).isel(refine=-1)

    def excess(d):
        return statistics.greatest(statistics.grid_mean(coarse(d)) / sde(d))

    def single_gain(d):
        """The double well at the largest gain, per agent but one."""
        s = d["spread"].sel(loss=LOSSES[0]).isel(k=-1, refine=-1)
        return s.assign_coords(others=("n_agents", s["n_agents"].values - 1))

    return [
        measured.equal(
            "quadratic-exact",
            "on a quadratic loss the discrete form is the spread itself, at every p, k and dt",
            one(LOSSES[1]),
            discrete(LOSSES[1]),
        ),
        measured.below(
            "double-well-below",
            "on the double well the spread stays below the discrete form at every p, k and dt",
            one(LOSSES[0]),
            discrete(LOSSES[0]),
        ),
        measured.below(
            "convex-below",
            "on the convex loss the spread stays below the discrete form at every p, k and dt",
            one(LOSSES[2]),
            discrete(LOSSES[2]),
        ),
        measured.equal(
            "limit-quadratic",
            "extrapolated to dt = 0 the spread on the quadratic is the bound (22) itself",
            lambda d: limit(d).sel(loss=LOSSES[1]),
            lambda d: sde(d).sel(loss=LOSSES[1]),
        ),
        measured.below("limit-below", "extrapolated to dt = 0 the spread is below (22) on every loss", limit, sde),
        Statement(
            "iteration-exceeds",
            "at dt = eta the iteration exceeds (22), a bound on the SDE (largest spread / bound)",
            lambda runs: excess(runs.data),
            at_least(1.2, smoke=1.2),
        ),
        measured.ratio(
            "hilltop-attains",
            "while the mean is on the hilltop the spread all but attains the bound (least spread / bound)",
            hill,
            hill_level,
            at_least(0.85, smoke=0.75),
        ),
        measured.ratio(
            "wells-below",
            "settled in the wells it is well below it at the least gain (spread / bound)",
            lambda d: d["spread"].sel(loss=LOSSES[0]).isel(k=0, refine=-1),
            lambda d: levels(config, d, "discrete").sel(loss=LOSSES[0]).isel(k=0, refine=-1),
            at_most(0.75, smoke=0.8),
        ),
        measured.exponent("p", "the spread grows as p - 1", single_gain, "others", 1.0, 0.03),
        measured.exponent(
            "k",
            "on the hilltop it falls as 1 / (k - concavity)",
            lambda d: hill(d).isel(n_agents=-1),
            "excess",
            -1.0,
            0.05,
        ),
        measured.equal(
            "rates-quadratic",
            "with a learning rate and a batch for each agent the discrete form of BS 3.4 is exact on the quadratic",
            lambda d: d["spread_rates"].sel(loss=LOSSES[1]),
            lambda d: rate_levels(config, d).sel(loss=LOSSES[1]),
        ),
        measured.below(
            "rates-below",
            "and bounds the spread on every loss",
            lambda d: d["spread_rates"],
            lambda d: rate_levels(config, d),
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    """The spread against gain, number of agents, step and spread of the learning rates, with bounds."""
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
    by_gain, by_number, by_step, by_rate = axes.flat
    p, least, most = config.agents[-1], config.k[len(config.k) // 3], config.k[-1]
    spread, limit = data["spread"], extrapolated(data["spread"])
    per_agent = limit / (limit["n_agents"] - 1)
    steps = spread.sel(n_agents=p, k=most).assign_coords(refine=config.eta / spread["refine"])
    curve = lambda name, values: xr.DataArray(values, {name: values}, name)
    gains = curve("k", np.geomspace(config.k[0], most, 101))
    refine = curve("refine", np.geomspace(config.refine[0], config.refine[-1], 101))
    fine = xr.Dataset(coords={"n_agents": list(config.agents), "k": gains, "refine": refine})
    sde, discrete = levels(config, fine, "sde"), levels(config, fine, "discrete")
    rates = rate_levels(config, data)
    for loss in LOSSES:
        style = dict(label=loss, color=COLORS[loss], marker=MARKERS[loss])
        measured.plot_measured(by_gain, limit.sel(n_agents=p, loss=loss), "k", **style)
        measured.plot_measured(by_number, per_agent.sel(k=least, loss=loss), "n_agents", **style)
        measured.plot_measured(by_step, steps.sel(loss=loss), "refine", **style)
        measured.plot_measured(by_rate, data["spread_rates"].sel(loss=loss, k=least), "rate_spread", **style)
    hill = dict(color="black", marker="^")
    measured.plot_measured(by_gain, data["hilltop"].sel(n_agents=p), "k", "double well, on the hilltop", **hill)
    dts = config.eta / refine.values
    for loss, name in ((LOSSES[0], "double well"), (LOSSES[1], "quadratic, convex")):  # of equal concavity
        color = COLORS[loss]
        bound, form = sde.sel(loss=loss, n_agents=p), discrete.sel(loss=loss, n_agents=p).isel(k=-1)
        measured.plot_formula(by_gain, gains.values, bound, f"(22), {name}", color)
        one = float(levels(config, data, "sde").sel(loss=loss, n_agents=p, k=least)) / (p - 1)
        measured.plot_formula(by_number, config.agents, [one] * len(config.agents), f"(22), {name}", color)
        measured.plot_formula(by_step, dts, form, f"discrete form, {name}", color)
        level = [float(bound.isel(k=-1))] * refine.size
        measured.plot_formula(by_step, dts, level, f"(22), {name}", color, ":")
        own = rates.sel(loss=loss, k=least)
        measured.plot_formula(by_rate, config.rate_spreads, own, f"discrete form, {name}", color)
    what = r"$\Sigma_i\,|x^i-\bar x|^2$"
    by_gain.set(xlabel="gain $k$ [1/time]", ylabel=f"{what} [length$^2$]", yscale="log")
    by_number.set(xlabel="agents $p$", ylabel=f"{what} $/\\,(p-1)$ [length$^2$]")
    by_step.set(xlabel="step $dt$ [time]", ylabel=f"{what} [length$^2$]")
    by_rate.set(xlabel="ratio of successive agents' learning rates", ylabel=f"{what} [length$^2$]")
    titles = (
        (f"$dt\\to 0$, $p={p}$", config.k),
        (f"$dt\\to 0$, $k={least:g}$", config.agents),
        (f"$p={p}$, $k={most:g}$", [config.eta / r for r in config.refine]),
        (f"a rate and a batch for each of {len(config.batches)} agents, $k={least:g}$", config.rate_spreads),
    )
    for i, (panel, (title, ticks)) in enumerate(zip(axes.flat, titles, strict=True)):
        plotting.letter(panel, i, title)
        panel.set(xscale="log", xticks=ticks, xticklabels=[f"{tick:.3g}" for tick in ticks])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.legend(fontsize=7.5)
    by_number.set_ylim(0, None)
    figure.suptitle(
        f"Distance of agents from their mean ($\\eta={config.eta:g}$, $\\sigma={config.sigma:g}$, $d={config.dims}$): "
        "measured, with two standard errors, and bounds (BS 22)",
        fontsize=10.5,
    )
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-sync",
    "Boffi & Slotine, eq. 22: how closely coupled agents synchronize",
    "Coupled agents keep a distance from their mean whose square, summed over agents, is at most proportional to their "
    "number less one, the learning rate and the noise, and falls with the gain beyond the concavity of the loss. The "
    "bound is attained where the loss is quadratic and where agents stand on a hilltop; the iteration at a finite "
    "learning rate obeys its discrete form.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
