"""bs-smoothing: which smoothed loss the center of mass descends (BS 4, BS 39).

Command: sdesim figure bs-smoothing. An agent's y_t = x_t - eta grad f(x_t) descends, in expectation, the loss convolved
with the noise of one step (Kleinberg et al.): E[y_{t+1} - y_t | y_t] = -eta grad E f(y_t + eta zeta). The mean Y of
all agents' y is said to descend the loss convolved with the mean of p such noises, narrower by 1/sqrt(p), up to a
distortion that synchronization removes.

With w the points at which agents take their gradients, Y_{t+1} = Y_t + eta mean(zeta) - eta mean(grad f(w)) exactly, so
the conditional expectation of -mean(grad f(w_{t+1})) is measured, over many paths, for every Y. It is what the agents'
spread about their mean lets through, and that depends on the order within a step:

- "gauss-seidel", pull and then descend: at eta k = 1 all gradients are taken at the mean, and the statement is exact.
- "jacobi", both from the old state, as in BS 37: agents are at least as far apart as the noise of one step has just put
  them, and the loss is smoothed at least as much as for one agent: where it is flat the width's square over that of one
  agent is 1/p + (1 - 1/p) / (1 - (1 - eta k)^2). In the SDE the second term is (1 - 1/p) / (2 eta k), which is small
  for gains that no iteration could follow.

What agents' spread lets through is predicted by the law that their noise of the past and present gives a gradient's
point about Y where the loss is flat (`smoothing`). All constants are chosen [C].
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdesim import claims, noise, plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.coupling import ORDERS, Order, Quorum
from sdesim.dynamics import Dynamics
from sdesim.ensembles.grids import sweep
from sdesim.fields import check_count, check_sign
from sdesim.papers.boffi_slotine import smoothed as smoothing
from sdesim.papers.boffi_slotine.one_dimensional import Loss
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.papers.frame.measured import Runs

WINDOW = 2.3  # half width of what is measured
START = 2.6  # paths start within this
EDGES = np.linspace(-WINDOW, WINDOW, 47)  # four bins a period of the fast wave
CENTERS = (EDGES[1:] + EDGES[:-1]) / 2
WARM = 2  # iterations after which agents are spread
COLORS = ("#d6604d", "#f4a582", "#4393c3", "#2166ac", "#053061")  # from one agent to many


@dataclasses.dataclass(frozen=True)
class Config:
    """Constants [C] of the experiment."""

    agents: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of agents p, increasing from 1."""
    rates: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Weights eta k of the pull in one iteration, increasing to 1, at which a pull brings all agents to their mean."""
    eta: float = 0.001
    """Learning rate, so small that paths do not gather in the minima while they are watched."""
    noise_half_width: float = 400.0
    """Noise is uniform on (-w, w), drawn for each agent and iteration; eta w is what it moves an agent by."""
    steps: int = 8
    """Iterations of each path, from agents that are all at one point."""
    paths: int = 400
    """Paths of one simulation, whose starts are spread evenly over the landscape."""
    sims: int = 100
    """Independent simulations of each number of agents, rate and order."""
    seed: int = 0
    """Seed of all random numbers."""
    loss: Loss = dataclasses.field(default_factory=Loss)
    """Constants of the loss."""

    def __post_init__(self):
        for p in self.agents:
            check_count("agents", p)
        if len(self.agents) < 2 or self.agents[0] != 1 or list(self.agents) != sorted(set(self.agents)):
            raise ValueError(f"agents={self.agents}: must be at least two numbers, increasing from 1")
        if list(self.rates) != sorted(set(self.rates)) or self.rates[0] <= 0 or self.rates[-1] != 1:
            raise ValueError(f"rates={self.rates}: must be greater than 0 and increase to 1")
        for name in ("eta", "noise_half_width"):
            check_sign(name, getattr(self, name), zero=False)
        check_count("steps", self.steps, least=WARM + 2)
        check_count("paths", self.paths)
        check_count("sims", self.sims, least=20)

    @property
    def half_width(self) -> float:
        """Half width of the noise of one step of one agent, in units of x."""
        return self.eta * self.noise_half_width

    def spreads(self, agents: int, order: Order, rate: float) -> list[smoothing.Law]:
        """The laws of the agents' spread at the steps that are watched."""
        return [smoothing.spread(self.half_width, agents, order, rate, t) for t in range(WARM, self.steps)]


