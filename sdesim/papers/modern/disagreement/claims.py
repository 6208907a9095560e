"""The exact map of second moments, the slow motion in the valley, and what is said of runs. At each what breaks it."""

import functools

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sdesim import statistics
from sdesim.claims import Statement, at_least, at_most
from sdesim.papers.frame import measured
from sdesim.papers.frame.measured import Runs
from sdesim.papers.modern.disagreement.config import POWERS, Config


def _modes(config: Config) -> NDArray:
    """1 - w for all eigenvalues w of W, that of consensus, 0, first."""
    return np.sort(1 - np.linalg.eigvalsh(config.matrix()))


@functools.cache
def moments(config: Config, rule: str, curvature: float) -> NDArray:
    """The second moment of each mode of the graph along a direction of a curvature, by its exact map.

    A mode of eigenvalue w has the factor 1 - weight (1 - w) - eta h an iteration, which adds eta^2 sigma^2.

    Args:
        config: constants of the experiment.
        rule: a name of `POWERS`.
        curvature: h.

    Returns:
        At each record, the start among them, (records, agents), of consensus first.
    """
    away, rates, weights = _modes(config), config.rates(), config.weights(rule)
    factors = (1 - weights[:, None] * away - rates[:, None] * curvature) ** 2
    now, found = np.zeros(config.agents), [np.zeros(config.agents)]
    for n, (factor, eta) in enumerate(zip(factors, rates, strict=True), start=1):
        now = factor * now + (eta * config.sigma) ** 2
        if n % config.every == 0:
            found.append(now)
    return np.array(found)


def exact(config: Config, disagreement: xr.DataArray) -> xr.DataArray:
    """The mean disagreement, by the map.

    Args:
        config: constants of the experiment.
        disagreement: of the runs.

    Returns:
        (curvature, rule, step), in length^2.
    """
    each = [[moments(config, rule, h)[:, 1:].sum(1) for rule in POWERS] for h in config.curvatures]
    coordinates = {name: disagreement[name].values for name in ("curvature", "rule", "step")}
    return xr.DataArray(np.array(each) / config.agents, coordinates, ("curvature", "rule", "step"))


@functools.cache
def slow(config: Config, rule: str) -> NDArray:
    """u of agents in the valley by their mean push: u <- u - eta u E w^2, with the moments of w at the curvature there.

    Args:
        config: constants of the experiment.
        rule: a name of `POWERS`.

    Returns:
        At each record, (records,).
    """
    away, rates, weights = _modes(config), config.rates(), config.weights(rule)
    u, now, found = config.start, np.zeros(config.agents), [config.start]
    for n, (eta, weight) in enumerate(zip(rates, weights, strict=True), start=1):
        before = np.mean(now)
        now = (1 - weight * away - eta * (1 + u**2)) ** 2 * now + (eta * config.sigma) ** 2
        u = u - eta * u * before
        if n % config.every == 0:
            found.append(u)
    return np.array(found)


def statements(config: Config) -> list[Statement]:
    flat, steep = config.curvatures[0], config.curvatures[-1]
    first, last = config.ends()[0], config.ends()[-1]
    ends = lambda d: d["disagreement"].sel(step=config.ends())
    theory = lambda d: exact(config, d["disagreement"]).sel(step=config.ends())
    mean = lambda d, rule, h, step: float(
        statistics.grid_mean(d["disagreement"].sel(rule=rule, curvature=h, step=step))
    )
    kept = lambda rule, h: lambda runs: mean(runs.data, rule, h, last) / mean(runs.data, rule, h, first)
    less = config.falls[-1] / config.falls[0]
    u = lambda runs, rule: statistics.grid_mean(runs.data["u"].sel(rule=rule).isel(step=-1))

    def decades(runs: Runs) -> float:
        """By how much more, as an exponent, it falls with the curvature in the end than at a constant weight."""
        of = lambda rule: [mean(runs.data, rule, h, last) for h in config.curvatures]
        slope = lambda rule: statistics.slope(np.array(config.curvatures[-2:]), np.array(of(rule)[-2:]))
        return slope("constant") - slope("as its square")

    def off(runs: Runs) -> float:
        """The largest relative difference of the drift log(start / u) from that of the slow motion."""
        found = [
            np.log(config.start / float(u(runs, rule))) / np.log(config.start / slow(config, rule)[-1])
            for rule in POWERS
        ]
        return statistics.greatest([abs(f - 1) for f in found])

    return [
        # fails of another noise, another graph and other weights
        measured.equal(
            "spectrum",
            "disagreement along each direction of the Hessian is that of the exact map of the graph's modes, by each "
            "rule, at the end of each learning rate",
            ends,
            theory,
        ),
        # fails of weights that stay, and of no coupling
        Statement(
            "kept",
            f"where nothing curves, weights that fall as the square of the learning rate keep the disagreement (at the "
            f"end over that of the first rate, {1 / less:g} times as great)",
            kept("as its square", flat),
            at_least(0.7, smoke=0.7),
        ),
        # fails of weights that always fall
        Statement(
            "lost",
            "at a constant weight it falls as the square of the rate (the same)",
            kept("constant", flat),
            at_most(2 * less**2, smoke=2 * less**2),
        ),
        # fails where agents push each other away
        Statement(
            "curved",
            "where the Hessian is steepest it falls with the rate whatever the weights do (the same, of weights that "
            "fall as its square)",
            kept("as its square", steep),
            at_most(1.5 * less, smoke=1.5 * less),
        ),
        # fails of weights that stay
        Statement(
            "inverse",
            "so that it comes to lie along flat directions: between the two greatest curvatures it nearly falls as "
            "1 / h, and at a constant weight it hardly knows the curvature (difference of the exponents)",
            decades,
            at_least(0.5, smoke=0.12),
        ),
        # fails of another noise
        Statement(
            "slow",
            "in a valley of minima agents drift as their disagreement across it pushes them, by each rule (log of "
            "start over u at the end: largest relative difference)",
            off,
            at_most(0.1, smoke=0.1),
        ),
        # fails of weights that are alike
        Statement(
            "flatter",
            "so the rule that keeps disagreement ends flatter than the constant weight (trace of the Hessian above 1 "
            "at the end: of the constant weight over that rule's)",
            lambda runs: float((u(runs, "constant") / u(runs, "as its square")) ** 2),
            at_least(1.2, smoke=1.05),
        ),
    ]
