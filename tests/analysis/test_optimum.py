"""The boundary of stability and the best number, where both are known."""

import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise, objectives
from sdesim.analysis import optimize, stability_map
from sdesim.analysis.stability import boundary
from sdesim.asynchrony import EASGD, Asynchronous
from sdesim.dynamics import Nesterov
from sdesim.steppers import Iteration
from sdesim.theory import multiplicative, quadratic, stability


def model_of(rule=None, eta=0.5, **more):
    objective = objectives.Quadratic(1.0)
    return sdesim.Dynamics(objective, rule or coupling.Uncoupled(), noise.Gaussian(1.0), eta, **more)


def test_the_boundary_of_momentum():
    """It is stable for eta < 2 (1 + delta_h)."""
    found = stability_map(
        model_of(momentum=Nesterov(0.5)),
        x={"eta": np.linspace(0.2, 2.6, 7)},
        y={"momentum.delta": [0.0, 0.3, 0.6, 0.9]},
        stepper=Iteration(),
    )
    line = found["boundary"]
    assert line.dims == ("piece", "end", "number") and line["number"].values.tolist() == ["eta", "momentum_delta"]
    assert found["radius"].dims == ("eta", "momentum_delta")
    eta, delta = line.values.reshape(-1, 2).T
    np.testing.assert_allclose(eta, 2 * (1 + delta * (1 - eta)), rtol=1e-10)
    assert delta.min() == 0 and delta.max() == 0.9  # from edge to edge
    joined, ends = np.unique(np.round(line.values.reshape(-1, 2), 9), axis=0, return_counts=True)
    assert len(joined) == len(line) + 1 and sorted(ends)[:2] == [1, 1] and set(ends[2:]) <= {1, 2}  # one line


def test_the_boundary_of_easgd_over_a_gain_and_an_absent_number():
    found = stability_map(
        model_of(coupling.Elastic(1.0)),
        x={"coupling.k": [0.25, 1.0, 2.0, 3.0]},
        y={"coupling.center_rate": [0.5, 1.5, 2.5, 3.5, 4.5]},
        stepper=Iteration(),
        agents=3,
    )
    k, rate = found["boundary"].values.reshape(-1, 2).T
    spectrum = stability.easgd_spectrum(0.5, 0.5 * k, 0.5 * rate)
    np.testing.assert_allclose(np.abs(spectrum).max(axis=-1), 1, atol=1e-10)


def test_lines_of_any_shape():
    """A circle, of which the ends are on it; and a saddle, of which the middle says which corners are joined."""
    axis = np.linspace(-1.5, 1.5, 8)
    circle = lambda x, y: x * x + y * y - 1
    on = boundary(axis, axis, circle(axis[:, None], axis[None]), circle)
    np.testing.assert_allclose((on**2).sum(-1), 1, rtol=1e-10)
    assert np.unique(np.round(on.reshape(-1, 2), 9), axis=0, return_counts=True)[1].tolist() == [2] * len(on)
    ends = np.array([-1.0, 1.0])
    for shift in (-0.25, 0.25):
        saddle = lambda x, y: x * y - shift  # noqa: B023
        pieces = boundary(ends, ends, saddle(ends[:, None], ends[None]), saddle)
        assert len(pieces) == 2 and (np.prod(pieces.mean(1), axis=-1) > 0).all() == (shift > 0)


@pytest.mark.parametrize("eta", [0.0625, 0.25, 0.75])
def test_the_best_momentum(eta):
    found = optimize(model_of(eta=eta, momentum=Nesterov(0.5)), "momentum.delta", (0.0, 1.0), stepper=Iteration())
    assert found.best * (1 - eta) == pytest.approx(stability.best_momentum(eta), abs=1e-6)
    assert found.value == pytest.approx(stability.best_momentum(eta), abs=1e-6) and not found.at_edge


@pytest.mark.parametrize("eta, beta", [(1.5, 0.75), (0.5, 1.75), (0.5, 0.25)])
def test_the_best_moving_rate(eta, beta):
    model = model_of(coupling.Elastic.from_moving_rates(0.25, beta, eta), eta)
    found = optimize(model, "coupling.k", (-1.0, 1.0), stepper=Iteration(), agents=4)
    rate = float(model.coupling.center_rate) * eta
    alpha, radius = stability.best_alpha(eta, rate)
    assert found.best * eta == pytest.approx(alpha, abs=1e-6)
    assert found.value == pytest.approx(radius**2, abs=1e-6)


