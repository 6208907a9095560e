"""One agent on a quadratic with momentum or a filter of itself: matrices, laws and the energy of the filter."""

import numpy as np
import pytest

import sdesim
from sdesim.dynamics import HeavyBall, Nesterov
from sdesim.theory import bounds, transition

ETA, C, H, K, R, DELTA = 0.05, 0.7, 1.3, 3.0, 2.0, 0.9
FILTER = sdesim.coupling.Filtered(K, sdesim.coupling.LinearFilter(R))
METHODS = {
    "filter": (transition.filter_transition(ETA, C, H, K, R), FILTER, None),
    "sgd": (transition.sgd_transition(ETA, C, H), sdesim.Uncoupled(), None),
    "heavy ball": (transition.momentum_transition(ETA, C, H, DELTA), sdesim.Uncoupled(), HeavyBall(DELTA)),
    "nesterov": (
        transition.momentum_transition(ETA, C, H, DELTA, nesterov=True), sdesim.Uncoupled(), Nesterov(DELTA),
    ),
}  # fmt: skip


def iterated(method, noise, **sizes):
    _, coupling, momentum = METHODS[method]
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(H), coupling, noise, ETA, momentum)
    return np.asarray(sdesim.iterate(model, **sizes).agents)[:, 0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_transitions_are_the_iterations(method):
    """Noiseless steps of each model on the quadratic are powers of its matrix; its eigenvalues say how they shrink."""
    law = METHODS[method][0]
    state = [1.0, 1.0] if METHODS[method][2] is None else [1.0, 0.0]
    for steps in (1, 5):
        found = iterated(method, sdesim.noise.Silent(), steps=steps, init=1.0)
        np.testing.assert_allclose(found, (np.linalg.matrix_power(law.matrix, steps) @ state)[0], rtol=1e-12)
    trace, determinant = np.trace(law.matrix), np.linalg.det(law.matrix)
    root = np.sqrt(complex(trace**2 - 4 * determinant))  # of the characteristic polynomial
    assert np.exp(-law.decay()) == pytest.approx(max(abs(trace + root), abs(trace - root)) / 2, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_stationary_variance_is_that_of_a_simulation(method, z_scores):
    x = iterated(method, sdesim.noise.Gaussian(C**0.5), sims=20_000, steps=400, init=0.0)
    variance = METHODS[method][0].covariance()[0, 0]
    assert abs(z_scores(x**2, variance)) < 4.5
    assert abs(z_scores(x**2, 1.1 * variance)) > 4.5


def test_variances_of_the_linear_filter_have_a_closed_form():
    eta, scale = 1e-5, 1e-5 * C / (2 * H)
    for k in (0.5, 3.0, 16.0):
        v = transition.filter_transition(eta, C, H, k, R).covariance()
        assert v[0, 0] == pytest.approx(scale * (H + R) / (H + R + k), rel=1e-3)
        assert v[1, 1] == pytest.approx(scale * R / (H + R + k), rel=1e-3)
        rate = transition.effective_rate(eta, k, R)
        slow = [transition.sgd_transition(rate, C, H)]  # slow motion is the same at the same effective rate
        slow += [transition.momentum_transition(rate * 0.1, C, H, DELTA, nesterov=n) for n in (False, True)]
        for one in slow:
            assert one.covariance()[0, 0] == pytest.approx(scale * R / (R + k), rel=1e-3)


def test_energy_bound_is_theorem_5_2_for_one_agent():
    distance = bounds.easgd_distance(1, 1, 1e-6, C, 1.0, 3.0, H)
    assert transition.filter_energy(1e-6, C, 3.0, 3.0, H, 2 * H) == pytest.approx(float(distance) ** 2, rel=1e-4)


@pytest.mark.parametrize("k", [0.5, 8.0])
def test_energy_bound_bounds_quadratics_of_all_curvatures(k):
    bound = transition.filter_energy(ETA, C, k, R, H, 3 * H)
    for h in np.linspace(H, 3 * H, 5):
        v = transition.filter_transition(ETA, C, h, k, R).covariance()
        assert v[0, 0] + k / R * v[1, 1] <= bound * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transition.momentum_transition(ETA, C, H, 1.0), "delta=1"),
        (lambda: transition.filter_transition(ETA, C, H, K, 0.0), "rate=0"),
        (lambda: transition.sgd_transition(-1.0, C, H), "eta=-1"),
        (lambda: transition.sgd_transition(ETA, C, 50.0).covariance(), "unstable"),
        (lambda: transition.filter_energy(ETA, C, 60.0, R, H, H), "eta=0.05: the iteration is unstable"),
        (lambda: transition.filter_energy(ETA, C, K, R, 2.0, 1.0), "smoothness=1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
