"""The exact laws beside the figures of modern methods, in their limits; and that wrong models break their claims."""

import dataclasses

import numpy as np
import pytest
import wrong_models

from sdesim import random
from sdesim.asynchrony.compute import job_times
from sdesim.papers.modern import disagreement, local, race, validity
from sdesim.papers.modern import outer as outer_figure
from sdesim.papers.modern.disagreement.claims import moments
from sdesim.papers.modern.local.claims import push, slow, slow_fallen
from sdesim.papers.modern.outer.claims import exact_path, limit
from sdesim.papers.modern.race.run import law, rounds, way
from sdesim.theory import outer, refinement


def test_push_is_that_of_a_batch_of_all_and_of_one():
    """Of parallel SGD, whose noise is averaged over agents; and of periods so long that agents are alone."""
    eta, u, sigma, p = 0.05, 1.5, 2.0, 8
    alone = refinement.second_moment(eta, 1, 1 + u**2, sigma)
    assert push(eta, 1, u, sigma, p) == pytest.approx(alone / p, rel=1e-12)
    assert push(eta, 20_000, u, sigma, p) == pytest.approx(alone, rel=1e-3)
    assert push(eta, 7, u, sigma, 1) == pytest.approx(alone, rel=1e-12)


def test_push_is_the_mean_over_a_period():
    """By the recursion of an agent's and of the mean's second moment, exchanges among them."""
    eta, period, u, sigma, p = 0.05, 5, 1.5, 2.0, 4
    r, kick = 1 - eta * (1 + u**2), (eta * sigma) ** 2
    own = both = 0.0
    seen = []
    for n in range(600):
        if n % period == 0:
            own = both
        seen.append(own)
        own, both = r**2 * own + kick, r**2 * both + kick / p
    assert push(eta, period, u, sigma, p) == pytest.approx(np.mean(seen[-period:]), rel=1e-9)


def test_the_slow_equation_of_a_schedule_of_one_rate_is_that_of_the_rate():
    config = dataclasses.replace(local.PRESETS["smoke"], falls=(0.05,), constant=16)
    np.testing.assert_allclose(slow_fallen(config, "constant"), slow(config, 0.05, 16), rtol=1e-12)
    assert slow(config, 0.05, 64)[-1] < slow(config, 0.05, 16)[-1] < slow(config, 0.05, 1)[-1] < config.start


def test_qsr_lengthens_its_periods_with_the_square():
    config = local.PRESETS["default"]
    rates, periods = config.rates(), config.qsr()
    assert [int(periods[rates == eta][0]) for eta in config.falls] == [4, 16, 64, 256]


def test_the_path_comes_to_rest_where_theory_says():
    config = dataclasses.replace(outer_figure.PRESETS["smoke"], curvatures=(1.0, 2.0), rounds=400)
    lr, momentum, sigma = 0.7, 0.5, 2.0
    rest = 0.0
    for h in config.curvatures:
        a = outer.curvature(config.eta * h, config.period)
        noise = outer.noise(config.eta * h, config.period, config.agents, (config.eta * sigma) ** 2)
        rest += outer.stationary(a, lr, momentum, noise)[0]
    assert exact_path(config, lr, momentum, sigma)[-1] == pytest.approx(rest, rel=1e-9)


def test_the_limit_is_that_of_the_steepest_coordinate():
    config = outer_figure.PRESETS["default"]
    grows = lambda lr: exact_path(config, lr, 0.9, 0.0)[-1] > exact_path(config, lr, 0.9, 0.0)[-2]
    assert grows(1.01 * limit(config, 0.9))
    assert not grows(0.7)


def test_disagreement_along_a_direction_is_that_of_the_modes_of_its_graph():
    """By the covariance of all agents, which the whole matrix of an iteration moves."""
    config = dataclasses.replace(disagreement.PRESETS["smoke"], agents=5)
    h, w, now, rule = 0.3, config.matrix(), np.zeros((5, 5)), "as its square"
    for eta, weight in zip(config.rates(), config.weights(rule), strict=True):
        step = (1 - weight - eta * h) * np.eye(5) + weight * w
        now = step @ now @ step.T + (eta * config.sigma) ** 2 * np.eye(5)
    spread = np.trace(now) - now.sum() / 5
    assert moments(config, rule, h)[-1, 1:].sum() == pytest.approx(spread, rel=1e-12)


@pytest.mark.parametrize("regime", ["stragglers", "slow messages"])
def test_who_waits_after_each_period_begins_when_the_last_has_its_answer(regime):
    """One simulation, a worker and a job at a time, by the times that all protocols share."""
    config = dataclasses.replace(race.PRESETS["smoke"], sims=2, workers=3, period=2, quorum=2, time=8.0)
    table, h, p = rounds(config, regime), config.period, config.workers
    times = job_times(law(config, regime), random.seed_words(0), np.arange(2), np.zeros((2, p), int), 8)
    for sim in range(2):
        begin, seen = 0.0, table.time[sim]
        for n in range(4):
            ends = begin + np.cumsum(times[sim, :, n * h : (n + 1) * h], axis=1)
            ends[:, -1] += way(config, regime)
            here = slice(n * p * h, (n + 1) * p * h)
            np.testing.assert_allclose(seen[here], np.sort(ends.ravel()), rtol=1e-12)
            assert (np.bincount(table.worker[sim, here]) == h).all()
            begin = ends.max() + way(config, regime)


WRONG = {
    (validity, "one gradient a step"): {"svag", "growing"},
    (validity, "rare gradients Gaussian"): {"svag-fourth"},
    (outer_figure, "outer momentum off"): {"path", "momentum-pays"},
    (outer_figure, "outer rate 0.7"): {"path", "best-above-1"},
    (disagreement, "weights stay"): {"spectrum", "kept", "flatter"},
    (race, "messages free"): {"messages-rare"},
    (local, "period 1"): {"slow", "longer-flatter", "qsr"},
}
FAST = (outer_figure, "outer rate 0.7")


@pytest.mark.parametrize("case", [c if c == FAST else pytest.param(c, marks=pytest.mark.slow) for c in WRONG])
def test_wrong_models_break_the_claims_that_speak_of_them(case, float32):
    assert wrong_models.broken(*case) >= WRONG[case]