def test_the_best_learning_rate_under_multiplicative_noise():
    for shape in (0.5, 2.0):
        objective, law = noise.zhang_multiplicative(shape, shape)
        model = sdesim.Dynamics(objective, noise=law, eta=0.1, batch=2.0)
        found = optimize(model, "eta", (0.01, 3.0), stepper=Iteration())
        best = multiplicative.best_eta(*multiplicative.gamma_law(shape, shape), 2)
        assert found.best == pytest.approx(best, abs=1e-6)
    # of many workers with beta = 0.9 the thesis has these digits
    objective, law = noise.zhang_multiplicative(0.5, 0.5)
    eta = 0.3814
    model = sdesim.Dynamics(objective, coupling.Elastic.from_moving_rates(0.9 / 6, 0.9, eta), law, eta)
    assert float(stability_map(model, {"agents": [6]}, stepper=Iteration())["radius"][0]) == pytest.approx(
        0.5742, abs=6e-5
    )


def test_the_least_variance_of_the_center():
    """Over the moving rate, against the closed form on a fine grid."""
    p, eta = 4, 0.25
    model = model_of(coupling.Elastic(0.5), eta)
    found = optimize(model, "coupling.center_rate", (1.0, 6.0), goal="shared", stepper=Iteration(), agents=p)
    rates = np.linspace(1.0, 6.0, 500_001)
    center = quadratic.easgd_stationary(p, eta, 0.125, eta * rates, eta**2)[2]
    assert found.value == pytest.approx(center.min(), rel=1e-9)
    assert found.best == pytest.approx(rates[np.argmin(center)], abs=2e-5)
    own = optimize(model_of(), "eta", (0.1, 1.0), goal="own", stepper=Iteration())
    assert own.best == pytest.approx(0.1, abs=1e-9) and own.at_edge  # it grows with eta
    assert own.table.dims == ("eta",) and own.value == pytest.approx(quadratic.sgd_variance(0.1, 0.01))


def test_workers_in_virtual_time_have_a_best_rate_too():
    stepper = Asynchronous(EASGD())
    found = optimize(model_of(coupling.Elastic(0.5), 0.25), "eta", (0.1, 2.0), points=12, stepper=stepper, agents=3)
    near = stability_map(
        model_of(coupling.Elastic(0.5)), {"eta": found.best + np.array([-0.01, 0.01])}, stepper=stepper, agents=3
    )
    assert (near["radius"].values > found.value).all()


@pytest.mark.parametrize(
    "more, words",
    [
        ({"name": "coupling.m"}, "^name='coupling.m'"),
        ({"bracket": (1.0, 0.5)}, "^bracket="),
        ({"bracket": 1.0}, "^bracket="),
        ({"bracket": (2.5, 3.0), "goal": "own"}, "must hold a stable eta"),
        ({"goal": "spread"}, "^goal="),
        ({"goal": "shared"}, "share nothing"),
        ({"points": 2}, "^points="),
        ({"name": "stepper.period"}, "^name="),
    ],
)
def test_silly_searches_are_refused(more, words):
    with pytest.raises(ValueError, match=words):
        optimize(model_of(), **{"name": "eta", "bracket": (0.1, 0.5), "points": 3, "stepper": Iteration(), **more})


@pytest.mark.parametrize(
    "more, words",
    [
        ({"x": {"eta": [0.1, 0.2]}}, "^y=None"),
        ({"x": {"eta": [0.1, 0.2]}, "y": {"eta": [0.1, 0.2]}}, "^y=.*another"),
        ({"x": {"eta": [0.2, 0.1]}, "y": {"batch": [1, 2]}}, "ascending"),
        ({"x": {"eta": [0.2]}, "y": {"batch": [1, 2]}}, "at least two"),
        ({"x": {"eta": [0.1, 0.2]}, "y": {"agents": [1, 2]}}, "^y='agents'"),
        ({"x": {"eta": [0.1, 0.2]}, "y": {"batch": [1, 2]}, "grid": {"eta": [0.1]}}, "^grid: must be left out"),
        ({}, "^grid="),
    ],
)
def test_what_is_no_plane_is_refused(more, words):
    with pytest.raises((ValueError, TypeError), match=words):
        stability_map(model_of(), stepper=Iteration(), **more)
