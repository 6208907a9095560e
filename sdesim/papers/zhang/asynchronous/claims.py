"""Variances and rates that are taken from the runs, and what is said of them. Times are in units of m.

At each statement stands a wrong model of which it fails; the tests run them.
"""

import functools

import numpy as np
import xarray as xr

from sdesim import statistics
from sdesim.analysis import linearize, stability_map
from sdesim.claims import Statement, at_least
from sdesim.ensembles.points import with_value
from sdesim.papers.frame import measured
from sdesim.papers.zhang.asynchronous.config import ARMS, Config
from sdesim.papers.zhang.asynchronous.run import gains, model, period_of, stepper
from sdesim.results.datasets import dimension

WHAT = {"center": "shared", "agents": "own"}
"""What a stability map calls the squares that are measured."""


# -- what is exact: the map of second moments of the code that simulates -----------------------------------------------


@functools.cache
def over_workers(config: Config, arm: str, workers: tuple[int, ...]) -> xr.Dataset:
    """The stability map of an arm over numbers of workers.

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        workers: p.
    """
    found = stability_map(model(config), {"agents": workers}, stepper=stepper(arm))
    return found.rename(n_agents="workers")


@functools.cache
def over_rates(config: Config, arm: str, rates: tuple[float, ...]) -> xr.Dataset:
    """The same over moving rates, of `config.many` workers.

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        rates: alpha.
    """
    grid = {"coupling.k": gains(config, rates)}
    found = stability_map(model(config), grid, stepper=stepper(arm), agents=config.many)
    return found.rename({"coupling_k": "moving_rate"}).assign_coords(moving_rate=list(rates))


@functools.cache
def over_periods(config: Config, arm: str) -> xr.Dataset:
    """The same over communication periods, of `config.few` workers.

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
    """
    found = stability_map(model(config), {period_of(arm): config.periods}, stepper=stepper(arm), agents=config.few)
    return found.rename({dimension(period_of(arm)): "period"})


@functools.cache
def over_plane(config: Config, arm: str) -> xr.DataArray:
    """The rate at which second moments decay over the plane, (a, alpha).

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
    """
    grid = {
        "objective.curvature": [a / config.eta for a in config.plane],
        "coupling.k": gains(config, config.plane_rates),
    }
    rate = stability_map(model(config), grid, stepper=stepper(arm), agents=config.few)["rate"]
    rate = rate.rename({"objective_curvature": "a", "coupling_k": "alpha"})
    return rate.assign_coords(a=list(config.plane), alpha=list(config.plane_rates))


@functools.cache
def border(config: Config, arm: str, a: float, most: float = 1.3) -> float:
    """The greatest moving rate at which an arm is stable in mean square, by bisection.

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        a: eta h.
        most: where none is, alpha.
    """
    low, high = 0.0, most
    curved = with_value(model(config), "objective.curvature", a / config.eta)
    for _ in range(9):
        alpha = (low + high) / 2
        here = with_value(curved, "coupling.k", alpha / config.eta)
        stable = linearize(here, stepper(arm), agents=config.few).radius() < 1
        low, high = (alpha, high) if stable else (low, alpha)
    return (low + high) / 2


def exact(config: Config, arm: str, panel: str) -> xr.Dataset:
    """The stability map of an arm at the points that are measured.

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        panel: "workers", "rates" or "periods".
    """
    if panel == "periods":
        return over_periods(config, arm)
    return over_workers(config, arm, config.workers) if panel == "workers" else over_rates(config, arm, config.rates)


# -- what is measured --------------------------------------------------------------------------------------------------

PANELS = ("workers", "rates", "periods")


def points(data: xr.Dataset, arm: str, what: str) -> xr.DataArray:
    """What is measured of an arm at all points of the three panels, (point, sim).

    Args:
        data: of the runs.
        arm: a name of `ARMS`.
        what: "center" or "agents".
    """
    return _joined([data[f"{what}_{panel}"].sel(arm=arm, drop=True) for panel in PANELS])


def expected(config: Config, arm: str, what: str) -> xr.DataArray:
    """What is exact there, (point,).

    Args:
        config: constants of the experiment.
        arm: a name of `ARMS`.
        what: "center" or "agents".
    """
    return _joined([exact(config, arm, panel)[WHAT[what]].squeeze(drop=True) for panel in PANELS])


def _joined(parts: list[xr.DataArray]) -> xr.DataArray:
    plain = [part.rename({part.dims[0]: "point"}).drop_vars("point") for part in parts]
    return xr.concat(plain, "point")


def rates(config: Config, plane: xr.DataArray) -> xr.DataArray:
    """The rate at which mean squares decay between the two moments, of whatever dimensions without "sim".

    Args:
        config: constants of the experiment.
        plane: squares, (..., moment, sim).
    """
    mean = statistics.grid_mean(plane)
    grown = mean.isel(moment=1) / mean.isel(moment=0)
    return xr.apply_ufunc(np.log, grown) / (config.early - config.late)


# -- what is said ------------------------------------------------------------------------------------------------------


