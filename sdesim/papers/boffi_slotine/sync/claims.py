"""What is said of the spread, beside its bounds over the grid of the measurements."""

import functools

import numpy as np
import xarray as xr

from sdesim import objectives, statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.boffi_slotine.log_cosh import LOSSES
from sdesim.papers.boffi_slotine.sync.config import Config
from sdesim.papers.frame import measured
from sdesim.theory import bounds, curvature


def levels(config: Config, data: xr.Dataset, form: str) -> xr.DataArray:
    """What bounds the spread, over (n_agents, k, loss).

    Args:
        config: constants of the experiment.
        data: with n_agents and k, and refine for "discrete".
        form: "sde" for (BS 22), "discrete" for what is over refine too.
    """
    p, k, concavity, smoothness = data["n_agents"], data["k"], *curvatures(config)
    if form == "sde":
        return bounds.synchronization_level(p, config.eta, config.noise_trace, k, concavity)
    dt = config.eta / data["refine"]
    return bounds.synchronization_level_discrete(p, config.eta, config.noise_trace, k, concavity, smoothness, dt=dt)


@functools.cache
def curvatures(config: Config) -> tuple[xr.DataArray, xr.DataArray]:
    """The concavity and the greatest curvature of each loss, over loss.

    Args:
        config: constants of the experiment.
    """
    found = [curvature.constants(objectives.LogCosh(config.strength, w), config.dims) for w in config.weights]
    label = lambda values: xr.DataArray(values, {"loss": list(LOSSES)}, "loss")
    return label([c.concavity for c in found]), label([c.smoothness for c in found])


def rate_levels(config: Config, data: xr.Dataset) -> xr.DataArray:
    """The discrete form with each agent's learning rate and batch (BS 3.4), over (rate_spread, k, loss).

    Args:
        config: constants of the experiment.
        data: with k.
    """
    concavity, smoothness = curvatures(config)
    batch, dt = np.array(config.batches), config.eta / config.refine[-1]
    level = lambda rates: bounds.synchronization_level_discrete(
        batch.size, rates, config.noise_trace, data["k"], concavity, smoothness, batch=batch, dt=dt
    )
    each: list[xr.DataArray] = [level(rates) for rates in config.rates]
    return xr.concat(each, data["rate_spread"])


def extrapolated(spread: xr.DataArray) -> xr.DataArray:
    """The spread of each simulation as dt -> 0: the polynomial in dt through all steps (Richardson).

    Args:
        spread: with the dimension refine.
    """
    dt = 1 / spread["refine"].values
    weights = [np.prod([b / (b - a) for b in dt if b != a]) for a in dt]
    return (spread * xr.DataArray(weights, dims="refine", coords={"refine": spread["refine"]})).sum(
        "refine", skipna=False
    )


def statements(config: Config) -> list[Statement]:
    one = lambda loss: lambda d: d["spread"].sel(loss=loss)
    discrete = lambda loss: lambda d: levels(config, d, "discrete").sel(loss=loss)
    sde = lambda d: levels(config, d, "sde")
    limit = lambda d: extrapolated(d["spread"])
    coarse = lambda d: d["spread"].isel(refine=0)
    concavity = -(config.strength + config.well)

    def hill(d: xr.Dataset) -> xr.DataArray:
        """The hilltop with enough agents to stay there and gains that synchronize within the time."""
        chosen = d["hilltop"].sel(n_agents=[p for p in config.agents if p >= 16])
        chosen = chosen.sel(k=[k for k in config.k if (k - concavity) * config.hilltop_time > 2])
        return chosen.assign_coords(excess=("k", chosen["k"].values - concavity))

    def hill_level(d: xr.Dataset) -> xr.DataArray:
        return levels(config, d, "discrete").sel(loss=LOSSES[0]).isel(refine=-1)

    def excess(d: xr.Dataset) -> float:
        return statistics.greatest(statistics.grid_mean(coarse(d)) / sde(d))

    def single_gain(d: xr.Dataset) -> xr.DataArray:
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
