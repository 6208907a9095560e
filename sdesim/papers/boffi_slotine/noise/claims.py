"""What is said of noise and disturbance of the mean, beside theory over the grid of the measurements."""

import functools

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.noise.config import CONVEX, QUADRATIC, WELL, Config
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.theory import bounds, curvature


def quorum_noise(config: Config, data: xr.Dataset) -> xr.DataArray:
    """eta sigma^2 / (b p), over n_agents.

    Args:
        config: constants of the experiment.
        data: with n_agents.
    """
    return bounds.quorum_noise_covariance(config.sigma**2, data["n_agents"], config.eta, config.batch)


def stationary_variance(config: Config, data: xr.Dataset, weight: float) -> xr.DataArray:
    """Variance of the mean on the loss linearized at `point`, for the chain with step dt, over n_agents.

    Args:
        config: constants of the experiment.
        data: with n_agents.
        weight: of the loss's log cosh.
    """
    slope = config.strength + weight / np.cosh(config.point) ** 2
    one = bounds.ou_covariance_discrete(slope, config.eta / config.batch * config.sigma**2, config.dt)
    return one.item() / data["n_agents"]


@functools.cache
def _constants(config: Config, loss: str) -> curvature.Constants:
    return curvature.constants(config.loss(loss), 1)


def chain_level(config: Config, data: xr.Dataset, loss: str) -> xr.DataArray:
    """The discrete form of (BS 22), of the chain with step dt, over the n_agents and k that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
        loss: its name.
    """
    known = _constants(config, loss)
    common = (data["n_agents"], config.eta, config.sigma**2, data["k"], known.concavity, known.smoothness)
    return bounds.synchronization_level_discrete(*common, batch=config.batch, dt=config.dt)


def largest_disturbance(config: Config, data: xr.Dataset, loss: str) -> xr.DataArray:
    """The bound (BS 31) of E|eps|, of the chain with step dt, over the n_agents and k that `data` has.

    Args:
        config: constants of the experiment.
        data: with n_agents and k.
        loss: its name.
    """
    known = _constants(config, loss)
    common = (data["n_agents"], 1, config.eta, config.sigma**2, known.third, data["k"])
    return bounds.disturbance_discrete(*common, known.concavity, known.smoothness, config.batch, config.dt)


def variance(data: xr.Dataset, config: Config) -> xr.DataArray:
    """Variance of the mean of the agents, about its mean over all simulations.

    Args:
        data: measurements, as `run` gives them.
        config: constants of the experiment.
    """
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

    def beyond(d: xr.Dataset) -> xr.DataArray:
        """Large gains, by the rate k - concavity of synchronization of the chain with step dt."""
        chosen = strongest(d).sel(k=[k for k in config.k if k >= 8])
        level = chain_level(config, chosen, CONVEX)
        return chosen.assign_coords(rate=1 / level)

    def linearized(runs: Runs) -> float:
        predicted = stationary_variance(config, runs.data, config.convex)
        return statistics.greatest(abs(statistics.grid_mean(convex(runs.data)).isel(k=-1) / predicted - 1))

    strongest_gain = lambda d: d["disturbance"].sel(loss=CONVEX).isel(k=-1)

    thins = "on the convex loss its stationary variance falls as 1/p at the largest gain"
    falls = "at large k the disturbance falls nearly as its bound, which it attains as k grows"

    def growth(runs: Runs) -> float:
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
