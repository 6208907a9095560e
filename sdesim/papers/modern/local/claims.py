"""The slow motion along the valley, and what is said of it. At each statement stands a wrong model that breaks it."""

import functools

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.local.config import Config
from sdesim.theory import outer, refinement

SLOW = 200  # steps in which the slow equation is solved between two records, at the most


def push(eta: float, period: int, u: float, sigma: float, agents: int) -> float:
    """E w^2 of an agent where it takes its gradient, on the mean over a period, with the curvature of a fixed u.

    That of the mean of the agents, which no exchange changes, and what their own noise makes since the last one:
    eta^2 s^2 / (1 - r^2) [1 / p + (1 - 1 / p) mean_s (1 - r^2s)], r = 1 - eta (1 + u^2), s from 0 to H - 1.

    Args:
        eta: learning rate.
        period: H.
        u: along the valley.
        sigma: s, of the noise.
        agents: p.
    """
    a = 1 + u**2
    mean = refinement.second_moment(eta, 1, a, sigma) / agents
    if period == 1:
        return float(mean)
    since = np.arange(1, period)
    return float(mean + (1 - 1 / agents) * outer.noise(eta * a, since, 1, (eta * sigma) ** 2).sum() / period)


@functools.cache
def _path(config: Config, rates: tuple[float, ...], periods: tuple[int, ...], every: int) -> NDArray:
    """u after each record, of d u = -eta u E w^2 an iteration, by the midpoint rule."""
    u, found, n = config.start, [config.start], 0
    drift = lambda u, i: -rates[i] * u * push(rates[i], periods[i], u, config.sigma, config.agents)
    stride = max(1, every // SLOW)
    for _ in range(config.records):
        end = n + every
        while n < end:
            step = min(stride, end - n)
            middle = u + step / 2 * drift(u, n)
            u, n = u + step * drift(middle, n), n + step
        found.append(u)
    return np.array(found)


def slow(config: Config, eta: float, period: int) -> NDArray:
    """u at each record by the slow equation.

    Args:
        config: constants of the experiment.
        eta: learning rate.
        period: H.

    Returns:
        (records + 1,).
    """
    steps = round(config.time / eta)
    return _path(config, (eta,) * steps, (period,) * steps, steps // config.records)


def slow_fallen(config: Config, rule: str) -> NDArray:
    """The same of the schedule.

    Args:
        config: constants of the experiment.
        rule: "parallel", "constant" or "QSR".
    """
    rates = config.rates()
    periods = {
        "parallel": np.ones(len(rates), int),
        "constant": np.full(len(rates), config.constant),
        "QSR": config.qsr(),
    }
    return _path(config, tuple(rates.tolist()), tuple(periods[rule].tolist()), len(rates) // config.records)


def trace(u: xr.DataArray) -> xr.DataArray:
    """The trace of the Hessian at the minimum, 1 + u^2, of each simulation.

    Args:
        u: along the valley.
    """
    return 1 + u**2


def statements(config: Config) -> list[Statement]:
    short, long, slowest = config.periods[0], config.periods[-1], config.etas[-1]
    last = lambda values: statistics.grid_mean(values.isel(record=-1))

    def off(runs: Runs) -> float:
        """The largest relative difference of the mean drift log(start / u) at the end from the slow equation's."""
        found = np.log(config.start / last(runs.data["u"]).values)
        exact = [[np.log(config.start / slow(config, e, h)[-1]) for h in config.periods] for e in config.etas]
        return statistics.greatest(abs(found / np.array(exact) - 1))

    def off_fallen(runs: Runs) -> float:
        found = np.log(config.start / last(runs.data["fallen"]).values)
        exact = [np.log(config.start / slow_fallen(config, rule)[-1]) for rule in runs.data["rule"].values]
        return statistics.greatest(abs(found / np.array(exact) - 1))

    def faster(runs: Runs) -> float:
        """How much faster the trace falls from the start on, by the first records."""
        first = statistics.grid_mean(trace(runs.data["u"].sel(eta=slowest)).isel(record=[0, 1]))
        fall = first.isel(record=0) - first.isel(record=1)
        return float(fall.sel(period=long) / fall.sel(period=short))

    bound = push(slowest, long, config.start, config.sigma, config.agents) / push(
        slowest, short, config.start, config.sigma, config.agents
    )
    end = lambda runs, rule: float(last(trace(runs.data["fallen"].sel(rule=rule))))
    return [
        # fails of another noise, and of no coupling
        Statement(
            "slow",
            "agents drift along the valley as du/dt = -u E w^2 has it, with the noise across it since the last "
            "exchange, at every period and learning rate (log of start over u at the end: largest relative difference)",
            off,
            at_most(0.1, smoke=0.1),
        ),
        # fails of agents that exchange always, and of no coupling
        Statement(
            "longer-flatter",
            f"the longer the period, the flatter: of {long} iterations the trace of the Hessian falls {bound:.2g} "
            f"times as fast at the start as of parallel SGD, by theory, of at most p = {config.agents} (in the "
            f"first {1 / config.records:.0%} of the time)",
            faster,
            at_least(0.6 * config.agents, smoke=2.0),
        ),
        # fails of another noise
        Statement(
            "slow-falling",
            "it does so where the learning rate falls, with one period and with QSR's (log of start over u at the end: "
            "largest relative difference)",
            off_fallen,
            at_most(0.1, smoke=0.1),
        ),
        # fails of agents that exchange always
        Statement(
            "qsr",
            "QSR's periods end flatter than its first one does for all of the time (trace of the Hessian above 1 at "
            "the end: of the constant period over QSR's)",
            lambda runs: (end(runs, "constant") - 1) / (end(runs, "QSR") - 1),
            at_least(1.2, smoke=1.1),
        ),
    ]
