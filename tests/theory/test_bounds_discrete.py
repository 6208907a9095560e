"""Bounds of the Euler-Maruyama chain against exact laws of linear chains, simulation, and those of the SDE.

z-scores within 4.5: 7e-6 a look, below 10 looks.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

import sdesim
from sdesim import noise, objectives
from sdesim.theory import bounds

COMMON = dict(dims=3, eta=0.1, noise_trace=2.0, third=0.8)


def gap(p):
    """The projection to differences from the mean of p agents."""
    return np.eye(p) - np.full((p, p), 1 / p)


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_discrete_disturbance_is_attained_in_rotated_coordinates(dims, z_scores):
    """Noise along a diagonal disturbs all components of the gradient at their worst: sqrt(d) Q cannot be less.

    The sum over coordinates y = R x has the Q of one of them times the entries of R, which are 1/sqrt(d). Agents stay
    where the third derivative is greatest, and k is so large that curvatures of the loss are alike beside it.
    """
    turn = scipy.linalg.hadamard(dims) / np.sqrt(dims)
    inner, p, eta, k, sigma = objectives.LogCosh.resting_at(objectives.LogCosh.STEEPEST), 40, 0.02, 20.0, 0.5
    loss = lambda x: inner.loss(jnp.asarray(turn) @ x)
    law = noise.Diffusion(lambda x: jnp.asarray(sigma * np.outer(turn[0], np.eye(dims)[0])), "full")
    model = sdesim.Dynamics(loss, sdesim.Quorum(k), law, eta=eta)
    start = inner.STEEPEST * turn.sum(axis=0)
    x = sdesim.simulate(model, agents=p, dims=dims, sims=400, steps=20, seed=3, init=start)
    gradient = lambda y: (y + np.tanh(y) + float(inner.tilt)) @ turn
    eps = gradient(np.asarray(x.quorum) @ turn.T) - gradient(np.asarray(x.agents) @ turn.T).mean(axis=1)
    size = np.linalg.norm(eps, axis=1)
    third = 4 / (3 * np.sqrt(3) * np.sqrt(dims))
    bound = bounds.disturbance_discrete(p, dims, eta, sigma**2, third, k, -1.0, 2.0)
    assert z_scores(size, bound) < 4.5
    assert z_scores(size, 0.85 * bound) > -4.5
    level = bounds.synchronization_level_discrete(p, eta, sigma**2, k, -1.0, 2.0)
    assert bound == pytest.approx(4 / (3 * np.sqrt(3)) * level / (2 * p))


@given(
    st.integers(1, 6),
    st.lists(st.floats(0.2, 5.0), min_size=1, max_size=3),
    st.floats(0.0, 20.0),
    st.floats(0.05, 0.95),
)
def test_discrete_qsgd_distance_bounds_quadratics(p, curvatures, k, share):
    """The exact law of the linear chain, which one curvature makes equal to the second term, for any stable step."""
    a, smooth = np.diag(curvatures), max(curvatures)
    dt = share * 2 / (k + smooth)
    root = np.sqrt(np.trace(bounds.ou_covariance_discrete(a, 0.1 * np.eye(len(a)), dt, p)))
    first, second = bounds.qsgd_distance_discrete_terms(p, len(a), 0.1, len(a), 0.0, k, min(curvatures), smooth, dt=dt)
    assert first == 0
    assert root <= second * (1 + 1e-9)
    if min(curvatures) == smooth:
        assert root == pytest.approx(second)


def test_discrete_forms_go_to_those_of_the_sde_at_first_order():
    arguments = dict(agents=7, k=4.0, strong_convexity=0.7, batch=3, **COMMON)
    dt = np.array([0.02, 0.01, 0.005])
    of_sde = bounds.qsgd_distance_terms(**arguments)
    of_chain = bounds.qsgd_distance_discrete_terms(smoothness=2.0, dt=dt, **arguments)
    for one, other in zip(of_chain, of_sde, strict=True):
        assert np.all(one > other)
        np.testing.assert_allclose((one[:-1] - other) / (one[1:] - other), 2, atol=0.06)
    whole = bounds.qsgd_distance_discrete(smoothness=2.0, dt=dt, **arguments)
    np.testing.assert_allclose(whole, sum(of_chain))
    arguments["concavity"] = -arguments.pop("strong_convexity")
    eps, found = bounds.disturbance(**arguments), bounds.disturbance_discrete(smoothness=2.0, dt=dt, **arguments)
    np.testing.assert_allclose((found[:-1] - eps) / (found[1:] - eps), 2, atol=0.06)
    default, given_step = (bounds.disturbance_discrete(smoothness=2.0, dt=step, **arguments) for step in (None, 0.1))
    assert default == given_step  # eta


def test_scheduled_distance_comes_to_rest_at_the_discrete_one():
    """From any start; the noise's part is exact for one curvature, of a linear chain with gains and rates in time."""
    common = dict(agents=7, noise_trace=2.0, third=0.8, strong_convexity=0.7, smoothness=2.0, batch=3)
    course = bounds.qsgd_distance_scheduled(dims=3, eta=np.full(400, 0.1), k=4.0, start=2.0, **common)
    assert course[0] == 2.0 and course.shape == (401,)
    assert course[-1] == pytest.approx(bounds.qsgd_distance_discrete(dims=3, eta=0.1, k=4.0, **common), rel=1e-9)
    etas, gains, h, p, start = np.geomspace(0.3, 0.05, 30), np.linspace(0.0, 5.0, 30), 0.9, 4, 1.5
    mean, covariance = np.full(p, start), np.zeros((p, p))
    for eta, k in zip(etas, gains, strict=True):
        step = np.eye(p) - eta * (h * np.eye(p) + k * gap(p))
        mean, covariance = step @ mean, step @ covariance @ step.T + eta**2 * 2.0 * np.eye(p)
    found = bounds.qsgd_distance_scheduled(p, 1, etas, 2.0, 0.0, gains, h, h, start=start)
    assert found[-1] == pytest.approx(np.sqrt(mean.mean() ** 2 + covariance.mean()))
    spread = np.trace(gap(p) @ covariance)  # of a third derivative, the next step's disturbance is that of this spread
    kicked = bounds.qsgd_distance_scheduled(p, 1, [*etas, 0.1], 2.0, 1.0, [*gains, 1.0], h, h, start=start)
    before = bounds.qsgd_distance_scheduled(p, 1, etas, 2.0, 1.0, gains, h, h, start=start)
    quiet = bounds.qsgd_distance_scheduled(p, 1, [*etas, 0.1], 2.0, 0.0, [*gains, 1.0], h, h, start=start)
    drift = kicked[-1] - quiet[-1] - (1 - 0.1 * h) * (before[-1] - found[-1])
    assert drift == pytest.approx(0.1 * spread / (2 * p))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.disturbance_discrete(4, 1, 0.5, 1, 1.0, 3.0, 2.0, 1.0), "dt=0.5: the chain is unstable"),
        (lambda: bounds.disturbance_discrete(4, 1, 0.1, 1, -1.0, 3.0, -0.5, 1.0), "third=-1"),
        (lambda: bounds.qsgd_distance_discrete(4, 1, 0.1, 1, 1.0, 3.0, 0.0, 1.0), "strong_convexity=0"),
        (lambda: bounds.qsgd_distance_discrete(4, 1, 0.1, 1, 1.0, 3.0, 2.0, 1.0), "smoothness=1: must be at least"),
        (lambda: bounds.qsgd_distance_discrete(4, 1, 0.1, 1, 1.0, 3.0, 1.0, 1.0, dt=0.0), "dt=0"),
        (lambda: bounds.qsgd_distance_discrete(1, 1, 1.5, 1, 1.0, 0.0, 1.0, 2.0), "dt=1.5: the chain is unstable"),
        (lambda: bounds.qsgd_distance_scheduled(4, 1, 0.1, 1.0, 1.0, 3.0, 1.0, 1.0), r"eta and k: of shape \(\)"),
        (lambda: bounds.qsgd_distance_scheduled(4, 1, [0.1], 1.0, 1.0, [-3.0], 1.0, 1.0), "k="),
        (lambda: bounds.qsgd_distance_scheduled(4, 1, [0.1], 1.0, 1.0, 3.0, 1.0, 1.0, start=-1.0), "start=-1"),
    ],
)  # fmt: skip
def test_broken_assumptions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
