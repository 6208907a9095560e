"""Losses that differ between agents: one definition for steppers, workers and maps; and the drift of Local SGD."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import analysis, asynchrony, coupling, noise, objectives, observe
from sdesim.steppers import Delayed, EulerMaruyama, Iteration
from sdesim.theory import outer

CURVATURES, MINIMA = np.array([0.5, 4.0]), np.array([[0.0, 1.0], [2.0, -1.0]])
ETA = 0.05


def quadratics():
    return objectives.Each(objectives.Quadratic(CURVATURES, MINIMA))


def as_function():
    h, m = jnp.asarray(CURVATURES), jnp.asarray(MINIMA)
    return objectives.ByAgent(lambda x, agent: 0.5 * h[agent] * jnp.sum((x - m[agent]) ** 2), 2)


class Bowls(objectives.AbstractObjective):
    """A user's own class of loss."""

    curvature: jax.Array
    minimum: jax.Array

    def loss(self, x):
        return 0.5 * self.curvature * jnp.sum((x - self.minimum) ** 2)


FORMS = {
    "arrays": quadratics,
    "function": as_function,
    "class": lambda: objectives.Each(Bowls(jnp.asarray(CURVATURES), jnp.asarray(MINIMA))),
}
STEPPERS = {
    "sde": lambda: EulerMaruyama(0.02),
    "matched": lambda: EulerMaruyama(),
    "iteration": lambda: Iteration(3, order="gauss-seidel"),
    "delayed": lambda: Delayed(2.0),
    "distributed": lambda: Delayed(asynchrony.Gamma(2.0, mean=2.0), longest=5.0, distributed=True),
    "easgd": lambda: asynchrony.Asynchronous(asynchrony.EASGD()),
    "barrier": lambda: asynchrony.Asynchronous(asynchrony.PartialBarrier(2)),
    "gossip": lambda: asynchrony.Asynchronous(asynchrony.Gossip()),
    "downpour": lambda: asynchrony.Asynchronous(asynchrony.Downpour(2)),
}


def by_hand(x):
    return CURVATURES[:, None] * (x - MINIMA)


@pytest.mark.parametrize("form", FORMS)
def test_each_agent_descends_its_own_loss_and_the_whole_is_their_mean(form):
    loss, x = FORMS[form](), np.random.default_rng(0).normal(size=(2, 2))
    model = sdesim.Dynamics(loss, eta=ETA)
    np.testing.assert_allclose(model.gradients(jnp.asarray(x)), by_hand(x), rtol=1e-12)
    own = 0.5 * CURVATURES * np.sum((x - MINIMA) ** 2, 1)
    np.testing.assert_allclose(model.losses(jnp.asarray(x)), own, rtol=1e-12)
    both = np.mean([0.5 * h * np.sum((x[0] - m) ** 2) for h, m in zip(CURVATURES, MINIMA, strict=True)])
    np.testing.assert_allclose(loss.loss(jnp.asarray(x[0])), both, rtol=1e-12)
    whole = (CURVATURES[:, None] * (x[0] - MINIMA)).mean(0)
    np.testing.assert_allclose(loss.gradient(jnp.asarray(x[0])), whole, rtol=1e-12)
    run = sdesim.simulate(model, agents=2, dims=2, steps=20, init=x, observe=observe.QuorumLoss(), every=20)
    expected = MINIMA + (1 - ETA * CURVATURES[:, None]) ** 20 * (x - MINIMA)
    np.testing.assert_allclose(run.agents[0], expected, rtol=1e-10)
    quorum = expected.mean(0)
    at = np.mean([0.5 * h * np.sum((quorum - m) ** 2) for h, m in zip(CURVATURES, MINIMA, strict=True)])
    np.testing.assert_allclose(run.observed["quorum_loss"][0, -1], at, rtol=1e-10)


