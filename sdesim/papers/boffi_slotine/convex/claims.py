"""What Theorems 5.1-5.3 say over the grid of the measurements, and what is said of them."""

import functools

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.convex.config import Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.theory import bounds, curvature
from sdesim.theory.linear import normal_length


@functools.cache
def _constants(config: Config) -> tuple[float, float, float]:
    """lambda, L and Q of the loss, everywhere."""
    known = curvature.constants(config.loss, config.dims)
    return known.strong_convexity, known.smoothness, known.third


def qsgd_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Theorem 5.1, over the n_agents and gain that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and gain.
    """
    strong, _, third = _constants(config)
    p, k = data["n_agents"], data["gain"]
    return bounds.qsgd_distance(p, config.dims, config.eta, config.noise_trace, third, k, strong)


def qsgd_bound_discrete(config: Config, data: xr.Dataset, dt: float) -> xr.DataArray:
    """Theorem 5.1's argument for Euler-Maruyama with step dt, over the n_agents and gain that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and gain.
        dt: step, in time.
    """
    strong, smooth, third = _constants(config)
    common = (data["n_agents"], config.dims, config.eta, config.noise_trace, third, data["gain"])
    return bounds.qsgd_distance_discrete(*common, strong, smooth, dt=dt)


def rotated_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Theorem 5.1 on the rotated loss, with its Q (see `Rotated`), over the n_agents and k that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
    """
    strong, _, third = _constants(config)
    common = (data["n_agents"], config.dims, config.eta, config.noise_trace)
    return bounds.qsgd_distance(*common, third * float(abs(config.rotation).max()), data["k"], strong)


def easgd_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Theorem 5.2, over the center_agents and k that `data` has.

    Args:
        config: constants of the experiment.
        data: with center_agents and k.
    """
    strong, _, third = _constants(config)
    p, k = data["center_agents"], data["k"]
    return bounds.easgd_distance(p, config.dims, config.eta, config.noise_trace, third, k, strong)


def momentum_bound(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Theorem 5.3 with coupling of the positions alone, over the n_agents and k that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
    """
    strong, smooth, third = _constants(config)
    p, k = data["n_agents"], data["k"]
    common = (p, config.dims, config.eta, config.noise_trace, third)
    return bounds.momentum_distance(*common, k, 0.0, config.mu, strong, smooth)


def momentum_level(config: Config, data: xr.Dataset) -> xr.DataArray:
    """The bound of the spread of positions and velocities with momentum by Lemma 3.2, over (n_agents, k).

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
    """
    strong, smooth, _ = _constants(config)
    common = (data["n_agents"], config.eta, config.noise_trace, data["k"], 0.0, config.mu)
    return bounds.momentum_synchronization_level(*common, strong, smooth)


def momentum_spread_linearized(config: Config, data: xr.Dataset) -> xr.DataArray:
    """The spread of the positions with momentum on the loss linearized at its minimum, over (n_agents, k).

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
    """
    common = (data["n_agents"], config.eta, config.noise_trace, data["k"])
    return bounds.momentum_spread(*common, config.mu, config.curvature)


def easgd_linearized(config: Config, data: xr.Dataset) -> xr.DataArray:
    """Mean distance from the minimum of EASGD's mean and center at the largest gain, over (center_agents, point).

    Of the loss linearized at its minimum: (mean, center) is then an Ornstein-Uhlenbeck process, whose stationary law is
    Gaussian, alike in every coordinate.

    Args:
        config: constants of the experiment.
        data: with center_agents.
    """
    noise = lambda p: bounds.quorum_noise_covariance(config.sigma**2, p, config.eta)
    law = lambda p: bounds.easgd_covariance(config.curvature, noise(p), p, config.k[-1])
    variances = [np.diag(law(p)) for p in config.center_agents]
    named = {"center_agents": data["center_agents"], "point": ["easgd", "center"]}
    return normal_length(config.dims) * xr.DataArray(np.sqrt(variances), named, ("center_agents", "point"))


def nominal(config: Config, data: xr.Dataset) -> xr.DataArray:
    """(k (1 + p) + L) / 2 at the largest gain, over center_agents: one over the rule of thumb for EASGD's limit.

    Args:
        config: constants of the experiment.
        data: with center_agents.
    """
    return (config.k[-1] * (1 + data["center_agents"]) + config.smoothness) / 2


def statements(config: Config) -> list[Statement]:
    strong, smooth, _ = _constants(config)
    sde = lambda d: d["qsgd"].sel(refine=config.refine)
    strongest = lambda name: lambda d: sde(d).isel(gain=-1) if name == "qsgd" else d[name].isel(k=-1)
    limit = lambda d: bounds.easgd_stability_limit(d["center_agents"], config.k[-1], smooth)

    def deviation(runs: Runs) -> float:
        """Largest relative deviation of the middle of the simulated bracket from the limit of the matrix."""
        middle = np.exp(statistics.grid_mean(np.log(runs.data["limit"]), "side"))  # pyright: ignore[reportArgumentType]
        return statistics.greatest(abs(middle / limit(runs.data) - 1))

    def linearized(runs: Runs) -> float:
        """Largest relative deviation from the law of the loss linearized at its minimum, of the mean and the center."""
        law = easgd_linearized(config, runs.data)
        found = statistics.grid_mean(runs.data[["easgd", "center"]].isel(k=-1).to_dataarray("point"))
        return statistics.greatest(abs(found / law - 1))

    several = lambda d: d.sel(n_agents=[p for p in config.agents if p > 1])

    def spread_deviation(runs: Runs) -> float:
        found = statistics.grid_mean(several(runs.data["momentum_spread"]).isel(k=-1))
        return statistics.greatest(abs(found / momentum_spread_linearized(config, several(runs.data)).isel(k=-1) - 1))

    def floor(d: xr.Dataset) -> float:
        """Errors of the mean of the most agents, uncoupled over coupled the strongest."""
        most = statistics.grid_mean(sde(d).isel(n_agents=-1))
        return float(most.isel(gain=0) / most.isel(gain=-1))

    def many(d: xr.DataArray) -> xr.DataArray:
        """EASGD with several agents; one agent and its center are another law."""
        return d.sel(center_agents=[p for p in config.center_agents if p > 1])

    def looseness(runs: Runs) -> float:
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
            "easgd-order",
            "with the fewest agents Theorem 5.2 is within a factor 10 of the error at the largest gain (error / bound)",
            lambda d: d["both"].isel(center_agents=0, k=-1),
            lambda d: easgd_bound(config, d).isel(center_agents=0, k=-1),
            at_least(0.1, smoke=0.1),
        ),
        measured.ratio(
            "momentum-order",
            "so is Theorem 5.3 (error / bound)",
            lambda d: d["momentum"].isel(n_agents=0, k=-1),
            lambda d: momentum_bound(config, d).isel(n_agents=0, k=-1),
            at_least(0.1, smoke=0.1),
        ),
        measured.ratio(
            "easgd-loose",
            "with many agents Theorem 5.2 is loose (largest error / bound at the most agents)",
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
