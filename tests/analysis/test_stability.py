"""Maps over a grid: what `linearize` says at every point, and where the limits are that are known."""

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.analysis import compare, limit, linearize, optimize, rest, stability_map
from sdesim.asynchrony import EASGD, Asynchronous, AsyncSGD, KAsyncSGD
from sdesim.steppers import Iteration
from sdesim.theory import staleness


def model_of(rule=None, eta=0.1):
    return sdesim.Dynamics(objectives.Quadratic(1.0), rule or coupling.Uncoupled(), noise.Gaussian(1.0), eta)


def test_every_point_is_that_of_linearize():
    model, stepper = model_of(coupling.Elastic(2.0)), Asynchronous(EASGD())
    grid = {"coupling.k": [1.0, 2.0], "agents": [1, 3], "stepper.protocol.period": [1, 2]}
    found = stability_map(model, grid, stepper=stepper)
    assert found["radius"].dims == ("coupling_k", "n_agents", "stepper_protocol_period")
    assert found["own"].dims[-1] == "dim" and found["shared"].dims[-1] == "coordinate"
    for k, p, period in [(1.0, 3, 2), (2.0, 1, 1)]:
        here = found.sel(coupling_k=k, n_agents=p, stepper_protocol_period=period)
        alone = linearize(model_of(coupling.Elastic(k)), Asynchronous(EASGD(period)), agents=p)
        there = alone.stationary()
        assert float(here["radius"]) == alone.radius() and float(here["mean_rate"]) == alone.mean_rate()
        assert float(here["shared"][0]) == there["shared"][0, 0] and float(here["own"][0]) == there["own"][0, 0]
        assert np.isnan(here["pair"]).all() == (p == 1)
        if p > 1:
            assert float(here["quorum"][0]) == pytest.approx(there["own"][0, 0] / p + (1 - 1 / p) * there["pair"][0, 0])


def test_limits_that_are_known():
    """AsyncSGD is stable for p a^2 < 2 + a; EASGD in step up to eta h + (1 + p) alpha and beyond, of its center."""
    found = stability_map(
        model_of(), {"eta": [0.05, 0.35, 0.6], "agents": [2, 10, 19, 20]}, stepper=Asynchronous(AsyncSGD())
    )
    etas, p = found["eta"].values, found["n_agents"].values
    limit = np.array([[n < staleness.mean_square_limit(a) for n in p] for a in etas])
    assert (found["stable"].values == limit).all() and (~limit).any() and limit.any()
    assert (np.isfinite(found["own"].values[..., 0]) == limit).all()
    alpha = np.array([0.1, 0.35, 0.45, 0.6])
    together = stability_map(
        model_of(coupling.Elastic(1.0)), {"coupling.k": alpha / 0.1}, stepper=Iteration(), agents=4
    )
    a, beta = 0.1, 4 * alpha  # of z^2 - tr z + det: stable iff |tr| < 1 + det and det < 1
    trace, det = 2 - a - alpha - beta, (1 - a - alpha) * (1 - beta) - alpha * beta
    hand = (abs(trace) < 1 + det) & (det < 1) & (abs(1 - a - alpha) < 1)
    assert (together["stable"].values == hand).all() and hand.any() and (~hand).any()


@pytest.mark.parametrize(
    "grid, more, words",
    [
        ({"coupling.m": [1.0]}, {}, "did you mean|coupling.m"),
        ({"steps": [1, 2]}, {}, "steps"),
        ({"agents": [2]}, {"agents": 3}, "agents=3"),
        ({"eta": []}, {}, "non-empty"),
        ({"agents": [2, 3]}, {"stepper": Asynchronous(KAsyncSGD(3))}, "agents=2: must be at least 3"),
    ],
)
def test_what_does_not_fit_is_refused(grid, more, words):
    with pytest.raises(ValueError, match=words):
        stability_map(model_of(), grid, **more)


def tilted(x):
    return jnp.sum(x**4 / 4 - x**2 / 2 - 0.1 * x)


def test_only_at_rest():
    """A tilted well is refused where it slopes, with its minimum; a bowl is the same at any point."""
    model = sdesim.Dynamics(tilted, coupling.Quorum(1.0), noise.Gaussian(0.1), eta=0.1)
    found = rest(model)
    assert found**3 - found == pytest.approx(0.1, abs=1e-14) and found > 1
    for ask in (
        lambda: linearize(model, agents=4),
        lambda: stability_map(model, {"coupling.k": [1.0]}, agents=4),
        lambda: optimize(model, "eta", (0.1, 0.5)),
        lambda: limit(model, "eta", (0.1, 2.0)),
        lambda: compare({"mine": model}),
    ):
        with pytest.raises(ValueError, match=r"at=0.0: must be a point of rest.*gradient there is -0.1;.*at=1.0467"):
            ask()
    with pytest.raises(ValueError, match=r"^near=0.0: .* come to no minimum"):
        rest(sdesim.Dynamics(lambda x: jnp.sum(x**4 / 4 - x**2 / 2)))  # the top of the hill between the wells
    flat = sdesim.Dynamics(lambda x: jnp.sum(jnp.sqrt(1 + x**2)))  # whose curvature falls off: Newton's steps overshoot
    assert rest(flat, [20.0, 3.0]) == pytest.approx([0.0, 0.0], abs=1e-9)
    curved = 3 * found[0] ** 2 - 1  # eta (H + k) = 2 where agents no longer meet
    most = limit(model, "coupling.k", (0.0, 40.0), stepper=Iteration(), agents=4, at=found)
    assert most == pytest.approx(2 / 0.1 - curved, rel=1e-6)
    shifted = sdesim.Dynamics(objectives.Quadratic(1.0, 3.0), coupling.Quorum(1.0), noise.Gaussian(1.0), eta=0.1)
    assert linearize(shifted, agents=2).radius() == linearize(shifted, agents=2, at=3.0).radius()  # on a bowl, anywhere


@pytest.mark.parametrize(
    "bracket, words", [((30.0, 40.0), "must begin where steps are stable"), ((0.0, 1.0), "must end where")]
)
def test_a_bracket_without_a_limit_is_refused(bracket, words):
    with pytest.raises(ValueError, match=words):
        limit(model_of(coupling.Quorum(1.0)), "coupling.k", bracket, points=2, stepper=Iteration(), agents=2)