# -- measurement -------------------------------------------------------------------------------------------------------


def tally(config: Config, agents: int, y: np.ndarray, slopes: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of the paths of one model: y_t and slopes_{t+1}, (sims, paths, transitions).

    visits, slope, from_averaged: by bin of y, of each simulation (bin, sim): how many, and sums of the slope and of its
    differences from what the averaged noise predicts. normal, right: (3, 3, sims) and (3, sims) of the
    regression of the slope on the factors of a law.
    """
    loss = config.loss
    from_averaged = slopes - smoothing.slope(loss, y, smoothing.averaged(config.half_width, agents).factors(loss))
    place = np.digitize(y, EDGES) - 1
    inside = (place >= 0) & (place < CENTERS.size)
    index = (np.arange(config.sims)[:, None, None] * CENTERS.size + place)[inside]

    def binned(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, values[inside], config.sims * CENTERS.size).reshape(config.sims, -1).T

    design = smoothing.regressors(loss, y) * inside[..., None]
    rest = slopes - smoothing.slope(loss, y, np.zeros(3))
    lost = ~(np.isfinite(y) & np.isfinite(slopes)).all(axis=(1, 2))  # of which no bin would know
    found = {
        "visits": binned(np.ones_like(y)),
        "slope": binned(slopes),
        "from_averaged": binned(from_averaged),
        "normal": np.einsum("sptj,sptk->jks", design, design),
        "right": np.einsum("sptj,spt->js", design, rest),
    }
    return {name: np.where(lost, np.nan, values) for name, values in found.items()}


DIMENSIONS = {
    **dict.fromkeys(("visits", "slope", "from_averaged"), ("y", "sim")),
    "normal": ("factor", "column", "sim"),
    "right": ("factor", "sim"),
}


def run(config: Config, progress: bool = False) -> xr.Dataset:
    """The variables of `tally`, with the dimensions p, order and rate before theirs."""
    total = config.sims * config.paths
    starts = np.linspace(-START, START, total).reshape(config.paths, config.sims).T.reshape(total, 1, 1)
    model = Dynamics(config.loss.objective(), Quorum(0.0), noise.Uniform(config.noise_half_width), config.eta)
    found = {}
    for p, order in itertools.product(config.agents, ORDERS):
        if p == 1 and order != ORDERS[0]:  # one agent is its own mean: orders are all the same to it
            found.update({(1, order, rate): found[1, ORDERS[0], rate] for rate in config.rates})
            continue
        data = sweep(
            model,
            {"coupling.k": [rate / config.eta for rate in config.rates]},
            agents=p,
            sims=total,
            steps=config.steps,
            seed=config.seed,
            init=starts,
            order=order,
            observe=smoothing.Descent(order),
            every=1,
            keep_agents=False,
            progress=progress,
        )
        records = data["descent"].values.astype(float).reshape(len(config.rates), config.sims, config.paths, -1, 2)
        for rate, one in zip(config.rates, records, strict=True):
            y, slopes = one[..., WARM:-1, 0], one[..., WARM + 1 :, 1]
            found[p, order, rate] = tally(config, p, y, slopes)
    variables = {
        name: (
            ("p", "order", "rate", *dimensions),
            np.array([[[found[p, o, r][name] for r in config.rates] for o in ORDERS] for p in config.agents]),
        )
        for name, dimensions in DIMENSIONS.items()
    }
    names = ["variance", "slow", "fast"]
    coordinates = {"p": list(config.agents), "order": list(ORDERS), "rate": list(config.rates), "y": CENTERS}
    return xr.Dataset(variables, {**coordinates, "factor": names, "column": names, "sim": np.arange(config.sims)})


# -- statistics --------------------------------------------------------------------------------------------------------


def misfit(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Of synchronized agents: what the factors of the averaged noise leave of the regression, (p, factor, sim)."""
    one = smoothing.synchronized(data)
    exact = [smoothing.averaged(config.half_width, p).factors(config.loss) for p in config.agents]
    theory = xr.DataArray(exact, {"p": list(config.agents), "column": data["column"]}, ("p", "column"))
    return one["right"] - (one["normal"] * theory).sum("column", skipna=False)


def statements(config: Config) -> list[Statement]:
    loss, many = config.loss, config.agents[-1]
    fast = lambda data: float(smoothing.factors_of(data)[2])
    pairs = {p: smoothing.averaged_and_narrower(config.half_width, p) for p in config.agents}
    damped = {p: [law.damping(loss.w2) for law in laws] for p, laws in pairs.items()}
    told = max(damped, key=lambda p: damped[p][0] - damped[p][1])  # where the two laws differ most
    average, narrower = damped[told]

    def spread_error(runs: Runs) -> float:
        """The largest difference of a wave's measured damping from that of the law of the spread."""
        errors = []
        for p in config.agents[1:]:
            for order in ORDERS:
                for rate in config.rates:
                    expected = np.mean([law.factors(loss) for law in config.spreads(p, order, rate)], axis=0)
                    found = smoothing.factors_of(runs.data.sel(p=p, order=order, rate=rate))
                    errors.append(abs(found - expected)[1:])
        return statistics.greatest(errors)

    grid = np.linspace(-WINDOW, WINDOW, 4001)
    factors = [smoothing.averaged(config.half_width, p).factors(loss) for p in (1, many)]
    few, true = (smoothing.count_minima(smoothing.slope(loss, grid, f)) for f in factors)
    return [
        measured.equal(
            "one-agent",
            "one agent descends the loss convolved with the noise of a step, at every y",
            lambda data: smoothing.per_visit(smoothing.alone(data), "from_averaged"),
            lambda _: 0.0,
        ),
        measured.equal(
            "center-of-mass",
            "the center of mass of synchronized agents descends the loss convolved with their averaged noise, at every "
            "y and p",
            lambda data: smoothing.per_visit(smoothing.synchronized(data), "from_averaged"),
            lambda _: 0.0,
        ),
        measured.equal(
            "waves",
            "so does each part of the loss: its width and the damping of both waves",
            lambda data: misfit(config, data),
            lambda _: 0.0,
        ),
        Statement(
            "averaged-not-narrower",
            f"with the law of an average: at p = {told} the fast wave is damped to {average:.3f}, not to the "
            f"{narrower:.3f} of a uniform law of the same width (measured)",
            lambda runs: fast(smoothing.synchronized(runs.data).sel(p=told)),
            at_least((average + narrower) / 2, smoke=(average + narrower) / 2 if average - narrower > 0.1 else None),
        ),
        Statement(
            "minima-one-agent",
            f"one agent sees hardly a minimum (minima of the measured slope; the smoothed loss has {few})",
            lambda runs: (float(smoothing.measured_minima(smoothing.alone(runs.data))), 0.0),
            at_most(few, smoke=few),
        ),
        Statement(
            "minima-many-agents",
            f"the center of mass of {many} sees most of them (minima of the measured slope; smoothed loss {true})",
            lambda runs: (float(smoothing.measured_minima(smoothing.synchronized(runs.data).sel(p=many))), 0.0),
            at_least(true - 2, smoke=true - 4),
        ),
        Statement(
            "spread",
            "at any gain and in any order the smoothing is that of the agents' own spread (largest error of a damping)",
            spread_error,
            at_most(0.05, smoke=0.15),
        ),
        Statement(
            "not-reduced-at-once",
            f"where agents pull and descend at once, {many} of them smooth no less than one, at the best gain (damping "
            "of the fast wave)",
            lambda runs: statistics.greatest(
                [fast(runs.data.sel(p=many, order="jacobi", rate=rate)) for rate in config.rates]
            ),
            at_most(0.1, smoke=0.15),
        ),
        measured.equal(
            "reduced-at-once",
            "there the center of mass descends the loss smoothed by the averaged noise, at the strongest gain",
            lambda data: smoothing.per_visit(data.sel(order="jacobi", rate=1.0), "from_averaged"),
            lambda _: 0.0,
            note="does not hold: the distortion is as large as what it distorts, for agents are at least as far apart "
            "as the noise of one step puts them, whatever the gain",
        ),
    ]


# -- picture -----------------------------------------------------------------------------------------------------------


def plot(config: Config, data: xr.Dataset) -> Figure:
    figure, panels = pyplot.subplots(2, 2, figsize=(10.0, 7.6), layout="constrained")
    draws = {
        "the loss, smoothed by averaged noise": _plot_losses,
        r"measured slope, pull before descent, $\eta k = 1$": _plot_slopes,
        "damping of the waves": _plot_waves,
        f"distortion at finite gain, $p = {config.agents[len(config.agents) // 2]}$": _plot_gains,
    }
    for i, (panel, (title, draw)) in enumerate(zip(panels.flat, draws.items(), strict=True)):
        draw(config, data, panel)
        plotting.letter(panel, i, title)
    figure.suptitle("Smoothing of the loss that the center of mass descends (Boffi & Slotine, 4)", fontsize=10.5)
    pyplot.close(figure)
    return figure


def _plot_losses(config: Config, data: xr.Dataset, panel: Axes) -> None:
    y = np.linspace(-WINDOW, WINDOW, 2001)
    laws = {f"$p = {p}$": smoothing.averaged(config.half_width, p) for p in config.agents}
    laws["no noise"] = smoothing.uniform(0.0)
    colors = [*COLORS[: len(config.agents)], plotting.LOSS]
    for i, ((label, law), color) in enumerate(zip(laws.items(), colors, strict=True)):
        slopes = smoothing.slope(config.loss, y, law.factors(config.loss))
        loss = np.cumsum(slopes) * (y[1] - y[0])
        loss += 1.6 * i - loss[y.size // 2]
        panel.plot(y, loss, color=color, lw=1.1, label=f"{label}: {smoothing.count_minima(slopes)} minima")
        lowest = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
        panel.plot(y[lowest], loss[lowest], ".", color=color, ms=5)
    panel.set(xlabel="$y$", ylabel="smoothed loss, shifted")
    panel.legend(fontsize=8, ncols=2, loc="upper center")
    panel.set_ylim(top=panel.get_ylim()[1] + 2.5)


def _plot_slopes(config: Config, data: xr.Dataset, panel: Axes) -> None:
    y = np.linspace(-WINDOW, WINDOW, 801)
    shown = (config.agents[0], config.agents[-1])
    for p, color, marker in zip(shown, (COLORS[0], COLORS[3]), "os", strict=True):
        measured.plot_measured(
            panel, smoothing.slopes_of(smoothing.synchronized(data).sel(p=p)), "y", f"$p = {p}$", color, marker
        )
        exact = smoothing.slope(config.loss, y, smoothing.averaged(config.half_width, p).factors(config.loss))
        measured.plot_formula(panel, y, exact, "averaged noise", color, "-")
    panel.axhline(0, color="black", lw=0.6)
    panel.set(xlabel="$Y$", ylabel=r"$-\mathrm{E}[\Delta Y \mid Y] / \eta$")
    panel.legend(fontsize=8, ncols=2)


# The orders within a step, with a marker and a name.
SHOWN: tuple[tuple[Order, str, str], ...] = (("gauss-seidel", "o", "pull, then descend"), ("jacobi", "^", "at once"))


def _plot_damping(panel: Axes, models: dict[Any, xr.Dataset], factor: int, color: str, marker: str, label) -> None:
    """The measured damping of a wave by the models' keys, with bars of two standard errors, by the jackknife."""
    of = lambda runs: float(smoothing.factors_of(runs.data)[factor])
    value, error = np.array([claims.measure(of, Runs(one)) for one in models.values()]).T
    style: dict[str, Any] = dict(fmt=marker, ms=4.5, lw=1.0, capsize=2.0, color=color, zorder=3)
    panel.errorbar(list(models), value, yerr=2 * error, label=label, **style)


def _plot_waves(config: Config, data: xr.Dataset, panel: Axes) -> None:
    fine = np.unique(np.geomspace(1, config.agents[-1], 60).round().astype(int))
    waves = ((2, config.loss.w2, plotting.QUORUM, "fast"), (1, config.loss.w1, plotting.LOSS, "slow"))
    for factor, frequency, color, name in waves:
        label = lambda text, name=name: text if name == "fast" else None  # one wave stands for both
        for order, marker, text in SHOWN:
            models = {p: data.sel(p=p, order=order, rate=1.0) for p in config.agents}
            _plot_damping(panel, models, factor, color, marker, label(text))
        laws = [smoothing.averaged_and_narrower(config.half_width, p) for p in fine]
        exact, narrower = np.array([[law.damping(frequency) for law in pair] for pair in laws]).T
        measured.plot_formula(panel, fine, exact, label("averaged noise") or "_", color, "-")
        measured.plot_formula(panel, fine, narrower, label(r"uniform noise, $1/\sqrt{p}$ as wide") or "_", color, ":")
        place = (0.75 * fine[-1], np.interp(0.5 * fine[-1], fine, exact) - 0.06)
        panel.text(*place, f"{name} wave", color=color, ha="right", va="top")
    panel.set(xscale="log", xlabel="agents $p$", ylabel=r"what is left of a wave, $\eta k = 1$", ylim=(-0.25, 1.05))
    panel.set_xticks(config.agents, [f"{p}" for p in config.agents])
    panel.set_xticks([], minor=True)
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.45))


