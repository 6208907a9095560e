"""An outer optimizer on a quadratic: the exact iteration beside the map of the code that simulates, and simulations."""

import numpy as np
import pytest

import sdesim
from sdesim import analysis, coupling, noise, objectives, observe
from sdesim.steppers import Iteration
from sdesim.theory import outer, quadratic, stability

H, ETA, SIGMA, P = 0.75, 0.125, 1.25, 4  # which float32 rounds not


def model_of(lr, momentum):
    rule = coupling.Outer(1.0, lr, momentum)
    return sdesim.Dynamics(objectives.Quadratic(H), rule, noise.Gaussian(SIGMA), ETA)


def stepper_of(period):
    return Iteration(period, pace=1.0, order="gauss-seidel")


def exact(period):
    return outer.curvature(ETA * H, period), outer.noise(ETA * H, period, P, (ETA * SIGMA) ** 2)


@pytest.mark.parametrize(("period", "lr", "momentum"), [(1, 0.7, 0.9), (4, 0.7, 0.5), (4, 1.3, 0.25), (3, 1.0, 0.0)])
def test_the_map_of_the_code_is_it(period, lr, momentum):
    """After every step of a round the center is what it was after the last outer step; agents' differences are gone."""
    found, (a, s2) = analysis.linearize(model_of(lr, momentum), stepper_of(period), agents=P), exact(period)
    square, cross, own = outer.stationary(a, lr, momentum, s2)
    np.testing.assert_allclose(found.stationary()["shared"], [[square, cross], [cross, own]], rtol=1e-10)
    factor = outer.radius(a, lr, momentum)
    np.testing.assert_allclose(found.radius() ** period, max(factor, momentum) ** 2, rtol=1e-10)
    np.testing.assert_allclose(found.mean_rate(), -np.log(factor) / period, rtol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_limit_is_where_it_ceases_to_be_stable(momentum):
    a, _ = exact(4)
    limit = outer.lr_limit(a, momentum)
    assert outer.radius(a, 0.999 * limit, momentum) < 1 < outer.radius(a, 1.001 * limit, momentum)
    for share, stable in ((0.999, True), (1.001, False)):
        assert (analysis.linearize(model_of(share * limit, momentum), stepper_of(4), agents=2).radius() < 1) == stable
    assert stability.momentum_is_stable(a * limit * 0.999, momentum * (1 - a * limit * 0.999))
    with pytest.raises(ValueError, match=r"^lr=.*: must be between 0 and"):
        outer.stationary(a, limit, momentum)


def test_the_best_momentum_is_the_fastest():
    a, _ = exact(6)
    for lr in (0.2, 0.7, 1.0):
        best, grid = outer.best_momentum(a, lr), np.linspace(0, 0.99, 100)
        fastest = outer.radius(a, lr, best)
        assert fastest == pytest.approx(1 - np.sqrt(lr * a), abs=1e-7)  # a double root: half the digits are lost
        assert fastest <= outer.radius(a, lr, grid).min() + 1e-7 and outer.radius(a, lr, best + 0.05) > fastest + 0.01
    with pytest.raises(ValueError, match=r"^lr=3: must be greater than 0, and at most"):
        outer.best_momentum(a, 3.0)


def test_local_sgd_is_agents_at_their_mean():
    """lr = 1 without momentum: the variance of one agent of p times the minibatch, whatever the period."""
    for period in (1, 2, 7):
        a, s2 = exact(period)
        expected = quadratic.sgd_variance(ETA * H, (ETA * SIGMA) ** 2 / P)
        np.testing.assert_allclose(outer.stationary(a, 1.0, 0.0, s2)[0], expected, rtol=1e-12)


def test_a_step_that_turns_adds_up():
    """Where (1 - eta h)^2 is 1 every step's noise stays."""
    np.testing.assert_allclose(outer.noise([0.0, 2.0, 1e-9], 5, 2, 3.0), 7.5, rtol=1e-7)


class Squares(observe.AbstractSeries):
    """E c^2 and E v^2 of one coordinate."""

    name = "squares"
    axes = ("what",)

    def value(self, view: observe.View):
        import jax.numpy as jnp

        shared = view.state.shared
        return jnp.stack([shared["center"][0] ** 2, shared["velocity"][0] ** 2])

    def numbers(self, agents: int, dims: int):
        return 2


@pytest.mark.parametrize(("lr", "momentum"), [(0.7, 0.5), (1.3, 0.25)])
def test_simulations_have_its_moments(lr, momentum, z_scores):
    a, s2 = exact(4)
    assert outer.radius(a, lr, momentum) ** 40 < 1e-4
    run = sdesim.simulate(
        model_of(lr, momentum), stepper=stepper_of(4), agents=P, sims=4000, steps=240, seed=1,
        observe=Squares(), every=4,
    )  # fmt: skip
    seen = run.to_xarray()["squares"].values[:, -20:].mean(1)
    square, _, own = outer.stationary(a, lr, momentum, s2)
    scores = z_scores(seen, np.array([square, own]))
    assert np.abs(scores).max() < 4, scores
    assert np.abs(z_scores(seen, 1.1 * np.array([square, own]))).min() > 4  # a tenth more would be seen


def test_late_exchanges_have_a_map_too(z_scores):
    """Beside agents what they sent is a coordinate: stationary variances of the map are those of simulations."""
    stepper = Iteration(4, pace=1.0, late=3, order="gauss-seidel")
    model = model_of(1.2, 0.3)
    found, there = analysis.linearize(model, stepper, agents=P), exact(4)
    assert found.own == 2 and found.radius() < 1
    run = sdesim.simulate(model, stepper=stepper, agents=P, sims=4000, steps=200, seed=1, observe=Squares(), every=4)
    seen = run.to_xarray()["squares"].values[:, -20:].mean(1)
    expected = np.diag(found.stationary()["shared"])
    assert np.abs(z_scores(seen, expected)).max() < 4
    late = outer.stationary(there[0], 1.2, 0.3, there[1])
    assert np.abs(z_scores(seen, np.array([late[0], late[2]]))).max() > 6  # and they are not those of exchanges in time
