"""bs-convex: how near the minimum of a strongly convex loss agents stay, beside Theorems 5.1-5.3 of BS.

Command: sdesim figure bs-convex. SGD, QSGD, EASGD (mean of the agents and center) and QSGD with momentum on a loss that
is not quadratic: s x^2 / 2 + w log cosh x in each coordinate, tilted so that its third derivative is greatest at the
minimum, which leaves the mean of weakly coupled agents a bias that more agents do not remove; QSGD also on that loss in
rotated coordinates, with noise along one of them. Below, how tight the bounds are, and where the iteration of EASGD
becomes unstable, of which its bound says nothing. All constants are chosen [C].
"""

import functools

import numpy as np
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import gammaln

from sdesim import plotting, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.strongly_convex import Config, run
from sdesim.papers.frame import measured
from sdesim.papers.frame.experiment import Experiment
from sdesim.theory import bounds, curvature

COLORS = {"qsgd": "#1f77b4", "rotated": "#9467bd", "easgd": "#b2182b", "momentum": "#2ca02c"}

PRESETS = {
    "smoke": Config(agents=(16,), center_agents=(16,), k=(0.5, 4.0), sims=24, time=9.0),
    "default": Config(),
    "paper": Config(sims=640),
}


# -- theory, over the grid of the measurements -------------------------------------------------------------------------


@functools.cache
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
    """Theorem 5.1's argument for Euler-Maruyama with step dt, over the n_agents and gain that `data` has."""
    strong, smooth, third = _constants(config)
    common = (data["n_agents"], config.dims, config.eta, config.noise_trace, third, data["gain"])
    return bounds.qsgd_distance_discrete(*common, strong, smooth, dt=dt)


def rotated_bound(config: Config, data) -> xr.DataArray:
    """Theorem 5.1 on the rotated loss, with its Q (see `Rotated`), over the n_agents and k that `data` has."""
    strong, _, third = _constants(config)
    common = (data["n_agents"], config.dims, config.eta, config.noise_trace)
    return bounds.qsgd_distance(*common, third * float(abs(config.rotation).max()), data["k"], strong)


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


def momentum_level(config: Config, data) -> xr.DataArray:
    """The bound of the spread of positions and velocities with momentum by Lemma 3.2, over (n_agents, k)."""
    strong, smooth, _ = _constants(config)
    common = (data["n_agents"], config.eta, config.noise_trace, data["k"], 0.0, config.mu)
    return bounds.momentum_synchronization_level(*common, strong, smooth)


def momentum_spread_linearized(config: Config, data) -> xr.DataArray:
    """The spread of the positions with momentum on the loss linearized at its minimum, over (n_agents, k).

    The distance y of an agent's position from the mean obeys y'' + (k + mu) y' + (k mu + h) y = noise.
    """
    h, p, k = config.curvature, data["n_agents"], data["k"]
    return (p - 1) * config.eta * config.noise_trace / (2 * (k + config.mu) * (k * config.mu + h))


def easgd_linearized(config: Config, data) -> xr.DataArray:
    """Mean distance from the minimum of EASGD's mean and center at the largest gain, over (center_agents, point).

    Of the loss linearized at its minimum: (mean, center) is then an Ornstein-Uhlenbeck process, whose stationary law is
    Gaussian, alike in every coordinate.
    """
    h, k = config.curvature, config.k[-1]
    variances = []
    for p in config.center_agents:
        drift = np.array([[h + k, -k], [-k * p, k * p]])
        noise = np.diag([bounds.quorum_noise_covariance(config.sigma**2, p, config.eta), 0.0])
        variances.append(np.diag(bounds.ou_covariance(drift, noise)))
    length = np.sqrt(2) * np.exp(gammaln((config.dims + 1) / 2) - gammaln(config.dims / 2))  # of a standard normal
    named = {"center_agents": data["center_agents"], "point": ["easgd", "center"]}
    return length * xr.DataArray(np.sqrt(variances), named, ("center_agents", "point"))