@pytest.mark.parametrize("name", STEPPERS)
def test_forms_are_one_in_every_stepper(name):
    """By arrays, by a function of the agent's number, by a class of one's own; agents of one loss move otherwise."""
    runs = {}
    rule = coupling.Uncoupled() if name == "downpour" else coupling.Elastic(2.0)
    for form, loss in {**FORMS, "one": lambda: objectives.Quadratic(CURVATURES.mean(), MINIMA[0])}.items():
        model = sdesim.Dynamics(loss(), rule, noise.Gaussian(0.3), ETA)
        sizes = dict(agents=2, dims=2, sims=3, steps=30, init=1.0, stepper=STEPPERS[name]())
        runs[form] = np.asarray(sdesim.simulate(model, **sizes).agents)
    np.testing.assert_allclose(runs["function"], runs["arrays"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(runs["class"], runs["arrays"], rtol=1e-10, atol=1e-12)
    assert np.abs(runs["one"] - runs["arrays"]).max() > 0.05


def test_a_sweep_over_its_numbers():
    model = sdesim.Dynamics(quadratics(), coupling.Quorum(1.0), eta=ETA)
    assert "objective.objective.curvature" in sdesim.fields.numeric_fields(model)
    swept = sdesim.sweep(model, {"coupling.k": [0.0, 2.0]}, agents=2, dims=2, sims=2, steps=20, init=1.0)
    for k in (0.0, 2.0):
        own = eqx.tree_at(lambda m: m.coupling.k, model, jnp.asarray(k))
        one = sdesim.simulate(own, agents=2, dims=2, sims=2, steps=20, init=1.0)
        np.testing.assert_allclose(swept["agents"].sel(coupling_k=k), one.agents, rtol=1e-12)


@pytest.mark.parametrize("period", [1, 4, 40])
@pytest.mark.parametrize("form", ["arrays", "function"])
def test_local_sgd_drifts_from_the_minimum_of_the_mean(form, period):
    """The fixed point is weighted by 1 - (1 - eta h_i)^H, and the minimum of the mean loss by h_i: theirs at H = 1."""
    rule = coupling.Outer(1.0, 0.7, 0.5)
    model = sdesim.Dynamics(FORMS[form](), rule, eta=ETA)
    stepper = Iteration(period, pace=1.0, order="gauss-seidel")
    run = sdesim.simulate(model, agents=2, dims=2, steps=4000, init=1.0, stepper=stepper)
    expected = outer.fixed_point(ETA * CURVATURES[:, None], MINIMA, period)
    np.testing.assert_allclose(run.center[0], expected, rtol=1e-10)
    least = np.sum(CURVATURES[:, None] * MINIMA, 0) / CURVATURES.sum()
    off = np.abs(expected - least).max()
    assert off < 1e-12 if period == 1 else off > 0.05
    if period == 40:  # far on the way to the mean of the minima
        assert np.abs(expected - MINIMA.mean(0)).max() < np.abs(expected - least).max()


def test_the_map_of_moments_tells_agents_apart(z_scores):
    """Mean squares of departures from the fixed point, which is none of the agents' minima, beside simulations."""
    h, p = np.array([0.5, 4.0]), 2
    loss = objectives.Each(objectives.Quadratic(h, np.array([[0.0], [2.0]])))
    model = sdesim.Dynamics(loss, coupling.Quorum(2.0), noise.Gaussian(1.0), ETA)
    found = analysis.linearize(model, Iteration(), agents=p)
    a = np.eye(2) - ETA * np.diag(h) - ETA * 2.0 * (np.eye(2) - 0.5)
    assert found.radius() == pytest.approx(np.abs(np.linalg.eigvals(a)).max() ** 2, rel=1e-10)
    rest = np.linalg.solve(np.eye(2) - a, ETA * h * np.array([0.0, 2.0]))
    import scipy.linalg

    covariance = scipy.linalg.solve_discrete_lyapunov(a, ETA**2 * np.eye(2))
    np.testing.assert_allclose(found.stationary()["own"][0, 0], np.trace(covariance) / 2, rtol=1e-10)
    run = sdesim.simulate(model, agents=2, sims=4000, steps=300, stepper=Iteration(), init=rest[:, None], seed=2)
    seen = (np.asarray(run.agents)[:, :, 0] - rest) ** 2
    assert np.abs(z_scores(seen, np.diag(covariance))).max() < 4


def test_another_number_of_agents_is_refused():
    model = sdesim.Dynamics(quadratics(), eta=ETA)
    with pytest.raises(ValueError, match=r"^agents=3: the objective, Each, has losses of 2 agents"):
        sdesim.simulate(model, agents=3, steps=1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: objectives.Each(objectives.Quadratic()), "has no array; they must lead with the agents' axis"),
        (lambda: objectives.Each(objectives.Quadratic([1.0, 2.0], [1.0, 2.0, 3.0])), r"first axes are \[2, 3\]"),
        (lambda: objectives.Each(quadratics()), "differs between agents already"),
        (lambda: objectives.ByAgent(lambda x, i: x, 0), "^agents=0"),
    ],
)
def test_what_are_no_losses_of_agents_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_function_that_is_no_loss_is_refused():
    for fn in (lambda x, agent: x, lambda x: jnp.sum(x)):
        with pytest.raises(ValueError, match=r"^objective"):
            sdesim.simulate(sdesim.Dynamics(objectives.ByAgent(fn, 2)), agents=2, dims=2, steps=1)
