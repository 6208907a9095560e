"""Maps of moments from the Jacobian of a step: equal to what is derived by hand, and to what simulations do."""

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.analysis import linearize
from sdesim.asynchrony import (
    ADMM,
    EASGD,
    Asynchronous,
    AsyncSGD,
    Downpour,
    Exponential,
    Gossip,
    MomentumDownpour,
    Rennala,
)
from sdesim.dynamics import Nesterov
from sdesim.theory import staleness

H, ETA, SIGMA = 0.8, 0.1, 1.3


def model_of(rule=None, **more):
    return sdesim.Dynamics(objectives.Quadratic(H), rule or coupling.Uncoupled(), noise.Gaussian(SIGMA), ETA, **more)


def has_spectrum(moments, hand):
    """Every eigenvalue by hand is one; the others are of what only waits for its worker, at most 1 - 1/p."""
    found, due = np.linalg.eigvals(moments), np.linalg.eigvals(hand)
    assert max(np.abs(found - value).min() for value in due) < 1e-9


@pytest.mark.parametrize("p", [2, 3, 8, 1000])
def test_sgd_is_that_of_theory(p):
    found = linearize(model_of(), Asynchronous(AsyncSGD()), agents=p)
    assert (found.own, found.shared, found.count) == (1, 1, 1)
    a = ETA * H
    moments, added = found.second()
    hand = staleness.sgd_moments(p, a)
    has_spectrum(moments, hand)
    assert found.mean_rate() == pytest.approx(staleness.mean_rate(p, a), abs=1e-9)
    np.testing.assert_allclose(added, (ETA * SIGMA) ** 2 * np.array([1, 1 / p, 1 / p, 0]), atol=1e-15)
    if p < staleness.mean_square_limit(a):
        c, cross, spread, own = staleness.sgd_stationary(p, a, (ETA * SIGMA) ** 2)
        there = found.stationary()
        assert there["shared"] == pytest.approx(c) and there["cross"] == pytest.approx(cross)
        assert there["own"] == pytest.approx(own)
        assert own / p + (1 - 1 / p) * there["pair"] == pytest.approx(spread)
    else:
        with pytest.raises(ValueError, match="stationary"):
            found.stationary()


@pytest.mark.parametrize("p", [2, 8, 40])
def test_easgd_is_that_of_theory(p):
    found = linearize(model_of(coupling.Elastic(1.5)), Asynchronous(EASGD()), agents=p)
    hand = staleness.easgd_moments(p, ETA * H, ETA * 1.5)
    has_spectrum(found.second()[0], hand)
    c = staleness.easgd_stationary(p, ETA * H, ETA * 1.5, (ETA * SIGMA) ** 2)[0]
    assert found.stationary()["shared"] == pytest.approx(c)


def test_a_rate_of_the_center_is_shared():
    """`center_rate` moves by the share of those who take part, which a map of few workers would not know."""
    symmetric, own = coupling.Elastic(1.5), coupling.Elastic(1.5, center_rate=50 * 1.5)
    maps = [linearize(model_of(rule), Asynchronous(EASGD()), agents=50).matrix for rule in (symmetric, own)]
    np.testing.assert_allclose(*maps, atol=1e-12)


CASES = {
    "sgd": (AsyncSGD(), None, {}),
    "downpour": (Downpour(), None, {}),
    "momentum-downpour": (MomentumDownpour(0.5), None, {}),
    "easgd": (EASGD(), coupling.Elastic(1.5), {}),
    "eamsgd": (EASGD(), coupling.Elastic(1.5), {"momentum": Nesterov(0.6)}),
    "gossip": (Gossip(), coupling.Quorum(4.0), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_simulations_have_the_stationary_moments(name, z_scores):
    protocol, rule, more = CASES[name]
    model, p = model_of(rule, **more), 5
    found = linearize(model, Asynchronous(protocol), agents=p)
    run = sdesim.simulate(
        *(model,), stepper=Asynchronous(protocol, compute=Exponential()), agents=p, sims=3000, steps=500, init=0.0
    )
    there, x = found.stationary(), np.asarray(run.agents)[..., 0]
    scores = [z_scores((x**2).mean(1), there["own"][0, 0])]
    pairs = (x.sum(1) ** 2 - (x**2).sum(1)) / (p * (p - 1))
    scores.append(z_scores(pairs, there["pair"][0, 0]))
    if found.shared:
        scores.append(z_scores(np.asarray(run.center)[:, 0] ** 2, there["shared"][0, 0]))
    assert np.abs(scores).max() < 4, scores


@pytest.mark.parametrize("protocol, words", [(Rennala(3), "integers"), (Downpour(2), "exchange")])
def test_what_is_no_fixed_map_is_refused(protocol, words):
    with pytest.raises(ValueError, match=words):
        linearize(model_of(), Asynchronous(protocol), agents=4)


def test_what_is_conserved_is_not_stationary():
    """ADMM's center is the mean of x - lambda, whatever that is at the start."""
    with pytest.raises(ValueError, match="stationary"):
        linearize(model_of(), Asynchronous(ADMM(2.0)), agents=3).stationary()


def test_the_sign_of_the_coupling_is_felt():
    """With the coupling flipped, workers run away from the center."""
    assert linearize(model_of(coupling.Elastic(-6.0)), Asynchronous(EASGD()), agents=4).radius() > 1