def statements(config: Config) -> list[Statement]:
    return [*_variances(config), *_compared(config), *_stability(config)]


def _variances(config: Config) -> list[Statement]:
    words = {
        "synchronous": "of workers that step together",
        "memoryless": "of workers that come at random",
        "in turn": "of workers that come in turn",
    }
    # all six fail of half the noise and of a period that is ignored; the centers', and the workers' in turn, of each
    # other's arrivals
    return [
        measured.equal(
            f"{what}-{arm.replace(' ', '-')}",
            f"the stationary mean square of {name} {words[arm]} is that of the map of second moments, over p, "
            "alpha and tau",
            lambda d, arm=arm, what=what: points(d, arm, what),
            lambda d, arm=arm, what=what: expected(config, arm, what),
        )
        for what, name in (("center", "the center"), ("agents", "the workers"))
        for arm in ARMS
    ]


def _compared(config: Config) -> list[Statement]:
    p, tau = config.many, config.periods[-1]

    def ratio(runs: measured.Runs, one: str, other: str, rate: float) -> float:
        """Of the mean squares of the centers of two arms at a moving rate."""
        mean = statistics.grid_mean(runs.data["center_rates"].sel(moving_rate=rate))
        return float(mean.sel(arm=one) / mean.sel(arm=other))

    def ends(d: xr.Dataset, what: str) -> xr.DataArray:
        """At the longest period over at the shortest, (arm,)."""
        mean = statistics.grid_mean(d[f"{what}_periods"])
        return mean.isel(period=-1) / mean.isel(period=0)

    return [
        # fails of workers in turn in place of those at random
        Statement(
            "random-turns",
            f"of {p} workers the center is noisier where they come at random than where they come in turn (ratio)",
            lambda runs: ratio(runs, "memoryless", "in turn", config.rate),
            at_least(1.05, smoke=1.0),
        ),
        # fails of workers that all step together, whose ratio is 1
        Statement(
            "model-too-quiet",
            f"and than the synchronous model says, at alpha = {config.rate:g} (ratio)",
            lambda runs: ratio(runs, "memoryless", "synchronous", config.rate),
            at_least(1.03),
        ),
        # fails of workers that all step together
        Statement(
            "model-too-loud",
            f"at alpha = {config.rates[-1]:g} the model is the noisier one, near its border of stability (its ratio to "
            "workers at random)",
            lambda runs: ratio(runs, "synchronous", "memoryless", config.rates[-1]),
            at_least(1.1, smoke=1.05),
        ),
        # both fail of a period that is ignored
        Statement(
            "period-center",
            f"a longer period makes the center quieter in all three: tau = 1 against {tau} (least ratio)",
            lambda runs: statistics.least(1 / ends(runs.data, "center")),
            at_least(1.2, smoke=1.03),
        ),
        Statement(
            "period-workers",
            f"and lets the workers wander farther: tau = {tau} against 1 (least ratio of mean squares)",
            lambda runs: statistics.least(ends(runs.data, "agents")),
            at_least(1.3, smoke=1.1),
        ),
    ]


def _stability(config: Config) -> list[Statement]:
    def agreement(d: xr.Dataset, arm: str) -> float:
        """The least rate, of decay where the map of second moments decays and of growth where it grows."""
        told = over_plane(config, arm)
        found = measured.asked(rates(config, d["plane"].sel(arm=arm)) * np.sign(told), abs(told) > config.clear)
        return statistics.least(found)

    def borne(d: xr.Dataset) -> float:
        """At the greatest moving rate that both bear: the least rate, of growth together and of decay else."""
        found = rates(config, d["plane"].isel(a=0))
        told = {arm: over_plane(config, arm).isel(a=0) for arm in ARMS}
        clear = config.clear
        good = (told["synchronous"] < -clear) & (told["memoryless"] > clear) & (told["in turn"] > clear)
        signs = xr.DataArray([-1.0, 1.0, 1.0], {"arm": list(ARMS)}, ("arm",))
        return statistics.least((found * signs).isel(alpha=np.flatnonzero(good.values)))

    # each fails of half the moving rate; those of workers one at a time also of workers that step together
    sides = [
        Statement(
            f"border-{arm.replace(' ', '-')}",
            f"{words}: squares decay within the border of mean-square stability, and grow beyond, at every point of "
            f"(eta h, alpha) whose rate is above {config.clear:g} (least rate to the side that is told)",
            lambda runs, arm=arm: agreement(runs.data, arm),
            at_least(0.0, smoke=0.0),
        )
        for arm, words in zip(
            ARMS, ("workers that step together", "that come at random", "that come in turn"), strict=True
        )
    ]
    return [
        *sides,
        # fails of workers that all step together
        Statement(
            "one-at-a-time-bears-more",
            f"at eta h = {config.plane[0]:g} workers one at a time bear moving rates at which all together diverge "
            "(least rate, of decay and of growth)",
            lambda runs: borne(runs.data),
            at_least(0.0, smoke=0.0),
        ),
    ]
