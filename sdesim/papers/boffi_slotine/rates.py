"""bs-rates: agents with different learning rates (BS 3.4), and what explorers among them are good for.

Command: sdesim figure bs-rates. Rates that differ can mean two things. In the paper's model all agents have the same
drift and noise of their own, sqrt(eta_i / b_i): synchronization (BS 22) and the noise of the quorum then hold with the
mean of eta_i / b_i. In the iteration every agent takes its own steps, which scales its drift and the pull on it too:
the coupling conserves sum x^i / eta_i, the slow agents weigh most, and as k grows the population behaves like one of
equal rates at the harmonic mean. On quadratics both are linear, with exact laws that runs must agree with. Then half of
the agents explore the oscillating loss at a large rate and half at a small one, in both models, and in the iteration
with one moving rate eta_i k_i for all, which conserves the quorum. All constants are chosen [C].
"""

import dataclasses
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from sdesim import noise, objectives, observe, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import explorers
from sdesim.papers.boffi_slotine.explorers import (
    POPULATIONS,
    Explorers,
    check_contrast,
    check_halves,
    explore,
    two_halves,
)
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.theory import bounds

MODELS: tuple[Literal["noise", "iteration"], ...] = ("noise", "iteration")


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: int = 16
    """Agents p on the convex losses; an even number."""
    sims: int = 200
    """Independent simulations."""
    steps: int = 2500
    """Iterations on the convex losses; the first half is left out of averages."""
    eta: float = 0.05
    """Mean learning rate."""
    contrast: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Half of the agents have the rate eta (1 + c), half eta (1 - c)."""
    batches: tuple[float, float] = (1.0, 2.0)
    """Minibatch sizes of every other agent."""
    k: tuple[float, ...] = (0.5, 2.0, 6.0, 16.0)
    """Coupling gains on the convex losses."""
    sigma: float = 1.0
    """Standard deviation of the Gaussian gradient noise on the convex losses."""
    curvature: float = 1.0
    """Curvature h of the quadratic, and least curvature of the log cosh loss."""
    weight: float = 1.0
    """Weight of log cosh."""
    seed: int = 0
    """Seed of all random numbers."""
    explorers: Explorers = dataclasses.field(default_factory=Explorers)
    """The runs on the oscillating loss."""

    def __post_init__(self):
        for name in ("sims", "steps"):
            check_count(name, getattr(self, name), least=2)
        check_halves("agents", self.agents)
        for name in ("eta", "batches", "k", "sigma", "curvature"):
            check_sign(name, getattr(self, name), zero=False)
        check_sign("weight", self.weight)
        check_contrast("contrast", self.contrast)
        if self.contrast[0] != 0:
            raise ValueError(f"contrast={self.contrast}: must begin with 0, equal rates")
        fastest = self.eta * (1 + max(self.contrast)) * (max(self.k) + self.curvature + self.weight)
        explorers = self.eta * (1 + self.explorers.contrast) * max(self.explorers.k)
        for name, gains, product in (("k", self.k, fastest), ("explorers.k", self.explorers.k, explorers)):
            if not product < 2:
                raise ValueError(f"{name}={gains}: with the largest rate eta (k + L) is {product:.3g}; must be below 2")

    def rates(self, contrast: float) -> np.ndarray:
        """Learning rates, (agents,): the first half large, the second small."""
        return two_halves(self.eta, contrast, self.agents)

    @property
    def batch(self) -> np.ndarray:
        """Minibatch sizes, (agents,)."""
        return np.tile(self.batches, self.agents // 2)


PRESETS = {
    "smoke": Config(sims=32, steps=1500, explorers=Explorers(k=(1.0, 5.0, 12.0))),
    "default": Config(),
    "paper": Config(sims=2000),
}


# -- theory ------------------------------------------------------------------------------------------------------------


def exact(config: Config, model: str, contrast: float, k: float) -> tuple[float, float]:
    """E sum_i |x^i - x_mean|^2 and Var x_mean on the quadratic, of the stationary iteration, in length^2."""
    p, eta = config.agents, config.rates(contrast)
    synchronize = np.eye(p) - 1 / p
    drift = config.curvature * np.eye(p) + k * synchronize
    force = eta * config.sigma**2 / config.batch
    if model == "iteration":
        drift, force = eta[:, None] / config.eta * drift, force * eta / config.eta
    v = bounds.ou_covariance_discrete(drift, np.diag(force), config.eta)
    return float(np.trace(synchronize @ v)), float(v.mean())


def consensus(start: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Where agents meet that take their own steps and feel the coupling alone: the mean of x^i weighted by 1/eta_i."""
    return (start / eta).mean(-1) / (1 / eta).mean()


# -- runs --------------------------------------------------------------------------------------------------------------