# -- statements --------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    strong, smooth, _ = _constants(config)
    sde = lambda d: d["qsgd"].sel(refine=config.refine)
    strongest = lambda name: lambda d: sde(d).isel(gain=-1) if name == "qsgd" else d[name].isel(k=-1)
    limit = lambda d: bounds.easgd_stability_limit(d["center_agents"], config.k[-1], smooth)

    def deviation(runs) -> float:
        """Largest relative deviation of the middle of the simulated bracket from the limit of the matrix."""
        middle = np.exp(statistics.grid_mean(np.log(runs.data["limit"]), "side"))
        return statistics.greatest(abs(middle / limit(runs.data) - 1))

    def linearized(runs) -> float:
        """Largest relative deviation from the law of the loss linearized at its minimum, of the mean and the center."""
        law = easgd_linearized(config, runs.data)
        found = statistics.grid_mean(runs.data[["easgd", "center"]].isel(k=-1).to_dataarray("point"))
        return statistics.greatest(abs(found / law - 1))

    several = lambda d: d.sel(n_agents=[p for p in config.agents if p > 1])

    def spread_deviation(runs) -> float:
        found = statistics.grid_mean(several(runs.data["momentum_spread"]).isel(k=-1))
        return statistics.greatest(abs(found / momentum_spread_linearized(config, several(runs.data)).isel(k=-1) - 1))

    def floor(d):
        """Errors of the mean of the most agents, uncoupled over coupled the strongest."""
        most = statistics.grid_mean(sde(d).isel(n_agents=-1))
        return float(most.isel(gain=0) / most.isel(gain=-1))

    def many(d):
        """EASGD with several agents; one agent and its center are another law."""
        return d.sel(center_agents=[p for p in config.center_agents if p > 1])

    def looseness(runs) -> float:
        """Exponent in p of EASGD's bound over its error."""
        ratio = many(easgd_bound(config, runs.data) / statistics.grid_mean(runs.data["both"])).isel(k=-1)
        return statistics.slope(ratio["center_agents"], ratio)

    falls = "error of {} falls as 1 / sqrt(p) at the largest gain"
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
            "rotated-below",
            "so it does in rotated coordinates, with Q of their own and noise that disturbs all components alike",
            lambda d: d["rotated"],
            lambda d: rotated_bound(config, d),
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
            "Theorem 5.1 is within a factor of 2.5 of the error at the largest gain, for every p (least error / bound)",
            lambda d: sde(d).isel(gain=-1),
            lambda d: qsgd_bound(config, d).isel(gain=-1),
            at_least(0.4, smoke=0.4),
        ),
        measured.ratio(
            "easgd-loose",
            "Theorem 5.2 is loose with many agents (largest error / bound at the most agents)",
            lambda d: d["both"].isel(center_agents=-1),
            lambda d: easgd_bound(config, d).isel(center_agents=-1),
            at_most(0.2, smoke=0.4),
        ),
        measured.ratio(
            "momentum-loose",
            "so is Theorem 5.3, whose bias no k removes: Lemma 3.2's rate is at most mu (largest error / bound)",
            lambda d: d["momentum"].isel(n_agents=-1),
            lambda d: momentum_bound(config, d).isel(n_agents=-1),
            at_most(0.1, smoke=0.2),
        ),
        measured.below(
            "momentum-spread-below",
            "with momentum the spread of the positions stays below the level of Lemma 3.2 at every p and k",
            lambda d: several(d["momentum_spread"]),
            lambda d: momentum_level(config, several(d)),
        ),
        measured.ratio(
            "momentum-spread-loose",
            "but the position coupling makes it far less, hence the bias too (largest spread / level at the largest k)",
            lambda d: several(d["momentum_spread"]).isel(k=-1),
            lambda d: momentum_level(config, several(d)).isel(k=-1),
            at_most(0.1, smoke=0.1),
        ),
        Statement(
            "momentum-spread-linearized",
            "it is that of the linearized loss at the largest gain (relative deviation)",
            spread_deviation,
            at_most(0.1, smoke=0.3),
        ),
        Statement(
            "easgd-limit",
            "EASGD's iteration becomes unstable where its matrix says, to the step between the learning rates tried "
            "(relative deviation)",
            lambda runs: (deviation(runs), 0.0),
            at_most(config.stability_step, smoke=config.stability_step),
        ),
        Statement(
            "easgd-limit-nominal",
            "that is not before eta (k (1 + p) + L) = 2 (least stable product / 2)",
            lambda runs: (statistics.least(runs.data["limit"].sel(side="stable") * nominal(config, runs.data)), 0.0),
            at_least(1.0 - config.stability_step, smoke=1.0 - config.stability_step),
        ),
        Statement(
            "easgd-linearized",
            "mean and center of EASGD have the law of the linearized loss at the largest gain (relative deviation)",
            linearized,
            at_most(0.1, smoke=0.3),
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
            found.append(measured.exponent(name, falls.format(words), over, "n_agents", -0.5, 0.04))
        found.append(
            Statement(
                "uncoupled-biased",
                "the mean of the most agents is farther from the minimum if they are uncoupled (ratio of errors)",
                lambda runs: floor(runs.data),
                at_least(1.25),
            )
        )
    if len([p for p in config.center_agents if p > 1]) > 1:
        centers = xr.Dataset(coords={"center_agents": list(config.center_agents)})
        for name, words in (("easgd", "EASGD's mean of agents"), ("center", "EASGD's center")):
            over = lambda d, name=name: many(d[name]).isel(k=-1)
            law = many(easgd_linearized(config, centers)).sel(point=name)
            own = statistics.slope(law["center_agents"], law)
            text = f"error of {words} falls nearly as 1 / sqrt(p) at the largest gain, as in the linearized law"
            found.append(measured.exponent(name, text, over, "center_agents", own, 0.05))
        found.append(
            Statement(
                "easgd-looser",
                "its bound does not fall with p and so exceeds the error ever more (exponent in p of bound / error)",
                looseness,
                at_least(0.4),
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
    beside = lambda values, factor: values.assign_coords(center_agents=values["center_agents"] * factor)
    measured.plot_measured(by_easgd, beside(at["easgd"], 0.9), "center_agents", r"mean $\bar x$", COLORS["easgd"])
    measured.plot_measured(by_easgd, beside(at["center"], 1.1), "center_agents", r"center $\tilde x$", "#f28e2b", "s")
    measured.plot_measured(by_easgd, at["both"], "center_agents", r"$(\bar x, \tilde x)$", "black", "D")
    measured.plot_formula(by_easgd, centers, easgd_bound(config, at), r"Thm 5.2, $(\bar x, \tilde x)$", "black")
    law = easgd_linearized(config, data).sel(point="easgd")
    measured.plot_formula(by_easgd, centers, law, r"linearized law of $\bar x$", COLORS["easgd"], ":")
    measured.plot_measured(by_momentum, at["momentum"], "n_agents", r"$(\bar x_1, \bar x_2)$", COLORS["momentum"], "^")
    measured.plot_formula(by_momentum, numbers, momentum_bound(config, at), "Thm 5.3", COLORS["momentum"])
    p, gains = numbers[-1], np.geomspace(config.k[0], most, 101)
    fine = xr.Dataset(coords={"n_agents": numbers, "center_agents": centers, "k": gains, "gain": gains})
    coupled = sde.sel(n_agents=p, gain=list(config.k)).rename(gain="k")
    one = {name: data[name].sel(n_agents=p) for name in ("rotated", "momentum")}
    one |= {"qsgd": coupled, "easgd": data["both"].isel(center_agents=-1)}
    forms = {"qsgd": qsgd_bound, "rotated": rotated_bound, "momentum": momentum_bound}
    lines = {name: form(config, fine).sel(n_agents=p) for name, form in forms.items()}
    lines["easgd"] = easgd_bound(config, fine).isel(center_agents=-1)
    names = {"qsgd": f"QSGD, $p={p}$", "rotated": f"QSGD, rotated, $p={p}$"}
    names |= {"easgd": f"EASGD, $p={centers[-1]}$", "momentum": f"with momentum, $p={p}$"}
    for (name, color), marker in zip(COLORS.items(), "oDs^", strict=True):
        measured.plot_measured(by_gain, one[name], "k", names[name], color, marker)
        measured.plot_formula(by_gain, gains, lines[name], "", color)
    ratios = {
        "qsgd": (numbers, qsgd_bound(config, data).sel(gain=most) / sde.sel(gain=most).mean("sim")),
        "rotated": (numbers, (rotated_bound(config, data) / data["rotated"].mean("sim")).sel(k=most)),
        "easgd": (centers, (easgd_bound(config, data) / data["both"].mean("sim")).sel(k=most)),
        "momentum": (numbers, (momentum_bound(config, data) / data["momentum"].mean("sim")).sel(k=most)),
    }
    words = {"qsgd": "QSGD, Thm 5.1", "rotated": "rotated, Thm 5.1"}
    words |= {"easgd": "EASGD, Thm 5.2", "momentum": "with momentum, Thm 5.3"}
    for (name, (x, y)), marker in zip(ratios.items(), "oDs^", strict=True):
        measured.plot_formula(by_ratio, x, y, words[name], COLORS[name], f"-{marker}")
    by_ratio.axhline(1, color="gray", lw=0.8, ls=":")
    limit = bounds.easgd_stability_limit(data["center_agents"], most, config.smoothness) * nominal(config, data)
    low, high = (data["limit"].sel(side=side) * nominal(config, data) for side in ("stable", "unstable"))
    by_limit.vlines(centers, low, high, lw=4, color=COLORS["easgd"], label="simulated: stable below, unstable above")
    measured.plot_formula(by_limit, centers, limit, "limit of its matrix", "black")
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
