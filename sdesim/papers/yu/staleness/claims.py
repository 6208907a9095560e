"""Rates and variances that are taken from the runs, and what is said of them. Time is counted in steps.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.papers.yu.staleness.config import Config
from sdesim.theory import staleness

BOTTOM, CEILING = 1e-34, 1e18  # sizes between which rates are taken, within float32


# -- what is measured --------------------------------------------------------------------------------------------------


def rate(path: ArrayLike) -> float:
    """The rate at which one signal decays in the end, in 1/step; negative where it grows.

    Args:
        path: of all steps, (steps + 1,).
    """
    path = np.asarray(path, float)
    size = np.abs(path[1:]) + np.abs(path[:-1])
    outside = np.flatnonzero(~((size > BOTTOM) & (size < CEILING)))
    last = outside[0] if outside.size else size.size
    if last < 8:
        return np.nan
    late = slice(last // 2, last)
    return measured.decay(path[1:][late], path[:-1][late], 1.0)


def rates(data: xr.Dataset) -> xr.DataArray:
    """`rate` of the means and the differences, (delay, delta, share, what).

    Args:
        data: of the runs.
    """
    return xr.apply_ufunc(rate, data["path"], input_core_dims=[["step"]], vectorize=True)


# -- what is exact -----------------------------------------------------------------------------------------------------


def exact_rate(config: Config, delay: int, delta: float, a: float, what: str) -> float:
    """The same of the iteration, from its characteristic roots.

    Args:
        config: constants of the experiment.
        delay: in steps.
        delta: momentum.
        a: eta h, without unit.
        what: "mean" or "difference".
    """
    pull = a * config.coupling if what == "difference" else 0.0
    return -float(np.log(staleness.step_radius(a, delay, delta=delta, coupling=pull)))


def exact_rates(config: Config, data: xr.Dataset) -> xr.DataArray:
    """`exact_rate` where there are `rates`.

    Args:
        config: constants of the experiment.
        data: of the runs.
    """
    grid = data["path"].isel(step=0, drop=True)
    found = xr.zeros_like(grid)
    for at in np.ndindex(*grid.shape):
        delay, delta, share, what = (grid[dim].values[i] for dim, i in zip(grid.dims, at, strict=True))
        found[at] = exact_rate(
            config, int(delay), float(delta), float(share * staleness.step_limit(int(delay))), str(what)
        )
    return found


def exact_square(config: Config, shares: ArrayLike) -> NDArray:
    """E x^2 after `noisy_steps` from 0, of the iteration.

    Args:
        config: constants of the experiment.
        shares: learning rates, of the limit, (quiet,).
    """
    etas = config.etas(config.longest, tuple(np.asarray(shares)))
    paths = (staleness.regular_path(config.longest + 1, e * config.curvature, config.noisy_steps)[1][-1] for e in etas)
    return np.array([(e * config.sigma) ** 2 * path for e, path in zip(etas, paths, strict=True)])


def law_square(config: Config, turns: ArrayLike) -> NDArray:
    """The stationary variance of the delay equation, over that without a delay, 1 / (2 h) sigma^2.

    Args:
        config: constants of the experiment.
        turns: h tau, (turns,), without unit.
    """
    return np.array([2 * staleness.delay_variance(1.0, turn, 1.0) for turn in np.asarray(turns)])


def relative(config: Config, squares: xr.DataArray) -> xr.DataArray:
    """Mean squares over eta sigma^2 / (2 h), the stationary variance of the SDE without a delay.

    Args:
        config: constants of the experiment.
        squares: (quiet, ...).
    """
    etas = xr.DataArray(config.etas(config.longest, tuple(squares["quiet"].values)), {"quiet": squares["quiet"]})
    return squares / (etas * config.sigma**2 / (2 * config.curvature))


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    best = min(config.learning, key=lambda share: abs(share - 2 / (np.pi * np.e)))
    a = best * staleness.step_limit(config.longest)
    alone = lambda d: rates(d[["path"]].sel(delay=[config.longest], delta=[0.0])).squeeze(drop=True)
    turns = config.turns(config.etas(config.longest, config.quiet) * config.curvature)

    def off(runs: Runs) -> tuple[float, float]:
        return statistics.greatest(abs(rates(runs.data) - exact_rates(config, runs.data))), 0.0

    def misjudged(runs: Runs) -> tuple[float, float]:
        found, exact = rates(runs.data), exact_rates(config, runs.data)
        return float(np.sum(np.abs(np.sign(found.values) - np.sign(exact.values)))) / 2, 0.0

    def border(runs: Runs) -> tuple[float, float]:
        """The lesser of decay just below the limit and growth just above, of all delays."""
        found = rates(runs.data).sel(delta=0.0, what="mean")
        shares = np.asarray(config.learning)
        below, above = shares[shares < 1].max(), shares[shares > 1].min()
        return statistics.least([*found.sel(share=below).values, *(-found.sel(share=above).values)]), 0.0

    def slowed(runs: Runs) -> tuple[float, float]:
        """Rates of the mean with momentum over those without, where both decay, at the least learning rate."""
        found = rates(runs.data).sel(what="mean", share=config.learning[0])
        return statistics.least(found.sel(delta=config.delta) / found.sel(delta=0.0)), 0.0

    def narrowed(runs: Runs) -> tuple[float, float]:
        """At the last share below the limit with the longest delay: how the mean decays with momentum."""
        shares = np.asarray(config.learning)
        found = rates(runs.data).sel(what="mean", delay=config.longest, share=shares[shares < 1].max())
        return float(found.sel(delta=config.delta)), 0.0

    def steadied(runs: Runs) -> tuple[float, float]:
        """The least rate of the differences without momentum and with the longest delay, at any learning rate."""
        return statistics.least(rates(runs.data).sel(what="difference", delta=0.0, delay=config.longest)), 0.0

    return [
        # fails of fresh gradients, whose variance is that of no delay, and of another learning rate
        measured.equal(
            "variance",
            f"with noise and gradients that are {config.longest} steps old, E x^2 is the iteration's at every h tau",
            lambda d: d["square"],
            lambda d: xr.DataArray(exact_square(config, d["quiet"]), {"quiet": d["quiet"]}),
        ),
        # fails of fresh gradients
        Statement(
            "variance-law",
            "which is near the delay equation's, sigma^2 / 2h (1 + sin h tau) / cos h tau (greatest relative distance)",
            lambda runs: statistics.greatest(
                abs(statistics.grid_mean(relative(config, runs.data["square"])) / law_square(config, turns) - 1)
            ),
            at_most(0.1, smoke=0.2),
        ),
        # fails of fresh gradients, which it helps by nothing
        Statement(
            "small-helps",
            f"a small staleness helps: at h tau = {float(config.turns(np.asarray(a))):.3g}, near 1/e, descent is "
            "nearly e times as fast as with fresh gradients of that learning rate (ratio)",
            lambda runs: (float(alone(runs.data).sel(what="mean", share=best)) / -np.log1p(-a), 0.0),
            at_least(2.4, smoke=2.0),
        ),
        # fails of fresh gradients, which decay there
        Statement(
            "large-diverges",
            "a large one diverges: at every delay it decays just below eta h = 2 sin(pi / 2(2 d + 1)), where h tau is "
            "about pi/2, and grows just above (the lesser of the rates of decay and of growth)",
            border,
            at_least(0.0, smoke=0.0),
        ),
        # fails of fresh gradients, of gradients taken ahead (Nesterov), and without coupling
        Statement(
            "atlas",
            "over learning rate, delay, momentum and coupling, mean and differences decay or grow at the rate of the "
            "iteration's greatest characteristic root (greatest difference in 1/step)",
            off,
            at_most(5e-3, smoke=5e-3),  # near a double root float32 moves it by the square root of a rounding
        ),
        # fails of fresh gradients
        Statement(
            "atlas-border",
            "and are stable exactly where that root is within the unit circle (points of the atlas that are misjudged)",
            misjudged,
            at_most(0.0, smoke=0.0),
        ),
        # fails of fresh gradients, which momentum makes stable further
        Statement(
            "momentum-narrows",
            f"where gradients are {config.longest} steps old momentum {config.delta:g} diverges already at a learning "
            "rate at which descent without it decays (rate, in 1/step)",
            narrowed,
            at_most(0.0, smoke=0.0),
        ),
        # fails without momentum
        Statement(
            "momentum-helps",
            "though at a small learning rate it helps at every delay (least rate with momentum over that without)",
            slowed,
            at_least(1.2, smoke=1.2),
        ),
        # fails without coupling
        Statement(
            "coupling-steadies",
            f"a coupling that is not late, of k = {config.coupling:g} h, lets the differences of agents with gradients "
            f"{config.longest} steps old decay up to {config.learning[-1]:g} times the learning rate at which their "
            "mean diverges, though with gradients 1 step old it moves no limit: there |z|^2 = eta h (least rate, in "
            "1/step)",
            steadied,
            at_least(0.0, smoke=0.0),
        ),
    ]