def run(config: Config, progress: bool = False) -> xr.Dataset:
    return xr.merge(
        [
            _convex(config, progress),
            _conserved(config, progress),
            explore(config.explorers, config.eta, config.sims, config.seed, progress),
        ]
    )


def _convex(config: Config, progress: bool) -> xr.Dataset:
    """Spread of the agents and square of their mean, averaged over the second half of each run."""
    rates = [config.rates(c) for c in config.contrast]
    law = noise.Gaussian(config.sigma)
    quadratic = objectives.Quadratic(config.curvature)
    kinds = {
        "quadratic_noise": Dynamics(quadratic, Quorum(1.0), law, rates[0], batch=config.batch, rates="noise"),
        "quadratic_iteration": Dynamics(quadratic, Quorum(1.0), law, rates[0], batch=config.batch),
        "logcosh_noise": Dynamics(
            objectives.LogCosh(config.curvature, config.weight),
            Quorum(1.0),
            law,
            rates[0],
            batch=config.batch,
            rates="noise",
        ),
    }
    found = {}
    for kind, dynamics in kinds.items():
        data = sweep(
            dynamics,
            {"eta": rates, "coupling.k": list(config.k)},
            agents=config.agents,
            sims=config.sims,
            steps=config.steps,
            seed=config.seed,
            init=0.0,
            observe=[observe.Spread(), observe.Quorum()],
            every=10,
            keep_agents=False,
            progress=progress,
        )
        half = data.rename({"eta": "contrast", "coupling.k": "k"}).sel(step=slice(config.steps // 2, None))
        half = half.assign_coords(contrast=list(config.contrast))
        found[f"{kind}_spread"] = half["spread_series"].mean("step", skipna=False).astype(float)
        found[f"{kind}_quorum"] = (
            (half["quorum_series"].isel(dim=0, drop=True) ** 2).mean("step", skipna=False).astype(float)
        )
    data = xr.Dataset(found)
    for model in MODELS:
        theory = np.array([[exact(config, model, c, k) for k in config.k] for c in config.contrast])
        for i, name in enumerate(("spread", "quorum")):
            data[f"exact_{model}_{name}"] = (("contrast", "k"), theory[:, :, i])
    return data


def _conserved(config: Config, progress: bool) -> xr.Dataset:
    """Where agents meet that feel the coupling alone, and where they started."""
    rates = [config.rates(c) for c in config.contrast]
    begin = np.random.default_rng(config.seed).normal(size=(config.sims, config.agents, 1))
    data = sweep(
        Dynamics(objectives.Quadratic(0.0), Quorum(max(config.k)), eta=rates[0]),
        {"eta": rates},
        agents=config.agents,
        sims=config.sims,
        steps=config.steps,
        seed=config.seed,
        init=begin,
        progress=progress,
    )
    begin = np.broadcast_to(begin[..., 0], (len(rates), config.sims, config.agents))
    meet = np.stack([consensus(x, eta) for x, eta in zip(begin, rates, strict=True)])
    dims = ("contrast", "sim")
    return xr.Dataset(
        {
            "met": (dims, data["quorum"].isel(dim=0).values.astype(float)),
            "meet": (dims, meet),
            "started": (dims, begin.mean(-1)),
        },
        {"contrast": list(config.contrast)},
    )


# -- statements --------------------------------------------------------------------------------------------------------


def spread_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """BS 22 with BS 3.4's rates made for the iteration on log cosh, by contrast and gain."""
    found = []
    for contrast in data["contrast"].values:
        eta = config.rates(float(contrast))
        common = (config.agents, eta, config.sigma**2, data["k"].values, -config.curvature)
        smoothness = config.curvature + config.weight
        found.append(bounds.synchronization_level_discrete(*common, smoothness, batch=config.batch))
    return xr.DataArray(np.array(found), dims=("contrast", "k"))


def statements(config: Config) -> list[Statement]:
    found = []
    for model, words in (("noise", "a common drift and noise of their own"), ("iteration", "steps of their own")):
        for name, what in (("spread", "the spread of agents"), ("quorum", "the variance of their mean")):
            found.append(
                measured.equal(
                    f"{model}-{name}-exact",
                    f"for agents with {words}, {what} on a quadratic is that of the linear iteration",
                    lambda d, model=model, name=name: d[f"quadratic_{model}_{name}"],
                    lambda d, model=model, name=name: d[f"exact_{model}_{name}"],
                )
            )
    widest = lambda d, model: statistics.grid_mean(d[f"quadratic_{model}_quorum"].isel(contrast=-1, k=-1))
    return [
        *found,
        measured.below(
            "spread-bound",
            "with a common drift, (22) with the mean of eta_i / b_i bounds the spread on log cosh in its discrete form",
            lambda d: d["logcosh_noise_spread"],
            lambda d: spread_bound(config, d),
        ),
        measured.ratio(
            "spread-bound-tight",
            "and is within a factor 2 of it (least ratio)",
            lambda d: d["logcosh_noise_spread"],
            lambda d: spread_bound(config, d),
            at_least(0.5, smoke=0.5),
        ),
        Statement(
            "consensus-weighted",
            "the coupling alone takes agents with their own steps to the mean weighted by 1 / eta_i (largest distance)",
            lambda runs: (statistics.greatest(abs(runs.data["met"] - runs.data["meet"])), 0.0),
            at_most(1e-4, smoke=1e-4),
        ),
        Statement(
            "mean-conserved",
            "which is their mean only if all rates are equal (largest distance then)",
            lambda runs: (statistics.greatest(abs(runs.data["met"] - runs.data["started"]).sel(contrast=0.0)), 0.0),
            at_most(1e-4, smoke=1e-4),
        ),
        Statement(
            "slow-agents-rule",
            "so that at the largest gain the noise of their mean is that of the slow agents (variance, own steps over "
            "common drift)",
            lambda runs: float(widest(runs.data, "iteration") / widest(runs.data, "noise")),
            at_most(0.5, smoke=0.6),
        ),
        *explorers.statements(),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, axes = pyplot.subplots(2, 2, figsize=(9.6, 7.0), layout="constrained")
    k = np.geomspace(min(config.k), max(config.k), 40)
    level, widest = np.mean(config.rates(0.0) / config.batch) * config.sigma**2, config.contrast[-1]
    scales = {"spread": (config.agents - 1) * level, "quorum": level / config.agents}
    kinds = [
        ("noise", 0, "equal rates", "equal", "s"),
        ("noise", -1, rf"$\eta(1\pm{widest:g})$, common drift", "noise", "o"),
        ("iteration", -1, rf"$\eta(1\pm{widest:g})$, own steps", "iteration", "o"),
    ]
    for panel, (i, (name, scale)) in zip(axes[0], enumerate(scales.items()), strict=True):
        for model, place, label, look, marker in kinds:
            color = POPULATIONS[look][1]
            theory = [exact(config, model, config.contrast[place], gain)[i] / scale for gain in k]
            measured.plot_formula(panel, k, theory, "", color)
            values = data[f"quadratic_{model}_{name}"].isel(contrast=place) / scale
            # equal rates and a common drift lie on each other: shift the former's points a little
            shifted = values.assign_coords(k=values["k"] * (0.95 if look == "equal" else 1.0))
            measured.plot_measured(panel, shifted, "k", label, color, marker)
        panel.plot([], [], "k--", lw=1.2, label="exact")
        panel.set(xscale="log", xlabel="gain $k$")
    measured.plot_formula(axes[0, 0], k, 0.5 / (k + config.curvature), r"(22), $dt\to0$", "k", "-")
    for panel in axes[0]:
        panel.legend(fontsize=8)
    axes[0, 0].set(yscale="log", ylabel=r"$E\sum_i(x^i-\bar x)^2\,/\,(p-1)\langle\eta_i/b_i\rangle C$")
    axes[0, 1].set_ylabel(r"$\mathrm{Var}\,\bar x\,/\,(\langle\eta_i/b_i\rangle C/p)$")
    axes[0, 1].set_ylim(0, 1.5 * axes[0, 1].get_ylim()[1])
    plotting.letter(axes[0, 0], 0, "spread on a quadratic")
    plotting.letter(axes[0, 1], 1, "noise of the quorum on a quadratic")
    titles = {
        "quorum_share": "quorum at the deepest smoothed minimum",
        "fine_share": "agents there: those of small rate, or of equal rates",
    }
    for panel, (i, (name, title)) in zip(axes[1], enumerate(titles.items(), 2), strict=True):
        for population, (label, color) in POPULATIONS.items():
            share = data[name].sel(population=population)
            measured.plot_measured(panel, share, "gain", label, color)
            panel.plot(share["gain"], share.mean("sim"), color=color, lw=1.0)
        panel.set(xscale="log", ylim=(-0.03, 1.05), xlabel="gain $k$", ylabel="share within 0.4")
        plotting.letter(panel, i, title)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("QSGD with different learning rates (Boffi & Slotine, section 3.4)", fontsize=10.5)
    pyplot.close(figure)
    return figure


EXPERIMENT = Experiment(
    "bs-rates",
    "Boffi & Slotine, section 3.4: agents with different learning rates",
    "Agents may have learning rates of their own: large ones explore and avoid sharp minima, small ones converge. With "
    "a common drift explorers help; where each agent takes its own steps, slow agents hold the quorum back unless all "
    "have one moving rate.",
    PRESETS,
    run,
    plot,
    lambda config, data: measured.Runs(data),
    statements,
)