def _plot_gains(config: Config, data: xr.Dataset, panel: Axes) -> None:
    p, frequency = config.agents[len(config.agents) // 2], config.loss.w2
    fine = np.linspace(min(config.rates) / 2, 1, 60)
    for (order, marker, text), color in zip(SHOWN, (plotting.SMOOTHED, plotting.AGENTS), strict=True):
        models = {rate: data.sel(p=p, order=order, rate=rate) for rate in config.rates}
        _plot_damping(panel, models, 2, color, marker, f"measured, {text}")
        curve = [np.mean([law.damping(frequency) for law in config.spreads(p, order, rate)]) for rate in fine]
        measured.plot_formula(panel, fine, curve, f"the agents' spread, {text}", color)
    for agents, style, label in ((p, "-", "averaged noise"), (1, ":", "noise of one agent")):
        left = smoothing.averaged(config.half_width, agents).damping(frequency)
        panel.axhline(left, color="black", lw=0.6, ls=style, label=label)
    panel.set(xlabel=r"weight of the pull in one iteration, $\eta k$", ylabel="what is left of the fast wave")
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.6))


PRESETS = {
    "smoke": Config(agents=(1, 16), rates=(0.5, 1.0), sims=40, paths=100),
    "default": Config(),
    "paper": Config(sims=1000),
}

EXPERIMENT = Experiment(
    "bs-smoothing",
    "Boffi & Slotine, section 4: the smoothed loss that the center of mass descends",
    "In expectation an agent descends the loss smoothed by its noise. The center of mass of synchronized agents "
    "descends a loss smoothed by their averaged noise, less by the square root of their number, up to a distortion "
    "that vanishes with synchronization. We find it so where agents are pulled before they descend; where they do both "
    "at once, many agents smooth the loss no less than one, whatever the gain.",
    PRESETS,
    run,
    plot,
    lambda config, data: Runs(data),
    statements,
)
